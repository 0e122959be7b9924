"""Reading the text in pictures: with RapidOCR itself, and with a reader that tests can follow."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw, ImageFont

from indexer import IndexReport, ocr
from retrieval import Catalog
from retrieval.db.words import said
from retrieval.errors import MissingDependency
from tests.conftest import draw, python


def is_red(pixels: Any) -> bool:
    red, green, _ = pixels[-1, -1].tolist()
    return red > 200 and green < 100


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """In the place of RapidOCR, a reader that finds writing in red pictures; the shapes it was given."""
    shapes: list[tuple[int, ...]] = []

    def read(pixels: Any) -> str:
        shapes.append(pixels.shape)
        return "crimson harbour" if is_red(pixels) else ""

    monkeypatch.setattr(ocr, "text_reader", lambda: read)
    return shapes


def texts(place: Path) -> list[tuple[str, str]]:
    with Catalog(place) as catalog:
        return [(text.text, Path(text.path or "").name) for text in catalog.texts.list(source="ocr")]


def marks(place: Path) -> set[str | None]:
    with Catalog(place) as catalog, catalog.state.snapshot() as reader:
        return {row[0] for row in reader.rows("SELECT ocr FROM images")}


def test_text_in_a_picture_is_read_by_rapidocr_and_found(
    tmp_path: Path, index: Callable[..., IndexReport]
) -> None:
    pytest.importorskip("rapidocr")
    picture = Image.new("RGB", (640, 200), "white")
    font = ImageFont.load_default(64)
    ImageDraw.Draw(picture).text((30, 60), "LIGHTHOUSE CAFE", fill="black", font=font)
    (tmp_path / "p").mkdir()
    picture.save(tmp_path / "p" / "IMG_0001.png")
    draw(tmp_path / "p" / "plain.png", "red")
    report = index(tmp_path / "p", ocr=True)
    assert (report.added, report.read, report.failed) == (2, 2, 0)
    assert [text.upper().split() for text, _ in texts(tmp_path / "catalog")] == [["LIGHTHOUSE", "CAFE"]]
    assert marks(tmp_path / "catalog") == {ocr.ocr_version()}
    with Catalog(tmp_path / "catalog") as catalog, catalog.state.snapshot() as reader:
        answers = said(reader, "lighthouse")
        assert [set(answer.fields) for answer in answers.values()] == [{"seen"}]
    assert index(tmp_path / "p", ocr=True).read == 0


def test_models_are_those_of_the_installed_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("rapidocr")
    ocr.text_reader.cache_clear()
    (tmp_path / "rapidocr").mkdir()
    (tmp_path / "rapidocr" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(
        ocr.importlib.util, "find_spec", lambda name: type("Spec", (), {"origin": str(tmp_path / "x.py")})
    )
    with pytest.raises(MissingDependency, match="carries no models"):
        ocr.text_reader()


def test_missing_extra_says_how_to_get_it(
    photos: Path, index: Callable[..., IndexReport], monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(name: str) -> str:
        raise ocr.PackageNotFoundError(name)

    monkeypatch.setattr(ocr, "version", absent)
    with pytest.raises(MissingDependency, match=r"pip install 'picture-search\[ocr\]'"):
        index(photos, ocr=True)


def test_pictures_are_read_once_and_again_when_they_change(
    photos: Path, index: Callable[..., IndexReport], tmp_path: Path, seen: list[tuple[int, ...]]
) -> None:
    assert index(photos).read == 0
    assert index(photos, ocr=True).read == 6
    assert len(seen) == 6
    assert [name for _, name in texts(tmp_path / "catalog")] == ["red.png", "red-again.jpg"]
    assert index(photos, ocr=True).read == 0
    draw(photos / "red.png", "blue", mark=1)
    index(photos)
    assert [name for _, name in texts(tmp_path / "catalog")] == ["red-again.jpg"]
    assert marks(tmp_path / "catalog") == {None, ocr.ocr_version()}
    assert index(photos, ocr=True).read == 1
    assert marks(tmp_path / "catalog") == {ocr.ocr_version()}


def test_another_version_reads_again_without_leaving_the_old_text(
    photos: Path,
    index: Callable[..., IndexReport],
    tmp_path: Path,
    seen: list[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    index(photos, ocr=True)
    monkeypatch.setattr(ocr, "version", lambda _name: "999")
    assert index(photos, ocr=True).read == 6
    assert len(texts(tmp_path / "catalog")) == 2
    assert marks(tmp_path / "catalog") == {"rapidocr/999"}


def test_a_copy_and_a_move_keep_what_was_read(
    photos: Path, index: Callable[..., IndexReport], tmp_path: Path, seen: list[Any]
) -> None:
    index(photos, ocr=True)
    (photos / "copy.png").write_bytes((photos / "red.png").read_bytes())
    (photos / "trip" / "red-again.jpg").rename(photos / "moved.jpg")
    report = index(photos, ocr=True)
    assert (report.added, report.moved, report.read) == (1, 1, 0)
    assert sorted(name for _, name in texts(tmp_path / "catalog")) == ["copy.png", "moved.jpg", "red.png"]
    (photos / "again.png").write_bytes((photos / "red.png").read_bytes())
    draw(photos / "new.png", "purple")
    assert index(photos).added == 2, "a copy of what was read and a new picture, in one batch"


def test_stopped_reading_goes_on_with_the_next_run(
    photos: Path, index: Callable[..., IndexReport], tmp_path: Path, seen: list[Any]
) -> None:
    index(photos)
    report = index(photos, ocr=True, stopped=lambda: len(seen) >= 2)
    assert (report.interrupted, report.read) == (True, 2)
    assert index(photos, ocr=True).read == 4
    assert len(seen) == 6


def test_a_picture_that_breaks_the_reader_is_passed_over_with_a_note(
    photos: Path, index: Callable[..., IndexReport], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(pixels: Any) -> str:
        if is_red(pixels):
            raise ValueError("odd picture")
        return "harbour"

    monkeypatch.setattr(ocr, "text_reader", lambda: read)
    notes: list[str] = []
    report = index(photos, ocr=True, progress=lambda step, figures: notes.append(str(figures.get("text"))))
    assert report.read == 6
    broken = [note for note in notes if "passed over" in note]
    assert len(broken) == 2
    assert all("odd picture" in note for note in broken)
    assert len(texts(tmp_path / "catalog")) == 4
    assert index(photos, ocr=True).read == 0


def test_a_picture_that_is_not_what_was_indexed_is_not_read(
    tmp_path: Path, index: Callable[..., IndexReport], seen: list[Any]
) -> None:
    """Changed behind the back of size and time: its words would be those of another picture."""
    file = draw(tmp_path / "p" / "a.bmp", "blue")
    index(tmp_path / "p")
    before = file.stat()
    draw(file, "red")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert index(tmp_path / "p", ocr=True).read == 0
    assert texts(tmp_path / "catalog") == []
    assert marks(tmp_path / "catalog") == {None}


def test_large_pictures_are_read_at_a_bounded_size(
    tmp_path: Path, index: Callable[..., IndexReport], seen: list[tuple[int, ...]]
) -> None:
    draw(tmp_path / "p" / "large.jpg", "red", size=(4000, 3000))
    draw(tmp_path / "p" / "small.png", "red", size=(40, 30))
    index(tmp_path / "p", ocr=True)
    assert sorted(seen) == [(30, 40, 3), (1200, 1600, 3)]


def test_help_and_plain_indexing_load_no_text_reader(photos: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from indexer import index_folder\n"
        "index_folder(sys.argv[1], sys.argv[2], model='toy', workers=1)\n"
        "assert not {'rapidocr', 'cv2'} & set(sys.modules)"
    )
    result = python(code, str(tmp_path / "c"), str(photos))
    assert result.returncode == 0, result.stderr
