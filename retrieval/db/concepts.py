"""Reading what concepts were taught with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from retrieval.db.reads import showing
from retrieval.types import checksum

if TYPE_CHECKING:
    from retrieval.db.reader import Reader


@dataclass(frozen=True, slots=True)
class ExampleRow:
    """An example as it is kept, and its vector by one encoder, where there is one."""

    id: int
    image_id: int | None
    """The picture of the catalog that shows it, if there is one."""
    path: bytes
    """Where that is; else where the example was given from."""
    content_hash: bytes
    good: bool
    vector: bytes | None


def names(reader: Reader) -> list[tuple[str, float]]:
    """Every concept with the time it was made, by name."""
    rows = reader.rows("SELECT name, created_at FROM concepts ORDER BY name")
    return [(str(name), float(created)) for name, created in rows]


def examples(reader: Reader, name: str, encoder_id: int) -> list[ExampleRow]:
    """A concept's examples in the order they were given, with their vectors by an encoder."""
    rows = reader.rows(
        "SELECT x.id, i.id, COALESCE(i.path, x.path), x.content_hash, x.good, "
        "CASE WHEN x.encoder_id = :e THEN x.vector END, e.vector, e.aux, e.checksum "
        "FROM concepts c JOIN concept_examples x ON x.concept_id = c.id "
        f"LEFT JOIN images i ON i.id = {showing('x')} "
        "LEFT JOIN embeddings e ON e.image_id = i.id AND e.encoder_id = :e "
        "WHERE c.name = :name ORDER BY x.id",
        name=name,
        e=encoder_id,
    )
    return [
        ExampleRow(
            int(row[0]),
            None if row[1] is None else int(row[1]),
            bytes(row[2]),
            bytes(row[3]),
            bool(row[4]),
            _sound(*row[6:]) or (None if row[5] is None else bytes(row[5])),
        )
        for row in rows
    ]


def vector(reader: Reader, image_id: int, encoder_id: int) -> bytes | None:
    """What an encoder made of a picture of the catalog, if it has seen it and that is not damaged."""
    rows = reader.rows(
        "SELECT vector, aux, checksum FROM embeddings WHERE image_id = :i AND encoder_id = :e",
        i=image_id,
        e=encoder_id,
    )
    return _sound(*rows[0]) if rows else None


def _sound(vector: bytes | None, aux: bytes, stored: int) -> bytes | None:
    return bytes(vector) if vector is not None and checksum(vector, aux) == stored else None
