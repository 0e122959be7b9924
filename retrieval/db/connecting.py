"""Connections for reading: also where nothing can be written, and where a crash has left its log behind.

SQLite's readers share an index of the log (`-shm`), which they make if it is not there. On a disk that is
read-only or full they cannot. Then the file is read without the index, and without SQLite's locks: so
whoever does that has to look whether the file has changed meanwhile.
"""

from __future__ import annotations

import os
import sqlite3
from typing import TYPE_CHECKING, NamedTuple

from retrieval.db import strangers

if TYPE_CHECKING:
    from pathlib import Path

    from retrieval.config import Location

BUSY_SECONDS = 10
_NO_INDEX = ("SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_FULL", "SQLITE_IOERR_SHM", "SQLITE_IOERR_ACCESS")


class State(NamedTuple):
    """What tells whether anybody has written to a database: of its file, its log and its log's index."""

    database: tuple[int, ...]
    log: tuple[int, ...]
    has_index: bool


def connect(location: Location) -> tuple[sqlite3.Connection, State | None]:
    """A connection that reads, and the state that it is bound to where it takes no locks."""
    database = location.database
    if location.untrusted:
        state = state_of(database)
        return strangers.connect(location), state
    try:
        return _open(database, "mode=ro"), None
    except sqlite3.OperationalError as error:
        name = getattr(error, "sqlite_errorname", "")
        no_index = name.startswith(_NO_INDEX) or "unable to open" in str(error)
        if not no_index or not os.access(database, os.R_OK):
            raise
        failure = error
    while True:
        state = state_of(database)
        if not state.log or not state.log[0]:
            # With no log left over, the file alone is the whole truth.
            connection = _open(database, "mode=ro&immutable=1")
        elif os.name == "posix":
            # In its own memory SQLite keeps the index for who is alone with a file, as far as it can tell.
            connection = _open(database, "mode=ro&vfs=unix-none", "PRAGMA locking_mode=EXCLUSIVE")
        else:
            raise failure
        if state_of(database) == state:
            return connection, state
        connection.close()


def state_of(database: Path) -> State:
    name = os.path.realpath(database)  # where SQLite has the log of one that is reached by a link

    def figures(ending: str) -> tuple[int, ...]:
        try:
            found = os.stat(f"{name}{ending}")
        except FileNotFoundError:
            return ()
        return found.st_size, found.st_mtime_ns, found.st_ino, found.st_dev

    return State(figures(""), figures("-wal"), bool(figures("-shm")))


def _open(database: Path, how: str, *first: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{database.as_uri()}?{how}",
        uri=True, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False,
    )  # fmt: skip
    try:
        strangers.guard(connection)
        for statement in (*first, "SELECT 1 FROM sqlite_master LIMIT 1"):
            connection.execute(statement).fetchall()
    except BaseException:
        connection.close()
        raise
    return connection
