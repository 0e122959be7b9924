"""What thinks up inputs: atheris, which watches which lines they reach, or where it is not there, plain chance."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.fuzz import FOUND, GROWN, Harness

MOST_SECONDS = 10
"""One input takes at most that long."""
MOST_MEGABYTES = 2560
WATCHED = ["retrieval", "indexer", "PIL", "json", "csv", "pathspec"]


def guided() -> bool:
    return importlib.util.find_spec("atheris") is not None


def fuzz(name: str, seconds: float, seed: int) -> None:
    """Feed a harness for so long; the process ends with other than 0 where something was found."""
    FOUND.mkdir(exist_ok=True)
    if guided():
        _watched(name, seconds, seed)
    else:
        _by_chance(Harness.load(name), seconds, seed)


def _watched(name: str, seconds: float, seed: int) -> None:
    import atheris

    grown = GROWN / name
    grown.mkdir(parents=True, exist_ok=True)
    # To the end: much is imported at its first use.
    with atheris.instrument_imports(include=WATCHED), tempfile.TemporaryDirectory() as folder:
        harness = Harness.load(name)
        harness.one(harness.seeds[0])  # what has to be made and imported first is not counted
        first, words = Path(folder, "first"), Path(folder, "words")
        first.mkdir()
        for number, data in enumerate(harness.seeds):
            (first / f"{number}").write_bytes(data)
        words.write_text("".join(f'"{_escaped(word)}"\n' for word in harness.words))
        arguments = [
            "fuzz", str(grown), str(first), f"-dict={words}", f"-max_total_time={max(1, int(seconds))}",
            f"-max_len={harness.most}", f"-timeout={MOST_SECONDS}", f"-rss_limit_mb={MOST_MEGABYTES}",
            f"-artifact_prefix={FOUND}/{name}-", f"-seed={seed}", "-print_final_stats=1",
        ]  # fmt: skip

        def one(data: bytes) -> None:
            with _kept(name, data):
                harness.one(data)

        atheris.Setup(arguments, one, internal_libfuzzer=True)
        atheris.Fuzz()


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)


@contextlib.contextmanager
def _kept(name: str, data: bytes) -> Iterator[None]:
    """Keep an input that breaks its reader, under the name that libFuzzer gives it too.

    Not all that goes on at the end of a process lets libFuzzer come to it.
    """
    try:
        yield
    except Exception:
        (FOUND / f"{name}-crash-{hashlib.sha1(data).hexdigest()}").write_bytes(data)
        raise


def _by_chance(harness: Harness, seconds: float, seed: int) -> None:
    """Seeds with bytes turned, cut, doubled and mixed."""
    draw, runs, until = random.Random(seed), 0, time.monotonic() + seconds
    while time.monotonic() < until or not runs:
        data = changed(draw, harness)
        runs += 1
        with _kept(harness.name, data), in_time():
            harness.one(data)
    print(f"stat::number_of_executed_units: {runs}", file=sys.stderr)


def changed(draw: random.Random, harness: Harness) -> bytes:
    """One of the seeds after a few changes."""
    data = bytearray(draw.choice(harness.seeds))
    for _ in range(draw.randrange(1, 6)):
        at = draw.randrange(len(data) + 1)
        size = min(draw.choice((1, 1, 2, 4, 8, 32)), len(data) - at)
        match draw.randrange(6):
            case 0:
                data[at : at + size] = draw.randbytes(size)
            case 1:
                del data[at : at + size]
            case 2:
                data[at:at] = data[at : at + size] * draw.randrange(1, 4)
            case 3 if harness.words:
                data[at : at + draw.choice((0, size))] = draw.choice(harness.words)
            case 4:
                other = draw.choice(harness.seeds)
                data[at:] = other[draw.randrange(len(other) + 1) :]
            case _ if at < len(data):
                data[at] ^= 1 << draw.randrange(8)
    return bytes(data[: harness.most])


@contextlib.contextmanager
def in_time(seconds: int = MOST_SECONDS) -> Iterator[None]:
    """Raise `TimeoutError` where it takes longer, as far as the system can interrupt what runs."""
    if not hasattr(signal, "SIGALRM"):
        yield
        return

    def late(*_: object) -> None:
        raise TimeoutError(f"this took longer than {seconds} seconds")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
