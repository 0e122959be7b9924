"""Walking folders: what is listed, what is skipped, and that nothing blocks."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from indexer.scan import Scan, scan


def make(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def names(found: Scan, folder: Path) -> list[str]:
    return [os.path.relpath(os.fsdecode(file.path), folder) for file in found.files]


def walk(folder: Path, **options: object) -> list[str]:
    return names(scan(os.fsencode(folder), **options), folder)  # type: ignore[arg-type]


def test_pictures_of_every_ending_are_listed_in_order(tmp_path: Path) -> None:
    make(tmp_path, "b.JPG", "a.jpeg", "c/d.heic", "c.webp", "notes.txt", "movie.mp4", "noending", "z.avif")
    assert walk(tmp_path) == ["a.jpeg", "b.JPG", "c.webp", "c/d.heic", "z.avif"]


def test_hidden_and_system_folders_are_skipped(tmp_path: Path) -> None:
    make(
        tmp_path,
        "ok.jpg",
        ".hidden.jpg",
        ".git/a.jpg",
        "node_modules/a.jpg",
        "@eaDir/a.jpg",
        "x/.cache/a.jpg",
    )
    make(tmp_path, "Mac.photoslibrary/originals/0/a.jpg", "Mac.photoslibrary/resources/derivatives/a.jpg")
    assert walk(tmp_path) == ["Mac.photoslibrary/originals/0/a.jpg", "ok.jpg"]


def test_a_hidden_root_is_walked_when_it_is_named(tmp_path: Path) -> None:
    make(tmp_path / ".private", "a.jpg")
    assert walk(tmp_path / ".private") == ["a.jpg"]


def test_exclude_patterns_work_as_in_gitignore(tmp_path: Path) -> None:
    make(tmp_path, "a.jpg", "a.gif", "raw/b.jpg", "deep/raw/c.jpg", "deep/d.jpg")
    assert walk(tmp_path, exclude=["*.gif"]) == ["a.jpg", "deep/d.jpg", "deep/raw/c.jpg", "raw/b.jpg"]
    assert walk(tmp_path, exclude=["raw/"]) == ["a.gif", "a.jpg", "deep/d.jpg"]
    assert walk(tmp_path, exclude=["/raw"]) == ["a.gif", "a.jpg", "deep/d.jpg", "deep/raw/c.jpg"]


def test_ignore_file_holds_below_its_folder(tmp_path: Path) -> None:
    make(tmp_path, "keep.png", "sub/keep.png", "sub/drop.png", "sub/deeper/drop.png", "drop.png")
    (tmp_path / "sub" / ".searchignore").write_text("# drafts\ndrop.png\n")
    assert walk(tmp_path) == ["drop.png", "keep.png", "sub/keep.png"]


def test_links_are_followed_once_and_loops_end(tmp_path: Path) -> None:
    make(tmp_path / "tree", "a.jpg", "sub/b.jpg")
    make(tmp_path / "outside", "c.jpg")
    (tmp_path / "tree" / "0loop").symlink_to(tmp_path / "tree")
    (tmp_path / "tree" / "0sub").symlink_to(tmp_path / "tree" / "sub")
    (tmp_path / "tree" / "linked").symlink_to(tmp_path / "outside")
    (tmp_path / "tree" / "again.jpg").symlink_to(tmp_path / "tree" / "a.jpg")
    (tmp_path / "tree" / "dangling.jpg").symlink_to(tmp_path / "nowhere.jpg")
    (tmp_path / "outside" / "back").symlink_to(tmp_path / "tree")
    assert walk(tmp_path / "tree") == ["a.jpg", "linked/c.jpg", "sub/b.jpg"]


def test_link_to_a_single_picture_outside_is_listed(tmp_path: Path) -> None:
    make(tmp_path, "outside.jpg", "tree/a.jpg")
    (tmp_path / "tree" / "link.jpg").symlink_to(tmp_path / "outside.jpg")
    (tmp_path / "tree" / "second.jpg").symlink_to(tmp_path / "outside.jpg")
    assert walk(tmp_path / "tree") == ["a.jpg", "link.jpg"]


def test_pipes_sockets_and_folders_with_picture_names_are_no_pictures(tmp_path: Path) -> None:
    make(tmp_path, "a.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "folder.jpg").mkdir()
    os.symlink("/dev/zero", tmp_path / "device.jpg")
    with socket.socket(socket.AF_UNIX) as listener:
        here = os.getcwd()
        os.chdir(tmp_path)
        try:
            listener.bind("socket.jpg")
        finally:
            os.chdir(here)
        assert walk(tmp_path) == ["a.jpg"]


def test_raw_files_are_counted_when_they_cannot_be_read(tmp_path: Path) -> None:
    make(tmp_path, "a.jpg", "b.CR2", "c.nef")
    found = scan(os.fsencode(tmp_path))
    assert (names(found, tmp_path), found.raw_skipped) == (["a.jpg"], 2)
    assert len(scan(os.fsencode(tmp_path), raw=True).files) == 3


def test_unreadable_folder_is_reported_and_the_rest_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, "a.jpg", "locked/b.jpg", "z/c.jpg")
    real = os.scandir

    def scandir(path: bytes) -> object:
        if path.endswith(b"locked"):
            raise PermissionError
        return real(path)

    monkeypatch.setattr("indexer.scan.os.scandir", scandir)
    found = scan(os.fsencode(tmp_path))
    assert names(found, tmp_path) == ["a.jpg", "z/c.jpg"]
    assert found.unreadable == [os.fsencode(tmp_path / "locked")]


def test_deep_trees_do_not_exhaust_the_stack(tmp_path: Path) -> None:
    folder = tmp_path
    for _ in range(300):
        folder = folder / "d"
    make(folder, "a.jpg")
    assert len(scan(os.fsencode(tmp_path)).files) == 1


def test_stopping_ends_a_walk(tmp_path: Path) -> None:
    make(tmp_path, *(f"{number}/a.jpg" for number in range(50)))
    calls = iter(range(1000))
    assert len(scan(os.fsencode(tmp_path), stopped=lambda: next(calls) > 10).files) < 20
