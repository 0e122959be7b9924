"""What an answer is made of on its way: the inquiry, the plan, what each picture says."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from retrieval.errors import QueryError
from retrieval.query.filters import Filter
from retrieval.types import Cost

if TYPE_CHECKING:
    from retrieval.query.terms import Query
    from retrieval.speech import Example, Facts

Kind = Literal["find", "what", "whether", "count", "when", "where", "camera"]
"""What is asked for: pictures, what they show, whether there are any, how many, the time, the
place, or the camera. All but `find`, `what` and `whether` are answered from the catalog's rows."""
Which = Literal["first", "last"]
Apart = Literal["chat", "unclear", "than", "against", "share", "period", "without", "season"]
"""What is asked for beside the kinds of answers. `chat` asks for nothing in the pictures, and
`unclear` is not understood: nothing may be said of the library. The others hold numbers against each
other: pictures against a number, against others, against all; those of each year; those that do
not say their place or time; those of a season of any year."""


@dataclass(frozen=True, slots=True)
class Past:
    """An earlier question of the same conversation, and its answer."""

    question: str
    answer: str
    plan: Plan | None = None
    cited: tuple[int, ...] = ()
    """The pictures that the answer cited, in their order."""


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
    without: tuple[str, ...] = ()
    """What the pictures should not show."""

    @property
    def asks(self) -> bool:
        """Whether it asks for anything that pictures show, or do not show."""
        return bool(self.words.strip() or self.without)

    @property
    def query(self) -> Query:
        """The words as they stand, whatever signs are in them, less what is not wanted."""
        from retrieval.query.terms import Query

        query = Query.text(self.words)
        for words in self.without:
            query -= Query.text(words)
        return query

    @property
    def written(self) -> str:
        """The same as one would write it for a search: "cats - dogs"."""
        if not self.without:
            return self.words
        terms = [_term(words) for words in (self.words, *self.without)]
        return " - ".join(terms).strip()

    def as_dict(self) -> dict[str, Any]:
        limits = {
            name: str(value)
            for name, value in ((slot, getattr(self.where, slot)) for slot in Filter.__slots__)
            if value not in (None, (), "")
        }
        return {"words": self.written, **limits}


def _term(words: str) -> str:
    """A text as a term of a sum, in quotes where a sign in it would be read as one."""
    from retrieval.query.parse import parse
    from retrieval.query.terms import Term, plain

    try:
        if not words or parse(words, paths=False) == (Term("text", plain(words)),):
            return words
    except QueryError:
        pass  # a quote that is never closed, or a colon that is no weight
    opening, closing = ('"', '"') if '"' not in words else ("“", "”")
    return opening + words.replace(closing, "'") + closing


@dataclass(frozen=True, slots=True)
class Task:
    """What an answer has to do beside finding pictures; see `Apart`."""

    way: Apart
    word: str = ""
    """more than, fewer · all, most · most, fewest · place, time · winter; of what is unclear, why it is."""
    number: int = 0
    unit: str = ""
    """year or month."""

    @property
    def understood(self) -> bool:
        return self.way not in ("chat", "unclear")

    def as_dict(self) -> dict[str, Any]:
        """As `Task(**...)` takes it."""
        said = {"way": self.way, "word": self.word, "number": self.number, "unit": self.unit}
        return {name: value for name, value in said.items() if value}


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be looked for, and what kind of answer is wanted."""

    kind: Kind
    searches: tuple[Search, ...]
    subject: str = ""
    """What the question is about, in its own words: "dogs", "cats without dogs"; empty for all pictures."""
    which: Which | None = None
    """Of several times or pictures, the first or the last alone."""
    by: str = "rules"
    """What made the plan: `rules`, or the id of a model."""
    notes: tuple[str, ...] = ()
    task: Task | None = None
    pictures: tuple[int, ...] = ()
    """The very pictures that a question is about: "what is in [2]?"; empty where they are searched for."""
    instead: Plan | None = None
    """What to look for where nothing is found: of a place, the pictures that are called like it."""

    @property
    def wanted(self) -> str:
        """The subject without what is not to be seen."""
        return self.subject.partition(" without ")[0]

    def as_dict(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "subject": self.subject,
            "searches": [search.as_dict() for search in self.searches],
            **({"which": self.which} if self.which else {}),
            **({"task": self.task.as_dict()} if self.task else {}),
            **({"pictures": list(self.pictures)} if self.pictures else {}),
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
