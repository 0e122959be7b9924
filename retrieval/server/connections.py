"""What is sent that is no request: answered in the one form of every failure, and not waited for."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from functools import cache

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from retrieval.server.headers import SAFE
from retrieval.server.problems import AGAIN, Problem

IDLE_SECONDS = 20.0
"""How long a connection may be open without the whole head of a request."""
TOO_LONG = 431
MOST_CONNECTIONS = 512
"""Open at once; each costs a descriptor, and pictures and the catalog need some too."""


@cache
def most_connections() -> int:
    """No more than half of what the system lets a process open: some allow 256 descriptors in all."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if allowed > 0:
            return min(MOST_CONNECTIONS, allowed // 2)
    return MOST_CONNECTIONS


class Connection(H11Protocol):
    """One connection, which is closed where no request comes over it in a while.

    By itself uvicorn waits for ever for the first request, and for one of which a byte comes now and then.
    """

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > most_connections():
            self._refuse(
                Problem(
                    503,
                    "More connections are open than the server can hold. Try again in a moment.",
                    headers={"Retry-After": str(AGAIN)},
                )
            )
            return
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._late is not None:
            self._late.cancel()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._wait()

    def _wait(self) -> None:
        if self._late is not None:
            self._late.cancel()
        self._late = self.loop.call_later(IDLE_SECONDS, self._give_up)

    def _give_up(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002
        """Called with the error of h11 at hand; what is answered already is only broken off."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            long = getattr(sys.exception(), "error_status_hint", 400) == TOO_LONG
            self._refuse(
                Problem(TOO_LONG, "The address or the headers of this request are too long.")
                if long
                else Problem(400, "This is no request in HTTP that could be understood.")
            )
        self.transport.close()

    def _refuse(self, said: Problem) -> None:
        """Answer what never reaches the app, and end the connection."""
        told = {**SAFE, **said.headers, "Connection": "close", "Content-Length": str(len(said.body))}
        headers = [(name.lower().encode(), value.encode()) for name, value in told.items()]
        response = h11.Response(status_code=said.status_code, headers=headers)
        for event in (response, h11.Data(data=bytes(said.body)), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()
