"""The catalog: everything that can be asked of an indexed library."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from retrieval import registry
from retrieval.config import DEFAULT_LIMIT, RERANK_DEPTH, Location
from retrieval.db import reads
from retrieval.db.reader import holds_something, open_reader
from retrieval.errors import (
    CatalogBusy,
    CatalogError,
    CatalogNotFound,
    EncoderMismatch,
    ModelError,
    QueryError,
)
from retrieval.stores import cache
from retrieval.types import Failure, Hit, Hits, Status, path_fields

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from retrieval.db.queries import Writer
    from retrieval.db.reader import Reader
    from retrieval.db.reads import EncoderInfo
    from retrieval.protocols import Encoder, SecondStage, VectorStore
    from retrieval.query.filters import Filter
    from retrieval.stores.opening import Opened, Truth

Sort = Literal["relevance", "date"]
SORTS = ("relevance", "date")
RERANKERS = ("auto", "classes", "none")
"""What `rerank` may name: the encoder's own second stage twice, by role and by name, and nothing."""


@dataclass(frozen=True, slots=True)
class _View:
    """One moment of the catalog: its vectors, which of them may be found, and which may be seen.

    A match is measured against all that can be seen, so that a filter does not change it.
    """

    store: VectorStore
    allowed: NDArray[np.bool_] | None
    visible: NDArray[np.bool_] | None


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
        self.location = Location.parse(place)
        self.encoder = encoder
        self.readonly = readonly
        self._lock = threading.RLock()
        self._closed = False
        self._opened: tuple[EncoderInfo, Opened] | None = None
        self._encoders: dict[str, Encoder] = {}
        try:
            self._open_reader = open_reader(self.location)
        except CatalogNotFound:
            if not create or holds_something(self.location):
                raise
            self._writer().close()
            self._open_reader = open_reader(self.location)

    def __enter__(self) -> Catalog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Catalog({self.location.name!r})"

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._open_reader.close()
            self._opened = None

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
        with self._lock:
            info = self._active()
            encoder = self._encoder(info)
        second = _second_stage(encoder, rerank)
        # The slow part happens outside the lock, so that threads wait for the model, not for each other.
        vector = encoder.encode_texts([text])[0]
        with self._lock, self._reader.snapshot():
            current = self._active()
            if current.key == info.key:
                view = self._view(current, where or Filter())
                ids, scores = view.store.search(vector, max(limit, RERANK_DEPTH), allowed=view.allowed)
                matches = encoder.match(scores, view.store.sample(vector, allowed=view.visible))
                if second is not None and len(ids):
                    order = _second_order(second, text, vector, ids, scores, view.store)
                    ids, scores, matches = ids[order], scores[order], matches[order]
                least = encoder.cutoff if min_match is None else min_match
                return self._hits(ids, scores, matches, limit, least if cutoff else 0.0, sort)
        raise CatalogBusy(
            f"The catalog at {self.location.name} switched to another model during this search. Search again."
        )

    def status(self) -> Status:
        """What the catalog holds; loads no model and no vectors."""
        with self._lock, self._reader.snapshot():
            known = reads.encoders(self._reader)
            active = next((info for info in known if info.active), None)
            embedded = reads.embedded_counts(self._reader)
            kind, fresh = "none", active is None
            if active is not None:
                kind, fresh = cache.is_fresh(
                    self.location.cache, active.cache_key, active.dim, active.generation, active.epoch
                )
            return Status(
                catalog=self.location.name,
                **reads.counts(self._reader),
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
                roots=tuple(self._root(path) for path in reads.roots(self._reader)),
                store=kind,
                cache_fresh=fresh,
                db_bytes=self._reader.size(),
            )

    def failures(self) -> list[Failure]:
        """The files that could not be indexed, by path."""
        with self._lock:
            rows = reads.failures(self._reader)
        return [Failure(Path(os.fsdecode(path)), reason, detail) for path, reason, detail in rows]

    def forget(self, path: str | os.PathLike[str]) -> int:
        """Take a picture, or a folder of them, out of the catalog; the files stay where they are.

        Returns how many pictures were taken out. Indexing their folder brings them back.
        """
        target = os.fsencode(os.path.abspath(os.path.expanduser(path)))
        with self._writer() as writer:
            return writer.forget(target)

    def gc(self, *, encoders: bool = False) -> dict[str, int]:
        """Remove for good what only waits for a file to return; with `encoders`, unused models' vectors.

        Returns how many pictures, failures and encoders went, and the bytes given back.
        """
        with self._lock:
            before = self._reader.size()
            unused = [info.id for info in reads.encoders(self._reader) if not info.active] if encoders else []
            stale = [path for path, _, _ in reads.failures(self._reader) if not os.path.lexists(path)]
        with self._writer() as writer:
            images = writer.collect()
            writer.forget_failures(stale)
            writer.drop_encoders(unused)
            writer.compact()
        with self._lock:
            cache.sweep_folders(
                self.location.cache, [info.cache_key for info in reads.encoders(self._reader)]
            )
            freed = max(0, before - self._reader.size())
        return {"images": images, "failures": len(stale), "encoders": len(unused), "bytes": freed}

    def rebuild(self, *, store: str | None = None) -> int:
        """Make the caches of vectors anew from the rows; returns how many vectors that was.

        `store` is `auto`, `flat` or `faiss`, and kept from then on.
        """
        from retrieval.stores.opening import KINDS, rebuild_store

        self._check_writable()
        if store is not None and store not in KINDS:
            raise QueryError(f"'{store}' is not a kind of store. There are: {', '.join(KINDS)}")
        with self._lock:
            self._opened = None
            with self._reader.snapshot():
                return sum(
                    len(rebuild_store(self.location.cache, self._truth(info), kind=store).store.ids)
                    for info in reads.encoders(self._reader)
                )

    def refresh(self) -> None:
        """Bring the active encoder's cache up to the rows, so that the next query finds it ready."""
        with self._lock, self._reader.snapshot():
            info = reads.active_encoder(self._reader)
            if info is not None:
                self._store(info, save=True)

    @property
    def _reader(self) -> Reader:
        if self._closed:
            raise CatalogError(f"The catalog at {self.location.name} was closed. Open it again.")
        return self._open_reader

    def _check_writable(self) -> None:
        if self.readonly:
            raise CatalogError(f"The catalog at {self.location.name} was opened for reading only.")

    def _writer(self) -> Writer:
        from retrieval.db.queries import Writer

        self._check_writable()
        return Writer(self.location)

    def _active(self) -> EncoderInfo:
        info = reads.active_encoder(self._reader)
        if info is None:
            raise CatalogError(
                f"The catalog at {self.location.name} holds no pictures yet. Index some: search index PATH"
            )
        return info

    def _view(self, info: EncoderInfo, where: Filter) -> _View:
        import numpy as np

        store = self._store(info).store
        hidden = reads.hidden_ids(self._reader)
        visible = ~np.isin(store.ids, hidden) if hidden else None
        if not where:
            return _View(store, allowed=visible, visible=visible)
        sql, values = where.sql()
        rows = self._reader.rows(sql, **values)
        circle = where.circle
        if circle is not None:
            rows = [row for row in rows if circle.contains(float(row[1]), float(row[2]))]
        passing = np.fromiter((row[0] for row in rows), np.int64, len(rows))
        return _View(store, allowed=np.isin(store.ids, passing, assume_unique=True), visible=visible)

    def _store(self, info: EncoderInfo, *, save: bool = False) -> Opened:
        from retrieval.stores.opening import open_store

        if self._opened is not None and self._opened[0] == info and (self._opened[1].fresh or not save):
            return self._opened[1]
        opened = open_store(self.location.cache, self._truth(info), save=save, write=not self.readonly)
        self._opened = (info, opened)
        return opened

    def _truth(self, info: EncoderInfo) -> Truth:
        from retrieval.stores.opening import Truth

        return Truth(
            key=info.cache_key,
            dim=info.dim,
            generation=info.generation,
            epoch=info.epoch,
            count=lambda: reads.embedding_count(self._reader, info.id),
            has=lambda generation: reads.has_generation(self._reader, info.id, generation),
            rows=lambda after: reads.vectors(self._reader, info.id, after=after),
        )

    def _encoder(self, info: EncoderInfo) -> Encoder:
        if self.encoder is not None and not isinstance(self.encoder, str) and self.encoder.id == info.key:
            return self.encoder
        encoder = self._encoders.get(info.key)
        if encoder is None:
            try:
                encoder = registry.load_encoder(info.spec)
            except ModelError as error:
                raise type(error)(f"The catalog was made with the model '{info.spec}'. {error}") from error
            if encoder.id != info.key:
                raise EncoderMismatch(
                    f"The catalog's vectors are of {info.key}, but '{info.spec}' is now {encoder.id}. "
                    f"Embed the pictures anew: search index --model {info.spec}"
                )
            self._encoders = {info.key: encoder}
        return encoder

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
        shown = reads.shown(self._reader, [row[0] for row in above + below])
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
            "images": reads.count_under(self._reader, path),
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
