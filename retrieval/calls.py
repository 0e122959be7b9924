"""Blocking work of a server, away from the loop that speaks its protocol."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
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
    of the process either.
    """

    def __init__(self, at_once: int = AT_ONCE, *, waiting: int | None = None) -> None:
        self._places = asyncio.Semaphore(at_once)
        self._most_waiting = waiting
        self._waiting = 0
        self._running = 0
        self._lock = threading.Lock()

    @property
    def waiting(self) -> int:
        return self._waiting

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
        if self._places.locked() and self._most_waiting is not None and self._waiting >= self._most_waiting:
            raise Overloaded("The server has too much to do now. Try again in a moment.")
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()

        def ended(settle: Callable[[], None]) -> None:
            self._places.release()
            if not done.done():  # nobody waits for what was cancelled
                settle()

        def thread() -> None:
            settle: Callable[[], None]
            try:
                result = work()
            except BaseException as error:
                failure = error
                settle = lambda: done.set_exception(failure)  # noqa: E731
            else:
                settle = lambda: done.set_result(result)  # noqa: E731
            with self._lock:
                self._running -= 1
            with contextlib.suppress(RuntimeError):  # the loop has ended, and everybody who waited
                loop.call_soon_threadsafe(ended, settle)

        try:
            async with asyncio.timeout(seconds):
                self._waiting += 1
                try:
                    await self._places.acquire()
                finally:
                    self._waiting -= 1
                with self._lock:
                    self._running += 1
                try:
                    threading.Thread(target=thread, name="tool", daemon=True).start()
                except BaseException:
                    with self._lock:
                        self._running -= 1
                    self._places.release()
                    raise
                return await done
        except TimeoutError:
            raise CallTimeout(
                f"This took longer than {seconds:g} seconds and was given up. Ask for less, or try again "
                "in a while: the first call of a model takes longest."
            ) from None
