"""What a captioner is given of a picture, whether it describes one or a library."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from retrieval.captioners import load_captioner
from retrieval.db.texts import CAPTION
from retrieval.errors import QueryError
from retrieval.images import load_image, thumbnail
from retrieval.speech import STYLES, Sight

if TYPE_CHECKING:
    from PIL import Image

    from retrieval.protocols import Captioner
    from retrieval.speech import Facts

NEAR = 3
"""Texts tied to no picture that a captioner is told of, where they fit."""
SIDE = 1536
"""The longer side that a captioner gets at most: more than any of them looks at."""


def chosen(captioner: str | Captioner | None) -> Captioner:
    """The captioner itself, or the one of that name."""
    return load_captioner(captioner) if captioner is None or isinstance(captioner, str) else captioner


def check_style(style: str) -> None:
    if style not in STYLES:
        raise QueryError(f"A description is of the style {' or '.join(STYLES)}, not '{style}'.")


def sight(facts: Facts, image: Image.Image | None) -> Sight:
    """A picture as a captioner gets it; what one said before must not be what it goes by now."""
    return Sight(replace(facts, told=tuple(one for one in facts.told if one.source != CAPTION)), image)


def opened(source: bytes | Path, *, name: str = "") -> Image.Image:
    """The picture in a file or its bytes, no larger than is looked at."""
    return small(load_image(source, name=name, wanted=_enough))


def small(image: Image.Image) -> Image.Image:
    return thumbnail(image, SIDE)


def _enough(width: int, height: int) -> tuple[int, int]:
    scale = min(1.0, SIDE / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))
