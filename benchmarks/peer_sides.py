"""The programs that `peers.py` measures side by side, and how their runs are taken in turns.

Importing this imports nothing heavy.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Protocol

import machine
import memory
import peer_rclip
from machine import Cost
from peer_rclip import Rclip

QUERY = "a dog"
FEW = 16
"""Photos of the short runs, which tell what a run costs whatever it does."""
PAUSE = 0.02


class Side(Protocol):
    """A program that indexes a folder and answers one query about it."""

    def calls(self, photos: Path, /) -> list[list[str]]:
        """The commands of that, one after the other."""

    def fresh(self) -> None:
        """Forget all that was indexed."""

    def here(self, photos: Path, /) -> AbstractContextManager[None]:
        """The surroundings that the commands need."""

    def done(self, said: Sequence[str], /) -> int:
        """How many photos those commands indexed."""

    def alone(self, said: Sequence[str], /) -> float | None:
        """The seconds spent on photos, where a program tells them itself."""


@dataclass(frozen=True, slots=True)
class Ours:
    spec: str
    place: Path

    def calls(self, photos: Path) -> list[list[str]]:
        index = machine.command("index", photos, "--catalog", self.place, "--model", self.spec, "--json")
        return [index, ask(self.place)]

    def fresh(self) -> None:
        machine.clear(self.place)

    def here(self, _photos: Path, /) -> AbstractContextManager[None]:
        return contextlib.nullcontext()

    def done(self, said: Sequence[str]) -> int:
        return int(json.loads(said[0])["added"])

    def alone(self, _said: Sequence[str], /) -> float | None:
        return None


@dataclass(frozen=True, slots=True)
class Theirs:
    """rclip, whose one command does both."""

    rclip: Rclip
    data: Path

    def calls(self, _photos: Path, /) -> list[list[str]]:
        return [self.rclip.ask(QUERY, indexing=True)]

    def fresh(self) -> None:
        (self.data / peer_rclip.DATABASE).unlink(missing_ok=True)

    def here(self, photos: Path) -> AbstractContextManager[None]:
        return peer_rclip.at(photos, self.data)

    def done(self, _said: Sequence[str], /) -> int:
        return peer_rclip.count(self.data)

    def alone(self, _said: Sequence[str], /) -> float | None:
        return None


@dataclass(frozen=True, slots=True)
class Loop:
    """A plain loop around open_clip, which answers nothing and keeps nothing."""

    architecture: str
    checkpoint: str

    def calls(self, photos: Path) -> list[list[str]]:
        script = str(Path(__file__).with_name("plain_loop.py"))
        return [[*machine.python("")[:1], script, str(photos), self.architecture, self.checkpoint]]

    def fresh(self) -> None:
        pass

    def here(self, _photos: Path, /) -> AbstractContextManager[None]:
        return contextlib.nullcontext()

    def done(self, said: Sequence[str]) -> int:
        return int(json.loads(said[0])["pictures"])

    def alone(self, said: Sequence[str], /) -> float | None:
        return float(json.loads(said[0])["seconds"])


@dataclass(frozen=True, slots=True)
class Rates:
    """Images a second, medians of some runs."""

    whole: float
    """Over the run as a whole, from nothing to the answer of one query."""
    steady: float
    """Without what a run over a few photos takes already."""
    fixed: float
    """Seconds that a run takes before and after its photos."""


def ask(place: Path, query: str = QUERY) -> list[str]:
    return machine.command("find", query, "--json", "--no-server", "--catalog", place)


def together(costs: Sequence[Cost]) -> Cost:
    """The cost of commands one after the other."""
    return Cost(sum(cost.wall for cost in costs), sum(cost.cpu for cost in costs), max(c.peak for c in costs))


@dataclass(frozen=True, slots=True)
class Run:
    """Indexing from nothing, and the answer of one query."""

    cost: Cost
    alone: float | None


def index(side: Side, photos: Path) -> Run:
    """Each command a fresh process."""
    side.fresh()
    with side.here(photos):
        ran = [machine.run(call) for call in side.calls(photos)]
    said = [output for _, output in ran]
    _check(side, photos, said)
    return Run(together([cost for cost, _ in ran]), side.alone(said))


def peak(side: Side, photos: Path) -> int:
    """The most memory that the commands' processes hold together, a page that several share once.

    A run of its own: looking that often takes time from what is looked at.
    """
    most, said = 0, []
    side.fresh()
    with side.here(photos):
        for call in side.calls(photos):
            process = subprocess.Popen(
                call, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, text=True
            )
            while process.poll() is None:
                most = max(most, sum(map(memory.proportional_bytes, memory.family(process.pid))))
                time.sleep(PAUSE)
            said.append(process.communicate()[0])
            if process.returncode:
                raise SystemExit(f"{' '.join(call)[:300]} ended with {process.returncode}")
    _check(side, photos, said)
    return most


def _check(side: Side, photos: Path, said: Sequence[str]) -> None:
    wanted = sum(1 for _ in photos.iterdir())
    if (done := side.done(said)) != wanted:
        raise SystemExit(f"{type(side).__name__} indexed {done} of {wanted} photos")


def rates(sides: Mapping[str, Side], few: Path, many: Path, rounds: int) -> dict[str, Rates]:
    """Short and long runs of all sides in turns, after one short run of each that does not count.

    The steady rate is that of the photos by which the long runs exceed the short ones, or what the
    program tells itself. A trial with a tiny model may be too short to tell: then it is the whole.
    """
    short: dict[str, list[Run]] = {name: [] for name in sides}
    long: dict[str, list[Run]] = {name: [] for name in sides}
    for side in sides.values():
        index(side, few)
    for _ in range(rounds):
        for name, side in sides.items():
            short[name].append(index(side, few))
            long[name].append(index(side, many))
    less, count = (sum(1 for _ in folder.iterdir()) for folder in (few, many))
    found = {}
    for name in sides:
        end = median(run.cost.wall for run in long[name])
        start = median(run.cost.wall for run in short[name])
        told = [run.alone for run in long[name] if run.alone is not None]
        if told:
            steady = count / median(told)
        else:
            steady = (count - less) / (end - start) if end > start else count / end
        found[name] = Rates(count / end, steady, end - count / steady)
    return found


def in_turns(calls: Mapping[str, Callable[[], Cost]], rounds: int) -> dict[str, Cost]:
    """Medians of calls in turns, after one round that does not count."""
    costs: dict[str, list[Cost]] = {name: [] for name in calls}
    for number in range(rounds + 1):
        for name, call in calls.items():
            cost = call()
            if number:
                costs[name].append(cost)
    return {name: machine.middle(taken) for name, taken in costs.items()}


def write_photos(folder: Path, count: int, size: tuple[int, int]) -> None:
    """A folder of `many` photos and one of `few` of them, no two alike.

    Four are made of one drawing, which takes longer than what is measured: turned and mirrored.
    """
    from PIL import Image

    turns = Image.Transpose
    ways = (None, turns.FLIP_LEFT_RIGHT, turns.FLIP_TOP_BOTTOM, turns.ROTATE_180)
    for name in ("many", "few"):
        (folder / name).mkdir(parents=True)
    for number in range(count):
        drawn, way = divmod(number, len(ways))
        if way == 0:
            picture = machine.draw_photo(drawn, size if drawn % 4 else (size[1], size[0]))
        kind = ways[way]
        turned = picture if kind is None else picture.transpose(kind)
        path = folder / "many" / f"{number:05}.jpg"
        turned.save(path, quality=90)
        if number < FEW:
            os.link(path, folder / "few" / path.name)
