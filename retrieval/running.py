"""The local server of a catalog: how it says that it runs, and how others find it."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from retrieval import config
from retrieval.config import Location

FILE = "server.json"
MOST_BYTES = 64 << 10


@dataclass(frozen=True, slots=True)
class Running:
    """Where a server of a catalog answers, and what it takes to be answered."""

    url: str
    pid: int
    version: str
    key: str
    """Shared by the server and those who may read the file: the server proves with it who it is."""
    token: str | None = None
    answering: str = ""
    """What answers questions there: see `answering`."""
    catalog: str = field(default="", compare=False)
    """Which catalog that is: word that was moved or copied with a folder is of another one."""


def announce(location: Location, running: Running) -> None:
    """Leave word in the catalog's cache, for nobody but this user."""
    place, running = _place(location), replace(running, catalog=os.path.realpath(location.folder))
    place.parent.mkdir(parents=True, exist_ok=True)
    part = place.with_name(f".{FILE}.{os.getpid()}")
    part.unlink(missing_ok=True)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:
        json.dump(asdict(running), file)
    part.replace(place)


def withdraw(location: Location, running: Running) -> None:
    """Take the word back, unless another server has left its own by now."""
    if _read(location) == running:
        _place(location).unlink(missing_ok=True)


def find(location: Location, *, version: str) -> Running | None:
    """The server of a catalog, where this user has left word of one of this version that seems to live."""
    found = _read(location)
    if found is None or found.version != version or found.catalog != os.path.realpath(location.folder):
        return None
    return found if _lives(found.pid) else None


def answering(answerer: str | None) -> str:
    """What decides who answers questions: those for whom it is the same get the same answers."""
    names = ("SEARCH_ENDPOINT", "SEARCH_ENDPOINT_MODEL", "SEARCH_ENDPOINT_KEY")
    said = [answerer or "", *(os.environ.get(name, "") for name in names)]
    return config.digest("\0".join(said))


def _place(location: Location) -> Path:
    return location.cache / FILE


def _read(location: Location) -> Running | None:
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        with open(_place(location), "rb", opener=lambda path, _: os.open(path, flags)) as file:
            status = os.fstat(file.fileno())
            # What somebody else could have written sends questions to wherever they like.
            own = os.name != "posix" or (status.st_uid == os.geteuid() and not status.st_mode & 0o077)
            if not own or not stat.S_ISREG(status.st_mode) or status.st_size > MOST_BYTES:
                return None
            found = Running(**json.loads(file.read()))
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    texts = (found.url, found.version, found.key, found.answering, found.catalog, found.token or "")
    sound = type(found.pid) is int and 0 < found.pid < 1 << 31 and all(isinstance(one, str) for one in texts)
    return found if sound and found.key else None


def _lives(pid: int) -> bool:
    if os.name != "posix":
        return True  # there a signal 0 is no question
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return False  # somebody else's: the number was given away again
    return True
