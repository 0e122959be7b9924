"""Calls beside each other that are waited for no longer than their time, whatever holds them up."""

from __future__ import annotations

import queue
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from typing import Self

T = TypeVar("T")
Tell = Callable[[str], None]
Call = Callable[[Tell, threading.Event], T]
"""Does the work; tells of text as it comes, and stops soon once the event is set."""


THREAD = "in-time"
"""The name of the threads that calls run in."""


@dataclass
class Came(Generic[T]):
    """What came of a call: its result, if it had one in time, and the text that it told of."""

    result: T | None = None
    told: str = ""


def in_time(
    calls: Sequence[Call[T]],
    *,
    workers: int,
    deadline: float,
    fatal: Callable[[T], bool],
    on_text: Tell | None = None,
) -> list[Came[T]]:
    """What comes of each call by `deadline` (of `time.monotonic`), or until one result is fatal.

    The calls run in threads of their own that nothing waits for: a name service, a socket or a server
    can hold one up for as long as it likes. What a call raises is raised here. `on_text` runs
    in the caller's thread.
    """
    inbox: queue.SimpleQueue[tuple[int, str | _Done[T] | Exception]] = queue.SimpleQueue()
    stop = threading.Event()
    todo = iter(range(len(calls)))
    turn = threading.Lock()

    def work() -> None:
        while not stop.is_set():
            with turn:
                at = next(todo, -1)
            if at < 0:
                return
            came: _Done[T] | Exception

            def tell(text: str, at: int = at) -> None:
                inbox.put((at, text))

            try:
                came = _Done(calls[at](tell, stop))
            except Exception as error:
                came = error
            inbox.put((at, came))

    for _ in range(min(workers, len(calls))):
        threading.Thread(target=work, name=THREAD, daemon=True).start()
    found: list[Came[T]] = [Came() for _ in calls]
    texts: list[list[str]] = [[] for _ in calls]
    missing = len(calls)
    try:
        while missing:
            try:
                at, came = inbox.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                break
            if isinstance(came, Exception):
                raise came
            if isinstance(came, str):
                texts[at].append(came)
                if on_text is not None:
                    on_text(came)
                continue
            found[at].result = came.result
            missing -= 1
            if fatal(came.result):
                break
    finally:
        stop.set()
    for one, parts in zip(found, texts, strict=True):
        one.told = "".join(parts)
    return found


class Silence:
    """Ends a connection on which nothing was heard for `seconds`, from when first something was.

    The HTTP library takes one limit for a whole answer, but an answer is silent for long only before it
    begins: a server may send its headers at once, and then read the picture for a minute.
    """

    def __init__(self, connection: socket.socket, seconds: float) -> None:
        self.over = False
        self._connection = connection
        self._seconds = seconds
        self._last = 0.0
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()

    def heard(self) -> None:
        self._last = time.monotonic()
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, name="silence", daemon=True)
            self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()

    def _watch(self) -> None:
        while (left := self._last + self._seconds - time.monotonic()) > 0:
            if self._ended.wait(left):
                return
        self.over = True
        # Whoever reads from it sees its end; where it is closed meanwhile there is nothing left to do.
        with suppress(OSError):
            socket.socket.shutdown(self._connection, socket.SHUT_RDWR)


@dataclass(frozen=True, slots=True)
class _Done(Generic[T]):
    result: T
