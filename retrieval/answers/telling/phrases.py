"""What was asked for, what it was limited to and what came near it, as parts of a sentence."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from retrieval.answers.telling.parts import whole_words
from retrieval.answers.telling.wording import plain
from retrieval.answers.understanding.negation import composed
from retrieval.answers.understanding.subjects import GLUE
from retrieval.english.days import day_of, day_words, period_words
from retrieval.english.nouns import article_for, counted, listed, single, verb, with_article
from retrieval.query.filters import moment

if TYPE_CHECKING:
    from retrieval.answers.shapes import Plan, Search
    from retrieval.query.filters import Filter
    from retrieval.types import Hit

CLOSEST = 2
NEAR = 0.05
"""From here on something came near at all."""
_NOTHING = frozenset({"nothing", "nobody", "none", "no one"})
MOST_SHOWN = 100
"""Pictures that one answer can show."""


def about(plan: Plan) -> str:
    """What the plan looks for, empty where it is every picture that passes."""
    asking = [search for search in plan.searches if search.asks]
    if not asking:
        return ""
    return plain(plan.subject.strip() or _words(asking[0]))


def named(plan: Plan) -> str:
    """The same as a sentence names it: "a dog", "dogs in the snow", "something red"."""
    return as_told(about(plan))


def as_told(subject: str) -> str:
    """A subject as a sentence names it, also where it is but words side by side: "cats and dogs"."""
    words = subject.split()
    if subject.lower() in _NOTHING:
        return ""
    if len(words) > 1 and all(word.lower() != single(word.lower()) for word in words):
        return listed(words)
    return whole_words(subject)


def one_of(named: str) -> str:
    """The same of a single picture: "a dog in the snow" for "dogs in the snow"."""
    words = named.split()
    end = next((place for place, word in enumerate(words) if place and word.lower() in GLUE), len(words))
    head, rest = " ".join(words[:end]), words[end:]
    alone = single(head)
    if not head or alone == head or head.split()[0].lower() in ("a", "an", "the") or "and" in rest:
        return named
    return " ".join([with_article(alone), *rest])


def as_searched(plan: Plan) -> str:
    """What was searched for, in the words of the searches: "dogs on the beach"."""
    return listed(list(dict.fromkeys(plain(_words(one)) for one in plan.searches if one.asks)), "or")


def _words(search: Search) -> str:
    return composed(search.words.strip() or "pictures", search.without)


def pictures(count: int) -> str:
    return counted(count, "picture")


def limits_words(where: Filter) -> str:
    """What a filter asks for: "taken in 2022 near Lisbon with Nikon"; empty for an empty one."""
    taken = [_times(where)]
    if where.near is not None:
        place = where.place
        word = "in" if place is not None and place.kind != "town" else "near"
        taken.append(f"{word} {plain(str(where.near) if place is None else place.name)}")
    if where.camera is not None:
        taken.append(f"with {camera_words(where.camera)}")
    taken = [part for part in taken if part]
    parts = [f"taken {' '.join(taken)}"] if taken else []
    if where.orientation is not None:
        parts.append(f"in {plain(where.orientation)} format")
    if where.type is not None:
        parts.append(f"of type {plain(where.type)}")
    if where.min_size is not None:
        parts.append(f"of at least {plain(str(where.min_size))}")
    if where.folder is not None:
        parts.append(f"in the folder {plain(os.fsdecode(where.folder))}")
    tags = [where.tags] if isinstance(where.tags, str) else list(where.tags)
    if tags:
        parts.append(f"tagged {listed([plain(tag) for tag in tags])}")
    return " ".join(parts)


def camera_words(name: str) -> str:
    """`a Nikon D90`, `an Apple iPhone 13`."""
    said = plain(name)
    return f"{article_for(said)} {said}" if said else said


def _times(where: Filter) -> str:
    ends = [None if end is None else moment(end) for end in (where.after, where.before)]
    days = [None if end is None else day_of(end) for end in ends]
    if all(end is None or len(end) == 10 for end in ends):
        return period_words(*days)
    after, before = (
        "" if end is None or day is None else f"{day_words(day)} {end[11:16]}".strip()
        for end, day in zip(ends, days, strict=True)
    )
    if after and before:
        return f"from {after} until {before}"
    return f"since {after}" if after else f"before {before}"


def day(taken_at: str) -> str:
    """The day of a time in words; a time that is none is given as it stands."""
    found = day_of(taken_at)
    return plain(taken_at) if found is None else day_words(found)


def days(times: Sequence[str]) -> list[dt.date]:
    return [found for found in map(day_of, times) if found is not None]


def likeness(count: int, named: str, limits: str = "") -> str:
    """How many pictures look like something: "3 pictures taken in 2022 look like dogs"."""
    from retrieval.asking import DATED

    least = "At least " if count >= DATED else ""
    looks = verb(count, "look")
    like = one_of(named) if count == 1 else named
    return f"{least}{pictures(count)}{' ' + limits if limits else ''} {looks} like {like}"


def ranked_words(count: int, how: str) -> str:
    """`these are the newest 8`, `this is the newest`."""
    return f"this is the {how}" if count == 1 else f"these are the {how} {count}"


def more_words(count: int) -> str:
    """How to see all of what an answer shows only some of."""
    most = min(count, MOST_SHOWN)
    return f"To see {'all of them' if most == count else f'{most} of them'}: search ask -k {most} QUESTION"


def nearest(closest: Sequence[Hit]) -> list[Hit]:
    """What is worth naming of what came nearest."""
    return [hit for hit in closest[:CLOSEST] if hit.match >= NEAR]


def closest_words(closest: Sequence[Hit], cutoff: float) -> str:
    """What came nearest, by its file's name; empty where nothing came near."""
    named = [f"{plain(file_name(hit))} ({hit.match:.0%})" for hit in nearest(closest)]
    if not named:
        return ""
    verb = "Closest is" if len(named) == 1 else "Closest are"
    return f"{verb} {listed(named)}; from {cutoff:.0%} on it would count."


def file_name(hit: Hit) -> str:
    return os.fsencode(hit.path.name).decode("utf-8", "replace")
