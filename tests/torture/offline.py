"""Disks that go away: before a run, in the midst of its walk, in part, or with errors; none is a deletion."""

from __future__ import annotations

import ctypes
import errno
import os
import random
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from retrieval.errors import CatalogError
from tests.conftest import draw
from tests.torture.ground import Ground, compare
from tests.torture.outcomes import Outcome

NEW_MOUNTS = 0x00020000
"""`CLONE_NEWNS`: mounts of this process's own, which end with it."""
PICTURES = 40


class Disk:
    """A folder of pictures that can be put where it is looked for, and taken from there."""

    def __init__(self, content: Path, point: Path, *, mounts: bool) -> None:
        self.content, self.point, self._mounts = content, point, mounts
        self._there = False

    def plug(self) -> None:
        if self._there:
            return
        self.point.mkdir(parents=True, exist_ok=True)
        if self._mounts:
            subprocess.run(["mount", "--bind", self.content, self.point], check=True)
        else:
            self.point.rmdir()
            self.content.rename(self.point)
        self._there = True

    def pull(self) -> None:
        if not self._there:
            return
        if self._mounts:
            subprocess.run(["umount", "--lazy", self.point], check=True)
        else:
            self.point.rename(self.content)
            self.point.mkdir()
        self._there = False


def run(ground: Ground, times: int, rng: random.Random) -> Outcome:
    outcome = Outcome("offline")
    mounts = own_mounts()
    home = ground.place("home")
    for number in range(PICTURES // 2):
        draw(home / f"here-{number:02}.png", "cyan", mark=100 + number)
    disk = Disk(ground.photos(PICTURES, "disk"), ground.place("root"), mounts=mounts)
    card = Disk(ground.photos(PICTURES // 4, "card"), home / "card", mounts=mounts)
    disks = (disk, card)
    try:
        for one in disks:
            one.plug()
        calm = ground.place("calm")
        ground.index(calm, disk.point, home)
        with closing(sqlite3.connect(calm / "catalog.db")) as rows:
            # The folders that disks are mounted on are older than what was found there.
            rows.execute("UPDATE images SET indexed_at = indexed_at + 3600")
            rows.commit()
        for number in range(times):
            fault = FAULTS[number % len(FAULTS)]
            catalog = ground.place("catalog")
            shutil.copytree(calm, catalog)
            for accept in (False, True):
                with fault(disks, rng):
                    missing = _index(ground, catalog, *rng.choice(((), (disk.point, home))), accept=accept)
                    if missing:
                        outcome.wrong.append(f"{fault.__name__}: {missing} pictures were hidden")
                    compare(outcome, catalog, calm, when=fault.__name__)
                if fault is more_than_half:
                    break
            begun = time.monotonic()
            _index(ground, catalog, accept=False)
            outcome.recoveries.append(time.monotonic() - begun)
            compare(outcome, catalog, calm, when=f"after {fault.__name__}")
            outcome.times += 1
    finally:
        for one in disks:
            one.pull()
    return outcome


def own_mounts() -> bool:
    """Whether this process may mount; from here on, nobody else sees what it mounts."""
    libc = ctypes.CDLL(None, use_errno=True)
    if os.geteuid() != 0 or not hasattr(libc, "unshare") or libc.unshare(NEW_MOUNTS) != 0:
        return False
    private = subprocess.run(["mount", "--make-rprivate", "/"], capture_output=True, check=False)
    return private.returncode == 0


def _index(ground: Ground, catalog: Path, *folders: Path, accept: bool) -> int:
    try:
        report = ground.index(catalog, *folders, model=None, accept_missing=accept)
    except CatalogError as error:
        if "nothing was changed" not in str(error) and "cannot be listed" not in str(error):
            raise
        return 0
    return report.missing


Fault = Callable[[tuple[Disk, Disk], random.Random], AbstractContextManager[None]]


@contextmanager
def disk_away(disks: tuple[Disk, Disk], rng: random.Random) -> Iterator[None]:
    disks[0].pull()
    yield
    disks[0].plug()


@contextmanager
def card_away(disks: tuple[Disk, Disk], rng: random.Random) -> Iterator[None]:
    disks[1].pull()
    yield
    disks[1].plug()


@contextmanager
def both_away(disks: tuple[Disk, Disk], rng: random.Random) -> Iterator[None]:
    with disk_away(disks, rng), card_away(disks, rng):
        yield


@contextmanager
def link_to_nowhere(disks: tuple[Disk, Disk], rng: random.Random) -> Iterator[None]:
    disk = disks[0]
    disk.pull()
    disk.point.rmdir()
    disk.point.symlink_to(disk.point.with_name("nowhere"))
    yield
    disk.point.unlink()
    disk.plug()


@contextmanager
def pulled_in_the_walk(disks: tuple[Disk, Disk], rng: random.Random) -> Iterator[None]:
    """Whichever disk it is goes after so many folders were listed."""
    disk, left, listing = rng.choice(disks), rng.randint(1, 9), os.scandir

    def scandir(path: bytes) -> Iterator[os.DirEntry[bytes]]:
        nonlocal left
        left -= 1
        if left == 0:
            disk.pull()
        return listing(path)

    with patch("indexer.scan.os.scandir", scandir):
        yield
    disk.plug()


@contextmanager
def errors_in_the_walk(disks: tuple[Disk, Disk], rng: random.Random) -> Iterator[None]:
    """From some moment on, what is asked of the disk fails, as with a share whose server is gone."""
    code = rng.choice((errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.EACCES, errno.ETIMEDOUT))
    low = os.fsencode(rng.choice(disks).point)
    left, listing, status = rng.randint(0, 9), os.scandir, os.stat

    def failing(path: Any) -> bool:
        nonlocal left
        if not isinstance(path, bytes):
            return False  # of the catalog, which lies on another disk
        left -= 1
        return left < 0 and (path == low or path.startswith(low + b"/"))

    def scandir(path: bytes) -> Iterator[os.DirEntry[bytes]]:
        if failing(path):
            raise OSError(code, os.strerror(code), path)
        return listing(path)

    def stat(path: Any, **options: Any) -> os.stat_result:
        if failing(path):
            raise OSError(code, os.strerror(code), path)
        return status(path, **options)

    with patch("indexer.scan.os.scandir", scandir), patch("indexer.scan.os.stat", stat):
        yield


@contextmanager
def more_than_half(disks: tuple[Disk, Disk], rng: random.Random) -> Iterator[None]:
    """Folders with more than half of the pictures are somewhere else."""
    root = disks[0].point
    taken = []
    for folder in rng.sample(sorted(root.iterdir()), 7):
        folder.rename(root / f".{folder.name}")  # a walk does not see it there
        taken.append(folder)
    yield
    for folder in taken:
        (root / f".{folder.name}").rename(folder)


FAULTS: tuple[Fault, ...] = (
    disk_away,
    card_away,
    pulled_in_the_walk,
    errors_in_the_walk,
    more_than_half,
    both_away,
    link_to_nowhere,
    pulled_in_the_walk,
    errors_in_the_walk,
)
