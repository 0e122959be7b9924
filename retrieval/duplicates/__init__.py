"""Three answers to "which pictures are the same": the same file, the same picture, the same moment.

Nothing here deletes anything. What a person said is not the same (`not_duplicates`) never
ends up in one group, whatever it looks like.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from retrieval.db import duplicates as db
from retrieval.errors import QueryError
from retrieval.types import path_fields

if TYPE_CHECKING:
    from collections.abc import Iterable

    from retrieval.db.duplicates import PictureRow
    from retrieval.duplicates.sameness import Sameness
    from retrieval.protocols import Progress
    from retrieval.query.filters import Filter
    from retrieval.state import State

Kind = Literal["same-file", "same-picture", "same-moment"]
KINDS: tuple[Kind, ...] = get_args(Kind)
Reason = Literal["pixels", "bytes", "age", "none"]

MOST_MARKED = 1000
"""More pictures than this are not marked as different from each other in one go."""


@dataclass(frozen=True, slots=True)
class Copy:
    """One of several pictures that are the same, and what may set it apart."""

    image_id: int
    path: Path
    format: str
    width: int
    height: int
    size: int
    """Bytes of the file."""
    taken_at: str | None
    modified_at: float
    """Seconds since 1970."""


@dataclass(frozen=True, slots=True)
class Duplicates:
    """Pictures that are the same in one of the senses of `KINDS`, the best to keep first."""

    kind: Kind
    copies: tuple[Copy, ...]

    @property
    def reason(self) -> Reason:
        """What puts the first before those that are not as good: more pixels, a larger file, an older one."""
        best, *others = self.copies
        for one in others:
            if one.width * one.height != best.width * best.height:
                return "pixels"
            if one.size != best.size:
                return "bytes"
            if one.modified_at != best.modified_at:
                return "age"
        return "none"

    @property
    def image_ids(self) -> tuple[int, ...]:
        return tuple(copy.image_id for copy in self.copies)

    @property
    def paths(self) -> tuple[Path, ...]:
        return tuple(copy.path for copy in self.copies)

    def as_dict(self) -> dict[str, Any]:
        """The group as the command line's JSON shows it; `paths_b64` where a name is not UTF-8."""
        fields = [path_fields(path) for path in self.paths]
        row: dict[str, Any] = {"kind": self.kind, "paths": [field["path"] for field in fields]}
        if any("path_b64" in field for field in fields):
            row["paths_b64"] = [field.get("path_b64") for field in fields]
        return {**row, "image_ids": list(self.image_ids)}


def duplicates(
    state: State,
    kinds: Sequence[Kind] | None = None,
    *,
    where: Filter | None = None,
    progress: Progress | None = None,
) -> list[Duplicates]:
    """Groups of pictures that are the same, by kind and then by path.

    `same-file`: the contents are equal to the byte. `same-picture`: re-encoded, resized or
    slightly edited; how they look (`images.phash`) and what the model makes of them must both
    agree. `same-moment`: different shots of one camera within seconds, and alike; of a picture
    that is there several times the best stands for all.
    """
    return findings(state, kinds, where=where, progress=progress).sets(state)


def findings(
    state: State,
    kinds: Sequence[Kind] | None = None,
    *,
    where: Filter | None = None,
    progress: Progress | None = None,
) -> Findings:
    """The slow part of `duplicates`, which holds until pictures come, go or change."""
    import numpy as np

    from retrieval.duplicates.sameness import Sameness
    from retrieval.duplicates.signatures import completed
    from retrieval.query.filters import Filter

    asked = KINDS if kinds is None else tuple(dict.fromkeys(kinds))
    for kind in asked:
        if kind not in KINDS:
            raise QueryError(f"No kind of duplicates is called '{kind}'. There are: {', '.join(KINDS)}.")
    info = state.active()
    with state.snapshot() as reader:
        view = state.view(state.still(info), where or Filter())
        ids = view.store.ids if view.allowed is None else view.store.ids[view.allowed]
        passing = set(ids.tolist())
        rows = [row for row in db.pictures(reader) if row.id in passing]
        vectors = view.store.vectors(np.array([row.id for row in rows], np.int64))
    kept = {row.id for group in _same_files(rows, set()) for row in group}
    if asked == ("same-file",):
        return Findings(asked, [row for row in rows if row.id in kept], None)
    signatures = completed(state, rows, vectors, progress=progress)
    sameness = Sameness(rows, vectors, signatures)
    if "same-picture" in asked:
        kept |= {rows[place].id for group in sameness.pictures() for place in group}
    if "same-moment" in asked:
        kept |= {rows[place].id for group in sameness.moments() for shot in group for place in shot}
    places = [place for place, row in enumerate(rows) if row.id in kept]
    few = [rows[place] for place in places]
    return Findings(asked, few, Sameness(few, vectors[places], [signatures[place] for place in places]))


@dataclass(frozen=True, slots=True)
class Findings:
    """The few pictures that have others like them: small enough to be kept, and to be gone through again."""

    kinds: tuple[Kind, ...]
    rows: list[PictureRow]
    sameness: Sameness | None

    def sets(self, state: State) -> list[Duplicates]:
        """Groups by kind and then by path, as people now say what is not the same."""
        with state.snapshot() as reader:
            marked = db.not_duplicates(reader)
        found: dict[str, list[list[PictureRow]]] = {"same-file": _same_files(self.rows, marked)}
        if self.sameness is not None and "same-picture" in self.kinds:
            found["same-picture"] = _same_pictures(self.sameness, marked)
        if self.sameness is not None and "same-moment" in self.kinds:
            found["same-moment"] = _same_moments(self.sameness, marked)
        return [
            Duplicates(kind, tuple(_copy(row) for row in group))
            for kind in self.kinds
            for group in sorted((sorted(group, key=_best) for group in found[kind]), key=lambda g: g[0].path)
        ]


def not_duplicates(
    state: State, pictures: Sequence[int | str | os.PathLike[str]], *, undo: bool = False
) -> int:
    """Remember that these pictures, each with each, are not the same; returns how many pairs that changed.

    `undo` takes it back.
    """
    state.check_writable()
    with state.snapshot() as reader:
        ids = sorted(set(db.image_ids(reader, pictures, state.location.name)))
    if len(ids) < 2:
        raise QueryError("Name at least two different pictures that are not the same: search dupes --not A B")
    if len(ids) > MOST_MARKED:
        raise QueryError(f"{len(ids)} pictures at once are too many to tell apart; at most {MOST_MARKED}.")
    from retrieval.db.duplicates_writes import mark_not_duplicates, unmark_not_duplicates

    pairs = list(combinations(ids, 2))
    with state.writer() as writer:
        return (unmark_not_duplicates if undo else mark_not_duplicates)(writer, pairs)


def _same_files(rows: Sequence[PictureRow], marked: set[tuple[int, int]]) -> list[list[PictureRow]]:
    contents: dict[bytes, list[PictureRow]] = defaultdict(list)
    for row in rows:
        contents[row.content_hash].append(row)
    found: list[list[PictureRow]] = []
    for copies in contents.values():
        if len(copies) > 1:
            found += _kept_apart(copies, combinations(sorted(row.id for row in copies), 2), marked)
    return found


def _same_pictures(sameness: Sameness, marked: set[tuple[int, int]]) -> list[list[PictureRow]]:
    """Groups of at least two contents; copies of a file go where the file goes."""
    found: list[list[PictureRow]] = []
    for members in sameness.pictures():
        group = [sameness.rows[place] for place in members]
        apart = marked | _different_shots(group)
        pieces = _kept_apart(group, sameness.edges(members), apart) if _holds(group, apart) else [group]
        found += [piece for piece in pieces if len({row.content_hash for row in piece}) > 1]
    return found


def _different_shots(group: Sequence[PictureRow]) -> set[tuple[int, int]]:
    """Pairs of one camera at different times: a copy without a date, like both, does not make them one."""
    timed = sorted((row for row in group if row.shot_at and row.camera), key=lambda row: row.id)
    return {
        (one.id, other.id)
        for one, other in combinations(timed, 2)
        if one.camera == other.camera and one.shot_at != other.shot_at
    }


def _same_moments(sameness: Sameness, marked: set[tuple[int, int]]) -> list[list[PictureRow]]:
    found: list[list[PictureRow]] = []
    for shots in sameness.moments():
        group = [min((sameness.rows[place] for place in shot), key=_best) for shot in shots]
        if len(group) < 2:
            continue
        if _holds(group, marked):
            timed = sorted(group, key=lambda row: (row.shot_at or "", row.id))
            # Neighbours in time first, then the others: who is kept apart from one stays with the next.
            edges = sorted(combinations(range(len(timed)), 2), key=lambda pair: (pair[1] - pair[0], pair[0]))
            found += _kept_apart(group, ((timed[i].id, timed[j].id) for i, j in edges), marked)
        else:
            found.append(group)
    return found


def _holds(group: Sequence[PictureRow], marked: set[tuple[int, int]]) -> bool:
    if not marked:
        return False
    ids = {row.id for row in group}
    return any(first in ids and second in ids for first, second in marked)


def _kept_apart(
    group: Sequence[PictureRow], edges: Iterable[tuple[int, int]], marked: set[tuple[int, int]]
) -> list[list[PictureRow]]:
    from retrieval.duplicates.components import apart

    by_id = {row.id: row for row in group}
    return [[by_id[key] for key in piece] for piece in apart(sorted(by_id), edges, marked)]


def _copy(row: PictureRow) -> Copy:
    return Copy(
        image_id=row.id,
        path=Path(os.fsdecode(row.path)),
        format=row.format,
        width=row.width,
        height=row.height,
        size=row.size,
        taken_at=None if row.taken_source in db.FILE_TIMES else row.taken_at,
        modified_at=row.mtime_ns / 1e9,
    )


def _best(row: PictureRow) -> tuple[int, int, int, bytes]:
    """Largest first, then the larger file, then the older one."""
    return -row.width * row.height, -row.size, row.mtime_ns, row.path
