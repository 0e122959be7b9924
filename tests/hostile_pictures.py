"""Builders of picture files that lie, for the tests of what reads them."""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Sequence
from typing import Any

from PIL import Image

Entry = tuple[int, int, int, int]
"""A tag of a TIFF directory: number, type, how many values, and these or where they are."""


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    if kind == "HEIF":
        import pillow_heif

        pillow_heif.from_pillow(image).save(buffer, quality=80)
    else:
        image.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int = 4, height: int = 4, *chunks: bytes, depth: int = 8, colour: int = 2) -> bytes:
    raw = zlib.compress((b"\x00" + b"\x80" * (3 * width)) * height) if width * height < 1 << 20 else b"x\x9c"
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + chunk(b"IDAT", raw) + chunk(b"IEND", b"")


def lossless_webp(width: int, height: int) -> bytes:
    bits = (width - 1) | (height - 1) << 14
    body = b"\x2f" + struct.pack("<I", bits) + b"\x07\x10\xfd\x8f\xfe\x07\x22\xa2\xff\x01\x00"
    body += b"\x00" * (len(body) % 2)
    data = b"VP8L" + struct.pack("<I", len(body)) + body
    return b"RIFF" + struct.pack("<I", len(data) + 4) + b"WEBP" + data


def extended_webp(width: int, height: int) -> bytes:
    body = b"\x02\x00\x00\x00" + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    data = b"VP8X" + struct.pack("<I", 10) + body + b"ANIM" + struct.pack("<IIH", 6, 0, 0)
    return b"RIFF" + struct.pack("<I", len(data) + 4) + b"WEBP" + data


def tiff(*entries: Entry, tail: bytes = b"") -> bytes:
    packed = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\x00\x08\x00\x00\x00" + struct.pack("<H", len(entries)) + packed + b"\x00" * 4 + tail


def plain_tiff(width: int, height: int, compression: int = 1, *more: Entry) -> bytes:
    entries = ((256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, compression))
    strips = ((262, 3, 1, 1), (273, 4, 1, 8), (277, 3, 1, 1), (278, 4, 1, height), (279, 4, 1, 64))
    return tiff(*entries, *strips, *more)


def bmp(width: int, height: int, compression: int = 0, bits: int = 24) -> bytes:
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + 8, 0, 0, 54) + info + b"\x00" * 8


def icon(picture: bytes) -> bytes:
    return struct.pack("<HHHBBBBHHII", 0, 1, 1, 0, 0, 0, 0, 1, 32, len(picture), 22) + picture


def big_jp2(width: int, height: int) -> bytes:
    size = struct.pack(">HHIIIIIIIIH", 47, 0, width, height, 0, 0, width, height, 0, 0, 3)
    return b"\xff\x4f\xff\x51" + size + b"\x07\x01\x01" * 3 + b"\xff\x90" + b"\x00" * 40


def big_jpeg(marker: int = 0xC0) -> bytes:
    data = bytearray(encoded(Image.new("RGB", (64, 64)), "JPEG", progressive=marker == 0xC2))
    at = data.index(bytes((0xFF, marker)))
    data[at + 5 : at + 9] = struct.pack(">HH", 65500, 65500)
    return bytes(data)


def gif(width: int, height: int) -> bytes:
    head = b"GIF89a" + struct.pack("<HH", width, height) + b"\xf0\x00\x00" + b"\x00\x00\x00\xff\xff\xff"
    return head + b"," + struct.pack("<HHHH", 0, 0, width, height) + b"\x00\x02\x02\x44\x01\x00;"


BOMBS = {
    "lossless webp": lossless_webp(13000, 13000),
    "webp canvas": extended_webp(1 << 24, 1 << 8),
    "webp canvas of 2^48": extended_webp(1 << 24, 1 << 24),
    "png": png(65535, 65535),
    "png of 2^62": png((1 << 31) - 1, (1 << 31) - 1),
    "gif": gif(65535, 65535),
    "tiff": plain_tiff(60000, 60000),
    "tiff with libtiff": plain_tiff(60000, 60000, 5),
    "tiff with a huge tile": plain_tiff(16, 16, 5, (322, 4, 1, 60000), (323, 4, 1, 60000)),
    "bmp": bmp(60000, 60000),
    "bmp upside down": bmp(60000, -60000),
    "bmp in runs": bmp(30000, 30000, 1, 8),
    "icon with a png": icon(png(60000, 60000)),
    "icon with a bmp": icon(bmp(60000, 60000)[14:]),
    "binary pnm": b"P6 60000 60000 255\n" + b"\x00" * 64,
    "16-bit pnm": b"P5 60000 60000 65535\n" + b"\x00" * 64,
    "ascii pnm": b"P3 60000 60000 255\n1 2 3\n",
    "jp2": big_jp2(60000, 60000),
    "jpeg": big_jpeg(),
    "progressive jpeg": big_jpeg(0xC2),
}


SAMPLES: dict[str, dict[str, Any]] = {
    "JPEG": {},
    "PNG": {},
    "WEBP": {},
    "GIF": {},
    "TIFF": {"compression": "tiff_lzw"},
    "BMP": {},
    "JPEG2000": {},
    "PPM": {},
    "ICO": {},
    "AVIF": {"speed": 10},
    "HEIF": {},
}


def noise(side: int = 40) -> Image.Image:
    return Image.frombytes("RGB", (side, side), random.Random(7).randbytes(side * side * 3))


MAGICS = [
    b"\xff\xd8\xff\xe0",
    b"\x89PNG\r\n\x1a\n",
    b"GIF89a",
    b"RIFF\x00\x01\x00\x00WEBPVP8 ",
    b"II*\x00",
    b"MM\x00+",
    b"BM",
    b"P6 ",
    b"\x00\x00\x01\x00",
    b"\x00\x00\x00\x0cjP  \r\n\x87\n",
    b"\xff\x4f\xff\x51",
    b"\x00\x00\x00\x18ftypheic",
    b"\x00\x00\x00\x18ftypavif",
]


def exif_block(entries: Sequence[Entry], tail: bytes = b"") -> bytes:
    return tiff(*entries, tail=tail)


def jpeg_with_xmp(packet: bytes) -> bytes:
    plain = encoded(noise(16), "JPEG")
    body = b"http://ns.adobe.com/xap/1.0/\x00" + packet
    return plain[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + plain[2:]


def overlapping_exif(count: int = 500) -> bytes:
    """A block of 1 MiB whose three directories have tags that are each nearly the whole block."""
    block = bytearray(1 << 20)
    block[:8] = b"II*\x00" + struct.pack("<I", 8)
    for place, first in ((8, True), (8000, False), (16000, False)):
        struct.pack_into("<H", block, place, count)
        entries = [(0x9000 + index, 7, (1 << 20) - 8, 8) for index in range(count)]
        if first:
            entries[:3] = [(0x010E, 2, (1 << 20) - 8, 8), (0x8769, 4, 1, 8000), (0x8825, 4, 1, 16000)]
        for index, entry in enumerate(entries):
            struct.pack_into("<HHII", block, place + 2 + 12 * index, *entry)
    return bytes(block)
