"""Resizing and cropping exactly as open_clip's own evaluation transform does, with Pillow alone.

Where a crop falls by half a pixel matters more to an embedding than how the picture was
decoded, so every rounding here is the one that torchvision makes. Resizing and cropping are
one `resize(box=...)`: pixels that the crop throws away are never computed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from retrieval.types import Prepared

if TYPE_CHECKING:
    from collections.abc import Mapping

    from PIL import Image

BICUBIC, BILINEAR = 3, 2  # Pillow's numbers, so that importing this module does not import Pillow
DECODE_MARGIN = 2


@dataclass(frozen=True, slots=True)
class ClipPreparer:
    """Pixels for a model whose input is `height` × `width`, as its preprocessing settings say."""

    height: int
    width: int
    resize_mode: str = "shortest"
    interpolation: str = "bicubic"
    fill: int = 0

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> ClipPreparer:
        """Read open_clip's preprocessing dictionary (`size`, `resize_mode`, ...)."""
        size = settings["size"]
        height, width = (size, size) if isinstance(size, int) else (size[0], size[-1])
        return cls(
            height=int(height),
            width=int(width),
            resize_mode=settings.get("resize_mode") or "shortest",
            interpolation=settings.get("interpolation") or "bicubic",
            fill=int(settings.get("fill_color") or 0),
        )

    def wanted(self, width: int, height: int) -> tuple[int, int]:
        """Twice the size before the crop: scaled decoding down to that keeps the embedding."""
        resized_width, resized_height = self._resized(width, height)
        return DECODE_MARGIN * resized_width, DECODE_MARGIN * resized_height

    def __call__(self, image: Image.Image) -> Prepared:
        full = image.info.get("full_size") or image.size
        shrink = float(image.info.get("reduced") or 1)
        resized = self._resized(*full)
        target = (self.width, self.height)
        # Per axis: what the crop leaves off (or, negative, what has to be filled in) at the start.
        starts = [_start(resized[axis], target[axis]) for axis in (0, 1)]
        sizes = [min(resized[axis], target[axis]) for axis in (0, 1)]
        low, high = [], []
        for axis in (0, 1):
            scale = full[axis] / resized[axis] / shrink
            first = max(0, starts[axis])
            low.append(first * scale)
            high.append(min((first + sizes[axis]) * scale, float(image.size[axis])))
        box = (low[0], low[1], high[0], high[1])
        if sizes == list(image.size) and box == (0, 0, *image.size):
            piece = image
        else:
            piece = image.resize((sizes[0], sizes[1]), self._filter(), box=box)
        pixels = np.asarray(piece, dtype=np.uint8)
        if sizes != list(target):
            canvas = np.full((self.height, self.width, 3), self.fill, dtype=np.uint8)
            left, top = max(0, -starts[0]), max(0, -starts[1])
            canvas[top : top + sizes[1], left : left + sizes[0]] = pixels
            pixels = canvas
        return Prepared(pixels=np.ascontiguousarray(pixels)[None])

    def covers(self, width: int, height: int) -> tuple[float, float, float, float]:
        """What the model sees of a picture: left, top, right, bottom in shares of its size.

        Beyond 0..1 is the padding around a picture that was fitted in whole.
        """
        resized = self._resized(width, height)
        target = (self.width, self.height)
        left, top = (_start(resized[axis], target[axis]) / resized[axis] for axis in (0, 1))
        return left, top, left + self.width / resized[0], top + self.height / resized[1]

    def _filter(self) -> Any:
        # open_clip resizes for a non-square model without passing its interpolation on.
        forgotten = self.resize_mode == "shortest" and self.height != self.width
        return BILINEAR if self.interpolation == "bilinear" and not forgotten else BICUBIC

    def _resized(self, width: int, height: int) -> tuple[int, int]:
        """Width and height after resizing, before the crop or the padding."""
        if self.resize_mode == "squash":
            return self.width, self.height
        if self.resize_mode == "shortest" and self.height == self.width:
            # torchvision cuts the long side's fraction off, and does it in this order.
            if width <= height:
                return self.width, int(self.width * height / width)
            return int(self.height * width / height), self.height
        ratios = (height / self.height, width / self.width)
        ratio = max(ratios) if self.resize_mode == "longest" else min(ratios)
        return max(1, round(width / ratio)), max(1, round(height / ratio))


def _start(size: int, target: int) -> int:
    """Where the crop begins on one axis; negative is the width of the padding before the picture."""
    if size < target:
        return -((target - size) // 2)
    return round((size - target) / 2.0)
