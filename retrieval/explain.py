"""Why a picture was found: where in it the match comes from, and what spoke for it.

The map says of each place how likely it would be a match by itself. It is measured, not
stretched: its chances are the model's own calibrated ones, as for whole pictures. A picture
in which nothing fits stays cold all over, and one that fits all over is warm all over.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from retrieval.encoders.regions import slide
from retrieval.errors import ImageError, QueryError
from retrieval.images import load_image, thumbnail
from retrieval.protocols import Regional
from retrieval.query.fuse import both, chance, log_odds
from retrieval.types import path_fields

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from PIL import Image

    from retrieval.protocols import Encoder, Pair

LONG_SIDE, SHORT_SIDE = 1280, 640
"""A picture is read at no less than this, so far as it has it; what is drawn is never larger."""
SUREST = 0.98
"""A whole picture's chances are taken for no surer than this when they are set against each other."""


class Aim(NamedTuple):
    """One term of a query, as the model sees it.

    `level` is how likely the picture as a whole is found by this term alone, where that is
    known better than from its vector (a second look); `sample` the term's scores over the
    catalog. A negative weight is a term that should not be there.
    """

    vector: NDArray[np.float32]
    weight: float = 1.0
    pair: Pair = "text-image"
    level: float | None = None
    sample: NDArray[np.float32] | None = None


class Heat(NamedTuple):
    """How likely each place would be a match by itself, and which places the model saw at all."""

    values: NDArray[np.float32]
    """[rows, columns] in 0..1 over the upright picture; 0 where nothing was seen."""
    seen: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Explanation:
    """Where in a picture a match comes from, and the signals that made it up."""

    query: str
    path: Path | None
    heat: NDArray[np.float32]
    """[rows, columns] in 0..1 over the upright picture: how likely each place is by itself."""
    seen: NDArray[np.bool_]
    """[rows, columns]: False where the model never looked, as beyond a centre crop."""
    score: float
    match: float
    signals: Mapping[str, float]
    picture: Image.Image = field(repr=False)
    image_id: int | None = None

    def draw(self) -> Image.Image:
        """The picture and its map side by side, with the query, the match and the signals below."""
        from retrieval.show.heat import Shown, draw_card

        shown = Shown(self.query, self.match, self.score, self.signals)
        return draw_card(self.picture, self.heat, self.seen, shown)

    def draw_map(self, long_side: int = 480) -> Image.Image:
        """The map over the picture, and nothing beside it."""
        from retrieval.show.heat import draw_heat

        return draw_heat(thumbnail(self.picture, long_side), self.heat, self.seen)

    def save(self, destination: str | os.PathLike[str]) -> None:
        """Write the drawing as a PNG; it replaces an earlier one, and no other file."""
        from retrieval.show.heat import write_card

        write_card(self.draw(), Path(destination))

    def as_dict(self) -> dict[str, Any]:
        """The explanation as the command line's JSON shows it; `null` in the map is "not seen"."""
        row: dict[str, Any] = {
            **(path_fields(self.path) if self.path is not None else {}),
            "score": round(self.score, 6),
            "match": round(self.match, 4),
            "signals": {name: round(strength, 4) for name, strength in self.signals.items()},
            "heat": [
                [round(value, 3) if seen else None for value, seen in zip(*row, strict=True)]
                for row in zip(self.heat.tolist(), self.seen.tolist(), strict=True)
            ],
        }
        if self.image_id is not None:
            row["image_id"] = self.image_id
        return row


def explain(
    encoder: Encoder,
    image: Image.Image,
    aims: Sequence[Aim],
    *,
    query: str,
    path: Path | None = None,
    image_id: int | None = None,
    score: float | None = None,
    match: float | None = None,
    signals: Mapping[str, float] | None = None,
    whole: NDArray[np.float32] | None = None,
) -> Explanation:
    """Explain how an upright picture answers a query; score and match are the picture's own by default.

    `whole` is the picture's vector, where it is known already.
    """
    if whole is None:
        whole = encoder.encode_images([image])[0]
    values, seen = heat(encoder, image, aims=aims, whole=whole)
    if match is None:
        alone = [_chances(encoder, aim, whole, np.zeros(0, np.float32)) for aim in aims]
        match = float(both([(aim.weight, chances) for aim, chances in zip(aims, alone, strict=True)])[0])
    if score is None:
        score = float(sum(aim.weight * float(whole @ aim.vector) for aim in aims))
    return Explanation(
        query=query,
        path=path,
        heat=values,
        seen=seen,
        score=score,
        match=match,
        signals=dict(signals or {}),
        picture=thumbnail(image, LONG_SIDE),
        image_id=image_id,
    )


def heat(
    encoder: Encoder,
    image: Image.Image,
    text: str | None = None,
    *,
    vector: NDArray[np.float32] | None = None,
    aims: Sequence[Aim] = (),
    whole: NDArray[np.float32] | None = None,
) -> Heat:
    """The map of a text, of a vector (taken for a picture's), or of several terms at once.

    The maps of several terms are averaged by their weights: each shows its own place. What
    resembles a term of negative weight is taken away from that.
    """
    if text is not None:
        aims = [*aims, Aim(encoder.encode_texts([text])[0])]
    if vector is not None:
        aims = [*aims, Aim(vector, pair="image-image")]
    if whole is None:
        whole = encoder.encode_images([image])[0]
    if isinstance(encoder, Regional):
        grid = encoder.encode_regions(image)
    else:
        grid = slide(encoder.encode_images, image)
    seen: NDArray[np.bool_] = np.any(grid != 0, axis=-1)
    maps = [_chances(encoder, aim, whole, grid @ aim.vector)[:-1].reshape(seen.shape) for aim in aims]
    return Heat(np.where(seen, _together(aims, maps), 0).astype(np.float32), seen)


def read_picture(path: str | Path) -> Image.Image:
    """The picture in a file, upright, at a size that is worth explaining."""

    def wanted(width: int, height: int) -> tuple[int, int]:
        scale = max(LONG_SIDE / max(width, height), SHORT_SIDE / min(width, height))
        return math.ceil(width * min(1.0, scale)), math.ceil(height * min(1.0, scale))

    try:
        return load_image(path, wanted=wanted)
    except ImageError as error:
        raise type(error)(f"{path} cannot be explained: {error}", reason=error.reason) from error


def _chances(
    encoder: Encoder, aim: Aim, whole: NDArray[np.float32], scores: NDArray[np.float32]
) -> NDArray[np.float64]:
    """How likely each place is by one term alone, row by row, and last the whole picture."""
    sample = np.zeros(0, np.float32) if aim.sample is None else aim.sample
    every = np.append(scores.ravel(), np.float32(whole @ aim.vector))
    chances = encoder.match(every, sample, pair=aim.pair).astype(np.float64)
    if aim.level is not None:
        known = np.clip([aim.level, chances[-1]], 1 - SUREST, SUREST)
        said, scored = log_odds(known)
        chances = chance(log_odds(chances) + (said - scored))
    return chances


def _together(aims: Sequence[Aim], maps: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """One map of several: unlike the chance of a picture, a place need not be all that is asked for."""
    wanted = [max(0.0, aim.weight) for aim in aims]
    if not any(wanted):
        raise QueryError("Nothing is asked for that could be shown: name at least one thing to look for.")
    total: NDArray[np.float64] = np.average(np.stack(maps), axis=0, weights=wanted)
    for aim, place in zip(aims, maps, strict=True):
        if aim.weight < 0:
            total = total * (1 - place) ** -aim.weight
    return total
