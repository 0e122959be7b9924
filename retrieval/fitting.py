"""Whether a picture bears out what is said of it: the image-text matcher behind checks and captions.

The matcher is a model that looks at picture and text together where one is here (`blip_itm`), else
the catalog's own encoder, whose calibrated match is asked the other way round: not which pictures a
text means, but whether this picture is among them.
"""

from __future__ import annotations

import importlib.util
import math
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from retrieval.db import reads
from retrieval.errors import QueryError
from retrieval.protocols import Sample, SecondStage
from retrieval.query.filters import Filter
from retrieval.query.fuse import chance

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

    from retrieval.db.reads import EncoderInfo
    from retrieval.protocols import Encoder, Reranker, VectorStore
    from retrieval.state import State
    from retrieval.types import Vectors

    Said = tuple[int, str]
    """A picture of the catalog, and what is said of it."""

AUTO, ENCODER, BLIP_ITM = "auto", "encoder", "blip_itm"
LEAST = 0.5
"""A matcher of its own agrees from here on: a match is then likelier than none."""
READ_CHARS = 8000
TEXTS_AT_ONCE = 256
TEXTS_IN_TIME, PICTURES_IN_TIME = 16, 2
"""A batch where the time is limited: it only ends between batches."""
SCORE_DIGITS = 6


class Fitting:
    """How likely pictures show what texts say of them.

    `matcher` is `encoder`, a reranker that gives log-odds of a match (`blip_itm`,
    `blip_itm:./FOLDER`), or by default `blip_itm` where its weights and packages are here and
    else the catalog's encoder. Cheap to make; models load when something is first compared.
    """

    def __init__(self, state: State, matcher: str | None = None) -> None:
        self._state = state
        self._info = state.active()
        self._encoder = state.encoder(self._info)
        self._reranker = _chosen(matcher, self._encoder)

    @property
    def id(self) -> str:
        """Names what compares, and its weights."""
        return f"{ENCODER}/{self._encoder.id}" if self._reranker is None else self._reranker.id

    @property
    def least(self) -> float:
        """From this chance on, picture and text agree."""
        return float(self._encoder.cutoff) if self._reranker is None else LEAST

    def chances(self, pairs: Sequence[Said], *, seconds: float | None = None) -> list[float | None]:
        """How likely each picture of the catalog shows its text, in the order given.

        None where nothing can be compared: no text, no vector of the picture, or, for a
        reranker, a file that cannot be read and was not looked at before. None also for what
        was not begun when the `seconds` were over; what is said first is compared first. Loading
        a model counts, but is not cut short.
        """
        end = None if seconds is None else time.monotonic() + seconds
        wanted = [(image_id, text.strip()) for image_id, text in pairs]
        distinct = list(dict.fromkeys(pair for pair in wanted if pair[1]))
        judged = (
            self._by_encoder(distinct, end) if self._reranker is None else self._by_reranker(distinct, end)
        )
        found = dict(judged)
        return [found.get(pair) for pair in wanted]

    def chance(self, image: Image.Image, text: str) -> float | None:
        """The same of an open picture, of the catalog or not."""
        text = text.strip()
        if not text:
            return None
        if self._reranker is not None:
            return _agreement(self._reranker.judge(text, self._reranker.look([image])))[0]
        encoded = self._encoder.encode_prepared([self._encoder.preparer(image)])
        meaning = self._encoder.encode_texts([text[:READ_CHARS]])[0]
        scores = np.round(encoded.vectors @ meaning, SCORE_DIGITS).astype(np.float32)
        with self._state.snapshot():
            measure = _Measure(self._state, self._info, self._encoder)
            sample = measure.samples(meaning[None])[:, 0]
            return float(measure.chances(text, meaning, scores, encoded.aux or [b""], sample)[0])

    def _by_encoder(self, pairs: Sequence[Said], end: float | None) -> Iterator[tuple[Said, float]]:
        grouped = _by_text(pairs)
        texts = list(grouped)
        size = TEXTS_AT_ONCE if end is None else TEXTS_IN_TIME
        for start in range(0, len(texts), size):
            if _over(end):
                return
            part = texts[start : start + size]
            meanings = self._encoder.encode_texts([text[:READ_CHARS] for text in part])
            with self._state.snapshot():
                measure = _Measure(self._state, self._info, self._encoder)
                samples = measure.samples(meanings)
                for number, text in enumerate(part):
                    ids = measure.known(grouped[text])
                    if len(ids):
                        scores = np.round(measure.store.vectors(ids) @ meanings[number], SCORE_DIGITS)
                        aux = measure.store.aux(ids)
                        chances = measure.chances(
                            text, meanings[number], scores.astype(np.float32), aux, samples[:, number]
                        )
                        yield from zip([(key, text) for key in ids.tolist()], chances.tolist(), strict=True)

    def _by_reranker(self, pairs: Sequence[Said], end: float | None) -> Iterator[tuple[Said, float]]:
        """Each picture is looked at once, whatever is said of it; a batch of them at a time."""
        from retrieval.rerankers.looks import LookCache
        from retrieval.rerankers.rescoring import Picture, looked_at

        reranker = self._reranker
        assert reranker is not None
        said: dict[int, list[str]] = {}
        for image_id, text in pairs:
            said.setdefault(image_id, []).append(text)
        with self._state.snapshot():
            rows = reads.shown(self._state.reader, list(said))
            hashes = reads.content_hashes(self._state.reader, list(rows))
        cache = LookCache(self._state.location.cache, reranker.id, readonly=self._state.readonly)
        ids = [key for key in said if key in rows]
        size = max(1, reranker.batch_size if end is None else min(PICTURES_IN_TIME, reranker.batch_size))
        for start in range(0, len(ids), size):
            if _over(end):
                return
            part = ids[start : start + size]
            pictures = [Picture(Path(os.fsdecode(rows[key].path)), hashes[key]) for key in part]
            looks = dict(zip(part, looked_at(reranker, pictures, looks=cache), strict=True))
            for text, keys in _by_text((key, text) for key in part for text in said[key]).items():
                seen = [(key, look) for key in keys if (look := looks[key]) is not None]
                if _over(end):
                    return
                found = _agreement(reranker.judge(text, [look for _, look in seen]))
                for (key, _), value in zip(seen, found, strict=True):
                    if value is not None:
                        yield (key, text), value


class _Measure:
    """One moment of the catalog, to measure matches against; made and used inside a snapshot."""

    def __init__(self, state: State, info: EncoderInfo, encoder: Encoder) -> None:
        view = state.view(state.still(info), Filter())
        self.store: VectorStore = view.store
        self._encoder = encoder
        self._second = encoder if isinstance(encoder, SecondStage) else None
        self._drawn = view.store.sampled(allowed=view.visible)
        self._aux = view.store.aux(self._drawn) if self._second is not None else []

    def samples(self, meanings: Vectors) -> NDArray[np.float32]:
        """[pictures drawn, texts]: how each text does over the catalog."""
        return np.ascontiguousarray((self.store.vectors(self._drawn) @ meanings.T).astype(np.float32))

    def known(self, image_ids: Sequence[int]) -> NDArray[np.int64]:
        ids = np.array(sorted(image_ids), np.int64)
        return ids[np.isin(ids, self.store.ids)]

    def chances(
        self,
        text: str,
        meaning: NDArray[np.float32],
        scores: NDArray[np.float32],
        aux: Sequence[bytes],
        sample: NDArray[np.float32],
    ) -> NDArray[np.float32]:
        if self._second is None:
            return self._encoder.match(scores, sample)
        return self._second.look_again(text, meaning, scores, aux, Sample(sample, self._aux))


def _chosen(matcher: str | None, encoder: Encoder) -> Reranker | None:
    """The model that compares; None for the catalog's encoder."""
    if matcher == ENCODER:
        return None
    from retrieval.rerankers import BLIP, BLIP_USE, load_reranker

    if matcher in (None, "", AUTO):
        from retrieval.checkpoints import find

        here = all(importlib.util.find_spec(name) for name in ("torch", "transformers"))
        return load_reranker(BLIP_ITM, encoder) if here and find(BLIP, BLIP_USE) is not None else None
    reranker = load_reranker(str(matcher), encoder)
    if not getattr(reranker, "log_odds", False):
        raise QueryError(
            f"'{matcher}' puts pictures in an order, but does not say whether one agrees with a text. "
            f"What does: --matcher {ENCODER} or --matcher {BLIP_ITM}"
        )
    return reranker


def _agreement(odds: NDArray[np.float32]) -> list[float | None]:
    """Log-odds as chances; None for what is no number."""
    return [
        value if math.isfinite(value) else None for value in chance(np.asarray(odds, np.float64)).tolist()
    ]


def _over(end: float | None) -> bool:
    return end is not None and time.monotonic() >= end


def _by_text(pairs: Iterable[Said]) -> dict[str, list[int]]:
    grouped: dict[str, list[int]] = {}
    for image_id, text in pairs:
        grouped.setdefault(text, []).append(image_id)
    return grouped
