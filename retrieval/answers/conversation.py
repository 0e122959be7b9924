"""What was asked before: kept in the catalog, for the next question to build on."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, cast, get_args

from retrieval.answers.shapes import Apart, Kind, Past, Plan, Search, Task, Which
from retrieval.db.turns import turns
from retrieval.errors import QueryError, RetrievalError
from retrieval.query.filters import Filter

if TYPE_CHECKING:
    from retrieval.state import State
    from retrieval.types import Answer

REMEMBERED = 6
"""Turns of the conversation that a new question is understood by."""
LIMITS = "limits"
CITED = "cited"


@dataclass(frozen=True, slots=True)
class Trail:
    """A conversation up to an answer, which carries it: it belongs to whoever holds that answer."""

    past: tuple[Past, ...] = ()
    where: Filter = field(default_factory=Filter)
    """What the person limited the answer to."""

    def on(self, past: Past, where: Filter) -> Trail:
        """The same with one more turn."""
        return Trail((*self.past, past)[-REMEMBERED:], where)


def followed(answer: Answer) -> Trail:
    """The conversation that an answer ends."""
    if not isinstance(answer.trail, Trail):
        raise QueryError(
            "This answer was not given by a catalog's ask, so that no question can go on from it."
        )
    return answer.trail


def recalled(state: State) -> Trail:
    """The conversation that was kept last."""
    with state.snapshot():
        rows = turns(state.reader, REMEMBERED)
    if not rows:
        raise QueryError("There is no conversation to go on with yet. Ask first: search ask QUESTION")
    past = tuple(
        Past(row.question, row.answer, plan_of(row.plan), _numbers(row.plan.get(CITED))) for row in rows
    )
    return Trail(past, filter_of(rows[-1].plan.get(LIMITS)))


def kept(state: State, past: Past, where: Filter, *, goes_on: bool) -> str:
    """Keep a turn; says why in a sentence where that cannot be done, and else nothing."""
    from retrieval.db.turns_writes import keep

    try:
        plan = {} if past.plan is None else plan_row(past.plan)
        with state.writer() as writer:
            row = {**plan, LIMITS: filter_row(where), CITED: list(past.cited)}
            keep(writer, past.question, past.answer, row, goes_on=goes_on)
    except RetrievalError as error:
        return f"The next question cannot go on from this one, which was not kept: {error}"
    return ""


def plan_row(plan: Plan) -> dict[str, Any]:
    """A plan as JSON that `plan_of` reads."""
    return {
        "kind": plan.kind,
        "subject": plan.subject,
        "which": plan.which,
        "by": plan.by,
        "searches": [
            {
                "words": search.words,
                "where": filter_row(search.where),
                **({"without": list(search.without)} if search.without else {}),
            }
            for search in plan.searches
        ],
        **({"task": plan.task.as_dict()} if plan.task else {}),
        **({"pictures": list(plan.pictures)} if plan.pictures else {}),
    }


def plan_of(row: Mapping[str, Any]) -> Plan | None:
    """The plan in a row; None for one that this version does not understand."""
    kind, which, searches = row.get("kind"), row.get("which"), row.get("searches")
    if kind not in get_args(Kind) or which not in (None, *get_args(Which)) or not isinstance(searches, list):
        return None
    if not all(isinstance(search, dict) for search in searches):
        return None
    return Plan(
        kind=cast("Kind", kind),
        searches=tuple(
            Search(
                str(search.get("words", "")), filter_of(search.get("where")), _texts(search.get("without"))
            )
            for search in searches
        ),
        subject=str(row.get("subject", "")),
        which=which,
        by=str(row.get("by", "rules")),
        task=_task(row.get("task")),
        pictures=_numbers(row.get("pictures")),
    )


def _task(row: object) -> Task | None:
    if not isinstance(row, dict) or row.get("way") not in get_args(Apart):
        return None
    number = row.get("number", 0)
    return Task(
        cast("Apart", row["way"]),
        str(row.get("word", "")),
        number if isinstance(number, int) else 0,
        str(row.get("unit", "")),
    )


def _numbers(row: object) -> tuple[int, ...]:
    return tuple(one for one in row if isinstance(one, int)) if isinstance(row, list) else ()


def _texts(row: object) -> tuple[str, ...]:
    return tuple(str(text) for text in row) if isinstance(row, list) else ()


def filter_row(where: Filter) -> dict[str, Any]:
    """What a filter says, as JSON; dates are written out, and a folder from where the process is."""
    row: dict[str, Any] = {}
    for one in fields(Filter):
        value = getattr(where, one.name)
        if value is None or value == ():
            continue
        if one.name == "folder":
            value = os.path.abspath(os.path.expanduser(os.fsdecode(value)))
        elif hasattr(value, "isoformat"):
            value = value.isoformat()
        elif not isinstance(value, str | int):
            value = list(value)
        row[one.name] = value
    return row


def filter_of(row: object) -> Filter:
    known = {one.name for one in fields(Filter)}
    said: dict[str, Any] = dict(row) if isinstance(row, dict) else {}
    kept: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in said.items()
        if name in known
    }
    return Filter(**kept)
