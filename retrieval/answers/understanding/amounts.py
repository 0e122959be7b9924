"""Questions that hold numbers against each other: more than five, more dogs than cats, all, per year."""

from __future__ import annotations

import re
from dataclasses import dataclass

_NUMBERS = {
    "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9,
    "ten": 10, "eleven": 11, "twelve": 12, "a dozen": 12, "twenty": 20, "fifty": 50, "a hundred": 100,
    "a thousand": 1000,
}  # fmt: skip
_NUMBER = rf"(?P<number>\d{{1,7}}(?![\d.,]*\d)|{'|'.join(sorted(_NUMBERS, key=len, reverse=True))})"
_UNITS = (
    r"(?!\s*(?:mp|mpx|megapixels?|pixels?|px|km|kilomet\w+|metres?|meters?|%|percent|years?|months?|weeks?"
    r"|days?|hours?|decades?)\b)"
)
_THAN = re.compile(
    rf"\b(?P<word>more than|fewer than|less than|at least|at most|exactly)\s+{_NUMBER}\b{_UNITS}",
    re.IGNORECASE,
)
_ASKED = r"(?:is|are|was|were|do|does|did|have|has|had)"
_WHOLE = re.compile(
    rf"{_ASKED}(?: (?:there|i|we|you|my library|the library|our library))?"
    r"(?: (?:have|has|had|own|take|taken|took|got|get|see|seen))?\s*",
    re.IGNORECASE,
)
"""Behind these words a number is one of pictures; elsewhere it is of things in a picture."""
_AGAINST = re.compile(
    rf"{_WHOLE.pattern}(?P<word>more|fewer|less) (?P<first>.+?) than (?:of )?(?P<second>.+?)\W*$",
    re.IGNORECASE,
)
_THING = r"(?:photo(?:graph)?s?|pictures?|pics?|images?|shots?|snapshots?)"
_ALL = re.compile(
    rf"(?P<lead>{_ASKED}) (?P<all>all|everything|every|each|most)\b(?:(?: one)? of\b)?"
    r"(?: (?:my|our|the|these|those|single))*\s*(?P<rest>.*)$",
    re.IGNORECASE,
)
_TRUE = re.compile(
    r"^(?:is it|it is) true(?: that)? (all|every|each|most) (.+?) (is|are|was|were) (.+)$", re.IGNORECASE
)
_SHOWS = re.compile(
    rf"(?:{_THING} )?(?:of|show|showing|shows|contain|contains|with|have|has)\b\s*(?P<what>.+)$",
    re.IGNORECASE,
)
_RANKED = re.compile(
    r"\b(?:in |of |from )?(?:what|which) (?P<unit>year|month)\b(?P<rest>.*?)"
    r"\b(?:the )?(?P<word>most|fewest|least)\b",
    re.IGNORECASE,
)
_WHEN_MOST = re.compile(
    rf"when\b(?P<rest>.*?)\b(?:the )?(?P<word>most|fewest|least) (?={_THING}\b)", re.IGNORECASE
)
_PER = re.compile(r"\b(?:per|by|(?:in |for |of )?(?:each|every)) (?P<unit>year|month)\b", re.IGNORECASE)
_LISTS = re.compile(
    rf"(?:how many|count|number of|the number|show|list|give|what is the number|{_THING})\b", re.IGNORECASE
)
_DATA = r"(?:\s+(?:data|information|info|tags?|stamps?|known|set|recorded|at all))*"
_PLACE = rf"(?:gps|geo-?tags?|locations?|coordinates|places?|geo ?location){_DATA}"
_TIME = rf"(?:dates?|times?|timestamps?|date taken|capture (?:date|time)){_DATA}"
_NONE = (
    r"(?:(?:that |which )?(?:do|does|did) not (?:have|say|show|contain|know)(?: (?:a|an|any|the|its|their))?"
    r"|(?:(?:that |which )?(?:have|has|with) )?no|without(?: (?:a|an|any|the))?"
    r"|(?:that are |are )?(?:missing|lacking)(?: (?:a|an|the))?)"
)
_AFTER = r"(?=\W*$|\s+(?:are|is|were|do|did|have|in|there|from|of|exist)\b)"
_SEASON = re.compile(
    r"\b(?:(?:from|during)|(?:taken|took|take|made|make|shot|shoot)\s+(?:in|during))\s+(?:the\s+)?"
    r"(winter|spring|summer|autumn|fall)s?\b"
    r"(?=\W*$|\s+(?:in|near|of|with|are|is|do|did|that)\b(?!\s+(?:the\s+year\s+)?\d))",
    re.IGNORECASE,
)
_LACKING = (
    (
        "place",
        re.compile(
            rf"\b{_NONE}\s+{_PLACE}\b{_AFTER}|\b(?:un|not )geo-?tagged\b|\bwithout geo-?tagging\b", re.I
        ),
    ),
    ("time", re.compile(rf"\b{_NONE}\s+{_TIME}\b{_AFTER}|\bundated\b|\bnot dated\b", re.I)),
)


@dataclass(frozen=True, slots=True)
class Than:
    """Whether there are more, fewer or just as many as a number; `text` asks whether there are any."""

    text: str
    word: str
    number: int


def than_number(text: str) -> Than | None:
    """A number that pictures are to be held against; one of things in a picture is `within`."""
    found = _THAN.search(text)
    if found is None or not _WHOLE.fullmatch(text[: found.start()].lstrip()):
        return None
    word = found["word"].lower().replace("less", "fewer")
    said = found["number"].lower()
    rest = f"{text[: found.start()]} {text[found.end() :]}"
    return Than(rest, word, _NUMBERS[said] if said in _NUMBERS else int(said))


def within(text: str) -> str:
    """The words that want a number of things in a picture: "more than one"; empty where none do."""
    found = _THAN.search(text)
    return "" if found is None else found[0]


def without_number(text: str) -> str:
    return _THAN.sub(" ", text)


def than_other(text: str) -> tuple[str, str, str] | None:
    """Of "are there more dogs than cats" the word, and what is held against what."""
    found = _AGAINST.fullmatch(text)
    if found is None:
        return None
    return found["word"].lower().replace("less", "fewer"), found["first"], found["second"]


def of_all(text: str) -> tuple[str, str, str] | None:
    """Of "are all pictures from Lisbon" whether it is all or most, the rest as a question for some; and
    what the pictures are to show where that is all it asks."""
    found = _ALL.fullmatch(_TRUE.sub(r"\3 \1 \2 \4", text))
    if found is None:
        return None
    shows = _SHOWS.match(found["rest"])
    what = shows["what"].strip(" ?!.") if shows else ""
    return "most" if found["all"].lower() == "most" else "all", f"are there {found['rest']}", what


def by_period(text: str) -> tuple[str, str, str] | None:
    """What is asked for by year or by month: the unit, the word (most, fewest or none), the rest."""
    found = _RANKED.search(text)
    if found is None:
        found = _WHEN_MOST.match(text)
    if found is not None:
        unit = found.groupdict().get("unit") or "year"
        word = "most" if found["word"].lower() == "most" else "fewest"
        rest = f"{text[: found.start()]} {found['rest']} {text[found.end() :]}"
        return unit.lower(), word, f"how many {rest}"
    found = _PER.search(text)
    if found is None or not _LISTS.match(text):
        return None
    return found["unit"].lower(), "", f"{text[: found.start()]} {text[found.end() :]}"


def lacking(text: str) -> tuple[str, str] | None:
    """What pictures are not to say, `place` or `time`, and the text without that."""
    for what, pattern in _LACKING:
        found = pattern.search(text)
        if found:
            return what, f"{text[: found.start()]} {text[found.end() :]}"
    return None


def of_season(text: str) -> tuple[str, str] | None:
    """The season of any year that pictures are to be from, and the text without it."""
    found = _SEASON.search(text)
    if found is None:
        return None
    word = found[1].lower().replace("fall", "autumn")
    return word, f"{text[: found.start()]} ; {text[found.end() :]}"
