"""Writing descriptions, and the texts that searches find them by."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, select

from retrieval.db.reader import CHUNK
from retrieval.db.schema import DescriptionRow, Image, TextRow
from retrieval.db.texts import CAPTION, SEARCHED
from retrieval.db.texts_writes import NewText, delete_texts, insert_texts

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from retrieval.db.queries import Writer


@dataclass(frozen=True, slots=True)
class NewDescription:
    """What a captioner said of a picture with that content; `text` is none where nothing was kept."""

    image_id: int
    content_hash: bytes
    text: str | None
    offered: int
    kept: int


def put_descriptions(
    writer: Writer, captioner: str, style: str, items: Sequence[NewDescription], *, seen: bool
) -> list[int]:
    """Keep descriptions in the place of older ones of that style; gives the pictures that got theirs.

    A picture that has changed or gone meanwhile is left as it is. Captions by one that has `seen`
    the pictures also become texts that these are found by.
    """
    with writer.transaction() as connection:
        content = _contents(connection, [item.image_id for item in items])
        still = [item for item in items if content.get(item.image_id) == item.content_hash]
        ids = [item.image_id for item in still]
        _delete_rows(connection, ids, style)
        if still:
            now = time.time()
            rows = [
                {
                    "image_id": item.image_id,
                    "style": style,
                    "captioner": captioner,
                    "seen": seen,
                    "text": item.text,
                    "offered": item.offered,
                    "kept": item.kept,
                    "made_at": now,
                }
                for item in still
            ]
            connection.execute(insert(DescriptionRow), rows)
        if style == SEARCHED:
            said = [(item.image_id, item.text) for item in still if item.text is not None]
            _renew_texts(connection, ids, said if seen else [], captioner)
        return ids


def drop_descriptions(connection: Connection, image_ids: Sequence[int]) -> None:
    """What was said of pictures whose content has changed says nothing of them any more."""
    for start in range(0, len(image_ids), CHUNK):
        part = image_ids[start : start + CHUNK]
        _renew_texts(connection, part, [], "")
        _delete_rows(connection, part)


def copy_descriptions(connection: Connection, source_id: int, image_id: int) -> None:
    """A copy of a picture is described by the same words."""
    columns = (
        DescriptionRow.style,
        DescriptionRow.captioner,
        DescriptionRow.seen,
        DescriptionRow.text,
        DescriptionRow.offered,
        DescriptionRow.kept,
        DescriptionRow.made_at,
    )
    rows = connection.execute(select(*columns).where(DescriptionRow.image_id == source_id)).all()
    if rows:
        connection.execute(
            insert(DescriptionRow), [{**dict(row._mapping), "image_id": image_id} for row in rows]
        )
    captions = select(TextRow.text, TextRow.name).where(
        TextRow.image_id == source_id, TextRow.source == CAPTION
    )
    texts = [NewText(row.text, CAPTION, image_id, row.name) for row in connection.execute(captions)]
    insert_texts(connection, texts)


def _renew_texts(
    connection: Connection, image_ids: Sequence[int], said: Sequence[tuple[int, str]], captioner: str
) -> None:
    """Make the caption texts of pictures agree with what is said of them; an equal one keeps its vector."""
    for start in range(0, len(image_ids), CHUNK):
        part = set(image_ids[start : start + CHUNK])
        wanted = {image_id: text for image_id, text in said if image_id in part}
        columns = select(TextRow.id, TextRow.image_id, TextRow.text, TextRow.name)
        mine = TextRow.image_id.in_(part) & (TextRow.source == CAPTION)
        known = connection.execute(columns.where(mine)).all()
        stale = [row.id for row in known if (wanted.get(row.image_id), captioner) != (row.text, row.name)]
        there = {row.image_id for row in known if row.id not in stale}
        delete_texts(connection, stale)
        new = [NewText(text, CAPTION, key, captioner) for key, text in wanted.items() if key not in there]
        insert_texts(connection, new)


def _delete_rows(connection: Connection, image_ids: Sequence[int], style: str | None = None) -> None:
    for start in range(0, len(image_ids), CHUNK):
        mine: Any = DescriptionRow.image_id.in_(image_ids[start : start + CHUNK])
        if style is not None:
            mine &= DescriptionRow.style == style
        connection.execute(delete(DescriptionRow).where(mine))


def _contents(connection: Connection, image_ids: Sequence[int]) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    for start in range(0, len(image_ids), CHUNK):
        part = image_ids[start : start + CHUNK]
        rows = connection.execute(select(Image.id, Image.content_hash).where(Image.id.in_(part)))
        found.update((int(row.id), bytes(row.content_hash)) for row in rows)
    return found
