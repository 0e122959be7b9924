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
from retrieval.db.texts import CAPTION
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
MODEL_CAPTION = 0.4
"""How much the meaning of a caption counts that a model made. Once every picture has one, some are
near in meaning to anything that is asked: by itself such a caption shows no picture."""
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
        self.allowed = self.view.allowed
        self.without = np.array(without, np.int64)
        if without and any(term.text is not None for term in terms):
            # What words find is cut off at a number: those left out may take no place there.
            kept = ~np.isin(self.view.store.ids, without)
            self.allowed = kept if self.allowed is None else self.allowed & kept
        self.samples = [self.view.drawn.scores(term.vector) for term in terms]

    def ranked(self, limit: int) -> Ranked:
        """The best `limit` pictures at least, and what spoke for them."""
        store = self.view.store
        depth = DEPTH if len(self.terms) == 1 else SUM_DEPTH
        near = self._nearest(self.direction, max(limit, depth))
        found = [self._by_words(term) for term in self.terms if term.term.weight > 0]
        found += [self._by_captions(term) for term in self.terms if term.term.weight > 0]
        block = _distinct([near[:depth], *found, *self._like_good_answers()])
        # What has a place in the block does not depend on the limit.
        rest = near[depth:]
        ids = np.concatenate([block, rest[~np.isin(rest, block)]]) if len(rest) else block
        aux = store.aux(ids) if self.second is not None else []
        judged = self._judged(ids, store.vectors(ids), aux, known=True)
        head = np.lexsort((block, -judged.scores[: len(block)], -judged.chances[: len(block)]))
        return judged.ordered(np.concatenate([head, np.arange(len(block), len(ids))]))

    def about(
        self, image_id: int | None, vector: NDArray[np.float32], aux: bytes
    ) -> tuple[Ranked, list[float]]:
        """What speaks for one picture, of the catalog or not, and its chance by looks for each term."""
        ids = np.array([0 if image_id is None else image_id], np.int64)
        looks = [float(self._seen(number, vector[None], [aux])[0]) for number in range(len(self.terms))]
        return self._judged(ids, vector[None], [aux], known=image_id is not None), looks

    def _judged(self, ids: Ids, vectors: Vectors, aux: Sequence[bytes], *, known: bool) -> Ranked:
        """What speaks for each of some pictures, in the order given; `known` are those of the catalog."""
        signals: dict[str, Floats] = {}
        chances: list[tuple[float, Floats]] = []
        said = self._said(ids) if known else [{} for _ in self.terms]
        told = self._told(ids) if known else [np.zeros(len(ids)) for _ in self.terms]
        for number, term in enumerate(self.terms):
            looks = self._seen(number, vectors, aux)
            spoken = _row(ids, {key: found.evidence for key, found in said[number].items()})
            chance = either([looks, spoken, told[number]])
            chances.append((term.term.weight, chance))
            if len(self.terms) == 1:
                signals = {"picture": looks, **_fields(ids, said[number]), "caption": told[number]}
            else:
                signals[_name(term)] = chance
        scores = np.round(vectors @ self.direction, SCORE_DIGITS).astype(np.float32)
        total = both(chances)
        if self.marks and len(ids):
            moved = self.marks.moved(
                ids, total, self.encoder, self.view.store, vectors=vectors, visible=self.view.visible
            )
            signals["feedback"] = np.maximum(moved - total, 0)
            signals["feedback against"] = np.maximum(total - moved, 0)
            total = moved
        return Ranked(ids, scores, total, signals)

    def _like_good_answers(self) -> list[Ids]:
        """Candidates near the answers that were said to be right."""
        if not self.marks:
            return []
        store = self.view.store
        ways = self.marks.ways(self.direction, store)
        answers = np.array(self.marks.good, np.int64)
        return [
            answers[self._may_be_found(answers)],
            *(self._nearest(way, DEPTH) for way in ways),
        ]

    def _nearest(self, direction: NDArray[np.float32], count: int) -> Ids:
        """The nearest that may be found. A few to be left out cost less afterwards than as a mask."""
        most = count + len(self.without)
        ids, _ = self.view.store.search(direction, most, allowed=self.allowed)
        return ids[~np.isin(ids, self.without)][:count] if len(self.without) else ids

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
            drawn = Sample(sample, self.view.drawn.aux)
            chances = self.second.look_again(term.text, term.vector, scores, aux, drawn)
        else:
            chances = self.encoder.match(scores, sample)
        return np.asarray(chances, np.float64)

    def _by_words(self, term: Meant) -> Ids:
        """Pictures whose words answer a text: names, descriptions, captions."""
        if term.text is None:
            return np.empty(0, np.int64)
        allowed = None if self.allowed is None else self.view.store.ids[self.allowed]
        found = words.nominated(self.state.reader, term.text, limit=FOUND, allowed=allowed)
        return found[self._may_be_found(found)]

    def _said(self, ids: Ids) -> list[dict[int, words.Said]]:
        """What the words around the pictures answer to each term."""
        asked = [(number, term.text) for number, term in enumerate(self.terms) if term.text is not None]
        found: list[dict[int, words.Said]] = [{} for _ in self.terms]
        answers = words.judged(self.state.reader, [text for _, text in asked], ids) if asked else []
        for (number, _), answer in zip(asked, answers, strict=True):
            found[number] = answer
        return found

    def _by_captions(self, term: Meant) -> Ids:
        """Pictures whose own texts mean what a text asks for, if they do not say it in the same words."""
        none = np.empty(0, np.int64)
        if term.text is None or not self.info.text_generation:
            return none
        reader, texts = self.state.reader, self.state.texts(self.info).store
        among = None
        if self.filtered and self.allowed is not None and self.allowed.sum() <= FEW:
            own = reads.texts_of(reader, self.view.store.ids[self.allowed].tolist())
            among = np.isin(texts.ids, [text_id for text_id, _ in own])
        count, found = FOUND, none
        while True:
            # Texts that belong to no picture, or to one that may not be found, take no place.
            ids, _ = texts.search(term.vector, count, allowed=among)
            tied = reads.tied_images(reader, ids.tolist())
            found = np.array([tied[key] for key in ids.tolist() if key in tied], np.int64)
            found = found[self._may_be_found(found)]
            if len(found) >= FOUND or count >= len(texts.ids):
                return found[:FOUND]
            count *= 8

    def _told(self, ids: Ids) -> list[Floats]:
        """How likely the texts tied to each picture mean what each term asks for."""
        found = [np.zeros(len(ids)) for _ in self.terms]
        if not self.info.text_generation or all(term.text is None for term in self.terms):
            return found
        texts = self.state.texts(self.info).store
        own = reads.texts_with_source(self.state.reader, ids.tolist())
        text_ids = np.array([text_id for text_id, _, _ in own], np.int64)
        held = np.isin(text_ids, texts.ids)
        if not held.any():
            return found
        place = {key: number for number, key in enumerate(ids.tolist())}
        places = np.array([place[image_id] for _, image_id, _ in own])[held]
        trust = np.array([MODEL_CAPTION if source == CAPTION else 1.0 for _, _, source in own])[held]
        vectors, drawn = texts.vectors(text_ids[held]), self.state.drawn_texts(self.info)
        for row, term in zip(found, self.terms, strict=True):
            if term.text is not None:
                scores = np.round(vectors @ term.vector, SCORE_DIGITS).astype(np.float32)
                matches = self.encoder.match(scores, drawn.scores(term.vector), pair="text-text")
                np.maximum.at(row, places, np.where(matches >= LEAST_CAPTION, trust * matches, 0))
        return found

    def _may_be_found(self, ids: Ids) -> NDArray[np.bool_]:
        """Which pictures have a vector and pass."""
        known = self.view.store.ids
        if not len(known):
            return np.zeros(len(ids), np.bool_)
        places = np.minimum(np.searchsorted(known, ids), len(known) - 1)
        there: NDArray[np.bool_] = known[places] == ids
        if len(self.without):
            there &= ~np.isin(ids, self.without)
        return there if self.allowed is None else there & self.allowed[places]


def _distinct(parts: Sequence[Ids]) -> Ids:
    """The ids in all parts, ascending; `np.unique` would import a part of NumPy that takes its time."""
    every = np.sort(np.concatenate(parts))
    return every[np.append(True, every[1:] != every[:-1])] if len(every) else every


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
