"""What was asked for, what it was limited to and what came near it, as parts of a sentence."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from retrieval.answers.subjects import as_named
from retrieval.answers.wording import counted, day_of, day_words, joined, period_words, plain
from retrieval.query.filters import moment

if TYPE_CHECKING:
    from retrieval.answers.shapes import Plan
    from retrieval.query.filters import Filter
    from retrieval.types import Hit

CLOSEST = 2


def about(plan: Plan) -> str:
    """What the plan looks for, empty where it is every picture that passes."""
    words = [search.words.strip() for search in plan.searches if search.words.strip()]
    if not words:
        return ""
    return plain(plan.subject.strip() or words[0])


def named(plan: Plan) -> str:
    """The same as a sentence names it: "a dog", "dogs in the snow", "something red"."""
    return as_named(about(plan))


def as_searched(plan: Plan) -> str:
    """What was searched for, in the words of the searches: "dogs on the beach"."""
    return joined(list(dict.fromkeys(plain(one.words) for one in plan.searches if one.words.strip())), "or")


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
        taken.append(f"with {plain(where.camera)}")
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
        parts.append(f"tagged {joined([plain(tag) for tag in tags])}")
    return " ".join(parts)


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


def closest_words(closest: Sequence[Hit], cutoff: float) -> str:
    """What came nearest, by its file's name."""
    named = [f"{plain(file_name(hit))} ({hit.match:.0%})" for hit in closest[:CLOSEST]]
    verb = "Closest is" if len(named) == 1 else "Closest are"
    return f"{verb} {joined(named)}; from {cutoff:.0%} on it would count."


def file_name(hit: Hit) -> str:
    return os.fsencode(hit.path.name).decode("utf-8", "replace")
