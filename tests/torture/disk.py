"""What lies on a disk after a power cut, from the record of what was done to it.

The model, which is harsher than the common file systems where they differ:

- The data of a file is safe up to its last fsync or fdatasync. Of each write after that, any part may
  be there: all, nothing, a beginning, or any of its sectors (of 512 or of 4096 bytes, aligned to the
  file), whatever the order; where nothing was written there are zeros. A truncate after it happened or
  did not. A file may have its name and none of its data.
- Names (create, mkdir, rename, link, unlink) are changed in order. How much of that is safe, one of two
  rules says, drawn for each cut:
  `ordered`: one journal for all, as ext4 and xfs have it. A beginning of it is kept, which holds at
  least all up to the last change of a name of any file or folder that was flushed since.
  `strict`: no more than POSIX says. The entries of a folder are safe up to its own last fsync, and of
  those after it a beginning is kept, for each folder by itself. So a flushed file is gone where the
  folder was not flushed that has its name, and one in a new folder where that one's parent was not.
- A rename is one step: the name leads to the old file or to the new one.
- What no call is made for is not modelled: the disk keeps what was flushed, and sectors are whole. The
  memory that SQLite shares between processes (`-shm`) is left out; it makes it anew.
"""

from __future__ import annotations

import os
import random
import shutil
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tests.torture.shim import Record

RULES = ("ordered", "strict")
SECTORS = (512, 4096)
SHARED_MEMORY = "-shm"


@dataclass(eq=False, slots=True)
class Node:
    """A file, a folder or a link, under whatever names."""

    folder: bool = False
    link: str | None = None
    data: bytearray = field(default_factory=bytearray)
    """Of a file: what is safe."""
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)
    """What is not yet: where bytes are written, or the size that a truncate gives."""
    time: int | None = None
    """When it was written last, where that was before the record begins, or was set."""
    changed: int = 0
    """How many changes of names there were up to the last one of this file, or inside of this folder."""
    safe: int = 0
    """Of a folder: how many of all changes of names had come when it was flushed."""

    def whole(self) -> bytearray:
        data = bytearray(self.data)
        for at, content in self.pending:
            _apply(data, at, content)
        return data

    def left(self, rng: random.Random) -> bytearray:
        """What of it a power cut leaves."""
        way = rng.choice(("safe", "whole", "beginning", "sectors")) if self.pending else "safe"
        if way == "whole":
            return self.whole()
        data = bytearray(self.data)
        if way == "beginning":
            upto = rng.randrange(len(self.pending) + 1)
            for at, content in self.pending[:upto]:
                _apply(data, at, content)
            if upto < len(self.pending):
                at, content = self.pending[upto]
                pieces = list(_sectors(at, content or b"", rng.choice(SECTORS)))
                for where, piece in pieces[: rng.randrange(len(pieces) + 1)]:
                    _apply(data, where, piece)
        elif way == "sectors":
            size = rng.choice(SECTORS)
            for at, content in self.pending:
                if content is None:
                    if rng.random() < 0.5:
                        _apply(data, at, None)
                    continue
                for where, piece in _sectors(at, content, size):
                    if rng.random() < 0.5:
                        _apply(data, where, piece)
        return data


@dataclass(frozen=True, slots=True)
class Change:
    """A name that comes to lead to a node, or to nothing; for a rename both at once."""

    folder: Node
    name: str
    node: Node | None
    old_folder: Node | None = None
    old_name: str = ""


class Disk:
    """A folder, and what was done to it since."""

    def __init__(self, root: Path) -> None:
        self.root = Path(os.path.realpath(root))
        self._top = Node(folder=True)
        self._inodes: dict[int, Node] = {self.root.stat().st_ino: self._top}
        self._base: dict[Node, dict[str, Node]] = {self._top: {}}
        self._live: dict[Node, dict[str, Node]] = {}
        self._changes: list[Change] = []
        self._forced = 0
        for folder, folders, files in os.walk(self.root):
            here = self._inodes[os.lstat(folder).st_ino]
            for name in (*folders, *files):
                self._base[here][name] = self._found(Path(folder) / name)
        self._live = {node: dict(entries) for node, entries in self._base.items()}

    def _found(self, path: Path) -> Node:
        status = path.lstat()
        node = Node(time=status.st_mtime_ns)
        if stat.S_ISLNK(status.st_mode):
            node.link = os.readlink(path)
        elif stat.S_ISDIR(status.st_mode):
            node.folder = True
            self._base[node] = {}
        else:
            node = self._inodes.get(status.st_ino, node)
            node.data = bytearray(path.read_bytes())
        self._inodes[status.st_ino] = node
        return node

    def apply(self, record: Record) -> None:
        """Have one call happen."""
        if record.call in ("write", "truncate", "fsync", "time"):
            node = self._inodes.get(record.ino)
            if node is None:
                raise LookupError(f"{record.path} was never seen to be made")
            if record.call == "fsync":
                self._flush(node)
            elif record.call == "time":
                node.time = record.first
            else:
                node.pending.append((record.first, record.data if record.call == "write" else None))
                node.time = None
        elif record.call in ("open", "mkdir", "link"):
            folder, name = self._place(record.path)
            node = self._inodes.get(record.ino) if record.call == "link" and not record.first else None
            if node is None:
                pointer = record.other if record.call == "link" else None
                node = Node(folder=record.call == "mkdir", link=pointer)
                self._inodes[record.ino] = node
                if node.folder:
                    self._live[node] = {}
            self._change(Change(folder, name, node))
        elif record.call == "unlink":
            folder, name = self._place(record.path)
            self._change(Change(folder, name, None))
        elif record.call == "rename":
            folder, name = self._place(record.path)
            target, other = self._place(record.other)
            self._change(Change(target, other, self._live[folder][name], folder, name))

    def content(self, path: str) -> bytes | None:
        """What a file holds now, by its path; None for what is no file."""
        node: Node | None = self._top
        for part in Path(path).relative_to(self.root).parts:
            node = self._live.get(node, {}).get(part) if node is not None else None
        return None if node is None or node.folder else bytes(node.whole())

    def differences(self) -> list[str]:
        """Where the real folder is not what the record says: something was done past the shim."""
        mine = {path: node for path, node in _walk(self._live, self._top) if not path.endswith(SHARED_MEMORY)}
        real = {
            os.path.relpath(os.path.join(folder, name), self.root)
            for folder, folders, files in os.walk(self.root)
            for name in (*folders, *files)
            if not name.endswith(SHARED_MEMORY)
        }
        wrong = [f"{path} is there or is not" for path in sorted(real ^ mine.keys())]
        for path in sorted(real & mine.keys()):
            node, place = mine[path], self.root / path
            if not (node.folder or node.link is not None) and node.whole() != place.read_bytes():
                wrong.append(f"{path} has another content")
        return wrong

    def write_whole(self, target: Path) -> None:
        """The folder as it is now, at another place or anew at its own: what a kill leaves."""
        self._write(target, self._live, lambda node: node.whole())

    def write_cut(self, target: Path, rng: random.Random) -> str:
        """What a power cut at this moment leaves; returns the rule it went by."""
        rule = rng.choice(RULES)
        names = {node: dict(entries) for node, entries in self._base.items()}
        upto = _draw(rng, self._forced, len(self._changes))
        limits: dict[Node, int] = {}
        for number, change in enumerate(self._changes):
            if rule == "ordered":
                kept = number < upto
            else:
                folders = [change.folder] + ([change.old_folder] if change.old_folder else [])
                for folder in folders:
                    if folder not in limits:
                        limits[folder] = _draw(rng, folder.safe, len(self._changes))
                kept = all(number < limits[folder] for folder in folders)
            if kept:
                _rename(names, change)
        self._write(target, names, lambda node: node.left(rng))
        return rule

    def _write(
        self, target: Path, names: dict[Node, dict[str, Node]], content: Callable[[Node], bytearray]
    ) -> None:
        if target.is_dir():
            shutil.rmtree(target)
        target.mkdir(parents=True)
        written: dict[Node, Path] = {}
        for path, node in _walk(names, self._top):
            place = target / path
            if node.folder:
                place.mkdir()
            elif node.link is not None:
                place.symlink_to(node.link)
            elif node in written:
                os.link(written[node], place)
            elif not path.endswith(SHARED_MEMORY):
                place.write_bytes(content(node))
                written[node] = place
                if node.time is not None:
                    os.utime(place, ns=(node.time, node.time))

    def _flush(self, node: Node) -> None:
        if node.pending:
            node.data, node.pending = node.whole(), []
        if node.folder:
            node.safe = len(self._changes)
        self._forced = max(self._forced, node.changed)

    def _change(self, change: Change) -> None:
        self._changes.append(change)
        for node in (change.folder, change.old_folder, change.node):
            if node is not None:
                node.changed = len(self._changes)
        _rename(self._live, change)

    def _place(self, path: str) -> tuple[Node, str]:
        """The folder that a name is in, which is where it was when the call was made."""
        folder = self._top
        *folders, name = Path(path).relative_to(self.root).parts
        for part in folders:
            folder = self._live[folder][part]
        return folder, name


def _rename(names: dict[Node, dict[str, Node]], change: Change) -> None:
    if change.node is None:
        names.setdefault(change.folder, {}).pop(change.name, None)
        return
    if change.old_folder is not None:
        names.setdefault(change.old_folder, {}).pop(change.old_name, None)
    names.setdefault(change.folder, {})[change.name] = change.node


def _walk(names: dict[Node, dict[str, Node]], folder: Node, path: str = "") -> Iterable[tuple[str, Node]]:
    for name, node in names.get(folder, {}).items():
        here = os.path.join(path, name)
        yield here, node
        if node.folder:
            yield from _walk(names, node, here)


def _draw(rng: random.Random, least: int, most: int) -> int:
    """Somewhere between, and often at one of the ends, where most is lost or nothing."""
    return rng.choice((least, most, rng.randint(least, most)))


def _sectors(at: int, content: bytes, size: int) -> Iterable[tuple[int, bytes]]:
    start = 0
    while start < len(content):
        stop = min(len(content), start + size - (at + start) % size)
        yield at + start, content[start:stop]
        start = stop


def _apply(data: bytearray, at: int, content: bytes | None) -> None:
    """Write at a place, or, without a content, give the file that size."""
    end = at + len(content or b"")
    if content is None:
        del data[at:]
    if len(data) < end:
        data.extend(bytes(end - len(data)))
    if content:
        data[at:end] = content
