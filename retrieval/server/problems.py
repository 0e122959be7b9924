"""What goes wrong, as problem details (RFC 9457): a status, a sentence, and what helps."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from retrieval import errors
from retrieval.access import Refusal
from retrieval.calls import CallTimeout, Overloaded
from retrieval.journal import Log
from retrieval.pictures import NoSuchPicture, PictureGone
from retrieval.state import CatalogEmpty

if TYPE_CHECKING:
    from fastapi import FastAPI, Request
    from starlette.types import ASGIApp


class NotHere(errors.QueryError):
    """There is nothing by that name."""


class WritesRefused(errors.RetrievalError):
    """The server was started for reading only."""


class JobRunning(errors.RetrievalError):
    """A second run of indexing cannot begin while one is at work."""


MEDIA = "application/problem+json"
AGAIN = 5
"""Seconds after which to try again where the catalog is busy."""
REFUSED_AFTER = 0.25
"""Seconds that a refusal for want of time is held back: who asks again at once, and others with them, would
take the time of those who were let in."""
SHOWN = 8
"""Of wrong parameters so many are told."""
_STATUS: tuple[tuple[type[errors.RetrievalError], int], ...] = (
    (NoSuchPicture, 404),
    (NotHere, 404),
    (PictureGone, 404),
    (JobRunning, 409),
    (WritesRefused, 403),
    (CatalogEmpty, 409),
    (Overloaded, 503),
    (CallTimeout, 504),
    (errors.CatalogBusy, 503),
    (errors.CatalogUnwritable, 507),
    (errors.EncoderMismatch, 409),
    (errors.CatalogError, 503),
    (errors.UnknownModel, 422),
    (errors.MissingDependency, 501),
    (errors.ModelError, 503),
    (errors.QueryError, 422),
    (errors.ImageTooLarge, 413),
    (errors.ImageError, 422),
    (errors.RetrievalError, 500),
)
log = Log(__name__)


class Problem(JSONResponse):
    """A failure as its one JSON object."""

    media_type = MEDIA

    def render(self, content: Any) -> bytes:
        # Names that were sent may hold what is no text.
        return json.dumps(content, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")

    def __init__(
        self, status: int, detail: str, *, headers: Mapping[str, str] | None = None, **more: Any
    ) -> None:
        title = HTTPStatus(status).phrase
        content = {"type": "about:blank", "title": title, "status": status, "detail": detail, **more}
        super().__init__(content, status, dict(headers or {}))


def problem_of(error: errors.RetrievalError) -> Problem:
    """What an error of the library is over HTTP."""
    status = next(status for kind, status in _STATUS if isinstance(error, kind))
    headers: dict[str, str] = {}
    if isinstance(error, Overloaded):
        headers["Retry-After"] = str(error.seconds)
    elif status in (503, 504):
        headers["Retry-After"] = str(AGAIN)
    more: dict[str, Any] = {"kind": _kind(error)}
    detail = str(error)
    if isinstance(error, errors.QueryError) and error.query is not None:
        # The caret is for terminals; a page marks the place by itself.
        detail, more["query"], more["at"] = str(error.args[0]), error.query, error.at
    if isinstance(error, errors.ImageError):
        more["reason"] = error.reason
    return Problem(status, detail, headers=headers, **more)


def _kind(error: errors.RetrievalError) -> str:
    """The nearest of the library's own errors, for clients that know them."""
    return next(one.__name__ for one in type(error).__mro__ if one.__module__ == errors.__name__)


def refused(refusal: Refusal) -> ASGIApp:
    return Problem(refusal.status, refusal.sentence, headers=refusal.headers)


def crashed(path: str, error: Exception) -> Problem:
    """The answer to a fault of this program.

    Not the error's own words, here and in the log: they might hold what nobody should read.
    """
    log.failure(error, "request failed unexpectedly", route=path)
    return Problem(
        500, "This failed for a reason that is no fault of the request. The server's log says where."
    )


def tell_problems(app: FastAPI) -> None:
    """Make every failure of an app a problem of the same shape."""

    async def ours(_: Request, error: Exception) -> Problem:
        assert isinstance(error, errors.RetrievalError)
        if isinstance(error, Overloaded):
            await asyncio.sleep(REFUSED_AFTER)
        return problem_of(error)

    async def wrong(_: Request, error: Exception) -> Problem:
        assert isinstance(error, RequestValidationError)
        found = [
            {"where": ".".join(str(part) for part in one["loc"]), "what": one["msg"]}
            for one in error.errors()
        ]
        told = "; ".join(f"{one['where']}: {one['what']}" for one in found[:SHOWN])
        return Problem(
            422, f"The request cannot be understood. {told}.", kind="QueryError", errors=found[:SHOWN]
        )

    async def http(_: Request, error: Exception) -> Problem:
        assert isinstance(error, HTTPException)
        detail = str(error.detail)
        if error.status_code == 404 and detail == HTTPStatus.NOT_FOUND.phrase:
            detail = "There is nothing at this address."
        elif error.status_code == 405:
            detail = "This address takes other methods only."
        elif error.status_code == 400 and not detail.endswith("."):
            detail = f"The request cannot be read. {detail}."
        return Problem(error.status_code, detail, headers=error.headers)

    app.add_exception_handler(errors.RetrievalError, ours)
    app.add_exception_handler(RequestValidationError, wrong)
    app.add_exception_handler(HTTPException, http)
