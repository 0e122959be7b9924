"""Text on pictures in whatever alphabet it comes, with Pillow alone.

Pillow's built-in typeface knows Latin; for other characters the fonts of the system are asked,
and what none of them can draw is shown as a replacement sign rather than as an empty box.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from PIL import ImageFont

from retrieval.show.table import safe_name

if TYPE_CHECKING:
    from PIL import ImageDraw

    Font = ImageFont.FreeTypeFont

SYSTEM_FONTS = (
    *("DejaVuSans.ttf", "NotoSans-Regular.ttf", "LiberationSans-Regular.ttf"),
    *("Arial Unicode.ttf", "arialuni.ttf", "segoeui.ttf", "Arial.ttf", "arial.ttf"),
    *("NotoSansCJK-Regular.ttc", "PingFang.ttc", "Hiragino Sans GB.ttc", "msyh.ttc", "YuGothM.ttc"),
    *(
        "malgun.ttf",
        "AppleSDGothicNeo.ttc",
        "wqy-microhei.ttc",
        "wqy-zenhei.ttc",
        "DroidSansFallbackFull.ttf",
    ),
    *("NotoSansArabic-Regular.ttf", "NotoSansHebrew-Regular.ttf", "NotoSansThai-Regular.ttf"),
    *("NotoSansDevanagari-Regular.ttf", "Nirmala.ttf", "mangal.ttf", "NotoSansBengali-Regular.ttf"),
    *("seguisym.ttf", "Apple Symbols.ttf", "Symbola.ttf", "unifont.ttf"),
)
"""Asked in this order, and only for characters that the built-in typeface has not."""
NOT_A_CHARACTER = "\U0010ffff"
REPLACEMENT = "?"
ELLIPSIS = "…"
ATTACHED = ("Mn", "Mc", "Me", "Cf")
"""Categories of what only changes the character before it: it is drawn in that one's font, or not at all."""
LONGEST = 600
"""Characters of a text that are looked at; more would not fit on any picture."""


class Line:
    """Text of one size that can be measured, broken into lines and drawn."""

    def __init__(self, size: int) -> None:
        self.size = size

    def width(self, text: str) -> float:
        return sum(font.getlength(run) for font, run in self._runs(text))

    def draw(self, draw: ImageDraw.ImageDraw, at: tuple[float, float], text: str, fill: str) -> None:
        """Draw from the left, `at` being the start of the base line."""
        x, y = at
        for font, run in self._runs(text):
            draw.text((x, y), run, fill=fill, font=font, anchor="ls")
            x += font.getlength(run)

    def wrap(self, text: str, width: float, lines: int) -> list[str]:
        """The text in at most `lines` lines no wider than `width`; what is left off leaves an ellipsis."""
        rest = unicodedata.normalize("NFC", " ".join(clean(text).split()))
        found: list[str] = []
        while rest and len(found) < lines:
            taken = self._fitting(rest, width)
            if taken < len(rest) and len(found) == lines - 1:
                return [*found, self._shortened(rest, width)]
            found.append(rest[:taken].rstrip())
            rest = rest[taken:].lstrip()
        return found

    def _fitting(self, text: str, width: float) -> int:
        """How many characters make a line: whole words where one fits at all."""
        if self.width(text) <= width:
            return len(text)
        low, high = 1, len(text)
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.width(text[:middle]) <= width else (low, middle - 1)
        space = text.rfind(" ", 0, low + 1)
        return space if space > 0 else low

    def _shortened(self, text: str, width: float) -> str:
        while text and self.width(text + ELLIPSIS) > width:
            text = text[: -max(1, len(text) // 16)].rstrip()
        return text + ELLIPSIS

    def _runs(self, text: str) -> Iterator[tuple[Font, str]]:
        """Pieces of the text, each in a font that has its characters."""
        run, font = "", _built_in(self.size)
        for character in text:
            if character.isspace():
                suited: Font | None = font
            elif unicodedata.category(character) in ATTACHED:
                if run[-1:] in ("", REPLACEMENT) or not _has(font, character):
                    continue
                suited = font
            else:
                suited = _font_for(character, self.size)
            if suited is None:
                suited, character = _built_in(self.size), REPLACEMENT
            if suited is not font and run:
                yield font, run
                run = ""
            run, font = run + character, suited
        if run:
            yield font, run


def clean(text: str) -> str:
    """The text without what acts instead of being seen, and not endlessly long."""
    return safe_name(text if len(text) <= LONGEST else text[:LONGEST] + ELLIPSIS)


@cache
def _built_in(size: int) -> Font:
    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise TypeError("Pillow was built without FreeType and cannot write on pictures")
    return font


@cache
def _system_font(name: str, size: int) -> Font | None:
    try:
        return ImageFont.truetype(name, size)
    except OSError:
        return None


@cache
def _missing_shape(font: Font) -> bytes:
    return bytes(font.getmask(NOT_A_CHARACTER))


@lru_cache(4096)
def _font_for(character: str, size: int) -> Font | None:
    if _has(_built_in(size), character):
        return _built_in(size)
    for name in SYSTEM_FONTS:
        font = _system_font(name, size)
        if font is not None and _has(font, character):
            return font
    return None


def _has(font: Font, character: str) -> bool:
    shape = font.getmask(character)
    return shape.getbbox() is not None and bytes(shape) != _missing_shape(font)
