"""The schema: from nothing to the newest, and equal to the models."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from retrieval.config import Location
from retrieval.db import migrate, reader
from retrieval.db.engine import open_engine
from retrieval.db.schema import FULL_TEXT, Base
from retrieval.doctor import examine
from retrieval.errors import SchemaOutdated


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


def test_every_revision_leads_forward_only() -> None:
    scripts = ScriptDirectory(str(migrate.scripts()))
    ways = [
        (hasattr(one.module, "upgrade"), hasattr(one.module, "downgrade")) for one in scripts.walk_revisions()
    ]
    assert ways == [(True, False)] * len(reader.REVISIONS)


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


def old_catalog(location: Location) -> None:
    """A catalog of revision 0001 with two pictures, in plain SQL as its program wrote them."""
    engine = open_engine(location)
    config = migrate._config()
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
    engine.dispose()
    blank = "NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL"
    with contextlib.closing(sqlite3.connect(location.database)) as connection, connection:
        connection.execute("INSERT INTO roots VALUES (1, ?, 1.0)", (b"/home/me/photos",))
        connection.execute(
            "INSERT INTO encoders VALUES (1, 'toy/colours/1', 'toy', 32, 7, 3, 'complete', 1, 1.0)"
        )
        for number, name, title, description, keywords in (
            (1, b"Norway/redBoat.jpg", "On the fjord", None, '["boat", "se\\u00e4"]'),
            (2, b"IMG_0002 \xff.jpg", None, None, "[]"),
        ):
            connection.execute(
                f"INSERT INTO images VALUES (?, ?, 10, 20, ?, NULL, 1.0, 'JPEG', 4, 3, {blank}, ?, ?, ?)",
                (number, b"/home/me/photos/" + name, bytes([number]) * 32, title, description, keywords),
            )
            connection.execute("INSERT INTO embeddings VALUES (1, ?, ?, ?, 0, 7)", (number, b"\0" * 64, b""))
        connection.execute("INSERT INTO texts VALUES (1, ?, 'a wooden boat', 'added', 1, 1.0)", (b"h" * 32,))


def rows(location: Location, sql: str) -> list[tuple[Any, ...]]:
    with contextlib.closing(sqlite3.connect(location.database)) as connection:
        return connection.execute(sql).fetchall()


def test_catalog_of_the_first_revision_keeps_its_data_and_gets_words(location: Location) -> None:
    old_catalog(location)
    before = rows(location, "SELECT * FROM embeddings")
    with pytest.raises(SchemaOutdated):
        reader.open_reader(location)
    engine = open_engine(location)
    migrate.upgrade(engine)
    engine.dispose()
    assert rows(location, "SELECT * FROM embeddings") == before
    assert rows(location, "SELECT id, title, phash, ocr FROM images") == [
        (1, "On the fjord", None, None),
        (2, None, None, None),
    ]
    assert rows(location, "SELECT * FROM image_words") == [
        (1, "red boat / norway", "on the fjord boat sea", "a wooden boat", ""),
        (2, "", "", "", ""),
    ]
    assert rows(location, "SELECT text, source, image_id FROM texts ORDER BY id") == [
        ("a wooden boat", "added", 1),
        ("On the fjord", "embedded", 1),
    ]
    assert rows(location, "SELECT text_generation, text_epoch FROM encoders") == [(0, 0)]
    assert rows(location, "SELECT rowid FROM image_fts WHERE image_fts MATCH 'wooden'") == [(1,)]
    assert [finding.kind for finding in examine(location)] == ["vectors", "texts", "files", "cache"]


def test_failed_upgrade_leaves_the_first_revision_as_it_was(
    location: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    old_catalog(location)
    state = "SELECT type, name, sql FROM sqlite_master ORDER BY name"
    before = (
        rows(location, state),
        rows(location, "SELECT * FROM images"),
        rows(location, "SELECT * FROM texts"),
    )

    def fail(*_: object) -> None:
        raise RuntimeError("power cut")

    monkeypatch.setattr("retrieval.db.wording.place_words", fail)
    engine = open_engine(location)
    with pytest.raises(RuntimeError, match="power cut"):
        migrate.upgrade(engine)
    engine.dispose()
    assert (
        rows(location, state),
        rows(location, "SELECT * FROM images"),
        rows(location, "SELECT * FROM texts"),
    ) == before
    assert rows(location, "SELECT version_num FROM alembic_version") == [("0001",)]
