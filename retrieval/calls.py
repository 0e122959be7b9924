"""Blocking work of a server, away from the loop that speaks its protocol."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from retrieval.errors import RetrievalError

AT_ONCE = 4

T = TypeVar("T")


class CallTimeout(RetrievalError):
    """A call was given up because it took too long."""


class Overloaded(RetrievalError):
    """More calls wait than will be done in a bearable time; `seconds` is when to come again."""

    seconds = 2


class Calls:
    """Runs blocking work in threads, a few at a time.

    A caller that goes away stops waiting at once. A model at work cannot be stopped in the
    middle, so its thread goes on to its end and keeps its place until then: cancelling and
    asking again piles nothing up. The threads are daemons, so that they never hold up the end
    of the process either. Callers may be of several event loops, which may end meanwhile.
    """

    def __init__(self, at_once: int = AT_ONCE, *, waiting: int | None = None) -> None:
        self._free = at_once
        self._most_waiting = waiting
        self._queue: deque[_Turn] = deque()
        self._running = 0
        self._lock = threading.Lock()

    @property
    def waiting(self) -> int:
        return len(self._queue)

    @property
    def running(self) -> int:
        return self._running

    @property
    def busy(self) -> bool:
        """Whether work goes on, awaited or not."""
        return self._running > 0

    async def run(self, work: Callable[[], T], *, seconds: float) -> T:
        """What `work` returns or raises; `CallTimeout` after `seconds`, waiting for a place included.

        With as many waiting already as may, `Overloaded` at once.
        """
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()

        def settle(result: T | None, error: BaseException | None) -> None:
            if done.done():  # nobody waits for what was cancelled
                return
            if error is not None:
                done.set_exception(error)
            else:
                done.set_result(result)  # type: ignore[arg-type]

        def thread() -> None:
            result, failure = None, None
            try:
                result = work()
            except BaseException as error:
                failure = error
            self._leave()
            with contextlib.suppress(RuntimeError):  # the loop has ended, and everybody who waited
                loop.call_soon_threadsafe(settle, result, failure)

        try:
            async with asyncio.timeout(seconds):
                await self._enter()
                try:
                    threading.Thread(target=thread, name="tool", daemon=True).start()
                except BaseException:
                    self._leave()
                    raise
                return await done
        except TimeoutError:
            raise CallTimeout(
                f"This took longer than {seconds:g} seconds and was given up. Ask for less, or try again "
                "in a while: the first call of a model takes longest."
            ) from None

    async def _enter(self) -> None:
        """Wait for a place and take it."""
        with self._lock:
            if self._free:
                self._free -= 1
                self._running += 1
                return
            if self._most_waiting is not None and len(self._queue) >= self._most_waiting:
                raise Overloaded("The server has too much to do now. Try again in a moment.")
            loop = asyncio.get_running_loop()
            turn = _Turn(loop, loop.create_future())
            self._queue.append(turn)
        try:
            await turn.come
        except BaseException:
            with self._lock:
                waited = turn in self._queue
                if waited:
                    self._queue.remove(turn)
            if not waited:  # the place was given at the moment when nobody wanted it any more
                self._leave()
            raise

    def _leave(self) -> None:
        """Give the place to who waits longest, if anybody does."""
        with self._lock:
            self._running -= 1
            while self._queue:
                turn = self._queue.popleft()
                try:
                    turn.loop.call_soon_threadsafe(turn.take)
                except RuntimeError:  # its loop has ended
                    continue
                self._running += 1
                return
            self._free += 1


@dataclass(frozen=True, slots=True, eq=False)
class _Turn:
    """Somebody who waits for a place."""

    loop: asyncio.AbstractEventLoop
    come: asyncio.Future[None]

    def take(self) -> None:
        if not self.come.done():
            self.come.set_result(None)
