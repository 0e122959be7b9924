"""What stands between a process and the disk: shim.c, compiled when it is first wanted.

It records everything that changes a folder, for power cuts, and lets calls fail, for full and broken
disks; what it can be told stands at the top of `shim.c`. Linux with a C compiler only: elsewhere
`unavailable()` says why.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import functools
import os
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).with_name("shim.c")
BUILT = "TORTURE_SHIM"
"""Names the library where another process has built it."""
CALLS = (
    "",
    "write",
    "fsync",
    "truncate",
    "rename",
    "unlink",
    "link",
    "mkdir",
    "open",
    "read",
    "mark",
    "time",
    "any",
)
MAGIC = 0x5348494D
_HEAD = struct.Struct("=IIIIQqqIIQ")


@functools.cache
def unavailable() -> str:
    """Why there is no shim on this machine; empty where there is one."""
    if not sys.platform.startswith("linux"):
        return "calls can only be met on Linux"
    if os.environ.get(BUILT):
        return ""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        return "there is no C compiler (cc)"
    folder = Path(tempfile.mkdtemp(prefix="torture-shim-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    library = folder / "shim.so"
    made = subprocess.run(
        [compiler, "-O1", "-shared", "-fPIC", "-o", str(library), str(SOURCE), "-ldl", "-lpthread"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if made.returncode:
        return f"{compiler} cannot build it: {' '.join(made.stderr.split())[:200]}"
    os.environ[BUILT] = str(library)
    return ""


def library() -> Path:
    """The compiled shim."""
    if why := unavailable():
        raise RuntimeError(why)
    return Path(os.environ[BUILT])


def environment(
    *folders: Path,
    log: Path | None = None,
    fail: Sequence[str] = (),
    match: str = "",
    switch: Path | None = None,
    nosync: bool = False,
) -> dict[str, str]:
    """Variables for a process whose calls below the folders are met: `{**os.environ, **environment(...)}`.

    `fail` are faults as `call:errno:after[:count]`: `write:ENOSPC:20` lets the process write twenty
    times, and never again. They come only to paths that hold `match`, and only while `switch` is there.
    """
    return {
        "LD_PRELOAD": str(library()),
        "SHIM_FOLDER": _joined(folders),
        "SHIM_LOG": str(log or ""),
        "SHIM_FAIL": ",".join(fail),
        "SHIM_MATCH": match,
        "SHIM_SWITCH": str(switch or ""),
        "SHIM_NOSYNC": "1" if nosync else "",
    }


def preloaded() -> bool:
    """Whether this very process runs above the shim."""
    return hasattr(ctypes.CDLL(None), "shim_configure")


def configure(
    *folders: Path,
    log: Path | None = None,
    fail: Sequence[str] = (),
    match: str = "",
    switch: Path | None = None,
    nosync: bool = False,
) -> None:
    """Tell the shim of this process anew what to meet; without folders it does nothing any more."""
    words = (_joined(folders), log or "", ",".join(fail), match, switch or "")
    told = [os.fsencode(word) for word in words]
    if ctypes.CDLL(None).shim_configure(*told, int(nosync)):
        raise ValueError(f"The shim cannot be told {words}")


def mark(text: str) -> None:
    """Put a sign into the log, between what was done before and what comes."""
    ctypes.CDLL(None).shim_mark(text.encode())


@dataclass(frozen=True, slots=True)
class Record:
    """One call that changed something, or a mark.

    `first` is where a write begins, the size after a truncate, a time in ns, or the mode of what was made.
    `path` is the file as it was called at that moment; `ino` is the same through all its names.
    """

    call: str
    process: int
    ino: int
    first: int
    second: int
    path: str
    other: str
    data: bytes


def records(log: Path) -> Iterator[Record]:
    """What was recorded, in the order of the disk; what a killed process left half-written is left out."""
    with contextlib.suppress(FileNotFoundError), log.open("rb") as file:
        while len(head := file.read(_HEAD.size)) == _HEAD.size:
            magic, whole, call, process, ino, first, second, path, other, data = _HEAD.unpack(head)
            if magic != MAGIC:
                raise ValueError(f"{log} is no log of the shim")
            body = file.read(path + other + data)
            if len(body) < whole - _HEAD.size:
                return
            name, target = os.fsdecode(body[:path]), os.fsdecode(body[path : path + other])
            yield Record(CALLS[call], process, ino, first, second, name, target, body[path + other :])


def _joined(folders: Sequence[Path]) -> str:
    return ":".join(os.path.realpath(folder) for folder in folders)
