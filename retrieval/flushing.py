"""Waiting until names and files are on the disk, so that a power cut cannot take them back."""

from __future__ import annotations

import errno
import os
from pathlib import Path

_CANNOT = (errno.EINVAL, errno.ENOTSUP, errno.EBADF)
"""What network file systems say that flush no folders."""


def flush_file(path: Path, *, from_disk: bool = False) -> None:
    """Wait until what was written to a file is on the disk; `from_disk`, it is also read from there again."""
    descriptor = os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0))
    try:
        os.fsync(descriptor)
        if from_disk and hasattr(os, "posix_fadvise"):
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def flush_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk, where the system can do that."""
    if os.name != "posix":
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except PermissionError:
        return  # a folder that may be written to and not listed
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _CANNOT:
            raise
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Make a folder, and those it lies in, so that what is flushed inside of it cannot be lost with it.

    What is made here is for nobody but this user: it is as private as the pictures.
    """
    folder = Path(os.path.realpath(folder))  # a link may lead to where nothing is yet
    missing, above = [], folder
    while not os.path.lexists(above):
        missing.append(above)
        above = above.parent
    for one in reversed(missing):
        one.mkdir(0o700, exist_ok=True)
        flush_folder(one.parent)
    folder.mkdir(0o700, exist_ok=True)  # says so where something else has the name
