"""Writing the journal: JSON lines in a file that cannot grow without end, lines for people on stderr."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import stat
import sys
import time
from pathlib import Path
from typing import Any, ClassVar, TextIO

from retrieval.errors import RetrievalError
from retrieval.journal import DEBUG, FACES, INFO, WARNING, Said, conceal, plain, printable, scrubbed, trace

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows
    fcntl = None  # type: ignore[assignment]

MOST_BYTES = 4 << 20
KEPT = 4
"""Older files beside the one that is written: FILE.1 is the newest of them."""
FIRST = b'{"time": "'
"""What every log begins with: another file is somebody's own, and is not written to."""
_SECRET_NAME = re.compile(r"TOKEN|KEY|PASSWORD|PASSWD|SECRET|CREDENTIAL")
_PLAIN_VALUE = re.compile(r"(?i)\d{1,9}|true|false|yes|no|on|off")


class LogUnwritable(RetrievalError):
    """Nothing can be written to the log that was asked for."""


class Keeping:
    """Where the journal goes now. At most one at a time; `stop` takes it down again."""

    now: ClassVar[Keeping | None] = None
    """The one of this process, where there is one."""

    def __init__(self, file: Path | None, *, verbose: bool, errors: TextIO | None) -> None:
        self.file = file
        self.verbose = verbose
        self._levels: list[tuple[logging.Logger, int]] = []
        self._handlers: list[logging.Handler] = []
        for name, value in os.environ.items():
            if _SECRET_NAME.search(name.upper()) and not _PLAIN_VALUE.fullmatch(value):
                conceal(value)
        if file is not None:
            self._handlers.append(SharedFile(file))
        if verbose and errors is not None:
            self._handlers.append(Lines(errors))

    def start(self) -> None:
        for name in FACES:
            logger = logging.getLogger(name)
            self._levels.append((logger, logger.level))
            logger.setLevel(DEBUG if self.verbose else INFO)
        for handler in self._handlers:
            logging.getLogger().addHandler(handler)
        Keeping.now = self

    def stop(self) -> None:
        Keeping.now = None
        for handler in self._handlers:
            logging.getLogger().removeHandler(handler)
            handler.close()
        for logger, level in self._levels:
            logger.setLevel(level)


def terms() -> dict[str, Any] | None:
    """What another process needs to keep the same log; None where none is kept."""
    if Keeping.now is None:
        return None
    file = Keeping.now.file
    return {"file": file and os.path.abspath(file.expanduser()), "verbose": Keeping.now.verbose}


def keep_by(given: dict[str, Any] | None) -> None:
    """Keep the log that another process has told of, until this one ends."""
    if given is not None:
        file = Path(given["file"]) if given["file"] else None
        Keeping(file, verbose=bool(given["verbose"]), errors=sys.stderr).start()


def show_warnings(errors: TextIO | None) -> None:
    """For what runs long and is watched: warnings and worse on stderr, where nothing shows them yet."""
    root = logging.getLogger()
    if errors is not None and not any(isinstance(handler, Lines) for handler in root.handlers):
        handler = Lines(errors)
        handler.setLevel(WARNING)
        root.addHandler(handler)


def line(record: logging.LogRecord) -> str:
    """A record as one JSON object in ASCII, whatever names say."""
    told: dict[str, Any] = {
        "time": _utc(record.created),
        "level": record.levelname.lower(),
        "logger": record.name,
        "pid": record.process,
    }
    if isinstance(record.msg, Said):
        told |= {"event": record.msg.event, "fields": record.msg.fields}
    else:
        # Another package's words may hold anything: a path, an address, what was asked.
        full = logging.getLogger(FACES[0]).isEnabledFor(DEBUG)
        fields: dict[str, Any] = {"message": scrubbed(record.getMessage())} if full else {}
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            fields |= {"error": plain(error, full=full), "trace": trace(error)}
        told |= {"event": "another package has something to say", "fields": fields}
    return json.dumps(told, ensure_ascii=True, allow_nan=True)


class SharedFile(logging.Handler):
    """Appends to a file that several processes may write at once, each line whole.

    Whoever writes holds the file's lock. Whoever finds it full renames it and begins a new one;
    the others see that their file is no longer the one of that name, and open it again.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = Path(os.path.abspath(path.expanduser()))
        self._file = -1  # closed at the end of the program also where it could not be opened
        self._file = self._opened()
        self._failed = False

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._append(line(record).encode("ascii") + b"\n")
        except (OSError, LogUnwritable) as error:
            if not self._failed and sys.stderr is not None:
                self._failed = True  # said once: a full disk must not end what is being done
                said = str(error) if isinstance(error, LogUnwritable) else _cannot(self._path, error)
                with contextlib.suppress(OSError):
                    sys.stderr.write(f"{said}\n")

    def close(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self._file)
        self._file = -1
        super().close()

    def _append(self, data: bytes) -> None:
        self._lock_current()
        try:
            size = os.fstat(self._file).st_size
            if size and size + len(data) > MOST_BYTES:
                self._rotate()
            while data:
                data = data[os.write(self._file, data) :]
        finally:
            _unlock(self._file)

    def _lock_current(self) -> None:
        while True:
            _lock(self._file)
            try:
                named = os.stat(self._path)
            except FileNotFoundError:
                named = None
            if named is not None and os.path.samestat(named, os.fstat(self._file)):
                return
            self._reopen()

    def _rotate(self) -> None:
        """Called with the lock of the full file; ends with the lock of the new one."""
        for number in range(KEPT - 1, 0, -1):
            with contextlib.suppress(FileNotFoundError):
                os.replace(self._numbered(number), self._numbered(number + 1))
        try:
            os.replace(self._path, self._numbered(1))
        except PermissionError:  # pragma: no cover - Windows does not rename what is open elsewhere
            return
        self._reopen()
        self._lock_current()

    def _reopen(self) -> None:
        opened = self._opened()
        os.close(self._file)  # gives up its lock
        self._file = opened

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")

    def _opened(self) -> int:
        # Not blocking: a pipe of that name would wait for a reader.
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_NONBLOCK", 0)
        try:
            opened = os.open(self._path, flags, 0o600)
        except OSError as error:
            raise LogUnwritable(_cannot(self._path, error)) from error
        if not stat.S_ISREG(os.fstat(opened).st_mode):
            os.close(opened)
            shown = printable(str(self._path))
            raise LogUnwritable(f"{shown} is no file that a log could be kept in. Name another.")
        begun = os.read(opened, len(FIRST))
        if begun and begun != FIRST:
            os.close(opened)
            shown = printable(str(self._path))
            raise LogUnwritable(f"{shown} is there and is no log. It is left as it is; name another.")
        return opened


class Lines(logging.Handler):
    """Lines for people, with nothing in them that a terminal would act on."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream
        self._clear = "\r\x1b[K" if stream.isatty() else ""

    def emit(self, record: logging.LogRecord) -> None:
        if isinstance(record.msg, Said):
            said = str(record.msg)
        else:
            said = printable(scrubbed(record.getMessage()))
            if record.exc_info and record.exc_info[1] is not None:
                said = "\n".join([said, *(f"  at {printable(place)}" for place in trace(record.exc_info[1]))])
        shown = time.strftime("%H:%M:%S", time.localtime(record.created))
        try:
            self._stream.write(f"{self._clear}{shown} {record.levelname.lower()} {record.name}: {said}\n")
            self._stream.flush()
        except UnicodeEncodeError:
            self._stream.write(f"{shown} {said.encode('ascii', 'backslashreplace').decode('ascii')}\n")
        except (OSError, ValueError):  # nobody reads any more
            return


def _utc(moment: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment)) + f".{int(moment % 1 * 1000):03d}Z"


def _cannot(path: Path, error: OSError) -> str:
    return f"The log {printable(str(path))} cannot be written: {error.strerror or type(error).__name__}."


def _lock(file: int) -> None:
    if fcntl is not None:
        fcntl.flock(file, fcntl.LOCK_EX)


def _unlock(file: int) -> None:
    if fcntl is not None:
        fcntl.flock(file, fcntl.LOCK_UN)
