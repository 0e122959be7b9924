"""The plain values that cross the borders between parts."""

from __future__ import annotations

import base64
import os
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, SupportsIndex, overload

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vectors = NDArray[np.float32]
    """2-D float32, one L2-normalised row an item."""
    Pixels = NDArray[np.uint8]
    """[views, height, width, 3] uint8 RGB: one prepared picture."""

Unit = Literal["year", "month", "day"]


def path_fields(path: str | os.PathLike[str]) -> dict[str, str]:
    """The JSON fields that carry a path: a name that is not UTF-8 also gets `path_b64`."""
    raw = os.fsencode(path)
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return {"path": raw.decode("utf-8", "replace"), "path_b64": base64.b64encode(raw).decode("ascii")}
    return {"path": os.fspath(path)}


def under(folder: bytes) -> tuple[bytes, bytes]:
    """The half-open range of paths inside `folder`."""
    separator = os.fsencode(os.sep)
    base = folder.rstrip(separator) + separator
    return base, base[:-1] + bytes([base[-1] + 1])


MAX_NS = 2**63 - 1


def clamped_ns(ns: int) -> int:
    """A file's time in nanoseconds, brought within the 64 bits that a database keeps.

    File systems can say times before 1677 and after 2262, which do not fit. A time at
    either end stands for "outside", and is no time a picture can have been taken at.
    """
    return max(-MAX_NS, min(ns, MAX_NS))


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

    image_id: int
    path: Path
    score: float
    """The raw cosine, or what an encoder has in its place."""
    match: float
    """How likely it is relevant, 0..1, calibrated for the encoder and the catalog."""
    rank: int
    taken_at: str | None = None
    taken_source: str | None = None
    """Which field the time came from; `file-mtime` is only the file's own time."""
    width: int | None = None
    height: int | None = None
    rerank_score: float | None = None
    """What a reranker gave it, where one was asked and got to it."""
    signals: Mapping[str, float] = field(default_factory=dict)
    """What spoke for it, 0..1 each: `picture`, `name`, `told`, `caption` …, or the terms of a sum."""

    def as_dict(self, *, explain: bool = False) -> dict[str, Any]:
        """The hit as the command line's JSON shows it; `explain` adds what spoke for it."""
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
        if self.rerank_score is not None:
            row["rerank_score"] = round(self.rerank_score, 6)
        if explain:
            row["explain"] = {name: round(value, 4) for name, value in self.signals.items()}
        return row


class Hits(list[Hit]):
    """What a search found, best first: a list of `Hit`, and what the cut-off left out.

    `closest` holds those of the best `limit` whose match is below `cutoff`, so that an
    empty answer can still say what came nearest. `notes` are sentences about how the
    answer came about that a person should know.
    """

    def __init__(
        self,
        items: Iterable[Hit] = (),
        *,
        closest: Iterable[Hit] = (),
        cutoff: float = 0.0,
        notes: Iterable[str] = (),
        html: Callable[[Hits], str] | None = None,
    ) -> None:
        super().__init__(items)
        self.closest = tuple(closest)
        self.cutoff = cutoff
        self.notes = tuple(notes)
        self._html = html

    @overload
    def __getitem__(self, place: SupportsIndex) -> Hit: ...
    @overload
    def __getitem__(self, place: slice) -> Hits: ...
    def __getitem__(self, place: SupportsIndex | slice) -> Hit | Hits:
        if isinstance(place, slice):
            return Hits(super().__getitem__(place), cutoff=self.cutoff, notes=self.notes, html=self._html)
        return super().__getitem__(place)

    def _repr_html_(self) -> str | None:
        return None if self._html is None else self._html(self)


@dataclass(frozen=True, slots=True)
class Span:
    """A year (`2019`), month (`2019-05`) or day (`2019-05-12`), and how many pictures are from it."""

    span: str
    images: int
    by_file: int = 0
    """Of these, the ones whose file alone tells a time, which may be that of a copy."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """Pictures over time, the oldest first; spans without any are left out."""

    by: Unit
    spans: tuple[Span, ...]
    undated: int

    def as_dict(self) -> dict[str, Any]:
        spans = [{"span": one.span, "images": one.images, "by_file": one.by_file} for one in self.spans]
        return {"by": self.by, "spans": spans, "undated": self.undated}


@dataclass(frozen=True, slots=True)
class TextHit:
    """One text that fits a picture."""

    text_id: int
    text: str
    score: float
    match: float
    rank: int
    source: str
    image_id: int | None = None
    """The picture it is tied to, if any."""

    def as_dict(self) -> dict[str, Any]:
        row: dict[str, Any] = {
            "rank": self.rank,
            "text": self.text,
            "score": round(self.score, 6),
            "match": round(self.match, 4),
            "text_id": self.text_id,
        }
        return row if self.image_id is None else {**row, "image_id": self.image_id}


class TextHits(list[TextHit]):
    """The texts that fit a picture, best first; `closest` are those below the `cutoff`.

    `notes` are sentences about how the answer came about that a person should know.
    """

    def __init__(
        self,
        items: Iterable[TextHit] = (),
        *,
        closest: Iterable[TextHit] = (),
        cutoff: float = 0.0,
        notes: Iterable[str] = (),
    ) -> None:
        super().__init__(items)
        self.closest = tuple(closest)
        self.cutoff = cutoff
        self.notes = tuple(notes)


@dataclass(frozen=True, slots=True)
class Failure:
    """A file that could not be indexed, and why; `reason` is a key of `FAILURE_REASONS`."""

    path: Path
    reason: str
    detail: str

    def as_dict(self) -> dict[str, Any]:
        return {**path_fields(self.path), "reason": self.reason, "detail": self.detail}


@dataclass(frozen=True, slots=True)
class Tag:
    """A word for what is in a picture, and how sure that is, 0..1."""

    tag: str
    confidence: float


@dataclass(frozen=True, slots=True)
class Description:
    """A picture in words, and who said so."""

    path: Path | None
    """None for a picture that came without a file."""
    caption: str
    tags: tuple[Tag, ...]
    captioner: str
    """The name of the captioner, with its model."""
    image_id: int | None = None
    note: str = ""
    """What a person should know about whoever speaks, in a sentence."""
    seen: bool = True
    """Whether it looked at the picture."""

    def as_dict(self) -> dict[str, Any]:
        row: dict[str, Any] = {
            **({} if self.path is None else path_fields(self.path)),
            "caption": self.caption,
            "tags": [{"tag": tag.tag, "confidence": round(tag.confidence, 4)} for tag in self.tags],
            "captioner": self.captioner,
        }
        if self.image_id is not None:
            row["image_id"] = self.image_id
        if not self.seen:
            row["seen"] = False
        return {**row, "note": self.note} if self.note else row


@dataclass(frozen=True, slots=True)
class Citation:
    """The picture that an answer's `[n]` stands for."""

    n: int
    path: Path
    image_id: int
    support: float | None = None
    """How well the sentences that cite it agree with it, 0..1; None where nothing compared them."""
    sentence: str = ""
    """What is said of it, without the marks."""
    match: float | None = None
    """How likely it is what was searched for, 0..1."""
    taken_at: str | None = None
    """When it was taken, where more is known than the time of its file."""

    def as_dict(self) -> dict[str, Any]:
        row: dict[str, Any] = {"n": self.n, **path_fields(self.path), "image_id": self.image_id}
        if self.match is not None:
            row["match"] = round(self.match, 4)
        if self.taken_at is not None:
            row["taken_at"] = self.taken_at
        if self.sentence:
            row["sentence"] = self.sentence
        return row if self.support is None else {**row, "support": round(self.support, 4)}


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that was done on the way to an answer."""

    name: str
    """`plan`, `search`, `look`, `draft`, `check` or `answer`."""
    text: str
    """What was done and what came of it, in a sentence."""
    seconds: float = 0.0
    data: Mapping[str, Any] = field(default_factory=dict)
    """The particulars, fit for JSON."""

    def as_dict(self) -> dict[str, Any]:
        row = {"step": self.name, "text": self.text, "seconds": round(self.seconds, 3)}
        return {**row, "data": dict(self.data)} if self.data else row


@dataclass(frozen=True, slots=True)
class Cost:
    """What an answer took."""

    seconds: float = 0.0
    pictures: int = 0
    """Pictures that were looked at."""
    calls: int = 0
    """Times that a model was asked."""
    prompt_tokens: int = 0
    tokens: int = 0

    def as_dict(self) -> dict[str, Any]:
        return {
            "seconds": round(self.seconds, 3),
            "pictures": self.pictures,
            "calls": self.calls,
            "prompt_tokens": self.prompt_tokens,
            "tokens": self.tokens,
        }


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, the pictures it rests on, and how it was reached.

    `confidence` is 0 where the library does not show what was asked for. `text` cites
    pictures as [1], [2]; every number that it cites is among the `citations`.
    """

    text: str
    citations: tuple[Citation, ...]
    steps: tuple[Step, ...]
    confidence: float
    question: str = ""
    answerer: str = ""
    cost: Cost = field(default_factory=Cost)
    notes: tuple[str, ...] = ()
    """Sentences that a person should know about how the answer came about."""
    closest: tuple[Hit, ...] = ()
    """Where the library does not show it: what came nearest, which is no answer."""
    trail: Any = field(default=None, repr=False, compare=False)
    """What the next question goes on from, for whoever made the answer; see `Catalog.ask`."""
    html: Callable[[Answer], str] | None = field(default=None, repr=False, compare=False)
    """Draws it for a notebook."""

    def _repr_html_(self) -> str | None:
        return None if self.html is None else self.html(self)

    def as_dict(self) -> dict[str, Any]:
        return {
            "text": self.text,
            "citations": [citation.as_dict() for citation in self.citations],
            "confidence": round(self.confidence, 4),
            "steps": [step.as_dict() for step in self.steps],
            "question": self.question,
            "answerer": self.answerer,
            "cost": self.cost.as_dict(),
            **({"notes": list(self.notes)} if self.notes else {}),
            **({"closest": [hit.as_dict() for hit in self.closest]} if self.closest else {}),
        }


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
    """Which field the time came from: see `retrieval.images.metadata`."""
    camera_make: str | None = None
    camera_model: str | None = None
    lens: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    altitude: float | None = None
    title: str | None = None
    description: str | None = None
    keywords: tuple[str, ...] = ()
    phash: bytes | None = None
    """How it looks, once it was decoded: see `retrieval.images.phash`."""
