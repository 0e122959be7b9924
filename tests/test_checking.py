"""Drafts in, what is left of them out: reading marks, holding claims against pictures, cutting and marking."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.answers.checks.checking import (
    Checked,
    Claim,
    Verdict,
    cited,
    claims_of,
    filtered,
    judged,
    trust,
)
from retrieval.answers.checks.citing import renumbered, says_nothing, sentences
from retrieval.answers.checks.reading_dates import said_dates
from retrieval.answers.checks.recorded import on_record
from retrieval.speech import Facts, Named, Told
from retrieval.types import Tag

LEAST = 0.5


def written(draft: str, pictures: int = 9) -> str:
    return renumbered(cited(draft, pictures)[0])[0]


def checked(
    draft: str,
    matches: Mapping[str, float | None],
    looks: Mapping[str, float | None] | None = None,
    facts: Mapping[int, Facts] | None = None,
) -> Checked:
    kept, uncited = cited(draft, 9)

    def matcher(claims: Sequence[tuple[int, str]]) -> list[float | None]:
        return [matches.get(text) for _, text in claims]

    def model(claims: Sequence[tuple[int, str]]) -> list[float | None]:
        return [(looks or {}).get(text) for _, text in claims]

    known = {number: Facts() for number in range(1, 10)} | dict(facts or {})
    verdicts = judged(kept, known, subject="a thing", least=lambda: LEAST, matcher=matcher, model=model)
    result = filtered(kept, verdicts, "a thing")
    result.uncited = uncited
    return result


def text(result: Checked) -> str:
    return renumbered(result.sentences)[0]


@pytest.mark.parametrize(
    ("draft", "expected"),
    [
        ("A dog runs [1]. A cat sleeps [2].", "A dog runs [1]. A cat sleeps [2]."),
        ("A dog runs. [1] A cat sleeps. [2]", "A dog runs [1]. A cat sleeps [2]."),
        ("A dog [2] and a cat [1].", "A dog [1] and a cat [2]."),
        ("A dog runs [1, 3].", "A dog runs [1][2]."),
        ("A dog runs [2-4].", "A dog runs [1][2][3]."),
        ("A dog runs [1] [2], [3].", "A dog runs [1][2][3]."),
        ("- A dog [1]\n- A cat [2]", "A dog [1]. A cat [2]."),
        ("[1] shows a dog and [2] a cat.", "[1] shows a dog and [2] a cat."),
        ("In [3], a dog runs.", "In [1], a dog runs."),
        ("It cost 0.62 euros in St. Gallen [1]!", "It cost 0.62 euros in St. Gallen [1]!"),
        ('The sign reads "STOP. GO [7]. Now" [1].', 'The sign reads "STOP. GO [1]. Now" [2].'),
        ("A dog [1][1].", "A dog [1]."),
        ("The dog [1] is eating pizza.", "The dog [1] is eating pizza."),
        ("Both [2] and [1] show dogs.", "Both [1] and [2] show dogs."),
        ("[3] and [1] show dogs, [2] a cat.", "[1] and [2] show dogs, [3] a cat."),
        ("Dogs [1], [2] and [3] are eating.", "Dogs [1], [2] and [3] are eating."),
        ("A cat [1], not a dog, sat there.", "A cat [1], not a dog, sat there."),
        ("There is a dog in [1] and [2].", "There is a dog in [1] and [2]."),
        ("Yes, [1] and [2] show dogs.", "Yes, [1] and [2] show dogs."),
        ("According to [2], it is a dog.", "According to [1], it is a dog."),
        ("The dog in [1] runs; the cat in [2] sleeps.", "The dog in [1] runs; the cat in [2] sleeps."),
        ("A dog (the old one [1]) runs [2].", "A dog (the old one [1]) runs [2]."),
    ],
)
def test_marks_are_read_and_counted_anew(draft: str, expected: str) -> None:
    assert written(draft) == expected


def test_a_sentence_without_a_picture_there_is_dropped() -> None:
    kept, uncited = cited("A dog runs [1]. A cat sleeps [7]. A bird sings.", 3)
    assert renumbered(kept)[0] == "A dog runs [1]."
    assert uncited == ["A cat sleeps", "A bird sings"]


def test_numbers_beyond_the_pictures_are_removed() -> None:
    assert written("A dog runs [1][8].", 2) == "A dog runs [1]."
    assert written("A dog runs [0][2].", 2) == "A dog runs [1]."


@pytest.mark.parametrize(
    ("draft", "claims"),
    [
        ("The dog [1] is eating pizza.", [(1, "The dog is eating pizza")]),
        ("Both [1] and [2] show dogs.", [(1, "dogs"), (2, "dogs")]),
        ("A cat [1], not a dog, sat there.", [(1, "A cat, not a dog, sat there")]),
        ("The dog in [1] is asleep.", [(1, "The dog is asleep")]),
        ("A dog runs in [1] and a cat in [2].", [(1, "A dog runs"), (2, "a cat")]),
        ("Pizza [1] and wine [2] on a table.", [(1, "Pizza"), (2, "wine on a table")]),
        ("Yes, [1] shows a dog.", [(1, "a dog")]),
        ("No dog [1].", [(1, "No dog")]),
        ("No, a cat [1].", [(1, "a cat")]),
        ("Dogs [1]; none of them says when it was taken.", [(1, "Dogs")]),
        ("Dogs [1]; some of them eat.", [(1, "Dogs; some of them eat")]),
    ],
)
def test_what_goes_on_behind_a_mark_is_part_of_the_claim(draft: str, claims: list[tuple[int, str]]) -> None:
    assert list(claims_of(cited(draft, 9)[0], "a thing")) == claims


@pytest.mark.parametrize(
    "draft",
    [
        "The dog [1] is eating pizza.",
        "A cat [1], not a dog, sat there.",
        "Both [1] and [2] show dogs.",
        "The dog [1] is on the beach of Rome [2].",
        "The dog [1], which is old [2].",
    ],
)
def test_a_sentence_that_goes_on_behind_its_mark_is_kept_or_dropped_whole(draft: str) -> None:
    kept, _ = cited(draft, 9)
    good = {claim: Verdict("supported", 0.9) for claim in claims_of(kept, "")}
    whole = filtered(kept, good, "")
    assert text(whole) == draft
    assert not whole.dropped
    for claim in good:
        result = filtered(kept, {**good, claim: Verdict("against", 0.0)}, "")
        assert text(result) == ""
        assert result.dropped == [kept[0].plain]


def test_what_went_of_a_sentence_is_said() -> None:
    result = checked("Pizza [1] and wine [2] on a table.", {"Pizza": 0.9, "wine on a table": 0.0})
    assert text(result) == "Pizza [1]."
    assert result.dropped == ["and wine on a table (of: Pizza and wine on a table)"]
    kept, _ = cited("A dog [1][2] runs.", 2)
    verdicts = {
        Claim(1, "A dog runs"): Verdict("against", 0.1),
        Claim(2, "A dog runs"): Verdict("supported", 0.9),
    }
    result = filtered(kept, verdicts, "")
    assert text(result) == "A dog [1] runs."
    assert result.dropped == ["1 picture cited for: A dog runs"]


def test_parts_that_are_left_end_and_begin_as_sentences_do() -> None:
    good, bad = Verdict("supported", 0.9), Verdict("against", 0.0)
    kept, _ = cited("In [1], a dog runs and in [2], a cat sleeps.", 2)
    one, two = claims_of(kept, "")
    assert text(filtered(kept, {one: good, two: bad}, "")) == "In [1], a dog runs."
    assert text(filtered(kept, {one: bad, two: good}, "")) == "In [1], a cat sleeps."


def test_a_picture_that_is_not_there_takes_the_sentence_built_on_it_along() -> None:
    kept, uncited = cited("Both [1] and [9] show dogs. The dog [9] eats pizza [1]. A dog [1] and [9].", 3)
    assert renumbered(kept)[0] == "A dog [1]."
    assert uncited == ["Both show dogs", "The dog eats pizza"]
    kept, uncited = cited("There is a dog in [1] and [9]. Dogs [1] and [9] chase a cat [2].", 3)
    assert renumbered(kept)[0] == "There is a dog in [1]."
    assert uncited == ["Dogs chase a cat"]


@pytest.mark.parametrize("sentence", ["The pictures do not show a cat.", "No picture shows it.", "Nothing."])
def test_words_of_absence_are_told_from_claims(sentence: str) -> None:
    assert says_nothing(sentence)
    assert not says_nothing("A dog runs on a beach.")


def test_what_nothing_bears_out_is_cut() -> None:
    result = checked("A dog runs [1]. A cat sleeps [2].", {"A dog runs": 0.9, "A cat sleeps": 0.05})
    assert text(result) == "A dog runs [1]."
    assert result.dropped == ["A cat sleeps"]


def test_a_part_that_is_not_borne_out_leaves_the_rest_of_its_sentence() -> None:
    matches = {"pizza": 0.9, "espresso": 0.01, "a cake": 0.8}
    result = checked("Probably pizza [1] and espresso [2]; perhaps a cake [3].", matches)
    assert text(result) == "Probably pizza [1]; perhaps a cake [2]."
    result = checked(
        "Probably pizza [1], espresso [2] and a cake [3].", {**matches, "pizza": 0.0, "espresso": 0.9}
    )
    assert text(result) == "Espresso [1] and a cake [2]."
    assert result.claim(2) == Claim(2, "Espresso")
    assert result.verdict(2) == Verdict("supported", 0.9)


def test_one_picture_of_several_that_does_not_show_it_is_not_cited() -> None:
    kept, _ = cited("A dog runs [1][2].", 2)
    verdicts = {
        Claim(1, "A dog runs"): Verdict("against", 0.1),
        Claim(2, "A dog runs"): Verdict("supported", 0.9),
    }
    assert [sentence.written for sentence in filtered(kept, verdicts, "").sentences] == ["A dog runs [2]."]


def test_matcher_and_model_that_disagree_leave_a_mark() -> None:
    result = checked("A dog runs [1].", {"A dog runs": 0.02}, {"A dog runs": 1.0})
    assert text(result) == "A dog runs (not certain) [1]."
    result = checked("A dog runs [1].", {"A dog runs": 0.9}, {"A dog runs": 0.0})
    assert text(result) == "A dog runs (not certain) [1]."
    assert result.claim(1) == Claim(1, "A dog runs")
    verdict = result.verdict(1)
    assert verdict is not None
    assert verdict.support == pytest.approx(0.45)


def test_a_doubt_that_is_said_already_gets_no_second_mark() -> None:
    assert text(checked("Perhaps a dog [1].", {"a dog": 0.3})) == "Perhaps a dog [1]."


def test_a_model_that_says_no_and_a_matcher_that_shrugs_cut_a_claim() -> None:
    assert not checked("A dog runs [1].", {"A dog runs": 0.3}, {"A dog runs": 0.0}).sentences


def test_what_cannot_be_compared_is_kept_without_a_figure() -> None:
    result = checked("A dog runs [1].", {})
    assert text(result) == "A dog runs [1]."
    assert result.verdict(1) == Verdict("unchecked")


def test_a_doubt_about_a_sentence_that_goes_on_stands_at_its_end() -> None:
    result = checked("The dog [1] is old.", {"The dog is old": 0.02}, {"The dog is old": 1.0})
    assert text(result) == "The dog [1] is old (not certain)."
    assert result.claim(1) == Claim(1, "The dog is old")


def test_what_was_not_checked_is_said_and_trusted_half() -> None:
    result = checked("A dog runs [1]. A cat sleeps [2].", {"A cat sleeps": 0.9})
    assert result.unchecked == ["A dog runs"]
    assert trust(0.8, Verdict("unchecked")) == pytest.approx(0.4)
    assert trust(0.8, Verdict("supported", 0.6)) == pytest.approx(0.7)
    assert trust(0.8, None) == 0.8, "nobody wanted a check"


def test_the_threshold_is_that_of_what_compared_in_the_end() -> None:
    least = [0.5]

    def matcher(claims: Sequence[tuple[int, str]]) -> list[float | None]:
        least[0] = 0.9
        return [0.7 for _ in claims]

    kept, _ = cited("A dog runs [1].", 1)
    verdicts = judged(kept, {1: Facts()}, subject="", least=lambda: least[0], matcher=matcher, model=None)
    assert [verdict.state for verdict in verdicts.values()] == ["doubtful"]


def test_marks_without_words_stand_for_what_was_asked() -> None:
    assert not checked("[1].", {"a thing": 0.0}).sentences
    assert checked("[1].", {"a thing": 0.9}).verdict(1) == Verdict("supported", 0.9)


FACTS = Facts(
    tags=(Tag("dog", 0.8), Tag("beach", 0.6)),
    named=(Named("Shetland sheepdog", 0.5, ("sheepdog", "dog")), Named("collie", 0.3, ("dog",))),
    told=(Told("Rex after his bath", "added"),),
    seen="OPEN until 18:00",
    taken_at="2022-05-03T10:00:00",
    place="Lisbon, Portugal",
    camera="Nikon D90",
    keywords=("holiday",),
)


@pytest.mark.parametrize(
    ("claim", "sure"),
    [
        ("Taken on 3 May 2022 near Lisbon, Portugal", 1.0),
        ("taken with the Nikon D90", 1.0),
        ("a dog", 0.8),
        ("dogs on the beach", 0.6),
        ("a Shetland sheepdog", 0.5),
        ('the sign reads "OPEN until 18:00"', 1.0),
        ("the sign reads “open UNTIL 18:00”", 1.0),
        ("Rex after his bath", 0.9),
        ("a dog with a violin", None),
        ('the sign reads "CLOSED"', None),
        ("a dog in 2019", 0.0),
        ("Taken in 2021", 0.0),
        ("", None),
    ],
)
def test_the_catalogs_record_bears_out_what_it_knows(claim: str, sure: float | None) -> None:
    assert on_record(claim, FACTS) == (sure if sure is None else pytest.approx(sure))


@pytest.mark.parametrize(
    "claim",
    [
        "Taken in May 2022",
        "Taken on 2022-05-03",
        "taken on May 3, 2022",
        "taken on May 3rd",
        "taken on the 3rd of May",
        "Photographed on Tuesday",
        "Photographed on Tuesday, 3 May 2022",
        "Tue 3 May 2022",
        "Taken between 1 and 9 May 2022",
        "on 2 and 3 May 2022",
        "Taken between May and July 2022",
        "Taken from April 2021 to June 2022",
        "2021-2023",
        "on 30 April and 3 May 2022",
        "Taken before 2023",
        "Taken since 2020",
        "Taken 3.5.2022",
        "taken in the 2020s",
        "taken in 2022, near Lisbon",
        "Lisbon, 2022",
    ],
)
def test_dates_that_the_record_has_are_borne_out(claim: str) -> None:
    assert on_record(claim, FACTS) == 1.0


@pytest.mark.parametrize(
    "claim",
    [
        "Taken in December 2022",
        "Photographed in December",
        "Taken on 3 December 2022",
        "Taken on Friday 7 December 2022",
        "taken on 7 May 2022",
        "taken on May 7",
        "taken on Tuesday, 7 May 2022",
        "taken on Friday, 3 May 2022",
        "a dog on Friday",
        "a dog on a Friday morning",
        "2022-05-04",
        "Taken on 2022-06",
        "Taken between 4 and 9 May 2022",
        "Taken between June and July",
        "2019-2021",
        "Taken before 2022",
        "Taken after 3 May 2022",
        "taken in the 1990s",
        "In 2019 dogs played here",
        "a dog in Lisbon, 2019",
        "Taken in May 2022 and shown in June 2023",
        "Taken 4.6.2022",
        "on 3 May and 4 June 2021",
    ],
)
def test_dates_that_differ_from_the_record_contradict_it(claim: str) -> None:
    assert on_record(claim, FACTS) == 0.0
    assert on_record(claim, replace(FACTS, taken_at=None)) == 0.0


@pytest.mark.parametrize(
    "claim",
    [
        "3 dogs",
        "3 dogs in Lisbon",
        "5 dogs",
        "2022 dogs",
        "1999 dogs",
        "10 dogs on the beach",
        "the dog is 3",
        "dogs in 2022 pictures",
        "the dogs April and June",
        "a dog may march",
        "of the dogs 7 may sleep",
        "the dog sat in the sun",
        "a 1950s dog",
        "one dog",
        "not taken in 2019",
    ],
)
def test_numbers_and_names_that_are_no_dates_are_left_to_what_looks(claim: str) -> None:
    assert on_record(claim, FACTS) is None


def test_a_date_that_stands_in_the_picture_is_no_date_of_the_picture() -> None:
    sign = replace(FACTS, seen="Since 1890. Closed on Friday. 3 June 1945")
    assert on_record('a sign that reads "3 June 1945"', sign) == 1.0
    assert on_record('reads "Since 1890 / closed on Friday. 3 June …"', sign) == 1.0
    assert on_record('reads "Closed on Fri"', sign) is None
    assert on_record("a shop since 1890", sign) is None
    assert on_record("closed on Friday", sign) is None
    assert on_record("Taken on 3 June 1945", sign) == 0.0
    assert on_record("Photographed on Friday", sign) == 0.0
    assert on_record("The photo is from June 1945", sign) == 0.0
    assert on_record("The photo shows a shop since 1890", sign) is None


def test_a_false_month_is_cut_though_all_other_words_are_on_record() -> None:
    said = "Photographed in December 2022"
    result = checked(f"3 dogs [1]. {said} [1].", {"3 dogs": 0.1, said: 1.0}, {said: 1.0}, {1: FACTS})
    assert text(result) == ""
    assert result.dropped == ["3 dogs", said]


def test_a_year_that_the_picture_is_not_from_is_cut_whatever_models_say() -> None:
    said = "A dog in 1999"
    assert not checked(f"{said} [1].", {said: 1.0}, {said: 1.0}, {1: FACTS}).sentences


WORDS = (
    "3 31st 2022 2022-05 3.5.2022 2020s May march Tue Tuesday on in between from and to - , the not taken a"
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(WORDS.split()), max_size=9).map(" ".join))
def test_dates_are_found_where_they_stand_whatever_is_around_them(claim: str) -> None:
    dates = said_dates(claim)
    assert [date.start for date in dates] == sorted(date.start for date in dates)
    assert all(date.start < date.end <= len(claim) and claim[date.start : date.end].strip() for date in dates)
    assert on_record(claim, FACTS) in (None, 0.0, 1.0)


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet=st.sampled_from('aB .!?"“”[]()0123,;-–and\n'), max_size=80), st.integers(1, 5))
def test_whatever_a_draft_is_only_pictures_that_are_there_are_cited(draft: str, pictures: int) -> None:
    kept, _ = cited(draft, pictures)
    assert all(1 <= number <= pictures for sentence in kept for number in sentence.cites)
    told, order = renumbered(kept)
    assert sorted(order.values()) == list(range(1, len(order) + 1))
    again = {number for sentence in sentences(told) for number in sentence.cites}
    assert again <= set(order.values())
