"""Names of models and the classes behind them, imported late.

A spec is `family` or `family:rest`. Packages can add families through the entry point
group `picture_search.encoders`, which is read only when a family is not built in.
"""

from __future__ import annotations

import difflib
from importlib import import_module
from typing import TYPE_CHECKING, cast

from retrieval.errors import UnknownModel

if TYPE_CHECKING:
    from retrieval.protocols import Encoder

ENCODERS: dict[str, str] = {
    "starter": "retrieval.encoders.starter:StarterEncoder",
    "toy": "retrieval.encoders.toy:ToyEncoder",
    "open_clip": "retrieval.encoders.onnx:load_open_clip",
    "hf-hub": "retrieval.encoders.onnx:load_open_clip",
    "local-dir": "retrieval.encoders.onnx:load_open_clip",
}
BUILT_IN = ("starter", "toy")
"""Families that are made of this package's own dependencies, and of no file that a spec could name."""
ENTRY_POINTS = "picture_search.encoders"


def load_encoder(spec: str) -> Encoder:
    """The encoder that `spec` names; cheap until it first encodes."""
    family = spec.partition(":")[0]
    target = home_of(family)
    if target is None:
        near = difflib.get_close_matches(family, ENCODERS, n=1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        raise UnknownModel(f"No model is called '{spec}'.{hint} See what there is: search models")
    module, _, name = target.partition(":")
    return cast("Encoder", getattr(import_module(module), name)(spec))


def home_of(family: str) -> str | None:
    """Where a family of encoders lives, built in or from a plugin; None for an unknown one."""
    if family in ENCODERS:
        return ENCODERS[family]
    from importlib.metadata import entry_points

    for point in entry_points(group=ENTRY_POINTS):
        if point.name == family:
            return point.value
    return None


def starter_spec(model: str | None, mode: str) -> str:
    """The spec of the built-in model in a mode: `starter:lite0` and `fast` make `starter:lite0-fast`."""
    family, _, rest = (model or "starter").partition(":")
    if family not in ("starter", "auto"):
        raise UnknownModel(f"A starter mode goes with the built-in model only, not with '{model}'.")
    size, _, named = rest.partition("-")
    if named and named != mode:
        raise UnknownModel(
            f"The model '{model}' and the mode '{mode}' contradict each other. Name one of them."
        )
    return f"starter:{size or 'lite2'}-{mode}"
