"""From a raw cosine to how likely one thing fits another, for CLIP-like models.

Cosines of CLIP-like models say little by themselves: unrelated pairs of a text and a picture
lie around .10 to .20 with a spread near .03 and fitting pairs around .25 to .35, and where
exactly depends on the words of the query ("a photo" is close to everything). SigLIP-like models
lie lower, unrelated pairs around zero. So a score is judged by how far it stands out of the
query's own distribution over the catalog, which is nearly all unrelated: the median is their
centre, and the median absolute deviation their spread; neither is moved by the few that fit.

Two things make that go wrong, and the family's anchors mend both. In a catalog where most
pictures fit ("a dog" over a folder of dogs) the median is itself a fitting picture: the centre
is therefore held within the range that unrelated pairs of the family can have. And a handful
of pictures has no distribution: a small sample is drawn towards the anchors.

Each pair of kinds has anchors of its own. Pictures lie in one narrow cone of the space and texts
in another (Liang et al., "Mind the Gap", 2022), so that two unrelated pictures have a cosine
around .45 to .65, spread near .08, and two unrelated texts around .55 to .75. These ranges, like
those above, are what is published and commonly seen of such models; no real weights were at hand
to measure them here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from retrieval.protocols import Pair

CUTOFF = 0.5


@dataclass(frozen=True, slots=True)
class Anchors:
    """What the cosines of unrelated pairs look like in one family of models.

    `foreign` is how far beyond them a median belongs to a model of another kind (some
    fine-tuned ones keep every cosine above .5): then only the sample can be believed.
    """

    centre: float
    spread: float
    lowest: float
    highest: float
    narrowest: float = 0.015
    widest: float = 0.035
    foreign: float = 0.12


IMAGES = Anchors(0.55, 0.08, lowest=0.35, highest=0.65, narrowest=0.05, widest=0.1, foreign=0.2)
TEXTS = Anchors(0.65, 0.07, lowest=0.45, highest=0.75, narrowest=0.04, widest=0.09, foreign=0.2)
CLIP = Anchors(centre=0.16, spread=0.027, lowest=0.08, highest=0.21)
SIGLIP = Anchors(centre=0.02, spread=0.026, lowest=-0.06, highest=0.07)
FAMILIES: Mapping[str, Mapping[Pair, Anchors]] = {
    family: {"text-image": across, "image-text": across, "image-image": IMAGES, "text-text": TEXTS}
    for family, across in (("clip", CLIP), ("siglip", SIGLIP))
}

# How many pictures weigh as much as the anchors.
PRIOR = 30
# Unrelated pictures reach three spreads about once in a thousand; fitting ones start there.
EVEN_AT = 3.0
STEEPNESS = 1.6


def match(
    scores: NDArray[np.float32],
    sample: NDArray[np.float32],
    family: str = "clip",
    *,
    pair: Pair = "text-image",
) -> NDArray[np.float32]:
    """How likely each of `scores` is relevant, 0..1, rising with the score; .5 is the cut-off."""
    centre, spread = unrelated(sample, FAMILIES[family][pair])
    standing = (np.asarray(scores, dtype=np.float64) - centre) / spread
    exponent = np.clip(STEEPNESS * (standing - EVEN_AT), -60.0, 60.0)
    return (1.0 / (1.0 + np.exp(-exponent))).astype(np.float32)


def unrelated(sample: NDArray[np.float32], anchors: Anchors) -> tuple[float, float]:
    """Centre and spread of the unrelated pictures, from the sample as far as it can tell."""
    values = np.asarray(sample, dtype=np.float64)
    values = values[np.isfinite(values)]
    if not len(values):
        return anchors.centre, anchors.spread
    median = _median(values)
    spread = 1.4826 * _median(np.abs(values - median))
    if not anchors.lowest - anchors.foreign <= median <= anchors.highest + anchors.foreign:
        return median, max(spread, 1e-3)
    trust = len(values) / (len(values) + PRIOR)
    centre = trust * min(max(median, anchors.lowest), anchors.highest) + (1 - trust) * anchors.centre
    spread = trust * min(max(spread, anchors.narrowest), anchors.widest) + (1 - trust) * anchors.spread
    return centre, spread


def _median(values: NDArray[np.float64]) -> float:
    """The upper median; `np.median` would import a part of NumPy that costs a cold query 6 ms."""
    middle = len(values) // 2
    return float(np.partition(values, middle)[middle])
