"""Which kinds of a thing there are, counted over every picture that was found.

"What animals are there?" asks for the whole library, and not for what its best pictures show. What
is counted is on record of each picture: its tags, and the names that the catalog's model has.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from retrieval.answers.telling.phrases import one_of, pictures
from retrieval.answers.telling.wording import plain
from retrieval.answers.understanding.planning import asked_aspect
from retrieval.english.certainty import HEDGES, NAME_LEAST, NAME_PROBABLE, PROBABLE, SURE, band
from retrieval.english.nouns import capital, counted, listed, many, single, verb, with_article
from retrieval.english.things import GENERIC, is_a, kind_of, members, widened

if TYPE_CHECKING:
    from retrieval.answers.shapes import Plan
    from retrieval.speech import Facts

MOST_SORTS = 8
"""Kinds that are named; the others are counted."""
COLLECTIVE = frozenset({"food", "fruit", "furniture", "clothes", "clothing", "luggage", "wildlife"})
"""One word for many kinds of a thing."""
_TOLD = re.compile(r"^\W*(?:(?:please|can you|could you)\W+)*(?:tell|describe|explain|summari[sz]e)\b", re.I)
_DEFINITE = r"\b(?:in|on|at|with|by|near|behind|under|of)\s+(?:the|my|our|this|that|these|those)\s+"


@dataclass(frozen=True, slots=True)
class Sorts:
    """A sentence with the kinds that were found, and the pictures that it cites in their order."""

    text: str
    cited: tuple[int, ...]
    said: Mapping[int, tuple[str, float]]
    """Of each cited picture what it is cited for, and how sure that is."""
    confidence: float
    counts: Mapping[str, int]
    """All kinds, the most frequent first."""


def kind_wanted(plan: Plan, question: str) -> str | None:
    """The kind of which a question wants to know the kinds that there are; None for any other question."""
    if plan.kind != "what" or plan.which is not None or not plan.wanted or _TOLD.match(question):
        return None
    if asked_aspect(question) is not None:
        return None
    if re.search(rf"{_DEFINITE}{re.escape(plan.wanted)}\b", question, re.IGNORECASE):
        return None  # what is in the picture of the dogs
    last = plan.wanted.lower().split()[-1]
    several = single(last) != last or last in COLLECTIVE
    return kind_of(plan.wanted) if several else None


def sorts_of(facts: Facts, kind: str) -> dict[str, float]:
    """The kinds of a kind that a picture shows, with how sure that is: "dog" for a whippet among animals.

    The name that the model has for the main thing counts where it is likely, and with it what is
    tagged beyond doubt; a doubtful tag, and then a doubtful name, only where there is nothing else.
    """
    tags: dict[str, float] = {}
    for tag in facts.tags:
        if is_a(tag.tag, kind) and not _says_nothing(tag.tag, kind):
            name = widened(tag.tag, kind)
            tags[name] = max(tag.confidence, tags.get(name, 0.0))
    names: dict[str, float] = {}
    for one in facts.named:
        if any(is_a(name, kind) for name in (one.name, *one.kinds)) and not _says_nothing(one.name, kind):
            name = widened(one.name, kind, one.kinds)
            name = next((tag for tag in tags if name.lower().endswith(f" {tag}")), name)  # a giant panda
            names[name] = min(1.0, names.get(name, 0.0) + one.confidence)
    best = max(names, key=lambda name: names[name], default="")
    found = {best: max(names[best], tags.get(best, 0.0))} if names.get(best, 0) >= NAME_PROBABLE else {}
    least = SURE if found else PROBABLE
    found |= {name: sure for name, sure in tags.items() if sure >= least and name not in found}
    if found:
        return found
    if tags:
        surest = max(tags, key=lambda name: tags[name])
        return {surest: tags[surest]}
    return {best: names[best]} if names.get(best, 0) >= NAME_LEAST else {}


def _says_nothing(name: str, kind: str) -> bool:
    """Whether a name only repeats the question."""
    low = single(name.lower())
    return low == kind or (name.lower() in GENERIC and kind not in members(low))


def count_sorts(
    kind: str,
    facts: Mapping[int, Facts],
    chances: Mapping[int, float],
    *,
    about: str,
    limits: str,
    cutoff: float,
) -> Sorts | None:
    """How many pictures show each kind of a kind, with the best of each; None where none says any.

    `chances` tells how likely each picture is what was searched for.
    """
    groups: dict[str, dict[int, float]] = {}
    silent = 0
    for image_id, known in facts.items():
        found = sorts_of(known, kind)
        silent += not found
        for name, sure in found.items():
            groups.setdefault(name, {})[image_id] = sure
    if not groups:
        return None
    order = sorted(groups, key=lambda name: (-len(groups[name]), -max(groups[name].values()), name))
    said: dict[int, tuple[str, float]] = {}
    parts = list[str]()
    sure_of = list[float]()
    for name in order[:MOST_SORTS]:
        its = groups[name]
        best = max(its, key=lambda image_id: (its[image_id], chances[image_id]))
        called = many(plain(name)) if len(its) > 1 else with_article(plain(name))
        said.setdefault(best, (called, its[best]))
        sure_of.append((chances[best] + its[best]) / 2)
        own = all(tag.tag != name for one in its for tag in facts[one].tags)
        hedge = HEDGES[band(its[best], own=own)]
        number = pictures(len(its)) if not parts else f"{len(its):,}"
        parts.append(f"{hedge}{called} in {number} [{list(said).index(best) + 1}]")
    rest = len(order) - len(parts)
    if rest:
        parts.append(counted(rest, "other kind"))
    looks = verb(len(facts), "look")
    like = one_of(about) if len(facts) == 1 else about
    which = f"{pictures(len(facts))}{f' {limits}' if limits else ''} that {looks} like {like}"
    none = f"; {silent:,} of them {'has' if silent == 1 else 'have'} none" if silent else ""
    text = (
        f"{capital(listed(parts))}, out of {which} "
        f"(match at least {cutoff:.0%}; counted by tags and names{none})."
    )
    counts = {name: len(groups[name]) for name in order}
    return Sorts(text, tuple(said), said, sum(sure_of) / len(sure_of), counts)
