"""Alt texts inside pictures: another XMP packet, and not one byte of the picture itself."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from retrieval import config
from retrieval.describing import xmp
from retrieval.describing.carriers import CARRIERS, Carrier
from retrieval.describing.replacing import (
    NotReplacedError,
    Original,
    check_replaceable,
    read_original,
    replace,
)
from retrieval.describing.sidecars import alt_beside
from retrieval.errors import ImageError
from retrieval.images import load_image
from retrieval.images.blocks import find_blocks
from retrieval.images.exif import MAX_BLOCK


@dataclass(frozen=True, slots=True)
class Written:
    """What became of a file that was written to: the same picture in other bytes."""

    path: Path
    """Where it really is, behind all links."""
    before: bytes
    after: bytes
    """The digests of its content."""
    size: int
    mtime_ns: int


def write_into(picture: Path, alt: str) -> Written | None:
    """Write the alt text into the picture; None where it has one, or its sidecar has another one.

    The file keeps its time, so that a picture without a date of its own keeps its place among
    the others; that it was written to shows in its size.
    """
    from retrieval.images.decode import sniff

    original = read_original(picture, most=config.MAX_FILE_BYTES)
    kind = sniff(original.data)
    carrier = CARRIERS.get(kind or "")
    if kind is None or carrier is None:
        raise NotReplacedError(
            "Only JPEG, PNG and WebP files are written into. Without --write the text goes beside it."
        )
    layout = carrier.read(original.data)
    packet = xmp.new_packet(alt) if layout.packet is None else xmp.with_alt(layout.packet, alt)
    if packet is None or _told_otherwise(picture, original, alt):
        return None
    check_replaceable(original)
    if len(packet) > MAX_BLOCK:
        raise NotReplacedError("Its XMP is too large to be added to.")
    made = carrier.put(original.data, layout, packet)
    _check(original.data, made, kind, carrier, packet)
    replace(original, made, keep_time=True)
    before, after = (hashlib.sha256(data).digest() for data in (original.data, made))
    return Written(original.path, before, after, len(made), original.status.st_mtime_ns)


def _told_otherwise(picture: Path, original: Original, alt: str) -> bool:
    """Whether a sidecar has another alt text: that one may be a person's, and two would disagree."""
    beside = {picture, original.path}
    return any(told not in (None, alt) for told in map(alt_beside, beside))


def _check(old: bytes, new: bytes, kind: str, carrier: Carrier, packet: bytes) -> None:
    """Raise unless the new file is the old one with the packet: byte for byte, and decoded."""
    layout = carrier.read(new)
    if layout.packet != packet or find_blocks(new, kind).xmp != packet:
        raise NotReplacedError("What would be written could not be read again.")
    if layout.rest != carrier.read(old).rest or _pixels(old) != _pixels(new):
        raise NotReplacedError("The picture would not be the same.")


def _pixels(data: bytes) -> tuple[object, ...]:
    try:
        image = load_image(data)
    except ImageError as error:
        raise NotReplacedError(f"The picture cannot be opened, so it is not written to: {error}.") from error
    return image.size, image.mode, hashlib.sha256(image.tobytes()).digest()
