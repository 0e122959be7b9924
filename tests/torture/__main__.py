"""Runs the fault matrix and prints it as a table; ends with 1 when a promise was broken."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

os.environ.update(SEARCH_OFFLINE="1", HF_HUB_OFFLINE="1", MPLBACKEND="Agg")

from tests.torture import shim
from tests.torture.ground import Ground
from tests.torture.outcomes import Outcome, table

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "tests.torture"]
LONGEST = 1200
"""Seconds after which a fault that does not end is one that hangs."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault: its name, where it is put in, and how often in the whole matrix and in the short one."""

    name: str
    home: str
    times: int
    quick: int
    shim: bool = False
    """Whether its own process has to run above the shim, where there is one."""


FAULTS: tuple[Fault, ...] = (
    Fault("kill", "tests.torture.kills:run", 500, 8, shim=True),
    Fault("power", "tests.torture.power:run", 100, 4, shim=True),
    Fault("hostile", "tests.torture.hostile:run", 4000, 60),
    Fault("signals", "tests.torture.signals:run", 120, 6),
    Fault("schema", "tests.torture.schema:run", 60, 4),
    Fault("offline", "tests.torture.offline:run", 90, 9),
    Fault("storage", "tests.torture.storage:run", 150, 6),
    Fault("writers", "tests.torture.writers:run", 10, 2),
    Fault("caches", "tests.torture.caches:run", 400, 15),
    Fault("rows", "tests.torture.rows:run", 150, 8),
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="FAULT", help="only these")
    parser.add_argument("--quick", action="store_true", help="each fault a few times")
    parser.add_argument("--times", type=int, help="each fault so often")
    parser.add_argument("--seed", type=int, default=1, help="where and when faults come")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="faults at once")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write what was found there")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    known = {fault.name: fault for fault in FAULTS}
    unknown = [name for name in asked.names if name not in known]
    if unknown:
        parser.error(f"there is no fault '{unknown[0]}'. There are: {', '.join(known)}")
    chosen = [known[name] for name in asked.names] or list(FAULTS)
    if asked.one:
        (fault,) = chosen
        print(json.dumps(_put_in(fault, asked.times or fault.times, asked.seed).as_dict()))
        return 0
    began = time.monotonic()
    outcomes = run(chosen, quick=asked.quick, times=asked.times, seed=asked.seed, jobs=asked.jobs)
    print(f"\n{table(outcomes)}\n\nseed {asked.seed}, {time.monotonic() - began:.0f} s in all")
    for outcome in outcomes:
        for sentence in (*outcome.notes, *outcome.wrong):
            print(f"{outcome.fault}: {sentence}")
    if asked.json:
        asked.json.write_text(json.dumps([outcome.as_dict() for outcome in outcomes], indent=1))
    return 0 if all(outcome.held for outcome in outcomes) else 1


def run(
    faults: Sequence[Fault], *, quick: bool = False, times: int | None = None, seed: int = 1, jobs: int = 2
) -> list[Outcome]:
    """Put each fault in, in a process of its own; what breaks that process is an outcome too."""

    def one(fault: Fault) -> Outcome:
        count = times or (fault.quick if quick else fault.times)
        _tell(f"{fault.name}: {count} times")
        outcome = _one(fault, count, seed)
        end = "skipped" if outcome.skipped else "held" if outcome.held else "BROKEN"
        _tell(f"{fault.name}: {end}, {outcome.seconds:.0f} s")
        return outcome

    with ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(one, faults))


def _one(fault: Fault, times: int, seed: int) -> Outcome:
    """A fault in a process of its own, which computes with one thread: others run beside it."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    if fault.shim and not shim.unavailable():
        environment |= {"LD_PRELOAD": str(shim.library()), shim.BUILT: str(shim.library())}
    # What a fault leaves that crashes or hangs goes with this folder.
    with tempfile.TemporaryDirectory(prefix="torture-", ignore_cleanup_errors=True) as place:
        environment["TMPDIR"] = place
        with subprocess.Popen(
            [*COMMAND, "--one", fault.name, "--times", str(times), "--seed", str(seed)],
            cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True,
        ) as process:  # fmt: skip
            try:
                said, _ = process.communicate(timeout=LONGEST)
                return Outcome(**json.loads(said.splitlines()[-1]))
            except (IndexError, ValueError, TypeError):
                return Outcome(
                    fault.name, wrong=[f"the process that put it in ended with {process.returncode}"]
                )
            except subprocess.TimeoutExpired:
                return Outcome(fault.name, wrong=[f"it did not end within {LONGEST} s"], seconds=LONGEST)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _put_in(fault: Fault, times: int, seed: int) -> Outcome:
    module, _, name = fault.home.partition(":")
    folder = Path(tempfile.mkdtemp(prefix=f"torture-{fault.name}-"))
    os.environ.setdefault("SEARCH_CACHE", str(folder / "models"))
    os.environ["SEARCH_CATALOG"] = str(folder / "default-catalog")
    began = time.monotonic()
    try:
        put_in = getattr(importlib.import_module(module), name)
        outcome = put_in(Ground(folder), times, random.Random(f"{seed} {fault.name}"))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    assert isinstance(outcome, Outcome)
    outcome.fault, outcome.seconds = fault.name, time.monotonic() - began
    return outcome


if __name__ == "__main__":
    sys.exit(main())
