"""Comparing a walk with what the catalog knows: pure, so that every case can be tested."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from indexer.scan import FoundFile, Scan
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
    unchanged: list[FileRow] = field(default_factory=list)
    gone: list[FileRow] = field(default_factory=list)
    known_bad: list[FoundFile] = field(default_factory=list)
    """Failed before, and still the same bytes as far as one can tell without reading them."""
    healed: list[bytes] = field(default_factory=list)
    """Failures of files that are no longer there, or that are again as they were when they could be read."""

    @property
    def pending(self) -> bool:
        """Whether anything has to be written."""
        return bool(self.new or self.changed or self.returned or self.gone or self.healed)


def compare(
    scan: Scan,
    known: Iterable[FileRow],
    failed: Mapping[bytes, tuple[int, int, str]],
    *,
    retry: bool = False,
    left_out: Callable[[bytes], bool] = lambda _path: False,
) -> Changes:
    """What changed between the catalog's rows and a walk of the same folder; `left_out` stays as it is."""
    changes = Changes()
    rows = {row.path: row for row in known}
    present: set[bytes] = set()
    for file in scan.files:
        present.add(file.path)
        row, failure = rows.get(file.path), failed.get(file.path)
        same_failure = failure is not None and failure[:2] == (file.size, file.mtime_ns)
        same_row = row is not None and (row.size, row.mtime_ns) == (file.size, file.mtime_ns)
        if failure is not None and same_failure and not retry and failure[2] not in TRANSIENT_REASONS:
            changes.known_bad.append(file)
            continue
        if row is None:
            changes.new.append(file)
        elif not same_row or same_failure:
            changes.changed.append((file, row))
        elif row.missing:
            changes.returned.append(row)
        else:
            changes.unchanged.append(row)
        if failure is not None and same_row and not same_failure:
            changes.healed.append(file.path)
    dark = [under(folder) for folder in scan.unreadable] + [(path, path + b"\0") for path in scan.unreadable]
    for row in rows.values():
        if row.missing or row.path in present or _within(row.path, dark):
            continue
        if not left_out(row.path):
            changes.gone.append(row)
    changes.healed += [path for path in failed if path not in present and not _within(path, dark)]
    return changes


def _within(path: bytes, spans: list[tuple[bytes, bytes]]) -> bool:
    return any(low <= path < high for low, high in spans)
