"""Finds the metadata blocks of a picture file, without a picture library.

Everything here is bounded and total: broken or hostile blocks give fewer answers, never
an exception and never more work than a small multiple of the block's own size. All of it
happens before the memory of a picture has been asked for, so nothing is copied or unpacked
that nobody reads, and nothing twice.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from retrieval.images.exif import IPTC_TAG, MAX_BLOCK, read_exif, without_exif_prefix

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAX_TEXT = 1 << 16
MAX_SEGMENTS = 200_000
MAX_TEXTS = 200

XMP_TAG = 700

_XMP_JPEG = b"http://ns.adobe.com/xap/1.0/\x00"
_XMP_UUID = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
_EXIF_UUID = b"JpgTiffExif->JP2"

_XMP_KEYWORD = "XML:com.adobe.xmp"
TEXT_KEYWORDS = frozenset({"Title", "Description", "Comment"})
"""The PNG texts that are read; programs also store whole documents in others."""


@dataclass(slots=True)
class Blocks:
    """The raw metadata of one file; `exif` starts at the TIFF header."""

    exif: bytes = b""
    xmp: bytes = b""
    iptc: bytes = b""
    texts: dict[str, str] = field(default_factory=dict)
    """Text chunks of a PNG by keyword, those of `TEXT_KEYWORDS`."""


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
    texts = 0
    for kind, start, end in _png_chunks(data):
        if end - start > MAX_BLOCK:
            continue
        if kind == b"eXIf":
            blocks.exif = blocks.exif or without_exif_prefix(data[start:end])
        elif kind in (b"tEXt", b"zTXt", b"iTXt") and texts < MAX_TEXTS:
            name = data[start : min(end, start + 80)].partition(b"\x00")[0].decode("latin-1")
            if name == _XMP_KEYWORD and not blocks.xmp and kind == b"iTXt":
                texts += 1
                blocks.xmp = _png_text(kind, data[start:end], MAX_BLOCK)
            elif name in TEXT_KEYWORDS and name not in blocks.texts:
                texts += 1
                raw = _png_text(kind, data[start:end], MAX_TEXT)
                text = raw.decode("utf-8", "replace") if kind == b"iTXt" else raw.decode("latin-1")
                if text:
                    blocks.texts[name] = text


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


def _png_text(kind: bytes, body: bytes, limit: int) -> bytes:
    """What comes after the keyword of a text chunk, unpacked, at most `limit` bytes of it."""
    rest = body.partition(b"\x00")[2]
    if kind == b"tEXt":
        return rest[:limit]
    if kind == b"zTXt":
        return _inflate(rest[1:], limit)
    packed = rest[:1] == b"\x01"
    rest = rest[2:].partition(b"\x00")[2].partition(b"\x00")[2]
    return _inflate(rest, limit) if packed else rest[:limit]


def _inflate(packed: bytes, limit: int) -> bytes:
    try:
        return zlib.decompressobj().decompress(packed, limit)
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
                blocks.exif = blocks.exif or without_exif_prefix(data[at + 8 : at + 8 + size])
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
                blocks.exif = blocks.exif or without_exif_prefix(body)
        if size < 8:
            return
        at += size


_FINDERS: dict[str, Callable[[bytes, Blocks], None]] = {
    "JPEG": _find_in_jpeg,
    "PNG": _find_in_png,
    "WEBP": _find_in_webp,
    "TIFF": _find_in_tiff,
    "RAW": _find_in_tiff,
    "JPEG2000": _find_in_jp2,
}
