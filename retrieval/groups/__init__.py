"""The library in groups by meaning, each with a name.

Names come from the vocabulary's tags: those that fit a group's pictures far better than they
fit the library. A folder, a month or a place that most of a group shares, and the rest of
the library does not, is said as well.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrieval.db import groups as db
from retrieval.db import tags as tags_db
from retrieval.errors import MissingDependency, QueryError
from retrieval.types import path_fields
from retrieval.vocabulary import default_vocabulary

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from retrieval.db.groups import Circumstances
    from retrieval.db.reads import EncoderInfo
    from retrieval.query.filters import Filter
    from retrieval.state import State
    from retrieval.types import Vectors
    from retrieval.vocabulary.look import Look

REST = "everything else"
MOST_GROUPS = 1000
USUAL_MOST = 60
LEAST_SHARE = 500
"""A group smaller than one in so many of the pictures, or than two, is none."""
LOOSE = 0.6
"""A picture this much less near its centre than pictures usually are belongs to the rest."""
ONE_GROUP = 0.9
"""Cosine from which on two centres are one."""
LOOKED_AT = 128
"""Pictures of a group that its name is judged by."""
SHARED = 0.8
"""What share of a group a folder, month or place must have to be its name's."""
COMMON = 0.5
"""What most of the library shares names nothing."""
LEAST_FIT = 0.15
ALSO = 0.6
NEAR_DEGREES = 0.5


@dataclass(frozen=True, slots=True)
class Group:
    """Pictures that belong together, the most typical first."""

    name: str
    image_ids: tuple[int, ...]
    paths: tuple[Path, ...]

    @property
    def size(self) -> int:
        return len(self.image_ids)

    def as_dict(self) -> dict[str, Any]:
        """The group as the command line's JSON shows it; `paths_b64` where a name is not UTF-8."""
        fields = [path_fields(path) for path in self.paths]
        row: dict[str, Any] = {
            "name": self.name,
            "size": self.size,
            "paths": [field["path"] for field in fields],
        }
        if any("path_b64" in field for field in fields):
            row["paths_b64"] = [field.get("path_b64") for field in fields]
        return {**row, "image_ids": list(self.image_ids)}


def groups(state: State, k: int | None = None, *, where: Filter | None = None) -> list[Group]:
    """The pictures in at most `k` groups by meaning, the largest first; what fits none comes last.

    Without `k` there are more groups the more pictures there are, and like ones are joined.
    The same pictures always give the same groups.
    """
    import numpy as np

    from retrieval.query.filters import Filter
    from retrieval.vocabulary.look import Look

    if k is not None and not 1 <= k <= MOST_GROUPS:
        raise QueryError(f"Pictures go into 1 to {MOST_GROUPS} groups, not into {k}.")
    info = state.active()
    with state.snapshot() as reader:
        view = state.view(state.still(info), where or Filter())
        ids = view.store.ids if view.allowed is None else view.store.ids[view.allowed]
        known = db.circumstances(reader)
        ids = np.array([image_id for image_id in ids.tolist() if image_id in known], np.int64)
        vectors = view.store.vectors(ids)
        vocabulary = tags_db.vocabulary(reader) or default_vocabulary()
    if not len(ids):
        return []
    members, rest = _members(vectors, k)
    look = Look.prepared(state, info, state.encoder(info), vocabulary)
    names = _names(look, ids, members, [known[image_id] for image_id in ids.tolist()])
    found = [*zip(names, members, strict=True), *([(REST, rest)] if len(rest) else [])]
    return [
        Group(
            name,
            tuple(ids[places].tolist()),
            tuple(Path(os.fsdecode(known[image_id].path)) for image_id in ids[places].tolist()),
        )
        for name, places in found
    ]


def naming(
    state: State, info: EncoderInfo, ids: NDArray[np.int64]
) -> Callable[[Sequence[NDArray[np.int64]]], list[str]]:
    """What gives names to parts of these pictures: it takes their row numbers, the most typical first."""
    from retrieval.vocabulary.look import Look

    with state.snapshot() as reader:
        facts = db.circumstances(reader)
        vocabulary = tags_db.vocabulary(reader) or default_vocabulary()
    look = Look.prepared(state, info, state.encoder(info), vocabulary)
    nothing = db.Circumstances(b"", None, None, None)  # of a picture that left meanwhile
    known = [facts.get(image_id, nothing) for image_id in ids.tolist()]
    return lambda members: _names(look, ids, members, known)


def _members(vectors: Vectors, k: int | None) -> tuple[list[NDArray[np.int64]], NDArray[np.int64]]:
    """Positions of each group, the most typical first, the largest group first; and of the rest."""
    import numpy as np

    from retrieval.groups.clusters import cluster, nearest

    count = len(vectors)
    wanted = k or min(USUAL_MOST, max(2, round((count / 3) ** 0.5)))
    numbers, centres = cluster(vectors, min(wanted, count))
    if k is None:
        centres = _joined(centres, np.bincount(numbers, minlength=len(centres)))
        numbers, _ = nearest(vectors, centres)
    sizes = np.bincount(numbers, minlength=len(centres))
    least = max(2, count // LEAST_SHARE) if count > 2 else 1
    large = sizes >= least
    if not large.any():
        large = sizes == sizes.max()
    numbers, cosines = nearest(vectors, centres[large])
    far = cosines < LOOSE * float(np.median(cosines))
    numbers[far] = -1
    found = []
    for number in range(int(large.sum())):
        places = np.flatnonzero(numbers == number)
        if len(places):
            found.append(places[np.argsort(-cosines[places], kind="stable")])
    found.sort(key=lambda places: (-len(places), int(places[0])))
    return found, np.flatnonzero(numbers < 0)


def _joined(centres: Vectors, sizes: NDArray[np.int64]) -> Vectors:
    """Centres that are nearly one become one, the largest first."""
    import numpy as np

    kept: list[NDArray[np.float32]] = []
    for number in np.argsort(-sizes, kind="stable"):
        if not kept or float((np.stack(kept) @ centres[number]).max()) < ONE_GROUP:
            kept.append(centres[number])
    return np.stack(kept)


def _names(
    look: Look,
    ids: NDArray[np.int64],
    members: Sequence[NDArray[np.int64]],
    known: Sequence[Circumstances],
) -> list[str]:
    """A name for each group, no two the same."""
    import numpy as np

    drawn = ids[:: max(1, len(ids) // (4 * LOOKED_AT))]
    typical = [ids[places[:LOOKED_AT]] for places in members]
    # All in one go: most of the cost is a tag's, however many pictures it is asked of.
    matches = look.matches(np.concatenate([drawn, *typical]))
    usual = matches[: len(drawn)].mean(0)
    ends = len(drawn) + np.cumsum([len(part) for part in typical])
    shared = _Shared(known)
    names: list[str] = []
    for number, places in enumerate(members, 1):
        fits = matches[ends[number - 1] - len(typical[number - 1]) : ends[number - 1]].mean(0)
        telling = fits * np.log((fits + 0.01) / (usual + 0.01))
        order = np.argsort(-telling, kind="stable")
        words = [look.names[tag] for tag in order[:6] if fits[tag] >= LEAST_FIT and telling[tag] > 0]
        strong = [
            word for word, tag in zip(words, order, strict=False) if telling[tag] >= ALSO * telling[order[0]]
        ]
        facts = shared.by([known[place] for place in places.tolist()])
        candidates = [
            _phrase(words[:count], facts) for count in range(max(1, min(2, len(strong))), len(words) + 1)
        ]
        candidates += [_phrase(words, facts) or "pictures"]
        free = [name for name in candidates if name and name not in names]
        names.append(free[0] if free else f"{candidates[-1]} {number}")
    return names


def _phrase(words: Sequence[str], facts: Sequence[str]) -> str:
    return " · ".join(part for part in (", ".join(words), *facts) if part)


class _Shared:
    """What most of a group shares and most of the library does not."""

    def __init__(self, everything: Sequence[Circumstances]) -> None:
        self._all = everything

    def by(self, group: Sequence[Circumstances]) -> list[str]:
        found = []
        folder = self._most(group, lambda one: os.path.basename(os.path.dirname(one.path)))
        if folder:
            found.append(os.fsdecode(folder))
        place = self._place(group)
        if place and place not in found:
            found.append(place)
        month = self._most(group, lambda one: one.month)
        year = None if month else self._most(group, lambda one: one.month and one.month[:4])
        if month:
            found.append(date.fromisoformat(f"{month}-01").strftime("%B %Y"))
        elif year and not any(year in part for part in found):
            found.append(year)
        return found

    def _most(self, group: Sequence[Circumstances], of: Callable[[Circumstances], Any]) -> Any:
        """The value that most of the group has, unless most of the library has it too."""
        value, count = Counter(of(one) for one in group).most_common(1)[0]
        if not value or count < SHARED * len(group) or len(group) < 2:
            return None
        everywhere = sum(of(one) == value for one in self._all)
        return value if everywhere < COMMON * len(self._all) else None

    def _place(self, group: Sequence[Circumstances]) -> str | None:
        """The town that a group was taken near."""
        located = [
            (one.latitude, one.longitude)
            for one in group
            if one.latitude is not None and one.longitude is not None
        ]
        if len(located) < SHARED * len(group) or len(located) < 2:
            return None
        latitude, longitude = (sorted(values)[len(values) // 2] for values in zip(*located, strict=True))
        near = [
            abs(north - latitude) <= NEAR_DEGREES and abs(east - longitude) <= NEAR_DEGREES
            for north, east in located
        ]
        if sum(near) < SHARED * len(group):
            return None
        from retrieval.query.places import nearest_place

        try:
            place = nearest_place(latitude, longitude)
        except MissingDependency:
            return None  # without the gazetteer a name does without the place
        return None if place is None else place.name
