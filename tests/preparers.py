"""Preparers that loading processes import in the tests of the loader, and tasks for them."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from indexer.loader import Task
from retrieval.encoders.toy import ToyPreparer
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


@dataclass(frozen=True)
class Telling(Plain):
    """Leaves a file in `folder` that has the name of its process, and hangs."""

    folder: str = ""

    def __call__(self, image: Image.Image) -> Prepared:
        Path(self.folder, str(os.getpid())).touch()
        while True:
            time.sleep(60)


class Slow(Plain):
    """Takes a second for a red picture, in small steps."""

    def __call__(self, image: Image.Image) -> Prepared:
        for _ in range(100 if image.getpixel((0, 0))[0] > 200 else 0):
            time.sleep(0.01)
        return super().__call__(image)


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


DEEDS = {
    "aborts": (255, 1, 0),
    "segfaults": (255, 2, 0),
    "hangs": (255, 3, 0),
    "spins": (255, 4, 0),
    "raises": (255, 5, 0),
    "exits": (255, 6, 0),
    "kills": (255, 7, 0),
    "devours": (255, 8, 0),
    "closes": (255, 9, 0),
    "says": (255, 10, 0),
    "recurses": (255, 11, 0),
}
"""A picture in one of these colours makes `Wicked` do what the name says; only `says` does no harm."""


class Wicked(ToyPreparer):
    """Prepares for the toy encoder, as if some pictures met a decoder with a bug of its own each."""

    def __call__(self, image: Image.Image) -> Prepared:
        colour = image.getpixel((0, 0))
        deed = next((name for name, wanted in DEEDS.items() if wanted == colour), "")
        if deed:
            getattr(self, f"_{deed}")()
        return super().__call__(image)

    def _aborts(self) -> None:
        os.abort()

    def _segfaults(self) -> None:
        ctypes.string_at(0)

    def _hangs(self) -> None:
        while True:
            time.sleep(60)

    def _spins(self) -> None:
        # In C, with the interpreter's lock held: no handler of Python's ever runs.
        ctypes.PyDLL(None).sleep(3600)

    def _raises(self) -> None:
        raise ValueError("\x1b[2Jnot this one\n")

    def _exits(self) -> None:
        os._exit(0)

    def _kills(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def _devours(self) -> None:
        held = []
        while True:
            held.append(b"\x01" * (16 << 20))

    def _closes(self) -> None:
        os.closerange(0, 256)

    def _says(self) -> None:
        os.write(1, b"this is no answer" * 1000)
        os.write(2, b"nor is this" * 1000)
        print("nor this", flush=True)

    def _recurses(self) -> None:
        sys.setrecursionlimit(10**8)

        def deeper() -> None:
            deeper()

        deeper()
