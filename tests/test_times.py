"""Times in questions, relative to a day, and how times and other things are said in answers."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.answers.checks.citing import sentences
from retrieval.answers.telling.wording import plain, quoted
from retrieval.answers.understanding.periods import easter
from retrieval.answers.understanding.times import find_times
from retrieval.english.days import period_words, span_words
from retrieval.english.nouns import counted, listed, many, single, with_article

TODAY = dt.date(2024, 5, 15)  # a Wednesday
Ends = tuple[str | None, str | None]

TIMES: Sequence[tuple[str, Ends]] = [
    ("in 2022", ("2022-01-01", "2023-01-01")),
    ("in July 2023", ("2023-07-01", "2023-08-01")),
    ("in July", ("2023-07-01", "2023-08-01")),
    ("in may", ("2024-05-01", "2024-06-01")),
    ("2023-07", ("2023-07-01", "2023-08-01")),
    ("on 2023-07-04", ("2023-07-04", "2023-07-05")),
    ("on 4.7.2023", ("2023-07-04", "2023-07-05")),
    ("on the 4th of July", ("2023-07-04", "2023-07-05")),
    ("on July 4, 2022", ("2022-07-04", "2022-07-05")),
    ("on 29 February", ("2024-02-29", "2024-03-01")),
    ("from 3 to 9 May 2022", ("2022-05-03", "2022-05-10")),
    ("May 3-9, 2022", ("2022-05-03", "2022-05-10")),
    ("in early July 2023", ("2023-07-01", "2023-07-11")),
    ("at the end of 2022", ("2022-09-01", "2023-01-01")),
    ("in mid 2022", ("2022-05-01", "2022-09-01")),
    ("in July of last year", ("2023-07-01", "2023-08-01")),
    ("last summer", ("2023-06-01", "2023-09-01")),
    ("last winter", ("2023-12-01", "2024-03-01")),
    ("summer 2021", ("2021-06-01", "2021-09-01")),
    ("last March", ("2024-03-01", "2024-04-01")),
    ("last may", ("2023-05-01", "2023-06-01")),
    ("today", ("2024-05-15", "2024-05-16")),
    ("yesterday", ("2024-05-14", "2024-05-15")),
    ("the day before yesterday", ("2024-05-13", "2024-05-14")),
    ("this week", ("2024-05-13", "2024-05-20")),
    ("last week", ("2024-05-06", "2024-05-13")),
    ("last weekend", ("2024-05-11", "2024-05-13")),
    ("on Monday", ("2024-05-13", "2024-05-14")),
    ("last Wednesday", ("2024-05-08", "2024-05-09")),
    ("last month", ("2024-04-01", "2024-05-01")),
    ("this year", ("2024-01-01", "2025-01-01")),
    ("last decade", ("2010-01-01", "2020-01-01")),
    ("in the last 3 days", ("2024-05-13", "2024-05-16")),
    ("in the past two weeks", ("2024-05-02", "2024-05-16")),
    ("over the last six months", ("2023-11-15", "2024-05-16")),
    ("a week ago", ("2024-05-06", "2024-05-13")),
    ("two years ago", ("2022-01-01", "2023-01-01")),
    ("in the 90s", ("1990-01-01", "2000-01-01")),
    ("the 2010s", ("2010-01-01", "2020-01-01")),
    ("at Christmas 2022", ("2022-12-24", "2022-12-27")),
    ("at Christmas", ("2023-12-24", "2023-12-27")),
    ("on Christmas Eve", ("2023-12-24", "2023-12-25")),
    ("on New Year's Eve 2022", ("2022-12-31", "2023-01-02")),
    ("Easter 2023", ("2023-04-07", "2023-04-11")),
    ("at Thanksgiving 2023", ("2023-11-23", "2023-11-27")),
    ("between 2019 and 2021", ("2019-01-01", "2022-01-01")),
    ("2019-2021", ("2019-01-01", "2022-01-01")),
    ("from 2021 to 2019", ("2019-01-01", "2022-01-01")),
    ("between March and June 2019", ("2019-03-01", "2019-07-01")),
    ("from November to February 2020", ("2019-11-01", "2020-03-01")),
    ("since 2020", ("2020-01-01", None)),
    ("from 2015 on", ("2015-01-01", None)),
    ("since last summer", ("2023-06-01", None)),
    ("after 2018", ("2019-01-01", None)),
    ("before 2010", (None, "2010-01-01")),
    ("until 2015", (None, "2016-01-01")),
    ("since 2020 and before July 2021", ("2020-01-01", "2021-07-01")),
    ("in July 2023 since 2020", ("2023-07-01", "2023-08-01")),
]


@pytest.mark.parametrize(("text", "ends"), TIMES, ids=[row[0] for row in TIMES])
def test_a_time_is_read(text: str, ends: Ends) -> None:
    times = find_times(f"dogs {text}", TODAY)
    found = [
        tuple(None if day is None else day.isoformat() for day in (s.after, s.before)) for s in times.spans
    ]
    assert found == [ends]
    assert times.rest.replace(";", " ").replace("and", " ").split() == ["dogs"]


@pytest.mark.parametrize(
    "text",
    [
        "the garden in winter",
        "a christmas tree",
        "may I see the march of the penguins",
        "a photo of 1920x1080 pixels",
        "2000 people",
        "the fall of a leaf",
        "31 June 2022",
        "on 31.2.2022",
        "a Canon EOS 2000D",
        "9999 years ago",
    ],
)
def test_what_is_no_time_is_left_as_it_is(text: str) -> None:
    times = find_times(text, TODAY)
    assert (times.spans, times.rest) == ((), text)


def test_years_that_are_apart_stay_apart() -> None:
    spans = find_times("dogs in 2019 and 2021", TODAY).spans
    assert [span.limits["after"] for span in spans] == ["2019-01-01", "2021-01-01"]


def test_last_summer_in_summer_is_that_of_the_year_before() -> None:
    for today, year in ((dt.date(2024, 7, 1), 2023), (dt.date(2024, 9, 1), 2024)):
        assert find_times("last summer", today).spans[0].after == dt.date(year, 6, 1)


def test_a_date_that_reads_two_ways_is_told() -> None:
    times = find_times("on 7/4/2023", TODAY)
    assert times.spans[0].limits == {"after": "2023-07-04", "before": "2023-07-05"}
    assert times.notes == ("7/4/2023 was read as 4 July 2023, the month first.",)
    assert find_times("on 24/7/2023", TODAY).notes == ()


def test_days_that_come_again_and_again_are_left_out_and_told() -> None:
    times = find_times("hikes on weekends in 2022", TODAY)
    assert len(times.spans) == 1
    assert "weekends" not in times.rest
    assert "left out" in times.notes[0]


def test_easter_is_when_it_was() -> None:
    known = {
        1818: (3, 22),
        1943: (4, 25),
        2000: (4, 23),
        2008: (3, 23),
        2019: (4, 21),
        2024: (3, 31),
        2025: (4, 20),
    }
    assert {year: (easter(year).month, easter(year).day) for year in known} == known


@given(st.dates(dt.date(1900, 1, 1), dt.date(2150, 1, 1)), st.sampled_from([text for text, _ in TIMES]))
def test_a_time_begins_before_it_ends_on_any_day(today: dt.date, text: str) -> None:
    for span in find_times(text, today).spans:
        assert span.after is None or span.before is None or span.after < span.before


def test_lists_and_numbers_are_said_as_people_say_them() -> None:
    assert [listed(list("abc")[:count]) for count in range(4)] == ["", "a", "a and b", "a, b and c"]
    assert [counted(n, "picture") for n in (0, 1, 1204)] == ["0 pictures", "1 picture", "1,204 pictures"]


@pytest.mark.parametrize(
    ("one", "more"),
    [
        ("dog", "dogs"), ("box", "boxes"), ("city", "cities"), ("man", "men"), ("sheep", "sheep"), ("bus", "buses"),
        ("police car", "police cars"), ("person", "people"), ("Wolf", "Wolves"), ("glass", "glasses"), ("key", "keys"),
    ],
)  # fmt: skip
def test_one_and_many(one: str, more: str) -> None:
    assert many(one) == more
    if more != "glasses":  # also the pair that one wears
        assert single(more) == one
    assert single(one) == one


def test_articles_stand_where_they_are_said() -> None:
    said = [
        "dog",
        "owl",
        "hour",
        "unicorn",
        "grass",
        "dogs",
        "sunglasses",
        "ice cream",
        "Irish setter",
        "bus",
    ]
    assert [with_article(noun) for noun in said] == [
        "a dog", "an owl", "an hour", "a unicorn", "grass", "dogs", "sunglasses", "ice cream", "an Irish setter",
        "a bus",
    ]  # fmt: skip


def test_spans_and_periods_are_said_shortly() -> None:
    day = dt.date(2022, 5, 3)
    assert span_words([day]) == "on 3 May 2022"
    assert span_words([day, dt.date(2022, 5, 9), dt.date(2022, 5, 4)]) == "between 3 and 9 May 2022"
    assert span_words([day, dt.date(2022, 6, 9), dt.date(2022, 5, 4)]) == "between 3 May and 9 June 2022"
    assert span_words([]) == ""
    assert period_words(dt.date(2022, 1, 1), dt.date(2023, 1, 1)) == "in 2022"
    assert period_words(dt.date(2019, 1, 1), dt.date(2022, 1, 1)) == "between 2019 and 2021"
    assert period_words(dt.date(2022, 5, 1), dt.date(2022, 6, 1)) == "in May 2022"
    assert period_words(day, dt.date(2022, 5, 4)) == "on 3 May 2022"
    assert period_words(None, dt.date(2010, 1, 1)) == "before 2010"
    assert period_words(dt.date(2020, 7, 1), None) == "since July 2020"


@given(st.text(max_size=200) | st.text('[]1. !?\n"“”a\u202e\u2028［］', max_size=200))
def test_text_of_others_stays_inside_its_quotation_marks(text: str) -> None:
    said = quoted(text)
    assert said[0] == "“"
    assert said[-1] == "”"
    assert not set('"“”[]［］\n\r\u2028\u202e\x00') & set(said[1:-1])
    (whole,) = sentences(f"The text says {said} [1].")
    assert whole.cites == (1,)
    assert "[" not in plain(text)


def test_a_long_text_is_cut_between_words() -> None:
    said = plain("word " * 100, 23)
    assert said == "word word word word…"
    assert plain("Lunch. A dog!\nSt. Bernard") == "Lunch / A dog / St. Bernard"
