"""Walking folders: which picture files there are, without opening any."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from retrieval.images import EXTENSIONS, RAW_EXTENSIONS

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

IGNORE_FILE = b".searchignore"
SKIPPED_FOLDERS = frozenset(
    {
        b"node_modules",
        b"__pycache__",
        b"__macosx",
        b"lost+found",
        b"system volume information",
        b"$recycle.bin",
        b"#recycle",
        b"#snapshot",
        b"@eadir",
        b"@recycle",
        b"@recently-snapshot",
        b"@tmp",
        b".trashes",
    }
)
"""Folders of systems and tools, in lower case; whatever starts with a dot is skipped too."""
DERIVED = {b".photoslibrary": frozenset({b"resources", b"database", b"private", b"internal"})}
"""Inside a library package of this ending, folders that hold only copies made by its program."""


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A picture file as the folder lists it."""

    path: bytes
    size: int
    mtime_ns: int


@dataclass(slots=True)
class Scan:
    """What a walk found. Nothing is known of files below `unreadable`."""

    files: list[FoundFile] = field(default_factory=list)
    unreadable: list[bytes] = field(default_factory=list)
    raw_skipped: int = 0


@dataclass(frozen=True, slots=True)
class _Rules:
    """The ignore patterns that hold in one folder and below it."""

    base: bytes
    spec: GitIgnoreSpec


def scan(
    root: bytes,
    *,
    exclude: Sequence[str] = (),
    raw: bool = False,
    stopped: Callable[[], bool] = lambda: False,
) -> Scan:
    """List the picture files below `root`, in order of their paths.

    Real folders come first and links to folders after them, each folder once, so that a
    picture keeps its real path and a loop of links ends. Patterns are those of .gitignore.
    """
    found = Scan()
    endings = EXTENSIONS | RAW_EXTENSIONS if raw else EXTENSIONS
    wanted = frozenset(os.fsencode(ending) for ending in endings)
    raw_only = frozenset() if raw else frozenset(os.fsencode(ending) for ending in RAW_EXTENSIONS)
    rules: tuple[_Rules, ...] = (_Rules(root, _spec(exclude)),) if exclude else ()
    seen_folders: set[tuple[int, int]] = set()
    seen_files: set[tuple[int, int]] = set()
    linked_files: list[bytes] = []
    pending: list[tuple[bytes, tuple[_Rules, ...]]] = [(root, rules)]
    linked_folders: list[tuple[bytes, tuple[_Rules, ...]]] = []
    while pending or linked_folders:
        if stopped():
            break
        if not pending:
            linked_folders.sort(reverse=True)
            pending.append(linked_folders.pop())
        folder, rules = pending.pop()
        try:
            status = os.stat(folder)
            identity = (status.st_dev, status.st_ino)
            if identity in seen_folders:
                continue
            seen_folders.add(identity)
            with os.scandir(folder) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError:
            found.unreadable.append(folder)
            continue
        rules = rules + tuple(_local_rules(folder, entries))
        below: list[tuple[bytes, tuple[_Rules, ...]]] = []
        for entry in entries:
            name = entry.name
            if name.startswith(b"."):
                continue
            try:
                if entry.is_dir(follow_symlinks=False):
                    if not _skipped(folder, name) and not _ignored(rules, entry.path, folder=True):
                        below.append((entry.path, rules))
                    continue
                ending = os.path.splitext(name)[1].lower()
                if entry.is_symlink():
                    if ending in wanted:
                        if not _ignored(rules, entry.path):
                            linked_files.append(entry.path)
                    elif os.path.isdir(entry.path) and not _ignored(rules, entry.path, folder=True):
                        linked_folders.append((entry.path, rules))
                    continue
                if ending not in wanted:
                    found.raw_skipped += ending in raw_only
                    continue
                status = entry.stat(follow_symlinks=False)
                if not stat.S_ISREG(status.st_mode) or _ignored(rules, entry.path):
                    continue
            except OSError:
                found.unreadable.append(entry.path)
                continue
            seen_files.add((status.st_dev, status.st_ino))
            found.files.append(FoundFile(entry.path, status.st_size, status.st_mtime_ns))
        pending.extend(reversed(below))
    _follow(linked_files, seen_files, found)
    found.files.sort(key=lambda file: file.path)
    return found


def _follow(links: list[bytes], seen: set[tuple[int, int]], found: Scan) -> None:
    """Add links to picture files outside the tree; those to files already found add nothing."""
    for path in sorted(links):
        try:
            status = os.stat(path)
        except OSError:
            continue  # a dangling link is no picture, and nothing to report
        identity = (status.st_dev, status.st_ino)
        if stat.S_ISREG(status.st_mode) and identity not in seen:
            seen.add(identity)
            found.files.append(FoundFile(path, status.st_size, status.st_mtime_ns))


def _skipped(parent: bytes, name: bytes) -> bool:
    lowered = name.lower()
    if lowered in SKIPPED_FOLDERS:
        return True
    return any(parent.lower().endswith(ending) and lowered in names for ending, names in DERIVED.items())


def _local_rules(folder: bytes, entries: Iterable[os.DirEntry[bytes]]) -> Iterator[_Rules]:
    for entry in entries:
        if entry.name == IGNORE_FILE and entry.is_file():
            with open(entry.path, "rb") as file:
                lines = file.read(1 << 20).decode("utf-8", "surrogateescape").splitlines()
            yield _Rules(folder, _spec(lines))


def _spec(lines: Iterable[str]) -> GitIgnoreSpec:
    from pathspec import GitIgnoreSpec

    return GitIgnoreSpec.from_lines(lines)


def _ignored(rules: tuple[_Rules, ...], path: bytes, *, folder: bool = False) -> bool:
    for rule in rules:
        inner = os.fsdecode(os.path.relpath(path, rule.base)) + ("/" if folder else "")
        if rule.spec.match_file(inner):
            return True
    return False
