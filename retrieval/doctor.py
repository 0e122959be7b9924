"""Examining a catalog: rows against themselves, caches against rows, files against rows."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from retrieval import registry
from retrieval.config import Location
from retrieval.db import reads
from retrieval.db.full_text import index_problem
from retrieval.db.reader import Reader, open_reader
from retrieval.errors import (
    CatalogBusy,
    CatalogError,
    CatalogNotFound,
    ModelError,
    SchemaOutdated,
    SchemaTooNew,
    StoreError,
)
from retrieval.stores import cache
from retrieval.types import checksum, clamped_ns


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be, and what mends it.

    `kind` is one of: schema, database, orphans, vectors, texts, words, model-switch, cache,
    files, model.
    `mends` says whether `doctor --fix` takes care of it; otherwise `help` tells what does.
    """

    kind: str
    detail: str
    help: str
    mends: bool
    mended: bool = False

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def examine(location: str | os.PathLike[str] | Location | None = None, *, fix: bool = False) -> list[Finding]:
    """All findings about a catalog, mended where `fix` asks for it; an empty list means health."""
    place = Location.parse(location)
    try:
        reader = open_reader(place)
    except SchemaOutdated:
        finding = Finding("schema", "The catalog was made by an older version.", "search doctor --fix", True)
        if not fix:
            return [finding]
        from retrieval.db.queries import Writer

        Writer(place).close()
        return [_mended(finding), *examine(location, fix=True)]
    except (CatalogNotFound, CatalogBusy, SchemaTooNew):
        raise
    except CatalogError as error:
        return [_damage(str(error.__cause__ or error))]
    with contextlib.closing(reader):
        damage = list(_database(reader))
        if damage:
            # What a damaged file says about anything else cannot be trusted.
            return _reindexed(place, damage) if fix and all(finding.mends for finding in damage) else damage
        damaged = _Damaged(
            _broken_vectors(reader, reads.vectors), _broken_vectors(reader, reads.text_vectors)
        )
        found = [*_orphans(reader), *_vectors(damaged), *_texts(reader), *_words(place, reader)]
        found += [*_switches(reader), *_models(reader)]
        found += _files(reader)
    if fix:
        found = _mend(place, found, damaged)
    with contextlib.closing(open_reader(place)) as reader:
        stale = list(_caches(place, reader))
    return found + (_mend_caches(place, stale) if fix else stale)


def _database(reader: Reader) -> Iterator[Finding]:
    try:
        problems = reader.check()
    except CatalogError as error:
        problems = [str(error.__cause__ or error)]
    yield from map(_damage, problems[:20])


def _damage(problem: str) -> Finding:
    """An index can be made anew from its table; what is damaged in a table is lost."""
    index = "missing from index" in problem or "entries in index" in problem
    return Finding(
        "database",
        f"The database is damaged: {problem}",
        "search doctor --fix"
        if index
        else "Restore catalog.db from a backup, or move it away and index again.",
        index,
    )


def _reindexed(place: Location, damage: list[Finding]) -> list[Finding]:
    from retrieval.db.queries import Writer

    try:
        with Writer(place) as writer:
            writer.reindex()
    except CatalogError:
        return damage
    left = examine(place, fix=True)
    return left if any(finding.kind == "database" for finding in left) else [*map(_mended, damage), *left]


def _orphans(reader: Reader) -> Iterator[Finding]:
    count = reader.rows(
        "SELECT COUNT(*) FROM embeddings e WHERE NOT EXISTS (SELECT 1 FROM images i WHERE i.id = e.image_id) "
        "OR NOT EXISTS (SELECT 1 FROM encoders n WHERE n.id = e.encoder_id)"
    )[0][0]
    if count:
        yield Finding("orphans", f"{count} vectors belong to no picture.", "search doctor --fix", True)


@dataclass(frozen=True, slots=True)
class _Damaged:
    """Pictures, and texts, whose vector cannot be used, by encoder."""

    images: dict[int, list[int]]
    texts: dict[int, list[int]]


def _broken_vectors(
    reader: Reader, read: Callable[[Reader, int], Iterator[tuple[int, bytes, bytes, int, int]]]
) -> dict[int, list[int]]:
    """By encoder, those whose vector has the wrong size, a flipped bit, or is not a number."""
    import numpy as np

    damaged: dict[int, list[int]] = {}
    for info in reads.encoders(reader):
        for owner, vector, aux, stored, _ in read(reader, info.id):
            whole = len(vector) == 2 * info.dim and checksum(vector, aux) == stored
            if not whole or not np.isfinite(np.frombuffer(vector, "<f2")).all():
                damaged.setdefault(info.id, []).append(owner)
    return damaged


def _vectors(damaged: _Damaged) -> Iterator[Finding]:
    for kind, what, owners in (("vectors", "pictures", damaged.images), ("texts", "texts", damaged.texts)):
        count = sum(map(len, owners.values()))
        if count:
            yield Finding(
                kind,
                f"The vectors of {count} {what} are damaged. With --fix they are dropped, "
                "and the next indexing makes them anew.",
                "search doctor --fix, then search index",
                True,
            )


def _texts(reader: Reader) -> Iterator[Finding]:
    active = reads.active_encoder(reader)
    count = reads.texts_waiting(reader, active.id) if active is not None else 0
    if count:
        yield Finding(
            "texts",
            f"Texts that have no vector yet and are found by their words only: {count}.",
            "search doctor --fix, or search index",
            False,
        )


def _words(place: Location, reader: Reader) -> Iterator[Finding]:
    """Pictures whose words were not noted, and an index of words that does not agree with them."""
    missing = reader.rows(
        "SELECT COUNT(*) FROM images i WHERE NOT EXISTS (SELECT 1 FROM image_words w WHERE w.image_id = i.id)"
    )[0][0]
    if missing:
        yield Finding(
            "words", f"The words around {missing} pictures are not noted.", "search doctor --fix", True
        )
    problem = index_problem(place, reader)
    if problem:
        yield Finding(
            "words", f"The index of words does not agree with them ({problem}).", "search doctor --fix", True
        )


def _switches(reader: Reader) -> Iterator[Finding]:
    for info in reads.encoders(reader):
        waiting = reads.count_unembedded(reader, info.id)
        if waiting and not info.active and info.state == "building":
            yield Finding(
                "model-switch",
                f"The switch to {info.spec} is not complete: {waiting} pictures have no vector of it yet.",
                f"search index --model {info.spec}",
                False,
            )
        elif waiting and info.active:
            yield Finding(
                "vectors",
                f"{waiting} pictures have no vector yet and cannot be found.",
                "search index",
                False,
            )


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


def _caches(place: Location, reader: Reader) -> Iterator[Finding]:
    for info in reads.encoders(reader):
        if not info.active:
            continue
        for what, key, generation, epoch in (
            ("vector", info.cache_key, info.generation, info.epoch),
            ("text vector", info.text_cache_key, info.text_generation, info.text_epoch),
        ):
            _, fresh = cache.is_fresh(place.cache, key, info.dim, generation, epoch, thorough=True)
            if not fresh and generation:
                yield Finding(
                    "cache",
                    f"The {what} cache of {info.spec} is missing, behind or damaged; queries go by the rows.",
                    "search rebuild",
                    True,
                )


def _mend(place: Location, found: list[Finding], damaged: _Damaged) -> list[Finding]:
    kinds = {finding.kind for finding in found if finding.mends}
    if kinds:
        from retrieval.db.queries import Writer
        from retrieval.db.texts_writes import drop_text_vectors
        from retrieval.db.words_writes import rebuild_words

        with Writer(place) as writer:
            if "orphans" in kinds:
                writer.drop_orphans()
            if "words" in kinds:
                rebuild_words(writer)
            for encoder_id, image_ids in damaged.images.items():
                writer.drop_vectors(encoder_id, image_ids)
            for encoder_id, text_ids in damaged.texts.items():
                drop_text_vectors(writer, encoder_id, text_ids)
    found = [_mended(finding) if finding.mends else finding for finding in found]
    if any(finding.kind == "texts" and not finding.mended for finding in found) and _embed_texts(place):
        found = [_mended(finding) if finding.kind == "texts" else finding for finding in found]
    return found


def _embed_texts(place: Location) -> bool:
    """Give texts their vectors, where the catalog's model is at hand; returns whether all have them now."""
    from retrieval.db.queries import Writer
    from retrieval.texts import embed_texts

    with contextlib.closing(open_reader(place)) as reader:
        info = reads.active_encoder(reader)
        if info is None:
            return False
        try:
            encoder = registry.load_encoder(info.spec)
            if encoder.id != info.key:
                return False
            with Writer(place) as writer:
                return embed_texts(
                    reader, writer, encoder, info.id, progress=lambda *_: None, stopped=lambda: False
                )
        except ModelError:
            # `_models` has told what is wrong with it; the finding stays, with what helps.
            return False


def _mend_caches(place: Location, stale: list[Finding]) -> list[Finding]:
    if not stale:
        return []
    from retrieval.catalog import Catalog

    try:
        with Catalog(place) as catalog:
            catalog.rebuild()
    except StoreError as error:
        return [Finding("cache", str(error), finding.help, mends=True) for finding in stale]
    return [_mended(finding) for finding in stale]


def _mended(finding: Finding) -> Finding:
    return Finding(finding.kind, finding.detail, finding.help, finding.mends, mended=True)
