"""What tells that something changed in folders: the system's events, and a look at what is mounted.

Events only ever lead to a walk, which finds by itself what changed. So nothing is lost by their
being late, doubled, too many for the system's queue, or about names that no text can hold.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from indexer.scan import IGNORE_FILE, TEXT
from retrieval.images import EXTENSIONS, RAW_EXTENSIONS
from retrieval.types import under

if TYPE_CHECKING:
    from watchfiles._rust_notify import RustNotify

STEP_MS = 100
GROUP_MS = 1000
TICK = 1.0
"""Seconds between two looks at what no event tells."""
MANY = 4096
"""So many events at once may be all that was left of more; the walk tells."""
ATTEMPTS = 3
ADDED, DELETED = 1, 3
MOUNTS = Path("/proc/self/mountinfo")
NETWORK = frozenset(
    ("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "afs", "glusterfs", "virtiofs", "vboxsf", "lustre")
)
"""File systems on which other machines change files, of which this one gets no event."""
WANTED = frozenset((*EXTENSIONS, *RAW_EXTENSIONS, os.fsdecode(TEXT)))
Listed = tuple[bytes, int, int]


class Events:
    """The events of some folders. `ours` are files and folders that we write ourselves: they tell nothing."""

    def __init__(self, ours: Sequence[bytes]) -> None:
        self._ours = frozenset(os.fsdecode(path) for path in ours)
        self._inside = tuple(os.path.join(path, "") for path in self._ours)
        self._notify: RustNotify | None = None
        self._armed: set[Listed] = set()
        self._names: set[str] = set()
        self._stale = True
        self.trouble = ""
        """Why there are no events, or not of all folders, in a sentence; empty where there are."""
        self.noise: float | None = None
        """Since when there are events of nothing that is indexed: the system may have dropped others."""

    def arm(self, folders: Iterable[Listed]) -> bool:
        """Ask for the events of these folders; whether any were not watched before.

        What happened in those until now, only a walk can tell.
        """
        wanted = {folder for folder in folders if not self._is_ours(os.fsdecode(folder[0]))}
        if not self._stale and self._notify is not None and wanted <= self._armed:
            return False
        self.close()
        names = {os.fsdecode(path) for path, _, _ in wanted}
        plain = sorted(name for name in names if _is_text(name))
        self.trouble = ""
        if len(plain) < len(names):
            count = len(names) - len(plain)
            self.trouble = f"{count} folders have names that are not UTF-8: no event tells of them."
        for _ in range(ATTEMPTS):
            try:
                self._notify = _notify(plain)
            except (FileNotFoundError, PermissionError):
                plain = [name for name in plain if os.access(name, os.R_OK)]
            except (OSError, RuntimeError) as error:
                self.trouble = _limit(str(error), len(plain))
                break
            else:
                self._armed, self._names, self._stale = wanted, names, False
                return True
        return False

    def wait(self, seconds: float, over: Callable[[], bool]) -> bool:
        """Wait for a change that may matter, at most so long, or until `over`; whether there was one."""
        until = time.monotonic() + seconds

        def is_over() -> bool:
            return time.monotonic() >= until or over()

        while not is_over():
            if self._notify is None:
                time.sleep(min(STEP_MS / 1000, max(0.0, until - time.monotonic())))
                continue
            try:
                # Its own time limit would drop what comes in its last moment; so it is asked to stop.
                said = self._notify.watch(GROUP_MS, STEP_MS, 0, _Asked(is_over))
            except RuntimeError:  # a name that is not UTF-8; it tells nothing more after that
                self._stale = True
                self.close()
                return True
            if isinstance(said, set) and self._matter(said):
                return True
        return False

    def forget(self) -> None:
        """Other disks are mounted: what was watched may be watched no more."""
        self._stale = True

    def close(self) -> None:
        if self._notify is not None:
            self._notify.close()
            self._notify = None

    def _matter(self, said: set[tuple[int, str]]) -> bool:
        if len(said) >= MANY or any(kind in (ADDED, DELETED) and path in self._names for kind, path in said):
            self._stale = True  # a folder of the same name may be another one now
            return True
        others = [path for _, path in said if not self._is_ours(path)]
        if self.noise is None and others:
            self.noise = time.monotonic()
        return any(self._matters(path) for path in others)

    def _matters(self, path: str) -> bool:
        if path in self._names:
            return True
        name = os.path.basename(path)
        if name.startswith("."):
            return name == os.fsdecode(IGNORE_FILE)
        return os.path.splitext(name)[1].lower() in WANTED or os.path.isdir(path)

    def _is_ours(self, path: str) -> bool:
        return path in self._ours or path.startswith(self._inside)


class _Asked:
    """What `watchfiles` wants of an event that ends its waiting."""

    def __init__(self, is_set: Callable[[], bool]) -> None:
        self.is_set = is_set


def _notify(names: list[str]) -> RustNotify:
    from watchfiles._rust_notify import RustNotify

    # Each folder by itself: what a walk passes over takes none of the watches that the system has.
    return RustNotify(names, False, False, 0, False, False)


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _limit(said: str, count: int) -> str:
    if "limit" in said or "MaxFilesWatch" in said or "No space" in said:
        return (
            f"The system does not watch {count} folders for one user. To allow more: "
            f"sudo sysctl fs.inotify.max_user_watches={max(2 * count, 1 << 19)}"
        )
    if "Too many open files" in said:
        return (
            "The system gives one user no more watchers. To allow more: "
            "sudo sysctl fs.inotify.max_user_instances=512"
        )
    return f"The system does not tell of changes ({said.splitlines()[0][:200]})."


class Anchors:
    """What tells that a disk came or went: which folder each root is, and what is mounted inside."""

    def __init__(self, roots: Sequence[bytes]) -> None:
        self._roots = roots
        self._looked = time.monotonic()
        self._moved = False
        self._state = _state(roots)

    def moved(self, *, now_and_then: bool = False) -> bool:
        """Whether it is not as it was; `now_and_then` looks only every so often."""
        now = time.monotonic()
        if not self._moved and not (now_and_then and now - self._looked < TICK):
            self._looked = now
            self._moved = _state(self._roots) != self._state
        return self._moved

    def on_network(self) -> list[str]:
        """The kinds of network file systems that the folders lie on."""
        real = [os.path.realpath(root) for root in self._roots]
        kinds = set()
        mounts = _mounts()
        for root in real:
            low, high = under(root)
            above = [(len(point), kind) for point, kind, _ in mounts if _holds(point, root)]
            kinds |= {max(above)[1]} if above else set()
            kinds |= {kind for point, kind, _ in mounts if low <= point < high}
        return sorted(kind for kind in kinds if kind in NETWORK or kind.startswith("fuse."))


def _holds(folder: bytes, path: bytes) -> bool:
    low, high = under(folder)
    return folder == path or low <= path < high


def _state(roots: Sequence[bytes]) -> tuple[object, ...]:
    identities: list[tuple[int, int] | None] = []
    for root in roots:
        try:
            status = os.stat(root)
        except OSError:
            identities.append(None)
        else:
            identities.append((status.st_dev, status.st_ino))
    spans = [under(os.path.realpath(root)) for root in roots]
    inside = [line for point, _, line in _mounts() if any(low <= point < high for low, high in spans)]
    return (*identities, *inside)


def _mounts() -> list[tuple[bytes, str, bytes]]:
    """Where something is mounted, of what kind, and all that is said of it; nothing where nobody tells."""
    try:
        lines = MOUNTS.read_bytes().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        before, _, after = line.partition(b" - ")
        point = before.split(b" ")[4].replace(b"\\040", b" ").replace(b"\\011", b"\t")
        point = point.replace(b"\\012", b"\n").replace(b"\\134", b"\\")
        found.append((point, os.fsdecode(after.split(b" ")[0]), line))
    return found
