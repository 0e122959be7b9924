"""Power cuts at any moment of any job: what was committed stays, and what a command had done that returned.

Two ways. Most cuts are made of a record of all that one run of the job did to its folders (`shim.c`):
replayed up to a moment, with what was not flushed by then dropped, torn or in another order, as far as
`disk.py` says. The others are of real file systems (`devices.py`), where there are rights for that.

What has to be there after a cut: of the database the state of the last COMMIT that had returned, or of
the one under way, whole; people's own files and backups as they stood when the last command returned,
or as a step after that made them, whole. Caches may be lost. Then the job is done again, and has to end
as the undisturbed one did.
"""

from __future__ import annotations

import json
import os
import random
import time
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from retrieval.stores import cache
from tests.torture import devices, shim
from tests.torture.children import Tell, done, look, report_commits
from tests.torture.disk import Disk
from tests.torture.ground import Ground
from tests.torture.outcomes import Outcome
from tests.torture.scenes import (
    ALT,
    CHANGE,
    FORGET,
    INDEX,
    REBUILD,
    SWITCH,
    TELL,
    UPGRADE,
    Scene,
    copy,
    facts,
    same_end,
)

AT_THE_END = 0.25
"""How many of the cuts come when the last command has just returned."""
OF_DEVICES = 0.1
"""How many of the cuts are of real file systems, where they can be."""
CUT = (
    (INDEX, 0.28),
    (CHANGE, 0.14),
    (SWITCH, 0.1),
    (FORGET, 0.12),
    (UPGRADE, 0.1),
    (REBUILD, 0.06),
    (TELL, 0.08),
    (ALT, 0.12),
)
"""What is going on, and its share of the cuts."""


@dataclass(slots=True)
class Tape:
    """A job with what was there before it, all that it did, and what it left."""

    scene: Scene
    root: Path
    catalog: Path
    photos: Path
    disk: Disk
    """As it was before."""
    calm: Path
    first: str
    records: list[shim.Record]
    said: dict[str, Any]
    files: dict[str, bytes]

    def act(self) -> None:
        self.scene.act(self.catalog, self.photos)


@dataclass(slots=True)
class Standing:
    """What has to be there after a cut, as the record is gone through."""

    tape: Tape
    database: str
    coming: str = ""
    files: dict[str, list[bytes | None]] = field(default_factory=dict)
    """Of people's files what each may hold: as when a command returned last, or what came after."""

    def see(self, record: shim.Record, disk: Disk) -> None:
        """Learn from what has just been done."""
        if record.call == "mark":
            word, _, rest = record.path.partition(" ")
            if word == "committing":
                self.coming = rest
            elif word == "committed":
                self.database, self.coming = self.coming, ""
            elif word == "returned":
                self.files = {path: versions[-1:] for path, versions in self.files.items()}
        elif record.call in ("open", "rename", "link", "unlink"):
            for path in (record.path, record.other):
                if path and owned(self.tape, path):
                    self.files.setdefault(path, [None]).append(disk.content(path))

    def check(self, when: str) -> list[str]:
        """What of it is not there."""
        found, damage = look(self.tape.catalog / "catalog.db")
        wrong = [f"{when}: the database is damaged: {damage}"] if damage else []
        if found not in (self.database, self.coming):
            wrong.append(f"{when}: what had been committed is not what is there")
        for path, versions in self.files.items():
            there = Path(path).read_bytes() if os.path.isfile(path) else None
            if there not in versions:
                size = "gone" if there is None else f"{len(there)} bytes of something else"
                wrong.append(f"{when}: {os.path.relpath(path, self.tape.root)} is {size}")
        return wrong


def run(ground: Ground, times: int, rng: random.Random) -> Outcome:
    outcome = Outcome("power")
    if why := shim.unavailable():
        outcome.skipped = why
        return outcome
    real = round(times * OF_DEVICES)
    if real and (why := devices.unavailable()):
        outcome.notes.append(f"no cuts of real file systems: {why}")
        real = 0
    for scene, count in _shares(times - real):
        tape = recorded(ground, scene)
        moments = sorted(_moment(tape, rng) for _ in range(count))
        cut(tape, moments, outcome, rng, ground)
    if real:
        devices.cut(ground, real, outcome, rng)
    return outcome


def recorded(ground: Ground, scene: Scene) -> Tape:
    """Do a job once, undisturbed, with everything it does written down."""
    root = ground.place(f"disk-{scene.name}")
    root.mkdir()
    catalog, photos = root / "new" / "library" / "catalog", root / "photos"
    calm = ground.folder / f"calm-{scene.name}"
    errors, log = ground.folder / "errors", ground.folder / "log"
    log.unlink(missing_ok=True)
    if scene.needs_catalog:
        catalog.parent.mkdir(parents=True)
    _must(done(lambda _: scene.prepare(Ground(root), catalog, photos), errors)[0])
    first = look(catalog / "catalog.db")[0]  # which also brings its log into it, before we look at the disk
    disk = Disk(root)
    untouched = deepcopy(disk)

    def work(_tell: Tell) -> None:
        shim.configure(root, log=log, nosync=True)
        report_commits(shim.mark)
        scene.act(catalog, photos)
        shim.mark("returned")

    _must(done(work, errors)[0])
    records = list(shim.records(log))
    for record in records:
        disk.apply(record)
    if unseen := disk.differences():
        raise RuntimeError(f"{scene.name} did more than was recorded: {unseen[:5]}")
    copy(catalog, calm)
    tape = Tape(scene, root, catalog, photos, untouched, calm, first, records, {}, {})
    tape.files = _files(tape)
    tape.said = {table: rows for table, rows in facts(calm).items() if table not in scene.resting}
    return tape


def cut(tape: Tape, moments: list[int], outcome: Outcome, rng: random.Random, ground: Ground) -> None:
    """Cut the power after so many of the recorded calls, each time anew."""
    disk = deepcopy(tape.disk)
    disk.write_whole(tape.root)
    standing = Standing(tape, tape.first)
    standing.files = {path: [content] for path, content in _files(tape).items()}
    seen = 0
    for moment in moments:
        for record in tape.records[seen:moment]:
            disk.apply(record)
            standing.see(record, disk)
        seen = moment
        outcome.times += 1
        last = tape.records[moment - 1] if moment else None
        place = f"{last.call} {os.path.basename(last.path)}" if last else "nothing"
        rule = disk.write_cut(tape.root, rng)
        _seal(tape.root)
        when = f"{tape.scene.name}, cut {outcome.times} ({rule}) at {moment} of {len(tape.records)}, after {place}"
        outcome.wrong += standing.check(when)
        again(tape, outcome, when, ground.folder / "errors")


def again(tape: Tape, outcome: Outcome, when: str, errors: Path) -> None:
    """Do the job again after a cut; it has to end as the undisturbed one did."""
    began = time.monotonic()
    wrong, _, _ = done(lambda _: tape.act(), errors)
    outcome.recoveries.append(time.monotonic() - began)
    if wrong:
        outcome.wrong.append(f"{when}: the next run: {wrong}")
    same_end(outcome, tape.catalog, tape.calm, tape.said, when=when)
    files = _files(tape)
    for path, content in tape.files.items():
        if files.get(path) != content and not path.endswith(".db"):
            outcome.wrong.append(f"{when}: the next run left another {os.path.relpath(path, tape.root)}")


def _seal(root: Path) -> None:
    """Have caches take files for those that they have read before: on a real disk these keep their inode."""
    for seal in root.rglob(cache.SEAL):
        try:
            known = json.loads(seal.read_bytes())
        except ValueError:
            continue
        for name, (_, size, *_, crc) in known.items():
            file = seal.with_name(name)
            if file.is_file() and file.stat().st_size == size:
                status = file.stat()
                known[name] = [status.st_ino, size, status.st_mtime_ns, status.st_ctime_ns, crc]
        seal.write_text(json.dumps(known))


def owned(tape: Tape, path: str) -> bool:
    """Whether a file is a person's own, or a backup: no cache, nothing hidden, nothing half-written."""
    name = os.path.basename(path)
    inside = path.startswith(f"{tape.photos}{os.sep}") or f"{os.sep}backups{os.sep}" in path
    return inside and not name.startswith(".") and not name.endswith(("-journal", "-wal", "-shm"))


def _files(tape: Tape) -> dict[str, bytes]:
    return {
        str(path): path.read_bytes()
        for path in tape.root.rglob("*")
        if path.is_file() and owned(tape, str(path))
    }


def _moment(tape: Tape, rng: random.Random) -> int:
    """After how many of the calls the cut comes: often just before something is flushed, or named."""
    if rng.random() < AT_THE_END:
        return len(tape.records)
    if rng.random() < 0.5:
        turns = [
            number
            for number, record in enumerate(tape.records)
            if record.call in ("fsync", "rename", "unlink", "link", "truncate", "mkdir", "mark")
        ]
        return rng.choice(turns) + rng.randrange(2)
    return rng.randrange(len(tape.records) + 1)


def _shares(times: int) -> list[tuple[Scene, int]]:
    counts = [int(times * share) for _, share in CUT]
    for number in range(times - sum(counts)):
        counts[number % len(counts)] += 1
    return [(scene, count) for (scene, _), count in zip(CUT, counts, strict=True) if count]


def _must(wrong: str) -> None:
    if wrong:
        raise RuntimeError(f"Undisturbed, {wrong}")
