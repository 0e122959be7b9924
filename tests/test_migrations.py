"""The schema: from nothing to the newest, and equal to the models."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from retrieval.config import Location
from retrieval.db import migrate, reader
from retrieval.db.engine import open_engine
from retrieval.db.schema import FULL_TEXT, Base


def ours(name: str | None, kind: str, _parents: object) -> bool:
    return not (kind == "table" and str(name).startswith(FULL_TEXT))


@pytest.fixture
def location(tmp_path: Path) -> Location:
    (tmp_path / "c").mkdir()
    return Location.parse(tmp_path / "c")


def test_empty_database_reaches_the_schema_of_the_models(location: Location) -> None:
    engine = open_engine(location)
    migrate.upgrade(engine)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "include_name": ours})
        assert compare_metadata(context, Base.metadata) == []
    engine.dispose()


def test_upgrading_twice_changes_nothing(location: Location) -> None:
    engine = open_engine(location)
    migrate.upgrade(engine)
    with engine.connect() as connection:
        before = connection.exec_driver_sql("SELECT * FROM sqlite_master").all()
    migrate.upgrade(engine)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT * FROM sqlite_master").all() == before
    engine.dispose()


def test_the_reader_knows_every_revision() -> None:
    assert migrate.head() == reader.HEAD
    scripts = ScriptDirectory(str(migrate.scripts()))
    assert tuple(reversed([script.revision for script in scripts.walk_revisions()])) == reader.REVISIONS


def test_failed_upgrade_leaves_nothing_behind(location: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("power cut")

    from alembic import op

    monkeypatch.setattr(op, "add_column", fail)
    engine = open_engine(location)
    with pytest.raises(RuntimeError, match="power cut"):
        migrate.upgrade(engine)
    engine.dispose()
    with sqlite3.connect(location.database) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == []
    connection.close()


def test_writing_sets_the_pragmas(location: Location) -> None:
    engine = open_engine(location)
    with engine.connect() as connection:
        values = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "foreign_keys", "synchronous", "busy_timeout")
        }
    engine.dispose()
    assert values == {"journal_mode": "wal", "foreign_keys": 1, "synchronous": 2, "busy_timeout": 10_000}
