"""Checking a copy of a catalog, row by row: nothing is taken for one that was not read to its end."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from retrieval.db.copies import opened, reading_from
from retrieval.db.reader import HEAD, REVISIONS
from retrieval.errors import CatalogError, SchemaTooNew
from retrieval.types import checksum

SHOWN = 3
"""Of what the database finds wrong with itself, so much is told."""
TABLES = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY name"
INDEX = ("image_fts_", "image_terms")
"""Tables behind the full-text index, whose rows are no rows of ours."""

Counts = dict[str, int]


@dataclass(frozen=True, slots=True)
class Held:
    """What a copy of a catalog holds; all of it was read."""

    file: str
    bytes: int
    schema: str
    images: int
    missing: int
    texts: int
    vectors: int
    encoder: str | None
    generation: int
    """Grows with each change of the vectors in use: of two copies of one catalog, the higher is newer."""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class CopyDamaged(CatalogError):
    """A copy does not hold what it should."""


def counts(connection: sqlite3.Connection) -> Counts:
    """How many rows each table has."""
    names = [name for (name,) in connection.execute(TABLES) if not name.startswith(INDEX)]
    quoted = {name: name.replace('"', '""') for name in names}
    return {name: _one(connection, f'SELECT COUNT(*) FROM "{quoted[name]}"') for name in names}


def check_copy(file: Path, *, told: Path | None = None, expected: Counts | None = None) -> Held:
    """What is in a copy, every page and every vector of which was read and found sound.

    `told` is what errors name. Rows may be held against what the original had.
    """
    name = told or file
    with reading_from(name), contextlib.closing(opened(file)) as connection:
        connection.execute("BEGIN")
        schema = _schema(connection, name)
        problems = [row[0] for row in connection.execute(f"PRAGMA integrity_check({SHOWN})")]
        if problems != ["ok"]:
            raise CopyDamaged(f"{name} is damaged: {'; '.join(problems)}")
        found = counts(connection)
        if expected is not None and found != expected:
            raise CopyDamaged(f"{name} does not have the rows of its original, though it was copied whole.")
        for damaged, what in _damaged(connection, found):
            raise CopyDamaged(f"{name} is damaged: {what} {damaged} does not agree with its checksum.")
        # Which model is in use, and what it has come to.
        active = connection.execute("SELECT key, generation FROM encoders WHERE active").fetchone()
        return Held(
            file=str(name),
            bytes=file.stat().st_size,
            schema=schema,
            images=_one(connection, "SELECT COUNT(*) FROM images WHERE missing_at IS NULL"),
            missing=_one(connection, "SELECT COUNT(*) FROM images WHERE missing_at IS NOT NULL"),
            texts=found["texts"],
            vectors=found["embeddings"],
            encoder=active and str(active[0]),
            generation=int(active[1]) if active else 0,
        )


def _schema(connection: sqlite3.Connection, name: Path) -> str:
    try:
        found = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.OperationalError as error:
        if "no such table" not in str(error):
            raise
        found = None
    if found is None:
        raise CatalogError(f"{name} holds no catalog of this program. Name a file that search backup made.")
    if found[0] not in REVISIONS:
        raise SchemaTooNew(
            f"{name} was made by a newer version (schema {found[0]}, this one knows {HEAD}). "
            "Upgrade this program: pip install -U picture-search"
        )
    return str(found[0])


def _damaged(connection: sqlite3.Connection, found: Counts) -> Iterator[tuple[str, str]]:
    """Vectors that are not what was stored: by a checksum SQLite knows nothing of."""
    for image_id, vector, aux, stored in connection.execute(
        "SELECT image_id, vector, aux, checksum FROM embeddings"
    ):
        whole = isinstance(vector, bytes) and isinstance(aux, bytes)
        if not whole or checksum(vector, aux) != stored:
            yield str(image_id), "the vector of picture"
    if "text_embeddings" in found:  # since revision 0002
        rows = connection.execute("SELECT text_id, vector, checksum FROM text_embeddings")
        for text_id, vector, stored in rows:
            if not isinstance(vector, bytes) or checksum(vector, b"") != stored:
                yield str(text_id), "the vector of text"


def _one(connection: sqlite3.Connection, sql: str) -> int:
    return int(connection.execute(sql).fetchone()[0])
