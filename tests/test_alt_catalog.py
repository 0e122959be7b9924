"""Alt texts inside originals: the catalog goes along, so that nothing is read or described again."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from indexer import IndexReport
from retrieval import Catalog
from retrieval.db.rewritten_writes import Rewritten, put_rewritten
from retrieval.describing import renewing
from retrieval.describing.alt import AltReport, write_alt_texts
from tests.conftest import draw, json_lines
from tests.test_describe_library import ALL, Looker, captions, run, said

Index = Callable[..., IndexReport]


@pytest.fixture
def opened(catalog: Path) -> Iterator[Catalog]:
    for style in ("caption", "alt"):
        run(catalog, Looker(), style=style)
    with Catalog(catalog) as found:
        yield found


def written(opened: Catalog, catalog: Catalog | None = None) -> AltReport:
    return write_alt_texts(opened.descriptions(style="alt"), "xmp", write=True, catalog=catalog or opened)


def table(opened: Catalog, sql: str) -> list[tuple[Any, ...]]:
    with opened.state.snapshot() as reader:
        return [tuple(row) for row in reader.rows(sql)]


def test_indexing_finds_nothing_new_and_nothing_is_described_again(
    opened: Catalog, catalog: Path, photos: Path, index: Index
) -> None:
    kept = "SELECT id, path, mtime_ns, width, taken_at, taken_source, phash, missing_at FROM images"
    vectors = "SELECT * FROM embeddings ORDER BY image_id"
    opened.duplicates()  # makes the signatures
    before = table(opened, kept), table(opened, vectors), captions(catalog)
    report = written(opened)
    assert (report.written, report.untold, report.failed) == (6, 0, ())
    assert b"AltTextAccessibility" in (photos / "red.png").read_bytes()
    after = index(photos)
    assert (after.unchanged, after.updated, after.added) == (6, 0, 0)
    assert (table(opened, kept), table(opened, vectors), captions(catalog)) == before
    assert said(catalog) == said(catalog, "alt") == ALL
    looker = Looker()
    assert run(catalog, looker).unchanged == run(catalog, looker, style="alt").unchanged == 6
    assert looker.calls == []
    # A model that looks again finds the file that the catalog speaks of.
    assert run(catalog, looker, again=True).described == 6
    assert opened.similar(photos / "red.png", limit=1)[0].path == photos / "trip" / "red-again.jpg"


def test_what_a_person_said_follows_the_picture(opened: Catalog, photos: Path, index: Index) -> None:
    opened.concepts.add("wall", good=[photos / "red.png"], bad=[photos / "blue.png"])
    opened.feedback.add("a wall", good=[photos / "red.png"], bad=[photos / "blue.png"])
    shown = "SELECT COUNT(*) FROM {} x JOIN images i ON i.content_hash = x.content_hash"
    (photos / "blue.png").rename(photos / "sea.png")
    index(photos)
    assert written(opened).untold == 0
    assert table(opened, shown.format("concept_examples")) == [(2,)]
    assert table(opened, shown.format("feedback")) == [(2,)]


def test_what_was_said_of_a_copy_stays_with_the_copy(
    opened: Catalog, photos: Path, index: Index, tmp_path: Path
) -> None:
    copy = photos / "trip" / "copy.png"
    copy.write_bytes((photos / "red.png").read_bytes())
    index(photos)
    opened.feedback.add("a wall", good=[copy])
    opened.concepts.add("wall", good=[photos / "red.png"])
    old = table(opened, "SELECT content_hash FROM feedback")
    described = [one for one in opened.descriptions(style="alt") if one.path in (photos / "red.png", copy)]
    first = [one for one in described if one.path != copy]
    write_alt_texts(first, "xmp", write=True, catalog=opened)
    assert table(opened, "SELECT content_hash FROM feedback") == old
    assert table(opened, "SELECT content_hash FROM concept_examples") != old
    # The last one of that content takes all along; what was said of the new content already stands.
    opened.feedback.add("a wall", bad=[photos / "red.png"])
    opened.feedback.add("red", good=[copy])
    opened.concepts.add("wall", good=[copy])
    write_alt_texts(described, "xmp", write=True, catalog=opened)
    contents = dict(table(opened, "SELECT path, content_hash FROM images"))
    new = (contents[os.fsencode(copy)],)
    assert contents[os.fsencode(photos / "red.png")] == new[0]
    assert table(opened, "SELECT content_hash FROM feedback ORDER BY id") == [old[0], new, new]
    assert table(opened, "SELECT content_hash FROM concept_examples ORDER BY id") == [new, old[0]]


def test_a_picture_behind_a_link_is_known_by_either_name(
    tmp_path: Path, photos: Path, index: Index, catalog: Path
) -> None:
    (tmp_path / "linked").mkdir()
    link = tmp_path / "linked" / "link.png"
    target = draw(tmp_path / "elsewhere" / "pink.png", "pink")
    os.symlink(target, link)
    index(tmp_path / "linked")
    run(catalog, Looker(), style="alt")
    with Catalog(catalog) as opened:
        report = written(opened)
        assert (report.written, report.untold) == (7, 0)
    assert b"AltTextAccessibility" in target.read_bytes()
    assert index(tmp_path / "linked").unchanged == 1


def test_a_picture_that_changed_or_is_not_indexed_is_no_matter_of_the_catalog(
    opened: Catalog, photos: Path, index: Index, tmp_path: Path
) -> None:
    draw(photos / "red.png", "purple", mark=7)
    found = [
        *opened.descriptions(style="alt"),
        opened.describe(draw(tmp_path / "out.png", "pink"), captioner=Looker(), style="alt"),
    ]
    report = write_alt_texts(found, "xmp", write=True, catalog=opened)
    assert (report.written, report.untold) == (7, 0)
    after = index(photos)
    assert (after.updated, after.unchanged) == (1, 5)


def test_a_picture_that_was_read_anew_meanwhile_is_left_as_it_is(opened: Catalog, photos: Path) -> None:
    before = table(opened, "SELECT * FROM images")
    late = Rewritten((os.fsencode(photos / "red.png"),), b"another content", b"new", 1, 1)
    with opened.state.writer() as writer:
        put_rewritten(writer, [late])
    assert table(opened, "SELECT * FROM images") == before


def test_the_end_of_another_command_is_waited_for(
    opened: Catalog, photos: Path, catalog: Path, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Catalog(catalog) as other:
        writer = other.state.writer()
        monkeypatch.setattr(time, "sleep", lambda _seconds: writer.close())
        assert written(opened).untold == 0
    assert index(photos).unchanged == 6


def test_a_catalog_that_is_busy_is_told_when_it_is_free(
    opened: Catalog, photos: Path, index: Index, catalog: Path
) -> None:
    with Catalog(catalog) as other:
        writer = other.state.writer()
        found = list(opened.descriptions(style="alt"))

        def making() -> Iterator[object]:
            yield from found[:3]
            writer.close()
            yield from found[3:]

        report = write_alt_texts(making(), "xmp", write=True, catalog=opened)  # type: ignore[arg-type]
    assert (report.written, report.untold) == (6, 0)
    assert index(photos).unchanged == 6


def test_a_catalog_that_stays_busy_or_cannot_be_written_keeps_nothing_from_being_written(
    opened: Catalog, photos: Path, catalog: Path, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renewing, "PATIENCE", 0.0)
    with Catalog(catalog) as other, other.state.writer():
        draw(photos / "blue.png", "purple", mark=7)
        wanted = photos / "red.png", photos / "blue.png"
        some = [one for one in opened.descriptions(style="alt") if one.path in wanted]
        report = write_alt_texts(some, "xmp", write=True, catalog=opened)
        assert (report.written, report.untold) == (2, 1)
        assert "is writing to the catalog" in report.why_untold
    monkeypatch.undo()
    with Catalog(catalog, readonly=True) as readonly:  # does not wait: time would not help
        report = written(opened, readonly)
    assert (report.written, report.kept, report.untold) == (4, 2, 4)
    assert "reading only" in report.why_untold
    assert report.as_dict()["untold"] == 4
    assert index(photos).updated == 6


def test_the_command_tells_the_catalog_and_says_where_it_cannot(
    search: Callable[..., Result], catalog: Path, photos: Path, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("SEARCH_ENDPOINT")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(renewing, "PATIENCE", 0.0)
    with Catalog(catalog) as opened:
        for path in photos.rglob("*.*g"):
            opened.tags.set(path, "house")
    place = "--catalog", catalog, "--alt-text", "xmp", "--write"
    result = search("describe", photos / "red.png", *place)
    assert (result.exit_code, "could not be told" in result.stderr) == (0, False)
    with Catalog(catalog) as other, other.state.writer():
        result = search("describe", photos / "blue.png", *place)
    assert result.exit_code == 0
    assert "1 picture written to, of which the catalog could not be told: Another command" in result.stderr
    assert "search index reads them again" in result.stderr
    *_, report = json_lines(search("describe", "--library", "--json", *place).stdout)
    assert (report["alt_texts"]["written"], report["alt_texts"]["untold"]) == (4, 0)
    after = index(photos)
    assert (after.updated, after.unchanged) == (1, 5)
