"""What a person said of pictures outlives their rows, and comes back with their content."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from indexer import IndexReport
from retrieval import Catalog
from retrieval.config import Location
from retrieval.db.queries import Writer
from retrieval.errors import CatalogUnwritable
from tests.conftest import draw

Index = Callable[..., IndexReport]
Leave = Callable[[Catalog, Path, Index], None]


def forgotten(opened: Catalog, photos: Path, _index: Index) -> None:
    opened.forget(photos)


def collected(opened: Catalog, photos: Path, index: Index) -> None:
    away = photos.parent / "away"
    shutil.copytree(photos, away)
    for file in photos.rglob("*.*"):
        file.unlink()
    draw(photos / "other.png", "white", mark=99)  # a folder without any picture is a disk that is away
    index(photos, accept_missing=True)
    assert opened.gc()["images"] == 6
    shutil.rmtree(photos)
    away.rename(photos)


def all_said(opened: Catalog, photos: Path) -> dict[str, Any]:
    """Everything that was said, without ids, which are new when a picture comes again."""
    with closing(sqlite3.connect(opened.location.database)) as rows:
        pairs = rows.execute(
            "SELECT i.path, j.path FROM not_duplicates n JOIN images i ON i.id = n.first_id "
            "JOIN images j ON j.id = n.second_id"
        ).fetchall()
        aside = rows.execute("SELECT COUNT(*) FROM said").fetchone()[0]
        tags = rows.execute(
            "SELECT i.path, tag, kept FROM image_tags t JOIN images i ON i.id = t.image_id "
            "WHERE t.source = 'person' ORDER BY 1, 2"
        ).fetchall()
    return {
        "tags": [(bytes(path).decode(), tag, bool(kept)) for path, tag, kept in tags],
        "pairs": [sorted(bytes(path).decode() for path in pair) for pair in pairs],
        "texts": [(one.text, one.source, one.name, one.path) for one in opened.texts.list()],
        "feedback": [(one.query, one.path, one.good, one.rests) for one in opened.feedback.list()],
        "answers": [len(side) for side in _sides(opened)],
        "examples": [(one.path, one.good, one.rests) for one in opened.concepts.show("rex").examples],
        "aside": aside,
    }


def _sides(opened: Catalog) -> tuple[tuple[int, ...], tuple[int, ...]]:
    marks = opened.feedback.marks("a colour")
    return marks.good, marks.bad


def say_all(opened: Catalog, photos: Path) -> None:
    red, blue = photos / "red.png", photos / "blue.png"
    opened.tags.set(red, "holiday")
    opened.tags.unset(blue, "sea")
    opened.texts.add([{"text": "our old car", "image": str(red), "id": "car-1"}], source="notes")
    opened.texts.add([{"text": "the sea at noon", "image": str(blue)}, "tied to nothing"])
    opened.not_duplicates([red, blue])
    opened.not_duplicates([red, photos / "trip" / "white.png"])
    opened.feedback.add("a colour", good=red, bad=blue)
    opened.concepts.add("rex", [red], [blue])


@pytest.mark.parametrize("leave", [forgotten, collected])
def test_what_was_said_of_pictures_comes_back_with_them(
    catalog: Path, photos: Path, index: Index, leave: Leave
) -> None:
    with Catalog(catalog) as opened:
        say_all(opened, photos)
        before = all_said(opened, photos)
        leave(opened, photos, index)
        gone = all_said(opened, photos)
        assert (gone["tags"], gone["pairs"], gone["answers"], gone["aside"]) == ([], [], [0, 0], 6)
        assert [text for text, *_ in gone["texts"]] == ["tied to nothing"]
        assert {rests for *_, rests in gone["feedback"]} == {"not in the catalog"}
        index(photos)
        after = all_said(opened, photos)
        for rows in (before, after):
            rows["pairs"].sort()
            rows["texts"].sort(key=lambda text: text[0])
        assert after == before
        assert "red" in [hit.path.stem for hit in opened.search("our old car", limit=20)]
        assert not [1 for text in opened.texts.list() if text.path is None and text.text != "tied to nothing"]


def test_every_text_that_comes_back_has_its_vector_again(catalog: Path, photos: Path, index: Index) -> None:
    with Catalog(catalog) as opened:
        say_all(opened, photos)
        opened.forget(photos)
        index(photos)
    with closing(sqlite3.connect(catalog / "catalog.db")) as rows:
        [counts] = rows.execute("SELECT (SELECT COUNT(*) FROM texts), (SELECT COUNT(*) FROM text_embeddings)")
    assert counts == (3, 3)


def test_what_was_said_finds_its_picture_under_another_name(
    catalog: Path, photos: Path, index: Index
) -> None:
    with Catalog(catalog) as opened:
        opened.tags.set(photos / "red.png", "holiday")
        opened.forget(photos / "red.png")
        (photos / "red.png").rename(photos / "trip" / "moved.png")
        index(photos)
        assert [one.tag for one in opened.tags.of(photos / "trip" / "moved.png").tags] == ["holiday"]


def test_of_two_copies_each_gets_back_what_was_said_of_it(catalog: Path, photos: Path, index: Index) -> None:
    copy = photos / "a-copy.png"
    shutil.copy(photos / "red.png", copy)
    index(photos)
    with Catalog(catalog) as opened:
        opened.tags.set(photos / "red.png", "first")
        opened.tags.set(copy, "second")
        opened.not_duplicates([photos / "red.png", copy])
        opened.forget(photos)
        index(photos)
        assert [one.tag for one in opened.tags.of(photos / "red.png").tags] == ["first"]
        assert [one.tag for one in opened.tags.of(copy).tags] == ["second"]
        assert opened.duplicates(["same-file"]) == []


def test_a_mark_waits_until_both_pictures_are_back(catalog: Path, photos: Path, index: Index) -> None:
    red, blue = photos / "red.png", photos / "blue.png"
    with Catalog(catalog) as opened:
        opened.not_duplicates([red, blue])
        opened.forget(red)
        opened.forget(blue)
        red.rename(photos.parent / "red.png")
        index(photos)
        assert opened.not_duplicates([blue, photos / "green.png"], undo=True) == 0
        (photos.parent / "red.png").rename(red)
        index(photos)
        assert opened.not_duplicates([red, blue], undo=True) == 1


def test_a_picture_that_gets_its_old_content_again_gets_what_was_said(
    catalog: Path, photos: Path, index: Index
) -> None:
    kept = (photos / "red.png").read_bytes()
    with Catalog(catalog) as opened:
        opened.tags.set(photos / "red.png", "holiday")
        opened.forget(photos / "red.png")
        draw(photos / "red.png", "white", mark=44)
        index(photos)
        assert opened.tags.of(photos / "red.png").tags == ()
        (photos / "red.png").write_bytes(kept)
        index(photos)
        assert [one.tag for one in opened.tags.of(photos / "red.png").tags] == ["holiday"]


def test_a_tag_that_was_taken_off_every_picture_does_not_come_back(
    catalog: Path, photos: Path, index: Index
) -> None:
    with Catalog(catalog) as opened:
        opened.tags.set(photos / "red.png", "holiday")
        opened.tags.set(photos / "blue.png", "holiday")
        opened.forget(photos / "red.png")
        opened.tags.remove("holiday")
        index(photos)
        assert opened.tags.of(photos / "red.png").tags == ()


def test_where_nothing_can_be_written_the_error_says_so(catalog: Path) -> None:
    with Catalog(catalog) as opened:
        (catalog / "write.lock").unlink(missing_ok=True)
        (catalog / "write.lock").mkdir()
        with pytest.raises(CatalogUnwritable, match="cannot be written"):
            Writer(opened.location)


def test_a_database_that_cannot_be_written_is_told_from_a_damaged_one(catalog: Path) -> None:
    def write(writer: Writer) -> None:
        with writer.transaction() as connection:
            connection.exec_driver_sql("PRAGMA query_only = 1")
            connection.exec_driver_sql("DELETE FROM images")

    with Writer(Location.parse(catalog)) as writer, pytest.raises(CatalogUnwritable, match="readonly"):
        write(writer)


def test_a_folder_that_was_renamed_takes_over_what_was_said(
    photos: Path, index: Index, tmp_path: Path
) -> None:
    """Indexed under its new name, it is a copy at first; then the old name is forgotten, as the note advises."""
    index(photos)
    with Catalog(tmp_path / "catalog") as opened:
        opened.tags.set(photos / "red.png", "holiday")
        opened.texts.add([{"text": "the harbour", "image": str(photos / "blue.png")}])
        opened.feedback.add("green", bad=[photos / "green.png"])
    renamed = photos.rename(tmp_path / "renamed")
    index(renamed)
    with Catalog(tmp_path / "catalog") as opened:
        opened.forget(photos)
        assert [tag.tag for tag in opened.tags.of(renamed / "red.png").tags] == ["holiday"]
        assert [(text.text, text.path) for text in opened.texts.list()] == [
            ("the harbour", renamed / "blue.png")
        ]
        assert [said.rests for said in opened.feedback.list()] == [None]
