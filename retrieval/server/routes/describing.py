"""Pictures in words, and why they were found."""

from io import BytesIO
from typing import Annotated, Any, Literal

from fastapi import APIRouter, File, Query, Response, UploadFile

from retrieval.query.terms import Query as Asked
from retrieval.server import shapes
from retrieval.server.given import ImageId, Words, sent
from retrieval.server.settings import Served, Speaking

SECONDS = 300.0
LOOKING = 60.0
Style = Annotated[
    Literal["caption", "alt"], Query(description="A caption, or a text for those who cannot see the picture.")
]
BYTES = {"type": "string", "format": "binary"}
router = APIRouter(tags=["words"])


@router.get(
    "/images/{image_id}/description", response_model=shapes.Described, response_model_exclude_unset=True
)
async def description(served: Served, speaking: Speaking, image_id: ImageId, style: Style = "caption") -> Any:
    """A picture of the library in words. The note says who speaks."""

    def describe() -> dict[str, Any]:
        served.catalog.pictures.get(image_id)
        return served.catalog.describe(image_id, captioner=speaking.captioner(), style=style).as_dict()

    return await served.speaking.run(describe, seconds=SECONDS)


@router.post("/describe", response_model=shapes.Described, response_model_exclude_unset=True)
async def describe(
    served: Served,
    speaking: Speaking,
    image: Annotated[list[UploadFile], File(description="One picture.")],
    style: Style = "caption",
) -> Any:
    """A picture that comes along in words."""
    came = sent(image, most=1)

    def describe() -> dict[str, Any]:
        (picture,) = came.pictures()
        return served.catalog.describe(picture, captioner=speaking.captioner(), style=style).as_dict()

    return await served.speaking.run(describe, seconds=SECONDS)


@router.get("/images/{image_id}/explain", response_model=shapes.Explained, response_model_exclude_unset=True)
async def explain(served: Served, image_id: ImageId, q: Words) -> Any:
    """Where in a picture the match with a query comes from, as figures."""

    def why() -> dict[str, Any]:
        _check_file(served, image_id)
        return served.catalog.explain(Asked.parse(q, paths=False), image_id).as_dict()

    return await served.work.run(why, seconds=LOOKING)


@router.get(
    "/images/{image_id}/explain.png",
    responses={200: {"description": "The picture.", "content": {"image/png": {"schema": BYTES}}}},
    response_class=Response,
)
async def drawn(served: Served, image_id: ImageId, q: Words) -> Response:
    """The same, drawn over the picture."""

    def draw() -> bytes:
        _check_file(served, image_id)
        found = served.catalog.explain(Asked.parse(q, paths=False), image_id)
        buffer = BytesIO()
        found.draw_map(960).save(buffer, "PNG")
        return buffer.getvalue()

    data = await served.work.run(draw, seconds=LOOKING)
    return Response(data, media_type="image/png", headers={"Cache-Control": "private, no-cache"})


def _check_file(served: Served, image_id: int) -> None:
    """Refuse a file that would not be handed out either: it is read by its path, and drawn."""
    pictures = served.catalog.pictures
    pictures.open_file(pictures.get(image_id)).close()
