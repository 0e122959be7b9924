"""A hit's picture at the size in which it is shown, or why there is none."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from retrieval.config import default_memory
from retrieval.errors import FAILURE_REASONS, ImageError
from retrieval.types import Failure

if TYPE_CHECKING:
    from PIL.Image import Image

MISSING = "the file is gone"


def fitting(width: int, height: int, box: tuple[int, int]) -> tuple[int, int]:
    """The largest size of the same shape inside `box`, never larger than the picture itself."""
    scale = min(1.0, box[0] / width, box[1] / height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def load_fitting(
    path: str, box: tuple[int, int], *, memory: int | None = None, content: bytes | None = None
) -> Image | Failure:
    """The picture, upright and inside `box`; a file that cannot be shown is a `Failure`, not an error.

    `memory` is how many bytes decoding may take, by default what indexing may; `content` is
    what was read from the file already.
    """
    from PIL import Image

    from retrieval.images import check_memory, load_image

    limit = default_memory() if memory is None else memory
    try:
        image = load_image(
            Path(path) if content is None else content,
            name=Path(path).name,
            wanted=lambda width, height: fitting(width, height, box),
            permit=lambda needed: check_memory(needed, limit),
        )
    except ImageError as error:
        if not Path(path).exists():
            return Failure(Path(path), "unreadable", MISSING)
        return Failure(Path(path), error.reason, FAILURE_REASONS.get(error.reason, str(error)))
    size = fitting(*image.size, box)
    return image if size == image.size else image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
