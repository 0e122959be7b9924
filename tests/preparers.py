"""Preparers that loading processes import in the tests of the loader, and tasks for them."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from indexer.loader import Task
from retrieval.types import Prepared, clamped_ns

if TYPE_CHECKING:
    from PIL import Image

ABORT, HANG, RAISE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
"""A picture in one of these colours makes `Moody` do what the name says."""


def make_task(path: str | bytes, key: Any = None) -> Task:
    """A task for a file whose size and time nobody has looked up yet."""
    place = Path(os.fsdecode(path)).absolute()
    seen = place.stat()
    return Task(os.fsencode(place), seen.st_size, clamped_ns(seen.st_mtime_ns), key)


@dataclass(frozen=True)
class Plain:
    """Shrinks every picture to a small square."""

    side: int = 8

    def wanted(self, width: int, height: int) -> tuple[int, int]:
        return self.side, self.side

    def __call__(self, image: Image.Image) -> Prepared:
        peak = _peak_bytes()
        small = image.resize((self.side, self.side))
        return Prepared(np.asarray(small)[None], extra=f"{os.getpid()} {peak}".encode())


class Moody(Plain):
    """Like `Plain`, but some colours are too much for it."""

    def __call__(self, image: Image.Image) -> Prepared:
        colour = image.getpixel((0, 0))
        if colour == ABORT:
            os.abort()
        while colour == HANG:
            time.sleep(60)
        if colour == RAISE:
            raise ValueError("this one is too blue")
        return super().__call__(image)


class Counting(Plain):
    """Tells how many pages of memory its process has got from the system so far."""

    def __call__(self, image: Image.Image) -> Prepared:
        import resource

        faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        return Prepared(super().__call__(image).pixels, extra=str(faults).encode())


@dataclass(frozen=True)
class Marking(Plain):
    """Leaves a file in `folder` for each picture that it prepared."""

    folder: str = ""

    def __call__(self, image: Image.Image) -> Prepared:
        prepared = super().__call__(image)
        Path(self.folder, f"{os.getpid()}-{time.monotonic_ns()}").touch()
        return prepared


class Unloadable:
    """A preparer that no loading process can unpickle."""

    def wanted(self, width: int, height: int) -> tuple[int, int]:
        return width, height

    def __call__(self, image: Image.Image) -> Prepared:
        raise AssertionError("never reached")

    def __reduce__(self) -> tuple[object, ...]:
        return (_refuse, ())


def _refuse() -> None:
    raise ImportError("the encoder's package is gone")


def _peak_bytes() -> int:
    try:
        with open("/proc/self/status", encoding="ascii") as status:
            return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmHWM"))
    except OSError:
        return 0
