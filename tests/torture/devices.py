"""Power cuts of real file systems: the image behind a mounted ext4 is copied while a job writes, and the copy mounted.

What a file system has not sent to its device by that moment is not in the copy, and it sends nothing
before it must (`commit=600`), so that only what was flushed can be relied on. This needs root and loop
devices. Everything is mounted in a namespace of its own, which ends with the process that made it.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from tests.torture import kills
from tests.torture.children import Child, done, look
from tests.torture.ground import Ground
from tests.torture.kills import Stage, staged
from tests.torture.outcomes import Outcome
from tests.torture.scenes import CHANGE, FORGET, INDEX, SWITCH, copy, same_end

IMAGE_BYTES = 48 << 20
OPTIONS = "loop,commit=600"
SCENES = (INDEX, FORGET, SWITCH, CHANGE)
OUTER = Path(__file__).resolve().parents[2]


def unavailable() -> str:
    """Why no file system can be mounted here; empty where one can."""
    if not sys.platform.startswith("linux") or os.geteuid():
        return "only root can mount them"
    missing = [name for name in ("unshare", "mount", "umount", "mkfs.ext4") if shutil.which(name) is None]
    if missing:
        return f"{missing[0]} is not installed"
    tried = subprocess.run(["unshare", "-m", "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        return " ".join(tried.stderr.split())
    if not Path("/dev/loop-control").exists():
        return "there are no loop devices"
    return ""


def cut(ground: Ground, times: int, outcome: Outcome, rng: random.Random) -> None:
    """Cut the power so often, in a process that has mounts of its own, and take over what came of it."""
    folder = ground.place("devices")
    folder.mkdir()
    command = ["unshare", "-m", "--propagation", "private", sys.executable, "-m", "tests.torture.devices"]
    ran = subprocess.run(
        [*command, str(folder), str(times), str(rng.randrange(1 << 30))],
        cwd=OUTER, capture_output=True, text=True, check=False,
    )  # fmt: skip
    try:
        part = Outcome(**json.loads(ran.stdout.splitlines()[-1]))
    except (IndexError, ValueError, TypeError):
        said = ran.stderr.strip().splitlines()[-1:]
        outcome.wrong.append(f"cuts of real file systems: the process ended with {ran.returncode}: {said}")
        return
    for name in ("times", "lost", "doubled", "half", "wrong", "recoveries", "notes"):
        setattr(outcome, name, getattr(outcome, name) + getattr(part, name))


def main() -> int:
    folder, times, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    outcome, rng = Outcome("power"), random.Random(seed)
    ground = Ground(folder)
    try:
        blank = _blank(folder)
    except subprocess.CalledProcessError as error:
        outcome.notes.append(f"no cuts of real file systems: {_said(error)}")
        print(json.dumps(outcome.as_dict()))
        return 0
    stages: dict[str, Stage] = {}
    for number in range(times):
        scene = SCENES[number % len(SCENES)]
        if scene.name not in stages:
            stages[scene.name] = staged(ground, scene)
        _cut(ground, stages[scene.name], blank, outcome, rng)
    print(json.dumps(outcome.as_dict()))
    return 0


def _cut(ground: Ground, stage: Stage, blank: Path, outcome: Outcome, rng: random.Random) -> None:
    """One job on a file system of its own, and one cut, which may come after its end."""
    image, left = ground.folder / "image", ground.folder / "left"
    mount, look_at = ground.folder / "mount", ground.folder / "after"
    shutil.copyfile(blank, image)
    _mounted(image, mount)
    try:
        catalog = mount / "catalog"
        if stage.before.is_dir():
            copy(stage.before, catalog)
            subprocess.run(["sync", "-f", str(mount)], check=True)
        first = look(catalog / "catalog.db")[0]
        here = Stage(
            stage.scene, stage.before, catalog, stage.calm, stage.photos, stage.said, stage.seconds, 0
        )
        moment = rng.random() * 1.3 * stage.seconds
        child = Child(here.job, ground.folder / "errors")
        ended = child.wait(moment)
        with suppress(ProcessLookupError):  # loading processes write nothing
            os.kill(child.pid, signal.SIGSTOP)
        shutil.copyfile(image, left)
        child.kill(group=True)
        child.wait(kills.LONGEST)
        child.alone(kills.ORPHAN_SECONDS)
        lines = child.told()
    finally:
        subprocess.run(["umount", str(mount)], check=True)
    outcome.times += 1
    how = "after its end" if ended == 0 else f"after {moment:.2f} s"
    when = f"{stage.scene.name}, cut {outcome.times} of a real file system, {how}"
    if ended:
        outcome.wrong.append(f"{when}: it ended with {ended} before: {child.error}")
    _mounted(left, look_at)
    try:
        catalog = look_at / "catalog"
        found, damage = look(catalog / "catalog.db")
        if damage:
            outcome.wrong.append(f"{when}: the database is damaged: {damage}")
        if found not in kills.stood(lines, first)[:2]:
            outcome.wrong.append(f"{when}: what had been committed is not what is there")
        began = time.monotonic()
        wrong, _, _ = done(lambda _: stage.scene.act(catalog, stage.photos), ground.folder / "errors")
        outcome.recoveries.append(time.monotonic() - began)
        if wrong:
            outcome.wrong.append(f"{when}: the next run: {wrong}")
        same_end(outcome, catalog, stage.calm, stage.said, when=when)
    finally:
        subprocess.run(["umount", str(look_at)], check=True)


def _blank(folder: Path) -> Path:
    """An image with an empty file system in it, tried once."""
    blank = folder / "blank"
    with blank.open("wb") as file:
        file.truncate(IMAGE_BYTES)
    subprocess.run(["mkfs.ext4", "-q", "-F", str(blank)], check=True, capture_output=True)
    shutil.copyfile(blank, folder / "image")
    _mounted(folder / "image", folder / "mount")
    subprocess.run(["umount", str(folder / "mount")], check=True, capture_output=True)
    return blank


def _mounted(image: Path, place: Path) -> None:
    place.mkdir(exist_ok=True)
    subprocess.run(["mount", "-o", OPTIONS, str(image), str(place)], check=True, capture_output=True)


def _said(error: subprocess.CalledProcessError) -> str:
    return " ".join((error.stderr or b"").decode("utf-8", "replace").split())


if __name__ == "__main__":
    sys.exit(main())
