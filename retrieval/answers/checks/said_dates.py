"""Dates that a sentence gives to a picture, held against when it was taken."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from dataclasses import dataclass

from retrieval.english.days import MONTHS, day_of

MONTH_NUMBERS = {
    name.casefold(): number for number, month in enumerate(MONTHS, 1) for name in (month, month[:3])
} | {"sept": 9}
_DAYS = "monday tuesday wednesday thursday friday saturday sunday"
WEEKDAYS = {name: number for number, name in enumerate(_DAYS.split())}


@dataclass(frozen=True, slots=True)
class Point:
    """A time as far as it is said; what is not said is None, or empty."""

    year: int | None = None
    month: int | None = None
    days: tuple[int, ...] = ()
    weekday: int | None = None
    years: int = 1
    through: bool = False
    """Whether all days from the first to the last are meant."""

    def holds(self, day: dt.date) -> bool:
        if self.year is not None and not self.year <= day.year < self.year + self.years:
            return False
        if self.month not in (None, day.month) or self.weekday not in (None, day.weekday()):
            return False
        if self.through:
            return min(self.days) <= day.day <= max(self.days)
        return not self.days or day.day in self.days

    @property
    def first(self) -> tuple[int, int, int]:
        return self.year or 0, self.month or 1, min(self.days, default=1)

    @property
    def last(self) -> tuple[int, int, int]:
        return (self.year or 0) + self.years - 1, self.month or 12, max(self.days, default=31)


@dataclass(frozen=True, slots=True)
class SaidDate:
    """One or more times that belong together, where they stand in a text, and how they are meant."""

    start: int
    end: int
    points: tuple[Point, ...]
    how: str = "any"
    """`any` of the points, `span` from the first to the last, or `since`, `before`, `after`, `until` one."""
    sure: bool = True
    """False where the number may as well count something: then it can only contradict."""
    of_picture: bool = False
    """Whether the text says that the picture was taken then."""

    def holds(self, day: dt.date) -> bool:
        if self.how == "any":
            return any(point.holds(day) for point in self.points)
        if self.how == "span":
            first, last = self.points[0].first, self.points[-1].last
            whole = bool(first[0] and last[0])
            now = (day.year, day.month, day.day) if whole else (0, day.month, day.day)
            return first <= now <= last if first <= last else now >= first or now <= last
        [point], now = self.points, (day.year, day.month, day.day)
        bounds = {
            "since": now >= point.first,
            "before": now < point.first,
            "after": now > point.last,
            "until": now <= point.last,
        }
        return bounds[self.how]


def contradicted(dates: Sequence[SaidDate], taken_at: str | None, written: str) -> bool:
    """Whether the dates of a sentence are not those of a picture.

    A date that is written in the picture or of it, `written` in lower case, may be what is spoken of.
    """
    day = day_of(taken_at or "")
    return any(
        (day is None or not date.holds(day)) and (date.of_picture or not _is_written(date, written))
        for date in dates
    )


def _is_written(date: SaidDate, written: str) -> bool:
    words = set(re.findall(r"\w+", written))
    return all(
        any(str(point.year + more) in words for more in range(point.years))
        if point.year is not None
        else any(name in words for name, number in MONTH_NUMBERS.items() if number == point.month)
        or any(name in words for name, number in WEEKDAYS.items() if number == point.weekday)
        for point in date.points
    )
