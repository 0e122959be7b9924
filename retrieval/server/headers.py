"""What is said to browsers with every answer, and how much of a request is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retrieval.server.problems import Problem, crashed

if TYPE_CHECKING:
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
}
MAX_BODY = 84 << 20
"""Four pictures of 20 MB, and what goes with them."""


class BodyTooLarge(Exception):
    """More came than a request may bring."""


class Careful:
    """Adds the headers that keep a browser careful, ends requests that bring too much, and tells crashes."""

    def __init__(self, app: ASGIApp, *, max_body: int = MAX_BODY) -> None:
        self._app = app
        self._max_body = max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        came, started = 0, False

        async def counted() -> Message:
            nonlocal came
            message = await receive()
            if message["type"] == "http.request":
                came += len(message.get("body", b""))
                if came > self._max_body:
                    raise BodyTooLarge
            return message

        async def guarded(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                present = {name.lower() for name, _ in message["headers"]}
                message["headers"] = [
                    *message["headers"],
                    *(
                        (name.lower().encode(), value.encode())
                        for name, value in SAFE.items()
                        if name.lower().encode() not in present
                    ),
                ]
            await send(message)

        length = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        too_much = Problem(413, f"A request brings at most {self._max_body >> 20} MB.")
        if not length.isdigit() or int(length) > self._max_body:
            await too_much(scope, receive, guarded)
            return
        try:
            await self._app(scope, counted, guarded)
        except BodyTooLarge:
            if not started:
                await too_much(scope, receive, guarded)
        except Exception as error:
            told = crashed(scope["path"], error)
            if not started:
                await told(scope, receive, guarded)
