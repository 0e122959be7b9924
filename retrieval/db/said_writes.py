"""What a person said of pictures outlives their rows: set aside when they go, back when they come again.

A picture is known again by its content. Of several copies, what was said goes to the one at
the same path, else to any.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, or_, select
from sqlalchemy.orm import aliased

from retrieval.db.reader import CHUNK
from retrieval.db.schema import Image, ImageTag, NotDuplicates, SaidRow, TextRow
from retrieval.db.tags import PERSON
from retrieval.db.texts import UPKEPT
from retrieval.db.texts_writes import NewText, insert_texts

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row

TAG, TEXT, PAIR = "tag", "text", "pair"


def set_aside(connection: Connection, image_ids: Sequence[int]) -> None:
    """Note what was said of up to `CHUNK` pictures whose rows are deleted next."""
    rows = [
        _row(TAG, row.content_hash, row.path, {"tag": row.tag, "kept": row.kept})
        for row in connection.execute(
            select(ImageTag.tag, ImageTag.kept, Image.content_hash, Image.path)
            .join(Image, Image.id == ImageTag.image_id)
            .where(ImageTag.image_id.in_(image_ids), ImageTag.source == PERSON)
        )
    ]
    # What indexing found in the file or beside it, it finds again.
    rows += (
        _row(
            TEXT,
            row.content_hash,
            row.path,
            {
                "text": row.text,
                "source": row.source,
                "name": row.name,
                "origin": None if row.origin is None else bytes(row.origin).hex(),
                "stamp": row.stamp,
            },
        )
        for row in connection.execute(
            select(
                TextRow.text,
                TextRow.source,
                TextRow.name,
                TextRow.origin,
                TextRow.stamp,
                Image.content_hash,
                Image.path,
            )
            .join(Image, Image.id == TextRow.image_id)
            .where(TextRow.image_id.in_(image_ids), TextRow.source.not_in(UPKEPT))
            .order_by(TextRow.id)
        )
    )
    other = aliased(Image)
    rows += (
        _row(PAIR, row[1], row[2], {"said_at": row.said_at}, other_hash=row[3], other_path=row[4])
        for row in connection.execute(
            select(NotDuplicates.said_at, Image.content_hash, Image.path, other.content_hash, other.path)
            .join(Image, Image.id == NotDuplicates.first_id)
            .join(other, other.id == NotDuplicates.second_id)
            .where(or_(NotDuplicates.first_id.in_(image_ids), NotDuplicates.second_id.in_(image_ids)))
        )
    )
    if rows:
        connection.execute(insert(SaidRow), rows)


def bring_back(connection: Connection, image_ids: Sequence[int]) -> None:
    """Say again of pictures that came what was said of their content before it went."""
    for start in range(0, len(image_ids), CHUNK // 2):
        part = image_ids[start : start + CHUNK // 2]
        contents = select(Image.content_hash).where(Image.id.in_(part))
        rows = connection.execute(
            select(SaidRow.__table__)
            .where(or_(SaidRow.content_hash.in_(contents), SaidRow.other_hash.in_(contents)))
            .order_by(SaidRow.id)
        ).all()
        if not rows:
            continue
        copies = _copies(connection, rows)
        came = set(part)
        done = [row.id for row in rows if _said_again(connection, row, copies, came)]
        for first in range(0, len(done), CHUNK):
            connection.execute(delete(SaidRow).where(SaidRow.id.in_(done[first : first + CHUNK])))


def drop_tag(connection: Connection, tag: str) -> None:
    """A tag that goes for good is not to come back with a picture."""
    tags = connection.execute(select(SaidRow.id, SaidRow.data).where(SaidRow.kind == TAG)).all()
    for row in tags:
        if row.data["tag"] == tag:
            connection.execute(delete(SaidRow).where(SaidRow.id == row.id))


def _row(
    kind: str,
    content_hash: bytes,
    path: bytes,
    data: dict[str, Any],
    *,
    other_hash: bytes | None = None,
    other_path: bytes | None = None,
) -> dict[str, Any]:
    return {
        "kind": kind,
        "content_hash": content_hash,
        "path": path,
        "other_hash": other_hash,
        "other_path": other_path,
        "data": data,
    }


def _copies(connection: Connection, rows: Iterable[Row[Any]]) -> dict[bytes, list[tuple[int, bytes]]]:
    """Every picture, by id and path, that has one of the contents that something was said of."""
    contents = sorted({bytes(one) for row in rows for one in (row.content_hash, row.other_hash) if one})
    found: dict[bytes, list[tuple[int, bytes]]] = {}
    for start in range(0, len(contents), CHUNK):
        same = Image.content_hash.in_(contents[start : start + CHUNK])
        columns = select(Image.id, Image.path, Image.content_hash)
        for image in connection.execute(columns.where(same).order_by(Image.id)):
            found.setdefault(bytes(image.content_hash), []).append((int(image.id), bytes(image.path)))
    return found


def _home(copies: Sequence[tuple[int, bytes]], path: bytes) -> int | None:
    return min(copies, key=lambda copy: (copy[1] != path, copy[0]), default=(None, b""))[0]


def _said_again(
    connection: Connection, row: Row[Any], copies: dict[bytes, list[tuple[int, bytes]]], came: set[int]
) -> bool:
    if row.kind == PAIR:
        return _say_pair(connection, row, copies)
    new = [copy for copy in copies.get(bytes(row.content_hash), ()) if copy[0] in came]
    home = _home(new, bytes(row.path))
    if home is None:
        return False
    data = row.data
    if row.kind == TEXT:
        origin = None if data["origin"] is None else bytes.fromhex(data["origin"])
        text = NewText(data["text"], data["source"], home, data["name"], origin, data["stamp"])
        insert_texts(connection, [text])
        return True
    mine = (ImageTag.image_id == home) & (ImageTag.tag == data["tag"])
    if connection.scalar(select(ImageTag.source).where(mine)) != PERSON:
        connection.execute(delete(ImageTag).where(mine))
        connection.execute(
            insert(ImageTag).values(
                image_id=home,
                tag=data["tag"],
                confidence=float(data["kept"]),
                kept=data["kept"],
                source=PERSON,
                encoder_id=None,
            )
        )
    return True


def _say_pair(connection: Connection, row: Row[Any], copies: dict[bytes, list[tuple[int, bytes]]]) -> bool:
    """Mark both again, once both are there; they may be equal to the byte."""
    one = _home(copies.get(bytes(row.content_hash), ()), bytes(row.path))
    others = [copy for copy in copies.get(bytes(row.other_hash), ()) if copy[0] != one]
    other = _home(others, bytes(row.other_path))
    if one is None or other is None:
        return False
    first, second = sorted((one, other))
    known = (NotDuplicates.first_id == first) & (NotDuplicates.second_id == second)
    if connection.scalar(select(NotDuplicates.said_at).where(known)) is None:
        values = {"first_id": first, "second_id": second, "said_at": row.data["said_at"]}
        connection.execute(insert(NotDuplicates).values(values))
    return True
