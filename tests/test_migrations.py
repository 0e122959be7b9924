"""The schema: from nothing to the newest, and equal to the models."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from click.testing import Result

from indexer import index_folder
from retrieval import Catalog
from retrieval.backup import check, restore
from retrieval.config import Location
from retrieval.db import copies, migrate, reader, upgrading
from retrieval.db.engine import open_engine
from retrieval.db.queries import Writer
from retrieval.db.schema import FULL_TEXT, Base
from retrieval.doctor import examine
from retrieval.errors import CatalogBusy, CatalogUnwritable, SchemaOutdated, SchemaTooNew
from tests.conftest import ROOT


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


MADE = Path(__file__).parent / "catalogs"
"""Catalogs as the programs of their time made them: with seven or eight pictures, one of them gone, a name
that is not UTF-8, a file that failed, and from revision 0002 on all that a person can say."""


@pytest.fixture(params=reader.REVISIONS)
def old(request: pytest.FixtureRequest, location: Location) -> tuple[Location, str]:
    location.database.write_bytes(gzip.decompress((MADE / f"{request.param}.db.gz").read_bytes()))
    return location, request.param


@pytest.fixture
def first(location: Location) -> Location:
    location.database.write_bytes(gzip.decompress((MADE / "0001.db.gz").read_bytes()))
    return location


def dump(file: Path) -> list[str]:
    with contextlib.closing(sqlite3.connect(file)) as connection:
        return list(connection.iterdump())


def test_catalogs_of_every_revision_are_kept_here() -> None:
    assert tuple(sorted(one.name.partition(".")[0] for one in MADE.glob("*.db.gz"))) == reader.REVISIONS


def test_catalog_of_every_revision_is_upgraded_as_it_is_opened_and_used(
    old: tuple[Location, str], tmp_path: Path
) -> None:
    place, revision = old
    before = dump(place.database)
    vectors = rows(place, "SELECT image_id, vector, aux, checksum FROM embeddings ORDER BY image_id")
    with Catalog(place.folder) as opened:
        assert rows(place, "SELECT version_num FROM alembic_version") == [(reader.HEAD,)]
        hits = opened.search("red", limit=3, cutoff=False)
        assert {os.fsencode(hit.path) for hit in hits} == {
            b"/srv/pictures/red.png",
            b"/srv/pictures/trip/red-again.jpg",
            b"/srv/pictures/caf\xe9.png",
        }
        status = opened.status()
        assert (status.images, status.missing, status.failures) == (7 if revision == "0001" else 6, 1, 1)
        if revision > "0001":
            assert [concept.name for concept in opened.concepts.list()] == ["rex"]
            assert [one.good for one in opened.feedback.list()] == [True, False]
            (boat,) = [hit for hit in opened.search("red") if hit.path.name == "red.png"]
            assert [tag.tag for tag in opened.tags.of(boat.image_id).tags] == ["boat"]
            assert len(opened.search("@rex", limit=2, cutoff=False)) == 2
            assert {text.text for text in opened.texts.list()} == {"a wooden boat", "a green field"}
        opened.texts.add(["said by the new program"])
    assert rows(place, "SELECT image_id, vector, aux, checksum FROM embeddings ORDER BY image_id") == vectors
    assert rows(place, "SELECT text FROM texts WHERE text LIKE 'said%'") == [("said by the new program",)]
    kept = sorted(place.backups.iterdir()) if revision != reader.HEAD else []
    assert [dump(one) for one in kept] == ([before] if revision != reader.HEAD else [])
    # The backup can be used: also by this version, which upgrades what it takes from it.
    for one in kept:
        assert check(one).schema == revision
        restore(one, tmp_path / "again")
        with Catalog(tmp_path / "again", readonly=True) as again:
            assert len(again.search("red", limit=3, cutoff=False)) == 3
        assert dump(one) == before


def test_any_command_upgrades_and_says_so_once(first: Location, search: Callable[..., Result]) -> None:
    found = search("find", "red", "--catalog", first.folder, "--no-server", "--json")
    assert found.exit_code == 0
    assert found.stdout.count("\n") >= 3
    (backup,) = first.backups.iterdir()
    notes = [line for line in found.stderr.splitlines() if "upgraded" in line]
    assert len(notes) == 1
    assert "from schema 0001" in notes[0]
    assert str(backup) in notes[0]
    again = search("find", "red", "--catalog", first.folder, "--no-server", "--json")
    assert "upgraded" not in again.stderr
    assert again.stdout == found.stdout


def test_reading_only_upgrades_nothing(first: Location) -> None:
    before = first.database.read_bytes()
    with pytest.raises(SchemaOutdated, match="doctor --fix"):
        Catalog(first.folder, readonly=True)
    with pytest.raises(SchemaOutdated):
        index_folder(first.folder, "/srv/pictures", dry_run=True)
    assert first.database.read_bytes() == before
    assert not first.backups.exists()


def test_upgrade_without_room_for_its_backup_changes_nothing(
    first: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = dump(first.database)

    def full(_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(copies, "flush_file", full)
        with pytest.raises(CatalogUnwritable, match=r"backed up first.*No space left"):
            Catalog(first.folder)
    assert dump(first.database) == before
    assert list(first.backups.iterdir()) == []
    Catalog(first.folder).close()
    assert len(list(first.backups.iterdir())) == 1


def test_catalog_that_cannot_be_written_says_what_helps(
    first: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise CatalogUnwritable("The catalog folder cannot be written: Read-only file system.")

    monkeypatch.setattr("retrieval.db.locking.acquire", refuse)
    with pytest.raises(SchemaOutdated, match=r"Read-only file system\..* copy it .*--catalog"):
        Catalog(first.folder)


def test_newest_three_backups_stay(first: Location) -> None:
    old = first.database.read_bytes()
    first.backups.mkdir()
    (first.backups / "mine.db").write_bytes(b"of a person")
    (first.backups / "before-restore-20200101T000000Z.db").write_bytes(b"never cleared away")
    made = []
    for _ in range(5):
        first.database.write_bytes(old)
        Writer(first).close()
        made.append({one.name for one in first.backups.iterdir()})
    ours = sorted(name for name in made[-1] if name.startswith(f"before-{reader.HEAD}"))
    assert len(made[2]) == 5
    assert len(ours) == upgrading.KEPT
    assert made[-1] - set(ours) == {"mine.db", "before-restore-20200101T000000Z.db"}
    assert made[-1] - made[-2] <= set(ours)
    assert made[-1] != made[-2]


def test_newer_schema_is_refused_by_name_and_left_alone(
    location: Location, search: Callable[..., Result], tmp_path: Path
) -> None:
    location.database.write_bytes(gzip.decompress((MADE / f"{reader.HEAD}.db.gz").read_bytes()))
    with contextlib.closing(sqlite3.connect(location.database)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '0999'")
    before = dump(location.database)
    for opening in (Catalog, Writer, lambda place: index_folder(place.folder, tmp_path)):
        with pytest.raises(SchemaTooNew, match="schema 0999"):
            opening(location)
    said = search("status", "--catalog", location.folder)
    assert (said.exit_code, "pip install -U" in said.stderr) == (1, True)
    assert dump(location.database) == before
    assert not location.backups.exists()


def test_two_who_open_at_once_upgrade_once(first: Location) -> None:
    code = "import sys; from retrieval import Catalog; print(len(Catalog(sys.argv[1]).search('red', cutoff=False)))"
    command = [sys.executable, "-c", code, str(first.folder)]
    running = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert {one.communicate(timeout=60)[0] for one in running} == {"7\n"}
    assert len(list(first.backups.iterdir())) == 1


def test_who_has_waited_long_enough_for_an_upgrade_is_told(
    first: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    from retrieval.db.locking import acquire

    monkeypatch.setattr(upgrading, "WAIT_SECONDS", 0.0)
    lock = acquire(first)
    try:
        with pytest.raises(CatalogBusy, match=f"process {os.getpid()}"):
            Catalog(first.folder)
    finally:
        lock.release()


def test_upgrade_that_is_killed_is_finished_by_the_next(first: Location) -> None:
    before = dump(first.database)
    code = """
import os, signal, sys
from retrieval import Catalog
from alembic import op
create, made = op.create_table, []
def killing(*given, **more):
    made.append(create(*given, **more))
    if len(made) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
op.create_table = killing
Catalog(sys.argv[1])
"""
    killed = subprocess.run([sys.executable, "-c", code, str(first.folder)], cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert dump(first.database) == before
    with Catalog(first.folder) as opened:
        assert len(opened.search("red", cutoff=False)) == 7
    assert [dump(one) for one in first.backups.iterdir()] == [before, before]


def test_backups_are_no_concern_of_doctor_and_gc(first: Location) -> None:
    with Catalog(first.folder) as opened:
        opened.gc()
    assert len(list(first.backups.iterdir())) == 1
    assert {finding.kind for finding in examine(first)} <= {"texts", "files", "cache"}
    assert json.dumps([finding.detail for finding in examine(first)]).count("backups") == 0
