"""What is read of pictures to name a group of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from retrieval.db.duplicates import FILE_TIMES

if TYPE_CHECKING:
    from retrieval.db.reader import Reader


@dataclass(frozen=True, slots=True)
class Circumstances:
    """Where a picture lies, and when and where it was taken."""

    path: bytes
    month: str | None
    """As 2023-07; none where only the file's own time is known."""
    latitude: float | None
    longitude: float | None


def circumstances(reader: Reader) -> dict[int, Circumstances]:
    """Of every visible picture, by id."""
    rows = reader.stream(
        "SELECT id, path, taken_at, taken_source, latitude, longitude FROM images WHERE missing_at IS NULL"
    )
    return {
        int(image_id): Circumstances(
            bytes(path),
            taken_at[:7] if taken_at and source not in FILE_TIMES else None,
            latitude,
            longitude,
        )
        for image_id, path, taken_at, source, latitude, longitude in rows
    }
