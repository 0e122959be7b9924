"""Signals to every command at any moment: the exit code, the time it takes, and what is left behind."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from retrieval import Catalog
from retrieval.doctor import examine
from tests.browsing import ROOT
from tests.torture.ground import Ground, compare
from tests.torture.outcomes import Outcome

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
LATEST = 5.0
"""Seconds that a command may take to end after a signal."""
AT_ONCE = 1.0
ORPHAN_SECONDS = 3.0
MARK = "SEARCH_TORTURE_MARK"
RUN = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
for number in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_DFL)
marker, before = sys.argv.pop(1), sys.argv.pop(1)
from cli import SearchGroup, main
ending = SearchGroup.ending
begin, leave = ending.begin, ending.leave
def begun():
    begin()
    open(marker, "w").close()
def left(*code, **how):
    os.unlink(marker)
    leave(*code, **how)
ending.begin, ending.leave = begun, left
exec(before)
sys.exit(main())
"""
"""The real program, as a terminal starts it and `nohup` does not; while it has the say over signals, there is a
file."""
IN_SQLITE = """
import sqlite3
from retrieval.catalog import Catalog
def endless(*_, **__):
    sqlite3.connect(":memory:").execute(
        "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT max(x) FROM c").fetchall()
Catalog.status = endless
"""
IN_THREAD = """
import threading, time
from concurrent.futures import ThreadPoolExecutor
from retrieval.catalog import Catalog
def waiting(*_, **__):
    with ThreadPoolExecutor(1) as pool:
        pool.submit(time.sleep, 60).result()
Catalog.status = waiting
"""
DEAF = """
from retrieval.catalog import Catalog
def deaf(*_, **__):
    import time
    while True:
        try:
            time.sleep(60)
        except BaseException:
            pass
Catalog.status = deaf
"""
"""What keeps Python from ending: code that never comes back, a thread that is waited for, an interrupt
that is swallowed."""


@dataclass(frozen=True)
class Command:
    """What is run: `C` stands for a catalog of its own, `P` for a picture, `D` for a folder to work in,
    `F` for one of pictures, `B` and `E` for a backup and an export of the catalog."""

    words: str
    seconds: float = 0.6
    """About how long it takes: signals come until then."""
    before: str = ""
    locked: bool = False
    silent: bool = False
    """Whether it is to wait for an endpoint that never answers."""
    endless: bool = False


COMMANDS = (
    Command("find red --catalog C --no-server"),
    Command("find red --catalog C --no-server --rerank regions --all"),
    Command("find red --catalog C --no-server --html D/page.html --all"),
    Command("similar P --catalog C"),
    Command("match P --catalog C"),
    Command("ask how|many|red|pictures --catalog C", 1.0),
    Command("explain red P --catalog C"),
    Command("describe P --catalog C", 1.0),
    Command("describe --library --catalog C", 1.5),
    Command("tag --catalog C", 1.5),
    Command("texts add D/texts.txt --catalog C", 0.8),
    Command("texts list --catalog C"),
    Command("dupes --catalog C"),
    Command("groups --catalog C", 1.0),
    Command("concepts list --catalog C"),
    Command("feedback list --catalog C"),
    Command("eval D/eval.jsonl --catalog C", 0.8),
    Command("status --catalog C"),
    Command("failures --catalog C"),
    Command("rebuild --catalog C"),
    Command("rebuild --catalog C --store faiss", 0.8),
    Command("gc --catalog C"),
    Command("forget D --catalog C"),
    Command("doctor --catalog C"),
    Command("models"),
    Command("models pull starter"),
    Command("index F --catalog C --workers 2", 1.5),
    Command("index F --catalog D/new --model toy --workers 2", 1.5),
    Command("index F --catalog D/new --model starter --workers 1", 2.0),
    Command("serve --catalog C --port 0", 2.0, endless=True),
    Command("mcp --catalog C", 1.5, endless=True),
    Command("mcp --http --port 0 --catalog C", 2.0, endless=True),
    Command("watch F --catalog C", 2.0, endless=True),
    Command("backup D/backup --catalog C"),
    Command("restore B --catalog C"),
    Command("export D/export --catalog C"),
    Command("import E --catalog D/new", 1.0),
    Command("tag --catalog C", 2.0, locked=True),
    Command("forget F --catalog C", 2.0, locked=True),
    Command("index F --catalog C", 2.0, locked=True),
    Command("describe P --captioner endpoint:none --catalog C", 2.0, silent=True),
    Command("ask what|is|there --answerer endpoint:none --catalog C", 2.0, silent=True),
    Command("status --catalog C", 0.8, before=IN_SQLITE, endless=True),
    Command("status --catalog C", 0.8, before=IN_THREAD, endless=True),
    Command("status --catalog C", 0.8, before=DEAF, endless=True),
)


def run(ground: Ground, times: int, rng: random.Random) -> Outcome:
    outcome = Outcome("signals")
    photos = ground.photos(40)
    more = ground.photos(40, "more", size=(900, 700))
    first = ground.folder / "first"
    ground.index(first, photos, model="starter", workers=1)
    grown = ground.calm(more, "grown")
    given = {
        "P": str(photos / "0" / "0000.png"),
        "F": str(more),
        "B": str(ground.folder / "backup.db"),
        "E": str(ground.folder / "export"),
    }
    for words in (["backup", given["B"]], ["export", given["E"]]):
        command_line = [sys.executable, "-m", "cli", *words, "--catalog", str(first)]
        subprocess.run(command_line, cwd=ROOT, capture_output=True, check=True)
    known = _known_commands()
    commands = [command for command in COMMANDS if command.words.split()[0] in known]
    rng.shuffle(commands)
    with _silence() as address:
        for number in range(times):
            command = commands[number % len(commands)]
            # Each of the signals at each of the commands, in turn.
            sort = SIGNALS[(number + number // len(commands)) % len(SIGNALS)]
            place = ground.place("case")
            place.mkdir()
            shutil.copytree(first, place / "catalog")
            (place / "texts.txt").write_text("a red square\na green field\n")
            (place / "eval.jsonl").write_text(json.dumps({"query": "red", "relevant": ["0000.png"]}) + "\n")
            mine = {**given, "C": str(place / "catalog"), "D": str(place)}
            words = [
                mine.get(word, word.replace("D/", f"{place}/")).replace("|", " ")
                for word in command.words.split()
            ]
            with ExitStack() as held:
                if command.locked:
                    held.enter_context(_locked(place / "catalog"))
                said = _put_in(outcome, command, words, place, sort, rng, address)
            if said is None:
                continue
            outcome.times += 1
            _check_kept(outcome, command, place, grown, more, ground, said)
    return outcome


def _put_in(
    outcome: Outcome,
    command: Command,
    words: list[str],
    place: Path,
    sort: signal.Signals,
    rng: random.Random,
    address: str,
) -> str | None:
    """Run a command, send it a signal, and see how it ends; what was done, or None where it was too quick."""
    delay = rng.random() * command.seconds
    twice = rng.random() < 0.2
    for _ in range(6):
        marker, mark = place / "ready", uuid.uuid4().hex
        marker.unlink(missing_ok=True)
        process = subprocess.Popen(
            [sys.executable, "-c", RUN, str(marker), command.before, *words],
            cwd=ROOT,
            env={**os.environ, MARK: mark, "SEARCH_ENDPOINT": address if command.silent else ""},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=(place / "stderr").open("wb"),
            start_new_session=True,
        )
        with process:
            try:
                process.wait(delay)
            except subprocess.TimeoutExpired:
                pass
            else:
                delay /= 2
                continue
            ready = marker.exists()
            _send(process, sort)
            if twice:
                time.sleep(0.05)
                _send(process, sort)
            began = time.monotonic()
            said = (
                f"{' '.join(command.words.split()[:3])}, {sort.name}{' twice' if twice else ''} "
                f"after {delay:.2f} s{'' if ready else ', at the edge of the program'}"
            )
            try:
                process.wait(3 * LATEST)
            except subprocess.TimeoutExpired:
                outcome.wrong.append(f"{said}: it did not end")
                process.kill()
            took = time.monotonic() - began
        error = (place / "stderr").read_text(errors="replace")
        outcome.recoveries.append(took)
        allowed = {128 + sort} if ready else {128 + sort, -sort}
        if process.returncode in {0, int(command.locked)} and not command.endless:
            pass  # the signal met a command that was done
        elif process.returncode not in allowed:
            outcome.wrong.append(f"{said}: it ended with {process.returncode}: {error[-300:]}")
        if took > (AT_ONCE if twice and ready else LATEST):
            outcome.wrong.append(f"{said}: it took {took:.1f} s to end")
        if ready and ("Traceback" in error or "Exception ignored" in error):
            outcome.wrong.append(f"{said}: {error[-600:]}")
        left = _orphans(mark)
        if left:
            outcome.wrong.append(f"{said}: {left} processes were left behind")
        return said
    return None


def _send(process: subprocess.Popen[bytes], sort: signal.Signals) -> None:
    try:
        # As a terminal does it: to every process of the group.
        os.killpg(process.pid, sort)
    except ProcessLookupError:
        return


def _orphans(mark: str) -> int:
    """How many processes there are still that came from the one with this mark."""
    latest = time.monotonic() + ORPHAN_SECONDS
    wanted = f"{MARK}={mark}".encode()
    while True:
        left = 0
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                zombie = (entry / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
                left += not zombie and wanted in (entry / "environ").read_bytes()
            except OSError:
                continue
        if not left or time.monotonic() > latest:
            return left
        time.sleep(0.02)


def _check_kept(
    outcome: Outcome, command: Command, place: Path, grown: Path, more: Path, ground: Ground, said: str
) -> None:
    """What was there is there, and a run that was broken off goes on from where it was."""
    with Catalog(place / "catalog") as opened:
        images = opened.status().images
    if images < 40 and command.words.split()[0] not in ("forget", "gc"):
        outcome.lost += 40 - images
    for finding in examine(place / "catalog", fix=False):
        if finding.kind == "error":
            outcome.wrong.append(f"{said}: {finding.detail}")
    if "D/new --model toy" in command.words and (place / "new").exists():
        ground.index(place / "new", more)
        compare(outcome, place / "new", grown, when=said)


def _known_commands() -> set[str]:
    import click

    from cli import main

    return set(main.list_commands(click.Context(main)))


@contextmanager
def _locked(catalog: Path) -> Iterator[None]:
    from retrieval.config import Location
    from retrieval.db.queries import Writer

    with Writer(Location.parse(catalog)):
        yield


@contextmanager
def _silence() -> Iterator[str]:
    """The address of a server that takes connections and never says anything."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(64)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
