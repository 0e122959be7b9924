"""The read path for databases other than SQLite files."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError, OperationalError, ProgrammingError

from retrieval.config import Location
from retrieval.db.engine import open_engine
from retrieval.db.reader import NoTable, Row
from retrieval.errors import CatalogError


class SqlReader:
    """The same statements, run by SQLAlchemy; each `rows` call is a transaction unless in a snapshot."""

    def __init__(self, location: Location) -> None:
        self._location = location
        self._engine = open_engine(location)
        self._held: Connection | None = None

    @property
    def dialect(self) -> str:
        return self._engine.dialect.name

    def rows(self, sql: str, /, **parameters: Any) -> list[Row]:
        with self._connection() as connection:
            return [tuple(row) for row in connection.execute(text(sql), parameters)]

    def stream(self, sql: str, /, **parameters: Any) -> Iterator[Row]:
        with self._connection() as connection:
            streaming = connection.execution_options(yield_per=4096)
            for row in streaming.execute(text(sql), parameters):
                yield tuple(row)

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[None]:
        if self._held is not None:
            yield
            return
        with self._translated(), self._engine.connect() as connection:
            self._held = connection.execution_options(isolation_level="REPEATABLE READ")
            try:
                yield
            finally:
                self._held = None

    def moved_on(self) -> bool:
        """Never: a server tells all that is committed."""
        return False

    def size(self) -> int:
        if self._engine.dialect.name == "postgresql":
            return int(self.rows("SELECT pg_database_size(current_database())")[0][0])
        return 0

    def check(self) -> list[str]:
        """A database server looks after its own pages; only SQLite has to be asked."""
        return []

    def close(self) -> None:
        self._engine.dispose()

    @contextlib.contextmanager
    def _connection(self) -> Iterator[Connection]:
        with self._translated():
            if self._held is not None:
                yield self._held
                return
            with self._engine.connect() as connection:
                yield connection

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except ProgrammingError as error:
            if type(error.orig).__name__ == "UndefinedTable":
                raise NoTable(str(error.orig)) from error
            raise CatalogError(
                f"The catalog at {self._location.name} cannot be read: {error.orig}"
            ) from error
        except OperationalError as error:
            raise CatalogError(
                f"The catalog at {self._location.name} cannot be reached: {error.orig}"
            ) from error
        except DBAPIError as error:
            raise CatalogError(
                f"The catalog at {self._location.name} cannot be read: {error.orig}"
            ) from error
