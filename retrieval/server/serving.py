"""Running the server: where it listens, how others find it, and how it ends."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from types import FrameType

import uvicorn

import retrieval
from retrieval.access import TOKEN_HELP, check_access, in_url, is_loopback, listening, own_names
from retrieval.errors import QueryError
from retrieval.journal import Log
from retrieval.running import Running, announce, answering, withdraw
from retrieval.server.app import assembled
from retrieval.server.connections import Connection
from retrieval.server.settings import Settings

_log = Log(__name__)
LAST_SECONDS = 2
"""How long the end waits for what is being done."""
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}
"""Addresses that mean all of a machine, and where it reaches itself."""


class _Server(uvicorn.Server):
    """Tells the streams that the end has come: what runs is finished, what would go on for ever is not."""

    def __init__(self, config: uvicorn.Config, settings: Settings, word: contextlib.ExitStack) -> None:
        super().__init__(config)
        self._settings = settings
        self._word = word

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._settings.ending.set()
        super().handle_exit(sig, frame)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Also that of a terminal that is closed."""
        number = getattr(signal, "SIGHUP", None)
        with super().capture_signals():
            if number is None or threading.current_thread() is not threading.main_thread():
                yield
                return
            before = signal.getsignal(number)
            if before is not signal.SIG_IGN:
                signal.signal(number, self.handle_exit)
            try:
                yield
            finally:
                signal.signal(number, before)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # Not later: nobody new is let in from here on, and the signal that is raised again may end it all.
        self._word.close()
        await super().shutdown(sockets)


def serve(
    settings: Settings, *, host: str, port: int, ready: Callable[[str], None], names: Sequence[str] = ()
) -> None:
    """Serve until a signal ends it; the signal is raised again once all is closed.

    With `names`, the server goes by these and by those of its own machine, and by no other.
    """
    check_access(host, settings.token, given_as="$SEARCH_TOKEN")
    if names and settings.token is None:
        raise QueryError(
            "Whoever comes through a proxy seems to be on this machine, so a name of its own takes a token. "
            f"Make one, and give it as $SEARCH_TOKEN: {TOKEN_HELP}"
        )
    opened = listening(host, port, command="search serve")
    bound = opened.getsockname()[1]
    settings.hosts = own_names("127.0.0.1" if names else host, bound)
    if settings.hosts is not None:
        settings.hosts |= {name.lower() for name in names}
    word = contextlib.ExitStack()
    running = _Server(
        uvicorn.Config(
            assembled(settings),
            http=Connection,  # of h11, which bounds the headers of a request
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            ws="none",
            timeout_graceful_shutdown=LAST_SECONDS,
        ),
        settings,
        word,
    )

    def matters(_: logging.LogRecord) -> bool:
        # Streams that are still open at the end are cut off, as they are meant to be.
        return not running.should_exit

    log = logging.getLogger("uvicorn.error")
    log.addFilter(matters)
    try:
        with word:
            word.enter_context(_found_by_others(settings, host, bound))
            _log.info("server started", host=host, port=bound, token=settings.token is not None)
            ready(f"http://{in_url(host)}:{bound}/")
            running.run(sockets=[opened])
    finally:
        log.removeFilter(matters)
        opened.close()
        _log.info("server stopped", port=bound)


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
            _log.info("commands will not find this server", error=error)
    try:
        yield
    finally:
        if left:
            with contextlib.suppress(OSError):
                withdraw(location, said)
