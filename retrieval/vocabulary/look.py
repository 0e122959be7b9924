"""How likely each tag of a vocabulary is for each of many pictures, from their stored vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from retrieval.protocols import Sample, SecondStage
from retrieval.query.filters import Filter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from retrieval.db.reads import EncoderInfo
    from retrieval.protocols import Encoder, VectorStore
    from retrieval.state import State
    from retrieval.vocabulary import Vocabulary

MOST_TAGS = 10
"""Tags that a picture gets at most."""
NEAR_BEST = 0.8
"""What share of its best tag's confidence another tag of a picture needs."""
LIKELY = 32
"""Tags of a picture, by the vectors alone, that get the encoder's second look."""


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
        vectors = encoder.encode_texts(prompts)
        with state.snapshot():
            view = state.view(state.still(info), Filter())
            drawn = view.store.sampled(allowed=view.visible)
            sample = np.ascontiguousarray((view.store.vectors(drawn) @ vectors.T).astype(np.float32))
            aux = view.store.aux(drawn)
        return cls([tag for tag, _ in vocabulary], prompts, vectors, encoder, view.store, sample, aux)

    def matches(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """[pictures, tags]: how likely each tag is, 0 for those that are not worth a second look."""
        scores = (self.store.vectors(ids) @ self.vectors.T).astype(np.float32)
        found = np.zeros_like(scores)
        second = self.encoder if isinstance(self.encoder, SecondStage) else None
        if second is None:
            for number in range(len(self.names)):
                found[:, number] = self.encoder.match(scores[:, number], self.sample[:, number])
            return found
        aux = np.array(self.store.aux(ids), dtype=object)
        likely = _likely(scores, self.sample)
        for number, prompt in enumerate(self.prompts):
            rows = np.flatnonzero(likely[:, number])
            if len(rows):
                drawn = Sample(self.sample[:, number], self.sample_aux)
                found[rows, number] = second.look_again(
                    prompt, self.vectors[number], scores[rows, number], aux[rows].tolist(), drawn
                )
        return found

    def tags(
        self, ids: NDArray[np.int64], decided: dict[int, set[str]]
    ) -> Iterator[tuple[int, str, float, bool]]:
        """The tags of some pictures; one without any keeps its best as a mark that it was looked at."""
        matches = self.matches(ids)
        best = np.argsort(-matches, axis=1, kind="stable")[:, : MOST_TAGS + 1]
        values = np.take_along_axis(matches, best, axis=1)
        least = np.maximum(self.encoder.cutoff, NEAR_BEST * values[:, :1])
        for image_id, tags, chances, enough in zip(
            ids.tolist(), best.tolist(), values.tolist(), (values >= least).tolist(), strict=True
        ):
            said = decided.get(image_id, set())
            own = [
                (image_id, self.names[tag], chance, kept)
                for tag, chance, kept in zip(tags, chances, enough, strict=True)
                if self.names[tag] not in said
            ][:MOST_TAGS]
            yield from [row for row in own if row[3]] or own[:1]


def _likely(scores: NDArray[np.float32], sample: NDArray[np.float32]) -> NDArray[np.bool_]:
    """The tags of each picture that stand out most from how they do over the catalog."""
    if scores.shape[1] <= LIKELY:
        return np.ones(scores.shape, np.bool_)
    centre = sample.mean(0) if len(sample) else np.zeros(scores.shape[1], np.float32)
    outstanding = scores - centre
    least = np.partition(outstanding, -LIKELY, axis=1)[:, -LIKELY]
    likely: NDArray[np.bool_] = outstanding >= least[:, None]
    return likely
