"""When, where and with what pictures were taken, as the rows say."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from retrieval.db.reader import chunks

if TYPE_CHECKING:
    from retrieval.db.reader import Reader, Row

FILE_TIME = "file-mtime"
"""A time that is only the file's own: copying the file changes it."""

MANY, THIN = 2000, 4
"""So many pictures, that are at least every fourth between the first and the last, are read in one go."""


class Circumstances(NamedTuple):
    """One picture's time, place and camera: a tuple, because a library is read whole to be counted."""

    image_id: int
    path: bytes
    taken_at: str | None
    taken_source: str | None
    latitude: float | None
    longitude: float | None
    camera_make: str | None
    camera_model: str | None

    @property
    def dated(self) -> bool:
        """Whether it is known when the picture itself was taken."""
        return self.taken_at is not None and self.taken_source != FILE_TIME

    @property
    def camera(self) -> str | None:
        return camera_name(self.camera_make, self.camera_model)


def camera_name(make: str | None, model: str | None) -> str | None:
    """`Nikon D90`, `LEICA Q2`, `EASTMAN KODAK LS743`: a maker that the model says once more is said once."""
    make, model = (make or "").strip(), (model or "").strip()
    if make and model.casefold().startswith(make.casefold()):
        return model
    if make and model.casefold().startswith(f"{make.split()[-1].casefold()} "):
        model = model.split(maxsplit=1)[1]
    return f"{make} {model}".strip() or None


def circumstances(reader: Reader, image_ids: Sequence[int]) -> list[Circumstances]:
    """Those of the pictures that are still in the catalog, in the order of the ids given."""
    columns = "id, path, taken_at, taken_source, latitude, longitude, camera_make, camera_model"
    found = {row[0]: row for row in _rows(reader, columns, image_ids)}
    return [Circumstances._make(found[image_id]) for image_id in image_ids if image_id in found]


def present(reader: Reader, image_ids: Sequence[int]) -> list[int]:
    """Those of the pictures that are still in the catalog, in the order given."""
    there = {row[0] for row in _rows(reader, "id", image_ids)}
    return [image_id for image_id in image_ids if image_id in there]


def latest_first(reader: Reader, image_ids: Sequence[int]) -> list[int]:
    """The same pictures in the order of their times; those without one of their own come last."""
    # The time of a file is none of the picture: what is copied today is not the newest.
    if reader.dialect == "sqlite" and _dense(image_ids):
        rows = reader.rows(
            "SELECT id FROM images WHERE id BETWEEN :low AND :high AND taken_at IS NOT NULL "
            "ORDER BY taken_source IS NOT :file DESC, taken_at DESC, id",
            low=min(image_ids),
            high=max(image_ids),
            file=FILE_TIME,
        )
        wanted = set(image_ids)
        timed = [image_id for (image_id,) in rows if image_id in wanted]
        return [*timed, *sorted(wanted.difference(timed))]
    times = {
        image_id: (source != FILE_TIME, taken_at)
        for image_id, taken_at, source in _rows(reader, "id, taken_at, taken_source", image_ids)
        if taken_at is not None
    }
    return sorted(sorted(image_ids), key=lambda image_id: times.get(image_id, (False, "")), reverse=True)


def _dense(image_ids: Sequence[int]) -> bool:
    return len(image_ids) > MANY and max(image_ids) - min(image_ids) < THIN * len(image_ids)


def _rows(reader: Reader, columns: str, image_ids: Sequence[int]) -> Iterator[Row]:
    parts: Iterable[tuple[str, dict[str, int]]]
    if _dense(image_ids):
        parts = [("id BETWEEN :low AND :high", {"low": min(image_ids), "high": max(image_ids)})]
    else:
        parts = ((f"id IN ({marks})", parameters) for marks, parameters in chunks(image_ids))
    for condition, parameters in parts:
        yield from reader.rows(f"SELECT {columns} FROM images WHERE {condition}", **parameters)
