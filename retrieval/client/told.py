"""What a server tells, as the library's own results and errors."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrieval import errors
from retrieval.errors import QueryError, RetrievalError
from retrieval.types import (
    Answer,
    Citation,
    Cost,
    Description,
    Hit,
    Hits,
    Span,
    Status,
    Step,
    Tag,
    TextHit,
    TextHits,
    Timeline,
)

if TYPE_CHECKING:
    from retrieval.atlas import Map


def error_of(row: Mapping[str, Any]) -> RetrievalError:
    """A problem as the error of the library that it was."""
    named: object = getattr(errors, str(row.get("kind")), None)
    kind = named if isinstance(named, type) and issubclass(named, RetrievalError) else RetrievalError
    said = str(row["detail"])
    if issubclass(kind, QueryError):
        return kind(said, query=row.get("query"), at=row.get("at") or 0)
    if issubclass(kind, errors.ImageError):
        return kind(said, reason=row.get("reason"))
    return kind(said)


def _path(row: Mapping[str, Any]) -> Path:
    raw = row.get("path_b64")
    return Path(row["path"] if raw is None else os.fsdecode(base64.b64decode(raw)))


def hit(row: Mapping[str, Any]) -> Hit:
    return Hit(
        row["image_id"],
        _path(row),
        row["score"],
        row["match"],
        row["rank"],
        taken_at=row.get("taken_at"),
        taken_source=row.get("taken_source"),
        width=row.get("width"),
        height=row.get("height"),
        rerank_score=row.get("rerank_score"),
        signals=row.get("explain") or {},
    )


def hits(row: Mapping[str, Any]) -> Hits:
    return Hits(
        [hit(one) for one in row["hits"]],
        closest=[hit(one) for one in row["closest"]],
        cutoff=row["cutoff"],
        notes=row["notes"],
    )


def text_hit(row: Mapping[str, Any]) -> TextHit:
    names = ("text_id", "text", "score", "match", "rank", "source")
    return TextHit(**{name: row[name] for name in names}, image_id=row.get("image_id"))


def description(row: Mapping[str, Any]) -> Description:
    return Description(
        path=_path(row) if "path" in row else None,
        caption=row["caption"],
        tags=tuple(Tag(one["tag"], one["confidence"]) for one in row["tags"]),
        captioner=row["captioner"],
        image_id=row.get("image_id"),
        note=row.get("note", ""),
        seen=row.get("seen", True),
    )


def turn(answer: Answer) -> str:
    if not isinstance(answer.trail, str):
        raise QueryError(
            "This answer did not come from a server, so that no question can go on from it there."
        )
    return answer.trail


def answer(row: Mapping[str, Any]) -> Answer:
    return Answer(
        text=row["text"],
        citations=tuple(
            Citation(
                one["n"],
                _path(one),
                one["image_id"],
                support=one.get("support"),
                sentence=one.get("sentence", ""),
                match=one.get("match"),
                taken_at=one.get("taken_at"),
            )
            for one in row["citations"]
        ),
        steps=tuple(
            Step(one["step"], one["text"], one["seconds"], one.get("data", {})) for one in row["steps"]
        ),
        confidence=row["confidence"],
        question=row["question"],
        answerer=row["answerer"],
        cost=Cost(**row["cost"]),
        notes=tuple(row.get("notes", ())),
        closest=tuple(hit(one) for one in row.get("closest", ())),
        trail=row.get("turn"),
    )


def text_hits(row: Mapping[str, Any]) -> TextHits:
    return TextHits(
        [text_hit(one) for one in row["texts"]],
        closest=[text_hit(one) for one in row["closest"]],
        cutoff=row["cutoff"],
        notes=row.get("notes", ()),
    )


def timeline(row: Mapping[str, Any]) -> Timeline:
    return Timeline(row["by"], tuple(Span(**one) for one in row["spans"]), row["undated"])


def library_map(row: Mapping[str, Any]) -> Map:
    import numpy as np

    from retrieval.atlas import Area, Map

    side = row["side"]
    ids = np.array(row["ids"], np.int64)
    areas = ({**one, "x": one["x"] / side, "y": one["y"] / side} for one in row["areas"])
    return Map(
        row["method"],
        row["encoder"],
        ids,
        np.column_stack((row["x"], row["y"])).astype(np.float32) / side,
        tuple(Area(**one) for one in areas),
        row["late"],
        None if row["passing"] is None else np.isin(ids, row["passing"]),
    )


def status(row: Mapping[str, Any]) -> Status:
    row = {name: value for name, value in row.items() if name not in ("readonly", "version")}
    return Status(**{**row, "encoders": tuple(row["encoders"]), "roots": tuple(row["roots"])})
