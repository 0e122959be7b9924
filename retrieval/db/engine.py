"""Engines and their settings: the one place that knows which database this is."""

from __future__ import annotations

import sqlite3
from typing import Any

from sqlalchemy import URL, Engine, create_engine, event
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from retrieval.config import Location
from retrieval.errors import CatalogError, MissingDependency

BUSY_MS = 10_000
LOG_BYTES = 64 << 20
"""What is left of the log once it was copied into the database; it grows while somebody reads for long."""


def open_engine(location: Location) -> Engine:
    """An engine for writing; SQLite gets its pragmas, and a real BEGIN for every transaction."""
    if location.url is None:
        engine = create_engine(URL.create("sqlite", database=str(location.database)))
    else:
        try:
            engine = create_engine(location.url)
        except (ArgumentError, NoSuchModuleError) as error:
            raise CatalogError(
                f"'{location.name}' is not a database URL that can be used: {error}. "
                "Give a folder, or a URL such as postgresql+psycopg://user@host/name."
            ) from error
        except ModuleNotFoundError as error:
            raise MissingDependency(
                f"The database driver '{error.name}' is not installed. For PostgreSQL: "
                "pip install 'picture-search[postgres]'"
            ) from error
    if location.url is not None and engine.dialect.name == "sqlite":
        raise CatalogError(f"'{location.name}' names no database file. Write sqlite:////path/to/catalog.db.")
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _set_pragmas)
        event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    return engine


def _set_pragmas(connection: sqlite3.Connection, _record: Any) -> None:
    # The driver's own transaction control commits before DDL; with it off, "begin" above decides.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={BUSY_MS}")
    cursor.execute("PRAGMA journal_mode=WAL")
    # One fsync a batch is nothing beside encoding it, and a finished command survives a power cut.
    cursor.execute("PRAGMA synchronous=FULL")
    # On macOS an fsync stops at the disk's own cache, unless one asks for more.
    cursor.execute("PRAGMA fullfsync=ON")
    cursor.execute("PRAGMA checkpoint_fullfsync=ON")
    cursor.execute(f"PRAGMA journal_size_limit={LOG_BYTES}")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()
