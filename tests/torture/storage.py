"""Disks that are full, over quota, read-only or failing, while every command that writes is at work.

Each time one kind of call fails with one errno, from one moment on or once, below the catalog's folder.
Then the command says so in one line, with the cause and the place, and does not end with 0 unless all
is as it should be; a query answers meanwhile; and the same command, once the disk is well again, leaves
what an undisturbed one leaves.
"""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from tests.torture import shim
from tests.torture.ground import Ground, compare
from tests.torture.outcomes import Outcome

REFUSALS = ("ENOSPC", "EDQUOT", "EIO", "EROFS")
CALLS = ("any", "any", "write", "fsync", "open", "truncate", "rename", "unlink")
MOMENTS = (0, 1, 2, 3, 5, 8, 13, 21, 34)
SECONDS = 60.0
FEW = 24
MORE = 20


@dataclass(frozen=True, slots=True)
class Job:
    """A command, and where it begins: a catalog that holds pictures, or none."""

    name: str
    words: tuple[str, ...]
    begins: str = "some"
    writes: str = ""
    """A file that it writes outside of the database."""


@dataclass(frozen=True, slots=True)
class Ran:
    code: int | None
    out: str
    err: str


def run(ground: Ground, times: int, rng: random.Random) -> Outcome:
    """The same in a process above the shim, which forks one for each command."""
    outcome = Outcome("storage")
    if why := shim.unavailable():
        outcome.skipped = why
        return outcome
    ran = subprocess.run(
        [sys.executable, "-m", "tests.torture.storage", str(ground.folder), str(times), str(rng.random())],
        env={**os.environ, **shim.environment()}, stdout=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    try:
        return Outcome(**json.loads(ran.stdout.splitlines()[-1]))
    except (IndexError, ValueError, TypeError):
        outcome.wrong.append(f"the process that put faults in ended with {ran.returncode}")
        return outcome


def put_in(ground: Ground, times: int, rng: random.Random) -> Outcome:
    outcome = Outcome("storage")
    desk = _Desk(ground)
    jobs = desk.jobs()
    desk.prepare(jobs)
    for number in range(times):
        job = jobs[number % len(jobs)]
        # A full disk refuses everything; other faults meet one kind of call.
        call = rng.choice(CALLS)
        fault = f"{call}:{rng.choice(REFUSALS)}:{rng.choice(MOMENTS)}"
        match = ""
        if rng.random() < 0.5:
            # Once, and mostly where commits are: what a command must not take for done.
            match = rng.choice(("", "catalog.db-wal"))
            call = rng.choice(("write", "fsync")) if match else call
            fault = f"{call}:{rng.choice(REFUSALS)}:{rng.choice(MOMENTS)}:1"
        desk.disturb(outcome, job, fault, match)
        outcome.times += 1
    return outcome


class _Desk:
    """The catalogs that commands begin with and should leave, and how they are run."""

    def __init__(self, ground: Ground) -> None:
        self.ground = ground
        self.few = ground.photos(FEW, "few")
        self.more = ground.photos(MORE, "more", size=(72, 40))
        self.texts = ground.folder / "texts.txt"
        self.texts.write_text("a red square\na blue square\n")
        self.catalog = ground.folder / "work" / "catalog"

    def jobs(self) -> list[Job]:
        red, green = self.few / "0" / "0000.png", self.few / "1" / "0001.png"
        also = self.few / "5" / "0005.png"
        page = self.catalog.parent / "page.html"
        return [
            Job("index", ("index", str(self.more), "--workers", "1")),
            Job("index anew", ("index", str(self.few), "--workers", "1", "--model", "toy"), begins="none"),
            Job("index again", ("index", str(self.few), "--workers", "1"), begins="changed"),
            Job("forget", ("forget", str(self.few / "0"))),
            Job("gc", ("gc",), begins="gone"),
            Job("rebuild", ("rebuild",)),
            Job("texts add", ("texts", "add", str(self.texts))),
            Job("tag add", ("tag", "add", "square")),
            Job("feedback", ("feedback", "red", "--good", str(red), "--bad", str(green))),
            Job("concepts add", ("concepts", "add", "rot", str(red), str(also))),
            Job("dupes --not", ("dupes", "--not", str(red), str(also))),
            Job("describe --library", ("describe", "--library")),
            Job("find --html", ("find", "red", "--html", str(page)), writes=str(page)),
            Job("find", ("find", "red", "--json"), begins="uncached"),
        ]

    def prepare(self, jobs: Sequence[Job]) -> None:
        """Every beginning, and what each command leaves of it where nothing is wrong."""
        self._begin_with("none")
        self._sound(("index", str(self.few), "--workers", "1", "--model", "toy"))
        self._keep("some")
        shutil.rmtree(self.catalog / "cache")
        self._keep("uncached")
        self._begin_with("some")
        self._sound(("forget", str(self.few / "3")))
        self._keep("changed")
        self._begin_with("some")
        away = self.few.with_name("away")
        (self.few / "2").rename(away)
        self._sound(("index", str(self.few), "--workers", "1"))
        away.rename(self.few / "2")
        self._keep("gone")
        for job in jobs:
            self._begin_with(job.begins)
            self._sound(job.words)
            self._keep(f"after {job.name}")

    def disturb(self, outcome: Outcome, job: Job, fault: str, match: str) -> None:
        self._begin_with(job.begins)
        if job.writes:
            Path(job.writes).unlink(missing_ok=True)
        when = " ".join((job.name, "with", fault, match)).strip()
        calm = self._kept(f"after {job.name}")
        ran = self._run(job.words, fault, match)
        for fact in self._complaints(ran, fault):
            outcome.wrong.append(f"{when}: {fact}")
        if ran.code == 0:
            self._compare(outcome, calm, f"{when} had ended with 0")
            if job.writes and not Path(job.writes).is_file():
                outcome.wrong.append(f"{when}: it ended with 0, and did not write its file")
        if (self.catalog / "catalog.db").exists() and self._has_pictures():
            # Whatever the disk refuses by now, all of it: reading goes on.
            call, refusal = fault.split(":")[:2]
            asked = self._run(("find", "red", "--json"), f"{call}:{refusal}:0")
            if asked.code or '"rank": 1' not in asked.out:
                outcome.wrong.append(f"{when}: a query meanwhile ended with {asked.code}: {asked.err[-300:]}")
        began = time.monotonic()
        again = self._run(job.words)
        if again.code:
            outcome.wrong.append(f"{when}: afterwards it ended with {again.code}: {again.err[-300:]}")
        self._compare(outcome, calm, f"{when}, then again")
        outcome.recoveries.append(time.monotonic() - began)

    def _complaints(self, ran: Ran, fault: str) -> list[str]:
        if ran.code is None:
            return [f"it did not end within {SECONDS:.0f} s"]
        if "Traceback" in ran.err + ran.out or "no fault of yours" in ran.err:
            return [f"it ended with a traceback: {ran.err[-400:]}"]
        said = [line for line in ran.err.splitlines() if line.startswith("Error: ")]
        if ran.code == 0:
            return [f"it ended with 0, and said: {said[0]}"] if said else []
        if ran.code != 1 or len(said) != 1 or not ran.err.endswith(f"{said[0]}\n"):
            return [f"it ended with {ran.code}, and not with one line that says why: {ran.err[-400:]!r}"]
        facts = []
        cause = os.strerror(getattr(errno, fault.split(":")[1]))
        # What fails only once, or only in the database's own log, cannot be met again to be named.
        if fault.count(":") == 2 and fault.startswith("any") and cause not in said[0]:
            facts.append(f"the cause is not named: {said[0]}")
        if str(self.catalog.parent) not in said[0]:
            facts.append(f"the place is not named: {said[0]}")
        return facts

    def _compare(self, outcome: Outcome, calm: Path, when: str) -> None:
        if not (self.catalog / "catalog.db").exists():
            outcome.wrong.append(f"{when}: there is no database")
            return
        try:
            # The top ten are looked at by `find`, which is one of the commands.
            compare(outcome, self.catalog, calm, when=when, top=False)
            found, wanted = _said(self.catalog), _said(calm)
        except Exception as error:  # whatever keeps it from being read is what is looked for
            outcome.wrong.append(f"{when}: {type(error).__name__}: {error}")
            return
        for table in wanted:
            if found[table] != wanted[table]:
                outcome.wrong.append(f"{when}: the table {table} is not as an undisturbed run leaves it")

    def _has_pictures(self) -> bool:
        with closing(sqlite3.connect(self.catalog / "catalog.db")) as connection:
            try:
                query = "SELECT 1 FROM images JOIN encoders ON active WHERE missing_at IS NULL"
                return connection.execute(query).fetchone() is not None
            except sqlite3.OperationalError:
                return False  # not even its tables were made

    def _begin_with(self, name: str) -> None:
        shutil.rmtree(self.catalog.parent, ignore_errors=True)
        self.catalog.parent.mkdir()
        if name != "none":
            shutil.copytree(self._kept(name), self.catalog)

    def _keep(self, name: str) -> None:
        shutil.rmtree(self._kept(name), ignore_errors=True)
        shutil.copytree(self.catalog, self._kept(name))

    def _kept(self, name: str) -> Path:
        return self.ground.folder / "kept" / name.replace(" ", "-")

    def _sound(self, words: Sequence[str]) -> None:
        ran = self._run(words)
        if ran.code:
            raise RuntimeError(f"{' '.join(words)} ended with {ran.code}: {ran.err}")

    def _run(self, words: Sequence[str], fault: str = "", match: str = "") -> Ran:
        """The command in a process of its own, forked from this one."""
        out, err = self.ground.folder / "out", self.ground.folder / "err"
        sys.stdout.flush()
        pid = os.fork()
        if not pid:
            _become([*words, "--catalog", str(self.catalog)], out, err, self.catalog.parent, fault, match)
        code = _waited(pid)
        return Ran(code, out.read_text("utf-8", "replace"), err.read_text("utf-8", "replace"))


def _said(catalog: Path) -> dict[str, list[str]]:
    """What people, or models, have said of pictures and queries, but for ids and times."""
    tables = (
        "texts", "vocabulary", "image_tags", "not_duplicates", "concepts", "concept_examples",
        "feedback", "said", "descriptions", "failures", "roots",
    )  # fmt: skip
    found = {}
    with closing(sqlite3.connect(catalog / "catalog.db")) as connection:
        wrong = connection.execute("PRAGMA integrity_check").fetchone()[0]
        if wrong != "ok":
            raise ValueError(f"the database is damaged: {wrong}")
        for table in tables:
            columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
            kept = [name for name in columns if name != "id" and not name.endswith(("_id", "_at"))]
            rows = connection.execute(f"SELECT {', '.join(kept) or 1} FROM {table}").fetchall()
            found[table] = sorted(map(repr, rows))
    return found


def _become(words: list[str], out: Path, err: Path, folder: Path, fault: str, match: str) -> None:
    """Be the command; never returns."""
    code = 70
    try:
        os.setsid()
        for number, place in ((1, out), (2, err)):
            opened = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            os.dup2(opened, number)
            os.close(opened)
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
        sys.argv = ["search", *words]
        if fault:
            shim.configure(folder, fail=[fault], match=match)
        from cli import main

        main(words, prog_name="search")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException as error:
        sys.stderr.write(f"Traceback of {type(error).__name__}: {error}\n")
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _waited(pid: int) -> int | None:
    until = time.monotonic() + SECONDS
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > until:
            os.killpg(pid, 9)
            os.waitpid(pid, 0)
            return None
        time.sleep(0.002)


def _warm() -> None:
    """Import what the commands need, once for all that are forked."""
    import PIL.Image
    from alembic import command

    import indexer.embed
    import indexer.loader
    import retrieval.catalog
    import retrieval.db.migrate
    import retrieval.db.queries
    import retrieval.encoders.toy

    assert all((PIL.Image, command, indexer.embed, indexer.loader, retrieval.catalog))
    assert all((retrieval.db.migrate, retrieval.db.queries, retrieval.encoders.toy))


if __name__ == "__main__":
    _warm()
    place, count, seed = sys.argv[1:]
    print(json.dumps(put_in(Ground(Path(place)), int(count), random.Random(seed)).as_dict()))
