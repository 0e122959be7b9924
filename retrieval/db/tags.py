"""What is read of tags, as functions over a `Reader`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from retrieval.db.reader import chunks

if TYPE_CHECKING:
    from retrieval.db.reader import Reader

MODEL, PERSON = "model", "person"
"""Who says that a picture has a tag; a person has the last word."""


def vocabulary(reader: Reader) -> list[tuple[str, str]]:
    """Every tag and what is looked for, by tag."""
    return [
        (str(tag), str(prompt))
        for tag, prompt in reader.rows("SELECT tag, prompt FROM vocabulary ORDER BY tag")
    ]


def given(reader: Reader) -> list[str]:
    """Every tag that any picture has."""
    return [str(row[0]) for row in reader.rows("SELECT DISTINCT tag FROM image_tags WHERE kept = TRUE")]


def counts(reader: Reader) -> dict[str, int]:
    """How many visible pictures have each tag."""
    rows = reader.rows(
        "SELECT t.tag, COUNT(*) FROM image_tags t JOIN images i ON i.id = t.image_id "
        "WHERE t.kept = TRUE AND i.missing_at IS NULL GROUP BY t.tag"
    )
    return {str(tag): int(count) for tag, count in rows}


def tagged_ids(reader: Reader, encoder_id: int) -> list[int]:
    """Pictures that this encoder has tagged with the vocabulary as it is."""
    rows = reader.rows("SELECT DISTINCT image_id FROM image_tags WHERE encoder_id = :e", e=encoder_id)
    return [int(row[0]) for row in rows]


def decided(reader: Reader) -> dict[int, set[str]]:
    """The tags of each picture that a person had the last word on, for or against."""
    found: dict[int, set[str]] = {}
    for image_id, tag in reader.rows("SELECT image_id, tag FROM image_tags WHERE source = :who", who=PERSON):
        found.setdefault(int(image_id), set()).add(str(tag))
    return found


def of_images(reader: Reader, image_ids: Sequence[int]) -> dict[int, list[tuple[str, float]]]:
    """The tags that count and their confidence, the surest first."""
    found: dict[int, list[tuple[str, float]]] = {}
    for marks, parameters in chunks(image_ids):
        rows = reader.rows(
            "SELECT image_id, tag, confidence FROM image_tags "
            f"WHERE kept = TRUE AND image_id IN ({marks}) ORDER BY image_id, confidence DESC, tag",
            **parameters,
        )
        for image_id, tag, confidence in rows:
            found.setdefault(int(image_id), []).append((str(tag), float(confidence)))
    return found
