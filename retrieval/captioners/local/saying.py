"""Runs a model token by token: within its time, up to its own end, and by chance only where asked."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
    TemperatureLogitsWarper,
    TopPLogitsWarper,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

NUCLEUS = 0.95
"""Of what might come next, so much of the likelihood is drawn from; the long tail is mostly noise."""
TAIL = 16
"""So many last tokens are read for the mark of another speaker."""


class TimeUp(Exception):
    """The time of a reply is over in the middle of a step."""


class Clock:
    """Stops a model between two of its layers: one step over a long prompt can take minutes on a CPU."""

    def __init__(self, model: Any) -> None:
        self.deadline: float | None = None
        for module in model.modules():
            if isinstance(module, torch.nn.ModuleList):
                for layer in module:
                    layer.register_forward_pre_hook(self._look)

    @property
    def up(self) -> bool:
        return self.deadline is not None and time.monotonic() >= self.deadline

    def _look(self, module: Any, arguments: Any) -> None:  # noqa: ARG002 - the shape of a hook
        if self.up:
            raise TimeUp


class Sound(LogitsProcessor):  # type: ignore[misc]
    """Stops a model whose numbers have left their range: it would repeat one mark, as if it answered."""

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> Any:  # noqa: ARG002
        if bool(scores.isnan().any()):
            raise RuntimeError(
                "it computes no numbers any more; its weights are damaged, or too large for the format "
                "they are computed in"
            )
        return scores


class Drawn(LogitsProcessor):  # type: ignore[misc]
    """Draws the next token by a seed of its own: the same for a chat alone and among others.

    Noise of the right kind on each score makes the highest of them a fair draw, so that
    nothing else has to be random, and other threads' numbers are left alone.
    """

    def __init__(self, seed: int) -> None:
        self._generator = torch.Generator().manual_seed(seed % 2**63)

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> Any:  # noqa: ARG002
        noise = torch.empty(scores.shape[-1]).exponential_(generator=self._generator)
        return scores.float() - noise.clamp_min(1e-30).log().to(scores.device)


def drawing(temperature: float, seed: int) -> LogitsProcessorList:
    """What a model's scores go through: a check, and what makes its choice one by chance above 0."""
    if temperature <= 0:
        return LogitsProcessorList([Sound()])
    return LogitsProcessorList(
        [Sound(), TemperatureLogitsWarper(float(temperature)), TopPLogitsWarper(NUCLEUS), Drawn(seed)]
    )


class Listener(StoppingCriteria):  # type: ignore[misc]
    """Hears every token: ends a row where another speaker begins, all of them when time is up."""

    def __init__(
        self,
        start: int,
        clock: Clock,
        over: Callable[[int, list[int]], bool] | None,
        heard: Callable[[list[int]], None] | None,
    ) -> None:
        self._start = start
        self._clock = clock
        self._over = over
        self._heard = heard
        self.said: torch.Tensor | None = None

    def __call__(self, input_ids: torch.LongTensor, scores: Any, **_: Any) -> Any:  # noqa: ARG002
        self.said = input_ids[:, self._start :]
        rows = self.said.tolist()
        if self._heard is not None:
            self._heard(rows[0])
        over = [
            self._clock.up or (self._over is not None and self._over(place, row))
            for place, row in enumerate(rows)
        ]
        return torch.tensor(over, dtype=torch.bool, device=input_ids.device)


class Said(NamedTuple):
    tokens: list[int]
    ended: bool
    """Whether the model ended it by itself."""


def say(
    model: Any,
    inputs: dict[str, torch.Tensor],
    clock: Clock,
    *,
    max_tokens: int,
    ends: tuple[int, ...],
    pad: int | None,
    draw: LogitsProcessorList,
    over: Callable[[int, list[int]], bool] | None = None,
    heard: Callable[[list[int]], None] | None = None,
) -> list[Said]:
    """What the model says after each prompt of a batch, as tokens up to its end."""
    count, start = inputs["input_ids"].shape
    listener = Listener(start, clock, over, heard)
    settings = GenerationConfig(
        max_new_tokens=max_tokens, do_sample=False, eos_token_id=list(ends), pad_token_id=pad
    )
    try:
        with torch.inference_mode():
            whole = model.generate(
                **inputs,
                generation_config=settings,
                logits_processor=draw,
                stopping_criteria=StoppingCriteriaList([listener]),
            )
        rows = whole[:, start:].tolist()
    except TimeUp:
        rows = [[] for _ in range(count)] if listener.said is None else listener.said.tolist()
    return [_cut(row, ends, pad) for row in rows]


def _cut(row: list[int], ends: Iterable[int], pad: int | None) -> Said:
    for number, token in enumerate(row):
        if token in ends:
            return Said(row[:number], True)
    # A row that was stopped is filled up to the length of the others.
    while row and row[-1] == pad:
        row = row[:-1]
    return Said(row, False)


class Hearing:
    """Makes a reply of what a model says: without an echo of the question, up to another's turn."""

    def __init__(self, asked: str, marks: Sequence[str]) -> None:
        self._asked = asked.strip()
        names = "|".join(map(re.escape, marks))
        self._own = re.compile(rf"\s*(?:{names})\s*:\s*") if names else None
        self._other = re.compile(rf"(?:^|(?<=\s))(?:{names}):") if names else None
        self._held = max(map(len, marks), default=-1) + 1

    def over(self, text: str) -> bool:
        """Whether another speaker's turn begins after something was said."""
        return self._cut(self._begun(text)) is not None

    def may_be_over(self, tail: str) -> bool:
        """The same for the end of what is said, which is cheap to ask after each token."""
        return self._cut(tail) is not None

    def text(self, said: str) -> str:
        begun = self._begun(said)
        cut = self._cut(begun)
        return (begun if cut is None else begun[:cut]).strip()

    def settled(self, said: str) -> str:
        """The part of the reply that no further token can change."""
        if self._asked and self._asked.startswith(said.strip()[: len(self._asked)]):
            return ""
        if self._own and re.fullmatch(r"\s*\w*\s*", said):
            return ""
        begun = self._begun(said).rstrip("\ufffd")
        sure = self.text(begun)
        return sure[: max(0, len(begun.rstrip()) - self._held)].rstrip() if self._held else sure

    def _begun(self, said: str) -> str:
        """What is said without what only repeats the prompt's end."""
        text = said.lstrip()
        for _ in range(2):
            if self._asked and text.startswith(self._asked):
                text = text[len(self._asked) :].lstrip()
            if self._own and (own := self._own.match(text)):
                text = text[own.end() :]
        return text

    def _cut(self, begun: str) -> int | None:
        found = self._other.search(begun) if self._other else None
        return found.start() if found else None
