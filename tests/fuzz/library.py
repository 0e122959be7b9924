"""A small catalog for harnesses that need one, made once a process."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

from indexer import index_folder
from retrieval import Catalog
from tests.conftest import draw


@cache
def folder() -> Path:
    """A folder of this process, which is gone at its end."""
    found = Path(tempfile.mkdtemp(prefix="search-fuzz-"))
    atexit.register(shutil.rmtree, found, ignore_errors=True)
    return found


@cache
def library() -> Catalog:
    """Three pictures, as the toy encoder sees them."""
    photos = folder() / "photos"
    for name in ("red", "green", "blue"):
        draw(photos / f"{name}.png", name)
    index_folder(folder() / "catalog", photos, model="toy", workers=1)
    opened = Catalog(folder() / "catalog")
    atexit.register(opened.close)
    return opened
