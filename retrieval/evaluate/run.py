"""Asks a catalog everything that an evaluation file asks, and measures the answers."""

from __future__ import annotations

import os
import random
import time
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from retrieval.english.nouns import counted, verb
from retrieval.errors import QueryError
from retrieval.evaluate import files, measure, names
from retrieval.evaluate.gallery import Gallery
from retrieval.evaluate.measure import DEFAULT_PIPELINE, FIRST_STAGE, Asker, Query, Steps
from retrieval.evaluate.results import Evaluation

if TYPE_CHECKING:
    from retrieval.catalog import Catalog
    from retrieval.protocols import Progress

T = TypeVar("T")

SEED = 0
WARM_UPS = 3
TIMED_QUERIES = 200
INDEX_QUERIES = 200


def evaluate(
    catalog: Catalog,
    file: str | os.PathLike[str],
    *,
    images: str | os.PathLike[str] | None = None,
    split: str | None = None,
    rerank: Sequence[str] = (),
    limit_queries: int | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Measure how well the catalog answers what `file` asks; see `retrieval.evaluate.files` for its forms.

    Text queries go through `Catalog.search`: without a second look (`none`), as usual
    (`default`), and with each name in `rerank`. All pictures of the catalog that can be
    found are ranked, whether the file names them or not. Relevant pictures that are not
    indexed cannot be found: the figures are over the others, and `Evaluation.notes` and
    `left_out` say how many that leaves out. `images` is where the names of pictures start
    from, `split` the part of a Karpathy-style file (`test`), or `all`. `limit_queries`
    asks a sample, the same one every time.
    """
    began = time.perf_counter()
    path = Path(os.path.abspath(os.path.expanduser(file)))
    if limit_queries is not None and limit_queries < 1:
        raise QueryError(f"A sample of {limit_queries} queries measures nothing. Ask for at least 1.")
    asked = files.read(path, images=None if images is None else Path(images).expanduser(), split=split)
    gallery = Gallery.of(catalog)
    found = names.find(_named(asked), gallery.paths, asked.folders)
    _check_found(path, found)
    queries, dropped = _queries(asked, found)
    if not queries:
        raise QueryError(f"{path} asks nothing: it holds no texts and no queries. See: search eval --help")
    notes = _notes(asked, found, dropped)
    graded = _sample([one for one in queries if one.grades], limit_queries, "queries", notes)
    absent = _sample([one for one in queries if not one.grades], limit_queries, "absent queries", notes)
    captions = _sample(_captions(asked, found), limit_queries, "pictures with texts", notes)
    texts = list(dict.fromkeys(text for own in asked.captions.values() for text in own)) if captions else []

    ways = list(dict.fromkeys([FIRST_STAGE, DEFAULT_PIPELINE, *rerank]))
    single = [*graded, *absent]
    timed = [single[place % len(single)] for place in range(TIMED_QUERIES)]
    asker = Asker(catalog, path, len(gallery.paths))
    cutoffs: list[float] = []
    for way in ways:
        cutoffs.append(asker.prepare(way))
        for query in timed[:WARM_UPS]:
            asker.search(query, way)
    steps = Steps(progress, len(timed) + len(ways) * len(single) + len(texts))
    searches = [partial(asker.search, way=way) for way in ways]
    *taken, encoding = measure.latencies(
        [*searches, lambda query: gallery.encoder.encode_texts([query.text])], timed, steps
    )
    pipelines = tuple(
        measure.pipeline(asker, way, cutoff, graded, absent, latency, steps)
        for way, cutoff, latency in zip(ways, cutoffs, taken, strict=True)
    )
    notes += [one.note for one in pipelines if one.note is not None]
    return Evaluation(
        file=path,
        format=asked.format,
        split=asked.split,
        model=gallery.model,
        encoder=gallery.encoder.id,
        images=len(gallery.paths),
        queries=len(single),
        pipelines=pipelines,
        image_to_text=measure.image_to_text(gallery, dict(captions), texts, steps) if captions else None,
        index=measure.index_recall(gallery, [one.text for one in _drawn(single, INDEX_QUERIES)]),
        encoding=encoding,
        peak_bytes=measure.peak_memory(),
        left_out={**found.left_out(), "queries": dropped, "lines": [number for number, _ in asked.broken]},
        notes=tuple(notes),
        seconds=time.perf_counter() - began,
    )


def _named(asked: files.Asked) -> list[files.Name]:
    return [*(name for one in asked.questions for name in one.grades), *asked.captions]


def _check_found(path: Path, found: names.Found) -> None:
    if found.ids or not (found.unknown or found.ambiguous):
        return
    first = (*found.unknown, *found.ambiguous)[0]
    why = f"the first is '{first}'" if found.unknown else f"'{first}' fits several"
    raise QueryError(
        f"None of the {len(found.unknown) + len(found.ambiguous)} pictures that {path} names is in the "
        f"catalog; {why}. Index them (search index PATH), or say where they are: search eval --images DIR"
    )


def _queries(asked: files.Asked, found: names.Found) -> tuple[list[Query], int]:
    """Questions with the ids of their pictures, and how many had to be left out for want of any."""
    queries: list[Query] = []
    dropped = 0
    for question in asked.questions:
        grades: dict[int, float] = {}
        for name, grade in question.grades.items():
            if name in found.ids:
                grades[found.ids[name]] = max(grade, grades.get(found.ids[name], 0.0))
        if question.grades and not grades:
            dropped += 1
        else:
            queries.append(Query(question.text, grades, question.kind, question.typed))
    return queries, dropped


def _captions(asked: files.Asked, found: names.Found) -> list[tuple[int, tuple[str, ...]]]:
    """The texts of each indexed picture; names that mean the same picture share theirs."""
    own: defaultdict[int, dict[str, None]] = defaultdict(dict)
    for name, texts in asked.captions.items():
        if name in found.ids:
            own[found.ids[name]].update(dict.fromkeys(texts))
    return [(image_id, tuple(texts)) for image_id, texts in own.items()]


def _notes(asked: files.Asked, found: names.Found, dropped: int) -> list[str]:
    def listed(left: Sequence[str]) -> str:
        more = ", …" if len(left) > names.NAMED_AT_MOST else ""
        return f"{', '.join(left[: names.NAMED_AT_MOST])}{more}"

    notes = [f"Line {number} was left out: {why}." for number, why in asked.broken]
    total = len(found.ids) + len(found.unknown) + len(found.ambiguous)
    if found.unknown:
        notes.append(
            f"{len(found.unknown)} of {counted(total, 'picture')} {_is(len(found.unknown))} not indexed "
            f"and left out: {listed(found.unknown)}"
        )
    if found.ambiguous:
        several = len(found.ambiguous)
        notes.append(
            f"{several} of {counted(total, 'name')} {verb(several, 'fit')} several pictures and "
            f"{_is(several)} left out: {listed(found.ambiguous)}. Name them by their paths, or give --images."
        )
    if dropped:
        left = f"{counted(dropped, 'query')} {'was' if dropped == 1 else 'were'} left out"
        notes.append(f"{left}, because none of their pictures is indexed.")
    return [*notes, *asked.notes]


def _is(count: int) -> str:
    return "is" if count == 1 else "are"


def _sample(items: list[T], count: int | None, what: str, notes: list[str]) -> list[T]:
    if count is None or count >= len(items):
        return items
    notes.append(f"A sample of {count} of {len(items)} {what} was asked (seed {SEED}).")
    return _drawn(items, count)


def _drawn(items: list[T], count: int) -> list[T]:
    if count >= len(items):
        return items
    return [items[place] for place in sorted(random.Random(SEED).sample(range(len(items)), count))]
