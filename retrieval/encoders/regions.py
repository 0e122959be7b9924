"""Vectors of the places in a picture: an even grid, put together from whatever a model looked at.

A place that the model never saw (beyond a centre crop) has a vector of zeros, which is not
like anything and must not be taken for "unlike the query".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray
    from PIL import Image

    from retrieval.types import Vectors

SHORT_CELLS = 9
"""Cells across the short side of a picture."""
MOST_CELLS = 36
"""Cells along the long side at most: a panorama's are wider than high."""
SEEN_SHARE = 0.5
"""A cell of which less than this was looked at counts as not seen."""

WINDOW_SIDES = (0.55, 0.35)
"""Sides of the sliding windows, in short sides of what is seen."""
WINDOW_STEP = 0.5
MOST_STEPS = 9
SMALLEST_WINDOW = 8.0
"""Pixels. Smaller cuttings are nothing but interpolation."""


class Box(NamedTuple):
    """A rectangle in shares of the picture's width and height; it may reach beyond the picture."""

    left: float
    top: float
    right: float
    bottom: float


WHOLE = Box(0.0, 0.0, 1.0, 1.0)


class Look(NamedTuple):
    """Vectors [rows, columns, dim] of an even grid over one box of the picture."""

    vectors: NDArray[np.float32]
    box: Box


def grid_of(width: int, height: int, short: int = SHORT_CELLS) -> tuple[int, int]:
    """Rows and columns of nearly square cells over a picture, `short` of them across its short side."""
    long = min(MOST_CELLS, max(short, round(short * max(width, height) / min(width, height))))
    return (short, long) if width >= height else (long, short)


def lay(looks: Sequence[Look], rows: int, columns: int) -> NDArray[np.float32]:
    """Vectors [rows, columns, dim] of an even grid over the whole picture.

    A cell is the mean of all that was seen of it, each look by the share of the cell that it
    covers; so are its cosines. Vectors of cells that no look covers by half are zero.
    """
    dim = looks[0].vectors.shape[-1]
    total = np.zeros((rows, columns, dim))
    weight, covered = np.zeros((rows, columns)), np.zeros((rows, columns))
    for vectors, box in looks:
        down = _shares(rows, vectors.shape[0], box.top, box.bottom)
        across = _shares(columns, vectors.shape[1], box.left, box.right)
        total += np.einsum("ir,rcd,jc->ijd", down, vectors, across, optimize=True)
        cover = np.outer(down.sum(1), across.sum(1))
        weight += cover
        covered = np.maximum(covered, cover)
    means = total / np.maximum(weight, 1e-12)[..., None]
    return np.where((covered >= SEEN_SHARE)[..., None], means, 0.0).astype(np.float32)


def slide(
    encode_images: Callable[[Sequence[Image.Image]], Vectors], image: Image.Image, box: Box = WHOLE
) -> NDArray[np.float32]:
    """The grid of any encoder: overlapping square windows at two scales, each encoded as a picture.

    Windows lie within `box`, the part that the encoder looks at when it is given the picture.
    """
    inside = Box(*(min(1.0, max(0.0, edge)) for edge in box))
    places = list(_windows(image.width, image.height, inside))
    vectors = encode_images([_cut(image, place) for place in places])
    looks = [Look(vector[None, None], place) for vector, place in zip(vectors[1:], places[1:], strict=True)]
    # What is seen is seen whole, though windows a few pixels wide may leave out an edge of it.
    return lay([*looks, Look(vectors[:1, None], inside)], *grid_of(*image.size))


def _shares(cells: int, parts: int, low: float, high: float) -> NDArray[np.float64]:
    """Of each cell, the share that each part covers; the parts divide low..high, the cells 0..1."""
    edges = np.linspace(0.0, 1.0, cells + 1)
    cuts = np.linspace(low, high, parts + 1)
    first = np.maximum(edges[:-1, None], cuts[None, :-1])
    last = np.minimum(edges[1:, None], cuts[None, 1:])
    shares: NDArray[np.float64] = np.maximum(last - first, 0.0) * cells
    return shares


def _windows(width: int, height: int, box: Box) -> Iterator[Box]:
    """The box itself, then windows over it, row by row."""
    yield box
    across, down = (box.right - box.left) * width, (box.bottom - box.top) * height
    for share in WINDOW_SIDES:
        side = max(share * min(across, down), SMALLEST_WINDOW)
        for top in _starts(down, side):
            for left in _starts(across, side):
                yield Box(
                    box.left + left / width,
                    box.top + top / height,
                    box.left + min(left + side, across) / width,
                    box.top + min(top + side, down) / height,
                )


def _starts(length: float, side: float) -> NDArray[np.float64]:
    """Where windows of `side` begin along `length`, evenly from end to end."""
    free = max(0.0, length - side)
    steps = min(MOST_STEPS, int(np.ceil(free / (side * WINDOW_STEP) - 1e-9)))
    return np.linspace(0.0, free, steps + 1)


def _cut(image: Image.Image, box: Box) -> Image.Image:
    left, top = int(box.left * image.width), int(box.top * image.height)
    right = max(left + 1, round(box.right * image.width))
    bottom = max(top + 1, round(box.bottom * image.height))
    piece = image.crop((left, top, right, bottom))
    # What it says there is about the whole picture, and would mislead whoever prepares the piece.
    piece.info = {}
    return piece
