"""Indexing: what is in the folders, what the catalog knows, and what that leaves to do."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from indexer.changes import Changes, compare
from indexer.found import SeenFiles
from indexer.report import IndexReport
from indexer.scan import Scan, left_out, scan
from retrieval import config, registry
from retrieval.config import Location
from retrieval.db import reads
from retrieval.db.reader import Reader, holds_something, open_reader
from retrieval.errors import (
    CatalogError,
    CatalogNotFound,
    EncoderMismatch,
    ModelError,
    RetrievalError,
    SchemaOutdated,
)
from retrieval.images import raw_available
from retrieval.stores import cache
from retrieval.types import Failure, under

if TYPE_CHECKING:
    from indexer.embed import Counts
    from indexer.texts import SidecarChanges, TextCounts
    from retrieval.catalog import Catalog
    from retrieval.db.reads import EncoderInfo
    from retrieval.protocols import Encoder, Progress

PathLike = str | os.PathLike[str]


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
    stopped: Callable[[], bool] | None = None,
) -> IndexReport:
    """Bring a catalog up to date with a folder of pictures, or with several.

    `catalog` is an open one, or the place of one, which is made if it is not there.
    Without a folder, those indexed before are gone through again. `model` (else the
    encoder the catalog was opened with) embeds every picture of the catalog beside the
    old vectors, and takes their place when that is complete. `retry` tries files again
    that failed before. `ocr` also reads the text in pictures that was not read yet (the
    extra `ocr`). `memory` bounds the bytes of pictures in flight. What is committed stays
    when the run is interrupted, by `stopped` answering True or by KeyboardInterrupt: either
    ends it with a report whose `interrupted` is True.
    """
    started = time.monotonic()
    location, given = _place(catalog)
    given = model if model is not None else given
    tell = progress or (lambda _step, _figures: None)
    halt = stopped or (lambda: False)
    folders = [folder] if isinstance(folder, str | os.PathLike) else folder
    read_by = _read_by() if ocr else None
    reader = _open(location, upgrade=not dry_run)
    try:
        named = (os.fsencode(os.path.abspath(os.path.expanduser(path))) for path in folders)
        roots = list(dict.fromkeys(named))
        if not roots:
            roots = reads.roots(reader) if reader else []
        if not roots:
            raise CatalogError("There is nothing to index yet. Name a folder: search index PATH")
        roots = _present(roots, reader, tell, named=bool(folders))
        known = reads.encoders(reader) if reader else []
        spec, target = _target(known, given, tell)
        found, roots = _scan(roots, exclude, reader, tell, halt, named=bool(folders))
        if halt():
            return _report(started, target.key if target else None, interrupted=True)
        changes = _compare(found, roots, reader, retry=retry, exclude=exclude)
        beside = _beside(found, roots, reader, exclude)
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
        return _report(started, target.key if target else None, planned=changes, failures=failures)

    from indexer.embed import embed
    from indexer.means import means_for
    from indexer.texts import TextCounts, bring_texts
    from retrieval.db.queries import Writer
    from retrieval.models import remember_speed

    spec, encoder = _load(spec, given, target, tell)
    means = means_for(encoder, workers=workers, memory=memory)
    if means.note:
        tell("note", {"text": means.note})
    with Writer(location) as writer:
        writer.add_roots(roots)
        encoder_id = writer.add_encoder(key=encoder.id, spec=spec, dim=encoder.dim)
        counts = embed(
            location,
            writer,
            encoder,
            encoder_id,
            changes,
            workers=means.workers,
            memory=means.memory,
            progress=tell,
            stopped=halt,
        )
        words = TextCounts(interrupted=counts.interrupted)
        if not counts.interrupted:
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
    return _report(started, encoder.id, counts=counts, words=words, failures=failures)


def _read_by() -> str:
    from indexer.ocr import ocr_version

    return ocr_version()


def _place(catalog: Catalog | PathLike) -> tuple[Location, str | Encoder | None]:
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
        from retrieval.db.queries import Writer

        Writer(location).close()
        return open_reader(location)


def _present(roots: Sequence[bytes], reader: Reader | None, tell: Progress, *, named: bool) -> list[bytes]:
    """The folders that are there: all that were named must be, others may be on a disk that is away."""
    there = []
    for root in roots:
        if os.path.isdir(root):
            there.append(root)
            continue
        name = os.fsdecode(root)
        if os.path.exists(root):
            folder = os.path.dirname(name)
            raise CatalogError(
                f"{name} is a file, not a folder. Index the folder it is in: search index {folder}"
            )
        if not (reader and (root in reads.roots(reader) or reads.count_under(reader, root))):
            raise CatalogError(f"There is no folder {name}. Check the name, and index again.")
        _away(f"{name} is not there now.", name, tell, named=named)
    return there


def _away(fact: str, name: str, tell: Progress, *, named: bool) -> None:
    """A folder whose pictures cannot be seen is an offline disk, not a deletion."""
    if named:
        raise CatalogError(
            f"{fact} If its disk is offline, plug it in; nothing was changed. "
            f"If it is gone for good: search forget {name}"
        )
    tell(
        "note",
        {"text": f"{fact} Its pictures stay as they are. If it is gone for good: search forget {name}"},
    )


def _target(
    known: Sequence[EncoderInfo], given: str | Encoder | None, tell: Progress
) -> tuple[str, EncoderInfo | None]:
    """The model to embed with, and what the catalog knows of it; None until it was loaded once."""
    active = next((info for info in known if info.active), None)
    if given is None and active is not None:
        return active.spec, active
    if given is not None and not isinstance(given, str):
        spec = str(getattr(given, "spec", given.id))
        return spec, next((info for info in known if info.key == given.id), None)
    from retrieval.models import resolve

    spec, why = resolve(given or config.default_model())
    if spec != given:
        tell("note", {"text": why})
    if not any(info.spec == spec for info in known):
        return spec, None
    # The same name may stand for other weights by now: what it is, only the model itself can say.
    key = registry.load_encoder(spec).id
    return spec, next((info for info in known if info.key == key), None)


def _scan(
    roots: Sequence[bytes],
    exclude: Sequence[str],
    reader: Reader | None,
    tell: Progress,
    halt: Callable[[], bool],
    *,
    named: bool,
) -> tuple[Scan, list[bytes]]:
    """All folders as one walk, and those of them that were met with pictures or may be empty.

    A folder named twice, inside another, or reached by a link as well, counts once.
    """
    whole = Scan()
    walked: list[bytes] = []
    folders: set[tuple[int, int]] = set()
    files = SeenFiles()
    for root in sorted(roots, key=lambda path: (os.path.realpath(path) != path, path)):
        name = os.fsdecode(root)
        tell("scan", {"path": name})
        status = os.stat(root)
        met = (status.st_dev, status.st_ino) in folders
        found = scan(
            root, exclude=exclude, raw=raw_available(), stopped=halt, seen_folders=folders, seen_files=files
        )
        for note in found.notes:
            tell("note", {"text": note})
        if root in found.unreadable:
            why = found.notes[-1] if found.notes else f"{name} cannot be listed."
            raise CatalogError(f"{why} Check its permissions, and index again.")
        if not (met or found.files or halt()):
            if reader and not exclude and reads.count_under(reader, root):
                _away(
                    f"{name} holds no pictures now, but the catalog knows some there.",
                    name,
                    tell,
                    named=named,
                )
                continue
            tell(
                "note",
                {"text": f"{name} holds no pictures" + (" that are not left out." if exclude else ".")},
            )
        for path in found.unreadable:
            # A link that leads nowhere is worth a word only where pictures were found behind it.
            if not os.path.islink(path) or (reader and reads.count_under(reader, path)):
                tell("note", {"text": f"{os.fsdecode(path)} cannot be read and is left as it was."})
        if found.raw_skipped:
            text = f"{found.raw_skipped} RAW files are left out. To index their previews: "
            tell("note", {"text": text + "pip install 'picture-search[raw]'"})
        if exclude and not (met or found.files):
            whole.unreadable.append(root)  # nothing of it was looked at
        walked.append(root)
        whole.unreadable += found.unreadable + found.dangling
        whole.files.extend(found.files)
        whole.texts += found.texts
    whole.files.sort()
    for root in reads.roots(reader) if reader else ():
        inside = any(low <= root < high for low, high in map(under, walked)) and root not in walked
        low, high = under(root)
        if inside and not whole.files.any_between(low, high):
            # Asked for by itself once, and not met on this walk: hidden, excluded, or its disk is away.
            whole.unreadable.append(root)
    return whole, walked


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


def _load(
    spec: str, given: str | Encoder | None, target: EncoderInfo | None, tell: Progress
) -> tuple[str, Encoder]:
    """The encoder, and the spec it goes by: where `auto` chose what cannot be had, the built-in one."""
    if given is not None and not isinstance(given, str):
        return spec, given
    from indexer.export import encoder_for_indexing
    from retrieval.models import AUTO

    try:
        encoder = encoder_for_indexing(spec, tell)
    except ModelError as error:
        if target is not None or (given or config.default_model()).lower() != AUTO:
            raise
        tell("note", {"text": f"{error} Going on with the built-in {config.STARTER_MODEL}."})
        spec = config.STARTER_MODEL
        encoder = encoder_for_indexing(spec, tell)
    note = getattr(encoder, "note", None)
    if note:
        tell("note", {"text": str(note)})
    if given is None and target is not None and encoder.id != target.key:
        raise EncoderMismatch(
            f"The catalog's vectors are of {target.key}, but '{spec}' is now {encoder.id}. "
            f"Embed all pictures anew: search index --model {spec}"
        )
    return spec, encoder


def _report(
    started: float,
    encoder: str | None,
    *,
    counts: Counts | None = None,
    words: TextCounts | None = None,
    planned: Changes | None = None,
    failures: tuple[Failure, ...] = (),
    interrupted: bool = False,
) -> IndexReport:
    seconds = time.monotonic() - started
    figures = {"added": 0, "updated": 0, "unchanged": 0, "moved": 0, "missing": 0, "failed": 0}
    rate = 0.0
    if planned is not None:
        figures.update(
            added=len(planned.new),
            updated=len(planned.changed),
            unchanged=planned.unchanged + len(planned.returned),
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
        failures=failures,
        texts=words.texts if words else 0,
        read=words.read if words else 0,
    )
