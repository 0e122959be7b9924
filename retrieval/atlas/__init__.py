"""The whole library on a plane, alike pictures beside each other.

`Atlas.make` lays it out by neighbours, which takes a while, and keeps what came of it in the
catalog's cache. Until then, and wherever nothing may be written, the places are those along the
two directions in which the vectors differ most, which is a matter of a moment.
"""

from __future__ import annotations

import threading
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from retrieval.db import reads
from retrieval.errors import ModelError, StoreError
from retrieval.state import CatalogEmpty

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from retrieval.atlas.areas import Named
    from retrieval.atlas.kept import Kept, Middles
    from retrieval.db.reads import EncoderInfo
    from retrieval.protocols import Progress, VectorStore
    from retrieval.query.filters import Filter
    from retrieval.state import State
    from retrieval.stores.opening import Truth
    from retrieval.types import Vectors

Method = Literal["directions", "neighbours"]
MOST_LATE = 0.5
"""With more pictures that came later, or were changed, than this share of the placed ones, a map is none."""
OUTDATED = 0.1
FEWEST = 8
"""Fewer pictures have no neighbourhood worth a layout."""
MOST_LAID = 200_000
"""Of more pictures an even draw is laid out, and the others are placed beside those."""
SHARES = (0.03, 0.15, 0.85)
"""How much of the work is done when the directions, the neighbours and the places are found."""


@dataclass(frozen=True, slots=True)
class Area:
    """A part of the map: where its middle is, and how many pictures are nearest to that."""

    name: str
    level: int
    """0 from afar; each further level has more and smaller areas."""
    x: float
    y: float
    count: int


@dataclass(frozen=True, slots=True, eq=False)
class Map:
    """Every picture that may be seen, by id, and its place in a square of side 1."""

    method: Method
    encoder: str
    image_ids: NDArray[np.int64]
    places: NDArray[np.float32]
    """[pictures, 2]: x from the left, y from above."""
    areas: tuple[Area, ...] = ()
    late: int = 0
    """Pictures that came, or were changed, since the map was made."""
    passing: NDArray[np.bool_] | None = None
    """Which pictures a filter lets through."""

    def __len__(self) -> int:
        return len(self.image_ids)

    @property
    def outdated(self) -> bool:
        """Whether it is worth being made, or made anew."""
        if self.method == "directions":
            return len(self) >= FEWEST
        return self.late > OUTDATED * len(self)


@dataclass(frozen=True, slots=True)
class MapReport:
    """What came of making a map."""

    images: int
    areas: int
    seconds: float
    interrupted: bool = False

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class _Ended(Exception):
    """Somebody wants no more of it."""


class _Rows:
    """Vectors of a store by row, read when they are asked for."""

    def __init__(self, store: VectorStore, ids: NDArray[np.int64]) -> None:
        self._store = store
        self._ids = ids

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, part: slice, /) -> Vectors:
        return self._store.vectors(self._ids[part])


@dataclass(frozen=True, slots=True)
class _Placed:
    """Places of all rows of a store, seen or not, and what they were found from."""

    of: tuple[object, ...]
    method: Method
    ids: NDArray[np.int64]
    places: NDArray[np.float32]
    areas: Middles
    late: int


class Atlas:
    """The map of a catalog. Safe to use from several threads."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._lock = threading.Lock()
        self._last: _Placed | None = None

    def map(self, *, where: Filter | None = None) -> Map:
        """The map as it is now; `where` marks the pictures that pass, and leaves none out."""
        import numpy as np

        from retrieval.query.filters import Filter

        try:
            with self._state.snapshot():
                info = self._state.active()
                view = self._state.view(info, where or Filter())
                truth = self._state.image_truth(info)
                kept = self._kept(truth)
                changed = [] if kept is None else self._changed(truth, kept)
        except CatalogEmpty:
            return Map("directions", "", np.empty(0, np.int64), np.empty((0, 2), np.float32))
        with self._lock:
            of = (info.cache_key, info.generation, kept and kept.stamp)
            placed = self._last
            if placed is None or placed.of != of or placed.ids is not view.store.ids:
                placed = self._last = _placed(of, view.store, kept, changed)
        seen = slice(None) if view.visible is None else view.visible
        places = placed.places[seen]
        return Map(
            placed.method,
            info.key,
            placed.ids[seen],
            places,
            _areas(places, placed.areas),
            placed.late,
            None if not where or view.allowed is None else view.allowed[seen],
        )

    def make(
        self, *, progress: Progress | None = None, stopped: Callable[[], bool] | None = None
    ) -> MapReport:
        """Lay the map out by neighbours and keep it; it takes seconds for thousands of pictures.

        `progress` is told `layout` with `done` of `total`, and each `note`. Once `stopped` says
        so it ends with nothing changed.
        """
        self._state.check_writable()
        begun = time.monotonic()
        tell = _Telling(progress, stopped)
        try:
            images, areas = self._made(tell)
        except _Ended:
            return MapReport(0, 0, round(time.monotonic() - begun, 3), interrupted=True)
        return MapReport(images, areas, round(time.monotonic() - begun, 3))

    def _made(self, tell: _Telling) -> tuple[int, int]:
        import numpy as np

        from retrieval.atlas import kept as keeping
        from retrieval.atlas import places as laying
        from retrieval.query.filters import Filter

        tell(0)
        with self._state.snapshot() as reader:
            info = self._state.active()
            truth = self._state.image_truth(info)
            view = self._state.view(info, Filter())
            keys = [one.cache_key for one in reads.encoders(reader)]
        ids = view.store.ids if view.visible is None else view.store.ids[view.visible]
        drawn = ids[:: max(1, -(-len(ids) // MOST_LAID))]
        rows = _Rows(view.store, drawn)
        flat = laying.main_directions(rows, laying.DIRECTIONS)
        tell(SHARES[0])
        if len(drawn) < FEWEST:
            places = flat[:, :2]
        else:
            from retrieval.stores.faiss import neighbours

            near = neighbours(flat, min(laying.NEIGHBOURS, len(drawn) - 1))
            tell(SHARES[1])
            places = laying.laid_out(flat, near, tell.within(*SHARES[1:]))
        places = laying.fitted(places)
        areas = self._named_areas(info, drawn, places, tell)
        with self._state.snapshot():
            self._state.still(info)
        try:
            keeping.write(self._state.location.cache, truth, drawn, places, areas, keep=keys)
        except OSError as error:
            raise StoreError(
                f"The map could not be kept in {self._state.location.cache}: {error.strerror or error}. "
                "Check the disk's space and permissions."
            ) from error
        return len(np.asarray(drawn)), sum(map(len, areas))

    def _named_areas(
        self, info: EncoderInfo, ids: NDArray[np.int64], places: NDArray[np.float32], tell: _Telling
    ) -> Middles:
        """The areas, if the model is there that knows what its vectors show."""
        from retrieval.atlas.areas import found_areas
        from retrieval.groups import naming

        named: Named
        try:
            named = naming(self._state, info, ids)
        except ModelError as error:
            tell.note(f"The areas of the map have no names. {error}")
            return []
        return found_areas(places, named, tell.within(SHARES[2], 1.0))

    def _kept(self, truth: Truth) -> Kept | None:
        from retrieval.atlas import kept

        return kept.read(self._state.location.cache, truth, seal=not self._state.readonly)

    def _changed(self, truth: Truth, kept: Kept) -> Sequence[int]:
        """The pictures whose vectors are newer than the map."""
        if kept.generation == truth.generation:
            return []
        return [image_id for image_id, *_ in truth.rows(kept.generation)]


class _Telling:
    """Says how far it is, a hundred times at most, and ends it when somebody wants that."""

    def __init__(self, progress: Progress | None, stopped: Callable[[], bool] | None) -> None:
        self._progress = progress
        self._stopped = stopped
        self._last = -1

    def __call__(self, share: float) -> None:
        if self._stopped is not None and self._stopped():
            raise _Ended
        hundredths = int(100 * share)
        if self._progress is not None and hundredths > self._last:
            self._last = hundredths
            self._progress("layout", {"done": hundredths, "total": 100})

    def note(self, text: str) -> None:
        if self._progress is not None:
            self._progress("note", {"text": text})

    def within(self, begin: float, end: float) -> Callable[[float], None]:
        """Tells a part of the work as that much of the whole."""
        return lambda share: self(begin + share * (end - begin))


def _placed(of: tuple[object, ...], store: VectorStore, kept: Kept | None, changed: Sequence[int]) -> _Placed:
    """A place for every row: from the kept map, beside what it has, or along the main directions."""
    import numpy as np

    from retrieval.atlas import places as laying

    ids = store.ids
    if kept is not None:
        sound = np.isin(kept.ids, ids) & ~np.isin(kept.ids, np.array(changed, np.int64))
        old_ids, old = kept.ids[sound], kept.places[sound]
        at = np.searchsorted(ids, old_ids)
        known = np.zeros(len(ids), np.bool_)
        known[at] = True
        late = int(len(ids) - len(old_ids))
        if len(old_ids) and late <= max(1, MOST_LATE * len(old_ids)):
            found = np.empty((len(ids), 2), np.float32)
            found[at] = old
            if late:
                found[~known] = laying.beside(old, _Rows(store, old_ids), store.vectors(ids[~known]))
            return _Placed(of, "neighbours", ids, found, kept.areas, late)
    flat = laying.main_directions(_Rows(store, ids), 2)
    return _Placed(of, "directions", ids, laying.fitted(flat), [], 0)


def _areas(places: NDArray[np.float32], levels: Middles) -> tuple[Area, ...]:
    """The areas of each level that still have pictures."""
    import numpy as np

    from retrieval.atlas.areas import nearest

    found = []
    for number, level in enumerate(levels):
        if not level or not len(places):
            continue
        middles = np.array([(x, y) for _, x, y in level], np.float32)
        counts = np.bincount(nearest(places, middles), minlength=len(middles))
        found += [
            Area(name, number, x, y, count)
            for (name, x, y), count in zip(level, counts.tolist(), strict=True)
            if count
        ]
    return tuple(found)
