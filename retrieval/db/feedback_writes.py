"""Keeping what is said of answers, and taking it back."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, select, update

from retrieval.db.schema import FeedbackRow

if TYPE_CHECKING:
    from retrieval.db.queries import Writer


def add(writer: Writer, query: str, said: Mapping[int, bool]) -> None:
    """Keep for each picture whether it is a right answer; the last word on a picture counts."""
    with writer.transaction() as connection:
        known = {
            int(row.image_id): int(row.id)
            for row in connection.execute(
                select(FeedbackRow.id, FeedbackRow.image_id).where(FeedbackRow.query == query)
            )
        }
        for image_id, good in said.items():
            values = {"query": query, "image_id": image_id, "good": good, "said_at": time.time()}
            if image_id in known:
                mine = FeedbackRow.id == known[image_id]
                connection.execute(update(FeedbackRow).where(mine).values(values))
            else:
                connection.execute(insert(FeedbackRow).values(values))


def remove(writer: Writer, ids: Sequence[int]) -> int:
    """Take back what was said; returns how much of it there was."""
    with writer.transaction() as connection:
        return sum(
            connection.execute(delete(FeedbackRow).where(FeedbackRow.id == one)).rowcount for one in ids
        )


def remove_query(writer: Writer, query: str) -> int:
    with writer.transaction() as connection:
        return int(connection.execute(delete(FeedbackRow).where(FeedbackRow.query == query)).rowcount)
