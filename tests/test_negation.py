"""What is not wanted, on its way through an answer: searched for as a sum, named, checked, remembered."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from retrieval import Catalog
from retrieval.answers.conversation import plan_of, plan_row
from retrieval.answers.shapes import Plan, Search
from retrieval.answers.understanding.negation import borne_out, statements
from retrieval.types import Answer
from tests.conftest import draw


@pytest.fixture
def library(tmp_path: Path, index: Callable[..., Any]) -> Iterator[Catalog]:
    folder = tmp_path / "library"
    for name, colour in (("a", "red"), ("b", "red"), ("c", "blue"), ("d", "green")):
        draw(folder / f"{name}.png", colour, mark=ord(name))
    index(folder)
    with Catalog(tmp_path / "catalog") as catalog:
        yield catalog


def names(answer: Answer) -> list[str]:
    return sorted(citation.path.stem for citation in answer.citations)


def steps(answer: Answer, name: str) -> list[str]:
    return [step.text for step in answer.steps if step.name == name]


def test_a_question_becomes_a_sum_and_its_step_says_so(library: Catalog) -> None:
    answer = library.ask("Show me something red, but not blue", answerer="rules")
    assert names(answer) == ["a", "b"]
    assert steps(answer, "plan") == ["Wanted: pictures of red without blue; by rules."]
    assert steps(answer, "search")[0].startswith("'red - blue': 2 pictures")
    assert answer.text == "Something red without something blue [1][2]."
    assert library.ask("red, not red", answerer="rules").citations == ()


def test_pictures_without_something_are_all_others(library: Catalog) -> None:
    answer = library.ask("pictures without red", answerer="rules")
    assert names(answer) == ["c", "d"]
    assert answer.text == "Pictures without something red [1][2]."
    assert steps(answer, "search")[0].startswith("'- red': 2 pictures")
    counted = library.ask("How many pictures without red are there?", answerer="rules")
    assert counted.text.startswith(
        "2 pictures look like pictures without something red [1][2] (match at least"
    )
    assert all(citation.match is not None and citation.match > 0.5 for citation in counted.citations)
    assert library.ask("Are there pictures without red?", answerer="rules").text.startswith(
        "Yes, pictures without"
    )


def test_what_shows_it_after_all_does_not_bear_out_that_it_is_not_there() -> None:
    sure = {"a cat": 0.9, "a dog": 0.8, "people": 0.25, "Pictures": None}
    assert borne_out("a cat", sure.get) == 0.9
    assert borne_out("a cat without a dog", sure.get) == pytest.approx(0.9 * 0.2)
    assert borne_out("a cat without a dog or people", sure.get) == pytest.approx(0.9 * 0.2 * 0.75)
    assert borne_out("Pictures without people", sure.get) == 0.75
    assert borne_out("a cat without a leash", sure.get) is None
    assert borne_out("a bird without a dog", sure.get) is None
    assert statements("a cat without a dog, a bird or people") == ["a cat", "a dog", "a bird", "people"]


def test_what_is_not_wanted_is_remembered_with_the_plan(library: Catalog) -> None:
    plan = Plan("find", (Search("red", without=("blue", "green")),), subject="red without blue or green")
    assert plan_of(plan_row(plan)) == plan
    assert plan_of({**plan_row(plan), "searches": [{"words": "red", "without": 7}]}) is not None
    library.ask("pictures without red", answerer="rules", keep=True)
    answer = library.ask("and without blue?", answerer="rules", follow_up=True)
    assert names(answer) == ["d"]
