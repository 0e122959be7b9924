"""When, where and with what pictures were taken, as the rows say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from retrieval.db.reader import chunks

if TYPE_CHECKING:
    from retrieval.db.reader import Reader

FILE_TIME = "file-mtime"
"""A time that is only the file's own: copying the file changes it."""


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
    found: dict[int, Circumstances] = {}
    for marks, parameters in chunks(image_ids):
        rows = reader.rows(
            "SELECT id, path, taken_at, taken_source, latitude, longitude, camera_make, camera_model "
            f"FROM images WHERE id IN ({marks})",
            **parameters,
        )
        for image_id, path, *rest in rows:
            found[int(image_id)] = Circumstances(int(image_id), bytes(path), *rest)
    return [found[image_id] for image_id in image_ids if image_id in found]
