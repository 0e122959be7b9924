"""Keeping a catalog fresh: runs that follow what changes in the folders, or come again and again."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from indexer.events import Anchors, Events, Listed
from indexer.run import PathLike, Wishes, absolute, place, run
from retrieval.db import reads
from retrieval.db.copies import LOGS
from retrieval.db.reader import open_reader
from retrieval.errors import (
    CatalogBusy,
    CatalogNotFound,
    CatalogUnwritable,
    EncoderMismatch,
    MissingDependency,
    RetrievalError,
    SchemaTooNew,
    UnknownModel,
)

if TYPE_CHECKING:
    from indexer.report import IndexReport
    from retrieval.catalog import Catalog
    from retrieval.config import Location
    from retrieval.protocols import Encoder, Progress

QUIET = 1.0
"""Seconds without an event after which a burst of changes is over."""
LONGEST = 10.0
"""A stream of changes that never ends is indexed after so many seconds all the same."""
WALKING = 0.1
"""At most this share of the time goes into walks, however large the folders are."""
RESCAN = 900.0
"""Seconds after which the folders are gone through without any event."""
UNHEARD = 60.0
"""The same where some changes make no event: other machines', or beyond a limit of the system."""
NOISE = 15.0
"""The same since there were events of files that are not indexed: the system's queue may have been too
short for all of them, which nobody tells, and so what was dropped may have been a picture's."""
SETTLING = 5.0
"""Seconds until a file that was being written is tried again, doubled each time."""
BUSY = (2.0, 15.0)
AGAIN = (5.0, 300.0)
"""Seconds until a run that failed is tried again: at first, and at most."""
IDLE = 120.0
"""Seconds without work after which the model is let go."""
HOPELESS = (SchemaTooNew, EncoderMismatch, UnknownModel, MissingDependency)
"""What no waiting mends."""


def watch_folders(
    catalog: Catalog | PathLike,
    folders: PathLike | Sequence[PathLike] = (),
    *,
    exclude: Sequence[str] = (),
    workers: int | None = None,
    memory: int | None = None,
    model: str | None = None,
    ocr: bool = False,
    accept_missing: bool = False,
    every: float | None = None,
    progress: Progress | None = None,
    told: Callable[[IndexReport], None] | None = None,
    stopped: Callable[[], bool] | None = None,
) -> None:
    """Bring a catalog up to date, and keep it so until `stopped` answers True.

    The runs are those of `index_folder`, one after each burst of changes, or one `every` so many
    seconds. `told` gets the report of each that did something; with `every`, of each. A folder that
    goes away is waited for, and so is another process that writes to the catalog. A run that fails is
    told as a note and tried again later. Raises only what waiting does not mend, and what is wrong from
    the start.
    """
    location, given = place(catalog)
    named = [folders] if isinstance(folders, str | os.PathLike) else folders
    model_kept = KeptModel()
    wishes = Wishes(
        exclude=exclude,
        workers=workers,
        memory=memory,
        model=model if model is not None else given,
        ocr=ocr,
        accept_missing=accept_missing,
        named=False,
        load=model_kept.load,
    )
    watch = _Watch(location, absolute(named), wishes, model_kept, progress, told, stopped)
    try:
        watch.again(every) if every is not None else watch.follow()
    finally:
        watch.events.close()


class KeptModel:
    """The model between two runs; it is let go when there was no work for a while."""

    def __init__(self) -> None:
        self._held: tuple[str, Encoder] | None = None
        self._used = 0.0

    def load(self, spec: str, progress: Progress) -> Encoder:
        from indexer.export import encoder_for_indexing

        if self._held is None or self._held[0] != spec:
            self._held = None
            self._held = spec, encoder_for_indexing(spec, progress)
        return self._held[1]

    def used(self) -> None:
        self._used = time.monotonic()

    def let_go(self) -> None:
        """Give its memory back, if it was not used for a while."""
        if self._held is not None and time.monotonic() - self._used > IDLE:
            self._held = None
            gc.collect()
            if sys.platform.startswith("linux"):
                import ctypes

                with contextlib.suppress(OSError, AttributeError):  # other C libraries keep nothing back
                    ctypes.CDLL(None).malloc_trim(0)


class _Watch:
    def __init__(
        self,
        location: Location,
        named: Sequence[bytes],
        wishes: Wishes,
        model: KeptModel,
        progress: Progress | None,
        told: Callable[[IndexReport], None] | None,
        stopped: Callable[[], bool] | None,
    ) -> None:
        self._location = location
        self._named = named
        self._wishes = wishes
        self._model = model
        self._progress = progress or (lambda _step, _figures: None)
        self._told = told or (lambda _report: None)
        self._stopped = stopped or (lambda: False)
        ours = (str(location.folder), *(f"{location.database}{suffix}" for suffix in ("", *LOGS)))
        self.events = Events([os.fsencode(path) for path in ours])
        self._anchors = Anchors(named)
        self._listed: list[Listed] = []
        self._notes: set[str] = set()
        self._trouble = ""
        """The error of the run before."""
        self._retries = 0
        self._busy = False
        self._unsettled = 0
        self._unheard = ""
        self._unchanged, self._unreadable = -1, 0
        self._ran = False
        self._cost = 0.0
        self._ended = 0.0

    def again(self, every: float) -> None:
        """A run every so many seconds."""
        while not self._stopped():
            begun = time.monotonic()
            report = self._run()
            if report is not None:
                self._told(report)
            wait = every if report is not None or not self._retries else min(every, self._retry_in())
            self._sleep(begun + wait - time.monotonic())

    def follow(self) -> None:
        """A run after each burst of changes."""
        watching = False
        while not self._stopped():
            report = self._run()
            if report is not None:
                self._tell(report)
            if self._stopped():
                return
            if report is None:
                self._sleep(self._retry_in())
                continue
            if self.events.arm(self._listed):
                # What happened in these folders before they were watched, only one more walk tells.
                self._sleep(self._earliest() - time.monotonic() if watching else 0)
                continue
            if not watching:
                watching = True
                count = len(self._listed)
                self._note(f"Watching {count} folder{'s' * (count != 1)}. Ctrl-C ends.")
            self._await()

    def _run(self) -> IndexReport | None:
        """One run; None where it failed, which is told."""
        begun = time.monotonic()
        looked: list[float] = []
        heard: set[str] = set()
        self._listed = []

        def tell(step: str, figures: dict[str, Any]) -> None:
            if step == "note":
                text = str(figures["text"])
                heard.add(text)
                if text in self._notes:
                    return  # said in the run before, and still so
            elif step == "encode":
                looked.append(time.monotonic())
            self._progress(step, figures)

        try:
            roots = self._roots()
            if self._anchors.moved():
                self.events.forget()
            self._anchors, self.events.noise = Anchors(roots), None
            report = run(
                self._location, roots, self._wishes, progress=tell, stopped=self._stopped, listed=self._listed
            )
        except CatalogBusy as error:
            self._failed(error, heard)
            return None
        except (RetrievalError, OSError) as error:
            may_pass = isinstance(error, CatalogUnwritable) or self._ran
            if isinstance(error, HOPELESS) or not may_pass:
                raise
            self._failed(error, heard)
            return None
        finally:
            self._model.used()
            self._progress("ran", {})
        self._ended = time.monotonic()
        self._cost = (looked[0] if looked else self._ended) - begun
        self._ran = True
        self._notes = heard
        if self._trouble:
            self._note("Going on: the catalog could be brought up to date.")
        self._trouble, self._retries = "", 0
        if isinstance(self._wishes.model, str) and self._in_use(report.encoder):
            # Only loading it tells what goes by its name now; from here on, the catalog knows.
            self._wishes = replace(self._wishes, model=None)
        return report

    def _in_use(self, key: str | None) -> bool:
        with contextlib.closing(open_reader(self._location)) as reader:
            active = reads.active_encoder(reader)
        return active is not None and active.key == key and active.state == "complete"

    def _roots(self) -> Sequence[bytes]:
        """The folders that were named, or those of the catalog."""
        gone = self._location.url is None and not self._location.database.exists()
        if self._ran and gone:
            # A run would begin a new one, on whatever lies below where its disk was mounted.
            raise CatalogNotFound(f"The catalog at {self._location.name} is not there now.")
        if self._named or gone:
            return self._named
        with contextlib.closing(open_reader(self._location)) as reader:
            return reads.roots(reader)

    def _failed(self, error: Exception, heard: set[str]) -> None:
        self._notes |= heard
        self._retries += 1
        if str(error) != self._trouble:
            self._trouble = str(error)
            text = str(error) if isinstance(error, RetrievalError) else f"{error}."
            self._note(f"{text} Tried again later.")
        self._busy = isinstance(error, CatalogBusy)

    def _retry_in(self) -> float:
        first, longest = BUSY if self._busy else AGAIN
        return min(longest, float(first * 2 ** min(self._retries - 1, 16)))

    def _tell(self, report: IndexReport) -> None:
        """Tell of a run that did something, and of the first."""
        done = report.added or report.updated or report.moved or report.missing or report.texts or report.read
        more = report.unchanged > self._unchanged or report.failed != self._unreadable
        if done or report.interrupted or more:
            self._told(report)
        self._unchanged, self._unreadable = report.unchanged + report.added, report.failed
        writing = any(failure.reason == "changed" for failure in report.failures)
        self._unsettled = self._unsettled + 1 if writing else 0

    def _earliest(self) -> float:
        """When the next walk may begin, so that not all the time goes into walks."""
        return self._ended + self._cost / WALKING - self._cost

    def _await(self) -> None:
        """Wait until a burst of changes is over, a disk came or went, or it is time to look anyway."""
        network = self._anchors.on_network()
        unheard = self.events.trouble
        if network:
            unheard += f" What other machines change on {', '.join(network)} makes no event."
        rescan = RESCAN
        if unheard:
            rescan = max(UNHEARD, self._cost / WALKING)
            text = f"{unheard.strip()} The folders are gone through every {rescan:.0f} s."
            if unheard != self._unheard:
                self._note(text)
        self._unheard = unheard
        if self._unsettled:
            rescan = min(rescan, SETTLING * 2 ** min(self._unsettled - 1, 16))
        if not self.events.wait(rescan, self._is_over):
            return
        begun = time.monotonic()
        earliest = self._earliest()
        while not self._stopped():
            more = self.events.wait(QUIET, self._stopped)
            now = time.monotonic()
            if now >= earliest and (not more or now - begun > LONGEST):
                return

    def _is_over(self) -> bool:
        self._model.let_go()
        noise = self.events.noise
        noisy = noise is not None and time.monotonic() - noise > max(NOISE, self._cost / WALKING)
        return self._stopped() or noisy or self._anchors.moved(now_and_then=True)

    def _sleep(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._stopped() and (left := until - time.monotonic()) > 0:
            self._model.let_go()
            time.sleep(min(0.1, left))

    def _note(self, text: str) -> None:
        self._progress("note", {"text": text})
