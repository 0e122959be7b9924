"""Where the rows of another catalog come in: which rows there are which rows here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

from sqlalchemy import func, insert, select

from retrieval.db.reader import CHUNK
from retrieval.db.schema import (
    Base,
    ConceptRow,
    Encoder,
    FailureRow,
    FeedbackRow,
    Image,
    Root,
    SaidRow,
    TextRow,
    TurnRow,
    VocabularyRow,
)

if TYPE_CHECKING:
    from sqlalchemy import Connection

Row = dict[str, Any]
OURS = (Image, TextRow, Encoder, ConceptRow, FeedbackRow, SaidRow, Root, FailureRow, VocabularyRow, TurnRow)
"""A catalog with none of these is empty."""


class Source(Protocol):
    """Where rows come from."""

    def rows(self, name: str) -> Iterator[Row]: ...

    def vectors(self, of: str) -> Iterator[tuple[int, Iterator[tuple[int, bytes, bytes]]]]: ...


class Landing:
    """What has come in so far, within one transaction."""

    def __init__(self, connection: Connection, source: Source) -> None:
        self.connection = connection
        self.source = source
        self.empty = not any(self.count(table) for table in OURS)
        self.added: dict[str, int] = {}
        self.known = 0
        self.images: dict[int, int] = {}
        """Ids there -> ids here."""
        self.new: set[int] = set()
        """Those of them that came with this."""
        self.away: dict[int, tuple[bytes, bytes]] = {}
        """Ids there of pictures whose place is taken here by another content: that content, and the place."""
        self.encoders: dict[int, int] = {}

    def mapped(self, name: str, *columns: str) -> Iterator[Row]:
        """Rows of pictures that are here, by their ids here."""
        for row in self.source.rows(name):
            ids = {column: self.images.get(row[column]) for column in columns}
            if None not in ids.values():
                yield {**row, **ids}

    def insert_new(self, table: type[Base], rows: Sequence[Row], key: Any, names: Sequence[str]) -> None:
        """Insert those whose key is not there; of several with one key, the first."""
        coming: dict[tuple[Any, ...], Row] = {}
        for row in rows:
            coming.setdefault(tuple(row[name] for name in names), row)
        keys = list(coming)
        for start in range(0, len(keys), CHUNK // 4):
            part = keys[start : start + CHUNK // 4]
            columns = [table.__table__.c[name] for name in names]
            for found in self.connection.execute(select(*columns).where(key.in_(part))):
                coming.pop(tuple(bytes(one) if isinstance(one, memoryview) else one for one in found), None)
        self.insert(table, list(coming.values()))

    def insert(self, table: type[Base], rows: Iterable[Row], *, returning: Any = None) -> list[int]:
        ids: list[int] = []
        for part in parts(rows):
            if returning is None:
                self.connection.execute(insert(table), part)
            else:
                made = insert(table).returning(returning, sort_by_parameter_order=True)
                ids += map(int, self.connection.scalars(made, part))
            name = table.__tablename__
            self.added[name] = self.added.get(name, 0) + len(part)
        return ids

    def count(self, table: type[Base]) -> int:
        return int(self.connection.scalar(select(func.count()).select_from(table.__table__)) or 0)


def parts(rows: Iterable[Any]) -> Iterator[list[Any]]:
    rest = iter(rows)
    while part := list(islice(rest, CHUNK)):
        yield part


def without_id(row: Row) -> Row:
    return {key: value for key, value in row.items() if key != "id"}
