"""Making a model's int8 variant, and the measurement without which it is not offered.

It has to be clearly faster on this machine, and it must not rank pictures worse: by the labels of
an evaluation file, or, on pictures that nobody has labelled, by what the model itself says
in fp32. What was measured is kept with the model.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from indexer import runtimes
from retrieval import config
from retrieval.encoders import exports, int8, trials
from retrieval.errors import ImageError, ModelUnavailable, QueryError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from retrieval.evaluate.labels import Labels
    from retrieval.protocols import Encoder, Progress
    from retrieval.types import Prepared, Vectors

FASTER = 1.15
FALL = 0.005
"""How much nDCG@10 may fall against the labels of an evaluation file."""
AGREEMENT = 0.995
"""What nDCG@10 of its rankings has to be at least, where fp32 says what the right ones are."""
DEPTH = 10
PICTURES = 300
LABELLED = 2000
"""Pictures of an evaluation file at most: fp32 may take a quarter of an hour for these."""
FEWEST = 50
"""With fewer pictures than this, ten of them are the best however badly they are ranked."""


class _Refused(Exception):
    """An int8 model that is not good enough; says why."""


def pull_int8(
    name: exports.ModelName,
    progress: Progress,
    *,
    photos: str | os.PathLike[str] | None,
    labels: Labels | None,
    untested: bool,
) -> str:
    """Make an int8 model and measure it; gives one line about it.

    Without anything to measure with, one that is there is only looked at. One that does not
    pass leaves a manifest that says so, and an error with the figures.
    """
    if photos is None and labels is None and not untested:
        found = exports.find_export(name)
        if found is None:
            raise ModelUnavailable(
                f"{name.spec} is offered only once it was measured. Name pictures to measure it with: "
                f"search models pull {name.spec} --photos FOLDER"
            )
        if found.problem is not None:
            raise ModelUnavailable(f"{name.spec} is not used: {found.problem}")
        return f"{name.spec} is here: {told(found.manifest)}."
    from indexer.export import make_export

    original = exports.find_export(name.original)
    if original is None or original.damages():
        original = make_export(name.original.spec, progress)[0]
    if original.problem is not None:
        raise ModelUnavailable(
            f"{name.spec} has to be made from an export, and {name.original.spec} runs by torch only: "
            f"{original.problem}"
        )
    free = config.free_memory()
    if free is not None and free < int8.MEMORY * original.weights:
        raise ModelUnavailable(
            f"Making {name.spec} takes about {int8.MEMORY * original.weights >> 20} MiB of memory, and "
            f"{free >> 20} MiB are free. Make it on another machine, and copy the model cache."
        )
    # Before the minute that making it takes, because a folder may have been misspelt.
    asked = None if untested else _Labelled(labels) if labels else _Agreement(photos)
    made = _make(name, original, asked, progress)
    if made.problem is not None:
        raise ModelUnavailable(
            f"{name.spec} is not used: {made.problem}. {name.original.spec} is here and goes on as it was."
        )
    return f"{name.spec} is here: {told(made.manifest)}."


def told(manifest: Mapping[str, Any]) -> str:
    """What is known of an int8 model's worth, in half a sentence."""
    if manifest.get("untested"):
        return "made without being measured, so its rankings may be worse than those of its original"
    facts = manifest["measured"]
    speed = f"{facts['faster']:.2f} times as fast as its original where it was measured"
    if "ndcg" in facts:
        before, after = facts["ndcg"]
        return f"{speed}, nDCG@10 {after:.4f} instead of {before:.4f} over {facts['queries']} queries"
    return f"{speed}, rankings {facts['agreement']:.4f} of its original's over {facts['pictures']} pictures"


def _make(
    name: exports.ModelName,
    original: exports.Export,
    asked: _Labelled | _Agreement | None,
    progress: Progress,
) -> exports.Export:
    from retrieval.encoders.onnx import OnnxEncoder

    progress("model-quantising", {"spec": name.spec})
    manifest = {
        key: value for key, value in original.manifest.items() if key not in {"format", "files", "parity"}
    }
    manifest |= {
        "spec": name.spec,
        "id": int8.encoder_id(original.manifest["id"]),
        "int8_of": original.manifest["id"],
    }
    target = exports.export_folder(name)
    with exports.new_folder(target) as folder:
        int8.quantise(original, folder)
        # Written twice: to be loaded for the measurement, and with what came of it.
        exports.write_manifest(folder, manifest)
        if asked is None:
            manifest["untested"] = True
        else:
            progress("model-measuring", {"spec": name.spec, "pictures": len(asked.pictures)})
            made = exports.read_export(folder)
            assert made is not None
            try:
                manifest["measured"] = _measure(original, OnnxEncoder(made), asked, progress)
            except _Refused as refusal:
                manifest["problem"] = str(refusal)
                for path in folder.iterdir():
                    path.unlink()
        exports.write_manifest(folder, manifest)
    found = exports.read_export(target)
    if found is None:
        raise OSError(f"{target} was removed while it was being written")
    return found


def _measure(
    original: exports.Export, ours: Encoder, asked: _Labelled | _Agreement, progress: Progress
) -> dict[str, Any]:
    """The figures of an int8 model beside those of its original; refuses one that does not pass."""
    before = runtimes.fastest(original, progress)
    speeds: list[float] = []
    for speed in runtimes.side_by_side({"fp32": before, "int8": ours}).values():
        if isinstance(speed, Exception):
            raise speed
        speeds.append(speed)
    trials.remember(ours.id, "onnx", trials.Outcome(speed=round(speeds[1], 2)))
    faster = speeds[1] / speeds[0]
    if faster < FASTER:
        raise _Refused(
            f"int8 runs at {faster:.2f} times the speed of fp32 here ({speeds[1]:.1f} against "
            f"{speeds[0]:.1f} images a second), and has to reach {FASTER}"
        )
    prepared = asked.prepare(before)
    vectors = [_encode(encoder, prepared) for encoder in (before, ours)]
    facts = {
        "faster": round(faster, 3),
        "images_per_second": [round(speed, 2) for speed in speeds],
        "machine": trials.fingerprint(),
        "pictures": len(prepared),
        "cosine": round(float(np.sum(vectors[0] * vectors[1], axis=1).mean()), 6),
    }
    return facts | asked.judge(before, vectors[0], vectors[1])


def _encode(encoder: Encoder, prepared: Sequence[Prepared]) -> Vectors:
    size = encoder.batch_size
    return np.concatenate(
        [
            encoder.encode_prepared(prepared[start : start + size]).vectors
            for start in range(0, len(prepared), size)
        ]
    )


class _Agreement:
    """Pictures that nobody has labelled: the rankings of fp32 are the right ones.

    The texts are the prompts of the tags. For each, the grade of a picture goes with how
    far its fp32 score stands above the median picture's: from 2 for the best down to 0.
    """

    def __init__(self, photos: str | os.PathLike[str] | None) -> None:
        folder = Path(os.path.abspath(os.path.expanduser(photos or "")))
        every = pictures_below(folder)
        count = min(PICTURES, len(every))
        self.folder = folder
        self.pictures = [every[place * len(every) // count] for place in range(count)]
        _check_enough(len(self.pictures), f"{folder} holds")

    def prepare(self, encoder: Encoder) -> list[Prepared]:
        found = [item for item in (_prepared(encoder, path) for path in self.pictures) if item is not None]
        _check_enough(len(found), f"{self.folder} holds, of those that can be read,")
        return found

    def judge(self, encoder: Encoder, before: Vectors, after: Vectors) -> dict[str, Any]:
        from retrieval.vocabulary import default_vocabulary

        texts = encoder.encode_texts([prompt for _, prompt in default_vocabulary()])
        figure = agreement(texts @ before.T, texts @ after.T)
        if not figure >= AGREEMENT:
            raise _Refused(
                f"int8 ranks pictures otherwise than fp32: nDCG@10 {figure:.4f} over {len(texts)} texts and "
                f"{len(before)} pictures of {self.folder}, and has to reach {AGREEMENT}"
            )
        return {"agreement": round(figure, 5), "texts": len(texts)}


class _Labelled:
    """Pictures that people have labelled: their labels say which rankings are right."""

    def __init__(self, labels: Labels) -> None:
        self.labels = labels
        self.pictures = labels.pictures
        self.kept = list(range(len(self.pictures)))
        if len(self.pictures) > LABELLED:
            raise QueryError(
                f"{labels.file} has {len(self.pictures)} pictures beside it, and at most {LABELLED} are "
                "measured. Name the folder of fewer: --photos FOLDER"
            )

    def prepare(self, encoder: Encoder) -> list[Prepared]:
        prepared = [_prepared(encoder, path) for path in self.pictures]
        self.kept = [place for place, item in enumerate(prepared) if item is not None]
        return [item for item in prepared if item is not None]

    def judge(self, encoder: Encoder, before: Vectors, after: Vectors) -> dict[str, Any]:
        texts = encoder.encode_texts([text for text, _ in self.labels.questions])
        grades = np.zeros((len(texts), len(self.pictures)))
        for row, (_, own) in zip(grades, self.labels.questions, strict=True):
            row[list(own)] = list(own.values())
        figures = [_ndcg(texts @ vectors.T, grades[:, self.kept]) for vectors in (before, after)]
        if not figures[0] - figures[1] <= FALL:
            raise _Refused(
                f"int8 finds less: nDCG@10 falls from {figures[0]:.4f} to {figures[1]:.4f} over "
                f"{len(texts)} queries of {self.labels.file}, and may fall by {FALL}"
            )
        return {"ndcg": [round(figure, 5) for figure in figures], "queries": len(texts)}


def agreement(right: Any, ours: Any) -> float:
    """nDCG@10 of rankings by `ours` where the scores of `right` give the grades, a row a text."""
    above = np.clip(right - np.median(right, axis=1, keepdims=True), 0, None)
    return _ndcg(ours, 2 * above / np.maximum(above.max(axis=1, keepdims=True), 1e-9))


def _ndcg(scores: Any, grades: Any) -> float:
    """nDCG@10 as `search eval` reckons it, over the rows that have a right order at all."""
    discounts = 1 / np.log2(np.arange(2, DEPTH + 2))[: grades.shape[1]]
    gains = 2.0**grades - 1
    order = np.argsort(-scores, axis=1, kind="stable")[:, :DEPTH]
    got = np.take_along_axis(gains, order, axis=1) @ discounts
    best = -np.sort(-gains, axis=1)[:, :DEPTH] @ discounts
    return float((got[best > 0] / best[best > 0]).mean()) if best.any() else 1.0


def pictures_below(folder: Path) -> list[Path]:
    from indexer.scan import scan

    if not folder.is_dir():
        raise QueryError(f"{folder} is no folder. Name one with pictures: --photos FOLDER")
    return [Path(os.fsdecode(path)) for path in scan(os.fsencode(folder)).files.paths()]


def _check_enough(count: int, holds: str) -> None:
    if count < FEWEST:
        raise QueryError(
            f"{holds} {count} pictures, and at least {FEWEST} are needed to measure a model with. "
            "Name a larger folder: --photos FOLDER"
        )


def _prepared(encoder: Encoder, path: Path) -> Prepared | None:
    """A picture as it would be indexed; None for a file that cannot be read."""
    from retrieval.images import load_image

    preparer = encoder.preparer
    try:
        return preparer(load_image(path, wanted=preparer.wanted))
    except (ImageError, OSError):
        return None
