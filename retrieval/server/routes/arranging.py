"""The library in groups and over time, and what is in it several times."""

from collections import Counter
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import Field

from retrieval.asking import DATED
from retrieval.db.duplicates import state_of_rows
from retrieval.duplicates import KINDS, Duplicates, Findings, Kind, findings
from retrieval.errors import QueryError
from retrieval.groups import MOST_GROUPS
from retrieval.query.filters import Filter
from retrieval.query.terms import MAX_TEXT
from retrieval.query.terms import Query as Asked
from retrieval.server import kept_shapes as shapes
from retrieval.server.given import (
    Body,
    Limit,
    PictureId,
    Sound,
    Start,
    Where,
    cursor,
    offset_of,
)
from retrieval.server.settings import Changed, Remembered, Served
from retrieval.types import Hits

SECONDS = 300.0
SHOWN = 12
"""Pictures of a group that come with it."""
MOST = 200
Several = Annotated[list[PictureId], Field(min_length=2, max_length=MOST, examples=[[7, 9]])]
router = APIRouter(tags=["arranging"])


class Different(Body):
    """Pictures that are not the same, each with each."""

    image_ids: Several


@router.get("/groups", response_model=shapes.Groups, response_model_exclude_unset=True)
async def groups(
    served: Served,
    where: Where,
    k: Annotated[int | None, Query(ge=1, le=MOST_GROUPS, description="At most so many groups.")] = None,
) -> Any:
    """The pictures in groups by meaning, each with a name."""

    def found() -> dict[str, Any]:
        groups = served.catalog.groups(k, where=where)
        shown = served.catalog.pictures.of(sorted({i for one in groups for i in one.image_ids[:SHOWN]}))
        return {
            "groups": [
                {
                    "name": one.name,
                    "size": one.size,
                    "image_ids": list(one.image_ids),
                    "pictures": [shown[i].as_dict() for i in one.image_ids[:SHOWN] if i in shown],
                }
                for one in groups
            ]
        }

    return await served.comparing.run(found, seconds=SECONDS)


@router.get("/timeline", response_model=shapes.Timeline)
async def timeline(
    served: Served,
    where: Where,
    by: Annotated[Literal["year", "month", "day"], Query(description="What is counted together.")] = "month",
    q: Annotated[
        str | None,
        Query(
            min_length=1, max_length=MAX_TEXT, description="Only of what a search finds.", examples=["snow"]
        ),
        Sound,
    ] = None,
    like: Annotated[PictureId | None, Query(description="Only of what looks like this picture.")] = None,
) -> Any:
    """How many pictures are from each year, month or day; or of what a search finds with its filter."""
    catalog = served.catalog
    if q is not None and like is not None:
        raise QueryError("A timeline is of what words find, or of what looks like a picture: not of both.")

    def hits() -> Hits:
        if like is None:
            return catalog.search(Asked.parse(q or "", paths=False), limit=DATED, where=where, sort="date")
        catalog.pictures.get(like)
        return catalog.similar(like, limit=DATED, where=where, cutoff=True)

    def counted() -> dict[str, Any]:
        if q is None and like is None:
            return {**catalog.pictures.timeline(by, where=where).as_dict(), "notes": []}
        among = [hit.image_id for hit in hits()]
        notes = [f"Only the best {DATED:,} are counted."] if len(among) == DATED else []
        return {**catalog.pictures.timeline(by, among=among).as_dict(), "notes": notes}

    pool = served.quick if q is None and like is None else served.work
    return await pool.run(counted, seconds=SECONDS)


@router.get("/duplicates", response_model=shapes.DuplicateSets, response_model_exclude_unset=True)
async def duplicates(
    served: Served,
    remembered: Remembered,
    where: Where,
    kind: Annotated[list[Kind] | None, Query(max_length=len(KINDS), description="Of these kinds.")] = None,
    limit: Limit = 50,
    start: Start = None,
    offset: Annotated[int, Query(ge=0, le=10**9, description="In place of a cursor: from so many on.")] = 0,
) -> Any:
    """Pictures that are the same file, the same picture, or the same moment, the best of them first."""
    kinds = tuple(dict.fromkeys(kind)) if kind else KINDS
    begin = offset_of(start, where, kinds) if start is not None else offset

    def found() -> dict[str, Any]:
        every = _sets(served, remembered, where)
        counts = Counter(one.kind for one in every)
        sets = [one for kind in kinds for one in every if one.kind == kind]
        part = sets[begin : begin + limit]
        shown = served.catalog.pictures.of([i for one in part for i in one.image_ids])
        return {
            "sets": [
                {
                    "kind": one.kind,
                    "reason": one.reason,
                    "pictures": [shown[i].as_dict() for i in one.image_ids if i in shown],
                }
                for one in part
            ],
            "counts": {kind: counts[kind] for kind in KINDS},
            "total": len(sets),
            "next": cursor(begin + limit, where, kinds) if begin + limit < len(sets) else None,
        }

    return await served.comparing.run(found, seconds=SECONDS)


def _sets(served: Served, remembered: Remembered, where: Filter) -> list[Duplicates]:
    """All sets. What takes long of it is done again only when pictures came, went or changed."""
    state = served.catalog.state
    info = state.active()
    with state.snapshot() as reader:
        moment, rows = state.moment(), state_of_rows(reader)
    # What a filter lets through can change with more than the pictures.
    about = ("findings", info.key, info.generation, info.epoch, rows, repr(where), moment if where else None)
    kept: Findings = remembered.of(about, lambda: findings(state, where=where), moment if where else 0)
    return remembered.of(("duplicates", about, moment), lambda: kept.sets(state), moment)


@router.post("/duplicates/not", response_model=shapes.Pairs)
async def not_duplicates(served: Changed, different: Different) -> Any:
    """Remember that pictures are not the same; they never stand together again."""
    return await _marked(served, different.image_ids, undo=False)


@router.delete("/duplicates/not", response_model=shapes.Pairs)
async def duplicates_after_all(
    served: Changed,
    image_id: Annotated[
        list[PictureId],
        Query(min_length=2, max_length=MOST, description="The pictures.", examples=[[7, 9]]),
    ],
) -> Any:
    """Take back that pictures are not the same."""
    return await _marked(served, image_id, undo=True)


async def _marked(served: Changed, image_ids: list[int], *, undo: bool) -> dict[str, Any]:
    return await served.writing.run(
        lambda: {"pairs": served.catalog.not_duplicates(image_ids, undo=undo)}, seconds=SECONDS
    )
