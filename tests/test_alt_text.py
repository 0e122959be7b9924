"""Alt texts in lists that people edit."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from retrieval.describing.alt import MAX_ALT, AltReport, check_alt_place, plain, write_alt_texts
from retrieval.describing.list_formats import FORMATS, CsvList, guarded
from retrieval.errors import QueryError, RetrievalError
from retrieval.types import Description

DOGS = "Two dogs run in the snow."


def described(path: Path | str, alt: str = DOGS, captioner: str = "model/1") -> Description:
    return Description(Path(path), alt, (), captioner)


def rows(out: Path) -> list[dict[str, Any]]:
    if out.suffix == ".json":
        read: list[dict[str, Any]] = json.loads(out.read_bytes())
        return read
    with out.open(encoding="utf-8-sig", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(params=["alt.json", "alt.csv"])
def out(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    path: Path = tmp_path / request.param
    return path


def test_list_has_an_entry_a_picture(out: Path) -> None:
    report = write_alt_texts([described("/p/a.jpg"), described("/p/ü.jpg", "Größe 😀.")], out)
    assert report == AltReport(2, 0, (), str(out))
    assert [(row["path"], row["alt"], row["captioner"]) for row in rows(out)] == [
        ("/p/a.jpg", DOGS, "model/1"),
        ("/p/ü.jpg", "Größe 😀.", "model/1"),
    ]
    assert "Größe 😀." in out.read_text(encoding="utf-8")


def test_entries_of_other_pictures_stay(out: Path) -> None:
    write_alt_texts([described("/p/a.jpg")], out)
    write_alt_texts([described("/p/b.jpg", "Snow.")], out)
    assert [(row["path"], row["alt"]) for row in rows(out)] == [("/p/a.jpg", DOGS), ("/p/b.jpg", "Snow.")]


def test_what_we_wrote_is_renewed_by_a_better_captioner(out: Path) -> None:
    write_alt_texts([described("/p/a.jpg"), described("/p/b.jpg")], out)
    assert write_alt_texts([described("/p/a.jpg", "Two huskies.", "model/2")], out).written == 1
    assert [(row["path"], row["alt"], row["captioner"]) for row in rows(out)] == [
        ("/p/a.jpg", "Two huskies.", "model/2"),
        ("/p/b.jpg", DOGS, "model/1"),
    ]


@pytest.mark.parametrize("field", ["alt", "captioner", "check"])
def test_entry_that_a_person_edited_is_kept(out: Path, field: str) -> None:
    write_alt_texts([described("/p/a.jpg")], out)
    edited = out.read_text(encoding="utf-8").replace(rows(out)[0][field], "person")
    out.write_text(edited, encoding="utf-8")
    assert write_alt_texts([described("/p/a.jpg", "Other.", "model/2")], out) == AltReport(0, 1, (), str(out))
    assert out.read_text(encoding="utf-8").split() == edited.split()


def test_text_that_a_person_emptied_stays_empty(out: Path) -> None:
    write_alt_texts([described("/p/a.jpg")], out)
    out.write_text(out.read_text(encoding="utf-8").replace(DOGS, ""), encoding="utf-8")
    assert write_alt_texts([described("/p/a.jpg", "Other.")], out).kept == 1
    assert rows(out)[0]["alt"] == ""


def test_names_that_are_no_utf8_have_entries_of_their_own(out: Path) -> None:
    names = [os.fsdecode(b"/p/\xff.jpg"), os.fsdecode(b"/p/\xfe.jpg"), "/p/�.jpg"]
    for _ in range(2):
        write_alt_texts([described(name, f"Number {at}.") for at, name in enumerate(names)], out)
        assert [row["alt"] for row in rows(out)] == ["Number 0.", "Number 1.", "Number 2."]
    assert [row.get("path_b64") or None for row in rows(out)] == ["L3Av/y5qcGc=", "L3Av/i5qcGc=", None]


def test_what_people_put_into_a_json_list_stays(tmp_path: Path) -> None:
    out = tmp_path / "alt.json"
    write_alt_texts([described("/p/a.jpg")], out)
    entries = rows(out)
    entries[0] |= {"checked_by": "Ann", "stars": 4.5, "more": [None, True, {"x": "\ud800"}]}
    entries.insert(0, {"path": "/p/z.jpg", "alt": None})
    entries.append({"path": "/p/b.jpg", "alt": "Mine", "path_b64": "?"})
    out.write_text(json.dumps(entries), encoding="utf-8")
    assert write_alt_texts([described(f"/p/{name}.jpg", "New.") for name in "abz"], out) == AltReport(
        2, 1, (), str(out)
    )
    made = rows(out)
    assert made[0] == entries[0]
    assert made[1] == entries[1] | {"alt": "New.", "check": made[1]["check"]}
    assert made[2] == entries[2]
    assert [made[3]["path"], len(made)] == ["/p/b.jpg", 4]


def test_what_people_put_into_a_table_stays(tmp_path: Path) -> None:
    out = tmp_path / "alt.csv"
    table = (
        "\ufeffcaptioner;notes;path;alt\r\n"
        'person;"two\nlines; and ""quotes""";/p/a.jpg;=HYPERLINK("mine")\r\n'
        "\r\n"
        "short\r\n"
        "person;;/p/b.jpg;Mine;over;more\r\n"
    )
    out.write_bytes(table.encode())
    report = write_alt_texts([described(f"/p/{name}.jpg", "New; one.") for name in "abc"], out)
    assert report == AltReport(1, 2, (), str(out))
    made = out.read_bytes().decode()
    lines = list(csv.reader(io.StringIO(made[1:], newline=""), delimiter=";"))
    given = list(csv.reader(io.StringIO(table[1:], newline=""), delimiter=";"))
    assert made.startswith("\ufeffcaptioner;notes;path;alt;check\r\n")
    assert lines[1:-1] == given[1:]
    assert lines[-1][:4] == ["model/1", "", "/p/c.jpg", "New; one."]


FOREIGN: dict[str, bytes] = {
    "a.json": b'{"path": "x", "alt": "y"}',
    "b.json": b'[{"path": "x"}]',
    "c.json": b"[1]",
    "d.json": b'[{"path": "x", "alt": "y"}',
    "e.json": b'[{"path": "x", "alt": "y", "alt": "z"}]',
    "f.json": b'[{"path": "x", "alt": "y", "n": NaN}]',
    "g.json": b'[{"path": "x", "alt": "y", "n": 0.12345678901234567890123}]',
    "h.json": b"",
    "i.json": b"[" * 100_000,
    "j.json": b'[{"path": "x", "alt": "\xff"}]',
    "k.json": b'[{"path": "x", "alt": "y", "n": 1e999}]',
    "l.json": b'[{"path": "x", "alt": "y", "n": ' + b"1" * 5000 + b"}]",
    "a.csv": b"path,text\r\n/p/a.jpg,Mine\r\n",
    "b.csv": b"",
    "c.csv": b"a letter to my mother\r\n",
    "d.csv": "path,alt,captioner\r\n/p/ü.jpg,Mine,me\r\n".encode("latin-1"),
    "e.csv": b'path,alt,captioner\r\n/p/a.jpg,"Mine"x,me\r\n',
    "f.csv": b"path,alt,captioner,alt\r\n",
    "g.csv": b'path,alt,captioner\r\n/p/a.jpg,"Mi',
    "h.csv": b"path,alt,captioner\r\n/p/a.jpg," + b"x" * 200_000 + b",me\r\n",
}


@pytest.mark.parametrize("name", FOREIGN)
def test_file_that_is_no_list_of_ours_is_refused_and_left(tmp_path: Path, name: str) -> None:
    out = tmp_path / name
    out.write_bytes(FOREIGN[name])
    asked: list[Description] = []

    def making() -> Iterator[Description]:
        asked.append(described("/p/a.jpg"))
        yield asked[0]

    with pytest.raises(QueryError, match="left as it is"):
        write_alt_texts(making(), out)
    assert out.read_bytes() == FOREIGN[name]
    assert not asked, "refused before the long part"


@pytest.mark.parametrize("name", ["alt.txt", "alt", "XMP", "nowhere/alt.json", "folder.json", "pipe.csv", ""])
def test_place_that_cannot_be_written_to_is_refused(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.json").mkdir()
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(QueryError):
        check_alt_place(name)
    assert sorted(os.listdir(tmp_path)) == ["folder.json", "pipe.csv"]


@pytest.mark.parametrize(
    "text",
    [
        "=1+1",
        "+1",
        "-1",
        "@SUM(A1)",
        "\t=1",
        " =1",
        "＝1",
        "|calc",
        "'=1",
        "''=1",
        "=cmd|' /C calc'!A0",
        "/p=1",
        "'a",
    ],
)
def test_no_cell_is_a_formula_and_each_is_read_as_it_was(tmp_path: Path, text: str) -> None:
    cell = guarded(text)
    assert cell.strip()[0] not in "=+-@|＝＋－＠"
    out = tmp_path / "alt.csv"
    write_alt_texts([described("/p/a.jpg", text)], out)
    assert all(value.strip()[:1] not in set("=+-@|＝＋－＠") for value in rows(out)[0].values())
    assert CsvList.parse(out.read_bytes()).get(0, "alt") == plain(text)
    assert write_alt_texts([described("/p/a.jpg", "Renewed.")], out).written == 1


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.text(max_size=8), st.text(max_size=30), st.text(max_size=8)), max_size=5))
def test_whatever_is_said_the_list_can_be_read_and_renewed(
    tmp_path_factory: pytest.TempPathFactory, said: list[tuple[str, str, str]]
) -> None:
    folder = tmp_path_factory.mktemp("lists")
    for name in ("alt.json", "alt.csv"):
        one = {"/p/" + plain(path).replace("/", ""): (alt, who) for path, alt, who in said}
        report = write_alt_texts([described(path, *rest) for path, rest in one.items()], folder / name)
        words = {os.path.abspath(path): plain(alt) for path, (alt, _) in one.items() if plain(alt)}
        assert report.written == len(words)
        assert len(report.failed) == len(one) - len(words)
        if words:
            again = write_alt_texts([described(path, "Renewed now.") for path in words], folder / name)
            assert again.written + sum(alt == "Renewed now." for alt in words.values()) == len(words)


def test_texts_are_one_line_that_every_file_can_hold(tmp_path: Path) -> None:
    assert plain("a\r\n\tb\x00\x1b[31m\u202ec\ud800\ufffe\u2028d 👩‍👩‍👧") == "a b [31mc d 👩‍👩‍👧"
    assert len(plain("word " * 1000)) <= MAX_ALT
    assert plain("x" * 5000) == "x" * (MAX_ALT - 1) + "…"
    assert write_alt_texts([described("/p/a.jpg", " \u202e\n")], tmp_path / "alt.json").failed == (
        (Path("/p/a.jpg"), "There are no words for it."),
    )
    assert os.listdir(tmp_path) == []


def test_what_was_made_before_an_error_is_saved(out: Path) -> None:
    def making() -> Iterator[Description]:
        yield described("/p/a.jpg")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_alt_texts(making(), out)
    assert [row["alt"] for row in rows(out)] == [DOGS]


def test_list_that_is_saved_by_others_meanwhile_is_merged(out: Path) -> None:
    write_alt_texts([described("/p/a.jpg"), described("/p/b.jpg")], out)

    def making() -> Iterator[Description]:
        out.write_text(out.read_text(encoding="utf-8").replace(DOGS, "Mine.", 1), encoding="utf-8")
        write_alt_texts([described("/p/other.jpg", "Other.")], out)
        for name in "abc":
            yield described(f"/p/{name}.jpg", "New.", "model/2")

    write_alt_texts(making(), out)
    assert [(row["path"][3:-4], row["alt"]) for row in rows(out)] == [
        ("a", "Mine."), ("b", "New."), ("other", "Other."), ("c", "New."),
    ]  # fmt: skip


def test_list_that_appears_meanwhile_is_merged_or_left(tmp_path: Path) -> None:
    out = tmp_path / "alt.json"

    def making(content: str) -> Iterator[Description]:
        yield described("/p/a.jpg")
        out.write_text(content)

    write_alt_texts(making('[{"path": "/p/z.jpg", "alt": "Mine"}]'), out)
    assert [row["path"] for row in rows(out)] == ["/p/z.jpg", "/p/a.jpg"]
    out.unlink()
    with pytest.raises(QueryError, match="left as it is"):
        write_alt_texts(making("my notes"), out)
    assert out.read_text() == "my notes"


def test_list_on_a_full_disk_stays_as_it_was(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_alt_texts([described("/p/a.jpg")], out)
    before = out.read_bytes()
    full_disk(monkeypatch)
    with pytest.raises(RetrievalError, match="No space left"):
        write_alt_texts([described("/p/b.jpg")], out)
    assert out.read_bytes() == before
    assert os.listdir(out.parent) == [out.name]


def test_list_that_would_lose_something_is_not_written(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_alt_texts([described("/p/a.jpg"), described("/p/b.jpg")], out)
    before = out.read_bytes()
    less = FORMATS[out.suffix]().dump()
    monkeypatch.setattr(FORMATS[out.suffix], "dump", lambda content: less)
    with pytest.raises(RetrievalError, match="was not written"):
        write_alt_texts([described("/p/c.jpg")], out)
    assert out.read_bytes() == before


def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", refuse)


def test_several_lists_get_the_texts_and_each_keeps_what_a_person_wrote(tmp_path: Path) -> None:
    first, second = tmp_path / "a.json", tmp_path / "b.csv"
    write_alt_texts([described("/p/a.jpg")], second)
    second.write_text(second.read_text("utf-8").replace(DOGS, "Mine."), "utf-8")
    report = write_alt_texts([described("/p/a.jpg"), described("/p/b.jpg")], [first, second])
    assert report == AltReport(2, 0, (), f"{first}, {second}")
    assert [row["alt"] for row in rows(first)] == [DOGS, DOGS]
    assert [row["alt"] for row in rows(second)] == ["Mine.", DOGS]
    again = write_alt_texts([described("/p/a.jpg"), described("/p/b.jpg")], [first, second])
    assert (again.written, again.kept) == (0, 2)


def test_nothing_is_written_beside_pictures_where_the_list_cannot_be_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from retrieval.describing import alt_lists

    def full(path: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    picture = tmp_path / "a.jpg"
    picture.write_bytes(b"no matter")
    monkeypatch.setattr(alt_lists, "create", full)
    with pytest.raises(OSError, match="No space"):
        write_alt_texts([described(picture)], ["xmp", tmp_path / "alt.json"])
    assert [path.name for path in tmp_path.iterdir()] == ["a.jpg"]


def test_beside_pictures_go_the_words_of_the_list(tmp_path: Path) -> None:
    from retrieval.describing.sidecars import alt_beside

    pictures = [tmp_path / f"{name}.jpg" for name in "abc"]
    for picture in pictures:
        picture.write_bytes(b"no matter")
    out = tmp_path / "alt.json"
    write_alt_texts([described(picture) for picture in pictures], out)
    entries = rows(out)
    entries[0]["alt"], entries[1]["alt"] = "Mine.", ""
    out.write_text(json.dumps(entries), "utf-8")
    report = write_alt_texts([described(picture) for picture in pictures], ["xmp", out])
    assert (report.written, report.kept, report.failed) == (2, 1, ())
    assert [alt_beside(picture) for picture in pictures] == ["Mine.", None, DOGS]
