"""File names are any bytes: indexed, printed harmlessly by every command, and exact for programs."""

from __future__ import annotations

import base64
import csv
import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from indexer import index_folder
from retrieval import Catalog
from tests.browsing import ROOT
from tests.conftest import draw
from tests.torture.bad_files import NAMES

FOLDERS = (b"\x1b[31m red\n", "\u202eback\u2066".encode(), b"--limit", b"caf\xe9")


def odd_paths(folder: Path) -> list[bytes]:
    root = os.fsencode(folder)
    below = [os.path.join(root, name) for name in FOLDERS]
    return [os.path.join(below[number % 4], name + b".png") for number, name in enumerate(NAMES)]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[bytes]]:
    """A catalog of pictures with the oddest names, two that are no pictures, and texts beside some."""
    folder = tmp_path_factory.mktemp("odd")
    paths = odd_paths(folder / "photos")
    for number, path in enumerate(paths):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        plain = draw(folder / "plain.png", "red", mark=number)
        os.replace(plain, path)
    shutil.copyfile(paths[0], paths[0][:-4] + b" again.png")
    for name in (b"bro\x1b[2Jken\n\xff.jpg", "\u202ecod.jpg".encode()):
        with open(os.path.join(os.path.dirname(paths[0]), name), "wb") as file:
            file.write(b"no picture")
    for path in paths:
        with open(path[:-4] + b".txt", "wb") as file:
            file.write(b"=a \x1b[2J text \xe2\x80\xae beside it\n")
    report = index_folder(folder / "catalog", folder / "photos", model="toy", workers=1)
    assert (report.added, report.failed) == (len(paths) + 1, 2)
    return folder, paths


@pytest.fixture
def odd(made: tuple[Path, list[bytes]], tmp_path: Path) -> tuple[Path, Path, list[bytes]]:
    """A copy of that catalog to write into, the folder of the pictures, and their paths."""
    shutil.copytree(made[0] / "catalog", tmp_path / "catalog")
    return tmp_path / "catalog", made[0] / "photos", made[1]


def harm(shown: bytes) -> set[str]:
    """What in the bytes a terminal or a reader would act on, or that is no UTF-8."""
    text = shown.decode("utf-8", "surrogateescape")
    return {
        repr(character)
        for character in text
        if character != "\n"
        and (
            unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")
            or character
            in "\u061c\u200b\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff"
        )
    }


P = "the picture"
COMMANDS = [
    ("find", "red", "--all", "-k", "100"),
    ("find", "red", "--all", "-k", "100", "--explain"),
    ("find", "nothing like it", "--min-match", "1"),
    ("find", "red", "--in", "the folder"),
    ("find", "red", "--in", "\x1b[31m\nno folder\u202e"),
    ("find", "\x1b[31m\u202ered", "--all"),
    ("find", '"\x1b]0;x\x07', "--all"),
    ("find", "./\x1b[31m\udcff.png", "--all"),
    ("similar", P),
    ("similar", "no \x1b[31m\n\udcff such.png"),
    ("match", P),
    ("ask", "how many red pictures are there?"),
    ("ask", "show me \x1b[31m red \udcff \u202e"),
    ("describe", P),
    ("describe", "\x1b[31m\udcff"),
    ("tag",),
    ("tag", "list"),
    ("explain", "red", P),
    ("dupes",),
    ("groups",),
    ("texts", "list"),
    ("texts", "add", "no\x1b[2J\udcff.txt"),
    ("concepts", "list"),
    ("feedback", "list"),
    ("status",),
    ("failures",),
    ("doctor",),
    ("rebuild",),
    ("gc",),
    ("eval", "\x1b[31m\udcff.jsonl"),
    ("models",),
    ("no\x1b[31m-command\udcff",),
    ("find", "--no\x1b[31m-option\udcff"),
    ("index", "\x1b[31m\udcff\n"),
    ("index", "the folder"),
    ("forget", P),
    ("forget", "the folder"),
    ("status", "--catalog", "\x1b[31m/no\udcff\n"),
]


@pytest.mark.parametrize(
    "words", COMMANDS, ids=lambda words: " ".join(words).encode("ascii", "replace").decode()
)
def test_no_command_prints_what_a_terminal_would_act_on(
    odd: tuple[Path, Path, list[bytes]], search: Callable[..., Result], words: tuple[str, ...]
) -> None:
    catalog, photos, paths = odd
    stands_for = {P: os.fsdecode(paths[0]), "the folder": str(photos)}
    arguments = [stands_for.get(word, word) for word in words]
    place = () if words[0] == "models" or "--catalog" in words else ("--catalog", str(catalog))
    result = search(*arguments, *place)
    assert result.exit_code in (0, 1, 2)
    assert (harm(result.stdout_bytes), harm(result.stderr_bytes)) == (set(), set())
    if result.exit_code:
        assert result.stderr.strip()


def lines(output: bytes) -> list[dict[str, Any]]:
    """Of JSON: a name may hold what Python, but not JSON, takes for the end of a line."""
    return [json.loads(line) for line in output.split(b"\n") if line]


def exact(row: dict[str, Any]) -> bytes:
    return base64.b64decode(row["path_b64"]) if "path_b64" in row else str(row["path"]).encode()


def test_every_name_is_found_and_exact_for_programs(
    odd: tuple[Path, Path, list[bytes]], search: Callable[..., Result]
) -> None:
    catalog, _, paths = odd
    wanted = {*paths, paths[0][:-4] + b" again.png"}
    asked = ("find", "red", "--all", "-k", 1000, "--catalog", catalog)
    rows = lines(search(*asked, "--json").stdout_bytes)
    assert {exact(row) for row in rows} == wanted
    # A name that is not UTF-8, and no other, comes in base64 too.
    assert all(("path_b64" in row) == bool(re.search("[\ud800-\udfff\ufffd]", row["path"])) for row in rows)
    assert set(search(*asked, "--paths", "-0").stdout_bytes.split(b"\0")) == {*wanted, b""}
    failed = lines(search("failures", "--json", "--catalog", catalog).stdout_bytes)
    assert {os.path.basename(exact(row)) for row in failed} == {
        b"bro\x1b[2Jken\n\xff.jpg",
        "\u202ecod.jpg".encode(),
    }
    assert lines(search("dupes", "--json", "--catalog", catalog).stdout_bytes)


@pytest.mark.parametrize("command", ["find", "similar", "describe", "forget"])
def test_every_name_can_be_given_to_a_command(odd: tuple[Path, Path, list[bytes]], command: str) -> None:
    """As a shell gives it: its bytes, after `--` where it looks like an option."""
    catalog, _, paths = odd
    path = next(path for path in paths if b"caf\xe9 \xff" in path)
    ran = subprocess.run(
        [sys.executable, "-m", "cli", command, *(["--all", "-k", "1000"] if command == "find" else ["-k", "1000"] if command == "similar" else []),
         "--json", "--catalog", str(catalog), "--", path],
        cwd=ROOT, capture_output=True, check=False,
    )  # fmt: skip
    assert (ran.returncode, harm(ran.stderr)) == (0, set())
    rows = lines(ran.stdout)
    if command == "forget":
        assert rows == [{"forgotten": 1}]
    else:
        found = {exact(row) for row in rows}
        # What is like a picture is not that picture.
        assert path not in found if command == "similar" else path in found
        assert found <= {*paths, paths[0][:-4] + b" again.png"} != set()


def test_names_on_a_page_are_text_and_nothing_else(
    odd: tuple[Path, Path, list[bytes]], search: Callable[..., Result], tmp_path: Path
) -> None:
    catalog, *_ = odd
    page = tmp_path / "\udcff\x1b[31m page.html"
    result = search("find", "red", "--all", "-k", 100, "--html", page, "--catalog", catalog)
    assert (result.exit_code, harm(result.stderr_bytes)) == (0, set())
    written = page.read_bytes()
    assert harm(written) <= {"'\\t'"}
    assert b"<img src=x onerror" not in written


def test_lists_of_alt_texts_hold_each_name_once(
    odd: tuple[Path, Path, list[bytes]], search: Callable[..., Result], tmp_path: Path
) -> None:
    catalog, _, paths = odd
    for name in ("alt.csv", "alt.json"):
        result = search(
            "describe", "--library", "--again", "--alt-text", tmp_path / name, "--catalog", catalog
        )
        assert (result.exit_code, harm(result.stderr_bytes)) == (0, set()), result.stderr
    rows = list(csv.DictReader(io.StringIO((tmp_path / "alt.csv").read_text("utf-8-sig"), newline="")))
    objects = json.loads((tmp_path / "alt.json").read_bytes())
    objects = objects if isinstance(objects, list) else objects["images"]
    assert len(rows) == len(objects) == len(paths)
    assert {exact(row) for row in objects} == set(paths)
    # A spreadsheet runs what begins like a formula.
    assert [row for row in rows for value in row.values() if value and value[0] in "=@\t\r"] == []


@pytest.fixture
def odd_things(tmp_path: Path) -> Iterator[Path]:
    """A folder with what is no picture file, whatever its name says, and one picture."""
    folder = tmp_path / "things"
    draw(folder / "real.png", "red")
    os.mkfifo(folder / "pipe.jpg")
    os.symlink("/dev/zero", folder / "device.jpg")
    os.symlink("/proc/self/mem", folder / "memory.jpg")
    os.symlink("loop.jpg", folder / "loop.jpg")
    os.symlink(".", folder / "again")
    os.symlink("..", folder / "above")
    os.mkdir(folder / "folder.jpg")
    os.symlink("/proc/self/environ", folder / "proc.png")
    with open(folder / "sparse.tif", "wb") as file:
        file.truncate(1 << 40)
    # The path of a socket is short.
    here = os.open(folder, os.O_RDONLY)
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(f"/proc/self/fd/{here}/socket.jpg")
    yield folder
    listening.close()
    os.close(here)


def test_what_is_no_file_is_passed_over_and_what_is_too_large_is_not_read(
    odd_things: Path, index: Callable[..., Any], tmp_path: Path
) -> None:
    report = index(odd_things)
    assert report.added == 1
    with Catalog(tmp_path / "catalog") as opened:
        reasons = {failure.path.name: failure.reason for failure in opened.failures()}
    assert reasons.pop("sparse.tif") == "too-large"
    # Such a file has no size, whatever it holds.
    assert reasons.pop("memory.jpg", "unreadable") == "unreadable"
    assert set(reasons.items()) <= {
        ("proc.png", "changed"),
        ("proc.png", "empty"),
        ("proc.png", "not-an-image"),
    }


def test_a_tree_deeper_than_a_path_may_be_does_not_stop_the_rest(
    tmp_path: Path, index: Callable[..., Any]
) -> None:
    top = draw(tmp_path / "deep" / "top.png", "red").parent
    name, at = "d" * 200, os.open(top, os.O_RDONLY)
    for _ in range(30):
        os.mkdir(name, dir_fd=at)
        below = os.open(name, os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    with open(os.open("deep.png", os.O_WRONLY | os.O_CREAT, dir_fd=at), "wb") as file:
        file.write((top / "top.png").read_bytes())
    os.close(at)
    notes: list[str] = []
    report = index(top, progress=lambda step, figures: notes.append(str(figures)) if step == "note" else None)
    assert report.added == 1
    assert any("cannot be read" in note for note in notes)
    assert index(top).unchanged == 1


def test_files_and_folders_that_go_away_during_the_walk_cost_nothing_else(
    tmp_path: Path, index: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = tmp_path / "going"
    for number in range(20):
        draw(photos / f"{number:02}" / "a.png", "red", mark=number)
    scandir = os.scandir

    def vanishing(path: Any) -> Any:
        if isinstance(path, bytes) and path.endswith(b"/05"):
            shutil.rmtree(photos / "06")
            os.unlink(photos / "02" / "a.png")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", vanishing)
    report = index(photos)
    monkeypatch.undo()
    assert (report.added, report.failed) == (18, 0)


def test_the_api_and_assistants_get_every_name_exactly(odd: tuple[Path, Path, list[bytes]]) -> None:
    from fastapi.testclient import TestClient

    from retrieval.mcp import create_server
    from retrieval.server import create_app
    from tests.test_mcp import call, data

    place, _, paths = odd
    wanted = {*paths, paths[0][:-4] + b" again.png"}
    with Catalog(place) as catalog:
        with TestClient(create_app(catalog)) as web:
            answer = web.get("/api/v1/search", params={"q": "red", "limit": 100, "all": "true"})
            assert answer.status_code == 200, answer.text
            assert {exact(row) for row in answer.json()["hits"]} == wanted
        hits = data(call(create_server(catalog), "search_images", query="red", limit=50))["hits"]
        assert {exact(row) for row in hits} <= wanted
        assert len(hits) >= 10
