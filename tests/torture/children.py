"""Processes that a fault is put into: forked from one that has imported everything, and telling what they did."""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import json
import os
import resource
import signal
import sqlite3
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from sqlalchemy.engine.default import DefaultDialect

from retrieval.db import queries
from retrieval.encoders.toy import ToyEncoder
from retrieval.types import Encoded, Prepared

Tell = Callable[[str], None]
SUBREAPER = 36
"""Who asks for it (prctl) gets the orphans of its children as its own."""
LINES = 1 << 20
"""Bytes that a child can tell without being read."""


class Child:
    """A process of its own group that does one thing, in a state that it cannot spoil for others.

    `work` gets a function that says something which is known after the end, however that comes.
    """

    def __init__(self, work: Callable[[Tell], Any], errors: Path) -> None:
        _check_single()
        ctypes.CDLL(None).prctl(SUBREAPER, 1)
        self._errors = errors
        self._told, tell = os.pipe()
        with suppress(OSError):  # the limit on memory of pipes: the usual one has to do
            fcntl.fcntl(tell, fcntl.F_SETPIPE_SZ, LINES)
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if not self.pid:
            os.close(self._told)
            _become(work, tell, errors)
        os.close(tell)
        self.code: int | None = None

    def wait(self, seconds: float) -> int | None:
        """The exit code, negative for a signal; None when it goes on after so many seconds."""
        end = time.monotonic() + seconds
        while self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
            elif time.monotonic() >= end:
                return None
            else:
                time.sleep(0.001)
        return self.code

    def kill(self, *, group: bool) -> None:
        """kill -9: of it alone, or of all that it has started too."""
        for pid in reversed([self.pid, *_below(self.pid)] if group else [self.pid]):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def alone(self, seconds: float) -> bool:
        """Whether all that it had started has ended by itself within so many seconds.

        These are children of ours by now, and we have no others.
        """
        end = time.monotonic() + seconds
        while True:
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return True
            if not pid:
                if time.monotonic() >= end:
                    for left in _below(os.getpid()):
                        with suppress(ProcessLookupError):
                            os.kill(left, signal.SIGKILL)
                    return False
                time.sleep(0.01)

    def told(self) -> list[str]:
        """What it said, once it has ended."""
        with os.fdopen(self._told, "rb") as pipe:
            return pipe.read().decode().splitlines()

    @property
    def error(self) -> str:
        """The last line that it wrote as an error."""
        lines = self._errors.read_text("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else ""


def done(work: Callable[[Tell], Any], errors: Path, *, seconds: float = 120) -> tuple[str, list[str], float]:
    """Have something done undisturbed: what was wrong with it, what it told, and how long it took."""
    began = time.monotonic()
    child = Child(work, errors)
    code = child.wait(seconds)
    if code is None:
        child.kill(group=True)
        child.wait(seconds)
    took = time.monotonic() - began
    lines = child.told()
    if code is None:
        return f"it did not end within {seconds:.0f} s", lines, took
    return (f"it ended with {code}: {child.error}" if code else ""), lines, took


def report_commits(tell: Tell) -> None:
    """From here on this process tells what it encodes, and each commit before it is made and after."""
    commit: Callable[[Any, Any], None] = DefaultDialect.do_commit
    kept, encode = queries.Writer.commit, ToyEncoder.encode_prepared

    def do_commit(self: DefaultDialect, connection: Any) -> None:
        tell(f"committing {digest(getattr(connection, 'dbapi_connection', connection))}")
        commit(self, connection)
        tell("committed")

    def writer_commit(self: queries.Writer, batch: queries.Batch, *, encoder_id: int) -> None:
        made = sum(one.vector is not None for one in batch.added) + len(batch.updated) + len(batch.embedded)
        kept(self, batch, encoder_id=encoder_id)
        tell(f"kept {made}")

    def encode_prepared(self: ToyEncoder, batch: Sequence[Prepared]) -> Encoded:
        encoded = encode(self, batch)
        tell(f"encoded {len(batch)}")
        return encoded

    DefaultDialect.do_commit = do_commit  # type: ignore[method-assign]
    queries.Writer.commit = writer_commit  # type: ignore[method-assign]
    ToyEncoder.encode_prepared = encode_prepared  # type: ignore[method-assign]


def digest(connection: Any) -> str:
    """Of all that a database holds."""
    whole = hashlib.sha256()
    names = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND sql NOT LIKE 'CREATE VIRTUAL%' ORDER BY name"
    ).fetchall()
    for (name,) in names:
        rows = connection.execute(f'SELECT * FROM "{name}"').fetchall()
        whole.update(repr((name, sorted(map(repr, rows)))).encode())
    return whole.hexdigest()[:24]


def look(database: Path) -> tuple[str, str]:
    """The digest of a database, and what is wrong with its pages; empty for one that is not there."""
    if not database.exists():
        with closing(sqlite3.connect(":memory:")) as nothing:
            return digest(nothing), ""
    with closing(sqlite3.connect(database)) as connection:
        try:
            found = [row[0] for row in connection.execute("PRAGMA integrity_check").fetchall()]
            found += [
                f"a row that belongs to none: {row}" for row in connection.execute("PRAGMA foreign_key_check")
            ]
            return digest(connection), "" if found == ["ok"] else "; ".join(map(str, found))[:200]
        except sqlite3.DatabaseError as error:
            return "", str(error)


def _below(pid: int) -> list[int]:
    """The processes that one has started, and those that these have, as far as they can be seen."""
    found: list[int] = []
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):  # it has ended meanwhile
            for child in map(int, children.read_text().split()):
                found += [child, *_below(child)]
    return found


def _check_single() -> None:
    """A process with other threads must not fork: what they hold would be held for ever in the child."""
    if threading.active_count() != 1 or len(os.listdir("/proc/self/task")) != 1:
        raise RuntimeError(f"There are other threads: {threading.enumerate()}")


def _become(work: Callable[[Tell], Any], tell: int, errors: Path) -> None:
    code = 1
    try:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        out = os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        null = os.open(os.devnull, os.O_RDONLY)
        for old, new in ((null, 0), (out, 1), (out, 2)):
            os.dup2(old, new)
        result = work(lambda line: _say(tell, line))
        if result is not None:
            _say(tell, json.dumps(result))
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _say(tell: int, line: str) -> None:
    os.write(tell, f"{line}\n".encode())
