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

from retrieval.answers.checks.checking import trust
from retrieval.answers.checks.citing import renumbered
from retrieval.answers.drafting import checked, drafted
from retrieval.answers.limits import narrowed, understood
from retrieval.answers.looking import looked
from retrieval.answers.retrieving import Found, Way, joined, searched, with_anything
from retrieval.answers.shapes import Search
from retrieval.answers.telling.counting import kind_to_count, sorts_counted
from retrieval.answers.telling.figures import figures
from retrieval.answers.telling.phrases import (
    about,
    closest_words,
    likeness,
    limits_words,
    more_words,
    named,
    nearest,
    pictures,
    ranked_words,
)
from retrieval.answers.telling.reading_out import unread_words
from retrieval.answers.telling.reckoning import reckoned
from retrieval.answers.telling.together import held_apart, parts_wanted
from retrieval.answers.telling.wording import plain
from retrieval.answers.thinking import LEAST_SECONDS, Thinking
from retrieval.answers.understanding.folders import with_known_folders
from retrieval.answers.understanding.meant import meant
from retrieval.answers.understanding.planning import asked_aspect
from retrieval.config import RERANK_SECONDS
from retrieval.db.circumstances import circumstances
from retrieval.errors import ModelError, ModelUnavailable, QueryError
from retrieval.query.filters import Filter
from retrieval.types import Answer, Citation, Cost

if TYPE_CHECKING:
    from retrieval.answers.checks.checking import Checked
    from retrieval.answers.shapes import Finding, Inquiry, Plan
    from retrieval.answers.thinking import Terms
    from retrieval.db.circumstances import Circumstances
    from retrieval.protocols import Answerer
    from retrieval.state import State

FIGURES = ("count", "when", "where", "camera")
"""Kinds of answers that are made from rows, whoever answers."""
LISTS = ("whether", "find")
"""Kinds that are answered from rows as well where nothing is looked for."""
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
    if plan.task is not None and (thinking.by_rules or plan.task.understood):
        return _reckoned(thinking, plan), plan
    kind = kind_to_count(thinking, plan)
    by_rows = plan.kind in FIGURES or (plan.kind in LISTS and not about(plan))
    parts = parts_wanted(thinking, plan)
    whole = by_rows or kind is not None or bool(parts) or plan.kind == "find"
    found = _searched(thinking, plan, whole=whole and (terms.rerank is None or plan.kind in FIGURES))
    if found.chances and by_rows:
        answer = _from_rows(thinking, plan, found)
    else:
        answer = None
        if parts and found.chances:
            found, answer = _of_parts(thinking, plan, parts, found)
        if answer is None and kind is not None and len(found.chances) > terms.limit:
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
    plan = with_anything(thinking.state, plan)
    searches = [_with_known_tags(thinking.state, search) for search in plan.searches[:MAX_SEARCHES]]
    searches = [one for search in searches for one in with_known_folders(thinking.state, search)]
    plan = replace(plan, searches=tuple(searches))
    what = f"Wanted: {KINDS[plan.kind]}" + (f" of {plan.subject}" if plan.subject else "")
    if plan.task is not None and not plan.task.understood:
        what = "The question was not understood"
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
        return replace(search, words=words, where=replace(search.where, tags=()))
    return search


def _searched(thinking: Thinking, plan: Plan, *, whole: bool) -> Found:
    """What the plan's searches find: all that look like it where the answer is about the `whole`."""
    from retrieval.asking import DATED

    if plan.pictures:
        return Found(dict.fromkeys(plan.pictures, 1.0))
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
        words = f"'{search.written}'" if search.asks else "Every picture"
        limited = "".join(f" {limits_words(part)}" for part in limits.every)
        best = f", the best {max(found.chances.values()):.0%}" if search.asks and found.chances else ""
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
    if thinking.by_rules and asked_aspect(thinking.inquiry.question) == "text":
        note = unread_words(thinking.state, [finding.facts for finding in findings])
        thinking.notes.extend([note] if note else [])
    if result is None or not result.sentences:
        return None
    return _told(thinking, plan, telling, result, len(found.chances))


def _of_parts(
    thinking: Thinking, plan: Plan, parts: Sequence[str], found: Found
) -> tuple[Found, Answer | None]:
    """The pictures that show all parts; where none does, an answer with what there is of each."""
    kept, apart = held_apart(thinking, plan, parts, found)
    if apart is None:
        return kept, None
    with thinking.state.snapshot() as reader:
        rows = circumstances(reader, list(apart.cited))
    order = list(apart.cited)
    citations = [
        _citation(order.index(row.image_id) + 1, row, said, match=sure)
        for row in rows
        for said, sure in [apart.cited[row.image_id]]
    ]
    return kept, _done(thinking, apart.text, citations, 0.0)


def _chosen(plan: Plan, found: Found, limit: int) -> list[int]:
    """The pictures to look at: the best, or of a plain list some from all along it."""
    ids = found.ids
    if len(ids) <= limit or plan.kind == "find" or about(plan):
        return ids[:limit]
    return [ids[place * (len(ids) - 1) // max(1, limit - 1)] for place in range(limit)]


def _told(thinking: Thinking, plan: Plan, telling: Sequence[Finding], result: Checked, count: int) -> Answer:
    text, order = renumbered(result.sentences)
    least = bool(parts_wanted(thinking, plan))
    citations, sure = list[Citation](), list[float]()
    for old, new in order.items():
        finding = telling[old - 1]
        facts, claim, verdict = finding.facts, result.claim(old), result.verdict(old)
        if least and verdict is not None and verdict.support is not None:
            # A picture bears the whole out no better than the part of it that is least sure.
            verdict = replace(verdict, support=min(verdict.support, finding.match))
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
    if plan.kind == "find" and plan.which is None and count > thinking.terms.limit:
        if thinking.by_rules and not least:
            limits = limits_words(_limits(thinking, plan))
            best = ranked_words(len(citations), "likeliest")
            text = f"{likeness(count, named(plan), limits)}; {best}. {text}"
        thinking.notes.append(more_words(count))
    return _done(thinking, text, citations, confidence)


def _from_rows(thinking: Thinking, plan: Plan, found: Found) -> Answer | None:
    begun = time.monotonic()
    where = _limits(thinking, plan)
    if plan.kind == "when":
        where = replace(where, after=None, before=None)  # the answer itself says when
    limits = limits_words(where)
    if plan.kind == "when":
        limits = limits.removeprefix("taken ")
    made = figures(thinking.state, plan, found, about=named(plan), limits=limits, shown=thinking.terms.limit)
    if made is None:
        return None
    if plan.kind == "find" and plan.which is None and len(found.chances) > len(made.cited):
        thinking.notes.append(more_words(len(found.chances)))
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


def _reckoned(thinking: Thinking, plan: Plan) -> Answer:
    """What numbers tell, or that the question was not understood."""
    begun = time.monotonic()
    made = reckoned(thinking, plan, lambda part: _searched(thinking, part, whole=True))
    how = "Made from the catalog's rows; no model takes part in figures."
    thinking.step("draft", how if plan.task and plan.task.understood else "Nothing is claimed.", begun)
    citations = [_citation(number, row, about(plan), match=None) for number, row in enumerate(made.cited, 1)]
    return _done(thinking, made.text, citations, made.confidence)


def _nothing(thinking: Thinking, plan: Plan, found: Found) -> Answer:
    """The library does not show it; of a word that nothing is called by, what it may be meant for."""
    limits = limits_words(_limits(thinking, plan))
    if plan.searches and thinking.by_rules and (words := meant(thinking.state, plan.wanted)):
        said = f"“{plain(plan.wanted)}”{' ' + limits if limits else ''}"
        return _done(thinking, f"Nothing was found for {said}. Did you mean “{plain(words)}”?", [], 0.0)
    text = f"The library does not show {named(plan) or 'any picture'}{' ' + limits if limits else ''}."
    if found.chances:
        text = f"{text} {pictures(len(found.chances))} came near, but none of them bears out an answer."
    elif words := closest_words(found.closest, found.cutoff):
        text = f"{text} {words}"
        return replace(_done(thinking, text, [], 0.0), closest=tuple(nearest(found.closest)))
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
