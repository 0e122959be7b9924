"""Whether anybody has written to a catalog, for who has planned a change before taking the lock."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from retrieval.db.connecting import connect
from retrieval.db.reader import open_reader, translated
from retrieval.errors import CatalogNotFound, SchemaOutdated

if TYPE_CHECKING:
    from types import TracebackType

    from retrieval.config import Location
    from retrieval.db.reader import Reader, Row


class Onlooker:
    """Looks at a catalog from when it is made until it is closed; what is not there yet counts as empty."""

    def __init__(self, location: Location) -> None:
        self._location = location
        self._connection = None
        if location.url is None and location.database.is_file():
            with translated(location):
                self._connection = connect(location)[0]
        self._before = self._figures()

    def __enter__(self) -> Onlooker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._connection is not None:
            self._connection.close()

    def has_seen_a_change(self) -> bool:
        """To be asked by who has the write lock, before anything is written: there is one catalog by then."""
        if self._before is None:
            with contextlib.closing(open_reader(self._location)) as reader:
                return any(row[0] for row in _counts(reader))
        return self._figures() != self._before

    def _figures(self) -> object:
        if self._connection is not None:
            with translated(self._location):
                # SQLite counts for each connection the changes that others have made.
                return self._connection.execute("PRAGMA data_version").fetchone()
        if self._location.url is None:
            return None
        try:
            reader = open_reader(self._location)
        except (CatalogNotFound, SchemaOutdated):
            return None
        with contextlib.closing(reader):
            return _counts(reader)


def _counts(reader: Reader) -> list[Row]:
    """Figures that any indexing changes; those of an empty catalog are all 0 or none."""
    return [
        *reader.rows("SELECT COUNT(*), MAX(id), MAX(indexed_at), COUNT(missing_at) FROM images"),
        *reader.rows("SELECT COUNT(*), MAX(failed_at) FROM failures"),
        *reader.rows("SELECT COUNT(*) FROM roots"),
        *reader.rows("SELECT COUNT(*), SUM(generation), MAX(epoch) FROM encoders"),
    ]
