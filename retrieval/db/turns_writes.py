"""Keeping the latest conversation."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, select

from retrieval.db.schema import TurnRow

if TYPE_CHECKING:
    from retrieval.db.queries import Writer

KEPT = 50
"""Turns of a conversation beyond these are forgotten, the oldest first."""


def keep(writer: Writer, question: str, answer: str, plan: Mapping[str, Any], *, goes_on: bool) -> None:
    """Add a turn; one that does not go on with the conversation takes the place of all of it."""
    with writer.transaction() as connection:
        if not goes_on:
            connection.execute(delete(TurnRow))
        values = {"asked_at": time.time(), "question": question, "answer": answer, "plan": dict(plan)}
        connection.execute(insert(TurnRow).values(values))
        newest = select(TurnRow.id).order_by(TurnRow.id.desc()).limit(KEPT).scalar_subquery()
        connection.execute(delete(TurnRow).where(TurnRow.id.not_in(newest)))
