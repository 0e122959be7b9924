"""Reading and writing sentences that cite pictures as [1], [2]."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

CITED = re.compile(r"\s*\[\s*\d{1,4}(?:\s*(?:,|;|and|&|-|–)\s*\d{1,4})*\s*\]", re.A)
"""One mark: `[2]`, `[1, 3]` or `[2-4]`."""
_MARKS = re.compile(rf"(?:{CITED.pattern}(?:\s*(?:,|;|and|&)(?=\s*\[))?)+", re.A)
"""Marks that follow each other, also with a comma or "and" between."""
_ABBREVIATIONS = frozenset(
    ("st", "mt", "dr", "mr", "mrs", "ms", "no", "ca", "approx", "e.g", "i.e", "etc", "vs", "ft")
)
_ENDS = ".!?…"
_LEAD = re.compile(
    r"(?i)^[\s,;:.–—-]*(?:(?:and|or|but|also|plus|with|then|while|as well as|possibly|probably|perhaps|maybe|"
    r"likely|yes|no|it looks like|it seems that|there (?:is|are|was|were)|(?:the )?(?:picture|photo|image)s?"
    r"(?: also)? (?:shows?|is of|are of|of))\b[\s,;:–—-]*)+"
)
_BEFORE_THE_CLAIM = re.compile(r"(?i)^\W*(?:(?:in|on|as|see|picture|photo|image|the|pictures?|photos?)\W*)*$")
LONGEST_RANGE = 50


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a sentence, and the pictures that it cites."""

    text: str
    cites: tuple[int, ...] = ()
    leading: bool = False
    """Whether the marks stand before the words, as in "[1] shows a dog"."""

    @property
    def claim(self) -> str:
        """What it says, without the words that only lead to it."""
        return _LEAD.sub("", self.text).strip(" \t,;:.!?–—-")

    @property
    def written(self) -> str:
        marks = "".join(f"[{number}]" for number in self.cites)
        if not marks:
            return self.text
        return f" {marks}{self.text}" if self.leading else f"{self.text.rstrip()} {marks}"


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence in parts; those that cite nothing belong to the ones before them."""

    parts: tuple[Part, ...]
    end: str = "."

    @property
    def cites(self) -> tuple[int, ...]:
        return tuple(dict.fromkeys(number for part in self.parts for number in part.cites))

    @property
    def plain(self) -> str:
        """The words alone."""
        return " ".join("".join(part.text for part in self.parts).split())

    @property
    def written(self) -> str:
        return " ".join("".join(part.written for part in self.parts).split()) + self.end

    def keeping(self, parts: Sequence[Part]) -> Sentence | None:
        """The sentence of those parts alone; None where none of them cites anything."""
        if not any(part.cites for part in parts):
            return None
        first = re.sub(r"(?i)^[\s,;:–—-]*(?:(?:and|or|but|also|plus|then)\b[\s,;:–—-]*)?", "", parts[0].text)
        if not parts[0].leading:
            first = first[:1].upper() + first[1:]
        elif parts[0] is not self.parts[0]:
            first = f" {first}"
        kept = [replace(parts[0], text=first), *parts[1:]]
        if not parts[-1].cites and len(parts) > 1 and parts[-2] is not self.parts[-2]:
            del kept[-1]  # the rest of the sentence went on from a part that is gone
        return replace(self, parts=tuple(kept))


def sentences(text: str) -> list[Sentence]:
    """The sentences of a text. Marks after a full stop belong to the sentence before it."""
    return [_sentence(raw) for raw in _split(text)]


def _split(text: str) -> list[str]:
    found: list[str] = []
    for line in re.split(r"\n+", text):
        line = re.sub(r"^\s*(?:[-*•]\s+|\d{1,2}[.)]\s+(?=\S))", "", " ".join(line.split()))
        start, place, quoted = 0, 0, False
        while place < len(line):
            character = line[place]
            if character in '"“”':
                quoted = character != "”" and not (quoted and character == '"')
            ends = character in _ENDS and not quoted
            if ends and _is_end(line, start, place):
                end = place + 1
                while end < len(line) and line[end] in _ENDS + "\"”’')":
                    end += 1
                marks = _MARKS.match(line, end)
                if marks and (
                    marks.end() == len(line) or re.match(r"\s+[A-Z\"“]|\s*[.!?]", line[marks.end() :])
                ):
                    found.append(line[start:place] + marks[0] + line[place:end])
                    start = place = _after(line, marks.end())
                    continue
                found.append(line[start:end])
                start = place = end
                continue
            place += 1
        found.append(line[start:])
    return [raw.strip() for raw in found if re.search(r"\w", CITED.sub("", raw)) or CITED.search(raw)]


def _after(line: str, place: int) -> int:
    """Past a full stop that stands after the marks as well."""
    rest = re.match(r"\s*[.!?]+", line[place:])
    return place + rest.end() if rest else place


def _is_end(line: str, start: int, place: int) -> bool:
    if place + 1 < len(line) and not re.match(r"[.!?…\"”’')]*(?:\s|\[|$)", line[place + 1 :]):
        return False
    if line[place] != ".":
        return True
    word = re.search(r"([\w.]+)$", line[start:place])
    following = line[place + 1 :].lstrip()
    if following and following[0].islower():
        return False
    return word is None or not (word[1].lower() in _ABBREVIATIONS and following[:1] not in ("", "["))


def _sentence(raw: str) -> Sentence:
    body = raw.rstrip()
    end = re.search(r"[.!?…]*[\"”’')]*$", body)
    ending = end[0] if end else ""
    if ending and not re.match(r"[.!?…]", ending):
        ending = ""
    body = body[: len(body) - len(ending)]
    marks = list(_MARKS.finditer(body))
    if not marks:
        return Sentence((Part(body),), ending or ".")
    before = body[: marks[0].start()]
    tail = body[marks[-1].end() :]
    leading = bool(_BEFORE_THE_CLAIM.match(before)) and bool(re.search(r"\w", tail))
    parts: list[Part] = []
    if leading:
        if before.strip():
            parts.append(Part(before.rstrip() + " "))
        for number, mark in enumerate(marks):
            stop = marks[number + 1].start() if number + 1 < len(marks) else len(body)
            parts.append(Part(body[mark.end() : stop], _numbers(mark[0]), leading=True))
    else:
        start = 0
        for mark in marks:
            parts.append(Part(body[start : mark.start()], _numbers(mark[0])))
            start = mark.end()
        if tail.strip():
            parts.append(Part(tail))
    return Sentence(tuple(parts), ending or ".")


def _numbers(marks: str) -> tuple[int, ...]:
    found: list[int] = []
    for mark in re.findall(r"\[([^\]]*)\]", marks):
        for piece in re.split(r",|;|and|&", mark):
            ends = [int(number) for number in re.findall(r"\d+", piece)]
            if len(ends) == 2 and 0 <= ends[1] - ends[0] <= LONGEST_RANGE:
                found.extend(range(ends[0], ends[1] + 1))
            else:
                found.extend(ends)
    return tuple(dict.fromkeys(found))


def renumbered(written: Sequence[Sentence]) -> tuple[str, dict[int, int]]:
    """The text with its marks counted from 1 in the order of their first use, and old to new numbers."""
    order: dict[int, int] = {}
    for sentence in written:
        for number in sentence.cites:
            order.setdefault(number, len(order) + 1)
    renamed = [
        replace(
            sentence,
            parts=tuple(
                replace(part, cites=tuple(order[number] for number in part.cites)) for part in sentence.parts
            ),
        )
        for sentence in written
    ]
    return " ".join(sentence.written for sentence in renamed), order
