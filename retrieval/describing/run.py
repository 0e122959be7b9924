"""One run over pictures that are to be described.

A batch of pictures is one transaction, so that a run can be cut short anywhere; and the catalog is
locked only for that moment, so that it can be written to by others while a model is at work.
With several candidates the captions filter themselves: those that the image-text matcher does not
agree with are dropped, and the best of the others is kept.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrieval.db import descriptions as db
from retrieval.db import reads
from retrieval.db.reader import open_reader
from retrieval.db.texts import SEARCHED
from retrieval.describing.ahead import Ahead, Passed, read_indexed
from retrieval.describing.alt import plain
from retrieval.describing.report import go_on
from retrieval.describing.sights import NEAR, sight
from retrieval.errors import (
    CatalogBusy,
    MissingDependency,
    ModelError,
    ModelUnavailable,
    RetrievalError,
    UnknownModel,
)
from retrieval.facts import catalog_facts
from retrieval.texts import Texts, embed_texts

if TYPE_CHECKING:
    from PIL import Image

    from retrieval.db.queries import Writer
    from retrieval.db.reads import FileRow
    from retrieval.fitting import Fitting
    from retrieval.protocols import Captioner, Progress
    from retrieval.speech import Sight, Style
    from retrieval.state import State

MAX_CHARS = 4000
SAID = 5
"""Pictures that are passed over are named one by one up to here; the rest are counted."""
IN_A_ROW = 3
"""A model that fails for so many single pictures one after the other is not asked further."""
ASKED_EVERY = 0.1
"""Seconds between two tries to get the write lock."""
GRACE = 5.0
"""Seconds that a run which is to end still waits for the write lock: what was said is paid for."""


@dataclass(slots=True)
class Run:
    state: State
    captioner: Captioner
    style: Style
    candidates: int
    fitting: Fitting | None
    tell: Progress
    stopped: Callable[[], bool]
    end: float | None
    again: bool
    described: int = 0
    failed: int = 0
    offered: int = 0
    kept: int = 0
    empty: int = 0
    interrupted: bool = False
    _failing: int = 0
    """Pictures in a row that the model failed for."""
    _problem: ModelError | None = None

    def through(self, due: Sequence[int]) -> None:
        """Describe pictures one batch after the other, and give their captions their vectors."""
        with contextlib.suppress(CatalogBusy):
            self.state.writer().close()  # What cannot be kept is not asked for.
        with self.state.snapshot():
            files = db.files(self.state.reader, due)
        problem: ModelError | None = None
        try:
            if due:
                self.tell("encode", {"total": len(due), "done": 0})
                self._describe([files[image_id] for image_id in due if image_id in files])
            problem = None if self.described else self._problem
        except KeyboardInterrupt:
            self.interrupted = True
        except ModelError as error:
            problem = error
        if self.failed > SAID:
            self.tell("note", {"text": f"{self.failed - SAID} more pictures were passed over."})
        if not self.interrupted:
            self._embed_others()
        if problem is not None:
            left = go_on(len(due) - self.described, again=self.again)
            kept = f" What was described before ({self.described} of {len(due)} pictures) is kept; {left}"
            raise type(problem)(f"{problem}{kept if self.described else ''}") from problem

    def _describe(self, rows: Sequence[FileRow]) -> None:
        done, size = 0, max(1, self.captioner.batch_size)
        with Ahead(rows, size, read=read_indexed if self.captioner.sees else None) as batches:
            for batch in batches:
                if self.interrupted or self._stops():
                    return
                seen: list[tuple[FileRow, Image.Image | None]] = []
                for row, found in batch:
                    if isinstance(found, Passed):
                        self._pass_over(row, found.why)
                    else:
                        seen.append((row, found))
                facts = catalog_facts(self.state, [row.id for row, _ in seen], near=NEAR)
                self._say([(row, sight(facts[row.id], image)) for row, image in seen if row.id in facts])
                done += len(batch)
                self.tell("advance", {"total": len(rows), "done": done, "failed": self.failed})

    def _stops(self) -> bool:
        """Whether the run is to end now, by a stop or as its time is over."""
        if self.stopped():
            self.interrupted = True
        return self.interrupted or (self.end is not None and time.monotonic() >= self.end)

    def _say(self, sights: Sequence[tuple[FileRow, Sight]]) -> None:
        """Caption a batch, and keep what was said of it."""
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
                    self._say([one])
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
        self._keep(self._agreed(offers))

    def _keep(self, agreed: Sequence[tuple[FileRow, str | None, int, int]]) -> None:
        """Commit what was said of a batch, as soon as nobody else is writing."""
        from retrieval.db.descriptions_writes import NewDescription, put_descriptions

        new = [
            NewDescription(row.id, row.content_hash, best, offered, kept)
            for row, best, offered, kept in agreed
        ]
        writer = self._writer()
        if writer is None:
            return
        with writer:
            put = set(put_descriptions(writer, self.captioner.id, self.style, new, seen=self.captioner.sees))
            for row, best, offered, kept in agreed:
                if row.id not in put:
                    self._pass_over(row, "it changed meanwhile")
                    continue
                self.described += 1
                self.offered += offered
                self.kept += kept
                self.empty += best is None
            self._embed(writer)

    def _writer(self) -> Writer | None:
        """The write lock, waited for while others write; None where the run is to end before."""
        since: float | None = None
        while True:
            try:
                return self.state.writer()
            except CatalogBusy as error:
                if since is None:
                    since = time.monotonic()
                    self.tell("note", {"text": f"{error} Describing goes on by itself then."})
                if self._stops() and time.monotonic() - since >= GRACE:
                    return None
            time.sleep(ASKED_EVERY)

    def _embed(self, writer: Writer) -> None:
        """Give the captions of a batch their vectors, so that searches find them from now on."""
        if not (self.captioner.sees and self.style == SEARCHED):
            return
        info = self.state.active()
        encoder = self.state.encoder(info)
        # A reader of its own: others may ask the catalog meanwhile.
        with contextlib.closing(open_reader(self.state.location)) as reader:
            embed_texts(reader, writer, encoder, info.id, progress=_quietly, stopped=self.stopped)

    def _embed_others(self) -> None:
        """The same for texts that still wait since an earlier run was cut short."""
        with self.state.snapshot():
            waiting = reads.texts_waiting(self.state.reader, self.state.active().id)
        if waiting:
            writer = self._writer()
            if writer is not None:
                with writer:
                    self.interrupted = Texts(self.state).embed(writer, self.tell, self.stopped)
        elif self.described:
            # Only so that the next query need not; what is committed stands without it.
            with contextlib.suppress(RetrievalError), self.state.snapshot():
                self.state.texts(self.state.active(), save=True)

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


def _quietly(_step: str, _figures: dict[str, Any]) -> None:
    """Vectors of a few captions are no step of their own."""
