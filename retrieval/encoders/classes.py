"""The starter's second stage: a query against each candidate's most likely classes.

A query becomes one weight for each of the 1000 classes: how well it fits the class's own
name, a kind the class belongs to ("animal") or a place it is met ("beach"), whichever fits
best. That tells apart what a single mean vector blurs.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from retrieval.encoders.colour import COLOURS, asked_colours

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

DATA = Path(__file__).with_name("starter_data")
CLASSES = 1000
TOP = 20
AUX_BYTES = TOP * 4 + len(COLOURS) * 2

SHARPNESS = 15.0
BEST_TEXT = 0.3
COLOUR_WEIGHT = 0.75
SMALLEST = 1e-9


class Posterior(NamedTuple):
    """The most likely classes of some pictures, and their colours: what stands beside each vector."""

    classes: NDArray[np.uint16]
    chances: NDArray[np.float16]
    colours: NDArray[np.float16]


def pack(top: Posterior) -> list[bytes]:
    """One `bytes` a picture, `AUX_BYTES` long, little-endian."""
    rows = zip(top.classes.astype("<u2"), top.chances.astype("<f2"), top.colours.astype("<f2"), strict=True)
    return [classes.tobytes() + chances.tobytes() + colours.tobytes() for classes, chances, colours in rows]


def unpack(aux: Sequence[bytes]) -> Posterior:
    """What `pack` was given; a record of another length reads as nothing known of that picture."""
    blank = bytes(AUX_BYTES)
    rows = b"".join(item if len(item) == AUX_BYTES else blank for item in aux)
    table = np.frombuffer(rows, "<u2").reshape(len(aux), AUX_BYTES // 2)
    return Posterior(
        table[:, :TOP].astype(np.uint16) % CLASSES,
        np.ascontiguousarray(table[:, TOP : 2 * TOP]).view("<f2"),
        np.ascontiguousarray(table[:, 2 * TOP :]).view("<f2"),
    )


class ClassStage:
    """Holds the texts of the classes; they are read at the first query."""

    def rescore(
        self, text: str, query: NDArray[np.float32], scores: NDArray[np.float32], aux: Sequence[bytes]
    ) -> NDArray[np.float32]:
        top = unpack(aux)
        weights = self.class_weights(query)[top.classes]
        fit = np.log((weights * top.chances.astype(np.float32)).sum(1) + SMALLEST)
        total = standardise(scores) + standardise(fit)
        wanted = asked_colours(text)
        if wanted:
            share = np.sqrt(top.colours.astype(np.float32)[:, wanted]).mean(1)
            total = total + COLOUR_WEIGHT * standardise(share)
        return total.astype(np.float32)

    def class_weights(self, query: NDArray[np.float32]) -> NDArray[np.float32]:
        """How much each class speaks for a picture, given one query vector."""
        fits = self._texts @ query
        reached = fits[self._entries[:, 1]] - self._discounts
        best = np.maximum.reduceat(reached, self._starts)
        mixed = BEST_TEXT * best + (1 - BEST_TEXT) * (self._labels @ query)
        weights: NDArray[np.float32] = np.exp(SHARPNESS * mixed)
        return weights

    @cached_property
    def _labels(self) -> NDArray[np.float32]:
        return load_labels()

    @cached_property
    def _texts(self) -> NDArray[np.float32]:
        texts: NDArray[np.float32] = np.load(DATA / "texts.npy").astype(np.float32)
        return texts

    @cached_property
    def _entries(self) -> NDArray[np.uint16]:
        """Rows (class, text, discount in thousandths), sorted by class, every class at least once."""
        entries: NDArray[np.uint16] = np.load(DATA / "class_texts.npy")
        return entries

    @cached_property
    def _discounts(self) -> NDArray[np.float32]:
        return (self._entries[:, 2] / 1000).astype(np.float32)

    @cached_property
    def _starts(self) -> NDArray[np.intp]:
        return np.searchsorted(self._entries[:, 0], np.arange(CLASSES))


def load_labels() -> NDArray[np.float32]:
    """The label matrix [1000, 384]: where each class lies in the texts' space."""
    labels: NDArray[np.float32] = np.load(DATA / "labels.npy").astype(np.float32)
    return labels


def standardise(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean 0 and deviation 1; all zero when there is nothing to tell apart."""
    centred = values - values.mean() if values.size else values
    spread = float(centred.std()) if values.size else 0.0
    return centred / spread if spread > 1e-6 else np.zeros_like(values)
