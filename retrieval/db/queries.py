"""Everything that writes: one transaction a batch, in portable SQL."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.exc import DBAPIError, OperationalError

from retrieval.config import Location
from retrieval.db.concepts_writes import forget_vectors, keep_vectors
from retrieval.db.descriptions_writes import copy_descriptions, drop_descriptions
from retrieval.db.engine import open_engine
from retrieval.db.failures import refused
from retrieval.db.locking import acquire
from retrieval.db.marks import new_epoch, next_generation
from retrieval.db.reader import CHUNK
from retrieval.db.said_writes import bring_back, set_aside
from retrieval.db.schema import Embedding, Encoder, FailureRow, Image, ImageTag, ImageWords, Root
from retrieval.db.texts_writes import copy_seen, delete_texts_of, forget_seen, renew_embedded
from retrieval.db.upgrading import bring_up
from retrieval.db.words_writes import renew_words
from retrieval.types import checksum, under

FILE_SOURCES = ("file-name", "file-mtime")
"""Times that belong to a file, not to the picture in it: a copy or a move has its own."""
SOON_WRITTEN = 1 << 26
"""Bytes of a database that is made compact whatever that gives back."""
FREE_SHARE = 0.05
"""Of a larger one's pages, so many have to be free for that."""


@dataclass(frozen=True, slots=True)
class Vector:
    """A vector as it is stored: float16 bytes and the bytes of the second stage."""

    data: bytes
    aux: bytes = b""


@dataclass(frozen=True, slots=True)
class NewImage:
    """A file to add: `values` are columns of `images`; a copy of `source_id` needs no vector of its own."""

    values: dict[str, Any]
    vector: Vector | None = None
    source_id: int | None = None
    taken: dict[str, Any] = field(default_factory=dict)
    """For a copy whose source was dated by its name or its file: what those of the copy say."""


@dataclass(slots=True)
class Batch:
    """Changes that become true together."""

    added: list[NewImage] = field(default_factory=list)
    updated: list[tuple[int, dict[str, Any], Vector]] = field(default_factory=list)
    """Content that changed: the new columns and vector; what other encoders made of the old goes."""
    embedded: list[tuple[int, Vector]] = field(default_factory=list)
    refreshed: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    """Same content at a new path or with a new time, or back again: only columns change."""
    retimed: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    """What a new name or time says of when a picture was taken, where the picture itself says nothing."""
    failed: list[dict[str, Any]] = field(default_factory=list)
    healed: list[bytes] = field(default_factory=list)

    def __len__(self) -> int:
        """How many files it speaks of."""
        return (
            len(self.added) + len(self.updated) + len(self.embedded) + len(self.refreshed) + len(self.failed)
        )

    def __bool__(self) -> bool:
        return bool(len(self) or self.healed)


class Writer:
    """The only way to change a catalog. Holds the catalog's write lock while open."""

    def __init__(self, location: Location) -> None:
        self._location = location
        self._lock = acquire(location)
        try:
            self._engine = open_engine(location)
            with self._translated():
                bring_up(location, self._engine)
        except BaseException:
            self._lock.release()
            raise

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        try:
            self._empty_log()
        finally:
            self._engine.dispose()
            self._lock.release()

    def _empty_log(self) -> None:
        """Bring the log into the database and cut it off, where no reader needs it and the disk allows.

        SQLite does so when the last one closes the database, but who only reads cannot: so the file
        alone would be an older catalog for whoever copies it.
        """
        if self._engine.dialect.name != "sqlite":
            return
        # All of it is committed and flushed where it is: nothing depends on this.
        with (
            contextlib.suppress(DBAPIError, sqlite3.Error),
            contextlib.closing(self._engine.raw_connection()) as connection,
        ):
            cursor = connection.cursor()
            cursor.execute("PRAGMA busy_timeout=0")
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def add_roots(self, paths: Iterable[bytes]) -> None:
        with self.transaction() as connection:
            known = set(connection.scalars(select(Root.path)))
            rows = [{"path": path, "added_at": time.time()} for path in paths if path not in known]
            if rows:
                connection.execute(insert(Root), rows)

    def add_encoder(self, *, key: str, spec: str, dim: int) -> int:
        """The id of an encoder, made known if it is new; its `spec` may change, its `key` never does."""
        with self.transaction() as connection:
            found = connection.scalar(select(Encoder.id).where(Encoder.key == key))
            if found is not None:
                connection.execute(update(Encoder).where(Encoder.id == found).values(spec=spec))
                return found
            values = {
                "key": key,
                "spec": spec,
                "dim": dim,
                "generation": 0,
                "epoch": 0,
                "state": "building",
                "active": False,
                "created_at": time.time(),
            }
            return int(connection.execute(insert(Encoder).values(values).returning(Encoder.id)).scalar_one())

    def activate(self, encoder_id: int, *, complete: bool = False) -> None:
        """Make an encoder the one that queries use, in one step."""
        values: dict[str, Any] = {"active": True, **({"state": "complete"} if complete else {})}
        with self.transaction() as connection:
            connection.execute(update(Encoder).where(Encoder.active).values(active=False))
            connection.execute(update(Encoder).where(Encoder.id == encoder_id).values(values))

    def commit(self, batch: Batch, *, encoder_id: int) -> None:
        with self.transaction() as connection:
            rows: list[dict[str, Any]] = []

            def embed(image_id: int, vector: Vector) -> None:
                rows.append(
                    {
                        "encoder_id": encoder_id,
                        "image_id": image_id,
                        "vector": vector.data,
                        "aux": vector.aux,
                        "checksum": checksum(vector.data, vector.aux),
                    }
                )

            added = _insert(connection, batch.added)
            for image_id, vector in zip(added, batch.added, strict=True):
                found = vector.vector or _vector_of(connection, encoder_id, vector.source_id)
                if found is not None:
                    embed(image_id, found)
            keep_vectors(connection, [image_id for image_id, _, _ in batch.updated])
            for image_id, values, new in batch.updated:
                connection.execute(update(Image).where(Image.id == image_id).values(values))
                _drop_vectors(connection, image_id, renewed_by=encoder_id)
                embed(image_id, new)
            for image_id, new in batch.embedded:
                connection.execute(
                    delete(Embedding).where(
                        Embedding.image_id == image_id, Embedding.encoder_id == encoder_id
                    )
                )
                embed(image_id, new)
            for image_id, values in batch.refreshed:
                connection.execute(update(Image).where(Image.id == image_id).values(values))
            for image_id, taken in batch.retimed:
                by_file = Image.taken_source.is_(None) | Image.taken_source.in_(FILE_SOURCES)
                connection.execute(update(Image).where(Image.id == image_id, by_file).values(taken))
            updated = [image_id for image_id, _, _ in batch.updated]
            forget_seen(connection, updated)
            drop_descriptions(connection, updated)
            renew_embedded(connection, [*added, *updated])
            for image_id, item in zip(added, batch.added, strict=True):
                if item.source_id is not None:
                    copy_seen(connection, item.source_id, image_id)
                    copy_descriptions(connection, item.source_id, image_id)
            bring_back(connection, [*added, *updated])
            renew_words(connection, [*added, *updated, *(image_id for image_id, _ in batch.refreshed)])
            if rows:
                generation = self._next_generation(connection, encoder_id)
                connection.execute(insert(Embedding), [{**row, "generation": generation} for row in rows])
            for part in _chunks([*batch.healed, *(row["path"] for row in batch.failed)]):
                connection.execute(delete(FailureRow).where(FailureRow.path.in_(part)))
            if batch.failed:
                connection.execute(insert(FailureRow), batch.failed)

    def hide(self, image_ids: Sequence[int]) -> None:
        """Mark files as missing; their rows and vectors stay."""
        now = time.time()
        with self.transaction() as connection:
            for part in _chunks(image_ids):
                connection.execute(update(Image).where(Image.id.in_(part)).values(missing_at=now))

    def forget_failures(self, paths: Sequence[bytes]) -> None:
        with self.transaction() as connection:
            for part in _chunks(paths):
                connection.execute(delete(FailureRow).where(FailureRow.path.in_(part)))

    def forget(self, path: bytes) -> int:
        """Take a file, or all inside a folder, out of the catalog; returns how many pictures went.

        What a person said of them is set aside, for when they come again.
        """
        low, high = under(path)
        with self.transaction() as connection:
            inside = (Image.path == path) | ((Image.path >= low) & (Image.path < high))
            gone = list(connection.scalars(select(Image.id).where(inside)))
            _delete_images(connection, gone)
            for table in (FailureRow, Root):
                connection.execute(
                    delete(table).where((table.path == path) | ((table.path >= low) & (table.path < high)))
                )
            return len(gone)

    def collect(self) -> int:
        """Remove the rows and vectors of missing pictures for good; returns how many.

        What a person said of them is set aside, for when they come again.
        """
        with self.transaction() as connection:
            gone = list(connection.scalars(select(Image.id).where(Image.missing_at.is_not(None))))
            _delete_images(connection, gone)
            return len(gone)

    def drop_encoders(self, encoder_ids: Sequence[int]) -> None:
        with self.transaction() as connection:
            for encoder_id in encoder_ids:
                connection.execute(delete(Embedding).where(Embedding.encoder_id == encoder_id))
                forget_vectors(connection, encoder_id)
                connection.execute(delete(Encoder).where(Encoder.id == encoder_id, ~Encoder.active))

    def drop_vectors(self, encoder_id: int, image_ids: Sequence[int]) -> None:
        """Take vectors away that are damaged, so that the next indexing makes them anew."""
        with self.transaction() as connection:
            for part in _chunks(image_ids):
                connection.execute(
                    delete(Embedding).where(Embedding.encoder_id == encoder_id, Embedding.image_id.in_(part))
                )
            connection.execute(update(Encoder).where(Encoder.id == encoder_id).values(epoch=new_epoch()))

    def drop_orphans(self) -> None:
        """Remove vectors that belong to no picture or no encoder."""
        with self.transaction() as connection:
            connection.execute(delete(Embedding).where(Embedding.image_id.not_in(select(Image.id))))
            connection.execute(delete(Embedding).where(Embedding.encoder_id.not_in(select(Encoder.id))))
            connection.execute(update(Encoder).values(epoch=new_epoch()))

    def reindex(self) -> None:
        """Make the database's own indexes anew from its tables."""
        if self._engine.dialect.name == "sqlite":
            with self.transaction() as connection:
                connection.exec_driver_sql("REINDEX")

    def compact(self) -> None:
        """Give free pages back to the disk, where the database knows how.

        That writes the whole file anew, beside the old one. Where a large one has few free pages,
        these are left for the rows to come.
        """
        if self._engine.dialect.name != "sqlite":
            return
        with self._translated(), contextlib.closing(self._engine.raw_connection()) as connection:
            cursor = connection.cursor()
            size, pages, free = (
                int(cursor.execute(f"PRAGMA {name}").fetchone()[0])
                for name in ("page_size", "page_count", "freelist_count")
            )
            if size * pages <= SOON_WRITTEN or free >= FREE_SHARE * pages:
                cursor.execute("VACUUM")
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _next_generation(self, connection: Connection, encoder_id: int) -> int:
        """A number that grows and is never given twice, not even after a backup was restored."""
        current = connection.scalar(select(Encoder.generation).where(Encoder.id == encoder_id))
        generation = next_generation(current)
        connection.execute(update(Encoder).where(Encoder.id == encoder_id).values(generation=generation))
        return generation

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Connection]:
        with self._translated(), self._engine.begin() as connection:
            yield connection

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn the database's errors into ours: the one place that does so for writing."""
        try:
            yield
        except UnicodeDecodeError as error:
            raise refused(self._location, error, operational=False) from error
        except DBAPIError as error:
            operational = isinstance(error, OperationalError)
            raise refused(self._location, error.orig or error, operational=operational) from error
        except sqlite3.Error as error:
            operational = isinstance(error, sqlite3.OperationalError)
            raise refused(self._location, error, operational=operational) from error


def _insert(connection: Connection, items: Sequence[NewImage]) -> list[int]:
    """Insert rows in the order given, so that ids follow the order of the files."""
    if not items:
        return []
    # Every row of one statement needs the same columns, and only a copy has all of them.
    rows = [
        {"phash": None, "ocr": None, **(item.values if item.source_id is None else _copied(connection, item))}
        for item in items
    ]
    statement = insert(Image).returning(Image.id, sort_by_parameter_order=True)
    return [int(row[0]) for row in connection.execute(statement, rows)]


def _copied(connection: Connection, item: NewImage) -> dict[str, Any]:
    source = connection.execute(select(Image.__table__).where(Image.id == item.source_id)).mappings().one()
    taken = item.taken if source["taken_source"] in (None, *FILE_SOURCES) else {}
    return {**{key: value for key, value in source.items() if key != "id"}, **taken, **item.values}


def _vector_of(connection: Connection, encoder_id: int, image_id: int | None) -> Vector | None:
    """The vector of a picture, for a copy of it; one that is damaged is not handed on as if it were sound."""
    row = connection.execute(
        select(Embedding.vector, Embedding.aux, Embedding.checksum).where(
            Embedding.encoder_id == encoder_id, Embedding.image_id == image_id
        )
    ).first()
    if row is None or checksum(row.vector, row.aux) != row.checksum:
        return None
    return Vector(bytes(row.vector), bytes(row.aux))


def _drop_vectors(connection: Connection, image_id: int, *, renewed_by: int) -> None:
    """Forget every encoder's vector of a picture; caches of those that get no new one start anew."""
    held = select(Embedding.encoder_id).where(
        Embedding.image_id == image_id, Embedding.encoder_id != renewed_by
    )
    connection.execute(update(Encoder).where(Encoder.id.in_(held)).values(epoch=new_epoch()))
    connection.execute(delete(Embedding).where(Embedding.image_id == image_id))
    # Other pixels: what the model said of the old ones stands only until tags are brought up to date.
    by_model = (ImageTag.image_id == image_id) & (ImageTag.source == "model")
    connection.execute(update(ImageTag).where(by_model).values(encoder_id=None))


def _delete_images(connection: Connection, image_ids: Sequence[int]) -> None:
    if not image_ids:
        return
    keep_vectors(connection, image_ids)
    contents: set[bytes] = set()
    for part in _chunks(image_ids):
        set_aside(connection, part)
        contents.update(map(bytes, connection.scalars(select(Image.content_hash).where(Image.id.in_(part)))))
        connection.execute(delete(Embedding).where(Embedding.image_id.in_(part)))
        delete_texts_of(connection, part)
        connection.execute(delete(ImageWords).where(ImageWords.image_id.in_(part)))
        connection.execute(delete(Image).where(Image.id.in_(part)))
    connection.execute(update(Encoder).values(epoch=new_epoch()))
    for part in _chunks(sorted(contents)):
        # A copy that stays, as in a folder that was renamed, takes over what was said.
        same = Image.content_hash.in_(part) & Image.missing_at.is_(None)
        bring_back(connection, list(connection.scalars(select(Image.id).where(same).order_by(Image.id))))


def _chunks(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(values), CHUNK):
        yield values[start : start + CHUNK]
