"""Pictures as text that a terminal draws: kitty, iTerm2, sixel, or coloured half-blocks.

Each function takes an RGBA picture and returns the sequence that draws it at the cursor.
Transparent parts leave the terminal's own background as it is.
"""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

    Grid = NDArray[np.int64]

KITTY_CHUNK = 4096
SIXEL_COLOURS = 255
SIXEL_BAND = 6
"""Rows of pixels in one row of sixels."""

_CUBE = (0, 95, 135, 175, 215, 255)
_OPAQUE = 128
_SIGNS = [chr(63 + bits) for bits in range(64)]
_LINE_END = 64
"""A value that no six pixels have: it ends a colour's line and every run."""


def kitty(image: Image, columns: int, rows: int) -> str:
    """The kitty graphics protocol: PNG in base64 chunks, scaled by the terminal to `columns` × `rows`."""
    payload = base64.standard_b64encode(_png(image)).decode("ascii")
    chunks = [payload[start : start + KITTY_CHUNK] for start in range(0, len(payload), KITTY_CHUNK)]
    drawn = []
    for number, chunk in enumerate(chunks):
        more = int(number < len(chunks) - 1)
        # q=2 in every chunk: some terminals forget it, and an answer would be typed into the shell.
        keys = f"a=T,f=100,c={columns},r={rows},q=2,m={more}" if number == 0 else f"q=2,m={more}"
        drawn.append(f"\x1b_G{keys};{chunk}\x1b\\")
    return "".join(drawn)


def iterm2(image: Image, columns: int, rows: int) -> str:
    """The inline file of iTerm2: a whole PNG, scaled by the terminal to `columns` × `rows`."""
    png = _png(image)
    keys = f"inline=1;size={len(png)};width={columns};height={rows};preserveAspectRatio=0"
    return f"\x1b]1337;File={keys}:{base64.standard_b64encode(png).decode('ascii')}\x07"


def sixel(image: Image) -> str:
    """Sixels in up to 255 colours, pixel by pixel; a height that is a multiple of six fits exactly."""
    import numpy as np

    indices, palette = _quantised(image)
    height, width = indices.shape
    # P2=1: pixels that no colour sets stay as they are. The raster attributes give the exact size.
    drawn = [f'\x1bP0;1q"1;1;{width};{height}']
    for number, (red, green, blue) in enumerate(palette):
        drawn.append(f"#{number};2;{_hundredths(red)};{_hundredths(green)};{_hundredths(blue)}")
    across = np.arange(width)
    for top in range(0, height, SIXEL_BAND):
        band = indices[top : top + SIXEL_BAND]
        used = np.unique(band[band >= 0])
        slots = np.searchsorted(used, band)
        signs = np.zeros((len(used), width + 1), np.uint8)
        signs[:, width] = _LINE_END
        for row, slot in enumerate(slots):
            seen = band[row] >= 0
            signs[slot[seen], across[seen]] |= 1 << row
        drawn.append(_band(used.tolist(), signs) + "-")
    return "".join(drawn).removesuffix("-") + "\x1b\\"


def blocks(image: Image, *, true_colour: bool) -> list[str]:
    """One line of text for two rows of pixels: the upper half-block in two colours, one pixel a column."""
    import numpy as np

    if image.height % 2:
        image = image.crop((0, 0, image.width, image.height + 1))
    pixels = np.asarray(image)
    solid = (pixels[..., 3] >= _OPAQUE).tolist()
    codes = _true_codes(pixels) if true_colour else _codes_of_256(image)
    rows = range(0, len(codes), 2)
    return [_block_line(codes[row], codes[row + 1], solid[row], solid[row + 1]) for row in rows]


def _block_line(upper: list[str], lower: list[str], above: list[bool], below: list[bool]) -> str:
    drawn: list[str] = []
    current = ""
    for top, bottom, has_top, has_bottom in zip(upper, lower, above, below, strict=True):
        if has_top and has_bottom:
            sign, style = "▀", f"\x1b[38;{top};48;{bottom}m"
        elif has_top or has_bottom:
            sign, style = ("▀", f"\x1b[0;38;{top}m") if has_top else ("▄", f"\x1b[0;38;{bottom}m")
        else:
            sign, style = " ", "\x1b[0m" if current else ""
        if style != current:
            drawn.append(style)
            current = style if sign != " " else ""
        drawn.append(sign)
    return "".join(drawn).rstrip(" ") + ("\x1b[0m" if current else "")


def _true_codes(pixels: NDArray[np.uint8]) -> list[list[str]]:
    return [[f"2;{red};{green};{blue}" for red, green, blue, _ in row] for row in pixels.tolist()]


def _codes_of_256(image: Image) -> list[list[str]]:
    """Each pixel in the 6×6×6 cube and the grey ramp of 256-colour terminals, dithered.

    The cube has few dark colours: without dithering brown fur and green grass both turn grey.
    """
    import numpy as np
    from PIL import Image as Pillow

    cube = [level for red in _CUBE for green in _CUBE for blue in _CUBE for level in (red, green, blue)]
    greys = [level for step in range(24) for level in (8 + 10 * step,) * 3]
    palette = Pillow.new("P", (1, 1))
    palette.putpalette(cube + greys)
    dithered = image.convert("RGB").quantize(palette=palette, dither=Pillow.Dither.FLOYDSTEINBERG)
    return [[f"5;{16 + number}" for number in row] for row in np.asarray(dithered).tolist()]


def _quantised(image: Image) -> tuple[Grid, list[tuple[int, int, int]]]:
    """Palette indices, -1 where the picture is transparent, and the palette."""
    import numpy as np
    from PIL import Image as Pillow

    colour = image.convert("RGB")
    palette = colour.quantize(SIXEL_COLOURS, method=Pillow.Quantize.MEDIANCUT)
    dithered = colour.quantize(palette=palette, dither=Pillow.Dither.FLOYDSTEINBERG)
    flat = dithered.getpalette() or []
    colours = [(flat[at], flat[at + 1], flat[at + 2]) for at in range(0, len(flat), 3)]
    indices = np.asarray(dithered).astype(np.int64)
    solid = np.asarray(image.getchannel("A")) >= _OPAQUE
    indices[~solid] = -1
    return indices, colours[: int(indices.max(initial=-1)) + 1]


def _band(colours: list[int], signs: NDArray[np.uint8]) -> str:
    """One band, a line for each colour: runs of four and more shortened, empty ends left out."""
    import numpy as np

    if not colours:
        return ""
    flat = signs.ravel()
    starts = np.flatnonzero(np.diff(flat, prepend=np.uint8(255)))
    counts = np.diff(starts, append=len(flat))
    values = flat[starts]
    wanted = (values != 0) | (np.append(values[1:], _LINE_END) != _LINE_END)
    lines = [f"#{colour}" for colour in colours]
    line, parts = 0, lines[:1]
    for value, count in zip(values[wanted].tolist(), counts[wanted].tolist(), strict=True):
        if value == _LINE_END:
            line += 1
            if line < len(lines):
                parts.append("$" + lines[line])
        elif count > 3:
            parts.append(f"!{count}{_SIGNS[value]}")
        else:
            parts.append(_SIGNS[value] * count)
    return "".join(parts)


def _hundredths(level: int) -> int:
    return round(level * 100 / 255)


def _png(image: Image) -> bytes:
    target = io.BytesIO()
    image.save(target, "PNG", compress_level=6)
    return target.getvalue()
