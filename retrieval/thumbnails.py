"""Small versions of a catalog's pictures, made once and kept in its cache."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from retrieval.errors import ImageUnreadable
from retrieval.pictures import Pictures
from retrieval.types import Failure

if TYPE_CHECKING:
    from retrieval.pictures import Picture
    from retrieval.state import State

SIZES = (160, 320, 640, 1280)
"""Pixels of the longer side; others are not made, so that the cache stays small."""
QUALITY = 82
FORM = 1
"""Grows when the same picture would give other bytes."""


def tag(picture: Picture, size: int) -> str:
    """Names these very bytes: it changes with the picture's content."""
    return f"{picture.content_hash[:32]}-{size}-{FORM}"


def thumbnail(state: State, picture: Picture, size: int) -> bytes:
    """The picture as a JPEG of at most `size` pixels a side, upright and without its metadata.

    It comes from the cache where it was made before. A file that was changed since it was
    indexed is shown as it is now, and not kept.
    """
    kept = _place(state, picture, size)
    with contextlib.suppress(OSError):
        data = kept.read_bytes()
        if data[:2] == b"\xff\xd8" and data[-2:] == b"\xff\xd9":
            return data
    with Pictures(state).open_file(picture) as file:
        before = os.fstat(file.fileno())
    data = _made(picture.path, size)
    if picture.is_as_indexed(before) and _same(picture) and not state.readonly:
        _keep(kept, data)
    return data


def _made(path: Path, size: int) -> bytes:
    from retrieval.images import encode_jpeg
    from retrieval.show.pictures import load_fitting

    image = load_fitting(str(path), (size, size))
    if isinstance(image, Failure):
        raise ImageUnreadable(f"{path.name} cannot be shown: {image.detail}.", reason=image.reason)
    return encode_jpeg(image, QUALITY)


def _same(picture: Picture) -> bool:
    try:
        status = os.stat(picture.path)
    except OSError:
        return False
    return picture.is_as_indexed(status)


def _place(state: State, picture: Picture, size: int) -> Path:
    name = picture.content_hash
    return state.location.cache / "thumbnails" / str(size) / name[:2] / f"{name}-{FORM}.jpg"


def _keep(place: Path, data: bytes) -> None:
    """A cache that cannot be written costs time and nothing else."""
    temporary = place.with_name(f".{secrets.token_hex(6)}.tmp")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(data)
        temporary.replace(place)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
