"""What is read of pictures to tell which are the same, as functions over a `Reader`."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from retrieval.errors import QueryError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from retrieval.db.reader import Reader

FILE_TIMES = ("file-name", "file-mtime")
"""Sources of a time that is the file's, not the camera's."""


@dataclass(frozen=True, slots=True)
class PictureRow:
    """A picture as far as it matters to what it is a copy of."""

    id: int
    path: bytes
    size: int
    mtime_ns: int
    content_hash: bytes
    format: str
    width: int
    height: int
    taken_at: str | None
    taken_source: str | None
    camera_make: str | None
    camera_model: str | None
    signature: bytes | None

    @property
    def camera(self) -> tuple[str | None, str | None] | None:
        """The camera, if the picture names one."""
        named = self.camera_make, self.camera_model
        return named if any(named) else None

    @property
    def shot_at(self) -> str | None:
        """When the camera says it was taken, to the second; a day alone is no such time."""
        if self.taken_at is None or self.taken_source in FILE_TIMES or self.taken_at[11:19] == "00:00:00":
            return None
        return self.taken_at if len(self.taken_at) >= 19 else None


COLUMNS = (
    "id, path, size, mtime_ns, content_hash, format, width, height, taken_at, taken_source, "
    "camera_make, camera_model, phash"
)


def pictures(reader: Reader) -> list[PictureRow]:
    """Every picture that is not missing, by id."""
    sql = f"SELECT {COLUMNS} FROM images WHERE missing_at IS NULL ORDER BY id"
    found = []
    for image_id, path, size, mtime_ns, content_hash, *facts, signature in reader.stream(sql):
        kind, width, height, taken_at, taken_source, make, model = facts
        found.append(
            PictureRow(
                int(image_id),
                bytes(path),
                int(size),
                int(mtime_ns),
                bytes(content_hash),
                kind,
                width,
                height,
                taken_at,
                taken_source,
                make,
                model,
                None if signature is None else bytes(signature),
            )
        )
    return found


def state_of_rows(reader: Reader) -> tuple[object, ...]:
    """Something that is another one once pictures came, went or were read anew."""
    sql = "SELECT COUNT(*), COUNT(missing_at), MAX(missing_at), MAX(indexed_at), MAX(id) FROM images"
    return tuple(reader.rows(sql)[0])


def not_duplicates(reader: Reader) -> set[tuple[int, int]]:
    """Pairs that a person said are not the same, the lower id first."""
    rows = reader.rows("SELECT first_id, second_id FROM not_duplicates ORDER BY first_id, second_id")
    return {(int(first), int(second)) for first, second in rows}


def image_ids(reader: Reader, named: Iterable[int | str | os.PathLike[str]], catalog: str) -> list[int]:
    """The ids of pictures named by path or by id; one that is not in the catalog is an error."""
    found: list[int] = []
    for picture in named:
        if isinstance(picture, int):
            rows = reader.rows("SELECT id FROM images WHERE id = :id", id=picture)
        else:
            path = os.fsencode(os.path.abspath(os.path.expanduser(picture)))
            rows = reader.rows("SELECT id FROM images WHERE path = :path", path=path)
        if not rows:
            raise QueryError(
                f"The catalog at {catalog} has no picture {picture}. "
                "Index its folder first: search index FOLDER"
            )
        found.append(int(rows[0][0]))
    return found
