"""One loading process and its supervision: orders, memory, the clock, and starting it again."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from indexer.loader import pipe
from indexer.loader.budget import Budget, ClosedError
from retrieval.errors import RetrievalError

if TYPE_CHECKING:
    from retrieval.types import Metadata, Prepared

CLOCK_SECONDS = 0.1
START_SECONDS = 60.0
READ_BYTES_PER_SECOND = 1_000_000
"""The slowest disk or network that reading is given time for."""
DECODE_BYTES_PER_SECOND = 100_000_000
"""Large pictures get more time: so many bytes of decoder memory a second at the least."""
RETIRE_BYTES = 192 << 20
"""A process that keeps so much more than it started with is replaced, so that memory goes back."""
_KEPT = {"MALLOC_MMAP_THRESHOLD_": str(16 << 20), "MALLOC_TRIM_THRESHOLD_": str(32 << 20)}
"""What glibc keeps for the next photo: a tenth of a 12-megapixel photo's time went into getting the
same pages from the system again and again. Larger pieces go back at once."""

LEAP_SECONDS = 1.0
"""A clock that comes so much too late shows that this program itself stood still, as after Ctrl-Z."""

_BOOT = """
import signal, sys
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, signal.SIG_IGN)
sys.path[:] = {path}
try:
    from indexer.loader.worker import main
except BaseException as error:
    import pickle, struct
    body = pickle.dumps(f"{{type(error).__name__}}: {{error}}")
    sys.stdout.buffer.write(struct.pack("<Q", len(body)) + body)
    sys.exit(1)
main()
"""


@dataclass(frozen=True, slots=True)
class Terms:
    """What every process of a pool is told and held to."""

    preparer: bytes
    memory: int
    known: frozenset[bytes]
    file_seconds: float

    @property
    def address_space(self) -> int:
        return 3 * self.memory + (2 << 30)


@dataclass(slots=True)
class Outcome:
    """What came of one file."""

    size: int | None = None
    mtime_ns: int | None = None
    content_hash: bytes | None = None
    metadata: Metadata | None = None
    prepared: Prepared | None = None
    reason: str | None = None
    detail: str = ""


class _GoneError(Exception):
    """The process ended in the middle of a file."""


class Lane:
    """Loads one file at a time in a process that it starts when needed; used by one thread.

    Only `kill` and `check_clock` may be called by others.
    """

    def __init__(self, terms: Terms, budget: Budget) -> None:
        self._terms = terms
        self._budget = budget
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._deadline: float | None = None
        self._read_at = 0.0
        self._late = False
        self._closed = False
        self._granted = 0
        self._resident_at_start: int | None = None

    def load(self, path: bytes, size: int) -> Outcome:
        """Load one file; whatever happens to the process becomes the file's outcome."""
        outcome = Outcome()
        try:
            # What can never fit is refused by the process, which sees the size that the file has by then.
            self._grant(size if size <= self._terms.memory else 0)
            if not self._order_again(path, outcome):
                self._order(path, outcome)
        except _GoneError:
            self._bury(outcome)
        finally:
            self._set_deadline(None)
            self._release()
            if self._late:
                self.end()
        return outcome

    def _order_again(self, path: bytes, outcome: Outcome) -> bool:
        """Load in the process that is there, if any; false when it turns out to have died before.

        Nothing is decoded before the hash arrives, so a death until then is not the file's doing.
        """
        if self._process is None:
            return False
        try:
            self._order(path, outcome)
        except _GoneError:
            if outcome.content_hash is not None or self._late or self._closed:
                raise
            self.end()
            return False
        return True

    def _order(self, path: bytes, outcome: Outcome) -> None:
        seconds = int(2 * self._allowed(read=self._terms.memory, decoded=self._terms.memory)) + 10
        while True:
            if self._process is None:
                self._start()
            self._tell(pipe.Order(path, self._granted, seconds))
            outcome.content_hash = None
            self._set_deadline(self._allowed(read=self._granted))
            total = self._serve(outcome)
            if total is None:
                return
            # Nothing is held while waiting: the process has dropped the file and reads it again.
            self._release()
            self._set_deadline(None)
            self._grant(total)

    def _serve(self, outcome: Outcome) -> int | None:
        """Answer the process until the file is done, or until it needs bytes that are not free."""
        while True:
            message = self._hear()
            if isinstance(message, pipe.Read):
                outcome.content_hash = message.content_hash
                outcome.size, outcome.mtime_ns = message.size, message.mtime_ns
                # Whatever the file says of itself, from here on its time does not begin again.
                self._read_at = time.monotonic()
                self._set_deadline(self._allowed())
                known = message.content_hash in self._terms.known
                self._tell(pipe.Continue(not known))
                if known:
                    return None
            elif isinstance(message, pipe.Need):
                more = message.total - self._granted
                if more > 0 and not self._budget.try_acquire(more):
                    self._tell(pipe.Continue(False))
                    return message.total
                self._granted += max(0, more)
                if outcome.content_hash is None:
                    self._set_deadline(self._allowed(read=message.total))
                else:
                    spent = time.monotonic() - self._read_at
                    self._set_deadline(self._allowed(decoded=message.total) - spent)
                self._tell(pipe.Continue(True))
            elif isinstance(message, pipe.Done):
                outcome.metadata, outcome.prepared = message.metadata, message.prepared
                self._retire_if_large(message.resident)
                return None
            else:
                outcome.reason, outcome.detail = message.reason, message.detail
                self._retire_if_large(message.resident)
                return None

    def _allowed(self, *, read: int = 0, decoded: int = 0) -> float:
        return self._terms.file_seconds + read / READ_BYTES_PER_SECOND + decoded / DECODE_BYTES_PER_SECOND

    def _grant(self, count: int) -> None:
        self._budget.acquire(count)
        self._granted = count

    def _release(self) -> None:
        count, self._granted = self._granted, 0
        if count:
            self._budget.release(count)

    def _bury(self, outcome: Outcome) -> None:
        late = self._late
        status = self.end(0.0 if late else 1.0)
        if self._closed:
            raise ClosedError
        outcome.metadata = outcome.prepared = None
        if late:
            outcome.reason = "timeout"
            outcome.detail = f"Loading took longer than {self._terms.file_seconds:g} s and was stopped"
        else:
            outcome.reason = "crashed"
            outcome.detail = f"The loading process ended with status {status}"

    def _retire_if_large(self, resident: int) -> None:
        if self._resident_at_start is None:
            self._resident_at_start = min(resident, 64 << 20)
        if resident - self._resident_at_start > RETIRE_BYTES:
            self.end()

    # The process and its pipes

    def _start(self) -> None:
        if not sys.executable:
            raise RetrievalError("Loading processes cannot be started: this Python has no executable")
        path = [str(Path(entry).absolute()) for entry in sys.path]
        environment = {**_KEPT, **os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        try:
            with self._lock:
                if self._closed:
                    raise ClosedError
                self._late = False
                self._process = subprocess.Popen(
                    [sys.executable, "-W", "ignore", "-c", _BOOT.format(path=ascii(path))],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    env=environment,
                    # Ctrl-C and Ctrl-Z are for the whole group of the terminal, and no business of its own.
                    process_group=0 if os.name == "posix" else None,
                )
        except OSError as error:
            raise RetrievalError(f"Loading processes cannot be started: {error}") from error
        _widen(self._process.stdout)
        self._set_deadline(START_SECONDS)
        try:
            self._tell(pipe.Hello(self._terms.preparer, self._terms.memory, self._terms.address_space))
            message = self._hear()
        except _GoneError:
            message = None
        self._set_deadline(None)
        if not isinstance(message, pipe.Ready):
            late, status = self._late, self.end()
            if self._closed:
                raise ClosedError
            if isinstance(message, pipe.Broken):
                why = message.reason
            elif isinstance(message, str):
                why = message
            else:
                why = "it did not answer" if late else f"it ended with status {status}"
            raise RetrievalError(
                f"A loading process could not start: {why}. Check the installation: search doctor"
            )

    def _tell(self, message: object) -> None:
        process = self._process
        if process is None or process.stdin is None:
            raise _GoneError
        try:
            pipe.send(process.stdin, message)
        except (OSError, ValueError) as error:
            raise _GoneError from error

    def _hear(self) -> Any:
        process = self._process
        if process is None or process.stdout is None:
            raise _GoneError
        try:
            return pipe.receive(process.stdout)
        except (OSError, EOFError, ValueError) as error:
            raise _GoneError from error

    def end(self, grace: float = 0.0) -> int | None:
        """Kill the process, if there is one, and close its pipes; its exit status.

        With a `grace` in seconds, a process that is ending by itself may say how.
        """
        if grace and self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(grace)
        with self._lock:
            process, self._process = self._process, None
            self._late = False
            if process is None:
                return None
            process.kill()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                _close(stream)
        return process.wait()

    # What other threads may call

    def kill(self) -> None:
        """Let the work at hand fail, and start no process again."""
        with self._lock:
            self._closed = True
            if self._process is not None:
                self._process.kill()

    def check_clock(self, leap: float = 0.0) -> None:
        """Kill a process that has had its time; what this program stood still itself does not count."""
        with self._lock:
            if leap > LEAP_SECONDS and self._deadline is not None:
                self._deadline += leap
            overdue = self._deadline is not None and time.monotonic() > self._deadline
            if overdue and self._process is not None:
                self._late = True
                self._process.kill()

    def _set_deadline(self, seconds: float | None) -> None:
        with self._lock:
            self._deadline = None if seconds is None else time.monotonic() + seconds


def _close(stream: IO[bytes]) -> None:
    try:
        stream.close()
    except OSError:
        # What was left to flush has nobody to read it any more.
        return


def _widen(stream: IO[bytes] | None) -> None:
    """A picture crosses in a few writes instead of dozens, where the system allows it."""
    if stream is None or not sys.platform.startswith("linux"):
        return
    import fcntl

    try:
        fcntl.fcntl(stream.fileno(), fcntl.F_SETPIPE_SZ, 1 << 20)
    except OSError:
        # The system's limit on pipe memory is reached: a narrow pipe works as well.
        return
