"""Finds the metadata blocks of a picture file, and reads EXIF, without a picture library.

Everything here is bounded and total: broken or hostile blocks give fewer answers, never
an exception and never more work than a small multiple of the block's own size.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAX_BLOCK = 1 << 20
MAX_SEGMENTS = 200_000
MAX_TEXTS = 200
MAX_TAGS = 500
MAX_NUMBERS = 64

ORIENTATION = 0x0112
XMP_TAG = 700
IPTC_TAG = 33723

_XMP_JPEG = b"http://ns.adobe.com/xap/1.0/\x00"
_XMP_UUID = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
_EXIF_UUID = b"JpgTiffExif->JP2"

Value = bytes | tuple[float, ...]
Ifd = dict[int, Value]


@dataclass(slots=True)
class Blocks:
    """The raw metadata of one file; `exif` starts at the TIFF header."""

    exif: bytes = b""
    xmp: bytes = b""
    iptc: bytes = b""
    texts: dict[str, str] = field(default_factory=dict)
    """Text chunks of a PNG by keyword."""


@dataclass(frozen=True, slots=True)
class Exif:
    """The tags of the first picture, of its EXIF block and of its GPS block."""

    main: Ifd = field(default_factory=dict)
    photo: Ifd = field(default_factory=dict)
    gps: Ifd = field(default_factory=dict)

    @property
    def orientation(self) -> int:
        value = self.main.get(ORIENTATION)
        if isinstance(value, tuple) and value and value[0] in range(1, 9):
            return int(value[0])
        return 1


def find_blocks(data: bytes, kind: str) -> Blocks:
    """The metadata blocks of `data`, a file of Pillow's format name `kind`."""
    blocks = Blocks()
    finder = _FINDERS.get(kind)
    if finder is not None:
        finder(data, blocks)
    return blocks


def _find_in_jpeg(data: bytes, blocks: Blocks) -> None:
    resources = bytearray()
    for marker, start, end in jpeg_segments(data):
        if marker == 0xE1:
            if not blocks.exif and data.startswith(b"Exif\x00", start):
                blocks.exif = data[start + 6 : end]
            elif not blocks.xmp and data.startswith(_XMP_JPEG, start):
                blocks.xmp = data[start + len(_XMP_JPEG) : end]
        elif marker == 0xED and data.startswith(b"Photoshop 3.0\x00", start):
            # One resource block may be spread over several segments.
            resources += data[start + 14 : end]
            if len(resources) > MAX_BLOCK:
                break
    blocks.iptc = _iptc_of_resources(bytes(resources))


def jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, start and end of the payload of each segment up to the first scan."""
    at = 2
    for _ in range(MAX_SEGMENTS):
        if at + 4 > len(data) or data[at] != 0xFF:
            return
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker == 0x01 or 0xD0 <= marker <= 0xD8:
            at += 2
            continue
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        yield marker, at + 4, at + 2 + length
        if marker in (0xDA, 0xD9) or length < 2:
            return
        at += 2 + length


def _iptc_of_resources(resources: bytes) -> bytes:
    at = 0
    while resources.startswith(b"8BIM", at) and at + 12 <= len(resources):
        kind = int.from_bytes(resources[at + 4 : at + 6], "big")
        name = resources[at + 6] + 1
        at += 6 + name + name % 2
        size = int.from_bytes(resources[at : at + 4], "big")
        if kind == 0x0404:
            return resources[at + 4 : at + 4 + size]
        at += 4 + size + size % 2
    return b""


def _find_in_png(data: bytes, blocks: Blocks) -> None:
    for kind, start, end in _png_chunks(data):
        if end - start > MAX_BLOCK:
            continue
        if kind == b"eXIf":
            blocks.exif = blocks.exif or _without_exif_prefix(data[start:end])
        elif kind in (b"tEXt", b"zTXt", b"iTXt") and len(blocks.texts) < MAX_TEXTS:
            _add_png_text(kind, data[start:end], blocks)


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and end of the body of each chunk."""
    at = 8
    for _ in range(MAX_SEGMENTS):
        if at + 12 > len(data):
            return
        size = int.from_bytes(data[at : at + 4], "big")
        kind = data[at + 4 : at + 8]
        yield kind, at + 8, at + 8 + size
        if kind == b"IEND":
            return
        at += 12 + size


_PNG_NOTES = frozenset({b"tEXt", b"zTXt", b"iTXt", b"iCCP", b"eXIf"})


def png_without_notes(data: bytes) -> bytes:
    """The file without texts and profiles, whose flaws would make Pillow refuse the whole picture."""
    parts = []
    kept_from = 0
    for kind, start, end in _png_chunks(data):
        if kind in _PNG_NOTES:
            parts.append(data[kept_from : start - 8])
            kept_from = end + 4
    return b"".join((*parts, data[kept_from:])) if parts else data


def _add_png_text(kind: bytes, body: bytes, blocks: Blocks) -> None:
    keyword, _, rest = body.partition(b"\x00")
    name = keyword[:79].decode("latin-1")
    if kind == b"tEXt":
        text = rest.decode("latin-1")
    elif kind == b"zTXt":
        text = _inflate(rest[1:]).decode("latin-1")
    else:
        packed = rest[:1] == b"\x01"
        rest = rest[2:].partition(b"\x00")[2].partition(b"\x00")[2]
        raw = _inflate(rest) if packed else rest
        if name == "XML:com.adobe.xmp":
            blocks.xmp = blocks.xmp or raw
            return
        text = raw.decode("utf-8", "replace")
    if text:
        blocks.texts.setdefault(name, text)


def _inflate(packed: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(packed, MAX_BLOCK)
    except zlib.error:
        return b""


def _find_in_webp(data: bytes, blocks: Blocks) -> None:
    at = 12
    for _ in range(MAX_SEGMENTS):
        if at + 8 > len(data):
            return
        kind = data[at : at + 4]
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        if size <= MAX_BLOCK:
            if kind == b"EXIF":
                blocks.exif = blocks.exif or _without_exif_prefix(data[at + 8 : at + 8 + size])
            elif kind == b"XMP ":
                blocks.xmp = blocks.xmp or data[at + 8 : at + 8 + size]
        at += 8 + size + size % 2


def _find_in_tiff(data: bytes, blocks: Blocks) -> None:
    blocks.exif = data
    main = read_exif(data).main
    for tag in (XMP_TAG, IPTC_TAG):
        value = main.get(tag)
        if isinstance(value, bytes):
            if tag == XMP_TAG:
                blocks.xmp = value
            else:
                blocks.iptc = value


def _find_in_jp2(data: bytes, blocks: Blocks) -> None:
    at = 0
    for _ in range(MAX_SEGMENTS):
        if at + 8 > len(data):
            return
        size = int.from_bytes(data[at : at + 4], "big")
        if data[at + 4 : at + 8] == b"uuid" and 24 <= size <= MAX_BLOCK:
            name, body = data[at + 8 : at + 24], data[at + 24 : at + size]
            if name == _XMP_UUID:
                blocks.xmp = blocks.xmp or body
            elif name == _EXIF_UUID:
                blocks.exif = blocks.exif or _without_exif_prefix(body)
        if size < 8:
            return
        at += size


def _without_exif_prefix(block: bytes) -> bytes:
    return block[6:] if block.startswith(b"Exif\x00\x00") else block


_FINDERS: dict[str, Callable[[bytes, Blocks], None]] = {
    "JPEG": _find_in_jpeg,
    "PNG": _find_in_png,
    "WEBP": _find_in_webp,
    "TIFF": _find_in_tiff,
    "RAW": _find_in_tiff,
    "JPEG2000": _find_in_jp2,
}

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_LETTERS = {3: "H", 4: "I", 5: "I", 6: "b", 8: "h", 9: "i", 10: "i", 11: "f", 12: "d", 13: "I"}
_RATIONALS = (5, 10)


def read_exif(block: bytes) -> Exif:
    """The tags of an EXIF block or a TIFF file; whatever is broken is left out."""
    block = _without_exif_prefix(block)
    if block[:4] == b"II*\x00" or block[:2] in (b"IIRO", b"IIU\x00"):
        order = "<"
    elif block[:4] == b"MM\x00*":
        order = ">"
    else:
        return Exif()
    main = _read_ifd(block, int(_number(block, 4, order, "I")), order)
    return Exif(
        main,
        _read_ifd(block, _offset(main.get(0x8769)), order),
        _read_ifd(block, _offset(main.get(0x8825)), order),
    )


def _offset(value: Value | None) -> int:
    return int(value[0]) if isinstance(value, tuple) and value else 0


def _number(block: bytes, at: int, order: str, letter: str) -> float:
    try:
        return float(struct.unpack_from(order + letter, block, at)[0])
    except struct.error:
        return 0


def _read_ifd(block: bytes, at: int, order: str) -> Ifd:
    tags: Ifd = {}
    if at < 8:
        return tags
    count = min(int(_number(block, at, order, "H")), MAX_TAGS)
    for index in range(count):
        entry = at + 2 + 12 * index
        if entry + 12 > len(block):
            break
        tag, kind, number = struct.unpack_from(order + "HHI", block, entry)
        size = _SIZES.get(kind)
        if size is None or tag in tags:
            continue
        total = size * number
        place = entry + 8 if total <= 4 else struct.unpack_from(order + "I", block, entry + 8)[0]
        if kind in (1, 2, 7) or tag == IPTC_TAG:
            # IPTC is bytes, though many programs declare it as numbers.
            if total <= MAX_BLOCK:
                tags[tag] = block[place : place + total]
            continue
        tags[tag] = _numbers(block, place, kind, min(number, MAX_NUMBERS), order)
    return tags


def _numbers(block: bytes, at: int, kind: int, count: int, order: str) -> tuple[float, ...]:
    rational = kind in _RATIONALS
    form = f"{order}{count * 2 if rational else count}{_LETTERS[kind]}"
    try:
        values = struct.unpack_from(form, block, at)
    except struct.error:
        return ()
    if not rational:
        return tuple(values)
    pairs = zip(values[::2], values[1::2], strict=True)
    return tuple(top / bottom if bottom else float("nan") for top, bottom in pairs)
