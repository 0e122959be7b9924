"""What the catalog has on record of a picture, held against what a sentence says of it."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

from retrieval.answers.checks.citing import CITED
from retrieval.answers.checks.reading_dates import said_dates
from retrieval.answers.checks.said_dates import contradicted
from retrieval.answers.telling.written import file_words
from retrieval.english.days import day_of

if TYPE_CHECKING:
    from retrieval.speech import Facts

TOLD = 0.9
"""How sure it is what a text that belongs to a picture says of it."""
_IN_PASSING = """
    a an the and or of in on at to from by with near was were is are be been it its this that these those
    taken photographed picture pictures photo photos image images shows show showing shown seen see there here
    camera shot another also both each probably perhaps maybe possibly likely reads read says text words
    sign written named name called file
    tagged as between until around about since before after which who we you i your our
"""
_FILLER = frozenset(_IN_PASSING.split())
"""Words that say nothing which could be on record."""
_READ_IN = re.compile(r"^Read in a picture (?:of|that may show) [^\"“”:]{1,80}(?=: [\"“])")
"""As rules quote what was read: that is on record, and what it was read in is as sure as the search."""
_QUOTES = re.compile(r"[\"“]([^\"“”]{1,300})[\"”]")


def on_record(claim: str, facts: Facts) -> float | None:
    """How sure the catalog's own record makes a claim; 0 where it contradicts it, None where it is silent.

    A date is held against the record wherever it stands; a number that is none is not on record.
    """
    written = [*(told.text for told in facts.told), " ".join(facts.keywords), file_words(facts)]
    texts = [*written, facts.seen]
    known = " ".join(_folded(text) for text in texts)
    spoken = f" {' '.join(_words(known))} "
    sure: list[float] = []
    rest = _READ_IN.sub(" ", claim)

    def take(text: str, confidence: float) -> None:
        nonlocal rest
        words = r"\W+".join(map(re.escape, re.findall(r"\w+", text)))
        if words:
            rest, count = re.subn(rf"(?i)(?<!\w){words}(?:e?s)?(?!\w)", " ", rest)
            if count:
                sure.append(confidence)

    for quote in _QUOTES.findall(claim):
        # By its words: a quote may be cut short, and have lost its brackets.
        if f" {' '.join(_words(quote))} " in spoken and _words(quote):
            sure.append(1.0)
            rest = rest.replace(quote, " ")
    dates = said_dates(rest)
    if contradicted(dates, facts.taken_at, known):
        return 0.0
    day = day_of(facts.taken_at or "")
    for date in reversed(dates):
        if day is not None and date.sure and date.holds(day):
            rest = f"{rest[: date.start]} {rest[date.end :]}"
            sure.append(1.0)
    for place in [facts.place or "", *(facts.place or "").split(",")]:
        take(place, 1.0)
    take(facts.camera or "", 1.0)
    for name, confidence in _names(facts).items():
        take(name, confidence)
    left = [word for word in _words(rest) if word not in _FILLER]
    if left:
        said = [set(_words(text)) for text in written]
        content = [word for word in _words(claim) if word not in _FILLER]
        return TOLD if content and any(words.issuperset(content) for words in said) else None
    return min(sure, default=None)


def _names(facts: Facts) -> dict[str, float]:
    """Tags, and what the catalog's model calls the picture; a kind is as sure as all that are of it."""
    found: dict[str, float] = {}
    for named in facts.named:
        for name in dict.fromkeys((named.name, *named.kinds)):
            found[name] = min(1.0, found.get(name, 0.0) + named.confidence)
    for tag in facts.tags:
        found[tag.tag] = max(tag.confidence, found.get(tag.tag, 0.0))
    return dict(sorted(found.items(), key=lambda item: -len(item[0])))


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", _folded(CITED.sub(" ", text)))


def _folded(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())
