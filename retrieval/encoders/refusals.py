"""Why an open_clip model cannot be had, in a sentence a person can act on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retrieval import config, hub
from retrieval.encoders import exports
from retrieval.errors import MissingDependency, ModelUnavailable, RetrievalError, UnknownModel

if TYPE_CHECKING:
    from collections.abc import Sequence

LISTED = 8


def stays_offline(name: exports.ModelName, *, cached: bool, url: str | None = None) -> bool:
    """Whether to load without the network, decided before anything can wait for it.

    Weights that are here are used as they are. Others need a hub that answers (or `url`, for
    the few that no hub has), and `ModelUnavailable` says what there is instead.
    """
    if cached:
        return True
    if config.offline():
        why = "asking the model hub is switched off (SEARCH_OFFLINE or HF_HUB_OFFLINE)"
    elif not hub.answers(url):
        why = "the model hub does not answer"
    else:
        return False
    here = [*exports.models_here()[:LISTED], "the built-in starter"]
    raise ModelUnavailable(
        f"The weights of {name.spec} are not on this machine, and {why}. "
        f"What is here: {_listed(here, 'and')}. Use one of these: search index --model NAME"
    )


def unknown(fact: str, near: Sequence[str]) -> UnknownModel:
    """The error for a name that does not exist, with those that come close."""
    hint = f" Did you mean {_listed(near, 'or')}?" if near else ""
    return UnknownModel(f"{fact}{hint} See what there is: search models")


def refusal(name: exports.ModelName, error: Exception, *, readable: bool) -> RetrievalError:
    """What went wrong while open_clip loaded a model, told by what kind of thing it was."""
    if isinstance(error, RetrievalError):
        return error
    told = " ".join(str(error).split())
    if isinstance(error, ImportError) or "install hugging" in told.lower():
        return MissingDependency(
            f"{name.spec} needs a package that is not installed: pip install transformers"
        )
    if isinstance(error, MemoryError):
        return ModelUnavailable(
            f"There is not enough memory to load {name.spec}. Take a smaller one: search models"
        )
    if isinstance(error, PermissionError):
        reason = "the file may not be read"
    elif readable or "loading state_dict" in told:
        reason = "its weights belong to another architecture"
    elif "weights_only" in told or "weights only" in told.lower():
        reason = "the file is not plain weights (it holds code, which is never run)"
    elif name.kind in {"tag", "hub"}:
        reason = told[:200].rstrip(".") or type(error).__name__
    else:
        reason = "the file is damaged, cut off, or not a checkpoint"
    return ModelUnavailable(f"{name.spec} cannot be loaded: {reason}. See what there is: search models")


def _listed(names: Sequence[str], word: str) -> str:
    return f"{', '.join(names[:-1])} {word} {names[-1]}" if len(names) > 1 else names[0]
