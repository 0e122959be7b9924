"""How likely each tag of a vocabulary is for each of many pictures, from their stored vectors."""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from retrieval.protocols import Sample, SecondStage
from retrieval.query.filters import Filter
from retrieval.regular_files import make_way, read_cached

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from retrieval.db.reads import EncoderInfo
    from retrieval.protocols import Encoder, VectorStore
    from retrieval.state import State
    from retrieval.types import Vectors
    from retrieval.vocabulary import Vocabulary

MOST_TAGS = 10
"""Tags that a picture gets at most."""
NEAR_BEST = 0.8
"""What share of its best tag's confidence another tag of a picture needs."""
LIKELY = 32
"""Tags of a picture, by the vectors alone, that get the encoder's second look."""
VECTORS = "vocabulary"
"""The folder of a catalog's cache with the vectors of prompts."""
KEPT = 4


@dataclass(frozen=True, slots=True)
class Look:
    """A vocabulary as vectors, and how each of its tags does over the catalog."""

    names: list[str]
    prompts: list[str]
    vectors: NDArray[np.float32]
    encoder: Encoder
    store: VectorStore
    sample: NDArray[np.float32]
    """[pictures drawn, tags]: the cosines that a match is measured against."""
    sample_aux: list[bytes]

    @classmethod
    def prepared(cls, state: State, info: EncoderInfo, encoder: Encoder, vocabulary: Vocabulary) -> Look:
        prompts = [prompt for _, prompt in vocabulary]
        vectors = prompt_vectors(state, encoder, prompts)
        with state.snapshot():
            view = state.view(state.still(info), Filter())
            drawn = view.store.sampled(allowed=view.visible)
            sample = np.ascontiguousarray((view.store.vectors(drawn) @ vectors.T).astype(np.float32))
            aux = view.store.aux(drawn)
        return cls([tag for tag, _ in vocabulary], prompts, vectors, encoder, view.store, sample, aux)

    def matches(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """[pictures, tags]: how likely each tag is, 0 for those that are not worth a second look."""
        return self.judged(self.store.vectors(ids), self.store.aux(ids))

    def judged(self, vectors: Vectors, aux: Sequence[bytes]) -> NDArray[np.float32]:
        """The same of any pictures, of the catalog or not, from their vectors and the bytes beside these."""
        scores = (vectors @ self.vectors.T).astype(np.float32)
        found = np.zeros_like(scores)
        second = self.encoder if isinstance(self.encoder, SecondStage) else None
        if second is None:
            for number in range(len(self.names)):
                found[:, number] = self.encoder.match(scores[:, number], self.sample[:, number])
            return found
        beside = np.array(aux, dtype=object)
        likely = _likely(scores, self.sample)
        for number, prompt in enumerate(self.prompts):
            rows = np.flatnonzero(likely[:, number])
            if len(rows):
                drawn = Sample(self.sample[:, number], self.sample_aux)
                found[rows, number] = second.look_again(
                    prompt, self.vectors[number], scores[rows, number], beside[rows].tolist(), drawn
                )
        return found

    def tags(
        self, ids: NDArray[np.int64], decided: dict[int, set[str]]
    ) -> Iterator[tuple[int, str, float, bool]]:
        """The tags of some pictures; one without any keeps its best as a mark that it was looked at."""
        for image_id, rows in zip(ids.tolist(), self.ranked(self.matches(ids)), strict=True):
            said = decided.get(image_id, set())
            own = [(image_id, tag, chance, kept) for tag, chance, kept in rows if tag not in said][:MOST_TAGS]
            yield from [row for row in own if row[3]] or own[:1]

    def ranked(self, matches: NDArray[np.float32]) -> Iterator[list[tuple[str, float, bool]]]:
        """The likeliest tags of each picture, the surest first, each with whether it is enough to count."""
        best = np.argsort(-matches, axis=1, kind="stable")[:, : MOST_TAGS + 1]
        values = np.take_along_axis(matches, best, axis=1)
        least = np.maximum(self.encoder.cutoff, NEAR_BEST * values[:, :1])
        for tags, chances, enough in zip(
            best.tolist(), values.tolist(), (values >= least).tolist(), strict=True
        ):
            yield [
                (self.names[tag], chance, kept)
                for tag, chance, kept in zip(tags, chances, enough, strict=True)
            ]


def prompt_vectors(state: State, encoder: Encoder, prompts: Sequence[str]) -> Vectors:
    """The vectors of a vocabulary's prompts, kept in the catalog's cache: a model takes a second for them.

    The file's name tells the model and the prompts, and a checksum over it and the vectors stands
    before these.
    """
    said = "\0".join([encoder.id, *prompts]).encode()
    path = state.location.cache / VECTORS / f"{hashlib.sha256(said).hexdigest()[:32]}.bin"
    kept = _kept(path, (len(prompts), encoder.dim))
    if kept is None:
        kept = encoder.encode_texts(prompts).astype("<f4")
        if not state.readonly:
            with contextlib.suppress(OSError):  # without it they are encoded again next time
                _keep(path, kept)
    return kept


def _kept(path: Path, shape: tuple[int, int]) -> Vectors | None:
    data = read_cached(path)
    if data is None or len(data) != 4 + 4 * shape[0] * shape[1] or not _sound(path, data):
        return None
    return np.frombuffer(data, "<f4", offset=4).reshape(shape)


def damaged_vectors(cache: Path) -> list[Path]:
    """Kept vectors of vocabularies that are not what was written under their names."""
    places = sorted((cache / VECTORS).glob("*.bin"))
    return [path for path in places if not _sound(path, read_cached(path) or b"")]


def _sound(path: Path, data: bytes) -> bool:
    return _sum(path, memoryview(data)[4:]) == data[:4]


def _sum(path: Path, body: bytes | memoryview) -> bytes:
    return zlib.crc32(body, zlib.crc32(path.name.encode())).to_bytes(4, "little")


def _keep(path: Path, vectors: Vectors) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    body = vectors.tobytes()
    new = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    try:
        new.write_bytes(_sum(path, body) + body)
        make_way(path)
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)
    # A vocabulary that was edited leaves its older vectors behind.
    for other in sorted(path.parent.glob("*.bin"), key=lambda one: one.lstat().st_mtime)[:-KEPT]:
        make_way(other)
        other.unlink(missing_ok=True)


def _likely(scores: NDArray[np.float32], sample: NDArray[np.float32]) -> NDArray[np.bool_]:
    """The tags of each picture that stand out most from how they do over the catalog."""
    if scores.shape[1] <= LIKELY:
        return np.ones(scores.shape, np.bool_)
    centre = sample.mean(0) if len(sample) else np.zeros(scores.shape[1], np.float32)
    outstanding = scores - centre
    least = np.partition(outstanding, -LIKELY, axis=1)[:, -LIKELY]
    likely: NDArray[np.bool_] = outstanding >= least[:, None]
    return likely
