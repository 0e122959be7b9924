"""Opening a store that tells the truth: mapped when the cache is fresh, caught up or rebuilt when not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from retrieval.errors import CacheCorrupt, StoreError
from retrieval.journal import Log
from retrieval.stores import cache
from retrieval.stores.flat import FlatStore
from retrieval.stores.rows import PARTS, Row, Rows, mapped, mapped_block, read_rows, rewritten
from retrieval.types import checksum

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from retrieval.stores.faiss import FaissStore
    from retrieval.stores.rows import Entry

    Store = FlatStore | FaissStore

log = Log(__name__)

KINDS = ("auto", "flat", "faiss")
EXACT_NUMBERS = 25_000_000
"""Vectors of so many numbers in all are searched exactly, in some 8 ms: 65,000 of the starter's 384,
48,000 of 512. Beyond, an index pays, also for a single query that has to load it."""
TAIL_ROWS = 2000
TAIL_SHARE = 0.02
"""A query that finds more than this missing from a cache writes what it caught up on."""
FRESH_ROWS = 2000
FRESH_SHARE = 0.005
"""An index is extended when more than this of the rows are scored beside it."""
MOST_BLOCKS = 8
WASTE = 0.1
"""Blocks are written anew as one when there are more, or when more than this of their rows is gone."""
IN_MEMORY = 64 << 20
"""Rows of so many bytes are held in memory while they are read; more of them go through a file."""

_UNFIT = (CacheCorrupt, OSError, ValueError, LookupError, TypeError, ArithmeticError, RuntimeError)
"""What reading files may raise that are not what their manifest says."""

Newer = Callable[[int], Iterable[tuple[int, bytes, bytes, int, int]]]
"""Rows newer than a generation: image id, vector, second-stage bytes, checksum, generation."""


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
    stamps: Callable[[], tuple[NDArray[np.int64], NDArray[np.int64]]]
    """Ids and generations of all rows, in order of the ids: asked for only when rows were taken away."""
    rows: Newer


@dataclass(frozen=True, slots=True)
class Opened:
    """A store, whether its files were fresh, and the ids of rows that fail their checksum."""

    store: Store
    fresh: bool
    damaged: tuple[int, ...] = ()
    unsaved: OSError | None = None
    """Why its files could not be written, where they were to be."""


def open_store(root: Path, truth: Truth, *, save: bool = False, write: bool = True) -> Opened:
    """A store that agrees with the rows.

    `save` writes whatever had to be caught up on; without `write` no file is touched at all.
    """
    folder = root / cache.folder_name(truth.key)
    manifest = cache.read_manifest(folder)
    kind = _kind(folder)
    found = _load(folder, manifest, truth, write=write) if manifest else None
    if manifest is None or found is None:
        return _rebuilt(folder, truth, kind=kind, write=write)
    damaged = tuple(manifest.details.get("damaged", ()))
    if (manifest.epoch, manifest.generation) == (truth.epoch, truth.generation):
        return Opened(found, fresh=True, damaged=damaged)
    if len(found):
        caught = _caught_up(folder, found, manifest, truth, write=write)
        if caught is not None:
            store, damaged, missed = caught
            saves = write and (save or missed > max(TAIL_ROWS, TAIL_SHARE * len(store)))
            if saves:
                try:
                    store = _tidied(folder, store, kind, train=save)
                except OSError as error:  # rows that are put in order go through a file
                    log.warning("cache could not be written", cache=folder.name, error=error)
                    return Opened(store, fresh=False, damaged=damaged, unsaved=error)
            unsaved = _save(folder, store, truth, kind, damaged) if saves else None
            return Opened(store, fresh=saves and unsaved is None, damaged=damaged, unsaved=unsaved)
    return _rebuilt(folder, truth, kind=kind, write=write)


def rebuild_store(root: Path, truth: Truth, *, kind: str | None = None) -> Opened:
    """Make the files anew from the rows; a `kind` that is named is kept from then on."""
    folder = root / cache.folder_name(truth.key)
    opened = _rebuilt(folder, truth, kind=kind or _kind(folder), write=True)
    if not opened.fresh:
        why = opened.unsaved.strerror or opened.unsaved if opened.unsaved else "it could not be kept"
        raise StoreError(
            f"The cache in {folder} cannot be written: {why}. Check the disk's space and permissions; "
            "until then queries go by the rows."
        ) from opened.unsaved
    return opened


def _load(folder: Path, manifest: cache.Manifest, truth: Truth, *, write: bool) -> Store | None:
    if not cache.agrees(manifest, key=truth.key, dim=truth.dim) or manifest.generation > truth.generation:
        return None
    try:
        paths = cache.verified(folder, manifest, seal=write)
        flat = _mapped(paths, manifest)
        if manifest.kind == "flat":
            return flat
        from retrieval.stores.faiss import FaissStore

        return FaissStore.opened(flat, paths, manifest.files["index"], manifest.details["index"])
    except _UNFIT as error:
        log.warning("cache is made anew", cache=folder.name, error=error)
        return None


def _mapped(paths: dict[str, Path], manifest: cache.Manifest) -> FlatStore:
    """The rows of a cache, none of which is read until it is used."""
    details, blocks = manifest.details, []
    for number, (count, half) in enumerate(details["blocks"]):
        names = [(part, f"{part}-{number}") for part in PARTS]
        blocks.append(
            mapped_block(
                {part: paths[name] for part, name in names if name in paths},
                {part: manifest.files[name] for part, name in names if name in paths},
                count=int(count),
                dim=manifest.dim,
                aux=int(details["aux"]),
                half=bool(half),
            )
        )
    order = mapped(paths["order"], np.int64, (manifest.count,)) if "order" in paths else None
    rows = Rows(tuple(blocks), order)
    if len(rows) != manifest.count or (order is not None and len(order) and int(order.max()) >= rows.stored):
        raise CacheCorrupt("The cache's rows do not fit together.")
    ids, generations = (mapped(paths[name], np.int64, (manifest.count,)) for name in ("ids", "generations"))
    return FlatStore(ids, rows, generations)


def _caught_up(
    folder: Path, found: Store, manifest: cache.Manifest, truth: Truth, *, write: bool
) -> tuple[Store, tuple[int, ...], int] | None:
    """A store with what came and went since it was written, the damaged rows, and how many it had missed.

    None when that does not give as many rows as there are: then only the rows themselves tell.
    """
    base = found if isinstance(found, FlatStore) else found.flat
    lost: list[int] = list(manifest.details.get("damaged", ()))
    gone = np.zeros(len(base), np.bool_)
    if manifest.epoch == truth.epoch:
        if not truth.has(manifest.generation):
            return None
    else:
        ids, generations = truth.stamps()
        lost = np.intersect1d(lost, ids).tolist()
        old = (generations <= manifest.generation) & ~np.isin(ids, lost)
        if not base.held(ids[old]).all():
            return None
        if (base.generations[base.positions(ids[old])] != generations[old]).any():
            return None
        gone = ~np.isin(base.ids, ids)
    half, aux = base.rows.blocks[0].half, base.rows.aux_width
    newer, damaged = _read(folder, truth, after=manifest.generation, half=half, aux=aux, write=write)
    # A row that was renewed with a damaged one is not what it was any more.
    gone |= np.isin(base.ids, np.array(damaged, np.int64))
    flat = base.without(gone).merged(newer)
    damaged = tuple(sorted({*lost, *damaged} - set(newer.ids.tolist()))) if lost else damaged
    if len(flat) + len(damaged) != truth.count():
        return None
    missed = len(newer) + int(np.count_nonzero(gone))
    return flat if isinstance(found, FlatStore) else found.beside(flat, newer.ids), damaged, missed


def _tidied(folder: Path, store: Store, kind: str, *, train: bool) -> Store:
    """A store fit to be written: of few blocks, with an index where one is due and none that lags.

    Only with `train` is one trained: who merely asks something does not wait for that.
    """
    flat = store if isinstance(store, FlatStore) else store.flat
    indexed = train and isinstance(store, FlatStore) and _wants_index(kind, len(flat), flat.dim)
    rows = flat.rows
    scattered = len(rows.blocks) > MOST_BLOCKS or rows.stored > (1 + WASTE) * len(rows)
    if len(flat) and (scattered or (indexed and not rows.blocks[0].half)):
        half = indexed or rows.blocks[0].half
        size = len(rows) * (4 * rows.dim + rows.aux_width)
        rows = rewritten(rows, half=half, folder=folder if size > IN_MEMORY else None)
        flat = FlatStore(flat.ids, rows, flat.generations)
    if isinstance(store, FlatStore):
        return _faiss(flat) if indexed else flat
    store = store.over(flat)
    lagging = len(store.fresh) > max(FRESH_ROWS, FRESH_SHARE * len(flat))
    return store.extended(train=train) if lagging or store.wasteful else store


def _read(
    folder: Path, truth: Truth, *, after: int, half: bool, write: bool, aux: int | None = None
) -> tuple[FlatStore, tuple[int, ...]]:
    """The rows newer than a generation whose checksum holds, and the ids of those whose does not."""
    damaged: list[int] = []

    def sound() -> Iterator[Row]:
        width = aux
        damaged.clear()
        for image_id, vector, extra, stored, generation in truth.rows(after):
            width = len(extra) if width is None else width
            whole = len(vector) == 2 * truth.dim and len(extra) == width
            if whole and checksum(vector, extra) == stored:
                yield Row(image_id, vector, extra, generation)
            else:
                damaged.append(image_id)

    large = write and not after and truth.count() * 4 * truth.dim > IN_MEMORY
    try:
        if large:
            folder.mkdir(parents=True, exist_ok=True)
        place = folder if large else None
        ids, generations, rows = read_rows(sound(), dim=truth.dim, aux=aux, half=half, folder=place)
    except OSError as error:
        if not large:
            raise
        log.info("rows are read into memory, the disk cannot take them", error=error)
        ids, generations, rows = read_rows(sound(), dim=truth.dim, aux=aux, half=half, folder=None)
    if damaged:
        log.warning("damaged vectors are left out", pictures=len(damaged))
    return FlatStore(ids, rows, generations), tuple(damaged)


def _rebuilt(folder: Path, truth: Truth, *, kind: str, write: bool) -> Opened:
    indexed = _wants_index(kind, truth.count(), truth.dim)
    flat, damaged = _read(folder, truth, after=0, half=indexed, write=write)
    # An index that cannot be kept would cost every query more than it saves.
    store = _faiss(flat) if indexed and write else flat
    unsaved = _save(folder, store, truth, kind, damaged) if write else None
    return Opened(store, fresh=write and unsaved is None, damaged=damaged, unsaved=unsaved)


def _wants_index(kind: str, count: int, dim: int) -> bool:
    return kind == "faiss" or (kind == "auto" and count * dim > EXACT_NUMBERS)


def _faiss(flat: FlatStore) -> Store:
    if not len(flat):
        return flat
    from retrieval.stores.faiss import FaissStore

    return FaissStore.built(flat)


def _kind(folder: Path) -> str:
    """A kind that a person chose stays; otherwise size decides."""
    chosen = cache.chosen_kind(folder)
    return chosen if chosen in KINDS else "auto"


def _save(folder: Path, store: Store, truth: Truth, kind: str, damaged: tuple[int, ...]) -> OSError | None:
    """Why the files could not be written: a disk that is full costs the next query time, never an answer."""
    flat = store if isinstance(store, FlatStore) else store.flat
    parts: dict[str, Callable[[Path], None]] = {
        "ids": partial(_write, flat.ids),
        "generations": partial(_write, flat.generations),
    }
    kept: dict[str, Entry] = {}
    if flat.rows.order is not None:
        parts["order"] = partial(_write, flat.rows.order)
    for number, block in enumerate(flat.rows.blocks):
        if block.files:
            kept |= {f"{part}-{number}": entry for part, entry in block.files.items()}
        else:
            parts |= {f"{part}-{number}": partial(_write, rows) for part, rows in block.parts().items()}
    details: dict[str, Any] = {
        "aux": flat.rows.aux_width,
        "blocks": [(len(block), block.half) for block in flat.rows.blocks],
        "chosen": kind,
        "damaged": list(damaged),
    }
    if not isinstance(store, FlatStore):
        parts |= store.parts()
        kept |= store.kept
        details["index"] = store.figures
    try:
        cache.write(
            folder,
            parts,
            kept=kept,
            encoder_key=truth.key,
            dim=truth.dim,
            kind=store.kind,
            count=len(store),
            generation=truth.generation,
            epoch=truth.epoch,
            details=details,
        )
    except OSError as error:
        log.warning("cache could not be written", cache=folder.name, error=error)
        return error
    return None


def _write(rows: NDArray[Any], path: Path) -> None:
    with path.open("wb") as file:  # unlike `tofile`, it says why it fails
        file.write(np.ascontiguousarray(rows).data)
