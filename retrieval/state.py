"""What an open catalog has in hand: its rows, its vectors and its model, behind one lock."""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from operator import index
from typing import TYPE_CHECKING

from retrieval import registry
from retrieval.config import Location
from retrieval.db import reads, tags
from retrieval.db.reader import holds_something, open_reader
from retrieval.errors import (
    CatalogBusy,
    CatalogError,
    CatalogNotFound,
    EncoderMismatch,
    ImageError,
    ModelError,
    QueryError,
)
from retrieval.query.terms import is_url
from retrieval.types import clamped_ns

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


KEPT_MASKS = 4
KEPT_TEXTS = 512


class CatalogEmpty(CatalogError):
    """Nothing was indexed yet."""


@dataclass(frozen=True, slots=True)
class View:
    """One moment of the catalog: its vectors, which of them may be found, and which may be seen.

    A match is measured against all that can be seen, so that a filter does not change it.
    """

    store: VectorStore
    allowed: NDArray[np.bool_] | None
    visible: NDArray[np.bool_] | None


@dataclass(slots=True)
class Masks:
    """What filters left of one moment of the catalog, the last few of them."""

    ids: NDArray[np.int64]
    moment: int | None
    visible: NDArray[np.bool_] | None
    allowed: dict[str, NDArray[np.bool_]] = field(default_factory=dict)


class State:
    """Opens the parts of a catalog when they are needed, and keeps them. Safe to use from several threads.

    Everything that reads takes `lock` and, to see one moment of the catalog, `snapshot()`.
    What is slow (a model at work) is done outside of both, between `active()` and `still()`.
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
        self.readonly = readonly
        self.lock = threading.RLock()
        self._closed = False
        self._images: tuple[EncoderInfo, Opened] | None = None
        self._texts: tuple[EncoderInfo, Opened] | None = None
        self._masks: Masks | None = None
        self._encoders: dict[str, Encoder] = {}
        self._said: OrderedDict[tuple[str, str], NDArray[np.float32]] = OrderedDict()
        self._depth = 0
        self._reopened = 0
        try:
            self._reader = open_reader(self.location)
        except CatalogNotFound:
            if not create or holds_something(self.location):
                raise
            self._create()
            self._reader = open_reader(self.location)
        self._file = _file(self.location)

    def close(self) -> None:
        with self.lock:
            self._closed = True
            self._reader.close()
            self.forget_stores()

    @property
    def reader(self) -> Reader:
        if self._closed:
            raise CatalogError(f"The catalog at {self.location.name} was closed. Open it again.")
        return self._reader

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[Reader]:
        """The lock, and one moment of the rows."""
        with self.lock:
            if not self._depth:
                self._follow()
            self._depth += 1
            try:
                with self.reader.snapshot():
                    yield self.reader
            finally:
                self._depth -= 1

    def _follow(self) -> None:
        """Go over to the catalog that has taken the place of the one that was opened, if one has.

        One that was taken away can still be read, as long as nothing stands in its place.
        """
        found = _file(self.location)
        if self._closed or found is None or found == self._file:
            return
        reader = open_reader(self.location)
        self._reader.close()
        self._reader, self._file = reader, found
        self._reopened += 1
        self.forget_stores()

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
        with self.lock:
            if self.given is not None and not isinstance(self.given, str) and self.given.id == info.key:
                return self.given
            encoder = self._encoders.get(info.key)
            if encoder is None:
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

    def text_vectors(self, encoder: Encoder, texts: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """The vectors of texts; those of the last few hundred that were asked for are remembered."""
        with self.lock:
            found = {text: self._said[encoder.id, text] for text in texts if (encoder.id, text) in self._said}
        new = [text for text in dict.fromkeys(texts) if text not in found]
        if new:
            for text, vector in zip(new, encoder.encode_texts(new), strict=True):
                found[text] = vector.copy()
                found[text].setflags(write=False)
        with self.lock:
            for text, vector in found.items():
                self._said[encoder.id, text] = vector
                self._said.move_to_end((encoder.id, text))
            while len(self._said) > KEPT_TEXTS:
                self._said.popitem(last=False)
        return found

    def images(self, info: EncoderInfo, *, save: bool = False) -> Opened:
        """The vectors of the pictures."""
        if self._images is None or self._images[0] != info or (save and not self._images[1].fresh):
            self._images = info, self._opened(self.image_truth(info), save=save)
        return self._images[1]

    def texts(self, info: EncoderInfo, *, save: bool = False) -> Opened:
        """The vectors of the texts; their ids are those of the texts."""
        if self._texts is None or self._texts[0] != info or (save and not self._texts[1].fresh):
            self._texts = info, self._opened(self.text_truth(info), save=save)
        return self._texts[1]

    def forget_stores(self) -> None:
        self._images = self._texts = self._masks = None

    def find_picture(self, picture: Picture, *, changed: bool = False) -> int | None:
        """The id of a picture of the catalog; None for one from outside, or a file that has changed.

        With `changed`, the id of what the file was before as well.
        """
        if not isinstance(picture, str | os.PathLike):
            return None if isinstance(picture, bool) or not hasattr(picture, "__index__") else index(picture)
        if is_url(picture):
            return None
        path = os.path.abspath(os.path.expanduser(picture))
        with self.lock:
            row = reads.file_at(self.reader, os.fsencode(path))
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
        import numpy as np

        store = self.images(info).store
        masks = self._masks
        moment = self.moment()
        if masks is None or moment is None or masks.moment != moment or masks.ids is not store.ids:
            hidden = reads.hidden_ids(self.reader)
            masks = self._masks = Masks(
                store.ids, moment, visible=_fixed(~np.isin(store.ids, hidden)) if hidden else None
            )
        if not where:
            return View(store, allowed=masks.visible, visible=masks.visible)
        key = repr((where, where.sql()[1]))  # values too: a folder may start from where the process is
        allowed = masks.allowed.get(key)
        if allowed is None:
            passing = self.passing(where)
            allowed = np.zeros(len(store.ids), np.bool_)
            places = np.searchsorted(store.ids, passing)
            inside = places < len(store.ids)
            places, passing = places[inside], passing[inside]
            allowed[places[store.ids[places] == passing]] = True
            if len(masks.allowed) >= KEPT_MASKS:
                del masks.allowed[next(iter(masks.allowed))]
            masks.allowed[key] = _fixed(allowed)
        return View(store, allowed=allowed, visible=masks.visible)

    def moment(self) -> int | None:
        """A number that changes with the rows, where the database has one for all that others write."""
        if self.reader.dialect != "sqlite":
            return None
        version = int(self.reader.rows("PRAGMA data_version")[0][0])
        return self._reopened << 48 | version  # the database counts for each connection by itself

    def moment_now(self) -> int | None:
        """The same, of a caller who is in no snapshot."""
        with self.snapshot():
            return self.moment()

    def passing(self, where: Filter) -> NDArray[np.int64]:
        """The ids of the pictures that a filter lets through, in order; to be called inside a snapshot."""
        import numpy as np

        if where.tags:
            self._check_tags(where)
        sql, values = where.sql()
        if self.reader.dialect != "sqlite" or not sql.startswith("SELECT id FROM "):
            return where.passing(self.reader.rows(sql, **values))
        # A hundred thousand ids in one text take a third of the time that they take as rows.
        text = self.reader.rows(f"SELECT GROUP_CONCAT(id) FROM ({sql})", **values)[0][0]
        return np.sort(np.fromstring(text, np.int64, sep=",")) if text else np.empty(0, np.int64)

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
            rows=lambda after: reads.text_vectors(self.reader, info.id, after=after),
        )

    def _opened(self, truth: Truth, *, save: bool) -> Opened:
        from retrieval.stores.opening import open_store

        return open_store(self.location.cache, truth, save=save, write=not self.readonly)


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


def _file(location: Location) -> tuple[int, int] | None:
    """Which file the database is by now; None where there is none, or where it is no file."""
    if location.url is not None:
        return None
    try:
        found = os.stat(location.database)
    except OSError:
        return None
    return found.st_dev, found.st_ino
