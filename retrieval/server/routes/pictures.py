"""Pictures themselves: lists of them, what is known of one, small versions and the files."""

from typing import Annotated, Any, BinaryIO, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import BeforeValidator

from retrieval.captioners import load_captioner
from retrieval.facts import catalog_facts
from retrieval.pictures import Listed, Picture
from retrieval.server import shapes
from retrieval.server.files import handed_out
from retrieval.server.given import ImageId, Limit, PictureId, Start, Where, cursor, offset_of, told_place
from retrieval.server.headers import unchanged
from retrieval.server.settings import Served
from retrieval.speech import Sight
from retrieval.thumbnails import SIZES, tag, thumbnail

SECONDS = 30.0
MOST_NAMED = 200
KEPT = "private, max-age=60, stale-while-revalidate=86400"
"""Shown at once for a day, and asked for again meanwhile: a picture may be indexed anew."""
SHOWN_AS = {"JPEG": "image/jpeg", "PNG": "image/png", "GIF": "image/gif", "WEBP": "image/webp",
            "AVIF": "image/avif", "BMP": "image/bmp"}  # fmt: skip
"""What browsers draw; other kinds of files are only handed out to be kept."""
OTHER = "application/octet-stream"
TYPES = (*sorted(set(SHOWN_AS.values())), OTHER)
BYTES = {"type": "string", "format": "binary"}
FILE: dict[str, Any] = {kind: {"schema": BYTES} for kind in TYPES}
# A literal number is not read from an address by itself.
Size = Annotated[
    Literal[160, 320, 640, 1280],
    BeforeValidator(lambda given: int(given) if str(given) in map(str, SIZES) else given),
    Query(description="Pixels of the longer side."),
]
router = APIRouter(tags=["pictures"])


@router.get("/images", response_model=shapes.Pictures, response_model_exclude_unset=True)
async def images(
    served: Served,
    where: Where,
    order: Annotated[
        Literal["newest", "oldest", "name"], Query(description="By date, or by path.")
    ] = "newest",
    limit: Limit = 200,
    start: Start = None,
    offset: Annotated[int, Query(ge=0, le=10**9, description="In place of a cursor: from so many on.")] = 0,
    image_id: Annotated[
        list[PictureId] | None,
        Query(alias="id", max_length=MOST_NAMED, description="These, in this order; no filter acts."),
    ] = None,
) -> Any:
    """All pictures, those that a filter lets through, or those that are named."""
    begin = offset_of(start, where, order) if start is not None else offset

    def listed() -> dict[str, Any]:
        if image_id is not None:
            named = served.catalog.pictures.of(image_id)
            known = [named[one] for one in dict.fromkeys(image_id) if one in named]
            found = Listed(one for one in known if not one.missing)
            total, more = len(found), False
        else:
            found = served.catalog.pictures.list(where=where, order=order, limit=limit, offset=begin)
            total, more = found.total, begin + limit < found.total
        alts = served.catalog.pictures.alts([one.image_id for one in found])
        return {
            "pictures": [
                {**one.as_dict(), **({"alt": alts[one.image_id]} if one.image_id in alts else {})}
                for one in found
            ],
            "total": total,
            "next": cursor(begin + limit, where, order) if more else None,
            **told_place(where),
        }

    return await served.quick.run(listed, seconds=SECONDS)


@router.get("/images/{image_id}", response_model=shapes.PictureDetails, response_model_exclude_unset=True)
async def image(served: Served, image_id: ImageId) -> Any:
    """Everything that is known of one picture."""

    def details() -> dict[str, Any]:
        row = served.catalog.pictures.get(image_id).as_dict()
        facts = catalog_facts(served.catalog.state, [image_id])[image_id]
        [said] = load_captioner("describer").captions([Sight(facts)], style="alt")
        return {
            **row,
            **({"place": facts.place} if facts.place else {}),
            "tags": [{"tag": one.tag, "confidence": round(one.confidence, 4)} for one in facts.tags],
            "texts": [{"text": one.text, "source": one.source} for one in facts.told],
            "alt": said[0] if said else "",
        }

    return await served.quick.run(details, seconds=SECONDS)


@router.get(
    "/images/{image_id}/thumbnail",
    responses={
        200: {"description": "The picture.", "content": {"image/jpeg": {"schema": BYTES}}},
        304: {"description": "It is the one that `If-None-Match` names."},
    },
    response_class=Response,
)
async def thumbnail_of(
    served: Served,
    request: Request,
    image_id: ImageId,
    size: Size = 320,
) -> Response:
    """A picture as a small JPEG, upright."""
    catalog = served.catalog
    picture = await served.quick.run(lambda: catalog.pictures.get(image_id), seconds=SECONDS)
    etag = f'"{tag(picture, size)}"'
    headers = {"ETag": etag, "Cache-Control": KEPT}
    if unchanged(request.headers.get("if-none-match"), etag):
        return Response(status_code=304, headers=headers)
    small = await served.drawing.run(lambda: thumbnail(catalog.state, picture, size), seconds=SECONDS)
    if not small.lasting:
        headers = {"Cache-Control": "no-store"}
    return Response(small.data, media_type="image/jpeg", headers=headers)


@router.get(
    "/images/{image_id}/original",
    responses={
        200: {"description": "The file.", "content": FILE},
        206: {
            "description": "The part that `Range` asks for.",
            "content": FILE,
        },
        304: {"description": "It is the one that `If-None-Match` names."},
    },
    response_class=Response,
)
async def original(
    served: Served,
    request: Request,
    image_id: ImageId,
    download: Annotated[bool, Query(description="To be kept, not to be shown.")] = False,
) -> Response:
    """The picture's file as it is; a part of it by `Range`."""
    catalog = served.catalog

    def opened() -> tuple[Picture, BinaryIO]:
        picture = catalog.pictures.get(image_id)
        return picture, catalog.pictures.open_file(picture)

    picture, file = await served.quick.run(opened, seconds=SECONDS)
    kind = SHOWN_AS.get(picture.format)
    return handed_out(
        request, file, name=picture.path.name, kind=kind or OTHER, keep=download or kind is None
    )
