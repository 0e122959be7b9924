"""Right and wrong answers to a query, kept with it: they move its next ranking.

What is said of an answer is evidence, in log-odds, for the pictures that resemble it, and
nothing for all others. That is Rocchio's idea on the side of the answers instead of the
query's vector, so that it acts on any query, on a sum of terms and on what words said.
"""

from __future__ import annotations

import datetime as dt
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from retrieval.db import feedback
from retrieval.errors import QueryError
from retrieval.query.fuse import SURE, chance, log_odds
from retrieval.query.rocchio import moved, reach
from retrieval.query.terms import Query
from retrieval.types import path_fields

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from retrieval.db.feedback import SaidRow
    from retrieval.protocols import Encoder, VectorStore
    from retrieval.state import State
    from retrieval.types import Vectors

    Picture = int | str | os.PathLike[str]
    """A picture of the catalog by its id or its path."""
    Ids = NDArray[np.int64]
    Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Said:
    """What a person said of a picture as an answer to a query; `rests` says why it does not act, if so."""

    id: int
    query: str
    image_id: int | None
    path: Path
    good: bool
    said_at: float
    rests: str | None = None

    def as_dict(self) -> dict[str, Any]:
        row: dict[str, Any] = {"id": self.id, "query": self.query, **path_fields(self.path)}
        if self.image_id is not None:
            row["image_id"] = self.image_id
        row["good"] = self.good
        row["said_at"] = dt.datetime.fromtimestamp(self.said_at).isoformat(timespec="seconds")
        return row if self.rests is None else {**row, "rests": self.rests}


@dataclass(frozen=True, slots=True)
class Marks:
    """The pictures that are right and wrong answers to one query, by id."""

    good: tuple[int, ...] = ()
    bad: tuple[int, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.good or self.bad)

    def ways(self, direction: NDArray[np.float32], store: VectorStore) -> NDArray[np.float32]:
        """Vectors to search besides `direction`, [n, dim], so that what is like a good answer is found."""
        return reach(direction, store.vectors(_held(store, self.good)))

    def moved(
        self,
        ids: Ids,
        chances: Floats,
        encoder: Encoder,
        store: VectorStore,
        *,
        vectors: Vectors | None = None,
        visible: NDArray[np.bool_] | None = None,
    ) -> Floats:
        """The chances of candidates after what was said.

        `vectors` are theirs, where they are not all of the store; `visible` masks the pictures
        of the store that a match is measured against.
        """
        if vectors is None:
            vectors = store.vectors(ids)
        alike = [
            _alike(vectors, _held(store, marked), encoder, store, visible) for marked in (self.good, self.bad)
        ]
        odds = moved(log_odds(chances), alike[0], alike[1], ids=ids, good_ids=self.good, bad_ids=self.bad)
        # What was not moved keeps its chance, but not one beyond those of the answers themselves.
        return np.where(odds == log_odds(chances), np.clip(chances, SURE, 1 - SURE), chance(odds))


class Feedback:
    """What was said of the answers of a catalog."""

    def __init__(self, state: State) -> None:
        self._state = state

    def add(
        self,
        query: str | Path | Query,
        *,
        good: Picture | Iterable[Picture] = (),
        bad: Picture | Iterable[Picture] = (),
    ) -> list[Said]:
        """Keep which pictures are right and wrong answers; returns all that is kept of this query.

        The last word on a picture counts. It moves the rankings of this query, in whatever
        order its terms are written, until it is removed.
        """
        from retrieval.db import feedback_writes

        self._state.check_writable()
        key = query_key(query)
        marks = self.marks(None, good=good, bad=bad)
        if not marks:
            raise QueryError(
                'Name the pictures that are right or wrong: search feedback "a dog" --good dog.jpg'
            )
        with self._state.snapshot():
            shown = feedback.contents(self._state.reader, [*marks.good, *marks.bad])
        said: dict[bytes, tuple[bytes, bool]] = {}
        for good_side, image_ids in ((True, marks.good), (False, marks.bad)):
            for content, where in (shown[image_id] for image_id in image_ids):
                if said.setdefault(content, (where, good_side))[1] != good_side:
                    raise QueryError(
                        f"{os.fsdecode(where)} is given as a bad answer, and a copy of it as a good one. "
                        "Say it once."
                    )
        with self._state.writer() as writer:
            feedback_writes.add(writer, key, said)
        return self.list(query)

    def list(self, query: str | Path | Query | None = None) -> list[Said]:
        """What is kept of one query or of all, in the order it was said."""
        key = None if query is None else query_key(query)
        with self._state.snapshot() as reader:
            rows = feedback.said(reader, key)
        return [
            Said(
                row.id,
                readable(row.query),
                row.image_id,
                Path(os.fsdecode(row.path)),
                row.good,
                row.said_at,
                _rests(row),
            )
            for row in rows
        ]

    def remove(self, ids: int | Iterable[int] = (), *, query: str | Path | Query | None = None) -> int:
        """Take back what was said, by its ids or all of a query; returns how much there was."""
        from retrieval.db import feedback_writes

        self._state.check_writable()
        if query is not None:
            key = query_key(query)
            with self._state.writer() as writer:
                return feedback_writes.remove_query(writer, key)
        wanted = [ids] if isinstance(ids, int) else sorted(set(ids))
        unknown = sorted(set(wanted) - {said.id for said in self.list()})
        if unknown:
            raise QueryError(f"No feedback has the id {unknown[0]}. See what there is: search feedback list")
        if not wanted:
            raise QueryError("Say what to take back, by its id. See what there is: search feedback list")
        with self._state.writer() as writer:
            return feedback_writes.remove(writer, wanted)

    def marks(
        self,
        query: str | Path | Query | None,
        *,
        good: Picture | Iterable[Picture] = (),
        bad: Picture | Iterable[Picture] = (),
    ) -> Marks:
        """The answers that are kept of a query, and those given here, which are not kept and win.

        A query with an open picture in it has no name to keep anything under: it has only
        those given here.
        """
        sides = {True: _ids(self._state, good), False: _ids(self._state, bad)}
        both: set[int] = set(sides[True]) & set(sides[False])
        if both:
            raise QueryError(f"Picture {min(both)} is given as a good answer and as a bad one. Say it once.")
        said: dict[int, bool] = {}
        if query is not None and keepable(query):
            with self._state.snapshot():
                said = dict(feedback.marks(self._state.reader, query_key(query)))
        said |= {image_id: side for side, image_ids in sides.items() for image_id in image_ids}
        return Marks(
            tuple(image_id for image_id, side in said.items() if side),
            tuple(image_id for image_id, side in said.items() if not side),
        )


def keepable(query: str | Path | Query) -> bool:
    """Whether a query can be told again later: one with an open picture in it cannot."""
    if not isinstance(query, Query):
        return True
    return all(term.kind != "image" or isinstance(term.value, int | str | Path) for term in query.terms)


def query_key(query: str | Path | Query) -> str:
    """What feedback is kept under: the query's normal form, with its paths made whole."""
    if isinstance(query, str):
        query = Query.parse(query, paths=False)
    elif not isinstance(query, Query):
        query = Query.image(query)
    if not keepable(query):
        raise QueryError(
            "Feedback is kept with a query, and an open picture has no name to keep it under. Use its path."
        )
    whole = (
        replace(term, value=Path(os.path.abspath(os.path.expanduser(term.value))))
        if isinstance(term.value, Path)
        else term
        for term in query.checked().terms
    )
    return Query(tuple(whole)).normal()


def readable(key: str) -> str:
    """A normal form as a person would write it, what is wanted first."""
    sums: dict[bool, list[str]] = {True: [], False: []}
    for weight, kind, value in json.loads(key):
        times = "" if abs(weight) == 1 else f"{abs(weight):g}:"
        sums[weight > 0].append(f"{times}{'@' if kind == 'concept' else ''}{value}")
    return " - ".join([" + ".join(sums[True]), *sums[False]])


def _ids(state: State, pictures: Picture | Iterable[Picture]) -> list[int]:
    several = [pictures] if isinstance(pictures, int | str | os.PathLike) else list(pictures)
    if not several:
        return []
    found = [(picture, state.find_picture(picture)) for picture in several]
    with state.snapshot():
        known = feedback.contents(state.reader, [image_id for _, image_id in found if image_id is not None])
    for picture, image_id in found:
        if image_id not in known:
            raise QueryError(
                f"{'Picture ' if isinstance(picture, int) else ''}{picture} is not in the catalog at "
                f"{state.location.name}, or has changed since. Feedback is about what a search found; "
                "to index it: search index PATH"
            )
    return [image_id for _, image_id in found if image_id is not None]


def _rests(row: SaidRow) -> str | None:
    if row.image_id is not None:
        return None
    return "shows something else now" if row.replaced else "not in the catalog"


def _held(store: VectorStore, image_ids: Sequence[int]) -> Ids:
    """Those of the ids that the store has vectors of."""
    ids = np.array(image_ids, np.int64)
    held: Ids = ids[np.isin(ids, store.ids)]
    return held


def _alike(
    vectors: Vectors,
    marked: Ids,
    encoder: Encoder,
    store: VectorStore,
    visible: NDArray[np.bool_] | None,
) -> NDArray[np.float32]:
    """How each candidate matches each of the marked pictures, 0..1; a row a marked picture."""
    found = np.zeros((len(marked), len(vectors)), np.float32)
    for row, vector in zip(found, store.vectors(marked), strict=True):
        sample = store.sample(vector, allowed=visible)
        row[:] = encoder.match(np.asarray(vectors @ vector, np.float32), sample, pair="image-image")
    return found
