"""Reading the latest conversation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from retrieval.db.reader import Reader


@dataclass(frozen=True, slots=True)
class Said:
    """A question and its answer, as they were kept."""

    question: str
    answer: str
    plan: Mapping[str, Any]


def turns(reader: Reader, limit: int) -> list[Said]:
    """The last `limit` turns of the latest conversation, the oldest first."""
    rows = reader.rows("SELECT question, answer, plan FROM turns ORDER BY id DESC LIMIT :n", n=limit)
    return [Said(str(question), str(answer), _object(plan)) for question, answer, plan in reversed(rows)]


def _object(value: Any) -> dict[str, Any]:
    """A JSON column: SQLite gives its text, other databases what it says."""
    found = json.loads(value) if isinstance(value, str | bytes) else value
    return found if isinstance(found, dict) else {}
