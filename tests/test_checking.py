"""Drafts in, what is left of them out: reading marks, holding claims against pictures, cutting and marking."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.answers.checking import (
    Checked,
    Claim,
    Verdict,
    cited,
    filtered,
    judged,
    on_record,
    says_nothing,
)
from retrieval.answers.citing import renumbered, sentences
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
    verdicts = judged(kept, known, subject="a thing", least=LEAST, matcher=matcher, model=model)
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


def test_a_year_that_the_picture_is_not_from_is_cut_whatever_models_say() -> None:
    said = "A dog in 1999"
    assert not checked(f"{said} [1].", {said: 1.0}, {said: 1.0}, {1: FACTS}).sentences


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet=st.sampled_from('aB .!?"“”[]()0123,;-–and\n'), max_size=80), st.integers(1, 5))
def test_whatever_a_draft_is_only_pictures_that_are_there_are_cited(draft: str, pictures: int) -> None:
    kept, _ = cited(draft, pictures)
    assert all(1 <= number <= pictures for sentence in kept for number in sentence.cites)
    told, order = renumbered(kept)
    assert sorted(order.values()) == list(range(1, len(order) + 1))
    again = {number for sentence in sentences(told) for number in sentence.cites}
    assert again <= set(order.values())
