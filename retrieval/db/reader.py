"""The fast read path: plain SQL that SQLite's own driver or SQLAlchemy can run.

A cold query must not pay for importing SQLAlchemy (some 270 ms of CPU, measured), so everything it
reads goes through a `Reader`: statements in portable SQL with `:name` parameters, given
to `sqlite3` for a catalog folder and to SQLAlchemy for any other database.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from retrieval.config import Location
from retrieval.db.connecting import connect, state_of
from retrieval.errors import (
    CatalogBusy,
    CatalogError,
    CatalogNotFound,
    QueryError,
    SchemaOutdated,
    SchemaTooNew,
)

HEAD = "0003"
"""The schema revision this version reads and writes; a test holds it against the scripts."""
REVISIONS = ("0001", "0002", "0003")
"""Every revision this version knows, oldest first."""

Row = tuple[Any, ...]
CHUNK = 500
"""Values in one IN (...): well under the least parameter limit among databases."""


class Reader(Protocol):
    """Runs read-only statements; usable from one thread at a time."""

    @property
    def dialect(self) -> str:
        """The database's name, for the few things that not all of them can do."""
        ...

    def rows(self, sql: str, /, **parameters: Any) -> list[Row]: ...

    def stream(self, sql: str, /, **parameters: Any) -> Iterator[Row]:
        """Rows one by one, for results larger than one would hold at once."""
        ...

    def snapshot(self) -> contextlib.AbstractContextManager[None]:
        """All statements inside see the catalog as of one moment."""
        ...

    def moved_on(self) -> bool:
        """Whether others have written since it was opened, where it takes no locks and sees nothing of it."""
        ...

    def size(self) -> int:
        """Bytes the database takes on disk."""
        ...

    def check(self) -> list[str]:
        """What the database itself finds wrong with its pages; empty for a sound one."""
        ...

    def close(self) -> None: ...


def open_reader(location: Location) -> Reader:
    """Open a catalog for reading, having checked that it is one and of this schema."""
    reader: Reader
    if location.url is None:
        if not location.database.is_file():
            raise CatalogNotFound(not_found(location))
        reader = SqliteReader(location)
    else:
        from retrieval.db.sql_reader import SqlReader

        reader = SqlReader(location)
    try:
        check_schema(reader, location)
    except BaseException:
        reader.close()
        raise
    return reader


def holds_something(location: Location) -> bool:
    """Whether a database file with tables is at the place, ours or not."""
    if location.url is not None or not location.database.is_file():
        return False
    with translated(location), contextlib.closing(connect(location)[0]) as connection:
        return bool(connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0])


class NoTable(CatalogError):
    """A table that was asked for is not there."""


def not_found(location: Location) -> str:
    if location.folder.is_file():
        return f"{location.name} is a file, not a catalog folder. Name another with --catalog."
    return f"There is no catalog at {location.name}. Make one: search index PATH --catalog {location.name}"


def check_schema(reader: Reader, location: Location) -> None:
    """Refuse a database that is not ours, or not of this version's schema."""
    try:
        found = [row[0] for row in reader.rows("SELECT version_num FROM alembic_version")]
    except NoTable as error:
        raise CatalogNotFound(
            f"{location.name} holds no catalog of this program. Name another with --catalog, "
            "or index into this one: search index PATH --catalog " + location.name
            if not holds_something(location)
            else f"{location.database} is a database of another program. Name another with --catalog."
        ) from error
    revision = found[0] if found else None
    if revision == HEAD:
        return
    if revision is None or revision in REVISIONS:
        raise SchemaOutdated(
            f"The catalog at {location.name} was made by an older version. Upgrade it: search doctor --fix"
        )
    raise too_new(location, revision)


def too_new(location: Location, revision: str) -> SchemaTooNew:
    return SchemaTooNew(
        f"The catalog at {location.name} was made by a newer version (schema {revision}, this one knows "
        f"{HEAD}). Upgrade this program: pip install -U picture-search"
    )


class SqliteReader:
    """SQLite's own driver, read-only; works on read-only media too."""

    dialect = "sqlite"

    def __init__(self, location: Location) -> None:
        self._location = location
        with translated(location):
            self._connection, self._state = connect(location)

    def rows(self, sql: str, /, **parameters: Any) -> list[Row]:
        with translated(self._location):
            found = self._connection.execute(sql, parameters).fetchall()
        self._check_still()
        return found

    def stream(self, sql: str, /, **parameters: Any) -> Iterator[Row]:
        with translated(self._location):
            cursor = self._connection.execute(sql, parameters)
            while batch := cursor.fetchmany(4096):
                self._check_still()
                yield from batch

    def moved_on(self) -> bool:
        return self._state is not None and state_of(self._location.database) != self._state

    def _check_still(self) -> None:
        if self.moved_on():
            raise CatalogBusy(
                f"The catalog at {self._location.name} was written to by another process while it was read "
                "without locks, as on a read-only disk. Try again shortly."
            )

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[None]:
        if self._connection.in_transaction:
            yield
            return
        with translated(self._location):
            self._connection.execute("BEGIN")
        try:
            yield
        finally:
            self._connection.rollback()

    def size(self) -> int:
        database, size = self._location.database, 0
        for ending in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):  # the last one to close it removes the log
                size += os.stat(f"{database}{ending}").st_size
        return size

    def check(self) -> list[str]:
        return [str(row[0]) for row in self.rows("PRAGMA integrity_check(20)") if row[0] != "ok"]

    def close(self) -> None:
        self._connection.close()


@contextlib.contextmanager
def translated(location: Location) -> Iterator[None]:
    """Turn SQLite's errors into ours: the one place that does so for reading."""
    try:
        yield
    except sqlite3.OperationalError as error:
        text = str(error)
        if "no such table" in text:
            raise NoTable(
                f"The catalog at {location.name} lacks a part of it ({text}). "
                "See what can be mended: search doctor"
            ) from error
        if "locked" in text or "busy" in text:
            raise CatalogBusy(
                f"The catalog at {location.name} is being written by another process. Try again shortly."
            ) from error
        raise CatalogError(
            f"The catalog at {location.name} cannot be read: {text}. See what is wrong: search doctor"
        ) from error
    except OverflowError as error:
        # The driver refuses whole numbers of more than 64 bits before it asks the database.
        raise QueryError(
            f"A number of the question is beyond any id and any count: at most {2**63 - 1} is taken."
        ) from error
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        # What is damaged may be the very text that SQLite wants to complain with.
        raise CatalogError(
            f"The catalog at {location.name} is damaged: {error}. See what can be mended: search doctor"
        ) from error


def chunks(values: Sequence[Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """`values` in portions for `IN (...)`: placeholders and their parameters."""
    for start in range(0, len(values), CHUNK):
        part = values[start : start + CHUNK]
        yield ", ".join(f":p{i}" for i in range(len(part))), {f"p{i}": value for i, value in enumerate(part)}
