"""The signatures of a catalog's pictures, made now where a picture was indexed without one."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from retrieval.config import cores, default_memory
from retrieval.errors import CatalogBusy, CatalogUnwritable, ImageError
from retrieval.images import check_memory, load_image
from retrieval.images.phash import LEAST_SIDE, SIGNATURE_BYTES, signature
from retrieval.types import clamped_ns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from PIL import Image

    from retrieval.db.duplicates import PictureRow
    from retrieval.protocols import Progress
    from retrieval.state import State
    from retrieval.types import Vectors

CLOSE = 0.75
"""Cosine that copies have at least; a copy at a quarter of the size can fall this far."""
TILE = 2048
PORTION = 256


def completed(
    state: State,
    rows: Sequence[PictureRow],
    vectors: Vectors,
    *,
    progress: Progress | None = None,
) -> list[bytes | None]:
    """Every picture's signature; those that lack one and may be a copy of another are looked at now.

    What is made is kept, unless the catalog cannot be written or somebody else is writing to it.
    A file that is away, or no longer what was indexed, stays without.
    """
    stored = [row.signature if len(row.signature or b"") == SIGNATURE_BYTES else None for row in rows]
    missing = np.array([place for place, one in enumerate(stored) if one is None], np.int64)
    if not len(missing):
        return stored
    missing = missing[_have_neighbours(vectors, missing)]
    if progress is not None:
        progress("encode", {"total": len(missing), "done": 0})
    with ThreadPoolExecutor(cores()) as pool:
        for start in range(0, len(missing), PORTION):
            part = missing[start : start + PORTION].tolist()
            made = list(pool.map(lambda place: _look(rows[place]), part))
            for place, one in zip(part, made, strict=True):
                stored[place] = one
            _keep(state, [(rows[place], one) for place, one in zip(part, made, strict=True) if one])
            if progress is not None:
                done = start + len(part)
                progress("advance", {"total": len(missing), "done": done, "failed": made.count(None)})
    return stored


def _keep(state: State, made: Sequence[tuple[PictureRow, bytes]]) -> None:
    if state.readonly or not made:
        return
    from retrieval.db.duplicates_writes import store_signatures

    try:
        with state.writer() as writer:
            store_signatures(writer, [(row.id, row.content_hash, one) for row, one in made])
    except (CatalogBusy, CatalogUnwritable):
        # An indexing run has the lock, or the disk is read-only: the answer is right all the same.
        return


def _have_neighbours(vectors: Vectors, places: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which of the pictures at `places` have any other one that is close by its vector."""
    found = np.zeros(len(places), np.bool_)
    for start in range(0, len(places), TILE):
        own = places[start : start + TILE]
        best = np.full(len(own), -1.0, np.float32)
        for begin in range(0, len(vectors), 4 * TILE):
            scores = vectors[own] @ vectors[begin : begin + 4 * TILE].T
            inside = np.flatnonzero((own >= begin) & (own < begin + 4 * TILE))
            scores[inside, own[inside] - begin] = -1.0
            np.maximum(best, scores.max(1), out=best)
        found[start : start + TILE] = best >= CLOSE
    return found


def _look(row: PictureRow) -> bytes | None:
    image = open_unchanged(row, LEAST_SIDE)
    return None if image is None else signature(image)


def open_unchanged(row: PictureRow, side: int) -> Image.Image | None:
    """The picture at `side` or larger, if the file is still what was indexed."""
    path = Path(os.fsdecode(row.path))
    try:
        status = path.stat()
        if (status.st_size, clamped_ns(status.st_mtime_ns)) != (row.size, row.mtime_ns):
            return None
        return load_image(
            path,
            wanted=lambda width, height: (min(width, side), min(height, side)),
            permit=lambda needed: check_memory(needed, default_memory() // cores()),
        )
    except (OSError, ImageError):
        return None
