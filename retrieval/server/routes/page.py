"""The web page."""

from importlib.resources import files

from fastapi import APIRouter, Response

router = APIRouter(include_in_schema=False)


@router.get("/")
async def index() -> Response:
    text = (files("retrieval.server") / "static" / "index.html").read_text("utf-8")
    return Response(text, media_type="text/html", headers={"Cache-Control": "no-cache"})
