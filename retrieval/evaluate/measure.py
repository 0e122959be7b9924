"""The measurements of an evaluation: each asks the catalog or its vectors, and counts."""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from retrieval.errors import QueryError
from retrieval.evaluate import metrics
from retrieval.evaluate.results import IndexRecall, Latency, Pipeline, TextRanking
from retrieval.query import terms
from retrieval.stores.flat import SCORE_DIGITS, FlatStore
from retrieval.stores.rows import Rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from retrieval.catalog import Catalog
    from retrieval.evaluate.gallery import Gallery
    from retrieval.protocols import Progress
    from retrieval.types import Hits

FIRST_STAGE = "none"
DEFAULT_PIPELINE = "default"
TIMED_AT_LEAST = 20
TIMED_SECONDS = 20.0
"""Timing ends after so long for each pipeline, but never on fewer than `TIMED_AT_LEAST` queries."""
INDEX_DEPTH = 10
TEXT_BATCH = 64
IMAGE_BATCH = 256
SHOWN_CHARACTERS = 60


@dataclass(frozen=True, slots=True)
class Query:
    """A question whose pictures are known: ids and grades; without any, nothing should be found."""

    text: str
    grades: Mapping[int, float]
    kind: str | None
    typed: bool


class Steps:
    """Counts the calls that are done, for whoever watches."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress, self._total, self._done = progress, total, 0
        if progress is not None:
            progress("encode", {"total": total, "done": 0})

    def __call__(self, count: int = 1) -> None:
        self._done += count
        if self._progress is not None:
            self._progress("advance", {"done": self._done, "total": self._total, "failed": 0})


class Asker:
    """Asks the catalog; a query that it refuses is named, with the file it came from."""

    def __init__(self, catalog: Catalog, path: Path, pictures: int) -> None:
        self._catalog, self._path, self._pictures = catalog, path, max(1, pictures)

    def prepare(self, way: str) -> float:
        """Load what a way of ranking needs; returns its cut-off, or is refused if it cannot be had."""
        return self._catalog.search("a photo", limit=1, rerank=_rerank(way)).cutoff

    def ranking(self, query: Query, way: str) -> Hits:
        return self.search(query, way, limit=self._pictures, cutoff=False, rerank_seconds=None)

    def search(self, query: Query, way: str, **options: Any) -> Hits:
        asked = query.text if query.typed else terms.Query.text(query.text)
        try:
            return self._catalog.search(asked, rerank=_rerank(way), **options)
        except QueryError as error:
            shown = query.text if len(query.text) <= SHOWN_CHARACTERS else query.text[:SHOWN_CHARACTERS] + "…"
            why = str(error).partition("\n")[0]  # without the caret: it points into the whole query
            raise QueryError(f"The query '{shown}' of {self._path} is refused: {why}") from error


def _rerank(way: str) -> str | None:
    return None if way == DEFAULT_PIPELINE else way


def pipeline(
    asker: Asker,
    way: str,
    cutoff: float,
    graded: Sequence[Query],
    absent: Sequence[Query],
    latency: Latency,
    steps: Steps,
) -> Pipeline:
    judged: list[metrics.Judged] = []
    kinds: defaultdict[str, list[metrics.Judged]] = defaultdict(list)
    kept: list[metrics.Kept] = []
    noted: list[str] = []
    for query in graded:
        ranking = asker.ranking(query, way)
        one = metrics.judge((hit.image_id for hit in ranking), query.grades)
        if ranking.notes:
            noted.append(ranking.notes[0])
        judged.append(one)
        if query.kind is not None:
            kinds[query.kind].append(one)
        # What a search with the cut-off shows, without asking twice.
        shown = [hit for hit in ranking if hit.match >= cutoff]
        right = sum(hit.image_id in query.grades for hit in shown)
        kept.append(metrics.Kept(len(shown), right, len(query.grades)))
        steps()
    answered: list[int] = []
    for query in absent:
        answered.append(len(asker.search(query, way, limit=1)))
        steps()
    return Pipeline(
        rerank=way,
        figures=metrics.figures(judged) if judged else None,
        kinds={kind: metrics.figures(kinds[kind]) for kind in sorted(kinds)},
        cutoff=metrics.cut_off(kept, answered),
        latency=latency,
        note=f"{way}: in {len(noted)} of {len(graded)} queries, as: {noted[0]}" if noted else None,
    )


def image_to_text(
    gallery: Gallery, owners: Mapping[int, Sequence[str]], texts: Sequence[str], steps: Steps
) -> TextRanking:
    """Rank all texts for each picture, ties by their place in the file."""
    rows: list[NDArray[np.float32]] = []
    for start in range(0, len(texts), TEXT_BATCH):
        batch = list(texts[start : start + TEXT_BATCH])
        rows.append(gallery.encoder.encode_texts(batch))
        steps(len(batch))
    matrix = np.concatenate(rows)
    places = {text: place for place, text in enumerate(texts)}
    judged: list[metrics.Judged] = []
    ids = np.array(sorted(owners), np.int64)
    for start in range(0, len(ids), IMAGE_BATCH):
        part = ids[start : start + IMAGE_BATCH]
        # Rounded as the stores do, so that what is equal ties.
        scores = np.round(gallery.store.vectors(part) @ matrix.T, SCORE_DIGITS)
        for image_id, row in zip(part.tolist(), scores, strict=True):
            own = [places[text] for text in owners[image_id]]
            best = max(row[own])
            first = min(place for place in own if row[place] == best)
            rank = 1 + int(np.count_nonzero(row > best)) + int(np.count_nonzero(row[:first] == best))
            judged.append(metrics.Judged(((rank, 1.0),), (1.0,)))
    return TextRanking(metrics.recalls(judged), len(texts))


def index_recall(gallery: Gallery, texts: Sequence[str]) -> IndexRecall:
    store = gallery.store
    if isinstance(store, FlatStore) or not gallery.paths:
        return IndexRecall(store.kind, exact=True, recall=1.0, queries=0)
    oracle = getattr(store, "flat", None)
    if oracle is None:
        oracle = FlatStore(store.ids, Rows.of(store.vectors(store.ids)))
    found = wanted = 0
    for text in texts:
        query = gallery.encoder.encode_texts([text])[0]
        exact = oracle.search(query, INDEX_DEPTH, allowed=gallery.visible)[1]
        scores = store.search(query, INDEX_DEPTH, allowed=gallery.visible)[1]
        found += int(np.count_nonzero(scores >= exact[-1]))
        wanted += len(exact)
    return IndexRecall(store.kind, exact=False, recall=found / wanted, queries=len(texts))


def latencies(
    calls: Sequence[Callable[[Query], object]], queries: Sequence[Query], steps: Steps
) -> list[Latency]:
    """Time calls side by side: each query goes to all of them, in turn to another one first."""
    samples: list[list[float]] = [[] for _ in calls]
    began = time.perf_counter()
    for number, query in enumerate(queries):
        if number >= TIMED_AT_LEAST and time.perf_counter() - began > TIMED_SECONDS * len(calls):
            steps(len(queries) - number)
            break
        for place in range(len(calls)):
            place = (place + number) % len(calls)
            start = time.perf_counter()
            calls[place](query)
            samples[place].append(1000 * (time.perf_counter() - start))
        steps()
    return [Latency(tuple(each)) for each in samples]


def peak_memory() -> int | None:
    """The most memory this process has had at once, in bytes; None where the system does not say."""
    status = Path("/proc/self/status")
    if status.exists():
        # What getrusage says may be of the process that started this one.
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) << 10
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak << 10
