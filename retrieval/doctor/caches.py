"""Examining the caches of a catalog against its rows, and mending them.

All of them come back by themselves. What is found here costs time until then, or room.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from retrieval.config import Location
from retrieval.db import reads
from retrieval.db.pictures import contents
from retrieval.db.reader import Reader
from retrieval.doctor.findings import Finding
from retrieval.errors import CacheCorrupt, StoreError
from retrieval.stores import cache

FIX = "search doctor --fix"


@dataclass(slots=True)
class Lying:
    """What mending takes away or makes anew."""

    vectors: bool = False
    files: list[Path] = field(default_factory=list)
    """Files, or folders of them, that are removed."""


def examine_caches(place: Location, reader: Reader) -> tuple[list[Finding], Lying]:
    lying = Lying()
    if os.path.lexists(place.cache) and not place.cache.is_dir():
        return [
            Finding(
                "cache",
                f"{place.cache} is no folder, so that nothing is kept there and every command takes longer.",
                f"Move it away: mv {place.cache} {place.cache}.aside",
                False,
            )
        ], lying
    found = [*_vectors(place, reader, lying), *_maps(place, lying), *_small(place, lying)]
    found += _thumbnails(place, reader, lying)
    return found, lying


def mend_caches(place: Location, found: list[Finding], lying: Lying) -> list[Finding]:
    if not found:
        return []
    problem = None
    for path in lying.files:
        try:
            remove(path)
        except OSError as error:
            problem = f"{path} cannot be removed: {error.strerror or error}."
    if lying.vectors and problem is None:
        from retrieval.catalog import Catalog

        try:
            with Catalog(place) as catalog:
                catalog.rebuild()
        except StoreError as error:
            problem = str(error)
    if problem is not None:
        return [Finding("cache", problem, found[0].help, mends=True)]
    return [finding.done() if finding.mends else finding for finding in found]


def remove(path: Path) -> None:
    """Remove whatever stands there, but nothing that a link points to."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _vectors(place: Location, reader: Reader, lying: Lying) -> Iterator[Finding]:
    for info in reads.encoders(reader):
        for what, key, generation, epoch in (
            ("vector", info.cache_key, info.generation, info.epoch),
            ("text vector", info.text_cache_key, info.text_generation, info.text_epoch),
        ):
            if info.active:
                _, fresh = cache.is_fresh(place.cache, key, info.dim, generation, epoch, thorough=True)
                wrong = not fresh and bool(generation)
            else:
                # Of a model that is not in use there need not be any, but what there is has to be whole.
                wrong = not _whole(place.cache / cache.folder_name(key))
            if wrong:
                lying.vectors = True
                yield Finding(
                    "cache",
                    f"The {what} cache of {info.spec} is missing, behind or damaged; queries go by the rows.",
                    "search rebuild",
                    True,
                )


def _whole(folder: Path) -> bool:
    if not os.path.lexists(folder):
        return True
    manifest = cache.read_manifest(folder)
    with contextlib.suppress(CacheCorrupt):
        return manifest is not None and bool(cache.verified(folder, manifest, thorough=True, seal=False))
    return False


def _maps(place: Location, lying: Lying) -> Iterator[Finding]:
    from retrieval.atlas.kept import FOLDER

    for folder in _within(place.cache / FOLDER):
        if not _whole(folder):
            lying.files.append(folder)
            yield Finding(
                "cache",
                "The map is damaged, so that another is drawn each time. With --fix it is removed; "
                "make it anew on the map's page.",
                FIX,
                True,
            )


def _small(place: Location, lying: Lying) -> Iterator[Finding]:
    """What is kept a file each: it is passed over where it is damaged, and made again when it is used."""
    from retrieval.rerankers.looks import damaged_looks
    from retrieval.thumbnails import damaged_thumbnails
    from retrieval.vocabulary.look import damaged_vectors

    for what, paths in (
        ("looks of rerankers", damaged_looks(place.cache)),
        ("small pictures", damaged_thumbnails(place.cache)),
        ("vectors of vocabularies", damaged_vectors(place.cache)),
    ):
        if paths:
            lying.files += paths
            yield Finding("cache", f"Kept {what} that are damaged: {len(paths)}.", FIX, True)


def _thumbnails(place: Location, reader: Reader, lying: Lying) -> Iterator[Finding]:
    from retrieval.thumbnails import stray_thumbnails

    stray = [path for path in stray_thumbnails(place.cache, contents(reader)) if path not in lying.files]
    if stray:
        lying.files += stray
        yield Finding(
            "thumbnails", f"Small pictures of what is not in the catalog any more: {len(stray)}.", FIX, True
        )


def _within(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []
