"""What happened, for whoever wants to know: events with fields, through the standard `logging`.

Nothing is set up here, and `logging` is not even imported: where nobody did, nobody listens, and
a cold query does not pay for it. `retrieval.journal.keeping` is what writes lines, where a
person asks for them.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from logging import Logger
    from types import TracebackType

DEBUG: Final = 10
INFO: Final = 20
WARNING: Final = 30
ERROR: Final = 40
FACES: Final = ("retrieval", "indexer", "cli")
"""The loggers above all of ours."""
HIDDEN: Final = "***"
MOST: Final = 2000
"""Characters of one field."""
MOST_FRAMES: Final = 40

_secrets: set[str] = set()
_PASSWORD = re.compile(r"(?<=://)[^/@\s]*(?=@)")
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{6,}")
_NAMED = re.compile(
    r"(?i)\b((?:[\w-]*(?:token|key|password|passwd|secret))[\"']?\s*[=:]\s*[\"']?)[^\s\"'&,;]+"
)


class Log:
    """Where a module tells what happened: one event, and what it was about in fields.

    The event is a constant phrase; whatever varies is a field. A path in a field is one of a
    person's pictures or folders, and is written as a short digest unless debugging is on;
    our own files are given as text. No query, text, answer or secret is ever a field.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def debug(self, event: str, /, **fields: Any) -> None:
        self._tell(DEBUG, event, fields)

    def info(self, event: str, /, **fields: Any) -> None:
        self._tell(INFO, event, fields)

    def warning(self, event: str, /, **fields: Any) -> None:
        self._tell(WARNING, event, fields)

    def error(self, event: str, /, **fields: Any) -> None:
        self._tell(ERROR, event, fields)

    def exception(self, event: str, /, **fields: Any) -> None:
        """An error by its kind and the places it came through; for use where it is handled.

        Not in its own words: they may be those of whoever asked.
        """
        self._tell(ERROR, event, fields, sys.exception())

    def failure(self, error: BaseException, event: str, /, **fields: Any) -> None:
        """The same for an error at hand."""
        self._tell(ERROR, event, fields, error)

    def _tell(
        self, level: int, event: str, fields: Mapping[str, Any], error: BaseException | None = None
    ) -> None:
        logging = sys.modules.get("logging")
        if logging is None or not hasattr(logging, "NullHandler"):
            return
        logger: Logger = logging.getLogger(self._name)
        if not logger.isEnabledFor(level):
            return
        top = logging.getLogger(self._name.partition(".")[0])
        if not top.handlers:  # else the standard library would print warnings that nobody asked for
            top.addHandler(logging.NullHandler())
        full = logger.isEnabledFor(DEBUG)
        told = {name: plain(value, full=full) for name, value in fields.items()}
        if error is not None:
            told.setdefault("error", type(error).__name__)
            told["trace"] = trace(error)
        logger.log(level, Said(event, told), stacklevel=3)


class Said:
    """The message of a record: an event and its fields, ready to be written."""

    __slots__ = ("event", "fields")

    def __init__(self, event: str, fields: dict[str, Any]) -> None:
        self.event = event
        self.fields = fields

    def __str__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self.fields.items() if name != "trace")
        lines = [f"{self.event} ({shown})" if shown else self.event]
        lines += [f"  at {place}" for place in self.fields.get("trace", ())]
        return "\n".join(map(printable, lines))


def conceal(secret: str | None) -> None:
    """Never write this text, wherever it turns up."""
    if secret and len(secret) >= 6:
        _secrets.add(secret)


def scrubbed(text: str) -> str:
    """The text without what was concealed, and without what looks like a password or a key."""
    for secret in _secrets:
        text = text.replace(secret, HIDDEN)
    text = _PASSWORD.sub(HIDDEN, text)
    text = _BEARER.sub(rf"\1 {HIDDEN}", text)
    text = _NAMED.sub(rf"\g<1>{HIDDEN}", text)
    return text if len(text) <= MOST else text[: MOST - 1] + "…"


def printable(text: str) -> str:
    """The text as one line: whatever has no shape is written as an escape."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in text
    )


def plain(value: Any, *, full: bool) -> Any:
    """A field as JSON can say it; paths and the words of errors only where all is told (`full`)."""
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, str):
        return scrubbed(value)
    if isinstance(value, PurePath):
        if full:
            return scrubbed(str(value))
        from retrieval.config import digest

        return f"path:{digest(str(value))}"
    if isinstance(value, BaseException):
        name = type(value).__name__
        return scrubbed(f"{name}: {value}") if full and str(value) else name
    if isinstance(value, Mapping):
        return {str(name): plain(one, full=full) for name, one in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(one, full=full) for one in value]
    return type(value).__name__


def trace(error: BaseException) -> list[str]:
    """The places an error came through, its causes first; no line of code and no value."""
    chain: list[BaseException] = []
    one: BaseException | None = error
    while one is not None and one not in chain:
        chain.append(one)
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)
    places: list[str] = []
    for link in reversed(chain):
        places += [*_frames(link.__traceback__), f"raised {type(link).__name__}"]
    return places[-MOST_FRAMES:]


def _frames(walked: TracebackType | None) -> list[str]:
    found = []
    while walked is not None:
        code = walked.tb_frame.f_code
        found.append(f"{_short(code.co_filename)}:{walked.tb_lineno} {code.co_name}")
        walked = walked.tb_next
    return found


def _short(file: str) -> str:
    """A source file without the folders it is installed in, which may name a person."""
    for root in sorted(sys.path, key=len, reverse=True):
        if root and file.startswith(root.rstrip("/\\") + "/"):
            return file[len(root.rstrip("/\\")) + 1 :]
    return file.replace("\\", "/").rpartition("/")[2]
