"""Keeping what is said of answers, and taking it back."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, select, update

from retrieval.db.schema import FeedbackRow

if TYPE_CHECKING:
    from retrieval.db.queries import Writer


def add(writer: Writer, query: str, said: Mapping[bytes, tuple[bytes, bool]]) -> None:
    """Keep of each content, at a path, whether it is a right answer; the last word on it counts."""
    with writer.transaction() as connection:
        known = {
            bytes(row.content_hash): int(row.id)
            for row in connection.execute(
                select(FeedbackRow.id, FeedbackRow.content_hash).where(FeedbackRow.query == query)
            )
        }
        for content, (path, good) in said.items():
            values = {
                "query": query,
                "content_hash": content,
                "path": path,
                "good": good,
                "said_at": time.time(),
            }
            if content in known:
                mine = FeedbackRow.id == known[content]
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
