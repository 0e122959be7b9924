"""Models that put pictures into words, by name and imported late.

A spec is `name` or `name:rest`. What stands in `SPEAKERS` answers any chat with pictures: it
captions, and it thinks for `ask`; what stands in `CAPTIONERS` only captions. Packages can add
both through the entry point groups `picture_search.speakers` and `picture_search.captioners`,
which are read only when a name is not built in. What a name stands for is called with the
rest of the spec, often empty.
"""

from __future__ import annotations

import difflib
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from retrieval import config
from retrieval.errors import MissingDependency, UnknownModel

if TYPE_CHECKING:
    from retrieval.protocols import Captioner, Speaker

SPEAKERS: dict[str, str] = {
    "endpoint": "retrieval.captioners.endpoint:load_endpoint",
    "local": "retrieval.captioners.local:load_local",
}
CAPTIONERS: dict[str, str] = {
    "blip": "retrieval.captioners.blip:load_blip",
    "describer": "retrieval.captioners.describer:load_describer",
}
EXTRAS = {"blip": "vlm", "local": "vlm"}
"""Which extra of the package brings what a model imports."""
AUTO = "auto"


def load_captioner(spec: str | None = None) -> Captioner:
    """The captioner that `spec` names; cheap until it first looks at a picture.

    Without one, or with `auto`: the endpoint where one is set up, else the built-in describer.
    """
    if spec in (None, "", AUTO):
        spec = "endpoint" if config.endpoint() else "describer"
    if _target(str(spec), CAPTIONERS, "captioners"):
        return cast("Captioner", _loaded(str(spec), CAPTIONERS, "captioners"))
    from retrieval.captioners.speaking import SpeakingCaptioner

    return SpeakingCaptioner(load_speaker(str(spec), what="captioner"))


def load_speaker(spec: str, *, what: str = "speaker") -> Speaker:
    """The model behind `spec` that answers any chat with pictures."""
    if not _target(spec, SPEAKERS, "speakers"):
        others = CAPTIONERS if what == "captioner" else ("rules",) if what == "answerer" else ()
        known = sorted({*SPEAKERS, *others})
        near = difflib.get_close_matches(spec.partition(":")[0].lower(), known, n=1, cutoff=0.5)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        raise UnknownModel(f"No {what} is called '{spec}'.{hint} There are: {', '.join(known)}.")
    return cast("Speaker", _loaded(spec, SPEAKERS, "speakers"))


def _loaded(spec: str, names: dict[str, str], group: str) -> Any:
    name, _, rest = spec.partition(":")
    module, _, attribute = (_target(spec, names, group) or "").partition(":")
    try:
        load = getattr(import_module(module), attribute)
    except ImportError as error:
        extra = EXTRAS.get(name)
        wanted = f"pip install 'picture-search[{extra}]'" if extra else "install what it names"
        raise MissingDependency(
            f"'{name}' needs packages that are not installed or do not fit together ({error}): {wanted}"
        ) from error
    return load(rest)


def _target(spec: str, names: dict[str, str], group: str) -> str | None:
    """Where a model is, built in or from a plugin; None for an unknown one."""
    name = spec.partition(":")[0]
    if name in names:
        return names[name]
    from importlib.metadata import entry_points

    points = entry_points(group=f"picture_search.{group}")
    return next((point.value for point in points if point.name == name), None)
