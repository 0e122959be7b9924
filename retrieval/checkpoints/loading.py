"""Loading a checkpoint with torch and transformers, the same for everything that does."""

from __future__ import annotations

import threading
import warnings
from contextlib import contextmanager
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


_SILENCE = threading.RLock()


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what transformers draws, logs and warns about away from the person's terminal."""
    told = transformers.logging
    with _SILENCE, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        level, bars = told.get_verbosity(), told.is_progress_bar_enabled()
        told.set_verbosity_error()
        told.disable_progress_bar()
        try:
            yield
        finally:
            told.set_verbosity(level)
            if bars:
                told.enable_progress_bar()
