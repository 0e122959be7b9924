"""Approximate search for large catalogs: coarse codes find candidates, exact vectors rank them."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import faiss
import numpy as np

from retrieval.config import cores
from retrieval.stores.flat import FlatStore, best

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from retrieval.types import Vectors

# A single query is slower with two threads than with one: 8 ms instead of 0.2, measured.
faiss.omp_set_num_threads(1)

CANDIDATES = 200
"""Coarse hits that are ranked again exactly, at the least."""
EXACT_SHARE = 0.9
"""Below this share of allowed rows, exact search over them: the index cannot promise to meet any."""
TRAIN_PER_LIST = 40
RECALL_WANTED = 0.98
RECALL_PROBES = (8, 16, 32, 64, 128, 256)
NEIGHBOURS_EXACT = 20_000
NEIGHBOURS_PROBES = 24


class FaissStore:
    """An inverted file with 8-bit codes over the rows of a flat store.

    Rows that came after the index was written are scored exactly beside it, so the
    index can lag behind without an answer missing anything.
    """

    kind = "faiss"

    def __init__(
        self,
        flat: FlatStore,
        index: Any,
        indexed: NDArray[np.int64],
        details: dict[str, Any],
        *,
        source: Path | None = None,
    ) -> None:
        self.flat = flat
        self._index = index
        self._source = source
        self._indexed = indexed
        self._details = details
        self._fresh = np.flatnonzero(~np.isin(flat.ids, indexed))

    @property
    def ids(self) -> NDArray[np.int64]:
        return self.flat.ids

    def __len__(self) -> int:
        return len(self.flat)

    def search(
        self, query: NDArray[np.float32], k: int, *, allowed: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        count = max(CANDIDATES, 2 * k)
        if allowed is None:
            found = self._candidates(query, count)
        elif np.count_nonzero(allowed) < EXACT_SHARE * len(self.flat):
            # A filter may leave out just the lists that lie near the query.
            return self.flat.search(query, k, allowed=allowed)
        else:
            found = self._candidates(query, 2 * count)
        rows = np.union1d(self.flat.positions(np.intersect1d(found, self.flat.ids)), self._fresh)
        passing = len(self.flat)
        if allowed is not None:
            rows, passing = rows[allowed[rows]], int(np.count_nonzero(allowed))
        if len(rows) < min(k, passing):
            return self.flat.search(query, k, allowed=allowed)
        ids = self.flat.ids[rows]
        return best(ids, self.flat.vectors(ids) @ query, k)

    def _candidates(self, query: NDArray[np.float32], count: int) -> NDArray[np.int64]:
        parameters = faiss.SearchParametersIVF(nprobe=self._details["nprobe"])
        count = min(count, self._index.ntotal)
        _, found = self._index.search(np.ascontiguousarray(query[None]), count, params=parameters)
        ids: NDArray[np.int64] = found[0][found[0] >= 0]
        return ids

    def sample(
        self, query: NDArray[np.float32], *, allowed: NDArray[np.bool_] | None = None
    ) -> NDArray[np.float32]:
        return self.flat.sample(query, allowed=allowed)

    def sampled(self, *, allowed: NDArray[np.bool_] | None = None) -> NDArray[np.int64]:
        return self.flat.sampled(allowed=allowed)

    def vectors(self, image_ids: NDArray[np.int64]) -> Vectors:
        return self.flat.vectors(image_ids)

    def aux(self, image_ids: NDArray[np.int64]) -> list[bytes]:
        return self.flat.aux(image_ids)

    def parts(self) -> dict[str, Callable[[Path], None]]:
        return {
            **self.flat.parts(),
            "index": lambda path: faiss.write_index(self._index, str(path)),
            "indexed": lambda path: self._indexed.tofile(path),
        }

    @property
    def details(self) -> dict[str, Any]:
        return {**self.flat.details, **self._details, "indexed": len(self._indexed)}

    @classmethod
    def mapped(cls, flat: FlatStore, paths: dict[str, Path], details: dict[str, Any]) -> FaissStore:
        """A store over files that were written by `parts`, the index mapped rather than read."""
        index = faiss.read_index(str(paths["index"]), faiss.IO_FLAG_MMAP)
        indexed = np.fromfile(paths["indexed"], np.int64)
        return cls(flat, index, indexed, details, source=paths["index"])

    @classmethod
    def built(cls, flat: FlatStore) -> FaissStore:
        """Train an index on a sample of the rows, fill it, and find how far it must look."""
        rows = len(flat)
        lists = max(1, min(round(4 * math.sqrt(rows)), rows // TRAIN_PER_LIST))
        index = faiss.index_factory(flat.dim, f"IVF{lists},SQ8", faiss.METRIC_INNER_PRODUCT)
        drawn = np.random.default_rng(0).permutation(rows)[: lists * TRAIN_PER_LIST]
        index.train(flat.vectors(flat.ids[np.sort(drawn)]))
        index.add_with_ids(flat.vectors(flat.ids), flat.ids)
        store = cls(flat, index, np.asarray(flat.ids), {"nprobe": lists, "recall": 1.0})
        store._tune(lists)
        return store

    def beside(self, flat: FlatStore, changed: NDArray[np.int64]) -> FaissStore:
        """The same index over newer rows; what changed is scored exactly until it is extended."""
        indexed = np.setdiff1d(self._indexed, changed)
        return FaissStore(flat, self._index, indexed, self._details, source=self._source)

    def extended(self, flat: FlatStore, changed: NDArray[np.int64]) -> FaissStore:
        """The index brought to the rows of `flat`, of which `changed` are new or renewed."""
        # A mapped index cannot grow; its file is read into memory for that.
        index = faiss.read_index(str(self._source)) if self._source else faiss.clone_index(self._index)
        renewed = np.intersect1d(changed, self._indexed)
        if len(renewed):
            index.remove_ids(faiss.IDSelectorBatch(renewed))
        added = np.union1d(changed, np.setdiff1d(flat.ids, self._indexed))
        index.add_with_ids(flat.vectors(added), added)
        return FaissStore(flat, index, np.asarray(flat.ids), self._details)

    def _tune(self, lists: int) -> None:
        """The fewest lists that reach the recall we want, measured against exact search."""
        rng = np.random.default_rng(1)
        # A text lies between the pictures that it fits, not upon one of them.
        drawn = self.flat.ids[rng.integers(0, len(self.flat), (200, 3))]
        queries = np.stack([self.flat.vectors(ids).sum(0) for ids in drawn])
        queries += rng.normal(scale=0.5 / math.sqrt(self.flat.dim), size=queries.shape).astype(np.float32)
        queries /= np.linalg.norm(queries, axis=1, keepdims=True)
        exact = [set(self.flat.search(query, 10)[0].tolist()) for query in queries]
        for probes in (*(p for p in RECALL_PROBES if p < lists), lists):
            self._details["nprobe"] = probes
            found = [set(self.search(query, 10)[0].tolist()) for query in queries]
            hits = sum(len(a & b) for a, b in zip(found, exact, strict=True))
            self._details["recall"] = round(hits / max(1, sum(map(len, exact))), 4)
            if self._details["recall"] >= RECALL_WANTED:
                return


def neighbours(rows: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """For each row the numbers of the `k` others that are nearest, of many rows nearly always those.

    It takes all cores, and belongs into a process of its own.
    """
    count, dim = rows.shape
    if count <= NEIGHBOURS_EXACT:
        index = faiss.IndexFlatL2(dim)
    else:
        lists = round(4 * math.sqrt(count))
        index = faiss.index_factory(dim, f"IVF{lists},Flat")
        index.nprobe = NEIGHBOURS_PROBES
    rows = np.ascontiguousarray(rows)
    usual = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(cores())
    try:
        if not index.is_trained:
            index.train(rows[np.sort(np.random.default_rng(0).permutation(count)[: TRAIN_PER_LIST * lists])])
        index.add(rows)
        _, found = index.search(rows, k + 1)
    finally:
        faiss.omp_set_num_threads(usual)
    own = np.arange(count)[:, None]
    # Itself comes first, unless others are the very same; whoever found too few has itself for the rest.
    found = np.where(found < 0, own, found)
    last = np.argsort(found == own, axis=1, kind="stable")
    others: NDArray[np.int64] = np.take_along_axis(found, last, axis=1)[:, :k]
    return others
