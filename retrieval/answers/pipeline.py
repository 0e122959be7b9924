"""The steps of an answer: plan, search, look, draft, check. Plain code around whatever thinks in them.

Every step is written down. A step that fails leaves what the ones before it found: the rest is then
done by rules, and the answer says so.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from retrieval.answers.checking import trust
from retrieval.answers.citing import renumbered
from retrieval.answers.counting import kind_to_count, sorts_counted
from retrieval.answers.drafting import checked, drafted
from retrieval.answers.figures import figures
from retrieval.answers.limits import narrowed, understood
from retrieval.answers.looking import looked
from retrieval.answers.phrases import about, closest_words, limits_words, named, pictures
from retrieval.answers.retrieving import Found, Way, joined, searched
from retrieval.answers.shapes import Search
from retrieval.answers.thinking import LEAST_SECONDS, Thinking
from retrieval.config import RERANK_SECONDS
from retrieval.db.circumstances import circumstances
from retrieval.errors import ModelError, ModelUnavailable, QueryError
from retrieval.query.filters import Filter
from retrieval.types import Answer, Citation, Cost

if TYPE_CHECKING:
    from retrieval.answers.checking import Checked
    from retrieval.answers.shapes import Finding, Inquiry, Plan
    from retrieval.answers.thinking import Terms
    from retrieval.db.circumstances import Circumstances
    from retrieval.protocols import Answerer
    from retrieval.state import State

FIGURES = ("count", "when", "where", "camera")
"""Kinds of answers that are made from rows, whoever answers."""
MAX_SEARCHES = 4
KINDS = {
    "find": "pictures",
    "what": "what is to be seen",
    "whether": "whether there is any picture",
    "count": "the number",
    "when": "the time",
    "where": "the place",
    "camera": "the camera",
}


def answered(state: State, inquiry: Inquiry, answerer: Answerer, terms: Terms) -> tuple[Answer, Plan]:
    """The answer to a question, and the plan that it was reached by."""
    thinking = Thinking(state, inquiry, answerer, terms)
    plan = _planned(thinking)
    kind = kind_to_count(thinking, plan)
    by_rows = plan.kind in FIGURES or (plan.kind == "whether" and not about(plan))
    found = _searched(thinking, plan, whole=by_rows or kind is not None)
    if found.chances and by_rows:
        answer = _from_rows(thinking, plan, found)
    else:
        answer = None
        if kind is not None and len(found.chances) > terms.limit:
            answer = _from_record(thinking, plan, kind, found)
        answer = answer or _from_pictures(thinking, plan, found)
    return answer or _nothing(thinking, plan, found), plan


def _planned(thinking: Thinking) -> Plan:
    begun, said = time.monotonic(), ""
    try:
        plan = thinking.answerer.plan(thinking.inquiry)
        for search in plan.searches:
            understood(search.where)
    except ModelUnavailable:
        raise  # nothing is done yet that could be kept, and the message says what helps
    except (ModelError, QueryError) as error:
        if thinking.by_rules:
            raise
        said = f" The plan of {thinking.answerer.id} could not be used ({error}), so rules made it."
        plan = thinking.rules.plan(thinking.inquiry)
    searches = [_with_known_tags(thinking.state, search) for search in plan.searches[:MAX_SEARCHES]]
    plan = replace(plan, searches=tuple(searches))
    what = f"Wanted: {KINDS[plan.kind]}" + (f" of {plan.subject}" if plan.subject else "")
    thinking.step("plan", f"{what}; by {plan.by}.{said}", begun, plan.as_dict())
    thinking.notes.extend(plan.notes)
    return plan


def _with_known_tags(state: State, search: Search) -> Search:
    """The search with tags that the library does not have among its words instead."""
    if not search.where.tags:
        return search
    try:
        with state.snapshot():
            state.view(state.active(), Filter(tags=search.where.tags))
    except QueryError:
        tags = [search.where.tags] if isinstance(search.where.tags, str) else search.where.tags
        words = " ".join(dict.fromkeys([*search.words.split(), *" ".join(tags).split()]))
        return Search(words, replace(search.where, tags=()))
    return search


def _searched(thinking: Thinking, plan: Plan, *, whole: bool) -> Found:
    """What the plan's searches find: all that look like it where the answer is about the `whole`."""
    from retrieval.asking import DATED

    parts = []
    for search in plan.searches:
        begun = time.monotonic()
        way = Way(
            limit=DATED if whole else thinking.terms.limit,
            rerank=None if plan.kind in FIGURES else thinking.terms.rerank,
            seconds=max(LEAST_SECONDS, min(RERANK_SECONDS, thinking.left)),
            progress=thinking.terms.progress,
        )
        found, limits = searched(thinking.state, thinking.inquiry, search, way)
        parts.append((search, found))
        words = f"'{search.words}'" if search.words.strip() else "Every picture"
        limited = "".join(f" {limits_words(part)}" for part in limits.every)
        best = f", the best {max(found.chances.values()):.0%}" if search.words and found.chances else ""
        text = f"{words}{limited}: {pictures(len(found.chances))}{best}."
        if not limits.possible:
            text = f"{words}: no picture can pass what you allowed and what the question asks for."
        thinking.step("search", text, begun, {**search.as_dict(), "found": len(found.chances)})
    together = joined(parts)
    thinking.notes.extend(together.notes)
    return together


def _from_pictures(thinking: Thinking, plan: Plan, found: Found) -> Answer | None:
    """An answer from looking at the best of what was found; None where they give none."""
    chosen = _chosen(plan, found, thinking.terms.limit)
    findings = looked(thinking, plan, found, chosen) if chosen else []
    telling = [finding for finding in findings if finding.text]
    draft = drafted(thinking, plan, telling) if telling else ""
    result = checked(thinking, plan, draft, telling) if draft else None
    if result is None or not result.sentences:
        return None
    return _told(thinking, plan, telling, result)


def _chosen(plan: Plan, found: Found, limit: int) -> list[int]:
    """The pictures to look at: the best, or of a plain list some from all along it."""
    ids = found.ids
    if len(ids) <= limit or plan.kind == "find" or about(plan):
        return ids[:limit]
    return [ids[place * (len(ids) - 1) // max(1, limit - 1)] for place in range(limit)]


def _told(thinking: Thinking, plan: Plan, telling: Sequence[Finding], result: Checked) -> Answer:
    text, order = renumbered(result.sentences)
    citations, sure = list[Citation](), list[float]()
    for old, new in order.items():
        finding = telling[old - 1]
        facts, claim, verdict = finding.facts, result.claim(old), result.verdict(old)
        support = None if verdict is None else verdict.support
        assert facts.path is not None
        assert facts.image_id is not None
        said = (claim and claim.text) or about(plan)
        citations.append(
            Citation(new, facts.path, facts.image_id, support, said, finding.match, facts.taken_at)
        )
        sure.append(trust(finding.match, verdict))
    # One picture is enough for that there is one; of several things said, each may be wrong.
    confidence = max(sure) if plan.kind == "whether" else sum(sure) / len(sure)
    return _done(thinking, text, citations, confidence)


def _from_rows(thinking: Thinking, plan: Plan, found: Found) -> Answer | None:
    begun = time.monotonic()
    limits = limits_words(_limits(thinking, plan))
    made = figures(thinking.state, plan, found, about=named(plan), limits=limits)
    if made is None:
        return None
    thinking.step("draft", "Made from the catalog's rows; no model takes part in figures.", begun)
    subject = about(plan)
    citations = [
        _citation(number, row, subject, match=found.chances[row.image_id] if subject else None)
        for number, row in enumerate(made.cited, 1)
    ]
    return _done(thinking, made.text, citations, made.confidence)


def _from_record(thinking: Thinking, plan: Plan, kind: str, found: Found) -> Answer | None:
    """The kinds of a kind, with how many pictures show each."""
    made = sorts_counted(thinking, plan, kind, found, limits_words(_limits(thinking, plan)))
    if made is None:
        return None
    with thinking.state.snapshot() as reader:
        rows = circumstances(reader, made.cited)
    citations = [
        _citation(
            made.cited.index(row.image_id) + 1,
            row,
            *made.said[row.image_id],
            match=found.chances[row.image_id],
        )
        for row in rows
    ]
    return _done(thinking, made.text, citations, made.confidence)


def _citation(
    number: int, row: Circumstances, said: str, support: float | None = None, *, match: float | None
) -> Citation:
    path, taken_at = Path(os.fsdecode(row.path)), row.taken_at if row.dated else None
    return Citation(number, path, row.image_id, support, said, match, taken_at)


def _nothing(thinking: Thinking, plan: Plan, found: Found) -> Answer:
    """The library does not show it."""
    limits = limits_words(_limits(thinking, plan))
    text = f"The library does not show {named(plan) or 'any picture'}{' ' + limits if limits else ''}."
    if found.chances:
        text = f"{text} {pictures(len(found.chances))} came near, but none of them bears out an answer."
    elif found.closest:
        text = f"{text} {closest_words(found.closest, found.cutoff)}"
    return _done(thinking, text, [], 0.0)


def _done(thinking: Thinking, text: str, citations: Sequence[Citation], confidence: float) -> Answer:
    spent = thinking.inquiry.ledger.cost
    cost = Cost(
        seconds=time.monotonic() - thinking.begun,
        pictures=thinking.looked,
        calls=spent.calls,
        prompt_tokens=spent.prompt_tokens,
        tokens=spent.tokens,
    )
    shown = f"{pictures(len(citations))} cited, confidence {confidence:.2f}."
    thinking.step("answer", shown, time.monotonic())
    notes = [thinking.asked.note, *thinking.notes]
    return Answer(
        text=text,
        citations=tuple(citations),
        steps=tuple(thinking.steps),
        confidence=max(0.0, min(1.0, confidence)),
        question=thinking.inquiry.question,
        answerer=thinking.asked.id,
        cost=cost,
        notes=tuple(dict.fromkeys(note for note in notes if note)),
    )


def _limits(thinking: Thinking, plan: Plan) -> Filter:
    """What the answer is limited to, as the first search has it."""
    wanted = plan.searches[0].where if plan.searches else Filter()
    return narrowed(thinking.inquiry.where, wanted).where
