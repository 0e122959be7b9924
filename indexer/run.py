"""Indexing: what is in the folders, what the catalog knows, and what that leaves to do."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from indexer.changes import Changes, compare
from indexer.missing import Guard, guard
from indexer.model import chosen_model, load_model
from indexer.report import IndexReport, made_report
from indexer.roots import present, walk
from indexer.scan import Scan, left_out
from retrieval.config import Location
from retrieval.db import reads
from retrieval.db.onlooker import Onlooker
from retrieval.db.reader import Reader, holds_something, open_reader
from retrieval.errors import (
    CatalogError,
    CatalogNotFound,
    RetrievalError,
    SchemaOutdated,
)
from retrieval.journal import Log
from retrieval.stores import cache
from retrieval.types import Failure, under

if TYPE_CHECKING:
    from indexer.texts import SidecarChanges
    from retrieval.catalog import Catalog
    from retrieval.db.queries import Writer
    from retrieval.db.reads import EncoderInfo
    from retrieval.protocols import Encoder, Progress

_log = Log(__name__)
PathLike = str | os.PathLike[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What a run is asked for: see `index_folder`."""

    exclude: Sequence[str] = ()
    workers: int | None = None
    model: str | Encoder | None = None
    memory: int | None = None
    retry: bool = False
    ocr: bool = False
    dry_run: bool = False
    accept_missing: bool = False
    named: bool = True
    """Whether every folder has to be there, as one has that a person names."""
    load: Callable[[str, Progress], Encoder] | None = None
    """Loads the model; one that has it at hand already saves the time."""


def index_folder(
    catalog: Catalog | PathLike,
    folder: PathLike | Sequence[PathLike] = (),
    *,
    exclude: Sequence[str] = (),
    workers: int | None = None,
    progress: Progress | None = None,
    model: str | None = None,
    memory: int | None = None,
    retry: bool = False,
    ocr: bool = False,
    dry_run: bool = False,
    accept_missing: bool = False,
    stopped: Callable[[], bool] | None = None,
) -> IndexReport:
    """Bring a catalog up to date with a folder of pictures, or with several.

    `catalog` is an open one, or the place of one, which is made if it is not there.
    Without a folder, those indexed before are gone through again. `model` (else the
    encoder the catalog was opened with) embeds every picture of the catalog beside the
    old vectors, and takes their place when that is complete. `retry` tries files again
    that failed before. `ocr` also reads the text in pictures that was not read yet (the
    extra `ocr`). `memory` bounds the bytes of pictures in flight.

    A folder that is not there, or empty, changes nothing: named, it is an error, else a note.
    Where more than half of a folder's pictures are missing, they are left as
    they are as well, and counted as `held`; `accept_missing` says that they are gone for good.

    What is committed stays when the run is interrupted, by `stopped` answering True or by
    KeyboardInterrupt: either ends it with a report whose `interrupted` is True.
    """
    location, given = place(catalog)
    folders = [folder] if isinstance(folder, str | os.PathLike) else folder
    wishes = Wishes(
        exclude=exclude,
        workers=workers,
        model=model if model is not None else given,
        memory=memory,
        retry=retry,
        ocr=ocr,
        dry_run=dry_run,
        accept_missing=accept_missing,
        named=bool(folders),
    )
    return run(location, absolute(folders), wishes, progress=progress, stopped=stopped)


def absolute(folders: Sequence[PathLike]) -> list[bytes]:
    named = (os.fsencode(os.path.abspath(os.path.expanduser(path))) for path in folders)
    return list(dict.fromkeys(named))


def run(
    location: Location,
    roots: Sequence[bytes],
    wishes: Wishes,
    *,
    progress: Progress | None = None,
    stopped: Callable[[], bool] | None = None,
    listed: list[tuple[bytes, int, int]] | None = None,
) -> IndexReport:
    """One run over folders, or over those indexed before; `listed` gets those that were walked
    with all inside them, each with its device and inode."""
    started = time.monotonic()
    tell, halt = progress or (lambda _step, _figures: None), stopped or (lambda: False)
    walked: list[tuple[bytes, int, int]] = []
    try:
        with Onlooker(location) as onlooker:
            report = _run(location, roots, wishes, started, tell, halt, walked, onlooker)
    except _OvertakenError:
        from retrieval.db.queries import Writer

        _log.info("planned anew", why="another command has written meanwhile")
        walked.clear()
        with Writer(location) as writer:
            report = _run(location, roots, wishes, started, tell, halt, walked, writer)
    if listed is not None:
        listed += walked
    return report


class _OvertakenError(Exception):
    """Another command has written to the catalog since this one planned what to do."""


def _run(
    location: Location,
    roots: Sequence[bytes],
    wishes: Wishes,
    started: float,
    tell: Progress,
    halt: Callable[[], bool],
    listed: list[tuple[bytes, int, int]],
    sure: Onlooker | Writer,
) -> IndexReport:
    """A run that plans while others may write, and looks whether they have; or one that holds the lock."""
    given, exclude, retry, dry_run = wishes.model, wishes.exclude, wishes.retry, wishes.dry_run
    read_by = _read_by() if wishes.ocr else None
    reader = _open(location, upgrade=not dry_run)
    try:
        if not roots:
            roots = reads.roots(reader) if reader else []
        if not roots:
            raise CatalogError("There is nothing to index yet. Name a folder: search index PATH")
        roots = present(roots, reader, tell, named=wishes.named)
        known = reads.encoders(reader) if reader else []
        spec, target = chosen_model(known, given, tell)
        found, roots = walk(roots, exclude, reader, tell, halt, named=wishes.named)
        listed += found.folders
        if halt():
            return made_report(started, target.key if target else None, interrupted=True)
        changes = _compare(found, roots, reader, retry=retry, exclude=exclude)
        beside = _beside(found, roots, reader, exclude)
        watched = Guard()
        if not wishes.accept_missing:
            out = left_out(roots, exclude) if exclude else None
            moved = len(changes.new) if dry_run else 0
            watched = guard(reader, changes, found, roots, left_out=out, moved=moved)
        if watched.shares and (dry_run or not changes.new):
            # Nothing has come that could be what is missing: no need to look any further.
            _hold(watched, changes, beside, tell)
        waiting = reads.count_unembedded(reader, target.id, standing=retry) if reader and target else 0
        mute = reads.texts_waiting(reader, target.id) if reader and target else 0
        unseen = bool(reader and read_by and reads.unread(reader, read_by))
        new_roots = set(roots) - set(reads.roots(reader) if reader else ())
        fresh = target is not None and _cache_is_fresh(location, target)
        failures = _failures(reader, roots) if reader else ()
        to_embed = waiting if target else reads.counts(reader)["images"] if reader else 0
        if dry_run and to_embed:
            tell("note", {"text": f"{to_embed} pictures of the catalog would be embedded with {spec}."})
        if dry_run and beside is not None and beside.pending:
            tell("note", {"text": "Texts beside pictures have come, changed or gone, and would be taken up."})
    finally:
        if reader:
            reader.close()
    settled = target is not None and target.active and target.state == "complete"
    todo = waiting or new_roots or changes.pending or (beside and beside.pending) or mute or unseen
    if dry_run or (settled and not todo):
        if not (dry_run or fresh):
            _refresh(location)
        key = target.key if target else None
        return made_report(started, key, planned=changes, failures=failures, held=watched.held)

    from indexer.embed import embed
    from indexer.means import means_for
    from indexer.texts import TextCounts, bring_texts
    from retrieval.db.queries import Writer
    from retrieval.models import remember_speed

    spec, encoder = load_model(spec, wishes, target, tell)
    means = means_for(encoder, workers=wishes.workers, memory=wishes.memory)
    _log.info(
        "model chosen",
        model=spec,
        encoder=encoder.id,
        why="it was asked for" if given is not None else "the catalog's own, or the default",
        workers=means.workers,
        memory=means.memory,
    )
    if means.note:
        tell("note", {"text": means.note})
    with contextlib.nullcontext(sure) if isinstance(sure, Writer) else Writer(location) as writer:
        if isinstance(sure, Onlooker) and sure.has_seen_a_change():
            raise _OvertakenError
        writer.add_roots(roots)
        encoder_id = writer.add_encoder(key=encoder.id, spec=spec, dim=encoder.dim)
        counts = embed(
            location,
            writer,
            encoder,
            encoder_id,
            changes,
            guard=watched,
            workers=means.workers,
            memory=means.memory,
            progress=tell,
            stopped=halt,
        )
        words = TextCounts(interrupted=counts.interrupted)
        if not counts.interrupted:
            if beside is not None:
                beside.spare(watched.holds)
            words = bring_texts(
                location,
                writer,
                encoder,
                encoder_id,
                beside,
                read_by=read_by,
                workers=means.workers,
                memory=means.memory,
                progress=tell,
                stopped=halt,
            )
            counts.interrupted = words.interrupted
    remember_speed(spec, counts.encoded, counts.seconds)
    # Both are done now so that the first query need not; what is committed stands without them.
    with contextlib.suppress(RetrievalError):
        if not counts.interrupted:
            encoder.encode_texts(["a picture"])
        _refresh(location)
    with contextlib.closing(open_reader(location)) as reader:
        failures = _failures(reader, roots)
    return made_report(started, encoder.id, counts=counts, words=words, failures=failures, held=watched.held)


def _hold(watched: Guard, changes: Changes, beside: SidecarChanges | None, tell: Progress) -> None:
    """Leave everything as it is where too much is missing."""
    changes.gone = watched.sort_out(changes.gone)
    changes.vanished = [path for path in changes.vanished if not watched.holds(path)]
    if beside is not None:
        beside.spare(watched.holds)
    for text in watched.notes:
        tell("note", {"text": text})
    watched.notes.clear()


def _read_by() -> str:
    from indexer.ocr import ocr_version

    return ocr_version()


def place(catalog: Catalog | PathLike) -> tuple[Location, str | Encoder | None]:
    """Where a catalog is, and the encoder it was opened with."""
    if isinstance(catalog, str | os.PathLike):
        return Location.parse(catalog), None
    if catalog.readonly:
        raise CatalogError(f"The catalog at {catalog.location.name} was opened for reading only.")
    return catalog.location, catalog.encoder


def _failures(reader: Reader, roots: Sequence[bytes]) -> tuple[Failure, ...]:
    """What cannot be read below the folders of this run."""
    spans = [under(root) for root in roots]
    return tuple(
        Failure(Path(os.fsdecode(path)), reason, detail)
        for path, reason, detail in reads.failures(reader)
        if any(low <= path < high for low, high in spans)
    )


def _cache_is_fresh(location: Location, target: EncoderInfo) -> bool:
    return cache.is_fresh(location.cache, target.cache_key, target.dim, target.generation, target.epoch)[1]


def _refresh(location: Location) -> None:
    from retrieval.catalog import Catalog

    with Catalog(location) as opened:
        opened.refresh()


def _open(location: Location, *, upgrade: bool) -> Reader | None:
    """A reader of the catalog, or None where there is none yet."""
    try:
        return open_reader(location)
    except CatalogNotFound:
        if holds_something(location) or (location.folder.exists() and not location.folder.is_dir()):
            raise
        return None
    except SchemaOutdated:
        if not upgrade:
            raise
        from retrieval.db.upgrading import upgrade_catalog

        upgrade_catalog(location)
        return open_reader(location)


def _compare(
    found: Scan, roots: Sequence[bytes], reader: Reader | None, *, retry: bool, exclude: Sequence[str]
) -> Changes:
    failed: dict[bytes, tuple[int, int, str]] = {}
    for root in roots if reader else ():
        assert reader is not None
        failed.update(reads.failed_files(reader, root))
    rows = reads.files_within(reader, roots) if reader else ()
    return compare(found, rows, failed, retry=retry, left_out=left_out(roots, exclude))


def _beside(
    found: Scan, roots: Sequence[bytes], reader: Reader | None, exclude: Sequence[str]
) -> SidecarChanges | None:
    """What came of texts beside pictures, where there are any."""
    if not (found.texts or (reader and any(reads.has_sidecars(reader, root) for root in roots))):
        return None
    from indexer.texts import compare_sidecars

    return compare_sidecars(found, roots, reader, left_out=left_out(roots, exclude))
