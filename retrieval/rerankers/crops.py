"""A second look at the parts of a picture, by the encoder that the catalog has anyway.

One vector a picture blurs two things that stand side by side. Here the picture is cut into
overlapping crops, each gets a vector of its own, and each part of the query is met by the
crop that fits it best: "a dog and a ball" wants some crop with a dog and some crop with a
ball, not one that is a little of both.
"""

from __future__ import annotations

import math
import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from retrieval.errors import UnknownModel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from PIL import Image

    from retrieval.protocols import Encoder

VERSION = 1
"""Part of the id: raised when the same picture would get other vectors."""

ACROSS = 3
SHARE = 0.4
"""The crops: so many each way, each this share of the picture's width and height."""
CROPS = 1 + ACROSS * ACROSS

PARTS_AT_MOST = 8

_BETWEEN = re.compile(r" (?:and|with|on|in) | ?[,;&] ?(?:(?:and|with|on|in) )?", re.IGNORECASE)
_ARTICLE = re.compile(r"^(?:an?|the|some) ", re.IGNORECASE)


def load_crops(rest: str, encoder: Encoder) -> CropReranker:
    if rest:
        raise UnknownModel(
            f"The reranker 'crops' looks with the catalog's own model and takes no name (not '{rest}'): "
            "search QUERY --rerank crops"
        )
    return CropReranker(encoder)


class CropReranker:
    """Vectors of the whole picture and of nine crops, matched with the parts of the query."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder

    @property
    def id(self) -> str:
        return f"crops/{ACROSS}x{ACROSS}-{SHARE}/{VERSION}/{self._encoder.id}"

    @property
    def batch_size(self) -> int:
        return self._encoder.parallel * max(1, self._encoder.batch_size // CROPS)

    def wanted(self, width: int, height: int) -> tuple[int, int]:
        """The least size a picture has to be decoded at, for its crops to be sharp enough."""
        inner = max(1, round(width * SHARE)), max(1, round(height * SHARE))
        across, down = self._encoder.preparer.wanted(*inner)
        return min(width, math.ceil(across / SHARE)), min(height, math.ceil(down / SHARE))

    def look(self, images: Sequence[Image.Image]) -> list[NDArray[np.float16]]:
        if len(images) < 2 or self._encoder.parallel < 2:
            return [self._vectors(image) for image in images]
        with ThreadPoolExecutor(self._encoder.parallel, thread_name_prefix="crops") as pool:
            return list(pool.map(self._vectors, images))

    def judge(self, text: str, looks: Sequence[NDArray[np.float16]]) -> NDArray[np.float32]:
        if not looks:
            return np.zeros(0, np.float32)
        queries = self._encoder.encode_texts(parts(text))
        vectors = np.stack(looks).astype(np.float32)
        best: NDArray[np.float32] = np.einsum("ncd,qd->nqc", vectors, queries).max(axis=2)
        # Halfway between "all parts" and "the parts on average": one part that a weak encoder
        # misses does not undo the others, and no scale of its cosines has to be known.
        scores: NDArray[np.float32] = (best.min(axis=1) + best.mean(axis=1)) / 2
        return scores

    def _vectors(self, image: Image.Image) -> NDArray[np.float16]:
        return self._encoder.encode_images(cut(image)).astype(np.float16)


def cut(image: Image.Image) -> list[Image.Image]:
    """The whole picture, then its crops, row by row."""
    width, height = image.size
    wide, high = max(1, round(width * SHARE)), max(1, round(height * SHARE))
    pieces = [image]
    for row in range(ACROSS):
        for column in range(ACROSS):
            left = round((width - wide) * column / (ACROSS - 1))
            top = round((height - high) * row / (ACROSS - 1))
            piece = image.crop((left, top, left + wide, top + high))
            # Pillow hands on the whole picture's full size, which is not the crop's.
            piece.info = {}
            pieces.append(piece)
    return pieces


def parts(text: str) -> list[str]:
    """What a query asks for at once: "a dog and a red ball" asks for "dog" and "red ball"."""
    # Spaces are made single first: a pattern for any number of them takes a minute on a hostile text.
    found = [_ARTICLE.sub("", part.strip()).strip() for part in _BETWEEN.split(" ".join(text.split()))]
    kept = [part for part in found if part][:PARTS_AT_MOST]
    return kept if len(kept) > 1 else [text]
