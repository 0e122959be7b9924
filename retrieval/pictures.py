"""The pictures of a catalog themselves: what is known of one, lists of them, and small versions of them."""

from __future__ import annotations

import hashlib
import os
import stat
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from retrieval.db import descriptions, reads
from retrieval.db import pictures as db
from retrieval.db.circumstances import FILE_TIME
from retrieval.english.quoting import cut, visible
from retrieval.errors import ImageUnreadable, QueryError
from retrieval.types import Span, Timeline, clamped_ns, path_fields, under

if TYPE_CHECKING:
    from retrieval.db.pictures import Order, PictureRow
    from retrieval.query.filters import Filter
    from retrieval.state import State
    from retrieval.types import Unit

T = TypeVar("T")
UNITS: dict[str, int] = {"year": 4, "month": 7, "day": 10}
"""A unit of time -> how many characters of a day name it."""
ALT_CHARS = 150
"""Of what is read out for each picture of a list."""


class NoSuchPicture(QueryError):
    """The catalog has no picture by that id or path."""


class PictureGone(ImageUnreadable):
    """What a picture's row names is no file that could be shown for it."""

    reason = "unreadable"


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture of the catalog, as its row says."""

    image_id: int
    path: Path
    width: int
    height: int
    bytes: int
    format: str
    mtime_ns: int
    content_hash: str
    missing: bool = False
    """Its file is gone; the row waits for it to return."""
    taken_at: str | None = None
    taken_source: str | None = None
    camera: str | None = None
    lens: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    title: str | None = None
    description: str | None = None
    keywords: tuple[str, ...] = ()

    @property
    def dated(self) -> bool:
        """Whether it is known when the picture itself was taken."""
        return self.taken_at is not None and self.taken_source != FILE_TIME

    def is_as_indexed(self, status: os.stat_result) -> bool:
        """Whether a file is, as far as its size and time tell, the one that was indexed."""
        return (status.st_size, clamped_ns(status.st_mtime_ns)) == (self.bytes, self.mtime_ns)

    def as_dict(self) -> dict[str, Any]:
        row: dict[str, Any] = {
            "image_id": self.image_id,
            **path_fields(self.path),
            "width": self.width,
            "height": self.height,
            "bytes": self.bytes,
            "format": self.format,
            "missing": self.missing,
        }
        told = ("taken_at", "taken_source", "camera", "lens", "latitude", "longitude", "title", "description")
        row.update((name, value) for name in told if (value := getattr(self, name)) is not None)
        return {**row, "keywords": list(self.keywords)} if self.keywords else row


class Listed(list[T]):
    """A part of a longer list; `total` is how long the whole one is."""

    def __init__(self, items: Iterable[T] = (), *, total: int = 0) -> None:
        super().__init__(items)
        self.total = total


@dataclass(slots=True)
class _Orders:
    """The ids of one moment of the catalog, in the orders that were asked for, and their days."""

    moment: int | None
    ids: dict[str, Any] = field(default_factory=dict)
    days: Any = None
    """Ids, days, and which of the days are only the files'."""


class Pictures:
    """Lists of a catalog's pictures, and single ones. Safe to use from several threads."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._orders = _Orders(None)
        self._lock = threading.Lock()

    def get(self, image_id: int) -> Picture:
        """One picture, also while its file is gone."""
        with self._state.snapshot() as reader:
            rows = db.picture_rows(reader, [image_id])
        if image_id not in rows:
            raise NoSuchPicture(f"The catalog has no picture {image_id}. It may have been forgotten since.")
        return _picture(rows[image_id])

    def list(
        self, *, where: Filter | None = None, order: Order = "newest", limit: int = 100, offset: int = 0
    ) -> Listed[Picture]:
        """Pictures that may be seen, from `offset` on, and how many there are in all."""
        if order not in db.ORDERS:
            raise QueryError(f"Pictures are in the order {', '.join(db.ORDERS)}, not '{order}'.")
        if limit < 1 or offset < 0:
            raise QueryError("A list takes at least 1 picture, from its start or a later one.")
        ids = self._ids(order, where)
        chosen = [int(one) for one in ids[offset : offset + limit]]
        with self._state.snapshot() as reader:
            rows = db.picture_rows(reader, chosen)
        return Listed((_picture(rows[one]) for one in chosen if one in rows), total=len(ids))

    def of(self, image_ids: Sequence[int]) -> dict[int, Picture]:
        """Those of the pictures that are in the catalog, by id."""
        with self._state.snapshot() as reader:
            return {key: _picture(row) for key, row in db.picture_rows(reader, image_ids).items()}

    def alts(self, image_ids: Sequence[int]) -> dict[int, str]:
        """A line for those who cannot see a picture, of those that somebody has put into words."""
        with self._state.snapshot() as reader:
            found = descriptions.alts(reader, image_ids)
        lines = {image_id: cut(visible(text), ALT_CHARS) for image_id, text in found.items()}
        return {image_id: line for image_id, line in lines.items() if line}

    def open_file(self, picture: Picture) -> BinaryIO:
        """The picture's own file, opened for reading.

        What stands at its path by now must lie in an indexed folder, or be the very file that
        was indexed, where a link led to it: a link that came later shows nothing from elsewhere.
        What is no regular file is refused, and never waited for. In a catalog of a stranger, who
        may name any file and any folder, it must also hold what the rows say it does: so nothing
        is shown that whoever made the rows did not have.
        """
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        try:
            file = open(picture.path, "rb", opener=lambda path, _: os.open(path, flags))  # noqa: SIM115
        except (OSError, ValueError) as error:
            raise self._gone(picture) from error
        try:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise self._gone(picture)
            if not picture.is_as_indexed(status) and not self._inside(picture.path, status):
                raise self._gone(picture)
            if self._state.location.untrusted:
                if hashlib.file_digest(file, "sha256").hexdigest() != picture.content_hash:
                    raise self._gone(picture)
                file.seek(0)
        except BaseException:
            file.close()
            raise
        return file

    def _gone(self, picture: Picture) -> PictureGone:
        return PictureGone(
            f"The file of picture {picture.image_id} is gone, or is no picture of its folder any more."
        )

    def _inside(self, path: Path, opened: os.stat_result) -> bool:
        """Whether the opened file really lies in a folder that is indexed."""
        with self._state.snapshot():
            roots = reads.roots(self._state.reader)
        real = os.path.realpath(os.fsencode(path))
        try:
            if not os.path.samestat(os.stat(real), opened):
                return False
        except OSError:
            return False
        spans = (under(os.path.realpath(root)) for root in roots)
        return any(low <= real < high for low, high in spans)

    def timeline(
        self, by: Unit = "month", *, where: Filter | None = None, among: Sequence[int] | None = None
    ) -> Timeline:
        """How many pictures are from each year, month or day: of all, of those that pass, or of `among`."""
        import numpy as np

        if by not in UNITS:
            raise QueryError(f"Time is told by {', '.join(UNITS)}, not by '{by}'.")
        with self._state.snapshot() as reader:
            orders = self._of_now()
            days = orders.days
            if days is None:
                rows = db.days(reader)
                days = orders.days = (
                    np.array([row[0] for row in rows], np.int64),
                    np.array([row[1] for row in rows], "U10"),
                    np.array([row[2] for row in rows], np.bool_),
                )
            ids, when, by_file = days
            wanted = np.ones(len(ids), np.bool_)
            if where:
                wanted &= np.isin(ids, self._state.passing(where))
        if among is not None:
            wanted &= np.isin(ids, np.array(among, np.int64))
        dated = wanted & (when != "")
        names, places = np.unique(when[dated].astype(f"U{UNITS[by]}"), return_inverse=True)
        every = np.bincount(places, minlength=len(names))
        of_files = np.bincount(places, weights=by_file[dated], minlength=len(names))
        spans = zip(names.tolist(), every.tolist(), of_files.tolist(), strict=True)
        return Timeline(
            by=by,
            spans=tuple(Span(name, count, int(files)) for name, count, files in spans),
            undated=int(wanted.sum() - dated.sum()),
        )

    def _of_now(self) -> _Orders:
        """What is kept of the present moment; to be called inside a snapshot."""
        moment, orders = self._state.moment(), self._orders
        if moment is None or orders.moment != moment:
            orders = self._orders = _Orders(moment)
        return orders

    def _ids(self, order: Order, where: Filter | None) -> Any:
        import numpy as np

        with self._state.snapshot() as reader:
            orders = self._of_now()
            ids = orders.ids.get(order)
            if ids is None:
                ids = orders.ids[order] = np.array(db.ordered(reader, order), np.int64)
            if not where:
                return ids
            return ids[np.isin(ids, self._state.passing(where))]


def _picture(row: PictureRow) -> Picture:
    make, model = (row.camera_make or "").strip(), (row.camera_model or "").strip()
    camera = model if model.casefold().startswith(make.casefold()) else f"{make} {model}".strip()
    return Picture(
        image_id=row.id,
        path=Path(os.fsdecode(row.path)),
        width=row.width,
        height=row.height,
        bytes=row.size,
        format=row.format,
        mtime_ns=row.mtime_ns,
        content_hash=row.content_hash.hex(),
        missing=row.missing_at is not None,
        taken_at=row.taken_at,
        taken_source=row.taken_source,
        camera=camera or None,
        lens=row.lens,
        latitude=row.latitude,
        longitude=row.longitude,
        title=row.title,
        description=row.description,
        keywords=row.keywords,
    )
