"""What the routes of one server share."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, Request

from retrieval.answers import load_answerer
from retrieval.calls import Calls
from retrieval.captioners import load_captioner
from retrieval.config import cores

if TYPE_CHECKING:
    from retrieval.catalog import Catalog
    from retrieval.protocols import Answerer, Captioner

WAITING = 64
"""Calls that may wait for a place; whoever comes then is told to come again."""
QUICK = 16
"""Places for what only reads rows and small files: none of it waits behind a model."""


@dataclass(slots=True, weakref_slot=True)
class Settings:
    """The catalog that is served, how, and by whom its work is done."""

    catalog: Catalog
    token: str | None = None
    hosts: frozenset[str] | None = None
    readonly: bool = False
    answerer: str | None = None
    captioner: str | None = None
    work: Calls = field(default_factory=lambda: Calls(max(2, cores()), waiting=WAITING))
    """Whatever asks a model."""
    quick: Calls = field(default_factory=lambda: Calls(QUICK, waiting=WAITING * 8))


class Speakers:
    """Who describes and who answers: made at their first use, and kept."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @cached_property
    def answerer(self) -> Answerer:
        return load_answerer(self._settings.answerer)

    @cached_property
    def captioner(self) -> Captioner:
        return load_captioner(self._settings.captioner)


def _settings(request: Request) -> Settings:
    found: Settings = request.app.state.settings
    return found


def _speakers(request: Request) -> Speakers:
    found: Speakers = request.app.state.speakers
    return found


Served = Annotated[Settings, Depends(_settings)]
Speaking = Annotated[Speakers, Depends(_speakers)]
