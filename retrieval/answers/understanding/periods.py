"""Stretches of days: of months and years, of parts of them, of holidays."""

from __future__ import annotations

import datetime as dt

DAY = dt.timedelta(days=1)
Period = tuple[dt.date, dt.date]
"""The first day, and the first that is too late."""
SEASONS = {"spring": 3, "summer": 6, "autumn": 9, "fall": 9, "winter": 12}
"""The month in which each begins in the northern half of the globe."""
PARTS = {"early": 0, "beginning": 0, "start": 0, "mid": 1, "middle": 1, "late": 2, "end": 2}


def day(year: int, month: int, number: int) -> Period:
    found = dt.date(year, month, number)
    return found, found + DAY


def month(year: int, number: int) -> Period:
    return dt.date(year, number, 1), dt.date(year + number // 12, number % 12 + 1, 1)


def season(year: int, first: int) -> Period:
    """Three months from `first` on."""
    return dt.date(year, first, 1), dt.date(year + first // 12, (first + 2) % 12 + 1, 1)


def third(part: str | None, whole: Period) -> Period:
    """The early, the middle or the late third of it; all of it where no part is named."""
    if part is None:
        return whole
    start, end = whole
    if start.month == start.day == end.month == end.day == 1 and end.year == start.year + 1:
        bounds = (start, dt.date(start.year, 5, 1), dt.date(start.year, 9, 1), end)
    else:
        length = (end - start) / 3
        bounds = (
            start,
            start + dt.timedelta(round(length / DAY)),
            start + dt.timedelta(round(2 * length / DAY)),
            end,
        )
    place = PARTS[part]
    return bounds[place], bounds[place + 1]


def holiday(name: str, year: int) -> Period:
    """The days of a holiday, in words without apostrophes: `christmas`, `new years eve`, `easter monday`."""
    first, _, more = name.partition(" ")
    if first in ("christmas", "xmas", "boxing"):
        return _christmas("boxing" if first == "boxing" else more, year)
    if first == "new":
        return _new_year(more, year)
    if first in ("easter", "good"):
        return _around_easter(name, year)
    if first == "thanksgiving":
        start = dt.date(year, 11, 1)
        start += dt.timedelta(days=(3 - start.weekday()) % 7 + 21)
        return start, start + 4 * DAY
    return day(year, 10, 31) if first == "halloween" else day(year, 2, 14)


def _christmas(more: str, year: int) -> Period:
    start, days = {"eve": (24, 1), "day": (25, 1), "boxing": (26, 1)}.get(more, (24, 3))
    return dt.date(year, 12, start), dt.date(year, 12, start) + days * DAY


def _new_year(more: str, year: int) -> Period:
    """The eve belongs to the year that ends with it, and the night goes on."""
    if more.endswith(" eve"):
        return dt.date(year, 12, 31), dt.date(year + 1, 1, 2)
    return (day(year, 1, 1)) if more.endswith(" day") else (dt.date(year - 1, 12, 31), dt.date(year, 1, 2))


def _around_easter(name: str, year: int) -> Period:
    sunday = easter(year)
    start, days = {
        "good friday": (-2, 1), "easter sunday": (0, 1), "easter monday": (1, 1)
    }.get(name, (-2, 4))  # fmt: skip
    return sunday + start * DAY, sunday + (start + days) * DAY


def easter(year: int) -> dt.date:
    """Easter Sunday of the western churches, by the Gregorian computus."""
    golden, century = year % 19, year // 100
    epact = (century - century // 4 - (8 * century + 13) // 25 + 19 * golden + 15) % 30
    moon = epact - (epact // 28) * (1 - (29 // (epact + 1)) * ((21 - golden) // 11))
    weekday = (year + year // 4 + moon + 2 - century + century // 4) % 7
    offset = moon - weekday
    number = 3 + (offset + 40) // 44
    return dt.date(year, number, offset + 28 - 31 * (number // 4))
