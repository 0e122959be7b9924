"""Examining a catalog: rows against themselves, caches against rows, files against rows."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from retrieval import registry
from retrieval.config import Location
from retrieval.db import reads
from retrieval.db.reader import Reader, SqliteReader, open_reader
from retrieval.doctor.caches import examine_caches, mend_caches
from retrieval.doctor.findings import Finding
from retrieval.doctor.rows import FIX, examine_rows, mend_rows
from retrieval.errors import (
    CatalogBusy,
    CatalogError,
    CatalogNotFound,
    ModelError,
    QueryError,
    SchemaOutdated,
    SchemaTooNew,
)
from retrieval.types import clamped_ns

__all__ = ["Finding", "examine"]

PROBLEMS = 20
"""Damages of a database that are told; there may be thousands, and one mending for all."""


def examine(location: str | os.PathLike[str] | Location | None = None, *, fix: bool = False) -> list[Finding]:
    """All findings about a catalog, mended where `fix` asks for it; an empty list means health."""
    place = Location.parse(location)
    if fix and place.untrusted:
        raise QueryError("What somebody else made is only read. Leave out --fix, or --read-only.")
    try:
        reader = open_reader(place)
    except SchemaOutdated:
        return _outdated(place, fix=fix)
    except (CatalogNotFound, CatalogBusy, SchemaTooNew):
        raise
    except CatalogError as error:
        return _damaged(place, [_damage(str(error.__cause__ or error))], fix=fix)
    with contextlib.closing(reader):
        problems = list(_database(reader))
        # What a damaged file says about anything else cannot be trusted.
        if not problems:
            try:
                found, damage = examine_rows(place, reader)
                found += [*_models(reader), *_files(reader)]
            except CatalogBusy:
                raise
            except CatalogError as error:
                problems = [_damage(str(error.__cause__ or error))]
    if problems:
        return _damaged(place, problems, fix=fix)
    if fix:
        found = mend_rows(place, found, damage)
        if damage.rows:
            return found + [finding for finding in examine(place, fix=True) if finding not in found]
    with contextlib.closing(open_reader(place)) as reader:
        lying, what = examine_caches(place, reader)
    return found + (mend_caches(place, lying, what) if fix else lying)


def _outdated(place: Location, *, fix: bool) -> list[Finding]:
    finding = Finding("schema", "The catalog was made by an older version.", FIX, True)
    with contextlib.closing(SqliteReader(place)) if place.url is None else contextlib.nullcontext() as reader:
        problems = [] if reader is None else list(_database(reader))
    if problems:
        return _damaged(place, problems, fix=fix)
    if not fix:
        return [finding]
    from retrieval.db.queries import Writer

    Writer(place).close()
    return [finding.done(), *examine(place, fix=True)]


def _database(reader: Reader) -> Iterator[Finding]:
    try:
        problems = reader.check()
    except CatalogBusy:
        raise
    except CatalogError as error:
        problems = [str(error.__cause__ or error)]
    yield from map(_damage, problems[:PROBLEMS])


def _damage(problem: str) -> Finding:
    return Finding(
        "database",
        f"The database is damaged: {problem}",
        f"{FIX}, or go back to a backup: search restore",
        True,
    )


def _damaged(place: Location, problems: list[Finding], *, fix: bool) -> list[Finding]:
    """Mend a damaged database: an index is made anew from its table, all else is read into a new file."""
    if not fix or place.url is not None:
        return problems
    if all(_of_index(finding.detail) for finding in problems) and _reindexed(place):
        return [*(finding.done() for finding in problems), *examine(place, fix=True)]
    from retrieval.db.rescue import rescue

    found, kept = rescue(place)
    said = Finding(
        "database",
        f"{'A recovery that was cut short is finished.' if found is None else found.told()} "
        f"The damaged file is kept in {kept}.",
        "search index",
        True,
        mended=True,
    )
    left = examine(place)
    if all(finding.kind != "database" for finding in left):  # else the disk damages what it is given
        left = examine(place, fix=True)
    return [*(finding.done() for finding in problems), said, *left]


def _of_index(detail: str) -> bool:
    return "missing from index" in detail or "entries in index" in detail


def _reindexed(place: Location) -> bool:
    """Whether indexes made anew are all that it took; the file as it was is kept before."""
    from retrieval.db.locking import acquire
    from retrieval.db.queries import Writer
    from retrieval.db.rescue import keep

    lock = acquire(place)
    try:
        keep(place, copies=True)
    finally:
        lock.release()
    try:
        with Writer(place) as writer:
            writer.reindex()
        with contextlib.closing(open_reader(place)) as reader:
            return not list(_database(reader))
    except CatalogBusy:
        raise
    except CatalogError:
        return False


def _models(reader: Reader) -> Iterator[Finding]:
    active = reads.active_encoder(reader)
    if active is None:
        return
    try:
        encoder = registry.load_encoder(active.spec)
    except ModelError as error:
        yield Finding("model", str(error), f"search models pull {active.spec}", False)
        return
    if registry.ENCODERS.get(active.spec.partition(":")[0], "").endswith(":load_open_clip"):
        from retrieval.encoders.exports import find_export, parse_spec, verify_export

        if find_export(parse_spec(active.spec)) is not None:
            for name in verify_export(active.spec):
                yield Finding(
                    "model",
                    f"The export of {active.spec} is damaged: {name}.",
                    f"search models pull {active.spec}",
                    False,
                )
    if encoder.id != active.key:
        yield Finding(
            "model",
            f"'{active.spec}' is now {encoder.id}, but the catalog's vectors are of {active.key}.",
            f"search index --model {active.spec}",
            False,
        )


def _files(reader: Reader) -> Iterator[Finding]:
    """Files that changed or went since the last indexing; an absent root says nothing of its files."""
    for root in reads.roots(reader):
        name = os.fsdecode(root)
        if not os.path.isdir(root):
            yield Finding(
                "files",
                f"{name} is not there now. Its pictures stay in the catalog.",
                f"Plug its disk in, or: search forget {name}",
                False,
            )
            continue
        gone = changed = 0
        for row in reads.files_within(reader, [root]):
            if row.missing:
                continue
            try:
                status = os.stat(row.path)
            except OSError:
                gone += 1
                continue
            changed += (status.st_size, clamped_ns(status.st_mtime_ns)) != (row.size, row.mtime_ns)
        if gone or changed:
            yield Finding(
                "files",
                f"In {name}, {gone} pictures are gone and {changed} have changed since they were indexed.",
                f"search index {name}",
                False,
            )
