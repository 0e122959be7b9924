"""Exact search over a mapped matrix: simple, and the oracle for every other store."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from retrieval.errors import CacheCorrupt

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from retrieval.types import Vectors

SAMPLE = 4096
SCORE_DIGITS = 6
"""Scores are rounded before ranking: below that, sums differ with the shape of the product."""
GATHER_SHARE = 0.2
"""Up to this share of allowed rows, copying them out beats scoring all."""


class FlatStore:
    """Rows sorted by image id: ids, float32 vectors, and the bytes of the second stage."""

    kind = "flat"

    def __init__(self, ids: NDArray[np.int64], matrix: NDArray[np.float32], aux: NDArray[np.uint8]) -> None:
        self._ids = ids
        self._matrix = matrix
        self._aux = aux

    @property
    def ids(self) -> NDArray[np.int64]:
        return self._ids

    @property
    def dim(self) -> int:
        return int(self._matrix.shape[1])

    @property
    def aux_width(self) -> int:
        return int(self._aux.shape[1])

    def __len__(self) -> int:
        return len(self._ids)

    def search(
        self, query: NDArray[np.float32], k: int, *, allowed: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        if allowed is None:
            return best(self._ids, self._matrix @ query, k)
        rows = np.flatnonzero(allowed)
        if len(rows) <= GATHER_SHARE * len(self._ids):
            return best(self._ids[rows], self._matrix[rows] @ query, k)
        return best(self._ids[rows], (self._matrix @ query)[rows], k)

    def sample(
        self, query: NDArray[np.float32], *, allowed: NDArray[np.bool_] | None = None
    ) -> NDArray[np.float32]:
        """Scores of rows spread evenly over the catalog: what this query finds on the whole."""
        scores: NDArray[np.float32] = self._matrix[self._drawn(allowed)] @ query
        return scores

    def sampled(self, *, allowed: NDArray[np.bool_] | None = None) -> NDArray[np.int64]:
        """The ids of the rows that `sample` scores, in the same order."""
        return self._ids[self._drawn(allowed)]

    def _drawn(self, allowed: NDArray[np.bool_] | None) -> NDArray[np.int64]:
        rows = np.arange(len(self._ids)) if allowed is None else np.flatnonzero(allowed)
        return rows[:: max(1, len(rows) // SAMPLE)]

    def vectors(self, image_ids: NDArray[np.int64]) -> Vectors:
        return self._matrix[self.positions(image_ids)]

    def aux(self, image_ids: NDArray[np.int64]) -> list[bytes]:
        rows = self._aux[self.positions(image_ids)]
        count, width = rows.shape
        data = rows.tobytes()  # one copy, cut up: a row by itself costs several times as much
        return [data[row * width : (row + 1) * width] for row in range(count)]

    def positions(self, image_ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Row numbers of ids that are known to be here."""
        return np.searchsorted(self._ids, image_ids)

    def merged(self, newer: FlatStore) -> FlatStore:
        """This store with the rows of `newer` added, or put in place of older rows of the same id."""
        if not len(newer):
            return self
        kept = ~np.isin(self._ids, newer.ids)
        ids = np.concatenate([self._ids[kept], newer.ids])
        order = np.argsort(ids, kind="stable")
        in_order = bool(kept.all()) and bool((order[:-1] < order[1:]).all())
        matrix = np.concatenate([self._matrix if kept.all() else self._matrix[kept], newer._matrix])
        aux = np.concatenate([self._aux if kept.all() else self._aux[kept], newer._aux])
        if in_order:
            return FlatStore(ids, matrix, aux)
        return FlatStore(ids[order], matrix[order], aux[order])

    def parts(self) -> dict[str, Callable[[Path], None]]:
        """How each file of this store is written."""
        return {
            "ids": lambda path: self._ids.tofile(path),
            "vectors": lambda path: self._matrix.tofile(path),
            "aux": lambda path: self._aux.tofile(path),
        }

    @property
    def details(self) -> dict[str, Any]:
        return {"aux": self.aux_width}

    @classmethod
    def mapped(cls, paths: dict[str, Path], *, count: int, dim: int, aux: int) -> FlatStore:
        """A store over files that were written by `parts`; nothing is read until it is used."""
        return cls(
            _map(paths["ids"], np.int64, (count,)),
            _map(paths["vectors"], np.float32, (count, dim)),
            _map(paths["aux"], np.uint8, (count, aux)),
        )

    @classmethod
    def from_rows(cls, rows: list[tuple[int, bytes, bytes]], *, dim: int) -> FlatStore:
        """A store from (image id, float16 vector, second-stage bytes), sorted by id."""
        width = len(rows[0][2]) if rows else 0
        ids = np.fromiter((row[0] for row in rows), np.int64, len(rows))
        half = np.frombuffer(b"".join(row[1] for row in rows), "<f2").reshape(len(rows), dim)
        matrix = half.astype(np.float32)
        matrix /= np.maximum(np.linalg.norm(matrix, axis=1, keepdims=True), 1e-12)
        aux = np.frombuffer(b"".join(row[2] for row in rows), np.uint8).reshape(len(rows), width)
        return cls(ids, matrix, aux)


def best(
    ids: NDArray[np.int64], scores: NDArray[np.float32], k: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The `k` highest scores, best first, equal ones by id: the first 5 of 50 are the best 5."""
    scores = np.round(scores, SCORE_DIGITS).astype(np.float32, copy=False)
    k = min(k, len(ids))
    if k <= 0:
        return ids[:0], scores[:0]
    if k < len(ids):
        least = np.partition(scores, len(scores) - k)[len(scores) - k]
        near = np.flatnonzero(scores >= least)
        ids, scores = ids[near], scores[near]
    order = np.lexsort((ids, -scores))[:k]
    return ids[order], scores[order]


def _map(path: Path, dtype: Any, shape: tuple[int, ...]) -> NDArray[Any]:
    if path.stat().st_size != np.dtype(dtype).itemsize * math.prod(shape):
        raise CacheCorrupt(f"The cache file {path} has another size than its manifest says.")
    if 0 in shape:
        return np.empty(shape, dtype)
    return np.memmap(path, dtype, "r", shape=shape).view(np.ndarray)
