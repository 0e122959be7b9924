"""The vectors of a store and the bytes beside them: blocks that never change, and an order.

What is added later is one block more; what was taken away stays in its block and out of the
order. So a store of a million pictures catches up with ten new ones by writing ten.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import numpy as np

from retrieval.errors import CacheCorrupt

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from retrieval.types import Vectors

    Entry = tuple[str, int, int]
    """A file of a cache: its name, its size and its checksum."""

STEP = 8192
"""Rows that are worked on at once, where all of them would not fit into memory."""
DECODED = 512
"""Rows of half the precision that are made whole at once: few enough to stay in the processor's cache."""
PARTS = ("vectors", "lengths", "aux")

# A half has 5 bits of exponent where a float has 8: shifted into place, it is too small by this factor.
_REBIAS = np.float32(2.0**112)
_SIGN_AND_REST = np.int32(-0x70002000)


@dataclass(frozen=True, slots=True)
class Block:
    """Rows that were written together: unit vectors, or halves with what brings them to length one."""

    vectors: NDArray[Any]
    lengths: NDArray[np.float32] | None
    """One over the length of each row of halves."""
    aux: NDArray[np.uint8]
    files: dict[str, Entry] = field(default_factory=dict)
    """The files of the cache that hold this block, once it is written."""

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def half(self) -> bool:
        return self.lengths is not None

    def parts(self) -> dict[str, NDArray[Any]]:
        """What there is to write of it, by name."""
        parts = {"vectors": self.vectors, "lengths": self.lengths, "aux": self.aux}
        return {name: rows for name, rows in parts.items() if rows is not None and rows.size}

    def taken(self, rows: Any) -> Vectors:
        """Rows by their numbers, or a slice of them."""
        vectors = self.vectors[rows]
        if self.lengths is None:
            return np.asarray(vectors)
        whole = as_floats(vectors)
        whole *= self.lengths[rows, None]
        return whole

    def products(self, query: NDArray[np.float32]) -> NDArray[np.float32]:
        if self.lengths is None:
            scores: NDArray[np.float32] = self.vectors @ query
            return scores
        scores = np.empty(len(self), np.float32)
        for start in range(0, len(self), DECODED):
            rows = slice(start, start + DECODED)
            np.dot(as_floats(self.vectors[rows]), query, out=scores[rows])
        scores *= self.lengths
        return scores


class Row(NamedTuple):
    """One row as the database keeps it."""

    id: int
    vector: bytes
    aux: bytes
    generation: int


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows by number, 0 and up, wherever they lie."""

    blocks: tuple[Block, ...]
    order: NDArray[np.int64] | None = None
    """For each row its place in the blocks as they stand one after the other; None where it is its number."""

    @classmethod
    def of(cls, matrix: NDArray[np.float32], aux: NDArray[np.uint8] | None = None) -> Rows:
        """Unit vectors in memory, as they are."""
        if aux is None:
            aux = np.zeros((len(matrix), 0), np.uint8)
        return cls((Block(matrix, None, aux),))

    def __len__(self) -> int:
        return sum(map(len, self.blocks)) if self.order is None else len(self.order)

    @property
    def dim(self) -> int:
        return int(self.blocks[0].vectors.shape[1])

    @property
    def aux_width(self) -> int:
        return int(self.blocks[0].aux.shape[1])

    @property
    def stored(self) -> int:
        """Rows in the blocks, with those that are in no order any more."""
        return sum(map(len, self.blocks))

    def vectors(self, rows: NDArray[np.int64] | slice) -> Vectors:
        places = rows if self.order is None else self.order[rows]
        if len(self.blocks) == 1:
            return self.blocks[0].taken(places)
        found = np.empty((self._count(rows), self.dim), np.float32)
        for block, here, inside in self._where(places):
            found[here] = block.taken(inside)
        return found

    def aux(self, rows: NDArray[np.int64] | slice) -> NDArray[np.uint8]:
        places = rows if self.order is None else self.order[rows]
        if len(self.blocks) == 1:
            return np.asarray(self.blocks[0].aux[places])
        found = np.empty((self._count(rows), self.aux_width), np.uint8)
        for block, here, inside in self._where(places):
            found[here] = block.aux[inside]
        return found

    def products(self, query: NDArray[np.float32]) -> NDArray[np.float32]:
        """The query against every row."""
        parts = [block.products(query) for block in self.blocks]
        scores = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return scores if self.order is None else scores[self.order]

    def steps(self) -> Iterator[slice]:
        """All rows in portions that fit into memory."""
        return (slice(start, min(start + STEP, len(self))) for start in range(0, len(self), STEP))

    def with_block(self, newer: Rows, kept: NDArray[np.int64], order: NDArray[np.int64]) -> Rows:
        """The `kept` of these rows and all of `newer` behind them, in an order of their own."""
        first = kept if self.order is None else self.order[kept]
        places = np.concatenate([first, self.stored + np.arange(newer.stored)])[order]
        rows = Rows((*self.blocks, *newer.blocks), places)
        return rows.straightened()

    def only(self, kept: NDArray[np.int64]) -> Rows:
        return Rows(self.blocks, kept if self.order is None else self.order[kept]).straightened()

    def straightened(self) -> Rows:
        """Without an order where every row's place is its number."""
        if self.order is None or len(self.order) != self.stored:
            return self
        return Rows(self.blocks) if bool((self.order == np.arange(self.stored)).all()) else self

    def _count(self, rows: NDArray[np.int64] | slice) -> int:
        return len(range(*rows.indices(len(self)))) if isinstance(rows, slice) else len(rows)

    def _where(self, places: NDArray[np.int64] | slice) -> Iterator[tuple[Block, Any, Any]]:
        """For each block: which of the places lie in it, and where."""
        if isinstance(places, slice):
            places = np.arange(*places.indices(self.stored))
        start = 0
        for block in self.blocks:
            here = np.flatnonzero((places >= start) & (places < start + len(block)))
            if len(here):
                yield block, here, places[here] - start
            start += len(block)


def as_floats(halves: NDArray[np.float16]) -> NDArray[np.float32]:
    """What `astype` gives for finite numbers, six times as fast: NumPy goes one number at a time there."""
    bits = np.ascontiguousarray(halves).view(np.int16).astype(np.int32)
    bits <<= 13
    bits &= _SIGN_AND_REST
    floats = bits.view(np.float32)
    floats *= _REBIAS
    return floats


def read_rows(
    rows: Iterable[Row], *, dim: int, aux: int | None, half: bool, folder: Path | None
) -> tuple[NDArray[np.int64], NDArray[np.int64], Rows]:
    """Ids, generations and rows from the database; of any number, a portion of them in memory at a time.

    They are written into files of `folder` as they come, and mapped from there. Without one they
    stay in memory.
    """
    source = iter(rows)
    ids: list[NDArray[np.int64]] = []
    generations: list[NDArray[np.int64]] = []
    with ExitStack() as stack:
        spools: dict[str, _Spool] = {}
        width = 0 if aux is None else aux
        while portion := list(islice(source, STEP)):
            if not spools:
                width = len(portion[0].aux) if aux is None else aux
                spools = {name: stack.enter_context(_Spool(folder, name)) for name in PARTS}
            ids.append(np.fromiter((row.id for row in portion), np.int64, len(portion)))
            generations.append(np.fromiter((row.generation for row in portion), np.int64, len(portion)))
            halves = np.frombuffer(b"".join(row.vector for row in portion), "<f2").reshape(len(portion), dim)
            floats = as_floats(halves)
            lengths = np.maximum(np.linalg.norm(floats, axis=1), 1e-12).astype(np.float32)
            if half:
                spools["vectors"].add(halves)
                spools["lengths"].add(1 / lengths)
            else:
                spools["vectors"].add(floats / lengths[:, None])
            spools["aux"].add(np.frombuffer(b"".join(row.aux for row in portion), np.uint8))
        if not ids:
            return np.empty(0, np.int64), np.empty(0, np.int64), empty_rows(dim, width, half=half)
        every = np.concatenate(ids)
        done = {name: spool.done() for name, spool in spools.items()}
        return every, np.concatenate(generations), Rows((_block(len(every), dim, width, half, done),))


def empty_rows(dim: int, aux: int, *, half: bool) -> Rows:
    vectors = np.empty((0, dim), np.float16 if half else np.float32)
    lengths = np.empty(0, np.float32) if half else None
    return Rows((Block(vectors, lengths, np.empty((0, aux), np.uint8)),))


def rewritten(rows: Rows, *, half: bool, folder: Path | None) -> Rows:
    """The same rows in one block without gaps, of halves or not."""
    with ExitStack() as stack:
        spools = {name: stack.enter_context(_Spool(folder, name)) for name in PARTS}
        for step in rows.steps():
            vectors = rows.vectors(step)
            if half:
                halves = vectors.astype("<f2")
                spools["vectors"].add(halves)
                lengths = np.linalg.norm(as_floats(halves), axis=1)
                spools["lengths"].add((1 / np.maximum(lengths, 1e-12)).astype(np.float32))
            else:
                spools["vectors"].add(np.ascontiguousarray(vectors))
            spools["aux"].add(np.ascontiguousarray(rows.aux(step)))
        done = {name: spool.done() for name, spool in spools.items()}
        return Rows((_block(len(rows), rows.dim, rows.aux_width, half, done),))


def mapped_block(
    files: dict[str, Path], entries: dict[str, Entry], *, count: int, dim: int, aux: int, half: bool
) -> Block:
    """A block over files that are there; nothing is read until it is used."""
    arrays = {name: mapped(path, np.uint8, (path.stat().st_size,)) for name, path in files.items()}
    block = _block(count, dim, aux, half, arrays)
    return Block(block.vectors, block.lengths, block.aux, entries)


def mapped(path: Path, dtype: Any, shape: tuple[int, ...]) -> NDArray[Any]:
    if path.stat().st_size != np.dtype(dtype).itemsize * math.prod(shape):
        raise CacheCorrupt(f"The cache file {path} has another size than its manifest says.")
    if 0 in shape:
        return np.empty(shape, dtype)
    return np.memmap(path, dtype, "r", shape=shape).view(np.ndarray)


def _block(count: int, dim: int, aux: int, half: bool, parts: dict[str, NDArray[np.uint8]]) -> Block:
    def part(name: str, dtype: Any, shape: Sequence[int]) -> NDArray[Any]:
        data = parts.get(name, np.empty(0, np.uint8))
        if data.nbytes != np.dtype(dtype).itemsize * math.prod(shape):
            raise CacheCorrupt(f"The cached {name} have another size than their manifest says.")
        return data.view(dtype).reshape(shape) if data.nbytes else np.empty(shape, dtype)

    return Block(
        part("vectors", np.float16 if half else np.float32, (count, dim)),
        part("lengths", np.float32, (count,)) if half else None,
        part("aux", np.uint8, (count, aux)),
    )


class _Spool:
    """Bytes that grow in a file, or in memory, and are then an array."""

    def __init__(self, folder: Path | None, name: str) -> None:
        self._folder = folder
        self._name = name
        self._file: IO[bytes] | None = None
        self._memory = bytearray()

    def __enter__(self) -> _Spool:
        if self._folder is not None:
            import tempfile

            self._file = tempfile.TemporaryFile(prefix=f".{self._name}-", dir=self._folder)
        return self

    def add(self, rows: NDArray[Any]) -> None:
        if self._file is not None:
            self._file.write(np.ascontiguousarray(rows).data)
        else:
            self._memory += np.ascontiguousarray(rows).data

    def done(self) -> NDArray[np.uint8]:
        if self._file is None:
            return np.frombuffer(self._memory, np.uint8)
        self._file.flush()
        size = self._file.seek(0, 2)
        if not size:
            return np.empty(0, np.uint8)
        return np.memmap(self._file, np.uint8, "r", shape=(size,)).view(np.ndarray)

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()  # what is mapped stays until nobody holds it
