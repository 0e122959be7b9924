"""Comparing a walk with what the catalog knows: pure, so that every case can be tested."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from indexer.found import FoundFile
from indexer.scan import Scan
from retrieval.db.reads import FileRow
from retrieval.errors import TRANSIENT_REASONS
from retrieval.types import under


@dataclass(slots=True)
class Changes:
    """What has to be done so that the catalog agrees with the folders."""

    new: list[FoundFile] = field(default_factory=list)
    changed: list[tuple[FoundFile, FileRow]] = field(default_factory=list)
    """Size or time differ, or reading it failed for now; what changed, only reading it tells."""
    returned: list[FileRow] = field(default_factory=list)
    """Hidden rows whose file is there again as it was."""
    unchanged: int = 0
    gone: list[FileRow] = field(default_factory=list)
    known_bad: list[FoundFile] = field(default_factory=list)
    """Failed before, and still the same bytes as far as one can tell without reading them."""
    healed: list[bytes] = field(default_factory=list)
    """Failures of files that are again as they were when they could be read."""
    vanished: list[bytes] = field(default_factory=list)
    """Failures of files that are no longer there."""

    @property
    def pending(self) -> bool:
        """Whether anything has to be written."""
        return bool(self.new or self.changed or self.returned or self.gone or self.healed or self.vanished)


def compare(
    scan: Scan,
    known: Iterable[FileRow],
    failed: Mapping[bytes, tuple[int, int, str]],
    *,
    retry: bool = False,
    left_out: Callable[[bytes], bool] = lambda _path: False,
) -> Changes:
    """What changed between the catalog's rows and a walk of the same folder; `left_out` stays as it is.

    Files and rows both come in the order of their paths, and only what differs is held.
    """
    changes = Changes()
    dark = unknown(scan)
    met: set[bytes] = set()
    rows = iter(known)
    row = next(rows, None)

    def absent(row: FileRow) -> None:
        if not (row.missing or dark(row.path) or left_out(row.path)):
            changes.gone.append(row)

    for path, size, mtime_ns in scan.files.rows():
        while row is not None and row.path < path:
            absent(row)
            row = next(rows, None)
        mine = None
        if row is not None and row.path == path:
            mine, row = row, next(rows, None)
        failure = failed.get(path) if failed else None
        same_row = mine is not None and mine.size == size and mine.mtime_ns == mtime_ns
        same_failure = False
        if failure is not None:
            met.add(path)
            same_failure = failure[:2] == (size, mtime_ns)
            if same_failure and not retry and failure[2] not in TRANSIENT_REASONS:
                changes.known_bad.append(FoundFile(path, size, mtime_ns))
                continue
            if same_row and not same_failure:
                changes.healed.append(path)
        if mine is None:
            changes.new.append(FoundFile(path, size, mtime_ns))
        elif not same_row or same_failure:
            changes.changed.append((FoundFile(path, size, mtime_ns), mine))
        elif mine.missing:
            changes.returned.append(mine)
        else:
            changes.unchanged += 1
    while row is not None:
        absent(row)
        row = next(rows, None)
    changes.vanished += [path for path in failed if path not in met and not dark(path)]
    return changes


def unknown(scan: Scan) -> Callable[[bytes], bool]:
    """Whether a path is one that the walk learnt nothing of."""
    dark = scan.unreadable
    return Spans([*map(under, dark), *((path, path + b"\0") for path in dark)]).hold


class Spans:
    """Half-open ranges of paths, joined where they meet."""

    def __init__(self, spans: Iterable[tuple[bytes, bytes]]) -> None:
        self._lows: list[bytes] = []
        self._highs: list[bytes] = []
        for low, high in sorted(spans):
            if self._highs and low <= self._highs[-1]:
                self._highs[-1] = max(high, self._highs[-1])
            else:
                self._lows.append(low)
                self._highs.append(high)

    def hold(self, path: bytes) -> bool:
        place = bisect_right(self._lows, path) - 1
        return place >= 0 and path < self._highs[place]
