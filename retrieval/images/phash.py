"""How a picture looks, in a few bytes: what near-copies share and other pictures do not.

A signature is several things, each against a weakness of the others. The *hash* is 64 signs of
the lowest cosine waves in the picture's brightness: quick to look up, but two pages of text can
come close. The *detail* is 256 such signs, up to eight waves across, which tells most pages
apart. The *colours* are 4 × 4 means. `contrast` shows where there is so little to see (a clear
sky) that the signs are only noise, and `flatness` where a picture is a page or a screen: what
sets two of those apart is too fine for any of this, and has to be looked at.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from PIL import Image

SIDE = 32
LOW = 8
WAVES = 16
GRID = 4
HASH_BYTES = LOW * LOW // 8
DETAIL_BYTES = WAVES * WAVES // 8
COLOUR_BYTES = GRID * GRID * 3
SIGNATURE_BYTES = HASH_BYTES + 2 + DETAIL_BYTES + COLOUR_BYTES
SAMPLE_SIDE = 96
SAME_LEVEL = 8
"""Brightness, in levels, within which two points count as one flat ground."""
LEAST_SIDE = 2 * SIDE
"""A picture decoded at a fraction has to be at least this large for its signature."""
PAGE_SIDE = 640
PAGE_BLUR, PAGE_BLOCK = 2, 8
PAGE_LEVELS = 9.0
"""Most that a block of two copies of a page differs, in levels: compression does less, a word more."""


class Signatures(NamedTuple):
    """Signatures of many pictures, a row each."""

    hashes: NDArray[np.uint64]
    contrast: NDArray[np.uint8]
    """How much the brightness varies, in levels; below a few there is nothing to compare."""
    flatness: NDArray[np.uint8]
    """How many of 255 points have the brightness that is most common."""
    details: NDArray[np.uint64]
    """[n, 4]"""
    colours: NDArray[np.uint8]
    """[n, 48]: red, green and blue of 4 × 4 fields."""


def signature(image: Image.Image) -> bytes:
    """The signature of an upright RGB picture, `SIGNATURE_BYTES` long."""
    from PIL.Image import Resampling

    small = np.asarray(image.resize((SIDE, SIDE), Resampling.BOX), np.float32)
    bright = small @ np.array([0.299, 0.587, 0.114], np.float32)
    waves = _cosines() @ bright @ _cosines().T
    waves[0, 0] = 0.0
    low = waves[:LOW, :LOW]
    field = SIDE // GRID
    colours = small.reshape(GRID, field, GRID, field, 3).mean((1, 3))
    return b"".join(
        (
            _signs(low),
            bytes([min(255, round(float(bright.std()))), _flatness(image)]),
            _signs(waves),
            colours.round().astype(np.uint8).tobytes(),
        )
    )


def read_signatures(stored: Sequence[bytes]) -> Signatures:
    """What `signature` gave, of many pictures."""
    table = np.frombuffer(b"".join(stored), np.uint8).reshape(len(stored), SIGNATURE_BYTES)
    hashes, rest = table[:, :HASH_BYTES], table[:, HASH_BYTES:]
    contrast, flatness, rest = rest[:, 0], rest[:, 1], rest[:, 2:]
    details, colours = rest[:, :DETAIL_BYTES], rest[:, DETAIL_BYTES:]
    return Signatures(
        np.ascontiguousarray(hashes).view("<u8")[:, 0],
        contrast.copy(),
        flatness.copy(),
        np.ascontiguousarray(details).view("<u8"),
        colours.copy(),
    )


def page_of(image: Image.Image) -> Image.Image:
    """A picture in grey, small enough to keep and large enough to tell its words apart."""
    from PIL.Image import Resampling

    scale = min(1.0, PAGE_SIDE / max(image.size))
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return image.convert("L").resize(size, Resampling.LANCZOS, reducing_gap=3.0)


def same_page(first: Image.Image, second: Image.Image) -> bool:
    """Whether two that `page_of` made are one, down to each word: for pictures with much flat ground.

    Both are compared whole, so a part that was cut off makes them different.
    """
    from PIL import ImageFilter
    from PIL.Image import Resampling

    size = min(first.size, second.size, key=lambda size: size[0] * size[1])
    one, other = (
        np.asarray(image.resize(size, Resampling.LANCZOS).filter(ImageFilter.BoxBlur(PAGE_BLUR)), np.float32)
        for image in (first, second)
    )
    gain = float((one * other).sum() / max(float((one * one).sum()), 1.0))
    difference = np.abs(one * np.float32(min(1.25, max(0.8, gain))) - other)
    down, across = (max(1, extent // PAGE_BLOCK) for extent in difference.shape)
    rows = np.linspace(0, difference.shape[0], down, endpoint=False).astype(int)
    columns = np.linspace(0, difference.shape[1], across, endpoint=False).astype(int)
    sums = np.add.reduceat(np.add.reduceat(difference, rows, axis=0), columns, axis=1)
    areas = np.outer(np.diff([*rows, difference.shape[0]]), np.diff([*columns, difference.shape[1]]))
    return float((sums / areas).max()) <= PAGE_LEVELS


def _signs(waves: NDArray[np.floating]) -> bytes:
    """A bit for each wave: whether it is stronger than the middle one of them all."""
    return np.packbits(waves > np.median(waves)).tobytes()


def _flatness(image: Image.Image) -> int:
    from PIL.Image import Resampling

    points = np.asarray(image.resize((SAMPLE_SIDE, SAMPLE_SIDE), Resampling.NEAREST).convert("L"))
    counts = np.bincount(points.ravel(), minlength=256)
    # The fullest window of levels, so that a ground between two bins is not halved.
    sums = np.cumsum(np.concatenate([[0], counts]))
    return int(255 * (sums[SAME_LEVEL:] - sums[:-SAME_LEVEL]).max() / points.size)


@cache
def _cosines() -> NDArray[np.float32]:
    """The first `WAVES` rows of the cosine transform of `SIDE` values."""
    position = np.arange(SIDE, dtype=np.float32) + 0.5
    rows: NDArray[np.float32] = np.cos(np.pi / SIDE * np.arange(WAVES, dtype=np.float32)[:, None] * position)
    return rows
