"""Vectors into groups: spherical k-means, always the same for the same vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from retrieval.types import Vectors

TRAINED_ON = 20_000
ROUNDS = 25
STARTS = 2
BLOCK = 8192


def cluster(vectors: Vectors, k: int, *, seed: int = 0) -> tuple[NDArray[np.int64], Vectors]:
    """For each vector the number of its centre, and the centres; at most `k` of them.

    The centres are found on an even draw of at most `TRAINED_ON` vectors.
    """
    chance = np.random.default_rng(seed)
    drawn = np.asarray(vectors[:: max(1, len(vectors) // TRAINED_ON)], np.float32)
    best: tuple[float, Vectors] | None = None
    for _ in range(STARTS):
        centres = _settled(drawn, _spread(drawn, k, chance))
        fit = float((drawn @ centres.T).max(1).mean())
        if best is None or fit > best[0]:
            best = fit, centres
    assert best is not None
    return nearest(vectors, best[1])[0], best[1]


def nearest(vectors: Vectors, centres: Vectors) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """For each vector its nearest centre, and the cosine with it."""
    numbers = np.zeros(len(vectors), np.int64)
    cosines = np.zeros(len(vectors), np.float32)
    for start in range(0, len(vectors), BLOCK):
        part = slice(start, start + BLOCK)
        scores = vectors[part] @ centres.T
        numbers[part] = scores.argmax(1)
        cosines[part] = scores.max(1)
    return numbers, cosines


def _spread(vectors: Vectors, k: int, chance: np.random.Generator) -> Vectors:
    """First centres as k-means++ draws them: likelier the farther from those there are."""
    chosen = [int(chance.integers(len(vectors)))]
    farness = 1 - vectors @ vectors[chosen[0]]
    while len(chosen) < k:
        weights = np.maximum(farness, 0).astype(np.float64) ** 2
        total = weights.sum()
        if total <= 1e-9:  # all that is left equals a centre
            break
        chosen.append(int(chance.choice(len(vectors), p=weights / total)))
        farness = np.minimum(farness, 1 - vectors @ vectors[chosen[-1]])
    return vectors[chosen].copy()


def _settled(vectors: Vectors, centres: Vectors) -> Vectors:
    """Move each centre to the middle of what is nearest to it, until nothing changes sides."""
    before: NDArray[np.int64] | None = None
    for _ in range(ROUNDS):
        numbers, _ = nearest(vectors, centres)
        if before is not None and np.array_equal(numbers, before):
            break
        before = numbers
        order = np.argsort(numbers, kind="stable")
        present, starts = np.unique(numbers[order], return_index=True)
        sums = np.add.reduceat(vectors[order], starts, axis=0)
        # A centre that nothing is nearest to is gone.
        centres = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-9)
        if len(present) < int(numbers.max()) + 1:
            before = None
    return centres
