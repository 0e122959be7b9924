"""Reading whole files: those that people name, and those of caches."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from pathlib import Path

from retrieval.errors import QueryError


def read_cached(path: str | os.PathLike[str], *, most: int = 1 << 30) -> bytes | None:
    """The content of a file of a cache; None for whatever cannot be one, which is never waited for."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with open(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            return file.read() if stat.S_ISREG(status.st_mode) and status.st_size <= most else None
    except OSError:
        return None


def make_way(path: Path) -> None:
    """Remove what stands where a file of a cache has to go, and is none: a folder, a pipe, a link."""
    status = path.lstat() if os.path.lexists(path) else None
    if status is not None and stat.S_ISDIR(status.st_mode):
        shutil.rmtree(path)
    elif status is not None and not stat.S_ISREG(status.st_mode):
        path.unlink()


def read_regular(path: str | os.PathLike[str], *, most: int | None = None) -> bytes:
    """The content of a file of at most `most` bytes; what is no regular file is refused, never waited for."""
    try:
        # Opening a pipe that nobody writes to would wait for ever.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with open(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if stat.S_ISDIR(status.st_mode):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            if not stat.S_ISREG(status.st_mode):
                raise QueryError(
                    f"{os.fspath(path)} is not a regular file. Write what it gives to a file, and name that."
                )
            if most is not None and status.st_size > most:
                raise QueryError(f"{os.fspath(path)} is larger than {most >> 20} MiB. Split it.")
            return file.read()
    except OSError as error:
        raise QueryError(
            f"{os.fspath(path)} cannot be read: {error.strerror or error}. Name a file that can be."
        ) from error
