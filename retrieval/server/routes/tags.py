"""Tags: which there are, and what a person says of a picture."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query

from retrieval.query.filters import MAX_TEXT
from retrieval.server import kept_shapes as shapes
from retrieval.server.given import ImageId, Sound
from retrieval.server.settings import Changed, Served

SECONDS = 30.0
MOST = 5000
TagName = Annotated[
    str, Path(min_length=1, max_length=MAX_TEXT, description="A word or a few.", examples=["dog"]), Sound
]
router = APIRouter(tags=["tags"])


@router.get("/tags", response_model=shapes.Tags)
async def tags(
    served: Served,
    q: Annotated[str | None, Query(max_length=MAX_TEXT, description="Whose name holds this."), Sound] = None,
    limit: Annotated[int, Query(ge=1, le=MOST, description="At most so many.")] = 500,
) -> Any:
    """The tags there are, the most frequent first."""

    def listed() -> dict[str, Any]:
        wanted = (q or "").casefold().strip()
        found = [one for one in served.catalog.tags.list() if wanted in one.tag.casefold()]
        return {
            "tags": [{"tag": one.tag, "prompt": one.prompt, "images": one.count} for one in found[:limit]]
        }

    return await served.quick.run(listed, seconds=SECONDS)


@router.put("/images/{image_id}/tags/{tag:path}", response_model=shapes.TagsOfPicture)
async def tag(served: Changed, image_id: ImageId, tag: TagName) -> Any:
    """Say that a picture has a tag. What a person says stays, whatever the model makes of it."""
    return await _decided(served, image_id, tag, has=True)


@router.delete("/images/{image_id}/tags/{tag:path}", response_model=shapes.TagsOfPicture)
async def untag(served: Changed, image_id: ImageId, tag: TagName) -> Any:
    """Say that a picture does not have a tag."""
    return await _decided(served, image_id, tag, has=False)


async def _decided(served: Changed, image_id: int, tag: str, *, has: bool) -> dict[str, Any]:
    def decide() -> dict[str, Any]:
        catalog = served.catalog
        catalog.pictures.get(image_id)
        (catalog.tags.set if has else catalog.tags.unset)(image_id, tag)
        found = catalog.tags.of(image_id).as_dict()
        return {"image_id": image_id, "tags": found["tags"]}

    return await served.writing.run(decide, seconds=SECONDS)
