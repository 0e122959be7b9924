"""Who may use a server of ours, and at which address it listens."""

from __future__ import annotations

import hmac
import ipaddress
import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING

from retrieval.errors import QueryError, RetrievalError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

LEAST_TOKEN = 16
"""Characters: what is shorter could be guessed."""
TOKEN_HELP = 'python -c "import secrets; print(secrets.token_urlsafe())"'
FOREIGN = ("cross-site", "same-site")


class AddressUnavailable(RetrievalError):
    """Nothing can be served at the address."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not let through."""

    status: int
    sentence: str
    headers: Mapping[str, str] = field(default_factory=dict)


class Guard:
    """Lets only those through who may use the library.

    A page in a browser can send requests to a server on the same machine: its `Origin` and
    `Sec-Fetch-Site` give it away, and its `Host` where it came through a name that was made
    to point here. With `token`, each request has to bring it as well, in `Authorization` or in
    the `cookie` of that name; `open_to_all` are paths that need none. `hosts` of None are any.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        hosts: frozenset[str] | None,
        token: str | None,
        refused: Callable[[Refusal], ASGIApp],
        cookie: str | None = None,
        open_to_all: frozenset[str] = frozenset(),
    ) -> None:
        self._app = app
        self._hosts = hosts
        self._token = None if token is None else token.encode("ascii")
        self._refused = refused
        self._cookie = cookie
        self._open = open_to_all

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            refusal = self._refusal(scope)
            if refusal is not None:
                await self._refused(refusal)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _refusal(self, scope: Scope) -> Refusal | None:
        def of(name: bytes) -> list[bytes]:
            return [value for key, value in scope["headers"] if key == name]

        hosts = [value.decode("latin-1").lower() for value in of(b"host")]
        if len(hosts) != 1 or (self._hosts is not None and hosts[0] not in self._hosts):
            return Refusal(421, "This server does not go by that name.")
        own = {f"{scheme}://{hosts[0]}" for scheme in ("http", "https")}
        foreign = any(value.decode("latin-1").lower() not in own for value in of(b"origin"))
        site = {value.decode("latin-1").lower() for value in of(b"sec-fetch-site")}
        # A link that leads here from another page is followed by the person, and shows that page nothing.
        followed = scope["method"] == "GET" and of(b"sec-fetch-mode") == [b"navigate"]
        if foreign or (not followed and not site.isdisjoint(FOREIGN)):
            return Refusal(403, "Pages of other sites may not use this server.")
        if self._token is None or scope["path"] in self._open or self._brought(of):
            return None
        return Refusal(
            401,
            "This server wants its token: Authorization: Bearer TOKEN",
            {"WWW-Authenticate": "Bearer"},
        )

    def _brought(self, of: Callable[[bytes], list[bytes]]) -> bool:
        assert self._token is not None
        given = of(b"authorization")
        if given:
            return len(given) == 1 and hmac.compare_digest(given[0], b"Bearer " + self._token)
        if self._cookie is None:
            return False
        try:
            cookies = SimpleCookie("; ".join(value.decode("latin-1") for value in of(b"cookie")))
        except CookieError:
            return False
        kept = cookies.get(self._cookie)
        return kept is not None and hmac.compare_digest(kept.value.encode("latin-1", "replace"), self._token)


def check_access(host: str, token: str | None, *, given_as: str) -> None:
    """Refuse an address that everybody could use, and a token that could be guessed.

    `given_as` is how a person hands over a token, for the sentence that asks for one.
    """
    if token is not None and (len(token) < LEAST_TOKEN or not token.isascii() or not token.isprintable()):
        raise QueryError(
            f"A token has at least {LEAST_TOKEN} characters, plain letters, digits and signs. "
            f"Make one: {TOKEN_HELP}"
        )
    if token is None and not is_loopback(host):
        raise QueryError(
            f"At {host} others could use your library too, so it takes a token there. "
            f"Make one, and give it as {given_as}: {TOKEN_HELP}"
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine can connect to the address."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def own_names(host: str, port: int) -> frozenset[str] | None:
    """What a `Host` may say to a server at a loopback address; None for any at another."""
    if not is_loopback(host):
        return None
    names = {"localhost", "127.0.0.1", "[::1]", in_url(host).lower()}
    return frozenset({f"{name}:{port}" for name in names} | (names if port == 80 else set()))


def in_url(host: str) -> str:
    """The host as it stands in an address."""
    plain = host.strip("[]")
    return f"[{plain}]" if ":" in plain else plain


def listening(host: str, port: int, *, command: str) -> socket.socket:
    """A socket that listens there; `command` is what a person gave, for the sentence that helps."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        opened = socket.socket(family, kind, protocol)
        try:
            if os.name == "posix":  # elsewhere it would let two servers share a port
                opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            opened.bind(address)
            opened.listen()
        except BaseException:
            opened.close()
            raise
    except OSError as error:
        raise AddressUnavailable(
            f"Nothing can be served at {host}, port {port}: {error.strerror or error}. "
            f"Choose another: {command} --port 0 takes a free one"
        ) from error
    return opened
