"""The only door to Pillow: open, orient, cap, thumbnail.

Importing this module imports no picture library, so that walking a folder stays cheap;
the decoders live in `retrieval.images.decode` and come with the first picture.
"""

from __future__ import annotations

import importlib.util
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from retrieval import config
from retrieval.errors import ImageTooLarge, ImageUnreadable
from retrieval.types import clamped_ns

if TYPE_CHECKING:
    from PIL import Image

    from retrieval.images.decode import Picture

EXTENSIONS: frozenset[str] = frozenset(
    (
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".mpo"),
        *(".png", ".apng", ".webp", ".gif", ".tif", ".tiff", ".bmp", ".dib", ".ico"),
        *(".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx"),
        *(".pnm", ".ppm", ".pgm", ".pbm"),
        *(".avif", ".avifs", ".heic", ".heics", ".heif", ".heifs", ".hif"),
    )
)
"""Names, in lower case, that are taken for pictures; the content decides what they are."""

RAW_EXTENSIONS: frozenset[str] = frozenset(
    (
        *(".dng", ".cr2", ".cr3", ".crw", ".nef", ".nrw", ".arw", ".srf", ".sr2", ".orf", ".rw2", ".raf"),
        *(".pef", ".srw", ".raw", ".rwl", ".iiq", ".3fr", ".fff", ".mrw", ".mef", ".mos", ".erf", ".kdc"),
        *(".dcr", ".x3f", ".gpr"),
    )
)
"""Camera RAW names; they need the extra `raw`, and only the preview inside them is used."""

Wanted = Callable[[int, int], tuple[int, int]]
"""Told the upright width and height, answers the least size that is needed."""
Permit = Callable[[int], None]
"""Told how many bytes decoding will take; returns when they may be used, or raises `ImageTooLarge`."""


@cache
def raw_available() -> bool:
    """Whether the previews of RAW files can be read (the extra `raw` is installed)."""
    return importlib.util.find_spec("rawpy") is not None


@dataclass(frozen=True, slots=True)
class FileContent:
    """A whole file, and what the open descriptor said of it; `mtime_ns` fits in 64 bits."""

    data: bytes
    size: int
    mtime_ns: int


def read_file(path: str | bytes | Path, *, allow: Callable[[int], None] | None = None) -> FileContent:
    """Read a regular file whole; one that changes meanwhile is refused as `changed`.

    A path that has become a pipe, a socket or a device never blocks and is never read.
    `allow` is told the size before anything is read, and may raise.
    """
    path = Path(os.fsdecode(path))
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise ImageUnreadable("Not a regular file", reason="unreadable")
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        descriptor = os.open(path, flags)
        with open(descriptor, "rb", buffering=0):
            before = os.fstat(descriptor)
            if not stat.S_ISREG(before.st_mode):
                raise ImageUnreadable("Not a regular file", reason="unreadable")
            if before.st_size > config.MAX_FILE_BYTES:
                limit = config.MAX_FILE_BYTES >> 20
                raise ImageTooLarge(f"The file has {before.st_size >> 20} MiB; at most {limit} are read")
            if allow is not None:
                allow(before.st_size)
            data = _read_up_to(descriptor, before.st_size + 1)
            after = os.fstat(descriptor)
    except OSError as error:
        message = error.strerror or type(error).__name__
        raise ImageUnreadable(f"The file could not be read: {message}", reason="unreadable") from error
    seen = (after.st_size, after.st_mtime_ns)
    if seen != (before.st_size, before.st_mtime_ns) or len(data) != before.st_size:
        raise ImageUnreadable("The file was being written while it was read", reason="changed")
    return FileContent(data, before.st_size, clamped_ns(before.st_mtime_ns))


def _read_up_to(descriptor: int, limit: int) -> bytes:
    # One read almost always brings everything; the extra byte shows a file that is growing.
    first = os.read(descriptor, min(limit, 1 << 30))
    if not first or len(first) == limit:
        return first
    parts = [first]
    left = limit - len(first)
    while left and (part := os.read(descriptor, min(left, 1 << 30))):
        parts.append(part)
        left -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def open_image(data: bytes, *, name: str = "") -> Picture:
    """Read a picture's header and metadata blocks; nothing is decoded yet.

    `name` is the file's name: only RAW files need it, being TIFF by their content.
    """
    from retrieval.images import decode

    return decode.open_picture(data, name)


def load_image(
    source: bytes | str | Path, *, name: str = "", wanted: Wanted | None = None, permit: Permit | None = None
) -> Image.Image:
    """An upright RGB picture of 8 bits a channel from a file or its bytes.

    `info["full_size"]` is the upright size of the whole picture, and `info["reduced"]` by
    which factor (1, 2, 4 or 8) a JPEG was decoded smaller because `wanted` allowed it.
    Without a `permit` the default memory budget is the limit. Raises `ImageUnreadable` or
    `ImageTooLarge`, nothing else, whatever the file holds.
    """
    if not isinstance(source, bytes):
        path = Path(source)
        name = name or path.name
        source = read_file(path).data
    return open_image(source, name=name).decode(wanted=wanted, permit=permit or _within_default_memory)


def upright(image: Image.Image) -> Image.Image:
    """An upright RGB copy of a picture that is open already; raises what `load_image` does."""
    from retrieval.images import decode

    return decode.upright(image)


def _within_default_memory(needed: int) -> None:
    check_memory(needed, config.default_memory())


def check_memory(needed: int, limit: int) -> None:
    """Raise `ImageTooLarge` where decoding needs more bytes than `limit`."""
    if needed > limit:
        raise ImageTooLarge(f"Decoding takes {_mebibytes(needed)} MiB; the budget is {_mebibytes(limit)} MiB")


def _mebibytes(count: int) -> int:
    return -(-count // (1 << 20))


def thumbnail(image: Image.Image, size: int) -> Image.Image:
    """A copy whose longer side is at most `size` pixels, filtered well."""
    width, height = image.size
    scale = min(1.0, size / max(width, height))
    target = (max(1, round(width * scale)), max(1, round(height * scale)))
    if target == image.size:
        return image.copy()
    from PIL import Image as Pillow

    return image.resize(target, Pillow.Resampling.LANCZOS, reducing_gap=3.0)


def encode_jpeg(image: Image.Image, quality: int = 85) -> bytes:
    """The picture as a JPEG without any of its metadata."""
    buffer = BytesIO()
    plain = image if image.mode in ("RGB", "L") else image.convert("RGB")
    plain.save(buffer, "JPEG", quality=quality, optimize=False, exif=b"", icc_profile=None, comment=b"")
    return buffer.getvalue()
