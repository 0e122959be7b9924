"""What a person limits an answer to, and what a plan limits it to besides: both hold."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import NamedTuple

from retrieval.query.filters import Filter, moment

ALONE = ("camera", "near", "orientation", "min_size", "type")
"""Of each of these a filter has one; where both name another, a second filter says the other."""


class Limits(NamedTuple):
    """Filters that all have to be passed; `where` says most of it."""

    where: Filter
    also: Filter
    possible: bool = True
    """False where no picture can pass both, as with times that do not meet."""

    @property
    def every(self) -> tuple[Filter, ...]:
        return tuple(part for part in (self.where, self.also) if part)


def narrowed(person: Filter, wanted: Filter) -> Limits:
    """Both filters at once. Raises `QueryError` where one of them cannot be understood."""
    where, also = person, Filter()
    after = _latest([person.after, wanted.after])
    before = _earliest([person.before, wanted.before])
    where = replace(where, after=after, before=before, tags=_together(person, wanted))
    for name in ALONE:
        own, other = getattr(person, name), getattr(wanted, name)
        if own is None:
            where = replace(where, **{name: other})
        elif other is not None and other != own:
            also = replace(also, **{name: other})
    if person.folder is None:
        where = replace(where, folder=wanted.folder)
    elif wanted.folder is not None and os.fspath(wanted.folder) != os.fspath(person.folder):
        also = replace(also, folder=wanted.folder)
    return Limits(where, also, possible=after is None or before is None or after < before)


def understood(where: Filter) -> Filter:
    """The filter itself, if it can be understood; loads the names of places where it names one."""
    where.sql()
    return where


def _latest(values: list[object]) -> str | None:
    times = [moment(value) for value in values if value is not None]  # type: ignore[arg-type]
    return max(times, default=None)


def _earliest(values: list[object]) -> str | None:
    times = [moment(value) for value in values if value is not None]  # type: ignore[arg-type]
    return min(times, default=None)


def _together(person: Filter, wanted: Filter) -> tuple[str, ...]:
    tags = [[part.tags] if isinstance(part.tags, str) else list(part.tags) for part in (person, wanted)]
    return tuple(dict.fromkeys([*tags[0], *tags[1]]))
