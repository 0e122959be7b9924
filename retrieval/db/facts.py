"""What is read of pictures to say what is known of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from retrieval.db.circumstances import FILE_TIME
from retrieval.db.reader import chunks
from retrieval.db.tags import PERSON

if TYPE_CHECKING:
    from retrieval.db.reader import Reader


@dataclass(frozen=True, slots=True)
class Known:
    """What the row of a picture says of it; `taken_at` is none where only the file's own time is known."""

    path: bytes
    taken_at: str | None
    camera_make: str | None
    camera_model: str | None
    latitude: float | None
    longitude: float | None
    keywords: tuple[str, ...]
    width: int
    height: int


def known(reader: Reader, image_ids: Sequence[int]) -> dict[int, Known]:
    """Of each of the pictures that is in the catalog, missing ones too."""
    found: dict[int, Known] = {}
    for marks, parameters in chunks(image_ids):
        rows = reader.rows(
            "SELECT id, path, taken_at, taken_source, camera_make, camera_model, latitude, longitude, "
            f"keywords, width, height FROM images WHERE id IN ({marks})",
            **parameters,
        )
        for image_id, path, taken_at, source, make, model, latitude, longitude, keywords, *size in rows:
            found[int(image_id)] = Known(
                bytes(path),
                None if source == FILE_TIME else taken_at,
                make,
                model,
                latitude,
                longitude,
                _keywords(keywords),
                *size,
            )
    return found


def texts(reader: Reader, image_ids: Sequence[int]) -> dict[int, list[tuple[str, str]]]:
    """The texts that are tied to each picture, each with its source, the oldest first."""
    found: dict[int, list[tuple[str, str]]] = {}
    for marks, parameters in chunks(image_ids):
        rows = reader.rows(
            f"SELECT image_id, text, source FROM texts WHERE image_id IN ({marks}) ORDER BY id", **parameters
        )
        for image_id, text, source in rows:
            found.setdefault(int(image_id), []).append((str(text), str(source)))
    return found


def tagged(reader: Reader, encoder_id: int, image_ids: Sequence[int]) -> set[int]:
    """Those of the pictures that an encoder has tagged with the vocabulary as it is."""
    found: set[int] = set()
    for marks, parameters in chunks(image_ids):
        rows = reader.rows(
            f"SELECT DISTINCT image_id FROM image_tags WHERE encoder_id = :e AND image_id IN ({marks})",
            e=encoder_id,
            **parameters,
        )
        found.update(int(row[0]) for row in rows)
    return found


def decided(reader: Reader, image_ids: Sequence[int]) -> dict[int, dict[str, bool]]:
    """The tags of each picture that a person had the last word on, and whether they are kept."""
    found: dict[int, dict[str, bool]] = {}
    for marks, parameters in chunks(image_ids):
        rows = reader.rows(
            f"SELECT image_id, tag, kept FROM image_tags WHERE source = :who AND image_id IN ({marks})",
            who=PERSON,
            **parameters,
        )
        for image_id, tag, kept in rows:
            found.setdefault(int(image_id), {})[str(tag)] = bool(kept)
    return found


def _keywords(stored: Any) -> tuple[str, ...]:
    """A list, which SQLite hands out as its JSON."""
    words = json.loads(stored) if isinstance(stored, str | bytes) else stored
    return tuple(str(word) for word in words or ())
