"""Serving over streamable HTTP: who may connect, and from where."""

from __future__ import annotations

import hmac
import ipaddress
import logging
import os
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

import uvicorn
from mcp.server.transport_security import TransportSecuritySettings
from starlette.responses import PlainTextResponse

from retrieval.errors import QueryError, RetrievalError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from retrieval.mcp.server import LibraryServer

PATH = "/mcp"
MAX_BODY = 1 << 20
LEAST_TOKEN = 16
"""Characters: what is shorter could be guessed."""
LAST_SECONDS = 2
"""How long the end waits for those who are still connected."""
TOKEN_HELP = 'python -c "import secrets; print(secrets.token_urlsafe())"'


class HttpUnavailable(RetrievalError):
    """Nothing can be served at the address."""


class Guard:
    """Lets only those through who may use the library.

    A page in a browser can send requests to a server on the same machine: its `Origin` gives
    it away, and its `Host` where it came through a name that was made to point here. With
    `token`, each request has to bring it as well. `hosts` of None are any.
    """

    def __init__(self, app: ASGIApp, *, hosts: frozenset[str] | None, token: str | None) -> None:
        self._app = app
        self._hosts = hosts
        self._token = None if token is None else f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            refusal = self._refusal(scope)
            if refusal is not None:
                await refusal(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _refusal(self, scope: Scope) -> PlainTextResponse | None:
        def of(name: bytes) -> list[bytes]:
            return [value for key, value in scope["headers"] if key == name]

        hosts = [value.decode("latin-1").lower() for value in of(b"host")]
        if len(hosts) != 1 or (self._hosts is not None and hosts[0] not in self._hosts):
            return PlainTextResponse("This server does not go by that name.\n", 421)
        own = {f"{scheme}://{hosts[0]}" for scheme in ("http", "https")}
        if any(value.decode("latin-1").lower() not in own for value in of(b"origin")):
            return PlainTextResponse("Pages of other sites may not use this server.\n", 403)
        if self._token is not None:
            given = of(b"authorization")
            if len(given) != 1 or not hmac.compare_digest(given[0], self._token):
                return PlainTextResponse(
                    "This server wants its token: Authorization: Bearer TOKEN\n",
                    401,
                    {"WWW-Authenticate": "Bearer"},
                )
        return None


def serve_http(
    server: LibraryServer, *, host: str, port: int, token: str | None, ready: Callable[[str], None]
) -> None:
    """Serve until a signal ends it; the signal is raised again once all is closed."""
    check_access(host, token)
    listening = _listening(host, port)
    bound = listening.getsockname()[1]
    inner = server.streamable_http_app(
        streamable_http_path=PATH,
        max_request_body_size=MAX_BODY,
        # The guard is stricter, and the one place where this is decided.
        transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
    )
    app = Guard(inner, hosts=_own_names(host, bound) if is_loopback(host) else None, token=token)
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
        ready(f"http://{_in_url(host)}:{bound}{PATH}")
        running.run(sockets=[listening])
    finally:
        log.removeFilter(matters)


def check_access(host: str, token: str | None) -> None:
    """Refuse an address that everybody could use, and a token that could be guessed."""
    if token is not None and (len(token) < LEAST_TOKEN or not token.isascii() or not token.isprintable()):
        raise QueryError(
            f"A token has at least {LEAST_TOKEN} characters, plain letters, digits and signs. "
            f"Make one: {TOKEN_HELP}"
        )
    if token is None and not is_loopback(host):
        raise QueryError(
            f"At {host} others could use your library too, so it takes a token there. "
            f"Make one, and give it as $SEARCH_MCP_TOKEN: {TOKEN_HELP}"
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine can connect to the address."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _own_names(host: str, port: int) -> frozenset[str]:
    names = {"localhost", "127.0.0.1", "[::1]", _in_url(host).lower()}
    return frozenset({f"{name}:{port}" for name in names} | (names if port == 80 else set()))


def _in_url(host: str) -> str:
    plain = host.strip("[]")
    return f"[{plain}]" if ":" in plain else plain


def _listening(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, protocol)
        try:
            if os.name == "posix":  # elsewhere it would let two servers share a port
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen()
        except BaseException:
            listening.close()
            raise
    except OSError as error:
        raise HttpUnavailable(
            f"Nothing can be served at {host}, port {port}: {error.strerror or error}. "
            "Choose another: search mcp --http --port 0 takes a free one"
        ) from error
    return listening
