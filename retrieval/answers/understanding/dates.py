"""Single expressions of time: `3 May 2022`, `last week`, `two years ago`, `the 90s`, `Easter 2021`."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable

from retrieval.answers.understanding import periods
from retrieval.answers.understanding.periods import DAY, SEASONS, Period, third
from retrieval.english.days import MONTHS, day_words

MONTH_NUMBERS = {name.lower(): number for number, name in enumerate(MONTHS, 1)}
MONTH_NUMBERS |= {name[:3]: number for name, number in list(MONTH_NUMBERS.items())} | {"sept": 9}
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
NUMBERS = {
    "a": 1, "an": 1, "one": 1, "two": 2, "couple of": 2, "a couple of": 2, "three": 3, "few": 3, "a few": 3,
    "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10, "eleven": 11, "twelve": 12,
}  # fmt: skip
MONTHS_IN = {"month": 1, "year": 12, "decade": 120}
RECENT_DAYS = 90
"""How far back `lately` reaches."""

_YEAR = r"(1[89]\d\d|20\d\d|21\d\d)"
_OF_YEAR = rf"(?:,?\s+(?:of\s+|in\s+)?(?:(?:the\s+year\s+)?{_YEAR}(?!\d)|(last|this)\s+year))"
_MONTH = (
    "(january|february|march|april|may|june|july|august|september|october|november|december"
    r"|jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec)\b\.?"
)
_DAY = r"(?:the\s+)?(\d{1,2})(?:st|nd|rd|th)?(?![\d\w])"
_ORDINAL = r"(?:the\s+)?\d{1,2}(?:st|nd|rd|th)"
_PART = r"(?:(early|late|mid)[\s-]+|(?:the\s+)?(beginning|start|middle|end)\s+of\s+(?:the\s+)?)"
_WHICH = r"(?:(last|this|past)\s+)"
_SEASON = r"(spring|summer|autumn|fall|winter)\b"
_HOLIDAY = (
    r"((?:christmas|xmas)(?:\s+(?:day|eve))?|new\s+year['’]?s?(?:\s+(?:eve|day))?|halloween"
    r"|valentine['’]?s?(?:\s+day)?|easter(?:\s+(?:sunday|monday))?|good\s+friday|thanksgiving|boxing\s+day)\b"
)
_WEEKDAY = f"({'|'.join(WEEKDAYS)})"
_COUNT = rf"(\d{{1,3}}|{'|'.join(sorted(NUMBERS, key=len, reverse=True))})"
_UNIT = "(day|week|month|year|decade)s?"

_ISO = r"(\d{4})-(\d{1,2})(?:-(\d{1,2}))?"
_NUMERIC = r"(\d{1,2})([./])(\d{1,2})([./])(\d{4})"
_DAY_MONTH = rf"{_DAY}(?:\s+of)?\s+{_MONTH}"
_MONTH_DAY = rf"{_MONTH}\s+{_DAY}"
_DECADE = r"(?:the\s+)?(18|19|20)?['’]?(\d)0['’]?s"
_NEAR_DAY = (
    r"((?:the\s+)?day\s+before\s+yesterday|yesterday|today|tonight|last\s+night"
    r"|this\s+(?:morning|afternoon|evening))"
)
_NAMED_UNIT = r"(?:the\s+)?(last|this|past|previous)\s+(week|weekend|month|year|decade)"
_LAST_SOME = rf"(?:the\s+)?(?:last|past|previous)\s+{_COUNT}\s+{_UNIT}"
_AGO = rf"{_COUNT}\s+{_UNIT}\s+ago"
_RECENT = r"(lately|recently|these\s+days)"
_DASH = r"\s*(?:-|\u2013|to|until|till|through|and)\s*"


class DateReader:
    """Reads single times relative to a day; `notes` tells what could be read in another way too."""

    def __init__(self, today: dt.date) -> None:
        self.today = today
        self.notes: list[str] = []

    def period(self, text: str, year: int | None = None) -> Period | None:
        """The days that one expression means; `year` is for one that names none."""
        plain = " ".join(text.lower().replace("’", "'").split())
        for pattern, read in _READS:
            found = pattern.fullmatch(plain)
            if found:
                return read(self, year, *found.groups())
        return None

    def day_month(
        self, default: int | None, day: str, month: str, year: str | None, relative: str | None
    ) -> Period:
        number = MONTH_NUMBERS[month]
        return self._latest(lambda y: periods.day(y, number, int(day)), self._year(year, relative) or default)

    def _month_day(
        self, default: int | None, month: str, day: str, year: str | None, relative: str | None
    ) -> Period:
        return self.day_month(default, day, month, year, relative)

    def _iso(self, _: int | None, year: str, month: str, day: str | None) -> Period:
        if day is None:
            return periods.month(int(year), int(month))
        return periods.day(int(year), int(month), int(day))

    def _numeric(self, _: int | None, first: str, sign: str, second: str, other: str, year: str) -> Period:
        one, two = int(first), int(second)
        if sign != other:
            raise ValueError("two signs in one date")
        day, month = (one, two) if sign == "." or one > 12 else (two, one)
        found = periods.day(int(year), month, day)
        if sign == "/" and max(one, two) <= 12 and one != two:
            self.notes.append(f"{first}/{second}/{year} was read as {day_words(found[0])}, the month first.")
        return found

    def _month(
        self, default: int | None, part: str | None, of: str | None, which: str | None, month: str,
        year: str | None, relative: str | None,
    ) -> Period:  # fmt: skip
        number = MONTH_NUMBERS[month]
        wanted = self._year(year, relative) or default
        return third(
            part or of, self._latest(lambda y: periods.month(y, number), wanted, over=which == "last")
        )

    def _season(
        self, default: int | None, part: str | None, of: str | None, which: str | None, name: str,
        year: str | None, relative: str | None,
    ) -> Period:  # fmt: skip
        first = SEASONS[name]
        wanted = self._year(year, relative) or default
        return third(
            part or of, self._latest(lambda y: periods.season(y, first), wanted, over=which == "last")
        )

    def _holiday(
        self, default: int | None, which: str | None, name: str, year: str | None, relative: str | None
    ) -> Period:
        plain = name.replace("'", "")
        wanted = self._year(year, relative) or default
        return self._latest(lambda y: periods.holiday(plain, y), wanted, over=which == "last")

    def _decade(
        self, _: int | None, part: str | None, of: str | None, century: str | None, tens: str
    ) -> Period:
        if century is None:
            century = "20" if 2000 + int(tens) * 10 <= self.today.year else "19"
        start = int(century) * 100 + int(tens) * 10
        return third(part or of, (dt.date(start, 1, 1), dt.date(start + 10, 1, 1)))

    def _whole_year(self, _: int | None, part: str | None, of: str | None, year: str) -> Period:
        return third(part or of, (dt.date(int(year), 1, 1), dt.date(int(year) + 1, 1, 1)))

    def _near_day(self, _: int | None, name: str) -> Period:
        back = 2 if "before" in name else 1 if name in ("yesterday", "last night") else 0
        day = self.today - back * DAY
        return day, day + DAY

    def _named_unit(self, _: int | None, part: str | None, of: str | None, which: str, unit: str) -> Period:
        if unit == "weekend":
            return self._weekend(over=which != "this")
        start = self._start(unit)
        back = 0 if which == "this" else -1
        return third(part or of, (self._step(start, unit, back), self._step(start, unit, back + 1)))

    def _weekend(self, *, over: bool) -> Period:
        """Saturday and Sunday: the latest that have begun, or the latest that are over."""
        saturday = self.today - (self.today.weekday() - 5) % 7 * DAY
        if over and saturday + 2 * DAY > self.today:
            saturday -= 7 * DAY
        return saturday, saturday + 2 * DAY

    def _weekday(self, _: int | None, which: str | None, name: str) -> Period:
        back = (self.today.weekday() - WEEKDAYS.index(name)) % 7
        if which == "last" and back == 0:
            back = 7
        day = self.today - back * DAY
        return day, day + DAY

    def _last_some(self, _: int | None, count: str, unit: str) -> Period:
        back = self._step(self.today, unit, -_number(count))
        return back + DAY if unit in ("day", "week") else back, self.today + DAY

    def _ago(self, _: int | None, count: str, unit: str) -> Period:
        start = self._step(self._start(unit), unit, -_number(count))
        return start, self._step(start, unit, 1)

    def _recent(self, _: int | None, name: str) -> Period:
        self.notes.append(f"'{name}' was read as the last {RECENT_DAYS} days.")
        return self.today - RECENT_DAYS * DAY, self.today + DAY

    def _year(self, named: str | None, relative: str | None) -> int | None:
        if named:
            return int(named)
        return None if relative is None else self.today.year - (relative == "last")

    def _latest(self, make: Callable[[int], Period], year: int | None, *, over: bool = False) -> Period:
        """Of what comes each year that of `year`, else the latest that has begun, or that is over."""
        if year is not None:
            return make(year)
        # The 29th of February comes every fourth year, and New Year's night begins in the old year.
        for candidate in range(self.today.year + 1, self.today.year - 9, -1):
            try:
                period = make(candidate)
            except ValueError:
                continue
            if (period[1] <= self.today) if over else (period[0] <= self.today):
                return period
        raise ValueError("no such day")

    def _start(self, unit: str) -> dt.date:
        today = self.today
        if unit in ("day", "week"):
            return today - (today.weekday() if unit == "week" else 0) * DAY
        if unit == "month":
            return today.replace(day=1)
        return dt.date(today.year - (today.year % 10 if unit == "decade" else 0), 1, 1)

    def _step(self, day: dt.date, unit: str, count: int) -> dt.date:
        if unit in ("day", "week"):
            return day + count * (7 if unit == "week" else 1) * DAY
        year, month = divmod(day.year * 12 + day.month - 1 + count * MONTHS_IN[unit], 12)
        last = periods.month(year, month + 1)[1] - DAY
        return last.replace(day=min(day.day, last.day))


def _number(text: str) -> int:
    return int(text) if text.isdigit() else NUMBERS[text]


_READS: list[tuple[re.Pattern[str], Callable[..., Period]]] = [
    (re.compile(pattern), read)
    for pattern, read in (
        (_ISO, DateReader._iso),
        (_NUMERIC, DateReader._numeric),
        (rf"{_DAY_MONTH}(?:{_OF_YEAR})?", DateReader.day_month),
        (rf"{_MONTH_DAY}(?:{_OF_YEAR})?", DateReader._month_day),
        (rf"{_PART}?{_WHICH}?{_MONTH}(?:{_OF_YEAR})?", DateReader._month),
        (rf"{_PART}?{_WHICH}?{_SEASON}(?:{_OF_YEAR})?", DateReader._season),
        (rf"{_WHICH}?{_HOLIDAY}(?:{_OF_YEAR})?", DateReader._holiday),
        (rf"{_PART}?{_DECADE}", DateReader._decade),
        (rf"{_PART}?(?:the\s+year\s+)?{_YEAR}", DateReader._whole_year),
        (_NEAR_DAY, DateReader._near_day),
        (rf"{_PART}?{_NAMED_UNIT}", DateReader._named_unit),
        (_LAST_SOME, DateReader._last_some),
        (_AGO, DateReader._ago),
        (_RECENT, DateReader._recent),
        (rf"{_WHICH}?{_WEEKDAY}", DateReader._weekday),
    )
]


def _bare(*patterns: str) -> str:
    """Any of the patterns, without groups of their own."""
    return "|".join(re.sub(r"\((?!\?)", "(?:", pattern) for pattern in patterns)


DATES = _bare(
    _ISO,
    _NUMERIC,
    rf"{_DAY_MONTH}{_OF_YEAR}",
    rf"{_MONTH_DAY}{_OF_YEAR}",
    rf"{_DAY}\s+of\s+{_MONTH}",
    rf"{_ORDINAL}\s+{_MONTH}",
    rf"{_MONTH}\s+{_ORDINAL}",
    *(rf"{_PART}?{_WHICH}?{name}{_OF_YEAR}" for name in (_MONTH, _SEASON, _HOLIDAY)),
    *(rf"{_PART}?{_WHICH}{name}" for name in (_MONTH, _SEASON, _HOLIDAY, _WEEKDAY)),
    rf"{_PART}{_MONTH}",
    rf"{_PART}?(?:the\s+)?(?:18|19|20)\d0['’]?s",
    r"the\s+['’]?\d0['’]?s",
    _NEAR_DAY,
    rf"{_PART}?{_NAMED_UNIT}",
    _LAST_SOME,
    _AGO,
    _RECENT,
    rf"{_PART}?(?:the\s+year\s+)?{_YEAR}(?!\s*(?:px|pixels?|mp|km|m|met(?:er|re)s|photos?|pictures?|images?|people)\b)",
)
"""What is a time wherever it stands."""
BEHIND = _bare(rf"{_DAY_MONTH}", rf"{_MONTH_DAY}", rf"{_PART}?{_MONTH}", r"['’]?\d0['’]?s", _WEEKDAY, _SEASON)
"""What is a time only behind a word that leads to one: `may` is a verb, `march` a walk."""
HOLIDAYS = _bare(_HOLIDAY)
DATE = rf"(?:{DATES}|{BEHIND}|{HOLIDAYS})"
"""What is a time where nothing else can stand."""
YEARS = _bare(_YEAR)
SPREADS = (
    rf"{_DAY}{_DASH}{_DAY}(?:\s+of)?\s+{_MONTH}(?:{_OF_YEAR})?",
    rf"{_MONTH}\s+{_DAY}{_DASH}{_DAY}(?:{_OF_YEAR})?",
)
"""Several days of one month."""
