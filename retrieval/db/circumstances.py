"""When, where and with what pictures were taken, as the rows say."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from retrieval.db.reader import chunks

if TYPE_CHECKING:
    from retrieval.db.reader import Reader

FILE_TIME = "file-mtime"
"""A time that is only the file's own: copying the file changes it."""

MANY, THIN = 2000, 4
"""So many pictures, that are at least every fourth between the first and the last, are read in one go."""


@dataclass(frozen=True, slots=True)
class Circumstances:
    """One picture's time, place and camera."""

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
    parts: Iterable[tuple[str, dict[str, int]]]
    if len(image_ids) > MANY and max(image_ids) - min(image_ids) < THIN * len(image_ids):
        parts = [("id BETWEEN :low AND :high", {"low": min(image_ids), "high": max(image_ids)})]
    else:
        parts = ((f"id IN ({marks})", parameters) for marks, parameters in chunks(image_ids))
    wanted = set(image_ids)
    found: dict[int, Circumstances] = {}
    for condition, parameters in parts:
        for row in reader.rows(f"SELECT {columns} FROM images WHERE {condition}", **parameters):
            if row[0] in wanted:
                found[int(row[0])] = Circumstances(int(row[0]), bytes(row[1]), *row[2:])
    return [found[image_id] for image_id in image_ids if image_id in found]
