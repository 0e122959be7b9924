"""The times that a question names, in English, and the question without them.

A time that names no year is the latest one that has begun: in May 2024, `in July` is July
2023. `Last summer` is the latest that is over, and seasons are those of the northern half of
the globe. A season or a holiday that no word leads to ("the garden in winter", "a Christmas
tree") is what a picture shows, and no time.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from retrieval.answers.understanding.dates import BEHIND, DATE, DATES, HOLIDAYS, SPREADS, YEARS, DateReader
from retrieval.answers.understanding.periods import SEASONS, Period


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time; a side that is None is open."""

    after: dt.date | None
    before: dt.date | None
    """The first day that is too late."""

    @property
    def limits(self) -> dict[str, str]:
        """As the fields of a filter."""
        sides = {"after": self.after, "before": self.before}
        return {name: day.isoformat() for name, day in sides.items() if day is not None}


@dataclass(frozen=True, slots=True)
class Times:
    """What a text says of times, and the text without it."""

    spans: tuple[Span, ...]
    rest: str
    notes: tuple[str, ...] = ()


def find_times(text: str, today: dt.date) -> Times:
    """The times in a text; several that are apart ("in 2019 and 2021") are several spans."""
    reader = DateReader(today)
    spans: list[Span] = []
    for pattern, read in _FORMS:

        def replaced(found: re.Match[str], read: _Read = read) -> str:
            try:
                span = read(reader, *found.groups())
            except (ValueError, OverflowError):  # the 31st of June, nine hundred years ago: no time at all
                return found[0]
            if span is None:
                return found[0]
            spans.append(span)
            return " ; "

        text = pattern.sub(replaced, text)
    if _REPEATED.search(text):
        text = _REPEATED.sub(" ", text)
        reader.notes.append(
            "Days of the week that come again and again were left out: only spans of time count."
        )
    return Times(tuple(_together(spans)), text, tuple(dict.fromkeys(reader.notes)))


def _together(spans: list[Span]) -> Iterator[Span]:
    """Open ends narrow what is closed, and of spans within each other the inner one counts."""
    after = max((span.after for span in spans if span.before is None and span.after), default=None)
    before = min((span.before for span in spans if span.after is None and span.before), default=None)
    closed = {(span.after, span.before) for span in spans if span.after and span.before}
    if not closed:
        if after is not None and before is not None and after >= before:
            yield from (Span(None, before), Span(after, None))
        elif spans:
            yield Span(after, before)
        return
    for start, end in sorted((start, end) for start, end in closed if start and end):
        within = any((a, b) != (start, end) and a and b and start <= a and b <= end for a, b in closed)
        if not within:
            first, last = max(start, after or start), min(end, before or end)
            yield Span(first, last) if first < last else Span(start, end)


def _plain(reader: DateReader, text: str) -> Span | None:
    period = reader.period(text)
    return None if period is None else Span(*period)


def _behind(reader: DateReader, text: str) -> Span | None:
    return None if text.lower() in SEASONS else _plain(reader, text)


def _open(reader: DateReader, word: str, text: str) -> Span | None:
    period = reader.period(text)
    if period is None:
        return None
    word = " ".join(word.lower().split())
    if word in ("since", "starting", "starting from", "from"):
        return Span(period[0], None)
    if word in ("after", "later than", "newer than"):
        return Span(period[1], None)
    return Span(None, period[0] if word in ("before", "older than", "earlier than") else period[1])


def _between(reader: DateReader, first: str, second: str) -> Span | None:
    """Where the first names no year, it is that of the second or the one before."""
    end = reader.period(second)
    if end is None:
        return None
    year = None if _HAS_YEAR.search(first) else end[0].year
    start = reader.period(first, year)
    if start is not None and year is not None and start[0] > end[0]:
        start = reader.period(first, year - 1)
    return None if start is None else _from_to(start, end)


def _from_to(first: Period, second: Period) -> Span:
    return Span(min(first[0], second[0]), max(first[1], second[1]))


def _days(
    reader: DateReader, first: str, second: str, month: str, year: str | None, relative: str | None
) -> Span:
    end = reader.day_month(None, second, month.lower(), year, relative and relative.lower())
    return _from_to((end[0].replace(day=int(first)), end[1]), end)


def _month_days(
    reader: DateReader, month: str, first: str, second: str, year: str | None, relative: str | None
) -> Span:
    return _days(reader, first, second, month, year, relative)


_Read = Callable[..., Span | None]
_EDGE = r"(?<![\w/.:-])(?:(?:(?:back|taken|made|shot|from|all|sometime)\s+)?"
_LEADS = (
    r"(?:(?:in|on|at|during|from|of|over|around|for|within|throughout|through|by|about|the|as\s+of)\s+)"
    r"{0,3})?"
)
_NO_LEADS = ")"
_END = r"(?!\w|[-/.:]\d)"
_DAY_MONTH, _MONTH_DAY = SPREADS


def _form(pattern: str, leads: str = _LEADS) -> re.Pattern[str]:
    return re.compile(f"{_EDGE}{leads}{pattern}{_END}", re.IGNORECASE)


_FORMS: list[tuple[re.Pattern[str], _Read]] = [
    (_form(rf"(?:between|from)\s+({DATE})\s+(?:and|to|until|till|through)\s+({DATE})", _NO_LEADS), _between),
    (_form(_DAY_MONTH), _days),
    (_form(_MONTH_DAY), _month_days),
    (_form(rf"({YEARS})\s*(?:-|\u2013|to|until)\s*({YEARS})"), _between),
    (
        _form(
            r"(since|starting(?:\s+from)?|after|later\s+than|newer\s+than|(?<!day )before"
            r"|older\s+than|earlier\s+than"
            rf"|until|till|up\s+to)\s+(?:the\s+)?({DATE})",
            _NO_LEADS,
        ),
        _open,
    ),
    (
        _form(rf"from\s+(?:the\s+)?({DATE})\s+on(?:wards?)?", _NO_LEADS),
        lambda reader, text: _open(reader, "from", text),
    ),
    (_form(f"({DATES})"), _plain),
    (_form(rf"(?:in|during|from|on|for|throughout)\s+(?:the\s+)?({BEHIND})", _NO_LEADS), _behind),
    (_form(rf"(?:at|on|over|during|for|around|from|in)\s+(?:the\s+)?({HOLIDAYS})", _NO_LEADS), _plain),
]
_HAS_YEAR = re.compile(r"\d{4}|year", re.IGNORECASE)
_REPEATED = re.compile(
    r"\b(?:on|at|during|every|each)\s+(?:the\s+)?(?:week(?:end|day)s?|(?:mon|tues|wednes|thurs|fri|satur|sun)days?)\b",
    re.IGNORECASE,
)
