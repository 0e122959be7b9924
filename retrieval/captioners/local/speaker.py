"""A local image-text model as a speaker: loading, batches, time and memory."""

from __future__ import annotations

import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from retrieval import checkpoints
from retrieval.captioners.known import LOCAL_USE
from retrieval.captioners.local.opening import Opened, check_room, opened
from retrieval.captioners.local.saying import TAIL, Clock, Hearing, drawing, say
from retrieval.captioners.local.seeing import seen
from retrieval.checkpoints.loading import best_device, is_full, quiet
from retrieval.errors import ModelError
from retrieval.speech import Reply

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from retrieval.captioners.local.saying import Said
    from retrieval.captioners.local.wording import Prompt
    from retrieval.speech import Chat

VERSION = 1
"""Part of the id: raised when the same model would be shown or asked something else."""
# On a CPU a batch gains nothing, and two at a time let a deadline fall between them.
CPU_BATCH = 2
GPU_BATCH = 8


class LocalSpeaker:
    """A repository's or a folder's model, loaded when it is first asked, on the best device here.

    One batch is answered at a time; a caller waits for its turn within its own time. Loading,
    which is done once, is not counted into that time.
    """

    note = ""

    def __init__(self, name: str, *, device: str | None = None) -> None:
        self._name = name
        self._device = device or best_device()
        self._size = CPU_BATCH if self._device == "cpu" else GPU_BATCH
        self._loading = threading.Lock()
        self._speaking = threading.Lock()
        self._checkpoint = checkpoints.find(name, LOCAL_USE)
        self._id: str | None = None
        self._opened: tuple[Opened, Clock] | None = None

    @property
    def id(self) -> str:
        with self._loading:
            if self._id is None:
                found = self._fetched()
                self._id = f"local/{found.name}/{found.fingerprint()}/{VERSION}"
            return self._id

    @property
    def batch_size(self) -> int:
        return self._size

    def reply(
        self,
        chats: Sequence[Chat],
        *,
        max_tokens: int = 256,
        seconds: float | None = None,
        temperature: float = 0.0,
        seed: int = 0,
        on_text: Callable[[str], None] | None = None,
    ) -> list[Reply]:
        if not chats:
            return []
        model, clock = self._model()
        deadline = None if seconds is None else time.monotonic() + seconds
        replies: list[Reply] = [Reply("", complete=False)] * len(chats)
        aloud = on_text if len(chats) == 1 else None
        waiting = _batches(chats, self._size)
        while waiting:
            batch = waiting.pop(0)
            left = -1.0 if deadline is None else max(0.0, deadline - time.monotonic())
            if not self._speaking.acquire(timeout=left):
                break
            try:
                clock.deadline = deadline
                if clock.up:
                    break
                # A tokenizer is not to be used by two threads at once, so prompts are made in here too.
                prompts = [model.wording.prompt(chats[place]) for place in batch]
                given = self._answered(model, clock, prompts, max_tokens, temperature, seed, aloud)
            finally:
                self._speaking.release()
            if given is None:
                half = self._halved(len(batch))
                waiting[:0] = [batch[start : start + half] for start in range(0, len(batch), half)]
                continue
            for place, reply in zip(batch, given, strict=True):
                replies[place] = reply
        if not any(reply.tokens or reply.complete for reply in replies):
            if seconds is None:
                raise ModelError(
                    f"{self._name} said nothing: all that came is padding. Ask another model: "
                    f"local:small. {LOCAL_USE.instead}"
                )
            raise ModelError(
                f"{self._name} said nothing within {seconds:g} seconds on this machine ({self._device}). "
                f"Give it more time, or ask a smaller model: local:small. {LOCAL_USE.instead}"
            )
        return replies

    def _answered(
        self,
        model: Opened,
        clock: Clock,
        prompts: list[Prompt],
        max_tokens: int,
        temperature: float,
        seed: int,
        aloud: Callable[[str], None] | None,
    ) -> list[Reply] | None:
        """Replies to a batch; None where it did not fit into memory."""
        hearings = [Hearing(prompt.last, model.wording.marks) for prompt in prompts]
        tokenizer = model.processor.tokenizer
        decoded = partial(tokenizer.decode, skip_special_tokens=True)
        told = _Aloud(hearings[0], decoded, aloud) if aloud else None

        def over(place: int, tokens: list[int]) -> bool:
            hearing = hearings[place]
            return hearing.may_be_over(decoded(tokens[-TAIL:])) and hearing.over(decoded(tokens))

        try:
            inputs = self._inputs(model, prompts)
            said = say(
                model.model,
                inputs,
                clock,
                max_tokens=self._room(model, inputs, max_tokens),
                ends=model.ends,
                pad=tokenizer.pad_token_id,
                draw=drawing(temperature, seed),
                over=over if model.wording.marks else None,
                heard=told,
            )
        except (RuntimeError, MemoryError, ValueError, IndexError, TypeError, KeyError) as error:
            if is_full(error):
                return None
            why = " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
            raise ModelError(f"{self._name} failed at answering: {why}. {LOCAL_USE.instead}") from error
        counts = inputs["attention_mask"].sum(dim=1).tolist()
        replies = [
            _reply(one, hearing, decoded, int(count))
            for one, hearing, count in zip(said, hearings, counts, strict=True)
        ]
        if told is not None:
            told.rest(replies[0].text)
        return replies

    def _inputs(self, model: Opened, prompts: list[Prompt]) -> dict[str, torch.Tensor]:
        texts = [prompt.text for prompt in prompts]
        settings: dict[str, Any] = {"padding": True, "return_tensors": "pt"}
        settings["add_special_tokens"] = not model.wording.starts_itself(texts[0])
        with quiet():
            if prompts[0].pictures:
                pictures = [[seen(image, model.longest) for image in prompt.pictures] for prompt in prompts]
                made = model.processor(text=texts, images=pictures, **settings)
            else:
                made = model.processor.tokenizer(texts, **settings)
        moved = {}
        for name, values in made.items():
            if name == "labels" or not isinstance(values, torch.Tensor):
                continue
            moved[name] = values.to(model.device, model.dtype if values.is_floating_point() else None)
        return moved

    def _room(self, model: Opened, inputs: dict[str, torch.Tensor], max_tokens: int) -> int:
        length = inputs["input_ids"].shape[1]
        if model.reads is None or length + max_tokens <= model.reads:
            return max_tokens
        if length >= model.reads:
            raise ModelError(
                f"What {self._name} is asked is {length} tokens long, and it reads {model.reads} at most. "
                "Ask with fewer pictures or a shorter text."
            )
        return model.reads - length

    def _halved(self, count: int) -> int:
        """A batch of half the size from now on; a single chat cannot be halved."""
        if self._device == "cuda":
            torch.cuda.empty_cache()
        if count == 1:
            raise ModelError(
                f"{self._name} ran out of memory over a single picture on this machine ({self._device}). "
                f"A smaller model is local:small. {LOCAL_USE.instead}"
            )
        self._size = max(1, count // 2)
        return self._size

    def _fetched(self) -> checkpoints.Checkpoint:
        if self._checkpoint is None:
            check_room(self._name, self._device)
            self._checkpoint = checkpoints.fetch(self._name, LOCAL_USE)
        return self._checkpoint

    def _model(self) -> tuple[Opened, Clock]:
        with self._loading:
            if self._opened is None:
                model = opened(self._fetched(), self._device)
                if model.device.type != self._device:
                    self._device, self._size = model.device.type, CPU_BATCH
                self._opened = model, Clock(model.model)
            return self._opened


class _Aloud:
    """Passes a reply on while it is made, only as far as nothing can change it any more."""

    def __init__(
        self, hearing: Hearing, decoded: Callable[[list[int]], str], tell: Callable[[str], None]
    ) -> None:
        self._hearing = hearing
        self._decoded = decoded
        self._tell = tell
        self._told = ""

    def __call__(self, tokens: list[int]) -> None:
        self.rest(self._hearing.settled(self._decoded(tokens)))

    def rest(self, text: str) -> None:
        if len(text) > len(self._told) and text.startswith(self._told):
            self._tell(text[len(self._told) :])
            self._told = text


def _reply(said: Said, hearing: Hearing, decoded: Callable[[list[int]], str], prompt_tokens: int) -> Reply:
    text = decoded(said.tokens)
    complete = said.ended or hearing.over(text)
    return Reply(hearing.text(text), prompt_tokens, len(said.tokens), complete)


def _batches(chats: Sequence[Chat], size: int) -> list[list[int]]:
    """The places of chats that can go together: those of as many pictures, in their order."""
    alike: dict[int, list[int]] = {}
    for place, chat in enumerate(chats):
        count = sum(not isinstance(part, str) for turn in chat for part in turn.parts)
        alike.setdefault(count, []).append(place)
    return [
        places[start : start + size] for places in alike.values() for start in range(0, len(places), size)
    ]
