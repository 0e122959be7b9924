"""What it costs to start: `search --help` and `search status` against bare imports.

    python benchmarks/startup.py [--quick]

The budget: at most 1.3 times the processor time of `python -c "import click, sqlite3, numpy"`.
"""

from __future__ import annotations

import argparse

import machine
from outcomes import Results

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
    middles = {name: machine.middle(taken) for name, taken in costs.items()}
    rows = [
        [name, f"{1000 * cost.cpu:.0f}", f"{1000 * cost.wall:.0f}", f"{cost.cpu / yard:.2f}"]
        for name, cost in middles.items()
    ]
    machine.table(["", "CPU ms", "wall ms", "ratio"], rows)
    with Results("startup", "Starting", command="python benchmarks/startup.py") as results:
        for name, cost in middles.items():
            if name.startswith("search"):
                results.judge(f"{name}, CPU, times bare imports", cost.cpu / yard, at_most=BUDGET)
        taken_ms = {name: 1000 * cost.cpu for name, cost in middles.items()}
        results.bars("Processor time of a start", taken_ms, unit="ms", budget=1000 * BUDGET * yard)


if __name__ == "__main__":
    main()
