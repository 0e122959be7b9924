"""Several commands that write to one catalog at once, and queries that never stop.

Each either finishes or says who is writing. No picture is doubled, no query fails or meets a lock, and
the next indexing leaves what a single one leaves.
"""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from retrieval import Catalog
from retrieval.errors import RetrievalError
from tests.torture.ground import Ground, compare
from tests.torture.outcomes import Outcome

BUSY = re.compile(r"Error: Another command \(process (\d+)\) is writing to the catalog at .+\n")
SECONDS = 90.0
AT_ONCE = 4
"""Indexers that run in threads of one process, beside those that are processes."""


def run(ground: Ground, times: int, rng: random.Random) -> Outcome:
    outcome = Outcome("writers")
    photos = ground.photos(36)
    calm = ground.calm(photos)
    for number in range(times):
        outcome.times += 1
        one_round(outcome, ground, photos, calm, rng, number)
    return outcome


def one_round(
    outcome: Outcome, ground: Ground, photos: Path, calm: Path, rng: random.Random, number: int
) -> None:
    catalog = ground.place("contested")
    first = number % 3 == 0
    if not first:
        # There is a catalog, of a part, and readers from the beginning.
        ground.index(catalog, photos / "0")
    reading = _Reading(catalog)
    if not first:
        reading.start()
    # The same folder, parts of it, and one by another spelling of the catalog's name.
    link = ground.folder / f"link-{number}"
    link.symlink_to(catalog)
    url = f"sqlite:///{catalog / 'catalog.db'}"
    index = ["index", "--model", "toy", "--workers", "1"]
    writers = [
        [*index, str(photos), "--catalog", str(catalog)],
        [*index, str(photos), "--catalog", rng.choice([str(link), url])],
        [*index, str(photos / rng.choice("123")), str(photos / "4"), "--catalog", str(catalog)],
    ]
    if not first:
        red, green = photos / "0" / "0000.png", photos / "0" / "0007.png"
        writers += rng.sample(
            [
                ["forget", str(photos / "2"), "--catalog", url],
                ["gc", "--catalog", str(link)],
                ["tag", "add", f"tag {number}", "--catalog", str(catalog)],
                [
                    "feedback",
                    f"red {number}",
                    "--good",
                    str(red),
                    "--bad",
                    str(green),
                    "--catalog",
                    str(catalog),
                ],
                ["dupes", "--not", str(red), str(green), "--catalog", str(link)],
            ],
            2,
        )
    began = time.monotonic()
    running = [(words, _command(words)) for words in writers]
    threads = [_Indexer(ground, catalog, photos) for _ in range(rng.choice((0, AT_ONCE)))]
    for thread in threads:
        thread.start()
    finished = 0
    for words, process in running:
        finished += _judged(outcome, words, process)
    for thread in threads:
        thread.join(SECONDS)
        finished += thread.finished
        outcome.wrong += thread.wrong
    if not finished:
        outcome.wrong.append("of all that wrote at once, none finished")
    reading.stop()
    outcome.wrong += reading.wrong[:3]
    if reading.begun and not reading.asked:
        outcome.wrong.append("nothing was asked meanwhile")
    try:
        ground.index(catalog, photos)
        compare(outcome, catalog, calm, when=f"round {number}")
    except RetrievalError as error:
        outcome.wrong.append(f"the run after all others: {error}")
    outcome.recoveries.append(time.monotonic() - began)


def _command(words: Sequence[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "cli", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def _judged(outcome: Outcome, words: Sequence[str], process: subprocess.Popen[str]) -> bool:
    """Whether a command finished; what is neither that nor a catalog that is busy is wrong."""
    name = " ".join(words[:2])
    try:
        _, said = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        outcome.wrong.append(f"{name} did not end within {SECONDS:.0f} s")
        return False
    if process.returncode == 0:
        return True
    busy = BUSY.search(said)
    if busy is None:
        # Whoever comes before there is a catalog, or after its picture was forgotten, is told so.
        if process.returncode != 1 or "Traceback" in said or "no fault of yours" in said or "locked" in said:
            outcome.wrong.append(f"{name} ended with {process.returncode}: {said[-300:]}")
        elif words[0] == "index":
            outcome.wrong.append(f"{name} did not finish, nor say who is writing: {said[-300:]}")
    elif int(busy[1]) == process.pid:
        outcome.wrong.append(f"{name} took itself for another command: {said[-300:]}")
    return False


class _Indexer(threading.Thread):
    """Indexes in a thread of this process."""

    def __init__(self, ground: Ground, catalog: Path, photos: Path) -> None:
        super().__init__()
        self._ground, self._catalog, self._photos = ground, catalog, photos
        self.finished = 0
        self.wrong: list[str] = []

    def run(self) -> None:
        try:
            self._ground.index(self._catalog, self._photos)
            self.finished = 1
        except RetrievalError as error:
            if not BUSY.search(f"Error: {error}\n"):
                self.wrong.append(f"an indexer in a thread: {error}")
        except Exception as error:
            self.wrong.append(f"an indexer in a thread: {type(error).__name__}: {error}")


class _Reading:
    """Queries without a pause: by a catalog that stays open, and by one that is opened each time."""

    def __init__(self, catalog: Path) -> None:
        self._catalog = catalog
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._same), threading.Thread(target=self._anew)]
        self.begun = False
        self.asked = 0
        self.wrong: list[str] = []

    def start(self) -> None:
        self.begun = True
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._over.set()
        for thread in self._threads if self.begun else ():
            thread.join(SECONDS)

    def _same(self) -> None:
        with Catalog(self._catalog) as opened:
            while not self._over.is_set():
                self._ask(opened)

    def _anew(self) -> None:
        while not self._over.is_set():
            try:
                with Catalog(self._catalog) as opened:
                    self._ask(opened)
            except Exception as error:
                self.wrong.append(f"a catalog could not be opened: {type(error).__name__}: {error}")

    def _ask(self, opened: Catalog) -> None:
        try:
            paths = [hit.path for hit in opened.search("red", cutoff=False)]
            self.asked += 1
            if len(set(paths)) != len(paths):
                self.wrong.append(f"a query found a picture twice: {paths}")
        except Exception as error:
            self.wrong.append(f"a query: {type(error).__name__}: {error}")
        os.sched_yield()
