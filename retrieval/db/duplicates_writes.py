"""What is written about pictures that are the same: one transaction a call."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, delete, insert, select, tuple_, update

from retrieval.db.reader import CHUNK
from retrieval.db.schema import Image, NotDuplicates

if TYPE_CHECKING:
    from collections.abc import Sequence

    from retrieval.db.queries import Writer


def store_signatures(writer: Writer, signatures: Sequence[tuple[int, bytes, bytes]]) -> None:
    """Keep (image id, content hash, signature); a picture whose content changed meanwhile keeps its own."""
    if not signatures:
        return
    same = (Image.id == bindparam("of")) & (Image.content_hash == bindparam("made_of"))
    statement = update(Image).where(same).values(phash=bindparam("made"))
    rows = [{"of": image_id, "made_of": content, "made": made} for image_id, content, made in signatures]
    with writer.transaction() as connection:
        connection.execute(statement, rows)


def mark_not_duplicates(writer: Writer, pairs: Sequence[tuple[int, int]]) -> int:
    """Remember pairs, the lower id first; returns how many were new."""
    key = tuple_(NotDuplicates.first_id, NotDuplicates.second_id)
    with writer.transaction() as connection:
        known: set[tuple[int, int]] = set()
        for start in range(0, len(pairs), CHUNK // 2):
            statement = select(NotDuplicates.first_id, NotDuplicates.second_id).where(
                key.in_(pairs[start : start + CHUNK // 2])
            )
            known.update((int(first), int(second)) for first, second in connection.execute(statement))
        now = time.time()
        rows = [
            {"first_id": first, "second_id": second, "said_at": now}
            for first, second in pairs
            if (first, second) not in known
        ]
        if rows:
            connection.execute(insert(NotDuplicates), rows)
        return len(rows)


def unmark_not_duplicates(writer: Writer, pairs: Sequence[tuple[int, int]]) -> int:
    """Forget pairs; returns how many there were."""
    key = tuple_(NotDuplicates.first_id, NotDuplicates.second_id)
    with writer.transaction() as connection:
        return sum(
            connection.execute(
                delete(NotDuplicates).where(key.in_(pairs[start : start + CHUNK // 2]))
            ).rowcount
            for start in range(0, len(pairs), CHUNK // 2)
        )
