"""Exact search over mapped rows: simple, and the oracle for every other store."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from retrieval.stores.rows import Rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from retrieval.types import Vectors

SAMPLE = 4096
SCORE_DIGITS = 6
"""Scores are rounded before ranking: below that, sums differ with the shape of the product."""
GATHER_SHARE = 0.2
"""Up to this share of allowed rows, copying them out beats scoring all."""


class FlatStore:
    """Rows sorted by image id: their vectors, and the bytes of the second stage.

    `generations` says of which state of the database each row is, where it is from one.
    """

    kind = "flat"

    def __init__(
        self, ids: NDArray[np.int64], rows: Rows, generations: NDArray[np.int64] | None = None
    ) -> None:
        self._ids = ids
        self.rows = rows
        self.generations = np.zeros(len(ids), np.int64) if generations is None else generations

    @property
    def ids(self) -> NDArray[np.int64]:
        return self._ids

    @property
    def dim(self) -> int:
        return self.rows.dim

    def __len__(self) -> int:
        return len(self._ids)

    def search(
        self, query: NDArray[np.float32], k: int, *, allowed: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        if allowed is None:
            return best(self._ids, self.rows.products(query), k)
        passing = np.flatnonzero(allowed)
        if len(passing) <= GATHER_SHARE * len(self._ids):
            return best(self._ids[passing], self.rows.vectors(passing) @ query, k)
        return best(self._ids[passing], self.rows.products(query)[passing], k)

    def sample(
        self, query: NDArray[np.float32], *, allowed: NDArray[np.bool_] | None = None
    ) -> NDArray[np.float32]:
        """Scores of rows spread evenly over the catalog: what this query finds on the whole."""
        scores: NDArray[np.float32] = self.rows.vectors(self._drawn(allowed)) @ query
        return scores

    def sampled(self, *, allowed: NDArray[np.bool_] | None = None) -> NDArray[np.int64]:
        """The ids of the rows that `sample` scores, in the same order."""
        return self._ids[self._drawn(allowed)]

    def _drawn(self, allowed: NDArray[np.bool_] | None) -> NDArray[np.int64]:
        rows = np.arange(len(self._ids)) if allowed is None else np.flatnonzero(allowed)
        return rows[:: max(1, len(rows) // SAMPLE)]

    def vectors(self, image_ids: NDArray[np.int64]) -> Vectors:
        return self.rows.vectors(self.positions(image_ids))

    def aux(self, image_ids: NDArray[np.int64]) -> list[bytes]:
        found = self.rows.aux(self.positions(image_ids))
        count, width = found.shape
        data = found.tobytes()  # one copy, cut up: a row by itself costs several times as much
        return [data[row * width : (row + 1) * width] for row in range(count)]

    def positions(self, image_ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Row numbers of ids that are known to be here."""
        return np.searchsorted(self._ids, image_ids)

    def rows_of(self, image_ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Row numbers of those ids that are here."""
        ids = self._ids
        if len(ids) and int(ids[-1]) - int(ids[0]) + 1 == len(ids):  # no gap: numbers follow from ids
            rows: NDArray[np.int64] = image_ids - ids[0]
            return rows[(rows >= 0) & (rows < len(ids))]
        return self.positions(image_ids[self.held(image_ids)])

    def held(self, image_ids: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of some ids are here."""
        if not len(self._ids):
            return np.zeros(len(image_ids), np.bool_)
        places = np.minimum(np.searchsorted(self._ids, image_ids), len(self._ids) - 1)
        there: NDArray[np.bool_] = self._ids[places] == image_ids
        return there

    def merged(self, newer: FlatStore) -> FlatStore:
        """This store with the rows of `newer` added, or put in place of older rows of the same id."""
        if not len(newer):
            return self
        if not len(self):
            return newer
        kept = np.flatnonzero(~newer.held(self._ids))
        ids = np.concatenate([self._ids[kept], newer.ids])
        order = np.argsort(ids, kind="stable")
        generations = np.concatenate([self.generations[kept], newer.generations])[order]
        return FlatStore(ids[order], self.rows.with_block(newer.rows, kept, order), generations)

    def without(self, gone: NDArray[np.bool_]) -> FlatStore:
        """This store without some of its rows."""
        if not gone.any():
            return self
        kept = np.flatnonzero(~gone)
        return FlatStore(self._ids[kept], self.rows.only(kept), self.generations[kept])


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
