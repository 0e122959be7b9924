"""Finding pictures: by words, by pictures, by both."""

import time
from typing import Annotated, Any, Literal

from fastapi import APIRouter, File, Form, Query, UploadFile

from retrieval.errors import QueryError
from retrieval.query.filters import Filter
from retrieval.query.terms import MAX_TEXT
from retrieval.query.terms import Query as Asked
from retrieval.server import shapes
from retrieval.server.given import (
    MAX_OFFSET,
    ImageId,
    Limit,
    Start,
    Where,
    Words,
    cursor,
    offset_of,
    opened,
    picture,
)
from retrieval.server.settings import Served
from retrieval.types import Hit, Hits

SECONDS = 60.0
CLOSEST = 12
router = APIRouter(tags=["search"])

Sort = Annotated[
    Literal["relevance", "date"], Query(description="Best first, or of the good ones the newest first.")
]
Least = Annotated[float | None, Query(ge=0, le=1, description="In place of the model's own cut-off.")]
Everything = Annotated[bool, Query(alias="all", description="Also what is no good match.")]
Again = Annotated[
    str | None, Query(max_length=200, description="What looks again at the best: auto, crops, blip_itm ...")
]
Why = Annotated[bool, Query(description="Say what spoke for each hit.")]


def _row(hit: Hit, *, explain: bool) -> dict[str, Any]:
    row = hit.as_dict(explain=explain)
    return {**row, "width": hit.width, "height": hit.height}


def found(
    hits: Hits, query: str, *, begun: float, offset: int, limit: int, next_: str | None, explain: bool
) -> dict[str, Any]:
    """The page of `hits` that begins at `offset`."""
    shown = hits[offset : offset + limit]
    return {
        "query": query,
        "hits": [_row(hit, explain=explain) for hit in shown],
        "closest": [_row(hit, explain=explain) for hit in hits.closest[:CLOSEST]] if offset == 0 else [],
        "cutoff": hits.cutoff,
        "next": next_ if len(hits) > offset + limit else None,
        "notes": list(hits.notes),
        "seconds": round(time.perf_counter() - begun, 4),
    }


async def _searched(
    served: Served,
    asked: Asked,
    where: Filter,
    *,
    limit: int,
    start: str | None,
    sort: Literal["relevance", "date"],
    min_match: float | None,
    everything: bool,
    rerank: str | None,
    explain: bool,
) -> dict[str, Any]:
    about = (asked.normal(), where, sort, min_match, everything, rerank)
    offset = offset_of(start, *about)
    if offset > MAX_OFFSET:
        raise QueryError(f"A search is paged through for {MAX_OFFSET:,} hits. Ask for less.")

    def search() -> dict[str, Any]:
        begun = time.perf_counter()
        # One more than the page: whether another one follows.
        hits = served.catalog.search(
            asked,
            limit=offset + limit + 1,
            where=where,
            sort=sort,
            min_match=min_match,
            cutoff=not everything,
            rerank=rerank,
        )
        return found(
            hits, str(asked), begun=begun, offset=offset, limit=limit,
            next_=cursor(offset + limit, *about), explain=explain,
        )  # fmt: skip

    return await served.work.run(search, seconds=SECONDS)


@router.get("/search", response_model=shapes.Found, response_model_exclude_unset=True)
async def search(
    served: Served,
    q: Words,
    where: Where,
    limit: Limit = 50,
    start: Annotated[Start, Query(alias="cursor")] = None,
    sort: Sort = "relevance",
    min_match: Least = None,
    everything: Everything = False,
    rerank: Again = None,
    explain: Why = False,
) -> Any:
    """Find pictures by words, or by a sum of words and learnt concepts."""
    return await _searched(
        served,
        Asked.parse(q, paths=False),
        where,
        limit=limit,
        start=start,
        sort=sort,
        min_match=min_match,
        everything=everything,
        rerank=rerank,
        explain=explain,
    )


@router.post("/search", response_model=shapes.Found, response_model_exclude_unset=True)
async def search_by_pictures(
    served: Served,
    where: Where,
    image: Annotated[list[UploadFile], File(description="One to four pictures.")],
    q: Annotated[str | None, Form(max_length=MAX_TEXT, description="Words besides.")] = None,
    limit: Limit = 50,
    explain: Why = False,
) -> Any:
    """Find pictures like those that come along, with words besides if wanted. There is one page."""
    pictures = await opened(image)
    words = Asked.parse(q, paths=False).terms if q and q.strip() else ()

    def search() -> dict[str, Any]:
        begun = time.perf_counter()
        terms = [term for data in pictures for term in Asked.image(picture(data)).terms]
        asked = Asked((*terms, *words))
        hits = served.catalog.search(asked, limit=limit, where=where, cutoff=bool(words))
        return found(hits, str(asked), begun=begun, offset=0, limit=limit, next_=None, explain=explain)

    return await served.work.run(search, seconds=SECONDS)


@router.get("/images/{image_id}/similar", response_model=shapes.Found, response_model_exclude_unset=True)
async def similar(
    served: Served, image_id: ImageId, where: Where, limit: Limit = 50, explain: Why = False
) -> Any:
    """The pictures that look most like one of the library."""

    def search() -> dict[str, Any]:
        begun = time.perf_counter()
        served.catalog.pictures.get(image_id)
        hits = served.catalog.similar(image_id, limit=limit, where=where)
        return found(
            hits, f"like {image_id}", begun=begun, offset=0, limit=limit, next_=None, explain=explain
        )

    return await served.work.run(search, seconds=SECONDS)


@router.get("/images/{image_id}/texts", response_model=shapes.Texts, response_model_exclude_unset=True)
async def texts(served: Served, image_id: ImageId, limit: Limit = 20, everything: Everything = False) -> Any:
    """The texts of the library that fit one of its pictures."""

    def match() -> dict[str, Any]:
        served.catalog.pictures.get(image_id)
        return _texts(served.catalog.match(image_id, limit=limit, cutoff=not everything))

    return await served.work.run(match, seconds=SECONDS)


@router.post("/match", response_model=shapes.Texts, response_model_exclude_unset=True)
async def match(
    served: Served,
    image: Annotated[list[UploadFile], File(description="One picture.")],
    limit: Limit = 20,
    everything: Everything = False,
) -> Any:
    """The texts of the library that fit a picture that comes along."""
    if len(image) != 1:
        raise QueryError("Texts are matched to one picture.")
    [data] = await opened(image)
    return await served.work.run(
        lambda: _texts(served.catalog.match(picture(data), limit=limit, cutoff=not everything)),
        seconds=SECONDS,
    )


def _texts(hits: Any) -> dict[str, Any]:
    return {
        "texts": [hit.as_dict() for hit in hits],
        "closest": [hit.as_dict() for hit in hits.closest],
    }
