"""From what a query means to hits: candidates, what speaks for each, one order.

Every term gives every candidate a chance, and the query joins them (`query.fuse`). The
candidates are the nearest by vector and those whose words or captions answer. A fixed
number of them is ordered by chance, whatever the limit, and the rest follows in the order
of the vectors: so the first five of fifty are the best five.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from retrieval.db import reads, words
from retrieval.protocols import Sample, SecondStage
from retrieval.query.fuse import both, either

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from retrieval.db.reads import EncoderInfo
    from retrieval.feedback import Marks
    from retrieval.meaning import Meant
    from retrieval.protocols import Encoder
    from retrieval.query.filters import Filter
    from retrieval.state import State
    from retrieval.types import Vectors

    Ids = NDArray[np.int64]
    Floats = NDArray[np.float64]

DEPTH = 200
"""How many candidates by vector get the second look, and may change places."""
SUM_DEPTH = 1000
"""The same for a sum of terms: what fits the sum can lie deeper than what fits its mean vector."""
FOUND = 200
"""How many candidates by words, and how many by captions."""
FEW = 2000
"""Up to this many pictures a filter may leave for their captions to be looked up one by one."""
LEAST_CAPTION = 0.1
LEAST_SPREAD = 0.01
SCORE_DIGITS = 6


@dataclass(frozen=True, slots=True)
class Ranked:
    """Candidates, best first, and what spoke for each, by name."""

    ids: Ids
    scores: NDArray[np.float32]
    chances: Floats
    signals: dict[str, Floats]

    def ordered(self, order: NDArray[np.int64]) -> Ranked:
        return Ranked(
            self.ids[order],
            self.scores[order],
            self.chances[order],
            {name: values[order] for name, values in self.signals.items()},
        )


class Ranking:
    """One query's way through one moment of the catalog; made and used inside a snapshot."""

    def __init__(
        self,
        state: State,
        info: EncoderInfo,
        encoder: Encoder,
        terms: Sequence[Meant],
        where: Filter,
        *,
        second: bool = True,
        without: Sequence[int] = (),
        marks: Marks | None = None,
    ) -> None:
        self.state = state
        self.info = info
        self.encoder = encoder
        self.terms = terms
        self.view = state.view(info, where)
        self.second = encoder if second and isinstance(encoder, SecondStage) else None
        self.filtered = bool(where)
        self.marks = marks
        store = self.view.store
        self.allowed = self.view.allowed
        if without:
            kept = ~np.isin(store.ids, without)
            self.allowed = kept if self.allowed is None else self.allowed & kept
        self.samples = [store.sample(term.vector, allowed=self.view.visible) for term in terms]

    def ranked(self, limit: int) -> Ranked:
        """The best `limit` pictures at least, and what spoke for them."""
        store = self.view.store
        depth = DEPTH if len(self.terms) == 1 else SUM_DEPTH
        near, _ = store.search(self.direction, max(limit, depth), allowed=self.allowed)
        wanted = [term for term in self.terms if term.term.weight > 0]
        said = [self._said(term, near) for term in wanted]
        told = [self._told(term) for term in self.terms]
        keys = {key for part in said for key in part}.union(
            key for term, part in zip(self.terms, told, strict=True) if term in wanted for key in part
        )
        found = np.array(sorted(key for key in keys if self._may_be_found(key)), np.int64)
        block = np.unique(np.concatenate([near[:depth], found, *self._like_good_answers()]))
        rest = near[depth:][~np.isin(near[depth:], block)]
        ids = np.concatenate([block, rest])
        if len(self.terms) > 1:
            # What one term's words brought in, and what is to be pushed away, is asked of every term.
            said = [self._said(term, ids, limit=0) for term in self.terms]
        aux = store.aux(ids) if self.second is not None else []
        found_here = self._judged(ids, store.vectors(ids), aux, said, told)
        head = np.lexsort((block, -found_here.scores[: len(block)], -found_here.chances[: len(block)]))
        return found_here.ordered(np.concatenate([head, np.arange(len(block), len(ids))]))

    def about(
        self, image_id: int | None, vector: NDArray[np.float32], aux: bytes
    ) -> tuple[Ranked, list[float]]:
        """What speaks for one picture, of the catalog or not, and its chance by looks for each term."""
        ids = np.array([0 if image_id is None else image_id], np.int64)
        known = image_id is not None
        said = [self._said(term, ids, limit=0) if known else {} for term in self.terms]
        told = [self._told(term) if known else {} for term in self.terms]
        looks = [float(self._seen(number, vector[None], [aux])[0]) for number in range(len(self.terms))]
        return self._judged(ids, vector[None], [aux], said, told), looks

    def _judged(
        self,
        ids: Ids,
        vectors: Vectors,
        aux: Sequence[bytes],
        said: Sequence[Mapping[int, words.Said]],
        told: Sequence[Mapping[int, float]],
    ) -> Ranked:
        """What speaks for each of some pictures, in the order given."""
        signals: dict[str, Floats] = {}
        chances: list[tuple[float, Floats]] = []
        for number, term in enumerate(self.terms):
            looks = self._seen(number, vectors, aux)
            spoken = _row(ids, {key: found.evidence for key, found in said[number].items()})
            captions = _row(ids, told[number])
            chance = either([looks, spoken, captions])
            chances.append((term.term.weight, chance))
            if len(self.terms) == 1:
                signals = {"picture": looks, **_fields(ids, said[number]), "caption": captions}
            else:
                signals[_name(term)] = chance
        scores = np.round(vectors @ self.direction, SCORE_DIGITS).astype(np.float32)
        total = both(chances)
        if self.marks and len(ids):
            moved = self.marks.moved(
                ids,
                total,
                self.encoder,
                self.view.store,
                vectors=vectors,
                visible=self.view.visible,
            )
            signals["feedback"] = np.maximum(moved - total, 0)
            total = moved
        return Ranked(ids, scores, total, signals)

    def _like_good_answers(self) -> list[Ids]:
        """Candidates near the answers that were said to be right."""
        if not self.marks:
            return []
        store = self.view.store
        ways = self.marks.ways(self.direction, store)
        answers = np.array([key for key in self.marks.good if self._may_be_found(key)], np.int64)
        return [answers, *(store.search(way, DEPTH, allowed=self.allowed)[0] for way in ways)]

    @cached_property
    def direction(self) -> NDArray[np.float32]:
        """The vector to look along: the wanted terms, each in units of its own spread over the catalog.

        Cosines of pictures with pictures spread several times wider than those with texts: as they
        are, a picture would drown the words beside it.
        """
        wanted = [
            (term, sample)
            for term, sample in zip(self.terms, self.samples, strict=True)
            if term.term.weight > 0
        ]
        if len(wanted) == 1:
            return wanted[0][0].vector
        total = sum(term.term.weight / _spread(sample) * term.vector for term, sample in wanted)
        return np.asarray(total / max(float(np.linalg.norm(total)), 1e-9), np.float32)

    def _seen(self, number: int, vectors: Vectors, aux: Sequence[bytes]) -> Floats:
        """How likely each picture, by its looks, is what a term asks for."""
        term, sample = self.terms[number], self.samples[number]
        scores = np.round(vectors @ term.vector, SCORE_DIGITS).astype(np.float32)
        if term.learnt is not None:
            chances = term.learnt.match(scores, sample)
        elif term.text is None:
            chances = self.encoder.match(scores, sample, pair="image-image")
        elif self.second is not None and len(scores):
            drawn = Sample(sample, self._sampled_aux)
            chances = self.second.look_again(term.text, term.vector, scores, aux, drawn)
        else:
            chances = self.encoder.match(scores, sample)
        return np.asarray(chances, np.float64)

    @cached_property
    def _sampled_aux(self) -> list[bytes]:
        store = self.view.store
        return store.aux(store.sampled(allowed=self.view.visible))

    def _said(self, term: Meant, among: Ids, *, limit: int = FOUND) -> dict[int, words.Said]:
        """What the words around pictures answer to a text: names, descriptions, captions."""
        if term.text is None:
            return {}
        allowed = None if self.allowed is None else self.view.store.ids[self.allowed]
        return words.said(self.state.reader, term.text, limit=limit, among=among, allowed=allowed)

    def _told(self, term: Meant) -> dict[int, float]:
        """Pictures whose own texts mean what a text asks for, if they do not say it in the same words."""
        if term.text is None or not self.info.text_generation:
            return {}
        reader, texts = self.state.reader, self.state.texts(self.info).store
        among = None
        if self.filtered and self.allowed is not None and self.allowed.sum() <= FEW:
            own = reads.texts_of(reader, self.view.store.ids[self.allowed].tolist())
            among = np.isin(texts.ids, own)
        ids, scores = texts.search(term.vector, FOUND, allowed=among)
        matches = self.encoder.match(scores, texts.sample(term.vector), pair="text-text")
        tied = reads.tied_images(reader, ids.tolist())
        found: dict[int, float] = {}
        for text_id, match in zip(ids.tolist(), matches.tolist(), strict=True):
            image_id = tied.get(text_id)
            if image_id is not None and match >= LEAST_CAPTION:
                found[image_id] = max(match, found.get(image_id, 0.0))
        return {image_id: match for image_id, match in found.items() if self._may_be_found(image_id)}

    def _may_be_found(self, image_id: int) -> bool:
        ids = self.view.store.ids
        place = int(np.searchsorted(ids, image_id))
        there = place < len(ids) and int(ids[place]) == image_id
        return there and (self.allowed is None or bool(self.allowed[place]))


def _row(ids: Ids, values: Mapping[int, float]) -> Floats:
    """The values in the order of the ids, 0 where there is none."""
    return np.array([values.get(key, 0.0) for key in ids.tolist()]) if values else np.zeros(len(ids))


def _fields(ids: Ids, said: Mapping[int, words.Said]) -> dict[str, Floats]:
    """What each kind of words says, a row for each that says anything."""
    kinds = sorted({kind for found in said.values() for kind in found.fields})
    return {
        kind: _row(ids, {key: found.fields.get(kind, 0.0) for key, found in said.items()}) for kind in kinds
    }


def _spread(sample: NDArray[np.float32]) -> float:
    return max(float(sample.std()) if len(sample) else 0.0, LEAST_SPREAD)


def _name(term: Meant) -> str:
    return f"- {term.term}" if term.term.weight < 0 else str(term.term)
