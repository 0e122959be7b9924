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
        Index("ix_images_taken_at", "taken_at"),
        Index("ix_images_latitude", "latitude"),
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


class Encoder(Base):
    """A model whose vectors the catalog holds.

    `generation` grows with each batch of vectors, `epoch` whenever vectors are taken away:
    together they tell a cache what it has missed. `state` is `building` or `complete`;
    at most one encoder is `active`.
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


class Embedding(Base):
    """One picture's vector by one encoder: little-endian float16, and the bytes of its second stage."""

    __tablename__ = "embeddings"
    __table_args__ = (Index("ix_embeddings_encoder_id_generation", "encoder_id", "generation"),)

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
    """A caption, description or sentence, each kept once for a picture or for none."""

    __tablename__ = "texts"
    __table_args__ = (Index("ix_texts_image_id", "image_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    content_hash: Mapped[bytes] = mapped_column(unique=True)
    text: Mapped[str]
    source: Mapped[str] = mapped_column(String(32))
    image_id: Mapped[int | None] = mapped_column(ForeignKey("images.id", ondelete="CASCADE"))
    added_at: Mapped[float]
