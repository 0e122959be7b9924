"""What a question does not want to see: "cats, not dogs" asks for cats, less what shows dogs.

Only what is clear is taken apart: a few words that say that something is not there, behind
something that is, and in front of words that name it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from retrieval.answers.understanding.subjects import ASKING, GLUE, stripped, subject_of
from retrieval.english.nouns import listed

WITHOUT = " without "
"""Stands in a subject between what is wanted and what is not."""
MOST = 4
_SHOWING = r"(?:have|has|had|having|show|shows|showing|contain|contains|containing|include|includes)"
_LED = r"(?:in|on|at|near|by|under|inside|behind|from|of|with)\b"
_NO_THING = r"(?:one\b|longer\b|more\b|matter\b|idea\b|doubt\b|\d)"
_NOT_THAT = (
    r"(?:only|just|sure|far|yet|even|really|too|very|so|all|every|always|necessarily|much|many|that|this|"
    r"these|those|to|be|been|the (?:first|last|same)|\w+ing)\b"
)
_BESIDES = r"\b(?:except(?:\s+for)?|excluding|other\s+than|besides|apart\s+from)\b"
_NOT = re.compile(
    rf"\bwithout\b"
    rf"|{_BESIDES}"
    rf"|(?:,\s*|\b(?:but|and)\s+|,\s*(?:but|and)\s+)(?:{_SHOWING}\s+|with\s+)?no\b(?!\s+{_NO_THING})"
    rf"|\b(?:with|{_SHOWING})\s+no\b(?!\s+{_NO_THING})"
    rf"|\b(?:that|which|who)\s+(?:do|does|did)\s+not\s+{_SHOWING}\b"
    rf"|\b(?:that|which|who)\s+(?:is|are|was|were)\s+not\b(?!\s+{_NOT_THAT})"
    rf"|(?:,\s*|\b(?:but|and)\s+|,\s*(?:but|and)\s+)not\b(?!\s+{_NOT_THAT})"
    rf"|\bnot(?:\s+(?:taken|made|shot))?(?=\s+{_LED})",
    re.IGNORECASE,
)
_BARE = re.compile(rf"(?<=\w)\s+not\b(?!\s+{_NOT_THAT})", re.IGNORECASE)
"""Between keywords alone: in "did the dog not eat" it says something else."""
_FIRST = re.compile(r"\W*(?:(?:and|but|only|just)\s+)*(?:no|not|without|except(?: for)?)\b", re.IGNORECASE)
_END = re.compile(r"[;.?!:]")
_STOPPING = (
    "in on at near by from during since before after until between but that which who when where while "
    "because if with last this yesterday today behind under inside"
)
_STOPS = frozenset(_STOPPING.split())
_AND = frozenset({"and", "or", "nor"})
_PHOTO = re.compile(
    r"\b(?:photo(?:graph)?s?|pictures?|pics?|images?|imgs?|shots?|snapshots?|snaps?|everything|anything|else)\b",
    re.IGNORECASE,
)
_LEFT = re.compile(r"\b(?:not|never|nobody|nothing|without|except)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Apart:
    """A question without what it does not want to see."""

    text: str
    without: tuple[str, ...] = ()
    """As it was said, with the preposition that leads to it: "dogs", "in the snow"."""
    aside: tuple[str, ...] = ()
    """What a question excepts from its answer, though a picture may well show it: "besides dogs"."""


def apart(text: str, *, keywords: Callable[[str], bool], goes_on: bool = False) -> Apart:
    """What a spelled question wants, and what it does not; as it is where that is not clear.

    `keywords` tells whether a text is no question but a few words; `goes_on`, whether there was a
    question before this one, so that it may say no more than what is not wanted.
    """
    without, aside = list[str](), list[str]()
    for _ in range(MOST):
        found = _first(text, keywords, goes_on=goes_on)
        if found is None:
            break
        start, end, phrases, rest = found
        if re.match(_BESIDES, text[start:end], re.IGNORECASE) and not keywords(text[:start]):
            aside.append(f"{text[start:end]} {listed(phrases)}")
        else:
            without += phrases
        text = f"{text[:start].rstrip(' ,')} ; {rest}".strip(" ;,")
    return Apart(text, tuple(dict.fromkeys(without))[:MOST], tuple(aside))


def unclear(text: str) -> str:
    """The word that says that something is not so, where it was not understood; else empty."""
    found = _LEFT.search(re.sub(r'"[^"]*"', " ", text))
    return found[0].lower() if found else ""


def words_of(phrase: str) -> str:
    """What is not to be there, as it is searched for."""
    return subject_of([token for part in phrase.split() if (token := stripped(part))], "find", None)[0]


def composed(subject: str, without: tuple[str, ...]) -> str:
    """What is wanted and what is not, as one subject: "cats without dogs"."""
    return f"{subject}{WITHOUT}{listed(without, 'or')}" if without else subject


def borne_out(said: str, known: Callable[[str], float | None]) -> float | None:
    """How sure a statement is that may say what is not there: that the one is there, and the other not.

    None where that is not known of a part that names something.
    """
    wanted, *unwanted = statements(said)
    sure = known(wanted) if not unwanted or _says_something(wanted) else 1.0
    for part in map(known, unwanted):
        if sure is None or part is None:
            return None
        sure *= 1 - part
    return sure


def statements(said: str) -> list[str]:
    """What a statement says that is there, and then each thing that is not."""
    wanted, _, rest = said.partition(WITHOUT)
    return [wanted, *re.split(r",\s+|\s+or\s+", rest)] if rest.strip() else [said]


def _says_something(text: str) -> bool:
    """Whether a text names more than pictures."""
    return _content(_PHOTO.sub(" ", text).split())


def _first(
    text: str, keywords: Callable[[str], bool], *, goes_on: bool
) -> tuple[int, int, list[str], str] | None:
    """Where the words of the first clear one begin and end, what it names, and what follows it."""
    for start, end in _leads(text, keywords, goes_on=goes_on):
        before = text[:start]
        if before.count('"') % 2 or not (goes_on or _names(before) or not before.strip()):
            continue
        phrases, rest = _named_after(text[end:])
        if phrases:
            return start, end, phrases, rest
    return None


def _leads(text: str, keywords: Callable[[str], bool], *, goes_on: bool) -> Iterator[tuple[int, int]]:
    if goes_on and (first := _FIRST.match(text)):
        yield 0, first.end()
    for found in _NOT.finditer(text):
        # "Doctors Without Borders" is a name.
        if text.isupper() or not found[0].strip(" ,")[:1].isupper() or not text[: found.start()].strip():
            yield found.span()
    for found in _BARE.finditer(text):
        if keywords(text[: found.start()]):
            yield found.span()


def _names(text: str) -> bool:
    """Whether a text names something, or asks for pictures."""
    words = [stripped(word).lower() for word in text.split()]
    return bool(_PHOTO.search(text)) or any(
        word and word not in GLUE and word not in ASKING for word in words
    )


def _named_after(text: str) -> tuple[list[str], str]:
    """What the words behind a "not" name, up to where something else begins; and the rest of the text."""
    end = _END.search(text)
    words = list(re.finditer(r"[^\s,]+|,", text[: end.start() if end else len(text)]))
    parts: list[list[str]] = [[]]
    place = 0
    while place < len(words):
        word = words[place][0].lower()
        following = words[place + 1][0].lower() if place + 1 < len(words) else ""
        if word in _AND or word == ",":
            later = {one[0].lower() for one in words[place + 1 :]}
            pair = word == "and" and parts[-1][-1:] == ["black"] and following == "white"
            if pair:
                parts[-1].append(word)
            elif following in _STOPS or not following or (word == "," and not (_AND & later)):
                break
            elif following not in _AND:
                parts.append([])
        elif word in _STOPS and _content(parts[-1]):
            break
        else:
            parts[-1].append(words[place][0])
        place += 1
    rest = text[words[place].start() :] if place < len(words) else text[end.start() :] if end else ""
    phrases = [" ".join(part) for part in parts if _content(part)]
    return phrases, rest.lstrip(" ,")


def _content(words: list[str]) -> bool:
    return any((low := stripped(word).lower()) and low not in GLUE and low not in ASKING for word in words)
