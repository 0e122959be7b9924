"""How the program ends before its time: by a signal, or because nobody reads what it writes.

The first SIGINT, SIGTERM or SIGHUP raises KeyboardInterrupt in the main thread, so that what is
half done is put away; a command that can stop in order (`StopSignals`) takes it instead. The
second ends the program at once. So does a thread of its own `GRACE_SECONDS` after the first:
Python runs no handler while the main thread is inside a library's code, and a batch of a large
model, or a file that is being checked, may keep it there for minutes.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterator

GRACE_SECONDS = 4.0
SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
OUT, ERR = 1, 2


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Meanwhile an interrupt ends the program as it ends one that is not Python's: without a word."""
    ours = threading.current_thread() is threading.main_thread()
    if not (ours and signal.getsignal(signal.SIGINT) is signal.default_int_handler):
        yield
        return
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


class Ending:
    """Of one run of the program; `begin` is called once, by the main thread."""

    def __init__(self) -> None:
        self.signal: int | None = None
        """The signal that interrupted the command."""
        self._over = False

    def begin(self) -> None:
        _fill_closed()
        if threading.current_thread() is not threading.main_thread():
            return
        handled = False
        for number in SIGNALS:
            # What `nohup` or a shell has us ignore stays ignored.
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._interrupt)
                handled = True
        if handled and os.name == "posix":
            reading, writing = os.pipe()
            os.set_blocking(writing, False)
            signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
            threading.Thread(target=_insist, args=(reading,), name="signals", daemon=True).start()

    def interrupted(self) -> int:
        """Say that the command was interrupted; the exit code that goes with it."""
        with contextlib.suppress(OSError, ValueError):  # the terminal may be gone
            sys.stderr.write("Interrupted.\n")
            sys.stderr.flush()
        return 128 + (self.signal or signal.SIGINT)

    def leave(self, code: object, *, at_once: bool) -> NoReturn:
        """End the program as the interpreter does; `at_once`, without taking all it holds apart first.

        That costs a tenth of a query, and the system takes it all back anyway. Where something is left
        to do besides what was registered for the end, the usual way is gone; not after a signal, though.
        """
        self._over = True
        if self.signal is not None:
            code = 128 + self.signal
        stopped = code in (128 + number for number in SIGNALS)
        unwritten = flushed()
        if unwritten is not None and code in (None, 0):
            code = 1
            _say(f"Error: The output cannot be written: {unwritten}\n")
        if stopped or (at_once and (code is None or isinstance(code, int)) and not _others()):
            atexit._run_exitfuncs()
            flushed()
            os._exit(code if isinstance(code, int) else 0)
        raise SystemExit(code)

    def _interrupt(self, number: int, _frame: object) -> None:
        if self._over or self.signal is not None:
            at_once(number)
        self.signal = number
        # An interrupt that meets a finaliser or a thread's end is not worth a traceback.
        sys.unraisablehook = _nothing
        threading.excepthook = _nothing
        raise KeyboardInterrupt


def at_once(number: int) -> NoReturn:
    """End now: what is committed is safe, and processes that work for this one end with it."""
    try:
        if os.isatty(ERR):
            os.write(ERR, b"\x1b[?25h\n")  # a bar had hidden the cursor
    except OSError:
        pass  # the terminal is gone
    os._exit(128 + number)


def unread() -> bool:
    """Whether nobody reads what is written any more; what is still in the buffers is then thrown away."""
    import select

    found = False
    for stream in (sys.stdout, sys.stderr):
        try:
            watched = select.poll()
            watched.register(stream.fileno(), 0)
            if not any(what & (select.POLLERR | select.POLLHUP) for _, what in watched.poll(0)):
                continue
        except (OSError, ValueError, AttributeError):
            continue  # no stream of the system's, or a system that cannot tell
        _to_nowhere(stream)
        found = True
    return found


def flushed() -> str | None:
    """Write out what is still in the buffers; where standard output cannot be written, why.

    What is left is thrown away then. A reader who has gone is no failure.
    """
    why = None
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            _to_nowhere(stream)
        except OSError as error:
            _to_nowhere(stream)
            if stream is sys.stdout:
                why = error.strerror or str(error)
        except ValueError:
            continue  # closed
    return why


def _insist(reading: int) -> None:
    """End the program when it does not end by itself after a signal, and at the second signal."""
    import select

    first: int | None = None
    while True:
        if first is not None and not select.select([reading], [], [], GRACE_SECONDS)[0]:
            _say("Interrupted.\n")
            at_once(first)
        for number in os.read(reading, 64):
            if number in SIGNALS:
                if first is not None:
                    at_once(number)
                first = number


def _fill_closed() -> None:
    """Streams that were closed lead nowhere, so that no file of ours gets the number of one of them."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(opened, True)
    if sys.stdout is None:
        sys.stdout = os.fdopen(OUT, "w", encoding="utf-8", errors="replace", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(ERR, "w", encoding="utf-8", errors="replace", closefd=False)


def _to_nowhere(stream: Any) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def _say(text: str) -> None:
    try:
        os.write(ERR, text.encode())
    except OSError:
        return  # nobody is there to be told


def _others() -> bool:
    mine = threading.main_thread()
    return any(one is not mine and not one.daemon for one in threading.enumerate())


def _nothing(_: object) -> None:
    return
