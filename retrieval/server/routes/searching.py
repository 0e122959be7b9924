"""Finding pictures: by words, by pictures, by both."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, File, Form, Query, UploadFile

from retrieval.errors import QueryError
from retrieval.query.filters import Filter
from retrieval.query.terms import MAX_TEXT
from retrieval.query.terms import Query as Asked
from retrieval.server import shapes
from retrieval.server.given import (
    MAX_OFFSET,
    ImageId,
    Limit,
    Sent,
    Sound,
    Start,
    Where,
    Words,
    cursor,
    offset_of,
    sent,
    told_place,
)
from retrieval.server.settings import Served, Settings
from retrieval.types import Hit, Hits, TextHits

SECONDS = 60.0
router = APIRouter(tags=["search"])

Sorting = Literal["relevance", "date"]
Sort = Annotated[Sorting, Query(description="Best first, or of the good ones the newest first.")]
Least = Annotated[float | None, Query(ge=0, le=1, description="In place of the model's own cut-off.")]
Everything = Annotated[bool, Query(alias="all", description="Also what is no good match.")]
Again = Annotated[
    str | None,
    Query(max_length=200, description="What looks again at the best: auto, crops, blip_itm, none."),
    Sound,
]
Why = Annotated[bool, Query(description="Say what spoke for each hit.")]
One = Annotated[list[UploadFile], File(description="One picture.")]
Several = Annotated[list[UploadFile], File(description="One to four pictures.")]


@dataclass(frozen=True, slots=True)
class Asking:
    """What every search takes besides its subject: which pictures, in which order, and which page of them."""

    where: Filter
    limit: int
    start: str | None
    sort: Sorting
    min_match: float | None
    everything: bool
    explain: bool

    @property
    def given(self) -> dict[str, Any]:
        """The same for the library, which has no pages."""
        return {
            "where": self.where,
            "sort": self.sort,
            "min_match": self.min_match,
            "cutoff": not self.everything,
        }

    @property
    def about(self) -> tuple[object, ...]:
        """What a cursor holds for, besides the subject."""
        return self.where, self.sort, self.min_match, self.everything

    @property
    def pages(self) -> bool:
        """Of everything, the best `limit` are put in the order of dates: another page has no place there."""
        return not (self.everything and self.sort == "date")


async def _asking(
    where: Where,
    limit: Limit = 50,
    start: Start = None,
    sort: Sort = "relevance",
    min_match: Least = None,
    everything: Everything = False,
    explain: Why = False,
) -> Asking:
    # A coroutine: a plain one, and the class too, would wait for one of the threads that read files.
    return Asking(where, limit, start, sort, min_match, everything, explain)


How = Annotated[Asking, Depends(_asking)]


def _row(hit: Hit, alts: Mapping[int, str], *, explain: bool) -> dict[str, Any]:
    # The numbers as they are: what shows them rounds them, and once only.
    row = hit.as_dict() | {"score": hit.score, "match": hit.match, "width": hit.width, "height": hit.height}
    if hit.image_id in alts:
        row["alt"] = alts[hit.image_id]
    if hit.rerank_score is not None:
        row["rerank_score"] = hit.rerank_score
    if explain:
        row["explain"] = dict(hit.signals)
    return row


async def _found(
    served: Settings,
    search: Callable[[int], Hits],
    how: Asking,
    *,
    query: str,
    about: Callable[[], tuple[object, ...]],
) -> dict[str, Any]:
    """The page of what `search` finds, given how many, that begins at a cursor `about` this question."""

    def searched() -> dict[str, Any]:
        begun = time.perf_counter()
        asked = (*about(), *how.about)
        offset = offset_of(how.start, *asked)
        if offset > (MAX_OFFSET if how.pages else 0):
            raise QueryError(f"A search is paged through for {MAX_OFFSET:,} hits. Ask for less.")
        end = offset + how.limit
        hits = search(end)
        shown = hits[offset:end]
        closest = hits.closest[: how.limit] if offset == 0 else ()
        alts = served.catalog.pictures.alts([hit.image_id for hit in (*shown, *closest)])
        # To ask for one more would change what is closest; a full page may have an empty one behind it.
        more = how.pages and len(shown) == how.limit
        return {
            "query": query,
            "hits": [_row(hit, alts, explain=how.explain) for hit in shown],
            "closest": [_row(hit, alts, explain=how.explain) for hit in closest],
            "cutoff": hits.cutoff,
            "next": cursor(end, *asked) if more else None,
            "notes": list(hits.notes),
            **told_place(how.where),
            "seconds": round(time.perf_counter() - begun, 4),
        }

    return await served.work.run(searched, seconds=SECONDS)


@router.get("/search", response_model=shapes.Found, response_model_exclude_unset=True)
async def search(served: Served, q: Words, how: How, rerank: Again = None) -> Any:
    """Find pictures by words, or by a sum of words and learnt concepts."""
    asked = Asked.parse(q, paths=False)

    def searched(most: int) -> Hits:
        return served.catalog.search(asked, limit=most, rerank=rerank, **how.given)

    return await _found(served, searched, how, query=str(asked), about=lambda: (asked.normal(), rerank))


@router.post("/search", response_model=shapes.Found, response_model_exclude_unset=True)
async def search_by_pictures(
    served: Served,
    how: How,
    image: Several,
    q: Annotated[str | None, Form(max_length=MAX_TEXT, description="Words besides."), Sound] = None,
) -> Any:
    """Find pictures like those that come along, with words besides if wanted.

    For another page they come along again, with its cursor.
    """
    came = sent(image)
    words = Asked.parse(q, paths=False).terms if q and q.strip() else ()

    def searched(most: int) -> Hits:
        terms = [term for picture in came.pictures() for term in Asked.image(picture).terms]
        return served.catalog.search(Asked((*terms, *words)), limit=most, **how.given)

    like = _like(came)
    query = f"{like}, {q.strip()}" if q and words else like
    return await _found(served, searched, how, query=query, about=lambda: ("search", came.digests(), words))


@router.get("/images/{image_id}/similar", response_model=shapes.Found, response_model_exclude_unset=True)
async def similar(served: Served, image_id: ImageId, how: How) -> Any:
    """The pictures that look most like one of the library."""

    def searched(most: int) -> Hits:
        served.catalog.pictures.get(image_id)
        return served.catalog.similar(image_id, limit=most, **how.given)

    return await _found(served, searched, how, query=f"like {image_id}", about=lambda: (image_id,))


@router.post("/similar", response_model=shapes.Found, response_model_exclude_unset=True)
async def similar_to_pictures(served: Served, how: How, image: Several) -> Any:
    """The pictures that look most like one that comes along, or like several at once.

    For another page they come along again, with its cursor.
    """
    came = sent(image)

    def searched(most: int) -> Hits:
        return served.catalog.similar(came.pictures(), limit=most, **how.given)

    return await _found(served, searched, how, query=_like(came), about=lambda: ("similar", came.digests()))


def _like(came: Sent) -> str:
    return "like a picture" if len(came) == 1 else f"like {len(came)} pictures"


@router.get("/images/{image_id}/texts", response_model=shapes.Texts, response_model_exclude_unset=True)
async def texts_of(
    served: Served,
    image_id: ImageId,
    limit: Limit = 20,
    min_match: Least = None,
    everything: Everything = False,
) -> Any:
    """The texts of the library that fit one of its pictures."""

    def matched() -> dict[str, Any]:
        served.catalog.pictures.get(image_id)
        return _texts(served.catalog.match(image_id, limit=limit, min_match=min_match, cutoff=not everything))

    return await served.work.run(matched, seconds=SECONDS)


@router.post("/match", response_model=shapes.Texts, response_model_exclude_unset=True)
async def match(
    served: Served, image: One, limit: Limit = 20, min_match: Least = None, everything: Everything = False
) -> Any:
    """The texts of the library that fit a picture that comes along."""
    came = sent(image, most=1)

    def matched() -> dict[str, Any]:
        (picture,) = came.pictures()
        return _texts(served.catalog.match(picture, limit=limit, min_match=min_match, cutoff=not everything))

    return await served.work.run(matched, seconds=SECONDS)


def _texts(hits: TextHits) -> dict[str, Any]:
    def row(hit: Any) -> dict[str, Any]:
        return {**hit.as_dict(), "score": hit.score, "match": hit.match, "source": hit.source}

    return {
        "texts": [row(hit) for hit in hits],
        "closest": [row(hit) for hit in hits.closest],
        "cutoff": hits.cutoff,
        "notes": list(hits.notes),
    }
