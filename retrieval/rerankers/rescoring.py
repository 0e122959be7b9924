"""Has a reranker look at pictures, best first, within a time budget; and joins its scores with the first.

Every reranker is driven by this one loop: looks come from the cache where they can, pictures
are read and decoded one batch ahead of the model, and the clock is checked between batches.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple, Protocol, cast, runtime_checkable

import numpy as np

from retrieval.errors import ImageError
from retrieval.images import load_image, read_file

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

    from retrieval.protocols import Progress, Reranker
    from retrieval.rerankers.looks import LookCache

SECOND_WEIGHT = 1.0
"""How much a reranker's standing among the judged weighs against the first stage's."""
LARGEST_EVIDENCE = 20.0
"""Log-odds beyond this are certainty; a match of exactly 0 or 1 has no finite ones."""
DECODE_SIDE = 768
"""Both sides are decoded at no less, for rerankers that do not say what they need."""


class Picture(NamedTuple):
    """A candidate: where its file is, and the SHA-256 of the content that was indexed."""

    path: Path
    content_hash: bytes


@runtime_checkable
class Measured(Protocol):
    """A reranker that says how large a picture has to be decoded at the least."""

    def wanted(self, width: int, height: int) -> tuple[int, int]: ...


@dataclass(slots=True)
class _Candidate:
    """A picture on its way: it has a look, or pixels to look at, or (unreadable) neither."""

    index: int
    key: bytes
    look: NDArray[np.float16] | None = None
    image: Image.Image | None = None


def rescored(
    reranker: Reranker,
    text: str,
    pictures: Sequence[Picture],
    *,
    looks: LookCache | None = None,
    budget: float | None = None,
    progress: Progress | None = None,
) -> NDArray[np.float32]:
    """A score for each picture, NaN for those that were not judged.

    Not judged are pictures whose file cannot be read (one on a disk that is not plugged in is
    still judged if its look was kept), and those that were not reached when `budget`, in
    seconds, was used up: the batch at work then is the last. A file whose content is not the
    indexed one any more is judged by what it holds now. `progress` gets `("rerank", {"done",
    "total", "reused"})` after each batch.
    """
    scores = np.full(len(pictures), np.nan, np.float32)
    end = None if budget is None else monotonic() + budget
    size = max(1, reranker.batch_size)
    batches = [range(start, min(start + size, len(pictures))) for start in range(0, len(pictures), size)]
    reused = 0
    stop = threading.Event()
    with ThreadPoolExecutor(1, thread_name_prefix="rerank-load") as loader:

        def load(number: int) -> list[_Candidate]:
            return [
                _load(reranker, index, pictures[index], looks)
                for index in batches[number]
                if not stop.is_set()
            ]

        coming = loader.submit(load, 0) if batches else None
        try:
            for number in range(len(batches)):
                if coming is None or (end is not None and monotonic() >= end):
                    break
                batch = coming.result()
                coming = loader.submit(load, number + 1) if number + 1 < len(batches) else None
                # Reading alone can use the budget up, on a disk that has to wake.
                if end is not None and monotonic() >= end:
                    break
                reused += sum(candidate.look is not None for candidate in batch)
                _look(reranker, batch, looks)
                judged = [candidate for candidate in batch if candidate.look is not None]
                found = cast("list[NDArray[np.float16]]", [candidate.look for candidate in judged])
                if judged:
                    scores[[candidate.index for candidate in judged]] = reranker.judge(text, found)
                if progress is not None:
                    done = batches[number].stop
                    progress("rerank", {"done": done, "total": len(pictures), "reused": reused})
        finally:
            stop.set()
            if coming is not None:
                coming.cancel()
    scores[~np.isfinite(scores)] = np.nan
    return scores


def looked_at(
    reranker: Reranker, pictures: Sequence[Picture], *, looks: LookCache | None = None
) -> list[NDArray[np.float16] | None]:
    """The look at each picture, kept or new; None for one whose file cannot be read."""
    batch = [_load(reranker, index, picture, looks) for index, picture in enumerate(pictures)]
    _look(reranker, batch, looks)
    return [candidate.look for candidate in batch]


def _load(reranker: Reranker, index: int, picture: Picture, looks: LookCache | None) -> _Candidate:
    look = looks.get(picture.content_hash) if looks is not None else None
    if look is not None:
        return _Candidate(index, picture.content_hash, look=look)
    wanted = reranker.wanted if isinstance(reranker, Measured) else _large_enough
    try:
        data = read_file(picture.path).data
        image = load_image(data, name=picture.path.name, wanted=wanted)
    except ImageError:
        return _Candidate(index, picture.content_hash)
    return _Candidate(index, hashlib.sha256(data).digest(), image=image)


def _large_enough(width: int, height: int) -> tuple[int, int]:
    return min(width, DECODE_SIDE), min(height, DECODE_SIDE)


def _look(reranker: Reranker, batch: Sequence[_Candidate], looks: LookCache | None) -> None:
    """Give a look to every candidate of the batch that has pixels, and keep it."""
    unseen = [candidate for candidate in batch if candidate.image is not None]
    images = cast("list[Image.Image]", [candidate.image for candidate in unseen])
    if not unseen:
        return
    for candidate, look in zip(unseen, reranker.look(images), strict=True):
        candidate.look, candidate.image = look, None
        if looks is not None:
            looks.put(candidate.key, look)


def fused(first: NDArray[np.floating], second: NDArray[np.floating]) -> NDArray[np.intp]:
    """The order, best first, by both stages: `first` is log-odds, `second` has NaN where not judged.

    The pictures are put in the order of `first` (ties in the order given). Those that were
    judged then share out the places that they have among themselves, by the sum of their two
    standings: how many standard deviations from the mean of the judged. The others stay where
    they are, be it behind (the time was used up) or in between (a file that cannot be read).
    A judged picture that is at least as good as another in both stages never comes after it,
    and where the second stage sees no difference nothing moves.
    """
    first = np.asarray(first, np.float64)
    order = np.argsort(-first, kind="stable")
    places = np.isfinite(second)[order]
    judged = order[places]
    seen = np.asarray(second, np.float64)[judged]
    evidence = np.clip(first[judged], -LARGEST_EVIDENCE, LARGEST_EVIDENCE)
    total = _standing(evidence) + SECOND_WEIGHT * _standing(seen)
    order[places] = judged[np.lexsort((np.arange(len(judged)), -seen, -first[judged], -total))]
    return order


def _standing(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Deviations from the mean; all zero where there is nothing to tell apart."""
    if not values.size or values.max() == values.min():
        return np.zeros_like(values)
    centred = values - values.mean()
    spread = float(centred.std())
    return centred / spread if spread > 0 else np.zeros_like(values)
