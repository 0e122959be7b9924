"""Reading what was said of answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from retrieval.db.reader import chunks
from retrieval.db.reads import showing

if TYPE_CHECKING:
    from retrieval.db.reader import Reader


@dataclass(frozen=True, slots=True)
class SaidRow:
    """What was said of one picture as an answer to one query; `query` is its normal form."""

    id: int
    query: str
    image_id: int | None
    """The picture of the catalog that shows it, if there is one."""
    path: bytes
    """Where that is; else where it was."""
    replaced: bool
    """No picture shows it any more, and the one at its path shows something else."""
    good: bool
    said_at: float


def said(reader: Reader, query: str | None = None) -> list[SaidRow]:
    """What was said of a query's answers, or of all, in the order it was said."""
    rows = reader.rows(
        "SELECT f.id, f.query, i.id, COALESCE(i.path, f.path), "
        "i.id IS NULL AND EXISTS (SELECT 1 FROM images k WHERE k.path = f.path), f.good, f.said_at "
        f"FROM feedback f LEFT JOIN images i ON i.id = {showing('f')} "
        + ("" if query is None else "WHERE f.query = :q ")
        + "ORDER BY f.id",
        **({} if query is None else {"q": query}),
    )
    return [
        SaidRow(
            int(row[0]),
            str(row[1]),
            None if row[2] is None else int(row[2]),
            bytes(row[3]),
            bool(row[4]),
            bool(row[5]),
            float(row[6]),
        )
        for row in rows
    ]


def marks(reader: Reader, query: str) -> list[tuple[int, bool]]:
    """The pictures that were said to be right or wrong answers to a query, by id.

    Those that left the catalog, or show something else by now, are not among them.
    """
    rows = reader.rows(
        f"SELECT i.id, f.good FROM feedback f JOIN images i ON i.id = {showing('f')} "
        "WHERE f.query = :q ORDER BY f.id",
        q=query,
    )
    return [(int(image_id), bool(good)) for image_id, good in rows]


def contents(reader: Reader, image_ids: Sequence[int]) -> dict[int, tuple[bytes, bytes]]:
    """The content and the path of those of the ids that are pictures of the catalog."""
    found: dict[int, tuple[bytes, bytes]] = {}
    for placeholders, parameters in chunks(image_ids):
        sql = f"SELECT id, content_hash, path FROM images WHERE id IN ({placeholders})"
        for image_id, content, path in reader.rows(sql, **parameters):
            found[int(image_id)] = bytes(content), bytes(path)
    return found
