"""What a container lets this process have: a share of the processors, and of the memory.

Linux tells both in files of the control groups that the process is in, of either version. Every group
above may allow less, so all that can be seen are asked. Elsewhere, and where nothing is limited, there
is no limit.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path("/")
"""Where the files of the kernel are looked for."""
NO_LIMIT = 1 << 60
"""Version 1 writes a number near the largest one where no limit is set."""


def processors() -> float | None:
    """How many processors' time may be used, such as 1.5; None without a limit."""
    return _processors(ROOT)


def memory_limit() -> int | None:
    """The most bytes that all processes of the container may hold; None without a limit."""
    return min((group.limit for group in _limited(ROOT)), default=None)


def memory_left() -> int | None:
    """What of `memory_limit` is free; what files hold in memory can be given up. None without a limit."""
    return min((group.left() for group in _limited(ROOT)), default=None)


@dataclass(frozen=True, slots=True)
class _Group:
    """A group whose memory is limited."""

    limit: int
    used: Path
    stat: Path
    cached: str
    """The line of `stat` that tells what files hold."""

    def left(self) -> int:
        used = int(self.used.read_text("ascii"))
        lines = self.stat.read_text("ascii").splitlines()
        cached = int(dict(line.split(" ", 1) for line in lines).get(self.cached, 0))
        return min(self.limit, max(0, self.limit - used + cached))


@cache
def _processors(root: Path) -> float | None:
    # Asked many times in a run, and limits stay.
    shares = []
    for folder in _groups(root, "cpu"):
        with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
            # "max 100000", where there is no limit, is no number.
            quota, period = map(int, (folder / "cpu.max").read_text("ascii").split())
            shares.append(quota / period)
        with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
            quota = int((folder / "cpu.cfs_quota_us").read_text("ascii"))
            if quota > 0:
                shares.append(quota / int((folder / "cpu.cfs_period_us").read_text("ascii")))
    return min(shares, default=None)


@cache
def _limited(root: Path) -> tuple[_Group, ...]:
    found = []
    for folder in _groups(root, "memory"):
        for limit, used, cached in (
            ("memory.max", "memory.current", "inactive_file"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ):
            with contextlib.suppress(OSError, ValueError):
                group = _Group(
                    int((folder / limit).read_text("ascii")), folder / used, folder / "memory.stat", cached
                )
                group.left()
                if group.limit < NO_LIMIT:
                    found.append(group)
    return tuple(found)


def _groups(root: Path, controller: str) -> list[Path]:
    """The folders that speak for this process and one controller, its own first, then those above."""
    mounts = root / "sys/fs/cgroup"
    found: list[Path] = []
    with contextlib.suppress(OSError, ValueError):
        for line in (root / "proc/self/cgroup").read_text("utf-8").splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:
                bases = [mounts, mounts / "unified"]
            elif controller in controllers.split(","):
                bases = [mounts / controller, mounts / controllers]
            else:
                continue
            # A container may see its own group as the root of the mount, under the path of outside.
            own = Path(path.lstrip("/"))
            found += [base / part for base in bases for part in (own, *own.parents)]
    return list(dict.fromkeys(folder for folder in found if ".." not in folder.parts))
