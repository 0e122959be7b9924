"""How much of a picture is each of eleven basic colours, and which of them a query asks for."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from PIL import Image

COLOURS = ("black", "white", "grey", "red", "orange", "yellow", "green", "blue", "purple", "pink", "brown")
BLACK, WHITE, GREY, RED, ORANGE, YELLOW, GREEN, BLUE, PURPLE, PINK, BROWN = range(len(COLOURS))
SIDE = 64
LEVELS = 32
"""Steps a channel is cut into; 32,768 colours are told apart in all."""

SPELLINGS = {
    **{name: index for index, name in enumerate(COLOURS)},
    "gray": GREY,
    "violet": PURPLE,
    "golden": YELLOW,
    "beige": BROWN,
    "tan": BROWN,
    "crimson": RED,
    "scarlet": RED,
    "turquoise": BLUE,
    "navy": BLUE,
}
# A colour that is part of a thing's name says little about the pixels.
NAMES_OF_THINGS = re.compile(
    r"\b(?:(?:black|brown|white) bears?|red (?:panda|fox|wine|wolf)\w*|white (?:wine|house|shark)s?"
    r"|green (?:tea|house|card)s?|(?:gr[ae]y|white|timber) wol(?:f|ves)|golden (?:retriever|gate|eagle)s?"
    r"|black (?:widow|swan|board)s?|yellow pages|blue (?:jay|whale|jeans?)s?|brown sugar"
    r"|orange (?:juice|tree|peel|slice)s?|white ?boards?|black ?boards?|tan lines?|great white)\b"
)
# "an orange" is a fruit; before another word ("an orange cat") it is a colour.
FRUIT = re.compile(r"\boranges\b|(?:^|\b(?:an|the|one|and|or)\s+)orange(?=$|\s+(?:and|or|on|in|with)\b)")
# What a share means. Printed by benchmarks/calibrate_starter.py: the mean shares over the photos of the
# development set, as good as `USUAL_COUNT` pictures of the catalog's own.
USUAL = np.array(
    [0.151, 0.2, 0.265, 0.035, 0.024, 0.054, 0.063, 0.091, 0.002, 0.016, 0.206], dtype=np.float32
)
USUAL_COUNT = 30
# A share as small as `FAINT` is noise; and where next to nothing is pink, a picture without pink is still
# not what was asked for, so that a usual share counts as `LEAST_USUAL` at the least.
FAINT, LEAST_USUAL = 0.01, 0.05
GREY_IS_WHITE = 0.4
COLOUR_WEIGHT, COLOUR_BIAS = 1.0, -1.0

NOT = re.compile(r"\b(?:not|no|without|non)[\s-]+(?:\w+[\s-]+)?$")


def colour_fractions(image: Image.Image) -> NDArray[np.float16]:
    """The share of each of `COLOURS` in an RGB picture, the middle counting more than the edges."""
    from PIL.Image import Resampling

    small = np.asarray(image.resize((SIDE, SIDE), Resampling.BOX)) // (256 // LEVELS)
    kinds = _colour_of()[small[..., 0], small[..., 1], small[..., 2]]
    shares = np.bincount(kinds.ravel(), _centre_weight(), len(COLOURS))
    return shares.astype(np.float16)


def asked_colours(text: str) -> list[int]:
    """Indices of the colours that a query asks for: none in most queries, nor in "red wine"."""
    lowered = FRUIT.sub(" ", NAMES_OF_THINGS.sub(" ", text.lower()))
    found = []
    for word in re.finditer(r"[a-z]+", lowered):
        index = SPELLINGS.get(word[0])
        if index is not None and index not in found and not NOT.search(lowered[: word.start()]):
            found.append(index)
    return found


def colour_evidence(
    wanted: Sequence[int], colours: NDArray[np.float16], sample: NDArray[np.float16]
) -> NDArray[np.float32]:
    """The log-odds that pictures have the colours asked for, beside the pictures of a sample.

    A picture with as much of the colour as is usual in the catalog gets `COLOUR_BIAS`, less than
    nothing, for most pictures of a thing show it in another colour.
    """
    usual = (seen(sample, wanted).sum(0) + USUAL_COUNT * USUAL[wanted]) / (len(sample) + USUAL_COUNT)
    ratios = np.log((seen(colours, wanted) + FAINT) / (np.maximum(usual, LEAST_USUAL) + FAINT))
    evidence: NDArray[np.float32] = COLOUR_WEIGHT * ratios.mean(1) + COLOUR_BIAS
    return evidence


def seen(colours: NDArray[np.float16], wanted: Sequence[int]) -> NDArray[np.float32]:
    """How much of each wanted colour a person would see: white things are mostly grey in the pixels."""
    shares = colours.astype(np.float32)
    shares[:, WHITE] += GREY_IS_WHITE * shares[:, GREY]
    return shares[:, list(wanted)]


@cache
def _centre_weight() -> NDArray[np.float64]:
    offset = np.linspace(-0.5, 0.5, SIDE)
    weight = np.exp(-(offset[:, None] ** 2 + offset[None, :] ** 2) / 0.12).ravel()
    shares: NDArray[np.float64] = weight / weight.sum()
    return shares


@cache
def _colour_of() -> NDArray[np.uint8]:
    """A table [red, green, blue] in `LEVELS` steps: which of `COLOURS` people would say."""
    step = (np.arange(LEVELS, dtype=np.float32) + 0.5) / LEVELS
    red, green, blue = np.meshgrid(step, step, step, indexing="ij")
    value = np.maximum(np.maximum(red, green), blue)
    chroma = value - np.minimum(np.minimum(red, green), blue)
    saturation = chroma / value
    width = np.maximum(chroma, 1e-6)
    hue = 60 * np.select(
        [value == red, value == green],
        [((green - blue) / width) % 6, (blue - red) / width + 2],
        (red - green) / width + 4,
    )
    names = np.select(
        [hue < 14, hue < 40, hue < 68, hue < 165, hue < 262, hue < 315, hue < 345],
        [RED, ORANGE, YELLOW, GREEN, BLUE, PURPLE, PINK],
        RED,
    )
    reddish = (hue < 14) | (hue >= 345)
    names = np.where((hue >= 8) & (hue < 48) & ((value < 0.62) | (saturation < 0.5)), BROWN, names)
    names = np.where(reddish & (saturation < 0.5) & (value > 0.6), PINK, names)
    colourless = (saturation < 0.16) | (chroma < 0.07)
    names = np.where(colourless, np.where(value > 0.82, WHITE, GREY), names)
    dark = (value < 0.18) | (colourless & (value < 0.25))
    return np.where(dark, BLACK, names).astype(np.uint8)
