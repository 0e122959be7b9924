"""Describing the whole library: which pictures are due, and what came of it.

What is described already is passed over, so the same command goes on where the last one ended.
"""

from __future__ import annotations

import math
import operator
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from retrieval.db import descriptions as db
from retrieval.db import reads
from retrieval.describing.report import DescribeReport
from retrieval.describing.run import Run
from retrieval.describing.sights import check_style, chosen
from retrieval.errors import QueryError
from retrieval.facts import catalog_facts
from retrieval.fitting import Fitting
from retrieval.protocols import Settling
from retrieval.query.filters import Filter
from retrieval.types import Description

if TYPE_CHECKING:
    from retrieval.protocols import Captioner, Progress
    from retrieval.speech import Style
    from retrieval.state import State

MOST_CANDIDATES = 16
AT_ONCE = 500


def describe_library(
    state: State,
    *,
    captioner: str | Captioner | None = None,
    style: Style = "caption",
    where: Filter | None = None,
    again: bool = False,
    candidates: int = 1,
    matcher: str | None = None,
    limit: int | None = None,
    progress: Progress | None = None,
    stopped: Callable[[], bool] | None = None,
    seconds: float | None = None,
) -> DescribeReport:
    """Describe the pictures of the catalog that this captioner has not described as they are now.

    See `Catalog.describe_library`.
    """
    started = time.monotonic()
    state.check_writable()
    check_style(style)
    candidates = _whole(candidates, "The number of candidate captions")
    if not 1 <= candidates <= MOST_CANDIDATES:
        raise QueryError(f"A picture gets 1 to {MOST_CANDIDATES} candidate captions, not {candidates}.")
    limit = None if limit is None else _whole(limit, "A limit")
    if limit is not None and limit < 1:
        raise QueryError(f"A limit of {limit} describes nothing. Ask for at least 1.")
    end = None if seconds is None else started + _seconds(seconds)
    ids = _in(state, where)
    speaker = chosen(captioner)
    if isinstance(speaker, Settling):
        speaker.settle(seconds)  # what is described already is known by its id
    fitting = Fitting(state, matcher) if candidates > 1 or matcher is not None else None
    run = Run(
        state,
        speaker,
        style,
        candidates,
        fitting,
        progress or (lambda _step, _figures: None),
        stopped or (lambda: False),
        end,
        again=again,
    )
    due = _due(state, ids, speaker, style, again=again)
    if due or _mute(state):
        from retrieval.db.locking import acquire

        alone = acquire(state.location, state.location.describing, doing="describing the pictures of")
        try:
            # Whoever described until now has left less to do.
            due = _due(state, ids, speaker, style, again=again)
            run.through(due if limit is None else due[:limit])
        finally:
            alone.release()
    return DescribeReport(
        described=run.described,
        unchanged=len(ids) - len(due),
        failed=run.failed,
        offered=run.offered,
        kept=run.kept,
        empty=run.empty,
        interrupted=run.interrupted,
        captioner=speaker.id,
        seconds=round(time.monotonic() - started, 3),
        waiting=len(due) - run.described - run.failed,
        matcher=None if fitting is None else fitting.id,
        note=speaker.note,
    )


def stored_descriptions(
    state: State, *, where: Filter | None = None, style: Style = "caption"
) -> Iterator[Description]:
    """What is kept of earlier runs, by id; pictures without a description are left out."""
    check_style(style)
    ids = _in(state, where)
    for start in range(0, len(ids), AT_ONCE):
        part = ids[start : start + AT_ONCE]
        with state.snapshot():
            said = db.kept(state.reader, part, style)
        facts = catalog_facts(state, sorted(said))
        for image_id, known in facts.items():
            one = said[image_id]
            yield Description(known.path, one.text, known.tags, one.captioner, image_id, seen=one.seen)


def _in(state: State, where: Filter | None) -> list[int]:
    """The pictures that can be seen and pass the filter, by id."""
    if where is not None and not isinstance(where, Filter):
        raise QueryError(f"A filter is a Filter(...), not a {type(where).__name__}.")
    with state.snapshot():
        view = state.view(state.active(), where or Filter())
        ids = view.store.ids if view.allowed is None else view.store.ids[view.allowed]
        return [int(image_id) for image_id in ids]


def _due(state: State, ids: Sequence[int], captioner: Captioner, style: Style, *, again: bool) -> list[int]:
    """The pictures that are to be described; with `again`, those that were not for the longest time first."""
    with state.snapshot() as reader:
        standing = db.standing(reader, style)
    due = []
    for image_id in ids:
        now = standing.get(image_id)
        if now is not None and now.seen and not captioner.sees:
            continue  # what a model saw is worth more than what is known without looking
        if again or now is None or now.captioner != captioner.id:
            due.append(image_id)
    if again:
        due.sort(key=lambda image_id: standing[image_id].made_at if image_id in standing else 0.0)
    return due


def _mute(state: State) -> bool:
    """Whether texts wait for their vectors."""
    with state.snapshot():
        return reads.texts_waiting(state.reader, state.active().id) > 0


def _whole(number: int, what: str) -> int:
    try:
        return operator.index(number)
    except TypeError:
        raise QueryError(f"{what} is a whole number, not {number!r}.") from None


def _seconds(seconds: float) -> float:
    try:
        number = float(seconds)
    except (TypeError, ValueError):
        number = math.nan
    if not (number > 0 and math.isfinite(number)):
        raise QueryError(f"A run needs more than 0 seconds, and an end: {seconds!r} is no such time.")
    return number
