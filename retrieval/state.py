"""What an open catalog has in hand: its rows, its vectors and its model, for several threads at once."""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from operator import index
from typing import TYPE_CHECKING, NamedTuple

from retrieval import registry
from retrieval.config import Location
from retrieval.db import reads, tags
from retrieval.db.reader import holds_something, open_reader
from retrieval.db.readers import Moment, Readers
from retrieval.errors import (
    CatalogBusy,
    CatalogError,
    CatalogNotFound,
    EncoderMismatch,
    ImageError,
    ModelError,
    ModelUnavailable,
    QueryError,
    SchemaOutdated,
)
from retrieval.query.masks import allowed_among, passing_ids
from retrieval.query.terms import is_url
from retrieval.types import clamped_ns
from retrieval.views import Drawn, Masks, View

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from retrieval.db.queries import Writer
    from retrieval.db.reader import Reader
    from retrieval.db.reads import EncoderInfo, FileRow
    from retrieval.protocols import Encoder, VectorStore
    from retrieval.query.filters import Filter
    from retrieval.query.terms import Picture
    from retrieval.stores.opening import Opened, Truth

    Kept = tuple["Stamp", Opened]

KEPT_MASKS = 4
KEPT_TEXTS = 512


class CatalogEmpty(CatalogError):
    """Nothing was indexed yet."""


class Stamp(NamedTuple):
    """Which vectors a store holds, of which state of the rows."""

    source: int
    key: str
    epoch: int
    generation: int

    def overtaken_by(self, other: Stamp) -> bool:
        return self[:3] == other[:3] and self.generation < other.generation


class State:
    """Opens the parts of a catalog when they are needed, and keeps them. Safe to use from several threads.

    Everything that reads does so inside a `snapshot()`, and sees one moment of the catalog there.
    Threads do not wait for each other in it, only for who opens or catches up on vectors that they
    need as well. What is slow (a model at work) is done outside, between `active()` and `still()`.
    """

    def __init__(
        self,
        place: str | os.PathLike[str] | Location | None,
        *,
        encoder: str | Encoder | None = None,
        create: bool = False,
        readonly: bool = False,
    ) -> None:
        self.location = Location.parse(place)
        self.given = encoder
        self.readonly = readonly or self.location.untrusted
        self._small = threading.Lock()
        """Held for a look at what is kept, and never while rows are read."""
        self._opening = threading.RLock()
        """Held by who opens vectors, so that nobody opens the same beside them."""
        self._loading = threading.Lock()
        self._stores: dict[str, Kept] = {}
        self._masks: Masks | None = None
        self._drawn_texts: Drawn | None = None
        self._encoders: dict[str, Encoder] = {}
        self._said: OrderedDict[tuple[str, str], NDArray[np.float32]] = OrderedDict()
        try:
            self._readers = Readers(self.location)
        except CatalogNotFound:
            if not create or holds_something(self.location):
                raise
            self._create()
            self._readers = Readers(self.location)
        except SchemaOutdated:
            if self.readonly:
                raise
            self._upgrade()
            self._readers = Readers(self.location)

    def close(self) -> None:
        """Let go of everything. What another thread is reading is read to its end."""
        self._readers.close()
        self.forget_stores()

    @property
    def reader(self) -> Reader:
        """The rows, for who is in a snapshot."""
        return self._moment.reader

    @property
    def _moment(self) -> Moment:
        held = self._readers.held
        if held is None:
            raise RuntimeError("Rows are read inside a snapshot.")
        return held

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[Reader]:
        """One moment of the rows; a snapshot inside of another is of the same moment."""
        # Looked at before the rows are: so these vectors are of the same moment or of an earlier one,
        # and whoever is overtaken by others still has them.
        stores = self._stores
        outer = self._readers.held is None
        with self._readers.moment() as moment:
            if outer:
                moment.kept.update(stores)
            yield moment.reader

    def check_writable(self) -> None:
        if self.readonly:
            raise CatalogError(f"The catalog at {self.location.name} was opened for reading only.")

    def writer(self) -> Writer:
        from retrieval.db.queries import Writer

        self.check_writable()
        # A catalog that was taken away is not made anew, nor one changed that a newer version has made.
        open_reader(self.location).close()
        return Writer(self.location)

    def _create(self) -> None:
        from retrieval.db.queries import Writer

        self.check_writable()
        Writer(self.location).close()

    def _upgrade(self) -> None:
        from retrieval.db.upgrading import upgrade_catalog

        upgrade_catalog(self.location)

    def active(self) -> EncoderInfo:
        """The model whose vectors are searched."""
        with self.snapshot() as reader:
            info = reads.active_encoder(reader)
        if info is None:
            raise CatalogEmpty(
                f"The catalog at {self.location.name} holds no pictures yet. Index some: search index PATH"
            )
        return info

    def still(self, info: EncoderInfo) -> EncoderInfo:
        """The model as it is by now, after what was slow; to be called inside a snapshot."""
        current = self.active()
        if current.key != info.key:
            raise CatalogBusy(
                f"The catalog at {self.location.name} switched to another model during this search. "
                "Search again."
            )
        return current

    def encoder(self, info: EncoderInfo) -> Encoder:
        if self.given is not None and not isinstance(self.given, str) and self.given.id == info.key:
            return self.given
        encoder = self._encoders.get(info.key)
        if encoder is not None:
            return encoder
        with self._loading:
            encoder = self._encoders.get(info.key)
            if encoder is None:
                if self.location.untrusted:
                    self._check_model(info.spec)
                try:
                    encoder = registry.load_encoder(info.spec)
                except ModelError as error:
                    raise type(error)(
                        f"The catalog was made with the model '{info.spec}'. {error}"
                    ) from error
                if encoder.id != info.key:
                    raise EncoderMismatch(
                        f"The catalog's vectors are of {info.key}, but '{info.spec}' is now {encoder.id}. "
                        f"Embed the pictures anew: search index --model {info.spec}"
                    )
                self._encoders = {info.key: encoder}
            return encoder

    def _check_model(self, spec: str) -> None:
        """A catalog of a stranger may name only models that are here; none is fetched or looked for."""
        from retrieval.encoders.exports import models_here

        if spec.partition(":")[0] in registry.BUILT_IN or spec in models_here():
            return
        raise ModelUnavailable(
            f"This catalog of somebody else's wants the model '{spec}', which is not among those of this "
            "machine, and nothing is loaded or fetched at its word. See what there is: search models"
        )

    def text_vectors(self, encoder: Encoder, texts: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """The vectors of texts; those of the last few hundred that were asked for are remembered."""
        with self._small:
            found = {text: self._said[encoder.id, text] for text in texts if (encoder.id, text) in self._said}
        new = [text for text in dict.fromkeys(texts) if text not in found]
        if new:
            for text, vector in zip(new, encoder.encode_texts(new), strict=True):
                found[text] = vector.copy()
                found[text].setflags(write=False)
        with self._small:
            for text, vector in found.items():
                self._said[encoder.id, text] = vector
                self._said.move_to_end((encoder.id, text))
            while len(self._said) > KEPT_TEXTS:
                self._said.popitem(last=False)
        return found

    def images(self, info: EncoderInfo, *, save: bool = False) -> Opened:
        """The vectors of the pictures; to be called inside a snapshot."""
        return self._store("images", self.image_truth(info), save=save)

    def texts(self, info: EncoderInfo, *, save: bool = False) -> Opened:
        """The vectors of the texts, whose ids are those of the texts; to be called inside a snapshot."""
        return self._store("texts", self.text_truth(info), save=save)

    def drawn_texts(self, info: EncoderInfo) -> Drawn:
        """A fair draw from the vectors of the texts; to be called inside a snapshot."""
        store, drawn = self.texts(info).store, self._drawn_texts
        if drawn is None or drawn.store is not store:
            drawn = self._drawn_texts = Drawn(store)
        return drawn

    def _store(self, role: str, truth: Truth, *, save: bool) -> Opened:
        moment = self._moment
        wanted = Stamp(moment.source, truth.key, truth.epoch, truth.generation)

        def at_hand(kept: Kept | None) -> bool:
            return kept is not None and kept[0] == wanted and (kept[1].fresh or not save)

        kept: Kept | None = moment.kept.get(role)
        if not at_hand(kept):
            with self._opening:
                kept = self._stores.get(role)
                if not at_hand(kept):
                    # Whoever has begun before others caught up has the vectors of then, and writes none.
                    late = kept is not None and wanted.overtaken_by(kept[0])
                    kept = wanted, self._opened(truth, save=save and not late, write=not late)
                    if not late:
                        self._stores = {**self._stores, role: kept}
            moment.kept[role] = kept
        assert kept is not None
        return kept[1]

    def damage(self) -> tuple[str, ...]:
        """What a person should know of the vectors that were opened: those that are damaged are left out."""
        stores = self._stores
        return tuple(
            f"The vectors of {len(kept[1].damaged)} {what} are damaged, so that they are left out. "
            "Mend that: search doctor --fix, then search index"
            for what, role in (("pictures", "images"), ("texts", "texts"))
            if (kept := stores.get(role)) is not None and kept[1].damaged
        )

    def forget_stores(self) -> None:
        """Have nothing at hand; in a snapshot, what is asked for next is opened anew there too."""
        held = self._readers.held
        with self._opening:
            self._stores, self._masks, self._drawn_texts = {}, None, None
            if held is not None:
                held.kept.clear()

    def rebuilt(self, kind: str | None) -> int:
        """Make the caches of all vectors anew; returns how many vectors of pictures that were."""
        from retrieval.stores.opening import rebuild_store

        count = 0
        with self.snapshot() as reader, self._opening:
            self.forget_stores()
            for info in reads.encoders(reader):
                opened = rebuild_store(self.location.cache, self.image_truth(info), kind=kind)
                count += len(opened.store.ids)
                if info.text_generation:
                    rebuild_store(self.location.cache, self.text_truth(info), kind=kind)
        return count

    def find_picture(self, picture: Picture, *, changed: bool = False) -> int | None:
        """The id of a picture of the catalog; None for one from outside, or a file that has changed.

        With `changed`, the id of what the file was before as well.
        """
        if not isinstance(picture, str | os.PathLike):
            return None if isinstance(picture, bool) or not hasattr(picture, "__index__") else index(picture)
        if is_url(picture):
            return None
        path = os.path.abspath(os.path.expanduser(picture))
        with self.snapshot() as reader:
            row = reads.file_at(reader, os.fsencode(path))
        if row is None or row.missing:
            return None
        try:
            status = os.stat(path)
        except OSError:
            return row.id  # its disk is away: the catalog still knows how it looked
        same = (status.st_size, clamped_ns(status.st_mtime_ns)) == (row.size, row.mtime_ns)
        return row.id if same or changed or _same_content(path, row) else None

    def view(self, info: EncoderInfo, where: Filter) -> View:
        """The store, and masks over its ids; to be called inside a snapshot."""
        store = self.images(info).store
        masks = self._masks_of(store)
        if not where:
            return View(store, allowed=masks.visible, visible=masks.visible, drawn=masks.drawn)
        key = repr((where, where.sql()[1]))  # values too: a folder may start from where the process is
        with self._small:
            allowed = masks.allowed.get(key)
        if allowed is None:
            if where.tags:
                self._check_tags(where)
            allowed = allowed_among(store.ids, where, self.reader)
            with self._small:
                masks.allowed[key] = _fixed(allowed)
                while len(masks.allowed) > KEPT_MASKS:
                    masks.allowed.popitem(last=False)
        return View(store, allowed=allowed, visible=masks.visible, drawn=masks.drawn)

    def _masks_of(self, store: VectorStore) -> Masks:
        """What is kept of this moment and this store, empty at first."""
        import numpy as np

        masks, moment = self._masks, self.moment()
        if masks is None or moment is None or masks.moment != moment or masks.store is not store:
            hidden = reads.hidden_ids(self.reader)
            visible = _fixed(~np.isin(store.ids, hidden)) if hidden else None
            masks = self._masks = Masks(store, moment, visible, Drawn(store, visible))
        return masks

    def moment(self) -> int | None:
        """A number that changes with the rows, where the database has one for all that others write.

        To be called inside a snapshot: it is the number of what is seen there.
        """
        return self._moment.number

    def passing(self, where: Filter) -> NDArray[np.int64]:
        """The ids of the pictures that a filter lets through, in order; to be called inside a snapshot."""
        if where.tags:
            self._check_tags(where)
        return passing_ids(self.reader, where)

    def _check_tags(self, where: Filter) -> None:
        """A tag that no vocabulary knows and no picture has is a slip, not an empty answer."""
        wanted = [where.tags] if isinstance(where.tags, str) else where.tags
        known = [tag for tag, _ in tags.vocabulary(self.reader)]
        folded = {tag.casefold() for tag in known}
        if not all(name.casefold() in folded for name in wanted):
            known = sorted({*known, *tags.given(self.reader)})
            folded = {tag.casefold() for tag in known}
        for name in wanted:
            if name.casefold() not in folded:
                near = difflib.get_close_matches(name.casefold(), known, n=1)
                hint = f" Did you mean '{near[0]}'?" if near else ""
                made = "See what there is: search tag list" if known else "Make them: search tag"
                raise QueryError(f"There is no tag '{name}'.{hint} {made}")

    def image_truth(self, info: EncoderInfo) -> Truth:
        from retrieval.stores.opening import Truth

        return Truth(
            key=info.cache_key,
            dim=info.dim,
            generation=info.generation,
            epoch=info.epoch,
            count=lambda: reads.embedding_count(self.reader, info.id),
            has=lambda generation: reads.has_generation(self.reader, info.id, generation),
            stamps=lambda: reads.vector_stamps(self.reader, info.id),
            rows=lambda after: reads.vectors(self.reader, info.id, after=after),
        )

    def text_truth(self, info: EncoderInfo) -> Truth:
        from retrieval.stores.opening import Truth

        return Truth(
            key=info.text_cache_key,
            dim=info.dim,
            generation=info.text_generation,
            epoch=info.text_epoch,
            count=lambda: reads.text_embedding_count(self.reader, info.id),
            has=lambda generation: reads.has_text_generation(self.reader, info.id, generation),
            stamps=lambda: reads.text_stamps(self.reader, info.id),
            rows=lambda after: reads.text_vectors(self.reader, info.id, after=after),
        )

    def _opened(self, truth: Truth, *, save: bool, write: bool) -> Opened:
        from retrieval.stores.opening import open_store

        return open_store(self.location.cache, truth, save=save, write=write and not self.readonly)


def _same_content(path: str, row: FileRow) -> bool:
    """Whether a file was only written again, as by a restored backup: telling costs less than encoding."""
    from retrieval.images import read_file

    try:
        content = read_file(path) if os.stat(path).st_size == row.size else None
    except (OSError, ImageError):
        return False  # whoever goes on to open it says what is wrong
    return content is not None and hashlib.sha256(content.data).digest() == row.content_hash


def _fixed(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    mask.setflags(write=False)
    return mask
