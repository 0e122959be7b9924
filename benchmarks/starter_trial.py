"""The photos and queries that the starter is fitted and judged on, and the arithmetic for both."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from math import log2
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from retrieval.encoders.classes import ClassStage, unpack
from retrieval.encoders.colour import asked_colours, colour_evidence
from retrieval.encoders.starter import StarterEncoder, strip_request
from retrieval.protocols import Sample

Floats = NDArray[np.float64]
Truth = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Asked:
    """Some queries put to all photos."""

    texts: list[str]
    vectors: NDArray[np.float32]
    scores: NDArray[np.float32]
    grades: NDArray[np.int64]


class Trial:
    def __init__(self, dev: Path, model: str) -> None:
        self.encoder = StarterEncoder(model)
        self.stage = ClassStage()
        data = json.loads(dev.read_text(encoding="utf-8"))
        self.own = json.loads(Path(__file__).with_name("starter_queries.json").read_text(encoding="utf-8"))
        self.names: list[str] = data["images"]
        prepare = self.encoder.preparer
        encoded = [
            self.encoder.encode_prepared([prepare(opened(dev.parent / data["images_dir"] / name))])
            for name in self.names
        ]
        self.vectors = np.concatenate([part.vectors for part in encoded])
        self.aux = [part.aux[0] for part in encoded]
        self.top = unpack(self.aux)
        self.kinds = [query["kind"] for query in data["queries"]]
        self.dev = self.asked(data["queries"])
        self.colours = self.asked(self.own["colours"])
        # A sentence has the photos of a graded query, or lists its own.
        graded = {query["query"]: query["relevant"] for query in data["queries"]}
        self.sentences = self.asked(
            {
                "query": item["query"],
                "relevant": dict.fromkeys(graded[item["as"]] if "as" in item else item["relevant"], 1),
            }
            for item in self.own["sentences"]
        )

    def asked(self, queries: Iterable[dict[str, Any]]) -> Asked:
        queries = list(queries)
        texts = [query["query"] for query in queries]
        grades = [[query.get("relevant", {}).get(name, 0) for name in self.names] for query in queries]
        vectors = self.encoder.encode_texts(texts)
        return Asked(texts, vectors, vectors @ self.vectors.T, np.array(grades))

    def look_again(self, asked: Asked) -> Floats:
        rows = [
            self.encoder.look_again(text, vector, scores, self.aux, Sample(scores, self.aux))
            for text, vector, scores in zip(asked.texts, asked.vectors, asked.scores, strict=True)
        ]
        return np.stack(rows).astype(np.float64)

    def features(self, asked: Asked) -> Floats:
        rows = [
            self.stage.features(strip_request(text), vector, scores, self.top)
            for text, vector, scores in zip(asked.texts, asked.vectors, asked.scores, strict=True)
        ]
        return np.stack(rows).astype(np.float64)

    def colour_parts(self, asked: Asked) -> Floats:
        rows = np.zeros(asked.scores.shape)
        for row, text in zip(rows, asked.texts, strict=True):
            if wanted := asked_colours(text):
                row += colour_evidence(wanted, self.top.colours, self.top.colours)
        return rows


def opened(path: Path) -> Image.Image:
    with Image.open(path) as image:
        return image.convert("RGB")


def fit(rows: Floats, labels: Truth, weights: Floats | None = None) -> Floats:
    """Logistic regression by Newton's method, with a touch of ridge; the bias comes last."""
    rows = np.concatenate([rows, np.ones((len(rows), 1))], axis=1)
    weighed = np.ones(len(rows)) if weights is None else weights
    found = np.zeros(rows.shape[1])
    for _ in range(50):
        chance = 1 / (1 + np.exp(-np.clip(rows @ found, -30, 30)))
        slope = rows.T @ (weighed * (chance - labels)) + 0.02 * found
        curve = (rows * (weighed * chance * (1 - chance))[:, None]).T @ rows + 0.02 * np.eye(len(found))
        step = np.linalg.solve(curve, slope)
        found -= step
        if np.abs(step).max() < 1e-8:
            break
    return found


def cut_off(shown: Truth, truth: Truth) -> dict[str, float]:
    """Over all pairs of query and photo, and as means over the queries that show, or have, any."""
    right = (shown & truth).sum(1)
    answers = shown.any(1)
    return {
        "precision": float(right.sum() / max(shown.sum(), 1)),
        "recall": float(right.sum() / truth.sum()),
        "mean precision": float((right[answers] / shown[answers].sum(1)).mean()),
        "mean recall": float((right / truth.sum(1)).mean()),
        "silent": float((~answers).sum()),
    }


def deep(scores: NDArray[np.float32], again: Floats, depth: int) -> Floats:
    """The order of the best `depth` looked at again, the rest as they were below them."""
    order = again.copy()
    for row, first in zip(order, scores, strict=True):
        rest = np.argsort(-first, kind="stable")[depth:]
        row[rest] = first[rest] - 10
    return order


def quality(row: NDArray[Any], grades: NDArray[np.int64]) -> tuple[float, float, float]:
    order = np.argsort(-row, kind="stable")
    best = np.sort(grades)[::-1][:10]
    right = (grades[order[:5]] > 0).sum()
    return gain(grades[order[:10]]) / gain(best), right / 5, right / min(5, (grades > 0).sum())


def gain(grades: NDArray[np.int64]) -> float:
    return float(sum((2.0**grade - 1) / log2(rank + 2) for rank, grade in enumerate(grades.tolist())))
