"""Writing texts and their vectors, and keeping up those that come from a picture's own row."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, select, update

from retrieval.db.marks import new_epoch, next_generation
from retrieval.db.reader import CHUNK
from retrieval.db.schema import DescriptionRow, Encoder, Image, TextEmbedding, TextRow
from retrieval.db.texts import CAPTION, EMBEDDED, OCR, SEARCHED, content_hash
from retrieval.db.wording import embedded_text
from retrieval.db.words_writes import renew_words
from retrieval.types import checksum

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from retrieval.db.queries import Writer


@dataclass(frozen=True, slots=True)
class NewText:
    """A text to add; see `schema.TextRow`."""

    text: str
    source: str
    image_id: int | None = None
    name: str | None = None
    origin: bytes | None = None
    stamp: str | None = None

    @property
    def content_hash(self) -> bytes:
        return content_hash(self.text, self.image_id, source=self.source, origin=self.origin)


def add_texts(writer: Writer, items: Sequence[NewText]) -> int:
    """Add those texts that are not there yet, in their order; returns how many."""
    with writer.transaction() as connection:
        return len(insert_texts(connection, items))


def remove_texts(writer: Writer, text_ids: Sequence[int]) -> None:
    """Remove texts as a person asks for it: a captioner does not say again what was removed."""
    with writer.transaction() as connection:
        for part in _chunks(text_ids):
            tied = select(TextRow.image_id).where(TextRow.id.in_(part), TextRow.source == CAPTION)
            described = DescriptionRow.image_id.in_(tied) & (DescriptionRow.style == SEARCHED)
            connection.execute(update(DescriptionRow).where(described).values(text=None, kept=0))
        delete_texts(connection, text_ids)


def replace_texts(writer: Writer, gone: Sequence[int], items: Sequence[NewText]) -> None:
    """Remove and add in one step."""
    with writer.transaction() as connection:
        delete_texts(connection, gone)
        insert_texts(connection, items)


def put_text_vectors(writer: Writer, encoder_id: int, rows: Sequence[tuple[int, bytes]]) -> None:
    with writer.transaction() as connection:
        number = Encoder.text_generation
        current = connection.scalar(select(number).where(Encoder.id == encoder_id))
        generation = next_generation(current)
        connection.execute(update(Encoder).where(Encoder.id == encoder_id).values(text_generation=generation))
        connection.execute(
            insert(TextEmbedding),
            [
                {
                    "encoder_id": encoder_id,
                    "text_id": text_id,
                    "vector": vector,
                    "checksum": checksum(vector, b""),
                    "generation": generation,
                }
                for text_id, vector in rows
            ],
        )


def drop_text_vectors(writer: Writer, encoder_id: int, text_ids: Sequence[int]) -> None:
    """Take vectors away that are damaged, so that the next indexing makes them anew."""
    with writer.transaction() as connection:
        for part in _chunks(text_ids):
            connection.execute(
                delete(TextEmbedding).where(
                    TextEmbedding.encoder_id == encoder_id, TextEmbedding.text_id.in_(part)
                )
            )
        connection.execute(update(Encoder).where(Encoder.id == encoder_id).values(text_epoch=new_epoch()))


def put_seen(writer: Writer, version: str, read: Sequence[tuple[int, bytes, str]]) -> None:
    """Note what was read in pictures, each with the content that it was read in; nothing is a note too.

    A picture that has changed meanwhile is left as it is.
    """
    with writer.transaction() as connection:
        still = [
            (image_id, text)
            for image_id, content, text in read
            if connection.scalar(select(Image.content_hash).where(Image.id == image_id)) == content
        ]
        ids = [image_id for image_id, _ in still]
        connection.execute(update(Image).where(Image.id.in_(ids)).values(ocr=version))
        old = select(TextRow.id).where(TextRow.image_id.in_(ids), TextRow.source == OCR)
        delete_texts(connection, list(connection.scalars(old)))
        insert_texts(connection, [NewText(text, OCR, image_id) for image_id, text in still if text])


def insert_texts(connection: Connection, items: Sequence[NewText]) -> list[int]:
    """The ids of those that were new; the words of their pictures follow."""
    added: list[int] = []
    now = time.time()
    for part in _chunks(items):
        hashes = {item.content_hash: item for item in reversed(part)}
        there = set(
            connection.scalars(select(TextRow.content_hash).where(TextRow.content_hash.in_(list(hashes))))
        )
        rows = [
            {
                "content_hash": digest,
                "text": item.text,
                "source": item.source,
                "image_id": item.image_id,
                "added_at": now,
                "name": item.name,
                "origin": item.origin,
                "stamp": item.stamp,
            }
            for digest, item in reversed(hashes.items())
            if digest not in there
        ]
        if rows:
            statement = insert(TextRow).returning(TextRow.id, sort_by_parameter_order=True)
            added += connection.scalars(statement, rows)
            tied = {row["image_id"]: None for row in rows if row["image_id"] is not None}
            renew_words(connection, list(tied))
    return added


def delete_texts(connection: Connection, text_ids: Sequence[int]) -> None:
    """Remove texts and their vectors; the words of their pictures follow."""
    tied: set[int] = set()
    for part in _chunks(text_ids):
        held = select(TextRow.image_id).where(TextRow.id.in_(part), TextRow.image_id.is_not(None))
        tied.update(image_id for image_id in connection.scalars(held) if image_id is not None)
        connection.execute(delete(TextEmbedding).where(TextEmbedding.text_id.in_(part)))
        connection.execute(delete(TextRow).where(TextRow.id.in_(part)))
    if text_ids:
        connection.execute(update(Encoder).values(text_epoch=new_epoch()))
        renew_words(connection, sorted(tied))


def delete_texts_of(connection: Connection, image_ids: Sequence[int]) -> None:
    """Remove all texts of pictures that go themselves."""
    for part in _chunks(image_ids):
        delete_texts(connection, list(connection.scalars(_of(part))))


def renew_embedded(connection: Connection, image_ids: Sequence[int]) -> None:
    """Make the texts that pictures carry in themselves agree with their rows."""
    for part in _chunks(image_ids):
        columns = (Image.id, Image.title, Image.description)
        wanted = {
            row.id: text
            for row in connection.execute(select(*columns).where(Image.id.in_(part)))
            if (text := embedded_text(row.title, row.description))
        }
        known = connection.execute(
            select(TextRow.id, TextRow.image_id, TextRow.text).where(
                TextRow.image_id.in_(part), TextRow.source == EMBEDDED
            )
        ).all()
        stale = [row.id for row in known if wanted.get(row.image_id) != row.text]
        there = {row.image_id for row in known if row.id not in stale}
        delete_texts(connection, stale)
        new = [NewText(text, EMBEDDED, key) for key, text in wanted.items() if key not in there]
        insert_texts(connection, new)


def forget_seen(connection: Connection, image_ids: Sequence[int]) -> None:
    """What was read in pictures whose content has changed says nothing of them any more."""
    for part in _chunks(image_ids):
        delete_texts(connection, list(connection.scalars(_of(part).where(TextRow.source == OCR))))
        connection.execute(update(Image).where(Image.id.in_(part)).values(ocr=None))


def copy_seen(connection: Connection, source_id: int, image_id: int) -> None:
    """A copy of a picture shows the same text."""
    seen = select(TextRow.text).where(TextRow.image_id == source_id, TextRow.source == OCR)
    insert_texts(connection, [NewText(text, OCR, image_id) for text in connection.scalars(seen)])


def _of(image_ids: Sequence[int]) -> Any:
    return select(TextRow.id).where(TextRow.image_id.in_(image_ids))


def _chunks(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(values), CHUNK):
        yield values[start : start + CHUNK]
