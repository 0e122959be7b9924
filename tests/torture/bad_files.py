"""Thousands of files made to break what reads pictures, and good ones among them; the same for a seed."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from PIL import Image, ImageDraw

from tests.hostile_pictures import (
    BOMBS,
    MAGICS,
    SAMPLES,
    big_jp2,
    bmp,
    chunk,
    encoded,
    exif_block,
    extended_webp,
    gif,
    icon,
    jpeg_with_xmp,
    lossless_webp,
    overlapping_exif,
    plain_tiff,
    png,
    tiff,
)

ENDINGS = {
    "JPEG": b".jpg", "PNG": b".png", "WEBP": b".webp", "GIF": b".gif", "TIFF": b".tif", "BMP": b".bmp",
    "JPEG2000": b".jp2", "PPM": b".ppm", "ICO": b".ico", "AVIF": b".avif", "HEIF": b".heic", "DNG": b".dng",
}  # fmt: skip
NAMES = (
    b"caf\xe9 \xff\xfe", b"two\nlines", b"\x1b[2J\x1b]0;title\x07", b"\r\x08\x7f\x01", "\u202egpj.exe".encode(),
    "\u200b\u2066isolated\u2069".encode(), b"-rf", b"--catalog", b"--help", b"'single' \"double\"", b"$(reboot)",
    b"`id`; rm -rf ~ | cat > x", b"   ", b" lead and trail ", "\u00e9".encode(), "e\u0301".encode(),
    b"%00%n%s{0}", b"back\\slash", b"*?[a]", b"#anchor?q=1&a=b", b"<img src=x onerror=alert(1)>",
    b"=cmd|' C calc'!A0", b",;\t", "\ud800".encode("utf-8", "surrogatepass"), "\u65e5\u672c \U0001f3f3\ufe0f".encode(),
    b"CON", b"nul.", b"a" * 230, "\u00e4".encode() * 115, b"@name", b"2:snow", b"x + y - z", b"~", b"~root",
    b"\xc0\xaf..\xc0\xaf", "\u2028\u3000".encode(), b"\x9b31m", b"1e999", b"null", b"a:b", b"http:__x",
)  # fmt: skip
"""Names, without an ending, that programs have stumbled over."""


@dataclass(frozen=True, slots=True)
class BadFile:
    name: bytes
    data: bytes
    good: bool = False
    """Whether it is a picture that has to be found."""


def files(count: int, good: int, rng: random.Random) -> Iterator[BadFile]:
    """So many files, of which `good` are pictures; no two of the good ones have the same content."""
    bases = {kind: _bases(kind, options, rng) for kind, options in SAMPLES.items()}
    bases["DNG"] = [dng(rng)]
    kinds = list(bases)
    for number in range(good):
        kind = rng.choice([kind for kind in kinds if kind != "DNG"])
        data = encoded(_picture(rng, number), kind, **SAMPLES[kind])
        ending = rng.choice((ENDINGS[kind], ENDINGS[kind].upper(), b".jpg"))
        if rng.random() < 0.1:
            data += POLYGLOT
        yield BadFile(_name(number, ending, rng), data, good=True)
    made = [make for name, make in MADE.items() if name not in SLOW_TO_MAKE or count >= 1000]
    rng.shuffle(made)
    for number in range(count - good):
        kind = rng.choice(kinds)
        ending = ENDINGS[kind]
        way = rng.random()
        base = rng.choice(bases[kind])
        if number < len(made):
            data, ending = made[number]()
        elif way < 0.3:
            data = base[: rng.randrange(len(base))]
        elif way < 0.65:
            data = _flipped(base, rng)
        elif way < 0.72:
            data = _spliced(base, rng.choice(bases[rng.choice(kinds)]), rng)
        elif way < 0.85:
            data = _lie(rng)
        elif way < 0.9:
            data = rng.choice(MAGICS) + rng.randbytes(rng.choice((0, 1, 30, 3000)))
        elif way < 0.95:
            data = rng.choice(WRONG)
        else:
            data = _repeated(base, rng)
        if rng.random() < 0.15:
            ending = ENDINGS[rng.choice(kinds)]
        yield BadFile(_name(good + number, ending, rng, odd=0.1), data)


def _name(number: int, ending: bytes, rng: random.Random, odd: float = 0.9) -> bytes:
    stem = rng.choice(NAMES) if rng.random() < odd else b"file"
    last = b"%d" % number + ending
    return stem[: 255 - len(last)] + last


def _picture(rng: random.Random, number: int) -> Image.Image:
    size = rng.choice(((40, 40), (64, 48), (100, 150)))
    picture = Image.new("RGB", size, (rng.randrange(256), rng.randrange(256), rng.randrange(256)))
    ImageDraw.Draw(picture).rectangle((0, 0, 3 + number % 32, 3 + number // 32), fill=(250, 250, 250))
    return picture


def _bases(kind: str, options: dict[str, object], rng: random.Random) -> list[bytes]:
    made = [encoded(_picture(rng, 0), kind, **options)]
    busy = Image.frombytes("RGB", (96, 64), rng.randbytes(96 * 64 * 3))
    made.append(encoded(busy, kind, **options))
    if kind == "JPEG":
        made.append(encoded(busy, kind, progressive=True))
        made.append(encoded(busy.convert("CMYK"), kind))
    elif kind in ("PNG", "WEBP", "TIFF", "AVIF", "JPEG2000"):
        made.append(encoded(busy.convert("RGBA"), kind))
    elif kind == "GIF":
        frames = [Image.new("L", (20, 20), shade) for shade in range(0, 200, 20)]
        made.append(encoded(frames[0], kind, save_all=True, append_images=frames[1:]))
    if kind == "TIFF":
        made += [encoded(busy, kind, compression=way) for way in ("jpeg", "tiff_adobe_deflate", "packbits")]
        made.append(encoded(busy.convert("1"), kind, compression="group4"))
    return made


def _flipped(base: bytes, rng: random.Random) -> bytes:
    data = bytearray(base)
    for _ in range(rng.randint(1, 12)):
        at = rng.randrange(min(len(data), rng.choice((64, 400, len(data)))))
        data[at] = rng.choice((0, 0x7F, 0x80, 0xFF, rng.randrange(256)))
    return bytes(data)


def _spliced(base: bytes, other: bytes, rng: random.Random) -> bytes:
    return base[: rng.randrange(len(base))] + other[rng.randrange(len(other)) :]


def _repeated(base: bytes, rng: random.Random) -> bytes:
    """A part of it again and again, as where structures have no end."""
    start = rng.randrange(len(base))
    part = base[start : start + rng.choice((4, 16, 100))]
    return base[:start] + part * rng.choice((10, 1000, 20_000)) + base[start:]


def _lie(rng: random.Random) -> bytes:
    """A header that promises a size which is not there."""
    width, height = (rng.choice((1, 7, 300, 4000, 9000, 16_383, 20_000, 60_000, 65_535)) for _ in range(2))
    makers: list[Callable[[], bytes]] = [
        lambda: png(width, height),
        lambda: lossless_webp(min(width, 16_384), min(height, 16_384)),
        lambda: extended_webp(width, height),
        lambda: gif(width, height),
        lambda: plain_tiff(width, height, rng.choice((1, 5, 7, 8, 32773))),
        lambda: bmp(
            width, rng.choice((height, -height)), rng.choice((0, 1, 2, 3)), rng.choice((1, 4, 8, 24))
        ),
        lambda: icon(png(width, height)),
        lambda: big_jp2(width, height),
        lambda: b"P%d %d %d 255\n" % (rng.randint(1, 6), width, height) + b"1 " * 40,
        lambda: _resized_jpeg(width, height),
    ]
    return rng.choice(makers)()


def _resized_jpeg(width: int, height: int, scans: int = 1) -> bytes:
    """A progressive JPEG of a claimed size, whose scans come again and again."""
    data = bytearray(encoded(Image.new("RGB", (64, 64), (200, 30, 30)), "JPEG", progressive=True))
    at = data.index(b"\xff\xc2")
    data[at + 5 : at + 9] = struct.pack(">HH", height, width)
    scan = data.index(b"\xff\xda")
    return bytes(data[:scan]) + bytes(data[scan:-2]) * scans + b"\xff\xd9"


def dng(rng: random.Random) -> bytes:
    """A raw file in little: a preview in the first directory, a sensor's values in a second one."""
    preview = encoded(_picture(rng, 7), "JPEG")
    side = 32
    values = rng.randbytes(side * side * 2)
    first = 8 + 2 + 14 * 12 + 4
    second = first
    preview_at = second + 2 + 10 * 12 + 4
    values_at = preview_at + len(preview)
    main = [
        (254, 4, 1, 1), (256, 4, 1, 64), (257, 4, 1, 48), (258, 3, 1, 8), (259, 3, 1, 7), (262, 3, 1, 6),
        (271, 2, 4, 0x006C6341), (272, 2, 4, 0x00656E4F), (273, 4, 1, preview_at), (277, 3, 1, 3),
        (278, 4, 1, 48), (279, 4, 1, len(preview)), (330, 4, 1, second), (50706, 1, 4, 0x00000401),
    ]  # fmt: skip
    sub = [
        (254, 4, 1, 0), (256, 4, 1, side), (257, 4, 1, side), (258, 3, 1, 16), (259, 3, 1, 1),
        (262, 3, 1, 32803), (273, 4, 1, values_at), (277, 3, 1, 1), (278, 4, 1, side),
        (279, 4, 1, len(values)),
    ]  # fmt: skip
    directory = b"".join(struct.pack("<HHII", *entry) for entry in sub)
    return tiff(*main) + struct.pack("<H", len(sub)) + directory + b"\x00" * 4 + preview + values


def _true_png(side: int) -> bytes:
    """Black and white, and all of it there: a few kilobytes that unpack to hundreds of megabytes."""
    packer = zlib.compressobj(9)
    row = b"\x00" * (1 + side // 8)
    body = b"".join(packer.compress(row * 100) for _ in range(side // 100)) + packer.flush()
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def _frames(kind: str, count: int) -> bytes:
    frames = [Image.new("L", (8, 8), number % 256) for number in range(count)]
    return encoded(frames[0], kind, save_all=True, append_images=frames[1:])


def _jpeg_with(*segments: bytes) -> bytes:
    plain = encoded(Image.new("RGB", (16, 16)), "JPEG")
    return plain[:2] + b"".join(segments) + plain[2:]


def _segment(marker: int, body: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", len(body) + 2) + body


def _iptc(depth: int) -> bytes:
    """Resources inside resources inside resources."""
    inner = b"\x1c\x02\x19\x00\x04word" * 2000
    for _ in range(depth):
        inner = b"8BIM\x04\x04\x00\x00" + struct.pack(">I", len(inner)) + inner
    return _jpeg_with(
        *(
            _segment(0xED, b"Photoshop 3.0\x00" + inner[at : at + 60_000])
            for at in range(0, len(inner), 60_000)
        )
    )


def _boxes(brand: bytes, depth: int) -> bytes:
    inner = b""
    for _ in range(depth):
        inner = struct.pack(">I4s", len(inner) + 8, b"moov") + inner
    return (
        struct.pack(">I4s4sI4s", 20, b"ftyp", brand, 0, brand)
        + struct.pack(">I4sI", len(inner) + 12, b"meta", 0)
        + inner
    )


def _endless_tiff(ways: str) -> bytes:
    entries = ((256, 4, 1, 16), (257, 4, 1, 16), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1))
    strips = ((273, 4, 1, 8), (277, 3, 1, 1), (278, 4, 1, 16), (279, 4, 1, 256))
    if ways == "loop":
        data = bytearray(tiff(*entries, *strips, tail=b"\x80" * 300))
        struct.pack_into("<I", data, 8 + 2 + 12 * 9, 8)
        return bytes(data)
    if ways == "strips":
        many = ((256, 4, 1, 16), (257, 4, 1, 65_535), (258, 3, 1, 8), (259, 3, 1, 5), (262, 3, 1, 1))
        return tiff(*many, (273, 4, 65_535, 200), (277, 3, 1, 1), (278, 4, 1, 1), (279, 4, 65_535, 200),
                    tail=b"\x40\x00\x00\x00" * 70_000)  # fmt: skip
    return tiff(*entries, *strips, *((tag, 2, 0x0FFFFFFF, 8) for tag in range(300, 4300)), tail=b"\x80" * 300)


JPG, PNG, GIF, TIF, WEBP = (ENDINGS[kind] for kind in ("JPEG", "PNG", "GIF", "TIFF", "WEBP"))
MADE: dict[str, Callable[[], tuple[bytes, bytes]]] = {
    **{name: (lambda data=data: (data, JPG)) for name, data in BOMBS.items()},  # type: ignore[misc]
    "png that is all there": lambda: (_true_png(30_000), PNG),
    "png of many chunks": lambda: (png(4, 4, *[chunk(b"tEXt", b"a\x00b")] * 150_000), PNG),
    "png of empty image data": lambda: (
        png(4, 4)[:33] + chunk(b"IDAT", b"") * 100_000 + png(4, 4)[33:], PNG),
    "png with a profile bomb": lambda: (
        png(4, 4, chunk(b"iCCP", b"icc\x00\x00" + zlib.compress(b"\x00" * (60 << 20), 9))), PNG),
    "png with text bombs": lambda: (
        png(4, 4, *[chunk(b"zTXt", b"Comment\x00\x00" + zlib.compress(b"a" * (20 << 20), 9))] * 50), PNG),
    "png with tags on one another": lambda: (png(4, 4, chunk(b"eXIf", overlapping_exif())), PNG),
    "jpeg that loads for ever": lambda: (_resized_jpeg(4000, 4000, 600), JPG),
    "jpeg of endless scans": lambda: (_resized_jpeg(6000, 3000, 3000), JPG),
    "jpeg of many segments": lambda: (_jpeg_with(b"\xff\xe1\x00\x02" * 400_000), JPG),
    "jpeg with many profiles": lambda: (
        _jpeg_with(*[_segment(0xE2, b"ICC_PROFILE\x00\x01\xff" + b"\x00" * 60_000)] * 255), JPG),
    "jpeg with deep xmp": lambda: (jpeg_with_xmp(b"<a>" * 8000 + b"</a>" * 8000), JPG),
    "jpeg with entities": lambda: (
        jpeg_with_xmp(b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;">]><x>&b;</x>'), JPG),
    "jpeg with exif in itself": lambda: (
        _jpeg_with(_segment(0xE1, b"Exif\x00\x00" + exif_block([(0x8769, 4, 1, 8), (0x8825, 4, 1, 8)]))), JPG),
    "jpeg with nested iptc": lambda: (_iptc(40), JPG),
    "gif of many frames": lambda: (_frames("GIF", 5000), GIF),
    "gif of many comments": lambda: (gif(4, 4)[:19] + b"!\xfe\x01a\x00" * 300_000 + gif(4, 4)[19:], GIF),
    "webp of many frames": lambda: (_frames("WEBP", 300), WEBP),
    "png of many frames": lambda: (_frames("PNG", 300), PNG),
    "tiff in a circle": lambda: (_endless_tiff("loop"), TIF),
    "tiff of many strips": lambda: (_endless_tiff("strips"), TIF),
    "tiff of many tags": lambda: (_endless_tiff("tags"), TIF),
    "big tiff": lambda: (b"II+\x00\x08\x00\x00\x00" + b"\x10" + b"\x00" * 7 + b"\xff" * 400, TIF),
    "icon of many": lambda: (struct.pack("<HHH", 0, 1, 65_535) + struct.pack("<BBBBHHII", 0, 0, 0, 0, 1, 32, 99, 22) * 65_535, b".ico"),
    "jp2 of tiny tiles": lambda: (
        b"\xff\x4f\xff\x51" + struct.pack(">HHIIIIIIIIH", 47, 0, 8000, 8000, 0, 0, 1, 1, 0, 0, 3)
        + b"\x07\x01\x01" * 3 + b"\xff\x90" + b"\x00" * 4000, b".jp2"),
    "jp2 of many channels": lambda: (
        b"\xff\x4f\xff\x51" + struct.pack(">HHIIIIIIIIH", 38 + 3 * 16_384, 0, 900, 900, 0, 0, 900, 900, 0, 0, 16_384)
        + b"\x07\x01\x01" * 16_384 + b"\xff\x90" + b"\x00" * 400, b".jp2"),
    "pnm of spaces": lambda: (b"P3 2000 2000 255\n" + b" " * (6 << 20), b".ppm"),
    "pnm of a comment": lambda: (b"P3 #" + b"c" * (4 << 20), b".ppm"),
    "pnm of numbers": lambda: (b"P3 2000 2000 255\n" + b"1\n" * (3 << 20), b".ppm"),
    "pnm of one long number": lambda: (b"P2 2000 2000 255\n" + b"1" * (5 << 20), b".pgm"),
    "heic of nested boxes": lambda: (_boxes(b"heic", 30_000), b".heic"),
    "avif of nested boxes": lambda: (_boxes(b"avif", 30_000), b".avif"),
    "bmp of runs without end": lambda: (bmp(4000, 4000, 1, 8) + b"\x01\x00" * 2_000_000, b".bmp"),
    "bmp of jumps": lambda: (bmp(4000, 4000, 1, 8) + b"\x00\x02\xff\xff" * 100_000, b".bmp"),
}  # fmt: skip
SLOW_TO_MAKE = frozenset({"png that is all there", "gif of many frames", "png with text bombs"})
POLYGLOT = b"<!--*/alert(1)/*--><html><script>1</script>PK\x05\x06" + b"\x00" * 18
WRONG = (
    b"", b"\x00", b"\x00" * 5000, b"a text, no picture", b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9999 9999\nshowpage\n", b"%PDF-1.7\n" + b"x" * 100,
    b"\x7fELF" + b"\x00" * 200, b"PK\x03\x04" + b"\x00" * 100, b"<html><script>alert(1)</script></html>",
    b"8BPS\x00\x01" + b"\x00" * 40, b"\x00\x00\x00\x1cftypmp42" + b"\x00" * 40, b"RIFF\x00\x00\x00\x00WEBP",
    b"II*\x00", b"BM", b"GIF89a", b"P6", b"\xff\xd8\xff", b"\x1f\x8b\x08" + b"\x00" * 60, b"#!/bin/sh\nreboot\n",
)  # fmt: skip
"""What is no picture at all, whatever its name says."""
