"""Whether the rows of a catalog can be what they say: read only, and told a table at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from retrieval.db import reads
from retrieval.types import checksum

if TYPE_CHECKING:
    from retrieval.db.reader import Reader

Vectors = Callable[["Reader", int], Iterator[tuple[int, bytes, bytes, int, int]]]
CALLED = {
    "embeddings": "vectors",
    "texts": "texts",
    "text_embeddings": "vectors of texts",
    "image_words": "words",
    "image_tags": "tags",
    "not_duplicates": "pairs that are no duplicates",
    "concept_examples": "examples of concepts",
    "descriptions": "descriptions",
}
"""Tables whose rows belong to others, and what people call these."""


def orphans(reader: Reader) -> dict[str, int]:
    """How many rows of each table belong to something that is not there.

    A database that is no SQLite file looks after that itself.
    """
    found: dict[str, int] = {}
    if reader.dialect == "sqlite":
        for table, *_ in reader.stream("PRAGMA foreign_key_check"):
            found[str(table)] = found.get(str(table), 0) + 1
    return found


def broken_vectors(reader: Reader, read: Vectors) -> dict[int, list[int]]:
    """By encoder, those whose vector has the wrong size, a flipped bit, or is not a number."""
    import numpy as np

    damaged: dict[int, list[int]] = {}
    for info in reads.encoders(reader):
        for owner, vector, aux, stored, _ in read(reader, info.id):
            whole = len(vector) == 2 * info.dim and checksum(vector, aux) == stored
            if not whole or not np.isfinite(np.frombuffer(vector, "<f2")).all():
                damaged.setdefault(info.id, []).append(owner)
    return damaged


def broken_examples(reader: Reader) -> list[int]:
    """Examples of concepts whose vector has the wrong size or is not a number."""
    import numpy as np

    dims = {info.id: info.dim for info in reads.encoders(reader)}
    rows = reader.stream(
        "SELECT id, encoder_id, vector FROM concept_examples "
        "WHERE vector IS NOT NULL AND encoder_id IS NOT NULL"  # without its model it is never used
    )
    return [
        int(example)
        for example, encoder_id, vector in rows
        if len(vector) != 2 * dims.get(encoder_id, -1) or not np.isfinite(np.frombuffer(vector, "<f2")).all()
    ]


def vector_counts(reader: Reader) -> dict[int, int]:
    """How many vectors of pictures each encoder has."""
    rows = reader.rows("SELECT encoder_id, COUNT(*) FROM embeddings GROUP BY encoder_id")
    return {int(encoder_id): int(count) for encoder_id, count in rows}


def right_active(reader: Reader) -> int | None:
    """The encoder that queries should use: of those that are active, or of all, the one with most vectors.

    None where all is as it should be: one is active, or there are no vectors that one could use.
    """
    known = reads.encoders(reader)
    active = [info for info in known if info.active]
    if len(active) == 1:
        return None
    counts = vector_counts(reader)
    most = max(active or known, key=lambda info: (counts.get(info.id, 0), info.id), default=None)
    return most.id if most is not None and (active or counts.get(most.id)) else None


def strange_values(reader: Reader) -> dict[str, list[int]]:
    """By table, the rows that hold a value of another kind than their column, which only damage brings.

    SQLite keeps any value in any column, so that a flipped bit may make a text of a number, or what is
    no text at all of a text.
    """
    found: dict[str, list[int]] = {}
    if reader.dialect != "sqlite":
        return found
    for (table,) in reader.rows("SELECT name FROM sqlite_master WHERE type = 'table' AND rootpage > 0"):
        if table not in KINDS:
            continue
        wrong = " OR ".join(
            f"typeof({column}) NOT IN ({', '.join(map(repr, kinds))})"
            for column, kinds in KINDS[table].items()
        )
        strange = {int(row_id) for (row_id,) in reader.stream(f"SELECT rowid FROM {table} WHERE {wrong}")}
        texts = [column for column, kinds in KINDS[table].items() if kinds[0] == "text"]
        if texts:
            # As bytes: SQLite keeps any in a text, and whoever reads one that is not UTF-8 stumbles.
            columns = ", ".join(f"CAST({column} AS BLOB)" for column in texts)
            for row_id, *values in reader.stream(f"SELECT rowid, {columns} FROM {table}"):
                if not all(value is None or _is_text(value) for value in values):
                    strange.add(int(row_id))
        if strange:
            found[str(table)] = sorted(strange)
    return found


def _is_text(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _kinds(columns: str) -> dict[str, tuple[str, ...]]:
    """From `name:kind` with a question mark where there may be none."""
    kinds = {"i": ("integer",), "f": ("real", "integer"), "t": ("text",), "b": ("blob",)}
    found = {}
    for column in columns.split():
        name, _, kind = column.partition(":")
        found[name] = (*kinds[kind[0]], *(("null",) if kind.endswith("?") else ()))
    return found


KINDS = {
    "roots": _kinds("path:b added_at:f"),
    "images": _kinds(
        "path:b size:i mtime_ns:i content_hash:b missing_at:f? indexed_at:f format:t width:i height:i "
        "taken_at:t? taken_offset:i? taken_source:t? camera_make:t? camera_model:t? lens:t? latitude:f? "
        "longitude:f? altitude:f? title:t? description:t? keywords:t phash:b? ocr:t?"
    ),
    "encoders": _kinds(
        "key:t spec:t dim:i generation:i epoch:i state:t active:i created_at:f text_generation:i text_epoch:i"
    ),
    "embeddings": _kinds("encoder_id:i image_id:i vector:b aux:b checksum:i generation:i"),
    "failures": _kinds("path:b size:i mtime_ns:i reason:t detail:t failed_at:f"),
    "texts": _kinds("content_hash:b text:t source:t image_id:i? added_at:f name:t? origin:b? stamp:t?"),
    "text_embeddings": _kinds("encoder_id:i text_id:i vector:b checksum:i generation:i"),
    "image_words": _kinds("name:t described:t told:t seen:t"),
    "vocabulary": _kinds("tag:t prompt:t added_at:f"),
    "image_tags": _kinds("image_id:i tag:t confidence:f kept:i source:t encoder_id:i?"),
    "not_duplicates": _kinds("first_id:i second_id:i said_at:f"),
    "concepts": _kinds("name:t created_at:f"),
    "concept_examples": _kinds(
        "concept_id:i path:b content_hash:b good:i encoder_id:i? vector:b? added_at:f"
    ),
    "feedback": _kinds("query:t content_hash:b path:b good:i said_at:f"),
    "said": _kinds("kind:t content_hash:b path:b other_hash:b? other_path:b? data:t"),
    "descriptions": _kinds("image_id:i style:t captioner:t seen:i text:t? offered:i kept:i made_at:f"),
    "turns": _kinds("asked_at:f question:t answer:t plan:t"),
}
"""The values that each column can hold; a test holds it against the schema."""
