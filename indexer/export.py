"""Exporting open_clip models once into the cache, and opening them for indexing."""

from __future__ import annotations

import os
import platform
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from indexer import runtimes
from retrieval.encoders import exports, known, trials
from retrieval.errors import ModelUnavailable

if TYPE_CHECKING:
    from retrieval.encoders.open_clip import OpenClipEncoder
    from retrieval.evaluate.labels import Labels
    from retrieval.protocols import Encoder, Progress

TRIAL_TEXTS = (
    "a photo of a dog",
    "two children building a sandcastle on the beach at sunset",
    "naïve café, 12 €",
    "",
)


def export(spec: str, progress: Progress | None = None) -> Path:
    """Export both towers of a model into the cache; gives the folder.

    A model that cannot be exported, or whose exported towers differ from torch, gets a folder
    that says so and goes on running by torch.
    """
    return make_export(spec, progress)[0].folder


def encoder_for_indexing(spec: str, progress: Progress | None = None) -> Encoder:
    """The fastest way to run a model on this machine; exports and tries it on first use.

    A family that is not open_clip's is simply loaded. Where the cache cannot be written,
    torch runs the model, and the encoder's `note` says why. An int8 model has to be there:
    it is made by `pull`, which measures it.
    """
    from retrieval.registry import load_encoder

    if not is_open_clip(spec):
        return load_encoder(spec)
    name = exports.parse_spec(spec)
    found = exports.find_export(name)
    if name.int8 and (found is None or found.problem is not None):
        return load_encoder(spec)  # which says why not
    encoder: OpenClipEncoder | None = None
    if found is None:
        try:
            found, encoder = make_export(spec, progress)
        except OSError as error:
            encoder = _load_torch(spec)
            encoder.note = f"{spec} runs by torch: its export could not be written ({error})"
            return encoder
    if found.problem is None:
        return runtimes.fastest(found, progress or _nobody, torch=encoder)
    if encoder is None:
        encoder = _load_torch(spec)
    encoder.note = found.problem
    return encoder


def pull(
    spec: str,
    progress: Progress | None = None,
    *,
    photos: str | os.PathLike[str] | None = None,
    labels: Labels | None = None,
    untested: bool = False,
) -> str:
    """Fetch a model, export it, and try what runs it best here; gives one line about what is here now.

    An export that is damaged is made anew. Built-in models convert their weights. An int8
    model is made from its original and measured against it, with the pictures of the folder
    `photos` or with `labels`, unless it may stay `untested`.
    """
    spec = known.spec_of(spec)
    if not is_open_clip(spec):
        from retrieval.registry import load_encoder

        encoder = load_encoder(spec)
        encoder.encode_texts(["a photo"])
        return f"{spec} is built in and ready."
    name = exports.parse_spec(spec)
    if name.int8:
        from indexer.int8 import pull_int8

        return pull_int8(name, progress or _nobody, photos=photos, labels=labels, untested=untested)
    if photos is not None or labels is not None or untested:
        raise ModelUnavailable(
            f"Only int8 models are measured first: search models pull {name.spec}{exports.INT8}"
        )
    found = exports.find_export(name)
    loaded: OpenClipEncoder | None = None
    if found is None or found.damages():
        found, loaded = make_export(spec, progress)
    if found.problem is not None:
        return f"{name.spec} is here and runs by torch: {found.problem}"
    # One that has just been made has just been tried.
    outcomes = runtimes.try_runtimes(found, progress or _nobody, torch=loaded, again=loaded is None)
    best = trials.choose(outcomes)
    return (
        f"{name.spec} is here and exported: about {outcomes[best].speed:.0f} images a second "
        f"by {trials.NAMES[best]} on this machine."
    )


def _nobody(step: str, figures: dict[str, Any]) -> None:
    """Takes reports that nobody asked for."""


def is_open_clip(spec: str) -> bool:
    from retrieval.registry import ENCODERS

    return ENCODERS.get(spec.partition(":")[0], "").endswith(":load_open_clip")


def _load_torch(spec: str) -> OpenClipEncoder:
    from retrieval.encoders.open_clip import OpenClipEncoder

    return OpenClipEncoder(spec)


def make_export(spec: str, progress: Progress | None = None) -> tuple[exports.Export, OpenClipEncoder]:
    """Export a model anew; gives the export, and the model as torch has loaded it for that."""
    from retrieval.encoders.onnx import runtime_version
    from retrieval.encoders.open_clip import versions

    def tell(step: str, **figures: Any) -> None:
        if progress is not None:
            progress(step, figures)

    name = exports.parse_spec(spec)
    tell("model-loading", spec=name.spec)
    encoder = _load_torch(spec)
    tell("model-exporting", spec=name.spec)
    manifest: dict[str, Any] = {
        "spec": name.spec,
        "id": encoder.id,
        "dim": encoder.dim,
        "family": encoder.family,
        "preprocess": encoder.settings,
        "source": {"kind": name.kind, "files": exports.describe_source(encoder.sources)},
        "made_by": {**versions(), "onnxruntime": runtime_version(), "machine": platform.machine()},
    }
    target = exports.export_folder(name)
    with exports.new_folder(target) as folder:
        manifest["tokenizer"] = encoder.tokenizer.save(folder)
        manifest |= _write_towers(encoder, folder)
        if "problem" not in manifest:
            tell("model-checking", spec=name.spec)
            manifest |= _compare(encoder, exports.Export(folder, manifest))
        if "problem" in manifest:
            for path in folder.iterdir():
                path.unlink()
        exports.write_manifest(folder, manifest)
    made = exports.read_export(target)
    if made is None:
        raise OSError(f"{target} was removed while it was being written")
    speeds: dict[str, float] = {}
    if made.problem is None:
        # torch is loaded, so its figure costs nothing more.
        outcomes = runtimes.try_runtimes(made, progress or _nobody, torch=encoder, again=True)
        speeds = {name: outcome.speed for name, outcome in outcomes.items() if outcome.speed}
    tell("model-ready", spec=name.spec, problem=made.problem, images_per_second=speeds)
    return made, encoder


def _write_towers(encoder: OpenClipEncoder, folder: Path) -> dict[str, Any]:
    """Export and optimise; gives the problem for the manifest when torch or ONNX Runtime cannot."""
    from retrieval.encoders.onnx import optimise

    with tempfile.TemporaryDirectory(prefix=".partial-plain-", dir=folder.parent) as plain:
        try:
            encoder.write_onnx(Path(plain))
            for stem in ("image", "text"):
                optimise(Path(plain) / f"{stem}.onnx", folder / f"{stem}.onnx")
        except OSError:
            raise  # a full disk says nothing about the model
        except Exception as error:  # the exporter raises whatever a model's code makes it raise
            cause: BaseException = error
            while cause.__cause__ is not None:
                cause = cause.__cause__
            told = " ".join(str(cause).split())[:200]
            return {"problem": f"it cannot be exported to ONNX ({type(cause).__name__}: {told})"}
    return {}


def _compare(encoder: OpenClipEncoder, made: exports.Export) -> dict[str, Any]:
    """Compare the export with torch on random pictures and a few texts."""
    from retrieval.encoders.onnx import OnnxEncoder

    rival = OnnxEncoder(made)
    batch = runtimes.random_pictures(encoder, runtimes.PICTURES)
    parity = {
        "image": runtimes.agreement(
            encoder.encode_prepared(batch).vectors, rival.encode_prepared(batch).vectors
        ),
        "text": runtimes.agreement(encoder.encode_texts(TRIAL_TEXTS), rival.encode_texts(TRIAL_TEXTS)),
    }
    if not min(parity.values()) >= runtimes.PARITY:
        worst = min(parity, key=lambda tower: parity[tower])
        return {
            "parity": parity,
            "problem": f"its exported {worst} tower differs from torch (cosine {parity[worst]:.5f})",
        }
    return {"parity": parity}
