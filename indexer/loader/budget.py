"""The memory that all loading processes share."""

from __future__ import annotations

import threading
from collections import deque


class ClosedError(Exception):
    """The budget was closed while somebody waited for a share of it."""


class Budget:
    """Bytes handed out in the order they were asked for.

    Whoever waits holds nothing meanwhile, and nobody overtakes: no deadlock between large
    pictures, and no large picture that waits for ever behind small ones.
    """

    def __init__(self, total: int) -> None:
        self._free = total
        self._changed = threading.Condition()
        self._waiting: deque[object] = deque()
        self._closed = False

    def acquire(self, count: int) -> None:
        """Wait for `count` bytes, which must be at most the whole budget."""
        ticket = object()
        with self._changed:
            self._waiting.append(ticket)
            try:
                self._changed.wait_for(lambda: self._closed or self._is_next(ticket, count))
                if self._closed:
                    raise ClosedError
                self._free -= count
            finally:
                self._waiting.remove(ticket)
                self._changed.notify_all()

    def _is_next(self, ticket: object, count: int) -> bool:
        return self._waiting[0] is ticket and count <= self._free

    def try_acquire(self, count: int) -> bool:
        """Take `count` bytes if they are free and nobody waits."""
        with self._changed:
            if self._waiting or count > self._free:
                return False
            self._free -= count
            return True

    def release(self, count: int) -> None:
        with self._changed:
            self._free += count
            self._changed.notify_all()

    def close(self) -> None:
        """Turn away everybody who waits, now and later."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
