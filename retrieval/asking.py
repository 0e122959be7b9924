"""Asking a catalog: for pictures by a query, for pictures like one, for texts that fit one."""

from __future__ import annotations

import operator
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from retrieval.config import DEFAULT_LIMIT, RERANK_DEPTH, RERANK_SECONDS
from retrieval.db import reads
from retrieval.errors import QueryError
from retrieval.feedback import Feedback
from retrieval.meaning import meant, open_picture, picture_vector
from retrieval.query.filters import Filter
from retrieval.query.terms import Query
from retrieval.reranking import NOTHING, chosen_reranker, reranked
from retrieval.types import Hit, Hits, TextHit, TextHits

if TYPE_CHECKING:
    from PIL import Image

    from retrieval.db.reader import Reader
    from retrieval.db.reads import Shown
    from retrieval.explain import Explanation
    from retrieval.feedback import Marks
    from retrieval.protocols import Encoder, Progress
    from retrieval.query.terms import Picture
    from retrieval.ranking import Ranked
    from retrieval.state import State

Sort = Literal["relevance", "date"]
SORTS = ("relevance", "date")
DATED = 5000
"""Of at most so many candidates, the relevant ones are put in the order of their dates."""
AROUND = ("name", "folder", "described", "told", "caption", "seen", "feedback", "feedback against")
"""Signals from the words around a picture: most pictures have none of them."""
OWN_TEXT = 0.95
"""How likely a text fits the very picture that it was tied to."""
REPEATS = 4
"""A sidecar, a description in the file and an added text can say the same of the same picture."""
Known = int | str | os.PathLike[str]
"""A picture of the catalog, by id or path."""


@dataclass(frozen=True, slots=True)
class Asked:
    """How a question is to be answered: see `Catalog.search`."""

    limit: int = DEFAULT_LIMIT
    where: Filter | None = None
    rerank: str | None = None
    cutoff: bool = True
    min_match: float | None = None
    sort: Sort = "relevance"
    rerank_depth: int = RERANK_DEPTH
    rerank_seconds: float | None = RERANK_SECONDS
    allow_url: bool = False
    good: Sequence[Known] = ()
    bad: Sequence[Known] = ()
    progress: Progress | None = None

    def checked(self) -> Asked:
        try:
            limit = operator.index(self.limit)
        except TypeError:
            raise QueryError(f"A limit is a whole number, not {self.limit!r}.") from None
        if self.where is not None and not isinstance(self.where, Filter):
            raise QueryError(f"'where' takes a Filter, not {type(self.where).__name__}.")
        if limit < 1:
            raise QueryError(f"A limit of {self.limit} finds nothing. Ask for at least 1.")
        if self.sort not in SORTS:
            raise QueryError(f"Hits are sorted by {' or '.join(SORTS)}, not by '{self.sort}'.")
        if self.min_match is not None and not 0 <= self.min_match <= 1:
            raise QueryError(f"A match is between 0 and 1, not {self.min_match:g}.")
        if self.rerank_depth < 1:
            raise QueryError(f"A reranker looks at 1 picture at least, not at {self.rerank_depth}.")
        if self.rerank_seconds is not None and not self.rerank_seconds > 0:
            raise QueryError(f"A reranker needs more than {self.rerank_seconds:g} seconds.")
        return self


def as_query(query: str | os.PathLike[str] | Image.Image | Query) -> Query:
    """A string is words, whatever it looks like; a path or an open image is a picture."""
    if isinstance(query, Query):
        found = query
    elif isinstance(query, str):
        found = Query.parse(query, paths=False)
    elif isinstance(query, os.PathLike) or hasattr(query, "getexif"):
        found = Query.image(query)
    else:
        raise QueryError(f"A query is a text, a path, a picture or a Query, not {type(query).__name__}.")
    return found.checked()


def search(state: State, query: Query, asked: Asked, *, without: Sequence[int] = ()) -> Hits:
    """The pictures that answer a query best; `without` those."""
    from retrieval.ranking import Ranking

    asked.checked()
    info = state.active()
    encoder = state.encoder(info)
    reranker = chosen_reranker(asked.rerank, encoder)
    marks = Feedback(state).marks(query, good=asked.good, bad=asked.bad)
    # What is slow happens outside the lock, so that threads wait for the model, not for each other.
    terms = meant(state, info, encoder, query, allow_url=asked.allow_url)
    with state.snapshot() as reader:
        ranking = Ranking(
            state,
            state.still(info),
            encoder,
            terms,
            asked.where or Filter(),
            second=asked.rerank != NOTHING,
            without=without,
            marks=marks,
        )
        wanted = asked.limit if reranker is None else max(asked.limit, asked.rerank_depth)
        if asked.sort == "date" and asked.cutoff:
            wanted = max(wanted, DATED)
        least = (encoder.cutoff if asked.min_match is None else asked.min_match) if asked.cutoff else 0.0
        dated = asked.limit if asked.sort == "date" and asked.cutoff and reranker is None else None
        hits, closest = _hits(reader, ranking.ranked(wanted), wanted, least, newest=dated)
    notes = [note for term in terms if term.learnt is not None for note in term.learnt.notes]
    notes += [*_notes(query, encoder, marks), *state.damage()]
    if reranker is not None:
        hits, said = reranked(
            state,
            reranker,
            query.words,
            hits,
            depth=asked.rerank_depth,
            seconds=asked.rerank_seconds,
            fixed=(*marks.good, *marks.bad),
            progress=asked.progress,
        )
        notes += said
    if asked.sort == "date":
        hits = sorted(hits if asked.cutoff else hits[: asked.limit], key=_taken, reverse=True)
    return Hits(
        (replace(hit, rank=rank) for rank, hit in enumerate(hits[: asked.limit], 1)),
        closest=closest[: asked.limit],
        cutoff=least,
        notes=notes,
        html=_drawn,
    )


def similar(state: State, pictures: Sequence[Picture], asked: Asked) -> Hits:
    """The pictures that are most like one, or like several at once; those asked about are left out."""
    if not pictures:
        raise QueryError("Name a picture to find more like it: search similar photo.jpg")
    query = Query(tuple(term for picture in pictures for term in Query.image(picture).terms)).checked()
    own = [state.find_picture(picture, changed=True) for picture in pictures]
    return search(state, query, asked, without=[image_id for image_id in own if image_id is not None])


def match(
    state: State, picture: Picture, *, limit: int, cutoff: bool, min_match: float | None, allow_url: bool
) -> TextHits:
    """The texts of the catalog that fit a picture best; one that is tied to it is known to fit."""
    import numpy as np

    Asked(limit=limit, min_match=min_match).checked()
    info = state.active()
    encoder = state.encoder(info)
    image_id, vector = picture_vector(state, info, encoder, picture, allow_url=allow_url)
    with state.snapshot() as reader:
        current = state.still(info)
        if not current.text_generation:
            return TextHits()
        store = state.texts(current).store
        ids, scores = store.search(vector, REPEATS * limit)
        if image_id is not None:
            tied = np.array([text_id for text_id, _ in reads.texts_of(reader, [image_id])], np.int64)
            own = tied[np.isin(tied, store.ids) & ~np.isin(tied, ids)]
            ids = np.concatenate([ids, own])
            scores = np.concatenate([scores, store.vectors(own) @ vector])
        matches = encoder.match(scores, store.sample(vector), pair="image-text").astype(np.float64)
        if image_id is not None:
            # What was tied to the picture fits it, whatever the model makes of the words.
            matches[np.isin(ids, tied)] = np.maximum(matches[np.isin(ids, tied)], OWN_TEXT)
        order = np.lexsort((ids, -scores, -matches))
        ids, scores, matches = ids[order], scores[order], matches[order]
        least = (encoder.cutoff if min_match is None else min_match) if cutoff else 0.0
        rows = reads.texts_by_id(reader, ids.tolist())
    found: dict[tuple[str, int | None], TextHit] = {}
    for text_id, score, chance in zip(ids.tolist(), scores.tolist(), matches.tolist(), strict=True):
        row = rows.get(text_id)
        if row is None or (row.text, row.image_id) in found or len(found) == limit:
            continue
        found[row.text, row.image_id] = TextHit(
            text_id=text_id,
            text=row.text,
            score=score,
            match=chance,
            rank=len(found) + 1,
            source=row.source,
            image_id=row.image_id,
        )
    return TextHits(
        (hit for hit in found.values() if hit.match >= least),
        closest=(hit for hit in found.values() if hit.match < least),
        cutoff=least,
        notes=state.damage(),
    )


def explained(state: State, query: Query, picture: Picture, *, allow_url: bool = False) -> Explanation:
    """Why a picture, of the catalog or not, answers a query: what spoke for it, and where in it."""
    from retrieval.explain import Aim, explain, read_picture
    from retrieval.ranking import Ranking

    info = state.active()
    encoder = state.encoder(info)
    terms = meant(state, info, encoder, query, allow_url=allow_url)
    marks = Feedback(state).marks(query)
    image_id, path = state.find_picture(picture), None
    if image_id is not None:
        with state.snapshot():
            row = reads.shown(state.reader, [image_id]).get(image_id)
        if row is None:
            raise QueryError(f"The catalog at {state.location.name} has no picture {image_id}.")
        path = Path(os.fsdecode(row.path))
    elif isinstance(picture, os.PathLike):
        path = Path(picture)
    image = open_picture(picture, allow_url=allow_url) if path is None else read_picture(path)
    encoded = encoder.encode_prepared([encoder.preparer(image)])
    vector, aux = encoded.vectors[0], encoded.aux[0] if encoded.aux else b""
    with state.snapshot():
        ranking = Ranking(state, state.still(info), encoder, terms, Filter(), marks=marks)
        ranked, looks = ranking.about(image_id, vector, aux)
        samples = ranking.samples
    aims = [
        Aim(
            term.vector,
            term.term.weight,
            "image-image" if term.text is None else "text-image",
            level=level,
            sample=sample,
        )
        for term, level, sample in zip(terms, looks, samples, strict=True)
    ]
    return explain(
        encoder,
        image,
        aims,
        query=str(query),
        path=path,
        image_id=image_id,
        score=float(ranked.scores[0]),
        match=float(ranked.chances[0]),
        signals=spoken(ranked, 0),
        whole=vector,
    )


def _hits(
    reader: Reader, ranked: Ranked, limit: int, cutoff: float, *, newest: int | None
) -> tuple[list[Hit], list[Hit]]:
    """The best `limit` whose match reaches the cut-off, and those of the first `limit` below it.

    With `newest`, of either no more than so many are made, of the good ones the newest.
    """
    ids, chances = ranked.ids.tolist(), ranked.chances.tolist()
    above = [place for place, chance in enumerate(chances) if chance >= cutoff][:limit]
    below = sorted(
        (place for place in range(min(limit, len(ids))) if chances[place] < cutoff),
        key=lambda place: -chances[place],
    )
    shown = reads.shown(reader, [ids[place] for place in above + below])

    def hit(rank: int, place: int) -> Hit:
        row = shown[ids[place]]
        return Hit(
            image_id=ids[place],
            path=Path(os.fsdecode(row.path)),
            score=float(ranked.scores[place]),
            match=chances[place],
            rank=rank,
            taken_at=_when(row) or None,
            taken_source=row.taken_source,
            width=row.width,
            height=row.height,
            signals=spoken(ranked, place),
        )

    # Vectors without a picture are a damage that `doctor` mends; nothing of them can be shown.
    above, below = ([place for place in part if ids[place] in shown] for part in (above, below))
    if newest is not None:
        above = sorted(above, key=lambda place: _when(shown[ids[place]]), reverse=True)[:newest]
        below = below[:newest]
    return (
        [hit(rank, place) for rank, place in enumerate(above, 1)],
        [hit(rank, place) for rank, place in enumerate(below, 1)],
    )


def spoken(ranked: Ranked, place: int) -> dict[str, float]:
    """What spoke for one of the ranked pictures; of the words around it, what said anything."""
    signals = {name: float(values[place]) for name, values in ranked.signals.items()}
    return {name: value for name, value in signals.items() if value or name not in AROUND}


def _notes(query: Query, encoder: Encoder, marks: Marks) -> list[str]:
    """What a person should know about how the answer came about."""
    notes = []
    if marks:
        count = len(marks.good) + len(marks.bad)
        pictures = "1 picture" if count == 1 else f"{count} pictures"
        notes.append(f"What was said of {pictures} moves this ranking. See: search feedback list")
    reads_only = getattr(encoder, "reads_only", None)
    letters = [character for character in query.words if character.isalpha()]
    foreign = sum(not character.isascii() for character in letters)
    if reads_only is not None and 2 * foreign > len(letters):
        notes.append(
            f"The model of this catalog reads {reads_only} only: words of other alphabets say nothing to it. "
            "For a model of many languages see: search models"
        )
    return notes


def _drawn(hits: Hits) -> str:
    from retrieval.show.notebook import hits_html

    return hits_html(hits)


def _taken(hit: Hit) -> str:
    return hit.taken_at or ""


def _when(row: Shown) -> str:
    """When a picture was taken, with the offset of its clock where that is known."""
    offset = row.taken_offset
    if row.taken_at is None or offset is None:
        return row.taken_at or ""
    sign = "-" if offset < 0 else "+"
    return f"{row.taken_at}{sign}{abs(offset) // 60:02d}:{abs(offset) % 60:02d}"
