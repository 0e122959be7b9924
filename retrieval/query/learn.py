"""From a handful of pictures to one direction: what they have in common, and what sets them apart.

The direction begins as the prototype, the mean of the good examples, and a small logistic
head is then fitted around it: towards the good examples, away from the bad ones, and away
a little from pictures drawn from the whole catalog. The pull towards the prototype keeps
three pictures from meaning more than they say. The head is linear, so what comes out is
searched like any other vector.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from retrieval.query.fuse import chance, log_odds

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from retrieval.protocols import Encoder
    from retrieval.types import Vectors

    Floats = NDArray[np.float64]

# Chosen with benchmarks/feedback.py: looser pulls learn finer differences between near kinds, and lose
# on wide concepts with odd examples; the bad ones weigh half because each stands only for itself.
PULL = 0.3
SCALE = 8.0
BAD_WEIGHT = 0.5
DRAWN_WEIGHT = 0.3
BIAS_PULL = 0.1
STEPS = 50
CLOSE_ENOUGH = 1e-4
LEAST_GAP = 0.05
SCALE_STEPS = 2001
TOWARDS_RECALL = 0.5
"""Added to the log-odds of a match: a picture too many costs a glance, one too few is not found."""


class Direction(NamedTuple):
    """A direction, and how its scores read as cosines of one picture to another.

    `slope * score + shift` is on the scale of the mean cosine to the good examples: the
    same for them and for the catalog on the whole. `typical` is that cosine between the
    examples themselves, each against the others; none for a single one.
    """

    vector: NDArray[np.float32]
    slope: float
    shift: float
    typical: float | None


@dataclass(frozen=True, slots=True)
class Learnt:
    """What a concept comes to in the space of one encoder: a vector to search with."""

    name: str
    direction: Direction
    encoder: Encoder
    notes: tuple[str, ...] = ()
    """Sentences about examples that could not be used."""

    @property
    def vector(self) -> NDArray[np.float32]:
        """What to search with, of unit length."""
        return self.direction.vector

    def match(self, scores: NDArray[np.float32], sample: NDArray[np.float32]) -> NDArray[np.float32]:
        """How likely each of `scores` shows the concept, 0..1, for products with `vector`.

        It is the encoder's own match of one picture with another, with its cut-off moved half
        of the way to how alike the examples are among themselves: pictures of one dog are
        more alike than pictures of any food.
        """
        _, slope, shift, typical = self.direction
        likened = np.asarray(slope * sample + shift, np.float32)
        values = np.asarray(slope * scores + shift, np.float32)
        if typical is not None:
            steps = np.linspace(-1, 1, SCALE_STEPS, dtype=np.float32)
            enough = self.encoder.match(steps, likened, pair="image-image") >= self.encoder.cutoff
            if enough.any():
                even = float(steps[int(enough.argmax())])
                values += np.float32((even - typical) / 2)
        odds = log_odds(self.encoder.match(values, likened, pair="image-image")) + TOWARDS_RECALL
        return chance(odds).astype(np.float32)


def learn(good: Vectors, bad: Vectors, drawn: Vectors) -> Direction:
    """What `good` have in common; `drawn` are pictures of the catalog, whatever they show."""
    centre = good.astype(np.float64).mean(0)
    length = float(np.linalg.norm(centre))
    if length < LEAST_GAP:
        # Examples that cancel each other out have no mean to go by: the first speaks for all.
        centre, length = good[0].astype(np.float64), 1.0
    weights = _head(good, bad, drawn, centre / length)
    vector = weights / max(float(np.linalg.norm(weights)), 1e-9)
    slope, shift = _as_cosines(vector, centre, good, drawn, length)
    count = len(good)
    typical = None if count < 2 else (count * length**2 - 1) / (count - 1)
    return Direction(vector.astype(np.float32), slope, shift, typical)


def _as_cosines(
    vector: Floats, centre: Floats, good: Vectors, drawn: Vectors, length: float
) -> tuple[float, float]:
    """The line through two points: the good examples, and the catalog on the whole."""
    there, here = float((good @ vector).mean()), float((good @ centre).mean())
    if len(drawn):
        there_drawn, here_drawn = float((drawn @ vector).mean()), float((drawn @ centre).mean())
        if there - there_drawn > LEAST_GAP and here - here_drawn > LEAST_GAP:
            slope = (here - here_drawn) / (there - there_drawn)
            return slope, here - slope * there
    return length, 0.0


def _head(good: Vectors, bad: Vectors, drawn: Vectors, prototype: Floats) -> Floats:
    """Logistic regression around the prototype, by Newton's method in the span of the pictures.

    The unknowns are one number a picture, not one a dimension: some hundred at most.
    """
    pictures = np.concatenate([good, bad, drawn]).astype(np.float64)
    wanted = np.arange(len(pictures)) < len(good)
    weight = np.repeat([1.0, BAD_WEIGHT, DRAWN_WEIGHT], [len(good), len(bad), len(drawn)])
    alike = pictures @ pictures.T / PULL + 1 / BIAS_PULL
    start = SCALE * (pictures @ prototype) - SCALE / 2

    def cost(share: Floats, odds: Floats) -> float:
        loss = weight * np.logaddexp(0, np.where(wanted, -odds, odds))
        return float(loss.sum() + share @ (odds - start) / 2)

    share, odds = np.zeros(len(pictures)), start
    reached = cost(share, odds)
    for _ in range(STEPS):
        likely = chance(odds)
        root = np.sqrt(np.maximum(weight * likely * (1 - likely), 1e-12))
        aim = root * (odds - start) + weight * (wanted - likely) / root
        system = np.eye(len(pictures)) + root[:, None] * alike * root
        change = root * np.linalg.solve(system, aim) - share
        step = 1.0
        # Newton's whole step can overshoot: it is halved until it gains something.
        while step > CLOSE_ENOUGH:
            tried = share + step * change
            odds = start + alike @ tried
            found = cost(tried, odds)
            if found <= reached:
                break
            step /= 2
        else:
            break
        gained, share, reached = reached - found, tried, found
        if gained < CLOSE_ENOUGH * max(reached, 1e-6):
            break
    direction: Floats = SCALE * prototype + pictures.T @ share / PULL
    return direction
