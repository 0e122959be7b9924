"""Walking folders: what is listed, what is skipped, and that nothing blocks."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from indexer.changes import compare
from indexer.found import SeenFiles
from indexer.scan import MAX_IGNORE_FILE, Scan, scan
from retrieval.db.reads import FileRow
from retrieval.errors import QueryError
from retrieval.images import read_file
from retrieval.types import clamped_ns
from tests.preparers import make_task


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


def test_folders_and_files_whose_names_begin_alike_come_in_the_order_of_their_paths(tmp_path: Path) -> None:
    make(tmp_path, "a0.jpg", "a-1.jpg", "a/x.jpg", "a/x/1.jpg", "a.jpg", "a.d/y.jpg", "z.jpg")
    listed = walk(tmp_path)
    assert listed == sorted(listed, key=os.fsencode)
    assert len(listed) == 7


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


@pytest.mark.parametrize("pattern", ["!", "\\", "[z-a]", "/", "#recycle"])
def test_an_exclusion_that_would_leave_out_nothing_is_refused(tmp_path: Path, pattern: str) -> None:
    make(tmp_path, "a.jpg")
    with pytest.raises(QueryError, match=re.escape(f"'{pattern}' is no pattern")):
        walk(tmp_path, exclude=["*.gif", pattern])


def test_an_empty_exclusion_leaves_out_nothing(tmp_path: Path) -> None:
    make(tmp_path, "a.jpg", "b.gif")
    assert walk(tmp_path, exclude=["", " ", "*.gif"]) == ["a.jpg"]


def test_a_bad_line_of_an_ignore_file_is_noted_and_the_others_hold(tmp_path: Path) -> None:
    make(tmp_path, "sub/keep.png", "sub/drop.png", "sub/last.png")
    ignore = tmp_path / "sub" / ".searchignore"
    ignore.write_text("# drafts\n\ndrop.png\n!\n[z-a]\nlast.png\n")
    found = scan(os.fsencode(tmp_path))
    assert (names(found, tmp_path), found.unreadable) == (["sub/keep.png"], [])
    assert found.notes == [f"{ignore}: 2 lines are no patterns, line 4 first; the other lines hold."]
    ignore.write_text("drop.png\n!\n")
    assert scan(os.fsencode(tmp_path)).notes == [f"{ignore}: line 2 is no pattern; the other lines hold."]
    ignore.write_text("# drafts\n\ndrop.png\n")
    assert scan(os.fsencode(tmp_path)).notes == []


def pipe(path: Path) -> None:
    os.mkfifo(path)


def link_to_pipe(path: Path) -> None:
    os.mkfifo(path.with_name("pipe"))
    path.symlink_to("pipe")


def link_to_memory(path: Path) -> None:
    path.symlink_to("/proc/self/mem")


def link_to_nowhere(path: Path) -> None:
    path.symlink_to("nowhere")


def folder(path: Path) -> None:
    path.mkdir()


def huge_file(path: Path) -> None:
    path.write_bytes(b"#" * MAX_IGNORE_FILE + b"\n*\n")


@pytest.mark.parametrize("kind", [pipe, link_to_pipe, link_to_memory, link_to_nowhere, folder, huge_file])
def test_a_folder_whose_ignore_file_cannot_be_read_is_left_as_it_was(
    tmp_path: Path, kind: Callable[[Path], None]
) -> None:
    make(tmp_path, "a.jpg", "sub/b.jpg", "sub/deep/c.jpg", "z/d.jpg")
    kind(tmp_path / "sub" / ".searchignore")
    found = scan(os.fsencode(tmp_path))
    assert (names(found, tmp_path), found.unreadable) == (
        ["a.jpg", "z/d.jpg"],
        [os.fsencode(tmp_path / "sub")],
    )
    (note,) = found.notes
    assert note.startswith(f"{tmp_path / 'sub' / '.searchignore'}: ")


def test_an_ignore_file_that_must_not_be_opened_does_not_end_the_walk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, "a.jpg", "sub/b.jpg")
    (tmp_path / "sub" / ".searchignore").write_text("b.jpg\n")

    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.open", refuse)
    found = scan(os.fsencode(tmp_path))
    assert (names(found, tmp_path), found.unreadable) == (["a.jpg"], [os.fsencode(tmp_path / "sub")])
    assert "Permission denied" in found.notes[0]


def row(path: Path) -> FileRow:
    return FileRow(1, os.fsencode(path), 1, 1, b"hash", False)


def test_pictures_behind_a_link_whose_disk_is_away_are_not_gone(tmp_path: Path) -> None:
    make(tmp_path, "tree/a.jpg", "disk/b.jpg")
    tree = tmp_path / "tree"
    (tree / "linked").symlink_to(tmp_path / "disk")
    assert walk(tree) == ["a.jpg", "linked/b.jpg"]
    (tmp_path / "disk").rename(tmp_path / "away")
    found = scan(os.fsencode(tree))
    assert (names(found, tree), found.unreadable) == (["a.jpg"], [os.fsencode(tree / "linked")])
    assert not compare(found, [row(tree / "linked" / "b.jpg")], {}).gone


def test_excluded_links_to_nowhere_are_not_reported(tmp_path: Path) -> None:
    make(tmp_path, "a.jpg")
    (tmp_path / "linked").symlink_to("nowhere")
    assert scan(os.fsencode(tmp_path), exclude=["linked"]).unreadable == []


def test_picture_links_to_nowhere_are_kept_apart(tmp_path: Path) -> None:
    make(tmp_path, "a.jpg")
    for name in ("dangling.jpg", "dangling.cr2", "hidden.jpg"):
        (tmp_path / name).symlink_to("nowhere.jpg")
    found = scan(os.fsencode(tmp_path), exclude=["hidden.jpg"])
    assert (names(found, tmp_path), found.unreadable) == (["a.jpg"], [])
    assert found.dangling == [os.fsencode(tmp_path / name) for name in ("dangling.cr2", "dangling.jpg")]


@pytest.mark.parametrize("seconds", [13_000_000_000, -13_000_000_000])
def test_file_times_fit_in_64_bits(tmp_path: Path, seconds: int) -> None:
    make(tmp_path, "tree/a.jpg", "b.jpg")
    for path in (tmp_path / "tree" / "a.jpg", tmp_path / "b.jpg"):
        os.utime(path, (seconds, seconds))
    (tmp_path / "tree" / "link.jpg").symlink_to(tmp_path / "b.jpg")
    kept = (tmp_path / "b.jpg").stat().st_mtime_ns  # not every file system keeps what it was told
    found = scan(os.fsencode(tmp_path / "tree")).files
    assert [file.mtime_ns for file in found] == [clamped_ns(kept)] * 2
    assert read_file(tmp_path / "b.jpg").mtime_ns == clamped_ns(kept)
    assert make_task(str(tmp_path / "b.jpg")).mtime_ns == clamped_ns(kept)


def test_times_beyond_64_bits_stop_at_the_ends() -> None:
    assert [clamped_ns(ns) for ns in (-(1 << 63), 5, 1 << 63)] == [-(2**63 - 1), 5, 2**63 - 1]


def test_a_tree_reached_through_two_roots_is_listed_once(tmp_path: Path) -> None:
    make(tmp_path, "outside.jpg", "tree/sub/a.jpg", "other/c.jpg")
    (tmp_path / "tree" / "link.jpg").symlink_to(tmp_path / "outside.jpg")
    (tmp_path / "other" / "link.jpg").symlink_to(tmp_path / "outside.jpg")
    (tmp_path / "other" / "sub").symlink_to(tmp_path / "tree" / "sub")
    (tmp_path / "alias").symlink_to(tmp_path / "tree")
    folders: set[tuple[int, int]] = set()
    files = SeenFiles()
    listed = [
        walk(tmp_path / root, seen_folders=folders, seen_files=files) for root in ("tree", "other", "alias")
    ]
    assert listed == [["link.jpg", "sub/a.jpg"], ["c.jpg"], []]
    assert walk(tmp_path / "alias") == ["link.jpg", "sub/a.jpg"]


def test_link_out_of_the_folder_to_what_is_around_it_is_not_followed(tmp_path: Path) -> None:
    make(tmp_path, "private/secret.jpg", "shared/a.jpg", "elsewhere/b.jpg")
    (tmp_path / "shared" / "up").symlink_to("..")
    (tmp_path / "shared" / "other").symlink_to(tmp_path / "elsewhere")
    assert walk(tmp_path / "shared") == ["a.jpg", "other/b.jpg"]
