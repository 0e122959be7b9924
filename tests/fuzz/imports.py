"""Exports from strangers: all of one comes into a catalog, or a sentence says why nothing did."""

from __future__ import annotations

import hashlib
import json
import shutil
import zlib
from functools import cache
from pathlib import Path

from retrieval import Catalog
from retrieval.errors import RetrievalError
from retrieval.exchange import export_catalog, import_catalog
from retrieval.exchange.importing import Export
from retrieval.exchange.manifest import NAME
from tests.fuzz import told
from tests.fuzz.library import folder, library

SEEDS = (
    b"\0\0\0\0",
    b"\0\0\x10\x08null",
    b"\1\0\0\4",
    b"\2\0\x30\1\x7f",
    b"\3\xff\xf8\4PAR1",
    b"\4\0\x20\2\xff\xff",
)
WORDS = (
    b"PAR1",
    b"\x93NUMPY",
    b"'shape': (9,",
    b"null",
    b'"rows": ',
    b"1e999",
    b"NaN",
    b"\xff\xff\xff\x7f",
    b"../",
)
MOST = 64


def one(data: bytes) -> None:
    """Which file, where in it, how many bytes go, and what comes there instead."""
    if len(data) < 4:
        return
    place, names = folder() / "export", sorted(_exported())
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    name = names[data[0] % len(names)]
    for other, content in _exported().items():
        (place / other).write_bytes(content)
    whole = _exported()[name]
    at = min(int.from_bytes(data[1:3], "big", signed=True), len(whole))
    at = max(0, at + len(whole) if at < 0 else at)
    changed = whole[:at] + data[4:] + whole[at + data[3] :]
    (place / name).write_bytes(changed)
    if name != NAME:
        # Whoever makes a file to do harm makes its checksum too.
        manifest = json.loads(_exported()[NAME])
        manifest["files"][name] |= {"bytes": len(changed), "sha256": hashlib.sha256(changed).hexdigest()}
        (place / NAME).write_text(json.dumps(manifest))
    try:
        with Export.opened(place) as export:
            export.check()
    except RetrievalError as error:
        told(error)
        return
    if zlib.crc32(data) % 4 == 0:
        _import(place)


def _import(place: Path) -> None:
    catalog = folder() / "imported"
    shutil.rmtree(catalog, ignore_errors=True)
    try:
        import_catalog(place, catalog)
    except RetrievalError as error:
        told(error)
        if catalog.exists():
            with Catalog(catalog, create=True) as opened:
                assert opened.status().images == 0, "half of it was imported"
        return
    with Catalog(catalog) as opened:
        assert opened.status().images <= 3
        try:
            opened.search("red")
        except RetrievalError as error:
            told(error)


@cache
def _exported() -> dict[str, bytes]:
    library()
    place = folder() / "exported"
    export_catalog(place, folder() / "catalog")
    return {path.name: path.read_bytes() for path in place.iterdir()}
