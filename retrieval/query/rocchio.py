"""Answers that were said to be right or wrong, as evidence for the pictures that resemble them.

Rocchio's idea on the side of the answers instead of the query's vector: it acts in log-odds
on whatever a query found, and leaves alone what resembles no answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ids = NDArray[np.int64]
    Floats = NDArray[np.float64]

# Chosen with benchmarks/feedback.py; see docs/decisions/0010-feedback-as-evidence.md.
RISE = 2.0
"""What any number of good answers can add to the log-odds of a picture just like them."""
FALL = 1.0
"""What bad ones can take: less, because a picture is wrong for reasons of its own."""
FIRST = 1.0
"""One answer counts half, two count two thirds: a slip of the finger does not decide."""
RESEMBLES = 0.2
"""Below this match to every answer, a picture is left exactly where it is."""
KNOWN = 24.0
"""The log-odds of an answer itself: beyond what evidence and its shifts can reach."""
WAYS = 3
"""How many directions besides the query's own are searched for what is like the good answers."""


def moved(
    evidence: Floats,
    good: NDArray[np.floating],
    bad: NDArray[np.floating],
    *,
    ids: Ids,
    good_ids: Sequence[int] = (),
    bad_ids: Sequence[int] = (),
) -> Floats:
    """The log-odds of candidates, given how they resemble what was said to be right and wrong.

    `good` and `bad` are matches 0..1, a row an answer, a column a candidate. What one
    candidate gets does not depend on the others. One that resembles no answer keeps its
    value to the last bit; no shift is beyond `RISE` and `FALL`. An answer that was called
    good goes before all others, and one that was called bad behind them.
    """
    shift = RISE * _say(good) * _room(bad) - FALL * _say(bad) * _room(good)
    result = np.asarray(evidence, np.float64) + shift
    # Among themselves, answers stay in the order of their evidence.
    nuance = np.tanh(result / KNOWN)
    result = np.where(np.isin(ids, list(good_ids)), KNOWN + nuance, result)
    moved_odds: Floats = np.where(np.isin(ids, list(bad_ids)), nuance - KNOWN, result)
    return moved_odds


def _say(matches: NDArray[np.floating]) -> Floats:
    """How strongly answers speak for each candidate, 0..1: their mean, and less of it where they are few."""
    count = len(matches)
    if not count:
        return np.zeros(matches.shape[1])
    heard = np.maximum(0, (np.asarray(matches, np.float64) - RESEMBLES) / (1 - RESEMBLES))
    strength: Floats = heard.mean(0) * count / (count + FIRST)
    return strength


def _room(matches: NDArray[np.floating]) -> Floats:
    """How much of a candidate the answers of the other side leave: what is like both hardly moves."""
    if not len(matches):
        return np.ones(matches.shape[1])
    room: Floats = 1 - np.asarray(matches, np.float64).max(0)
    return room


def reach(query: NDArray[np.float32], good: NDArray[np.float32]) -> NDArray[np.float32]:
    """Vectors to search besides the query's, so that pictures like the good answers are candidates.

    Few good answers are searched from one by one; of many, their mean and those least like
    it stand for all. Each is turned a little towards the query, for what is like the answer and
    like the question comes first.
    """
    if len(good) > WAYS:
        mean = good.mean(0)
        mean /= max(float(np.linalg.norm(mean)), 1e-9)
        far = np.argsort(good @ mean, kind="stable")[: WAYS - 1]
        good = np.concatenate([mean[None], good[far]])
    turned = good + query / 2
    lengths = np.maximum(np.linalg.norm(turned, axis=1, keepdims=True), 1e-9)
    return np.asarray(turned / lengths, np.float32)
