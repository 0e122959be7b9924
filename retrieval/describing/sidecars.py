"""Alt texts beside pictures: `photo.jpg.xmp`, or a `photo.xmp` that belongs to no other picture."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from retrieval import config
from retrieval.describing import xmp
from retrieval.describing.replacing import (
    NotReplacedError,
    Original,
    create,
    read_original,
    replace,
    translated,
)
from retrieval.images import EXTENSIONS, RAW_EXTENSIONS
from retrieval.images.blocks import find_blocks
from retrieval.show.table import safe_name

ENDINGS = (".xmp", ".XMP", ".Xmp")

_PICTURES = EXTENSIONS | RAW_EXTENSIONS
_PNG = b"\x89PNG\r\n\x1a\n"


def write_beside(picture: Path, alt: str) -> bool:
    """Write the alt text to the picture's sidecar; False where one is there, or in the picture itself."""
    if mentions_alt(read_original(picture, most=config.MAX_FILE_BYTES).data):
        return False
    found = sidecars(picture)
    if not found:
        create(picture.with_name(picture.name + ENDINGS[0]), xmp.new_packet(alt))
        return True
    read = [_read(path) for path in found]
    if any(text is not None for _, text in read):
        return False
    original = read[0][0]
    try:
        made = xmp.with_alt(original.data, alt) if original.data else xmp.new_packet(alt)
        if made is None:
            return False
        replace(original, made)
    except NotReplacedError as error:
        raise _named(found[0], error) from error
    return True


def alt_beside(picture: Path) -> str | None:
    """The alt text in the picture's sidecars, None where there is none."""
    return next((text for _, text in map(_read, sidecars(picture)) if text is not None), None)


def sidecars(picture: Path) -> list[Path]:
    """The sidecars that the picture has, the one under its full name first."""
    stem = picture.stem
    found: dict[tuple[int, int], Path] = {}
    with translated("read"):
        for base in (picture.name, stem):
            paths = [picture.with_name(base + ending) for ending in ENDINGS]
            present = [path for path in paths if os.path.lexists(path)]
            if base == stem and present and _shared(picture):
                continue
            for path in present:
                status = os.lstat(path)
                # Where capitals make no difference, one file answers to all three.
                found.setdefault((status.st_dev, status.st_ino), path)
    return list(found.values())


def mentions_alt(data: bytes) -> bool:
    """Whether a picture file may have an alt text in it, in whichever of its parts."""
    name = xmp.PROPERTY.encode()
    # Only a PNG packs its XMP; elsewhere it stands in the file as it is.
    return name in data or (data.startswith(_PNG) and name in find_blocks(data, "PNG").xmp)


def _shared(picture: Path) -> bool:
    """Whether `photo.xmp` may belong to another picture: `photo.nef`, or one called `photo` itself."""
    if Path(picture.stem).suffix.lower() in _PICTURES:
        return True
    return any(name != picture.name for name in _same_stem(picture))


def _same_stem(picture: Path) -> Iterator[str]:
    for name in os.listdir(picture.parent):
        stem, ending = os.path.splitext(name)
        if stem == picture.stem and ending.lower() in _PICTURES:
            yield name


def _read(path: Path) -> tuple[Original, str | None]:
    try:
        original = read_original(path, most=xmp.MAX_PACKET)
        return original, xmp.alt_of(original.data) if original.data else None
    except NotReplacedError as error:
        raise _named(path, error) from error


def _named(path: Path, error: NotReplacedError) -> NotReplacedError:
    return NotReplacedError(f"{safe_name(path.name)} beside it was left as it is: {_lowered(str(error))}")


def _lowered(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]
