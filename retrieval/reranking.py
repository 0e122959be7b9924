"""A second look at the best hits by a model that sees picture and words together."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING

from retrieval.errors import ModelError, QueryError

if TYPE_CHECKING:
    from retrieval.protocols import Encoder, Progress, Reranker
    from retrieval.state import State
    from retrieval.types import Hit

AUTO, REGIONS, OWN, NOTHING = "auto", "regions", "classes", "none"
"""What `rerank` may name besides a reranker: the best at hand, the best built in, the encoder's own
second stage, nothing."""


def is_reranker(spec: str) -> bool:
    """Whether `rerank` could mean this, and not a query that stands in its place."""
    from retrieval.rerankers import home_of

    return spec in (AUTO, REGIONS, OWN, NOTHING) or home_of(spec.partition(":")[0]) is not None


def chosen_reranker(name: str | None, encoder: Encoder) -> Reranker | None:
    """The model that is to look at pictures and words together; None for the encoder's own second stage."""
    from retrieval.protocols import SecondStage

    looks_again = isinstance(encoder, SecondStage)
    if name in (None, NOTHING) or (name in (AUTO, REGIONS) and looks_again):
        return None
    if name == OWN:
        if not looks_again:
            raise ModelError(f"The model {encoder.id} has no second stage of its own (classes).")
        return None
    # Only here: a query without a reranker need not know of any.
    from retrieval.checkpoints import find
    from retrieval.rerankers import BLIP, BLIP_USE, load_reranker

    if name == AUTO:
        name = "crops" if find(BLIP, BLIP_USE) is None else "blip_itm"
    return load_reranker("crops" if name == REGIONS else str(name), encoder)


def reranked(
    state: State,
    reranker: Reranker,
    text: str,
    hits: list[Hit],
    *,
    depth: int,
    seconds: float | None,
    fixed: Collection[int] = (),
    progress: Progress | None = None,
) -> tuple[list[Hit], list[str]]:
    """The first hits in the order of both stages, and what there is to say about it.

    Pictures in `fixed` keep their place: a person has said what they are.
    """
    import numpy as np

    from retrieval.db import reads
    from retrieval.query.fuse import log_odds
    from retrieval.rerankers.looks import LookCache
    from retrieval.rerankers.rescoring import Picture as Candidate
    from retrieval.rerankers.rescoring import fused, rescored

    if not text:
        raise QueryError(
            "A reranker compares pictures with words, and this query has none. Leave out --rerank."
        )
    first, rest = hits[:depth], hits[depth:]
    with state.snapshot() as reader:
        hashes = reads.content_hashes(reader, [hit.image_id for hit in first])
    candidates = [Candidate(hit.path, hashes.get(hit.image_id, b"")) for hit in first]
    scores = rescored(
        reranker,
        text,
        candidates,
        looks=LookCache(state.location.cache, reranker.id, readonly=state.readonly),
        budget=seconds,
        progress=progress,
    )
    scores[[hit.image_id in fixed for hit in first]] = np.nan
    order = fused(log_odds(np.array([hit.match for hit in first])), scores)
    judged = np.isfinite(scores)
    moved = [
        replace(first[place], rerank_score=float(scores[place]) if judged[place] else None)
        for place in order.tolist()
    ]
    left = int((~judged).sum()) - sum(hit.image_id in fixed for hit in first)
    notes = (
        [f"The reranker got to {len(first) - left} of {len(first)} pictures; the others keep their place."]
        if left
        else []
    )
    return moved + rest, notes
