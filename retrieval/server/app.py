"""The parts of the server, put together."""

from __future__ import annotations

import contextlib
import importlib
import threading
from collections.abc import AsyncIterator
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles
from starlette.concurrency import run_in_threadpool

import retrieval
from retrieval.access import Guard, check_access
from retrieval.errors import RetrievalError
from retrieval.facts import catalog_facts
from retrieval.journal import Log
from retrieval.server.given import MAX_PICTURES
from retrieval.server.headers import Careful
from retrieval.server.jobs import Jobs
from retrieval.server.metrics import Measured, Metrics
from retrieval.server.problems import MEDIA, refused, tell_problems
from retrieval.server.routes import ROUTERS, health, page
from retrieval.server.settings import Memory, Speakers
from retrieval.server.shapes import ProblemDetails
from retrieval.server.turns import Turns

if TYPE_CHECKING:
    from fastapi.routing import APIRoute
    from starlette.responses import Response

    from retrieval.server.settings import Settings

PREFIX = "/api/v1"
OPEN = frozenset({"/", "/login", "/healthz", "/readyz"})
"""What is told without a token: nothing of the library, and the way in."""
PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {
        "description": said,
        "content": {MEDIA: {"schema": {"$ref": f"#/components/schemas/{ProblemDetails.__name__}"}}},
    }
    for status, said in (
        ("4XX", "The request cannot be answered as it is."),
        ("5XX", "The server cannot answer it now; `Retry-After` says when to come again."),
    )
}
WARMING = "a picture"
"""A first search, of nobody's: it reads what every search reads."""
log = Log(__name__)


def assembled(settings: Settings) -> FastAPI:
    """The app over an open catalog; see `retrieval.server.create_app`."""
    check_access("127.0.0.1", settings.token, given_as="token")
    jobs = Jobs(settings.catalog.location)

    @contextlib.asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        threading.Thread(target=_warm, args=(settings,), name="warm", daemon=True).start()
        yield
        settings.ending.set()
        await run_in_threadpool(jobs.close)

    app = FastAPI(
        title="Picture search",
        summary="A library of pictures, searched by words, by pictures and by questions.",
        version=retrieval.__version__,
        openapi_url=f"{PREFIX}/openapi.json",
        # Their pages load scripts from elsewhere, and nothing here does.
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        responses=PROBLEMS,
        generate_unique_id_function=_operation,
        form_limits={"max_files": 2 * MAX_PICTURES, "max_fields": 32, "max_part_size": 64 << 10},
        lifespan=life,
    )
    app.state.settings = settings
    app.state.speakers = Speakers(settings)
    app.state.memory = Memory()
    app.state.turns = Turns()
    app.state.jobs = jobs
    app.state.readiness = health.Readiness(settings)
    app.state.metrics = Metrics(settings)
    for router in ROUTERS:
        app.include_router(router, prefix=PREFIX)
    app.include_router(health.router)
    app.include_router(page.router)
    app.mount("/static", _Static(directory=Path(str(files("retrieval.server") / "static"))), "static")
    tell_problems(app)
    app.add_middleware(
        Guard,
        hosts=settings.hosts,
        token=settings.token,
        refused=refused,
        cookie=page.cookie_name(settings.token),
        open_to_all=OPEN,
    )
    app.add_middleware(Careful, open_to_all=OPEN)
    app.add_middleware(Measured, metrics=app.state.metrics)
    _describe(app, guarded=settings.token is not None)
    return app


class _Static(StaticFiles):
    """The page's own files: kept by browsers, and asked for again whether they are still the same."""

    def file_response(self, *given: Any, **more: Any) -> Response:
        found = super().file_response(*given, **more)
        found.headers["Cache-Control"] = "no-cache"
        return found


def _warm(settings: Settings) -> None:
    """So that the first question finds all in place; what is wrong is told to who asks it."""
    catalog = settings.catalog
    try:
        health.warmed(catalog.state)
        catalog.search(WARMING, limit=1)
        for first in catalog.pictures.list(limit=1):
            catalog_facts(catalog.state, [first.image_id])
    except RetrievalError as error:
        log.info("not warm", error=error)
    # What answers questions takes a third of a second to import.
    importlib.import_module("retrieval.answers.pipeline")


def _operation(route: APIRoute) -> str:
    return route.name


def _describe(app: FastAPI, *, guarded: bool) -> None:
    """Complete the description that is made from the routes."""
    plain = app.openapi

    def completed() -> dict[str, Any]:
        if app.openapi_schema is not None:
            return app.openapi_schema
        found = plain()
        schemas = found.setdefault("components", {}).setdefault("schemas", {})
        schemas[ProblemDetails.__name__] = ProblemDetails.model_json_schema()
        for operations in found["paths"].values():
            for operation in operations.values():
                said = operation.get("description", "").split("\n\n")[0].replace("\n", " ")
                operation["summary"] = said.partition(". ")[0].rstrip(".")
        if guarded:
            found["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
            found["security"] = [{"token": []}]
        return found

    app.openapi = completed  # type: ignore[method-assign]
