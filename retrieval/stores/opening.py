"""Opening a store that tells the truth: mapped when the cache is fresh, caught up or rebuilt when not."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from retrieval.errors import CacheCorrupt, StoreError
from retrieval.stores import cache
from retrieval.stores.flat import FlatStore
from retrieval.types import checksum

if TYPE_CHECKING:
    from retrieval.stores.faiss import FaissStore

    Store = FlatStore | FaissStore

log = logging.getLogger("retrieval")

KINDS = ("auto", "flat", "faiss")
FAISS_FROM = 200_000
"""Exact search over this many rows of 512 takes some 30 ms; beyond, an index pays."""
TAIL_ROWS = 2000
TAIL_SHARE = 0.02
"""A query that finds more than this missing from a cache writes what it caught up on."""

Rows = Callable[[int], Iterable[tuple[int, bytes, bytes, int]]]
"""Rows newer than a generation: image id, vector, second-stage bytes, checksum."""


@dataclass(frozen=True, slots=True)
class Truth:
    """The state of the rows that a store has to agree with."""

    key: str
    dim: int
    generation: int
    epoch: int
    count: Callable[[], int]
    has: Callable[[int], bool]
    """Whether the rows still hold vectors of a generation: a cache of another history fits none."""
    rows: Rows


@dataclass(frozen=True, slots=True)
class Opened:
    """A store, whether its files were fresh, and the ids of rows that fail their checksum."""

    store: Store
    fresh: bool
    damaged: tuple[int, ...] = ()


def open_store(root: Path, truth: Truth, *, save: bool = False, write: bool = True) -> Opened:
    """A store that agrees with the rows.

    `save` writes whatever had to be caught up on; without `write` no file is touched at all.
    """
    folder = root / cache.folder_name(truth.key)
    manifest = cache.read_manifest(folder)
    found = _load(folder, manifest, truth, write=write) if manifest else None
    if manifest is not None and found is not None and manifest.generation == truth.generation:
        damaged = tuple(manifest.details.get("damaged", ()))
        return Opened(found, fresh=True, damaged=damaged)
    if manifest is not None and found is not None and len(found) and truth.has(manifest.generation):
        base = found if isinstance(found, FlatStore) else found.flat
        rows, damaged = _sound(truth, after=manifest.generation, aux=base.aux_width)
        newer = FlatStore.from_rows(rows, dim=truth.dim)
        flat = base.merged(newer)
        if len(flat) + len(damaged) + len(manifest.details.get("damaged", ())) == truth.count():
            damaged = (*manifest.details.get("damaged", ()), *damaged)
            saves = write and (save or len(newer) > max(TAIL_ROWS, TAIL_SHARE * len(flat)))
            kind = _kind(manifest)
            store = _extended(found, flat, newer, kind, write=saves)
            saved = saves and _save(folder, store, truth, kind, damaged)
            return Opened(store, fresh=saved, damaged=damaged)
    return _rebuilt(folder, truth, kind=_kind(manifest), write=write)


def rebuild_store(root: Path, truth: Truth, *, kind: str | None = None) -> Opened:
    """Make the files anew from the rows; a `kind` that is named is kept from then on."""
    folder = root / cache.folder_name(truth.key)
    opened = _rebuilt(folder, truth, kind=kind or _kind(cache.read_manifest(folder)), write=True)
    if not opened.fresh:
        raise StoreError(
            f"The cache in {folder} could not be written. Check the disk's space and permissions; "
            "until then queries go by the rows."
        )
    return opened


def _load(folder: Path, manifest: cache.Manifest, truth: Truth, *, write: bool) -> Store | None:
    if (
        not cache.agrees(manifest, key=truth.key, dim=truth.dim, epoch=truth.epoch)
        or manifest.generation > truth.generation
    ):
        return None
    try:
        paths = cache.verified(folder, manifest, seal=write)
        flat = FlatStore.mapped(
            paths, count=manifest.count, dim=manifest.dim, aux=int(manifest.details["aux"])
        )
        if manifest.kind == "flat":
            return flat
        from retrieval.stores.faiss import FaissStore

        return FaissStore.mapped(flat, paths, manifest.details)
    except (CacheCorrupt, OSError, ValueError, KeyError, RuntimeError) as error:
        log.info("cache %s is made anew: %s", folder, error)
        return None


def _sound(
    truth: Truth, *, after: int, aux: int | None = None
) -> tuple[list[tuple[int, bytes, bytes]], tuple[int, ...]]:
    """Rows whose checksum holds, and the ids of those whose does not."""
    rows: list[tuple[int, bytes, bytes]] = []
    damaged: list[int] = []
    for image_id, vector, extra, stored in truth.rows(after):
        aux = len(extra) if aux is None else aux
        whole = len(vector) == 2 * truth.dim and len(extra) == aux
        if whole and checksum(vector, extra) == stored:
            rows.append((image_id, vector, extra))
        else:
            damaged.append(image_id)
    if damaged:
        log.warning(
            "The vectors of %d pictures are damaged and left out. Mend them: search doctor --fix",
            len(damaged),
        )
    return rows, tuple(damaged)


def _rebuilt(folder: Path, truth: Truth, *, kind: str, write: bool) -> Opened:
    rows, damaged = _sound(truth, after=0)
    flat = FlatStore.from_rows(rows, dim=truth.dim)
    del rows
    indexed = kind == "faiss" or (kind == "auto" and len(flat) >= FAISS_FROM)
    store = _faiss(flat) if indexed else flat
    saved = write and _save(folder, store, truth, kind, damaged)
    return Opened(store, fresh=saved, damaged=damaged)


def _extended(found: Store, flat: FlatStore, newer: FlatStore, kind: str, *, write: bool) -> Store:
    if isinstance(found, FlatStore):
        return _faiss(flat) if write and kind == "auto" and len(flat) >= FAISS_FROM else flat
    return found.extended(flat, newer.ids) if write else found.beside(flat, newer.ids)


def _faiss(flat: FlatStore) -> Store:
    if not len(flat):
        return flat
    from retrieval.stores.faiss import FaissStore

    return FaissStore.built(flat)


def _kind(manifest: cache.Manifest | None) -> str:
    """A kind that a person chose stays; otherwise size decides."""
    chosen = manifest.details.get("chosen") if manifest else None
    return chosen if chosen in KINDS else "auto"


def _save(folder: Path, store: Store, truth: Truth, kind: str, damaged: tuple[int, ...]) -> bool:
    """Whether the files could be written: a disk that is full costs the next query time, never an answer."""
    try:
        cache.write(
            folder,
            store.parts(),
            encoder_key=truth.key,
            dim=truth.dim,
            kind=store.kind,
            count=len(store),
            generation=truth.generation,
            epoch=truth.epoch,
            details={**store.details, "chosen": kind, "damaged": list(damaged)},
        )
    except OSError as error:
        log.info("cache %s could not be written: %s", folder, error)
        return False
    return True
