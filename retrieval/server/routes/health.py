"""Whether the server lives, whether it can answer, and its figures."""

import hmac
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from retrieval.errors import RetrievalError
from retrieval.server.metrics import MEDIA, Metrics
from retrieval.server.problems import AGAIN, Problem
from retrieval.server.settings import Served
from retrieval.state import CatalogEmpty, State

SECONDS = 60.0
router = APIRouter(include_in_schema=False)


def warmed(state: State) -> None:
    """Have the model and the vectors at hand; a library that is empty needs neither."""
    try:
        info = state.active()
    except CatalogEmpty:
        return
    state.encoder(info).encode_texts(["a picture"])
    with state.snapshot():
        state.images(state.still(info))


@router.get("/healthz")
async def healthz(
    served: Served, proof: Annotated[str | None, Query(max_length=64)] = None
) -> dict[str, str]:
    """Whether the server lives; `proof` is a text of the caller's, to be signed with the server's key."""
    if proof is None:
        return {"status": "ok"}
    signed = hmac.new(served.key.encode(), proof.encode("utf-8"), "sha256").hexdigest()
    return {"status": "ok", "proof": signed}


@router.get("/readyz")
async def readyz(served: Served) -> Response:
    """Whether questions can be answered: the catalog is readable and its model loaded."""
    try:
        await served.work.run(lambda: warmed(served.catalog.state), seconds=SECONDS)
    except RetrievalError as error:
        return Problem(503, str(error), headers={"Retry-After": str(AGAIN)})
    return Response('{"status":"ok"}', media_type="application/json")


@router.get("/metrics")
async def metrics(served: Served, request: Request) -> Response:
    """Figures for Prometheus."""
    found: Metrics = request.app.state.metrics
    status = await served.quick.run(served.catalog.counts, seconds=SECONDS)
    found.pictures.set(status["images"])
    return Response(found.text(), headers={"Content-Type": MEDIA})
