"""What keeps a catalog from being written, in words: the cause that the system names, and what helps.

SQLite says no more than "disk I/O error" of a quota, a failing disk and a read-only one alike. What it
is, the same folder says when a few bytes are written there.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import sqlite3
import tempfile
from pathlib import Path

from retrieval.config import Location
from retrieval.errors import CatalogBusy, CatalogError, CatalogUnwritable

PROBE_BYTES = 1 << 16
_NO_ROOM = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
_NOT_OURS = (errno.EACCES, errno.EPERM)


def unwritable(fact: str, error: OSError) -> CatalogUnwritable:
    """The error of a folder of the catalog that the system does not let us write."""
    return CatalogUnwritable(f"{fact}: {error.strerror or error}. {_help(error.errno)}")


def refused(location: Location, error: BaseException, *, operational: bool) -> CatalogError:
    """What an error of the database is, of one that was to be written. Nothing of the change was kept."""
    name, text = location.name, str(error)
    kind = _kind(error)
    if kind in ("BUSY", "LOCKED") or (not kind and ("locked" in text or "busy" in text)):
        return CatalogBusy(f"The catalog at {name} is being written by another process. Try again shortly.")
    if kind in ("FULL", "IOERR", "READONLY", "CANTOPEN", "PERM"):
        locked = _locked(location.database)
        if locked is not None:
            return unwritable(
                f"{locked} cannot be written", PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            )
        for folder in (location.database.parent, Path(tempfile.gettempdir())):
            found = _probed(folder)
            if found is not None:
                where = name if folder == location.database.parent else f"{name} needs {folder}, which"
                return unwritable(f"The catalog at {where} cannot be written", found)
        if kind == "FULL":
            found = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return unwritable(f"The catalog at {name} cannot be written", found)
        if kind == "IOERR":
            found = OSError(errno.EIO, f"{text} ({_name(error)})")
            return unwritable(f"The catalog at {name} cannot be written", found)
    if kind == "CONSTRAINT" or "IntegrityError" in type(error).__name__:
        return CatalogError(
            f"The catalog at {name} is not as this command found it ({text}). Run the same command again; "
            "if that fails too: search doctor"
        )
    if operational or kind == "READONLY" or "read-only" in text or "permission denied" in text:
        return CatalogUnwritable(f"The catalog at {name} cannot be written: {text}. See: search doctor")
    return CatalogError(f"The catalog at {name} is damaged: {text}. See what can be mended: search doctor")


def _help(number: int | None) -> str:
    if number in _NO_ROOM:
        return "What was committed is kept; make room there, and run the same command again."
    if number == errno.EROFS:
        return "It can be searched as it is; to change it, have its disk mounted for writing."
    if number in _NOT_OURS:
        return "It can be searched as it is; to change it, have its permissions changed."
    if number == errno.EIO:
        return "What was committed is kept, but the disk may be failing. See what is sound: search doctor"
    return "Name another with --catalog."


def _kind(error: BaseException) -> str:
    """The kind of error by SQLite's own name for it, such as IOERR; empty for another database's."""
    return _name(error).removeprefix("SQLITE_").partition("_")[0]


def _name(error: BaseException) -> str:
    return str(getattr(error, "sqlite_errorname", "")) if isinstance(error, sqlite3.Error) else ""


def _locked(database: Path) -> Path | None:
    """A file of the database that may only be read. None is opened: closing it would undo SQLite's locks."""
    parts = (database.with_name(f"{database.name}{ending}") for ending in ("", "-wal", "-shm"))
    return next((part for part in parts if part.exists() and not os.access(part, os.W_OK)), None)


def _probed(folder: Path) -> OSError | None:
    """What the system says when a few bytes are written into a folder and flushed; None if it takes them."""
    path = folder / f".search-{secrets.token_hex(8)}.tmp"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        return error
    try:
        os.write(descriptor, bytes(PROBE_BYTES))
        os.fsync(descriptor)
    except OSError as error:
        return error
    finally:
        with contextlib.suppress(OSError):  # what it says here, it has said before
            os.close(descriptor)
        with contextlib.suppress(OSError):
            path.unlink()
    return None
