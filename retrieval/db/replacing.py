"""Putting another database in the place of a catalog's own, with nothing of the old one left beside it."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from retrieval.config import Location
from retrieval.db.copies import LOGS, arriving, copy_database, writing_to
from retrieval.db.upgrading import free_name
from retrieval.errors import CatalogBusy, CatalogError, CatalogUnwritable
from retrieval.flushing import flush_file, flush_folder, make_folder

WAIT_SECONDS = 20.0
"""How long those who are reading the old database are waited for."""


def put_in_place(location: Location, part: Path) -> None:
    """Make a whole database file the catalog's own, in one step, for who holds the write lock.

    Beside a database SQLite keeps a log of what is not in it yet, and would apply it to whatever
    file has the name. So the old log is emptied into the old database first, and both its files
    are gone before the name changes hands: a crash at any point leaves the old catalog or the new.
    """
    place = location.database
    with writing_to(place), contextlib.ExitStack() as stack:
        flush_file(part)
        if place.exists():
            stack.enter_context(_emptied(location))
        for end in LOGS:
            place.with_name(place.name + end).unlink(missing_ok=True)
        flush_folder(place.parent)
        os.replace(part, place)
        flush_folder(place.parent)


def set_aside(location: Location) -> Path:
    """A copy of the catalog's database as it is; byte for byte where SQLite cannot read it."""
    make_folder(location.backups)
    aside = free_name(location.backups, "before-restore")
    try:
        copy_database(location.database, aside)
    except (CatalogBusy, CatalogUnwritable):
        raise
    except CatalogError:
        with arriving(aside, like=location.database) as part, writing_to(aside):
            shutil.copyfile(location.database, part)
        for end in LOGS:
            log = location.database.with_name(location.database.name + end)
            if log.exists() and end != "-shm":
                with writing_to(aside):
                    beside = aside.with_name(aside.name + end)
                    shutil.copyfile(log, beside)
                    flush_file(beside)
        flush_folder(aside.parent)
    return aside


def highest_id(location: Location) -> int:
    """The highest id that the catalog has given to a picture; 0 where that cannot be read."""
    with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(location.database)) as found:
        row = found.execute("SELECT seq FROM sqlite_sequence WHERE name = 'images'").fetchone()
        return int(row[0]) if row else 0
    return 0


def give_no_id_again(part: Path, highest: int) -> None:
    """Let the pictures to come have ids beyond those that were given after the copy was made."""
    with writing_to(part), contextlib.closing(sqlite3.connect(part)) as connection, connection:
        known = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'images'").fetchone()
        if known is None:
            connection.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('images', ?)", (highest,))
        elif known[0] < highest:
            connection.execute("UPDATE sqlite_sequence SET seq = ? WHERE name = 'images'", (highest,))


@contextlib.contextmanager
def _emptied(location: Location) -> Iterator[None]:
    """Hold the old database with nothing in its log; readers of an earlier moment are waited for."""
    log = location.database.with_name(location.database.name + "-wal")
    until = time.monotonic() + WAIT_SECONDS
    connection = sqlite3.connect(location.database, timeout=1.0, isolation_level=None)
    try:
        while True:
            try:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
                connection.execute("BEGIN IMMEDIATE")
                if not (log.exists() and log.stat().st_size):
                    break
                connection.rollback()
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) and "busy" not in str(error):
                    raise
            except sqlite3.DatabaseError:
                break  # too damaged to be held: it is kept aside with its log, byte for byte
            if time.monotonic() > until:
                raise CatalogBusy(
                    f"Another process is still reading the catalog at {location.name}. "
                    "Wait until it is done, and run the same command again."
                )
        yield
    finally:
        connection.close()
