"""Keeping what concepts are taught with."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import delete, func, insert, select, update

from retrieval.db.schema import ConceptExample, ConceptRow

if TYPE_CHECKING:
    from retrieval.db.queries import Writer


@dataclass(frozen=True, slots=True)
class NewExample:
    """A picture to learn from: of the catalog by its id, or from outside with its vector."""

    path: bytes
    content_hash: bytes
    good: bool
    image_id: int | None = None
    encoder_id: int | None = None
    vector: bytes | None = None


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
            if example.content_hash in known:
                same = ConceptExample.id == known[example.content_hash]
                connection.execute(update(ConceptExample).where(same).values(good=example.good))
                continue
            row = {
                "concept_id": concept,
                "image_id": example.image_id,
                "path": example.path,
                "content_hash": example.content_hash,
                "good": example.good,
                "encoder_id": example.encoder_id,
                "vector": example.vector,
                "added_at": time.time(),
            }
            made = connection.execute(insert(ConceptExample).values(row).returning(ConceptExample.id))
            known[example.content_hash] = int(made.scalar_one())


def renew(writer: Writer, encoder_id: int, vectors: Mapping[int, bytes]) -> None:
    """Keep what another encoder makes of pictures from outside, by the examples' ids."""
    with writer.transaction() as connection:
        for example, vector in vectors.items():
            connection.execute(
                update(ConceptExample)
                .where(ConceptExample.id == example)
                .values(encoder_id=encoder_id, vector=vector)
            )


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
