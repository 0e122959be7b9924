"""Models that look at a picture and a query together, by name and imported late.

A spec is `name` or `name:rest`. Packages can add rerankers through the entry point group
`picture_search.rerankers`, which is read only when a name is not built in. What a name stands
for is called with the rest of the spec (often empty) and the catalog's encoder.
"""

from __future__ import annotations

import difflib
from importlib import import_module
from typing import TYPE_CHECKING, cast

from retrieval.checkpoints import Use
from retrieval.errors import MissingDependency, UnknownModel

if TYPE_CHECKING:
    from collections.abc import Callable

    from retrieval.protocols import Encoder, Reranker

RERANKERS: dict[str, str] = {
    "blip_itm": "retrieval.rerankers.blip_itm:load_blip_itm",
    "crops": "retrieval.rerankers.crops:load_crops",
}
STANDING_FOR = ("regions", "classes")
"""What may be named besides: what fits the catalog's model without a download, and the model's own
second stage; `retrieval.reranking` knows which that is."""
EXTRAS = {"blip_itm": "rerank"}
"""Which extra of the package brings what a reranker imports."""
ENTRY_POINTS = "picture_search.rerankers"
BLIP = "Salesforce/blip-itm-base-coco"
"""The checkpoint of `blip_itm` that is taken where none is named."""
BLIP_USE = Use(
    instead="Without a download: search QUERY --rerank crops",
    named="search QUERY --rerank blip_itm:./FOLDER",
    example=BLIP,
    extra="rerank",
)


def load_reranker(spec: str, encoder: Encoder) -> Reranker:
    """The reranker that `spec` names; cheap until it first looks or judges."""
    name, _, rest = spec.partition(":")
    target = home_of(name)
    if target is None:
        names = [*RERANKERS, *STANDING_FOR]
        near = difflib.get_close_matches(name.lower().replace("-", "_"), names, n=1, cutoff=0.5)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        raise UnknownModel(
            f"No reranker is called '{spec}'.{hint} There are: {', '.join(names)}. "
            f"Use one of them: search QUERY --rerank {near[0] if near else names[0]}"
        )
    module, _, attribute = target.partition(":")
    try:
        load = cast("Callable[[str, Encoder], Reranker]", getattr(import_module(module), attribute))
    except ImportError as error:
        extra = EXTRAS.get(name)
        wanted = f"pip install 'picture-search[{extra}]'" if extra else "install what it names"
        raise MissingDependency(
            f"The reranker '{name}' needs packages that are not installed or do not fit together "
            f"({error}): {wanted}"
        ) from error
    return load(rest, encoder)


def home_of(name: str) -> str | None:
    """Where a reranker is, built in or from a plugin; None for an unknown one."""
    if name in RERANKERS:
        return RERANKERS[name]
    from importlib.metadata import entry_points

    for point in entry_points(group=ENTRY_POINTS):
        if point.name == name:
            return point.value
    return None
