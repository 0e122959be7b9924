"""Bringing the rows of another catalog into this one, in one transaction.

Rows come with the ids that they have there. What is here stays as it is: only what is missing
comes, and what a person said there of pictures that are here, or that may come.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

from sqlalchemy import delete, func, insert, select, text, tuple_, update

from retrieval.db import said_writes
from retrieval.db.marks import new_epoch, next_generation
from retrieval.db.reader import CHUNK
from retrieval.db.schema import (
    Base,
    ConceptExample,
    ConceptRow,
    DescriptionRow,
    Embedding,
    Encoder,
    FailureRow,
    FeedbackRow,
    Image,
    ImageTag,
    NotDuplicates,
    Root,
    SaidRow,
    TextEmbedding,
    TextRow,
    TurnRow,
    VocabularyRow,
)
from retrieval.db.tags import PERSON
from retrieval.db.texts import CAPTION, SEARCHED, UPKEPT, content_hash
from retrieval.db.words_writes import renew_words
from retrieval.errors import EncoderMismatch
from retrieval.types import checksum

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from retrieval.db.queries import Writer

Row = dict[str, Any]
OURS = (Image, TextRow, Encoder, ConceptRow, FeedbackRow, SaidRow, Root, FailureRow, VocabularyRow, TurnRow)
"""A catalog with none of these is empty."""


class Source(Protocol):
    """Where rows come from."""

    def rows(self, name: str) -> Iterator[Row]: ...

    def vectors(self, of: str) -> Iterator[tuple[int, Iterator[tuple[int, bytes, bytes]]]]: ...


def merge(writer: Writer, source: Source) -> tuple[dict[str, int], int]:
    """Bring everything in; returns how many rows of what came, and how many pictures were here already."""
    with writer.transaction() as connection:
        merging = _Merging(connection, source)
        merging.run()
        return merging.added, merging.known


class _Merging:
    def __init__(self, connection: Connection, source: Source) -> None:
        self._connection = connection
        self._source = source
        self._empty = not any(self._count(table) for table in OURS)
        self.added: dict[str, int] = {}
        self.known = 0
        self._images: dict[int, int] = {}
        """Ids there -> ids here."""
        self._new: set[int] = set()
        """Those of them that came with this."""
        self._away: dict[int, tuple[bytes, bytes]] = {}
        """Ids there of pictures whose place is taken here by another content: that content, and the place."""
        self._texts: dict[int, int] = {}
        self._encoders: dict[int, int] = {}
        self._touched: set[int] = set()

    def run(self) -> None:
        self._roots()
        self._models()
        self._pictures()
        self._failures()
        self._described = self._having_descriptions()
        self._add_texts()
        self._descriptions()
        for of, owners, table in (
            ("images", self._images, Embedding),
            ("texts", self._texts, TextEmbedding),
        ):
            for encoder_id, rows in self._source.vectors(of):
                self._vectors(self._encoders[encoder_id], rows, owners, table)
        self._tags()
        self._pairs()
        self._concepts()
        self._feedback()
        self._said()
        if self._empty:
            self._insert(TurnRow, self._source.rows("turns"))
            self._go_on_from_ids()
        else:
            said_writes.bring_back(self._connection, sorted({*self._images.values()}))
        renew_words(self._connection, sorted(self._new | self._touched))

    def _roots(self) -> None:
        known = set(map(bytes, self._connection.scalars(select(Root.path))))
        self._insert(Root, (row for row in self._source.rows("roots") if row["path"] not in known))

    def _models(self) -> None:
        known = {
            row.key: row for row in self._connection.execute(select(Encoder.id, Encoder.key, Encoder.dim))
        }
        taken = self._connection.scalar(select(Encoder.id).where(Encoder.active)) is not None
        for row in self._source.rows("encoders"):
            here = known.get(row["key"])
            if here is not None:
                if here.dim != row["dim"]:
                    raise EncoderMismatch(
                        f"Vectors of {row['key']} have {here.dim} numbers here, and {row['dim']} there. "
                        "They cannot be of one model, and nothing was imported."
                    )
                self._encoders[row["id"]] = here.id
                continue
            values = {key: value for key, value in row.items() if key != "id"}
            values |= {"generation": 0, "epoch": new_epoch(), "text_epoch": new_epoch()}
            # Of its own time, so that no cache of where it comes from fits.
            values |= {"active": row["active"] and not taken, "created_at": time.time()}
            taken = taken or row["active"]
            made = self._connection.execute(insert(Encoder).values(values).returning(Encoder.id))
            self._encoders[row["id"]] = int(made.scalar_one())

    def _pictures(self) -> None:
        last = self._connection.scalar(select(func.max(Image.id))) or 0
        for part in _parts(self._source.rows("images")):
            if self._empty:
                self._insert(Image, part)
                self._images.update((row["id"], row["id"]) for row in part)
                self._new.update(row["id"] for row in part)
                continue
            paths, contents = self._here(part, last)
            coming = []
            for row in part:
                at = paths.get(row["path"])
                same = contents.get(row["content_hash"])
                if at is not None and at[1] == row["content_hash"]:
                    self._images[row["id"]] = at[0]
                elif same is not None:
                    self._images[row["id"]] = same
                elif at is not None:
                    self._away[row["id"]] = (row["content_hash"], row["path"])
                else:
                    coming.append(row)
                    continue
                self.known += 1
            ids = self._insert(Image, [_without_id(row) for row in coming], returning=Image.id)
            self._images.update((row["id"], new) for row, new in zip(coming, ids, strict=True))
            self._new.update(ids)

    def _here(
        self, part: Sequence[Row], last: int
    ) -> tuple[dict[bytes, tuple[int, bytes]], dict[bytes, int]]:
        """What is at the places of some pictures, and where their contents were before anything came."""
        columns = select(Image.id, Image.path, Image.content_hash)
        at = columns.where(Image.path.in_([row["path"] for row in part]))
        paths = {
            bytes(row.path): (int(row.id), bytes(row.content_hash)) for row in self._connection.execute(at)
        }
        same = columns.where(Image.content_hash.in_({row["content_hash"] for row in part}), Image.id <= last)
        # The first of several, and rather one that is not missing.
        best = same.order_by(Image.missing_at.is_(None), Image.id.desc())
        contents = {bytes(row.content_hash): int(row.id) for row in self._connection.execute(best)}
        return paths, contents

    def _failures(self) -> None:
        for part in _parts(self._source.rows("failures")):
            paths = [row["path"] for row in part]
            known: set[bytes] = set()
            for column in (FailureRow.path, Image.path):
                known.update(map(bytes, self._connection.scalars(select(column).where(column.in_(paths)))))
            self._insert(FailureRow, [row for row in part if row["path"] not in known])

    def _having_descriptions(self) -> set[int]:
        if self._empty:
            return set()
        searched = select(DescriptionRow.image_id).where(DescriptionRow.style == SEARCHED)
        return set(map(int, self._connection.scalars(searched)))

    def _add_texts(self) -> None:
        for part in _parts(self._source.rows("texts")):
            coming: dict[bytes, tuple[int, Row]] = {}
            hashes: dict[int, bytes] = {}
            for row in part:
                there, source = row["image_id"], row["source"]
                here = None if there is None else self._images.get(there)
                if there is not None and here is None:
                    if source not in UPKEPT:
                        self._set_aside(there, said_writes.TEXT, _said_text(row))
                    continue
                known = here is not None and here not in self._new
                # What indexing and describing look after here is theirs; but for a caption that is missing.
                if known and source in UPKEPT and (source, here in self._described) != (CAPTION, False):
                    continue
                digest = content_hash(row["text"], here, source=source, origin=row["origin"])
                hashes[row["id"]] = digest
                values = {**row, "image_id": here, "content_hash": digest}
                coming.setdefault(digest, (row["id"], values if self._empty else _without_id(values)))
            found = select(TextRow.id, TextRow.content_hash).where(TextRow.content_hash.in_(list(coming)))
            ids = {bytes(row.content_hash): int(row.id) for row in self._connection.execute(found)}
            new = {digest: values for digest, (_, values) in coming.items() if digest not in ids}
            made = self._insert(TextRow, list(new.values()), returning=TextRow.id)
            ids |= dict(zip(new, made, strict=True))
            self._touched.update(row["image_id"] for row in new.values() if row["image_id"] is not None)
            self._texts.update((old, ids[digest]) for old, digest in hashes.items())

    def _descriptions(self) -> None:
        for part in _parts(self._mapped("descriptions", "image_id")):
            key = tuple_(DescriptionRow.image_id, DescriptionRow.style)
            self._insert_new(DescriptionRow, part, key, ("image_id", "style"))

    def _vectors(
        self,
        encoder_id: int,
        rows: Iterable[tuple[int, bytes, bytes]],
        owners: dict[int, int],
        table: type[Embedding] | type[TextEmbedding],
    ) -> None:
        """Vectors of those who have none of that model; they count from now on, as if made just now."""
        of_images = table is Embedding
        owner = "image_id" if of_images else "text_id"
        column = table.__table__.c[owner]
        number = Encoder.generation if of_images else Encoder.text_generation
        current = self._connection.scalar(select(number).where(Encoder.id == encoder_id))
        generation, came = next_generation(current), 0
        for part in _parts(rows):
            mine = {owners[old]: (vector, aux) for old, vector, aux in part if old in owners}
            there = select(column).where(table.__table__.c.encoder_id == encoder_id, column.in_(list(mine)))
            known = set(self._connection.scalars(there))
            new = [
                {
                    "encoder_id": encoder_id,
                    owner: key,
                    "vector": vector,
                    **({"aux": aux} if of_images else {}),
                    "checksum": checksum(vector, aux),
                    "generation": generation,
                }
                for key, (vector, aux) in mine.items()
                if key not in known
            ]
            self._insert(table, new)
            came += len(new)
        if came:
            values = {number.key: generation}
            self._connection.execute(update(Encoder).where(Encoder.id == encoder_id).values(values))

    def _tags(self) -> None:
        known = set(self._connection.scalars(select(VocabularyRow.tag)))
        self._insert(
            VocabularyRow, (row for row in self._source.rows("vocabulary") if row["tag"] not in known)
        )
        for part in _parts(self._source.rows("image_tags")):
            coming = []
            for row in part:
                here = self._images.get(row["image_id"])
                said = row["source"] == PERSON
                if here is None:
                    if said:
                        data = {"tag": row["tag"], "kept": row["kept"]}
                        self._set_aside(row["image_id"], said_writes.TAG, data)
                elif said or here in self._new:
                    model = row["encoder_id"]
                    encoder_id = None if model is None else self._encoders[model]
                    coming.append({**row, "image_id": here, "encoder_id": encoder_id})
            for row in [
                row for row in coming if row["source"] == PERSON and row["image_id"] not in self._new
            ]:
                mine = (ImageTag.image_id == row["image_id"]) & (ImageTag.tag == row["tag"])
                self._connection.execute(delete(ImageTag).where(mine, ImageTag.source != PERSON))
            key = tuple_(ImageTag.image_id, ImageTag.tag)
            self._insert_new(ImageTag, coming, key, ("image_id", "tag"))

    def _pairs(self) -> None:
        for part in _parts(self._source.rows("not_duplicates")):
            coming = []
            for row in part:
                there = (row["first_id"], row["second_id"])
                here = [self._images.get(one) for one in there]
                if None not in here and here[0] != here[1]:
                    first, second = sorted(one for one in here if one is not None)
                    coming.append({**row, "first_id": first, "second_id": second})
                elif None in here:
                    self._set_pair_aside(there, row["said_at"])
            key = tuple_(NotDuplicates.first_id, NotDuplicates.second_id)
            self._insert_new(NotDuplicates, coming, key, ("first_id", "second_id"))

    def _concepts(self) -> None:
        columns = select(ConceptRow.id, ConceptRow.name)
        known = {str(row.name): int(row.id) for row in self._connection.execute(columns)}
        mapped: dict[int, int] = {}
        for row in self._source.rows("concepts"):
            if row["name"] not in known:
                (known[row["name"]],) = self._insert(ConceptRow, [_without_id(row)], returning=ConceptRow.id)
            mapped[row["id"]] = known[row["name"]]
        examples = (
            {
                **row,
                "concept_id": mapped[row["concept_id"]],
                "encoder_id": None if row["encoder_id"] is None else self._encoders[row["encoder_id"]],
            }
            for row in self._source.rows("concept_examples")
        )
        for part in _parts(examples):
            key = tuple_(ConceptExample.concept_id, ConceptExample.content_hash)
            self._insert_new(ConceptExample, part, key, ("concept_id", "content_hash"))

    def _feedback(self) -> None:
        for part in _parts(self._source.rows("feedback")):
            key = tuple_(FeedbackRow.query, FeedbackRow.content_hash)
            self._insert_new(FeedbackRow, part, key, ("query", "content_hash"))

    def _said(self) -> None:
        """What waits there for pictures to come; it waits here too, and once only."""
        for part in _parts(self._source.rows("said")):
            self._wait(part)

    def _set_aside(self, there: int, kind: str, data: dict[str, Any]) -> None:
        content, path = self._away[there]
        self._wait([_waiting(kind, content, path, data)])

    def _set_pair_aside(self, there: tuple[int, int], said_at: float) -> None:
        sides = []
        for one in there:
            here = self._images.get(one)
            if here is None:
                sides.append(self._away[one])
                continue
            row = self._connection.execute(
                select(Image.content_hash, Image.path).where(Image.id == here)
            ).one()
            sides.append((bytes(row.content_hash), bytes(row.path)))
        (content, path), (other, at) = sides
        self._wait([{**_waiting(said_writes.PAIR, content, path, {"said_at": said_at}),
                     "other_hash": other, "other_path": at}])  # fmt: skip

    def _wait(self, rows: Sequence[Row]) -> None:
        contents = {row["content_hash"] for row in rows}
        known = [
            _alike(dict(row._mapping))
            for row in self._connection.execute(
                select(SaidRow.__table__).where(SaidRow.content_hash.in_(contents))
            )
        ]
        for row in rows:
            alike = _alike(row)
            if self._empty or alike not in known:
                known.append(alike)
                self._insert(SaidRow, [row])

    def _mapped(self, name: str, *columns: str) -> Iterator[Row]:
        """Rows of pictures that are here, by their ids here."""
        for row in self._source.rows(name):
            ids = {column: self._images.get(row[column]) for column in columns}
            if None not in ids.values():
                yield {**row, **ids}

    def _insert_new(self, table: type[Base], rows: Sequence[Row], key: Any, names: Sequence[str]) -> None:
        """Insert those whose key is not there; of several with one key, the first."""
        coming: dict[tuple[Any, ...], Row] = {}
        for row in rows:
            coming.setdefault(tuple(row[name] for name in names), row)
        keys = list(coming)
        for start in range(0, len(keys), CHUNK // 4):
            part = keys[start : start + CHUNK // 4]
            columns = [table.__table__.c[name] for name in names]
            for found in self._connection.execute(select(*columns).where(key.in_(part))):
                coming.pop(tuple(bytes(one) if isinstance(one, memoryview) else one for one in found), None)
        self._insert(table, list(coming.values()))

    def _insert(self, table: type[Base], rows: Iterable[Row], *, returning: Any = None) -> list[int]:
        ids: list[int] = []
        for part in _parts(rows):
            if returning is None:
                self._connection.execute(insert(table), part)
            else:
                made = insert(table).returning(returning, sort_by_parameter_order=True)
                ids += map(int, self._connection.scalars(made, part))
            name = table.__tablename__
            self.added[name] = self.added.get(name, 0) + len(part)
        return ids

    def _count(self, table: type[Base]) -> int:
        return int(self._connection.scalar(select(func.count()).select_from(table.__table__)) or 0)

    def _go_on_from_ids(self) -> None:
        """Ids came along: where the database counts them by itself, it goes on behind them."""
        if self._connection.dialect.name != "postgresql":
            return
        for name in ("images", "texts", "turns"):
            self._connection.execute(
                text(
                    f"SELECT setval(pg_get_serial_sequence('{name}', 'id'), "
                    f"(SELECT COALESCE(MAX(id), 1) FROM {name}))"
                )
            )


def _parts(rows: Iterable[Any]) -> Iterator[list[Any]]:
    rest = iter(rows)
    while part := list(islice(rest, CHUNK)):
        yield part


def _without_id(row: Row) -> Row:
    return {key: value for key, value in row.items() if key != "id"}


def _said_text(row: Row) -> dict[str, Any]:
    origin = None if row["origin"] is None else row["origin"].hex()
    return {**{key: row[key] for key in ("text", "source", "name", "stamp")}, "origin": origin}


def _waiting(kind: str, content: bytes, path: bytes, data: dict[str, Any]) -> Row:
    return {
        "kind": kind,
        "content_hash": content,
        "path": path,
        "other_hash": None,
        "other_path": None,
        "data": data,
    }


def _alike(row: Row) -> tuple[Any, ...]:
    """What makes two of them the same: all but the id, and when a pair was said."""
    data = {} if row["kind"] == said_writes.PAIR else row["data"]
    names = ("content_hash", "path", "other_hash", "other_path")
    return row["kind"], *(row[name] and bytes(row[name]) for name in names), data
