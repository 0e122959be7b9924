"""Reading what was said of answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from retrieval.db.reader import chunks

if TYPE_CHECKING:
    from retrieval.db.reader import Reader


@dataclass(frozen=True, slots=True)
class SaidRow:
    """What was said of one picture as an answer to one query; `query` is its normal form."""

    id: int
    query: str
    image_id: int
    path: bytes
    good: bool
    said_at: float


def said(reader: Reader, query: str | None = None) -> list[SaidRow]:
    """What was said of a query's answers, or of all, in the order it was said."""
    rows = reader.rows(
        "SELECT f.id, f.query, f.image_id, i.path, f.good, f.said_at "
        "FROM feedback f JOIN images i ON i.id = f.image_id "
        + ("" if query is None else "WHERE f.query = :q ")
        + "ORDER BY f.id",
        **({} if query is None else {"q": query}),
    )
    return [
        SaidRow(int(row[0]), str(row[1]), int(row[2]), bytes(row[3]), bool(row[4]), float(row[5]))
        for row in rows
    ]


def marks(reader: Reader, query: str) -> list[tuple[int, bool]]:
    """The pictures that were said to be right or wrong answers to a query, by id."""
    rows = reader.rows("SELECT image_id, good FROM feedback WHERE query = :q ORDER BY id", q=query)
    return [(int(image_id), bool(good)) for image_id, good in rows]


def known_ids(reader: Reader, image_ids: Sequence[int]) -> set[int]:
    """Those of the ids that are pictures of the catalog."""
    found: set[int] = set()
    for placeholders, parameters in chunks(image_ids):
        rows = reader.rows(f"SELECT id FROM images WHERE id IN ({placeholders})", **parameters)
        found |= {int(row[0]) for row in rows}
    return found
