"""The line from changed files to committed rows.

Loading processes read, hash, decode and prepare; threads encode; this thread puts the
results in the order of the files and commits them, so that a run that was killed and
taken up again ends with the same rows as one that was not.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from indexer.loader import Loaded, Loader, Task
from retrieval import config
from retrieval.db import reads
from retrieval.db.queries import Batch, NewImage, Vector, Writer
from retrieval.db.reader import open_reader
from retrieval.errors import CatalogError, ModelError
from retrieval.images.metadata import with_file_time
from retrieval.images.metadata.taken import read_file_time, read_name
from retrieval.journal import Log

if TYPE_CHECKING:
    from indexer.changes import Changes
    from indexer.missing import Guard
    from retrieval.config import Location
    from retrieval.db.reader import Reader
    from retrieval.db.reads import FileRow
    from retrieval.protocols import Encoder, Progress
    from retrieval.types import Encoded


_log = Log(__name__)


@dataclass(slots=True)
class Counts:
    added: int = 0
    updated: int = 0
    unchanged: int = 0
    moved: int = 0
    missing: int = 0
    failed: int = 0
    encoded: int = 0
    seconds: float = 0.0
    interrupted: bool = False


def embed(
    location: Location,
    writer: Writer,
    encoder: Encoder,
    encoder_id: int,
    changes: Changes,
    *,
    guard: Guard,
    workers: int,
    memory: int,
    progress: Progress,
    stopped: Callable[[], bool],
) -> Counts:
    """Carry out `changes`, and give every picture of the catalog a vector of `encoder`."""
    with contextlib.closing(open_reader(location)) as reader:
        line = _Line(reader, writer, encoder, encoder_id, changes, guard, workers, memory, progress, stopped)
        line.run()
        return line.counts


@dataclass(slots=True)
class _Line:
    reader: Reader
    writer: Writer
    encoder: Encoder
    encoder_id: int
    changes: Changes
    guard: Guard
    workers: int
    memory: int
    progress: Progress
    stopped: Callable[[], bool]
    counts: Counts = field(default_factory=Counts)
    batch: Batch = field(default_factory=Batch)
    again: list[Task] = field(default_factory=list)
    sources: dict[bytes, list[tuple[FileRow, bool]]] = field(default_factory=dict)
    """Rows by content that stand still, each with whether it has a vector: what may be moved or copied."""
    bare: set[int] = field(default_factory=set)
    """Rows without a vector of this encoder."""
    gone: set[int] = field(default_factory=set)
    moved: set[int] = field(default_factory=set)
    committed_at: float = 0.0
    done: int = 0
    total: int = 0

    def run(self) -> None:
        counts, changes = self.counts, self.changes
        counts.unchanged = changes.unchanged + len(changes.returned)
        counts.failed = len(changes.known_bad)
        self.batch.refreshed += [(row.id, {"missing_at": None}) for row in changes.returned]
        self.batch.healed += changes.healed
        self._commit()
        if not any(info.active for info in reads.encoders(self.reader)):
            # The first model of a catalog answers queries from its first batch on.
            self.writer.activate(self.encoder_id)
        tasks, offline = self._tasks()
        self.total = len(tasks)
        started = time.monotonic()
        try:
            self._load(tasks, frozenset(self.sources))
            # What looked like a known picture, but has no row with a vector to copy from.
            self._load(self.again, frozenset())
        except KeyboardInterrupt:
            counts.interrupted = True
        finally:
            self._commit()
            counts.seconds = time.monotonic() - started
        counts.interrupted = counts.interrupted or (self.done < self.total)
        if not counts.interrupted:
            self._settle(offline)

    def _tasks(self) -> tuple[list[Task], int]:
        """What has to be read, by path, and how many pictures are on disks that are not here."""
        files = [(file, None) for file in self.changes.new] + list(self.changes.changed)
        files.sort(key=lambda pair: pair[0].path)
        tasks = [Task(file.path, file.size, file.mtime_ns, row) for file, row in files]
        restless = {row.id for _, row in self.changes.changed}
        self.gone = {row.id for row in self.changes.gone}
        sizes = sorted({file.size for file, _ in files})
        for row, embedded in reads.files_of_sizes(self.reader, self.encoder_id, sizes):
            # A file whose content may be changing is no source for others, only for itself.
            rows = self.sources.setdefault(row.content_hash, [])
            if row.id not in restless:
                rows.append((row, embedded))
        offline = 0
        bad = {file.path for file in self.changes.known_bad}
        for row in reads.unembedded(self.reader, self.encoder_id):
            self.bare.add(row.id)
            if row.id in restless or row.id in self.gone or row.path in bad:
                continue
            if os.path.lexists(row.path):
                tasks.append(Task(row.path, row.size, row.mtime_ns, row))
            else:
                offline += 1
        return tasks, offline

    def _load(self, tasks: Sequence[Task], known: frozenset[bytes]) -> None:
        if not tasks:
            return
        self.progress("encode", {"total": self.total, "done": self.done})
        self.committed_at = time.monotonic()
        with (
            Loader(
                self.encoder.preparer,
                workers=self.workers,
                memory=self.memory,
                known=known,
                # Two batches wait, so that a device that takes large ones never does.
                look_ahead=max(16 + 4 * self.workers, 2 * self.encoder.batch_size),
            ) as loader,
            ThreadPoolExecutor(self.encoder.parallel, "encode") as pool,
        ):
            for items, encoded in self._encoded(loader.load(tasks), pool):
                self._take(items, encoded)
                self.done += len(items)
                self.progress(
                    "advance",
                    {
                        "total": self.total,
                        "done": self.done,
                        "failed": self.counts.failed,
                        "path": os.fsdecode(items[-1].path),
                    },
                )
                if (
                    len(self.batch) >= self._enough()
                    or time.monotonic() - self.committed_at > config.COMMIT_SECONDS
                ):
                    self._commit()
                if self.stopped():
                    return

    def _enough(self) -> int:
        """Files that are committed together: what is encoded behind them would be lost with them."""
        behind = (self.encoder.parallel + 2) * self.encoder.batch_size
        return max(1, config.COMMIT_IMAGES - behind)

    def _encoded(
        self, loaded: Iterator[Loaded], pool: ThreadPoolExecutor
    ) -> Iterator[tuple[list[Loaded], Encoded | None]]:
        """Encode in batches, several at once, and give them back in the order they came."""
        ahead: deque[tuple[list[Loaded], Future[Encoded] | None]] = deque()
        for items in _batches(loaded, self.encoder.batch_size):
            pixels = [item.prepared for item in items if item.prepared is not None]
            future = pool.submit(self.encoder.encode_prepared, pixels) if pixels else None
            ahead.append((items, future))
            while ahead and (len(ahead) > self.encoder.parallel + 1 or _ready(ahead[0][1])):
                yield _result(ahead.popleft())
        while ahead:
            yield _result(ahead.popleft())

    def _take(self, items: Sequence[Loaded], encoded: Encoded | None) -> None:
        """Turn what came of a batch of files into changes of rows."""
        if encoded is not None and not np.isfinite(encoded.vectors).all():
            raise ModelError(
                f"The model {self.encoder.id} gave values that are not numbers. "
                "Its weights or its runtime are broken; choose another: search models"
            )
        vectors = iter(_stored(encoded) if encoded is not None else ())
        for item in items:
            row: FileRow | None = item.key
            if item.reason is not None:
                self._fail(item)
            elif item.prepared is not None:
                self._embed(item, row, next(vectors))
            elif row is None:
                self._reuse(item)
            elif row.content_hash == item.content_hash and row.id not in self.bare:
                self._refresh(row, item)
                self.counts.unchanged += 1
            else:
                self._read_again(item, row)

    def _fail(self, item: Loaded) -> None:
        if item.reason == "unreadable" and not os.path.lexists(item.path):
            return  # gone since the walk: the next run finds it missing
        self.counts.failed += 1
        _log.info("picture refused", picture=Path(os.fsdecode(item.path)), reason=item.reason)
        self.batch.failed.append(
            {
                "path": item.path,
                "size": item.size,
                "mtime_ns": item.mtime_ns,
                "reason": item.reason,
                "detail": item.detail,
                "failed_at": time.time(),
            }
        )

    def _embed(self, item: Loaded, row: FileRow | None, vector: Vector) -> None:
        self.counts.encoded += 1
        self.batch.healed.append(item.path)
        if row is None:
            self.counts.added += 1
            self.batch.added.append(NewImage(_values(item), vector))
        elif row.content_hash == item.content_hash:
            self.batch.embedded.append((row.id, vector))
            if (row.size, row.mtime_ns) != (item.size, item.mtime_ns):
                self._refresh(row, item)
                self.counts.unchanged += 1
        else:
            self.counts.updated += 1
            self.batch.updated.append((row.id, _values(item), vector))

    def _refresh(self, row: FileRow, item: Loaded) -> None:
        """Note where a known content lies now, and since when."""
        self.batch.healed.append(item.path)
        self.batch.refreshed.append((row.id, _place(item)))
        self.batch.retimed.append((row.id, _taken_by_file(item)))

    def _reuse(self, item: Loaded) -> None:
        """A new path with a known content: a move if the old path is gone, else a copy."""
        rows = self.sources.get(item.content_hash or b"", [])
        leavers = [
            source
            for source, _ in rows
            if (source.missing or source.id in self.gone) and source.id not in self.moved
        ]
        if leavers:
            name = os.path.basename(item.path)
            row = next((row for row in leavers if os.path.basename(row.path) == name), leavers[0])
            self.moved.add(row.id)
            self.counts.moved += 1
            self._refresh(row, item)
            if not any(embedded for source, embedded in rows if source.id == row.id):
                self._read_again(item, row._replace(path=item.path, size=item.size, mtime_ns=item.mtime_ns))
            return
        source = next((source for source, embedded in rows if embedded), None)
        if source is None:
            self._read_again(item, None)
            return
        self.counts.added += 1
        self.batch.healed.append(item.path)
        values = {**_place(item), "indexed_at": time.time()}
        self.batch.added.append(NewImage(values, source_id=source.id, taken=_taken_by_file(item)))

    def _read_again(self, item: Loaded, row: FileRow | None) -> None:
        self.again.append(Task(item.path, item.size, item.mtime_ns, row))
        self.total += 1

    def _commit(self) -> None:
        if self.batch:
            batch = self.batch
            try:
                self.writer.commit(batch, encoder_id=self.encoder_id)
            except CatalogError:
                # A disk that has refused it may take it the next time, and lose it: the run ends here.
                self.batch = Batch()
                raise
            _log.info(
                "batch committed",
                files=len(batch),
                added=len(batch.added),
                updated=len(batch.updated),
                refused=len(batch.failed),
                seconds=round(time.monotonic() - self.committed_at, 3),
            )
            self.batch = Batch()
        self.committed_at = time.monotonic()

    def _settle(self, offline: int) -> None:
        """Hide what is gone, and switch to this model once every picture has a vector of it."""
        lost = self.guard.sort_out([row for row in self.changes.gone if row.id not in self.moved])
        for text in self.guard.notes:
            self.progress("note", {"text": text})
        self.writer.hide([row.id for row in lost])
        self.counts.missing = len(lost)
        self.writer.forget_failures([path for path in self.changes.vanished if not self.guard.holds(path)])
        standing = reads.standing_failures(self.reader)
        left = [row for row in reads.unembedded(self.reader, self.encoder_id) if row.path not in standing]
        if not left:
            self.writer.activate(self.encoder_id, complete=True)
            return
        away = f", {offline} of them on disks that are not here" if offline else ""
        active = any(info.active and info.id == self.encoder_id for info in reads.encoders(self.reader))
        effect = "cannot be found yet" if active else "keep queries with the model before"
        text = f"{len(left)} pictures have no vector of this model{away}, and {effect}."
        self.progress("note", {"text": f"{text} Run the same command again when they can be read."})


def _batches(loaded: Iterator[Loaded], size: int) -> Iterator[list[Loaded]]:
    """Runs of results with at most `size` pictures to encode in each."""
    items: list[Loaded] = []
    pictures = 0
    for item in loaded:
        items.append(item)
        pictures += item.prepared is not None
        if pictures == size or len(items) == 4 * size:
            yield items
            items, pictures = [], 0
    if items:
        yield items


def _ready(future: Future[Encoded] | None) -> bool:
    return future is None or future.done()


def _result(pair: tuple[list[Loaded], Future[Encoded] | None]) -> tuple[list[Loaded], Encoded | None]:
    items, future = pair
    return items, future.result() if future is not None else None


def _stored(encoded: Encoded) -> Iterator[Vector]:
    aux = encoded.aux or [b""] * len(encoded.vectors)
    for row, extra in zip(encoded.vectors.astype("<f2"), aux, strict=True):
        yield Vector(row.tobytes(), extra)


def _values(item: Loaded) -> dict[str, Any]:
    assert item.metadata is not None
    values = asdict(with_file_time(item.metadata, item.mtime_ns))
    values["keywords"] = list(item.metadata.keywords)
    return {**values, **_place(item), "content_hash": item.content_hash, "indexed_at": time.time()}


def _place(item: Loaded) -> dict[str, Any]:
    return {"path": item.path, "size": item.size, "mtime_ns": item.mtime_ns, "missing_at": None}


def _taken_by_file(item: Loaded) -> dict[str, Any]:
    """When a picture that says nothing itself was taken, going by the file's name and time."""
    taken = read_name(os.fsdecode(os.path.basename(item.path))) or read_file_time(item.mtime_ns)
    if taken is None:
        return {"taken_at": None, "taken_offset": None, "taken_source": None}
    return {"taken_at": taken.at, "taken_offset": taken.offset, "taken_source": taken.source}
