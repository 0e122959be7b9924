"""Cache folders on disk: files that are replaced as a set, and a manifest that vouches for them.

Each encoder has a folder of its own inside the catalog's cache. The files of one state
carry its number in their names; the manifest, renamed into place last, says which belong
together. Whoever reads checks the manifest against the rows and the files against the
manifest before any of their bytes are used.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import stat
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from retrieval.errors import CacheCorrupt
from retrieval.regular_files import make_way, read_cached

LAYOUT = 3
MANIFEST = "manifest.json"
SEAL = "seal.json"
BLOCK = 1 << 20
LEFTOVER_SECONDS = 3600
MANIFEST_BYTES = 64 << 20
SETTLED_NS = 2_000_000_000
"""A file younger than that may be written again without its times changing: clocks of file systems tick."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a cache holds, and of which state of the rows."""

    layout: int
    encoder_key: str
    dim: int
    kind: str
    count: int
    generation: int
    epoch: int
    files: dict[str, tuple[str, int, int]]
    """What for -> file name, size in bytes, crc32."""
    details: dict[str, Any]


def folder_name(encoder_key: str) -> str:
    """A file name for an encoder's key; keys may hold slashes and dots."""
    safe = "".join(c if c.isalnum() or c in "-_" else "_" for c in encoder_key)
    return f"{safe[:80]}-{zlib.crc32(encoder_key.encode()):08x}"


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest, or None where there is none that can be understood."""
    data = read_cached(folder / MANIFEST, most=MANIFEST_BYTES)
    if data is None:
        return None
    try:
        raw = json.loads(data)
        if raw.pop("checksum") != _sum(raw):
            return None
        files = {
            str(key): (str(name), int(size), int(crc)) for key, (name, size, crc) in raw.pop("files").items()
        }
        manifest = Manifest(files=files, **raw)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    plain = all(Path(name).name == name for name, _, _ in files.values())
    numbers = (manifest.count, manifest.dim, manifest.generation, manifest.epoch)
    sound = isinstance(manifest.details, dict) and all(isinstance(n, int) and n >= 0 for n in numbers)
    return manifest if manifest.layout == LAYOUT and plain and sound else None


def agrees(manifest: Manifest, *, key: str, dim: int) -> bool:
    """Whether a cache is of these very rows, in whatever state."""
    return manifest.encoder_key == key and manifest.dim == dim


def chosen_kind(folder: Path) -> str | None:
    """The kind of store that a person chose, also where an older version wrote it down."""
    data = read_cached(folder / MANIFEST, most=MANIFEST_BYTES)
    try:
        kind = None if data is None else json.loads(data)["details"]["chosen"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return kind if isinstance(kind, str) else None


def is_fresh(
    root: Path, key: str, dim: int, generation: int, epoch: int, *, thorough: bool = False
) -> tuple[str, bool]:
    """The kind of an encoder's cache, and whether it agrees with the rows; `thorough` reads every byte."""
    manifest = read_manifest(root / folder_name(key))
    if manifest is None:
        return "none", False
    of_now = (manifest.epoch, manifest.generation) == (epoch, generation)
    if not agrees(manifest, key=key, dim=dim) or not of_now:
        return manifest.kind, False
    try:
        verified(root / folder_name(key), manifest, thorough=thorough)
    except CacheCorrupt:
        return manifest.kind, False
    return manifest.kind, True


def recall(root: Path, key: str) -> float | None:
    """The share of the ten best that is found, measured when a cache was made; None where there is none."""
    manifest = read_manifest(root / folder_name(key))
    if manifest is None:
        return None
    found = manifest.details.get("index")
    return float(found["recall"]) if isinstance(found, dict) and "recall" in found else 1.0


def verified(
    folder: Path, manifest: Manifest, *, thorough: bool = False, seal: bool = True
) -> dict[str, Path]:
    """Paths of the manifest's files, every byte of them accounted for.

    A checksum over all bytes is taken when a file is first met and whenever its identity
    (inode, size, both times) differs from the last one taken; the change time cannot be
    set back, so a file that was tampered with is always read again. One that was written in
    these seconds is not noted yet: it could be written again within one tick of the clock.
    """
    known = {} if thorough else _read_seal(folder)
    met: dict[str, list[int]] = {}
    paths: dict[str, Path] = {}
    for purpose, (name, size, crc) in manifest.files.items():
        path = folder / name
        try:
            status = path.stat()
            identity = [status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns, crc]
            whole = stat.S_ISREG(status.st_mode) and status.st_size == size
            if not whole or (known.get(name) != identity and _crc(path) != crc):
                raise CacheCorrupt(f"The cache file {path} is damaged. Make it anew: search rebuild")
        except OSError as error:
            raise CacheCorrupt(
                f"The cache file {path} cannot be read ({error.strerror or error}). "
                "Make it anew: search rebuild"
            ) from error
        if known.get(name) == identity or abs(time.time_ns() - status.st_ctime_ns) > SETTLED_NS:
            met[name] = identity
        paths[purpose] = path
    if seal and met != known:
        with contextlib.suppress(OSError):  # a catalog on read-only media is checked each time
            _replace(folder / SEAL, json.dumps(met).encode())
    return paths


def write(
    folder: Path,
    parts: dict[str, Callable[[Path], None]],
    *,
    encoder_key: str,
    dim: int,
    kind: str,
    count: int,
    generation: int,
    epoch: int,
    details: dict[str, Any],
    kept: Mapping[str, tuple[str, int, int]] | None = None,
) -> Manifest:
    """Write a set of files and make it the current one; the old set goes when the new one stands.

    What is `kept` of the old set, by purpose, belongs to the new one as it is.
    """
    if os.path.lexists(folder) and not folder.is_dir():
        folder.unlink()
    folder.mkdir(parents=True, exist_ok=True)
    before = read_manifest(folder)
    tag = f"{generation}-{secrets.token_hex(4)}"
    files: dict[str, tuple[str, int, int]] = {}
    every = dict(kept or {})
    try:
        for purpose, save in parts.items():
            path = folder / f"{purpose}-{tag}.bin"
            files[purpose] = (path.name, 0, 0)
            save(path)
            _sync(path)
            files[purpose] = (path.name, path.stat().st_size, _crc(path))
    except OSError:
        for name, _, _ in files.values():
            (folder / name).unlink(missing_ok=True)
        raise
    every |= files
    manifest = Manifest(LAYOUT, encoder_key, dim, kind, count, generation, epoch, every, details)
    raw = asdict(manifest)
    _replace(folder / MANIFEST, json.dumps({**raw, "checksum": _sum(raw)}, indent=1).encode())
    _sweep(folder, keep=set(paths_of(manifest)), superseded=set(paths_of(before)) if before else set())
    return manifest


def paths_of(manifest: Manifest) -> list[str]:
    return [name for name, _, _ in manifest.files.values()]


def _sweep(folder: Path, *, keep: set[str], superseded: set[str]) -> None:
    """Remove the old set, and what a killed process left; a set that another is writing stays."""
    for path in folder.iterdir():
        if path.name in keep or path.name in (MANIFEST, SEAL):
            continue
        with contextlib.suppress(OSError):
            if path.name in superseded or time.time() - path.stat().st_mtime > LEFTOVER_SECONDS:
                path.unlink()


def sweep_folders(root: Path, keys: Iterable[str]) -> None:
    """Remove the caches of encoders that are no longer in the catalog."""
    keep = {folder_name(key) for key in keys}
    try:
        folders = list(root.iterdir())
    except OSError:
        return
    for folder in folders:
        if folder.name not in keep and (folder / MANIFEST).is_file():
            shutil.rmtree(folder, ignore_errors=True)


def _read_seal(folder: Path) -> dict[str, list[int]]:
    data = read_cached(folder / SEAL, most=MANIFEST_BYTES)
    try:
        raw = {} if data is None else json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return raw if isinstance(raw, dict) else {}


def _sum(raw: dict[str, Any]) -> int:
    """The checksum of a manifest: what a person or a disk has changed in it is not believed."""
    return zlib.crc32(json.dumps(raw, sort_keys=True).encode())


def _crc(path: Path) -> int:
    crc = 0
    for block in _blocks(path):
        crc = zlib.crc32(block, crc)
    return crc


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            yield block


def _replace(path: Path, data: bytes) -> None:
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        temporary.write_bytes(data)
        _sync(temporary)
        make_way(path)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
