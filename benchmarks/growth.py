"""How every cost grows from a thousand images to a million.

    python benchmarks/growth.py [--quick] [--largest N]

Made catalogs of 1,000, 10,000, 100,000 and 1,000,000 images with vectors of the starter, and files
on disk for all of them. Commands are whole processes, with files in the system's cache. The bounds:
nothing grows faster than linearly, which is held to be so where ten times the images cost at most
ten to the power of 1.1 times as much (12.6 times; what is below a floor counts as the floor, since
nobody waits for it and its noise is no growth). An unchanged re-run and a cold query are to grow far
slower than that, and a catalog of a million opens within 0.3 s. At a million the whole takes some
minutes, 4 GB of disk and a million inodes.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import time
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import machine
from outcomes import Results
from rescan import write_tree

if TYPE_CHECKING:
    from collections.abc import Callable

    from retrieval import Catalog

SIZES = (1_000, 10_000, 100_000, 1_000_000)
MODEL = "starter"
STEEPEST = 1.1
FAR_SLOWER = {"search find, cold": 0.3, "search index, unchanged": 0.7}
"""Powers of the number of images, over the whole span."""
FLOORS = {"s": 0.05, "ms": 2.0, "MiB": 64.0, "KiB": 1.0}
OPENS = 0.3
MEMORY = 1 << 11
"""MiB of a small machine, in which each process has to stay, its mapped files included."""
MORE = 1_000
"""Images that come, are forgotten or go."""
TURNS = 9
"""Searches of each kind, of which the median counts."""
REAL = (1_000, 10_000)
"""Files that are read for a first run: the price of a file is soon known."""
SEEN = (
    "search find, cold",
    "search index, unchanged",
    "search status",
    "search rebuild",
    "search gc, 1,000 gone",
)


@dataclass(slots=True)
class Costs:
    """What was measured, by name and by number of images."""

    figures: dict[str, dict[int, float]] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, count: int, value: float, unit: str) -> None:
        self.figures.setdefault(name, {})[count] = value
        self.units[name] = unit
        print(f"  {count:>9,}  {name:52} {value:10.3f} {unit}", flush=True)

    def ran(self, name: str, count: int, cost: machine.Cost) -> None:
        self.add(name, count, cost.wall, "s")
        self.add(f"memory of {name}", count, cost.peak / (1 << 20), "MiB")

    def steepest(self, name: str) -> float:
        """The largest power by which it grows from one size to the next."""
        floor = FLOORS[self.units[name]]
        known = sorted((count, max(floor, value)) for count, value in self.figures[name].items())
        return max(
            math.log(after / before) / math.log(more / less)
            for (less, before), (more, after) in pairwise(known)
        )

    def whole(self, name: str) -> float:
        """The power by which it grows from the least to the most."""
        known = sorted(self.figures[name].items())
        (less, before), (more, after) = known[0], known[-1]
        return math.log(after / before) / math.log(more / less)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a trial of a minute: up to 10,000 images")
    parser.add_argument("--largest", type=int, help="up to so many images (default 1,000,000)")
    parser.add_argument("--only", type=int, help="so many images and no others: figures, no judgement")
    options = parser.parse_args()
    largest = options.largest or (10_000 if options.quick else SIZES[-1])
    sizes = [options.only] if options.only else [size for size in SIZES if size <= largest]
    machine.title("Costs from a thousand images to a million")
    costs = Costs()
    for count in sizes:
        with machine.workplace() as folder:
            measure(folder, count, costs)
            if count in REAL:
                first_run(folder / "first", count, costs)
    head = ["", "unit", *(f"{count:,}" for count in sizes)]
    rows = [
        [name, costs.units[name], *(f"{known[count]:.3g}" if count in known else "" for count in sizes)]
        for name, known in costs.figures.items()
    ]
    machine.table(head, rows)
    if len(sizes) > 1:
        judge(costs, sizes)


def judge(costs: Costs, sizes: list[int]) -> None:
    span = f"{sizes[0]:,} to {sizes[-1]:,} images"
    with Results("growth", "Growth", command="python benchmarks/growth.py") as results:
        for name, power in FAR_SLOWER.items():
            results.judge(f"{name}: power of growth, {span}", costs.whole(name), at_most=power)
        powers = {name: costs.steepest(name) for name, known in costs.figures.items() if len(known) > 1}
        worst = max(powers, key=lambda name: powers[name])
        results.note("grows fastest", f"{worst}, power {powers[worst]:.2f}")
        results.judge(f"steepest growth of {len(powers)} costs, {span}", powers[worst], at_most=STEEPEST)
        for name, power in sorted(powers.items(), key=lambda pair: -pair[1]):
            if power > STEEPEST:
                results.judge(f"{name}: power of growth", power, at_most=STEEPEST)
        most = sizes[-1]
        results.judge(
            f"opening a catalog, {most:,} images",
            costs.figures["opening a catalog"][most] / 1000,
            at_most=OPENS,
            unit="s",
        )
        peaks = {
            name: known[most]
            for name, known in costs.figures.items()
            if costs.units[name] == "MiB" and most in known
        }
        largest = max((name for name in peaks if name.startswith("memory")), key=lambda name: peaks[name])
        results.note("needs most memory", largest)
        results.judge(
            f"most memory of a process, {most:,} images", peaks[largest], at_most=MEMORY, unit="MiB"
        )
        for title, names, unit in (
            ("Commands", [name for name in costs.figures if name.startswith("search")], "s"),
            ("In an open catalog", [name for name in costs.figures if costs.units[name] == "ms"], "ms"),
            ("Memory", [f"memory of {name}" for name in SEEN], "MiB"),
        ):
            lines = {name: [costs.figures[name].get(count) for count in sizes] for name in names}
            results.curve(
                f"{title} as the catalog grows",
                x=[float(count) for count in sizes],
                lines=lines,
                x_label="images",
                y_label=unit,
                log=True,
                linear=True,
            )


def measure(folder: Path, count: int, costs: Costs) -> None:
    """All costs of one size."""
    place, pictures = folder / "catalog", folder / "pictures"
    started = time.perf_counter()
    machine.apart(fill, place, count)
    print(f"  {count:>9,}  made in {time.perf_counter() - started:.0f} s", flush=True)
    costs.ran("search rebuild", count, machine.run(machine.command("rebuild", "--catalog", place))[0])
    size = sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
    costs.add("bytes on disk an image", count, size / count / 1024, "KiB")
    machine.apart(machine.write_files, pictures, count)
    again = machine.command("index", pictures, "--catalog", place, "--json")
    report = json.loads(machine.run(again)[1])
    if report["unchanged"] != count:
        raise SystemExit(f"A run over unchanged files found changes: {report}")
    find = machine.command("find", "a dog on the beach", "--json", "--catalog", place)
    calls = {
        "search find, cold": find,
        "search status": machine.command("status", "--json", "--catalog", place),
        "search index, unchanged": again,
    }
    for name, taken in machine.in_turns(calls, 3 if count >= 1_000_000 else 5).items():
        costs.ran(name, count, machine.middle(taken))
    for name, milliseconds in machine.apart(inside, place).items():
        costs.add(name, count, milliseconds, "ms")
    costs.add("committing a thousand rows", count, machine.apart(add, place, count), "ms")
    costs.ran("search find, after 1,000 new rows", count, machine.run(find)[0])
    costs.add("catching up on 1,000 new rows", count, machine.apart(catch_up, place), "ms")
    # The files of the new rows are not there, which is what it has to say.
    doctor = machine.command("doctor", "--catalog", place)
    costs.ran("search doctor", count, machine.run(doctor, expect=1)[0])
    gone = pictures / f"{count // 2 // machine.A_FOLDER:03}"
    forget = machine.command("forget", gone, "--catalog", place)
    costs.ran("search forget, 1,000 images", count, machine.run(forget)[0])
    costs.ran("search find, after forgetting", count, machine.run(find)[0])
    machine.apart(hide, place)
    costs.ran("search gc, 1,000 gone", count, machine.run(machine.command("gc", "--catalog", place))[0])
    shutil.rmtree(pictures)


def fill(place: Path, count: int) -> None:
    machine.fill_rows(place, MODEL, count, tagged=True)


def inside(place: Path) -> dict[str, float]:
    """Milliseconds of what a program does that holds the catalog open."""
    from retrieval import Catalog
    from retrieval.query.filters import Filter

    with Catalog(place) as catalog:  # modules and the model are loaded before anything is timed
        catalog.search("warm")
    started = time.perf_counter()
    opened = Catalog(place)
    with opened as catalog:
        info = catalog.state.active()
        with catalog.state.snapshot():
            catalog.state.view(info, Filter())
        taken = {"opening a catalog": 1000 * (time.perf_counter() - started)}
        catalog.search("a dog")
        # Each time other words and other dates, so that none was asked for before.
        words, years = machine.WORDS, range(2010, 2010 + TURNS)
        narrow = [Filter(after=f"{year}-02-01", before=f"{year}-04-15") for year in years]
        wide = [Filter(after=f"2005-03-{10 + turn}") for turn in range(TURNS)]
        taken["a warm search"] = middle(
            lambda turn: catalog.search(f"{words[turn]} and {words[-turn - 1]}", cutoff=False)
        )
        taken["a warm search, filter to 1 %"] = middle(
            lambda turn: catalog.search(words[turn], where=narrow[turn], cutoff=False)
        )
        taken["a warm search, nearly all pass"] = middle(
            lambda turn: catalog.search(words[turn], where=wide[turn], cutoff=False)
        )
        taken["the first page of pictures"] = middle(lambda _: page(catalog), 3)
    return taken


def middle(call: Callable[[int], object], turns: int = TURNS) -> float:
    """The median of some turns, in milliseconds."""
    taken = []
    for turn in range(turns):
        started = time.perf_counter()
        call(turn)
        taken.append(1000 * (time.perf_counter() - started))
    return median(taken)


def page(catalog: Catalog) -> None:
    if not catalog.pictures.list(order="newest", limit=50):
        raise SystemExit("A made catalog lists no pictures.")


def add(place: Path, count: int) -> float:
    """Milliseconds to commit a thousand more rows, in batches as indexing makes them."""
    from retrieval import config
    from retrieval.config import Location
    from retrieval.db import reads
    from retrieval.db.queries import Writer
    from retrieval.db.reader import open_reader

    made = machine.MadeRows(MODEL, place.with_name("pictures"))
    reader = open_reader(Location.parse(place))
    info = reads.active_encoder(reader)
    reader.close()
    if info is None:
        raise SystemExit("A made catalog has no model.")
    step = config.COMMIT_IMAGES
    batches = [
        made.batch(range(start, min(start + step, count + MORE)))
        for start in range(count, count + MORE, step)
    ]
    with Writer(Location.parse(place)) as writer:
        started = time.perf_counter()
        for batch in batches:
            writer.commit(batch, encoder_id=info.id)
        return 1000 * (time.perf_counter() - started)


def catch_up(place: Path) -> float:
    """Milliseconds to bring the cache of vectors up to the rows."""
    from retrieval import Catalog

    with Catalog(place) as catalog:
        started = time.perf_counter()
        catalog.refresh()
        return 1000 * (time.perf_counter() - started)


def hide(place: Path) -> None:
    """Have a thousand pictures wait for files that do not return."""
    from retrieval.config import Location
    from retrieval.db.queries import Writer
    from retrieval.db.reader import open_reader

    reader = open_reader(Location.parse(place))
    rows = reader.rows("SELECT id FROM images ORDER BY id LIMIT :most", most=MORE)
    reader.close()
    with Writer(Location.parse(place)) as writer:
        writer.hide([int(row[0]) for row in rows])


def first_run(folder: Path, count: int, costs: Costs) -> None:
    """The price of a file in itself: read, hashed, decoded and kept, with the model that costs nothing."""
    machine.apart(write_tree, folder / "tree", count)
    index = machine.command(
        "index", folder / "tree", "--catalog", folder / "catalog", "--model", "toy", "--json"
    )
    cost, said = machine.run(index)
    if json.loads(said)["added"] != count:
        raise SystemExit(f"The first run did not index the tree: {said}")
    costs.ran("search index, first run without a model", count, cost)


if __name__ == "__main__":
    main()
