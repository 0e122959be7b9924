"""Where XMP lies in a JPEG, a PNG and a WebP, and how to put another packet there.

Nothing is guessed: a file that is not put together exactly as its format says, or in which
something may depend on where its bytes lie or what they are, is refused and stays as it is.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from retrieval.describing.replacing import NotReplacedError
from retrieval.images.exif import MAX_BLOCK

MAX_SEGMENT = 0xFFFF
MAX_PARTS = 200_000

_XMP_NAME = b"http://ns.adobe.com/xap/1.0/\0"
_PNG_NAME = b"XML:com.adobe.xmp"
_OTHER_PNG_NAMES = (_PNG_NAME, b"Raw profile type xmp")
_MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])", re.DOTALL)

_DAMAGED = "The picture is cut off or damaged, so it is not written to."
_SIGNED = "It carries content credentials, a signature that would not hold any more."
_SEVERAL = "Its XMP is spread over several packets."
_BEYOND = "Something follows after the end of the picture, which may depend on where it lies."


@dataclass(frozen=True, slots=True)
class Layout:
    """A picture file as its XMP and all the rest."""

    packet: bytes | None
    rest: bytes
    """Everything that has to be the same in a file that differs in its XMP only."""
    start: int
    end: int
    """The bytes that hold the packet; where there is none, both say where it would go."""
    lead: bytes = b""
    """What stands before the packet in its part of the file, and is not our concern."""


class Carrier(NamedTuple):
    """A format that holds XMP: how it is taken apart, and put together with another packet."""

    read: Callable[[bytes], Layout]
    put: Callable[[bytes, Layout, bytes], bytes]


def read_jpeg(data: bytes) -> Layout:
    found: list[tuple[int, int]] = []
    free = 2
    leading = True
    at = 2
    for start, marker, end in _jpeg_head(data):
        body = start + 4
        if marker == 0xE1:
            if data.startswith(_XMP_NAME, body):
                found.append((start, end))
            elif data.startswith((b"http://ns.adobe.com/xap/", b"http://ns.adobe.com/xmp/"), body):
                raise NotReplacedError(_SEVERAL)
        elif marker == 0xE2 and data.startswith(b"MPF\0", body):
            raise NotReplacedError("It holds several pictures, whose places in the file would not be right.")
        elif marker == 0xEB and data.startswith(b"JP", body):
            raise NotReplacedError(_SIGNED)
        # XMP stands behind the JFIF header and the EXIF block, which have to be first.
        leading = leading and (marker == 0xE0 or (marker == 0xE1 and data.startswith(b"Exif\0", body)))
        free = end if leading else free
        at = end
    _check_tail(data, _jpeg_end(data, at), ended=(b"SEFT",), begun=b"ftyp")
    if len(found) > 1:
        raise NotReplacedError(_SEVERAL)
    start, end = found[0] if found else (free, free)
    packet = data[start + 4 + len(_XMP_NAME) : end] if found else None
    return Layout(packet, data[:start] + data[end:], start, end)


def put_jpeg(data: bytes, layout: Layout, packet: bytes) -> bytes:
    size = 2 + len(_XMP_NAME) + len(packet)
    if size > MAX_SEGMENT:
        raise NotReplacedError("Its XMP is too large to be added to.")
    segment = b"\xff\xe1" + size.to_bytes(2, "big") + _XMP_NAME + packet
    return data[: layout.start] + segment + data[layout.end :]


def _jpeg_head(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Start, marker and end of each segment, up to the header of the first scan."""
    at = 2
    for _ in range(MAX_PARTS):
        while data[at : at + 2] == b"\xff\xff":
            at += 1
        marker = data[at + 1] if data[at : at + 1] == b"\xff" and at + 4 <= len(data) else 0
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if not 0xC0 <= marker <= 0xFE or 0xD0 <= marker <= 0xD9 or end < at + 4 or end > len(data):
            raise NotReplacedError(_DAMAGED)
        yield at, marker, end
        if marker == 0xDA:
            return
        at = end
    raise NotReplacedError(_DAMAGED)


def _jpeg_end(data: bytes, at: int) -> int:
    """Where the picture ends, from the data of its first scan on."""
    for _ in range(MAX_PARTS):
        marker = _MARKER.search(data, at)
        if marker is None:
            break
        at = marker.end()
        if marker[1] == b"\xd9":
            return at
        size = int.from_bytes(data[at : at + 2], "big")
        if size < 2 or at + size > len(data):
            break
        at += size
    raise NotReplacedError(_DAMAGED)


def _check_tail(data: bytes, end: int, *, ended: tuple[bytes, ...] = (), begun: bytes | None = None) -> None:
    """Refuse what follows the picture, unless it is padding or counts its places from the end.

    That is so for what Samsung appends, and for the film in a motion photo.
    """
    tail = data[end:]
    if not tail.strip(b"\0") or (ended and tail.endswith(ended)) or (begun and tail[4:8] == begun):
        return
    raise NotReplacedError(_BEYOND)


def read_png(data: bytes) -> Layout:
    found: list[tuple[int, int, bytes, bytes]] = []
    kinds: list[bytes] = []
    end = 8
    for kind, start, end in _png_chunks(data):
        body = data[start + 8 : end - 4] if kind in (b"iTXt", b"tEXt", b"zTXt") else b""
        name = body.partition(b"\0")[0]
        if kind == b"caBX":
            raise NotReplacedError(_SIGNED)
        if kind == b"iTXt" and name == _PNG_NAME:
            if b"iDOT" in kinds:
                raise NotReplacedError("Parts of the picture are found by where they lie, behind its XMP.")
            found.append((start, end, *_png_text(body)))
        elif name in _OTHER_PNG_NAMES:
            raise NotReplacedError(_SEVERAL)
        kinds.append(kind)
    if kinds[:1] != [b"IHDR"] or kinds[-1] != b"IEND" or b"IDAT" not in kinds:
        raise NotReplacedError(_DAMAGED)
    _check_tail(data, end)
    if len(found) > 1:
        raise NotReplacedError(_SEVERAL)
    if not found:
        free = 8 + 12 + int.from_bytes(data[8:12], "big")
        return Layout(None, data, free, free, _PNG_NAME + b"\0\0\0\0\0")
    start, end, lead, packet = found[0]
    return Layout(packet, data[:start] + data[end:], start, end, lead)


def put_png(data: bytes, layout: Layout, packet: bytes) -> bytes:
    body = b"iTXt" + layout.lead + packet
    chunk = (len(body) - 4).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")
    return data[: layout.start] + chunk + data[layout.end :]


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and end of each whole chunk, whose checksum is right."""
    at = 8
    view = memoryview(data)
    for _ in range(MAX_PARTS):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        right = int.from_bytes(view[end - 4 : end], "big")
        if end > len(data) or zlib.crc32(view[at + 4 : end - 4]) != right:
            raise NotReplacedError(_DAMAGED)
        kind = data[at + 4 : at + 8]
        yield kind, at, end
        if kind == b"IEND":
            return
        at = end
    raise NotReplacedError(_DAMAGED)


def _png_text(body: bytes) -> tuple[bytes, bytes]:
    """What stands before the text, as it is when the text is not packed, and the text."""
    name, _, rest = body.partition(b"\0")
    flags, rest = rest[:2], rest[2:]
    language, found, rest = rest.partition(b"\0")
    translated, also, text = rest.partition(b"\0")
    if not (found and also) or flags not in (b"\0\0", b"\1\0"):
        raise NotReplacedError(_DAMAGED)
    lead = name + b"\0\0\0" + language + b"\0" + translated + b"\0"
    if flags == b"\0\0":
        return lead, text
    inflating = zlib.decompressobj()
    try:
        text = inflating.decompress(text, MAX_BLOCK + 1)
    except zlib.error as error:
        raise NotReplacedError(_DAMAGED) from error
    if not inflating.eof or inflating.unused_data:
        raise NotReplacedError("Its XMP is too large or damaged, so it is not written to.")
    return lead, text


def read_webp(data: bytes) -> Layout:
    chunks = list(_webp_chunks(data))
    kinds = [kind for kind, _, _ in chunks]
    if b"C2PA" in kinds:
        raise NotReplacedError(_SIGNED)
    if kinds.count(b"XMP ") > 1 or b"XMP\0" in kinds:
        raise NotReplacedError(_SEVERAL)
    if kinds[:1] == [b"VP8X"] and kinds.count(b"VP8X") == 1 and chunks[0][2] == 30:
        header = _with_xmp_flag(data[20:30])
    elif kinds in ([b"VP8 "], [b"VP8L"]):
        header = _extended_header(data)
    else:
        raise NotReplacedError(_DAMAGED)
    others = (data[start:end] for kind, start, end in chunks if kind not in (b"VP8X", b"XMP "))
    place = next(((start, end) for kind, start, end in chunks if kind == b"XMP "), (len(data), len(data)))
    packet = None
    if b"XMP " in kinds:
        at = place[0]
        packet = data[at + 8 : at + 8 + int.from_bytes(data[at + 4 : at + 8], "little")]
    return Layout(packet, header + b"".join(others), *place)


def put_webp(data: bytes, layout: Layout, packet: bytes) -> bytes:
    chunk = b"XMP " + len(packet).to_bytes(4, "little") + packet + b"\0" * (len(packet) % 2)
    after = 12
    if data[12:16] == b"VP8X":
        header = _with_xmp_flag(data[20:30])
        after = 30
    else:
        header = _extended_header(data)
    extended = b"VP8X" + (10).to_bytes(4, "little") + header
    body = b"WEBP" + extended + data[after : layout.start] + chunk + data[layout.end :]
    if len(body) > 0xFFFFFFFE:
        raise NotReplacedError("The picture is too large to be added to.")
    return b"RIFF" + len(body).to_bytes(4, "little") + body


def _webp_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and end of each chunk with its padding, which together are the whole file."""
    if int.from_bytes(data[4:8], "little") + 8 != len(data):
        raise NotReplacedError(_BEYOND if int.from_bytes(data[4:8], "little") + 8 < len(data) else _DAMAGED)
    at = 12
    for _ in range(MAX_PARTS):
        if at == len(data):
            return
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        end = at + 8 + size + size % 2
        if end > len(data) or at + 8 > len(data):
            raise NotReplacedError(_DAMAGED)
        yield data[at : at + 4], at, end
        at = end
    raise NotReplacedError(_DAMAGED)


_XMP_FLAG = 0x04
_ALPHA_FLAG = 0x10


def _with_xmp_flag(header: bytes) -> bytes:
    return bytes([header[0] | _XMP_FLAG]) + header[1:]


def _extended_header(data: bytes) -> bytes:
    """The body of a VP8X chunk for a file that has only its picture."""
    flags = _XMP_FLAG
    if data[12:16] == b"VP8 ":
        if data[23:26] != b"\x9d\x01\x2a":
            raise NotReplacedError(_DAMAGED)
        width = int.from_bytes(data[26:28], "little") & 0x3FFF
        height = int.from_bytes(data[28:30], "little") & 0x3FFF
    else:
        bits = int.from_bytes(data[21:25], "little")
        if data[20:21] != b"\x2f" or bits >> 29:
            raise NotReplacedError(_DAMAGED)
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        flags |= _ALPHA_FLAG if bits >> 28 & 1 else 0
    if not width or not height:
        raise NotReplacedError(_DAMAGED)
    return bytes([flags, 0, 0, 0]) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")


CARRIERS = {
    "JPEG": Carrier(read_jpeg, put_jpeg),
    "PNG": Carrier(read_png, put_png),
    "WEBP": Carrier(read_webp, put_webp),
}
