"""Serving over streamable HTTP: who may connect, and from where."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

import uvicorn
from mcp.server.transport_security import TransportSecuritySettings
from starlette.responses import PlainTextResponse

from retrieval.access import Guard, Refusal, check_access, in_url, listening, own_names

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from retrieval.mcp.server import LibraryServer

PATH = "/mcp"
MAX_BODY = 1 << 20
LAST_SECONDS = 2
"""How long the end waits for those who are still connected."""


def _refused(refusal: Refusal) -> ASGIApp:
    return PlainTextResponse(f"{refusal.sentence}\n", refusal.status, dict(refusal.headers))


def serve_http(
    server: LibraryServer, *, host: str, port: int, token: str | None, ready: Callable[[str], None]
) -> None:
    """Serve until a signal ends it; the signal is raised again once all is closed."""
    check_access(host, token, given_as="$SEARCH_MCP_TOKEN")
    opened = listening(host, port, command="search mcp --http")
    bound = opened.getsockname()[1]
    inner = server.streamable_http_app(
        streamable_http_path=PATH,
        max_request_body_size=MAX_BODY,
        # The guard is stricter, and the one place where this is decided.
        transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
    )
    app = Guard(inner, hosts=own_names(host, bound), token=token, refused=_refused)
    settings = uvicorn.Config(
        app,
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="none",
        timeout_graceful_shutdown=LAST_SECONDS,
    )
    running = uvicorn.Server(settings)

    def matters(_: logging.LogRecord) -> bool:
        # Streams that are still open at the end are cut off, as they are meant to be.
        return not running.should_exit

    log = logging.getLogger("uvicorn.error")
    log.addFilter(matters)
    try:
        ready(f"http://{in_url(host)}:{bound}{PATH}")
        running.run(sockets=[opened])
    finally:
        log.removeFilter(matters)
