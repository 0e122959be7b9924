"""Queries while another process indexes: how much slower the slowest of them become.

    python benchmarks/beside.py [--quick] [--images N]

The budget: the 95th percentile of queries during indexing is at most twice what it is on an idle
machine: of a library that stays open, with a text that is new each time, and of cold commands.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import machine
from outcomes import Results

TIMES = 2.0
MODEL = "starter"
BEGUN_SECONDS = 120.0
DRAWN = 100
LIBRARY, COLD = "library, a new text each time", "search find, cold"

ASK = """
import json, random, sys, time
from retrieval import Catalog
place, seed, seconds, words = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), sys.argv[4].split()
draw, taken = random.Random(seed), []
with Catalog(place) as catalog:
    catalog.search("warm")
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        text = " ".join(draw.sample(words, 4))
        began = time.perf_counter()
        catalog.search(text)
        taken.append(time.perf_counter() - began)
print(json.dumps(taken))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a trial of some seconds: 500 images")
    parser.add_argument("--images", type=int, help="images in the catalog (default 10,000)")
    parser.add_argument("--photos", type=int, help="photos to index meanwhile (default 2,000)")
    parser.add_argument("--cold", type=int, help="cold queries of each kind (default 40)")
    options = parser.parse_args()
    count = options.images or (500 if options.quick else 10_000)
    photos = options.photos or (150 if options.quick else 2_000)
    cold = options.cold or (3 if options.quick else 40)
    seconds = 1.0 if options.quick else 10.0
    machine.title(f"Queries over {count:,} images, idle and while another process indexes")
    with machine.workplace() as folder:
        place, new = folder / "catalog", folder / "new"
        machine.apart(machine.fill_catalog, place, MODEL, count)
        machine.apart(write_photos, new, photos)
        idle = asked(place, 0, seconds, cold)
        with indexing(place, new) as indexed:
            beside = asked(place, 1, seconds, cold)
            ended = indexed()
    if ended:
        raise SystemExit(f"The indexing ended before the queries did: give it more --photos than {photos}.")
    with Results(
        "beside", "Queries while indexing", command="python benchmarks/beside.py", quick=options.quick
    ) as results:
        for what in idle:
            before, meanwhile = share(idle[what], 0.95), share(beside[what], 0.95)
            results.judge(f"{what}: 95 % within, idle", 1e3 * before, unit="ms")
            results.judge(f"{what}: 95 % within, while indexing", 1e3 * meanwhile, unit="ms")
            results.judge(f"{what}: ratio, {count:,} images", meanwhile / before, at_most=TIMES)
        results.note("queries", ", ".join(f"{what}: {len(taken)}" for what, taken in beside.items()))
        values = {
            what: {"idle": 1e3 * share(idle[what], 0.95), "while indexing": 1e3 * share(beside[what], 0.95)}
            for what in idle
        }
        results.bars(f"95 % of queries within, {count:,} images", values, unit="ms")


def asked(place: Path, seed: int, seconds: float, cold: int) -> dict[str, list[float]]:
    """How long each query took."""
    words = " ".join(machine.WORDS)
    said = machine.run(machine.python(ASK, place, str(seed), str(seconds), words))[1]
    calls = itertools.islice(itertools.cycle(machine.WORDS), cold)
    walls = []
    for word in calls:
        walls.append(
            machine.run(machine.command("find", f"a {word}", "--json", "--all", "--catalog", place))[0].wall
        )
    return {LIBRARY: json.loads(said), COLD: walls}


@contextlib.contextmanager
def indexing(place: Path, photos: Path) -> Iterator[Callable[[], bool]]:
    """Meanwhile `search index` runs; gives what tells whether it has ended."""
    before = rows(place)
    process = subprocess.Popen(
        machine.command("index", photos, "--catalog", place),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        until = time.monotonic() + BEGUN_SECONDS
        while rows(place) == before:
            if process.poll() is not None or time.monotonic() > until:
                raise SystemExit("The indexing did not begin.")
            time.sleep(0.05)
        yield lambda: process.poll() is not None
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        process.wait()


def write_photos(folder: Path, count: int) -> None:
    """Files no two of which are the same, of a hundred pictures."""
    drawn = folder / "0"
    machine.write_photos(drawn, min(DRAWN, count))
    pictures = [path.read_bytes() for path in sorted(drawn.iterdir())]
    for number in range(len(pictures), count):
        place = folder / str(number // DRAWN)
        place.mkdir(exist_ok=True)
        # Bytes behind the end of a JPEG are nothing to those who decode it.
        (place / f"{number:06}.jpg").write_bytes(pictures[number % DRAWN] + number.to_bytes(8))


def rows(place: Path) -> int:
    with contextlib.closing(
        sqlite3.connect(f"{(place / 'catalog.db').as_uri()}?mode=ro", uri=True)
    ) as reader:
        return int(reader.execute("SELECT COUNT(*) FROM images").fetchone()[0])


def share(taken: list[float], part: float) -> float:
    """What so large a part of the figures does not exceed."""
    return sorted(taken)[min(len(taken) - 1, int(part * len(taken)))]


if __name__ == "__main__":
    main()
