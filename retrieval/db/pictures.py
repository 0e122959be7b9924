"""The pictures of a catalog one by one: what a row says, lists of them by date or name, and their days."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from retrieval.db.circumstances import FILE_TIME
from retrieval.db.reader import chunks

if TYPE_CHECKING:
    from retrieval.db.reader import Reader

Order = Literal["newest", "oldest", "name"]
ORDERS: tuple[Order, ...] = ("newest", "oldest", "name")
_COLUMNS = (
    "id, path, size, mtime_ns, content_hash, missing_at, format, width, height, taken_at, taken_source, "
    "camera_make, camera_model, lens, latitude, longitude, title, description, keywords"
)
_SORTED: dict[Order, str] = {
    # A picture without any time comes last either way; databases differ in where they put NULL.
    "newest": "COALESCE(taken_at, '') DESC, id DESC",
    "oldest": "COALESCE(taken_at, '~'), id",
    "name": "path",
}


@dataclass(frozen=True, slots=True)
class PictureRow:
    """Everything that a picture's row says."""

    id: int
    path: bytes
    size: int
    mtime_ns: int
    content_hash: bytes
    missing_at: float | None
    format: str
    width: int
    height: int
    taken_at: str | None
    taken_source: str | None
    camera_make: str | None
    camera_model: str | None
    lens: str | None
    latitude: float | None
    longitude: float | None
    title: str | None
    description: str | None
    keywords: tuple[str, ...]


def picture_rows(reader: Reader, image_ids: Sequence[int]) -> dict[int, PictureRow]:
    """The rows of those pictures that are in the catalog, missing ones too."""
    found: dict[int, PictureRow] = {}
    for marks, parameters in chunks(image_ids):
        for row in reader.rows(f"SELECT {_COLUMNS} FROM images WHERE id IN ({marks})", **parameters):
            found[int(row[0])] = _row(row)
    return found


def _row(row: Sequence[Any]) -> PictureRow:
    values = list(row)
    # SQLite hands a list out as its JSON.
    words = json.loads(values[-1]) if isinstance(values[-1], str | bytes) else values[-1]
    values[-1] = tuple(map(str, words or ()))
    found = PictureRow(*values)
    return replace(found, path=bytes(found.path), content_hash=bytes(found.content_hash))


def ordered(reader: Reader, order: Order) -> list[int]:
    """The ids of all pictures that may be seen, in that order."""
    return [
        int(row[0])
        for row in reader.rows(f"SELECT id FROM images WHERE missing_at IS NULL ORDER BY {_SORTED[order]}")
    ]


def days(reader: Reader) -> list[tuple[int, str, bool]]:
    """Of each picture that may be seen its id, its day (`2023-07-15`, or nothing), and whether only its
    file tells that day."""
    sql = (
        "SELECT id, SUBSTR(taken_at, 1, 10), taken_source = :file FROM images "
        "WHERE missing_at IS NULL ORDER BY id"
    )
    return [(int(key), day or "", bool(file)) for key, day, file in reader.rows(sql, file=FILE_TIME)]


def contents(reader: Reader) -> set[str]:
    """What is in all files of the catalog, as hashes; also of those that are missing."""
    return {bytes(row[0]).hex() for row in reader.rows("SELECT content_hash FROM images")}
