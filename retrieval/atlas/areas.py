"""The areas of a map: places that lie together, in ever smaller parts, each with a name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from retrieval.atlas.places import Ids, Points

    Named = Callable[[Sequence[Ids]], list[str]]
    """Names for groups of row numbers, the most typical first."""

LEVELS = (7, 22, 64, 180)
"""How many areas there are at most, from afar to near by."""
LEAST = 8
"""Pictures of an area on average, for there to be a level of such areas."""
FEWEST = 3
TRAINED_ON = 20_000
ROUNDS = 30
BLOCK = 8192


def levels(count: int) -> list[int]:
    """How many areas each level has over so many pictures."""
    wanted = [min(most, count // LEAST) for most in LEVELS]
    return [k for number, k in enumerate(wanted) if k >= 2 and k not in wanted[:number]]


def centres(places: Points, k: int, *, seed: int = 0) -> Points:
    """The middles of at most `k` areas, always the same for the same places; the most of them near first."""
    chance = np.random.default_rng(seed)
    drawn = places[:: max(1, -(-len(places) // TRAINED_ON))]
    found = _spread(drawn, k, chance)
    for _ in range(ROUNDS):
        numbers = nearest(drawn, found)
        sizes = np.bincount(numbers, minlength=len(found))
        sums = np.stack([np.bincount(numbers, drawn[:, axis], len(found)) for axis in (0, 1)], 1)
        moved = (sums[sizes > 0] / sizes[sizes > 0, None]).astype(np.float32)
        if moved.shape == found.shape and np.array_equal(moved, found):
            break
        found = moved
    return found


def nearest(places: Points, middles: Points) -> Ids:
    """For each place the number of its nearest middle."""
    numbers = np.empty(len(places), np.int64)
    for start in range(0, len(places), BLOCK):
        part = slice(start, start + BLOCK)
        away = (places[part, None, 0] - middles[:, 0]) ** 2 + (places[part, None, 1] - middles[:, 1]) ** 2
        numbers[part] = away.argmin(1)
    return numbers


def found_areas(
    places: Points, named: Named, tell: Callable[[float], None]
) -> list[list[tuple[str, float, float]]]:
    """For each level the names and middles of its areas; small ones have none."""
    wanted = levels(len(places))
    found = []
    for number, k in enumerate(wanted):
        tell(number / len(wanted))
        middles = centres(places, k)
        numbers = nearest(places, middles)
        large = np.flatnonzero(np.bincount(numbers, minlength=len(middles)) >= FEWEST)
        middles = middles[large]
        members = _members(places, middles)
        names = named(members)
        found.append([(name, float(x), float(y)) for name, (x, y) in zip(names, middles, strict=True)])
    return found


def _members(places: Points, middles: Points) -> list[NDArray[np.int64]]:
    """The rows of each area, from its middle outwards."""
    numbers = nearest(places, middles)
    away = ((places - middles[numbers]) ** 2).sum(1)
    order = np.lexsort((away, numbers))
    ends = np.cumsum(np.bincount(numbers, minlength=len(middles)))
    return np.split(order, ends[:-1])


def _spread(places: Points, k: int, chance: np.random.Generator) -> Points:
    """First middles as k-means++ draws them: likelier the farther from those there are."""
    chosen = [int(chance.integers(len(places)))]
    farness = ((places - places[chosen[0]]) ** 2).sum(1).astype(np.float64)
    while len(chosen) < k and farness.sum() > 1e-12:
        chosen.append(int(chance.choice(len(places), p=farness / farness.sum())))
        farness = np.minimum(farness, ((places - places[chosen[-1]]) ** 2).sum(1))
    return places[chosen].copy()
