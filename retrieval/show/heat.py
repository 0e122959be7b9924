"""A picture, and beside it the same picture with the places that resemble a query in colour.

What is unlike the query stays grey, so that a picture in which nothing fits looks like that;
colour and brightness grow in even steps with the value. What the model never saw is hatched.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image, ImageDraw
from PIL.PngImagePlugin import PngInfo

from retrieval.errors import RetrievalError
from retrieval.show.drawings import write_drawing
from retrieval.show.lettering import Line
from retrieval.show.table import safe_name, signal_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

# A spiral through OKLab from dark violet over red to light yellow: lightness rises in a straight line,
# so that equal steps of the value look equal, also in print and to people who tell few hues apart.
LIGHTNESS = (0.28, 0.95)
HUE = (300.0, 465.0)
CHROMA = 0.19
STEPS = 256

FAINT, FULL = 0.1, 0.6
"""Below the one no colour is laid on, from the other on all of it."""
COVER = 0.6
DIMMED, UNSEEN = 0.55, 0.3
SMOOTH = 0.42
"""Spread of each cell's value when the map is enlarged, in cells."""

GROUND, TEXT, QUIET, LINE, MARK = "#faf9f7", "#23211e", "#6f6a62", "#ded9d0", "#4d7c8a"
MARGIN, GAP = 28, 14
PANEL = (620, 620)
SMALLEST_SIDE = 300
"""Small pictures are drawn larger, up to this longer side."""
NARROWEST = 560
WIDE = 2.1
"""Pictures wider than this stand above each other."""
SIGNAL_LINES = 12

MAKER = "picture-search explain"
"""What a drawing says of its maker; a file without it is somebody else's and is not replaced."""


class Shown(NamedTuple):
    """What is written under a drawing."""

    query: str
    match: float
    score: float
    signals: Mapping[str, float]


def draw_heat(picture: Image.Image, values: NDArray[np.float32], seen: NDArray[np.bool_]) -> Image.Image:
    """The picture dimmed to grey, in colour where the values [rows, columns], 0..1, say so."""
    field, visible = _enlarged(values, seen, picture.size)
    pixels = np.asarray(picture.convert("L"), np.float32) / 255
    colours = colour_table()[np.clip(field * (STEPS - 1) + 0.5, 0, STEPS - 1).astype(np.intp)]
    share = np.clip((field - FAINT) / (FULL - FAINT), 0, 1)
    share = share * share * (3 - 2 * share)
    # Full light and shade under the colour, so that what is pointed at can also be seen.
    grey = pixels * (DIMMED + (1 - DIMMED) * share).astype(np.float32)
    share = (COVER * share)[..., None]
    drawn = grey[..., None] * (1 - share) + colours * share
    if not visible.all():
        drawn[~visible] = _hatched(pixels)[~visible]
    return Image.fromarray((np.clip(drawn, 0, 1) * 255 + 0.5).astype(np.uint8))


def draw_card(
    picture: Image.Image, values: NDArray[np.float32], seen: NDArray[np.bool_], shown: Shown
) -> Image.Image:
    """The picture and its map side by side, over the query, the match, the signals and a legend."""
    size = _panel_size(*picture.size)
    small = picture.convert("RGB").resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
    panels = [small, draw_heat(small, values, seen)]
    stacked = size[0] > WIDE * size[1]
    across = size[0] if stacked else 2 * size[0] + GAP
    width = max(NARROWEST, across)
    strip = _strip(width, shown, hatched=not seen.all())
    down = 2 * size[1] + GAP if stacked else size[1]
    card = Image.new("RGB", (width + 2 * MARGIN, down + strip.height + 2 * MARGIN), GROUND)
    left = MARGIN + (width - across) // 2
    for number, panel in enumerate(panels):
        step = number * (GAP + (size[1] if stacked else size[0]))
        card.paste(panel, (left, MARGIN + step) if stacked else (left + step, MARGIN))
    card.paste(strip, (MARGIN, MARGIN + down))
    return card


@cache
def colour_table() -> NDArray[np.float32]:
    """sRGB colours [256, 3] in 0..1, from nothing to all."""
    along = np.linspace(0, 1, STEPS)
    lightness = LIGHTNESS[0] + (LIGHTNESS[1] - LIGHTNESS[0]) * along
    hue = np.radians(HUE[0] + (HUE[1] - HUE[0]) * along)
    chroma = np.full(STEPS, CHROMA)
    for _ in range(60):  # colours that no screen has are made paler until it has them
        outside = ((rgb := _linear_rgb(lightness, chroma, hue)) < 0).any(1) | (rgb > 1).any(1)
        chroma[outside] *= 0.96
    rgb = np.clip(rgb, 0, 1)
    table = np.where(rgb <= 0.0031308, 12.92 * rgb, 1.055 * rgb ** (1 / 2.4) - 0.055)
    return table.astype(np.float32)


def _linear_rgb(
    lightness: NDArray[np.float64], chroma: NDArray[np.float64], hue: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Björn Ottosson's OKLab, back to linear light."""
    a, b = chroma * np.cos(hue), chroma * np.sin(hue)
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    middle = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    return np.stack(
        [
            4.0767416621 * long - 3.3077115913 * middle + 0.2309699292 * short,
            -1.2684380046 * long + 2.6097574011 * middle - 0.3413193965 * short,
            -0.0041960863 * long - 0.7034186147 * middle + 1.7076147010 * short,
        ],
        axis=1,
    )


def _enlarged(
    values: NDArray[np.float32], seen: NDArray[np.bool_], size: tuple[int, int]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The values at every pixel, flowing smoothly, and which pixels lie in a cell that was seen.

    Cells that were not seen take no part: their neighbours' values do not fade towards them.
    """
    down, across = _spread(values.shape[0], size[1]), _spread(values.shape[1], size[0]).T
    known = seen.astype(np.float32)
    weight = down @ known @ across
    field = (down @ (values * known) @ across) / np.maximum(weight, 1e-6)
    rows = np.arange(size[1]) * values.shape[0] // size[1]
    columns = np.arange(size[0]) * values.shape[1] // size[0]
    return field.astype(np.float32), seen[np.ix_(rows, columns)]


def _spread(cells: int, pixels: int) -> NDArray[np.float32]:
    places = (np.arange(pixels) + 0.5) * cells / pixels
    away = (places[:, None] - (np.arange(cells) + 0.5)) / SMOOTH
    weights = np.exp(-0.5 * away**2)
    shares: NDArray[np.float32] = (weights / weights.sum(1, keepdims=True)).astype(np.float32)
    return shares


def _hatched(grey: NDArray[np.floating]) -> NDArray[np.floating]:
    """Dark, with slanted lines: not a colour of the scale, nor its lack."""
    rows, columns = np.indices(grey.shape)
    lines = ((rows + columns) % 14 < 2).astype(np.float32)
    return np.repeat((grey * UNSEEN + 0.05 + 0.2 * lines)[..., None], 3, axis=2)


def _panel_size(width: int, height: int) -> tuple[int, int]:
    box = (2 * PANEL[0], PANEL[1]) if width > WIDE * height else PANEL
    scale = min(box[0] / width, box[1] / height, max(1.0, SMALLEST_SIDE / max(width, height)))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _strip(width: int, shown: Shown, *, hatched: bool) -> Image.Image:
    title, plain, small = Line(24), Line(17), Line(14)
    query = title.wrap(shown.query, width, 3)
    signals = list(shown.signals.items())[:SIGNAL_LINES]
    height = 24 + 34 * len(query) + 38 + 26 * len(signals) + (10 if signals else 0) + 36
    strip = Image.new("RGB", (width, height), GROUND)
    draw = ImageDraw.Draw(strip)
    y = 24.0
    for text in query:
        y += 24
        title.draw(draw, (0, y), text, TEXT)
        y += 10
    y += 24
    plain.draw(draw, (0, y), f"{round(100 * shown.match)} % match", TEXT)
    beside = plain.width(f"{round(100 * shown.match)} % match") + 16
    plain.draw(draw, (beside, y), f"score {shown.score:.3f}", QUIET)
    y += 14
    if signals:
        y += 10
    names = [small.wrap(signal_name(name), width * 0.4, 1) for name, _ in signals]
    end = min(width * 0.72, 520.0)
    room = max((small.width(name[0]) for name in names if name), default=0) + 16
    for name, (_, strength) in zip(names, signals, strict=True):
        y += 26
        small.draw(draw, (0, y - 8), name[0] if name else "", QUIET)
        _bar(draw, (room, y - 16, end, y - 10), strength)
        small.draw(draw, (end + 12, y - 8), f"{strength:.2f}", TEXT)
    _legend(strip, draw, small, y + 16, hatched=hatched)
    return strip


def _bar(draw: ImageDraw.ImageDraw, box: tuple[float, float, float, float], strength: float) -> None:
    left, top, right, bottom = box
    draw.rectangle(box, fill=LINE)
    full = left + (right - left) * min(1.0, max(0.0, strength))
    if full > left:
        draw.rectangle((left, top, full, bottom), fill=MARK)


def _legend(strip: Image.Image, draw: ImageDraw.ImageDraw, line: Line, top: float, *, hatched: bool) -> None:
    """The scale as it looks on a picture of one middle grey, and what its ends mean."""
    y = round(top)
    x = 0.0
    line.draw(draw, (x, y + 14), "unlike the query", QUIET)
    x += line.width("unlike the query") + 10
    ramp = np.tile(np.linspace(0, 1, 160, dtype=np.float32), (2, 1))
    ground = Image.new("L", (160, 16), 150)
    strip.paste(draw_heat(ground, ramp, np.ones(ramp.shape, np.bool_)), (round(x), y + 1))
    x += 170
    line.draw(draw, (x, y + 14), "like it", QUIET)
    x += line.width("like it") + 28
    if hatched:
        blank = np.zeros((1, 1), np.float32)
        swatch = draw_heat(Image.new("L", (28, 16), 150), blank, blank.astype(np.bool_))
        strip.paste(swatch, (round(x), y + 1))
        line.draw(draw, (x + 38, y + 14), "not seen by the model", QUIET)


def write_card(card: Image.Image, destination: Path) -> None:
    """Write a drawing as PNG, whole or not at all; a file that is none of ours is left alone."""
    if Path(os.path.realpath(destination)).suffix.lower() != ".png":
        raise RetrievalError(
            f"{safe_name(str(destination))} does not end in .png, and nothing else is written. "
            "Name one: -o why.png"
        )
    facts = PngInfo()
    facts.add_text("Software", MAKER)
    write_drawing(lambda stream: card.save(stream, "PNG", pnginfo=facts), destination, MAKER, "-o")
