"""A map in a catalog's cache: which picture lies where, and the areas, for one encoder.

It is a cache like those of the vectors and vouched for in the same way; unlike them it may be
older than the rows, since a picture that came later is placed beside those that it is like.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from retrieval.errors import CacheCorrupt
from retrieval.stores import cache

if TYPE_CHECKING:
    from collections.abc import Sequence

    from retrieval.atlas.places import Ids, Points
    from retrieval.stores.opening import Truth

FOLDER = "map"
KIND = "neighbours"
Middles = list[list[tuple[str, float, float]]]
"""Of each level its areas: name, x, y."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A map as it was made; `stamp` tells it from every other."""

    ids: Ids
    places: Points
    areas: Middles
    generation: int
    stamp: str


def read(root: Path, truth: Truth, *, seal: bool) -> Kept | None:
    """The kept map of these very rows; None where there is none, or none that is whole."""
    folder = _folder(root, truth.key)
    manifest = cache.read_manifest(folder)
    if manifest is None or manifest.kind != KIND or not set(manifest.files) >= {"ids", "places", "areas"}:
        return None
    if not cache.agrees(manifest, key=truth.key, dim=truth.dim) or manifest.epoch != truth.epoch:
        return None
    if manifest.generation > truth.generation or not truth.has(manifest.generation):
        return None
    try:
        paths = cache.verified(folder, manifest, seal=seal)
        ids = np.fromfile(paths["ids"], "<i8")
        places = np.fromfile(paths["places"], "<f4").reshape(-1, 2)
        areas = [
            [(str(name), float(x), float(y)) for name, x, y in level]
            for level in json.loads(paths["areas"].read_text("utf-8"))
        ]
    except (CacheCorrupt, OSError, ValueError, TypeError, RecursionError):
        return None
    if not len(ids) == len(places) == manifest.count or not np.isfinite(places).all():
        return None
    return Kept(ids, places, areas, manifest.generation, manifest.files["places"][0])


def write(root: Path, truth: Truth, ids: Ids, places: Points, areas: Middles, *, keep: Sequence[str]) -> None:
    """Keep a map in place of the one before; `keep` names the caches of encoders that are still there."""
    text = json.dumps(areas).encode()
    cache.write(
        _folder(root, truth.key),
        {
            "ids": lambda path: _write(path, ids.astype("<i8").tobytes()),
            "places": lambda path: _write(path, places.astype("<f4").tobytes()),
            "areas": lambda path: _write(path, text),
        },
        encoder_key=truth.key,
        dim=truth.dim,
        kind=KIND,
        count=len(ids),
        generation=truth.generation,
        epoch=truth.epoch,
        details={},
    )
    cache.sweep_folders(root / FOLDER, keep)


def _folder(root: Path, key: str) -> Path:
    return root / FOLDER / cache.folder_name(key)


def _write(path: Path, text: bytes) -> None:
    path.write_bytes(text)
