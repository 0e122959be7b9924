"""Copies of a catalog's database: complete and consistent, or not there at all."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from shlex import quote
from typing import TypeVar

from retrieval.db.strangers import guard
from retrieval.errors import CatalogBusy, CatalogError, CatalogNotFound, CatalogUnwritable
from retrieval.flushing import flush_file, flush_folder

T = TypeVar("T")

PAGES = 2048
"""Copied at a time: between them an interrupt is heard."""
BUSY_SECONDS = 10.0
PART, PART_END = ".search-copy-", ".part"
OLD_SECONDS = 3600.0
"""A part that nobody has written to for so long was left by somebody who was killed."""
LOGS = ("-wal", "-shm", "-journal")
"""What SQLite may put beside a database: changes that are not in it yet, and how to undo others."""
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EINVAL}


class NameTaken(CatalogError):
    """What is to have a name is not to replace what has it."""


def copy_database(source: Path, target: Path) -> None:
    """Copy a SQLite database as of one moment into one file, beside whoever reads and writes it.

    The copy is there, and on the disk, when this returns; where it does not return there is none.
    What is at the target already is never replaced: that is refused. Pages are copied as they
    are, damaged ones too.
    """
    with arriving(target, like=source) as part:
        copy_pages(source, part, told=target)


@contextlib.contextmanager
def arriving(target: Path, *, like: Path) -> Iterator[Path]:
    """A file to write to, readable by whom another one is; it gets its name once all went well."""
    check_name(target)
    check_free(target)
    mode = _found(like).stat().st_mode & 0o777
    part = new_part(target.parent)
    try:
        with writing_to(target):
            os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode | 0o600))
        yield part
        with writing_to(target):
            flush_file(part)
            _place(part, target)
            try:
                flush_folder(target.parent)
            except OSError:
                target.unlink(missing_ok=True)
                raise
    finally:
        remove_database(part)


def copy_pages(
    source: Path, part: Path, *, told: Path, look: Callable[[sqlite3.Connection], T] | None = None
) -> T | None:
    """Copy one moment of a database into an empty file of ours; `told` is what errors name.

    `look` sees the original as of that same moment; what it finds is returned.
    """
    with contextlib.closing(opened(source)) as reading:
        with reading_from(source):
            # A snapshot that is held: commits beside it neither get in nor make the copy begin again.
            reading.execute("BEGIN")
            reading.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
            found = None if look is None else look(reading)
        with (
            reading_from(source),  # of what is damaged, it is the original
            writing_to(told),
            contextlib.closing(sqlite3.connect(part, isolation_level=None)) as writing,
        ):
            # Nobody sees the file before it is whole, and then it is synced as one.
            writing.execute("PRAGMA journal_mode=OFF")
            writing.execute("PRAGMA synchronous=OFF")
            reading.backup(writing, pages=PAGES, sleep=0.05)
        # The copy says of itself that it keeps a log beside it, as its original does: no longer.
        with writing_to(told), contextlib.closing(sqlite3.connect(part, isolation_level=None)) as writing:
            writing.execute("PRAGMA locking_mode=EXCLUSIVE")
            try:
                writing.execute("PRAGMA journal_mode=DELETE").fetchone()
            except sqlite3.OperationalError:
                raise
            except sqlite3.DatabaseError:
                pass  # damaged where it begins, and copied all the same
    return found


def check_name(target: Path) -> None:
    """Refuse a name that SQLite would take for the log of a database, or that has a log of another one."""
    if target.name.endswith(LOGS):
        raise CatalogError(
            f"{target} has the name of what SQLite keeps beside a database. Name another file."
        )
    for end in LOGS:
        log = target.with_name(target.name + end)
        if os.path.lexists(log):
            raise CatalogError(
                f"{log} is there, and would be taken for a part of {target}. Name another file."
            )


def check_free(target: Path) -> None:
    """Refuse a place for a file where something is, or where no folder is."""
    if os.path.lexists(target):
        raise NameTaken(f"{target} is there already, and is not replaced. Name another file.")
    if not target.parent.is_dir():
        missing = str(target.parent)
        raise CatalogError(f"There is no folder {missing}. Make it: mkdir -p {quote(missing)}")


def new_part(folder: Path) -> Path:
    """A name for a file that is being written there; those of who was killed meanwhile are removed."""
    with contextlib.suppress(OSError):
        for left in folder.iterdir():
            if left.name.startswith(PART) and left.name.endswith(PART_END):
                with contextlib.suppress(OSError):
                    if time.time() - left.stat().st_mtime > OLD_SECONDS:
                        remove_database(left)
    return folder / f"{PART}{secrets.token_hex(8)}{PART_END}"


def remove_database(database: Path) -> None:
    """Remove a database file with what SQLite has put beside it."""
    for end in ("", *LOGS):
        database.with_name(database.name + end).unlink(missing_ok=True)


def _place(part: Path, target: Path) -> None:
    """Give the file its name, but never one that somebody else has taken meanwhile."""
    try:
        os.link(part, target)
    except FileExistsError:
        check_free(target)
        raise
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        # A file system without hard links, as on memory cards.
        check_free(target)
        os.rename(part, target)


def opened(source: Path) -> sqlite3.Connection:
    """A database for reading, also one on media that cannot be written."""
    _found(source)
    with reading_from(source):
        uri = f"{source.absolute().as_uri()}?mode=ro"
        connection = sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None)
        try:
            guard(connection)
            connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
            return connection
        except sqlite3.OperationalError as error:
            connection.close()
            log = source.with_name(source.name + "-wal")
            readonly = "unable to open" in str(error) or "readonly" in str(error)
            if not readonly or (log.exists() and log.stat().st_size):
                raise
            # On media that cannot be written SQLite has no place for its shared memory.
            return sqlite3.connect(f"{uri}&immutable=1", uri=True, isolation_level=None)
        except BaseException:
            connection.close()
            raise


def _found(source: Path) -> Path:
    if source.is_dir():
        raise CatalogNotFound(f"{source} is a folder, not a file. Name a file in it.")
    if not source.is_file():
        raise CatalogNotFound(f"There is no file {source}. Name another.")
    return source


@contextlib.contextmanager
def reading_from(source: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        if "locked" in str(error) or "busy" in str(error):
            raise CatalogBusy(f"{source} is being written by another process. Try again shortly.") from error
        raise CatalogError(f"{source} cannot be read: {error}") from error
    except sqlite3.DatabaseError as error:
        raise CatalogError(f"{source} is damaged, or no catalog: {error}. See: search doctor") from error


@contextlib.contextmanager
def writing_to(target: Path) -> Iterator[None]:
    """Turn what fails while a copy is written into a sentence; where only the disk can, it is the disk."""
    try:
        yield
    except (OSError, sqlite3.OperationalError) as error:
        said = getattr(error, "strerror", None) or error
        raise CatalogUnwritable(
            f"{target} cannot be written: {said}. Nothing was left there; make room, or name another place."
        ) from error
    except sqlite3.DatabaseError as error:
        raise CatalogError(f"The copy to {target} cannot be made: {error}. See: search doctor") from error
