"""Reads EXIF, the tags of a TIFF file or of a block made like one, without a picture library.

Everything here is bounded and total: broken or hostile blocks give fewer answers, never
an exception, and the values of tags that nobody asks for are never copied.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

MAX_BLOCK = 1 << 20
MAX_TAGS = 500
MAX_NUMBERS = 64

ORIENTATION = 0x0112
IPTC_TAG = 33723

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_LETTERS = {3: "H", 4: "I", 5: "I", 6: "b", 8: "h", 9: "i", 10: "i", 11: "f", 12: "d", 13: "I"}
_RATIONALS = (5, 10)

Value = bytes | tuple[float, ...]


class Ifd(Mapping[int, Value]):
    """The tags of one directory, each read from the block when it is asked for.

    A small block can have hundreds of tags that all point at the same mebibyte.
    """

    __slots__ = ("_block", "_order", "_places")

    def __init__(
        self, block: bytes = b"", order: str = "<", places: dict[int, tuple[int, int, int]] | None = None
    ) -> None:
        """`places` has the type, the number of values and the offset of each tag."""
        self._block = block
        self._order = order
        self._places = places or {}

    def __getitem__(self, tag: int) -> Value:
        kind, number, at = self._places[tag]
        if _is_bytes(tag, kind):
            return self._block[at : at + _SIZES[kind] * number]
        return _numbers(self._block, at, kind, min(number, MAX_NUMBERS), self._order)

    def __iter__(self) -> Iterator[int]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


@dataclass(frozen=True, slots=True)
class Exif:
    """The tags of the first picture, of its EXIF block and of its GPS block."""

    main: Ifd = field(default_factory=Ifd)
    photo: Ifd = field(default_factory=Ifd)
    gps: Ifd = field(default_factory=Ifd)

    @property
    def orientation(self) -> int:
        value = self.main.get(ORIENTATION)
        if isinstance(value, tuple) and value and value[0] in range(1, 9):
            return int(value[0])
        return 1


def read_exif(block: bytes) -> Exif:
    """The tags of an EXIF block or a TIFF file; whatever is broken is left out."""
    block = without_exif_prefix(block)
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
    # Of a fraction or of what is no number no place can be made.
    return value[0] if isinstance(value, tuple) and value and isinstance(value[0], int) else 0


def _number(block: bytes, at: int, order: str, letter: str) -> float:
    try:
        return float(struct.unpack_from(order + letter, block, at)[0])
    except struct.error:
        return 0


def _read_ifd(block: bytes, at: int, order: str) -> Ifd:
    places: dict[int, tuple[int, int, int]] = {}
    if at < 8:
        return Ifd()
    count = min(int(_number(block, at, order, "H")), MAX_TAGS)
    for index in range(count):
        entry = at + 2 + 12 * index
        if entry + 12 > len(block):
            break
        tag, kind, number = struct.unpack_from(order + "HHI", block, entry)
        size = _SIZES.get(kind)
        if size is None or tag in places:
            continue
        total = size * number
        if _is_bytes(tag, kind) and total > MAX_BLOCK:
            continue
        place = entry + 8 if total <= 4 else struct.unpack_from(order + "I", block, entry + 8)[0]
        places[tag] = (kind, number, place)
    return Ifd(block, order, places)


def _is_bytes(tag: int, kind: int) -> bool:
    # IPTC is bytes, though many programs declare it as numbers.
    return kind in (1, 2, 7) or tag == IPTC_TAG


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


def without_exif_prefix(block: bytes) -> bytes:
    return block[6:] if block.startswith(b"Exif\x00\x00") else block
