"""Ending a run in order when a signal asks for it."""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import Any

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


class StopSignals:
    """Lets a run end in order at the first SIGINT, SIGTERM or SIGHUP, and at once at the second."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self._event = threading.Event()
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                # What `nohup` or a shell has us ignore stays ignored.
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._stop)
        return self

    def __exit__(self, *_: object) -> None:
        # Once asked to stop, the rest of the way to the exit can be cut short as well.
        for number, handler in self._before.items() if self.signal is None else ():
            signal.signal(number, handler)

    def is_set(self) -> bool:
        return self._event.is_set()

    def _stop(self, number: int, _frame: object) -> None:
        if self._event.is_set():
            # At once, as asked: what is committed is safe, and loading processes end with this one.
            if sys.stderr is not None and sys.stderr.isatty():
                os.write(sys.stderr.fileno(), b"\x1b[?25h\n")  # the bar had hidden the cursor
            os._exit(128 + number)
        self.signal = number
        self._event.set()
