"""Approximate search for large catalogs: short codes find candidates, exact vectors rank them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import faiss
import numpy as np

from retrieval.config import cores
from retrieval.stores.flat import FlatStore, best
from retrieval.stores.rows import STEP

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from retrieval.stores.rows import Entry
    from retrieval.types import Vectors

# A single query is slower with two threads than with one: 8 ms instead of 0.2, measured.
faiss.omp_set_num_threads(1)

TRAIN_PER_LIST = 40
TRAIN_ROWS = 200_000
ROUNDS = 8
"""Of k-means; more of them move the lists, and hardly the recall."""
RECALL_WANTED = 0.97
SETTINGS = (
    (8, 200),
    (16, 200),
    (32, 200),
    (32, 300),
    (48, 300),
    (64, 400),
    (96, 600),
    (128, 800),
    (256, 1600),
)
"""Lists to look into and candidates to rank exactly, from the cheapest on."""
TRIALS = 200
ASIDE = 1.5
"""How far to the side a text is taken to lie, where the pictures it fits are at one."""
EXACT_ROWS = 2000
"""A filter that leaves no more than this is answered exactly, sooner than an index could."""
FILTERED_LISTS = 1.5
"""With a filter, so many times the lists are looked into: what passes near the query is sparser."""
FILTERED_ROWS = 320
"""At least so many rows that pass lie in the lists that are looked into."""
LISTED_ROWS = 20_000
"""So many rows that pass are enough to tell which lists hold them."""
SPARSE_SHARE = 0.5
"""Below this share of rows that pass, the lists are chosen by what in them passes."""
WASTE = 0.1
OUTGROWN = 2.0
"""An index that was trained on fewer than one over this of the rows is made anew."""

NEIGHBOURS_EXACT = 20_000
NEIGHBOURS_PROBES = 24


class FaissStore:
    """An inverted file with one bit a number (RaBitQ) over the rows of a flat store.

    Rows that came after the index was written are scored exactly beside it, and what it still
    holds of rows that are gone is passed over, so that it can lag behind without an answer
    missing anything.
    """

    kind = "faiss"

    def __init__(
        self,
        flat: FlatStore,
        index: Any,
        fresh: NDArray[np.int64],
        figures: dict[str, Any],
        *,
        source: Path | None = None,
        entry: Entry | None = None,
    ) -> None:
        self.flat = flat
        self.index = index
        self.fresh = fresh
        """Ids of the rows that the index does not hold as they are now."""
        self.figures = figures
        self.source = source
        """The file the index was read from; None when it is not written yet."""
        self._entry = entry
        self._fresh_rows = flat.positions(fresh)

    @property
    def ids(self) -> NDArray[np.int64]:
        return self.flat.ids

    def __len__(self) -> int:
        return len(self.flat)

    def search(
        self, query: NDArray[np.float32], k: int, *, allowed: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        left = len(self.flat) if allowed is None else int(np.count_nonzero(allowed))
        if left <= max(k, EXACT_ROWS):
            return self.flat.search(query, k, allowed=allowed)
        count = max(self.figures["candidates"], 2 * k)
        if allowed is not None and left > LISTED_ROWS:
            count *= 2  # far from the query, where a filter may lead, codes tell rows apart less well
        rows = self.flat.rows_of(self._candidates(query, count, allowed, left))
        if len(self.fresh):
            rows = np.concatenate([rows, self._fresh_rows])
        if allowed is not None:
            rows = rows[allowed[rows]]
        rows = _distinct(rows)
        if len(rows) < k:
            return self.flat.search(query, k, allowed=allowed)
        return best(self.flat.ids[rows], self.flat.rows.vectors(rows) @ query, k)

    def _candidates(
        self, query: NDArray[np.float32], count: int, allowed: NDArray[np.bool_] | None, left: int
    ) -> NDArray[np.int64]:
        """Ids that the codes take for the nearest, in no order; `left` rows are allowed."""
        scores = self._centroids @ query
        lists = self._nearest_lists(scores, allowed, left)
        parameters = faiss.SearchParametersIVF(nprobe=len(lists))
        if allowed is not None:
            bits = self._bits(allowed)
            selector = faiss.IDSelectorBitmap(bits)
            parameters.sel = selector
        near = scores[lists]
        query = np.ascontiguousarray(query)
        values, found = np.empty(count, np.float32), np.empty(count, np.int64)
        at = faiss.swig_ptr
        self.index.search_preassigned_c(
            1, at(query), count, at(lists), at(near), at(values), at(found), False, parameters
        )
        return found[found >= 0]

    def _nearest_lists(
        self, scores: NDArray[np.float32], allowed: NDArray[np.bool_] | None, left: int
    ) -> NDArray[np.int64]:
        """The lists to look into, by the scores of their centres."""
        probes = int(self.figures["nprobe"])
        if allowed is not None:
            probes = round(FILTERED_LISTS * probes)
        probes = min(probes, len(scores))
        if allowed is None or left >= SPARSE_SHARE * len(self.flat):
            return np.argpartition(-scores, probes - 1)[:probes]
        # Filters follow meaning: what passes may lie in none of the lists that are nearest. So lists
        # count by what in them passes, as far as a part of the rows tells.
        step = max(1, left // LISTED_ROWS)
        # Of those that pass, not of all: pictures may take turns, as raw files and their JPEGs do.
        passing = np.flatnonzero(allowed)[::step]
        held = np.bincount(self._lists[passing], minlength=len(scores) + 1)[:-1]
        order = np.argsort(np.where(held > 0, -scores, np.inf))
        enough = int(np.searchsorted(np.cumsum(held[order]) * step, FILTERED_ROWS)) + 1
        return order[: min(max(probes, enough), max(1, int(np.count_nonzero(held))))]

    def _bits(self, allowed: NDArray[np.bool_]) -> NDArray[np.uint8]:
        """A bit for each id, as a selector wants them."""
        ids = self.flat.ids
        first, last = int(ids[0]), int(ids[-1])
        every = np.zeros(last + 1, np.bool_)
        if last - first + 1 == len(ids):  # no gap
            every[first:] = allowed
        else:
            every[ids[allowed]] = True
        return np.packbits(every, bitorder="little")

    @cached_property
    def _centroids(self) -> NDArray[np.float32]:
        centroids: NDArray[np.float32] = self.index.quantizer.reconstruct_n(0, self.index.nlist)
        return centroids

    @cached_property
    def _lists(self) -> NDArray[np.int32]:
        """For each row the list that holds it; one past the last for rows that are in none."""
        numbers = np.full(len(self.flat), self.index.nlist, np.int32)
        for number, ids in enumerate(self._held()):
            numbers[self.flat.rows_of(ids)] = number
        return numbers

    def _held(self) -> Iterator[NDArray[np.int64]]:
        """The ids in each list of the index."""
        lists = self.index.invlists
        for number in range(self.index.nlist):
            size = lists.list_size(number)
            yield faiss.rev_swig_ptr(lists.get_ids(number), size) if size else np.empty(0, np.int64)

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
        """How each of its own files is written, beside those of the rows."""
        parts: dict[str, Callable[[Path], None]] = {}
        if len(self.fresh):
            parts["fresh"] = lambda path: _write_fresh(path, self.fresh)
        if self._entry is None:
            parts["index"] = lambda path: _write_index(path, self.index)
        return parts

    @property
    def kept(self) -> dict[str, Entry]:
        """The file of the index, where it stands as it is."""
        return {} if self._entry is None else {"index": self._entry}

    @property
    def wasteful(self) -> bool:
        """Whether much of the index is of rows that are gone."""
        return bool(self.index.ntotal > (1 + WASTE) * len(self.flat))

    @classmethod
    def opened(
        cls, flat: FlatStore, paths: dict[str, Path], entry: Entry, figures: dict[str, Any]
    ) -> FaissStore:
        """A store over files that were written by `parts`."""
        index = faiss.read_index(str(paths["index"]))
        if index.d != flat.dim or not index.is_trained:
            raise ValueError("the index is of other vectors")
        fresh = np.fromfile(paths["fresh"], np.int64) if "fresh" in paths else np.empty(0, np.int64)
        return cls(flat, index, fresh, figures, source=paths["index"], entry=entry)

    @classmethod
    def built(cls, flat: FlatStore) -> FaissStore:
        """Train an index on a sample of the rows, fill it, and find how far it must look."""
        count = len(flat)
        lists = max(1, min(round(2 * math.sqrt(count)), count // TRAIN_PER_LIST))
        index = faiss.index_factory(flat.dim, f"IVF{lists},RaBitQfs", faiss.METRIC_INNER_PRODUCT)
        index.cp.niter = ROUNDS
        index.cp.min_points_per_centroid = 1
        drawn = np.random.default_rng(0).permutation(count)[: min(lists * TRAIN_PER_LIST, TRAIN_ROWS)]
        with _all_cores():
            index.train(flat.rows.vectors(np.sort(drawn)))
            _fill(index, flat, np.arange(count))
        figures = {"nprobe": lists, "candidates": SETTINGS[0][1], "recall": 1.0, "trained": count}
        store = cls(flat, index, np.empty(0, np.int64), figures)
        store._tune(lists)
        return store

    def beside(self, flat: FlatStore, changed: NDArray[np.int64]) -> FaissStore:
        """The same index over other rows; what is new or renewed is scored exactly until it is extended."""
        fresh = np.union1d(self.fresh, changed)
        fresh = fresh[flat.held(fresh)]
        return self._with(flat, fresh)

    def over(self, flat: FlatStore) -> FaissStore:
        """The same over rows that lie elsewhere."""
        return self._with(flat, self.fresh)

    def _with(self, flat: FlatStore, fresh: NDArray[np.int64]) -> FaissStore:
        return FaissStore(flat, self.index, fresh, self.figures, source=self.source, entry=self._entry)

    def extended(self, *, train: bool = True) -> FaissStore:
        """The index brought to the rows as they are now; made anew where it is outgrown, with `train`."""
        if train and len(self.flat) > OUTGROWN * self.figures["trained"]:
            return FaissStore.built(self.flat)
        index = faiss.read_index(str(self.source)) if self.source else faiss.clone_index(self.index)
        held = np.concatenate(list(self._held()))
        stale = held[~self.flat.held(held) | np.isin(held, self.fresh)]
        if len(stale):
            index.remove_ids(faiss.IDSelectorBatch(stale))
        with _all_cores():
            _fill(index, self.flat, self._fresh_rows)
        return FaissStore(self.flat, index, np.empty(0, np.int64), self.figures)

    def _tune(self, lists: int) -> None:
        """The least work that reaches the recall we want, measured against exact search."""
        queries = self._trials()
        exact = [set(self.flat.ids[rows].tolist()) for rows in _nearest(self.flat, queries, 10)]
        for probes, candidates in (*((p, c) for p, c in SETTINGS if p < lists), (lists, SETTINGS[-1][1])):
            self.figures["nprobe"], self.figures["candidates"] = probes, candidates
            hits = sum(
                len(wanted.intersection(self._best_ten(query).tolist()))
                for query, wanted in zip(queries, exact, strict=True)
            )
            self.figures["recall"] = round(hits / max(1, sum(map(len, exact))), 4)
            if self.figures["recall"] >= RECALL_WANTED:
                return

    def _trials(self) -> Vectors:
        """Queries like those of people, as far as one can tell without a model."""
        rng = np.random.default_rng(1)
        shape = (TRIALS, self.flat.dim)
        aside = (rng.standard_normal(shape) / math.sqrt(self.flat.dim)).astype(np.float32)
        # A text lies between the pictures that it fits, not upon one of them; and off to one side of all.
        drawn = rng.integers(0, len(self.flat), (TRIALS, 3))
        queries = np.stack(
            [
                self.flat.rows.vectors(rows[: 1 if number % 2 else 3]).sum(0)
                for number, rows in enumerate(drawn)
            ]
        )
        queries /= np.maximum(np.linalg.norm(queries, axis=1, keepdims=True), 1e-12)
        queries += np.where(np.arange(TRIALS) % 2, ASIDE, 0.5)[:, None].astype(np.float32) * aside
        queries /= np.maximum(np.linalg.norm(queries, axis=1, keepdims=True), 1e-12)
        return queries

    def _best_ten(self, query: NDArray[np.float32]) -> NDArray[np.int64]:
        """What a search by the index finds, whatever the size."""
        found = self._candidates(query, min(self.figures["candidates"], len(self.flat)), None, len(self.flat))
        return best(found, self.flat.vectors(found) @ query, 10)[0]


def _fill(index: Any, flat: FlatStore, rows: NDArray[np.int64]) -> None:
    for start in range(0, len(rows), STEP):
        portion = rows[start : start + STEP]
        index.add_with_ids(flat.rows.vectors(portion), flat.ids[portion])


def _nearest(flat: FlatStore, queries: Vectors, k: int) -> NDArray[np.int64]:
    """The numbers of the `k` best rows for each query, exactly and in one go through all rows."""
    k = min(k, len(flat))
    scores = np.full((len(queries), 0), 0, np.float32)
    rows = np.empty((len(queries), 0), np.int64)
    for step in flat.rows.steps():
        new = queries @ flat.rows.vectors(step).T
        scores = np.concatenate([scores, new], axis=1)
        numbers = np.broadcast_to(np.arange(step.start, step.stop), new.shape)
        rows = np.concatenate([rows, numbers], axis=1)
        kept = np.argpartition(-scores, k - 1, axis=1)[:, :k]
        scores = np.take_along_axis(scores, kept, axis=1)
        rows = np.take_along_axis(rows, kept, axis=1)
    return rows


def _distinct(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    rows = np.sort(rows)
    return rows[np.append(True, rows[1:] != rows[:-1])] if len(rows) else rows


@contextmanager
def _all_cores() -> Iterator[None]:
    """For what takes its time; a single query wants one thread."""
    usual = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(cores())
    try:
        yield
    finally:
        faiss.omp_set_num_threads(usual)


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
    with _all_cores():
        if not index.is_trained:
            index.train(rows[np.sort(np.random.default_rng(0).permutation(count)[: TRAIN_PER_LIST * lists])])
        index.add(rows)
        _, found = index.search(rows, k + 1)
    own = np.arange(count)[:, None]
    # Itself comes first, unless others are the very same; whoever found too few has itself for the rest.
    found = np.where(found < 0, own, found)
    last = np.argsort(found == own, axis=1, kind="stable")
    others: NDArray[np.int64] = np.take_along_axis(found, last, axis=1)[:, :k]
    return others


def _write_fresh(path: Path, ids: NDArray[np.int64]) -> None:
    path.write_bytes(ids.tobytes())


def _write_index(path: Path, index: Any) -> None:
    # By a file of ours: one of its own may lose what it could not write, and not say so.
    with path.open("wb") as file:
        faiss.write_index(index, faiss.PyCallbackIOWriter(file.write))
