"""Files that a walk found, kept so that a million of them fit in a small machine."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from operator import lt


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A picture file as the folder lists it; `mtime_ns` fits in 64 bits."""

    path: bytes
    size: int
    mtime_ns: int


class FoundFiles:
    """Files in columns: as many objects would take three times the memory, and longer to make."""

    __slots__ = ("_paths", "_sizes", "_times")

    def __init__(self, files: Iterable[FoundFile] = ()) -> None:
        self._paths: list[bytes] = []
        self._sizes, self._times = array("q"), array("q")
        for file in files:
            self.add(file.path, file.size, file.mtime_ns)

    def add(self, path: bytes, size: int, mtime_ns: int) -> None:
        self._paths.append(path)
        self._sizes.append(size)
        self._times.append(mtime_ns)

    def extend(self, other: FoundFiles) -> None:
        self._paths += other._paths
        self._sizes += other._sizes
        self._times += other._times

    def sort(self) -> None:
        """Put them in the order of their paths."""
        paths = self._paths
        if all(map(lt, paths, islice(paths, 1, None))):
            return
        order = sorted(range(len(paths)), key=paths.__getitem__)
        self._paths = [paths[place] for place in order]
        self._sizes = array("q", map(self._sizes.__getitem__, order))
        self._times = array("q", map(self._times.__getitem__, order))

    def any_between(self, low: bytes, high: bytes) -> bool:
        """Whether there is one of `low <= path < high`, once they are in order."""
        place = bisect_left(self._paths, low)
        return place < len(self._paths) and self._paths[place] < high

    def rows(self) -> Iterator[tuple[bytes, int, int]]:
        """Path, size and time of each."""
        return zip(self._paths, self._sizes, self._times, strict=True)

    def paths(self) -> Iterator[bytes]:
        return iter(self._paths)

    def __iter__(self) -> Iterator[FoundFile]:
        return map(FoundFile, self._paths, self._sizes, self._times)

    def __len__(self) -> int:
        return len(self._paths)


class SeenFiles:
    """Which files were met, by device and inode; only links ask, and most walks meet none."""

    __slots__ = ("_asked", "_met")

    def __init__(self) -> None:
        self._met: dict[int, array[int]] = {}
        self._asked: dict[int, set[int]] = {}

    def add(self, device: int, inode: int) -> None:
        met = self._met.get(device)
        if met is None:
            met = self._met[device] = array("Q")
        met.append(inode)

    def has(self, device: int, inode: int) -> bool:
        met = self._met.pop(device, None)
        asked = self._asked.setdefault(device, set())
        if met is not None:
            asked.update(met)
        return inode in asked
