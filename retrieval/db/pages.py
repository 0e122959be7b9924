"""Reading a SQLite file page by page, with no trust in any of its pointers.

What SQLite refuses as a whole, because a page of it is damaged, is read here as far as it
goes: https://www.sqlite.org/fileformat2.html is what this follows. Every number that comes
out of the file is checked before it is used, and no chain or tree is followed in a circle.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

Value = int | float | str | bytes | None

MAGIC = b"SQLite format 3\0"
PAGE_SIZE = 4096
"""What SQLite gives to every database of ours; believed where the header says nothing sensible."""
KINDS = INDEX_INTERIOR, TABLE_INTERIOR, INDEX_LEAF, TABLE_LEAF = 2, 5, 10, 13
LARGEST_ROW = 1 << 30
DEEPEST = 64
"""No tree of SQLite is deeper than 20."""
SAMPLED = 64


class Unreadable(ValueError):
    """Bytes that cannot be what they should be."""


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a tree: the numbers of those below it, or its rows."""

    number: int
    kind: int
    children: tuple[int, ...] = ()
    rows: tuple[tuple[int, tuple[Value, ...]], ...] = ()
    """Row ids (0 in an index) and values."""
    lost: int = 0
    """Cells that cannot be read."""


@dataclass(slots=True)
class Tree:
    """What was met on the way through a tree."""

    pages: set[int] = field(default_factory=set)
    broken: int = 0
    """Pointers that lead nowhere, in a circle, or to what is no part of such a tree."""


class Pages:
    """The pages of a database, those of its write-ahead log in place of older ones."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._log: _Log | None = None
        try:
            self._log = _Log.read(path.with_name(path.name + "-wal"))
            length = self._file.seek(0, os.SEEK_END)
            self.size = self._page_size(length)
            if self._log is not None and self._log.size != self.size:
                self._log = None
            self.count = max(-(-length // self.size), 0 if self._log is None else self._log.count)
            first = self.raw(1) or bytes(self.size)
            self.whole_header = first[: len(MAGIC)] == MAGIC
            told = int.from_bytes(first[28:32], "big") if first[24:28] == first[92:96] else 0
            sure = self.whole_header and 0 < told <= self.count
            self.told = told if sure else self.count
            """How many pages the database says that it has, where that can be."""
            self.free, self.free_known = self._free(first)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Pages:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()
        if self._log is not None:
            self._log.close()

    def raw(self, number: int) -> bytes | None:
        """The bytes of a page; None where the file ends before it, or the disk does not give it."""
        if not 1 <= number <= self.count:
            return None
        found = None if self._log is None else self._log.page(number)
        if found is None:
            try:
                found = _read(self._file, (number - 1) * self.size, self.size)
            except OSError:
                return None
        return found if len(found) == self.size else None

    def page(self, number: int) -> Page:
        """A page of a tree with every cell of it that can be read; raises `Unreadable` for what is none."""
        data = self.raw(number)
        if data is None:
            raise Unreadable(f"page {number} is not there")
        start = 100 if number == 1 else 0
        kind = data[start]
        if kind not in KINDS:
            raise Unreadable(f"page {number} is no part of a tree")
        interior = kind in (INDEX_INTERIOR, TABLE_INTERIOR)
        first = start + (12 if interior else 8)
        count = int.from_bytes(data[start + 3 : start + 5], "big")
        if first + 2 * count > len(data):
            raise Unreadable(f"page {number} says that it has {count} cells")
        children: list[int] = []
        rows: list[tuple[int, tuple[Value, ...]]] = []
        lost = 0
        for at in struct.unpack_from(f">{count}H", data, first):
            try:
                if at < first + 2 * count:
                    raise Unreadable("a cell inside of the header")
                if interior:
                    children.append(int.from_bytes(_part(data, at, 4), "big"))
                    at += 4
                if kind != TABLE_INTERIOR:
                    rows.append(self._row(data, at, kind))
            except Unreadable:
                lost += 1
        if interior:
            children.append(int.from_bytes(data[start + 8 : start + 12], "big"))
        return Page(number, kind, tuple(children), tuple(rows), lost)

    def tree(self, root: int, *, table: bool, met: Tree) -> Iterator[Page]:
        """The pages of a tree that hold rows, each once, as far as its pointers lead to such."""
        wanted = (TABLE_LEAF, TABLE_INTERIOR) if table else (INDEX_LEAF, INDEX_INTERIOR)
        waiting = [(root, 0)]
        while waiting:
            number, depth = waiting.pop()
            if number in met.pages or depth > DEEPEST:
                met.broken += 1
                continue
            try:
                page = self.page(number)
            except Unreadable:
                met.broken += 1
                continue
            if page.kind not in wanted:
                met.broken += 1
                continue
            met.pages.add(number)
            if page.kind == TABLE_INTERIOR:
                met.broken += page.lost
            waiting += [(child, depth + 1) for child in reversed(page.children)]
            if page.kind != TABLE_INTERIOR:
                yield page

    def _page_size(self, length: int) -> int:
        """What the header says, unless the file looks more like pages of the size that ours have."""
        head = _read(self._file, 0, 100)
        told = int.from_bytes(head[16:18], "big")
        sizes = [PAGE_SIZE, 65536 if told == 1 else told]
        if self._log is not None:
            sizes.insert(0, self._log.size)
        sizes = [size for size in dict.fromkeys(sizes) if _possible(size)]
        return max(sizes, key=lambda size: self._trees(size, length)) if len(sizes) > 1 else sizes[0]

    def _trees(self, size: int, length: int) -> float:
        """How many of some pages look like those of trees, if pages are of a size."""
        count = length // size
        drawn = range(2, count + 1, max(1, count // SAMPLED))
        seen = 0
        for number in drawn:
            head = _read(self._file, (number - 1) * size, 12)
            cells, content = struct.unpack_from(">3xHH", head.ljust(12, b"\0"))
            seen += head[0] in KINDS and 0 < cells < size // 4 and 8 + 2 * cells <= (content or 65536) <= size
        return seen / max(1, len(drawn))

    def _row(self, data: bytes, at: int, kind: int) -> tuple[int, tuple[Value, ...]]:
        length, at = _varint(data, at)
        row_id = 0
        if kind == TABLE_LEAF:
            row_id, at = _varint(data, at)
        if not 1 < length <= min(LARGEST_ROW, self.count * self.size):
            raise Unreadable(f"a row of {length} bytes")
        most = self.size - 35 if kind == TABLE_LEAF else (self.size - 12) * 64 // 255 - 23
        here = length
        if length > most:
            least = (self.size - 12) * 32 // 255 - 23
            here = least + (length - least) % (self.size - 4)
            here = here if here <= most else least
        body = _part(data, at, here)
        if here < length:
            body += self._overflow(int.from_bytes(_part(data, at + here, 4), "big"), length - here)
        return _signed(row_id, 8), record(body)

    def _overflow(self, number: int, length: int) -> bytes:
        """The rest of a row, from pages that each name the next."""
        parts: list[bytes] = []
        while length > 0:
            data = self.raw(number)
            if data is None:
                raise Unreadable("a row that goes on nowhere")
            number = int.from_bytes(data[:4], "big")
            parts.append(data[4 : 4 + length])
            length -= len(parts[-1])
        if number:
            raise Unreadable("a row that goes on too far")
        return b"".join(parts)

    def _free(self, first: bytes) -> tuple[set[int], bool]:
        """The pages that are in no use, and whether that is known for sure."""
        free: set[int] = set()
        trunk, said = int.from_bytes(first[32:36], "big"), int.from_bytes(first[36:40], "big")
        while trunk:
            data = self.raw(trunk)
            if data is None or trunk in free:
                return free, False
            free.add(trunk)
            trunk, count = struct.unpack_from(">II", data)
            if count > self.size // 4 - 2:
                return free, False
            leaves = struct.unpack_from(f">{count}I", data, 8)
            if free.intersection(leaves) or any(not 1 < leaf <= self.count for leaf in leaves):
                return free, False
            free.update(leaves)
        return free, self.whole_header and len(free) == said


def record(body: bytes) -> tuple[Value, ...]:
    """The values of a row; raises `Unreadable` unless every byte of it is accounted for."""
    end, at = _varint(body, 0)
    if end > len(body):
        raise Unreadable("a row that is shorter than its header")
    kinds: list[int] = []
    while at < end:
        kind, at = _varint(body, at)
        kinds.append(kind)
    if at != end:
        raise Unreadable("a header of a row that is longer than it says")
    values: list[Value] = []
    for kind in kinds:
        width = _INTEGERS.get(kind, 0) if kind < 12 else (kind - 12) // 2
        data = _part(body, at, width)
        at += width
        if kind == 0:
            values.append(None)
        elif kind in _INTEGERS:
            whole = kind != 7
            values.append(
                int.from_bytes(data, "big", signed=True) if whole else float(struct.unpack(">d", data)[0])
            )
        elif kind in (8, 9):
            values.append(kind - 8)
        elif kind < 12:
            raise Unreadable("a value of a kind that there is not")
        elif kind % 2:
            try:
                values.append(data.decode("utf-8"))
            except UnicodeDecodeError as error:
                raise Unreadable("a text that is not UTF-8") from error
        else:
            values.append(data)
    if at != len(body):
        raise Unreadable("a row that is longer than its values")
    return tuple(values)


_INTEGERS = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8, 7: 8}
"""Kinds of numbers and their bytes; 7 is a float."""


def _part(data: bytes, at: int, count: int) -> bytes:
    if at + count > len(data):
        raise Unreadable("beyond the end")
    return data[at : at + count]


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of one to nine bytes, and where it ends."""
    value = 0
    for place in range(9):
        if at >= len(data):
            raise Unreadable("beyond the end")
        byte = data[at]
        at += 1
        if place == 8:
            return value << 8 | byte, at
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            break
    return value, at


def _signed(value: int, width: int) -> int:
    return value - (1 << 8 * width) if value >> (8 * width - 1) else value


class _Log:
    """A write-ahead log, up to its last transaction that is whole."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self.size = size
        self.count = 0
        """How many pages the database has."""
        self._frames: dict[int, int] = {}
        """For each page where its newest version lies."""

    @classmethod
    def read(cls, path: Path) -> _Log | None:
        try:
            file = path.open("rb")
        except OSError:
            return None
        try:
            head = _read(file, 0, 32)
            size = int.from_bytes(head[8:12], "big")
            order = {b"\x37\x7f\x06\x82": "<", b"\x37\x7f\x06\x83": ">"}.get(head[:4])
            if len(head) == 32 and order is not None and _possible(size):
                log = cls(file, size)
                log._follow(head, order)
                if log._frames:
                    return log
        except OSError:
            pass  # a disk that does not give it: then the file alone has to do
        file.close()
        return None

    def _follow(self, head: bytes, order: str) -> None:
        """Each frame carries a checksum over all before it: the first that differs ends the log."""
        sums = _sums(head[:24], (0, 0), order)
        if sums != struct.unpack_from(">II", head, 24):
            return
        waiting: dict[int, int] = {}
        at = 32
        while True:
            frame = _read(self._file, at, 24 + self.size)
            if len(frame) < 24 + self.size or frame[8:16] != head[16:24]:
                return
            sums = _sums(frame[24:], _sums(frame[:8], sums, order), order)
            if sums != struct.unpack_from(">II", frame, 16):
                return
            number, committed = struct.unpack_from(">II", frame)
            waiting[number] = at + 24
            if committed:
                self._frames |= waiting
                self.count = committed
                waiting.clear()
            at += 24 + self.size

    def page(self, number: int) -> bytes | None:
        at = self._frames.get(number)
        try:
            return None if at is None else _read(self._file, at, self.size)
        except OSError:
            return None

    def close(self) -> None:
        self._file.close()


def _sums(data: bytes, before: tuple[int, int], order: str) -> tuple[int, int]:
    """SQLite's checksum of a log: two sums that feed each other."""
    one, two = before
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for first, second in zip(words[::2], words[1::2], strict=True):
        one = one + first + two & 0xFFFFFFFF
        two = two + second + one & 0xFFFFFFFF
    return one, two


def _possible(size: int) -> bool:
    return 512 <= size <= 65536 and size & (size - 1) == 0


def _read(file: BinaryIO, at: int, count: int) -> bytes:
    file.seek(at)
    return file.read(count)
