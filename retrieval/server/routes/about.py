"""What the library holds, and what it was made with."""

from typing import Any

from fastapi import APIRouter

import retrieval
from retrieval.models import list_models
from retrieval.server import kept_shapes, shapes
from retrieval.server.given import Limit, Start, Where, cursor, offset_of
from retrieval.server.settings import Served

SECONDS = 30.0
router = APIRouter(tags=["library"])


@router.get("/status", response_model=shapes.State, response_model_exclude_unset=True)
async def status(served: Served) -> Any:
    """What the library holds, in figures."""
    found = await served.quick.run(served.catalog.status, seconds=SECONDS)
    readonly = served.readonly or served.catalog.readonly
    return {**found.as_dict(), "readonly": readonly, "version": retrieval.__version__}


@router.get("/timeline", response_model=dict[str, int])
async def timeline(served: Served, where: Where) -> Any:
    """How many pictures were taken in each month."""
    return await served.quick.run(lambda: served.catalog.pictures.months(where=where), seconds=SECONDS)


@router.get("/models", response_model=kept_shapes.Models)
async def models(served: Served) -> Any:
    """The models that can be had, and which are here."""
    return await served.quick.run(
        lambda: {"models": [one.as_dict() for one in list_models()]}, seconds=SECONDS
    )


@router.get("/failures", response_model=kept_shapes.Failures, response_model_exclude_unset=True)
async def failures(served: Served, limit: Limit = 100, start: Start = None) -> Any:
    """The files that could not be indexed, and why."""
    offset = offset_of(start, "failures")

    def listed() -> dict[str, Any]:
        found = served.catalog.failures()
        return {
            "failures": [one.as_dict() for one in found[offset : offset + limit]],
            "total": len(found),
            "next": cursor(offset + limit, "failures") if offset + limit < len(found) else None,
        }

    return await served.quick.run(listed, seconds=SECONDS)
