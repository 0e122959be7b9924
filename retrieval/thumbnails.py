"""Small versions of a catalog's pictures, made once and kept in its cache."""

from __future__ import annotations

import contextlib
import os
import secrets
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from retrieval.db.pictures import contents
from retrieval.errors import ImageUnreadable
from retrieval.pictures import Pictures
from retrieval.regular_files import make_way, read_cached
from retrieval.types import Failure

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from retrieval.pictures import Picture
    from retrieval.state import State

SIZES = (160, 320, 640, 1280)
"""Pixels of the longer side; others are not made, so that the cache stays small."""
QUALITY = 82
FORM = 1
"""Grows when the same picture would give other bytes."""
FOLDER = "thumbnails"
SUM_BYTES = 4
"""At the end of each kept file, where no viewer of JPEGs looks: a checksum of it and of its name."""


def tag(picture: Picture, size: int) -> str:
    """Names these very bytes: it changes with the picture's content."""
    return f"{picture.content_hash[:32]}-{size}-{FORM}"


@dataclass(frozen=True, slots=True)
class Small:
    """A small picture."""

    data: bytes
    lasting: bool
    """Whether it shows what was indexed; else it is good for this once."""


def thumbnail(state: State, picture: Picture, size: int) -> Small:
    """The picture as a JPEG of at most `size` pixels a side, upright and without its metadata.

    It comes from the cache where it was made before. A file that was changed since it was
    indexed is shown as it is now, and not kept.
    """
    kept = _place(state, picture, size)
    found = _sound(kept)
    if found is not None:
        return Small(found, lasting=True)
    with Pictures(state).open_file(picture) as file:
        before = os.fstat(file.fileno())
        # The very file that was looked at: another one may stand at its path by now.
        content = file.read()
    data = _made(picture.path, content, size)
    lasting = picture.is_as_indexed(before) and _same(picture)
    if lasting and not state.readonly:
        _keep(kept, data)
    return Small(data, lasting)


def sweep(state: State) -> int:
    """Remove the small pictures of what is not in the catalog any more; returns their bytes."""
    if next(_files(state.location.cache), None) is None:
        return 0
    with state.snapshot() as reader:
        known = contents(reader)
    freed = 0
    for place in stray_thumbnails(state.location.cache, known):
        with contextlib.suppress(OSError):
            size = place.stat().st_size
            place.unlink()
            freed += size
    return freed


def damaged_thumbnails(cache: Path) -> list[Path]:
    """Kept small pictures that are not what was written under their names."""
    return [place for place in sorted(_files(cache)) if _sound(place) is None]


def stray_thumbnails(cache: Path, known: Collection[str]) -> list[Path]:
    """Kept small pictures of what is not among the known contents."""
    return [place for place in sorted(_files(cache)) if place.name.partition("-")[0] not in known]


def _files(cache: Path) -> Iterator[Path]:
    return (cache / FOLDER).glob("*/*/*.jpg")


def _sound(place: Path) -> bytes | None:
    data = read_cached(place)
    if data is None or len(data) <= SUM_BYTES or _sum(place, data[:-SUM_BYTES]) != data[-SUM_BYTES:]:
        return None
    return data[:-SUM_BYTES]


def _sum(place: Path, data: bytes) -> bytes:
    """A checksum that another picture's file, or another size's, does not have."""
    named = zlib.crc32(f"{place.parent.parent.name}/{place.name}".encode())
    return zlib.crc32(data, named).to_bytes(SUM_BYTES, "little")


def _made(path: Path, content: bytes, size: int) -> bytes:
    from retrieval.images import encode_jpeg
    from retrieval.show.pictures import load_fitting

    image = load_fitting(str(path), (size, size), content=content)
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
    return _folder(state) / str(size) / name[:2] / f"{name}-{FORM}.jpg"


def _folder(state: State) -> Path:
    return state.location.cache / FOLDER


def _keep(place: Path, data: bytes) -> None:
    """A cache that cannot be written costs time and nothing else."""
    temporary = place.with_name(f".{secrets.token_hex(6)}.tmp")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(data + _sum(place, data))
        make_way(place)
        temporary.replace(place)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
