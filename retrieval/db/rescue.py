"""Putting what was recovered of a damaged database in its place, and keeping the damaged one.

    <catalog>/damaged/<time in UTC>/catalog.db        the file as it was, and its log beside it
    <catalog>/damaged/<time in UTC>/recovered.db      the new file, until it is put in its place

Nothing here removes a damaged file. A process that is killed half-way leaves the old catalog, or
the old file without its log; the next rescue finds the new file and finishes.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from retrieval.config import Location
from retrieval.db.copies import LOGS
from retrieval.db.failures import refused
from retrieval.db.locking import acquire
from retrieval.db.recovery import Recovered, recover
from retrieval.errors import CatalogUnwritable
from retrieval.flushing import flush_file, flush_folder, make_folder

FOLDER = "damaged"
RECOVERED = "recovered.db"
NOTE = "recovered.json"
"""Of which state of the damaged file that is."""


def rescue(location: Location) -> tuple[Recovered | None, Path]:
    """Recover a damaged database and put the new one in its place; returns where the old one is kept.

    None is recovered anew where an earlier rescue only had to be finished.
    """
    location = location.resolved()
    with _translated(location):
        lock = acquire(location)
        try:
            pending = _pending(location)
            if pending is not None:
                _swap(location, pending)
                return None, pending
            kept = keep(location)
            work = kept / "work"
            try:
                found = recover(kept / location.database.name, work)
                flush_file(work / "catalog.db")
                # The kept file may be the same one under a second name, and tell nothing of what comes.
                (kept / NOTE).write_text(json.dumps(_stamps(location)))
                flush_file(kept / NOTE)
                (work / "catalog.db").rename(kept / RECOVERED)
                flush_folder(kept)
            finally:
                shutil.rmtree(work, ignore_errors=True)
            _swap(location, kept)
            return found, kept
        finally:
            lock.release()


def keep(location: Location, *, copies: bool = False) -> Path:
    """A folder that holds the database as it is now; `copies`, where it is changed in place after this.

    Without, it may be the same file under a second name. To be called with the write lock held.
    """
    location = location.resolved()
    kept = _folder(location)
    for end in ("", "-wal"):
        file = location.database.with_name(location.database.name + end)
        if file.exists():
            target = kept / file.name
            try:
                if copies:
                    shutil.copy2(file, target)
                else:
                    os.link(file, target)
            except OSError:
                shutil.copy2(file, target)
            flush_file(target)
    flush_folder(kept)
    flush_folder(kept.parent)
    return kept


def _folder(location: Location) -> Path:
    parent = location.database.parent / FOLDER
    make_folder(parent)
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    for number in range(1, 1000):
        folder = parent / (stamp if number == 1 else f"{stamp}-{number}")
        with contextlib.suppress(FileExistsError):
            folder.mkdir()
            return folder
    raise CatalogUnwritable(f"{parent} holds too many damaged catalogs of this very second.")


def _pending(location: Location) -> Path | None:
    """Where a rescue of this very file was not finished."""
    for new in sorted(location.database.parent.glob(f"{FOLDER}/*/{RECOVERED}")):
        note = new.with_name(NOTE)
        with contextlib.suppress(OSError, ValueError):
            then, now = json.loads(note.read_bytes()), _stamps(location)
            # The log is the first to go when the new file takes its place.
            if now[0] == then[0] and now[1] in (then[1], None):
                return new.parent
        # The catalog has gone on since: what was recovered then is not what it holds now.
        new.unlink()
        note.unlink(missing_ok=True)
    return None


def _stamps(location: Location) -> list[list[int] | None]:
    """What changes when somebody writes to the database, or to its log."""
    found: list[list[int] | None] = []
    for end in ("", "-wal"):
        try:
            status = location.database.with_name(location.database.name + end).stat()
        except FileNotFoundError:
            found.append(None)
            continue
        found.append([status.st_ino, status.st_size, status.st_mtime_ns] if status.st_size else None)
    return found


def _swap(location: Location, kept: Path) -> None:
    # The log first: one that stayed would be taken for a log of the new file.
    for end in LOGS:
        location.database.with_name(location.database.name + end).unlink(missing_ok=True)
    flush_folder(location.database.parent)
    (kept / RECOVERED).replace(location.database)
    flush_folder(location.database.parent)
    (kept / NOTE).unlink(missing_ok=True)
    flush_folder(kept)


@contextlib.contextmanager
def _translated(location: Location) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CatalogUnwritable(
            f"What can be recovered of {location.name} cannot be written: {error.strerror or error}. "
            "The damaged catalog is as it was; make room and run it again: search doctor --fix"
        ) from error
    except DBAPIError as error:
        raise refused(location, error.orig or error, operational=True) from error
    except sqlite3.Error as error:
        raise refused(location, error, operational=isinstance(error, sqlite3.OperationalError)) from error
