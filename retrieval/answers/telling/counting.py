"""Answers that count kinds, on their way through the steps of an answer."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from retrieval.answers.telling.phrases import as_searched, pictures
from retrieval.answers.telling.sorts import count_sorts, kind_wanted
from retrieval.answers.thinking import LEAST_SECONDS

if TYPE_CHECKING:
    from retrieval.answers.retrieving import Found
    from retrieval.answers.shapes import Plan
    from retrieval.answers.telling.sorts import Sorts
    from retrieval.answers.thinking import Thinking
    from retrieval.speech import Facts

AT_ONCE = 500
"""Pictures whose record is read between two looks at the clock."""


def kind_to_count(thinking: Thinking, plan: Plan) -> str | None:
    """The kind whose kinds rules are to count; a model that sees names them by itself."""
    return kind_wanted(plan, thinking.inquiry.question) if thinking.by_rules else None


def sorts_counted(thinking: Thinking, plan: Plan, kind: str, found: Found, limits: str) -> Sorts | None:
    """The kinds that the pictures found show, as far as the time allows, the best pictures first."""
    from retrieval.facts import catalog_facts

    begun = time.monotonic()
    facts: dict[int, Facts] = {}
    ids = found.ids
    while len(facts) < len(ids) and (not facts or thinking.left >= LEAST_SECONDS):
        part = ids[len(facts) : len(facts) + AT_ONCE]
        known = catalog_facts(thinking.state, part)
        ids = [image_id for image_id in ids if image_id in known or image_id not in part]
        facts |= {image_id: known[image_id] for image_id in part if image_id in known}
    made = count_sorts(
        kind, facts, found.chances, about=as_searched(plan), limits=limits, cutoff=found.cutoff
    )
    if made is None:
        return None
    if len(facts) < len(ids):
        left = f"{len(ids) - len(facts):,} of {pictures(len(ids))}"
        thinking.notes.append(
            f"The time of {thinking.terms.seconds:g} seconds was up before {left} were counted."
        )
    thinking.looked += len(facts)
    data = {"kind": kind, "counts": dict(made.counts), "of": len(facts)}
    text = f"The record of {pictures(len(facts))} was read; it names {len(made.counts):,} kinds of {kind}."
    thinking.step("look", text, begun, data)
    thinking.step(
        "draft", "Counted on record; no model takes part in figures.", time.monotonic(), {"text": made.text}
    )
    return made
