"""The figures of a ranking, each with its definition.

Ratios are added up in whole numbers and rounded to a float once, at the end, so that a
figure does not depend on the order of the queries, down to its last digit.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, TypeVar

T = TypeVar("T")

DEPTHS = (1, 5, 10)
NDCG_DEPTH = 10
PRECISION_DEPTH = 5

_BITS = 200
"""Ratios are kept as multiples of 2^-200: far below what a sum of them can lift into a float."""


@dataclass(frozen=True, slots=True)
class Judged:
    """One answer against what was wanted.

    `found` holds rank (from 1) and grade of each relevant item in the ranking, by rank;
    `grades` the grades of all relevant items, found or not.
    """

    found: tuple[tuple[int, float], ...]
    grades: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Recalls:
    """The share of queries that have any relevant item among the first k."""

    queries: int
    r1: float
    r5: float
    r10: float

    def as_dict(self) -> dict[str, Any]:
        return {"queries": self.queries, "r@1": self.r1, "r@5": self.r5, "r@10": self.r10}


@dataclass(frozen=True, slots=True)
class Figures:
    """Means over queries."""

    recalls: Recalls
    map: float
    """Average precision over the full ranking; what is relevant and not in it counts as 0."""
    ndcg10: float
    """Gain 2^grade - 1, discounted by log2(rank + 1), against the best order of all relevant items."""
    p5: float
    """Relevant among the first 5, divided by 5."""
    p5_capped: float
    """The same, divided by 5 or by the number of relevant items where that is less."""

    def as_dict(self) -> dict[str, Any]:
        return {
            **self.recalls.as_dict(),
            "map": self.map,
            "ndcg@10": self.ndcg10,
            "p@5": self.p5,
            "p@5_capped": self.p5_capped,
        }


@dataclass(frozen=True, slots=True)
class CutOff:
    """What is left when weak hits are not shown.

    Precision and recall are pooled (every picture counts alike) and as means (every query
    counts alike; one that was answered with nothing has a recall of 0 and no precision).
    They are None where there is nothing to divide by. `absent` queries ask for what is
    not there; they take part in no precision and no recall.
    """

    queries: int
    silent: int
    shown: int
    right: int
    relevant: int
    precision: float | None
    recall: float | None
    mean_precision: float | None
    mean_recall: float | None
    absent: int
    absent_silent: int

    @property
    def absent_share(self) -> float | None:
        """The share of the absent queries that were answered with nothing."""
        return self.absent_silent / self.absent if self.absent else None

    def as_dict(self) -> dict[str, Any]:
        return {
            "precision": self.precision,
            "recall": self.recall,
            "mean_precision": self.mean_precision,
            "mean_recall": self.mean_recall,
            "shown": self.shown,
            "right": self.right,
            "relevant": self.relevant,
            "silent": self.silent,
            "absent": self.absent,
            "absent_silent": self.absent_silent,
            "absent_share": self.absent_share,
        }


@dataclass(frozen=True, slots=True)
class Kept:
    """One answer behind the cut-off: how much was shown, how much of it right, how much there was."""

    shown: int
    right: int
    relevant: int


def judge(ranking: Iterable[T], grades: Mapping[T, float]) -> Judged:
    """What a ranking, best first, has of the relevant items; an item that comes again counts once."""
    missing = dict(grades)
    found: list[tuple[int, float]] = []
    for rank, item in enumerate(ranking, 1):
        if item in missing:
            found.append((rank, missing.pop(item)))
    return Judged(tuple(found), tuple(grades.values()))


def recalls(judged: Sequence[Judged]) -> Recalls:
    firsts = [one.found[0][0] if one.found else math.inf for one in judged]
    r1, r5, r10 = (sum(first <= depth for first in firsts) / len(firsts) for depth in DEPTHS)
    return Recalls(len(judged), r1, r5, r10)


def figures(judged: Sequence[Judged]) -> Figures:
    """All figures of a set of answers, at least one, each with at least one relevant item."""
    tops = [sum(rank <= PRECISION_DEPTH for rank, _ in one.found) for one in judged]
    return Figures(
        recalls=recalls(judged),
        map=_mean([_average_precision(one) for one in judged]),
        ndcg10=math.fsum(_ndcg(one) for one in judged) / len(judged),
        p5=sum(tops) / (PRECISION_DEPTH * len(judged)),
        p5_capped=_mean(
            [
                _ratio(top, min(PRECISION_DEPTH, len(one.grades)))
                for top, one in zip(tops, judged, strict=True)
            ]
        ),
    )


def cut_off(kept: Sequence[Kept], absent: Sequence[int]) -> CutOff:
    """The figures of answers behind the cut-off, and of how many hits each absent query got."""
    shown, right = sum(one.shown for one in kept), sum(one.right for one in kept)
    relevant = sum(one.relevant for one in kept)
    precisions = [_ratio(one.right, one.shown) for one in kept if one.shown]
    return CutOff(
        queries=len(kept),
        silent=sum(not one.shown for one in kept),
        shown=shown,
        right=right,
        relevant=relevant,
        precision=right / shown if shown else None,
        recall=right / relevant if relevant else None,
        mean_precision=_mean(precisions) if precisions else None,
        mean_recall=_mean([_ratio(one.right, one.relevant) for one in kept]) if kept else None,
        absent=len(absent),
        absent_silent=sum(not count for count in absent),
    )


def quantile(values: Sequence[float], share: float) -> float:
    """The least value that at least `share` of the values do not exceed (nearest rank)."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def _average_precision(one: Judged) -> int:
    relevant = len(one.grades)
    return sum(_ratio(count, rank * relevant) for count, (rank, _) in enumerate(one.found, 1))


def _ndcg(one: Judged) -> float:
    best = sorted(one.grades, reverse=True)[:NDCG_DEPTH]
    gained = [_discounted(grade, rank) for rank, grade in one.found if rank <= NDCG_DEPTH]
    return math.fsum(gained) / math.fsum(_discounted(grade, rank) for rank, grade in enumerate(best, 1))


def _discounted(grade: float, rank: int) -> float:
    return (math.pow(2, grade) - 1) / math.log2(rank + 1)


def _ratio(part: int, whole: int) -> int:
    return (part << _BITS) // whole


def _mean(ratios: Sequence[int]) -> float:
    return float(Fraction(sum(ratios), len(ratios) << _BITS))
