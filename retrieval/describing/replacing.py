"""Replacing a person's file by another version of it, so that at no moment there is less than one whole file.

The new version is written beside the old one, flushed to the disk, and takes its name in one
step; whatever goes wrong before that step leaves the old file as it was. What belongs to the
file besides its content (permissions, owner, extended attributes, its time where asked) goes
with it, and where that cannot be, nothing is replaced.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from retrieval.errors import RetrievalError
from retrieval.flushing import flush_folder

ATTRIBUTES_CARRIED = hasattr(os, "listxattr")
"""Whether this system lets Python carry a file's extended attributes over, where people's tags may lie."""

ACL = "system.posix_acl_access"
_TEMPORARY = re.compile(r"\.search-[0-9a-f]{16}\.tmp")


class NotReplacedError(RetrievalError):
    """The file was left as it is; the message says why."""


@dataclass(frozen=True, slots=True)
class Original:
    """A file as it was read: what is replaced has to be this one still."""

    path: Path
    """Where the file really is, behind all links."""
    data: bytes
    status: os.stat_result

    def stands(self) -> bool:
        """Whether the path still leads to the same file, unchanged."""
        try:
            now = os.stat(self.path)
        except OSError:
            return False
        return _identity(now) == _identity(self.status)


def read_original(path: Path, *, most: int) -> Original:
    """The regular file behind `path`, whole; `NotReplacedError` where it is none or larger than `most`."""
    with translated("read"):
        real = Path(os.path.realpath(path, strict=True))
        _drop_own_links(real)
        # Opening a device may do something, and a pipe that nobody writes to would wait for ever.
        if not stat.S_ISREG(os.stat(real).st_mode):
            raise NotReplacedError("It is not a regular file.")
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        descriptor = os.open(real, flags)
        with open(descriptor, "rb") as file:
            before = os.fstat(descriptor)
            if not stat.S_ISREG(before.st_mode):
                raise NotReplacedError("It is not a regular file.")
            if before.st_size > most:
                raise NotReplacedError(f"It has more than {most >> 20} MiB.")
            data = file.read(before.st_size + 1)
            after = os.fstat(descriptor)
    if len(data) != before.st_size or _identity(before) != _identity(after):
        raise NotReplacedError("It was being written while it was read. Try again later.")
    return Original(real, data, before)


def check_replaceable(original: Original) -> None:
    """Raise `NotReplacedError` where the file is protected, or another file would stay behind unchanged."""
    mode = original.status.st_mode
    if not mode & 0o222 or not os.access(original.path, os.W_OK):
        raise NotReplacedError("It is write-protected.")
    if original.status.st_nlink > 1:
        raise NotReplacedError(
            "It is one file with several names (hard links), and only one of them would change."
        )


def replace(original: Original, content: bytes, *, keep_time: bool = False) -> None:
    """Put `content` in the place of the file, which must still be as it was read."""
    check_replaceable(original)
    with _temporary(original.path, content, original, keep_time) as temporary, translated("write"):
        # As late as can be: another program may have saved the file meanwhile.
        if not original.stands():
            raise NotReplacedError("It was changed by another program meanwhile. Try again.")
        os.replace(temporary, original.path)
        flush_folder(original.path.parent)


def create(path: Path, content: bytes) -> None:
    """A new file, whole or not at all; one that appears meanwhile is never overwritten."""
    real = Path(os.path.realpath(path))
    with _temporary(real, content) as temporary, translated("write"):
        try:
            _name(temporary, real)
        except FileExistsError as error:
            raise NotReplacedError("Another program wrote it meanwhile. Try again.") from error
        flush_folder(real.parent)


def _drop_own_links(real: Path) -> None:
    """Take away the temporary name that a file of ours still has where we were killed before we could."""
    status = os.stat(real)
    if status.st_nlink < 2 or not stat.S_ISREG(status.st_mode):
        return
    for name in os.listdir(real.parent):
        other = real.with_name(name)
        if _TEMPORARY.fullmatch(name) and os.path.samestat(os.lstat(other), status):
            os.unlink(other)


def _name(temporary: Path, real: Path) -> None:
    """Give the file its name, which nothing may have yet."""
    try:
        os.link(temporary, real)
    except FileExistsError:
        raise
    except OSError:
        # A file system without hard links: the name is taken first, and filled in one step.
        os.close(os.open(real, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        os.replace(temporary, real)


@contextmanager
def _temporary(
    beside: Path, content: bytes, original: Original | None = None, keep_time: bool = False
) -> Iterator[Path]:
    """A flushed file with the content, and with all that belongs to the original; gone at the end."""
    temporary = beside.with_name(f".search-{secrets.token_hex(8)}.tmp")
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)
    try:
        with translated("write"):
            # Nobody else reads it before it has the permissions of the original.
            descriptor = os.open(temporary, flags, 0o666 if original is None else 0o600)
            with open(descriptor, "w+b") as file:
                file.write(content)
                file.flush()
                if original is not None:
                    _carry_over(descriptor, temporary, original, keep_time)
                os.fsync(descriptor)
                file.seek(0)
                if file.read(len(content) + 1) != content:
                    raise NotReplacedError("What was written could not be read back.")
        yield temporary
    finally:
        # Mostly it is gone under its new name; one that cannot be removed is hidden, and in nobody's way.
        with contextlib.suppress(OSError):
            os.unlink(temporary)


def _carry_over(descriptor: int, temporary: Path, original: Original, keep_time: bool) -> None:
    status = original.status
    mine = os.fstat(descriptor)
    if hasattr(os, "fchown") and (mine.st_uid, mine.st_gid) != (status.st_uid, status.st_gid):
        try:
            os.fchown(descriptor, status.st_uid, status.st_gid)
        except OSError as error:
            raise NotReplacedError("It belongs to somebody else, and would not any more.") from error
    if ATTRIBUTES_CARRIED:
        _carry_attributes(descriptor, original.path)
    os.chmod(descriptor if os.chmod in os.supports_fd else temporary, stat.S_IMODE(status.st_mode))
    if keep_time:
        os.utime(
            descriptor if os.utime in os.supports_fd else temporary,
            ns=(status.st_atime_ns, status.st_mtime_ns),
        )


def _carry_attributes(descriptor: int, source: Path) -> None:
    try:
        names = os.listxattr(source)
    except OSError as error:
        if error.errno == errno.ENOTSUP:
            return
        raise
    for name in names:
        value = os.getxattr(source, name)
        try:
            if os.getxattr(descriptor, name) == value:
                continue
        except OSError as error:
            if error.errno != errno.ENODATA:
                raise
        try:
            os.setxattr(descriptor, name, value)
        except OSError as error:
            raise NotReplacedError(f"Its extended attribute {name!a} could not be kept.") from error
    if ACL not in names and ACL in os.listxattr(descriptor):
        # The folder gives new files readers that the original does not have.
        os.removexattr(descriptor, ACL)


def _identity(status: os.stat_result) -> tuple[int, ...]:
    # The change time cannot be set back, so that a file that was written to never looks the same.
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Errors of the system as a `NotReplacedError`."""
    try:
        yield
    except OSError as error:
        raise NotReplacedError(
            f"It could not be {'read' if what == 'read' else 'written'}: {error.strerror or error}."
        ) from error
