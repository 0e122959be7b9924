"""Running the server: where it listens, and how it ends."""

from __future__ import annotations

import logging
from collections.abc import Callable

import uvicorn

from retrieval.access import check_access, in_url, listening, own_names
from retrieval.server.app import assembled
from retrieval.server.settings import Settings

LAST_SECONDS = 5
"""How long the end waits for what is being done."""


def serve(settings: Settings, *, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Serve until a signal ends it; the signal is raised again once all is closed."""
    check_access(host, settings.token, given_as="$SEARCH_TOKEN")
    opened = listening(host, port, command="search serve")
    bound = opened.getsockname()[1]
    settings.hosts = own_names(host, bound)
    running = uvicorn.Server(
        uvicorn.Config(
            assembled(settings),
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            ws="none",
            timeout_graceful_shutdown=LAST_SECONDS,
        )
    )

    def matters(_: logging.LogRecord) -> bool:
        # Streams that are still open at the end are cut off, as they are meant to be.
        return not running.should_exit

    log = logging.getLogger("uvicorn.error")
    log.addFilter(matters)
    try:
        ready(f"http://{in_url(host)}:{bound}/")
        running.run(sockets=[opened])
    finally:
        log.removeFilter(matters)
