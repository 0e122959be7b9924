"""What is written of tags: one transaction a call."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, delete, insert, select, update

from retrieval.db.reader import CHUNK
from retrieval.db.said_writes import drop_tag
from retrieval.db.schema import Image, ImageTag, VocabularyRow
from retrieval.db.tags import MODEL, PERSON

if TYPE_CHECKING:
    from retrieval.db.queries import Writer


def put_vocabulary(writer: Writer, entries: Sequence[tuple[str, str]], *, replace: bool = False) -> int:
    """Add tags with their prompts, or change the prompts of known ones; returns how many that changed.

    With `replace` every other tag goes. Any change makes the model's tags due anew: they compete.
    """
    with writer.transaction() as connection:
        known = {
            row.tag: row.prompt for row in connection.execute(select(VocabularyRow.tag, VocabularyRow.prompt))
        }
        gone = sorted(known.keys() - {tag for tag, _ in entries}) if replace else []
        changed = [(tag, prompt) for tag, prompt in entries if known.get(tag) != prompt]
        _remove(connection, gone)
        for part in _chunks([tag for tag, _ in changed if tag in known]):
            connection.execute(delete(VocabularyRow).where(VocabularyRow.tag.in_(part)))
        if changed:
            now = time.time()
            connection.execute(
                insert(VocabularyRow),
                [{"tag": tag, "prompt": prompt, "added_at": now} for tag, prompt in changed],
            )
        if changed or gone:
            _make_due(connection)
        return len(changed) + len(gone)


def remove_tag(writer: Writer, tag: str) -> bool:
    """Take a tag out of the vocabulary and off the pictures; whether it was there."""
    with writer.transaction() as connection:
        there = connection.scalar(select(VocabularyRow.tag).where(VocabularyRow.tag == tag)) is not None
        _remove(connection, [tag])
        used = connection.execute(delete(ImageTag).where(ImageTag.tag == tag)).rowcount
        drop_tag(connection, tag)
        if there:
            _make_due(connection)
        return there or bool(used)


def store_tags(
    writer: Writer, encoder_id: int, image_ids: Sequence[int], rows: Sequence[tuple[int, str, float, bool]]
) -> None:
    """Put what the model says of pictures in place of what it said: (image id, tag, confidence, kept)."""
    with writer.transaction() as connection:
        there: set[int] = set()
        for part in _chunks(image_ids):
            there.update(connection.scalars(select(Image.id).where(Image.id.in_(part))))
            connection.execute(delete(ImageTag).where(ImageTag.image_id.in_(part), ImageTag.source == MODEL))
        values = [
            {
                "image_id": image_id,
                "tag": tag,
                "confidence": confidence,
                "kept": kept,
                "source": MODEL,
                "encoder_id": encoder_id,
            }
            for image_id, tag, confidence, kept in rows
            if image_id in there
        ]
        if values:
            connection.execute(insert(ImageTag), values)


def decide(writer: Writer, image_id: int, tag: str, *, kept: bool) -> None:
    """A person's word on a tag of a picture."""
    with writer.transaction() as connection:
        connection.execute(delete(ImageTag).where(ImageTag.image_id == image_id, ImageTag.tag == tag))
        connection.execute(
            insert(ImageTag).values(
                image_id=image_id,
                tag=tag,
                confidence=float(kept),
                kept=kept,
                source=PERSON,
                encoder_id=None,
            )
        )


def _remove(connection: Connection, tags: Sequence[str]) -> None:
    for part in _chunks(tags):
        connection.execute(delete(VocabularyRow).where(VocabularyRow.tag.in_(part)))
        connection.execute(delete(ImageTag).where(ImageTag.tag.in_(part), ImageTag.source == MODEL))


def _make_due(connection: Connection) -> None:
    """What the model said still shows, but is nobody's any more: the next update says it anew."""
    connection.execute(update(ImageTag).where(ImageTag.source == MODEL).values(encoder_id=None))


def _chunks(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(values), CHUNK):
        yield values[start : start + CHUNK]
