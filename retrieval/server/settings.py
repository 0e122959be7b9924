"""What the routes of one server share."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from fastapi import Depends, Request

from retrieval.answers import load_answerer
from retrieval.calls import Calls
from retrieval.captioners import load_captioner
from retrieval.config import cores
from retrieval.server.jobs import Jobs
from retrieval.server.problems import WritesRefused
from retrieval.server.turns import Turns

if TYPE_CHECKING:
    from retrieval.catalog import Catalog
    from retrieval.protocols import Answerer, Captioner

T = TypeVar("T")

WAITING = 64
"""Calls that may wait for a place; whoever comes then is told to come again."""
QUICK = 16
"""Places for what only reads rows: none of it waits behind a model."""
REMEMBERED = 4
SEEN = 512
"""Small pictures that may wait to be made: a page that is scrolled asks for many at once."""


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
    """Whatever asks a model that is at hand."""
    speaking: Calls = field(default_factory=lambda: Calls(max(2, cores()), waiting=WAITING))
    """Whatever a model writes: it takes minutes, or waits for another machine. No search waits for it."""
    comparing: Calls = field(default_factory=lambda: Calls(1, waiting=WAITING))
    """Whatever compares all pictures with each other, one after the other: searches go on beside it,
    and who asks the same meanwhile finds it done."""
    drawing: Calls = field(default_factory=lambda: Calls(max(2, cores()), waiting=SEEN))
    """Whatever decodes a picture to show it."""
    quick: Calls = field(default_factory=lambda: Calls(QUICK, waiting=WAITING * 8))
    writing: Calls = field(default_factory=lambda: Calls(1, waiting=WAITING))
    """Whatever changes the catalog, one after the other: a second writer would be refused."""
    key: str = field(default_factory=lambda: secrets.token_hex(16))
    """What the server proves with, to this user's own commands, that it is the one they look for."""
    ending: threading.Event = field(default_factory=threading.Event)
    """Set when the server is to end: streams that would go on for ever end then."""


class Memory:
    """The last few answers that took long, each good for one moment of the catalog."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Hashable, Any] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, key: Hashable, make: Callable[[], T], moment: int | None) -> T:
        """What was made for this key, else `make`; without a moment nothing is kept."""
        with self._lock:
            if moment is not None and key in self._kept:
                found: T = self._kept[key]
                return found
        made = make()
        if moment is not None:
            with self._lock:
                self._kept[key] = made
                while len(self._kept) > REMEMBERED:
                    self._kept.popitem(last=False)
        return made


class Speakers:
    """Who describes and who answers: made at their first use, and kept."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()

    def answerer(self) -> Answerer:
        with self._lock:
            return self._answerer

    def captioner(self) -> Captioner:
        with self._lock:
            return self._captioner

    @cached_property
    def _answerer(self) -> Answerer:
        return load_answerer(self._settings.answerer)

    @cached_property
    def _captioner(self) -> Captioner:
        return load_captioner(self._settings.captioner)


# Not to be run in threads, which may all be waiting for a slow disk: so they are coroutines.


async def _settings(request: Request) -> Settings:
    found: Settings = request.app.state.settings
    return found


async def _writable(request: Request) -> Settings:
    found = await _settings(request)
    if found.readonly or found.catalog.readonly:
        raise WritesRefused("This server only reads: it was started with --read-only.")
    return found


async def _speakers(request: Request) -> Speakers:
    found: Speakers = request.app.state.speakers
    return found


async def _memory(request: Request) -> Memory:
    found: Memory = request.app.state.memory
    return found


async def _turns(request: Request) -> Turns:
    found: Turns = request.app.state.turns
    return found


async def _jobs(request: Request) -> Jobs:
    found: Jobs = request.app.state.jobs
    return found


Served = Annotated[Settings, Depends(_settings)]
Changed = Annotated[Settings, Depends(_writable)]
"""The same, for what changes the catalog: refused where nothing may be."""
Speaking = Annotated[Speakers, Depends(_speakers)]
Remembered = Annotated[Memory, Depends(_memory)]
Conversing = Annotated[Turns, Depends(_turns)]
Indexing = Annotated[Jobs, Depends(_jobs)]
