"""Server-sent events: what blocking work tells while it goes on, and what changes in the meantime."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import TYPE_CHECKING, Any

from fastapi.sse import KEEPALIVE_COMMENT, EventSourceResponse, format_sse_event

from retrieval.errors import RetrievalError
from retrieval.server.problems import crashed, problem_of

if TYPE_CHECKING:
    from retrieval.server.settings import Settings

MOST = 256
"""Events that wait for a reader; the work waits from then on."""
SECONDS = 15.0
"""Of silence, after which a comment shows that somebody is still there."""
FIRST = 2.0
"""Seconds to wait for a first event before an answer begins: what fails by then fails as a request."""
LOOK = 0.2
"""Seconds between two looks at what changes."""
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


class Gone(Exception):
    """Nobody listens any more: the work may stop."""


class Told:
    """What a thread tells a stream, a bounded number of events at a time."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._come = asyncio.Event()
        self._waiting: deque[bytes] = deque()
        self._room = threading.Condition()
        self._closed = False

    def tell(self, event: str, data: Any) -> None:
        """Called by the thread; raises `Gone` where nobody reads any more."""
        line = formed(event, data)
        with self._room:
            while len(self._waiting) >= MOST and not self._closed:
                self._room.wait()
            if self._closed:
                raise Gone
            self._waiting.append(line)
        try:
            self._loop.call_soon_threadsafe(self._come.set)
        except RuntimeError:
            raise Gone from None

    def taken(self) -> list[bytes]:
        with self._room:
            self._come.clear()
            lines = list(self._waiting)
            self._waiting.clear()
            self._room.notify_all()
        return lines

    def close(self) -> None:
        with self._room:
            self._closed = True
            self._room.notify_all()

    async def wait(self, seconds: float) -> bool:
        """Whether something came within that time."""
        try:
            await asyncio.wait_for(self._come.wait(), seconds)
        except TimeoutError:
            return False
        return True

    def wake(self) -> None:
        self._come.set()


async def streamed(
    work: Callable[[Told], Coroutine[Any, Any, Any]], last: str, *, path: str
) -> EventSourceResponse:
    """The events of `work` as they come, then its result as the event `last`, or a `problem`.

    What fails before anything is told fails as any request does. A client that goes away
    makes the next event of the work raise `Gone` there.
    """
    told = Told()
    task = asyncio.ensure_future(work(told))
    task.add_done_callback(lambda _: told.wake())
    try:
        await told.wait(FIRST)
    except BaseException:
        told.close()
        task.cancel()
        raise
    if task.done() and isinstance(task.exception(), RetrievalError):
        told.close()
        task.result()
    return EventSourceResponse(_lines(told, task, last, path), headers=HEADERS)


async def _lines(told: Told, task: asyncio.Future[Any], last: str, path: str) -> AsyncIterator[bytes]:
    try:
        while not task.done():
            if not await told.wait(SECONDS):
                yield KEEPALIVE_COMMENT
            for line in told.taken():
                yield line
        for line in told.taken():
            yield line
        error = task.exception()
        if error is None:
            yield formed(last, task.result())
        elif isinstance(error, RetrievalError):
            yield b"event: problem\ndata: " + bytes(problem_of(error).body) + b"\n\n"
        elif isinstance(error, Exception):
            yield b"event: problem\ndata: " + bytes(crashed(path, error).body) + b"\n\n"
    finally:
        told.close()
        task.cancel()


def watched(
    settings: Settings, look: Callable[[], tuple[Any, bool]], names: tuple[str, str]
) -> AsyncIterator[bytes]:
    """What `look` sees, each time that it is another, until it says that this was the last.

    `names` are those of the events: while it goes on, and at the end.
    """

    async def lines() -> AsyncIterator[bytes]:
        before, silent = None, 0.0
        while not settings.ending.is_set():
            seen, over = look()
            if over:
                yield formed(names[1], seen)
                return
            if seen != before:
                before, silent = seen, 0.0
                yield formed(names[0], seen)
            elif silent >= SECONDS:
                silent = 0.0
                yield KEEPALIVE_COMMENT
            await asyncio.sleep(LOOK)
            silent += LOOK

    return lines()


def formed(event: str, data: Any) -> bytes:
    text = json.dumps(data, ensure_ascii=True, separators=(",", ":"))
    return format_sse_event(data_str=text, event=event)
