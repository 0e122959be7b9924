"""The table of hits for a terminal, and the names that may be printed there.

A file name is whatever bytes somebody chose: it can hold newlines, escape sequences that
drive the terminal, or marks that turn the direction of the text. `safe_name` is the only way
by which a name reaches a terminal; `write_paths` is for programs and changes nothing.
"""

from __future__ import annotations

import contextlib
import os
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import IO, TYPE_CHECKING, TextIO, cast

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from retrieval.types import Hit

BAR_CELLS = 8
DEFAULT_COLUMNS = 80
PATH_CELLS = 24
"""Other columns make way until the path has at least this much room."""

SIGNALS = {
    "picture": "picture",
    "name": "file name",
    "folder": "folder name",
    "described": "title, description or keywords",
    "told": "its texts, word for word",
    "caption": "its texts, by meaning",
    "seen": "text in the picture",
    "feedback": "your feedback",
    "feedback against": "your feedback against it",
}
"""How the signals of a hit are called."""

_NAMED_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_JOINERS = "\u200c\u200d"
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_LINKING_PROGRAMS = {"iTerm.app", "WezTerm", "ghostty", "vscode", "Hyper", "Tabby", "rio", "mintty"}
_LINKING_TERMS = ("xterm-kitty", "xterm-ghostty", "foot", "alacritty", "contour", "wezterm")


def safe_name(path: str, *, encoding: str = "utf-8") -> str:
    """The name as it may be printed: what could disturb a terminal or the reader is written as an escape.

    Control characters, direction marks, line separators and everything else that has no shape
    become `\\n`, `\\x1b`, `\\u202e`; a byte that is not UTF-8 becomes `\\xff`; so does what
    `encoding` cannot say. Joiners stay, because emoji and several scripts need them.
    """
    if path.isascii() and path.isprintable():
        return path
    shown = "".join(_shown(character) for character in path)
    return shown.encode(encoding, "backslashreplace").decode(encoding)


def display_path(path: str) -> str:
    """The path in its shortest usual spelling: from the current folder, from `~`, or whole."""
    spellings = [path]
    with contextlib.suppress(RuntimeError):  # no home folder
        home = str(Path.home())
        if home != os.sep and path.startswith(home + os.sep):
            spellings.append("~" + path[len(home) :])
    with contextlib.suppress(FileNotFoundError):  # the current folder was deleted
        here = str(Path.cwd())
        if here != os.sep and path.startswith(here + os.sep) and not path.startswith(here + os.sep + "~"):
            spellings.append(path[len(here) + 1 :])
    return min(spellings, key=len)


def cells(text: str) -> int:
    """How many columns a terminal takes for the text, rather too many than too few."""
    if text.isascii():
        return len(text)
    return sum(_cells_of(character) for character in text)


def shorten(text: str, width: int, *, ellipsis: str = "…") -> str:
    """The text in at most `width` columns, cut in the middle so that the file's own name stays."""
    if cells(text) <= width:
        return text
    room = width - cells(ellipsis)
    if room <= 0:
        return ellipsis[:width]
    name = text[text.rfind("/") + 1 :]
    if cells(name) >= room:
        # No room for a folder: of a long name the start and the ending are the telling parts.
        if cells(name) <= width:
            return name
        end = _first_cells(name[::-1], (room + 1) // 2)[::-1]
        return _first_cells(name, room - cells(end)) + ellipsis + end
    start = text.rfind("/")
    while (wider := text.rfind("/", 0, start)) >= 0 and cells(text[wider:]) <= room * 2 // 3:
        start = wider
    return _first_cells(text, room - cells(text[start:])) + ellipsis + text[start:]


def file_url(path: str, *, host: str = "") -> str:
    """The `file://` URL of an absolute path, exact also for names that are not UTF-8."""
    if os.name == "nt":
        return PureWindowsPath(path).as_uri()
    from urllib.parse import quote_from_bytes

    return f"file://{host}{quote_from_bytes(os.fsencode(path), safe='/')}"


@dataclass(frozen=True, slots=True)
class Surface:
    """What a stream can show, judged from the stream and the environment alone."""

    encoding: str
    colour: bool
    links: bool
    columns: int | None
    """None where lines may be as long as they like: a file or a pipe."""

    @classmethod
    def of(cls, stream: TextIO, environ: Mapping[str, str] | None = None) -> Surface:
        env = os.environ if environ is None else environ
        terminal = stream.isatty()
        speaks = terminal and env.get("TERM") != "dumb"
        if os.name == "nt":
            speaks = speaks and any(
                env.get(name) for name in ("WT_SESSION", "TERM_PROGRAM", "ANSICON", "TERM")
            )
        return cls(
            encoding=getattr(stream, "encoding", None) or "utf-8",
            colour=speaks and not env.get("NO_COLOR"),
            links=speaks and _links(env),
            columns=_columns_of(stream, env) if terminal else None,
        )

    @property
    def ellipsis(self) -> str:
        return "…" if self.says("…") else ".."

    def says(self, text: str) -> bool:
        """Whether the stream's encoding has all of these characters."""
        try:
            text.encode(self.encoding)
        except UnicodeEncodeError:
            return False
        return True

    def paint(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour and text else text

    def link(self, text: str, path: str) -> str:
        """The text as a link to the file, where the terminal is known to understand links."""
        if not self.links:
            return text
        # With the machine's name a terminal can tell a file over ssh from one of its own.
        host = os.uname().nodename if hasattr(os, "uname") else ""
        return f"\x1b]8;;{file_url(path, host=host)}\x1b\\{text}\x1b]8;;\x1b\\"

    def fit(self, path: str, width: int | None) -> str:
        """The path as plain text for this surface: safe, short, at most `width` columns."""
        text = safe_name(display_path(path), encoding=self.encoding)
        return text if width is None else shorten(text, width, ellipsis=self.ellipsis)

    def dress(self, text: str, path: str) -> str:
        """What `fit` returned, linked to its file, and its folder quieter than its name."""
        cut = text.rfind("/") + 1
        return self.link(self.paint(text[:cut], "2") + text[cut:], path)


def write_table(
    hits: Iterable[Hit],
    stream: TextIO,
    *,
    width: int | None = None,
    environ: Mapping[str, str] | None = None,
    explain: bool = False,
) -> None:
    """Write one line a hit: rank, match, score, day and path, within `width` columns.

    Without `width` it is the terminal's; on a pipe or a file nothing is cut short. On a
    narrow terminal score, bar and day leave in this order. With `explain` a second line tells
    what spoke for the hit. Nothing is written for no hits.
    """
    rows = list(hits)
    if not rows:
        return
    surface = Surface.of(stream, environ)
    limit = width if width is not None else surface.columns
    columns = _columns(rows, surface, limit)
    room = None if limit is None else max(1, limit - sum(size + 2 for _, size in columns))
    stream.write(surface.paint("".join(_title(kind, size) for kind, size in columns) + "path", "2") + "\n")
    for hit in rows:
        cell = "".join(_cell(kind, size, hit, surface) + "  " for kind, size in columns)
        stream.write(cell + surface.dress(surface.fit(str(hit.path), room), str(hit.path)) + "\n")
        if explain:
            stream.write(surface.paint("     " + signals(hit), "2") + "\n")


def signal_name(name: str) -> str:
    """How a signal is called for a person; a term of a sum goes by its own words."""
    return SIGNALS.get(name, name)


def signals(hit: Hit) -> str:
    """What spoke for a hit, strongest first: "picture 61%, file name 70%"."""
    named = sorted(hit.signals.items(), key=lambda item: -item[1])
    parts = [f"{safe_name(signal_name(name))} {percent(value)}" for name, value in named]
    if hit.rerank_score is not None:
        parts.append(f"reranker {hit.rerank_score:.3f}")
    return ", ".join(parts)


def write_paths(hits: Iterable[Hit], stream: IO[str] | IO[bytes], *, null: bool = False) -> None:
    """Write the exact bytes of each hit's path, ended by a newline or, with `null`, by a zero byte.

    A text stream is written through its binary buffer. Only `null` keeps apart names that
    themselves hold a newline.
    """
    stream.flush()
    raw = cast("IO[bytes]", getattr(stream, "buffer", stream))
    end = b"\0" if null else b"\n"
    for hit in hits:
        raw.write(os.fsencode(str(hit.path)) + end)
    raw.flush()


def percent(match: float) -> str:
    return f"{round(100 * min(1.0, max(0.0, match)))}%"


def day(hit: Hit) -> str:
    """The day the picture was taken, or an empty text; the file's own time is no such day."""
    return safe_name(hit.taken_at[:10]) if hit.taken_at and hit.taken_source != "file-mtime" else ""


def bar(match: float, size: int) -> str:
    """A bar of `size` columns, in steps of an eighth of a column."""
    eighths = round(min(1.0, max(0.0, match)) * size * 8)
    full, rest = divmod(eighths, 8)
    return ("█" * full + (_EIGHTHS[rest] if rest else "")).ljust(size)


def _columns(rows: list[Hit], surface: Surface, limit: int | None) -> list[tuple[str, int]]:
    sizes = {"rank": max(len(str(hit.rank)) for hit in rows), "match": 5}
    if limit is not None and surface.says(_EIGHTHS):
        sizes["bar"] = BAR_CELLS
    sizes["score"] = max(len(f"{hit.score:.3f}") for hit in rows)
    if any(day(hit) for hit in rows):
        sizes["taken"] = 10
    for optional in ("score", "bar", "taken"):
        longest = PATH_CELLS if limit is None else limit - sum(size + 2 for size in sizes.values())
        if longest < PATH_CELLS:
            sizes.pop(optional, None)
    order = ("rank", "bar", "match", "score", "taken")
    return [(kind, sizes[kind]) for kind in order if kind in sizes]


def _title(kind: str, size: int) -> str:
    title = {"rank": "#", "bar": "", "match": "match", "score": "score", "taken": "taken"}[kind]
    return (title.ljust(size) if kind == "taken" else title.rjust(size)) + "  "


def _cell(kind: str, size: int, hit: Hit, surface: Surface) -> str:
    if kind == "rank":
        return surface.paint(str(hit.rank).rjust(size), "2")
    if kind == "bar":
        return surface.paint(bar(hit.match, size), "36")
    if kind == "match":
        return percent(hit.match).rjust(size)
    if kind == "score":
        return surface.paint(f"{hit.score:.3f}".rjust(size), "2")
    return day(hit).ljust(size)


def _columns_of(stream: TextIO, env: Mapping[str, str]) -> int:
    # Not shutil.get_terminal_size: its import brings the archive formats, and it asks another stream.
    named = env.get("COLUMNS", "")
    if named.isdecimal() and int(named) > 0:
        return int(named)
    try:
        return os.get_terminal_size(stream.fileno()).columns or DEFAULT_COLUMNS
    except (OSError, ValueError):
        return DEFAULT_COLUMNS


def _links(env: Mapping[str, str]) -> bool:
    if env.get("TMUX") or env.get("TERM", "").startswith(("tmux", "screen")):
        # tmux hands links on since 3.4; screen never does.
        found = re.match(r"(\d+)\.(\d+)", env.get("TERM_PROGRAM_VERSION", ""))
        return (
            env.get("TERM_PROGRAM") == "tmux"
            and found is not None
            and tuple(map(int, found.groups())) >= (3, 4)
        )
    vte = env.get("VTE_VERSION", "")
    return (
        any(env.get(name) for name in ("KITTY_WINDOW_ID", "WT_SESSION", "KONSOLE_VERSION", "DOMTERM"))
        or env.get("TERM_PROGRAM") in _LINKING_PROGRAMS
        or env.get("TERM", "").startswith(_LINKING_TERMS)
        or (vte.isdecimal() and int(vte) >= 5000)
    )


def _shown(character: str) -> str:
    if character.isprintable() or character in _JOINERS or unicodedata.category(character) == "Zs":
        return character
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if character in _NAMED_ESCAPES:
        return _NAMED_ESCAPES[character]
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def _cells_of(character: str) -> int:
    if character == "\ufe0f":
        # The mark that asks for an emoji's shape widens the sign before it.
        return 1
    if unicodedata.combining(character) or unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1


def _first_cells(text: str, width: int) -> str:
    used = 0
    for position, character in enumerate(text):
        used += _cells_of(character)
        if used > width:
            return text[:position]
    return text
