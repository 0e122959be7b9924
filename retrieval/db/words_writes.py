"""Keeping the words around pictures up with their rows and texts, in whatever transaction changes these."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, cast

from sqlalchemy import Table, bindparam, delete, exists, insert, select, update

from retrieval.db.reader import CHUNK
from retrieval.db.schema import Image, ImageWords, Root, TextRow
from retrieval.db.wording import KINDS, words_of

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from retrieval.db.queries import Writer


def renew_words(connection: Connection, image_ids: Sequence[int]) -> None:
    """Make the words of pictures agree with their rows and texts; writes only what differs."""
    roots = list(connection.scalars(select(Root.path)))
    for start in range(0, len(image_ids), CHUNK):
        part = list(image_ids[start : start + CHUNK])
        texts: dict[int | None, list[tuple[str, str]]] = {}
        for image_id, source, text in connection.execute(
            select(TextRow.image_id, TextRow.source, TextRow.text)
            .where(TextRow.image_id.in_(part))
            .order_by(TextRow.id)
        ):
            texts.setdefault(image_id, []).append((source, text))
        columns = (Image.id, Image.path, Image.title, Image.description, Image.keywords)
        wanted = {
            int(row.id): words_of(row._asdict(), texts.get(int(row.id), ()), roots)
            for row in connection.execute(select(*columns).where(Image.id.in_(part)))
        }
        table = cast(Table, ImageWords.__table__)
        there = {
            int(row.image_id): {kind: row._mapping[kind] for kind in KINDS}
            for row in connection.execute(select(table).where(ImageWords.image_id.in_(part)))
        }
        new = [{"image_id": key, **words} for key, words in wanted.items() if key not in there]
        changed = [
            {"of": key, **words} for key, words in wanted.items() if key in there and there[key] != words
        ]
        if new:
            connection.execute(insert(ImageWords), new)
        if changed:
            connection.execute(update(table).where(table.c.image_id == bindparam("of")), changed)


def rebuild_words(writer: Writer) -> None:
    """Make the words of all pictures anew, and the database's index over them."""
    with writer.transaction() as connection:
        connection.execute(delete(ImageWords).where(~exists().where(Image.id == ImageWords.image_id)))
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("INSERT INTO image_fts (image_fts) VALUES ('rebuild')")
        for part in _parts(list(connection.scalars(select(Image.id).order_by(Image.id)))):
            renew_words(connection, part)


def _parts(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(ids), CHUNK):
        yield ids[start : start + CHUNK]
