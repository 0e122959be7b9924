"""Readers of one catalog for several threads: each reads one moment of the rows, beside the others."""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from retrieval.db.reader import open_reader
from retrieval.errors import CatalogError, CatalogNotFound

if TYPE_CHECKING:
    from retrieval.config import Location
    from retrieval.db.reader import Reader

MOST = 32
"""Readers at once; whoever comes then waits for one that is given back."""
IDLE = 8
"""Readers that are kept open for who comes next: each holds two descriptors and 2 MB at most."""

_numbers = itertools.count(1)


@dataclass(slots=True, eq=False)
class Moment:
    """What one thread sees of the catalog, from its first look until it is done."""

    reader: Reader
    source: int
    """Which opening of the catalog's file it is of: another one may have taken its place."""
    number: int | None
    """The same for those who see the same rows, and never for others; None where that cannot be told."""
    kept: dict[str, Any] = field(default_factory=dict)
    """What was made of this moment, for who asks again inside it."""


class Readers:
    """Lends readers of a catalog. Safe to use from several threads, which do not wait for each other.

    Follows a catalog that takes the place of the one that was opened. One that was taken away
    can still be read, by as many at once as have readers by then.
    """

    def __init__(self, location: Location) -> None:
        self._location = location
        self._change = threading.Condition()
        self._closed = False
        self._here = threading.local()
        self._source = _Source(location, self._change)

    @property
    def held(self) -> Moment | None:
        """The moment that this thread is in."""
        found: Moment | None = self._here.__dict__.get("moment")
        return found

    @property
    def closed(self) -> bool:
        return self._closed

    @contextlib.contextmanager
    def moment(self) -> Iterator[Moment]:
        """One moment of the rows; inside of one, the same."""
        mine = self._here.__dict__  # of this thread: a generator may be ended by another than began it
        held: Moment | None = mine.get("moment")
        if held is not None:
            yield held
            return
        source, reader = self._taken()
        try:
            with contextlib.ExitStack() as stack:
                held = Moment(reader, source.number, source.begun(reader, stack))
                mine["moment"] = held
                try:
                    yield held
                finally:
                    del mine["moment"]
        finally:
            source.give(reader, over=partial(self._over, source))

    def close(self) -> None:
        """No more is lent. Who is reading reads to the end; what they have is closed as it comes back."""
        with self._change:
            self._closed = True
            self._change.notify_all()
        self._source.close()

    def _taken(self) -> tuple[_Source, Reader]:
        while True:
            source = self._followed()
            reader = source.take(partial(self._over, source))
            if reader is not None:
                return source, reader

    def _over(self, source: _Source) -> bool:
        return self._closed or source is not self._source

    def _followed(self) -> _Source:
        """Go over to the catalog that has taken the place of the one that was opened, if one has."""
        while True:
            if self._closed:
                raise CatalogError(f"The catalog at {self._location.name} was closed. Open it again.")
            source = self._source
            found = _file(self._location)
            if found is None or (found == source.file and not source.moved_on()):
                return source
            opened = _Source(self._location, self._change)
            with self._change:
                used = not self._closed and self._source is source
                if used:
                    self._source = opened
                    self._change.notify_all()
            (source if used else opened).close()


class _Source:
    """One file, or one database behind a URL, and the readers of it."""

    def __init__(self, location: Location, change: threading.Condition) -> None:
        self.number = next(_numbers)
        self._location = location
        self._change = change
        self._opened = 1
        self._seen: dict[Reader, tuple[int, int]] = {}
        self._watch: Reader | None = None
        self._ended = False
        self._watching = threading.Lock()
        while True:
            self.file = _file(location)
            reader = open_reader(location)
            if _file(location) in (self.file, None):
                break
            reader.close()  # another one has come meanwhile
        self._idle = [reader]
        self.moved_on = reader.moved_on
        """Whether what is read without locks has changed, which then counts as another file."""

    def take(self, over: Callable[[], bool]) -> Reader | None:
        """A reader that nobody else has until it is given back; None once it is `over` with this file."""
        gone = False
        while True:
            with self._change:
                self._change.wait_for(lambda: self._idle or over() or (self._opened < MOST and not gone))  # noqa: B023
                if over():
                    return None
                if self._idle:
                    return self._idle.pop()
                self._opened += 1
            reader = None
            try:
                reader = self._another()
            finally:
                if reader is None:
                    self._left()
            if reader is not None:
                return reader
            if _file(self._location) is not None:
                return None  # there is another file in its place
            gone = True

    def give(self, reader: Reader, *, over: Callable[[], bool]) -> None:
        with self._change:
            kept = not over() and len(self._idle) < IDLE
            if kept:
                self._idle.append(reader)
                self._change.notify()
        if not kept:
            self._seen.pop(reader, None)
            reader.close()
            self._left()

    def begun(self, reader: Reader, stack: contextlib.ExitStack) -> int | None:
        """Begin a snapshot, which lasts as long as the stack; the number of what is seen in it.

        SQLite counts the changes that a connection has met, each connection by itself. One that
        only watches tells which of their counts are of the same rows: where it met no change
        while a snapshot began, that snapshot is of what it sees.
        """
        stack.enter_context(reader.snapshot())
        if reader.dialect != "sqlite":
            return None
        version = _version(reader)
        known = self._seen.get(reader)
        if known is not None and known[0] == version:
            return known[1]
        with self._watching:
            watch = self._watched()
            if watch is None and self._opened == 1 and not self._ended:
                # Nobody else has ever read, and whoever comes will count by the one that watches.
                number: int | None = self._numbered(1, version)
            else:
                before = None if watch is None else _version(watch)
                stack.close()
                stack.enter_context(reader.snapshot())
                version = _version(reader)
                same = watch is not None and before == _version(watch)
                number = self._numbered(2, before) if same and before is not None else None
            if number is None:
                return self._numbered(3, next(_numbers))
            self._seen[reader] = version, number
            return number

    def close(self) -> None:
        """Close what nobody reads with; the rest is closed as it is given back."""
        with self._change:
            idle, self._idle = self._idle, []
            self._opened -= len(idle)
        with self._watching:
            self._ended = True
            watch, self._watch = self._watch, None
        for reader in (*idle, *([] if watch is None else [watch])):
            reader.close()

    def _numbered(self, kind: int, number: int) -> int:
        return (self.number << 2 | kind) << 40 | number

    def _watched(self) -> Reader | None:
        """The one that only watches, from when there is more than one reader."""
        if self._watch is None and self._opened > 1 and not self._ended:
            self._watch = self._another()
            self._seen.clear()
        return self._watch

    def _another(self) -> Reader | None:
        """One more reader of this very file; None where it has gone from its place."""
        try:
            reader = open_reader(self._location)
        except CatalogNotFound:
            if _file(self._location) == self.file:
                raise
            return None
        if _file(self._location) == self.file:
            return reader
        reader.close()
        return None

    def _left(self) -> None:
        with self._change:
            self._opened -= 1
            self._change.notify_all()


def _version(reader: Reader) -> int:
    return int(reader.rows("PRAGMA data_version")[0][0])


def _file(location: Location) -> tuple[int, int] | None:
    """Which file the database is by now; None where there is none, or where it is no file."""
    if location.url is not None:
        return None
    try:
        found = os.stat(location.database)
    except OSError:
        return None
    return found.st_dev, found.st_ino
