"""Long runs that a server starts, one of each kind at a time, each in a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

import indexer
from retrieval.errors import CatalogError, QueryError
from retrieval.journal import keeping
from retrieval.server.problems import JobRunning, NotHere
from retrieval.types import path_fields

if TYPE_CHECKING:
    from retrieval.config import Location

Kind = Literal["index", "map"]
DOING: dict[Kind, str] = {"index": "library is being indexed", "map": "map is being made"}
KEPT = 20
"""Jobs that are remembered once they are over."""
NOTES = 20
LINE = 1 << 20
SURE_SECONDS = 1.0
"""Of reading pictures, after which it is told how fast that goes."""
LAST_SECONDS = 1.5
"""How long the end of the server waits for a run to commit what it has in hand."""


class Job:
    """One run: what was asked for, how far it is, and what came of it."""

    def __init__(self, number: int, kind: Kind, paths: Sequence[str], process: subprocess.Popen[str]) -> None:
        self.number = number
        self.kind = kind
        self._paths = tuple(paths)
        self._process = process
        self._lock = threading.Lock()
        self._state = "running"
        self._cancelled = False
        self._begun = time.time()
        self._ended: float | None = None
        self._figures: dict[str, Any] = {}
        self._start = (0.0, 0)
        self._rate: float | None = None
        self._notes: deque[str] = deque(maxlen=NOTES)
        self._report: dict[str, Any] | None = None
        self._error: str | None = None
        self._over = threading.Event()

    @property
    def running(self) -> bool:
        return not self._over.is_set()

    def row(self) -> dict[str, Any]:
        with self._lock:
            return {
                "id": self.number,
                "kind": self.kind,
                "state": self._state,
                "paths": list(self._paths),
                "started_at": _time(self._begun),
                "ended_at": None if self._ended is None else _time(self._ended),
                "step": self._figures.get("step"),
                "done": self._figures.get("done"),
                "total": self._figures.get("total"),
                "failed": self._figures.get("failed"),
                "reading": self._figures.get("path"),
                "images_per_second": self._rate,
                "seconds_left": self._seconds_left(),
                "notes": list(self._notes),
                "report": self._report,
                "error": self._error,
            }

    def follow(self, asked: dict[str, Any]) -> None:
        """Hand the process its task and read what it says, to its end: the work of a thread."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        with process:
            with contextlib.suppress(OSError):  # it ended before it was asked: its status says so
                process.stdin.write(json.dumps(asked) + "\n")
                process.stdin.close()
            self._read(process.stdout)
        with self._lock:
            self._ended = time.time()
            if self._report is not None:
                self._state = "cancelled" if self._report.get("interrupted") else "done"
            elif self._cancelled:
                self._state = "cancelled"
            else:
                self._state = "failed"
                self._error = self._error or "The run ended without a report. Start it again."
        self._over.set()

    def cancel(self) -> None:
        """Ask it to stop; what it has committed by then stays."""
        with self._lock:
            if self._cancelled or not self.running:
                return  # a second signal would cut it off in the middle of a batch
            self._cancelled = True
        # An interrupt would be told with a traceback where the process has only begun to start.
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()

    def wait(self, seconds: float) -> bool:
        return self._over.wait(seconds)

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    def _read(self, lines: IO[str]) -> None:
        while line := lines.readline(LINE):
            try:
                row = json.loads(line)
            except ValueError:
                continue  # cut off by its end
            with self._lock:
                if row["step"] == "note":
                    self._notes.append(row["text"])
                elif row["step"] == "report":
                    self._report = row["report"]
                elif row["step"] == "error":
                    self._error = row["message"]
                else:
                    kept = {} if "total" not in row else {"done": 0, "failed": 0}
                    if "path" in row:  # a name that is no UTF-8 could not be sent on
                        row["path"] = path_fields(row["path"])["path"]
                    self._figures = {**kept, **row}
                    self._measure()

    def _measure(self) -> None:
        """How fast it goes, since pictures began to be read; of the first moments nothing can be said."""
        now, done = time.monotonic(), self._figures.get("done", 0)
        if self._figures["step"] != "advance":
            self._start, self._rate = (now, done), None
        elif now - self._start[0] >= SURE_SECONDS and done > self._start[1]:
            self._rate = round((done - self._start[1]) / (now - self._start[0]), 2)

    def _seconds_left(self) -> float | None:
        if not self._rate or self._state != "running":
            return None
        left: int = self._figures["total"] - self._figures["done"]
        return round(left / self._rate, 1)


class Jobs:
    """The runs of one server."""

    def __init__(self, location: Location) -> None:
        self._location = location
        self._lock = threading.Lock()
        self._jobs: dict[int, Job] = {}
        self._last = 0

    def start(
        self, paths: Sequence[str], *, retry: bool, accept_missing: bool = False, kind: Kind = "index"
    ) -> Job:
        """Begin a run over folders, or over those indexed before, or one that makes the map.

        `JobRunning` while another of its kind is at work.
        """
        folders = [_folder(path) for path in paths]
        with self._lock:
            running = self._running(kind)
            if running is not None:
                raise JobRunning(
                    f"The {DOING[kind]}, by job {running.number}. Wait for its end, or cancel it."
                )
            self._last += 1
            job = self._jobs[self._last] = Job(self._last, kind, folders, _process())
            for number in [number for number, one in self._jobs.items() if not one.running][:-KEPT]:
                del self._jobs[number]
            place = self._location.url or self._location.name
            asked = {
                "kind": kind,
                "catalog": place,
                "paths": folders,
                "retry": retry,
                "accept_missing": accept_missing,
                "log": keeping.terms(),
            }
            threading.Thread(target=job.follow, args=(asked,), name="job", daemon=True).start()
            return job

    def running(self, kind: Kind) -> Job | None:
        """The run of that kind that is at work now."""
        with self._lock:
            return self._running(kind)

    def _running(self, kind: Kind) -> Job | None:
        return next((job for job in self._jobs.values() if job.kind == kind and job.running), None)

    def get(self, number: int) -> Job:
        with self._lock:
            job = self._jobs.get(number)
        if job is None:
            raise NotHere(f"There is no job {number}. It may be long over.")
        return job

    def list(self) -> list[Job]:
        """All that are remembered, the newest first."""
        with self._lock:
            return list(reversed(self._jobs.values()))

    def close(self) -> None:
        """End what runs, in order if there is the time."""
        running = [job for job in self.list() if job.running]
        for job in running:
            job.cancel()
        until = time.monotonic() + LAST_SECONDS
        for job in running:
            if not job.wait(max(0.0, until - time.monotonic())):
                job.kill()
                job.wait(LAST_SECONDS)


def _folder(path: str) -> str:
    whole = os.path.expanduser(path)
    if not os.path.isabs(whole):
        raise QueryError(f"A folder to index is given by its whole path, not as '{path}'.")
    if not os.path.isdir(whole):
        raise QueryError(f"There is no folder '{path}' on the machine of the server. Check its name.")
    return os.path.abspath(whole)


def _process() -> subprocess.Popen[str]:
    """A Python that waits for its task; a signal to the server's terminal is not one to it."""
    root = Path(indexer.__file__).parent.parent
    environment = dict(os.environ)
    if root.name != "site-packages":  # a checkout, which need not be on the path of a new process
        before = environment.get("PYTHONPATH")
        environment["PYTHONPATH"] = os.pathsep.join([*([before] if before else []), str(root)])
    try:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "indexer.job"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        raise CatalogError(f"No process for the run can be started: {error.strerror or error}.") from error


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
