"""Files to prepared pictures, in processes of their own and in the order asked for.

Decoding beside the main process keeps its interpreter free for the encoder, and makes a
native decoder that crashes, hangs or devours memory cost one file instead of the run.
"""

from __future__ import annotations

import pickle
import queue
import threading
import time
from collections import deque
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from indexer.loader.budget import Budget, ClosedError
from indexer.loader.lane import CLOCK_SECONDS, Lane, Outcome, Terms
from retrieval import config
from retrieval.errors import RetrievalError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType

    from retrieval.protocols import Preparer
    from retrieval.types import Metadata, Prepared


@dataclass(frozen=True, slots=True)
class Task:
    """A file to load: its absolute path in bytes and what the walk saw of it.

    `key` is the caller's own and comes back untouched.
    """

    path: bytes
    size: int
    mtime_ns: int
    key: Any = None


@dataclass(frozen=True, slots=True)
class Loaded:
    """What became of one task: a prepared picture, a known content, or a failure.

    `size` and `mtime_ns` are those of the open file where it was read, else the task's.
    `prepared` and `metadata` are `None` for a failure and for a content that was `known`.
    """

    key: Any
    path: bytes
    size: int
    mtime_ns: int
    content_hash: bytes | None = None
    metadata: Metadata | None = None
    prepared: Prepared | None = None
    reason: str | None = None
    detail: str = ""

    @property
    def failed(self) -> bool:
        return self.reason is not None


class Loader:
    """A pool of loading processes; a context manager.

    `memory` bounds the bytes of all files and pictures in work together, and a picture that
    needs more on its own fails as `too-large`. Contents whose SHA-256 is in `known` are not
    decoded. Processes start when there is work for them, and end with the context, with an
    early end of `load`, and with this process, however it ends.
    """

    def __init__(
        self,
        preparer: Preparer,
        *,
        workers: int,
        memory: int,
        known: frozenset[bytes] = frozenset(),
        look_ahead: int | None = None,
        file_seconds: float = config.FILE_SECONDS,
    ) -> None:
        self._workers = max(1, workers)
        self._look_ahead = max(1, look_ahead if look_ahead is not None else 16 + 4 * self._workers)
        self._terms = Terms(pickle.dumps(preparer, protocol=5), memory, known, file_seconds)
        self._crew: _Crew | None = None

    def __enter__(self) -> Loader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End every process; a later `load` starts new ones."""
        crew, self._crew = self._crew, None
        if crew is not None:
            crew.stop()

    def load(self, tasks: Iterable[Task]) -> Iterator[Loaded]:
        """Load every task, in order; failures are results too.

        Raises `RetrievalError` only when loading processes cannot be started at all.
        """
        source = iter(tasks)
        pending: deque[Future[Loaded]] = deque()
        finished = False
        try:
            exhausted = False
            while not finished:
                while not exhausted and len(pending) < self._look_ahead:
                    task = next(source, None)
                    if task is None:
                        exhausted = True
                        break
                    pending.append(self._submit(task))
                if pending:
                    yield _result(pending.popleft())
                else:
                    finished = True
        finally:
            if not finished:
                self.close()

    def _submit(self, task: Task) -> Future[Loaded]:
        if self._crew is None:
            self._crew = _Crew(self._workers, self._terms)
        return self._crew.submit(task)


class _Crew:
    """The threads that each look after one process, and the one that watches the clock."""

    def __init__(self, workers: int, terms: Terms) -> None:
        self._workers = workers
        self._terms = terms
        self._budget = Budget(terms.memory)
        self._work: queue.SimpleQueue[tuple[Task, Future[Loaded]] | None] = queue.SimpleQueue()
        self._lanes: list[Lane] = []
        self._threads: list[threading.Thread] = []
        self._stopping = threading.Event()
        self._busy = 0
        self._lock = threading.Lock()

    def submit(self, task: Task) -> Future[Loaded]:
        future: Future[Loaded] = Future()
        with self._lock:
            self._busy += 1
            short = self._busy > len(self._lanes) and len(self._lanes) < self._workers
        if short:
            self._start_lane()
        self._work.put((task, future))
        return future

    def _start_lane(self) -> None:
        if not self._threads:
            self._start_thread(self._watch, "picture clock")
        lane = Lane(self._terms, self._budget)
        self._lanes.append(lane)
        self._start_thread(lambda: self._run(lane), f"picture loader {len(self._lanes)}")

    def _start_thread(self, target: Any, name: str) -> None:
        thread = threading.Thread(target=target, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _run(self, lane: Lane) -> None:
        try:
            while (item := self._work.get()) is not None and not self._stopping.is_set():
                task, future = item
                try:
                    result = _loaded(task, lane.load(task.path, task.size))
                except BaseException as error:
                    # Whoever waits for the result gets the error instead.
                    self._finish()
                    future.set_exception(error)
                else:
                    self._finish()
                    future.set_result(result)
        finally:
            lane.end()
            if item is not None and not item[1].done():
                item[1].cancel()

    def _finish(self) -> None:
        with self._lock:
            self._busy -= 1

    def _watch(self) -> None:
        expected = time.monotonic() + CLOCK_SECONDS
        while not self._stopping.wait(CLOCK_SECONDS):
            now = time.monotonic()
            for lane in list(self._lanes):
                lane.check_clock(now - expected)
            expected = now + CLOCK_SECONDS

    def stop(self) -> None:
        self._stopping.set()
        self._budget.close()
        for lane in self._lanes:
            self._work.put(None)
            lane.kill()
        for thread in self._threads:
            thread.join()
        while not self._work.empty():
            item = self._work.get()
            if item is not None:
                item[1].cancel()


def _result(future: Future[Loaded]) -> Loaded:
    try:
        return future.result()
    except (CancelledError, ClosedError) as error:
        raise RetrievalError("The loader was closed while files were being loaded") from error


def _loaded(task: Task, outcome: Outcome) -> Loaded:
    return Loaded(
        key=task.key,
        path=task.path,
        size=task.size if outcome.size is None else outcome.size,
        mtime_ns=task.mtime_ns if outcome.mtime_ns is None else outcome.mtime_ns,
        content_hash=outcome.content_hash,
        metadata=outcome.metadata,
        prepared=outcome.prepared,
        reason=outcome.reason,
        detail=outcome.detail,
    )
