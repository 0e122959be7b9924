"""Pictures of hits printed in the terminal, each with a line that says what it is.

Which protocol a terminal speaks is judged from the environment alone: asking the terminal
would take its answer out of what the person types. Where the judgement is wrong,
`SEARCH_PREVIEW` set to `kitty`, `iterm2`, `sixel`, `blocks` or `none` overrules it; `none`
prints only the lines.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

from retrieval.errors import RetrievalError
from retrieval.show import graphics
from retrieval.show.pictures import load_fitting
from retrieval.show.table import DEFAULT_COLUMNS, Surface, cells, percent, shorten
from retrieval.types import Failure

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from PIL.Image import Image

    from retrieval.types import Hit

PROTOCOLS = ("kitty", "iterm2", "sixel", "blocks", "none")

SLOT_CELLS = 38
"""A second picture goes into a row when each still has about this many columns."""
SLOTS = 4
SLOT_MOST_CELLS = 64
SLOT_MOST_ROWS = 18
GAP = 2
DEFAULT_CELL = (10, 20)
"""Pixels of a character where the terminal does not say: what sixel has meant since the VT340."""
SCALED_CELL = 12
"""Wider characters get their pictures enlarged by the terminal, to send less."""

_ITERM2_PROGRAMS = {"iTerm.app", "WezTerm", "mintty", "rio"}
_SIXEL_TERMS = ("foot", "mlterm", "contour", "yaft")


def detect(environ: Mapping[str, str], stream: TextIO) -> str:
    """The protocol to use for the stream, half-blocks wherever pictures are not certain.

    tmux, screen and zellij hand on the variables of the terminal that they were started in but not
    its pictures, so inside them it is half-blocks. VS Code and Windows Terminal draw pictures
    only in some versions and settings, and get half-blocks unless `SEARCH_PREVIEW` says otherwise.
    """
    named = environ.get("SEARCH_PREVIEW", "").strip().lower()
    if named:
        return _known(named, "SEARCH_PREVIEW")
    plain = "blocks" if Surface.of(stream, environ).says("▀▄") else "none"
    term, program = environ.get("TERM", ""), environ.get("TERM_PROGRAM", "")
    if term == "dumb":
        return "none"
    if any(environ.get(name) for name in ("TMUX", "STY", "ZELLIJ")) or term.startswith(("tmux", "screen")):
        return plain
    if not stream.isatty():
        return plain
    konsole = environ.get("KONSOLE_VERSION", "")
    if (
        environ.get("KITTY_WINDOW_ID")
        or term in ("xterm-kitty", "xterm-ghostty")
        or program == "ghostty"
        or (konsole.isdecimal() and int(konsole) >= 220400)
    ):
        return "kitty"
    if program in _ITERM2_PROGRAMS or environ.get("LC_TERMINAL") == "iTerm2" or environ.get("WEZTERM_PANE"):
        return "iterm2"
    if term.startswith(_SIXEL_TERMS) or "sixel" in term:
        return "sixel"
    return plain


def preview(
    hits: Iterable[Hit],
    stream: TextIO,
    *,
    protocol: str | None = None,
    columns: int | None = None,
    environ: Mapping[str, str] | None = None,
) -> None:
    """Print the pictures in rows that fit the terminal, each above its rank, match and path.

    A picture that is gone or broken leaves its place empty and says so below; the rest goes on.
    """
    env = os.environ if environ is None else environ
    drawing = detect(env, stream) if protocol is None else _known(protocol, "the protocol")
    surface = Surface.of(stream, env)
    found = list(hits)
    layout = _Layout.of(drawing, stream, columns or surface.columns or DEFAULT_COLUMNS, len(found))
    for start in range(0, len(found), layout.slots):
        row = found[start : start + layout.slots]
        pictures = [] if drawing == "none" else [load_fitting(str(hit.path), layout.box) for hit in row]
        text = _captions(row, pictures, layout, surface)
        strip = layout.strip(pictures)
        if strip is not None:
            text = _drawn(strip, drawing, layout, true_colour=_true_colour(env)) + text
        # In one piece, so that an interrupt cannot stop inside a sequence.
        stream.write(text + "\n" if drawing != "none" else text)
        stream.flush()


@dataclass(frozen=True, slots=True)
class _Layout:
    """How many pictures stand in a row, and the pixels that each may take."""

    slots: int
    slot: int
    words: int
    """Columns of a caption: those of its slot, or of the whole line where it stands alone."""
    cell: tuple[int, int]
    step: int
    """The height of a row of pictures is a multiple of this many pixels."""

    @classmethod
    def of(cls, drawing: str, stream: TextIO, columns: int, pictures: int) -> _Layout:
        # One column stays free: a picture that touches the edge makes some terminals wrap.
        usable = max(2, columns - 1)
        slots = max(1, min(SLOTS, pictures, (usable + GAP) // (SLOT_CELLS + GAP)))
        slot = min(SLOT_MOST_CELLS, (usable - GAP * (slots - 1)) // slots)
        if drawing == "none":
            slots = 1
        words = usable if slots == 1 else slot
        if drawing in ("blocks", "none"):
            return cls(slots, slot, words, (1, 2), 2)
        known = _cell_pixels(stream)
        width, height = known or DEFAULT_CELL
        if drawing == "sixel":
            if known is None:
                # Sixels are pixels: with a guessed width a second picture would miss its caption.
                slots, slot, words = 1, min(SLOT_MOST_CELLS, usable), usable
            return cls(slots, slot, words, (width, height), graphics.SIXEL_BAND)
        shrink = math.ceil(width / SCALED_CELL)
        cell = (max(1, width // shrink), max(1, height // shrink))
        return cls(slots, slot, words, cell, cell[1])

    @property
    def box(self) -> tuple[int, int]:
        width, height = self.cell
        wide = self.slot * width
        tall = min(SLOT_MOST_ROWS * height, round(wide * 0.75))
        return wide, max(self.step, tall // self.step * self.step)

    def strip(self, pictures: Sequence[Image | Failure]) -> Image | None:
        """The pictures side by side on a transparent ground, each at the left of its slot."""
        from PIL import Image

        tallest = max((picture.height for picture in pictures if not isinstance(picture, Failure)), default=0)
        if tallest == 0:
            return None
        wide = (self.slot + GAP) * self.cell[0]
        width = wide * (len(pictures) - 1) + self.slot * self.cell[0]
        ground = Image.new("RGBA", (width, math.ceil(tallest / self.step) * self.step))
        for place, picture in enumerate(pictures):
            if not isinstance(picture, Failure):
                ground.paste(picture.convert("RGBA"), (place * wide, 0))
        return ground


def _drawn(strip: Image, drawing: str, layout: _Layout, *, true_colour: bool) -> str:
    if drawing == "blocks":
        return "".join(f"{line}\n" for line in graphics.blocks(strip, true_colour=true_colour))
    if drawing == "sixel":
        return graphics.sixel(strip) + "\n"
    columns, rows = strip.width // layout.cell[0], strip.height // layout.cell[1]
    draw = graphics.kitty if drawing == "kitty" else graphics.iterm2
    return draw(strip, columns, rows) + "\n"


def _captions(row: list[Hit], pictures: Sequence[Image | Failure], layout: _Layout, surface: Surface) -> str:
    lines, notes = "", ""
    for place, hit in enumerate(row):
        gap = " " * GAP if place else ""
        label = f"{hit.rank}  {percent(hit.match)}  "
        name = surface.fit(str(hit.path), max(1, layout.words - len(label)))
        end = " " * (layout.words - len(label) - cells(name))
        lines += gap + surface.paint(label, "36") + surface.dress(name, str(hit.path)) + end
        picture = pictures[place] if pictures else None
        note = f"cannot be shown: {picture.detail}" if isinstance(picture, Failure) else ""
        note = shorten(note, layout.words, ellipsis=surface.ellipsis)
        notes += gap + surface.paint(note, "33") + " " * (layout.words - cells(note))
    return "".join(f"{line.rstrip()}\n" for line in (lines, notes) if line.strip())


def _true_colour(environ: Mapping[str, str]) -> bool:
    term = environ.get("TERM", "")
    return (
        environ.get("COLORTERM", "").lower() in ("truecolor", "24bit")
        or bool(environ.get("WT_SESSION"))
        or term.endswith("-direct")
        or term.startswith(("xterm-kitty", "xterm-ghostty", "foot", "alacritty", "contour", "linux"))
        or environ.get("TERM_PROGRAM", "") in _ITERM2_PROGRAMS | {"vscode", "ghostty"}
    )


def _cell_pixels(stream: TextIO) -> tuple[int, int] | None:
    """Width and height of one character in pixels, where the terminal's driver knows them."""
    try:
        import fcntl
        import struct
        import termios

        answer = fcntl.ioctl(stream.fileno(), termios.TIOCGWINSZ, bytes(8))
    except (ImportError, OSError, ValueError):
        return None
    rows, columns, width, height = struct.unpack("HHHH", answer)
    if not (rows and columns and width >= columns and height >= rows):
        return None
    return width // columns, height // rows


def _known(name: str, what: str) -> str:
    if name in PROTOCOLS:
        return name
    raise RetrievalError(f"{what} is {name!r}: it can be {', '.join(PROTOCOLS)}.")
