"""How many bytes a decoder takes, told from the header alone.

The factors are upper bounds of the peak memory measured in a process of its own, for each
format in its costliest form, over and above the file's own bytes.
"""

from __future__ import annotations

import struct
from typing import Any

from PIL import Image, ImageFile

from retrieval.images.blocks import jpeg_segments

BASE = 4 << 20
"""Tables, buffers and allocator slack of any decoder."""

WEBP_PIXEL = 20
"""The canvas and the previous frame of the animation decoder, its answer, and our copies."""
PLAIN_TOKENS = 40 << 20
"""Pillow's reader of numbers in plain text splits a mebibyte at a time into Python objects."""
ICO_PIXEL = 20


def decoding_cost(
    image: ImageFile.ImageFile, full: tuple[int, int], data: bytes, kind: str, *, turned: bool
) -> int:
    """Bytes that decoding the opened `image` and making it upright RGB takes at the peak."""
    pixels = image.size[0] * image.size[1]
    bands = Image.getmodebands(image.mode)
    cost = pixels * _stored_pixel(image.mode)
    if kind == "JPEG":
        cost += _coefficients(image, full, data)
    elif kind == "TIFF":
        cost += _tiff_buffer(image)
    elif kind == "JPEG2000":
        cost += _jp2_buffer(data, pixels, bands)
    elif kind in ("AVIF", "HEIF"):
        cost += pixels * _planes(image, bands) + len(data)
    elif kind in ("PPM", "BMP") and image.tile and image.tile[0][0] != "raw":
        # These decoders are written in Python and collect the pixels in byte arrays.
        cost += 3 * pixels * (4 if image.mode == "I" else bands)
        cost += PLAIN_TOKENS if image.tile[0][0] == "ppm_plain" else 0
    cost += pixels * _conversion(image)
    if turned:
        cost += pixels * 4
    return int(cost) + BASE


def _stored_pixel(mode: str) -> int:
    if mode in ("1", "L", "P"):
        return 1
    return 2 if mode.startswith("I;16") else 4


def _conversion(image: Image.Image) -> int:
    """Bytes a pixel of the copies made on the way to RGB."""
    if image.mode == "F" or image.mode.startswith("I"):
        return 18
    if image.has_transparency_data or image.mode in ("RGBa", "La", "PA", "LAB"):
        return 9
    return 0 if image.mode == "RGB" else 4


def _coefficients(image: ImageFile.ImageFile, full: tuple[int, int], data: bytes) -> int:
    """A JPEG in several scans keeps all its coefficients, at full size and two bytes each."""
    layers: list[Any] = getattr(image, "layer", [])
    if not layers or not _several_scans(data, len(layers)):
        return 0
    # Sides are rounded up to whole blocks of the coarsest channel.
    width, height = (-(-side // 32) * 32 for side in full)
    across, down = max(layer[1] for layer in layers), max(layer[2] for layer in layers)
    samples = sum(layer[1] * layer[2] for layer in layers) / max(1, across * down)
    return int(2 * width * height * samples)


def _several_scans(data: bytes, components: int) -> bool:
    for marker, start, _ in jpeg_segments(data):
        if marker in (0xC2, 0xC6, 0xCA, 0xCE):
            return True
        if marker == 0xDA:
            return data[start : start + 1] != bytes([components])
    return True


def _tiff_buffer(image: Any) -> int:
    """The unpacked strip or tile that libtiff works on; a tile may be larger than the picture."""
    if image.tile and image.tile[0][0] != "libtiff":
        return 0
    tags = image.tag_v2
    depth = max(_numbers(tags.get(258)) or [8])
    samples = max(_numbers(tags.get(277)) or [1])
    width = max(_numbers(tags.get(322)) or [image.size[0], image.size[1]])
    rows = max(_numbers(tags.get(323)) or [0])
    if not rows:
        height = max(image.size)
        rows = min(height, max(_numbers(tags.get(278)) or [height]))
    # JPEG inside TIFF is unpacked as four bytes a pixel.
    return int(width * rows * max(4, samples * depth / 8))


def _numbers(value: Any) -> list[int]:
    values = value if isinstance(value, tuple) else (value,)
    return [int(number) for number in values if isinstance(number, int | float)]


def _jp2_buffer(data: bytes, pixels: int, bands: int) -> int:
    """OpenJPEG keeps four bytes a sample of the tiles at work, and we one byte more."""
    at = data.find(b"\xff\x4f\xff\x51", 0, 1 << 20)
    if at >= 0 and len(data) >= at + 42:
        tile_width, tile_height = struct.unpack_from(">II", data, at + 24)
        samples = struct.unpack_from(">H", data, at + 40)[0]
        bands = max(bands, samples)
        pixels = min(pixels * 2, tile_width * tile_height)
    return pixels * bands * 6 + 2 * len(data)


def _planes(image: ImageFile.ImageFile, bands: int) -> int:
    """Decoded planes, their RGB form and the copy handed over, without the final picture."""
    deep = image.format != "HEIF" or image.info.get("bit_depth", 8) > 8
    return bands * (4 if deep else 2)


def header_size(data: bytes, kind: str) -> tuple[int, int]:
    """Width and height of a WebP or ICO file, read without its decoder."""
    return _webp_size(data) if kind == "WEBP" else _ico_size(data)


def late_cost(size: tuple[int, int], data: bytes, kind: str) -> int:
    """Like `decoding_cost`, for the formats that have to be asked for before they are opened."""
    pixels = size[0] * size[1]
    if kind == "WEBP":
        return pixels * WEBP_PIXEL + 2 * len(data) + BASE
    return pixels * ICO_PIXEL + BASE


def _webp_size(data: bytes) -> tuple[int, int]:
    chunk, body = data[12:16], data[20:30]
    if len(body) < 10:
        raise ValueError("the header is cut off")
    if chunk == b"VP8X":
        return int.from_bytes(body[4:7], "little") + 1, int.from_bytes(body[7:10], "little") + 1
    if chunk == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if chunk == b"VP8 ":
        width, height = struct.unpack_from("<HH", body, 6)
        return width & 0x3FFF, height & 0x3FFF
    raise ValueError("no picture chunk comes first")


def _ico_size(data: bytes) -> tuple[int, int]:
    """The largest picture inside: the directory's own figures stop at 256 and may lie."""
    count = int.from_bytes(data[4:6], "little")
    sizes = []
    for index in range(count):
        entry = 6 + 16 * index
        if entry + 16 > len(data):
            raise ValueError("the directory is cut off")
        offset = int.from_bytes(data[entry + 12 : entry + 16], "little")
        head = data[offset : offset + 24]
        if len(head) < 24:
            raise ValueError("a picture lies outside the file")
        if head.startswith(b"\x89PNG\r\n\x1a\n"):
            sizes.append(struct.unpack_from(">II", head, 16))
        else:
            width, height = struct.unpack_from("<ii", head, 4)
            sizes.append((abs(width), abs(height) // 2))
    if not sizes:
        raise ValueError("the directory is empty")
    return max(sizes, key=lambda size: size[0] * size[1])
