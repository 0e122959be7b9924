"""What an evaluation found out, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retrieval.evaluate.metrics import CutOff, Figures, Recalls, quantile
from retrieval.types import path_fields


@dataclass(frozen=True, slots=True)
class Latency:
    """How long single warm calls took, in milliseconds."""

    samples: tuple[float, ...]

    @property
    def p50(self) -> float:
        return quantile(self.samples, 0.5)

    @property
    def p99(self) -> float:
        return quantile(self.samples, 0.99)

    def as_dict(self) -> dict[str, Any]:
        return {"p50": round(self.p50, 3), "p99": round(self.p99, 3), "samples": len(self.samples)}


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Text to image through one way of ranking; `figures` is None where no query has relevant pictures."""

    rerank: str
    figures: Figures | None
    kinds: Mapping[str, Figures]
    cutoff: CutOff
    latency: Latency
    note: str | None = None
    """What the search had to say of some of its answers."""


@dataclass(frozen=True, slots=True)
class TextRanking:
    """Image to text: each picture ranks all texts of the file by the cosine of their vectors."""

    recalls: Recalls
    texts: int


@dataclass(frozen=True, slots=True)
class IndexRecall:
    """The share of the exact ten best that the catalog's store finds; equal scores count alike."""

    kind: str
    exact: bool
    recall: float
    queries: int

    def as_dict(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "exact": self.exact,
            "recall@10": self.recall,
            "queries": self.queries,
        }


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All figures of one evaluation; `notes` are sentences about what was left out or sampled."""

    file: Path
    format: str
    split: str | None
    model: str
    encoder: str
    images: int
    """Pictures that were ranked: all that can be found in the catalog."""
    queries: int
    pipelines: tuple[Pipeline, ...]
    image_to_text: TextRanking | None
    index: IndexRecall
    encoding: Latency
    """How long the model takes to encode one text: a part of each pipeline's latency."""
    peak_bytes: int | None
    seconds: float
    left_out: Mapping[str, Any]
    notes: tuple[str, ...]

    def rows(self) -> list[dict[str, Any]]:
        """One flat object for each pipeline, and one for image to text where the file has texts."""
        shared = {
            "file": path_fields(self.file)["path"],
            "format": self.format,
            "split": self.split,
            "model": self.model,
            "encoder": self.encoder,
            "images": self.images,
            "index": self.index.as_dict(),
            "peak_bytes": self.peak_bytes,
            "left_out": dict(self.left_out),
        }
        rows: list[dict[str, Any]] = [
            {
                "direction": "text-to-image",
                "rerank": one.rerank,
                **(one.figures.as_dict() if one.figures else {"queries": 0}),
                "cutoff": one.cutoff.as_dict(),
                "kinds": {kind: figures.as_dict() for kind, figures in one.kinds.items()},
                "latency_ms": one.latency.as_dict(),
                "encoding_ms": self.encoding.as_dict(),
                **shared,
            }
            for one in self.pipelines
        ]
        if self.image_to_text is not None:
            recalls = self.image_to_text.recalls.as_dict()
            rows.append(
                {
                    "direction": "image-to-text",
                    "rerank": "none",
                    **recalls,
                    "texts": self.image_to_text.texts,
                    **shared,
                }
            )
        return rows

    def as_dict(self) -> dict[str, Any]:
        return {"rows": self.rows(), "seconds": round(self.seconds, 3), "notes": list(self.notes)}
