"""What the library holds, and what it was made with."""

from collections import Counter
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import AfterValidator, WithJsonSchema

import retrieval
from retrieval.errors import FAILURE_REASONS
from retrieval.models import list_models
from retrieval.server import kept_shapes, shapes
from retrieval.server.given import Limit, Start, cursor, offset_of
from retrieval.server.settings import Served

SECONDS = 30.0


def _reason(given: str) -> str:
    if given not in FAILURE_REASONS:
        raise ValueError(f"The reasons are {', '.join(FAILURE_REASONS)}.")
    return given


Reason = Annotated[
    str, AfterValidator(_reason), WithJsonSchema({"type": "string", "enum": list(FAILURE_REASONS)})
]
router = APIRouter(tags=["library"])


@router.get("/status", response_model=shapes.State, response_model_exclude_unset=True)
async def status(served: Served) -> Any:
    """What the library holds, in figures."""
    found = await served.quick.run(served.catalog.status, seconds=SECONDS)
    readonly = served.readonly or served.catalog.readonly
    return {**found.as_dict(), "readonly": readonly, "version": retrieval.__version__}


@router.get("/models", response_model=kept_shapes.Models)
async def models(served: Served) -> Any:
    """The models that can be had, and which are here."""
    return await served.quick.run(
        lambda: {"models": [one.as_dict() for one in list_models()]}, seconds=SECONDS
    )


@router.get("/failures", response_model=kept_shapes.Failures, response_model_exclude_unset=True)
async def failures(
    served: Served,
    limit: Limit = 100,
    start: Start = None,
    reason: Annotated[Reason | None, Query(description="Only those that failed for this one.")] = None,
) -> Any:
    """The files that could not be indexed, and why."""
    about = ("failures", reason)
    offset = offset_of(start, *about)

    def listed() -> dict[str, Any]:
        every = served.catalog.failures()
        found = [one for one in every if reason in (None, one.reason)]
        return {
            "reasons": [
                {"reason": name, "means": FAILURE_REASONS[name], "files": files}
                for name, files in Counter(one.reason for one in every).most_common()
            ],
            "failures": [one.as_dict() for one in found[offset : offset + limit]],
            "total": len(found),
            "next": cursor(offset + limit, *about) if offset + limit < len(found) else None,
        }

    return await served.quick.run(listed, seconds=SECONDS)
