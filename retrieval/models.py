"""Which models there are, which of them are here, and which one `auto` means.

Answers come from looking at folders: nothing here loads a model or imports torch.
"""

from __future__ import annotations

import contextlib
import difflib
import json
import os
from dataclasses import asdict, dataclass
from typing import Any, Literal

from retrieval import config, hub, registry
from retrieval.encoders import exports, known
from retrieval.errors import UnknownModel

AUTO = "auto"
STARTER_LIMITS = (
    "Good at objects, animals, food, vehicles and scenes, in English; not at people, actions, counting, "
    "negation, relations, art or documents. Off its domain it can be confidently wrong."
)
_STARTERS = (
    ("starter", "built in: no download", 0.872),
    ("starter:lite2-fast", "built in, three times as fast: for large collections", 0.864),
    ("starter:lite0-fast", "built in, the fastest: for very large collections", 0.861),
)
"""Spec, purpose, and nDCG@10 of 121 queries over 300 photographs, by benchmarks/quality.py."""
SPEEDS = "speeds.json"
ENOUGH_PICTURES = 100
STARTER_DIM = 384

Presence = Literal["no", "cached", "exported", "built-in"]


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """One model that can be had; figures that nobody has published or measured are None."""

    name: str
    """What to type: a short name, or the spec where there is none."""
    spec: str
    purpose: str
    here: Presence
    licence: str | None = None
    dim: int | None = None
    download_mb: int | None = None
    flickr_r5: float | None = None
    """Text to image, recall at 5 on Flickr30k, as open_clip publishes it."""
    coco_r5: float | None = None
    ndcg10: float | None = None
    """nDCG at 10 on this project's own development set: not to be set beside the two above."""
    images_per_second: float | None = None
    """Measured on this machine, when the model was exported or last indexed a folder."""
    note: str | None = None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def resolve(spec: str) -> tuple[str, str]:
    """The spec that a name, a spec or `auto` stands for, and one line that says why."""
    wanted = spec.strip()
    if wanted.lower() == AUTO:
        return _resolve_auto()
    alias = known.ALIASES.get(wanted.lower().replace("_", "-"))
    if alias is not None:
        return alias, f"{wanted} stands for {alias}."
    family = wanted.partition(":")[0]
    home = registry.home_of(family)
    if home is not None and home.endswith(":load_open_clip"):
        wanted = exports.parse_spec(wanted).spec
    elif home is None:
        near = difflib.get_close_matches(wanted.lower(), [AUTO, *registry.ENCODERS, *known.ALIASES], n=1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        raise UnknownModel(f"No model is called '{wanted}'.{hint} See what there is: search models")
    return wanted, f"{wanted} was asked for."


def list_models() -> list[ModelInfo]:
    """Every model worth naming and every one that is on this machine, the built-in ones first."""
    exported = {export.spec: export for export in exports.list_exports()}
    cached = {known.spec_of_repo(repo) for repo in hub.cached_repos()}
    speeds = _measured()
    rows = [
        ModelInfo(
            name=spec,
            spec=spec,
            purpose=purpose,
            here="built-in",
            licence="Apache-2.0",
            dim=STARTER_DIM,
            download_mb=0,
            ndcg10=ndcg10,
            images_per_second=speeds.get(spec),
            note=STARTER_LIMITS,
        )
        for spec, purpose, ndcg10 in _STARTERS
    ]
    for model in known.KNOWN:
        export = exported.pop(model.spec, None)
        rows.append(
            ModelInfo(
                name=model.name,
                spec=model.spec,
                purpose=model.purpose,
                here="exported" if _runs(export) else "cached" if export or model.spec in cached else "no",
                licence=model.licence,
                dim=model.dim,
                download_mb=model.download_mb,
                flickr_r5=model.flickr,
                coco_r5=model.coco,
                images_per_second=_speed(export, speeds),
                note=export.problem if export else None,
            )
        )
    listed = {row.spec for row in rows}
    for spec, export in exported.items():
        rows.append(
            ModelInfo(
                name=spec,
                spec=spec,
                purpose="a checkpoint of your own" if _own(spec) else "fetched earlier",
                here="exported" if _runs(export) else "cached",
                dim=int(export.manifest["dim"]),
                images_per_second=_speed(export, speeds),
                note=export.problem,
            )
        )
        listed.add(spec)
    rows += [
        ModelInfo(name=spec, spec=spec, purpose="fetched earlier", here="cached")
        for spec in sorted(cached - listed)
    ]
    return rows


def _resolve_auto() -> tuple[str, str]:
    best = config.RECOMMENDED_MODEL
    name = exports.parse_spec(best)
    if exports.find_export(name) is not None:
        return best, f"auto: {best}, which is on this machine."
    repo = next(model.repo for model in known.KNOWN if model.spec == best)
    if hub.cached_file(repo, hub.WEIGHTS) is not None:
        return best, f"auto: {best}, whose weights are on this machine."
    starter = config.STARTER_MODEL
    upgrade = "Where a model hub can be reached: search models pull vit-b-32-256"
    if config.offline():
        return (
            starter,
            f"auto: the built-in {starter}, because asking the model hub is switched off. {upgrade}",
        )
    if hub.answers():
        return best, f"auto: {best}, fetched from the model hub."
    return starter, f"auto: the built-in {starter}, because the model hub does not answer. {upgrade}"


def _runs(export: exports.Export | None) -> bool:
    return export is not None and export.problem is None


def remember_speed(spec: str, pictures: int, seconds: float) -> None:
    """Note how fast a model indexed here, if it was long enough to tell; a cache, so it may fail."""
    if pictures < ENOUGH_PICTURES or seconds <= 0:
        return
    path = config.model_cache() / SPEEDS
    part = path.with_name(f"{SPEEDS}.{os.getpid()}")
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps({**_measured(), spec: round(pictures / seconds, 2)}), "utf-8")
        part.replace(path)


def _measured() -> dict[str, float]:
    try:
        found = json.loads((config.model_cache() / SPEEDS).read_text("utf-8"))
        return {str(spec): float(speed) for spec, speed in found.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _speed(export: exports.Export | None, measured: dict[str, float]) -> float | None:
    if export is None:
        return None
    return measured.get(export.spec) or max(export.speeds.values(), default=None)


def _own(spec: str) -> bool:
    return exports.parse_spec(spec).kind in {"file", "folder"}
