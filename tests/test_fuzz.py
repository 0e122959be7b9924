"""Every input that was kept from fuzzing is read again, and what thinks up inputs finds what is broken."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests import fuzz
from tests.fuzz import HARNESSES, Harness, engine


@pytest.mark.parametrize("name", HARNESSES)
def test_no_kept_input_breaks_its_reader(name: str) -> None:
    harness = Harness.load(name)
    harness.one(harness.seeds[0])  # what has to be made and imported first is not counted
    for number, data in enumerate(harness.seeds):
        try:
            with engine.in_time():
                harness.one(data)
        except Exception as error:
            raise AssertionError(f"{name}, seed {number}: {data[:200]!r}") from error


def test_every_harness_is_run_and_every_seed_has_one() -> None:
    parts = {"__init__", "__main__", "engine", "library"}
    assert {path.stem for path in fuzz.HERE.glob("*.py")} - parts == set(HARNESSES)
    assert {path.name for path in fuzz.SEEDS.iterdir()} <= set(HARNESSES)
    assert all(path.stat().st_size <= 4096 for path in fuzz.SEEDS.glob("*/*"))


def test_chance_finds_a_reader_that_breaks_and_keeps_the_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "FOUND", tmp_path)

    def fragile(data: bytes) -> None:
        if b"<<" in data:
            raise ZeroDivisionError("it was to be found")

    harness = Harness("fragile", fragile, (b"a < b", b"plain"), (b"<<",), 64)
    with pytest.raises(ZeroDivisionError, match="to be found"):
        engine._by_chance(harness, 20.0, 1)
    (kept,) = tmp_path.iterdir()
    assert b"<<" in kept.read_bytes()
    assert kept.name.startswith("fragile-crash-")


def test_an_input_that_takes_too_long_is_a_finding() -> None:
    def endless() -> None:
        while True:
            pass

    with engine.in_time(1), pytest.raises(TimeoutError, match="longer than 1 seconds"):
        endless()


def test_changed_inputs_are_bounded_and_differ() -> None:
    harness = Harness("any", lambda data: None, (b"abcdef" * 20, b""), (b"WORD",), 100)
    draw = random.Random(3)
    made = {engine.changed(draw, harness) for _ in range(300)}
    assert len(made) > 150
    assert max(map(len, made)) <= 100
    assert any(b"WORD" in data for data in made)
