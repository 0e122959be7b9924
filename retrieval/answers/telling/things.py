"""The things of a kind that a picture shows, as its tags and the names of the catalog's model have them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from retrieval.english.certainty import NAME_LEAST, POSSIBLE, band
from retrieval.english.nouns import single
from retrieval.english.things import GENERIC, alike, is_a

if TYPE_CHECKING:
    from collections.abc import Sequence

    from retrieval.speech import Facts, Named


class Thing(NamedTuple):
    """Something in a picture, by name, and how sure it is."""

    name: str
    confidence: float
    own: bool = False
    """Whether it is a model's own name, and not a tag."""
    finer: tuple[str, float] | None = None
    """What the model calls it more exactly, and how sure that is, where the thing itself is surer."""

    @property
    def band(self) -> int:
        return band(self.confidence, own=self.own)


def things_of(facts: Facts, kind: str | None) -> list[Thing]:
    """What a picture shows of a kind, or of any, the surest first; the kind's own name only if alone.

    What is sure is said before what it may be more exactly: a cat that is probably an Egyptian mau.
    """
    tags = [Thing(tag.tag, tag.confidence) for tag in facts.tags if kind is None or is_a(tag.tag, kind)]
    exact = [tag for tag in tags if not _repeats(tag.name, kind)]
    names = [
        one
        for one in facts.named
        if one.confidence >= NAME_LEAST
        and (kind is None or any(is_a(name, kind) for name in (one.name, *one.kinds)))
        and not _repeats(one.name, kind)
    ]
    found: list[Thing] = []
    rivals: set[str] = set()
    for one in names:
        base = _base(one, exact)
        found.append(_named(one, base, {thing.name.lower() for thing in found}))
        if base is not None and band(one.confidence, own=True) < POSSIBLE:
            rivals.add(alike(base.name.lower()))  # what the model takes for each other is one thing
    taken = {name for one in names for name in _called(one)}
    found += [
        tag
        for tag in exact
        if tag.confidence >= 1 or (tag.name.lower() not in taken and alike(tag.name.lower()) not in rivals)
    ]
    once: dict[str, Thing] = {}
    for thing in sorted(found or tags, key=lambda thing: (thing.band, -thing.confidence, thing.own)):
        once.setdefault(thing.name.lower(), thing)
    return list(once.values())


def _base(one: Named, tags: Sequence[Thing]) -> Thing | None:
    """The nearest tag that a name is a more exact word for."""
    by_name = {tag.name.lower(): tag for tag in tags}
    return next((by_name[name] for name in _called(one) if name in by_name), None)


def _named(one: Named, base: Thing | None, said: set[str]) -> Thing:
    """A name; behind the tag that it is a more exact word for where that is surer."""
    own = Thing(one.name, one.confidence, own=True)
    if base is not None and base.name.lower() == one.name.lower():
        return max(base, own, key=lambda thing: thing.confidence)
    if base is None or base.band >= own.band or base.name.lower() in said:
        return own
    return base._replace(finer=(one.name, one.confidence))


def _called(one: Named) -> list[str]:
    return [name.lower() for name in (one.name, *one.kinds)]


def _repeats(name: str, kind: str | None) -> bool:
    """Whether a name only repeats the question, or says as little."""
    return name.lower() in GENERIC or (kind is not None and single(name.lower()) == kind)
