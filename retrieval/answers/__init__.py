"""Questions about a library, answered from its pictures with the pictures cited."""

from __future__ import annotations

import datetime as dt
import math
import operator
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from retrieval import config
from retrieval.config import ASK_LIMIT, ASK_SECONDS
from retrieval.errors import QueryError

if TYPE_CHECKING:
    from retrieval.explain import Explanation
    from retrieval.protocols import Answerer, Progress
    from retrieval.query.filters import Filter
    from retrieval.query.terms import Picture
    from retrieval.speech import Example
    from retrieval.state import State
    from retrieval.types import Answer

RULES = "rules"
MOST_EXAMPLES = 8
MOST_LOOKED_AT = 100
UNSHOWN = (
    "The examples were not used: only a model that sees learns from them. Ask one: --answerer endpoint or "
    "--answerer local"
)
EXAMPLE_SIDE = 768
"""Longer side of the pictures that are shown as examples."""


def load_answerer(spec: str | None = None) -> Answerer:
    """The answerer that `spec` names; cheap until it is first asked.

    Without one, or with `auto`: the endpoint where one is set up, else rules.
    """
    if spec in (None, "", "auto"):
        spec = "endpoint" if config.endpoint() else RULES
    if spec == RULES:
        from retrieval.answers.telling.rules import RuleAnswerer

        return RuleAnswerer()
    from retrieval.answers.speaking import SpeakingAnswerer
    from retrieval.captioners import load_speaker

    return SpeakingAnswerer(load_speaker(str(spec), what="answerer"))


def ask(
    state: State,
    question: str,
    *,
    limit: int = ASK_LIMIT,
    answerer: str | Answerer | None = None,
    where: Filter | None = None,
    examples: Iterable[Example | tuple[Picture, str]] = (),
    follow_up: bool = False,
    after: Answer | None = None,
    keep: bool = False,
    rerank: str | None = None,
    seconds: float = ASK_SECONDS,
    check: bool = True,
    progress: Progress | None = None,
    on_text: Callable[[str], None] | None = None,
    on_answer: Callable[[Answer], None] | None = None,
) -> Answer:
    """Answer a question about the library; see `Catalog.ask`."""
    from dataclasses import replace

    from retrieval.answers.conversation import Trail, followed, kept, recalled
    from retrieval.answers.limits import understood
    from retrieval.answers.pipeline import answered
    from retrieval.answers.shapes import Inquiry, Past
    from retrieval.answers.thinking import Terms
    from retrieval.query.filters import Filter

    text = _question(question)
    terms = Terms(_limit(limit), rerank, _seconds(seconds), check, progress)
    if where is not None and not isinstance(where, Filter):
        raise QueryError(f"'where' takes a Filter, not {type(where).__name__}.")
    _not_empty(state)
    if follow_up and after is not None:
        raise QueryError("A question goes on from what was kept or from an answer, not from both.")
    trail = Trail() if after is None else followed(after)
    if follow_up:
        trail = recalled(state)
    wanted = understood(where or Filter()) or trail.where
    thinker = load_answerer(answerer) if isinstance(answerer, str | None) else answerer
    inquiry = Inquiry(text, dt.date.today(), wanted, _examples(examples), trail.past, on_text=on_text)
    answer, plan = answered(state, inquiry, thinker, terms)
    notes = (*answer.notes, *(note for note in state.damage() if note not in answer.notes))
    if inquiry.examples and not thinker.sees:
        notes = (*notes, UNSHOWN)
    turn = Past(text, answer.text, plan, tuple(citation.image_id for citation in answer.citations))
    answer = replace(answer, notes=notes, html=_drawn, trail=trail.on(turn, wanted))
    if on_answer is not None:
        on_answer(answer)
    if keep:
        note = kept(state, turn, wanted, goes_on=follow_up)
        notes = (*notes, note) if note else notes
    return replace(answer, notes=notes)


def evidence(state: State, answer: Answer) -> list[Explanation]:
    """Where in each cited picture its sentence is borne out; see `Catalog.evidence`."""
    from retrieval.asking import explained
    from retrieval.errors import ImageError
    from retrieval.query.terms import Query

    found: list[Explanation] = []
    for citation in answer.citations:
        try:
            found.append(
                explained(state, Query.text(citation.sentence or answer.question), citation.image_id)
            )
        except (ImageError, QueryError):
            continue  # gone from the disk or from the catalog; `image_id` of the others tells which are left
    return found


def _drawn(answer: Answer) -> str:
    from retrieval.show.notebook import answer_html

    return answer_html(answer)


def _question(question: str) -> str:
    if not isinstance(question, str):
        raise QueryError(f"A question is a text, not {type(question).__name__}.")
    text = " ".join(question.encode("utf-8", "replace").decode().split())
    if not text:
        raise QueryError('The question is empty. Ask something: search ask "What did we eat in Lisbon?"')
    if len(text) > config.MAX_QUESTION:
        raise QueryError(
            f"The question has {len(text):,} characters; at most {config.MAX_QUESTION:,} are read. "
            "Ask for one thing at a time."
        )
    return text


def _limit(limit: int) -> int:
    try:
        number = operator.index(limit)
    except TypeError:
        raise QueryError(f"A limit is a whole number, not {limit!r}.") from None
    if not 1 <= number <= MOST_LOOKED_AT:
        raise QueryError(f"An answer looks at 1 to {MOST_LOOKED_AT} pictures, not at {number}.")
    return number


def _seconds(seconds: float) -> float:
    if not (seconds > 0 and math.isfinite(seconds)):
        raise QueryError(f"An answer needs more than 0 seconds, and an end: {seconds:g} is no such time.")
    return float(seconds)


def _not_empty(state: State) -> None:
    from retrieval.db import reads
    from retrieval.state import CatalogEmpty

    state.active()
    with state.snapshot():
        count = reads.counts(state.reader)["images"]
    if not count:
        raise CatalogEmpty(
            f"The catalog at {state.location.name} holds no pictures now. Index some: search index PATH"
        )


def _examples(examples: Iterable[Example | tuple[Picture, str]]) -> tuple[Example, ...]:
    """Pictures with the right answers, opened; a picture is a file, an open one, never a web address."""
    from retrieval.images import thumbnail
    from retrieval.meaning import open_picture
    from retrieval.speech import Example

    found: list[Example] = []
    for one in examples:
        picture, answer = (one.image, one.answer) if isinstance(one, Example) else one
        if not answer.strip():
            raise QueryError("An example has no answer. Write it: --example PICTURE=ANSWER")
        found.append(Example(thumbnail(open_picture(picture), EXAMPLE_SIDE), answer.strip()))
        if len(found) > MOST_EXAMPLES:
            raise QueryError(f"At most {MOST_EXAMPLES} examples are shown to a model.")
    return tuple(found)
