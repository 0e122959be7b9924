"""What is read of texts, as functions over a `Reader`."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from retrieval.db.reader import Reader, chunks
from retrieval.types import under

ADDED, SIDECAR, EMBEDDED, OCR, CAPTION = "added", "sidecar", "embedded", "ocr", "caption"
"""Where a text comes from; those who add one may name other sources."""
UPKEPT = (SIDECAR, EMBEDDED, OCR, CAPTION)
"""Sources that indexing and describing look after."""
SEARCHED = "caption"
"""The style of description that is also a text, which searches go through."""


@dataclass(frozen=True, slots=True)
class TextInfo:
    """A text as it is stored; `path` is that of its picture."""

    id: int
    text: str
    source: str
    image_id: int | None
    path: bytes | None
    name: str | None


@dataclass(frozen=True, slots=True)
class Sidecar:
    """A file beside a picture whose text is in the catalog; `path` is that picture's."""

    text_id: int
    origin: bytes
    stamp: str
    path: bytes | None


def content_hash(
    text: str, image_id: int | None, *, source: str = ADDED, origin: bytes | None = None
) -> bytes:
    """What makes two texts the same: the words and the picture they are tied to.

    Those that are looked after stand apart, so that each comes and goes with its own file or captioner.
    """
    parts = [b"" if image_id is None else str(image_id).encode(), text.encode()]
    if source in UPKEPT:
        parts += [source.encode(), origin or b""]
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.digest()


def texts(
    reader: Reader,
    *,
    image_id: int | None = None,
    source: str | None = None,
    after: int = 0,
    limit: int | None = None,
) -> list[TextInfo]:
    """Texts by id; all, or those of a picture or a source."""
    where, values = ["t.id > :after"], {"after": after}
    given: dict[str, Any] = {"image_id": image_id, "source": source}
    for column, value in given.items():
        if value is not None:
            where.append(f"t.{column} = :{column}")
            values[column] = value
    sql = (
        "SELECT t.id, t.text, t.source, t.image_id, i.path, t.name FROM texts t "
        f"LEFT JOIN images i ON i.id = t.image_id WHERE {' AND '.join(where)} ORDER BY t.id"
    )
    if limit is not None:
        sql += " LIMIT :most"
        values["most"] = limit
    return [
        TextInfo(row[0], row[1], row[2], row[3], None if row[4] is None else bytes(row[4]), row[5])
        for row in reader.rows(sql, **values)
    ]


def waiting(reader: Reader, encoder_id: int, *, after: int, limit: int) -> list[tuple[int, str]]:
    """The next texts that an encoder has no vector of."""
    rows = reader.rows(
        "SELECT t.id, t.text FROM texts t WHERE t.id > :after AND NOT EXISTS "
        "(SELECT 1 FROM text_embeddings e WHERE e.encoder_id = :e AND e.text_id = t.id) "
        "ORDER BY t.id LIMIT :most",
        e=encoder_id,
        after=after,
        most=limit,
    )
    return [(int(text_id), text) for text_id, text in rows]


def ids_from(reader: Reader, *, origin: bytes | None = None, source: str | None = None) -> list[int]:
    """Ids of the texts that came from a file, or are of a source."""
    if origin is not None:
        rows = reader.rows("SELECT id FROM texts WHERE origin = :origin ORDER BY id", origin=origin)
    else:
        rows = reader.rows("SELECT id FROM texts WHERE source = :source ORDER BY id", source=source)
    return [int(row[0]) for row in rows]


def has_any_from(reader: Reader, source: str) -> bool:
    return bool(reader.rows("SELECT 1 FROM texts WHERE source = :source LIMIT 1", source=source))


def present(reader: Reader, text_ids: Sequence[int]) -> list[int]:
    """Those of the ids that are texts."""
    found: list[int] = []
    for marks, values in chunks(text_ids):
        found += (int(row[0]) for row in reader.rows(f"SELECT id FROM texts WHERE id IN ({marks})", **values))
    return found


def sidecars(reader: Reader, root: bytes) -> list[Sidecar]:
    """The files beside pictures below a folder whose texts are known."""
    low, high = under(root)
    rows = reader.rows(
        "SELECT t.id, t.origin, t.stamp, i.path FROM texts t LEFT JOIN images i ON i.id = t.image_id "
        "WHERE t.origin >= :low AND t.origin < :high AND t.source = :source",
        low=low,
        high=high,
        source=SIDECAR,
    )
    return [
        Sidecar(int(row[0]), bytes(row[1]), row[2] or "", None if row[3] is None else bytes(row[3]))
        for row in rows
    ]


def image_ids(reader: Reader, paths: Sequence[bytes]) -> dict[bytes, int]:
    """The pictures at these paths."""
    found: dict[bytes, int] = {}
    for marks, values in chunks(paths):
        for image_id, path in reader.rows(f"SELECT id, path FROM images WHERE path IN ({marks})", **values):
            found[bytes(path)] = int(image_id)
    return found


def existing_images(reader: Reader, ids: Sequence[int]) -> set[int]:
    found: set[int] = set()
    for marks, values in chunks(ids):
        found.update(
            int(row[0]) for row in reader.rows(f"SELECT id FROM images WHERE id IN ({marks})", **values)
        )
    return found


def images_by_name(reader: Reader) -> dict[bytes, list[tuple[int, bytes]]]:
    """Every picture that is not missing, by its file's name."""
    found: dict[bytes, list[tuple[int, bytes]]] = {}
    for image_id, path in reader.stream("SELECT id, path FROM images WHERE missing_at IS NULL ORDER BY id"):
        found.setdefault(os.path.basename(bytes(path)), []).append((int(image_id), bytes(path)))
    return found
