"""A second run over files that have not changed, against a bare walk of the same tree.

    python benchmarks/rescan.py [--quick] [--images N]

The budget: `search index` over 10,000 unchanged files takes at most three times what a fresh
process takes for `os.scandir` and `stat` alone, plus 0.5 s.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import machine
from outcomes import Results

TIMES, PLUS = 3.0, 0.5
A_FOLDER = 100
WALK = """
import os, sys
count, folders = 0, [sys.argv[1]]
while folders:
    with os.scandir(folders.pop()) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.path)
            else:
                entry.stat()
                count += 1
print(count)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a trial of a few seconds: 500 files")
    parser.add_argument("--images", type=int, help="files in the tree (default 10,000)")
    parser.add_argument("--rounds", type=int, help="fresh runs of each (default 9)")
    options = parser.parse_args()
    count = options.images or (500 if options.quick else 10_000)
    rounds = options.rounds or (3 if options.quick else 9)
    machine.title(f"Second run over {count:,} unchanged files: median of {rounds} fresh processes, in turns")
    with machine.workplace() as folder:
        tree, catalog = folder / "tree", folder / "catalog"
        machine.apart(write_tree, tree, count)
        index = machine.command("index", tree, "--catalog", catalog, "--model", "toy", "--json")
        first, said = machine.run(index)
        report = json.loads(said)
        if (report["added"], report["failed"]) != (count, 0):
            raise SystemExit(f"The first run did not index the tree: {said}")
        again = machine.command("index", tree, "--catalog", catalog, "--json")
        report = json.loads(machine.run(again)[1])
        if report["unchanged"] != count:
            raise SystemExit(f"The second run found changes where none are: {report}")
        if int(machine.run(machine.python(WALK, tree))[1]) != count:
            raise SystemExit("The bare walk did not find every file.")
        costs = machine.in_turns({"walk": machine.python(WALK, tree), "again": again}, rounds)
    walk, second = machine.middle(costs["walk"]), machine.middle(costs["again"])
    budget = TIMES * walk.wall + PLUS
    taken = {
        "os.scandir and stat": walk,
        "search index, second run": second,
        "search index, first run (toy model)": first,
    }
    rows = [
        [name, f"{cost.wall:.3f}", f"{cost.cpu:.3f}", f"{cost.wall / walk.wall:.1f}"]
        for name, cost in taken.items()
    ]
    machine.table(["", "wall s", "CPU s", "times the walk"], rows)
    with Results("rescan", "A second run", command="python benchmarks/rescan.py") as results:
        results.judge(f"over {count:,} unchanged files", second.wall, at_most=budget, unit="s")
        walls = {name: cost.wall for name, cost in list(taken.items())[:2]}
        results.bars(f"A run over {count:,} unchanged files", walls, unit="s", budget=budget)


def write_tree(tree: Path, count: int) -> None:
    """Small pictures, no two alike, a hundred in each folder."""
    from io import BytesIO

    from PIL import Image

    for number in range(count):
        if number % A_FOLDER == 0:
            folder = tree / f"{number // A_FOLDER:04}"
            folder.mkdir(parents=True)
        colour = (number & 255, number >> 8 & 255, number >> 16 & 255)
        buffer = BytesIO()
        Image.new("RGB", (24, 16), colour).save(buffer, "PNG")
        (folder / f"{number:06}.png").write_bytes(buffer.getvalue())


if __name__ == "__main__":
    main()
