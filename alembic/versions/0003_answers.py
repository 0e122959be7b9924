"""descriptions of pictures, and the latest conversation

Revision ID: 0003
Revises: 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Until now a person could call the source of a text so; from now on it is what captioners say.
    op.execute("UPDATE texts SET source = 'added' WHERE source = 'caption'")
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "descriptions",
        sa.Column("image_id", number, nullable=False),
        sa.Column("style", sa.String(16), nullable=False),
        sa.Column("captioner", sa.String(255), nullable=False),
        sa.Column("seen", sa.Boolean(), nullable=False),
        sa.Column("text", sa.Text(), nullable=True),
        sa.Column("offered", number, nullable=False),
        sa.Column("kept", number, nullable=False),
        sa.Column("made_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(
            ["image_id"], ["images.id"], name="fk_descriptions_image_id_images", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("image_id", "style", name="pk_descriptions"),
    )
    op.create_table(
        "turns",
        sa.Column("id", number, nullable=False),
        sa.Column("asked_at", sa.Float(), nullable=False),
        sa.Column("question", sa.Text(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.Column("plan", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_turns"),
    )
