"""Indexing: what is in the folders, what the catalog knows, and what that leaves to do."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from indexer.changes import Changes, compare
from indexer.report import IndexReport
from indexer.scan import Scan, scan
from retrieval import config
from retrieval.config import Location
from retrieval.db import reads
from retrieval.db.reader import Reader, open_reader
from retrieval.errors import CatalogError, CatalogNotFound, EncoderMismatch, SchemaOutdated
from retrieval.images import raw_available
from retrieval.stores import cache

if TYPE_CHECKING:
    from indexer.embed import Counts
    from retrieval.db.reads import EncoderInfo, FileRow
    from retrieval.protocols import Encoder, Progress

Path = str | os.PathLike[str]


def index_folder(
    *paths: Path,
    catalog: Path | None = None,
    model: str | None = None,
    exclude: Sequence[str] = (),
    dry_run: bool = False,
    retry: bool = False,
    workers: int | None = None,
    memory: int | None = None,
    progress: Progress | None = None,
    stopped: Callable[[], bool] | None = None,
) -> IndexReport:
    """Bring a catalog up to date with folders of pictures, making it if it is not there.

    Without paths, the folders indexed before are gone through again. `model` embeds every
    picture of the catalog with another model beside the old vectors, and switches to it
    when that is complete. `retry` tries files again that failed before. `memory` bounds
    the bytes of pictures in flight. What is committed stays when the run is interrupted,
    by `stopped` answering True or by KeyboardInterrupt: either ends it with a report whose
    `interrupted` is True.
    """
    started = time.monotonic()
    location = Location.parse(catalog)
    tell = progress or (lambda _step, _figures: None)
    halt = stopped or (lambda: False)
    reader = _open(location)
    try:
        named = (os.fsencode(os.path.abspath(os.path.expanduser(path))) for path in paths)
        roots = list(dict.fromkeys(named))
        if not roots:
            roots = reads.roots(reader) if reader else []
        if not roots:
            raise CatalogError("There is nothing to index yet. Name a folder: search index PATH")
        for root in roots:
            _check_root(root, reader)
        known = reads.encoders(reader) if reader else []
        spec, target = _target(known, model, tell)
        found = _scan(roots, exclude, reader, tell, halt)
        if halt():
            return _report(started, target.key if target else None, interrupted=True)
        changes = _compare(found, roots, reader, retry=retry)
        waiting = reads.unembedded(reader, target.id) if reader and target else []
        if waiting:
            failing = {path for path, _, _ in reads.failures(reader)} if reader else set()
            waiting = [row for row in waiting if row.path not in failing]
        new_roots = [root for root in roots if not reader or root not in reads.roots(reader)]
        fresh = target is not None and _cache_is_fresh(location, target)
    finally:
        if reader:
            reader.close()
    settled = target is not None and target.active and target.state == "complete"
    if dry_run or (settled and not (waiting or new_roots or changes.pending)):
        if not (dry_run or fresh):
            _refresh(location)
        return _report(started, target.key if target else None, planned=changes)

    from indexer.embed import embed
    from retrieval.db.queries import Writer
    from retrieval.models import remember_speed

    with Writer(location) as writer:
        writer.add_roots(roots)
        encoder = _load(spec, target, tell)
        encoder_id = writer.add_encoder(key=encoder.id, spec=spec, dim=encoder.dim)
        counts = embed(
            location,
            writer,
            encoder,
            encoder_id,
            changes,
            workers=config.cores() if workers is None else max(1, workers),
            memory=config.default_memory() if memory is None else memory,
            progress=tell,
            stopped=halt,
        )
    remember_speed(spec, counts.encoded, counts.seconds)
    # A text tower that has to be converted once is converted now, not in the first query.
    encoder.encode_texts(["a picture"])
    _refresh(location)
    return _report(started, encoder.id, counts=counts)


def _cache_is_fresh(location: Location, target: EncoderInfo) -> bool:
    return cache.is_fresh(location.cache, target.cache_key, target.dim, target.generation, target.epoch)[1]


def _refresh(location: Location) -> None:
    from retrieval.catalog import Catalog

    with Catalog(location) as opened:
        opened.refresh()


def _open(location: Location) -> Reader | None:
    try:
        return open_reader(location)
    except CatalogNotFound:
        if location.folder.exists() and not location.folder.is_dir():
            raise
        return None
    except SchemaOutdated:
        from retrieval.db.queries import Writer

        Writer(location).close()
        return open_reader(location)


def _check_root(root: bytes, reader: Reader | None) -> None:
    name = os.fsdecode(root)
    if os.path.isdir(root):
        return
    if os.path.exists(root):
        folder = os.path.dirname(name)
        raise CatalogError(
            f"{name} is a file, not a folder. Index the folder it is in: search index {folder}"
        )
    if reader and (root in reads.roots(reader) or reads.count_under(reader, root)):
        raise CatalogError(
            f"{name} is not there now. If its disk is offline, plug it in; nothing was changed. "
            f"If it is gone for good: search forget {name}"
        )
    raise CatalogError(f"There is no folder {name}. Check the name, and index again.")


def _target(
    known: Sequence[EncoderInfo], model: str | None, tell: Progress
) -> tuple[str, EncoderInfo | None]:
    """The model to embed with, and what the catalog knows of it; None until it was loaded once."""
    active = next((info for info in known if info.active), None)
    if model is None and active is not None:
        return active.spec, active
    from retrieval.models import resolve

    spec, why = resolve(model or config.default_model())
    if spec != model:
        tell("note", {"text": why})
    return spec, next((info for info in known if info.spec == spec), None)


def _scan(
    roots: Sequence[bytes],
    exclude: Sequence[str],
    reader: Reader | None,
    tell: Progress,
    halt: Callable[[], bool],
) -> Scan:
    """All folders as one walk: a folder named twice, or inside another, counts once."""
    whole = Scan()
    taken: set[bytes] = set()
    for root in sorted(set(roots)):
        tell("scan", {"path": os.fsdecode(root)})
        found = scan(root, exclude=exclude, raw=raw_available(), stopped=halt)
        if root in found.unreadable:
            raise CatalogError(
                f"{os.fsdecode(root)} cannot be listed. Check its permissions, and index again."
            )
        if reader and not (found.files or found.unreadable or halt()) and reads.count_under(reader, root):
            name = os.fsdecode(root)
            raise CatalogError(
                f"{name} holds no pictures now, but the catalog knows some there. If its disk is "
                f"offline, plug it in; nothing was changed. If they are gone for good: search forget {name}"
            )
        if not (found.files or halt()):
            tell("note", {"text": f"{os.fsdecode(root)} holds no pictures."})
        for folder in found.unreadable:
            tell("note", {"text": f"{os.fsdecode(folder)} cannot be read and is left as it was."})
        if found.raw_skipped:
            tell(
                "note",
                {
                    "text": f"{found.raw_skipped} RAW files are left out. To index their previews: "
                    "pip install 'picture-search[raw]'"
                },
            )
        whole.unreadable.extend(found.unreadable)
        whole.files.extend(file for file in found.files if file.path not in taken)
        taken.update(file.path for file in found.files)
    whole.files.sort(key=lambda file: file.path)
    return whole


def _compare(found: Scan, roots: Sequence[bytes], reader: Reader | None, *, retry: bool) -> Changes:
    rows: dict[bytes, FileRow] = {}
    failed: dict[bytes, tuple[int, int, str]] = {}
    for root in roots if reader else ():
        assert reader is not None
        rows.update((row.path, row) for row in reads.files_under(reader, root))
        failed.update(reads.failed_files(reader, root))
    return compare(found, rows.values(), failed, retry=retry)


def _load(spec: str, target: EncoderInfo | None, tell: Progress) -> Encoder:
    from indexer.export import encoder_for_indexing

    encoder = encoder_for_indexing(spec, tell)
    note = getattr(encoder, "note", None)
    if note:
        tell("note", {"text": str(note)})
    if target is not None and target.active and encoder.id != target.key:
        raise EncoderMismatch(
            f"The catalog's vectors are of {target.key}, but '{spec}' is now {encoder.id}. "
            f"Embed all pictures anew: search index --model {spec}"
        )
    return encoder


def _report(
    started: float,
    encoder: str | None,
    *,
    counts: Counts | None = None,
    planned: Changes | None = None,
    interrupted: bool = False,
) -> IndexReport:
    seconds = time.monotonic() - started
    figures = {"added": 0, "updated": 0, "unchanged": 0, "moved": 0, "missing": 0, "failed": 0}
    rate = 0.0
    if planned is not None:
        figures.update(
            added=len(planned.new),
            updated=len(planned.changed),
            unchanged=len(planned.unchanged) + len(planned.returned),
            missing=len(planned.gone),
            failed=len(planned.known_bad),
        )
    if counts is not None:
        interrupted = counts.interrupted
        rate = counts.encoded / counts.seconds if counts.seconds else 0.0
        figures.update(
            added=counts.added,
            updated=counts.updated,
            unchanged=counts.unchanged,
            moved=counts.moved,
            missing=counts.missing,
            failed=counts.failed,
        )
    return IndexReport(
        **figures,
        seconds=round(seconds, 3),
        images_per_second=round(rate, 2),
        encoder=encoder,
        interrupted=interrupted,
    )
