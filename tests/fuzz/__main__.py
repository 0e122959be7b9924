"""Looks for inputs that break a reader; ends with 1 when it finds one, which then lies in tests/fuzz/found/."""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.update(SEARCH_OFFLINE="1", HF_HUB_OFFLINE="1")

from tests.fuzz import FOUND, GROWN, HARNESSES, SEEDS, Harness
from tests.fuzz.engine import fuzz, guided, in_time

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 120.0
PATIENCE = 120.0
"""Seconds beyond its time after which a harness hangs."""
KEPT, KEPT_BYTES, KEPT_SECONDS = 40, 2048, 0.7
"""Seeds of a harness that `--keep` leaves, how large one may be, and how long all of them take."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="HARNESS", help=f"only these of {', '.join(HARNESSES)}")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="for each (default 120)")
    parser.add_argument("--seed", type=int, default=1, help="where chance begins")
    parser.add_argument("--keep", action="store_true", help="keep small inputs that reach the most as seeds")
    parser.add_argument("--try", dest="tried", type=Path, metavar="FILE", help="try one input again")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    unknown = [name for name in asked.names if name not in HARNESSES]
    if unknown:
        parser.error(f"there is no harness '{unknown[0]}'. There are: {', '.join(HARNESSES)}")
    names = asked.names or list(HARNESSES)
    os.environ.setdefault("SEARCH_CATALOG", str(Path(tempfile.gettempdir()) / "search-fuzz-none"))
    if asked.tried is not None:
        if len(names) != 1:
            parser.error("say which harness the input is for")
        with in_time():
            Harness.load(names[0]).one(asked.tried.read_bytes())
        return 0
    if asked.one:
        fuzz(names[0], asked.seconds, asked.seed)
        return 0
    print("by atheris" if guided() else "by chance: pip install atheris finds more", flush=True)
    broken = 0
    for name in names:
        broken += not _fuzzed(name, asked.seconds, asked.seed)
        if asked.keep:
            _keep(name)
    return 1 if broken else 0


def _fuzzed(name: str, seconds: float, seed: int) -> bool:
    """One harness in a process of its own; whether it held."""
    begun = time.monotonic()
    command = [sys.executable, "-m", "tests.fuzz", "--one", name]
    home = tempfile.mkdtemp(prefix="search-fuzz-home-")
    with tempfile.TemporaryFile() as log:
        try:
            ran = subprocess.run(
                [*command, "--seconds", str(seconds), "--seed", str(seed)],
                cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, timeout=seconds + PATIENCE, check=False,
                env=os.environ | {"HOME": home, "SEARCH_CATALOG": f"{home}/catalog"},
            ).returncode  # fmt: skip
        except subprocess.TimeoutExpired:
            ran = -1
        finally:
            shutil.rmtree(home, ignore_errors=True)
        log.seek(0)
        said = log.read().decode("utf-8", "replace")
    runs = re.findall(r"number_of_executed_units:\s*(\d+)", said)
    reached = re.findall(r"\bcov: (\d+)", said)
    held = ran == 0
    figures = f"{runs[-1] if runs else '?'} inputs, {reached[-1] if reached else '?'} places reached"
    print(
        f"{name:12} {'held' if held else 'BROKEN'}: {figures}, {time.monotonic() - begun:.0f} s", flush=True
    )
    if not held:
        print(said[-6000:], flush=True)
        print(f"What broke it lies in {FOUND.relative_to(ROOT)}. Again: {_again(name)}", flush=True)
    return held


def _again(name: str) -> str:
    found = sorted(FOUND.glob(f"{name}-*"), key=os.path.getmtime)
    return f"python -m tests.fuzz {name} --try {found[-1].relative_to(ROOT) if found else 'FILE'}"


def _keep(name: str) -> None:
    """Of all that reached something new, a few small inputs of all sizes, which are read again in a second."""
    harness = Harness.load(name)
    harness.one(harness.seeds[0])
    grown = [path for path in (GROWN / name).glob("*") if path.stat().st_size <= KEPT_BYTES]
    grown.sort(key=lambda path: (path.stat().st_size, path.name))
    folder, spent = SEEDS / name, 0.0
    folder.mkdir(parents=True, exist_ok=True)
    for path in grown[:: max(1, len(grown) // KEPT)][:KEPT]:
        data, begun = path.read_bytes(), time.monotonic()
        with in_time():
            harness.one(data)
        spent += time.monotonic() - begun
        if spent > KEPT_SECONDS:
            return
        (folder / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)


if __name__ == "__main__":
    sys.exit(main())
