"""Describing the whole library: a batch of pictures is one transaction, so that any run can be cut short.

What is described already is passed over, so the same command goes on where the last one ended.
With several candidates the captions filter themselves: those that the image-text matcher does not
agree with are dropped, and the best of the others is kept.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from retrieval.db import descriptions as db
from retrieval.db import reads
from retrieval.describing.ahead import Ahead, Passed, read_indexed
from retrieval.describing.alt import plain
from retrieval.describing.report import DescribeReport
from retrieval.describing.sights import NEAR, check_style, chosen, sight
from retrieval.errors import MissingDependency, ModelError, ModelUnavailable, QueryError, UnknownModel
from retrieval.facts import catalog_facts
from retrieval.fitting import Fitting
from retrieval.query.filters import Filter
from retrieval.texts import Texts
from retrieval.types import Description

if TYPE_CHECKING:
    from PIL import Image

    from retrieval.db.queries import Writer
    from retrieval.db.reads import FileRow
    from retrieval.protocols import Captioner, Progress
    from retrieval.speech import Sight, Style
    from retrieval.state import State

MOST_CANDIDATES = 16
MAX_CHARS = 4000
AT_ONCE = 500
SAID = 5
"""Pictures that are passed over are named one by one up to here; the rest are counted."""
IN_A_ROW = 3
"""A model that fails for so many single pictures one after the other is not asked further."""


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
    if not 1 <= candidates <= MOST_CANDIDATES:
        raise QueryError(f"A picture gets 1 to {MOST_CANDIDATES} candidate captions, not {candidates}.")
    if limit is not None and limit < 1:
        raise QueryError(f"A limit of {limit} describes nothing. Ask for at least 1.")
    ids = _in(state, where)
    speaker = chosen(captioner)
    fitting = Fitting(state, matcher) if candidates > 1 or matcher is not None else None
    due = _due(state, ids, speaker, style, again=again)
    run = _Run(
        state,
        speaker,
        style,
        candidates,
        fitting,
        progress or (lambda _step, _figures: None),
        stopped or (lambda: False),
        None if seconds is None else started + seconds,
    )
    if due or _mute(state):
        with state.writer() as writer:
            run.through(writer, due if limit is None else due[:limit])
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
        with state.lock:
            said = db.kept(state.reader, part, style)
        facts = catalog_facts(state, sorted(said))
        for image_id, known in facts.items():
            text, captioner = said[image_id]
            yield Description(known.path, text, known.tags, captioner, image_id)


def _in(state: State, where: Filter | None) -> list[int]:
    """The pictures that can be seen and pass the filter, by id."""
    with state.snapshot():
        view = state.view(state.active(), where or Filter())
        ids = view.store.ids if view.allowed is None else view.store.ids[view.allowed]
        return [int(image_id) for image_id in ids]


def _due(state: State, ids: Sequence[int], captioner: Captioner, style: Style, *, again: bool) -> list[int]:
    with state.snapshot() as reader:
        standing = db.standing(reader, style)
    due = []
    for image_id in ids:
        now = standing.get(image_id)
        if now is not None and now.seen and not captioner.sees:
            continue  # what a model saw is worth more than what is known without looking
        if again or now is None or now.captioner != captioner.id:
            due.append(image_id)
    return due


def _mute(state: State) -> bool:
    """Whether texts wait for their vectors."""
    with state.lock:
        return reads.texts_waiting(state.reader, state.active().id) > 0


@dataclass(slots=True)
class _Run:
    state: State
    captioner: Captioner
    style: Style
    candidates: int
    fitting: Fitting | None
    tell: Progress
    stopped: Callable[[], bool]
    end: float | None
    described: int = 0
    failed: int = 0
    offered: int = 0
    kept: int = 0
    empty: int = 0
    interrupted: bool = False
    _failing: int = 0
    """Pictures in a row that the model failed for."""
    _problem: ModelError | None = None

    def through(self, writer: Writer, due: Sequence[int]) -> None:
        size = max(1, self.captioner.batch_size)
        with self.state.lock:
            files = db.files(self.state.reader, due)
        problem: ModelError | None = None
        try:
            if due:
                self.tell("encode", {"total": len(due), "done": 0})
                self._describe(writer, [files[image_id] for image_id in due if image_id in files], size)
            problem = None if self.described else self._problem
        except KeyboardInterrupt:
            self.interrupted = True
        except ModelError as error:
            problem = error
        if self.failed > SAID:
            self.tell("note", {"text": f"{self.failed - SAID} more pictures were passed over."})
        if not self.interrupted:
            # What was written is to be found, also where an earlier run was cut short before this.
            self.interrupted = Texts(self.state).embed(writer, self.tell, self.stopped)
        if problem is not None:
            kept = (
                f" What was described before ({self.described} of {len(due)} pictures) is kept; the same "
                "command goes on from there."
            )
            raise type(problem)(f"{problem}{kept if self.described else ''}") from problem

    def _describe(self, writer: Writer, rows: Sequence[FileRow], size: int) -> None:
        done = 0
        with Ahead(rows, size, read=read_indexed if self.captioner.sees else None) as batches:
            for batch in batches:
                if self.stopped():
                    self.interrupted = True
                    return
                if self.end is not None and time.monotonic() >= self.end:
                    return
                seen: list[tuple[FileRow, Image.Image | None]] = []
                for row, found in batch:
                    if isinstance(found, Passed):
                        self._pass_over(row, found.why)
                    else:
                        seen.append((row, found))
                self._keep(writer, seen)
                done += len(batch)
                self.tell("advance", {"total": len(rows), "done": done, "failed": self.failed})

    def _keep(self, writer: Writer, seen: Sequence[tuple[FileRow, Image.Image | None]]) -> None:
        """Caption a batch, and commit what was said of it."""
        facts = catalog_facts(self.state, [row.id for row, _ in seen], near=NEAR)
        sights = [(row, sight(facts[row.id], image)) for row, image in seen if row.id in facts]
        self._say(writer, sights)

    def _say(self, writer: Writer, sights: Sequence[tuple[FileRow, Sight]]) -> None:
        from retrieval.db.descriptions_writes import NewDescription, put_descriptions

        if not sights:
            return
        try:
            found = self.captioner.captions(
                [shown for _, shown in sights], style=self.style, count=self.candidates
            )
        except (ModelUnavailable, MissingDependency, UnknownModel):
            raise
        except ModelError as error:
            if len(sights) > 1:
                # Each by itself, so that one that the model fails for does not take the others along.
                for one in sights:
                    self._say(writer, [one])
                return
            self._failing += 1
            self._problem = error
            if self._failing >= IN_A_ROW:
                raise
            self._pass_over(sights[0][0], str(error))
            return
        self._failing = 0
        offers = [
            (row, list(dict.fromkeys(line for text in texts if (line := plain(text, MAX_CHARS)))))
            for (row, _), texts in zip(sights, found, strict=True)
        ]
        agreed = self._agreed(offers)
        new = [
            NewDescription(row.id, row.content_hash, best, offered, kept)
            for row, best, offered, kept in agreed
        ]
        put = set(put_descriptions(writer, self.captioner.id, self.style, new, searched=self.captioner.sees))
        for row, best, offered, kept in agreed:
            if row.id not in put:
                self._pass_over(row, "it changed meanwhile")
                continue
            self.described += 1
            self.offered += offered
            self.kept += kept
            self.empty += best is None

    def _agreed(
        self, offers: Sequence[tuple[FileRow, list[str]]]
    ) -> list[tuple[FileRow, str | None, int, int]]:
        """For each picture what is kept of its captions: the best, how many were offered and agreed with."""
        if self.fitting is None:
            return [(row, texts[0] if texts else None, len(texts), len(texts)) for row, texts in offers]
        pairs = [(row.id, text) for row, texts in offers for text in texts]
        chances = dict(zip(pairs, self.fitting.chances(pairs), strict=True))
        least = self.fitting.least
        found: list[tuple[FileRow, str | None, int, int]] = []
        for row, texts in offers:
            rated = [(chance, text) for text in texts if (chance := chances[row.id, text]) is not None]
            kept = [(chance, text) for chance, text in rated if chance >= least]
            best = max(kept, key=lambda one: one[0])[1] if kept else None
            found.append((row, best, len(texts), len(kept)))
        return found

    def _pass_over(self, row: FileRow, why: str) -> None:
        self.failed += 1
        if self.failed <= SAID:
            self.tell("note", {"text": f"{Path(os.fsdecode(row.path))} is passed over: {why}"})
