"""What a person said in another catalog: of pictures that are here, and of those that may come."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, select, tuple_

from retrieval.db import said_writes
from retrieval.db.landing import Landing, Row, parts, without_id
from retrieval.db.schema import (
    ConceptExample,
    ConceptRow,
    FeedbackRow,
    Image,
    ImageTag,
    NotDuplicates,
    SaidRow,
    VocabularyRow,
)
from retrieval.db.tags import PERSON


class Said:
    """Brings it in once the pictures and models are in; what is of no picture here waits for its picture."""

    def __init__(self, landing: Landing) -> None:
        self._landing = landing
        self._connection = landing.connection
        self._source = landing.source

    def bring(self) -> None:
        self._tags()
        self._pairs()
        self._concepts()
        self._feedback()
        self._said()

    def set_text_aside(self, there: int, row: Row) -> None:
        origin = None if row["origin"] is None else row["origin"].hex()
        data = {**{key: row[key] for key in ("text", "source", "name", "stamp")}, "origin": origin}
        self._set_aside(there, said_writes.TEXT, data)

    def _tags(self) -> None:
        known = set(self._connection.scalars(select(VocabularyRow.tag)))
        self._landing.insert(
            VocabularyRow, (row for row in self._source.rows("vocabulary") if row["tag"] not in known)
        )
        for part in parts(self._source.rows("image_tags")):
            coming = []
            for row in part:
                here = self._landing.images.get(row["image_id"])
                said = row["source"] == PERSON
                if here is None:
                    if said:
                        data = {"tag": row["tag"], "kept": row["kept"]}
                        self._set_aside(row["image_id"], said_writes.TAG, data)
                elif said or here in self._landing.new:
                    model = row["encoder_id"]
                    encoder_id = None if model is None else self._landing.encoders[model]
                    coming.append({**row, "image_id": here, "encoder_id": encoder_id})
            for row in [
                row for row in coming if row["source"] == PERSON and row["image_id"] not in self._landing.new
            ]:
                mine = (ImageTag.image_id == row["image_id"]) & (ImageTag.tag == row["tag"])
                self._connection.execute(delete(ImageTag).where(mine, ImageTag.source != PERSON))
            key = tuple_(ImageTag.image_id, ImageTag.tag)
            self._landing.insert_new(ImageTag, coming, key, ("image_id", "tag"))

    def _pairs(self) -> None:
        for part in parts(self._source.rows("not_duplicates")):
            coming = []
            for row in part:
                there = (row["first_id"], row["second_id"])
                here = [self._landing.images.get(one) for one in there]
                if None not in here and here[0] != here[1]:
                    first, second = sorted(one for one in here if one is not None)
                    coming.append({**row, "first_id": first, "second_id": second})
                elif None in here:
                    self._set_pair_aside(there, row["said_at"])
            key = tuple_(NotDuplicates.first_id, NotDuplicates.second_id)
            self._landing.insert_new(NotDuplicates, coming, key, ("first_id", "second_id"))

    def _concepts(self) -> None:
        columns = select(ConceptRow.id, ConceptRow.name)
        known = {str(row.name): int(row.id) for row in self._connection.execute(columns)}
        mapped: dict[int, int] = {}
        for row in self._source.rows("concepts"):
            if row["name"] not in known:
                (known[row["name"]],) = self._landing.insert(
                    ConceptRow, [without_id(row)], returning=ConceptRow.id
                )
            mapped[row["id"]] = known[row["name"]]
        examples = (
            {
                **row,
                "concept_id": mapped[row["concept_id"]],
                "encoder_id": None
                if row["encoder_id"] is None
                else self._landing.encoders[row["encoder_id"]],
                "vector": None if row["encoder_id"] is None else row["vector"],
            }
            for row in self._source.rows("concept_examples")
        )
        for part in parts(examples):
            key = tuple_(ConceptExample.concept_id, ConceptExample.content_hash)
            self._landing.insert_new(ConceptExample, part, key, ("concept_id", "content_hash"))

    def _feedback(self) -> None:
        for part in parts(self._source.rows("feedback")):
            key = tuple_(FeedbackRow.query, FeedbackRow.content_hash)
            self._landing.insert_new(FeedbackRow, part, key, ("query", "content_hash"))

    def _said(self) -> None:
        """What waits there for pictures to come; it waits here too, and once only."""
        for part in parts(self._source.rows("said")):
            self._wait(part)

    def _set_aside(self, there: int, kind: str, data: dict[str, Any]) -> None:
        content, path = self._landing.away[there]
        self._wait([_waiting(kind, content, path, data)])

    def _set_pair_aside(self, there: tuple[int, int], said_at: float) -> None:
        sides = []
        for one in there:
            here = self._landing.images.get(one)
            if here is None:
                sides.append(self._landing.away[one])
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
            if self._landing.empty or alike not in known:
                known.append(alike)
                self._landing.insert(SaidRow, [row])


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
