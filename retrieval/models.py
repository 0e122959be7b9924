"""Which models there are, which of them are here, and which one `auto` means.

Answers come from looking at folders: nothing here loads a model or imports torch.
"""

from __future__ import annotations

import difflib
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from retrieval import config, hub, registry
from retrieval.encoders import exports, known, trials
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
    """Measured on this machine, when the model was first tried or last indexed a folder."""
    runtime: str | None = None
    """What runs it here for indexing: `onnx`, `openvino` or `torch`; None before it was tried."""
    runtimes: dict[str, float] = field(default_factory=dict)
    """Pictures a second of each runtime in its trial on this machine."""
    note: str | None = None

    @property
    def run_by(self) -> str:
        """What runs it here, and how fast each runtime was in its trial, where there were several."""
        if self.runtime is None:
            return ""
        tried = [f"{trials.NAMES[name]} {speed:.1f}" for name, speed in self.runtimes.items()]
        more = f" (tried: {', '.join(tried)})" if len(tried) > 1 else ""
        return f"run by {trials.NAMES[self.runtime]}{more}"

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def resolve(spec: str) -> tuple[str, str]:
    """The spec that a name, a spec or `auto` stands for, and one line that says why."""
    wanted = spec.strip()
    if wanted.lower() == AUTO:
        return _resolve_auto()
    alias = known.spec_of(wanted)
    if alias != wanted:
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
    speeds = trials.indexed()
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
                **_tried(export, speeds),
            )
        )
    listed = {row.spec for row in rows}
    for spec, export in exported.items():
        rows.append(
            ModelInfo(
                name=spec,
                spec=spec,
                purpose=_purpose(spec),
                here="exported" if _runs(export) else "cached",
                dim=int(export.manifest["dim"]),
                **_tried(export, speeds),
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
    trials.remember_indexing(spec, pictures / seconds)


def _tried(export: exports.Export | None, indexed: dict[str, float]) -> dict[str, Any]:
    """What is known of how a model runs on this machine."""
    if export is None:
        return {}
    outcomes = trials.recall(export.manifest["id"])
    speeds = {name: outcomes[name].speed for name in trials.timed(outcomes)}
    best = trials.choose(outcomes) if speeds else None
    notes = [export.problem] if export.problem else []
    if export.manifest.get("untested"):
        notes.append("Made without being measured: its rankings may be worse than those of its original.")
    notes += [
        f"Not run by {shown} here: {outcomes[name].problem}."
        for name, shown in trials.NAMES.items()
        if name in outcomes and outcomes[name].problem
    ]
    if export.problem is not None:
        best, speeds = None if export.spec.endswith(exports.INT8) else "torch", {}
    return {
        "images_per_second": indexed.get(export.spec) or speeds.get(best or ""),
        "runtime": best,
        "runtimes": speeds,
        "note": " ".join(notes) or None,
    }


def _purpose(spec: str) -> str:
    if spec.endswith(exports.INT8):
        return f"{spec.removesuffix(exports.INT8)} in 8-bit numbers, an encoder of its own"
    return "a checkpoint of your own" if _own(spec) else "fetched earlier"


def _own(spec: str) -> bool:
    return exports.parse_spec(spec).kind in {"file", "folder"}
