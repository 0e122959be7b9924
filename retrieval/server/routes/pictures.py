"""Pictures themselves: lists of them, what is known of one, small versions and the files."""

import os
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import FileResponse

from retrieval.captioners import load_captioner
from retrieval.errors import ImageUnreadable
from retrieval.facts import catalog_facts
from retrieval.server import shapes
from retrieval.server.given import ImageId, Limit, Start, Where, cursor, offset_of
from retrieval.server.settings import Served
from retrieval.speech import Sight
from retrieval.thumbnails import SIZES, tag, thumbnail

SECONDS = 30.0
WHOLE_DAY = "private, max-age=86400"
SHOWN_AS = {"JPEG": "image/jpeg", "PNG": "image/png", "GIF": "image/gif", "WEBP": "image/webp",
            "AVIF": "image/avif", "BMP": "image/bmp"}  # fmt: skip
"""What browsers draw; other kinds of files are only handed out to be kept."""
router = APIRouter(tags=["pictures"])


@router.get("/images", response_model=shapes.Pictures, response_model_exclude_unset=True)
async def images(
    served: Served,
    where: Where,
    order: Annotated[Literal["newest", "oldest", "name"], Query()] = "newest",
    limit: Limit = 200,
    start: Annotated[Start, Query(alias="cursor")] = None,
    offset: Annotated[int, Query(ge=0, le=10**9, description="In place of a cursor: from so many on.")] = 0,
) -> Any:
    """All pictures, or those that a filter lets through."""
    begin = offset_of(start, where, order) if start is not None else offset

    def listed() -> dict[str, Any]:
        found = served.catalog.pictures.list(where=where, order=order, limit=limit, offset=begin)
        more = begin + limit < found.total
        return {
            "pictures": [one.as_dict() for one in found],
            "total": found.total,
            "next": cursor(begin + limit, where, order) if more else None,
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

    return await served.work.run(details, seconds=SECONDS)


@router.get(
    "/images/{image_id}/thumbnail", responses={200: {"content": {"image/jpeg": {}}}}, response_class=Response
)
async def small(
    served: Served,
    request: Request,
    image_id: ImageId,
    size: Annotated[Literal[160, 320, 640, 1280], Query(description="Pixels of the longer side.")] = 320,
) -> Response:
    """A picture as a small JPEG, upright."""
    assert size in SIZES
    catalog = served.catalog
    picture = await served.quick.run(lambda: catalog.pictures.get(image_id), seconds=SECONDS)
    etag = f'"{tag(picture, size)}"'
    headers = {"ETag": etag, "Cache-Control": WHOLE_DAY}
    if etag in [one.strip() for one in request.headers.get("if-none-match", "").split(",")]:
        return Response(status_code=304, headers=headers)
    data = await served.quick.run(lambda: thumbnail(catalog.state, picture, size), seconds=SECONDS)
    return Response(data, media_type="image/jpeg", headers=headers)


@router.get("/images/{image_id}/original", response_class=FileResponse)
async def original(
    served: Served,
    image_id: ImageId,
    download: Annotated[bool, Query(description="To be kept, not to be shown.")] = False,
) -> FileResponse:
    """The picture's file as it is; parts of it by `Range`."""
    picture = await served.quick.run(lambda: served.catalog.pictures.get(image_id), seconds=SECONDS)
    if not os.path.isfile(picture.path):
        raise ImageUnreadable(f"The file of picture {image_id} is gone.", reason="unreadable")
    kind = SHOWN_AS.get(picture.format)
    return FileResponse(
        picture.path,
        media_type=kind or "application/octet-stream",
        filename=picture.path.name.encode("utf-8", "replace").decode("utf-8"),
        content_disposition_type="inline" if kind and not download else "attachment",
        headers={"Cache-Control": "private, no-cache"},
    )
