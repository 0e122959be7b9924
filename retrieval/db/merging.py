"""Bringing the rows of another catalog into this one, in one transaction.

Rows come with the ids that they have there. What is here stays as it is: only what is missing
comes, and what a person said there of pictures that are here, or that may come.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from sqlalchemy import func, insert, select, text, tuple_, update

from retrieval.db import said_writes
from retrieval.db.landing import Landing, Row, Source, parts, without_id
from retrieval.db.marks import new_epoch, next_generation
from retrieval.db.merging_said import Said
from retrieval.db.schema import (
    DescriptionRow,
    Embedding,
    Encoder,
    FailureRow,
    Image,
    Root,
    TextEmbedding,
    TextRow,
    TurnRow,
)
from retrieval.db.texts import CAPTION, SEARCHED, UPKEPT, content_hash
from retrieval.db.words_writes import renew_words
from retrieval.errors import EncoderMismatch
from retrieval.types import checksum

if TYPE_CHECKING:
    from retrieval.db.queries import Writer


def merge(writer: Writer, source: Source) -> tuple[dict[str, int], int]:
    """Bring everything in; returns how many rows of what came, and how many pictures were here already."""
    with writer.transaction() as connection:
        landing = Landing(connection, source)
        _Merging(landing).run()
        return landing.added, landing.known


class _Merging:
    def __init__(self, landing: Landing) -> None:
        self._landing = landing
        self._connection = landing.connection
        self._source = landing.source
        self._said = Said(landing)
        self._texts: dict[int, int] = {}
        """Ids there -> ids here."""
        self._touched: set[int] = set()
        """Pictures that texts came for."""

    def run(self) -> None:
        self._roots()
        self._models()
        self._pictures()
        self._failures()
        self._described = self._having_descriptions()
        self._add_texts()
        self._descriptions()
        for of, owners, table in (
            ("images", self._landing.images, Embedding),
            ("texts", self._texts, TextEmbedding),
        ):
            for encoder_id, rows in self._source.vectors(of):
                self._vectors(self._landing.encoders[encoder_id], rows, owners, table)
        self._said.bring()
        if self._landing.empty:
            self._landing.insert(TurnRow, self._source.rows("turns"))
            self._go_on_from_ids()
        else:
            said_writes.bring_back(self._connection, sorted({*self._landing.images.values()}))
        renew_words(self._connection, sorted(self._landing.new | self._touched))

    def _roots(self) -> None:
        known = set(map(bytes, self._connection.scalars(select(Root.path))))
        self._landing.insert(Root, (row for row in self._source.rows("roots") if row["path"] not in known))

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
                self._landing.encoders[row["id"]] = here.id
                continue
            values = {key: value for key, value in row.items() if key != "id"}
            values |= {"generation": 0, "epoch": new_epoch(), "text_epoch": new_epoch()}
            # Of its own time, so that no cache of where it comes from fits.
            values |= {"active": row["active"] and not taken, "created_at": time.time()}
            taken = taken or row["active"]
            made = self._connection.execute(insert(Encoder).values(values).returning(Encoder.id))
            self._landing.encoders[row["id"]] = int(made.scalar_one())

    def _pictures(self) -> None:
        last = self._connection.scalar(select(func.max(Image.id))) or 0
        for part in parts(self._source.rows("images")):
            if self._landing.empty:
                self._landing.insert(Image, part)
                self._landing.images.update((row["id"], row["id"]) for row in part)
                self._landing.new.update(row["id"] for row in part)
                continue
            paths, contents = self._here(part, last)
            coming = []
            for row in part:
                at = paths.get(row["path"])
                same = contents.get(row["content_hash"])
                if at is not None and at[1] == row["content_hash"]:
                    self._landing.images[row["id"]] = at[0]
                elif same is not None:
                    self._landing.images[row["id"]] = same
                elif at is not None:
                    self._landing.away[row["id"]] = (row["content_hash"], row["path"])
                else:
                    coming.append(row)
                    continue
                self._landing.known += 1
            ids = self._landing.insert(Image, [without_id(row) for row in coming], returning=Image.id)
            self._landing.images.update((row["id"], new) for row, new in zip(coming, ids, strict=True))
            self._landing.new.update(ids)

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
        for part in parts(self._source.rows("failures")):
            paths = [row["path"] for row in part]
            known: set[bytes] = set()
            for column in (FailureRow.path, Image.path):
                known.update(map(bytes, self._connection.scalars(select(column).where(column.in_(paths)))))
            self._landing.insert(FailureRow, [row for row in part if row["path"] not in known])

    def _having_descriptions(self) -> set[int]:
        if self._landing.empty:
            return set()
        searched = select(DescriptionRow.image_id).where(DescriptionRow.style == SEARCHED)
        return set(map(int, self._connection.scalars(searched)))

    def _add_texts(self) -> None:
        for part in parts(self._source.rows("texts")):
            coming: dict[bytes, tuple[int, Row]] = {}
            hashes: dict[int, bytes] = {}
            for row in part:
                there, source = row["image_id"], row["source"]
                here = None if there is None else self._landing.images.get(there)
                if there is not None and here is None:
                    if source not in UPKEPT:
                        self._said.set_text_aside(there, row)
                    continue
                known = here is not None and here not in self._landing.new
                # What indexing and describing look after here is theirs; but for a caption that is missing.
                if known and source in UPKEPT and (source, here in self._described) != (CAPTION, False):
                    continue
                digest = content_hash(row["text"], here, source=source, origin=row["origin"])
                hashes[row["id"]] = digest
                values = {**row, "image_id": here, "content_hash": digest}
                coming.setdefault(digest, (row["id"], values if self._landing.empty else without_id(values)))
            found = select(TextRow.id, TextRow.content_hash).where(TextRow.content_hash.in_(list(coming)))
            ids = {bytes(row.content_hash): int(row.id) for row in self._connection.execute(found)}
            new = {digest: values for digest, (_, values) in coming.items() if digest not in ids}
            made = self._landing.insert(TextRow, list(new.values()), returning=TextRow.id)
            ids |= dict(zip(new, made, strict=True))
            self._touched.update(row["image_id"] for row in new.values() if row["image_id"] is not None)
            self._texts.update((old, ids[digest]) for old, digest in hashes.items())

    def _descriptions(self) -> None:
        for part in parts(self._landing.mapped("descriptions", "image_id")):
            key = tuple_(DescriptionRow.image_id, DescriptionRow.style)
            self._landing.insert_new(DescriptionRow, part, key, ("image_id", "style"))

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
        for part in parts(rows):
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
            self._landing.insert(table, new)
            came += len(new)
        if came:
            values = {number.key: generation}
            self._connection.execute(update(Encoder).where(Encoder.id == encoder_id).values(values))

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
