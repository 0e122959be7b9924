"""Looking at the pictures that were found: in batches, in time, and past those that are gone."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrieval.answers.telling.phrases import pictures
from retrieval.answers.telling.wording import plain
from retrieval.db import reads
from retrieval.english.nouns import verb
from retrieval.errors import ImageError
from retrieval.speech import Sight
from retrieval.types import path_fields

if TYPE_CHECKING:
    from PIL import Image

    from retrieval.answers.retrieving import Found
    from retrieval.answers.shapes import Finding, Plan
    from retrieval.answers.thinking import Thinking
    from retrieval.speech import Facts
    from retrieval.state import State

SIGHT_SIDE = 1024
"""Longer side of the pictures that a model gets to see."""
NAMES_TOLD = 3


@dataclass(slots=True)
class _Passed:
    """Pictures that a model that sees was not shown."""

    gone: list[Sight] = field(default_factory=list)
    changed: list[Sight] = field(default_factory=list)


def looked(thinking: Thinking, plan: Plan, found: Found, image_ids: Sequence[int]) -> list[Finding]:
    """What each picture says to the question, with how likely it is what was searched for."""
    from retrieval.facts import catalog_facts

    begun = time.monotonic()
    facts = catalog_facts(thinking.state, image_ids)
    sights = [Sight(facts[image_id]) for image_id in image_ids if image_id in facts]
    findings, waiting, passed = _by_model(thinking, plan, sights)
    if passed.gone and not findings:
        # Better what is known of pictures that are away than nothing. One that is another picture now is
        # no evidence: whoever opens it sees something else.
        waiting = [*passed.gone, *waiting]
    if waiting:
        findings += thinking.rules.look(thinking.inquiry, plan, waiting)
        thinking.looked += len(waiting)
    findings = [
        replace(finding, match=found.chances.get(finding.facts.image_id or 0, 0.0)) for finding in findings
    ]
    telling = sum(bool(finding.text) for finding in findings)
    say = verb(telling, "say")
    text = f"{pictures(len(findings))} looked at, of which {telling} {say} something to the question."
    if passed.gone:
        text += f" Passed over, since the file cannot be read now: {_named(passed.gone)}."
    if passed.changed:
        text += f" Passed over, since the file is not the one that was indexed: {_named(passed.changed)}."
        one = len(passed.changed) == 1
        thinking.notes.append(
            f"{pictures(len(passed.changed))} {'was' if one else 'were'} passed over, since "
            f"{'its file has' if one else 'their files have'} changed since indexing. Bring the catalog "
            "up to date: search index"
        )
    thinking.step("look", text, begun, {"pictures": [_row(finding) for finding in findings]})
    return findings


@dataclass(frozen=True, slots=True)
class Opened:
    """A picture as a model gets to see it, or why there is none."""

    image: Image.Image | None = None
    changed: bool = False
    """Whether the file is there, but is not the one that was indexed."""


def opened(state: State, facts: Sequence[Facts]) -> list[Opened]:
    """The pictures of some facts; nothing that is on record holds of a file that has changed since."""
    ids = [one.image_id for one in facts if one.image_id is not None]
    with state.snapshot():
        hashes = reads.content_hashes(state.reader, ids)
    return [
        Opened()
        if one.path is None or one.image_id is None or one.image_id not in hashes
        else _read(one.path, hashes[one.image_id])
        for one in facts
    ]


def _read(path: Path, content_hash: bytes) -> Opened:
    from retrieval.images import load_image, read_file, thumbnail

    def wanted(width: int, height: int) -> tuple[int, int]:
        scale = min(1.0, SIGHT_SIDE / max(width, height))
        return max(1, round(width * scale)), max(1, round(height * scale))

    try:
        data = read_file(path).data
        if hashlib.sha256(data).digest() != content_hash:
            return Opened(changed=True)
        return Opened(thumbnail(load_image(data, name=path.name, wanted=wanted), SIGHT_SIDE))
    except ImageError:
        return Opened()


def _by_model(
    thinking: Thinking, plan: Plan, sights: Sequence[Sight]
) -> tuple[list[Finding], list[Sight], _Passed]:
    """What the model saw, the pictures that it did not get to, and those that it was not shown."""
    findings, passed, waiting = list["Finding"](), _Passed(), list(sights)
    while waiting and thinking.may_ask("all pictures were looked at"):
        size = max(1, thinking.answerer.batch_size)
        batch, rest = waiting[:size], waiting[size:]
        if thinking.answerer.sees:
            seen_now = list(zip(batch, opened(thinking.state, [one.facts for one in batch]), strict=True))
            passed.gone += [sight for sight, one in seen_now if one.image is None and not one.changed]
            passed.changed += [sight for sight, one in seen_now if one.changed]
            batch = [replace(sight, image=one.image) for sight, one in seen_now if one.image is not None]
        if batch:
            seen = thinking.asking(lambda answerer, b=batch: answerer.look(thinking.inquiry, plan, b))  # type: ignore[misc]
            if seen is None:
                return findings, [*batch, *rest], passed
            findings += seen
            thinking.looked += len(batch)
        waiting = rest
        thinking.tell("looking", {"total": len(sights), "done": len(sights) - len(waiting)})
    return findings, waiting, passed


def _named(passed: Sequence[Sight]) -> str:
    """How many they are, and some of them by name."""
    paths = [one.facts.path for one in passed if one.facts.path][:NAMES_TOLD]
    return f"{pictures(len(passed))} ({', '.join(plain(path_fields(path.name)['path']) for path in paths)})"


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
