"""The parts of the server, put together."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles

import retrieval
from retrieval.access import Guard
from retrieval.server import problems
from retrieval.server.headers import Careful
from retrieval.server.problems import refused, tell_problems
from retrieval.server.routes import ROUTERS, health, page
from retrieval.server.settings import Speakers
from retrieval.server.shapes import ProblemDetails

if TYPE_CHECKING:
    from retrieval.server.settings import Settings

PREFIX = "/api/v1"
COOKIE = "search_token"
PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": ProblemDetails, "description": said, "content": {problems.MEDIA: {}}}
    for status, said in (
        ("4XX", "The request cannot be answered as it is."),
        ("5XX", "The server cannot answer it now."),
    )
}


def assembled(settings: Settings) -> FastAPI:
    """The app over an open catalog; see `retrieval.server.create_app`."""
    app = FastAPI(
        title="Picture search",
        summary="A library of pictures, searched by words, by pictures and by questions.",
        version=retrieval.__version__,
        openapi_url=f"{PREFIX}/openapi.json",
        # Their pages load scripts from elsewhere, and nothing here does.
        docs_url=None,
        redoc_url=None,
        responses=PROBLEMS,
    )
    app.state.settings = settings
    app.state.speakers = Speakers(settings)
    for router in ROUTERS:
        app.include_router(router, prefix=PREFIX)
    app.include_router(health.router)
    app.include_router(page.router)
    app.mount("/static", StaticFiles(directory=Path(str(files("retrieval.server") / "static"))), "static")
    tell_problems(app)
    app.add_middleware(
        Guard,
        hosts=settings.hosts,
        token=settings.token,
        refused=refused,
        cookie=COOKIE,
        open_to_all=frozenset({"/healthz", "/login"}),
    )
    app.add_middleware(Careful)
    return app
