"""What cannot be seen is not gone: disks that are away, folders that lost too much, errors while walking."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from indexer import IndexReport
from retrieval import Catalog
from retrieval.errors import CatalogError
from tests.browsing import ROOT
from tests.conftest import draw, json_lines, python

Index = Callable[..., IndexReport]
COLOURS = ("red", "green", "blue", "yellow", "white")


def fill(folder: Path, count: int, *, start: int = 0) -> Path:
    for number in range(start, start + count):
        draw(folder / f"{number:03}.png", COLOURS[number % 5], mark=number + 1)
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Thirty pictures: ten in each of three folders."""
    for number, name in enumerate(("a", "b", "c")):
        fill(tmp_path / "root" / name, 10, start=10 * number)
    return tmp_path / "root"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "catalog"


def visible(place: Path) -> set[str]:
    with closing(sqlite3.connect(place / "catalog.db")) as rows:
        found = rows.execute("SELECT path FROM images WHERE missing_at IS NULL")
        return {f"{Path(os.fsdecode(path)).parent.name}/{Path(os.fsdecode(path)).name}" for (path,) in found}


def everything(place: Path) -> list[Any]:
    with closing(sqlite3.connect(place / "catalog.db")) as rows:
        tables = ("images", "embeddings", "failures", "texts", "roots")
        return [rows.execute(f"SELECT * FROM {name} ORDER BY 1, 2").fetchall() for name in tables]


def long_ago(place: Path) -> None:
    """As if the pictures had been indexed an hour after their folders last changed."""
    with closing(sqlite3.connect(place / "catalog.db")) as rows:
        rows.execute("UPDATE images SET indexed_at = indexed_at + 3600")
        rows.commit()


def heard(index: Index, *folders: Path, **options: Any) -> tuple[IndexReport, list[str]]:
    notes: list[str] = []

    def progress(step: str, figures: dict[str, Any]) -> None:
        if step == "note":
            notes.append(figures["text"])

    return index(*folders, progress=progress, **options), notes


def test_more_than_half_missing_is_left_and_the_rest_is_done(root: Path, place: Path, index: Index) -> None:
    index(root)
    shutil.rmtree(root / "a")
    shutil.rmtree(root / "b")
    draw(root / "c" / "new.png", "cyan", mark=200)
    report, notes = heard(index, root)
    assert (report.added, report.missing, report.held, report.unchanged) == (1, 0, 20, 10)
    assert len(visible(place)) == 31
    (note,) = [text for text in notes if "not there any more" in text]
    assert note.startswith(f"20 of the 30 pictures of {root} ")
    assert note.endswith(f"search index {root} --accept-missing")


def test_accepted_missing_pictures_are_hidden(root: Path, place: Path, index: Index) -> None:
    index(root)
    shutil.rmtree(root / "a")
    shutil.rmtree(root / "b")
    assert index(root).held == 20
    report = index(root, accept_missing=True)
    assert (report.missing, report.held) == (20, 0)
    assert len(visible(place)) == 10


def test_half_of_a_folder_may_go_without_a_word(root: Path, place: Path, index: Index) -> None:
    index(root)
    shutil.rmtree(root / "a")
    for picture in sorted((root / "b").iterdir())[:5]:
        picture.unlink()
    report, notes = heard(index, root)
    assert (report.missing, report.held, notes) == (15, 0, [])


def test_one_more_than_half_is_asked_for(root: Path, place: Path, index: Index) -> None:
    index(root)
    shutil.rmtree(root / "a")
    for picture in sorted((root / "b").iterdir())[:6]:
        picture.unlink()
    assert index(root).held == 16


@pytest.mark.parametrize(("pictures", "gone", "held"), [(2, 1, 0), (3, 2, 2), (10, 5, 0), (10, 6, 6)])
def test_more_than_half_is_asked_for_however_few_there_are(
    tmp_path: Path, place: Path, index: Index, pictures: int, gone: int, held: int
) -> None:
    root = fill(tmp_path / "few", pictures)
    index(root)
    for picture in sorted(root.iterdir())[:gone]:
        picture.unlink()
    report = index(root)
    assert (report.held, report.missing, len(visible(place))) == (held, gone - held, pictures - gone + held)


def test_a_tree_that_moved_is_not_missing(root: Path, place: Path, index: Index) -> None:
    index(root)
    (root / "sorted").mkdir()
    for name in ("a", "b", "c"):
        (root / name).rename(root / "sorted" / name)
    report, notes = heard(index, root)
    assert (report.moved, report.missing, report.held, notes) == (30, 0, 0, [])


def test_what_moved_does_not_count_as_missing(root: Path, place: Path, index: Index) -> None:
    index(root)
    (root / "a").rename(root / "elsewhere")
    for picture in sorted((root / "b").iterdir())[:9]:
        picture.unlink()
    report = index(root)
    assert (report.moved, report.missing, report.held) == (10, 9, 0)


def test_a_folder_indexed_by_itself_is_asked_for_by_itself(root: Path, place: Path, index: Index) -> None:
    index(root, root / "a")
    for picture in sorted((root / "a").iterdir())[5:]:
        picture.unlink()
    assert index(root).missing == 5
    for picture in sorted((root / "a").iterdir())[2:]:
        picture.unlink()
    report, notes = heard(index, root)
    assert (report.held, report.missing) == (3, 0)
    assert f"3 of the 5 pictures of {root / 'a'} " in notes[0]


def test_what_is_left_out_does_not_count_as_there(root: Path, place: Path, index: Index) -> None:
    index(root)
    shutil.rmtree(root / "a")
    report = index(root, exclude=["b/"])
    assert report.missing == 10  # half of what was looked at
    for picture in sorted((root / "c").iterdir())[:6]:
        picture.unlink()
    fill(root / "d", 12, start=50)
    index(root)
    shutil.rmtree(root / "d")
    report = index(root, exclude=["b/"])
    assert (report.held, report.missing) == (12, 0)  # 12 of the 16 that were looked at, of 26 in all


def test_what_an_ignore_file_names_is_hidden_without_asking(root: Path, place: Path, index: Index) -> None:
    index(root)
    (root / ".searchignore").write_text("a/\nb/\n")
    assert (index(root).missing, len(visible(place))) == (20, 10)


def test_texts_and_failures_stay_with_what_stays(root: Path, place: Path, index: Index) -> None:
    (root / "a" / "000.png.txt").write_text("my dog in the garden")
    (root / "a" / "broken.png").write_bytes(b"no picture")
    index(root)
    before = everything(place)
    for name in ("a", "b"):
        shutil.rmtree(root / name)
    assert index(root).held == 20
    assert everything(place) == before
    draw(root / "c" / "new.png", "cyan", mark=200)
    assert index(root).held == 20
    with Catalog(place) as catalog:
        status = catalog.status()
    assert (status.images, status.failures, status.texts) == (31, 1, 1)


def test_what_stays_costs_later_runs_nothing(
    root: Path, place: Path, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "a" / "broken.png").write_bytes(b"no picture")
    index(root)
    shutil.rmtree(root / "a")
    shutil.rmtree(root / "b")
    monkeypatch.setattr("indexer.embed.embed", None)  # whoever comes so far fails
    assert index(root, model=None).held == 20


def test_pictures_come_back_as_they_were(root: Path, place: Path, index: Index, tmp_path: Path) -> None:
    index(root)
    before = everything(place)
    for name in ("a", "b"):
        (root / name).rename(tmp_path / name)
    index(root)
    for name in ("a", "b"):
        (tmp_path / name).rename(root / name)
    report = index(root)
    assert (report.unchanged, report.held) == (30, 0)
    assert everything(place) == before


@pytest.mark.parametrize("accept", [False, True])
def test_an_empty_folder_older_than_its_pictures_is_an_absent_disk(
    root: Path, place: Path, index: Index, tmp_path: Path, *, accept: bool
) -> None:
    index(root)
    (root / "a").rename(tmp_path / "disk")
    (root / "a").mkdir()
    long_ago(place)
    before = everything(place)
    report, notes = heard(index, root, accept_missing=accept)
    assert (report.missing, report.held) == (0, 0)
    assert f"{root / 'a'} is empty" in notes[0]
    assert f"search forget {root / 'a'}" in notes[0]
    assert everything(place) == before


def test_a_folder_that_was_emptied_after_indexing_is_believed(root: Path, place: Path, index: Index) -> None:
    index(root)
    for picture in (root / "a").iterdir():
        picture.unlink()
    assert index(root).missing == 10


@pytest.mark.parametrize("target", ["nowhere", "empty"])
def test_a_root_that_is_a_link_to_nothing_changes_nothing(
    root: Path, place: Path, index: Index, tmp_path: Path, target: str
) -> None:
    index(root)
    root.rename(tmp_path / "real")
    (tmp_path / "empty").mkdir()
    root.symlink_to(tmp_path / target)
    before = everything(place)
    with pytest.raises(CatalogError, match="nothing was changed"):
        index(root, accept_missing=True)
    report, notes = heard(index, accept_missing=True)
    assert report.missing == 0
    assert "stay as they are" in notes[0]
    assert everything(place) == before


@pytest.mark.parametrize("code", [errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.EACCES])
@pytest.mark.parametrize("where", ["listing", "midway", "status"])
def test_errors_while_walking_hide_nothing(
    root: Path, place: Path, index: Index, monkeypatch: pytest.MonkeyPatch, code: int, where: str
) -> None:
    index(root)
    before = everything(place)
    shut = os.fsencode(root / "b")
    real_list, real_stat = os.scandir, os.stat

    class Midway:
        def __enter__(self) -> Iterator[Any]:
            def some() -> Iterator[Any]:
                yield from sorted(real_list(shut), key=lambda entry: entry.name)[:3]
                raise OSError(code, os.strerror(code), shut)

            return some()

        def __exit__(self, *_: object) -> None: ...

    def scandir(path: bytes) -> Any:
        if path == shut and where == "listing":
            raise OSError(code, os.strerror(code), path)
        return Midway() if path == shut and where == "midway" else real_list(path)

    def stat(path: Any, *arguments: Any, **options: Any) -> os.stat_result:
        if path == shut and where == "status":
            raise OSError(code, os.strerror(code), path)
        return real_stat(path, *arguments, **options)

    monkeypatch.setattr("indexer.scan.os.scandir", scandir)
    monkeypatch.setattr("indexer.scan.os.stat", stat)
    report, notes = heard(index, root, accept_missing=True)
    assert report.missing == 0
    assert any(f"{root / 'b'} cannot be read" in note for note in notes)
    assert everything(place) == before


def test_a_root_that_fails_does_not_keep_the_others_from_being_indexed(
    root: Path, tmp_path: Path, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = fill(tmp_path / "other", 2, start=70)
    index(root, other)
    draw(other / "new.png", "cyan", mark=200)
    real = os.scandir

    def scandir(path: bytes) -> Any:
        if path == os.fsencode(root):
            raise OSError(errno.EIO, "Input/output error", path)
        return real(path)

    monkeypatch.setattr("indexer.scan.os.scandir", scandir)
    report, notes = heard(index)
    assert (report.added, report.missing) == (1, 0)
    assert f"{root} cannot be listed. It is left as it was." in notes


def test_the_command_says_what_it_left_and_ends_with_one(
    root: Path, place: Path, index: Index, search: Callable[..., Result]
) -> None:
    index(root)
    shutil.rmtree(root / "a")
    shutil.rmtree(root / "b")
    planned = search("index", root, "--catalog", place, "--dry-run", "--json")
    assert (planned.exit_code, json_lines(planned.stdout)[0]["missing"]) == (0, 0)
    assert "--accept-missing" in planned.stderr
    result = search("index", root, "--catalog", place, "--json")
    assert result.exit_code == 1
    (figures,) = json_lines(result.stdout)
    assert (figures["missing"], figures["unchanged"]) == (0, 10)
    assert "held" not in figures  # the keys are a contract
    assert f"search index {root} --accept-missing" in result.stderr
    assert search("index", "--catalog", place).exit_code == 0  # as with a disk that nobody named
    result = search("index", root, "--catalog", place, "--accept-missing", "--json")
    assert (result.exit_code, json_lines(result.stdout)[0]["missing"]) == (0, 20)


def test_a_server_s_job_can_accept_it_too(root: Path, place: Path, index: Index) -> None:
    index(root)
    shutil.rmtree(root / "a")
    shutil.rmtree(root / "b")

    def job(**asked: Any) -> list[dict[str, Any]]:
        task = json.dumps({"catalog": str(place), "paths": [str(root)], "retry": False, **asked})
        ran = subprocess.run(
            [sys.executable, "-m", "indexer.job"], input=task + "\n", capture_output=True, text=True,
            cwd=ROOT, timeout=60, check=True,
        )  # fmt: skip
        return json_lines(ran.stdout)

    lines = job()
    assert any("--accept-missing" in line.get("text", "") for line in lines)
    assert lines[-1]["report"]["missing"] == 0
    assert job(accept_missing=True)[-1]["report"]["missing"] == 20


MOUNTED = """
import json, os, subprocess, sys
from pathlib import Path
from indexer import index_folder
from tests.test_offline import everything, fill, long_ago
from retrieval.errors import CatalogError

folder = Path(sys.argv[1])
place, root, phone = folder / "catalog", folder / "disk", folder / "home" / "phone"

def mount(where): subprocess.run(["mount", "-t", "tmpfs", "none", where], check=True)
def index(*paths, **options):
    notes = []
    tell = lambda step, figures: notes.append(figures["text"]) if step == "note" else None
    report = index_folder(place, paths, model="toy", workers=1, progress=tell, **options)
    return report, " ".join(notes)

for where in (root, phone):
    where.mkdir(parents=True)
    mount(where)
    fill(where, 12, start=len(where.name))
fill(folder / "home", 20, start=100)
index(root, folder / "home")
long_ago(place)
before = everything(place)
for where in (root, phone):
    subprocess.run(["umount", where], check=True)
try:
    index(root, accept_missing=True)
    raise SystemExit("an unmounted disk was taken for an empty folder")
except CatalogError as error:
    assert "nothing was changed" in str(error), error
report, notes = index(accept_missing=True)
assert report.missing == report.held == 0, report
assert f"{phone} is empty" in notes, notes
assert everything(place) == before
mount(root)
(root / "other").mkdir()
fill(root / "other", 3, start=300)
report, notes = index()
assert (report.added, report.missing, report.held) == (3, 0, 12), report
print("held")
"""


def own_mounts(folder: Path) -> list[str]:
    """What runs a command with mounts of its own, which end with it."""
    command = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-Urm"]
    point = folder / "mount-point"
    point.mkdir()
    try:
        tried = subprocess.run(
            [*command, "mount", "-t", "tmpfs", "none", str(point)], capture_output=True, check=False
        )
    except OSError:
        pytest.skip("there is no unshare here")
    if tried.returncode:
        pytest.skip("nothing may be mounted here")
    return command


def test_disks_that_are_unmounted_change_nothing(tmp_path: Path) -> None:
    ran = subprocess.run(
        [*own_mounts(tmp_path), sys.executable, "-c", MOUNTED, str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert ran.stdout == "held\n", ran.stderr


def test_nothing_is_imported_for_it(root: Path) -> None:
    heavy = "import sys, indexer.watch; print([m for m in ('watchfiles', 'sqlalchemy', 'torch') if m in sys.modules])"
    assert python(heavy).stdout == "[]\n"
