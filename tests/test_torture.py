"""The fault matrix in its short version, and that it can tell a broken promise when it sees one."""

from __future__ import annotations

import json
import os
import random
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.browsing import ROOT
from tests.torture import __main__ as matrix
from tests.torture import shim
from tests.torture.__main__ import FAULTS, Fault
from tests.torture.children import look
from tests.torture.disk import Disk
from tests.torture.ground import Ground, compare, same_answers
from tests.torture.kills import stood
from tests.torture.outcomes import Outcome, table

SEED = int(os.environ.get("SEARCH_TORTURE_SEED", "1"))
needs_shim = pytest.mark.skipif(bool(shim.unavailable()), reason=shim.unavailable())


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_promise_holds_in_the_short_matrix(fault: Fault) -> None:
    (outcome,) = matrix.run([fault], quick=True, seed=SEED)
    if outcome.skipped:
        pytest.skip(outcome.skipped)
    assert outcome.wrong == []
    assert (outcome.lost, outcome.doubled, outcome.half) == (0, 0, 0)
    assert outcome.times >= fault.quick


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> tuple[Ground, Path, Path]:
    ground = Ground(tmp_path_factory.mktemp("ground"))
    photos = ground.photos(6)
    return ground, photos, ground.calm(photos)


def damaged(catalog: Path, target: Path, *statements: str) -> Path:
    target.mkdir(parents=True)
    with (
        closing(sqlite3.connect(catalog / "catalog.db")) as source,
        closing(sqlite3.connect(target / "catalog.db")) as copy,
    ):
        source.backup(copy)
        for statement in statements:
            copy.execute(statement)
        copy.commit()
    return target


@pytest.mark.parametrize(
    ("statement", "lost", "half"),
    [
        ("UPDATE images SET title = title", 0, 0),
        ("DELETE FROM images WHERE id = 1", 1, 0),
        ("DELETE FROM embeddings WHERE image_id = 1", 0, 1),
        ("UPDATE embeddings SET vector = zeroblob(64) WHERE image_id = 1", 0, 1),
        ("UPDATE images SET width = 7 WHERE id = 2", 0, 1),
        ("UPDATE images SET missing_at = 1 WHERE id = 2", 0, 1),
    ],
)
def test_what_a_fault_cost_is_counted(
    calm: tuple[Ground, Path, Path], tmp_path: Path, statement: str, lost: int, half: int
) -> None:
    outcome = Outcome("trial")
    compare(outcome, damaged(calm[2], tmp_path / "c", statement), calm[2], when="then", top=False)
    assert (outcome.lost, outcome.doubled, outcome.half) == (lost, 0, half)
    assert outcome.held is not (lost or half)


def test_picture_that_is_there_twice_is_counted(calm: tuple[Ground, Path, Path], tmp_path: Path) -> None:
    catalog = damaged(
        calm[2],
        tmp_path / "c",
        "CREATE TABLE loose AS SELECT * FROM images",  # without the rule that a path stands there once
        "DROP TABLE images",
        "ALTER TABLE loose RENAME TO images",
        "INSERT INTO images SELECT * FROM images WHERE id = 1",
    )
    outcome = Outcome("trial")
    compare(outcome, catalog, calm[2], when="then", top=False)
    assert outcome.doubled == 1
    assert not outcome.held


def test_other_order_of_answers_is_told(calm: tuple[Ground, Path, Path], tmp_path: Path) -> None:
    catalog = damaged(calm[2], tmp_path / "c", "UPDATE images SET missing_at = 1 WHERE id = 2")
    outcome = Outcome("trial")
    compare(outcome, catalog, calm[2], when="then")
    assert outcome.wrong == ["then: other top ten than the undisturbed run"]


@pytest.mark.parametrize(
    ("found", "same"),
    [
        ({"a": 0.9, "b": 0.5, "c": 0.5}, True),
        ({"b": 0.5, "d": 0.5, "a": 0.9}, True),  # as good as the one whose place it has
        ({"a": 0.9, "b": 0.5}, False),
        ({"d": 0.9, "b": 0.5, "c": 0.5}, False),
        ({"a": 0.9, "b": 0.5, "d": 0.6}, False),
        ({"a": 0.8, "b": 0.5, "c": 0.5}, False),
        ({}, False),
    ],
)
def test_answers_are_the_same_but_for_equal_scores_at_their_end(found: dict[str, float], same: bool) -> None:
    assert same_answers(found, {"a": 0.9, "b": 0.5, "c": 0.5}) is same


def test_picture_that_should_not_be_there_is_told(calm: tuple[Ground, Path, Path], tmp_path: Path) -> None:
    catalog = damaged(
        calm[2], tmp_path / "c", "UPDATE images SET path = CAST('/elsewhere' AS BLOB) WHERE id = 1"
    )
    outcome = Outcome("trial")
    compare(outcome, catalog, calm[2], when="then", top=False)
    assert outcome.lost == 1
    assert outcome.wrong == ["then: 1 pictures that the undisturbed run does not have"]


def crashing(_ground: Ground, _times: int, _rng: random.Random) -> Outcome:
    os.abort()


def raising(_ground: Ground, _times: int, _rng: random.Random) -> Outcome:
    raise ValueError("on purpose")


def losing(_ground: Ground, times: int, _rng: random.Random) -> Outcome:
    return Outcome("losing", times=times, lost=1, recoveries=[0.5])


def hanging(_ground: Ground, _times: int, _rng: random.Random) -> Outcome:
    while True:
        pass


RUN = """
import sys
import tests.torture.__main__ as matrix
matrix.FAULTS = (matrix.Fault({name!r}, {home!r}, 3, 1),)
sys.exit(matrix.main())
"""


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Fault]:
    """Faults of this file, known to the processes that put them in."""

    def registered(name: str) -> Fault:
        fault = Fault(name, f"tests.test_torture:{name}", 3, 1)
        code = RUN.format(name=name, home=fault.home)
        monkeypatch.setattr(matrix, "COMMAND", [sys.executable, "-c", code])
        return fault

    return registered


@pytest.mark.parametrize(("name", "said"), [("crashing", "-6"), ("raising", "1")])
def test_fault_that_breaks_its_own_process_is_reported(
    register: Callable[[str], Fault], name: str, said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    (outcome,) = matrix.run([register(name)], quick=True)
    assert outcome.wrong == [f"the process that put it in ended with {said}"]
    assert not outcome.held
    assert "BROKEN" in capfd.readouterr().err


def test_fault_that_hangs_is_ended_and_reported(
    register: Callable[[str], Fault], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matrix, "LONGEST", 1)
    (outcome,) = matrix.run([register("hanging")], quick=True)
    assert outcome.wrong == ["it did not end within 1 s"]


def test_lost_picture_stands_in_the_table() -> None:
    code = RUN.format(name="losing", home="tests.test_torture:losing")
    ran = subprocess.run(
        [sys.executable, "-c", code, "--one", "losing"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    outcome = Outcome(**json.loads(ran.stdout.splitlines()[-1]))
    assert (outcome.lost, outcome.times, outcome.held) == (1, 3, False)
    head, line = table([outcome]).splitlines()
    assert head.split()[:3] == ["fault", "times", "lost"]
    assert line.split()[:3] == ["losing", "3", "1"]


def test_unknown_fault_is_named() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "tests.torture", "flood"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 2
    assert "there is no fault 'flood'" in ran.stderr


def test_last_commit_that_returned_is_told_from_one_under_way() -> None:
    lines = ["encoded 16", "committing a", "committed", "kept 16", "encoded 16", "encoded 8", "committing b"]
    assert stood(lines, "first") == ("a", "b", 24)
    assert stood([*lines, "committed", "kept 24"], "first") == ("b", "b", 0)
    assert stood(["encoded 3"], "first") == ("first", "first", 3)


def test_damaged_page_is_seen(calm: tuple[Ground, Path, Path], tmp_path: Path) -> None:
    catalog = damaged(calm[2], tmp_path / "c")
    database = catalog / "catalog.db"
    whole, damage = look(database)
    assert damage == ""
    data = bytearray(database.read_bytes())
    for start in range(4096, len(data), 4096):
        data[start : start + 8] = b"\xff" * 8
    database.write_bytes(data)
    assert look(database)[0] != whole
    assert look(database)[1] != ""


WRITING = """
import os, sys
from pathlib import Path
from tests.torture import shim
folder = Path(sys.argv[1])
def put(name, data, flush):
    with open(folder / name, "wb") as file:
        file.write(data)
        file.flush()
        if flush:
            os.fsync(file.fileno())
put("safe", b"s" * 5000, True)
put("loose", b"l" * 5000, False)
put("new.tmp", b"n" * 5000, sys.argv[2] == "flushed")
os.replace(folder / "new.tmp", folder / "old")
if sys.argv[2] == "flushed":
    handle = os.open(folder, os.O_RDONLY)
    os.fsync(handle)
shim.mark("returned")
"""


@needs_shim
@pytest.mark.parametrize("way", ["flushed", "careless"])
def test_power_cut_takes_what_was_not_flushed_and_nothing_else(tmp_path: Path, way: str) -> None:
    folder, log = tmp_path / "disk", tmp_path / "log"
    folder.mkdir()
    (folder / "old").write_bytes(b"o" * 5000)
    disk = Disk(folder)
    environment = {**os.environ, **shim.environment(folder, log=log, nosync=True)}
    subprocess.run([sys.executable, "-c", WRITING, str(folder), way], cwd=ROOT, env=environment, check=True)
    for record in shim.records(log):
        disk.apply(record)
    assert disk.differences() == []
    rng, seen = random.Random(1), set()
    for _ in range(60):
        disk.write_cut(tmp_path / "cut", rng)
        old = (tmp_path / "cut" / "old").read_bytes()
        seen.add("new" if old == b"n" * 5000 else "old" if old == b"o" * 5000 else "neither")
        loose = tmp_path / "cut" / "loose"
        seen.add("all of loose" if loose.exists() and loose.read_bytes() == b"l" * 5000 else "less of loose")
        if way == "flushed":
            assert (tmp_path / "cut" / "safe").read_bytes() == b"s" * 5000
    assert {"all of loose", "less of loose"} < seen
    assert ({"new"} if way == "flushed" else {"old", "new", "neither"}) == seen - {
        "all of loose",
        "less of loose",
    }


@needs_shim
def test_write_past_the_shim_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    disk = Disk(tmp_path / "disk")
    (tmp_path / "disk" / "file").write_bytes(b"unseen")
    assert disk.differences() == ["file is there or is not"]


FAILING = """
import sys
from pathlib import Path
folder = Path(sys.argv[1])
for number in range(3):
    try:
        (folder / f"{number}").write_bytes(b"x")
        print("well")
    except OSError as error:
        print(error.strerror)
"""


@needs_shim
def test_call_fails_when_and_where_it_is_asked_for(tmp_path: Path) -> None:
    folder, switch = tmp_path / "disk", tmp_path / "switch"
    folder.mkdir()

    def said(*fail: str, match: str = "") -> list[str]:
        environment = {**os.environ, **shim.environment(folder, fail=fail, match=match, switch=switch)}
        ran = subprocess.run(
            [sys.executable, "-c", FAILING, str(folder)],
            env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        return [*ran.stdout.splitlines(), *([str(ran.returncode)] if ran.returncode else [])]

    assert said("write:ENOSPC:0") == ["well"] * 3  # the switch is not there yet
    switch.touch()
    assert said("write:ENOSPC:1:1") == ["well", "No space left on device", "well"]
    assert said("write:EIO:0", match="disk/2") == ["well", "well", "Input/output error"]
    assert said("open:EROFS:2") == ["well", "well", "Read-only file system"]
    assert said("write:KILL:0") == ["-9"]
    assert said("write:nothing:0") == ["125"]
