"""The command line as a contract: names, keys and exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from tests.conftest import ROOT, draw, json_lines

Search = Callable[..., Result]


def test_index_json_ends_with_the_report(search: Search, photos: Path, tmp_path: Path) -> None:
    result = search("index", photos, "--catalog", tmp_path / "c", "--model", "toy", "--json")
    report = json.loads(result.stdout.splitlines()[-1])
    assert list(report) == [
        "added", "updated", "unchanged", "moved", "missing", "failed",
        "seconds", "images_per_second", "encoder", "interrupted",
    ]  # fmt: skip
    assert (report["added"], report["encoder"], report["interrupted"]) == (6, "toy/colours/1", False)
    assert result.exit_code == 0


def test_words_that_are_no_command_are_a_query(search: Search, catalog: Path) -> None:
    long = search("find", "red", "--catalog", catalog, "--json").stdout
    assert search("red", "--catalog", catalog, "--json").stdout == long
    assert search("--catalog", catalog, "--json", "red").stdout == long
    hits = json_lines(long)
    assert [list(hit)[:5] for hit in hits] == [["rank", "path", "score", "match", "image_id"]] * 2


def test_a_mistyped_command_is_asked_about(search: Search, catalog: Path) -> None:
    assert "search status" in search("statsu", "--catalog", catalog).stderr
    assert "no command" not in search("red", "--catalog", catalog).stderr


@pytest.mark.parametrize("first", [("--catalog", "{}"), ("--catalog={}",)], ids=["apart", "joined"])
def test_the_catalog_may_be_named_before_the_command(
    search: Search, catalog: Path, tmp_path: Path, first: tuple[str, ...]
) -> None:
    named = [word.format(catalog) for word in first]
    assert json_lines(search(*named, "status", "--json").stdout)[0]["images"] == 6
    (tmp_path / "said.txt").write_text("a red wall\n", "utf-8")
    assert search(*named, "texts", "add", tmp_path / "said.txt").exit_code == 0
    assert "a red wall" in search(*named, "texts", "list").stdout
    assert json_lines(search(*named, "find", "--json", "--", "red").stdout)
    assert json_lines(search(*named, "red", "--json").stdout)  # no command: a query


def test_words_without_quotes_are_one_query(search: Search, catalog: Path) -> None:
    hits = json_lines(search("something", "red", "please", "--catalog", catalog, "--json").stdout)
    assert len(hits) == 2


def test_hits_can_be_had_as_paths(search: Search, catalog: Path, photos: Path) -> None:
    lines = search("red", "--catalog", catalog, "--paths").stdout.splitlines()
    assert lines == [str(photos / "red.png"), str(photos / "trip" / "red-again.jpg")]
    assert search("red", "--catalog", catalog, "--paths", "-0").stdout.split("\0")[:2] == lines


def test_hits_can_be_seen_in_the_terminal_and_in_a_page(
    search: Search, catalog: Path, tmp_path: Path
) -> None:
    assert "red.png" in search("red", "--catalog", catalog).stdout
    assert "red.png" in search("red", "--catalog", catalog, "--preview").stdout
    page = tmp_path / "page.html"
    result = search("red", "--catalog", catalog, "--html", page)
    assert page.read_text().count("data:image/jpeg") >= 2
    assert "2 pictures" in result.stderr


def test_no_good_match_is_said_and_is_no_error(search: Search, catalog: Path) -> None:
    result = search("umbrella", "--catalog", catalog, "--json")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "No good match" in result.stderr
    assert "--all" in result.stderr
    assert len(json_lines(search("umbrella", "--all", "--catalog", catalog, "--json").stdout)) == 6


def test_limit_and_filters_reach_the_search(search: Search, catalog: Path, photos: Path) -> None:
    assert len(json_lines(search("red", "-k", 1, "--catalog", catalog, "--json").stdout)) == 1
    inside = search("red", "--in", photos / "trip", "--catalog", catalog, "--paths").stdout.split()
    assert inside == [str(photos / "trip" / "red-again.jpg")]
    assert search("red", "--before", "1990", "--catalog", catalog, "--paths").stdout == ""


def test_status_json_has_its_keys(search: Search, catalog: Path) -> None:
    (status,) = json_lines(search("status", "--catalog", catalog, "--json").stdout)
    assert list(status) == [
        "catalog", "images", "missing", "failures", "texts", "encoder", "encoders",
        "roots", "store", "cache_fresh", "db_bytes",
    ]  # fmt: skip
    assert (status["images"], status["store"], status["cache_fresh"]) == (6, "flat", True)
    assert status["db_bytes"] > 0


def test_failures_json_has_its_keys(search: Search, catalog: Path, photos: Path) -> None:
    (photos / "bad.jpg").write_bytes(b"")
    search("index", photos, "--catalog", catalog)
    (failure,) = json_lines(search("failures", "--catalog", catalog, "--json").stdout)
    assert list(failure) == ["path", "reason", "detail"]
    assert failure["reason"] == "empty"
    assert "bad.jpg" in search("failures", "--catalog", catalog).stdout


def test_manage_commands_do_what_they_say(search: Search, catalog: Path, photos: Path) -> None:
    assert json_lines(search("forget", photos / "trip", "--catalog", catalog, "--json").stdout) == [
        {"forgotten": 2}
    ]
    (photos / "blue.png").unlink()
    search("index", photos / "..", "--exclude", "trip/", "--catalog", catalog)
    assert json_lines(search("gc", "--catalog", catalog, "--json").stdout)[0]["images"] == 1
    assert "flat, fresh" in search("rebuild", "--catalog", catalog).stdout
    models = json_lines(search("models", "--json").stdout)
    assert {"starter"} <= {model["name"] for model in models}
    assert "built-in" in search("models").stdout


def test_default_catalog_comes_from_the_environment(
    search: Search, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEARCH_MODEL", "toy")
    assert search("index", photos).exit_code == 0
    assert search("red", "--paths").stdout.count("\n") == 2
    assert Path(os.environ["SEARCH_CATALOG"], "catalog.db").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["status"], 1, "search index PATH"),
        (["find", "red"], 1, "There is no catalog"),
        (["index", "{tmp}/nowhere"], 1, "There is no folder"),
        (["index", "{tmp}/photos/red.png"], 1, "is a file, not a folder"),
        (["index", "{tmp}/photos", "--model", "nonsense"], 1, "search models"),
        (["index", "{tmp}/photos", "--model", "starter:huge"], 1, "lite2"),
        (["index", "{tmp}/photos", "--catalog", "{tmp}/photos/red.png"], 1, "is a file"),
        (["index", "{tmp}/photos", "--catalog", "{tmp}/photos/red.png/c"], 1, "Name another with --catalog"),
        (["index"], 1, "Name a folder"),
        (["index", "{tmp}/photos", "--memory", "lots"], 2, "500M"),
        (["index", "{tmp}/photos", "--workers", "0"], 2, "0"),
        (["find"], 2, "QUERY"),
        (["red", "-k", "0"], 2, "-k"),
        (["red", "-k", "many"], 2, "many"),
        (["red", "--json", "--paths"], 2, "cannot go together"),
        (["red", "--min-match", "2"], 2, "min-match"),
        (["red", "--min-match", "nan"], 2, "nan"),
        (["red", "--rerank-seconds", "nan"], 2, "nan"),
        (["red", "--rerank-seconds", "inf"], 2, "inf"),
        (["match", "{tmp}/photos/red.png", "--min-match", "nan"], 2, "nan"),
        (["ask", "red?", "--timeout", "nan"], 2, "nan"),
        (["ask", "red?", "--timeout", "inf"], 2, "inf"),
        (["red", "--nonsense"], 2, "nonsense"),
        (["red", "--catalog", "nosuch://host/name"], 1, "not a database URL"),
        (["index", "{tmp}/photos", "--catalog", "nosuch://host/name"], 1, "not a database URL"),
    ],
)
def test_mistakes_get_one_clear_sentence(
    search: Search, photos: Path, tmp_path: Path, arguments: list[str], code: int, message: str
) -> None:
    result = search(*(argument.replace("{tmp}", str(tmp_path)) for argument in arguments))
    assert result.exit_code == code, result.output
    assert message in result.stderr
    assert result.stdout == ""
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--after", "last summer"], "is not a date"),
        (["--near", "Bergenwichtown"], "is not a place"),
        (["--rerank", "magic"], "No reranker"),
        (["--rerank", "classes"], "no second stage"),
    ],
)
def test_mistakes_of_a_query_get_one_clear_sentence(
    search: Search, catalog: Path, arguments: list[str], message: str
) -> None:
    result = search("red", "--catalog", catalog, *arguments)
    assert result.exit_code == 1
    assert message in result.stderr


def test_rerank_before_the_query_does_not_swallow_it(search: Search, catalog: Path) -> None:
    """The name of a reranker is optional, so the query may stand in its place."""
    rows = json_lines(search("find", "--rerank", "red", "--json", "--catalog", catalog).stdout)
    assert [isinstance(row["rerank_score"], float) for row in rows] == [True, True]
    assert (
        len(json_lines(search("find", "--rerank", "none", "red", "--json", "--catalog", catalog).stdout)) == 2
    )


def test_an_empty_query_gets_one_clear_sentence(search: Search, catalog: Path) -> None:
    result = search("find", "", "--catalog", catalog)
    assert (result.exit_code, "empty" in result.stderr) == (1, True)


COMMAND = [sys.executable, "-m", "cli"]


def test_a_closed_pipe_is_silent(catalog: Path) -> None:
    process = subprocess.Popen(
        [*COMMAND, "red", "--all", "--json", "--catalog", str(catalog)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == b""
    assert process.wait(30) == 0
    process.stderr.close()


@pytest.mark.parametrize("form", [[], ["--json"], ["--paths"], ["--preview"]])
def test_a_closed_stdout_is_no_error(catalog: Path, form: list[str]) -> None:
    shell = " ".join([*COMMAND, "red", *form, "--catalog", str(catalog), ">&-"])
    result = subprocess.run(
        ["sh", "-c", shell], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert (result.returncode, result.stderr) == (0, "")


def test_names_from_the_disk_never_drive_the_terminal(search: Search, tmp_path: Path) -> None:
    folder = tmp_path / "d\x1b[31mred\x07"
    draw(folder / "a\x1b]0;owned\x07.png", "red")
    search("index", folder, "--catalog", tmp_path / "c", "--model", "toy")
    (folder / "gone.png").write_bytes((folder / "a\x1b]0;owned\x07.png").read_bytes())
    search("index", folder, "--catalog", tmp_path / "c")
    (folder / "gone.png").unlink()
    (folder / "b\x1b[2J.jpg").write_bytes(b"")
    said = [
        search("doctor", "--catalog", tmp_path / "c"),
        search("index", folder, "--catalog", tmp_path / "c"),
        search("failures", "--catalog", tmp_path / "c"),
        search("status", "--catalog", tmp_path / "c"),
        search("red", "--catalog", tmp_path / "c"),
        search("index", tmp_path / "no\x1b[31m", "--catalog", tmp_path / "c"),
    ]
    for result in said:
        assert "\x1b" not in result.output + result.stderr
        assert "\x07" not in result.output + result.stderr


def test_a_mode_that_contradicts_the_model_is_refused(search: Search, photos: Path) -> None:
    result = search("index", photos, "--model", "starter:lite0-fast", "--starter-mode", "normal")
    assert (result.exit_code, "contradict" in result.stderr) == (1, True)


def test_a_folder_that_is_not_there_is_named(search: Search, catalog: Path, tmp_path: Path) -> None:
    result = search("red", "--in", tmp_path / "nosuch", "--catalog", catalog)
    assert (result.exit_code, "There is no folder" in result.stderr) == (0, True)


def test_a_full_disk_is_one_sentence_and_loses_nothing(tmp_path: Path, photos: Path) -> None:
    """A limit on the size of files stands in for the full disk: writing fails the same way."""
    for mark in range(120):
        draw(photos / f"{mark:03}.png", "red", mark=mark)
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000));"
        "sys.argv = ['search', 'index', sys.argv[1], '--catalog', sys.argv[2], '--model', 'toy'];"
        "import cli; cli.main()"
    )
    command = [sys.executable, "-c", code, str(photos), str(tmp_path / "c")]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 1, result.stderr
    assert result.stderr.strip().count("\n") == 0, result.stderr
    assert "Traceback" not in result.stderr
    from indexer import index_folder
    from retrieval import Catalog

    assert index_folder(tmp_path / "c", photos, model="toy").interrupted is False
    with Catalog(tmp_path / "c") as opened:
        assert opened.status().images == 126


def test_query_leaves_at_once_and_with_all_that_it_has_to_say(catalog: Path) -> None:
    """What was registered for the end is done; taking the interpreter apart is left out."""
    code = (
        "import atexit, sys, cli\n"
        "class Held:\n"
        "    def __del__(self): print('taken apart')\n"
        "held = Held()\n"
        "atexit.register(print, 'registered')\n"
        f"sys.argv = ['search', 'find', 'red', '--json', '--no-server', '--catalog', {str(catalog)!r}]\n"
        "cli.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    *hits, last = done.stdout.splitlines()
    assert (done.returncode, last) == (0, "registered"), done.stderr
    assert hits
    assert all(json.loads(hit)["path"] for hit in hits)


@pytest.mark.parametrize(
    "asked",
    [
        ("forget", ""),
        ("index", ""),
        ("watch", ""),
        ("backup", ""),
        ("export", ""),
        ("find", "red", "--in", ""),
        ("status", "--catalog", ""),
        ("status", "--log-file", ""),
    ],
)
def test_an_empty_path_is_never_the_folder_at_hand(
    search: Callable[..., Result], catalog: Path, monkeypatch: pytest.MonkeyPatch, asked: tuple[str, ...]
) -> None:
    monkeypatch.chdir(catalog.parent)
    monkeypatch.setenv("SEARCH_CATALOG", str(catalog))
    before = sorted(catalog.parent.iterdir())
    result = search(*asked)
    assert result.exit_code == 2
    assert "a variable that is not set" in result.stderr
    assert sorted(catalog.parent.iterdir()) == before
