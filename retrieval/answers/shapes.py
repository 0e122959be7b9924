"""What an answer is made of on its way: the inquiry, the plan, what each picture says."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from retrieval.query.filters import Filter
from retrieval.types import Cost

if TYPE_CHECKING:
    from retrieval.speech import Example, Facts

Kind = Literal["find", "what", "whether", "count", "when", "where", "camera"]
"""What is asked for: pictures, what they show, whether there are any, how many, the time, the
place, or the camera. All but `find`, `what` and `whether` are answered from the catalog's rows."""
Which = Literal["first", "last"]


@dataclass(frozen=True, slots=True)
class Past:
    """An earlier question of the same conversation, and its answer."""

    question: str
    answer: str
    plan: Plan | None = None


class Ledger:
    """What was asked of models for one question so far. Several threads may write into it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cost = Cost()

    @property
    def cost(self) -> Cost:
        return self._cost

    def add(self, *, calls: int = 0, prompt_tokens: int = 0, tokens: int = 0) -> None:
        with self._lock:
            spent = self._cost
            self._cost = Cost(
                calls=spent.calls + calls,
                prompt_tokens=spent.prompt_tokens + prompt_tokens,
                tokens=spent.tokens + tokens,
            )


@dataclass(frozen=True, slots=True)
class Inquiry:
    """A question and all that goes with it: an answerer that several share keeps nothing of it itself."""

    question: str
    today: dt.date
    where: Filter = field(default_factory=Filter)
    """What the person limited the answer to; a plan only narrows it."""
    examples: tuple[Example, ...] = ()
    past: tuple[Past, ...] = ()
    """The conversation so far, the oldest first."""
    seconds: float | None = None
    """How long what is asked now may take: a plan, a look, a draft, a check."""
    on_text: Callable[[str], None] | None = field(default=None, compare=False, repr=False)
    """Gets what a model drafts, piece by piece."""
    ledger: Ledger = field(default_factory=Ledger, compare=False, repr=False)
    """Where an answerer that asks a model writes down what that took."""


@dataclass(frozen=True, slots=True)
class Search:
    """One search of a plan; without words it asks for every picture that passes the filter."""

    words: str
    where: Filter = field(default_factory=Filter)

    def as_dict(self) -> dict[str, Any]:
        limits = {
            name: str(value)
            for name, value in ((slot, getattr(self.where, slot)) for slot in Filter.__slots__)
            if value not in (None, (), "")
        }
        return {"words": self.words, **limits}


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be looked for, and what kind of answer is wanted."""

    kind: Kind
    searches: tuple[Search, ...]
    subject: str = ""
    """What the question is about, in its own words: "dogs", "food"; empty for the whole library."""
    which: Which | None = None
    """Of several times or pictures, the first or the last alone."""
    by: str = "rules"
    """What made the plan: `rules`, or the id of a model."""
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "subject": self.subject,
            "searches": [search.as_dict() for search in self.searches],
            **({"which": self.which} if self.which else {}),
            "by": self.by,
        }


@dataclass(frozen=True, slots=True)
class Finding:
    """A picture that was found, and what it says to the question."""

    facts: Facts
    match: float
    """How likely it is what was searched for, 0..1."""
    text: str = ""
    """What was seen in it; empty where nothing answers the question."""
    sure: float = 0.0
    """How sure that is, 0..1."""
    by: str = ""
    """What looked."""
