"""What it costs to start: `search --help` and `search status` against bare imports.

    python benchmarks/startup.py [--quick]

The budget: at most 1.3 times the processor time of `python -c "import click, sqlite3, numpy"`.
"""

from __future__ import annotations

import argparse

import machine

BUDGET = 1.3
BARE = "import click, sqlite3, numpy"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a trial of a few seconds")
    parser.add_argument("--rounds", type=int, help="fresh runs of each (default 31)")
    options = parser.parse_args()
    rounds = options.rounds or (5 if options.quick else 31)
    images = 100 if options.quick else 1000
    machine.title(f"Start-up: median of {rounds} fresh processes each, in turns; {images} images")
    with machine.workplace() as folder:
        catalog = folder / "catalog"
        machine.apart(machine.fill_catalog, catalog, "toy" if options.quick else "starter", images)
        bare = f'python -c "{BARE}"'
        costs = machine.in_turns(
            {
                'python -c ""': machine.python(""),
                bare: machine.python(BARE),
                "search --help": machine.command("--help"),
                "search status": machine.command("status", "--catalog", catalog),
                "search status --json": machine.command("status", "--json", "--catalog", catalog),
            },
            rounds,
        )
    yard = machine.middle(costs[bare]).cpu
    rows = []
    for name, taken in costs.items():
        cost = machine.middle(taken)
        ratio = cost.cpu / yard
        judged = machine.verdict(ratio <= BUDGET) if name.startswith("search") else ""
        rows.append(
            [name, f"{1000 * cost.cpu:.0f}", f"{1000 * cost.wall:.0f}", f"{ratio:.2f}", f"{BUDGET}", judged]
        )
        if not judged:
            rows[-1][-2] = ""
    machine.table(["", "CPU ms", "wall ms", "ratio", "budget", ""], rows)


if __name__ == "__main__":
    main()
