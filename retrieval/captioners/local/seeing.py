"""Pictures as a model is shown them: never larger than it can use, never of a shape it cannot take."""

from __future__ import annotations

from PIL import Image

SMALLEST = 56
"""The shorter side at the least: smaller ones are taken for channels, or are less than one patch."""
SLIMMEST = 20
"""The longest side over the shortest at the most; beyond it some models refuse a picture."""


def seen(image: Image.Image, longest: int) -> Image.Image:
    """The picture with its longer side at most `longest`, and filled up with black where it is too slim."""
    shown = image if image.mode == "RGB" else image.convert("RGB")
    if max(shown.size) > longest:
        scale = longest / max(shown.size)
        size = (max(1, round(shown.width * scale)), max(1, round(shown.height * scale)))
        shown = shown.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)
    least = -(-max(shown.size) // SLIMMEST)
    if min(shown.size) < least:
        filled = Image.new("RGB", (max(shown.width, least), max(shown.height, least)))
        filled.paste(shown, ((filled.width - shown.width) // 2, (filled.height - shown.height) // 2))
        shown = filled
    if min(shown.size) < SMALLEST:
        scale = SMALLEST / min(shown.size)
        size = (max(SMALLEST, round(shown.width * scale)), max(SMALLEST, round(shown.height * scale)))
        shown = shown.resize(size, Image.Resampling.BICUBIC)
    return shown
