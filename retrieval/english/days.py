"""Days and spans of days in words."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip


def day_of(moment: str) -> dt.date | None:
    """The day of a time as the catalog writes it; None for what is no time."""
    try:
        return dt.date.fromisoformat(moment[:10])
    except ValueError:
        return None


def day_words(day: dt.date) -> str:
    """`3 May 2022`."""
    return f"{day.day} {MONTHS[day.month - 1]} {day.year}"


def span_words(days: Iterable[dt.date]) -> str:
    """When something was, with its preposition: `on 3 May 2022`, `between 3 and 9 May 2022`."""
    known = sorted(set(days))
    if not known:
        return ""
    first, last = known[0], known[-1]
    if first == last:
        return f"on {day_words(first)}"
    if len(known) == 2 and first.year != last.year:
        return f"on {day_words(first)} and {day_words(last)}"
    if first.year != last.year:
        begin = day_words(first)
    elif first.month != last.month:
        begin = f"{first.day} {MONTHS[first.month - 1]}"
    else:
        begin = str(first.day)
    return f"between {begin} and {day_words(last)}" if len(known) > 2 else f"on {begin} and {day_words(last)}"


def period_words(after: dt.date | None, before: dt.date | None) -> str:
    """A filter of dates in words; `before` is the first day that is too late: `in May 2022`, `since 2020`."""
    if after is None and before is None:
        return ""
    if before is None and after is not None:
        return f"since {_start_words(after)}"
    assert before is not None
    if after is None:
        return f"before {_start_words(before)}"
    last = before - dt.timedelta(days=1)
    if after == last:
        return f"on {day_words(after)}"
    if (after.month, after.day, before.month, before.day) == (1, 1, 1, 1):
        years = before.year - after.year
        return f"in {after.year}" if years == 1 else f"between {after.year} and {last.year}"
    if after.day == 1 and before.day == 1:
        begin, end = f"{MONTHS[after.month - 1]} {after.year}", f"{MONTHS[last.month - 1]} {last.year}"
        return f"in {begin}" if begin == end else f"between {begin} and {end}"
    return span_words([after, after + dt.timedelta(days=1), last]) if last > after else ""


def _start_words(day: dt.date) -> str:
    if (day.month, day.day) == (1, 1):
        return str(day.year)
    return f"{MONTHS[day.month - 1]} {day.year}" if day.day == 1 else day_words(day)
