"""From tags to what a sentence says: which of them name things, which a place, and which are one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from retrieval.captioners import phrases
from retrieval.english.certainty import NAME_LEAST, POSSIBLE, band
from retrieval.english.quoting import visible
from retrieval.english.things import alike, exacter

if TYPE_CHECKING:
    from collections.abc import Mapping

    from retrieval.speech import Facts

MOST_THINGS, MOST_ALTERNATIVES = 2, 2
CLOSE = 0.1
"""How much less sure a tag may be than another of its group to be told as what it may be instead."""


@dataclass(frozen=True, slots=True)
class Part:
    """Something that a sentence names, and how sure it is."""

    words: str
    confidence: float
    band: int
    """0 where it is stated, 1 where it is probable, 2 where it is but possible."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What a picture shows as far as its tags tell."""

    things: tuple[tuple[Part, ...], ...] = ()
    """Each with what it may be instead."""
    named: Part | None = None
    """What the first thing is more exactly."""
    setting: Part | None = None
    """Where or when, as it is said after a thing."""
    alone: Part | None = None
    """The same as it is said without one."""
    tagged: tuple[str, ...] = ()
    """Words of a person's own, of which no sentence can be made."""


def read_scene(facts: Facts) -> Scene:
    """The scene that tags and names make."""
    # A tag of a person's own vocabulary may be any text.
    told = ((visible(tag.tag), tag.confidence) for tag in facts.tags)
    sure = {tag: confidence for tag, confidence in told if tag}
    own = tuple(tag for tag, confidence in sure.items() if confidence >= 1 and not phrases.known(tag))
    name = _name(facts, sure)
    places = [tag for tag in sure if tag in phrases.SETTINGS]
    if name is not None and name.base in places:
        # The place is what the picture is of.
        places.sort(key=name.base.__ne__)
        name = None
    tags = [tag for tag in sure if tag not in own and tag not in places and tag not in phrases.DOINGS]
    if name is not None and any(sure[tag] >= 1 and tag != name.base for tag in tags):
        # A person has said what it shows.
        name = None
    things, named = _things(tags, sure, name)
    setting, alone = None, None
    if places:
        joined, single = phrases.SETTINGS[places[0]]
        alone = Part(single, sure[places[0]], band(sure[places[0]]))
        # Measured: beside a thing, a place is right far less often than what it is sure of says.
        setting = replace(alone, words=joined, band=_lower(alone))
    elif not things:
        doing = next((tag for tag in sure if tag in phrases.DOINGS), None)
        if doing is not None:
            things = ((Part(doing, sure[doing], band(sure[doing])),),)
    return Scene(things, named, setting, alone, own)


@dataclass(frozen=True, slots=True)
class _Name:
    """The name that a model has for the main thing."""

    part: Part
    kinds: frozenset[str]
    """The name itself and all that such a thing is."""
    base: str | None
    """The nearest of these that is a tag of the picture."""


def _name(facts: Facts, sure: Mapping[str, float]) -> _Name | None:
    if not facts.named or facts.named[0].confidence < NAME_LEAST:
        return None
    best = facts.named[0]
    base = next((kind for kind in (best.name, *best.kinds) if kind in sure), None)
    level = band(best.confidence, own=True)
    part = Part(phrases.as_thing(best.name), best.confidence, level)
    if base == best.name and sure[base] > best.confidence:
        part = Part(part.words, sure[base], min(level, band(sure[base])))
    return _Name(part, frozenset((best.name, *best.kinds)), base)


def _things(
    tags: list[str], sure: Mapping[str, float], name: _Name | None
) -> tuple[tuple[tuple[Part, ...], ...], Part | None]:
    """What is to be seen, the main thing first, and what that is by name."""
    lead: tuple[Part, ...] = ()
    named: Part | None = None
    if name is not None and name.part.band < POSSIBLE:
        # The model is sure enough: what else it takes the thing for is no other thing.
        if name.base is None:
            return ((name.part,),), None
        base = _part(name.base, sure)
        lead, named = ((base,), name.part) if base.band < name.part.band else ((name.part,), None)
        tags = [tag for tag in tags if not _says(name, tag)]
    things = _grouped(tags, sure)
    if name is not None and name.base is None and not (things and things[0][0].band == 0):
        # Measured: an unsure name is right more often than an unsure tag that it has nothing to do with.
        return ((name.part,),), None
    if not lead and things:
        lead, *things = things
        if name is not None and name.base is not None and lead[0] == _part(name.base, sure) != name.part:
            named = name.part
    # The first is by far the best: another is told where it is sure, and then as probable.
    others = [
        tuple(replace(part, band=_lower(part)) for part in parts) for parts in things if parts[0].band == 0
    ]
    return ((lead, *others[: MOST_THINGS - 1]) if lead else ()), named


def _grouped(tags: list[str], sure: Mapping[str, float]) -> list[tuple[Part, ...]]:
    """Things, each with what it may be instead; of a tag and a more exact one, the latter."""
    found: dict[str, list[Part]] = {}
    for tag in tags:
        if any(one in sure for one in exacter(tag)):
            continue
        same = found.setdefault(alike(tag), [])
        if not same or (len(same) < MOST_ALTERNATIVES and sure[tag] >= same[0].confidence - CLOSE):
            same.append(_part(tag, sure))
    return [tuple(parts) for parts in found.values()]


def _says(name: _Name, tag: str) -> bool:
    """Whether a name says a tag as well: a Windsor tie is a tie, and not a scarf beside it."""
    same_group = name.base is not None and alike(tag) == alike(name.base)
    return same_group or tag in name.kinds or tag in name.part.words.split()


def _part(tag: str, sure: Mapping[str, float]) -> Part:
    return Part(phrases.as_thing(tag), sure[tag], band(sure[tag]))


def _lower(part: Part) -> int:
    """How something is said beside the main thing; what a person said stays as it is."""
    return part.band if part.confidence >= 1 else min(POSSIBLE, part.band + 1)
