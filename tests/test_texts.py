"""Texts: added from files, tied to pictures, embedded; found beside and in pictures while indexing."""

from __future__ import annotations

import io
import json
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from PIL import Image

from indexer import IndexReport
from retrieval import Catalog
from retrieval.db.words import said
from retrieval.doctor import examine
from retrieval.encoders.toy import ToyEncoder
from retrieval.errors import CatalogError, QueryError, RetrievalError
from tests.conftest import draw, json_lines, python


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return path


def listed(place: Path, **options: Any) -> list[tuple[str, str, str | None]]:
    with Catalog(place) as catalog:
        found = catalog.texts.list(**options)
    return [(text.text, text.source, text.path.name if text.path else None) for text in found]


def found(place: Path, query: str) -> set[str]:
    """Names of the pictures whose words answer."""
    with Catalog(place) as catalog, catalog.state.snapshot() as reader:
        ids = said(reader, query)
        rows = reader.rows("SELECT id, path FROM images")
    return {os.fsdecode(os.path.basename(path)) for image_id, path in rows if image_id in ids}


def vectors(place: Path) -> int:
    with Catalog(place) as catalog, catalog.state.snapshot() as reader:
        return int(reader.rows("SELECT COUNT(*) FROM text_embeddings")[0][0])


def test_texts_of_each_format_are_added_and_embedded(catalog: Path, tmp_path: Path) -> None:
    write(
        tmp_path / "a.jsonl",
        '{"text": "a red door", "id": "d1"}\n\n{"text": "a green field"}\n"only words"\n',
    )
    write(tmp_path / "b.csv", 'id,Text,image\n7,"blue, like the sea",\n8,white snow,\n')
    write(tmp_path / "c.csv", "a yellow sun;x\na purple plum\n")
    write(tmp_path / "d.txt", "one line\n\n  another line  \n")
    with Catalog(catalog) as opened:
        reports = [opened.texts.add(tmp_path / name) for name in ("a.jsonl", "b.csv", "c.csv", "d.txt")]
        names = [text.name for text in opened.texts.list()]
    assert [(report.added, report.broken, report.waiting) for report in reports] == [
        (3, (), 0), (2, (), 0), (2, (), 0), (2, (), 0),
    ]  # fmt: skip
    assert names == ["d1", None, None, "7", "8", None, None, None, None]
    assert [text for text, _, _ in listed(catalog)][:5] == [
        "a red door", "a green field", "only words", "blue, like the sea", "white snow",
    ]  # fmt: skip
    assert vectors(catalog) == 9


def test_adding_again_adds_nothing(catalog: Path, tmp_path: Path) -> None:
    file = write(tmp_path / "a.txt", "one\ntwo\none\n")
    with Catalog(catalog) as opened:
        first, again = opened.texts.add(file), opened.texts.add(file)
        tied = opened.texts.add([{"text": "one", "image": 1}, {"text": "one", "image": 2}])
    assert (first.added, first.unchanged) == (2, 1)
    assert (again.added, again.unchanged) == (0, 3)
    assert tied.added == 2


def test_a_text_is_tied_by_path_name_or_id(catalog: Path, photos: Path) -> None:
    lines = [
        {"text": "by path", "image": "trip/white.png"},
        {"text": "by name", "image": "red-again.jpg"},
        {"text": "by id", "image": 1},
        {"text": "absolute", "image": str(photos / "green.png")},
        {"text": "from elsewhere", "image": "photos/trip/white.png"},
    ]
    file = write(photos / "captions.jsonl", "\n".join(map(json.dumps, lines)))
    with Catalog(catalog) as opened:
        assert opened.texts.add(file).broken == ()
        names = [Path(text.path or "").name for text in opened.texts.list()]
        assert names == ["white.png", "red-again.jpg", "blue.png", "green.png", "white.png"]
        assert [text.text for text in opened.texts.list(image=photos / "trip" / "white.png")] == [
            "by path", "from elsewhere",
        ]  # fmt: skip
    assert found(catalog, "absolute") == {"green.png"}


def test_broken_lines_are_told_by_number_and_the_rest_is_taken(
    catalog: Path, photos: Path, index: Callable[..., IndexReport], tmp_path: Path
) -> None:
    draw(photos / "trip" / "red.png", "red", mark=9)
    index(photos)
    file = write(
        tmp_path / "a.jsonl",
        "\n".join(
            [
                '{"text": "good"}', "{broken", '{"image": "red.png"}', '{"text": 5}', '{"text": "  "}', "[1]",
                '{"text": "x", "image": "nowhere.jpg"}', '{"text": "x", "image": 999}', '{"text": "x", "image": [1]}',
                '{"text": "x", "image": "red.png"}', '{"text": "x", "image": true}', "[" * 100_000,
                '{"text": "half \\ud800 of a letter, and \\u0000"}',
                '{"text": "x", "image": ""}', '{"text": "x", "image": "red\\u0000.png"}',
            ]
        ),
    )  # fmt: skip
    with Catalog(catalog) as opened:
        report = opened.texts.add(file)
    assert report.added == 2
    assert [line for line, _ in report.broken] == [*range(2, 13), 14, 15]
    reasons = dict(report.broken)
    assert "not JSON" in reasons[2]
    assert (reasons[14], reasons[15]) == ("its image is empty", "its image has a NUL in it")
    assert reasons[7] == "no indexed picture is called 'nowhere.jpg'"
    assert reasons[10].startswith("2 indexed pictures are called 'red.png'")
    assert [text for text, _, _ in listed(catalog)] == ["good", "half ? of a letter, and"]


def test_a_file_with_nothing_to_take_is_an_error(catalog: Path, tmp_path: Path) -> None:
    with Catalog(catalog) as opened:
        for name, text, message in (
            ("a.jsonl", "{\n{", "line 1: it is not JSON"),
            ("a.txt", " \n", "holds no text that can be added"),
            ("a.doc", "x", "--format"),
        ):
            with pytest.raises(QueryError, match=message):
                opened.texts.add(write(tmp_path / name, text))
        with pytest.raises(QueryError, match="cannot be read"):
            opened.texts.add(tmp_path / "missing.txt")
        with pytest.raises(QueryError, match="source"):
            opened.texts.add(["x"], source="ocr")
        assert opened.texts.list() == []


@pytest.mark.parametrize(
    ("encoding", "noted"), [("utf-8", 0), ("utf-8-sig", 0), ("utf-16", 0), ("latin-1", 1)]
)
def test_encodings_are_told_apart(catalog: Path, tmp_path: Path, encoding: str, noted: int) -> None:
    file = write(tmp_path / "a.csv", "text\nSchöne Straße\n", encoding)
    with Catalog(catalog) as opened:
        report = opened.texts.add(file)
    assert (report.added, len(report.notes)) == (1, noted)
    assert listed(catalog)[0][0] == "Schöne Straße"


def test_long_texts_are_kept_whole_and_endless_ones_left_out(catalog: Path, tmp_path: Path) -> None:
    long = "red door " * 3000
    with Catalog(catalog) as opened:
        report = opened.texts.add([long, "x" * 1_000_001])
    assert (report.added, [line for line, _ in report.broken]) == (1, [2])
    assert listed(catalog)[0][0] == long.strip()
    assert vectors(catalog) == 1


def test_texts_are_removed_by_id_file_and_source(catalog: Path, tmp_path: Path) -> None:
    file = write(tmp_path / "a.txt", "kayak\nlighthouse\n")
    with Catalog(catalog) as opened:
        opened.texts.add(file)
        opened.texts.add([{"text": "zeppelin", "image": 1}], source="notes")
        before = opened.state.active()
        assert opened.texts.remove(999) == 0
        assert opened.texts.remove([1]) == 1
        assert opened.state.active().text_epoch != before.text_epoch
        assert opened.texts.remove(origin=file) == 1
        assert found(catalog, "zeppelin") != set()
        assert opened.texts.remove(source="notes") == 1
        assert opened.texts.list() == []
    assert found(catalog, "zeppelin") == set()
    assert vectors(catalog) == 0


def test_texts_wait_for_a_model_and_for_one_that_was_interrupted(
    photos: Path, tmp_path: Path, index: Callable[..., IndexReport], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "catalog"
    with Catalog(place, create=True) as empty:
        assert empty.texts.add(["before any picture"]).waiting == 1
    index(photos)
    assert vectors(place) == 1
    many = [f"text {number}" for number in range(200)]
    calls = iter([False, True])
    with Catalog(place) as opened:
        report = opened.texts.add(many, stopped=lambda: next(calls))
    assert (report.added, report.waiting, report.interrupted) == (200, 136, True)
    assert vectors(place) == 65

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, Catalog(place) as opened:
        patch.setattr(ToyEncoder, "encode_texts", killed)
        with pytest.raises(KeyboardInterrupt):
            opened.texts.add(["one more"])
    assert index(photos).interrupted is False
    assert vectors(place) == 202


def test_switching_the_model_embeds_the_texts_too(
    catalog: Path, photos: Path, index: Callable[..., IndexReport]
) -> None:
    class Other(ToyEncoder):
        id = "toy/other"
        spec = "other"

    with Catalog(catalog) as opened:
        opened.texts.add(["a red door"])
    index(photos, model=Other())
    with Catalog(catalog) as opened, opened.state.snapshot() as reader:
        rows = reader.rows("SELECT encoder_id, text_id FROM text_embeddings ORDER BY 1")
    assert rows == [(1, 1), (2, 1)]


def test_command_adds_lists_and_removes(catalog: Path, tmp_path: Path, search: Callable[..., Result]) -> None:
    write(tmp_path / "a.jsonl", '{"text": "a red door", "image": "red.png", "id": 4}\n{\n')
    added = search("texts", "add", tmp_path / "a.jsonl", "--catalog", catalog)
    assert added.exit_code == 0
    assert "1 text added." in added.output
    assert "line 2: it is not JSON" in added.output
    piped = search("texts", "add", "-", "--format", "txt", "--json", "--catalog", catalog, input="one\ntwo\n")
    assert json_lines(piped.stdout) == [
        {"file": "-", "added": 2, "unchanged": 0, "broken": [], "waiting": 0, "interrupted": False}
    ]
    rows = json_lines(search("texts", "list", "--json", "--catalog", catalog).stdout)
    assert [set(row) for row in rows] == [
        {"text_id", "text", "source", "image_id", "path", "name"}, {"text_id", "text", "source"}, {"text_id", "text", "source"},
    ]  # fmt: skip
    assert "a red door" in search("texts", "list", "--catalog", catalog).stdout
    gone = search("texts", "remove", "--from", tmp_path / "a.jsonl", "--json", "--catalog", catalog)
    assert json_lines(gone.stdout) == [{"removed": 1}]
    assert search("texts", "remove", "2", "3", "--catalog", catalog).stdout == "2 texts removed.\n"
    unknown = search("texts", "remove", "999", "--catalog", catalog)
    assert (unknown.exit_code, unknown.stdout) == (1, "")
    assert "No text has the id 999" in unknown.stderr
    assert search("texts", "remove", "--catalog", catalog).exit_code == 2
    failed = search("texts", "add", "-", "--catalog", catalog, input="x")
    assert failed.exit_code == 1
    assert "--format" in failed.output


def test_a_file_that_is_no_text_is_refused(catalog: Path, tmp_path: Path) -> None:
    noise = bytes(range(1, 32)) * 20
    with Catalog(catalog) as opened:
        for data in (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", noise, b"\xff\xfe" + b"\0\xd8" * 30):
            (tmp_path / "a.txt").write_bytes(data)
            with pytest.raises(QueryError, match="is not a text"):
                opened.texts.add(tmp_path / "a.txt")
        with pytest.raises(QueryError, match=r"The input is not a text: there are zero bytes"):
            opened.texts.add(io.BytesIO(b"a\0b"), form="txt")
        assert opened.texts.list() == []


def test_a_pipe_is_refused_and_not_waited_for(catalog: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.txt"
    os.mkfifo(pipe)
    code = (
        "import sys\n"
        "from retrieval.regular_files import read_regular\n"
        "from retrieval.errors import QueryError\n"
        "from retrieval.evaluate.files import read as read_asked\n"
        "from retrieval.texts.files import read_file\n"
        "from retrieval.vocabulary import read_vocabulary\n"
        "from pathlib import Path\n"
        "for read in (read_regular, read_asked, read_file, read_vocabulary):\n"
        "    try:\n        read(Path(sys.argv[1]) if read is not read_file else sys.argv[1])\n"
        "    except QueryError as error:\n        print(error)\n"
    )
    answer = python(code, str(pipe), timeout=60)
    assert answer.stdout.count("is not a regular file") == 4, answer.stderr


def test_a_quote_that_is_never_closed_costs_its_own_line_only(catalog: Path, tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", 'text,image\none,\n"two,\nthree,\n"four\nand more",\nfive,\n')
    with Catalog(catalog) as opened:
        report = opened.texts.add(file)
        assert [number for number, _ in report.broken] == [3]
        assert [text.text for text in opened.texts.list()] == ["one", "three", "four\nand more", "five"]
        last = opened.texts.add(write(tmp_path / "b.csv", 'six\n"seven\neight\n'))
    assert last.broken == ((2, "it is not CSV: a quote that it opens is never closed"),)
    assert last.added == 2


@pytest.mark.parametrize("ending", ["jsonl", "csv", "txt"])
def test_lines_that_end_as_on_old_macs_are_lines(catalog: Path, tmp_path: Path, ending: str) -> None:
    lines = {"jsonl": ['"one"', '"two"'], "csv": ["text,image", "one,", "two,"], "txt": ["one", "two"]}
    with Catalog(catalog) as opened:
        report = opened.texts.add(write(tmp_path / f"a.{ending}", "\r".join(lines[ending]) + "\r"))
    assert (report.added, report.broken) == (2, ())
    assert [text for text, _, _ in listed(catalog)] == ["one", "two"]


def test_numbers_of_more_than_64_bits_are_errors_of_ours(
    catalog: Path, photos: Path, search: Callable[..., Result]
) -> None:
    huge = 10**30
    with Catalog(catalog) as opened:
        for ask in (
            lambda: opened.texts.remove(huge),
            lambda: opened.texts.list(limit=huge),
            lambda: opened.texts.list(after=huge),
            lambda: opened.tags.of(huge),
            lambda: opened.tags.set(huge, "x"),
            lambda: opened.explain("red", huge),
            lambda: opened.feedback.add("red", good=huge),
            lambda: opened.not_duplicates([1, huge]),
        ):
            with pytest.raises(RetrievalError, match=r"beyond any id"):
                ask()
    for arguments in (("list", "-k", huge), ("remove", huge)):
        failed = search("texts", *arguments, "--catalog", catalog)
        assert (failed.exit_code, "beyond any id" in failed.stderr) == (1, True)


def test_unknown_picture_to_list_by_is_an_error(catalog: Path) -> None:
    with Catalog(catalog) as opened, pytest.raises(CatalogError, match="not an indexed picture"):
        opened.texts.list(image="nowhere.jpg")


def test_an_open_file_needs_a_format(catalog: Path) -> None:
    with Catalog(catalog) as opened:
        with pytest.raises(QueryError, match="format"):
            opened.texts.add(io.BytesIO(b"x"))
        assert opened.texts.add(io.BytesIO(b"x"), form="txt").added == 1


def sidecars(place: Path) -> list[tuple[str, str | None]]:
    return [(text, name) for text, _, name in listed(place, source="sidecar")]


def test_a_text_beside_a_picture_is_taken_up_changed_and_taken_away(
    catalog: Path, photos: Path, index: Callable[..., IndexReport]
) -> None:
    """All without any change of the pictures themselves."""
    write(photos / "red.png.txt", "a kayak\n")
    write(photos / "trip" / "white.txt", "a lighthouse")
    assert index(photos).texts == 2
    assert sidecars(catalog) == [("a kayak", "red.png"), ("a lighthouse", "white.png")]
    assert found(catalog, "kayak") == {"red.png"}
    assert vectors(catalog) == 2
    assert index(photos).texts == 0
    os.utime(write(photos / "red.png.txt", "a canoe"), ns=(1, 1))
    (photos / "trip" / "white.txt").unlink()
    assert index(photos).texts == 2
    assert sidecars(catalog) == [("a canoe", "red.png")]
    assert (found(catalog, "kayak"), found(catalog, "canoe")) == (set(), {"red.png"})
    assert vectors(catalog) == 1


def test_a_text_that_fits_no_picture_or_several_is_left_alone(
    catalog: Path, photos: Path, index: Callable[..., IndexReport]
) -> None:
    draw(photos / "red.jpg", "red", mark=5)
    for name in ("readme.txt", "red.txt", "green.png.txt.txt"):
        write(photos / name, "words")
    write(photos / "green.txt", " \n")
    (photos / "blue.txt").write_bytes(b"PK\x03\x04\x00\x00")
    write(photos / "yellow.txt", "x" * (1 << 20) + "x")
    index(photos)
    assert sidecars(catalog) == []
    assert index(photos).texts == 0


def test_sidecars_that_say_nothing_do_not_keep_a_run_busy(
    catalog: Path, photos: Path, index: Callable[..., IndexReport], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(photos / "green.txt", "")
    write(photos / "red.txt", "said")
    (photos / "broken.png").write_bytes(b"no picture")
    write(photos / "broken.txt", "of a picture that cannot be read")
    index(photos)

    def refuse(*_: object) -> None:
        raise AssertionError("nothing is to be written")

    monkeypatch.setattr("retrieval.db.queries.Writer.__init__", refuse)
    index(photos)


def test_texts_stay_with_a_picture_that_moves_and_go_with_one_that_is_forgotten(
    catalog: Path, photos: Path, index: Callable[..., IndexReport]
) -> None:
    write(photos / "red.png.txt", "a kayak")
    with Catalog(catalog) as opened:
        opened.texts.add([{"text": "a zeppelin", "image": str(photos / "red.png")}])
    index(photos)
    (photos / "red.png").rename(photos / "trip" / "boat.png")
    index(photos)
    assert listed(catalog) == [("a zeppelin", "added", "boat.png"), ("a kayak", "sidecar", "boat.png")]
    (photos / "red.png.txt").rename(photos / "trip" / "boat.txt")
    index(photos)
    assert listed(catalog) == [("a zeppelin", "added", "boat.png"), ("a kayak", "sidecar", "boat.png")]
    with Catalog(catalog) as opened:
        assert opened.forget(photos / "trip" / "boat.png") == 1
    assert listed(catalog) == []
    assert vectors(catalog) == 0


def test_a_text_on_a_disk_that_is_away_or_left_out_stays(
    catalog: Path, photos: Path, index: Callable[..., IndexReport]
) -> None:
    write(photos / "trip" / "white.txt", "a lighthouse")
    index(photos)
    index(photos, exclude=["trip/"])
    assert sidecars(catalog) == [("a lighthouse", "white.png")]
    (photos / "trip" / ".searchignore").mkdir()  # cannot be read, so nothing is known of its folder
    assert index(photos).texts == 0
    assert sidecars(catalog) == [("a lighthouse", "white.png")]


def test_what_a_picture_carries_of_words_is_found_and_follows_it(
    tmp_path: Path, index: Callable[..., IndexReport]
) -> None:
    def described(path: Path, colour: str, text: str) -> None:
        exif = Image.Exif()
        exif[0x010E] = text
        draw(path, colour, exif=exif)

    place, file = tmp_path / "catalog", tmp_path / "p" / "a.jpg"
    described(file, "red", "a kayak at the pier")
    index(tmp_path / "p")
    assert listed(place) == [("a kayak at the pier", "embedded", "a.jpg")]
    assert vectors(place) == 1
    (tmp_path / "p" / "copy.jpg").write_bytes(file.read_bytes())
    index(tmp_path / "p")
    assert [name for _, _, name in listed(place)] == ["a.jpg", "copy.jpg"]
    described(file, "red", "a canoe")
    index(tmp_path / "p")
    assert listed(place) == [
        ("a kayak at the pier", "embedded", "copy.jpg"),
        ("a canoe", "embedded", "a.jpg"),
    ]
    assert (found(place, "kayak"), found(place, "canoe")) == ({"copy.jpg"}, {"a.jpg"})
    described(file, "red", "")
    index(tmp_path / "p")
    assert [name for _, _, name in listed(place)] == ["copy.jpg"]


def test_damaged_words_and_text_vectors_are_found_and_mended(
    catalog: Path, photos: Path, index: Callable[..., IndexReport]
) -> None:
    with Catalog(catalog) as opened:
        opened.texts.add(["a kayak", {"text": "a canoe", "image": 1}])
    assert examine(catalog) == []
    with sqlite3.connect(catalog / "catalog.db") as connection:
        connection.execute("UPDATE text_embeddings SET vector = zeroblob(64) WHERE text_id = 1")
        connection.execute("DELETE FROM image_words WHERE image_id = 2")
        connection.execute("INSERT INTO image_fts (rowid, name) VALUES (1, 'barge')")
    connection.close()
    with Catalog(catalog) as opened:
        opened.refresh()
    assert {finding.kind for finding in examine(catalog)} == {"words", "texts"}
    assert all(finding.mended for finding in examine(catalog, fix=True))
    assert [finding.kind for finding in examine(catalog)] == ["texts"]  # the text has no vector now
    assert [(finding.kind, finding.mended) for finding in examine(catalog, fix=True)] == [
        ("texts", True), ("cache", True),
    ]  # fmt: skip
    assert examine(catalog) == []
    assert vectors(catalog) == 2
    index(photos)
    assert examine(catalog) == []
    assert found(catalog, "canoe") == {"blue.png"}
    assert found(catalog, "barge") == set()
