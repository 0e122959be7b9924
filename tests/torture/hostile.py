"""Hostile files through the real program: how long each takes, what memory all of it takes, what is said."""

from __future__ import annotations

import base64
import json
import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from retrieval import Catalog, config
from retrieval.errors import FAILURE_REASONS, TRANSIENT_REASONS
from tests.browsing import ROOT
from tests.preparers import DEEDS
from tests.torture import bad_files
from tests.torture.ground import Ground
from tests.torture.outcomes import Outcome

MEMORY = 128 << 20
ABOVE = 1 << 30
"""What all processes together may hold besides the budget."""
FILE_SECONDS = 10.0
QUICK_SECONDS = 1.0
"""After which hanging decoders are stopped in a short run."""
RUN = """
import json, os, sys, time
log, seconds, preparer = sys.argv.pop(1), float(sys.argv.pop(1)), sys.argv.pop(1)
from retrieval import config
config.FILE_SECONDS = seconds
from cli import main
from indexer.loader.lane import Lane
load, start = Lane.load, Lane._start
began = {}
def started(lane):
    at = time.monotonic()
    start(lane)
    began[id(lane)] += time.monotonic() - at
def timed(lane, path, size):
    began[id(lane)] = time.monotonic()
    try:
        return load(lane, path, size)
    finally:
        with open(log, "ab") as file:
            took = time.monotonic() - began[id(lane)]
            file.write(json.dumps([took, os.fsdecode(path)]).encode() + b"\\n")
Lane.load, Lane._start = timed, started
if preparer:
    from retrieval.encoders.toy import ToyEncoder
    from tests import preparers
    ToyEncoder.preparer = preparers.Wicked()
sys.exit(main())
"""
"""The real program; it notes how long each file took, but for starting a process, and which were opened."""


def run(ground: Ground, times: int, rng: random.Random) -> Outcome:
    outcome = Outcome("hostile files", times=times)
    seconds = config.FILE_SECONDS if times >= 1000 else QUICK_SECONDS
    photos = ground.place("photos")
    made = list(bad_files.files(times, min(300, times // 5), rng))
    written: dict[bytes, bad_files.BadFile] = {}
    for number, one in enumerate(made):
        folder = os.path.join(os.fsencode(photos), bad_files.NAMES[number % 7], b"%d" % (number % 5))
        os.makedirs(folder, exist_ok=True)
        path = os.path.join(folder, one.name)
        with open(path, "wb") as file:
            file.write(one.data)
        written[path] = one
    catalog = ground.place("catalog")
    report, peak, loaded = _index(outcome, photos, catalog, seconds)
    outcome.recoveries.append(max((seconds for seconds, _ in loaded), default=0.0))
    _check_times(outcome, loaded)
    if peak > MEMORY + ABOVE:
        outcome.wrong.append(f"all processes together held {peak >> 20} MiB")
    _check_all(outcome, catalog, written)
    _again(outcome, photos, catalog, report, seconds)
    _deeds(outcome, ground, seconds)
    return outcome


def _index(
    outcome: Outcome, photos: Path, catalog: Path, seconds: float, *, wicked: bool = False
) -> tuple[dict[str, Any], int, list[tuple[float, str]]]:
    log = catalog.parent / "loaded"
    log.unlink(missing_ok=True)
    words = ["index", str(photos), "--catalog", str(catalog), "--model", "toy"]
    more = ["--workers", "2", "--memory", str(MEMORY), "--json"]
    with subprocess.Popen(
        [sys.executable, "-c", RUN, str(log), str(seconds), "x" * wicked, *words, *more],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        peak = _Peak(process.pid)
        out, err = process.communicate()
        held = peak.close()
    if process.returncode != 0 or b"Traceback" in err:
        outcome.wrong.append(f"indexing ended with {process.returncode}: {err[-500:]!r}")
    lines = log.read_bytes().splitlines() if log.exists() else []
    report: dict[str, Any] = json.loads(out.splitlines()[-1]) if out else {}
    return report, held, [(float(seconds), str(path)) for seconds, path in map(json.loads, lines)]


class _Peak:
    """What memory a process and all that came from it hold together at most, looked at all the time.

    Pages that several of them share are counted once for each, so it is rather too much.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._most = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def close(self) -> int:
        self._over.set()
        self._thread.join()
        return self._most

    def _watch(self) -> None:
        page = os.sysconf("SC_PAGE_SIZE")
        while not self._over.wait(0.02):
            total = 0
            for pid in family(self._pid):
                try:
                    total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * page
                except OSError:
                    continue
            self._most = max(self._most, total)


def family(pid: int) -> list[int]:
    found = [pid]
    for parent in found:
        for tasks in Path(f"/proc/{parent}/task").glob("*/children"):
            try:
                found += map(int, tasks.read_text().split())
            except OSError:
                continue
    return found


def _check_all(outcome: Outcome, catalog: Path, written: dict[bytes, bad_files.BadFile]) -> None:
    """Every good file is a picture; every other one too, or a failure with a reason; none is both."""
    with Catalog(catalog) as opened, opened.state.snapshot() as reader:
        rows = [bytes(path) for (path,) in reader.rows("SELECT path FROM images WHERE missing_at IS NULL")]
    failures = _failures(outcome, catalog)
    pictures = set(rows)
    outcome.doubled += len(rows) - len(pictures) + len(pictures & failures.keys())
    for path, one in written.items():
        if one.good and path not in pictures:
            outcome.lost += 1
            outcome.wrong.append(f"a good file was refused: {path!r}, {failures.get(path)}")
        elif not one.good and path not in pictures and path not in failures:
            outcome.wrong.append(f"nothing is known of {path!r}")
    for path in (pictures | failures.keys()) - written.keys():
        outcome.wrong.append(f"a file that was never there: {path!r}")
    for path, (reason, detail) in failures.items():
        if reason not in FAILURE_REASONS or not detail:
            outcome.wrong.append(f"{path!r} was refused for an unknown reason: {reason}, {detail}")


def _failures(outcome: Outcome, catalog: Path) -> dict[bytes, tuple[str, str]]:
    """What `search failures --json` lists."""
    ran = _search(outcome, "failures", "--catalog", str(catalog), "--json")
    found = {}
    for line in ran.stdout.splitlines():
        row = json.loads(line)
        name = base64.b64decode(row["path_b64"]) if "path_b64" in row else row["path"].encode()
        found[name] = (row["reason"], row["detail"])
    for words in (["failures"], ["status"], ["find", "red", "--all", "-k", "500"]):
        shown = _search(outcome, *words, "--catalog", str(catalog)).stdout
        if set(shown) & (set(range(32)) - {10}) or b"\x7f" in shown:
            outcome.wrong.append(f"search {words[0]} prints what a terminal acts on")
    return found


def _search(outcome: Outcome, *words: str) -> subprocess.CompletedProcess[bytes]:
    ran = subprocess.run([sys.executable, "-m", "cli", *words], cwd=ROOT, capture_output=True, check=False)
    if ran.returncode != 0 or b"Traceback" in ran.stderr:
        outcome.wrong.append(f"search {words[0]} ended with {ran.returncode}: {ran.stderr[-500:]!r}")
    return ran


def _again(outcome: Outcome, photos: Path, catalog: Path, report: dict[str, Any], seconds: float) -> None:
    """A second run knows what is bad without opening it."""
    second, _, loaded = _index(outcome, photos, catalog, seconds)
    reasons = _failures(outcome, catalog)
    for _, path in loaded:
        if reasons.get(os.fsencode(path), ("",))[0] not in TRANSIENT_REASONS:
            outcome.wrong.append(f"{path!r} was read again")
    if second.get("failed") != report.get("failed") or second.get("added"):
        outcome.wrong.append(f"the second run said {second}, the first {report}")


def _deeds(outcome: Outcome, ground: Ground, seconds: float) -> None:
    """Decoders that crash, hang, devour memory, write to the output or end the process cost one file each."""
    photos = ground.photos(40, "deeds")
    for number, (name, colour) in enumerate(DEEDS.items()):
        from PIL import Image

        Image.new("RGB", (40, 40), colour).save(photos / "0" / f"{number:04}-{name}.png")
    catalog = ground.place("wicked")
    began = time.monotonic()
    report, peak, loaded = _index(outcome, photos, catalog, seconds, wicked=True)
    refused = {Path(os.fsdecode(path)).stem.rpartition("-")[2] for path in _failures(outcome, catalog)}
    harmless = {name for name in DEEDS if name.startswith("says")}
    if refused != set(DEEDS) - harmless | {"broken"}:
        outcome.wrong.append(f"refused were {refused}")
    if report.get("added") != 40 + len(harmless):
        outcome.wrong.append(
            f"of the pictures beside bad decoders came {report} in {time.monotonic() - began:.0f} s"
        )
    if peak > MEMORY + ABOVE:
        outcome.wrong.append(f"with bad decoders all processes together held {peak >> 20} MiB")
    _check_times(outcome, loaded)


def _check_times(outcome: Outcome, loaded: list[tuple[float, str]]) -> None:
    for seconds, path in loaded:
        if seconds > FILE_SECONDS:
            outcome.wrong.append(f"{path!r} took {seconds:.1f} s")
