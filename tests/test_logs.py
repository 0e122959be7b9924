"""The journal: what it says, what it never says, and that it cannot grow, be forged or get in the way."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from retrieval import journal
from retrieval.catalog import Catalog
from retrieval.journal import Log, keeping
from retrieval.journal.keeping import Keeping, LogUnwritable, SharedFile
from tests.conftest import ROOT, draw, json_lines, python

SECRET = "sk-4f6b0a5d9c2e7f81"
WRITER = """
import sys
from pathlib import Path
from retrieval.journal import Log, keeping
keeping.MOST_BYTES = int(sys.argv[3])
kept = keeping.Keeping(Path(sys.argv[1]), verbose=False, errors=None)
kept.start()
for number in range(int(sys.argv[4])):
    Log("retrieval.test").info("written", who=sys.argv[2], number=number)
kept.stop()
"""


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "search.log"


@pytest.fixture
def writes(log: Path) -> Iterator[Callable[..., Log]]:
    """A log that is written to `log`, and read as what it says."""
    kept: list[Keeping] = []

    def begin(*, verbose: bool = False) -> Log:
        kept.append(Keeping(log, verbose=verbose, errors=None))
        kept[-1].start()
        return Log("retrieval.test")

    yield begin
    for one in kept:
        one.stop()


def lines(log: Path) -> list[dict[str, Any]]:
    return json_lines(log.read_text("ascii"))


def test_a_command_says_when_it_begins_and_how_it_ends(
    search: Callable[..., Result], catalog: Path, log: Path
) -> None:
    assert search("status", "--catalog", catalog, "--log-file", log).exit_code == 0
    begun, ended = lines(log)
    assert begun.keys() == {"time", "level", "logger", "pid", "event", "fields"}
    assert (begun["event"], begun["fields"]["command"]) == ("command started", "status")
    assert begun["fields"]["options"] == ["catalog", "log_file"]
    assert (ended["event"], ended["fields"]["exit"]) == ("command ended", 0)
    assert ended["fields"]["seconds"] >= 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["--log-file", "{log}", "status", "--catalog", "{catalog}"],
        ["--log-file={log}", "--catalog", "{catalog}", "status"],
        ["status", "--catalog", "{catalog}", "--log-file", "{log}"],
        ["--log-file", "{log}", "--catalog", "{catalog}", "a red wall", "--all"],
        ["a red wall", "--all", "--catalog", "{catalog}", "--log-file", "{log}"],
        ["texts", "--log-file", "{log}", "list", "--catalog", "{catalog}"],
        ["--log-file", "{log}", "texts", "list", "--catalog", "{catalog}"],
    ],
)
def test_the_option_stands_before_the_command_and_after_it(
    search: Callable[..., Result], catalog: Path, log: Path, arguments: list[str]
) -> None:
    given = [one.format(log=log, catalog=catalog) for one in arguments]
    result = search(*given)
    assert result.exit_code == 0, result.output
    assert [line["event"] for line in lines(log)][:: len(lines(log)) - 1] == [
        "command started",
        "command ended",
    ]


def test_the_variable_names_a_log_and_the_option_goes_before_it(
    search: Callable[..., Result], catalog: Path, log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEARCH_LOG_FILE", str(log))
    search("status", "--catalog", catalog)
    search("status", "--catalog", catalog, "--log-file", tmp_path / "other.log")
    search("texts", "--log-file", tmp_path / "other.log", "list", "--catalog", catalog)
    assert (len(lines(log)), len(lines(tmp_path / "other.log"))) == (2, 4)


def test_verbose_tells_it_on_standard_error_and_nothing_on_standard_output(
    search: Callable[..., Result], catalog: Path
) -> None:
    plain = search("status", "--json", "--catalog", catalog)
    for told in (
        search("-v", "status", "--json", "--catalog", catalog),
        search("status", "--verbose", "--json", "--catalog", catalog),
    ):
        assert told.stdout == plain.stdout
        assert "command started" in told.stderr
        assert "command ended (command='status', exit=0" in told.stderr
    assert plain.stderr == ""


def test_indexing_tells_of_the_model_of_batches_and_of_refusals_without_naming_pictures(
    search: Callable[..., Result], photos: Path, tmp_path: Path, log: Path
) -> None:
    (photos / "family-secret.jpg").write_bytes(b"no picture")
    given = (
        "index",
        photos,
        "--catalog",
        tmp_path / "c",
        "--model",
        "toy",
        "--workers",
        "1",
        "--log-file",
        log,
    )
    assert search(*given).exit_code == 0
    told = {line["event"]: line["fields"] for line in lines(log)}
    assert told["model chosen"]["model"] == "toy"
    assert told["batch committed"]["added"] == 6
    assert told["picture refused"]["reason"] == "not-an-image"
    assert "family-secret" not in log.read_text("ascii")
    search("index", "--retry", "--catalog", tmp_path / "c", "--verbose", "--log-file", log)
    assert str(photos / "family-secret.jpg") in log.read_text("ascii")


def test_a_query_is_never_in_it(search: Callable[..., Result], catalog: Path, log: Path) -> None:
    for asked in (
        ["the secret wedding"],
        ["find", "the secret wedding", "--camera", "wedding"],
        ["ask", "who was at the secret wedding?"],
        ["texts", "list", "--nonsense-wedding"],
        ["find", "2:wedding + "],
        ["find", "@wedding"],
    ):
        search(*asked, "--catalog", catalog, "--verbose", "--log-file", log)
    assert len(lines(log)) >= 8
    told = [line for line in lines(log) if line["fields"].get("error") is None]
    assert "wedding" not in json.dumps(told)
    search("@wedding", "--catalog", catalog, "--log-file", log.with_name("plain.log"))
    assert lines(log.with_name("plain.log"))[-1]["fields"]["error"] == "QueryError"
    assert "wedding" not in log.with_name("plain.log").read_text("ascii")


@pytest.mark.parametrize("verbose", [False, True])
def test_no_secret_is_written_wherever_it_turns_up(
    writes: Callable[..., Log], log: Path, monkeypatch: pytest.MonkeyPatch, verbose: bool
) -> None:
    monkeypatch.setenv("SEARCH_ENDPOINT_KEY", SECRET)
    told = writes(verbose=verbose)
    journal.conceal("tok-given-as-an-option")
    told.warning("one", text=f"asked with {SECRET}", inner={"deep": [SECRET]})
    told.warning("two", place="postgresql://ann:hunter2@db/photos", error=ValueError("http://a:hunter2@b/"))
    told.warning("three", text="Authorization: Bearer hunter2hunter2", other="tok-given-as-an-option")
    told.warning("four", text="http://localhost:7788/?token=hunter2&k=1", more='{"api_key": "hunter2"}')
    logging.getLogger("another").warning("password=hunter2 %s", SECRET)
    written = log.read_text("ascii")
    assert len(lines(log)) == 5
    assert not {word for word in (SECRET, "hunter2", "tok-given") if word in written}


def test_a_name_cannot_forge_a_line(
    writes: Callable[..., Log], log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = writes(verbose=True)
    shown = keeping.Lines(sys.stderr)
    logging.getLogger().addHandler(shown)
    forged = 'a\n{"level": "error"}\r\x1b[2J\u202egpj.\udcff\u2028'
    told.info("met", picture=Path("/p") / forged, text=forged, forged={forged: forged})
    told.exception(f"odd{forged}")
    logging.getLogger("another").warning(forged.replace("\udcff", ""))  # pytest keeps that one, as UTF-8
    logging.getLogger().removeHandler(shown)
    assert len(lines(log)) == len(log.read_bytes().splitlines()) == 3
    assert lines(log)[0]["fields"]["picture"] == f"/p/{forged}"
    error = capsys.readouterr().err
    assert len(error.split("\n")) == 4
    assert all(character.isprintable() or character == "\n" for character in error)


def test_a_path_is_a_digest_unless_all_is_told(writes: Callable[..., Log], log: Path) -> None:
    told = writes()
    told.info("met", picture=Path("/home/ann/a.jpg"))
    told.info("met", picture=Path("/home/ann/a.jpg"))
    told.debug("not met", picture=Path("/home/ann/a.jpg"))
    first, second = (line["fields"]["picture"] for line in lines(log))
    assert first == second != str(Path("/home/ann/a.jpg"))
    assert first.startswith("path:")


def test_a_fault_of_the_program_is_one_sentence_and_its_places_are_in_the_log(
    search: Callable[..., Result], catalog: Path, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise KeyError("what was asked")

    monkeypatch.setattr(Catalog, "status", broken)
    bare = search("status", "--catalog", catalog, faults=True)
    assert (bare.exit_code, bare.stdout) == (1, "")
    assert bare.stderr.count("\n") == 1
    assert "--verbose" in bare.stderr
    kept = search("status", "--catalog", catalog, "--log-file", log, faults=True)
    assert (kept.exit_code, kept.stderr.count("\n"), str(log) in kept.stderr) == (1, 1, True)
    failed = next(line for line in lines(log) if line["level"] == "error")
    assert failed["fields"]["error"] == "KeyError"
    assert any("test_logs.py" in place and place.endswith("broken") for place in failed["fields"]["trace"])
    assert "what was asked" not in log.read_text("ascii")
    assert lines(log)[-1]["fields"]["exit"] == 1
    told = search("status", "--catalog", catalog, "-v", faults=True)
    assert "  at " in told.stderr
    assert "Traceback" not in told.stderr


def test_a_log_is_bounded_and_old_ones_go(
    log: Path, monkeypatch: pytest.MonkeyPatch, writes: Callable[..., Log]
) -> None:
    monkeypatch.setattr(keeping, "MOST_BYTES", 2000)
    told = writes()
    for number in range(200):
        told.info("written", number=number)
    kept = sorted(log.parent.glob("search.log*"))
    assert [path.name for path in kept] == ["search.log", *(f"search.log.{number}" for number in range(1, 5))]
    assert all(path.stat().st_size <= 2000 for path in kept)
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in kept)
    numbers = [line["fields"]["number"] for path in [*kept[:0:-1], kept[0]] for line in lines(path)]
    assert numbers == list(range(numbers[0], 200))


def test_several_processes_lose_no_line_and_break_none(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    count, most = 150, 12_000
    monkeypatch.setattr(keeping, "KEPT", 100)
    script = WRITER.replace("keeping.MOST_BYTES", "keeping.KEPT = 100; keeping.MOST_BYTES")
    running = [
        subprocess.Popen([sys.executable, "-c", script, str(log), who, str(most), str(count)], cwd=ROOT)
        for who in ("one", "two", "three")
    ]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    found = [line["fields"] for path in log.parent.glob("search.log*") for line in lines(path)]
    assert len(list(log.parent.glob("search.log*"))) > 2
    assert sorted((line["who"], line["number"]) for line in found) == sorted(
        (who, number) for who in ("one", "two", "three") for number in range(count)
    )


def test_several_threads_write_whole_lines(writes: Callable[..., Log], log: Path) -> None:
    told = writes()
    threads = [
        threading.Thread(target=lambda: [told.info("written", text="x" * 3000) for _ in range(30)])
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(lines(log)) == 120


def test_what_cannot_be_a_log_is_refused_in_a_sentence(
    search: Callable[..., Result], catalog: Path, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe")
    for place in (tmp_path / "pipe", tmp_path / "none" / "search.log", Path("/dev/full")):
        refused = search("status", "--catalog", catalog, "--log-file", place)
        assert (refused.exit_code, refused.stderr.count("\n")) == (1, 1), refused.output
        assert str(place) in refused.stderr
    with pytest.raises(LogUnwritable):
        SharedFile(tmp_path / "pipe")


def test_a_log_that_can_no_longer_be_written_ends_nothing(
    writes: Callable[..., Log], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = writes()

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    told.info("one")
    told.info("two")
    monkeypatch.undo()
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "No space left" in error


def test_the_library_sets_nothing_up_and_prints_nothing() -> None:
    code = (
        "import sys, retrieval, indexer, cli; from retrieval.journal import Log; "
        "Log('retrieval.x').warning('unheard'); assert 'logging' not in sys.modules, 'logging'; "
        "import logging; Log('retrieval.x').warning('unheard'); Log('retrieval.x').error('unheard'); "
        "print(logging.getLogger().handlers, logging.getLogger('retrieval').level)"
    )
    result = python(code)
    assert (result.stdout, result.stderr) == ("[] 0\n", "")


def test_who_uses_the_library_listens_with_the_standard_tools(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        Log("retrieval.test").info("met", picture=Path("/a.jpg"), count=2)
    [record] = caplog.records
    assert record.name == "retrieval.test"
    assert record.getMessage().startswith("met (picture='path:")
    assert (record.filename, record.funcName) == (Path(__file__).name, sys._getframe().f_code.co_name)


def test_a_picture_with_a_strange_name_is_logged_exactly(
    search: Callable[..., Result], tmp_path: Path, log: Path
) -> None:
    name = os.fsdecode(b"\xff\n\x1b[31m.jpg")
    draw(tmp_path / "photos" / "ok.png", "red")
    (tmp_path / "photos" / name).write_bytes(b"no picture")
    search(
        "index", tmp_path / "photos", "--catalog", tmp_path / "c", "--model", "toy", "--workers", "1",
        "--verbose", "--log-file", log,
    )  # fmt: skip
    [refused] = [line["fields"] for line in lines(log) if line["event"] == "picture refused"]
    assert os.fsencode(refused["picture"]) == os.fsencode(tmp_path / "photos" / name)


@pytest.mark.parametrize("size", [10, 5 << 20])
def test_a_file_that_is_no_log_is_never_written_to(
    tmp_path: Path, catalog: Path, search: Callable[..., Any], size: int
) -> None:
    mine = tmp_path / "mine.png"
    mine.write_bytes(b"x" * size)
    result = search("status", "--catalog", catalog, "--log-file", mine)
    assert result.exit_code == 1
    assert "is no log" in result.stderr
    assert mine.read_bytes() == b"x" * size
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("mine")] == ["mine.png"]


def test_a_log_that_cannot_be_opened_is_one_line(tmp_path: Path, catalog: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "cli", "status", "--catalog", str(catalog), "--log-file", "/nosuch/x.log"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (ran.returncode, len(ran.stderr.splitlines())) == (1, 1)
