"""The texts of the library."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import Field

from retrieval.errors import QueryError
from retrieval.server import kept_shapes as shapes
from retrieval.server.given import Body, Limit, PictureId, Sound, Start, cursor, offset_of
from retrieval.server.problems import NotHere
from retrieval.server.settings import Changed, Served
from retrieval.texts import MAX_CHARS

SECONDS = 60.0
router = APIRouter(tags=["texts"])


class NewText(Body):
    """A text to keep, for itself or tied to a picture."""

    text: Annotated[str, Field(min_length=1, max_length=MAX_CHARS, examples=["Rex at the lake"]), Sound]
    image_id: Annotated[PictureId | None, Field(description="The picture it is about.")] = None


@router.get("/texts", response_model=shapes.TextList, response_model_exclude_unset=True)
async def texts(
    served: Served,
    source: Annotated[
        str | None,
        Query(max_length=100, description="Only those of this source.", examples=["added"]),
        Sound,
    ] = None,
    limit: Limit = 100,
    start: Start = None,
) -> Any:
    """The library's texts, in the order in which they came."""
    after = offset_of(start, "texts", source)

    def listed() -> dict[str, Any]:
        found = served.catalog.texts.list(source=source, after=after, limit=limit + 1)
        more = len(found) > limit
        return {
            "texts": [one.as_dict() for one in found[:limit]],
            "next": cursor(found[limit - 1].text_id, "texts", source) if more else None,
        }

    return await served.quick.run(listed, seconds=SECONDS)


@router.post("/texts", response_model=shapes.TextAdded, response_model_exclude_unset=True)
async def add_text(served: Changed, new: NewText) -> Any:
    """Add a text: pictures are found by it from then on."""

    def add() -> dict[str, Any]:
        catalog = served.catalog
        if new.image_id is not None:
            catalog.pictures.get(new.image_id)
        report = catalog.texts.add(
            [{"text": new.text, **({} if new.image_id is None else {"image": new.image_id})}]
        )
        if report.broken:
            raise QueryError(f"The text cannot be added: {report.broken[0][1]}.")
        of = None if new.image_id is None else new.image_id
        same = [one for one in catalog.texts.list(image=of) if one.image_id == of] if of is not None else []
        kept = [one for one in same if one.text.split() == new.text.split()]
        return {"added": report.added, **({"text": kept[-1].as_dict()} if kept else {})}

    return await served.writing.run(add, seconds=SECONDS)


@router.delete("/texts/{text_id}", response_model=shapes.Removed)
async def remove_text(
    served: Changed, text_id: Annotated[int, Path(ge=1, le=2**63 - 1, description="Its id.", examples=[3])]
) -> Any:
    """Remove a text. What indexing found beside or in a picture comes back with it."""

    def remove() -> dict[str, int]:
        removed = served.catalog.texts.remove(text_id)
        if not removed:
            raise NotHere(f"There is no text {text_id}.")
        return {"removed": removed}

    return await served.writing.run(remove, seconds=SECONDS)
