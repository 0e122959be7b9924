"""Reading and writing sentences that cite pictures as [1], [2]."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

CITED = re.compile(r"\s*\[\s*\d{1,4}(?:\s*(?:,|;|and|&|-|–)\s*\d{1,4})*\s*\]", re.A)
"""One mark: `[2]`, `[1, 3]` or `[2-4]`."""
_MARKS = re.compile(rf"(?:{CITED.pattern}(?:\s*(?:,\s*and|,|;|and|&)(?=\s*\[))?)+", re.A)
"""Marks that follow each other, also with a comma or "and" between."""
_ABBREVIATIONS = frozenset(
    ("st", "mt", "dr", "mr", "mrs", "ms", "no", "ca", "approx", "e.g", "i.e", "etc", "vs", "ft")
)
_ENDS = ".!?…"
_LEAD = re.compile(
    r"(?i)^[\s,;:.–—-]*(?:(?:and|or|but|also|plus|with|then|while|as well as|possibly|probably|perhaps|maybe|"
    r"likely|yes|no(?=\s*[,;:–—-])|it looks like|it seems that|there (?:is|are|was|were)|"
    r"(?:the )?(?:picture|photo|image)s?"
    r"(?: also)? (?:shows?|is of|are of|of))\b[\s,;:–—-]*)+"
)
_BEFORE_THE_CLAIM = re.compile(
    r"(?i)^\W*(?:(?:yes|also|and|in|on|as|see|seen|shown|according|to|both|all|of|the|these|two|three|"
    r"pictures?|photos?|images?)\b\W*)*$"
)
_SHOWS = re.compile(r"(?i)^[\s,;:–—-]*(?:(?:all|both|each|clearly|also)\s+)?(?:shows?|depicts?)\b")
_TRAIL = re.compile(
    r"(?i)(?:(?:^|[\s,;:–—-]+)(?:and|or|but|while|also|in|on|of|at|from|by|with|see))+[\s,;:–—-]*$"
)
_LEADS_IN = re.compile(r"(?i)(?:\b(?:in|on|of|at|from|by|with|see)|:)\s*$")
_JOIN = re.compile(r"(?i)^[\s,;:–—-]*(?:(?:and|or|but|also|plus|then|while|whereas)\b[\s,;:–—-]*)*")
_APART = re.compile(r"(?i)^\s*(?:[,;:–—]|-\s|(?:and|or|but|also|plus|then|while|as well as)\b)")
_FINER = re.compile(r"(?i),\s*(?:probably|perhaps)\b")
_RELATIVE = re.compile(r"(?i)^\s*,?\s*(?:which|who|whose|where|that)\b")
_NEW_CLAUSE = re.compile(r"(?i);\s|,\s+(?:and|but|while|whereas)\s")
_TOGETHER = re.compile(r"(?i)\b(?:both|all|these|two|three|pictures|photos|images)\b")
_NOTHING = re.compile(
    r"(?i)\b(?:(?:does|do|did|could|can|is|are|was|were|has|have)\s*(?:not|n['’]t)|cannot|"
    r"no (?:picture|photo|image|evidence|sign)|none|nothing|not (?:shown|visible|clear|certain|sure))\b"
)
LONGEST_RANGE = 50


def says_nothing(text: str) -> bool:
    """Whether a sentence only says that something is not to be seen."""
    return bool(_NOTHING.search(text))


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a sentence, and the pictures that it cites."""

    text: str
    cites: tuple[int, ...] = ()
    leading: bool = False
    """Whether the marks stand before the words, as in "[1] shows a dog"."""
    before: str = ""
    """Of marks that lead, the words that only bring them in: "In", "Both"."""
    after: str = ""
    """Of marks that stand behind words, how the sentence goes on: "The dog [1] is asleep"."""
    listed: bool = False
    """Whether the marks are words of the sentence, with an "and" between them."""

    @property
    def goes_on(self) -> bool:
        """Whether words behind the marks say something of the pictures."""
        aside = self.after.startswith(";") and says_nothing(self.after)
        return bool(re.search(r"\w", self.after)) and not aside

    @property
    def claim(self) -> str:
        """What it says, all of it, without the words that only lead to it or to a mark."""
        words = _TRAIL.sub("", self.text.rstrip())
        if self.leading:
            words = _SHOWS.sub("", words)
        elif self.goes_on:
            words += self.after
        return _LEAD.sub("", words).strip(" \t,;:.!?–—-")

    @property
    def words(self) -> str:
        return f"{self.before}{self.text}" if self.leading else f"{self.text.rstrip()}{self.after}"

    @property
    def written(self) -> str:
        marks = [f"[{number}]" for number in self.cites]
        if not marks:
            return self.text
        mark = f"{', '.join(marks[:-1])} and {marks[-1]}" if self.listed and marks[1:] else "".join(marks)
        if self.leading:
            return f"{self.before.rstrip()} {mark}{self.text}"
        return f"{self.text.rstrip()} {mark}{self.after}"

    def citing(self, numbers: Iterable[int]) -> Part | None:
        """The part with those of its marks alone; None where it does not hold without the others."""
        left = tuple(number for number in self.cites if number in set(numbers))
        if self.leading:
            bound = self.listed and bool(_TOGETHER.search(self.before))
        else:
            bound = self.listed and (self.goes_on or not _LEADS_IN.search(self.text))
        if not left or (left != self.cites and bound):
            return None
        return replace(self, cites=left)


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence in parts, each of which cites; one that cites nothing is a single part."""

    parts: tuple[Part, ...]
    end: str = "."

    @property
    def cites(self) -> tuple[int, ...]:
        return tuple(dict.fromkeys(number for part in self.parts for number in part.cites))

    @property
    def plain(self) -> str:
        """The words alone."""
        return _line("".join(part.words for part in self.parts))

    @property
    def written(self) -> str:
        following = [*self.parts[1:], None]
        said = (
            part.words if _says_more(part, then) else part.written
            for part, then in zip(self.parts, following, strict=True)
        )
        return _line("".join(said)) + self.end

    def keeping(self, parts: Sequence[Part | None]) -> tuple[Sentence | None, list[str]]:
        """What is left with None for the parts that go, and the words that went.

        A part that goes on from the one before it is kept or goes with it: "The dog [1] is at a
        beach [2]" is one statement of two pictures, "a dog [1] and a cat [2]" are two.
        """
        left = list(parts)
        for start, stop in self._bound():
            if None in left[start:stop]:
                left[start:stop] = [None] * (stop - start)
        gone = [_line(part.words) for part, now in zip(self.parts, left, strict=True) if now is None]
        kept = [part for part in left if part is not None]
        if not kept:
            return None, gone
        if left[0] is None:
            first = kept[0]
            opening = first.before if first.leading else first.text
            opening = _JOIN.sub("", opening)
            opening = opening[:1].upper() + opening[1:]
            kept[0] = replace(first, before=opening) if first.leading else replace(first, text=opening)
        return replace(self, parts=tuple(kept)), gone

    def _bound(self) -> list[tuple[int, int]]:
        """The runs of parts that are one statement."""
        starts = [place for place, part in enumerate(self.parts) if place == 0 or _is_apart(part)]
        return list(zip(starts, [*starts[1:], len(self.parts)], strict=True))


def _says_more(part: Part, then: Part | None) -> bool:
    """Whether the next part only says more exactly what is in the same pictures: one mark does for both."""
    return then is not None and then.cites == part.cites and bool(_FINER.match(then.text))


def _is_apart(part: Part) -> bool:
    return part.leading or _begins_anew(part.text)


def _begins_anew(text: str) -> bool:
    return bool(_APART.match(text)) and not _RELATIVE.match(text)


def _line(text: str) -> str:
    return " ".join(text.split())


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
    before, tail = body[: marks[0].start()], body[marks[-1].end() :]
    between = [body[mark.end() : then.start()] for mark, then in pairwise(marks)]
    leading = bool(_BEFORE_THE_CLAIM.match(before)) and bool(re.search(r"\w", tail))
    made = _led(before, [*between, tail], marks) if leading else _followed([before, *between], tail, marks)
    return Sentence(tuple(made), ending or ".")


def _led(before: str, texts: Sequence[str], marks: Sequence[re.Match[str]]) -> list[Part]:
    """Parts whose marks stand before their words; what leads to the next mark belongs to that one."""
    parts: list[Part] = []
    for text, mark in zip(texts, marks, strict=True):
        trail = _TRAIL.search(text) if mark is not marks[-1] else None
        words = text[: trail.start()] if trail else text
        parts.append(Part(words, _numbers(mark[0]), leading=True, before=before, listed=_is_list(mark[0])))
        before = text[len(words) :]
    return parts


def _followed(texts: Sequence[str], tail: str, marks: Sequence[re.Match[str]]) -> list[Part]:
    """Parts whose marks stand behind their words, or in the middle of them."""
    parts: list[Part] = []
    for text, mark in zip(texts, marks, strict=True):
        start = 0
        if parts and not _begins_anew(text) and (clause := _NEW_CLAUSE.search(text)):
            start = clause.start()  # up to there it goes on from the mark before
            parts[-1] = replace(parts[-1], after=text[:start])
        parts.append(Part(text[start:], _numbers(mark[0]), listed=_is_list(mark[0])))
    parts[-1] = replace(parts[-1], after=tail.rstrip(" ,;:–—-"))
    following = [*(part.text for part in parts[1:]), ""]
    return [
        replace(
            part,
            listed=part.listed
            and (
                part.goes_on or bool(_LEADS_IN.search(part.text)) or (then != "" and not _begins_anew(then))
            ),
        )
        for part, then in zip(parts, following, strict=True)
    ]


def _is_list(marks: str) -> bool:
    return bool(re.search(r"and|&", marks))


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
                replace(part, cites=tuple(sorted(order[number] for number in part.cites)))
                for part in sentence.parts
            ),
        )
        for sentence in written
    ]
    return " ".join(sentence.written for sentence in renamed), order
