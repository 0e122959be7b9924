"""What a power cut must not take back, and what a kill in between must not leave in the way."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from retrieval.describing.replacing import NotReplacedError, create, read_original, replace
from retrieval.flushing import make_folder
from tests.browsing import ROOT
from tests.torture import shim

needs_shim = pytest.mark.skipif(bool(shim.unavailable()), reason=shim.unavailable())


def calls(folder: Path, log: Path, code: str) -> list[tuple[str, str]]:
    """What a piece of Python does to a folder."""
    environment = {**os.environ, **shim.environment(folder, log=log)}
    subprocess.run([sys.executable, "-c", code, str(folder)], cwd=ROOT, env=environment, check=True)
    return [(one.call, os.path.relpath(one.path, folder)) for one in shim.records(log)]


@needs_shim
def test_each_new_folder_is_flushed_into_the_one_it_is_in(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    code = "import sys; from pathlib import Path; from retrieval.flushing import make_folder; "
    code += "make_folder(Path(sys.argv[1], 'a', 'b')); make_folder(Path(sys.argv[1], 'a', 'b'))"
    assert calls(tmp_path / "disk", tmp_path / "log", code) == [
        ("mkdir", "a"),
        ("fsync", "."),
        ("mkdir", "a/b"),
        ("fsync", "a"),
    ]


@needs_shim
@pytest.mark.parametrize("kind", ["page", "drawing", "export"])
def test_a_file_is_flushed_before_it_gets_its_name_and_its_folder_after(tmp_path: Path, kind: str) -> None:
    code = {
        "page": "from retrieval.show.page import write_page; write_page(folder / 'it', lambda: ('<p>', 1))",
        "drawing": "from retrieval.show.drawings import write_drawing; "
        "write_drawing(lambda out: out.write(b'x'), folder / 'it', 'us', '--plot')",
        "export": "from retrieval.encoders.exports import new_folder\n"
        "with new_folder(folder / 'it') as new: (new / 'file').write_bytes(b'x')",
    }[kind]
    (tmp_path / "disk").mkdir()
    code = f"import sys; from pathlib import Path; folder = Path(sys.argv[1])\n{code}"
    done = calls(tmp_path / "disk", tmp_path / "log", code)
    (named,) = [number for number, (call, _) in enumerate(done) if call == "rename"]
    written = max(number for number, (call, _) in enumerate(done) if call == "write")
    assert ("fsync", done[written][1]) in done[written:named]
    if kind != "export":  # which is a cache, and may be gone
        assert ("fsync", ".") in done[named:]


def test_a_folder_that_is_there_is_left_as_it_is(tmp_path: Path) -> None:
    make_folder(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        make_folder(tmp_path / "file")
    with pytest.raises(NotADirectoryError):
        make_folder(tmp_path / "file" / "inside")


def test_the_second_name_that_a_kill_left_does_not_stand_in_the_way(tmp_path: Path) -> None:
    file, left = tmp_path / "alt.json", tmp_path / ".search-0123456789abcdef.tmp"
    create(file, b"old")
    os.link(file, left)
    replace(read_original(file, most=100), b"new")
    assert file.read_bytes() == b"new"
    assert not left.exists()


def test_a_second_name_of_a_persons_own_is_never_taken_away(tmp_path: Path) -> None:
    file, other = tmp_path / "alt.json", tmp_path / "mine.tmp"
    create(file, b"old")
    os.link(file, other)
    with pytest.raises(NotReplacedError, match="several names"):
        replace(read_original(file, most=100), b"new")
    assert file.read_bytes() == other.read_bytes() == b"old"


def test_folders_are_made_for_nobody_else(tmp_path: Path) -> None:
    make_folder(tmp_path / "data" / "catalog")
    for folder in (tmp_path / "data", tmp_path / "data" / "catalog"):
        assert folder.stat().st_mode & 0o077 == 0


def test_the_folder_of_a_link_that_leads_nowhere_yet_is_made(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "disk" / "catalog")
    make_folder(tmp_path / "link")
    assert (tmp_path / "disk" / "catalog").is_dir()
    make_folder(tmp_path / "link")
