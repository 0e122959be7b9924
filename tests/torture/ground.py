"""Where a fault is put in: pictures, catalogs of undisturbed runs, and what a disturbed one lacks."""

from __future__ import annotations

import math
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from indexer import IndexReport, index_folder
from retrieval import Catalog
from tests.conftest import draw
from tests.torture.outcomes import Outcome

COLOURS = ("red", "green", "blue", "yellow", "white")
QUERIES = ("red", "green", "blue")
NEAR = 1e-5
"""Scores that differ by less are equal: sums of floats depend on where a vector stands."""


@dataclass(frozen=True, slots=True)
class Picture:
    """All that a catalog holds of a picture, but ids and the times when it was written."""

    path: bytes
    content_hash: bytes
    hidden: bool
    rest: tuple[Any, ...]
    vectors: tuple[tuple[str, bytes, bytes], ...]


class Ground:
    """A folder to work in; whoever gets it has it alone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def place(self, name: str) -> Path:
        """A place that is empty."""
        place = self.folder / name
        if place.is_dir():
            shutil.rmtree(place)
        place.parent.mkdir(parents=True, exist_ok=True)
        return place

    def photos(self, count: int, name: str = "photos", *, size: tuple[int, int] = (64, 48)) -> Path:
        """A folder of drawn pictures in folders, no two the same, with one copy and one that is broken."""
        folder = self.place(name)
        for number in range(count - 1):
            colour = COLOURS[number % len(COLOURS)]
            draw(folder / f"{number % 7}" / f"{number:04}.png", colour, mark=number, size=size)
        copy = folder / "copies" / "IMG_20210101_120000.png"
        copy.parent.mkdir()
        shutil.copyfile(folder / "0" / "0000.png", copy)
        (folder / "1" / "broken.jpg").write_bytes(b"no picture")
        return folder

    def index(self, catalog: Path, *photos: Path, **options: Any) -> IndexReport:
        return index_folder(catalog, photos, **{"model": "toy", "workers": 1, **options})

    def calm(self, photos: Path, name: str = "calm") -> Path:
        """The catalog of an undisturbed run."""
        catalog = self.place(name)
        self.index(catalog, photos)
        return catalog


def pictures(catalog: Path) -> list[Picture]:
    """What a catalog holds, in the order of the paths; a path twice stands there twice."""
    with Catalog(catalog) as opened, opened.state.snapshot() as reader:
        vectors: dict[int, list[tuple[str, bytes, bytes]]] = {}
        for image_id, key, vector, aux in reader.rows(
            "SELECT e.image_id, n.key, e.vector, e.aux FROM embeddings e "
            "JOIN encoders n ON n.id = e.encoder_id ORDER BY e.image_id, n.key"
        ):
            vectors.setdefault(image_id, []).append((key, bytes(vector), bytes(aux)))
        return [
            Picture(
                bytes(path), bytes(content), hidden is not None, tuple(rest), tuple(vectors.get(image_id, ()))
            )
            for image_id, path, content, hidden, *rest in reader.rows(
                "SELECT i.id, i.path, i.content_hash, i.missing_at, i.size, i.mtime_ns, i.format, i.width, "
                "i.height, i.taken_at, i.taken_offset, i.taken_source, i.camera_model, i.description, "
                "i.keywords, w.name, w.described, w.told, w.seen FROM images i "
                "LEFT JOIN image_words w ON w.image_id = i.id ORDER BY i.path"
            )
        ]


def top_ten(catalog: Path) -> dict[str, dict[str, float]]:
    """The ten best of a few queries, with their scores."""
    with Catalog(catalog) as opened:
        return {
            query: {str(hit.path): hit.score for hit in opened.search(query, limit=10, cutoff=False)}
            for query in QUERIES
        }


def same_answers(found: dict[str, float], wanted: dict[str, float]) -> bool:
    """Whether these are the same pictures with the same scores; of equal scores any may be the tenth."""
    pairs = zip(sorted(found.values()), sorted(wanted.values()), strict=False)
    if len(found) != len(wanted) or any(abs(one - other) > NEAR for one, other in pairs):
        return False
    last = min(wanted.values(), default=0.0)
    return all(
        abs(found.get(path, math.inf) - score) <= NEAR
        for path, score in wanted.items()
        if score > last + NEAR
    )


def compare(outcome: Outcome, catalog: Path, calm: Path, *, when: str, top: bool = True) -> None:
    """Count what a catalog lacks against that of an undisturbed run, or has twice or in part."""
    found, wanted = pictures(catalog), pictures(calm)
    have = {picture.path: picture for picture in found}
    outcome.doubled += len(found) - len(have)
    for picture in wanted:
        mine = have.pop(picture.path, None)
        if mine is None:
            outcome.lost += 1
        elif mine != picture:
            outcome.half += 1
    if have:
        outcome.wrong.append(f"{when}: {len(have)} pictures that the undisturbed run does not have")
    if not top:
        return
    right = top_ten(calm)
    if not all(same_answers(hits, right[query]) for query, hits in top_ten(catalog).items()):
        outcome.wrong.append(f"{when}: other top ten than the undisturbed run")
