"""Kills while a catalog is upgraded, restored, brought in or copied: all of the old, or all of the new."""

from __future__ import annotations

import contextlib
import gzip
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from indexer import index_folder
from retrieval import Catalog
from retrieval.backup import backup, check, restore
from retrieval.doctor import examine
from retrieval.exchange import export_catalog, import_catalog
from tests.conftest import draw
from tests.torture.ground import Ground, compare, pictures
from tests.torture.outcomes import Outcome

ROOT = Path(__file__).resolve().parents[2]
MADE = ROOT / "tests" / "catalogs"
CHILD = """
import os, signal, sys, threading, time
which, seconds = sys.argv[1], float(sys.argv[2])
from retrieval import Catalog, backup, exchange
from retrieval.db import copies, merging, queries, replacing, upgrading, migrate
import alembic.command
print("ready", flush=True)
sys.stdin.readline()
threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGKILL)).start()
if which == "upgrade":
    Catalog(sys.argv[3]).close()
elif which == "restore":
    backup.restore(sys.argv[3], sys.argv[4])
elif which == "import":
    exchange.import_catalog(sys.argv[3], sys.argv[4])
elif which == "backup":
    backup.backup(sys.argv[3], sys.argv[4])
print("done", flush=True)
os._exit(0)
"""


def run(ground: Ground, times: int, rng: random.Random) -> Outcome:
    outcome = Outcome("schema")
    bench = _Bench(ground, rng)
    trials: tuple[Callable[[Outcome], None], ...] = (
        bench.upgrade, bench.restore, bench.bring_in, bench.copy,
    )  # fmt: skip
    for number in range(times):
        trials[number % len(trials)](outcome)
        outcome.times += 1
    return outcome


class _Bench:
    """What is killed over and over, each time on a fresh copy; and what it should be before and after."""

    def __init__(self, ground: Ground, rng: random.Random) -> None:
        self._ground = ground
        self._rng = rng
        self._lasts = {"upgrade": 0.8, "restore": 0.3, "import": 0.6, "backup": 0.2}
        photos = ground.photos(60)
        self._calm = ground.calm(photos)
        self._backup = ground.folder / "backup.db"
        backup(self._backup, self._calm)
        self._export = ground.folder / "export"
        export_catalog(self._export, self._calm)
        later = ground.folder / "later"
        shutil.copytree(self._calm, later)
        for number in range(20):
            draw(photos / "later" / f"{number}.png", "white", mark=number + 200)
        index_folder(later, photos, model="toy", workers=1)
        self._later = later
        other = ground.place("other")
        draw(ground.folder / "mine" / "own.png", "yellow", mark=250)
        index_folder(other, ground.folder / "mine", model="toy", workers=1)
        self._other = other

    def upgrade(self, outcome: Outcome) -> None:
        place = self._ground.place("upgraded")
        place.mkdir()
        revision = self._rng.choice(["0001", "0002"])
        (place / "catalog.db").write_bytes(gzip.decompress((MADE / f"{revision}.db.gz").read_bytes()))
        before = _dump(place / "catalog.db")
        finished = self._killed("upgrade", place)
        began = time.monotonic()
        with contextlib.closing(sqlite3.connect(place / "catalog.db")) as connection:
            now = connection.execute("SELECT version_num FROM alembic_version").fetchone()[0]
        if now == revision and (finished or _dump(place / "catalog.db") != before):
            outcome.half += 1
        with Catalog(place) as opened:
            if len(opened.search("red", cutoff=False, limit=20)) != (7 if revision == "0001" else 6):
                outcome.lost += 1
        kept = list((place / "backups").glob("before-*.db"))
        if not kept or any(_dump(one) != before for one in kept):
            outcome.wrong.append(
                f"an upgrade from {revision} was killed, and its backup is not what was there"
            )
        self._sound(outcome, place, began)

    def restore(self, outcome: Outcome) -> None:
        place = self._ground.place("restored")
        shutil.copytree(self._later, place)
        finished = self._killed("restore", self._backup, place)
        began = time.monotonic()
        now = pictures(place)
        if now == pictures(self._calm):
            kept = list((place / "backups").glob("before-restore-*.db"))
            if not any(_dump(one) == _dump(self._later / "catalog.db") for one in kept):
                outcome.wrong.append("a catalog was restored, and what it was before is not kept")
        elif finished or now != pictures(self._later):
            outcome.half += 1
        restore(self._backup, place)
        compare(outcome, place, self._calm, when="after a restore that was killed")
        self._sound(outcome, place, began)

    def bring_in(self, outcome: Outcome) -> None:
        place = self._ground.place("brought")
        shutil.copytree(self._other, place)
        before = pictures(place)
        finished = self._killed("import", self._export, place)
        began = time.monotonic()
        all_of_it = {picture.path for picture in [*before, *pictures(self._calm)]}
        now = pictures(place)
        if now != before and {picture.path for picture in now} != all_of_it:
            outcome.half += 1
        if finished and now == before:
            outcome.lost += 1
        import_catalog(self._export, place)
        now = pictures(place)
        outcome.doubled += len(now) - len({picture.path for picture in now})
        outcome.lost += len(all_of_it - {picture.path for picture in now})
        self._sound(outcome, place, began)

    def copy(self, outcome: Outcome) -> None:
        folder = self._ground.place("copies")
        folder.mkdir()
        file = folder / "b.db"
        finished = self._killed("backup", file, self._later)
        began = time.monotonic()
        if file.exists():
            check(file)
            if _dump(file) != _dump(self._later / "catalog.db"):
                outcome.half += 1
        elif finished:
            outcome.lost += 1
        left = [one.name for one in folder.iterdir() if one != file and not one.name.startswith(".search-")]
        if left:
            outcome.wrong.append(f"a backup was killed and left {left[0]}")
        file.unlink(missing_ok=True)
        backup(file, self._later)
        outcome.recoveries.append(time.monotonic() - began)

    def _killed(self, which: str, *arguments: Path) -> bool:
        """Run it, and kill it somewhere on its way; whether it had said before that all was done."""
        seconds = self._rng.uniform(0, 1.1 * self._lasts[which])
        command = [sys.executable, "-c", CHILD, which, str(seconds), *map(str, arguments)]
        with subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as child:
            assert child.stdin is not None
            assert child.stdout is not None
            child.stdout.readline()
            began = time.monotonic()
            child.stdin.write(b"\n")
            child.stdin.close()
            finished = child.stdout.read() == b"done\n"
            child.wait()
        # What took less than was thought is cut short earlier the next time; what took more, later.
        took = time.monotonic() - began
        self._lasts[which] = took if finished else max(self._lasts[which] * 1.05, took)
        return finished

    def _sound(self, outcome: Outcome, place: Path, began: float) -> None:
        outcome.recoveries.append(time.monotonic() - began)
        for finding in examine(place):
            if finding.kind not in ("files", "cache", "texts", "vectors"):
                outcome.wrong.append(f"{place.name}: {finding.detail}")


def _dump(file: Path) -> list[str]:
    with contextlib.closing(sqlite3.connect(file)) as connection:
        return [line for line in connection.iterdump() if "sqlite_sequence" not in line]
