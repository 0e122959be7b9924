"""Who may use a server of ours, and at which address it listens."""

from __future__ import annotations

import hmac
import ipaddress
import math
import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from retrieval.errors import QueryError, RetrievalError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

LEAST_BITS = 128
"""Of a token: what can be had with fewer could be guessed."""
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
    to point here. With `token`, each request has to bring it as well, in `Authorization`, or
    what `kept_token` makes of it in the `cookie` of that name; `open_to_all` are paths that
    need none. `hosts` are the names that the server goes by, with their ports. Of None, any
    will do with a token; without one only those of this machine, and only from this machine.
    `refused` makes the answer to whoever is not let through.
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
        self._token = token
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
        if len(hosts) != 1 or not self._goes_by(hosts[0], scope):
            return Refusal(421, "This server does not go by that name.")
        own = {f"{scheme}://{hosts[0]}" for scheme in ("http", "https")}
        foreign = any(value.decode("latin-1").lower() not in own for value in of(b"origin"))
        site = {value.decode("latin-1").lower() for value in of(b"sec-fetch-site")}
        # A link that leads here from another page is followed by the person, and shows that page nothing.
        followed = (
            scope["method"] in ("GET", "HEAD")
            and of(b"sec-fetch-mode") == [b"navigate"]
            and set(of(b"sec-fetch-dest")) <= {b"document"}
        )
        if foreign or (not followed and not site.isdisjoint(FOREIGN)):
            return Refusal(403, "Pages of other sites may not use this server.")
        if self._token is None:
            return _from_afar(scope)
        if scope["path"] in self._open or brought(scope, self._token, self._cookie):
            return None
        return Refusal(
            401,
            "This server wants its token: Authorization: Bearer TOKEN",
            {"WWW-Authenticate": "Bearer"},
        )

    def _goes_by(self, host: str, scope: Scope) -> bool:
        if self._hosts is not None:
            return host in self._hosts
        if self._token is not None:
            return True
        name = without_port(host)
        if name == "localhost" or is_loopback(name):
            return True
        # Whoever calls the app inside its own process names it freely: what listens at an
        # address has that address here, and no page of a browser can make it say a name.
        listens = (scope.get("server") or ("", None))[0]
        return name == listens.lower() and not _is_address(name)


def _from_afar(scope: Scope) -> Refusal | None:
    """Without a token this machine alone is served, whatever address somebody made the app listen at."""
    peer = (scope.get("client") or ("", None))[0]
    if _is_address(peer) and not is_loopback(peer):
        return Refusal(403, "Without a token this server is for its own machine alone.")
    return None


def without_port(host: str) -> str:
    """The name in a `Host`."""
    name, _, port = host.rpartition(":")
    return name if port.isdigit() and name else host


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def brought(scope: Scope, token: str, cookie: str | None) -> bool:
    """Whether a request brings the token; a wrong header is not made good by a cookie."""
    given = [value for key, value in scope["headers"] if key == b"authorization"]
    if given:
        scheme, _, value = given[0].partition(b" ")
        return len(given) == 1 and scheme.lower() == b"bearer" and same(value, token)
    if cookie is None:
        return False
    return any(
        same(value, kept_token(token))
        for key, header in scope["headers"]
        if key == b"cookie"
        for name, _, value in (part.strip().partition(b"=") for part in header.split(b";"))
        if name == cookie.encode("ascii")
    )


def kept_token(token: str) -> str:
    """What a browser keeps in place of the token, which cannot be had from it."""
    return hmac.new(token.encode("utf-8"), b"kept by a browser", "sha256").hexdigest()


def same(given: bytes, wanted: str) -> bool:
    """Whether the two are equal, in a time that does not tell how far they are."""
    return hmac.compare_digest(given, wanted.encode("utf-8"))


def check_access(host: str, token: str | None, *, given_as: str) -> None:
    """Refuse an address that everybody could use, and a token that could be guessed.

    `given_as` is how a person hands over a token, for the sentence that asks for one.
    """
    if token is not None and (
        most_bits(token) < LEAST_BITS or not token.isascii() or not token.isprintable()
    ):
        raise QueryError(
            f"A token has at least {LEAST_BITS} bits: 22 characters of letters, digits and signs, or 32 of "
            f"hexadecimal digits, drawn by chance. Make one: {TOKEN_HELP}"
        )
    if token is None and not is_loopback(host):
        raise QueryError(
            f"At {host} others could use your library too, so it takes a token there. "
            f"Make one, and give it as {given_as}: {TOKEN_HELP}"
        )


def most_bits(token: str) -> float:
    """How many bits a token can have, had it been drawn by chance from the kinds of characters in it."""
    if set(token.lower()) <= set("0123456789abcdef"):
        kinds = 10 if token.isdigit() else 16
    elif not (token.islower() or token.isupper()):
        kinds = 64  # of both cases: the rest of its kinds may be missing by chance
    else:
        kinds = sum(
            count
            for count, found in (
                (10, any(character.isdigit() for character in token)),
                (26, any(character.isalpha() for character in token)),
                (2, any(not character.isalnum() for character in token)),
            )
            if found
        )
    return len(token) * math.log2(kinds)


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
