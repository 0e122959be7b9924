"""Whether the server lives, whether it can answer, and its figures."""

import asyncio
import hmac
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from retrieval.access import brought
from retrieval.errors import RetrievalError
from retrieval.server.metrics import MEDIA, Metrics
from retrieval.server.problems import AGAIN, Problem
from retrieval.server.routes.page import cookie_name
from retrieval.server.settings import Served, Settings
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


class Readiness:
    """Looks whether questions can be answered, one time after the other however many want to know.

    Anybody may ask that: it is not to take the places of those who ask the library.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._looking: asyncio.Future[None] | None = None

    async def look(self) -> None:
        loop, looking = asyncio.get_running_loop(), self._looking
        if looking is None or looking.done() or looking.get_loop() is not loop:
            settings = self._settings
            looking = self._looking = asyncio.ensure_future(
                settings.work.run(lambda: warmed(settings.catalog.state), seconds=SECONDS)
            )
            # Whoever began it may be gone by the time that it fails.
            looking.add_done_callback(lambda done: done.cancelled() or done.exception())
        await asyncio.shield(looking)


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
async def readyz(served: Served, request: Request) -> Response:
    """Whether questions can be answered: the catalog is readable and its model loaded."""
    readiness: Readiness = request.app.state.readiness
    try:
        await readiness.look()
    except RetrievalError as error:
        token = served.token
        known = token is None or brought(request.scope, token, cookie_name(token))
        # What is wrong may name folders.
        said = str(error) if known else "Questions cannot be answered now. With the token it is told why."
        return Problem(503, said, headers={"Retry-After": str(AGAIN)})
    return Response('{"status":"ok"}', media_type="application/json")


@router.get("/metrics")
async def metrics(served: Served, request: Request) -> Response:
    """Figures for Prometheus."""
    found: Metrics = request.app.state.metrics
    status = await served.quick.run(served.catalog.counts, seconds=SECONDS)
    found.pictures.set(status["images"])
    return Response(found.text(), headers={"Content-Type": MEDIA})
