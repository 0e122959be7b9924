"""An encoder without weights, for tests and for the examples in the docs.

It sees nothing but colours: a picture becomes the share of each named colour in it, a
text the colours that it names. Words that are no colours point into a corner of their
own, away from every picture.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from retrieval.encoders.regions import grid_of
from retrieval.errors import UnknownModel
from retrieval.types import Encoded, Prepared

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

    from retrieval.protocols import Pair
    from retrieval.types import Vectors

SIDE = 16
CELL = 4
"""Side in pixels of what a place of a picture is shrunk to."""
COLOURS = {
    "black": (0, 0, 0),
    "white": (255, 255, 255),
    "gray": (128, 128, 128),
    "red": (220, 20, 20),
    "orange": (255, 140, 0),
    "yellow": (250, 230, 30),
    "green": (20, 150, 40),
    "cyan": (30, 210, 220),
    "blue": (30, 60, 220),
    "purple": (130, 30, 170),
    "pink": (255, 150, 190),
    "brown": (120, 70, 30),
}
NAMES = list(COLOURS)
SPELLINGS = {"grey": "gray", "violet": "purple", "turquoise": "cyan"}
OTHER_WORDS = 19
TEXTURE = 1
DIM = len(NAMES) + OTHER_WORDS + TEXTURE
PALETTE = np.array(list(COLOURS.values()), np.float32)


@dataclass(frozen=True, slots=True)
class ToyPreparer:
    """Shrinks a picture to a few blocks of colour."""

    def wanted(self, width: int, height: int) -> tuple[int, int]:  # noqa: ARG002
        return 2 * SIDE, 2 * SIDE

    def __call__(self, image: Image.Image) -> Prepared:
        from PIL.Image import Resampling

        small = image.resize((SIDE, SIDE), Resampling.BOX)
        return Prepared(np.asarray(small, np.uint8)[None])


class ToyEncoder:
    """Deterministic and weightless."""

    id = "toy/colours/1"
    spec = "toy"
    dim = DIM
    batch_size = 16
    parallel = 1
    cutoff = 0.5
    preparer = ToyPreparer()

    def __init__(self, spec: str = "toy") -> None:
        if spec != "toy":
            raise UnknownModel(f"No model is called '{spec}'. See what there is: search models")

    def encode_prepared(self, batch: Sequence[Prepared]) -> Encoded:
        rows = np.zeros((len(batch), DIM), np.float32)
        for row, item in zip(rows, batch, strict=True):
            pixels = item.pixels[0].reshape(-1, 3).astype(np.float32)
            nearest = ((pixels[:, None] - PALETTE) ** 2).sum(-1).argmin(1)
            row[: len(NAMES)] = np.bincount(nearest, minlength=len(NAMES)) / len(pixels)
            row[-1] = 0.05 * pixels.std() / 128
        return Encoded(_normalised(rows), [b""] * len(batch))

    def encode_images(self, images: Sequence[Image.Image]) -> Vectors:
        return self.encode_prepared([self.preparer(image) for image in images]).vectors

    def encode_regions(self, image: Image.Image) -> NDArray[np.float32]:
        from PIL.Image import Resampling

        rows, columns = grid_of(image.width, image.height, 8)
        # Whole cells of so many pixels each, so that a drawn picture gives exact vectors.
        small = image.resize((columns * CELL, rows * CELL), Resampling.BOX)
        pixels = np.asarray(small, np.uint8).reshape(rows, CELL, columns, CELL, 3).swapaxes(1, 2)
        cells = [Prepared(cell[None]) for cell in pixels.reshape(-1, CELL, CELL, 3)]
        return self.encode_prepared(cells).vectors.reshape(rows, columns, DIM)

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        rows = np.zeros((len(texts), DIM), np.float32)
        for row, text in zip(rows, texts, strict=True):
            words = re.findall(r"\w+", text.lower())
            named = [SPELLINGS.get(word, word) for word in words]
            for name in named:
                if name in COLOURS:
                    row[NAMES.index(name)] += 1
            if not row.any():
                for word in words or [text]:
                    row[len(NAMES) + zlib.crc32(word.encode("utf-8", "replace")) % OTHER_WORDS] += 1
        return _normalised(rows)

    def match(
        self,
        scores: NDArray[np.float32],
        sample: NDArray[np.float32],  # noqa: ARG002
        *,
        pair: Pair = "text-image",  # noqa: ARG002
    ) -> NDArray[np.float32]:
        """The score itself: pictures and texts are shares of the same colours, whatever the pair."""
        return np.clip(scores, 0, 1).astype(np.float32)


def _normalised(rows: NDArray[np.float32]) -> Vectors:
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
    return rows
