"""What is read of descriptions, as functions over a `Reader`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from retrieval.db.reader import Reader, chunks
from retrieval.db.reads import FILE, FileRow


@dataclass(frozen=True, slots=True)
class Standing:
    """Who described a picture, and when."""

    captioner: str
    seen: bool
    """Whether something is kept, of somebody who looked at the picture."""
    made_at: float


@dataclass(frozen=True, slots=True)
class Kept:
    """What is said of a picture, and by whom."""

    text: str
    captioner: str
    seen: bool
    """Whether who said it looked at the picture."""


def standing(reader: Reader, style: str) -> dict[int, Standing]:
    """Every picture that was described in a style."""
    return {
        int(image_id): Standing(captioner, bool(seen), float(made_at))
        for image_id, captioner, seen, made_at in reader.stream(
            "SELECT image_id, captioner, seen AND text IS NOT NULL, made_at FROM descriptions "
            "WHERE style = :style",
            style=style,
        )
    }


def kept(reader: Reader, image_ids: Sequence[int], style: str) -> dict[int, Kept]:
    """What is said of those of the pictures that have a description."""
    found: dict[int, Kept] = {}
    for marks, values in chunks(image_ids):
        rows = reader.rows(
            "SELECT image_id, text, captioner, seen FROM descriptions "
            f"WHERE style = :style AND text IS NOT NULL AND image_id IN ({marks})",
            style=style,
            **values,
        )
        found.update(
            (int(image_id), Kept(text, captioner, bool(seen))) for image_id, text, captioner, seen in rows
        )
    return found


def alts(reader: Reader, image_ids: Sequence[int]) -> dict[int, str]:
    """What to say where a picture cannot be seen, of those of the pictures that have such words.

    An alt text that is kept, else what its file says of itself, else a caption of somebody who looked.
    """
    found: dict[int, str] = {}
    for marks, values in chunks(image_ids):
        rows = reader.rows(
            "SELECT id, words FROM (SELECT i.id AS id, COALESCE(a.text, NULLIF(i.description, ''), "
            "NULLIF(i.title, ''), c.text) AS words FROM images i "
            "LEFT JOIN descriptions a ON a.image_id = i.id AND a.style = 'alt' "
            "LEFT JOIN descriptions c ON c.image_id = i.id AND c.style = 'caption' AND c.seen "
            f"WHERE i.id IN ({marks})) known WHERE words IS NOT NULL",
            **values,
        )
        found.update((int(image_id), str(text)) for image_id, text in rows)
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
