"""Exporting open_clip models once into the cache, and choosing what runs them for indexing."""

from __future__ import annotations

import platform
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from retrieval.encoders import exports, known
from retrieval.types import Prepared

if TYPE_CHECKING:
    from retrieval.encoders.onnx import OnnxEncoder
    from retrieval.encoders.open_clip import OpenClipEncoder
    from retrieval.protocols import Encoder, Progress

PARITY = 0.9999
TRIAL_SECONDS = 1.5
# A runtime has to be this much quicker than ONNX Runtime to be worth loading torch for.
CLEARLY_FASTER = 1.05
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
    return _export(spec, progress)[0].folder


def encoder_for_indexing(spec: str, progress: Progress | None = None) -> Encoder:
    """The fastest way to run a model on this machine; exports it on first use.

    A family that is not open_clip's is simply loaded. Where the cache cannot be written,
    torch runs the model, and the encoder's `note` says why.
    """
    from retrieval.registry import load_encoder

    if not _is_open_clip(spec):
        return load_encoder(spec)
    found = exports.find_export(exports.parse_spec(spec))
    encoder: OpenClipEncoder | None = None
    if found is None:
        try:
            found, encoder = _export(spec, progress)
        except OSError as error:
            encoder = _load_torch(spec)
            encoder.note = f"{spec} runs by torch: its export could not be written ({error})"
            return encoder
    onnx_speed, torch_speed = found.speeds.get("onnx", 0.0), found.speeds.get("torch", 0.0)
    if found.problem is None and torch_speed <= CLEARLY_FASTER * onnx_speed:
        return load_encoder(spec)
    if encoder is None:
        encoder = _load_torch(spec)
    encoder.note = found.problem or (
        f"{spec} runs by torch: {torch_speed:.1f} images a second, against {onnx_speed:.1f} by ONNX Runtime"
    )
    return encoder


def pull(spec: str, progress: Progress | None = None) -> str:
    """Fetch a model and export it; gives one line about what is here now.

    An export that is damaged is made anew. Built-in models convert their weights.
    """
    spec = known.ALIASES.get(spec, spec)
    if not _is_open_clip(spec):
        from retrieval.registry import load_encoder

        encoder = load_encoder(spec)
        encoder.encode_texts(["a photo"])
        return f"{spec} is built in and ready."
    name = exports.parse_spec(spec)
    found = exports.find_export(name)
    if found is None or found.damages():
        found = _export(spec, progress)[0]
    speed = max(found.speeds.values(), default=0.0)
    if found.problem is not None:
        return f"{name.spec} is here and runs by torch: {found.problem}"
    return f"{name.spec} is here and exported: about {speed:.0f} images a second on this machine."


def _is_open_clip(spec: str) -> bool:
    from retrieval.registry import ENCODERS

    return ENCODERS.get(spec.partition(":")[0], "").endswith(":load_open_clip")


def _load_torch(spec: str, device: str | None = None) -> OpenClipEncoder:
    from retrieval.encoders.open_clip import OpenClipEncoder

    return OpenClipEncoder(spec, device=device)


def _export(spec: str, progress: Progress | None) -> tuple[exports.Export, OpenClipEncoder]:
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
            manifest |= _try(encoder, exports.Export(folder, manifest))
        if "problem" in manifest:
            for path in folder.iterdir():
                path.unlink()
        exports.write_manifest(folder, manifest)
    made = exports.read_export(target)
    if made is None:
        raise OSError(f"{target} was removed while it was being written")
    tell("model-ready", spec=name.spec, problem=made.problem, images_per_second=made.speeds)
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


def _try(encoder: OpenClipEncoder, made: exports.Export) -> dict[str, Any]:
    """Compare both runtimes on random pictures and a few texts, then time them."""
    from retrieval.encoders.onnx import OnnxEncoder

    rival = OnnxEncoder(made)
    batch = _random_pictures(encoder, 3)
    parity = {
        "image": _agreement(encoder.encode_prepared(batch).vectors, rival.encode_prepared(batch).vectors),
        "text": _agreement(encoder.encode_texts(TRIAL_TEXTS), rival.encode_texts(TRIAL_TEXTS)),
    }
    if not min(parity.values()) >= PARITY:
        worst = min(parity, key=lambda tower: parity[tower])
        return {
            "parity": parity,
            "problem": f"its exported {worst} tower differs from torch (cosine {parity[worst]:.5f})",
        }
    speeds = {runtime.runtime: round(_images_per_second(runtime), 2) for runtime in (encoder, rival)}
    return {"parity": parity, "images_per_second": speeds}


def _agreement(ours: Any, theirs: Any) -> float:
    return float(np.sum(ours * theirs, axis=1).min())


def _random_pictures(encoder: OpenClipEncoder | OnnxEncoder, count: int) -> list[Prepared]:
    draw = np.random.default_rng(0)
    size = encoder.preparer
    shape = (1, getattr(size, "height"), getattr(size, "width"), 3)  # noqa: B009
    return [Prepared(draw.integers(0, 256, shape, dtype=np.uint8)) for _ in range(count)]


def _images_per_second(encoder: OpenClipEncoder | OnnxEncoder) -> float:
    """A short trial, with as many batches at once as indexing would run."""
    batch = _random_pictures(encoder, encoder.batch_size)
    with ThreadPoolExecutor(encoder.parallel) as pool:
        list(pool.map(encoder.encode_prepared, [batch] * encoder.parallel))
        done, start = 0, time.perf_counter()
        while (passed := time.perf_counter() - start) < TRIAL_SECONDS:
            list(pool.map(encoder.encode_prepared, [batch] * encoder.parallel))
            done += len(batch) * encoder.parallel
    return done / passed
