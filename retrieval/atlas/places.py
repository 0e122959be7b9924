"""Vectors onto a plane: along their main directions at once, then so that what is alike lies together.

The second starts from the first. Each picture is pulled towards its nearest neighbours and, at the
beginning, towards some that are fairly near, and pushed off others; the forces are those of PaCMAP
(Wang, Huang, Rudin and Shaposhnik, 2021). The same vectors always come to the same places.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Points = NDArray[np.float32]
    Ids = NDArray[np.int64]
    Tell = Callable[[float], None]
    """How much of the work is done, 0 to 1; it raises where the work is to stop."""

BLOCK = 8192
DRAWN = 20_000
"""The main directions are those of an even draw of at most so many."""
DIRECTIONS = 48
"""Neighbours are looked for along so many: a tenth of the cost of all of 512, and nearly the same ones."""
NEIGHBOURS = 10
FAIRLY_NEAR = 4
ONE_OF = 6
"""A fairly near picture is the second nearest of so many that are drawn."""
FAR = 8
ROUNDS = (100, 100, 250)
"""For the shape of the whole, for neighbours to gather, and to settle."""
PULL = (1000.0, 3.0)
"""Of the fairly near, in the first round and after the first hundred."""
SETTLING = 0.5
"""How strongly neighbours pull in the end. More crowds them, and who is nearest to whom is lost."""
FADE = (0.9, 0.999)
START = 0.01
EVEN = 0.45
"""How much of a place is its rank, and not its distance."""
PLACED_BY = 5
MOST_KNOWN = 40_000
PRODUCTS = 200_000_000
"""Cosines that placing late pictures may cost; beyond, fewer of the placed ones are looked at."""


class Rows(Protocol):
    """Vectors that are read a block at a time."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> Points: ...


def main_directions(vectors: Rows, most: int) -> Points:
    """The vectors along the directions in which they differ most, the first one first."""
    count = len(vectors)
    step = max(1, -(-count // DRAWN))
    drawn = np.array(vectors[::step], np.float32)
    mean = drawn.mean(0)
    drawn -= mean
    _, directions = np.linalg.eigh((drawn.T @ drawn).astype(np.float64))
    kept = directions[:, ::-1][:, :most].astype(np.float32)
    # An eigenvector may point either way, and is to point the same way each time.
    leading = kept[np.abs(kept).argmax(0), np.arange(kept.shape[1])]
    kept *= np.where(leading < 0, np.float32(-1), np.float32(1))
    found = np.zeros((count, max(most, 2)), np.float32)
    for part in _blocks(count):
        found[part, : kept.shape[1]] = (vectors[part] - mean) @ kept
    return found


def laid_out(flat: Points, near: Ids, tell: Tell, *, seed: int = 0) -> Points:
    """Places where neighbours lie together, from places along the main directions.

    `near` has for each row the numbers of its nearest ones.
    """
    count = len(flat)
    chance = np.random.default_rng(seed)
    pulled = _Pull(near)
    between = _fairly_near(flat, chance)
    # As complex numbers both coordinates are fetched at once, which is most of the work.
    places = _complex(START * flat[:, :2] / max(float(flat[:, :2].std(0).max()), 1e-9))
    moving = _Moving(count)
    for done in range(sum(ROUNDS)):
        tell(done / sum(ROUNDS))
        towards_near, towards_between = _strengths(done)
        force = pulled.force(places, towards_near)
        if towards_between:
            force += _force(places, between, 10_000.0) * np.float32(towards_between)
        force -= _force(places, chance.integers(0, count, (count, FAR)), 1.0) * np.float32(40 / FAR)
        # Ever shorter steps: at full length the chance in who is pushed off would keep all astir.
        left = min(1.0, (sum(ROUNDS) - done) / ROUNDS[2])
        places = places - moving.step(force) * np.float32(left * left)
    found: Points = np.stack([places.real, places.imag], 1)
    return found


def beside(placed: Points, vectors: Rows, late: Points) -> Points:
    """Places for pictures that came later: amid those that they are most like."""
    looked_at = min(MOST_KNOWN, max(1000, PRODUCTS // max(1, len(late))))
    step = max(1, -(-len(placed) // looked_at))
    known, places = vectors[::step], placed[::step]
    k = min(PLACED_BY, len(known))
    found = np.empty((len(late), 2), np.float32)
    for part in _blocks(len(late), 512):
        best = np.argpartition(-(late[part] @ known.T), k - 1, axis=1)[:, :k]
        # The middle of them would lie between two areas where they are of two.
        found[part] = np.median(places[best], axis=1)
    return found


def fitted(places: Points) -> Points:
    """The places within a square of side 1, empty parts drawn in and crowded ones drawn out.

    What is left of what stays left of it, and the same up and down.
    """
    found = np.full(places.shape, 0.5, np.float32)
    for axis in (0, 1):
        along = places[:, axis]
        low, high = (float(along.min()), float(along.max())) if len(along) else (0.0, 0.0)
        if high - low < 1e-9:
            continue
        _, back, counts = np.unique(along, return_inverse=True, return_counts=True)
        ranks = (np.cumsum(counts) - (counts + 1) / 2)[back] / max(1, len(along) - 1)
        found[:, axis] = EVEN * ranks + (1 - EVEN) * (along - low) / (high - low)
    return found


class _Pull:
    """The neighbours of each picture, those it has and those that have it."""

    def __init__(self, near: Ids) -> None:
        count, k = near.shape
        heads, tails = np.repeat(np.arange(count), k), near.ravel()
        pairs = np.unique(np.concatenate([heads * count + tails, tails * count + heads]))
        self._heads, self._tails = np.divmod(pairs, count)
        self._starts = np.searchsorted(self._heads, np.arange(count))

    def force(self, places: NDArray[np.complex64], strength: float) -> NDArray[np.complex64]:
        apart = places[self._heads] - places[self._tails]
        apart *= np.float32(20 * strength) / _squared(apart, 10.0)
        found: NDArray[np.complex64] = np.add.reduceat(apart, self._starts)
        return found


class _Moving:
    """How far each picture moves for a force: less where the force was great before (Adam)."""

    def __init__(self, count: int) -> None:
        self._mean = np.zeros(count, np.complex64)
        self._squares = np.zeros(count, np.complex64)
        self._rounds = 0

    def step(self, force: NDArray[np.complex64]) -> NDArray[np.complex64]:
        self._rounds += 1
        slow, slower = (np.float32(fade) for fade in FADE)
        self._mean = slow * self._mean + (1 - slow) * force
        self._squares = slower * self._squares + (1 - slower) * (force.real**2 + 1j * force.imag**2)
        mean = self._mean / np.float32(1 - FADE[0] ** self._rounds)
        squares = self._squares / np.float32(1 - FADE[1] ** self._rounds)
        usual_x, usual_y = np.sqrt(squares.real) + 1e-7, np.sqrt(squares.imag) + 1e-7
        found: NDArray[np.complex64] = (mean.real / usual_x + 1j * (mean.imag / usual_y)).astype(np.complex64)
        return found


def _strengths(done: int) -> tuple[float, float]:
    """How strongly neighbours pull in a round, and the fairly near."""
    if done < ROUNDS[0]:
        share = done / ROUNDS[0]
        return 2.0, (1 - share) * PULL[0] + share * PULL[1]
    return (3.0, PULL[1]) if done < ROUNDS[0] + ROUNDS[1] else (SETTLING, 0.0)


def _force(places: NDArray[np.complex64], others: Ids, reach: float) -> NDArray[np.complex64]:
    """Towards the others of each, summed; it fades beyond `reach`."""
    apart = places[:, None] - places[others]
    apart *= np.float32(4 * reach if reach > 1 else 2) / _squared(apart, reach)
    found: NDArray[np.complex64] = apart.sum(1)
    return found


def _squared(apart: NDArray[np.complex64], reach: float) -> NDArray[np.float32]:
    sizes = np.float32(reach + 1) + apart.real**2 + apart.imag**2
    sizes *= sizes
    return sizes


def _fairly_near(flat: Points, chance: np.random.Generator) -> Ids:
    found = np.empty((len(flat), FAIRLY_NEAR), np.int64)
    for part in _blocks(len(flat)):
        block = flat[part]
        for column in range(FAIRLY_NEAR):
            drawn = chance.integers(0, len(flat), (len(block), ONE_OF))
            away = ((flat[drawn] - block[:, None]) ** 2).sum(2)
            second = np.argpartition(away, 1, axis=1)[:, 1]
            found[part, column] = drawn[np.arange(len(block)), second]
    return found


def _complex(places: Points) -> NDArray[np.complex64]:
    return (places[:, 0] + 1j * places[:, 1]).astype(np.complex64)


def _blocks(count: int, size: int = BLOCK) -> Iterator[slice]:
    return (slice(start, min(start + size, count)) for start in range(0, count, size))
