"""Keeping what concepts are taught with."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import delete, func, insert, select, update

from retrieval.db.reader import CHUNK
from retrieval.db.schema import ConceptExample, ConceptRow, Embedding, Encoder, Image
from retrieval.types import checksum

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from retrieval.db.queries import Writer


@dataclass(frozen=True, slots=True)
class NewExample:
    """A picture to learn from, and what an encoder made of it."""

    path: bytes
    content_hash: bytes
    good: bool
    encoder_id: int
    vector: bytes


def add(writer: Writer, name: str, given: Sequence[NewExample]) -> None:
    """Teach a concept, made if it is new; a picture it knows already only changes sides."""
    with writer.transaction() as connection:
        concept = connection.scalar(select(ConceptRow.id).where(ConceptRow.name == name))
        if concept is None:
            values = {"name": name, "created_at": time.time()}
            concept = connection.execute(
                insert(ConceptRow).values(values).returning(ConceptRow.id)
            ).scalar_one()
        known = {
            bytes(row.content_hash): int(row.id)
            for row in connection.execute(
                select(ConceptExample.id, ConceptExample.content_hash).where(
                    ConceptExample.concept_id == concept
                )
            )
        }
        for example in given:
            seen = {"good": example.good, "encoder_id": example.encoder_id, "vector": example.vector}
            if example.content_hash in known:
                same = ConceptExample.id == known[example.content_hash]
                connection.execute(update(ConceptExample).where(same).values(seen))
                continue
            row = {
                "concept_id": concept,
                "path": example.path,
                "content_hash": example.content_hash,
                **seen,
                "added_at": time.time(),
            }
            made = connection.execute(insert(ConceptExample).values(row).returning(ConceptExample.id))
            known[example.content_hash] = int(made.scalar_one())


def renew(writer: Writer, encoder_id: int, vectors: Mapping[int, bytes]) -> None:
    """Keep what another encoder makes of examples, by their ids."""
    with writer.transaction() as connection:
        for example, vector in vectors.items():
            connection.execute(
                update(ConceptExample)
                .where(ConceptExample.id == example)
                .values(encoder_id=encoder_id, vector=vector)
            )


def keep_vectors(connection: Connection, image_ids: Sequence[int]) -> None:
    """Keep with the examples what the model in use made of pictures that go, or change, after this."""
    for start in range(0, len(image_ids), CHUNK):
        seen = (
            select(
                ConceptExample.id,
                Embedding.encoder_id,
                Embedding.vector,
                Embedding.aux,
                Embedding.checksum,
            )
            .join(Image, Image.content_hash == ConceptExample.content_hash)
            .join(Embedding, Embedding.image_id == Image.id)
            .join(Encoder, Encoder.id == Embedding.encoder_id)
            .where(Image.id.in_(image_ids[start : start + CHUNK]), Encoder.active)
        )
        for row in connection.execute(seen).all():
            # One that is damaged is not handed on as if it were sound.
            if checksum(row.vector, row.aux) == row.checksum:
                connection.execute(
                    update(ConceptExample)
                    .where(ConceptExample.id == row.id)
                    .values(encoder_id=row.encoder_id, vector=row.vector)
                )


def forget_vectors(connection: Connection, encoder_id: int) -> None:
    """Forget what a model made of examples, before it goes: of no model a vector says nothing."""
    seen = ConceptExample.encoder_id == encoder_id
    connection.execute(update(ConceptExample).where(seen).values(encoder_id=None, vector=None))


def remove(writer: Writer, name: str) -> int:
    """Forget a concept; returns how many examples it had."""
    with writer.transaction() as connection:
        concept = connection.scalar(select(ConceptRow.id).where(ConceptRow.name == name))
        mine = ConceptExample.concept_id == concept
        count = connection.scalar(select(func.count()).select_from(ConceptExample).where(mine))
        connection.execute(delete(ConceptExample).where(mine))
        connection.execute(delete(ConceptRow).where(ConceptRow.id == concept))
        return int(count or 0)


def remove_examples(writer: Writer, example_ids: Sequence[int]) -> None:
    with writer.transaction() as connection:
        for example in example_ids:
            connection.execute(delete(ConceptExample).where(ConceptExample.id == example))
