"""Walking folders: which picture files there are, without opening any."""

from __future__ import annotations

import os
import re
import stat
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import TYPE_CHECKING

from indexer.found import FoundFile, FoundFiles, SeenFiles
from retrieval.errors import ImageError, ImageTooLarge, QueryError
from retrieval.images import EXTENSIONS, RAW_EXTENSIONS, read_file
from retrieval.types import clamped_ns, under

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

IGNORE_FILE = b".searchignore"
MAX_IGNORE_FILE = 1 << 20
TEXT = b".txt"
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
BY_NAME = attrgetter("name")
DERIVED = {b".photoslibrary": frozenset({b"resources", b"database", b"private", b"internal"})}
"""Inside a library package of this ending, folders that hold only copies made by its program."""


@dataclass(slots=True)
class Scan:
    """What a walk found. Nothing is known of `unreadable` paths and of files below them."""

    files: FoundFiles = field(default_factory=FoundFiles)
    unreadable: list[bytes] = field(default_factory=list)
    """Also links to nowhere, which may have led to a folder on a disk that is away."""
    dangling: list[bytes] = field(default_factory=list)
    """Links with a picture's name to nowhere: nothing is known of these either, but a folder
    may have thousands, so they are not worth a word each."""
    notes: list[str] = field(default_factory=list)
    """What a person should know about ignore files, in sentences."""
    raw_skipped: int = 0
    texts: list[FoundFile] = field(default_factory=list)
    """Text files, which may belong to the picture they lie beside."""
    folders: list[tuple[bytes, int, int]] = field(default_factory=list)
    """Every folder that was listed, with its device and inode."""
    empty: list[tuple[bytes, float]] = field(default_factory=list)
    """Folders that show nothing, each with when it last changed, in seconds since 1970."""


@dataclass(frozen=True, slots=True)
class _Rules:
    """The ignore patterns that hold in one folder and below it."""

    base: bytes
    spec: GitIgnoreSpec


class _UnknownRulesError(Exception):
    """An ignore file is there and cannot be read; says why."""


def scan(
    root: bytes,
    *,
    exclude: Sequence[str] = (),
    raw: bool = False,
    stopped: Callable[[], bool] = lambda: False,
    seen_folders: set[tuple[int, int]] | None = None,
    seen_files: SeenFiles | None = None,
) -> Scan:
    """List the picture files below `root`, in order of their paths.

    Real folders come first and links to folders after them, each folder once, so that a
    picture keeps its real path and a loop of links ends. Patterns are those of .gitignore.
    Walks of several roots share `seen_folders` and `seen_files`, which each walk adds to:
    a folder that an earlier walk listed is passed over, so real roots have to be walked
    before those that are links, and a root above another before it.
    """
    found = Scan()
    endings = EXTENSIONS | RAW_EXTENSIONS if raw else EXTENSIONS
    wanted = frozenset(os.fsencode(ending) for ending in endings)
    raw_only = frozenset() if raw else frozenset(os.fsencode(ending) for ending in RAW_EXTENSIONS)
    rules: tuple[_Rules, ...] = (_Rules(root, _excluded(exclude)),) if exclude else ()
    seen_folders = set() if seen_folders is None else seen_folders
    seen_files = SeenFiles() if seen_files is None else seen_files
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
            itself = os.stat(folder)
            identity = (itself.st_dev, itself.st_ino)
            if identity in seen_folders:
                continue
            seen_folders.add(identity)
            with os.scandir(folder) as listing:
                entries = sorted(listing, key=BY_NAME, reverse=True)
        except OSError:
            found.unreadable.append(folder)
            continue
        found.folders.append((folder, *identity))
        if all(entry.name.startswith(b".") for entry in entries):
            found.empty.append((folder, max(itself.st_mtime, itself.st_ctime)))
        try:
            rules += _local_rules(folder, entries, found.notes)
        except _UnknownRulesError as error:
            # Without its rules, what they hide would be indexed, or what they allow be lost.
            found.unreadable.append(folder)
            found.notes.append(str(error))
            continue
        below: list[tuple[bytes, tuple[_Rules, ...]]] = []
        while entries:
            entry = entries.pop()  # each remembers what it was asked, and a folder may hold a million
            name = entry.name
            if name.startswith(b"."):
                continue
            try:
                dot = name.rfind(b".")
                ending = name[dot:].lower() if dot >= 0 else b""
                listed = ending in wanted
                # Nearly every entry is a picture, and one look at its status tells that it is no folder.
                status = entry.stat(follow_symlinks=False) if listed else None
                if status is not None and stat.S_ISREG(status.st_mode):
                    path = entry.path
                    if not (rules and _ignored(rules, path)):
                        seen_files.add(status.st_dev, status.st_ino)
                        found.files.add(path, status.st_size, clamped_ns(status.st_mtime_ns))
                    continue
                if entry.is_dir(follow_symlinks=False):
                    if not _skipped(folder, name) and not _ignored(rules, entry.path, folder=True):
                        below.append((entry.path, rules))
                    continue
                if entry.is_symlink():
                    if listed:
                        if not _ignored(rules, entry.path):
                            linked_files.append(entry.path)
                        continue
                    dark = found.dangling if ending in raw_only else found.unreadable
                    if (
                        not _ignored(rules, entry.path, folder=True)
                        and _is_folder(entry.path, dark)
                        and not _holds(entry.path, root)
                    ):
                        linked_folders.append((entry.path, rules))
                    continue
                if ending == TEXT:
                    status = entry.stat(follow_symlinks=False)
                    if stat.S_ISREG(status.st_mode) and not _ignored(rules, entry.path):
                        mtime_ns = clamped_ns(status.st_mtime_ns)
                        found.texts.append(FoundFile(entry.path, status.st_size, mtime_ns))
                    continue
                found.raw_skipped += ending in raw_only
            except OSError:
                found.unreadable.append(entry.path)
        pending.extend(reversed(below))
    _follow(linked_files, seen_files, found)
    found.files.sort()
    return found


def left_out(roots: Sequence[bytes], exclude: Sequence[str]) -> Callable[[bytes], bool]:
    """Whether a path below one of the roots is kept out of this run by `exclude`."""
    rules = [_Rules(root, _excluded(exclude)) for root in roots] if exclude else []
    spans = [(under(rule.base), rule) for rule in rules]
    return lambda path: any(low <= path < high and _ignored((rule,), path) for (low, high), rule in spans)


def _follow(links: list[bytes], seen: SeenFiles, found: Scan) -> None:
    """Add links to picture files outside the tree; those to files already found add nothing."""
    for path in sorted(links):
        try:
            status = os.stat(path)
        except OSError:
            found.dangling.append(path)
            continue
        if stat.S_ISREG(status.st_mode) and not seen.has(status.st_dev, status.st_ino):
            seen.add(status.st_dev, status.st_ino)
            found.files.add(path, status.st_size, clamped_ns(status.st_mtime_ns))


def _is_folder(link: bytes, dark: list[bytes]) -> bool:
    """Whether a link leads to a folder; one that leads nowhere is added to `dark`."""
    try:
        return stat.S_ISDIR(os.stat(link).st_mode)
    except OSError:
        dark.append(link)
        return False


def _holds(link: bytes, root: bytes) -> bool:
    """Whether a link leads to the root or above it: out of the folder that was named, into all around it."""
    low, high = under(os.path.realpath(link))
    inner = os.path.realpath(root) + os.fsencode(os.sep)
    return low <= inner < high


def _skipped(parent: bytes, name: bytes) -> bool:
    lowered = name.lower()
    if lowered in SKIPPED_FOLDERS:
        return True
    return any(parent.lower().endswith(ending) and lowered in names for ending, names in DERIVED.items())


def _local_rules(
    folder: bytes, entries: Iterable[os.DirEntry[bytes]], notes: list[str]
) -> tuple[_Rules, ...]:
    """The rules of the folder's own ignore file, without the lines that are no patterns."""
    path = next((entry.path for entry in entries if entry.name == IGNORE_FILE), None)
    if path is None:
        return ()
    name = os.fsdecode(path)
    try:
        content = read_file(path, allow=_check_size).data
    except ImageError as error:
        raise _UnknownRulesError(f"{name}: {error}. Its folder is left as it was.") from error
    lines = content.decode("utf-8", "surrogateescape").splitlines()
    bad = [number for number, line in enumerate(lines) if not _says_nothing(line) and not _is_pattern(line)]
    if bad:
        first = f"line {bad[0] + 1}"
        what = (
            f"{first} is no pattern" if len(bad) == 1 else f"{len(bad)} lines are no patterns, {first} first"
        )
        notes.append(f"{name}: {what}; the other lines hold.")
    skipped = set(bad)
    return (_Rules(folder, _spec(line for number, line in enumerate(lines) if number not in skipped)),)


def _check_size(size: int) -> None:
    if size > MAX_IGNORE_FILE:
        raise ImageTooLarge(f"The file is larger than {MAX_IGNORE_FILE >> 10} KiB")


def _excluded(lines: Sequence[str]) -> GitIgnoreSpec:
    """What the caller leaves out; a text that would leave out nothing is refused, unless it is empty."""
    for line in lines:
        if line.strip() and not _is_pattern(line):
            raise QueryError(
                f"'{line}' is no pattern to exclude; write it as in .gitignore: '*.gif' or 'raw/'."
            )
    return _spec(line for line in lines if line.strip())


def _says_nothing(line: str) -> bool:
    return not line.strip() or line.startswith("#")


def _is_pattern(line: str) -> bool:
    """Whether the line can match anything: a lone `!` or a comment cannot."""
    try:
        return any(pattern.include is not None for pattern in _spec([line]).patterns)
    except (ValueError, re.error):
        return False


def _spec(lines: Iterable[str]) -> GitIgnoreSpec:
    from pathspec import GitIgnoreSpec

    with warnings.catch_warnings():
        # What Python's patterns may mean one day is nothing that whoever indexes could act on.
        warnings.simplefilter("ignore", FutureWarning)
        return GitIgnoreSpec.from_lines(lines)


def _ignored(rules: tuple[_Rules, ...], path: bytes, *, folder: bool = False) -> bool:
    for rule in rules:
        inner = os.fsdecode(os.path.relpath(path, rule.base)) + ("/" if folder else "")
        if rule.spec.match_file(inner):
            return True
    return False
