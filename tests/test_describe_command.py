"""`search describe`."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from indexer import IndexReport
from retrieval import Catalog
from retrieval.db.texts_writes import NewText, add_texts
from retrieval.speech import Sight
from tests.chat_server import ChatServer
from tests.conftest import ROOT, draw, json_lines

Search = Callable[..., Result]
REPORT = {
    "described", "unchanged", "failed", "waiting", "offered", "kept", "share_kept", "empty", "captioner",
    "matcher", "seconds", "interrupted",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _no_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("SEARCH_ENDPOINT")]:
        monkeypatch.delenv(name)


@pytest.fixture
def describe(search: Search, catalog: Path) -> Search:
    def run(*arguments: object) -> Result:
        return search("describe", *arguments, "--catalog", catalog)

    return run


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Callable[[ChatServer], None]:
    def use(server: ChatServer) -> None:
        monkeypatch.setenv("SEARCH_ENDPOINT", server.url)
        monkeypatch.delenv("SEARCH_ENDPOINT_MODEL", raising=False)

    return use


# Single pictures


def test_a_picture_gets_a_line_and_whoever_spoke_is_named_on_stderr(describe: Search, photos: Path) -> None:
    result = describe(photos / "red.png")
    assert result.exit_code == 0
    assert result.stdout.strip()
    assert "not a vision-language model" in result.stderr
    assert "not a vision-language model" not in result.stdout


def test_json_is_one_object_a_picture(describe: Search, photos: Path) -> None:
    result = describe(photos / "red.png", photos / "blue.png", "--json")
    found = json_lines(result.stdout)
    assert [row["path"] for row in found] == [str(photos / "red.png"), str(photos / "blue.png")]
    for row in found:
        assert {"path", "caption", "tags", "captioner"} <= row.keys()
        assert row["captioner"].startswith("describer/")


def test_a_picture_that_cannot_be_used_does_not_keep_the_others(
    describe: Search, photos: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no picture")
    result = describe(bad, photos / "none.png", photos / "red.png", "--json")
    assert result.exit_code == 1
    assert [row["path"] for row in json_lines(result.stdout)] == [str(photos / "red.png")]
    assert result.stderr.count("Error: ") == 2
    assert describe(bad).exit_code == 1


def test_a_model_that_goes_away_keeps_what_was_said(
    describe: Search, photos: Path, endpoint: Callable[[ChatServer], None], tmp_path: Path
) -> None:
    with ChatServer("A red wall.") as server:
        endpoint(server)
        assert json_lines(describe(photos / "red.png", "--json").stdout)[0]["caption"] == "A red wall."
    result = describe(photos / "red.png", "--alt-text", tmp_path / "alt.json")
    assert result.exit_code == 1
    assert "does not answer" in result.stderr
    assert not (tmp_path / "alt.json").exists()


def test_alt_texts_go_to_a_list(describe: Search, catalog: Path, photos: Path, tmp_path: Path) -> None:
    with Catalog(catalog) as opened:
        for name in ("red", "blue"):
            opened.tags.set(photos / f"{name}.png", "house")
    result = describe(photos / "red.png", photos / "blue.png", "--alt-text", tmp_path / "alt.csv")
    assert result.exit_code == 0
    assert "alt texts of 2 pictures written" in result.stderr
    with (tmp_path / "alt.csv").open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    assert {row["path"] for row in rows} == {str(photos / "red.png"), str(photos / "blue.png")}
    assert all(row["alt"].endswith(".") for row in rows)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "--library"),
        (["x.jpg", "--library"], "--library"),
        (["x.jpg", "--again"], "--again goes with --library"),
        (["x.jpg", "--candidates", "2"], "--candidates goes with --library"),
        (["x.jpg", "--matcher", "encoder"], "--matcher goes with --library"),
        (["x.jpg", "--limit", "2"], "--limit goes with --library"),
        (["x.jpg", "--in", "."], "Filters go with --library"),
        (["x.jpg", "--write"], "--write goes with --alt-text"),
        (["--library", "--candidates", "0"], "--candidates"),
        (["--library", "--allow-url"], "--allow-url goes with pictures that are named"),
    ],
)
def test_options_that_do_not_fit_are_wrong_usage(describe: Search, arguments: list[str], said: str) -> None:
    result = describe(*arguments)
    assert (result.exit_code, said in result.stderr) == (2, True), result.stderr


def test_a_place_for_alt_texts_is_checked_before_anything_is_described(
    describe: Search, catalog: Path, tmp_path: Path
) -> None:
    result = describe("--library", "--alt-text", tmp_path / "alt.docx")
    assert result.exit_code == 1
    with Catalog(catalog) as opened:
        assert list(opened.descriptions(style="alt")) == []


def test_a_captioner_that_is_not_known_is_an_error_with_the_names(describe: Search, photos: Path) -> None:
    result = describe(photos / "red.png", "--captioner", "describr")
    assert result.exit_code == 1
    assert "Did you mean 'describer'?" in result.stderr


def test_an_error_before_any_word_is_one_sentence(describe: Search, photos: Path) -> None:
    result = describe(photos / "none.png")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: There is no file {photos / 'none.png'}, and the catalog at ")
    assert result.stderr.count("\n") == 1


def test_who_speaks_is_told_once_for_all_pictures(describe: Search, photos: Path) -> None:
    for form in ([], ["--json"]):
        result = describe(photos / "none.png", photos / "red.png", photos / "blue.png", *form)
        assert result.stderr.count("not a vision-language model") == 1


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_whoever_speaks_is_named_once(
    describe: Search, photos: Path, endpoint: Callable[[ChatServer], None], form: list[str]
) -> None:
    pair = photos / "red.png", photos / "blue.png"
    with ChatServer(models=("a-vlm", "b-vlm")) as server:
        endpoint(server)
        for name in ("describer", "endpoint:b-vlm", "endpoint"):
            result = describe(*pair, *form, "--captioner", name)
            (line,) = [line for line in result.stderr.splitlines() if line.startswith("Described by ")]
            who = {"endpoint": "endpoint:a-vlm"}.get(name, name)
            assert line.startswith(f"Described by {who}/"), name
            assert result.stderr.count("\n") == 1, result.stderr
            assert "Described by" not in result.stdout


def test_alt_texts_of_the_describer_inside_pictures_are_told_of(
    describe: Search, catalog: Path, photos: Path, tmp_path: Path, endpoint: Callable[[ChatServer], None]
) -> None:
    with Catalog(catalog) as opened:
        for name in ("red", "blue", "green"):
            opened.tags.set(photos / f"{name}.png", "house")
    told = "2 pictures got an alt text of the built-in describer"
    pair = photos / "red.png", photos / "blue.png"
    assert told not in describe(*pair, "--alt-text", tmp_path / "alt.json").stderr
    result = describe(*pair, "--alt-text", "xmp", "--write")
    assert (result.exit_code, told in result.stderr) == (0, True)
    # What a person has put right in the list is theirs, and a model that looks has looked.
    describe(photos / "green.png", "--alt-text", tmp_path / "mine.json")
    mine = (tmp_path / "mine.json").read_text("utf-8").replace("house", "shed")
    (tmp_path / "mine.json").write_text(mine, "utf-8")
    arguments = photos / "green.png", "--alt-text", tmp_path / "mine.json", "--write", "--json"
    result = describe(*arguments)
    assert b"A shed." in (photos / "green.png").read_bytes()
    assert "got an alt text of" not in result.stderr
    with ChatServer("A wall.") as server:
        endpoint(server)
        result = describe(photos / "yellow.png", "--alt-text", "xmp", "--write")
    assert b"A wall." in (photos / "yellow.png").read_bytes()
    assert "got an alt text of" not in result.stderr


def test_an_alt_text_that_is_not_written_is_an_error_and_the_others_are(
    describe: Search, catalog: Path, photos: Path, tmp_path: Path
) -> None:
    with Catalog(catalog) as opened:
        for name in ("red", "blue", "green"):
            opened.tags.set(photos / f"{name}.png", "house")
    (photos / "red.png").chmod(0o444)
    (photos / "green.png").unlink()
    pictures = [photos / f"{name}.png" for name in ("red", "blue", "green")]
    result = describe(*pictures, "--alt-text", "xmp", "--write")
    assert result.exit_code == 1
    assert f"{photos / 'red.png'}: It is write-protected." in result.stderr
    assert f"{photos / 'green.png'}: It is not there now. Bring the catalog up to date" in result.stderr
    assert "--alt-text xmp without --write" in result.stderr
    assert "alt texts of 1 picture written" in result.stderr
    assert b"A house." in (photos / "blue.png").read_bytes()


def test_lists_are_written_before_anything_beside_or_in_pictures(
    describe: Search, catalog: Path, photos: Path, tmp_path: Path
) -> None:
    with Catalog(catalog) as opened:
        opened.tags.set(photos / "red.png", "house")
        opened.tags.set(photos / "blue.png", "house")
    out = tmp_path / "alt.json"
    describe(photos / "red.png", "--alt-text", out)
    out.write_text(out.read_text("utf-8").replace("house", "shed"), "utf-8")
    both = photos / "red.png", photos / "blue.png"
    result = describe(*both, "--alt-text", "xmp", "--alt-text", out)
    assert result.exit_code == 0
    assert "A shed." in (photos / "red.png.xmp").read_text("utf-8")
    assert "A house." in (photos / "blue.png.xmp").read_text("utf-8")


def test_a_list_that_cannot_be_written_is_told_before_anything_is_described(
    describe: Search, catalog: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "lists" / "alt.json"
    out.parent.mkdir()
    out.write_text("[]")
    out.chmod(0o444)

    def refused(why: str) -> None:
        for arguments in (["--library"], [photos / "red.png"]):
            result = describe(*arguments, "--alt-text", out)
            assert (result.exit_code, result.stdout) == (1, "")
            assert f"alt.json cannot be written to. {why} Name another file." in result.stderr

    refused("It is write-protected.")
    out.unlink()
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path != out.parent and access(path, mode))
    refused("Its folder is write-protected.")
    with Catalog(catalog) as opened:
        assert list(opened.descriptions(style="alt")) == []


# The library


def test_the_library_is_described_and_the_report_comes_last(describe: Search, photos: Path) -> None:
    result = describe("--library", "--json")
    *rows, report = json_lines(result.stdout)
    assert len(rows) == 6
    assert report.keys() - {"note"} == REPORT
    assert (report["described"], report["unchanged"], report["interrupted"]) == (6, 0, False)
    assert {row["path"] for row in rows} >= {str(photos / "red.png")}
    *rows, report = json_lines(describe("--library", "--json").stdout)
    assert (len(rows), report["described"], report["unchanged"]) == (6, 0, 6)


def test_a_library_is_described_by_an_endpoint_and_found_by_that(
    describe: Search, search: Search, catalog: Path, endpoint: Callable[[ChatServer], None]
) -> None:
    said = iter(["A zeppelin above a wall.", *["A wall."] * 5])
    with ChatServer(lambda _body: next(said)) as server:
        endpoint(server)
        result = describe("--library")
        assert result.exit_code == 0, result.stderr
        assert result.stdout.startswith("6 pictures described by endpoint")
        asked = len(server.requests)
        assert describe("--library").stdout.startswith("0 pictures described")
        assert len(server.requests) - asked <= 1  # at most the question which models there are
    hits = json_lines(search("find", "zeppelin", "--json", "--explain", "--catalog", catalog).stdout)
    assert len(hits) == 1
    assert hits[0]["explain"]["told"] > 0.5


def test_several_candidates_filter_themselves_and_the_share_is_told(
    describe: Search, endpoint: Callable[[ChatServer], None]
) -> None:
    said = iter(["A red wall.", "A blue wall.", "A green one."] * 20)
    with ChatServer(lambda _body: next(said)) as server:
        endpoint(server)
        result = describe("--library", "--candidates", "3", "--matcher", "encoder", "--json")
    *rows, report = json_lines(result.stdout)
    assert report["matcher"] == "encoder/toy/colours/1"
    assert 0 < report["kept"] < report["offered"]
    assert report["share_kept"] == round(report["kept"] / report["offered"], 4)
    assert len(rows) + report["empty"] == 6
    assert all(row["caption"].split()[1] in row["path"] for row in rows)


def test_the_share_is_told_to_people_too(describe: Search) -> None:
    result = describe("--library", "--candidates", "2", "--matcher", "encoder")
    assert "the matcher agreed with" in result.stdout
    assert "%" in result.stdout


def test_an_endpoint_that_goes_down_midway_keeps_what_is_done(
    describe: Search, catalog: Path, endpoint: Callable[[ChatServer], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    from retrieval.captioners.endpoint import EndpointSpeaker

    monkeypatch.setattr(EndpointSpeaker, "batch_size", 1)
    with ChatServer("A wall.") as server:
        endpoint(server)
        assert describe("--library", "--limit", "2").exit_code == 0
    result = describe("--library")
    assert result.exit_code == 1
    assert "does not answer" in result.stderr
    with Catalog(catalog) as opened:
        assert len(list(opened.descriptions())) == 2


def test_filters_and_limit_bound_the_library(describe: Search, photos: Path) -> None:
    *rows, report = json_lines(describe("--library", "--in", photos / "trip", "--json").stdout)
    assert (len(rows), report["described"]) == (2, 2)
    *_, report = json_lines(describe("--library", "--limit", "1", "--json").stdout)
    assert (report["described"], report["unchanged"], report["waiting"]) == (1, 2, 3)
    *_, report = json_lines(describe("--library", "--again", "--json").stdout)
    assert report["described"] == 6


def test_a_filter_that_nothing_passes_says_so(describe: Search, photos: Path) -> None:
    result = describe("--library", "--in", photos / "nowhere")
    assert (result.exit_code, result.stdout[:11]) == (0, "0 pictures ")
    assert f"There is no folder {photos / 'nowhere'}." in result.stderr
    assert "No picture of the catalog passes" in describe("--library", "--after", "2090").stderr
    assert "No picture" not in describe("--library").stderr
    assert "No picture" not in describe("--library").stderr


def test_alt_texts_of_the_library_are_its_stored_ones(
    describe: Search, catalog: Path, tmp_path: Path, endpoint: Callable[[ChatServer], None]
) -> None:
    out = tmp_path / "alt.json"
    with ChatServer("A wall.") as server:
        endpoint(server)
        for described in (6, 0):
            *rows, report = json_lines(describe("--library", "--alt-text", out, "--json").stdout)
            assert (len(rows), report["described"]) == (6, described)
            assert report["alt_texts"]["out"] == str(out)
    assert {entry["alt"] for entry in json.loads(out.read_text("utf-8"))} == {"A wall."}
    with Catalog(catalog) as opened:
        assert len(list(opened.descriptions(style="alt"))) == 6
        assert list(opened.descriptions()) == []


def test_originals_change_only_where_that_is_asked_for(
    describe: Search, photos: Path, tmp_path: Path, endpoint: Callable[[ChatServer], None]
) -> None:
    def contents() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in photos.rglob("*.*g")}

    before = contents()
    with ChatServer("A wall.") as server:
        endpoint(server)
        result = describe("--library", "--alt-text", tmp_path / "alt.json", "--alt-text", "xmp")
        assert result.exit_code == 0
        assert contents() == before
        assert len(list(photos.rglob("*.xmp"))) == 6
        (photos / "blue.png.xmp").unlink()
        result = describe(photos / "blue.png", "--alt-text", "xmp", "--write")
    assert result.exit_code == 0, result.stderr
    assert {name for name, data in contents().items() if data != before[name]} == {"blue.png"}


def test_an_empty_catalog_and_none_at_all_are_one_sentence(search: Search, tmp_path: Path) -> None:
    with Catalog(tmp_path / "empty", create=True):
        pass
    for place in (tmp_path / "empty", tmp_path / "nowhere"):
        result = search("describe", "--library", "--catalog", place)
        assert result.exit_code == 1
        assert "search index PATH" in result.stderr


WAITING = """
import sys, time
from retrieval.captioners import describer
caption = describer.Describer.captions
def slowly(self, *given, **more):
    print("at work", file=sys.stderr, flush=True)
    time.sleep(0.2)
    return caption(self, *given, **more)
describer.Describer.captions = slowly
describer.Describer.batch_size = 1
from cli import main
main()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_in_order_and_the_same_command_goes_on(
    tmp_path: Path, index: Callable[..., IndexReport], search: Search, number: int
) -> None:
    for mark in range(30):
        draw(tmp_path / "many" / f"{mark}.png", "red", mark=mark)
    index(tmp_path / "many")
    place = str(tmp_path / "catalog")
    command = [sys.executable, "-c", WAITING, "describe", "--library", "--json", "--catalog", place]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    assert process.stdout is not None
    for line in process.stderr:
        if line == "at work\n":
            break
    process.send_signal(number)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    report = json_lines(output)[-1]
    assert report["interrupted"] is True
    assert "the same command goes on from there" in errors
    assert 1 <= report["described"] < 30
    *_, after = json_lines(search("describe", "--library", "--json", "--catalog", place).stdout)
    assert after["described"] + after["unchanged"] == 30
    assert after["unchanged"] == report["described"]


@pytest.mark.parametrize(
    ("options", "left", "said"),
    [
        ([], 4, "the same command goes on from there."),
        (["--again"], 4, "the same command with --limit 4 describes the rest anew."),
        (["--again", "--limit", "3"], 1, "the same command with --limit 1 describes the rest anew."),
        (["--again", "--limit", "2"], 0, "the same command without --again completes it."),
    ],
)
def test_an_interruption_says_truly_what_goes_on(
    describe: Search, catalog: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], left: int, said: str
) -> None:
    from indexer.stopping import StopSignals
    from retrieval.captioners.describer import Describer

    if options:
        assert describe("--library").exit_code == 0
    caption = Describer.captions
    asked: list[str] = []

    def captions(self: Describer, sights: list[Sight], **more: Any) -> list[list[str]]:
        asked.extend(str(sight.facts.path) for sight in sights)
        return caption(self, sights, **more)

    monkeypatch.setattr(Describer, "captions", captions)
    monkeypatch.setattr(Describer, "batch_size", 2)
    with monkeypatch.context() as patch:
        patch.setattr(StopSignals, "is_set", lambda _self: len(asked) >= 2)
        if options[-1:] == ["2"]:  # all is described, and then texts wait for their vectors
            with Catalog(catalog) as opened, opened.state.writer() as writer:
                add_texts(writer, [NewText("a sentence", "added")])
        result = describe("--library", *options)
    assert (result.exit_code, said in result.stderr) == (130, True), result.stderr
    more = [] if not options else ["--again", "--limit", str(left)] if left else []
    assert describe("--library", *more).exit_code == 0
    assert len(asked) == len(set(asked)) == 2 + left


def test_help_names_every_way_to_describe(search: Search) -> None:
    text = search("describe", "--help").stdout
    assert all(word in text for word in ("--library", "--alt-text", "--candidates", "--captioner", "xmp"))
