"""Any of Pillow's pixel modes as 8-bit RGB that looks as a viewer would show it."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

WHITE = (255, 255, 255)


def to_rgb(image: Image.Image) -> Image.Image:
    """The picture in RGB: transparency over white, deep greys scaled rather than clipped."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode == "I" or image.mode.startswith("I;"):
        return _from_integers(image)
    if image.mode == "F":
        return _from_floats(image)
    if image.mode == "LAB":
        return _from_lab(image)
    if image.has_transparency_data or image.mode in ("RGBa", "La"):
        return _over_white(image)
    return image.convert("RGB")


def _over_white(image: Image.Image) -> Image.Image:
    if image.mode == "La":
        image = image.convert("LA")
    rgba = image if image.mode == "RGBA" else image.convert("RGBA")
    alpha = rgba.getchannel("A")
    if alpha.getextrema() == (255, 255):
        return rgba.convert("RGB")
    ground = Image.new("RGB", rgba.size, WHITE)
    ground.paste(rgba, mask=alpha)
    return ground


def _from_integers(image: Image.Image) -> Image.Image:
    """16 bits are shown over their full range; values that are out of it, over their own."""
    wide = image if image.mode == "I" else image.convert("I")
    low, high = _extremes(wide)
    if image.mode == "I" and not (low >= 0 and high <= 65535):
        return _stretched(wide, low, high)
    return _stretched(wide, 0, 65535)


def _from_floats(image: Image.Image) -> Image.Image:
    """Floats in 0..1 or 0..255 are taken at their word; others are shown over their own range."""
    low, high = _extremes(image)
    if not (math.isfinite(low) and math.isfinite(high)):
        values = np.asarray(image)
        finite = values[np.isfinite(values)]
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
        filled = np.nan_to_num(values, nan=low, posinf=high, neginf=low)
        image = Image.fromarray(filled.astype(np.float32, copy=False))
    if low >= 0 and high <= 1:
        low, high = 0, 1
    elif low >= 0 and high <= 255:
        low, high = 0, 255
    return _stretched(image, low, high)


def _extremes(image: Image.Image) -> tuple[float, float]:
    low, high = image.getextrema()
    if isinstance(low, tuple) or isinstance(high, tuple):
        raise TypeError(f"A grey picture was expected, not mode {image.mode}")
    return low, high


def _stretched(image: Image.Image, low: float, high: float) -> Image.Image:
    wide = image if image.mode == "F" else image.convert("F")
    scale = 255 / (high - low) if high > low else 1.0
    shift = -low * scale if high > low else 128 - low
    # Half a step is added because the conversion to bytes cuts off the fraction.
    grey = wide.point(lambda value: value * scale + (shift + 0.5))
    return grey.convert("L").convert("RGB")


def _from_lab(image: Image.Image) -> Image.Image:
    from PIL import ImageCms

    transform = ImageCms.buildTransform(
        ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB"
    )
    converted = ImageCms.applyTransform(image, transform)
    if converted is None:
        raise ValueError("The LAB picture could not be converted")
    return converted
