"""The catalog: everything that can be asked of an indexed library."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from retrieval import registry
from retrieval.config import DEFAULT_LIMIT, RERANK_DEPTH, Location
from retrieval.db import reads
from retrieval.db.reader import open_reader
from retrieval.errors import CatalogBusy, CatalogError, EncoderMismatch, ModelError, QueryError
from retrieval.stores import cache
from retrieval.types import Failure, Hit, Hits, Status

if TYPE_CHECKING:
    import datetime as dt

    import numpy as np
    from numpy.typing import NDArray

    from retrieval.db.reads import EncoderInfo
    from retrieval.protocols import Encoder, SecondStage, VectorStore
    from retrieval.query.filters import Filters
    from retrieval.stores.opening import Opened, Truth

Sort = Literal["relevance", "date"]


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

    `location` is a catalog folder or an SQLAlchemy URL; without one, `$SEARCH_CATALOG` or
    the user's own catalog. May be used from several threads; sees what an indexing process
    commits meanwhile. Use it as a context manager, or `close()` it.
    """

    def __init__(self, location: str | os.PathLike[str] | Location | None = None) -> None:
        self.location = Location.parse(location)
        self._reader = open_reader(self.location)
        self._lock = threading.RLock()
        self._opened: tuple[EncoderInfo, Opened] | None = None
        self._encoders: dict[str, Encoder] = {}

    def __enter__(self) -> Catalog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Catalog({self.location.name!r})"

    def close(self) -> None:
        with self._lock:
            self._reader.close()
            self._opened = None

    def search(
        self,
        query: str,
        *,
        limit: int = DEFAULT_LIMIT,
        folder: str | os.PathLike[str] | None = None,
        after: str | dt.date | None = None,
        before: str | dt.date | None = None,
        camera: str | None = None,
        near: str | tuple[float, float, float] | None = None,
        sort: Sort = "relevance",
        min_match: float | None = None,
        include_all: bool = False,
        rerank: bool | None = None,
    ) -> Hits:
        """Find pictures by words, best first.

        Hits whose match is below the cut-off (`min_match`, else the encoder's own) are left
        out unless `include_all`; `Hits.closest` still tells them. Filters act before the
        search: `limit` pictures come back whenever that many pass. `rerank=None` looks again
        at the best candidates where the encoder can, `True` insists on it, `False` does not.
        """
        from retrieval.query.filters import Filters

        text = query.strip()
        if not text:
            raise QueryError('The query is empty. Say what to look for: search "a dog on a beach"')
        if limit < 1:
            raise QueryError(f"A limit of {limit} finds nothing. Ask for at least 1.")
        if min_match is not None and not 0 <= min_match <= 1:
            raise QueryError(f"A match is between 0 and 1, not {min_match:g}.")
        filters = Filters.build(folder=folder, after=after, before=before, camera=camera, near=near)
        with self._lock:
            info = self._active()
            encoder = self._encoder(info)
        second = self._second_stage(encoder, rerank)
        # The slow part happens outside the lock, so that threads wait for the model, not for each other.
        vector = encoder.encode_texts([text])[0]
        with self._lock, self._reader.snapshot():
            current = self._active()
            if current.key == info.key:
                view = self._view(current, filters)
                ids, scores = view.store.search(vector, max(limit, RERANK_DEPTH), allowed=view.allowed)
                matches = encoder.match(scores, view.store.sample(vector, allowed=view.visible))
                if second is not None and len(ids):
                    order = _second_order(second, text, vector, ids, scores, view.store)
                    ids, scores, matches = ids[order], scores[order], matches[order]
                cutoff = encoder.cutoff if min_match is None else min_match
                return self._hits(ids, scores, matches, limit, 0.0 if include_all else cutoff, sort)
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
        return [Failure(os.fsdecode(path), reason, detail) for path, reason, detail in rows]

    def forget(self, path: str | os.PathLike[str]) -> int:
        """Take a picture, or a folder of them, out of the catalog; the files stay where they are.

        Returns how many pictures were taken out. Indexing their folder brings them back.
        """
        from retrieval.db.queries import Writer

        target = os.fsencode(os.path.abspath(os.path.expanduser(path)))
        with Writer(self.location) as writer:
            return writer.forget(target)

    def gc(self, *, encoders: bool = False) -> dict[str, int]:
        """Remove for good what only waits for a file to return; with `encoders`, unused models' vectors.

        Returns how many pictures, failures and encoders went, and the bytes given back.
        """
        from retrieval.db.queries import Writer

        with self._lock:
            before = self._reader.size()
            unused = [info.id for info in reads.encoders(self._reader) if not info.active] if encoders else []
            stale = [path for path, _, _ in reads.failures(self._reader) if not os.path.lexists(path)]
        with Writer(self.location) as writer:
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

    def rebuild(self, *, store: str | None = None) -> Status:
        """Make the caches of vectors anew from the rows; `store` is `auto`, `flat` or `faiss`."""
        from retrieval.stores.opening import KINDS, rebuild_store

        if store is not None and store not in KINDS:
            raise QueryError(f"'{store}' is not a kind of store. There are: {', '.join(KINDS)}")
        with self._lock:
            with self._reader.snapshot():
                for info in reads.encoders(self._reader):
                    rebuild_store(self.location.cache, self._truth(info), kind=store)
            self._opened = None
            return self.status()

    def refresh(self) -> None:
        """Bring the active encoder's cache up to the rows, so that the next query finds it ready."""
        with self._lock, self._reader.snapshot():
            info = reads.active_encoder(self._reader)
            if info is not None:
                self._store(info, save=True)

    def _active(self) -> EncoderInfo:
        info = reads.active_encoder(self._reader)
        if info is None:
            raise CatalogError(
                f"The catalog at {self.location.name} holds no pictures yet. Index some: search index PATH"
            )
        return info

    def _view(self, info: EncoderInfo, filters: Filters) -> _View:
        import numpy as np

        store = self._store(info).store
        hidden = reads.hidden_ids(self._reader)
        visible = ~np.isin(store.ids, hidden) if hidden else None
        if not filters:
            return _View(store, allowed=visible, visible=visible)
        sql, values = filters.sql()
        rows = self._reader.rows(sql, **values)
        near = filters.near
        if near is not None:
            rows = [row for row in rows if near.contains(float(row[1]), float(row[2]))]
        passing = np.fromiter((row[0] for row in rows), np.int64, len(rows))
        return _View(store, allowed=np.isin(store.ids, passing, assume_unique=True), visible=visible)

    def _store(self, info: EncoderInfo, *, save: bool = False) -> Opened:
        from retrieval.stores.opening import open_store

        if self._opened is not None and self._opened[0] == info and (self._opened[1].fresh or not save):
            return self._opened[1]
        opened = open_store(self.location.cache, self._truth(info), save=save)
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
            rows=lambda after: reads.vectors(self._reader, info.id, after=after),
        )

    def _encoder(self, info: EncoderInfo) -> Encoder:
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

    def _second_stage(self, encoder: Encoder, wanted: bool | None) -> SecondStage | None:
        from retrieval.protocols import SecondStage

        if wanted is False:
            return None
        if isinstance(encoder, SecondStage):
            return encoder
        if wanted:
            raise ModelError(f"The model {encoder.id} has no second stage. Search without --rerank.")
        return None

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
        if sort == "date":
            above.sort(key=lambda row: shown[row[0]].taken_at or "", reverse=True)
        return Hits(
            items=tuple(_hit(rank, row, shown[row[0]]) for rank, row in enumerate(above, 1)),
            closest=tuple(_hit(rank, row, shown[row[0]]) for rank, row in enumerate(below, 1)),
            cutoff=cutoff,
        )

    def _root(self, path: bytes) -> dict[str, object]:
        return {
            "path": os.fsdecode(path).encode("utf-8", "replace").decode("utf-8"),
            "online": os.path.isdir(path),
            "images": reads.count_under(self._reader, path),
        }


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
        path=os.fsdecode(shown.path),
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
