"""What the library holds."""

from typing import Any

from fastapi import APIRouter

import retrieval
from retrieval.server import shapes
from retrieval.server.given import Where
from retrieval.server.settings import Served

SECONDS = 30.0
router = APIRouter(tags=["library"])


@router.get("/status", response_model=shapes.State, response_model_exclude_unset=True)
async def status(served: Served) -> Any:
    """What the library holds, in figures."""
    found = await served.quick.run(served.catalog.status, seconds=SECONDS)
    return {**found.as_dict(), "readonly": served.readonly, "version": retrieval.__version__}


@router.get("/timeline")
async def timeline(served: Served, where: Where) -> dict[str, int]:
    """How many pictures were taken in each month."""
    return await served.quick.run(lambda: served.catalog.pictures.months(where=where), seconds=SECONDS)
