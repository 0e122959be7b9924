"""Whether the server lives, and whether it can answer."""

from fastapi import APIRouter, Response

from retrieval.server.settings import Served

SECONDS = 10.0
router = APIRouter(include_in_schema=False)


@router.get("/healthz")
async def alive() -> dict[str, str]:
    return {"status": "ok"}


@router.get("/readyz")
async def ready(served: Served) -> Response:
    await served.quick.run(served.catalog.status, seconds=SECONDS)
    return Response('{"status":"ok"}', media_type="application/json")
