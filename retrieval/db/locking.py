"""The locks of a catalog: who holds one says so with its process id, for those who find it taken."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from filelock import FileLock, Timeout

from retrieval.config import Location
from retrieval.db.failures import unwritable
from retrieval.errors import CatalogBusy, CatalogError
from retrieval.flushing import make_folder

NAMED_WITHIN = 1.0
"""Seconds that whoever has just taken a lock may need to say who it is."""
ASKED_EVERY = 0.01


class Lock:
    """A lock that is held until it is released, or until the process ends in whatever way."""

    def __init__(self, lock: FileLock, note: Path) -> None:
        self._lock = lock
        self._note = note

    def release(self) -> None:
        # While it is still ours: the next one may write its own at once.
        with contextlib.suppress(OSError):  # a note that cannot be removed names a process that has ended
            self._note.unlink(missing_ok=True)
        self._lock.release()


def acquire(location: Location, path: Path | None = None, *, doing: str = "writing to") -> Lock:
    """Take the catalog's write lock, or another one of its locks, or say who holds it."""
    if location.untrusted:
        raise CatalogError(f"The catalog at {location.name} was opened for reading only.")
    path = path or location.lock
    note = path.with_suffix(".pid")
    until = time.monotonic() + NAMED_WITHIN
    try:
        make_folder(location.folder)
        make_folder(path.parent)
        # Another thread may release it than took it.
        lock = FileLock(path, timeout=0, thread_local=False)
        while True:
            try:
                lock.acquire()
                break
            except Timeout:
                holder = _holder(note, any_number=time.monotonic() > until)
                if holder is not None:
                    raise CatalogBusy(
                        f"Another command{holder} is {doing} the catalog at {location.name}. "
                        "Wait until it is done."
                    ) from None
            time.sleep(ASKED_EVERY)
        try:
            note.write_text(f"{os.getpid()}\n")
        except BaseException:
            lock.release()
            raise
    except NotADirectoryError as error:
        raise CatalogError(
            f"{location.name} lies inside a file, not a folder. Name another with --catalog."
        ) from error
    except FileExistsError as error:
        raise CatalogError(
            f"{location.name} is a file, not a catalog folder. Name another with --catalog."
        ) from error
    except OSError as error:
        raise unwritable(f"The catalog folder {location.name} cannot be written", error) from error
    return Lock(lock, note)


def _holder(note: Path, *, any_number: bool) -> str | None:
    """The process that holds a lock, in words; None while only one that has ended has said so.

    With `any_number`, whatever is there is told: the process may be one that cannot be seen from here.
    """
    try:
        number = int(note.read_text())
    except (OSError, ValueError):
        return "" if any_number else None
    return f" (process {number})" if any_number or _lives(number) else None


def _lives(number: int) -> bool:
    if os.name != "posix":
        return True  # there a signal 0 is no question
    try:
        os.kill(number, 0)
    except PermissionError:
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return True
