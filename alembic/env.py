"""Alembic's entry: runs on the connection that `retrieval.db.migrate` hands over."""

from __future__ import annotations

import os

from alembic import context
from sqlalchemy import Connection

from retrieval.db.schema import FULL_TEXT, Base


def ours(name: str | None, kind: str, _parents: object) -> bool:
    """Full-text tables are SQLite's own matter: no model stands for them."""
    return not (kind == "table" and name is not None and name.startswith(FULL_TEXT))


def run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_as_batch=connection.dialect.name == "sqlite",
        compare_type=True,
        include_name=ours,
        transaction_per_migration=False,
    )
    with context.begin_transaction():
        context.run_migrations()


def run_by_hand() -> None:
    """`alembic revision --autogenerate` in a checkout, against $SEARCH_CATALOG."""
    from retrieval.config import Location, default_catalog
    from retrieval.db.engine import open_engine

    engine = open_engine(Location.parse(os.environ.get("SEARCH_CATALOG") or default_catalog()))
    with engine.begin() as connection:
        run(connection)


given = context.config.attributes.get("connection")
if given is None:
    run_by_hand()
else:
    run(given)
