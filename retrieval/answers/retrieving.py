"""The searches of a plan, and one list of what they found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from retrieval.answers.limits import narrowed
from retrieval.db.circumstances import latest_first
from retrieval.query.masks import passing_ids
from retrieval.query.terms import Query

if TYPE_CHECKING:
    from retrieval.answers.limits import Limits
    from retrieval.answers.shapes import Inquiry, Plan, Search
    from retrieval.protocols import Progress
    from retrieval.state import State
    from retrieval.types import Hit


@dataclass(slots=True)
class Found:
    """What one or several searches found: pictures with their chance, best first."""

    chances: dict[int, float] = field(default_factory=dict)
    closest: list[Hit] = field(default_factory=list)
    """What came nearest below the cut-off."""
    cutoff: float = 0.0
    notes: list[str] = field(default_factory=list)

    @property
    def ids(self) -> list[int]:
        return list(self.chances)


@dataclass(frozen=True, slots=True)
class Way:
    """How to search: as many as `limit` by words, after a second look for at most `seconds`."""

    limit: int
    rerank: str | None = None
    seconds: float | None = None
    progress: Progress | None = None


def searched(state: State, inquiry: Inquiry, search: Search, way: Way) -> tuple[Found, Limits]:
    """One search of a plan, within what the person allowed."""
    limits = narrowed(inquiry.where, search.where)
    if not limits.possible:
        return Found(), limits
    if not search.words.strip():
        listed = _listed(state, limits)
        return (_less(state, listed, search, limits) if search.without else listed), limits
    from retrieval.asking import DATED, Asked
    from retrieval.asking import search as ask

    query = search.query.checked()
    asked = Asked(
        limit=max(way.limit, DATED) if limits.also else way.limit,
        where=limits.where,
        rerank=way.rerank,
        rerank_seconds=way.seconds,
        progress=way.progress,
    )
    hits = ask(state, query, asked)
    found, closest = list(hits), list(hits.closest)
    if limits.also:
        with state.snapshot() as reader:
            allowed = set(passing_ids(reader, limits.also).tolist())
        found = [hit for hit in found if hit.image_id in allowed]
        closest = [hit for hit in closest if hit.image_id in allowed]
    chances = {hit.image_id: hit.match for hit in found[: way.limit]}
    return Found(chances, closest, hits.cutoff, list(hits.notes)), limits


def with_anything(state: State, plan: Plan) -> Plan:
    """The plan itself, or where no picture passes its filters, what it has instead."""
    if plan.instead is None:
        return plan
    with state.snapshot() as reader:
        some = any(passing_ids(reader, search.where).size for search in plan.searches)
    return plan if some else plan.instead


def _listed(state: State, limits: Limits) -> Found:
    """Every picture that passes, the latest first."""
    if any(part.tags for part in limits.every):
        with state.snapshot():
            state.view(state.active(), limits.where)  # says so where there is no such tag
    with state.snapshot() as reader:
        ids = passing_ids(reader, limits.where).tolist()
        if limits.also:
            allowed = set(passing_ids(reader, limits.also).tolist())
            ids = [image_id for image_id in ids if image_id in allowed]
        return Found(dict.fromkeys(latest_first(reader, ids), 1.0))


def _less(state: State, listed: Found, search: Search, limits: Limits) -> Found:
    """A plain list without what shows something: what is left is as likely as that it is not there."""
    from retrieval.asking import DATED, Asked
    from retrieval.asking import search as ask

    chances, notes, cutoff = dict(listed.chances), list[str](), 0.0
    for words in search.without:
        asked = Asked(limit=DATED, where=limits.where, min_match=0.0)
        hits = ask(state, Query.text(words).checked(), asked)
        shown = {hit.image_id: hit.match for hit in hits}
        unseen = min(shown.values(), default=0.0) if len(shown) >= DATED else 0.0
        for image_id in chances:
            chances[image_id] *= 1 - shown.get(image_id, unseen)
        cutoff, notes = state.encoder(state.active()).cutoff, [*notes, *hits.notes]
    kept = {image_id: chance for image_id, chance in chances.items() if chance >= cutoff}
    return Found(kept, [], float(cutoff), notes)


def joined(parts: Sequence[tuple[Search, Found]]) -> Found:
    """All that was found, the best chance of each picture counting.

    Beside searches for something, one that asks for nothing only widens: what it lists comes last.
    """
    if len(parts) == 1:
        return parts[0][1]
    worded = [found for search, found in parts if search.asks]
    cutoff = max((found.cutoff for found in worded), default=0.0)
    chances: dict[int, float] = {}
    for search, found in parts:
        widens = bool(worded) and not search.asks
        for image_id, chance in found.chances.items():
            chance = cutoff if widens else chance
            chances[image_id] = max(chance, chances.get(image_id, 0.0))
    closest = sorted((hit for _, found in parts for hit in found.closest), key=lambda hit: -hit.match)
    nearest = list({hit.image_id: hit for hit in closest if hit.image_id not in chances}.values())
    notes = list(dict.fromkeys(note for _, found in parts for note in found.notes))
    ordered = sorted(chances.items(), key=lambda item: -item[1])
    return Found(dict(ordered), nearest, cutoff, notes)
