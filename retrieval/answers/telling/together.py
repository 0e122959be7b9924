"""Pictures held against each part of a subject: what may show a dog and snow, and what only one of them.

Where no picture has all parts, the answer says so, and names what there is of each.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from retrieval.answers.retrieving import Way, searched
from retrieval.answers.telling.parts import is_name, parts_of, whole_words
from retrieval.answers.telling.phrases import pictures
from retrieval.answers.telling.wording import marks, plain
from retrieval.answers.telling.written import TOLD, written
from retrieval.answers.understanding.subjects import as_named
from retrieval.english.nouns import listed, single
from retrieval.english.things import is_a

if TYPE_CHECKING:
    from retrieval.answers.retrieving import Found
    from retrieval.answers.shapes import Plan
    from retrieval.answers.thinking import Thinking
    from retrieval.speech import Facts
    from retrieval.state import State

    Chances = Mapping[int, Mapping[str, float]]
    """Of each picture how likely it shows each part."""

LEAST = 0.2
"""With a part less sure than that, a picture does not answer for the whole: a check would cut it."""
CANDIDATES = 4
"""Pictures that are held against the parts for each that is looked at."""
SHOWN = 4
"""Pictures that are named for a part by itself."""


@dataclass(frozen=True, slots=True)
class HeldApart:
    """What is said where no picture shows all parts."""

    text: str
    cited: Mapping[int, tuple[str, float]]
    """The pictures in the order of their marks: the part each is cited for, and how likely it has all."""


def parts_wanted(thinking: Thinking, plan: Plan) -> tuple[str, ...]:
    """What has to be in a picture together, where rules answer; a model that sees looks for itself."""
    asking = [search for search in plan.searches if search.asks]
    if not thinking.by_rules or plan.kind not in ("find", "whether") or plan.pictures:
        return ()
    return parts_of(asking[0].words) if len(asking) == 1 and not asking[0].without else ()


def held_apart(
    thinking: Thinking, plan: Plan, parts: Sequence[str], found: Found
) -> tuple[Found, HeldApart | None]:
    """The pictures that may show all parts, best first; where there are none, what there is of each."""
    begun = time.monotonic()
    state = thinking.state
    chances = _chances(state, parts, found.ids[: thinking.terms.limit * CANDIDATES])
    kept = _with_all(found, chances)
    words = listed([plain(part) for part in parts])
    told = f"{pictures(len(kept.chances))} of {len(chances):,} may show {words} together."
    thinking.step("look", told, begun, {"parts": list(parts)})
    if kept.chances:
        return kept, None
    whole = next(one for one in plan.searches if one.asks)
    for part in parts:
        search = replace(whole, words=part)
        also, _ = searched(state, thinking.inquiry, search, Way(limit=thinking.terms.limit))
        chances |= _chances(state, parts, [one for one in also.ids if one not in chances])
    text, cited = _apart_words(plan, parts, chances, found.cutoff)
    return kept, HeldApart(text, cited)


def _chances(state: State, parts: Sequence[str], image_ids: Sequence[int]) -> dict[int, dict[str, float]]:
    """How likely each picture shows each part, by its tags, by what is written of it, and by the model."""
    from retrieval.facts import catalog_facts
    from retrieval.fitting import ENCODER, Fitting

    facts = catalog_facts(state, image_ids)
    pairs = [(image_id, part) for image_id in facts for part in parts]
    compared = dict(zip(pairs, Fitting(state, ENCODER).chances(pairs), strict=True))
    return {
        image_id: {part: max(_recorded(part, known), compared[image_id, part] or 0.0) for part in parts}
        for image_id, known in facts.items()
    }


def _recorded(part: str, facts: Facts) -> float:
    if written(part, facts):
        return TOLD
    name = single(part.lower())
    return max((tag.confidence for tag in facts.tags if is_a(tag.tag, name)), default=0.0)


def _with_all(found: Found, chances: Chances) -> Found:
    """The pictures that have all parts, as likely as the least likely of them."""
    least = {image_id: min(of_it.values()) for image_id, of_it in chances.items()}
    kept = {
        image_id: min(chance, least[image_id])
        for image_id, chance in found.chances.items()
        if least.get(image_id, 0.0) >= LEAST
    }
    return replace(found, chances=dict(sorted(kept.items(), key=lambda item: -item[1])))


def _apart_words(
    plan: Plan, parts: Sequence[str], chances: Chances, cutoff: float
) -> tuple[str, dict[int, tuple[str, float]]]:
    cited: dict[int, tuple[str, float]] = {}
    said: list[str] = []
    # Of those that show a part, first what may show the others.
    ordered = sorted(chances, key=lambda image_id: -sum(chances[image_id].values()))
    for part in parts:
        its = [one for one in ordered if chances[one][part] >= max(cutoff, LEAST)][:SHOWN]
        for image_id in its:
            cited.setdefault(image_id, (as_named(part), min(chances[image_id].values())))
        order = list(cited)
        numbers = marks(order.index(image_id) + 1 for image_id in its)
        is_ = "are" if single(part.lower()) != part.lower() else "is"
        if its and is_name(part):
            said.append(f"{plain(part)} is named with {numbers}")
        else:
            said.append(f"{as_named(part)} {is_} in {numbers or 'none for sure'}")
    text = f"No picture is sure to show {whole_words(plan.subject)}"
    joint = ", but " if len(said) == 2 else ", "
    return (f"{text}: {joint.join(said)}." if cited else f"{text}."), cited
