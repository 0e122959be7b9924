"""Looking at the pictures that were found: in batches, in time, and past those that are gone."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from retrieval.answers.phrases import pictures
from retrieval.errors import ImageError
from retrieval.speech import Sight
from retrieval.types import path_fields

if TYPE_CHECKING:
    from PIL import Image

    from retrieval.answers.retrieving import Found
    from retrieval.answers.shapes import Finding, Plan
    from retrieval.answers.thinking import Thinking
    from retrieval.speech import Facts

SIGHT_SIDE = 1024
"""Longer side of the pictures that a model gets to see."""
NAMES_TOLD = 3


def looked(thinking: Thinking, plan: Plan, found: Found, image_ids: Sequence[int]) -> list[Finding]:
    """What each picture says to the question, with how likely it is what was searched for."""
    from retrieval.facts import catalog_facts

    begun = time.monotonic()
    facts = catalog_facts(thinking.state, image_ids)
    sights = [Sight(facts[image_id]) for image_id in image_ids if image_id in facts]
    findings, waiting, gone = _by_model(thinking, plan, sights)
    if gone and not findings:
        waiting = [*gone, *waiting]  # better what is known of pictures that are away than nothing
    if waiting:
        findings += thinking.rules.look(thinking.inquiry, plan, waiting)
        thinking.looked += len(waiting)
    findings = [
        replace(finding, match=found.chances.get(finding.facts.image_id or 0, 0.0)) for finding in findings
    ]
    telling = sum(bool(finding.text) for finding in findings)
    text = (
        f"{pictures(len(findings))} looked at, of which {telling} {_say(telling)} something to the question."
    )
    if gone:
        names = ", ".join(
            str(path_fields(one.facts.path)["path"]) for one in gone[:NAMES_TOLD] if one.facts.path
        )
        text += f" Passed over, since the file cannot be read now: {pictures(len(gone))} ({names})."
    thinking.step("look", text, begun, {"pictures": [_row(finding) for finding in findings]})
    return findings


def opened(facts: Facts) -> Image.Image | None:
    """The picture as a model gets to see it; None where the file cannot be read now."""
    from retrieval.images import load_image, thumbnail

    if facts.path is None:
        return None

    def wanted(width: int, height: int) -> tuple[int, int]:
        scale = min(1.0, SIGHT_SIDE / max(width, height))
        return max(1, round(width * scale)), max(1, round(height * scale))

    try:
        return thumbnail(load_image(facts.path, wanted=wanted), SIGHT_SIDE)
    except ImageError:
        return None


def _by_model(
    thinking: Thinking, plan: Plan, sights: Sequence[Sight]
) -> tuple[list[Finding], list[Sight], list[Sight]]:
    """What the model saw, the pictures that it did not get to, and those that cannot be read."""
    findings, gone, waiting = list["Finding"](), list[Sight](), list(sights)
    while waiting and thinking.may_ask("all pictures were looked at"):
        size = max(1, thinking.answerer.batch_size)
        batch, rest = waiting[:size], waiting[size:]
        if thinking.answerer.sees:
            batch = [replace(sight, image=opened(sight.facts)) for sight in batch]
            gone += [sight for sight in batch if sight.image is None]
            batch = [sight for sight in batch if sight.image is not None]
        if batch:
            seen = thinking.asking(lambda answerer, b=batch: answerer.look(thinking.inquiry, plan, b))  # type: ignore[misc]
            if seen is None:
                return findings, [*batch, *rest], gone
            findings += seen
            thinking.looked += len(batch)
        waiting = rest
        thinking.tell("looking", {"total": len(sights), "done": len(sights) - len(waiting)})
    return findings, waiting, gone


def _row(finding: Finding) -> dict[str, Any]:
    facts = finding.facts
    return {
        **({} if facts.path is None else path_fields(facts.path)),
        "image_id": facts.image_id,
        "match": round(finding.match, 4),
        "says": finding.text,
        "sure": round(finding.sure, 4),
        "by": finding.by,
    }


def _say(count: int) -> str:
    return "says" if count == 1 else "say"
