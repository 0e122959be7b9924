"""The library in groups, and what is in it several times."""

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import Field

from retrieval.catalog import Catalog
from retrieval.duplicates import KINDS, Duplicates, Kind
from retrieval.groups import MOST_GROUPS
from retrieval.query.filters import Filter
from retrieval.server import kept_shapes as shapes
from retrieval.server.given import Body, Limit, PictureId, Start, Where, cursor, offset_of
from retrieval.server.settings import Changed, Remembered, Served

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

    return await served.work.run(found, seconds=SECONDS)


@router.get("/duplicates", response_model=shapes.DuplicateSets, response_model_exclude_unset=True)
async def duplicates(
    served: Served,
    remembered: Remembered,
    where: Where,
    kind: Annotated[list[Kind] | None, Query(max_length=len(KINDS), description="Of these kinds.")] = None,
    limit: Limit = 50,
    start: Start = None,
) -> Any:
    """Pictures that are the same file, the same picture, or the same moment."""
    kinds = tuple(dict.fromkeys(kind)) if kind else None
    offset = offset_of(start, where, kinds)

    def found() -> dict[str, Any]:
        moment = served.catalog.state.moment_now()
        sets = remembered.of(
            ("duplicates", moment, kinds, repr(where)), lambda: _sets(served.catalog, kinds, where), moment
        )
        part = sets[offset : offset + limit]
        shown = served.catalog.pictures.of([i for one in part for i in one.image_ids])
        return {
            "sets": [
                {"kind": one.kind, "pictures": [shown[i].as_dict() for i in one.image_ids if i in shown]}
                for one in part
            ],
            "total": len(sets),
            "next": cursor(offset + limit, where, kinds) if offset + limit < len(sets) else None,
        }

    return await served.work.run(found, seconds=SECONDS)


def _sets(catalog: Catalog, kinds: Sequence[Kind] | None, where: Filter) -> list[Duplicates]:
    return catalog.duplicates(kinds, where=where)


@router.post("/duplicates/not", response_model=shapes.Pairs)
async def not_duplicates(served: Changed, different: Different) -> Any:
    """Remember that pictures are not the same; they never stand together again."""
    return await _marked(served, different.image_ids, undo=False)


@router.delete("/duplicates/not", response_model=shapes.Pairs)
async def duplicates_after_all(
    served: Changed,
    image_id: Annotated[list[PictureId], Query(min_length=2, max_length=MOST, description="The pictures.")],
) -> Any:
    """Take back that pictures are not the same."""
    return await _marked(served, image_id, undo=True)


async def _marked(served: Changed, image_ids: list[int], *, undo: bool) -> dict[str, Any]:
    return await served.writing.run(
        lambda: {"pairs": served.catalog.not_duplicates(image_ids, undo=undo)}, seconds=SECONDS
    )
