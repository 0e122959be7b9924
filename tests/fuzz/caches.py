"""The caches of a catalog, each with a few bytes changed: the right answer, whatever they hold."""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path

from retrieval import Catalog
from tests.fuzz.library import folder, library

SEEDS = (
    b"\0\0\0\4",
    b"\1\0\x20\1\xff",
    b"\2\0\0\xff",
    b"\3\0\x10\0abc",
    b"\0\xff\xfc\2{}",
    b"\x83\0\x10\0abc",
)
WORDS = (b"null", b'"count": ', b'"dim": ', b"\x93NUMPY", b"\xff\xff\xff\xff", b"1e999", b"[]", b"{}")
MOST = 48


def one(data: bytes) -> None:
    """Which file, where in it, how many bytes go, and what comes there instead."""
    if len(data) < 4:
        return
    place = folder() / "cached"
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(_whole(), place)
    files = sorted(path for path in (place / "cache").rglob("*") if path.is_file())
    path = files[data[0] % len(files)]
    before = path.read_bytes()
    at = min(int.from_bytes(data[1:3], "big", signed=True), len(before))
    at = max(0, at + len(before) if at < 0 else at)
    path.write_bytes(before[:at] + data[4:] + before[at + data[3] :])
    # The second half of the first byte opens it for reading only, where no cache can be made anew.
    assert _answer(place, readonly=data[0] >= 128) == _right(), path.name


def _answer(place: Path, *, readonly: bool) -> list[tuple[int, float]]:
    with Catalog(place, readonly=readonly) as opened:
        return [(hit.image_id, round(hit.score, 6)) for hit in opened.search("red", cutoff=False)]


@cache
def _right() -> list[tuple[int, float]]:
    return _answer(_whole(), readonly=True)


@cache
def _whole() -> Path:
    library().refresh()
    library().search("red")
    target = folder() / "whole"
    shutil.copytree(folder() / "catalog", target)
    return target
