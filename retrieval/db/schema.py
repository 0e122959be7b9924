"""The tables. SQL is the only truth; whatever is not here can be made again from it.

Paths are bytes, as the file system gives them, so that a name which is not UTF-8
survives. Times that we set are seconds since 1970; times that pictures carry are local
ISO 8601 text, because most cameras do not know their offset.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


FULL_TEXT = ("image_fts", "image_terms")
"""Tables of SQLite's full-text search begin with these names: made by migrations, without a model."""


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads it off the class
        bytes: LargeBinary,
        str: Text,
        int: BigInteger().with_variant(Integer, "sqlite"),
        float: Float,
        list[str]: JSON,
        dict[str, Any]: JSON,
    }


class Root(Base):
    """A folder that a person asked to index."""

    __tablename__ = "roots"

    id: Mapped[int] = mapped_column(primary_key=True)
    path: Mapped[bytes] = mapped_column(unique=True)
    added_at: Mapped[float]


class Image(Base):
    """A picture file. `missing_at` is set while the file is gone; the vectors stay until `gc`."""

    __tablename__ = "images"
    __table_args__ = (
        Index("ix_images_content_hash", "content_hash"),
        Index("ix_images_size", "size"),
        Index("ix_images_missing_at", "missing_at"),
        # Each answers a filter from the index alone, also what is hidden.
        *(
            Index(f"ix_images_{columns[0]}", *columns, "missing_at")
            for columns in (
                ("taken_at",),
                ("latitude", "longitude"),
                ("camera_make", "camera_model"),
                ("width", "height"),
                ("format",),
            )
        ),
        # An id is never given twice, so that nothing which remembers one can mean another picture.
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    path: Mapped[bytes] = mapped_column(unique=True)
    size: Mapped[int]
    mtime_ns: Mapped[int]
    content_hash: Mapped[bytes]
    missing_at: Mapped[float | None]
    indexed_at: Mapped[float]
    format: Mapped[str]
    width: Mapped[int]
    height: Mapped[int]
    taken_at: Mapped[str | None]
    taken_offset: Mapped[int | None]
    taken_source: Mapped[str | None]
    camera_make: Mapped[str | None]
    camera_model: Mapped[str | None]
    lens: Mapped[str | None]
    latitude: Mapped[float | None]
    longitude: Mapped[float | None]
    altitude: Mapped[float | None]
    title: Mapped[str | None]
    description: Mapped[str | None]
    keywords: Mapped[list[str]]
    phash: Mapped[bytes | None]
    """How the picture looks (see `retrieval.images.phash`); none where it was not computed yet."""
    ocr: Mapped[str | None]
    """What has read the text in the picture, and in which version; none where nothing has."""


class Encoder(Base):
    """A model whose vectors the catalog holds.

    `generation` grows with each batch of vectors, `epoch` whenever vectors are taken away:
    together they tell a cache what it has missed. The vectors of texts have their own two.
    `state` is `building` or `complete`; at most one encoder is `active`.
    """

    __tablename__ = "encoders"

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(String(255), unique=True)
    spec: Mapped[str]
    dim: Mapped[int]
    generation: Mapped[int]
    epoch: Mapped[int]
    state: Mapped[str] = mapped_column(String(16))
    active: Mapped[bool]
    created_at: Mapped[float]
    text_generation: Mapped[int] = mapped_column(server_default="0")
    text_epoch: Mapped[int] = mapped_column(server_default="0")


class Embedding(Base):
    """One picture's vector by one encoder: little-endian float16, and the bytes of its second stage."""

    __tablename__ = "embeddings"
    __table_args__ = (
        Index("ix_embeddings_encoder_id_generation", "encoder_id", "generation"),
        # Without it, every picture that is deleted costs a walk through all vectors.
        Index("ix_embeddings_image_id", "image_id"),
    )

    encoder_id: Mapped[int] = mapped_column(ForeignKey("encoders.id", ondelete="CASCADE"), primary_key=True)
    image_id: Mapped[int] = mapped_column(ForeignKey("images.id", ondelete="CASCADE"), primary_key=True)
    vector: Mapped[bytes]
    aux: Mapped[bytes]
    checksum: Mapped[int]
    """crc32 of `vector` and `aux`: a flipped bit is noticed, not searched."""
    generation: Mapped[int]


class FailureRow(Base):
    """A file that could not be read, with the size and time it had: unchanged, it is not tried again."""

    __tablename__ = "failures"

    path: Mapped[bytes] = mapped_column(primary_key=True)
    size: Mapped[int]
    mtime_ns: Mapped[int]
    reason: Mapped[str] = mapped_column(String(32))
    detail: Mapped[str]
    failed_at: Mapped[float]


class TextRow(Base):
    """A caption, description or sentence, each kept once for a picture or for none.

    `source` says what it is: `added`, `sidecar`, `ocr`, `caption` …; `name` is what the one
    who added it calls it. `origin` is the file it came from, `stamp` that file's size and time.
    """

    __tablename__ = "texts"
    __table_args__ = (Index("ix_texts_image_id", "image_id"), Index("ix_texts_origin", "origin"))

    id: Mapped[int] = mapped_column(primary_key=True)
    content_hash: Mapped[bytes] = mapped_column(unique=True)
    text: Mapped[str]
    source: Mapped[str] = mapped_column(String(32))
    image_id: Mapped[int | None] = mapped_column(ForeignKey("images.id", ondelete="CASCADE"))
    added_at: Mapped[float]
    name: Mapped[str | None]
    origin: Mapped[bytes | None]
    stamp: Mapped[str | None]


class TextEmbedding(Base):
    """One text's vector by one encoder: little-endian float16."""

    __tablename__ = "text_embeddings"
    __table_args__ = (
        Index("ix_text_embeddings_encoder_id_generation", "encoder_id", "generation"),
        Index("ix_text_embeddings_text_id", "text_id"),
    )

    encoder_id: Mapped[int] = mapped_column(ForeignKey("encoders.id", ondelete="CASCADE"), primary_key=True)
    text_id: Mapped[int] = mapped_column(ForeignKey("texts.id", ondelete="CASCADE"), primary_key=True)
    vector: Mapped[bytes]
    checksum: Mapped[int]
    generation: Mapped[int]


class ImageWords(Base):
    """The words around a picture, by where they come from: what full-text search looks through.

    Made from the picture's row and texts whenever these change. In SQLite the table is the
    content of the FTS5 table `image_fts`, kept up by triggers.
    """

    __tablename__ = "image_words"

    image_id: Mapped[int] = mapped_column(ForeignKey("images.id", ondelete="CASCADE"), primary_key=True)
    name: Mapped[str]
    """Its file's name, and those of the folders it lies in."""
    described: Mapped[str]
    """Title, description and keywords that the file carries."""
    told: Mapped[str]
    """Texts that were tied to it: captions, sidecars."""
    seen: Mapped[str]
    """Text that was read in the picture."""


class VocabularyRow(Base):
    """A tag that pictures may get: what is looked for is `prompt`."""

    __tablename__ = "vocabulary"

    tag: Mapped[str] = mapped_column(String(255), primary_key=True)
    prompt: Mapped[str]
    added_at: Mapped[float]


class ImageTag(Base):
    """A tag of a picture; `kept` is whether it counts.

    `source` is `model`, or `person`, who has the last word.
    """

    __tablename__ = "image_tags"
    __table_args__ = (Index("ix_image_tags_tag", "tag", "kept", "image_id"),)

    image_id: Mapped[int] = mapped_column(ForeignKey("images.id", ondelete="CASCADE"), primary_key=True)
    tag: Mapped[str] = mapped_column(String(255), primary_key=True)
    confidence: Mapped[float]
    kept: Mapped[bool]
    source: Mapped[str] = mapped_column(String(16))
    encoder_id: Mapped[int | None] = mapped_column(ForeignKey("encoders.id", ondelete="SET NULL"))


class NotDuplicates(Base):
    """Two pictures that a person said are not the same; the lower id comes first."""

    __tablename__ = "not_duplicates"

    first_id: Mapped[int] = mapped_column(ForeignKey("images.id", ondelete="CASCADE"), primary_key=True)
    second_id: Mapped[int] = mapped_column(ForeignKey("images.id", ondelete="CASCADE"), primary_key=True)
    said_at: Mapped[float]


class ConceptRow(Base):
    """Something a person taught by examples: `@name` in a query."""

    __tablename__ = "concepts"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(255), unique=True)
    created_at: Mapped[float]


class ConceptExample(Base):
    """A picture that shows a concept, or does not (`good` false).

    It is known by its content, whatever becomes of its file and of its row: `path` is where
    it was given from, `vector` what `encoder_id` made of it.
    """

    __tablename__ = "concept_examples"
    __table_args__ = (Index("ix_concept_examples_concept_id", "concept_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    concept_id: Mapped[int] = mapped_column(ForeignKey("concepts.id", ondelete="CASCADE"))
    path: Mapped[bytes]
    content_hash: Mapped[bytes]
    good: Mapped[bool]
    encoder_id: Mapped[int | None] = mapped_column(ForeignKey("encoders.id", ondelete="SET NULL"))
    vector: Mapped[bytes | None]
    added_at: Mapped[float]


class FeedbackRow(Base):
    """What a person said of a picture as an answer to a query.

    The picture is known by its content; `path` is where it was when that was said.
    """

    __tablename__ = "feedback"
    __table_args__ = (Index("ix_feedback_query", "query"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    query: Mapped[str]
    """The query in its normal form: equal questions share what was said of their answers."""
    content_hash: Mapped[bytes]
    path: Mapped[bytes]
    good: Mapped[bool]
    said_at: Mapped[float]


class SaidRow(Base):
    """What a person said of a picture that left the catalog, until a picture of that content comes.

    `kind` is `tag`, `text` or `pair`: two pictures that are no duplicates, where
    `other_hash` is the second one's content.
    """

    __tablename__ = "said"
    __table_args__ = (
        Index("ix_said_content_hash", "content_hash"),
        Index("ix_said_other_hash", "other_hash"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))
    content_hash: Mapped[bytes]
    path: Mapped[bytes]
    other_hash: Mapped[bytes | None]
    other_path: Mapped[bytes | None]
    data: Mapped[dict[str, Any]]


class DescriptionRow(Base):
    """What a captioner said of a picture; `text` is none where nothing that it offered was kept.

    A caption is also a text of the source `caption`, which is what searches go through.
    """

    __tablename__ = "descriptions"

    image_id: Mapped[int] = mapped_column(ForeignKey("images.id", ondelete="CASCADE"), primary_key=True)
    style: Mapped[str] = mapped_column(String(16), primary_key=True)
    captioner: Mapped[str] = mapped_column(String(255))
    """Its id, which names the model and the version of the prompts."""
    seen: Mapped[bool]
    """Whether it looked at the picture."""
    text: Mapped[str | None]
    offered: Mapped[int]
    kept: Mapped[int]
    """How many captions were offered, and how many of them the matcher agreed with."""
    made_at: Mapped[float]


class TurnRow(Base):
    """A question of the latest conversation, and its answer."""

    __tablename__ = "turns"

    id: Mapped[int] = mapped_column(primary_key=True)
    asked_at: Mapped[float]
    question: Mapped[str]
    answer: Mapped[str]
    plan: Mapped[dict[str, Any]]
