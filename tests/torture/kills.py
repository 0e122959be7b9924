"""kill -9 at any moment of any job: what was committed stays, and the next run ends as if nothing had been.

Half of the kills come after a time drawn evenly from that of the whole job, the others at one of its
calls that change the catalog's folder, drawn evenly from them: there the time is short and much
happens. Half of the former kill all processes of the job, half only the first, whose loading
processes then have to end by themselves. One catalog in four is killed again before it is taken up.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retrieval import config
from tests.torture import shim
from tests.torture.children import Child, Tell, done, look, report_commits
from tests.torture.ground import Ground
from tests.torture.outcomes import Outcome
from tests.torture.scenes import SCENES, Scene, copy, facts, same_end

MOST_LOST = 64
ORPHAN_SECONDS = 10.0
LONGEST = 60.0
AGAIN = 0.25
FEW, FIRST = 50, 4


@dataclass(frozen=True, slots=True)
class Stage:
    """A scene with everything that is there before, and how it goes undisturbed."""

    scene: Scene
    before: Path
    catalog: Path
    calm: Path
    photos: Path
    said: dict[str, Any]
    seconds: float
    calls: int

    def job(self, tell: Tell, fault: str = "", log: Path | None = None) -> None:
        """What a process does that is going to be killed."""
        report_commits(tell)
        if fault or log:
            shim.configure(self.catalog, fail=[fault] if fault else [], log=log, nosync=True)
        self.scene.act(self.catalog, self.photos)


def run(ground: Ground, times: int, rng: random.Random) -> Outcome:
    assert config.COMMIT_IMAGES == MOST_LOST
    outcome = Outcome("kill")
    for scene, count in _shares(times):
        stage = staged(ground, scene)
        killed = tries = 0
        while killed < count:
            tries += 1
            if tries > 3 * count + 20:
                outcome.wrong.append(f"{scene.name}: only {killed} of {tries} kills came before the end")
                break
            killed += kill(stage, outcome, rng, ground.folder / "errors", most=count - killed)
    return outcome


def staged(ground: Ground, scene: Scene) -> Stage:
    """Make what there is before a scene, and go through it once undisturbed."""
    catalog, photos = ground.place(f"catalog-{scene.name}"), ground.folder / f"photos-{scene.name}"
    before, calm = ground.folder / f"before-{scene.name}", ground.folder / f"calm-{scene.name}"
    errors, log = ground.folder / "errors", ground.folder / "log"
    _must(done(lambda _: scene.prepare(ground, catalog, photos), errors)[0])
    copy(catalog, before)
    log.unlink(missing_ok=True)
    stage = Stage(scene, before, catalog, calm, photos, {}, 0.0, 0)
    wrong, _, seconds = done(lambda tell: stage.job(tell, log=log if shim.preloaded() else None), errors)
    _must(wrong)
    calls = sum(record.call != "mark" for record in shim.records(log))
    copy(catalog, calm)
    return Stage(scene, before, catalog, calm, photos, facts(calm), seconds, calls)


def kill(stage: Stage, outcome: Outcome, rng: random.Random, errors: Path, *, most: int) -> int:
    """Kill the job, once or several times one after the other, and take it up again; how often it was."""
    copy(stage.before, stage.catalog)
    count = 0
    while True:
        count += _killed(stage, outcome, rng, errors)
        if count in (0, most) or rng.random() >= AGAIN:
            break
    began = time.monotonic()
    wrong, _, _ = done(lambda _: stage.scene.act(stage.catalog, stage.photos), errors)
    if count:
        outcome.times += count
        outcome.recoveries.append(time.monotonic() - began)
    when = f"{stage.scene.name}, kill {outcome.times}"
    if wrong:
        outcome.wrong.append(f"{when}: the next run: {wrong}")
    same_end(outcome, stage.catalog, stage.calm, stage.said, when=when)
    return count


def _killed(stage: Stage, outcome: Outcome, rng: random.Random, errors: Path) -> bool:
    """Begin the job and kill it; look at what it left. False where it had ended before."""
    last = look(stage.catalog / "catalog.db")[0]
    by_call = stage.calls > 0 and rng.random() < 0.5
    if by_call:
        number, group = rng.randrange(stage.calls), False
        child = Child(lambda tell: stage.job(tell, f"any:KILL:{number}"), errors)
        code = child.wait(LONGEST)
        when = f"{stage.scene.name}, at call {number}"
    else:
        moment, group = rng.random() * stage.seconds, rng.random() < 0.5
        child = Child(stage.job, errors)
        code = child.wait(moment)
        child.kill(group=group)
        child.wait(LONGEST)
        when = f"{stage.scene.name}, after {moment:.3f} s"
    if not child.alone(ORPHAN_SECONDS):
        outcome.wrong.append(f"{when}: a process that it had started went on")
    lines = child.told()
    if code is not None and code >= 0:
        if code:
            outcome.wrong.append(f"{when}: it ended with {code} before it was killed: {child.error}")
        return False
    found, damage = look(stage.catalog / "catalog.db")
    if damage:
        outcome.wrong.append(f"{when}: the database is damaged: {damage}")
    last, coming, waiting = stood(lines, last)
    if found not in (last, coming):
        outcome.wrong.append(f"{when}: what had been committed is not what is there")
    if waiting > MOST_LOST:
        outcome.wrong.append(f"{when}: {waiting} finished pictures were lost")
    return True


def stood(lines: list[str], last: str) -> tuple[str, str, int]:
    """From what a job told: the digest of its last commit, of one under way, and the pictures in none."""
    coming, waiting = last, 0
    for line in lines:
        word, _, rest = line.partition(" ")
        if word == "committing":
            coming = rest
        elif word == "committed":
            last = coming
        elif word == "encoded":
            waiting += int(rest)
        elif word == "kept":
            waiting -= int(rest)
    return last, coming, waiting


def _shares(times: int) -> list[tuple[Scene, int]]:
    """How often each scene is killed; of few kills none goes to those that are the least in danger."""
    scenes = SCENES if times >= FEW else SCENES[:FIRST]
    whole = sum(scene.share for scene in scenes)
    counts = [int(times * scene.share / whole) for scene in scenes]
    counts[0] += times - sum(counts)
    return [(scene, count) for scene, count in zip(scenes, counts, strict=True) if count > 0]


def _must(wrong: str) -> None:
    if wrong:
        raise RuntimeError(f"Undisturbed, {wrong}")
