"""The plain values that cross the borders between parts."""

from __future__ import annotations

import base64
import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, overload

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vectors = NDArray[np.float32]
    """2-D float32, one L2-normalised row an item."""
    Pixels = NDArray[np.uint8]
    """[views, height, width, 3] uint8 RGB: one prepared picture."""


def path_fields(path: str) -> dict[str, str]:
    """The JSON fields that carry a path: a name that is not UTF-8 also gets `path_b64`."""
    raw = os.fsencode(path)
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return {"path": raw.decode("utf-8", "replace"), "path_b64": base64.b64encode(raw).decode("ascii")}
    return {"path": path}


def under(folder: bytes) -> tuple[bytes, bytes]:
    """The half-open range of paths inside `folder`."""
    separator = os.fsencode(os.sep)
    base = folder.rstrip(separator) + separator
    return base, base[:-1] + bytes([base[-1] + 1])


def checksum(vector: bytes, aux: bytes) -> int:
    """What is stored beside a vector, so that a flipped bit is noticed and not searched."""
    return zlib.crc32(aux, zlib.crc32(vector))


@dataclass(frozen=True, slots=True)
class Prepared:
    """One picture on its way to an encoder: pixels at the encoder's own size and geometry.

    `extra` is what the encoder wants to remember of the picture besides (the starter's
    colour fractions); it comes back untouched in `encode_prepared`.
    """

    pixels: Pixels
    extra: bytes = b""


@dataclass(frozen=True, slots=True)
class Encoded:
    """Vectors of a batch, and beside each the bytes that a second stage needs (often none)."""

    vectors: Vectors
    aux: list[bytes] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Hit:
    """One picture that a query found."""

    rank: int
    path: str
    score: float
    match: float
    image_id: int
    taken_at: str | None = None
    taken_source: str | None = None
    """Which field the time came from; `file-mtime` is only the file's own time."""
    width: int | None = None
    height: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """The hit as the command line's JSON shows it."""
        row: dict[str, Any] = {
            "rank": self.rank,
            **path_fields(self.path),
            "score": round(self.score, 6),
            "match": round(self.match, 4),
            "image_id": self.image_id,
        }
        if self.taken_at is not None:
            row["taken_at"] = self.taken_at
            row["taken_source"] = self.taken_source
        return row


@dataclass(frozen=True, slots=True)
class Hits(Sequence[Hit]):
    """What a search found, best first: a sequence of `Hit`, and what was left out.

    `hidden` counts the pictures among the best `limit` whose match fell below the cut-off;
    `closest` holds them, so that an empty answer can still say what came nearest.
    """

    items: tuple[Hit, ...]
    closest: tuple[Hit, ...] = ()
    cutoff: float = 0.0

    @property
    def hidden(self) -> int:
        return len(self.closest)

    def __len__(self) -> int:
        return len(self.items)

    @overload
    def __getitem__(self, index: int) -> Hit: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Hit, ...]: ...
    def __getitem__(self, index: int | slice) -> Hit | tuple[Hit, ...]:
        return self.items[index]


@dataclass(frozen=True, slots=True)
class Failure:
    """A file that could not be indexed, and why; `reason` is a key of `FAILURE_REASONS`."""

    path: str
    reason: str
    detail: str

    def as_dict(self) -> dict[str, Any]:
        return {**path_fields(self.path), "reason": self.reason, "detail": self.detail}


@dataclass(frozen=True, slots=True)
class Status:
    """What a catalog holds, in figures."""

    catalog: str
    images: int
    missing: int
    failures: int
    texts: int
    encoder: str | None
    encoders: tuple[dict[str, Any], ...]
    roots: tuple[dict[str, Any], ...]
    store: str
    cache_fresh: bool
    db_bytes: int

    def as_dict(self) -> dict[str, Any]:
        return {
            "catalog": self.catalog,
            "images": self.images,
            "missing": self.missing,
            "failures": self.failures,
            "texts": self.texts,
            "encoder": self.encoder,
            "encoders": list(self.encoders),
            "roots": list(self.roots),
            "store": self.store,
            "cache_fresh": self.cache_fresh,
            "db_bytes": self.db_bytes,
        }


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a picture file says about itself."""

    format: str = ""
    width: int = 0
    height: int = 0
    taken_at: str | None = None
    """Local time as ISO 8601 without an offset."""
    taken_offset: int | None = None
    """Minutes east of UTC, where the file says so."""
    taken_source: str | None = None
    """Which field the time came from: see `indexer.metadata`."""
    camera_make: str | None = None
    camera_model: str | None = None
    lens: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    altitude: float | None = None
    title: str | None = None
    description: str | None = None
    keywords: tuple[str, ...] = ()
