"""What is said to browsers with every answer, and how much of a request is read."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from retrieval.server.problems import Problem, crashed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; font-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
SAFE = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    # What the library holds is nobody else's: nothing between here and the browser keeps it.
    "Cache-Control": "private, no-store",
}
MAX_BODY = 84 << 20
"""Four pictures of 20 MB, and what goes with them."""
MAX_WORDS = 8 << 20
"""What is no upload of pictures: the longest text that a catalog takes, with its escapes."""
MAX_OPEN = 16 << 10
"""From whoever may come without a token: the form with it."""
MULTIPART = b"multipart/form-data"


MAX_SECONDS = 120.0
"""From the start of a request to the end of its body."""


class BodyTooLarge(Exception):
    """More came than a request may bring."""


class BodyTooSlow(Exception):
    """The end of a request did not come in its time."""


class _Enough(Exception):
    """All is said that a HEAD asks for."""


class Careful:
    """Adds the headers that keep a browser careful, ends requests that bring too much, and tells crashes.

    A HEAD is a GET whose body is not sent, and not even made where it would go on for long.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        max_body: int = MAX_BODY,
        max_words: int = MAX_WORDS,
        open_to_all: frozenset[str] = frozenset(),
    ) -> None:
        self._app = app
        self._open = open_to_all
        self._max_body = max_body
        self._max_words = max_words

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        kind = _header(scope, b"content-type")
        most = self._max_body if kind.lower().startswith(MULTIPART) else self._max_words
        if scope["path"] in self._open:
            most = MAX_OPEN
        exchange = _Exchange(receive, send, most=most, head=scope["method"] == "HEAD")
        length = _header(scope, b"content-length") or b"0"
        if not length.isdigit():
            await exchange.answer(scope, Problem(400, "The length of the request is no number."))
            return
        if len(length) > 18 or int(length) > most:
            exchange.too_large = True
            await exchange.cut_off(scope)
            return
        if exchange.head:
            scope["method"] = "GET"
        try:
            await self._app(scope, exchange.receive, exchange.send)
        except Exception as error:
            if exchange.finished:
                return
            if exchange.too_large or exchange.too_slow:
                await exchange.cut_off(scope)
                return
            # Not the path: it may name tags and concepts.
            told = crashed(getattr(scope.get("route"), "path", "An address of none"), error)
            if not exchange.started:
                await exchange.answer(scope, told)
            return
        if exchange.too_large or exchange.too_slow:
            await exchange.cut_off(scope)


class _Exchange:
    """One request and its answer on their way through."""

    def __init__(self, receive: Receive, send: Send, *, most: int, head: bool) -> None:
        self._receive = receive
        self._send = send
        self._most = most
        self._came = 0
        self._whole = False
        self._latest = asyncio.get_running_loop().time() + MAX_SECONDS
        self.head = head
        self.too_large = False
        self.too_slow = False
        self._cut_off = False
        self.started = False
        self.finished = False

    async def receive(self) -> Message:
        if self._whole:  # from here on it only waits for the client to go away
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._latest):
                message = await self._receive()
        except TimeoutError:
            self.too_slow = True
            raise BodyTooSlow from None
        if message["type"] == "http.request":
            self._whole = not message.get("more_body", False)
            self._came += len(message.get("body", b""))
            if self._came > self._most:
                self.too_large = True
                raise BodyTooLarge
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            if (self.too_large or self.too_slow) and not self._cut_off:
                raise BodyTooLarge  # whatever was made of the part that was read
            self.started = True
            message = {**message, "headers": _with_safe(message["headers"])}
        elif self.head and message["type"] == "http.response.body":
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})
            self.finished = True
            raise _Enough
        await self._send(message)

    async def cut_off(self, scope: Scope) -> None:
        """Say why a request is not read to its end, unless something else is said by now."""
        if self.started:
            return
        said = (
            Problem(413, f"Such a request brings at most {_size(self._most)}, this one more.")
            if self.too_large
            else Problem(408, f"The request did not come to its end within {MAX_SECONDS:g} seconds.")
        )
        said.headers["Connection"] = "close"  # the rest of it is not to be taken for another request
        self._cut_off = True
        await self.answer(scope, said)

    async def answer(self, scope: Scope, said: Problem) -> None:
        with contextlib.suppress(_Enough):
            await said(scope, self._receive, self.send)


def _size(count: int) -> str:
    return f"{count >> 20} MB" if count >= 1 << 20 else f"{count >> 10} kB"


def _with_safe(headers: Sequence[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    present = {name.lower() for name, _ in headers}
    more = ((name.lower().encode(), value.encode()) for name, value in SAFE.items())
    return [*headers, *((name, value) for name, value in more if name not in present)]


def _header(scope: Scope, wanted: bytes) -> bytes:
    return next((bytes(value) for name, value in scope["headers"] if name == wanted), b"")


def unchanged(asked: str | None, etag: str) -> bool:
    """Whether an `If-None-Match` names the tag; weak or not does not matter for it."""
    if asked is None:
        return False
    named = [one.strip().removeprefix("W/") for one in asked.split(",")]
    return "*" in named or etag.removeprefix("W/") in named
