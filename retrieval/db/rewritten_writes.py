"""Files that were written to around the same picture: what is known of it goes with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import select, update
from sqlalchemy.orm import aliased

from retrieval.db.schema import ConceptExample, FeedbackRow, Image, SaidRow

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection
    from sqlalchemy.orm import InstrumentedAttribute

    from retrieval.db.queries import Writer
    from retrieval.db.schema import Base

    Attribute = InstrumentedAttribute[Any]


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A file with other bytes around the same picture."""

    paths: tuple[bytes, ...]
    """The names it is known by: as it was given, and where it really is."""
    before: bytes
    after: bytes
    """The digests of its content."""
    size: int
    mtime_ns: int


def put_rewritten(writer: Writer, files: Sequence[Rewritten]) -> None:
    """Let the catalog know such files as they are now, so that indexing has nothing to read again.

    A picture whose row has another content by now is left as it is. What a person said of the
    picture is known by its content, and follows it, but for what was said of a copy that has not changed.
    """
    with writer.transaction() as connection:
        for file in files:
            same = Image.path.in_(file.paths) & (Image.content_hash == file.before)
            if connection.scalars(select(Image.id).where(same)).first() is None:
                continue
            now = {"content_hash": file.after, "size": file.size, "mtime_ns": file.mtime_ns}
            connection.execute(update(Image).where(same).values(now))
            _take_along(connection, file)


def _take_along(connection: Connection, file: Rewritten) -> None:
    copies = Image.content_hash == file.before, Image.missing_at.is_(None)
    copied = connection.scalars(select(Image.id).where(*copies).limit(1)).first() is not None

    def move(table: type[Base], content: Attribute, path: Attribute, *unless: ColumnElement[bool]) -> None:
        where = [content == file.before, *unless, *([path.in_(file.paths)] if copied else [])]
        connection.execute(update(table).where(*where).values({content: file.after}))

    # What was said already of the new content, that of another copy, stands.
    example, judged = aliased(ConceptExample), aliased(FeedbackRow)
    shown = (example.content_hash == file.after) & (example.concept_id == ConceptExample.concept_id)
    said = (judged.content_hash == file.after) & (judged.query == FeedbackRow.query)
    unless = ~select(example.id).where(shown).exists(), ~select(judged.id).where(said).exists()
    move(ConceptExample, ConceptExample.content_hash, ConceptExample.path, unless[0])
    move(FeedbackRow, FeedbackRow.content_hash, FeedbackRow.path, unless[1])
    move(SaidRow, SaidRow.content_hash, SaidRow.path)
    move(SaidRow, SaidRow.other_hash, SaidRow.other_path)
