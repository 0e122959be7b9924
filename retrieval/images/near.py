"""Signatures that are close to each other, found without comparing each with each.

Two hashes of 64 bits that differ in at most `FARTHEST` places differ in at most two of one of
their four quarters: so looking up, for every hash and quarter, the 137 quarters that differ in
at most two bits finds every close pair.
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

FARTHEST = 11
QUARTERS, BITS = 4, 16
PAIRS_AT_ONCE = 1 << 21


def near_pairs(hashes: NDArray[np.uint64]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Positions (first, second), first < second, of hashes at most `FARTHEST` bits apart.

    In portions of bounded size; a pair may come more than once.
    """
    for quarter in range(QUARTERS):
        keys = ((hashes >> np.uint64(quarter * BITS)) & np.uint64(0xFFFF)).astype(np.int64)
        order = np.argsort(keys, kind="stable")
        # In the order of the keys what is compared lies close together in memory.
        keys, sorted_hashes = keys[order], hashes[order]
        starts = np.searchsorted(keys, np.arange((1 << BITS) + 1))
        for mask in _masks():
            other = keys ^ mask
            # Each pair of buckets once: from the lower one.
            firsts = np.flatnonzero(keys < other) if mask else np.arange(len(keys))
            begins = starts[other[firsts]] if mask else firsts + 1
            for first, second in _close(sorted_hashes, firsts, begins, starts[other[firsts] + 1]):
                yield np.minimum(order[first], order[second]), np.maximum(order[first], order[second])


def _close(
    hashes: NDArray[np.uint64],
    firsts: NDArray[np.int64],
    begins: NDArray[np.int64],
    ends: NDArray[np.int64],
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Close pairs of each of `firsts` with those from `begins` to before `ends`."""
    crowded = ends > begins
    firsts, begins, counts = firsts[crowded], begins[crowded], (ends - begins)[crowded]
    totals = np.cumsum(counts)
    start = 0
    while start < len(firsts):
        done = totals[start - 1] if start else 0
        # At least one, so that a single crowded bucket cannot stop it.
        stop = max(start + 1, int(np.searchsorted(totals, done + PAIRS_AT_ONCE)))
        sizes = counts[start:stop]
        first = np.repeat(firsts[start:stop], sizes)
        second = np.arange(len(first)) + np.repeat(begins[start:stop] - (np.cumsum(sizes) - sizes), sizes)
        close = np.bitwise_count(hashes[first] ^ hashes[second]) <= FARTHEST
        if close.any():
            yield first[close], second[close]
        start = stop


def _masks() -> list[int]:
    """Every pattern of at most two bits in a quarter."""
    single = [1 << bit for bit in range(BITS)]
    return [0, *single, *(a | b for a, b in combinations(single, 2))]
