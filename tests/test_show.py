"""How hits are shown: the table, pictures in the terminal, the gallery page."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import re
import subprocess
import sys
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from retrieval.errors import RetrievalError
from retrieval.show import graphics
from retrieval.show.gallery import write_gallery
from retrieval.show.lines import status_lines
from retrieval.show.table import cells, display_path, file_url, safe_name, shorten, write_paths, write_table
from retrieval.show.terminal import detect, preview
from retrieval.types import Hit, Status

if TYPE_CHECKING:
    from collections.abc import Callable

ESCAPES = re.compile(r"\x1b\[[\d;]*m|\x1b\]8;;[^\x1b]*\x1b\\")
HOSTILE = "\x1b]0;owned\x07 \u202egpj\n<img src=x onerror=alert(1)>\"' &amp; \udcff\x9b31m.jpg"


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def __init__(self, encoding: str = "utf-8") -> None:
        super().__init__()
        self._encoding = encoding

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._encoding

    def isatty(self) -> bool:
        return True


def hit(path: str | Path, rank: int = 1, **values: object) -> Hit:
    known = {"score": 0.31, "match": 0.75, "image_id": rank, "taken_at": "2021-07-03T10:11:12"}
    return Hit(rank=rank, path=Path(path), **{**known, **values})  # type: ignore[arg-type]


def drawing(width: int, height: int) -> Image.Image:
    image = Image.new("RGB", (width, height), (30, 90, 160))
    draw = ImageDraw.Draw(image)
    draw.ellipse((width // 8, height // 8, width // 2, height // 2), fill=(240, 200, 40))
    draw.rectangle(
        (width // 2, height // 2, max(width // 2, width - 3), max(height // 2, height - 3)),
        fill=(180, 30, 60),
    )
    return image


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, size in enumerate([(320, 240), (200, 300), (900, 300)]):
        drawing(*size).save(folder / f"{number}.png")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 not much of a picture")
    return folder


def harmless(text: str, *, newlines: int = 0) -> bool:
    return text.count("\n") == newlines and all(
        character == "\n" or character.isprintable() or character in "\u200c\u200d" or character.isspace()
        for character in text
    )


# Names


@given(st.binary(max_size=40).map(os.fsdecode) | st.text(max_size=40))
def test_no_name_reaches_the_terminal_with_a_character_that_acts(name: str) -> None:
    shown = safe_name(name)
    assert harmless(shown)
    assert not set(shown) & set("\x1b\r\n\t\x07\x9b\u2028\u2029\u202e\u2066\u200e")
    assert shown.encode("utf-8").decode("utf-8") == shown
    assert safe_name(name, encoding="ascii").isascii()


@pytest.mark.parametrize(
    "name", ["IMG 1.jpg", "Übung.png", "犬と雪.jpg", "नमस्ते.jpg", "👨\u200d👩\u200d👧.jpg", "9.41\u202fAM.png"]
)
def test_an_ordinary_name_is_shown_as_it_is(name: str) -> None:
    assert safe_name(name) == name


def test_what_is_hidden_in_a_name_becomes_visible() -> None:
    assert safe_name("a\nb\x1b[0m\u202e\udcff\x85") == "a\\nb\\x1b[0m\\u202e\\xff\\u0085"


@given(st.text(max_size=60), st.integers(1, 80))
def test_a_shortened_text_never_takes_more_columns_than_it_may(text: str, width: int) -> None:
    text = safe_name(text)
    short = shorten(text, width)
    assert cells(short) <= width
    assert cells(text) > width or short == text


def test_shortening_keeps_the_name_of_the_file() -> None:
    path = "/home/somebody/Pictures/2019/Winter holiday/IMG_20190103.jpg"
    assert shorten(path, 30).endswith("…/IMG_20190103.jpg")
    assert shorten(path, 12) == "IMG_2…03.jpg"


def test_a_path_is_shown_in_its_shortest_spelling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    assert display_path(str(tmp_path / "work" / "a.jpg")) == "a.jpg"
    assert display_path(str(tmp_path / "b.jpg")) == "~/b.jpg"
    assert display_path("/elsewhere/c.jpg") == "/elsewhere/c.jpg"


# Table


@pytest.mark.parametrize("width", range(20, 201))
def test_every_line_of_the_table_fits(width: int) -> None:
    rows = [
        hit("/a/very/long/folder/of/pictures/" + "n" * 60 + ".jpg"),
        hit("/犬/" + "雪" * 40 + ".jpg", 2, taken_at=None, match=0.049),
        hit("/x/" + HOSTILE, 10, score=-0.123, match=1.0),
    ]
    stream = Terminal()
    write_table(rows, stream, width=width, environ={"TERM": "xterm-kitty"})
    plain = ESCAPES.sub("", stream.getvalue())
    assert harmless(plain, newlines=4)
    lines = plain.splitlines()
    assert max(cells(line) for line in lines) <= width
    assert "75%" in lines[1]
    assert "100%" in lines[3]


def test_the_table_shows_what_is_known_of_each_hit() -> None:
    stream = Terminal()
    write_table(
        [hit("/p/a.jpg"), hit("/p/b.jpg", 2, taken_at=None)], stream, width=80, environ={"NO_COLOR": "1"}
    )
    title, first, second = stream.getvalue().splitlines()
    assert title.split() == ["#", "match", "score", "taken", "path"]
    assert first.split() == ["1", "██████", "75%", "0.310", "2021-07-03", "/p/a.jpg"]
    assert second.split() == ["2", "██████", "75%", "0.310", "/p/b.jpg"]


def test_nothing_but_text_goes_into_a_pipe_and_no_path_is_cut() -> None:
    path = "/p/" + "long" * 60 + ".jpg"
    stream = io.StringIO()
    write_table([hit(path)], stream, environ={"TERM": "xterm-kitty", "KITTY_WINDOW_ID": "1"})
    assert "\x1b" not in stream.getvalue()
    assert path in stream.getvalue()


def test_colours_and_links_follow_what_the_terminal_says() -> None:
    def written(**environ: str) -> str:
        stream = Terminal()
        write_table([hit("/p/a b\udcff.jpg")], stream, width=80, environ=environ)
        return stream.getvalue()

    assert "\x1b" not in written(TERM="dumb")
    assert "\x1b" not in written(TERM="xterm", NO_COLOR="1")
    assert "\x1b]8" not in written(TERM="xterm")
    assert "\x1b[" in written(TERM="xterm")
    assert "/p/a%20b%FF.jpg\x1b\\" in written(TERM="xterm-kitty")
    assert "\x1b]8" not in written(TERM="screen", KITTY_WINDOW_ID="1")


def test_a_terminal_that_speaks_only_ascii_gets_only_ascii() -> None:
    stream = Terminal("ascii")
    write_table([hit("/p/" + "Übung" * 20 + ".jpg")], stream, width=60, environ={})
    assert stream.getvalue().isascii()


def test_the_table_is_as_wide_as_the_terminal_says() -> None:
    path = "/p/" + "long/" * 60 + "a.jpg"
    for environ, width in (({}, 80), ({"COLUMNS": "50"}, 50), ({"COLUMNS": "none"}, 80)):
        stream = Terminal()
        write_table([hit(path)], stream, environ={**environ, "NO_COLOR": "1"})
        assert cells(stream.getvalue().splitlines()[1]) == width


def test_no_hits_write_nothing() -> None:
    stream = Terminal()
    write_table([], stream)
    assert stream.getvalue() == ""


@pytest.mark.parametrize("null", [False, True])
def test_paths_are_written_byte_for_byte(null: bool) -> None:
    raw = io.BytesIO()
    text = io.TextIOWrapper(raw, encoding="ascii")
    text.write("before\n")
    write_paths([hit("/a\udcff\n\x1b.jpg"), hit("/ü.jpg", 2)], text, null=null)
    end = b"\0" if null else b"\n"
    assert raw.getvalue() == b"before\n/a\xff\n\x1b.jpg" + end + "/ü.jpg".encode() + end


def test_the_table_imports_nothing_heavy() -> None:
    code = (
        "import sys, retrieval.show.table, retrieval.show.terminal, retrieval.show.gallery;"
        "print([m for m in ('PIL', 'numpy', 'rich', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# Pictures in the terminal


def read_kitty(text: str) -> Image.Image:
    parts = re.findall(r"\x1b_G([^;]*);([^\x1b]*)\x1b\\", text)
    assert all(len(payload) <= graphics.KITTY_CHUNK and "q=2" in keys for keys, payload in parts)
    more = [dict(key.split("=") for key in keys.split(","))["m"] for keys, _ in parts]
    assert more == ["1"] * (len(parts) - 1) + ["0"]
    return Image.open(io.BytesIO(base64.b64decode("".join(payload for _, payload in parts))))


def read_iterm2(text: str) -> Image.Image:
    found = re.search(r"\x1b\]1337;File=([^:]*):([^\x07]*)\x07", text)
    assert found
    data = base64.b64decode(found[2])
    assert f"size={len(data)};" in found[1]
    return Image.open(io.BytesIO(data))


def read_sixel(text: str) -> Image.Image:
    found = re.search(r'\x1bP0;1q"1;1;(\d+);(\d+)([^\x1b]*)\x1b\\', text)
    assert found
    width, height = int(found[1]), int(found[2])
    pixels = np.zeros((height + 6, width, 4), np.uint8)
    palette: dict[int, tuple[int, ...]] = {}
    colour, left, top = 0, 0, 0
    tokens = re.finditer(r"#(\d+)(?:;2;(\d+);(\d+);(\d+))?|!(\d+)([?-~])|([?-~])|([$-])", found[3])
    for token in tokens:
        number, red, green, blue, count, repeated, single, move = token.groups()
        if number:
            colour = int(number)
            if red:
                palette[colour] = tuple(round(int(level) * 2.55) for level in (red, green, blue))
        elif move:
            left, top = 0, top + (6 if move == "-" else 0)
        else:
            bits, length = ord(repeated or single) - 63, int(count or 1)
            for row in range(6):
                if bits >> row & 1:
                    pixels[top + row, left : left + length] = (*palette[colour], 255)
            left += length
            assert left <= width
    assert not pixels[height:].any()
    return Image.fromarray(pixels[:height])


def read_blocks(text: str, columns: int) -> Image.Image:
    lines = [line for line in text.split("\n") if "▀" in line or "▄" in line]
    pixels = np.zeros((2 * len(lines), columns, 4), np.uint8)
    for row, line in enumerate(lines):
        assert line.endswith("\x1b[0m")
        front = back = (0, 0, 0, 0)
        left = 0
        for style, sign in re.findall(r"\x1b\[([\d;]*)m|([▀▄ ])", line):
            if sign:
                pair = {"▀": (front, back), "▄": (back, front), " ": (back, back)}[sign]
                pixels[2 * row, left], pixels[2 * row + 1, left] = pair
                left += 1
                continue
            if style.startswith("0"):
                front = back = (0, 0, 0, 0)
            for place, value in re.findall(r"([34]8);(2;\d+;\d+;\d+|5;\d+)", style):
                front, back = (colour_of(value), back) if place == "38" else (front, colour_of(value))
    return Image.fromarray(pixels)


def colour_of(code: str) -> tuple[int, int, int, int]:
    kind, *values = (int(value) for value in code.split(";"))
    if kind == 2:
        return (values[0], values[1], values[2], 255)
    number = values[0] - 16
    if number >= 216:
        grey = 8 + 10 * (number - 216)
        return (grey, grey, grey, 255)
    levels = (0, 95, 135, 175, 215, 255)
    return (levels[number // 36], levels[number // 6 % 6], levels[number % 6], 255)


def distance(first: Image.Image, second: Image.Image, *, blur: int = 1) -> float:
    """Mean difference of colour, 0 to 255, where the first is opaque, after shrinking by `blur`."""
    assert first.size == second.size
    small = (max(1, first.width // blur), max(1, first.height // blur))
    box = Image.Resampling.BOX
    one, two = (np.asarray(image.convert("RGB").resize(small, box), float) for image in (first, second))
    return float(np.abs(one - two).mean())


def with_hole(image: Image.Image) -> Image.Image:
    seen = image.convert("RGBA")
    seen.paste((0, 0, 0, 0), (0, 0, image.width // 3, image.height // 3))
    return seen


def test_kitty_and_iterm2_carry_the_exact_picture() -> None:
    noise = np.random.default_rng(1).integers(0, 256, (90, 130, 4), dtype=np.uint8)
    image = Image.fromarray(noise)
    for decoded in (read_kitty(graphics.kitty(image, 13, 5)), read_iterm2(graphics.iterm2(image, 13, 5))):
        assert decoded.mode == "RGBA"
        assert np.array_equal(np.asarray(decoded), noise)


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (64, 48), (200, 131)])
def test_sixels_decode_back_to_the_picture(size: tuple[int, int]) -> None:
    image = drawing(*size).convert("RGBA") if min(size) < 8 else with_hole(drawing(*size))
    decoded = read_sixel(graphics.sixel(image))
    assert np.array_equal(np.asarray(decoded)[..., 3], np.asarray(image)[..., 3])
    assert distance(image, decoded) < 3


def test_sixels_of_a_transparent_picture_set_no_pixel() -> None:
    image = Image.new("RGBA", (20, 30))
    image.putpixel((3, 29), (255, 0, 0, 255))
    assert read_sixel(graphics.sixel(image)).getbbox() == (3, 29, 4, 30)
    assert read_sixel(graphics.sixel(Image.new("RGBA", (20, 30)))).getbbox() is None


def test_sixels_of_many_colours_stay_close_to_the_picture() -> None:
    across, down = np.meshgrid(np.arange(160), np.arange(120))
    image = Image.fromarray(np.stack([across * 255 // 160, down * 2, 255 - across], -1).astype(np.uint8))
    decoded = read_sixel(graphics.sixel(image.convert("RGBA")))
    assert distance(image, decoded, blur=4) < 4


@pytest.mark.parametrize(("true_colour", "limit"), [(True, 0.0), (False, 14.0)])
def test_half_blocks_decode_back_to_the_picture(true_colour: bool, limit: float) -> None:
    image = drawing(40, 24).convert("RGBA")
    lines = graphics.blocks(image, true_colour=true_colour)
    assert len(lines) == 12
    assert distance(image, read_blocks("\n".join(lines), 40), blur=4) <= limit


def test_half_blocks_leave_the_transparent_part_to_the_terminal() -> None:
    image = Image.new("RGBA", (3, 3))
    image.putpixel((0, 0), (1, 2, 3, 255))
    image.putpixel((1, 1), (4, 5, 6, 255))
    image.putpixel((2, 2), (7, 8, 9, 255))
    assert graphics.blocks(image, true_colour=True) == [
        "\x1b[0;38;2;1;2;3m▀\x1b[0;38;2;4;5;6m▄\x1b[0m",
        "  \x1b[0;38;2;7;8;9m▀\x1b[0m",
    ]


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"TERM": "xterm-256color"}, "blocks"),
        ({"TERM": "xterm-kitty", "KITTY_WINDOW_ID": "1"}, "kitty"),
        ({"TERM": "xterm-ghostty"}, "kitty"),
        ({"TERM": "xterm-256color", "KONSOLE_VERSION": "230801"}, "kitty"),
        ({"TERM": "xterm-256color", "KONSOLE_VERSION": "200401"}, "blocks"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "WezTerm"}, "iterm2"),
        ({"TERM": "xterm-256color", "LC_TERMINAL": "iTerm2"}, "iterm2"),
        ({"TERM": "foot"}, "sixel"),
        ({"TERM": "mlterm"}, "sixel"),
        ({"TERM": "xterm-256color", "WT_SESSION": "abc"}, "blocks"),
        ({"TERM": "tmux-256color", "TMUX": "/run/tmux", "KITTY_WINDOW_ID": "1"}, "blocks"),
        ({"TERM": "xterm-kitty", "TMUX": "/run/tmux"}, "blocks"),
        ({"TERM": "screen", "LC_TERMINAL": "iTerm2"}, "blocks"),
        ({"TERM": "dumb"}, "none"),
        ({"TERM": "dumb", "SEARCH_PREVIEW": "sixel"}, "sixel"),
        ({"TERM": "xterm-kitty", "SEARCH_PREVIEW": "Blocks "}, "blocks"),
    ],
)
def test_the_protocol_follows_the_environment(environ: dict[str, str], expected: str) -> None:
    assert detect(environ, Terminal()) == expected


def test_a_pipe_gets_blocks_and_a_stream_without_the_signs_gets_none() -> None:
    assert detect({"TERM": "xterm-kitty"}, io.StringIO()) == "blocks"
    assert detect({"TERM": "xterm"}, Terminal("ascii")) == "none"


def test_an_unknown_protocol_is_refused_with_the_known_ones() -> None:
    with pytest.raises(RetrievalError, match=r"SEARCH_PREVIEW.*kitty, iterm2, sixel, blocks"):
        detect({"SEARCH_PREVIEW": "ascii"}, Terminal())


@pytest.mark.parametrize("protocol", ["kitty", "iterm2", "sixel", "blocks"])
def test_a_preview_shows_the_picture_that_the_file_holds(protocol: str, photos: Path) -> None:
    stream = Terminal()
    preview(
        [hit(photos / "0.png")], stream, protocol=protocol, columns=33, environ={"COLORTERM": "truecolor"}
    )
    read: dict[str, Callable[[str], Image.Image]] = {
        "kitty": read_kitty,
        "iterm2": read_iterm2,
        "sixel": read_sixel,
        "blocks": partial(read_blocks, columns=32),
    }
    shown = read[protocol](stream.getvalue())
    box = shown.getbbox()
    assert box is not None
    picture = shown.crop(box)
    assert abs(picture.width / picture.height - 320 / 240) < 0.1
    with Image.open(photos / "0.png") as original:
        same = original.convert("RGBA").resize(picture.size, Image.Resampling.LANCZOS)
    assert distance(same, picture, blur=2) < 8
    assert "1  75%  " in ESCAPES.sub("", stream.getvalue())


@pytest.mark.parametrize("columns", [3, 20, 37, 80, 81, 132, 200])
def test_half_blocks_and_captions_fit_the_terminal(columns: int, photos: Path) -> None:
    stream = Terminal()
    rows = [hit(photos / f"{number % 3}.png", number) for number in range(1, 6)]
    preview(rows, stream, protocol="blocks", columns=columns, environ={"TERM": "xterm-kitty"})
    lines = ESCAPES.sub("", stream.getvalue()).splitlines()
    assert max(cells(line) for line in lines if columns >= 20 or "▀" in line) < columns


@pytest.mark.skipif(os.name == "nt", reason="needs a pseudo-terminal")
def test_sixels_stand_side_by_side_only_where_the_size_of_a_character_is_known(photos: Path) -> None:
    import fcntl
    import pty
    import struct
    import termios

    rows = [hit(photos / "0.png"), hit(photos / "0.png", 2)]
    leader, follower = pty.openpty()
    try:
        fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 800, 384))
        known = Terminal()
        known.fileno = lambda: follower  # type: ignore[method-assign]
        preview(rows, known, protocol="sixel", environ={"TERM": "foot"})
    finally:
        os.close(leader)
        os.close(follower)
    unknown = Terminal()
    preview(rows, unknown, protocol="sixel", columns=100, environ={"TERM": "foot"})
    assert known.getvalue().count("\x1bP") == 1
    assert unknown.getvalue().count("\x1bP") == 2
    strip = read_sixel(known.getvalue())
    # 99 columns of 8 pixels: two slots of 48 columns, two columns between.
    assert strip.width == (48 + 2 + 48) * 8
    drawn = np.flatnonzero(np.asarray(strip.getchannel("A")).max(axis=0))
    assert 400 in drawn
    assert not set(range(384, 400)) & set(drawn.tolist())


def test_pictures_that_cannot_be_shown_are_named_and_the_rest_goes_on(photos: Path) -> None:
    stream = Terminal()
    rows = [hit(photos / "gone.jpg"), hit(photos / "broken.jpg", 2), hit(photos / "2.png", 3)]
    preview(rows, stream, protocol="blocks", columns=60, environ={})
    text = ESCAPES.sub("", stream.getvalue())
    assert "cannot be shown: the file is gone" in text
    assert len(re.findall("cannot be shown", text)) == 2
    assert "▀" in text
    assert text.index("broken.jpg") < text.index("▀") < text.index("2.png")


@pytest.mark.parametrize("protocol", ["blocks", "none"])
def test_a_hostile_name_does_not_act_in_a_preview(protocol: str) -> None:
    stream = Terminal()
    preview([hit("/p/" + HOSTILE)], stream, protocol=protocol, columns=200, environ={"TERM": "xterm-kitty"})
    text = ESCAPES.sub("", stream.getvalue())
    assert harmless(text.replace("\n", ""))
    assert "\\x1b]0;owned\\x07 \\u202egpj\\n" in text


# Gallery


class Page(HTMLParser):
    """The elements of a page, checked to be properly nested."""

    VOID = frozenset({"meta", "img", "link", "br"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open:
            self.texts.setdefault(self._open[-1], []).append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def gallery(rows: list[Hit], folder: Path, query: str = "dogs") -> Page:
    target = folder / "page.html"
    write_gallery(rows, target, query=query)
    return Page(target.read_text(encoding="utf-8"))


def test_the_gallery_holds_every_picture_with_its_facts(photos: Path, tmp_path: Path) -> None:
    page = gallery([hit(photos / f"{number}.png", number + 1) for number in range(3)], tmp_path, "two dogs")
    pictures = [image for image in page.all("img") if image.get("src")]
    assert [image["alt"] for image in pictures] == ["0.png", "1.png", "2.png"]
    for image, size in zip(pictures, [(320, 240), (200, 300), (480, 160)], strict=True):
        source = image["src"]
        assert source is not None
        data = base64.b64decode(source.removeprefix("data:image/jpeg;base64,"))
        with Image.open(io.BytesIO(data)) as shown:
            assert (shown.format, shown.size) == ("JPEG", size)
    links = [link["href"] for link in page.all("a") if link.get("class") == "picture"]
    assert links == [file_url(str(photos / f"{number}.png")) for number in range(3)]
    assert page.texts["title"] == page.texts["h1"] == ["two dogs"]
    assert "3 pictures" in page.texts["p"][0]
    assert "2021-07-03" in page.texts["time"]
    assert "75% match" in page.texts["span"]


def test_the_gallery_names_nothing_outside_itself(photos: Path, tmp_path: Path) -> None:
    page = gallery([hit(photos / "0.png")], tmp_path)
    for _, attributes in page.elements:
        for name in ("src", "href", "srcset", "action", "poster"):
            value = attributes.get(name)
            assert value is None or value == "#" or value.startswith(("data:image/jpeg;base64,", "file:///"))
        assert not any(name.startswith("on") or name == "style" for name in attributes)
    for inline in page.texts["style"] + page.texts["script"]:
        assert not re.search(r"https?:|//\w|@import|url\(|fetch|XMLHttp|innerHTML|eval", inline)


def test_the_policy_of_the_gallery_allows_exactly_its_own_style_and_script(
    photos: Path, tmp_path: Path
) -> None:
    page = gallery([hit(photos / "0.png"), hit(photos / "1.png", 2)], tmp_path)
    (policy,) = (meta["content"] or "" for meta in page.all("meta") if "http-equiv" in meta)
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for tag in ("style", "script"):
        digest = hashlib.sha256("".join(page.texts[tag]).encode()).digest()
        assert f"{tag}-src 'sha256-{base64.b64encode(digest).decode()}'" in policy


def test_hostile_names_and_queries_stay_text_in_the_gallery(photos: Path, tmp_path: Path) -> None:
    name = HOSTILE.replace("/", "")
    (photos / "0.png").rename(photos / name)
    query = '</title><script>alert(1)</script>"\u202e$style \udcff'
    page = gallery([hit(photos / name), hit(photos / ("<b>" + name), 2)], tmp_path, query)
    assert len(page.all("script")) == 1
    assert len([image for image in page.all("img") if "onerror" in image]) == 0
    assert page.all("b") == []
    assert page.texts["title"] == ['</title><script>alert(1)</script>"\\u202e$style \\xff']
    assert page.texts["bdi"][0] == safe_name(name)
    assert "\u202e" not in (tmp_path / "page.html").read_text(encoding="utf-8")
    (link,) = (link["href"] for link in page.all("a") if link.get("class") == "picture")
    assert link == file_url(str(photos / name))
    assert link is not None
    assert "%FF" in link


def test_a_file_url_leads_back_to_the_exact_file() -> None:
    from urllib.parse import unquote_to_bytes

    path = os.fsdecode(b"/p/50% off #1?\xff\n\xc3\xbc.jpg")
    url = file_url(path)
    assert re.fullmatch(r"file:///[\w%./-]+", url)
    assert unquote_to_bytes(url.removeprefix("file://")) == os.fsencode(path)


def test_the_gallery_names_the_pictures_that_it_could_not_show(photos: Path, tmp_path: Path) -> None:
    rows = [hit(photos / "gone.jpg"), hit(photos / "1.png", 2), hit(photos / "broken.jpg", 3)]
    target = tmp_path / "page.html"
    failures = write_gallery(rows, target, query="dogs")
    assert [failure.path for failure in failures] == [rows[0].path, rows[2].path]
    page = Page(target.read_text(encoding="utf-8"))
    assert "3 pictures, 2 of them could not be shown" in page.texts["p"][0]
    assert page.texts["h2"] == ["Could not be shown"]
    assert page.texts["bdi"][-2:] == [str(rows[0].path), str(rows[2].path)]
    assert any("the file is gone" in text for text in page.texts["li"])
    assert len([image for image in page.all("img") if image.get("src")]) == 1


def test_an_empty_gallery_says_so(tmp_path: Path) -> None:
    page = gallery([], tmp_path)
    assert "No picture matches well enough." in page.texts["p"]


def test_a_gallery_is_replaced_by_a_newer_one_and_keeps_its_mode(photos: Path, tmp_path: Path) -> None:
    target = tmp_path / "page.html"
    write_gallery([hit(photos / "0.png")], target, query="first")
    target.chmod(0o600)
    write_gallery([hit(photos / "1.png")], target, query="second")
    assert "<title>second</title>" in target.read_text(encoding="utf-8")
    assert target.stat().st_mode & 0o777 == 0o600
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["page.html", "photos"]


@pytest.mark.parametrize("content", [b"", b"<html><p>my own page</p></html>", b"\xff\xd8\xff"])
def test_a_file_of_somebody_else_is_never_replaced(content: bytes, photos: Path, tmp_path: Path) -> None:
    target = tmp_path / "mine.html"
    target.write_bytes(content)
    link = tmp_path / "link.html"
    link.symlink_to(target)
    for destination in (target, link):
        with pytest.raises(RetrievalError, match="exists and is not a page"):
            write_gallery([hit(photos / "0.png")], destination, query="dogs")
    assert target.read_bytes() == content
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["link.html", "mine.html", "photos"]


def test_a_file_that_appears_while_the_page_is_made_is_kept(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from retrieval.show import gallery as module

    target = tmp_path / "page.html"
    made = module._page

    def slow(*arguments: object) -> object:
        target.write_text("somebody was quicker")
        return made(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "_page", slow)
    with pytest.raises(RetrievalError, match="exists and is not a page"):
        write_gallery([hit(photos / "0.png")], target, query="dogs")
    assert target.read_text() == "somebody was quicker"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["page.html", "photos"]


def test_a_place_where_no_page_can_be_written_is_one_sentence(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(RetrievalError, match="is not a file"):
        write_gallery([], tmp_path, query="dogs")
    with pytest.raises(RetrievalError, match=r"folder of .* does not exist"):
        write_gallery([], tmp_path / "no" / "page.html", query="dogs")
    with pytest.raises(RetrievalError, match=r"could not be written|cannot be looked at"):
        write_gallery([], tmp_path / ("n" * 300 + ".html"), query="dogs")


def test_status_tells_what_an_index_finds() -> None:
    encoder = {"model": "toy", "images": 9, "state": "complete", "active": True}

    def told(recall: float | None) -> str:
        status = Status("c", 9, 0, 0, 0, "toy", ({**encoder, "recall": recall},), (), "faiss", True, 1)
        return status_lines(status)[-1]

    assert told(0.9765) == "Store     faiss, fresh, finds 97.7% of the ten best"
    assert told(1.0) == told(None) == "Store     faiss, fresh"
