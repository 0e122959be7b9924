"""What is read of descriptions, as functions over a `Reader`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from retrieval.db.reader import Reader, chunks
from retrieval.db.reads import FILE, FileRow

UNSEEING = "describer/"
"""Ids of captioners that never look at a picture begin so: what others said is worth more."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Who described a picture, and whether anything of it was kept."""

    captioner: str
    kept: bool

    @property
    def seen(self) -> bool:
        """Whether whoever said what is kept has looked at the picture."""
        return self.kept and not self.captioner.startswith(UNSEEING)


def standing(reader: Reader, style: str) -> dict[int, Standing]:
    """Every picture that was described in a style."""
    return {
        int(image_id): Standing(captioner, bool(kept))
        for image_id, captioner, kept in reader.stream(
            "SELECT image_id, captioner, text IS NOT NULL FROM descriptions WHERE style = :style", style=style
        )
    }


def kept(reader: Reader, image_ids: Sequence[int], style: str) -> dict[int, tuple[str, str]]:
    """What is said of those of the pictures that have a description, and by whom."""
    found: dict[int, tuple[str, str]] = {}
    for marks, values in chunks(image_ids):
        rows = reader.rows(
            "SELECT image_id, text, captioner FROM descriptions "
            f"WHERE style = :style AND text IS NOT NULL AND image_id IN ({marks})",
            style=style,
            **values,
        )
        found.update((int(image_id), (text, captioner)) for image_id, text, captioner in rows)
    return found


def files(reader: Reader, image_ids: Sequence[int]) -> dict[int, FileRow]:
    """The files of pictures, as they were when last indexed."""
    found: dict[int, FileRow] = {}
    for marks, values in chunks(image_ids):
        for row in reader.rows(f"{FILE} WHERE id IN ({marks})", **values):
            found[int(row[0])] = FileRow(
                int(row[0]), bytes(row[1]), int(row[2]), int(row[3]), bytes(row[4]), bool(row[5])
            )
    return found
