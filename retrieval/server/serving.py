"""Running the server: where it listens, how others find it, and how it ends."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterator
from types import FrameType

import uvicorn

import retrieval
from retrieval.access import check_access, in_url, is_loopback, listening, own_names
from retrieval.running import Running, announce, answering, withdraw
from retrieval.server.app import assembled
from retrieval.server.settings import Settings

LAST_SECONDS = 10
"""How long the end waits for what is being done."""
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}
"""Addresses that mean all of a machine, and where it reaches itself."""


class _Server(uvicorn.Server):
    """Tells the streams that the end has come: what runs is finished, what would go on for ever is not."""

    def __init__(self, config: uvicorn.Config, settings: Settings) -> None:
        super().__init__(config)
        self._settings = settings

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._settings.ending.set()
        super().handle_exit(sig, frame)


def serve(settings: Settings, *, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Serve until a signal ends it; the signal is raised again once all is closed."""
    check_access(host, settings.token, given_as="$SEARCH_TOKEN")
    opened = listening(host, port, command="search serve")
    bound = opened.getsockname()[1]
    settings.hosts = own_names(host, bound)
    running = _Server(
        uvicorn.Config(
            assembled(settings),
            http="h11",  # the one that bounds the headers of a request
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            ws="none",
            timeout_graceful_shutdown=LAST_SECONDS,
        ),
        settings,
    )

    def matters(_: logging.LogRecord) -> bool:
        # Streams that are still open at the end are cut off, as they are meant to be.
        return not running.should_exit

    log = logging.getLogger("uvicorn.error")
    log.addFilter(matters)
    try:
        with _found_by_others(settings, host, bound):
            ready(f"http://{in_url(host)}:{bound}/")
            running.run(sockets=[opened])
    finally:
        log.removeFilter(matters)
        opened.close()


@contextlib.contextmanager
def _found_by_others(settings: Settings, host: str, port: int) -> Iterator[None]:
    """Leave word for this user's own commands while the server runs, where that can be left."""
    local = EVERYWHERE.get(host.strip("[]"), host)
    location = settings.catalog.location
    said = Running(
        url=f"http://{in_url(local)}:{port}",
        pid=os.getpid(),
        version=retrieval.__version__,
        key=settings.key,
        token=settings.token,
        answering=answering(settings.answerer),
    )
    left = False
    if is_loopback(local) and not settings.catalog.readonly:
        try:
            announce(location, said)
            left = True
        except OSError as error:
            logging.getLogger(__name__).info("Commands will not find this server: %s", error)
    try:
        yield
    finally:
        if left:
            with contextlib.suppress(OSError):
                withdraw(location, said)
