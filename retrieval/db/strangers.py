"""Databases that somebody else made: what SQLite is told before it reads one, and what one may not hold.

A database can carry code: views, triggers, virtual tables and computed columns run when a table of
that name is read. None of them is ever needed to read a catalog, but for the two of the word index.
"""

from __future__ import annotations

import os
import re
import sqlite3
import threading
from typing import TYPE_CHECKING

from retrieval.config import Location
from retrieval.errors import CatalogBusy, CatalogError

if TYPE_CHECKING:
    from pathlib import Path

WORD_INDEX = {
    "image_fts": "CREATE VIRTUAL TABLE image_fts USING fts5(name, described, told, seen, "
    "content='image_words', content_rowid='image_id', tokenize='porter unicode61 remove_diacritics 2')",
    "image_terms": "CREATE VIRTUAL TABLE image_terms USING fts5vocab('image_fts', 'row')",
}
"""The virtual tables of a catalog, to the letter; a test holds them against the migrations."""
TRIGGERS = ("image_words_added", "image_words_removed", "image_words_changed")
"""They act on writes only, of which there are none here."""
LONGEST_VALUE = 64 << 20
MOST_OBJECTS = 500

_sound: set[tuple[int, int, int, int]] = set()
_lock = threading.Lock()


def guard(connection: sqlite3.Connection) -> None:
    """What holds for every database that is read: its schema may call nothing, and nothing is written."""
    connection.execute("PRAGMA trusted_schema=OFF")
    connection.execute("PRAGMA query_only=ON")
    connection.execute("PRAGMA cell_size_check=ON")


def connect(location: Location) -> sqlite3.Connection:
    """A connection that leaves no file beside the database, and has looked at what is in it."""
    if _log_size(location.database):
        # SQLite removes a log that it finds useless, also where it was told to read only.
        raise CatalogBusy(
            f"The catalog at {location.name} is being changed, or was not closed by whoever made it, so it "
            "cannot be read without touching it. Ask for a copy made with search backup, or open it as your "
            "own, without --read-only."
        )
    connection = sqlite3.connect(
        f"{location.database.as_uri()}?mode=ro&immutable=1",
        uri=True, timeout=10, isolation_level=None, check_same_thread=False,
    )  # fmt: skip
    try:
        guard(connection)
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST_VALUE)
        connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
        _check(connection, location)
    except BaseException:
        connection.close()
        raise
    return connection


def _log_size(database: Path) -> int:
    """Bytes of the log that SQLite has beside a database."""
    try:
        return os.stat(f"{os.path.realpath(database)}-wal").st_size
    except FileNotFoundError:
        return 0


def _check(connection: sqlite3.Connection, location: Location) -> None:
    """Once for each state of a file: its pages all of them, and what its schema would do."""
    found = os.stat(location.database)
    state = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
    with _lock:
        if state in _sound:
            return
    objects = connection.execute(
        "SELECT type, name, sql FROM sqlite_master ORDER BY name LIMIT ?", (MOST_OBJECTS + 1,)
    ).fetchall()
    if len(objects) > MOST_OBJECTS:
        raise _refused(location, f"more than {MOST_OBJECTS} tables and indexes")
    for kind, name, sql in objects:
        if kind == "view":
            raise _refused(location, "a view")
        if kind == "trigger" and name not in TRIGGERS:
            raise _refused(location, "a trigger")
        if kind != "table":
            continue
        if re.match(r"\s*CREATE\s+VIRTUAL\b", sql or "", re.IGNORECASE):
            if sql != WORD_INDEX.get(name):
                raise _refused(location, "a virtual table")
        # Hidden columns are computed whenever a row is read.
        elif any(column[6] for column in connection.execute("SELECT * FROM pragma_table_xinfo(?)", (name,))):
            raise _refused(location, "a computed column")
    wrong = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if wrong != "ok":
        raise CatalogError(
            f"The catalog at {location.name} is damaged. Ask whoever made it for another copy."
        )
    with _lock:
        _sound.add(state)


def _refused(location: Location, what: str) -> CatalogError:
    return CatalogError(
        f"The database at {location.name} holds {what}, which no catalog of this program does. "
        "It is not read."
    )
