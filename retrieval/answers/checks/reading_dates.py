"""The dates in a sentence.

A number is a day only beside a month, and four digits are a year only where they are used as one:
"3 dogs" and "2022 dogs" are no dates, and neither is "a dog may sleep".
"""

from __future__ import annotations

import re
from dataclasses import replace

from retrieval.answers.checks.said_dates import MONTH_NUMBERS, WEEKDAYS, Point, SaidDate

_SHORT_DAYS = {name[:3]: number for name, number in WEEKDAYS.items()} | {"tues": 1, "thur": 3, "thurs": 3}
_ALSO_WORDS = frozenset({"may", "march", "mar"})
"""Months only with a capital letter, where no year stands beside them."""
_TO = frozenset({"to", "until", "till", "through", "-", "–", "—"})
_LINKS = _TO | {",", "and", "or", "&"}
_BY_THE_WAY = frozenset({"in", "on", "from", "the", "of", "a"})
_BEFORE_A_TIME = frozenset(
    {"in", "of", "during", "this", "last", "early", "late", "mid", "from", "between", "around", "about"}
) | {"since", "before", "after", "until", "till", "by", "year"}
_OPEN = frozenset({"since", "before", "after", "until", "till"})
_OF_DAY = frozenset({"morning", "afternoon", "evening", "night", "noon", "weekend"})
_NO_NOUN_WORDS = """
    and or at in on near with by to until till through from of as is was were are the a an when while where
    which but during around about shows show has have
"""
_NO_NOUNS = frozenset(_NO_NOUN_WORDS.split())
"""Words that may follow a number which counts nothing."""
_TOKEN = re.compile(
    r"(?P<iso>(?<!\d)(?:1[89]|20)\d{2}([-/.])(?:0[1-9]|1[0-2])(?:\2\d{2})?(?!\d))"
    r"|(?P<written>(?<!\d)\d{1,2}([-/.])\d{1,2}\4(?:1[89]|20)\d{2}(?!\d))"
    r"|(?P<decade>(?<!\d)(?:1[89]|20)\d0['’]?s\b)"
    r"|(?P<number>\d+(?:[.,:]\d+)*(?:st|nd|rd|th)?)"
    r"|(?P<word>[^\W\d_]+(?:['’][^\W\d_]+)*)"
    r"|(?P<mark>\S)"
)
_TAKEN = re.compile(
    r"(?i)\b(?:taken|photographed|shot|captured|dated)\b"
    r"|\b(?:picture|photo|image)s?\s+(?:(?:is|are|was|were)\s+)?from\s+(?:the\s+)?$"
)


def said_dates(text: str) -> list[SaidDate]:
    """Every date in a text, but for those that it denies."""
    return _Reading(text).found()


class _Reading:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = list(_TOKEN.finditer(text))
        self._words = [token[0].casefold() for token in self._tokens]

    def found(self) -> list[SaidDate]:
        dates: list[SaidDate] = []
        place = 0
        while place < len(self._tokens):
            read = self._group(place)
            if read is None:
                place += 1
                continue
            date, place = read
            if date is not None:
                dates.append(date)
        return dates

    def _group(self, start: int) -> tuple[SaidDate | None, int] | None:
        """Times that are linked with each other; None for the date where it says nothing of a picture."""
        read = self._point(start, linked=False)
        if read is None:
            return None
        points, end, sure = read
        spanned = opened = self._opening(start)
        while (after := self._linked(end)) is not None and (more := self._point(after, linked=True)):
            if self._word(end) in _TO:
                spanned = "between"
            points, end, sure = [*points, *more[0]], more[1], sure and more[2]
        for place in range(len(points) - 2, -1, -1):
            if points[place].year is None:
                points[place] = replace(points[place], year=points[place + 1].year)
        how = "any"
        if len(points) > 1 and spanned in ("between", "from"):
            how = "span"
        elif opened in _OPEN:
            how = "until" if opened == "till" else opened
            if len(points) != 1 or points[0].year is None:
                return None, end
        if re.search(
            r"(?i)\bnot\s+(?:taken\s+|photographed\s+)?(?:in\s+|on\s+|from\s+)?$", self._before(start)
        ):
            return None, end
        of_picture = bool(_TAKEN.search(self._before(start)))
        first, last = self._tokens[start].start(), self._tokens[end - 1].end()
        return SaidDate(first, last, tuple(points), how, sure, of_picture), end

    def _point(self, at: int, *, linked: bool) -> tuple[list[Point], int, bool] | None:
        """The time that begins at a token, the token behind it, and whether it is sure to be one."""
        if at >= len(self._tokens):
            return None
        kind, raw = self._tokens[at].lastgroup, self._tokens[at][0]
        if kind == "iso":
            parts = [int(part) for part in re.split(r"\D", raw)]
            return [Point(parts[0], parts[1], tuple(parts[2:]))], at + 1, True
        if kind == "written":
            one, two, year = (int(part) for part in re.split(r"\D", raw))
            return [Point(year, two, (one,)), Point(year, one, (two,))], at + 1, True
        if kind == "decade":
            told = self._word(at - 1) == "the" and _TAKEN.search(self._before(at))
            return ([Point(int(raw[:4]), years=10)], at + 1, True) if told else None
        weekday = self._weekday(at)
        if weekday is not None:
            behind = at + 1 + (self._word(at + 1) in (",", "."))
            behind += self._word(behind) == "the"
            dated = self._dated(behind)
            if dated is not None:
                return [replace(dated[0], weekday=weekday)], dated[1], True
            led = self._word(at - 1) in ("on", "last", "this") or self._words[at - 2 : at] in (
                ["on", "a"],
                ["on", "the"],
            )
            alone = self._word(at) in WEEKDAYS or self._word(at).rstrip("s") in WEEKDAYS
            if alone and (led or linked or self._word(at + 1) in _OF_DAY):
                return [Point(weekday=weekday)], at + 1, True
            return None
        dated = self._dated(at)
        if dated is not None:
            return [dated[0]], dated[1], True
        return self._alone(at, linked=linked)

    def _dated(self, at: int) -> tuple[Point, int] | None:
        """A month with a day or a year: `3 May`, `3 and 4 May 2022`, `May 3, 2022`, `May 2022`."""
        month = self._month(at)
        if month is None:
            days, behind, through = self._days(at)
            behind += self._word(behind) == "of"
            month = self._month(behind) if days else None
            if month is None:
                return None
            year, end = self._year_behind(behind + 1)
            if year is None and not self._is_name(behind):
                return None
            through |= len(days) > 1 and self._word(at - 1) in ("between", "from")
            return Point(year, month, days, through=through), end
        year, end = self._year_behind(at + 1)
        if year is not None:
            return Point(year, month), end
        first = at + 1 + (self._word(at + 1) in (".", "the"))
        days, behind, through = self._days(first)
        if not days or not self._is_name(at):
            return None
        year, end = self._year_behind(behind)
        ordinal = not self._words[behind - 1].isdigit()
        if year is None and not ordinal and self._counts(behind):
            return None
        return Point(year, month, days, through=through), end

    def _alone(self, at: int, *, linked: bool) -> tuple[list[Point], int, bool] | None:
        before = self._word(at - 1)
        month = self._month(at)
        if month is not None:
            if linked or before in _BEFORE_A_TIME or self._word(at + 1) in _OF_DAY:
                return [Point(month=month)], at + 1, True
            return None
        year = self._year(at)
        if year is None:
            return None
        counts = self._counts(at + 1)
        if counts and before not in _BEFORE_A_TIME:
            return None
        return [Point(year)], at + 1, not counts

    def _days(self, at: int) -> tuple[tuple[int, ...], int, bool]:
        """Days of a month in a row, the token behind them, and whether those between are meant too."""
        days: list[int] = []
        end, through = at, False
        while (day := self._day(end)) is not None:
            days.append(day)
            end, link = end + 1, self._word(end + 1)
            if link not in _LINKS:
                break
            following = end + 1 + (self._word(end + 1) == "the")
            if self._day(following) is None:
                break
            through |= link in _TO
            end = following
        return tuple(days), end, through

    def _day(self, at: int) -> int | None:
        found = re.fullmatch(r"(\d{1,2})(?:st|nd|rd|th)?", self._word(at))
        return int(found[1]) if found and 1 <= int(found[1]) <= 31 else None

    def _year(self, at: int) -> int | None:
        return int(self._word(at)) if re.fullmatch(r"(?:1[89]|20)\d{2}", self._word(at)) else None

    def _year_behind(self, at: int) -> tuple[int | None, int]:
        """The year that a month or a day goes on with."""
        behind = at
        while self._word(behind) in (",", ".", "of"):
            behind += 1
        year = self._year(behind)
        return (None, at) if year is None else (year, behind + 1)

    def _month(self, at: int) -> int | None:
        return MONTH_NUMBERS.get(self._word(at))

    def _is_name(self, at: int) -> bool:
        return self._word(at) not in _ALSO_WORDS or self._tokens[at][0][0].isupper()

    def _weekday(self, at: int) -> int | None:
        word = self._word(at)
        if word in _SHORT_DAYS:
            return _SHORT_DAYS[word] if self._tokens[at][0][0].isupper() else None
        return WEEKDAYS.get(word, WEEKDAYS.get(word.rstrip("s")))

    def _counts(self, at: int) -> bool:
        """Whether the number before this token may be a number of something."""
        return (
            at < len(self._tokens)
            and self._tokens[at].lastgroup == "word"
            and self._word(at) not in _NO_NOUNS
        )

    def _linked(self, at: int) -> int | None:
        """The token behind a link with a further time."""
        if self._word(at) not in _LINKS:
            return None
        behind = at + 1
        while self._word(behind) in _LINKS | _BY_THE_WAY:
            behind += 1
        return behind

    def _opening(self, at: int) -> str:
        """The word that says how a time is meant."""
        before = at - 1
        while self._word(before) in ("the", "a", "early", "late", "mid", "year"):
            before -= 1
        return self._word(before)

    def _word(self, at: int) -> str:
        return self._words[at] if 0 <= at < len(self._words) else ""

    def _before(self, at: int) -> str:
        return self._text[: self._tokens[at].start()]
