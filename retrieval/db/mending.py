"""Taking away rows that cannot be what they say, so that what is left is a catalog again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, delete, exists, select, table, text, update
from sqlalchemy.orm import aliased

from retrieval.db.marks import new_epoch
from retrieval.db.reader import CHUNK
from retrieval.db.said_writes import bring_back, set_aside
from retrieval.db.schema import Base, ConceptExample, Embedding, Encoder, Image, TextEmbedding, TextRow
from retrieval.db.texts import UPKEPT
from retrieval.db.texts_writes import delete_texts_of

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from retrieval.db.queries import Writer


def drop_orphans(writer: Writer) -> None:
    """Remove rows that belong to something which is not there; parents come before their children.

    A text that a person added for a picture outlives it, tied to none.
    """
    with writer.transaction() as connection:
        for child in Base.metadata.sorted_tables:
            for key in child.foreign_keys:
                held, parent = key.parent, key.column.table.alias()
                gone: ColumnElement[bool] = held.is_not(None) & ~exists().where(
                    parent.c[key.column.name] == held
                )
                if child.name == TextRow.__tablename__:
                    own = gone & child.c.source.not_in(UPKEPT)
                    connection.execute(update(child).where(own).values({held.name: None}))
                if key.ondelete == "SET NULL":
                    connection.execute(update(child).where(gone).values({held.name: None}))
                else:
                    connection.execute(delete(child).where(gone))
        _new_epochs(connection)


def drop_pictures(writer: Writer, image_ids: Sequence[int]) -> None:
    """Take pictures out, and set aside what a person said of them, for when they come again."""
    with writer.transaction() as connection:
        for start in range(0, len(image_ids), CHUNK):
            part = image_ids[start : start + CHUNK]
            set_aside(connection, part)
            delete_texts_of(connection, part)
            copy, lost = aliased(Image), aliased(Image)
            same = select(copy.id).join(lost, lost.content_hash == copy.content_hash)
            staying = list(
                connection.scalars(same.where(lost.id.in_(part), copy.id.not_in(image_ids)).distinct())
            )
            connection.execute(delete(Image).where(Image.id.in_(part)))
            bring_back(connection, staying)


def drop_rows(writer: Writer, rows: Mapping[str, Sequence[int]]) -> None:
    """Remove rows by table and row id, in a SQLite file."""
    with writer.transaction() as connection:
        for name, row_ids in rows.items():
            for row_id in row_ids:
                connection.execute(delete(table(name)).where(text("rowid = :row")), {"row": row_id})
        _new_epochs(connection)


def drop_vectors(
    writer: Writer, images: Mapping[int, Sequence[int]], texts: Mapping[int, Sequence[int]]
) -> None:
    """Remove vectors of pictures and of texts, by encoder, so that they are made anew."""
    kinds: Any = ((Embedding, Embedding.image_id, images), (TextEmbedding, TextEmbedding.text_id, texts))
    with writer.transaction() as connection:
        for kind, owner, damaged in kinds:
            for encoder_id, owners in damaged.items():
                for start in range(0, len(owners), CHUNK):
                    part = owners[start : start + CHUNK]
                    connection.execute(delete(kind).where(kind.encoder_id == encoder_id, owner.in_(part)))
        if images or texts:
            _new_epochs(connection)


def drop_example_vectors(writer: Writer, example_ids: Sequence[int]) -> None:
    """Forget what examples of concepts look like to a model: it looks again when they are used."""
    with writer.transaction() as connection:
        for example in example_ids:
            same = ConceptExample.id == example
            connection.execute(update(ConceptExample).where(same).values(vector=None, encoder_id=None))


def catch_up(writer: Writer) -> None:
    """Bring the generation of each encoder up to its rows, where its own row is older than they are."""
    with writer.transaction() as connection:
        for encoder_id in list(connection.scalars(select(Encoder.id))):
            for kind, mark in (
                (Embedding, Encoder.generation),
                (TextEmbedding, Encoder.text_generation),
            ):
                newest = connection.scalar(
                    select(kind.generation)
                    .where(kind.encoder_id == encoder_id)
                    .order_by(kind.generation.desc())
                    .limit(1)
                )
                if newest is not None:
                    connection.execute(
                        update(Encoder)
                        .where(Encoder.id == encoder_id, mark < newest)
                        .values({mark.key: newest})
                    )


def _new_epochs(connection: Connection) -> None:
    """Caches compare themselves with the rows, one by one."""
    for encoder_id in list(connection.scalars(select(Encoder.id))):
        connection.execute(
            update(Encoder).where(Encoder.id == encoder_id).values(epoch=new_epoch(), text_epoch=new_epoch())
        )
