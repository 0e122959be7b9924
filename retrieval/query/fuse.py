"""From several chances to one: signals of a term, and the terms of a sum."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Chances = NDArray[np.float64]
    """How likely each candidate is what was asked for, 0..1."""

SURE = 1e-9
"""Chances are kept this far from 0 and 1, so that no single signal has the last word."""


def log_odds(chances: NDArray[np.floating]) -> Chances:
    near = np.clip(np.asarray(chances, np.float64), SURE, 1 - SURE)
    odds: Chances = np.log(near) - np.log1p(-near)
    return odds


def chance(odds: Chances) -> Chances:
    return 1 / (1 + np.exp(-odds))


def either(signals: Sequence[NDArray[np.floating]]) -> Chances:
    """At least one of several signals is right; where the others are silent, one speaks alone."""
    against = np.ones(len(signals[0]))
    for signal in signals:
        against = against * (1 - np.asarray(signal, np.float64))
    return 1 - against


def both(terms: Sequence[tuple[float, Chances]]) -> Chances:
    """All terms of a sum: the mean of their log-odds by weight, less what should not be there.

    A term of negative weight takes away in proportion to how likely it is there: pictures
    without it keep what they have, whatever the weight.
    """
    wanted = [(weight, chances) for weight, chances in terms if weight > 0]
    total = sum(weight for weight, _ in wanted)
    if len(wanted) == 1:
        result = np.asarray(wanted[0][1], np.float64)
    else:
        result = chance(sum((weight / total) * log_odds(chances) for weight, chances in wanted))  # type: ignore[arg-type]
    for weight, chances in terms:
        if weight < 0:
            result = result * (1 - np.asarray(chances, np.float64)) ** -weight
    return result
