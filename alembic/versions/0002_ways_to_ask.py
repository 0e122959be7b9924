"""texts with vectors, words around pictures, tags, duplicates, concepts and feedback

Revision ID: 0002
Revises: 0001
"""

from __future__ import annotations

import time

import sqlalchemy as sa
from alembic import op

from retrieval.db.texts import EMBEDDED, content_hash
from retrieval.db.wording import embedded_text, words_of

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

FILTERED = (
    ("taken_at",),
    ("latitude", "longitude"),
    ("camera_make", "camera_model"),
    ("width", "height"),
    ("format",),
)
COLUMNS = ("name", "described", "told", "seen")
PART = 1000


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    for name in ("taken_at", "latitude"):
        op.drop_index(f"ix_images_{name}", "images")
    for columns in FILTERED:
        op.create_index(f"ix_images_{columns[0]}", "images", [*columns, "missing_at"])
    op.add_column("images", sa.Column("phash", sa.LargeBinary(), nullable=True))
    op.add_column("images", sa.Column("ocr", sa.Text(), nullable=True))
    op.add_column("encoders", sa.Column("text_generation", number, nullable=False, server_default="0"))
    op.add_column("encoders", sa.Column("text_epoch", number, nullable=False, server_default="0"))
    op.add_column("texts", sa.Column("name", sa.Text(), nullable=True))
    op.add_column("texts", sa.Column("origin", sa.LargeBinary(), nullable=True))
    op.add_column("texts", sa.Column("stamp", sa.Text(), nullable=True))
    op.create_index("ix_texts_origin", "texts", ["origin"])
    op.create_table(
        "text_embeddings",
        sa.Column("encoder_id", number, nullable=False),
        sa.Column("text_id", number, nullable=False),
        sa.Column("vector", sa.LargeBinary(), nullable=False),
        sa.Column("checksum", number, nullable=False),
        sa.Column("generation", number, nullable=False),
        _to("text_embeddings", "encoder_id", "encoders", "CASCADE"),
        _to("text_embeddings", "text_id", "texts", "CASCADE"),
        sa.PrimaryKeyConstraint("encoder_id", "text_id", name="pk_text_embeddings"),
    )
    op.create_index(
        "ix_text_embeddings_encoder_id_generation", "text_embeddings", ["encoder_id", "generation"]
    )
    op.create_index("ix_text_embeddings_text_id", "text_embeddings", ["text_id"])
    op.create_index("ix_embeddings_image_id", "embeddings", ["image_id"])
    op.create_table(
        "image_words",
        sa.Column("image_id", number, nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in COLUMNS),
        _to("image_words", "image_id", "images", "CASCADE"),
        sa.PrimaryKeyConstraint("image_id", name="pk_image_words"),
    )
    op.create_table(
        "vocabulary",
        sa.Column("tag", sa.String(255), nullable=False),
        sa.Column("prompt", sa.Text(), nullable=False),
        sa.Column("added_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("tag", name="pk_vocabulary"),
    )
    op.create_table(
        "image_tags",
        sa.Column("image_id", number, nullable=False),
        sa.Column("tag", sa.String(255), nullable=False),
        sa.Column("confidence", sa.Float(), nullable=False),
        sa.Column("kept", sa.Boolean(), nullable=False),
        sa.Column("source", sa.String(16), nullable=False),
        sa.Column("encoder_id", number, nullable=True),
        _to("image_tags", "image_id", "images", "CASCADE"),
        _to("image_tags", "encoder_id", "encoders", "SET NULL"),
        sa.PrimaryKeyConstraint("image_id", "tag", name="pk_image_tags"),
    )
    op.create_index("ix_image_tags_tag", "image_tags", ["tag", "kept", "image_id"])
    op.create_table(
        "not_duplicates",
        sa.Column("first_id", number, nullable=False),
        sa.Column("second_id", number, nullable=False),
        sa.Column("said_at", sa.Float(), nullable=False),
        _to("not_duplicates", "first_id", "images", "CASCADE"),
        _to("not_duplicates", "second_id", "images", "CASCADE"),
        sa.PrimaryKeyConstraint("first_id", "second_id", name="pk_not_duplicates"),
    )
    op.create_table(
        "concepts",
        sa.Column("id", number, nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_concepts"),
        sa.UniqueConstraint("name", name="uq_concepts_name"),
    )
    op.create_table(
        "concept_examples",
        sa.Column("id", number, nullable=False),
        sa.Column("concept_id", number, nullable=False),
        sa.Column("path", sa.LargeBinary(), nullable=False),
        sa.Column("content_hash", sa.LargeBinary(), nullable=False),
        sa.Column("good", sa.Boolean(), nullable=False),
        sa.Column("encoder_id", number, nullable=True),
        sa.Column("vector", sa.LargeBinary(), nullable=True),
        sa.Column("added_at", sa.Float(), nullable=False),
        _to("concept_examples", "concept_id", "concepts", "CASCADE"),
        _to("concept_examples", "encoder_id", "encoders", "SET NULL"),
        sa.PrimaryKeyConstraint("id", name="pk_concept_examples"),
    )
    op.create_index("ix_concept_examples_concept_id", "concept_examples", ["concept_id"])
    op.create_table(
        "feedback",
        sa.Column("id", number, nullable=False),
        sa.Column("query", sa.Text(), nullable=False),
        sa.Column("content_hash", sa.LargeBinary(), nullable=False),
        sa.Column("path", sa.LargeBinary(), nullable=False),
        sa.Column("good", sa.Boolean(), nullable=False),
        sa.Column("said_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_feedback"),
    )
    op.create_index("ix_feedback_query", "feedback", ["query"])
    op.create_table(
        "said",
        sa.Column("id", number, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("content_hash", sa.LargeBinary(), nullable=False),
        sa.Column("path", sa.LargeBinary(), nullable=False),
        sa.Column("other_hash", sa.LargeBinary(), nullable=True),
        sa.Column("other_path", sa.LargeBinary(), nullable=True),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_said"),
    )
    for name in ("content_hash", "other_hash"):
        op.create_index(f"ix_said_{name}", "said", [name])
    if op.get_bind().dialect.name == "sqlite":
        _full_text_in_sqlite()
    elif op.get_bind().dialect.name == "postgresql":
        words = " || ' ' || ".join(COLUMNS)
        op.execute(
            f"CREATE INDEX ix_image_words_words ON image_words USING gin (to_tsvector('english', {words}))"
        )
    _fill_words()


def _to(table: str, column: str, other: str, ondelete: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        [column], [f"{other}.id"], name=f"fk_{table}_{column}_{other}", ondelete=ondelete
    )


def _full_text_in_sqlite() -> None:
    """An index over `image_words`, and what keeps it up."""
    names = ", ".join(COLUMNS)
    old, new = (", ".join(f"{row}.{name}" for name in COLUMNS) for row in ("old", "new"))
    add = f"INSERT INTO image_fts (rowid, {names}) VALUES (new.image_id, {new});"
    remove = f"INSERT INTO image_fts (image_fts, rowid, {names}) VALUES ('delete', old.image_id, {old});"
    op.execute(
        f"CREATE VIRTUAL TABLE image_fts USING fts5({names}, content='image_words', "
        "content_rowid='image_id', tokenize='porter unicode61 remove_diacritics 2')"
    )
    op.execute("CREATE VIRTUAL TABLE image_terms USING fts5vocab('image_fts', 'row')")
    op.execute(f"CREATE TRIGGER image_words_added AFTER INSERT ON image_words BEGIN {add} END")
    op.execute(f"CREATE TRIGGER image_words_removed AFTER DELETE ON image_words BEGIN {remove} END")
    op.execute(f"CREATE TRIGGER image_words_changed AFTER UPDATE ON image_words BEGIN {remove} {add} END")


def _fill_words() -> None:
    """Give the pictures that are there their words, and the texts that they carry in themselves.

    How words are spelt, only the code that looks for them knows: it is asked here too.
    """
    connection = op.get_bind()
    columns = [sa.column("id"), sa.column("path"), sa.column("title"), sa.column("description")]
    images = sa.table("images", *columns, sa.column("keywords", sa.JSON))
    names = ("id", "text", "source", "image_id", "content_hash", "added_at")
    texts = sa.table("texts", *map(sa.column, names))
    words = sa.table("image_words", sa.column("image_id"), *(sa.column(name) for name in COLUMNS))
    roots = [bytes(path) for path in connection.execute(sa.text("SELECT path FROM roots")).scalars()]
    last = 0
    while True:
        rows = connection.execute(
            sa.select(images).where(images.c.id > last).order_by(images.c.id).limit(PART)
        ).all()
        if not rows:
            return
        carried = [
            {
                "text": text,
                "source": EMBEDDED,
                "image_id": row.id,
                "content_hash": content_hash(text, row.id, source=EMBEDDED),
                "added_at": time.time(),
            }
            for row in rows
            if (text := embedded_text(row.title, row.description))
        ]
        if carried:
            connection.execute(sa.insert(texts), carried)
        span = texts.c.image_id.between(rows[0].id, rows[-1].id)
        told: dict[int, list[tuple[str, str]]] = {}
        for row in connection.execute(sa.select(texts).where(span).order_by(texts.c.id)):
            told.setdefault(row.image_id, []).append((row.source, row.text))
        connection.execute(
            sa.insert(words),
            [{"image_id": row.id, **words_of(row._mapping, told.get(row.id, ()), roots)} for row in rows],
        )
        last = rows[-1].id
