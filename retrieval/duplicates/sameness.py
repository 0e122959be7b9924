"""Which pictures look the same, judged from signatures, vectors, shapes and times.

Each test rests on what near-copies of photographs keep, measured on re-encoded, resized,
cropped, brightened and marked copies (docs/duplicates.md): a pair passes only where all agree.
"""

from __future__ import annotations

from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from retrieval.duplicates.components import Components
from retrieval.duplicates.signatures import CLOSE, open_unchanged
from retrieval.images.near import FARTHEST, near_pairs
from retrieval.images.phash import PAGE_SIDE, SIGNATURE_BYTES, page_of, read_signatures, same_page

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from PIL import Image

    from retrieval.db.duplicates import PictureRow
    from retrieval.types import Vectors

    Places = NDArray[np.int64]

ALIKE = 0.8
"""Cosine that shots of one moment have at least."""
MOMENT_SECONDS = 5.0
"""From one shot of a burst to the next."""
MOST_STEPS = 64
"""How many of the next shots each is compared with: a clock that stands still makes all of one second."""
LEAST_CONTRAST = 5
"""Levels of brightness below which a picture shows nothing to compare."""
DETAIL_BITS, OWN_DETAIL_BITS = 76, 28
"""Most bits of 256 that differ, in general and between pictures of exactly one size: a cut moves every
wave, but what has kept its size was not cut, and screens of one device all have one size."""
COLOUR_LEVELS = 14.0
SHAPE = 0.1
"""How far the logarithms of two aspect ratios may lie apart."""
FLAT = 90
"""From this `flatness` on it may be a page or a screen, and the pixels have the last word."""
OPEN_PAGES = 256
PAIRS_AT_ONCE = 1 << 15
TILE = 2048


class Sameness:
    """Rows with all that tells which of them are the same; places are positions in `rows`."""

    def __init__(self, rows: Sequence[PictureRow], vectors: Vectors, stored: Sequence[bytes | None]) -> None:
        self.rows = rows
        self._vectors = vectors
        blank = bytes(SIGNATURE_BYTES)
        # A blank signature has no contrast, and so is like nothing.
        self._looks = read_signatures([one if one is not None else blank for one in stored])
        self._pages: dict[tuple[int, int], bool] = {}
        self._opened: dict[int, Image.Image | None] = {}

    def pictures(self) -> list[list[int]]:
        """Groups of places that show the same picture, copies of one file included."""
        joined = Components(len(self.rows))
        firsts, copies = self._contents
        joined.join(firsts[copies], copies)
        for first, second in self._candidates(np.unique(firsts)):
            joined.join(first, second)
        return joined.groups()

    def edges(self, members: Sequence[int]) -> list[tuple[int, int]]:
        """Pairs of ids among `members` that are the same picture by themselves, the closest first."""
        firsts = self._contents[0]
        found: list[tuple[int, int, int]] = []
        places = np.array(members, np.int64)
        for number, place in enumerate(members[:-1]):
            others = places[number + 1 :]
            first = np.full(len(others), place)
            copy = firsts[first] == firsts[others]
            bits = np.bitwise_count(self._looks.hashes[first] ^ self._looks.hashes[others])
            far = copy | (bits > FARTHEST)
            bits = np.where(copy, 0, bits + 1)
            same = copy.copy()
            same[~far] = self._same(first[~far], others[~far])
            found += [
                (int(bit), self.rows[place].id, self.rows[int(other)].id)
                for bit, other in zip(bits[same], others[same], strict=True)
            ]
        return [(first, second) for _, first, second in sorted(found)]

    def moments(self) -> list[list[list[int]]]:
        """Groups of shots taken within seconds; each shot is the places of one picture and its copies."""
        timed = [place for place, row in enumerate(self.rows) if row.shot_at and row.camera]
        timed.sort(key=lambda place: (self.rows[place].camera or (), self._seconds[place]))
        places = np.array(timed, np.int64)
        one_shot, one_moment = Components(len(self.rows)), Components(len(self.rows))
        firsts, copies = self._contents
        one_shot.join(firsts[copies], copies)
        one_moment.join(firsts[copies], copies)
        step = 1
        while step < min(len(places), MOST_STEPS):
            first, second = places[:-step], places[step:]
            near = self._cameras[first] == self._cameras[second]
            near &= self._seconds[second] - self._seconds[first] <= MOMENT_SECONDS
            if not near.any():
                break
            first, second = first[near], second[near]
            alike = self._cosines(first, second) >= ALIKE
            first, second = first[alike], second[alike]
            one_moment.join(first, second)
            bits = np.bitwise_count(self._looks.hashes[first] ^ self._looks.hashes[second])
            maybe = bits <= FARTHEST
            same = self._same(first[maybe], second[maybe])
            one_shot.join(first[maybe][same], second[maybe][same])
            step += 1
        shot_of = one_shot.labels()
        found: list[list[list[int]]] = []
        for members in one_moment.groups():
            shots: dict[int, list[int]] = {}
            for place in members:
                shots.setdefault(int(shot_of[place]), []).append(place)
            if len(shots) > 1:
                found.append(list(shots.values()))
        return found

    def _candidates(self, places: Places) -> Iterator[tuple[Places, Places]]:
        places = places[self._looks.contrast[places] >= LEAST_CONTRAST]
        for first, second in near_pairs(self._looks.hashes[places]):
            for start in range(0, len(first), PAIRS_AT_ONCE):
                part = slice(start, start + PAIRS_AT_ONCE)
                one, other = places[first[part]], places[second[part]]
                same = self._same(one, other)
                yield one[same], other[same]

    def _same(self, first: Places, second: Places) -> NDArray[np.bool_]:
        """Whether each pair of places, already close by their hashes, is the same picture."""
        looks = self._looks
        sizes = self._sizes
        same = np.minimum(looks.contrast[first], looks.contrast[second]) >= LEAST_CONTRAST
        bits = np.bitwise_count(looks.details[first] ^ looks.details[second]).sum(1)
        uncut = (sizes[first] == sizes[second]).all(1)
        same &= bits <= np.where(uncut, OWN_DETAIL_BITS, DETAIL_BITS)
        shape = np.log(sizes[:, 0] / np.maximum(sizes[:, 1], 1))
        same &= np.abs(shape[first] - shape[second]) <= SHAPE
        same &= ~self._other_shot(first, second)
        same &= _colours_apart(looks.colours[first], looks.colours[second]) <= COLOUR_LEVELS
        left = np.flatnonzero(same)
        same[left] = self._cosines(first[left], second[left]) >= CLOSE
        pages = np.minimum(looks.flatness[first], looks.flatness[second]) >= FLAT
        for number in np.flatnonzero(same & pages):
            same[number] = self._same_page(int(first[number]), int(second[number]))
        return same

    def _same_page(self, first: int, second: int) -> bool:
        pair = first, second
        if pair not in self._pages:
            one, other = (self._page(place) for place in pair)
            self._pages[pair] = one is not None and other is not None and same_page(one, other)
        return self._pages[pair]

    def _page(self, place: int) -> Image.Image | None:
        if place not in self._opened:
            while len(self._opened) >= OPEN_PAGES:
                del self._opened[next(iter(self._opened))]
            image = open_unchanged(self.rows[place], PAGE_SIDE)
            self._opened[place] = None if image is None else page_of(image)
        return self._opened[place]

    def _other_shot(self, first: Places, second: Places) -> NDArray[np.bool_]:
        """Whether one camera took the two at different times: alike or not, those are two pictures."""
        known = ~np.isnan(self._seconds[first]) & ~np.isnan(self._seconds[second])
        one_camera = (self._cameras[first] == self._cameras[second]) & (self._cameras[first] >= 0)
        result: NDArray[np.bool_] = known & one_camera & (self._seconds[first] != self._seconds[second])
        return result

    def _cosines(self, first: Places, second: Places) -> NDArray[np.float32]:
        parts = [np.zeros(0, np.float32)]
        for start in range(0, len(first), TILE):
            part = slice(start, start + TILE)
            parts.append(np.einsum("nd,nd->n", self._vectors[first[part]], self._vectors[second[part]]))
        return np.concatenate(parts)

    @cached_property
    def _sizes(self) -> NDArray[np.float64]:
        sizes = np.array([(row.width, row.height) for row in self.rows], np.float64).reshape(-1, 2)
        return np.maximum(sizes, 1)

    @cached_property
    def _contents(self) -> tuple[Places, Places]:
        """For each place the first one with its content; and the places that are not the first."""
        seen: dict[bytes, int] = {}
        firsts = np.array(
            [seen.setdefault(row.content_hash, place) for place, row in enumerate(self.rows)], np.int64
        )
        return firsts, np.flatnonzero(firsts != np.arange(len(firsts)))

    @cached_property
    def _seconds(self) -> NDArray[np.float64]:
        return np.array([_seconds(row.shot_at) for row in self.rows], np.float64)

    @cached_property
    def _cameras(self) -> Places:
        numbers: dict[tuple[str | None, str | None], int] = {}
        return np.array(
            [-1 if row.camera is None else numbers.setdefault(row.camera, len(numbers)) for row in self.rows],
            np.int64,
        )


def _colours_apart(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Mean difference of the fields' colours, in levels, after one was made as bright as the other."""
    one, other = first.astype(np.float32), second.astype(np.float32)
    gain = np.clip((one * other).sum(1) / np.maximum((one * one).sum(1), 1.0), 0.8, 1.25)
    apart: NDArray[np.float32] = np.abs(one * gain[:, None] - other).mean(1)
    return apart


def _seconds(shot_at: str | None) -> float:
    if shot_at is None:
        return float("nan")
    return (datetime.fromisoformat(shot_at).replace(tzinfo=None) - datetime(1970, 1, 1)).total_seconds()
