"""How good answers are: the file, the figures against their definitions, and the command."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from hypothesis import given
from hypothesis import strategies as st

from retrieval import Answer, Catalog, Citation, QueryError
from retrieval.answers.speaking import SpeakingAnswerer
from retrieval.errors import ModelUnavailable
from retrieval.evaluate.answers import (
    Judged,
    Question,
    _figures,
    asks_questions,
    evaluate_answers,
    judge,
    normal,
    read_questions,
    word_f1,
)
from retrieval.speech import Chat, Reply
from tests.conftest import json_lines


def answer(text: str, *image_ids: int, confidence: float = 0.9) -> Answer:
    citations = [Citation(n, Path(f"/p/{key}.jpg"), key) for n, key in enumerate(image_ids, 1)]
    return Answer(text, tuple(citations), (), confidence)


def judged(question: Question, said: Answer, *evidence: int) -> Judged:
    return judge(question, said, set(evidence))


@pytest.fixture
def file(tmp_path: Path) -> Callable[..., Path]:
    def write(*lines: Any) -> Path:
        path = tmp_path / "questions.jsonl"
        path.write_text(
            "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines), "utf-8"
        )
        return path

    return write


# The file


def test_a_file_of_questions_is_told_from_one_of_queries(file: Callable[..., Path]) -> None:
    assert asks_questions(file({"question": "What?", "answer": "this"}))
    assert not asks_questions(file({"query": "dog", "relevant": []}))
    assert not asks_questions(file("no json", {"question": "What?", "answer": "x"}))


def test_answers_are_one_several_or_none(file: Callable[..., Path]) -> None:
    path = file(
        {"question": "What?", "answer": "a dog", "evidence": ["a.jpg"], "kind": "what"},
        {"question": "How many?", "answer": [3, "three"]},
        {"question": "A zebra?", "answer": None},
    )
    questions, broken = read_questions(path)
    assert broken == []
    assert questions[0] == Question("What?", ("a dog",), (("a.jpg",),), "what")
    assert questions[1].answers == ("3", "three")
    assert questions[2].answers == ()


def test_lines_that_are_no_questions_are_told_by_number(file: Callable[..., Path]) -> None:
    path = file(
        {"question": "What?", "answer": "x"},
        "{",
        {"question": "What?"},
        {"question": " ", "answer": "x"},
        {"question": "What?", "answer": "x", "evidence": "a.jpg"},
        {"question": "What?", "answer": ["x", None]},
        ["question"],
        {"question": "Is there a dog?", "answer": True},
        {"question": "How many?", "answer": 3},
    )
    questions, broken = read_questions(path)
    assert [one.answers for one in questions] == [("x",), ("3",)]
    assert [number for number, _ in broken] == [2, 3, 4, 5, 6, 7, 8]
    assert 'no "answer"' in dict(broken)[3]


def test_a_file_without_a_question_is_refused(file: Callable[..., Path]) -> None:
    with pytest.raises(QueryError, match="asks no question: line 1"):
        read_questions(file("{", "}"))


# The figures


def test_case_articles_marks_and_punctuation_do_not_count() -> None:
    assert normal("The red car [1], [12] — a bus!") == "red car — bus"
    assert normal("Probably “a pizza” [1].") == "probably pizza"


@pytest.mark.parametrize(
    ("said", "right", "f1"),
    [
        ("red car", "red car", 1.0),
        ("red car", "blue bus", 0.0),
        ("a b c d", "a b", 2 * 0.5 * 1 / 1.5),
        ("dog dog", "dog", 2 * 0.5 * 1 / 1.5),
        ("", "", 1.0),
        ("", "dog", 0.0),
    ],
)
def test_f1_is_that_of_the_words(said: str, right: str, f1: float) -> None:
    assert word_f1(said, right) == pytest.approx(f1)


@given(st.lists(st.sampled_from("abcd"), max_size=6), st.lists(st.sampled_from("abcd"), max_size=6))
def test_f1_is_the_same_both_ways_and_between_0_and_1(one: list[str], other: list[str]) -> None:
    f1 = word_f1(" ".join(one), " ".join(other))
    assert f1 == pytest.approx(word_f1(" ".join(other), " ".join(one)))
    assert 0 <= f1 <= 1
    assert (f1 == 1) == (sorted(one) == sorted(other))


def test_the_best_of_several_right_answers_counts() -> None:
    question = Question("How many?", ("3", "three pictures"), ())
    one = judged(question, answer("Three pictures. [1]", 7))
    assert (one.exact, one.f1, one.contains) == (True, 1.0, True)
    one = judged(question, answer("There are 3 of them [1].", 7))
    assert (one.exact, one.contains) == (False, True)
    assert not judged(question, answer("There are 33.", 7)).contains


def test_a_citation_is_right_when_it_is_evidence() -> None:
    question = Question("What?", ("dog",), (("a",), ("b",), ("c",)))
    one = judged(question, answer("dog [1] [2]", 1, 9), 1, 2, 3)
    assert (one.cited, one.cited_right, one.evidence) == (2, 1, 3)
    assert judged(Question("What?", ("dog",), ()), answer("dog", 1)).cited_right is None


def test_declining_is_right_only_where_the_library_does_not_show_it() -> None:
    asked, unanswerable = Question("What?", ("dog",), ()), Question("A zebra?", (), ())
    silent = answer("The library does not show it.", confidence=0)
    figures = _figures(
        [
            judged(asked, silent),
            judged(asked, answer("dog")),
            judged(unanswerable, silent),
            judged(unanswerable, answer("yes")),
        ]
    )
    assert figures.questions == 4
    assert (figures.declined, figures.unanswerable, figures.declined_right) == (0.5, 2, 0.5)
    assert figures.exact == 0.5
    assert figures.citation_precision is None


def test_citations_are_counted_over_all_questions_together() -> None:
    question = Question("What?", ("dog",), (("a",),))
    figures = _figures(
        [
            judged(question, answer("dog", 1, 2, 3), 1, 2, 3, 4),
            judged(question, answer("dog", 9), 5),
            judged(Question("How many?", ("3",), ()), answer("3", 6, 7)),  # whose evidence is not known
        ]
    )
    assert figures.citation_precision == pytest.approx(3 / 4)
    assert figures.citation_recall == pytest.approx(3 / 5)


# Asking a catalog


def test_questions_are_asked_of_the_catalog(catalog: Path, file: Callable[..., Path]) -> None:
    path = file(
        {
            "question": "Is there a picture of red?",
            "answer": "yes",
            "evidence": ["red.png"],
            "kind": "whether",
        },
        {"question": "How many pictures do I have?", "answer": "6", "kind": "count"},
        {"question": "Show me what is not indexed", "answer": "x", "evidence": ["nowhere.png"]},
    )
    with Catalog(catalog, readonly=True) as opened:
        found = evaluate_answers(opened, path, answerer="rules")
    assert found.answerer == "rules"
    assert found.images == 6
    assert set(found.kinds) == {"whether", "count"}
    assert found.kinds["count"].contains == 1.0
    assert found.judged[0].cited_right == 1
    assert any("nowhere.png" in note for note in found.notes)
    (row,) = found.rows()
    assert row["direction"] == "question-to-answer"
    assert row["questions"] == 3


def test_a_question_that_cannot_be_asked_costs_no_other(catalog: Path, file: Callable[..., Path]) -> None:
    path = file(
        {"question": "x" * 3000, "answer": "yes"}, {"question": "How many pictures do I have?", "answer": "6"}
    )
    with Catalog(catalog, readonly=True) as opened:
        found = evaluate_answers(opened, path, answerer="rules")
    assert (found.figures.questions, found.figures.contains) == (1, 1.0)
    assert any(note.startswith("Question 1 was left out: The question has 3,000") for note in found.notes)


def test_questions_none_of_which_can_be_asked_are_refused(catalog: Path, file: Callable[..., Path]) -> None:
    path = file({"question": "x" * 3000, "answer": "yes"})
    with Catalog(catalog, readonly=True) as opened, pytest.raises(QueryError, match="3,000 characters"):
        evaluate_answers(opened, path, answerer="rules")


class Fading:
    """A model that says nothing, and after `replies` chats cannot be reached any more."""

    id, note, batch_size = "fading", "It says nothing.", 4

    def __init__(self, replies: int) -> None:
        self._left = replies

    def reply(
        self,
        chats: Sequence[Chat],
        *,
        max_tokens: int,
        seconds: float | None = None,
        on_text: Callable[[str], None] | None = None,
    ) -> list[Reply]:
        self._left -= len(chats)
        if self._left < 0:
            raise ModelUnavailable("It is not there.")
        return [Reply("NOTHING") for _ in chats]


def test_one_model_answers_all_questions_and_what_was_judged_outlives_it(
    catalog: Path, file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Fading] = []

    def load(spec: str | None) -> SpeakingAnswerer:
        made.append(Fading(replies=1))
        return SpeakingAnswerer(made[-1])

    monkeypatch.setattr("retrieval.evaluate.answers.load_answerer", load)
    path = file(*[{"question": f"Is there a picture of red {n}?", "answer": "yes"} for n in range(5)])
    with Catalog(catalog, readonly=True) as opened:
        found = evaluate_answers(opened, path, answerer="local")
    assert len(made) == 1
    assert found.figures.questions == 1
    assert any(note.startswith("Ended at question 2 of 5: ") for note in found.notes)
    assert any(note.startswith("Of 1 of 1 answers: ") for note in found.notes)


def test_the_command_prints_the_figures(
    catalog: Path, file: Callable[..., Path], search: Callable[..., Result]
) -> None:
    path = file({"question": "How many pictures do I have?", "answer": "6"}, "{")
    result = search("eval", path, "--catalog", catalog)
    assert result.exit_code == 0
    assert "1 questions over 6 pictures, rules" in result.stdout
    assert "Line 2 was left out" in result.stderr
    (row,) = json_lines(search("eval", path, "--catalog", catalog, "--json").stdout)
    assert (row["questions"], row["contains"]) == (1, 1.0)


@pytest.mark.parametrize("option", [("--rerank", "crops"), ("--plot", "x.png"), ("--split", "test")])
def test_options_of_rankings_do_not_go_with_questions(
    catalog: Path, file: Callable[..., Path], search: Callable[..., Result], option: tuple[str, str]
) -> None:
    path = file({"question": "What?", "answer": "x"})
    assert search("eval", path, "--catalog", catalog, *option).exit_code == 2


def test_an_answerer_goes_with_questions_only(
    catalog: Path, file: Callable[..., Path], search: Callable[..., Result]
) -> None:
    path = file({"query": "red", "relevant": ["red.png"]})
    assert search("eval", path, "--catalog", catalog, "--answerer", "rules").exit_code == 2
