"""What the steps of an answer share: who thinks, how long there still is, and what was done so far."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from retrieval.answers.telling.rules import RuleAnswerer
from retrieval.errors import ModelError
from retrieval.types import Step

if TYPE_CHECKING:
    from retrieval.answers.shapes import Inquiry
    from retrieval.protocols import Answerer, Progress
    from retrieval.state import State

T = TypeVar("T")

LEAST_SECONDS = 0.5
"""With less time left than that no model is asked."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How an answer is to be reached: see `Catalog.ask`."""

    limit: int
    rerank: str | None
    seconds: float
    check: bool
    progress: Progress | None = None


class Thinking:
    """One question on its way: its answerer, until that fails or the time is up, and then rules."""

    def __init__(self, state: State, inquiry: Inquiry, answerer: Answerer, terms: Terms) -> None:
        self.state = state
        self.terms = terms
        self.asked = answerer
        """What was asked to answer; `answerer` is what still does."""
        self.answerer = answerer
        self.rules = answerer if isinstance(answerer, RuleAnswerer) else RuleAnswerer()
        self.begun = time.monotonic()
        self.steps: list[Step] = []
        self.notes: list[str] = []
        self.looked = 0
        self._inquiry = inquiry

    @property
    def inquiry(self) -> Inquiry:
        """The question, with the time that is left for it."""
        return replace(self._inquiry, seconds=max(LEAST_SECONDS, self.left))

    @property
    def left(self) -> float:
        return self.terms.seconds - (time.monotonic() - self.begun)

    @property
    def by_rules(self) -> bool:
        return self.answerer is self.rules

    def may_ask(self, before: str) -> bool:
        """Whether a model is to be asked: there is one, and there is time. Else rules go on from here."""
        if self.by_rules:
            return False
        if self.left >= LEAST_SECONDS:
            return True
        self._hand_over(f"The time of {self.terms.seconds:g} seconds was up before {before}.")
        return False

    def asking(self, call: Callable[[Answerer], T]) -> T | None:
        """What the answerer says; None where it failed, and rules go on."""
        try:
            return call(self.answerer)
        except ModelError as error:
            self._hand_over(f"{self.answerer.id} failed: {error}")
            return None

    def step(self, name: str, text: str, begun: float, data: dict[str, Any] | None = None) -> None:
        """Write down what was done since `begun`, and tell it."""
        done = Step(name, text, time.monotonic() - begun, data or {})
        self.steps.append(done)
        self.tell("step", done.as_dict())

    def tell(self, name: str, figures: dict[str, Any]) -> None:
        if self.terms.progress is not None:
            self.terms.progress(name, figures)

    def _hand_over(self, why: str) -> None:
        self.notes.append(f"{why} What was left to do was done by rules, from what is known of the pictures.")
        self.answerer = self.rules
