"""Loading a checkpoint with torch and transformers, the same for everything that does."""

from __future__ import annotations

import threading
import warnings
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch
import transformers

from retrieval.errors import ModelUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from retrieval.checkpoints import Checkpoint, Use


def load_model(kind: Any, found: Checkpoint, called: str, use: Use, **settings: Any) -> Any:
    """A model from a folder, by its class of transformers, ready to be asked.

    One that lacks any of its weights is refused: transformers would fill it with random
    numbers and go on. Nothing asks a network, and code in a checkpoint is never run.
    """
    safe = {"use_safetensors": found.safe, "weights_only": True, "output_loading_info": True}
    model, info = load_part(kind, found, called, use, **safe, **settings)
    missing = sorted(info["missing_keys"])
    if missing:
        raise refused(found, called, f"{len(missing)} of its weights are missing ({missing[0]} …)", use)
    return model.eval()


def placed(model: Any, found: Checkpoint, called: str, use: Use, *where: Any) -> Any:
    """The model on its device; what fits by its weights alone may still find no room there."""
    try:
        return model.to(*where).eval()
    except Exception as error:  # torch raises one kind for a full device, quantizers others for any move
        if is_full(error):
            told = f"it does not fit into the memory that is free ({where[0]})"
        else:
            told = " ".join(str(error).split())[:200] or type(error).__name__
        raise refused(found, called, told.rstrip("."), use) from error


def load_part(kind: Any, found: Checkpoint, called: str, use: Use, **settings: Any) -> Any:
    """A processor, a tokenizer or a model's settings from the same folder."""
    try:
        with quiet():
            return kind.from_pretrained(
                found.folder, local_files_only=True, trust_remote_code=False, **settings
            )
    except Exception as error:  # transformers, torch and safetensors each raise their own kinds
        told = " ".join(str(error).split())[:200] or type(error).__name__
        raise refused(found, called, told.rstrip("."), use) from error


def best_device() -> str:
    """`cuda`, `mps` or `cpu`, the first that this machine has."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def refused(found: Checkpoint, called: str, why: str, use: Use) -> ModelUnavailable:
    return ModelUnavailable(f"{found.name} cannot be loaded as {called}: {why}. {use.instead}")


FULL = ("out of memory", "can't allocate memory", "not enough memory", "cannot allocate memory")
"""How torch says on each device that memory is full."""


def is_full(error: BaseException) -> bool:
    """Whether a model failed for want of memory, so that fewer at a time may do."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in FULL)


class _Silence:
    """The host's settings are put away by the first that wants silence, and back by the last.

    They belong to the whole process. A lock held all the while would let a model that is being
    loaded keep every other one from answering in its time.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wanted = 0
        self._back = ExitStack()

    def begin(self) -> None:
        with self._lock:
            self._wanted += 1
            if self._wanted > 1:
                return
            told = transformers.logging
            self._back.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
            self._back.callback(told.set_verbosity, told.get_verbosity())
            if told.is_progress_bar_enabled():
                self._back.callback(told.enable_progress_bar)
            told.set_verbosity_error()
            told.disable_progress_bar()

    def end(self) -> None:
        with self._lock:
            self._wanted -= 1
            if not self._wanted:
                self._back.close()


_SILENCE = _Silence()


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what transformers draws, logs and warns about away from the person's terminal."""
    _SILENCE.begin()
    try:
        yield
    finally:
        _SILENCE.end()
