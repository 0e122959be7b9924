"""The catalog: everything that can be asked of an indexed library."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from retrieval.config import DEFAULT_LIMIT, RERANK_DEPTH, Location
from retrieval.db import reads
from retrieval.errors import (
    ModelError,
    QueryError,
)
from retrieval.state import State
from retrieval.stores import cache
from retrieval.types import Failure, Hit, Hits, Status, path_fields

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from retrieval.protocols import Encoder, SecondStage, VectorStore
    from retrieval.query.filters import Filter

Sort = Literal["relevance", "date"]
SORTS = ("relevance", "date")
RERANKERS = ("auto", "classes", "none")
"""What `rerank` may name: the encoder's own second stage twice, by role and by name, and nothing."""


class Catalog:
    """A library of indexed pictures, opened for asking.

    `place` is a catalog folder or an SQLAlchemy URL; without one, `$SEARCH_CATALOG` or the
    user's own catalog. `create` makes an empty catalog where there is none. `encoder` is
    the model, by name or as an object, that `index_folder` is to embed with. `readonly`
    promises that nothing is written, caches included. A catalog is safe to use from
    several threads and sees what an indexing process commits meanwhile. Use it as a
    context manager, or `close()` it.
    """

    def __init__(
        self,
        place: str | os.PathLike[str] | Location | None = None,
        *,
        encoder: str | Encoder | None = None,
        create: bool = False,
        readonly: bool = False,
    ) -> None:
        self.state = State(place, encoder=encoder, create=create, readonly=readonly)

    def __enter__(self) -> Catalog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Catalog({self.location.name!r})"

    def close(self) -> None:
        self.state.close()

    @property
    def location(self) -> Location:
        return self.state.location

    @property
    def encoder(self) -> str | Encoder | None:
        """The model the catalog was opened with, for `index_folder`."""
        return self.state.given

    @property
    def readonly(self) -> bool:
        return self.state.readonly

    def search(
        self,
        query: str,
        *,
        limit: int = DEFAULT_LIMIT,
        where: Filter | None = None,
        rerank: str | None = None,
        cutoff: bool = True,
        min_match: float | None = None,
        sort: Sort = "relevance",
    ) -> Hits:
        """Find pictures by words, best first.

        Hits whose match is below the cut-off (`min_match`, else the encoder's own) are left
        out, and told in `Hits.closest`; `cutoff=False` gives the plain top `limit`. The filter
        acts before the search: `limit` pictures come back whenever that many pass. `rerank`
        names what looks again at the best candidates: by default the encoder's own second
        stage where it has one (`classes` for the starter), `none` for nothing.
        """
        from retrieval.query.filters import Filter

        if not isinstance(query, str):
            raise QueryError(f"A query is a text, not {type(query).__name__}.")
        text = query.strip()
        if not text:
            raise QueryError('The query is empty. Say what to look for: search "a dog on a beach"')
        if limit < 1:
            raise QueryError(f"A limit of {limit} finds nothing. Ask for at least 1.")
        if sort not in SORTS:
            raise QueryError(f"Hits are sorted by {' or '.join(SORTS)}, not by '{sort}'.")
        if min_match is not None and not 0 <= min_match <= 1:
            raise QueryError(f"A match is between 0 and 1, not {min_match:g}.")
        info = self.state.active()
        encoder = self.state.encoder(info)
        second = _second_stage(encoder, rerank)
        # The slow part happens outside the lock, so that threads wait for the model, not for each other.
        vector = encoder.encode_texts([text])[0]
        with self.state.snapshot():
            view = self.state.view(self.state.still(info), where or Filter())
            ids, scores = view.store.search(vector, max(limit, RERANK_DEPTH), allowed=view.allowed)
            matches = encoder.match(scores, view.store.sample(vector, allowed=view.visible))
            if second is not None and len(ids):
                order = _second_order(second, text, vector, ids, scores, view.store)
                ids, scores, matches = ids[order], scores[order], matches[order]
            least = encoder.cutoff if min_match is None else min_match
            return self._hits(ids, scores, matches, limit, least if cutoff else 0.0, sort)

    def status(self) -> Status:
        """What the catalog holds; loads no model and no vectors."""
        with self.state.snapshot() as reader:
            known = reads.encoders(reader)
            active = next((info for info in known if info.active), None)
            embedded = reads.embedded_counts(reader)
            kind, fresh = "none", active is None
            if active is not None:
                kind, fresh = cache.is_fresh(
                    self.location.cache, active.cache_key, active.dim, active.generation, active.epoch
                )
            return Status(
                catalog=self.location.name,
                **reads.counts(reader),
                encoder=active.key if active else None,
                encoders=tuple(
                    {
                        "id": info.key,
                        "model": info.spec,
                        "dim": info.dim,
                        "images": embedded.get(info.id, 0),
                        "state": info.state,
                        "active": info.active,
                    }
                    for info in known
                ),
                roots=tuple(self._root(path) for path in reads.roots(reader)),
                store=kind,
                cache_fresh=fresh,
                db_bytes=reader.size(),
            )

    def failures(self) -> list[Failure]:
        """The files that could not be indexed, by path."""
        with self.state.lock:
            rows = reads.failures(self.state.reader)
        return [Failure(Path(os.fsdecode(path)), reason, detail) for path, reason, detail in rows]

    def forget(self, path: str | os.PathLike[str]) -> int:
        """Take a picture, or a folder of them, out of the catalog; the files stay where they are.

        Returns how many pictures were taken out. Indexing their folder brings them back.
        """
        target = os.fsencode(os.path.abspath(os.path.expanduser(path)))
        with self.state.writer() as writer:
            return writer.forget(target)

    def gc(self, *, encoders: bool = False) -> dict[str, int]:
        """Remove for good what only waits for a file to return; with `encoders`, unused models' vectors.

        Returns how many pictures, failures and encoders went, and the bytes given back.
        """
        with self.state.lock:
            reader = self.state.reader
            before = reader.size()
            unused = [info.id for info in reads.encoders(reader) if not info.active] if encoders else []
            stale = [path for path, _, _ in reads.failures(reader) if not os.path.lexists(path)]
        with self.state.writer() as writer:
            images = writer.collect()
            writer.forget_failures(stale)
            writer.drop_encoders(unused)
            writer.compact()
        with self.state.lock:
            reader = self.state.reader
            known = reads.encoders(reader)
            keys = [key for info in known for key in (info.cache_key, info.text_cache_key)]
            cache.sweep_folders(self.location.cache, keys)
            freed = max(0, before - reader.size())
        return {"images": images, "failures": len(stale), "encoders": len(unused), "bytes": freed}

    def rebuild(self, *, store: str | None = None) -> int:
        """Make the caches of vectors anew from the rows; returns how many vectors that was.

        `store` is `auto`, `flat` or `faiss`, and kept from then on.
        """
        from retrieval.stores.opening import KINDS, rebuild_store

        self.state.check_writable()
        if store is not None and store not in KINDS:
            raise QueryError(f"'{store}' is not a kind of store. There are: {', '.join(KINDS)}")
        with self.state.lock:
            self.state.forget_stores()
            with self.state.reader.snapshot():
                return sum(
                    len(
                        rebuild_store(self.location.cache, self.state.image_truth(info), kind=store).store.ids
                    )
                    for info in reads.encoders(self.state.reader)
                )

    def refresh(self) -> None:
        """Bring the active encoder's cache up to the rows, so that the next query finds it ready."""
        with self.state.snapshot() as reader:
            info = reads.active_encoder(reader)
            if info is not None:
                self.state.images(info, save=True)
                if info.text_generation:
                    self.state.texts(info, save=True)

    def _hits(
        self,
        ids: NDArray[np.int64],
        scores: NDArray[np.float32],
        matches: NDArray[np.float32],
        limit: int,
        cutoff: float,
        sort: Sort,
    ) -> Hits:
        ranked = list(zip(ids.tolist(), scores.tolist(), matches.tolist(), strict=True))
        above = [row for row in ranked if row[2] >= cutoff][:limit]
        below = sorted((row for row in ranked[:limit] if row[2] < cutoff), key=lambda row: -row[2])
        shown = reads.shown(self.state.reader, [row[0] for row in above + below])
        # Vectors without a picture are a damage that `doctor` mends; nothing of them can be shown.
        above, below = ([row for row in rows if row[0] in shown] for rows in (above, below))
        if sort == "date":
            above.sort(key=lambda row: shown[row[0]].taken_at or "", reverse=True)
        return Hits(
            (_hit(rank, row, shown[row[0]]) for rank, row in enumerate(above, 1)),
            closest=(_hit(rank, row, shown[row[0]]) for rank, row in enumerate(below, 1)),
            cutoff=cutoff,
        )

    def _root(self, path: bytes) -> dict[str, object]:
        return {
            **path_fields(os.fsdecode(path)),
            "online": os.path.isdir(path),
            "images": reads.count_under(self.state.reader, path),
        }


def _second_stage(encoder: Encoder, rerank: str | None) -> SecondStage | None:
    from retrieval.protocols import SecondStage

    if rerank not in (None, *RERANKERS):
        raise QueryError(f"No reranker is called '{rerank}'. There are: {', '.join(RERANKERS)}.")
    if rerank == "none":
        return None
    if isinstance(encoder, SecondStage):
        return encoder
    if rerank is not None:
        raise ModelError(f"The model {encoder.id} has no second stage to look again with (rerank).")
    return None


def _second_order(
    second: SecondStage,
    text: str,
    vector: NDArray[np.float32],
    ids: NDArray[np.int64],
    scores: NDArray[np.float32],
    store: VectorStore,
) -> NDArray[np.int64]:
    """The order of candidates after a second look at the best of them; equal ones keep their place."""
    import numpy as np

    depth = min(RERANK_DEPTH, len(ids))
    again = second.rescore(text, vector, scores[:depth], store.aux(ids[:depth]))
    order = np.argsort(-again, kind="stable")
    return np.concatenate([order, np.arange(depth, len(ids))])


def _hit(rank: int, row: tuple[int, float, float], shown: reads.Shown) -> Hit:
    image_id, score, match = row
    return Hit(
        rank=rank,
        path=Path(os.fsdecode(shown.path)),
        score=score,
        match=match,
        image_id=image_id,
        taken_at=_with_offset(shown.taken_at, shown.taken_offset),
        taken_source=shown.taken_source,
        width=shown.width,
        height=shown.height,
    )


def _with_offset(taken_at: str | None, offset: int | None) -> str | None:
    if taken_at is None or offset is None:
        return taken_at
    sign = "-" if offset < 0 else "+"
    return f"{taken_at}{sign}{abs(offset) // 60:02d}:{abs(offset) % 60:02d}"
