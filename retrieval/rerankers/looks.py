"""Looks at pictures, kept on disk: the costly half of reranking is done once a picture.

A look is filed under the reranker's id and the SHA-256 of the picture's file. Each file holds
one float16 array and a checksum over the array, its shape and what it was filed under, so
that a file that is damaged, cut off, or another's never counts. Everything here is a cache: a
look that cannot be read or kept costs time and nothing else.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import struct
import threading
import time
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from retrieval.regular_files import make_way, read_cached

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

FOLDER = "looks"
LIMIT = 2 << 30
"""Bytes that the looks of one catalog may take together."""
ROOM = 0.9
"""Where the limit was passed, the oldest go until this share of it is left."""
RESCAN = 1 / 16
"""After writing this share of the limit the folder is measured again: others write there too."""
LEFTOVER_SECONDS = 3600

MAGIC = b"LOOK2\n"
SUFFIX = ".look"
DIMENSIONS = 4
_HEAD = struct.Struct(f"<{len(MAGIC)}sIB{DIMENSIONS}I")


class LookCache:
    """The looks of one reranker inside a catalog's cache folder.

    `limit` counts the looks of all rerankers there; those used longest ago go first. Several
    threads and processes may share a folder. `hits` and `misses` count what `get` found.
    """

    def __init__(self, cache: Path, reranker_id: str, *, limit: int = LIMIT, readonly: bool = False) -> None:
        self.root = cache / FOLDER
        self.folder = self.root / hashlib.sha256(reranker_id.encode()).hexdigest()[:16]
        self.limit = limit
        self.readonly = readonly
        self.hits = 0
        self.misses = 0
        self._salt = zlib.crc32(self.folder.name.encode())
        self._lock = threading.Lock()
        self._taken = 0
        self._unmeasured: int | None = None
        """Bytes written since the folder was measured; None before the first time."""

    def get(self, content_hash: bytes) -> NDArray[np.float16] | None:
        """The look at a picture with this content, or None; finding one marks it as used."""
        path = self._path(content_hash)
        data = read_cached(path)
        look = None if data is None else _decoded(self._salt, content_hash, data)
        if look is not None and not self.readonly:
            with contextlib.suppress(OSError):  # the mark decides only what goes first
                os.utime(path)
        with self._lock:
            self.hits += look is not None
            self.misses += look is None
        return look

    def put(self, content_hash: bytes, look: NDArray[np.float16]) -> None:
        """Keep a look, in the place of whatever stands there; does nothing in a read-only catalog."""
        if self.readonly or look.ndim > DIMENSIONS:
            return
        data = self._encoded(content_hash, look)
        if len(data) > self.limit * ROOM:
            return
        with contextlib.suppress(OSError):  # a full disk must not fail the query
            self._write(self._path(content_hash), data)
            self._make_room(len(data))

    def _path(self, content_hash: bytes) -> Path:
        name = content_hash.hex()
        return self.folder / name[:2] / f"{name}{SUFFIX}"

    def _encoded(self, content_hash: bytes, look: NDArray[np.float16]) -> bytes:
        body = np.ascontiguousarray(look, "<f2").tobytes()
        shape = look.shape + (0,) * (DIMENSIONS - look.ndim)
        crc = _crc(self._salt, content_hash, look.ndim, shape, body)
        return _HEAD.pack(MAGIC, crc, look.ndim, *shape) + body

    def _write(self, path: Path, data: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{path.stem[:16]}.{secrets.token_hex(4)}.tmp")
        try:
            temporary.write_bytes(data)
            make_way(path)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)

    def _make_room(self, added: int) -> None:
        with self._lock:
            if self._unmeasured is None or self._unmeasured + added > self.limit * RESCAN:
                self._taken, self._unmeasured = self._trim(), 0
                return
            self._unmeasured += added
            self._taken += added
            if self._taken > self.limit:
                self._taken, self._unmeasured = self._trim(), 0

    def _trim(self) -> int:
        """Measure the folder, remove what was used longest ago if it is too much; bytes left."""
        files = list(self._files())
        taken = sum(size for _, size, _ in files)
        if taken <= self.limit:
            return taken
        for _, size, path in sorted(files):
            if taken <= self.limit * ROOM:
                break
            with contextlib.suppress(OSError):  # another process reads it, or removed it first
                path.unlink(missing_ok=True)
                taken -= size
        return taken

    def _files(self) -> Iterator[tuple[int, int, Path]]:
        """Last use, size and path of every look; what a killed process left behind is removed."""
        for folder, _, names in os.walk(self.root):
            for name in names:
                path = Path(folder, name)
                with contextlib.suppress(OSError):  # gone since it was listed
                    stat = path.stat()
                    if name.endswith(".tmp") and time.time() - stat.st_mtime > LEFTOVER_SECONDS:
                        path.unlink(missing_ok=True)
                    elif name.endswith((SUFFIX, ".tmp")):
                        yield stat.st_mtime_ns, stat.st_size, path


def damaged_looks(cache: Path) -> list[Path]:
    """Looks that do not hold what they were filed under, of all rerankers."""
    found = []
    for path in sorted((cache / FOLDER).glob(f"*/*/*{SUFFIX}")):
        data = read_cached(path)
        try:
            filed = bytes.fromhex(path.stem)
        except ValueError:
            continue  # none of ours
        if data is None or _decoded(zlib.crc32(path.parent.parent.name.encode()), filed, data) is None:
            found.append(path)
    return found


def _decoded(salt: int, content_hash: bytes, data: bytes) -> NDArray[np.float16] | None:
    if len(data) < _HEAD.size:
        return None
    magic, crc, ndim, *shape = _HEAD.unpack_from(data)
    body = memoryview(data)[_HEAD.size :]
    if magic != MAGIC or crc != _crc(salt, content_hash, ndim, tuple(shape), body):
        return None
    return np.frombuffer(body, "<f2").astype(np.float16, copy=False).reshape(shape[:ndim])


def _crc(salt: int, key: bytes, ndim: int, shape: tuple[int, ...], body: bytes | memoryview) -> int:
    filed = key + struct.pack(f"<B{DIMENSIONS}I", ndim, *shape)
    return zlib.crc32(body, zlib.crc32(filed, salt))
