"""Backups: whole, checked, never in each other's way; and catalogs that are taken from them."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from indexer import IndexReport
from retrieval import Catalog
from retrieval.backup import backup, check, restore
from retrieval.config import Location
from retrieval.db import copies, replacing
from retrieval.db.copies import copy_database
from retrieval.db.reader import HEAD
from retrieval.doctor import examine
from retrieval.errors import CatalogBusy, CatalogError, CatalogNotFound, CatalogUnwritable, SchemaTooNew
from tests.conftest import ROOT, draw, json_lines

Search = Callable[..., Result]
Index = Callable[..., IndexReport]


def dump(file: Path) -> list[str]:
    """Every table and row, as text; but for the numbers that ids go on from."""
    with contextlib.closing(sqlite3.connect(file)) as connection:
        return [line for line in connection.iterdump() if "sqlite_sequence" not in line]


def names(catalog: Path, query: str = "red", limit: int = 10) -> list[tuple[str, float]]:
    with Catalog(catalog) as opened:
        return [
            (hit.path.name, round(hit.score, 5)) for hit in opened.search(query, limit=limit, cutoff=False)
        ]


@contextlib.contextmanager
def writing(file: Path) -> Iterator[Callable[[], int]]:
    """Somebody who adds failures in pairs, again and again, each pair in one transaction."""
    stop, done = threading.Event(), [0]

    def run() -> None:
        with contextlib.closing(sqlite3.connect(file, isolation_level=None, timeout=30)) as connection:
            while not stop.is_set():
                connection.execute("BEGIN IMMEDIATE")
                for side in (b"a", b"b"):
                    row = (b"%s%d" % (side, done[0]), 1, 1, "damaged", "x" * 2000, 1.0)
                    connection.execute("INSERT INTO failures VALUES (?, ?, ?, ?, ?, ?)", row)
                connection.execute("COMMIT")
                done[0] += 1

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield lambda: done[0]
    finally:
        stop.set()
        thread.join()


def test_copy_is_of_one_moment_while_somebody_writes(
    catalog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies, "PAGES", 3)
    with writing(catalog / "catalog.db") as done:
        while done() < 50:
            pass
        copy_database(catalog / "catalog.db", tmp_path / "copy.db")
        after = done()
    with contextlib.closing(sqlite3.connect(tmp_path / "copy.db")) as connection:
        sides = connection.execute("SELECT COUNT(*) FROM failures GROUP BY substr(path, 1, 1)").fetchall()
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert len(sides) == 2
    assert sides[0] == sides[1]
    assert 50 <= sides[0][0] <= after


def test_what_is_committed_while_it_is_copied_does_not_get_in(catalog: Path, tmp_path: Path) -> None:
    source, part = catalog / "catalog.db", tmp_path / "part.db"

    def look(_: sqlite3.Connection) -> int:
        with contextlib.closing(sqlite3.connect(source)) as other, other:
            return other.execute("INSERT INTO roots VALUES (99, x'2f61', 1.0)").rowcount

    before = dump(source)
    assert copies.copy_pages(source, part, told=part, look=look) == 1
    assert dump(part) == before
    assert dump(source) != before


def test_copy_is_one_file_that_whoever_may_read_the_original_may_read(catalog: Path, tmp_path: Path) -> None:
    os.chmod(catalog / "catalog.db", 0o640)
    folder = tmp_path / "copies"
    folder.mkdir()
    copy_database(catalog / "catalog.db", folder / "copy.db")
    assert [one.name for one in folder.iterdir()] == ["copy.db"]
    assert (folder / "copy.db").stat().st_mode & 0o777 == 0o640
    assert dump(folder / "copy.db") == dump(catalog / "catalog.db")
    with contextlib.closing(sqlite3.connect(folder / "copy.db")) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)


def test_copy_takes_nobodys_place(catalog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "copy.db"
    target.write_text("mine")
    with pytest.raises(CatalogError, match="is there already"):
        copy_database(catalog / "catalog.db", target)
    # Also where it came while the copy was made, and where there are no hard links.
    monkeypatch.setattr(copies, "check_free", lambda _: None)
    with pytest.raises(CatalogUnwritable, match="exists"):
        copy_database(catalog / "catalog.db", target)
    assert target.read_text() == "mine"
    target.unlink()

    def no_links(*_: object) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    copy_database(catalog / "catalog.db", target)
    assert check(target).images == 6


@pytest.mark.parametrize("failing", ["fsync", "link", "backup"])
def test_disk_that_fails_leaves_no_half_copy(
    catalog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    if failing == "backup":
        connect = sqlite3.connect

        class Full(sqlite3.Connection):
            def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
                if "synchronous=OFF" in sql:
                    raise sqlite3.OperationalError("database or disk is full")
                return super().execute(sql, *values)

        monkeypatch.setattr(sqlite3, "connect", lambda *a, **k: connect(*a, **{**k, "factory": Full}))
    else:
        monkeypatch.setattr(os, failing, full)
    folder = tmp_path / "copies"
    folder.mkdir()
    with pytest.raises(CatalogUnwritable, match=r"copy\.db cannot be written: .*(full|No space)"):
        copy_database(catalog / "catalog.db", folder / "copy.db")
    assert list(folder.iterdir()) == []


def test_what_a_killed_copy_left_is_removed_by_a_later_one(catalog: Path, tmp_path: Path) -> None:
    left, other = tmp_path / ".search-copy-0.part", tmp_path / ".search-copy-1.part"
    left.write_bytes(b"half")
    other.write_bytes(b"being written now")
    os.utime(left, (1, 1))
    copy_database(catalog / "catalog.db", tmp_path / "copy.db")
    assert not left.exists()
    assert other.exists()


def test_backup_says_what_it_holds_and_was_checked(catalog: Path, tmp_path: Path, search: Search) -> None:
    made = search("backup", tmp_path / "b.db", "--catalog", catalog, "--json")
    (said,) = json_lines(made.stdout)
    assert (said["images"], said["vectors"], said["schema"]) == (6, 6, HEAD)
    assert said["file"] == str(tmp_path / "b.db")
    assert said["bytes"] == (tmp_path / "b.db").stat().st_size
    assert said["generation"] > 0
    assert dump(tmp_path / "b.db") == dump(catalog / "catalog.db")
    again = search("backup", "--check", tmp_path / "b.db", "--json")
    assert json_lines(again.stdout) == [said]
    refused = search("backup", tmp_path / "b.db", "--catalog", catalog)
    assert (refused.exit_code, "is there already" in refused.stderr) == (1, True)


def test_backups_in_a_folder_are_dated_and_only_the_newest_kept(
    catalog: Path, tmp_path: Path, search: Search
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "catalog-000000-20200101T000000Z.db").write_text("of another catalog")
    made = [search("backup", folder, "--catalog", catalog, "--keep", 2).stdout for _ in range(4)]
    assert all("Written and checked" in line for line in made)
    left = sorted(one.name for one in folder.iterdir())
    assert len(left) == 3
    assert "catalog-000000-20200101T000000Z.db" in left
    newest = made[-1].splitlines()[0].removeprefix("Written and checked: ")
    assert Path(newest).name in left


def test_two_backups_of_one_second_are_both_made(
    catalog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = copies.copy_pages
    taken: list[Path] = []

    def overtaken(source: Path, part: Path, *, told: Path, **options: Any) -> Any:
        if not taken:
            taken.append(told)
            told.write_text("of another backup")
        return copy(source, part, told=told, **options)

    monkeypatch.setattr(copies, "copy_pages", overtaken)
    made = backup(tmp_path, catalog)
    assert Path(made.file) not in taken
    assert taken[0].read_text() == "of another backup"
    assert check(made.file).images == 6


@pytest.mark.parametrize("end", ["-wal", "-shm", "-journal"])
def test_no_copy_is_taken_for_a_log_nor_gets_one(catalog: Path, tmp_path: Path, end: str) -> None:
    before = sorted(catalog.iterdir())
    with pytest.raises(CatalogError, match="Name another"):
        backup(catalog / f"other.db{end}", catalog)
    assert sorted(catalog.iterdir()) == before
    (tmp_path / f"b.db{end}").write_bytes(b"of a database that was here")
    with pytest.raises(CatalogError, match="would be taken for a part"):
        backup(tmp_path / "b.db", catalog)
    assert not (tmp_path / "b.db").exists()


def test_copy_whose_name_cannot_be_flushed_is_taken_back(
    catalog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(_: Path) -> None:
        raise OSError(5, "Input/output error")

    folder = tmp_path / "copies"
    folder.mkdir()
    monkeypatch.setattr(copies, "flush_folder", failing)
    with pytest.raises(CatalogUnwritable, match="Input/output error"):
        copy_database(catalog / "catalog.db", folder / "copy.db")
    assert list(folder.iterdir()) == []


def test_backup_of_a_damaged_catalog_fails_loudly_and_leaves_nothing(
    catalog: Path, tmp_path: Path, search: Search
) -> None:
    with contextlib.closing(sqlite3.connect(catalog / "catalog.db")) as connection, connection:
        connection.execute("UPDATE embeddings SET vector = zeroblob(64) WHERE image_id = 3")
    failed = search("backup", tmp_path / "b.db", "--catalog", catalog)
    assert failed.exit_code == 1
    assert "vector of picture 3" in failed.stderr
    assert "search doctor" in failed.stderr
    assert not (tmp_path / "b.db").exists()


def test_rows_that_did_not_come_along_are_noticed(
    catalog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = copies.copy_pages

    def lossy(source: Path, part: Path, **options: Any) -> Any:
        found = copy(source, part, **options)
        with contextlib.closing(sqlite3.connect(part)) as connection, connection:
            connection.execute("DELETE FROM image_words WHERE image_id = 2")
        return found

    monkeypatch.setattr(copies, "copy_pages", lossy)
    with pytest.raises(CatalogError, match="rows of its original"):
        backup(tmp_path / "b.db", catalog)
    assert not (tmp_path / "b.db").exists()


@pytest.mark.parametrize("damage", ["page", "index", "vector", "cut", "other", "text"])
def test_check_tells_a_damaged_backup(catalog: Path, tmp_path: Path, search: Search, damage: str) -> None:
    file = tmp_path / "b.db"
    backup(file, catalog)
    before = dump(catalog / "catalog.db")
    if damage == "vector":
        with contextlib.closing(sqlite3.connect(file)) as connection, connection:
            connection.execute("UPDATE embeddings SET aux = x'01' WHERE image_id = 1")
    elif damage == "index":
        with contextlib.closing(sqlite3.connect(file)) as connection, connection:
            connection.execute("PRAGMA writable_schema=ON")
            pages = dict(connection.execute("SELECT name, rootpage FROM sqlite_master").fetchall())
            for name, other in (("size", "content_hash"), ("content_hash", "size")):
                page = (pages[f"ix_images_{other}"], f"ix_images_{name}")
                connection.execute("UPDATE sqlite_master SET rootpage = ? WHERE name = ?", page)
    elif damage == "page":
        data = bytearray(file.read_bytes())
        data[4096 * 3 : 4096 * 4] = b"\xff" * 4096
        file.write_bytes(data)
    elif damage == "cut":
        file.write_bytes(file.read_bytes()[:-9000])
    elif damage == "other":
        file.unlink()
        with contextlib.closing(sqlite3.connect(file)) as connection, connection:
            connection.execute("CREATE TABLE notes (text)")
    else:
        file.write_text("no database at all, but long enough to look like one" * 20)
    for refused in (search("backup", "--check", file), search("restore", file, "--catalog", catalog)):
        assert refused.exit_code == 1
        assert str(file) in refused.stderr
        assert "Traceback" not in refused.stderr
    assert dump(catalog / "catalog.db") == before
    assert not (catalog / "backups").exists()


def test_restored_catalog_is_what_it_was_and_the_present_one_is_kept(
    catalog: Path, photos: Path, tmp_path: Path, index: Index, search: Search
) -> None:
    backup(tmp_path / "b.db", catalog)
    then, found = dump(catalog / "catalog.db"), names(catalog)
    draw(photos / "more.png", "red", mark=7)
    index(photos)
    now = dump(catalog / "catalog.db")
    (said,) = json_lines(search("restore", tmp_path / "b.db", "--catalog", catalog, "--json").stdout)
    assert dump(catalog / "catalog.db") == then
    assert names(catalog) == found
    assert dump(Path(said["before"])) == now
    assert said["images"] == 6
    assert examine(catalog) == []
    assert check(said["before"]).images == 7


def test_restore_makes_a_catalog_where_there_is_none(catalog: Path, tmp_path: Path) -> None:
    backup(tmp_path / "b.db", catalog)
    done = restore(tmp_path / "b.db", tmp_path / "new")
    assert done.before is None
    assert names(tmp_path / "new") == names(catalog)


def test_database_that_is_reached_by_a_link_is_restored_where_it_lies(catalog: Path, tmp_path: Path) -> None:
    backup(tmp_path / "b.db", catalog)
    there, found = tmp_path / "disk", names(catalog)
    there.mkdir()
    (catalog / "catalog.db").rename(there / "catalog.db")
    (catalog / "catalog.db").symlink_to(there / "catalog.db")
    with contextlib.closing(sqlite3.connect(there / "catalog.db")) as connection, connection:
        connection.execute("DELETE FROM embeddings WHERE image_id > 3")
    now = dump(there / "catalog.db")
    done = restore(tmp_path / "b.db", catalog)
    assert (catalog / "catalog.db").is_symlink()
    assert dump(there / "catalog.db") == dump(tmp_path / "b.db")
    assert names(catalog) == found
    assert done.before is not None
    assert dump(done.before) == now


def test_no_stale_cache_is_believed_after_a_restore_and_new_indexing(
    catalog: Path, photos: Path, tmp_path: Path, index: Index
) -> None:
    backup(tmp_path / "b.db", catalog)
    draw(photos / "came-later.png", "red", mark=9)
    index(photos)
    with Catalog(catalog) as opened:
        opened.rebuild()
        (late,) = [hit for hit in opened.search("red", cutoff=False) if hit.path.name == "came-later.png"]
    restore(tmp_path / "b.db", catalog)
    # The cache is still of the newer state while other pictures come.
    (photos / "came-later.png").unlink()
    draw(photos / "another.png", "blue", mark=11)
    index(photos)
    with Catalog(catalog) as opened:
        hits = opened.search("red", cutoff=False)
        ids = {hit.path.name: hit.image_id for hit in opened.search("blue", cutoff=False)}
        assert "came-later.png" not in [hit.path.name for hit in hits]
        assert [hit.path.name for hit in opened.search("blue", limit=2)] == ["blue.png", "another.png"]
    # What remembers an id must not come to mean another picture.
    assert ids["another.png"] > late.image_id


def test_those_who_read_go_on_with_what_was_restored(
    catalog: Path, photos: Path, tmp_path: Path, index: Index
) -> None:
    backup(tmp_path / "b.db", catalog)
    draw(photos / "more.png", "red", mark=7)
    index(photos)
    with Catalog(catalog) as reading:
        assert len(reading.search("red", limit=20, cutoff=False)) == 7
        command = [sys.executable, "-m", "cli", "restore", str(tmp_path / "b.db"), "--catalog", str(catalog)]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
        assert len(reading.search("red", limit=20, cutoff=False)) == 6
        index(photos)
        assert len(reading.search("red", limit=20, cutoff=False)) == 7
    with contextlib.closing(sqlite3.connect(catalog / "catalog.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_old_log_is_never_applied_to_the_restored_file(catalog: Path, tmp_path: Path) -> None:
    backup(tmp_path / "b.db", catalog)
    wanted = dump(tmp_path / "b.db")
    with contextlib.closing(sqlite3.connect(catalog / "catalog.db", isolation_level=None)) as held:
        held.execute("PRAGMA wal_autocheckpoint=0")
        held.execute("UPDATE failures SET detail = 'x'")
        held.execute("INSERT INTO roots VALUES (99, x'2f61', 1.0)")
        assert (catalog / "catalog.db-wal").stat().st_size > 0
        now = dump(catalog / "catalog.db")
        done = restore(tmp_path / "b.db", catalog)
        assert dump(catalog / "catalog.db") == wanted
    # Also after whoever had the old one open has gone.
    assert dump(catalog / "catalog.db") == wanted
    assert done.before is not None
    assert dump(done.before) == now


def test_restore_waits_for_readers_and_says_so(
    catalog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replacing, "WAIT_SECONDS", 0.1)
    backup(tmp_path / "b.db", catalog)
    before = dump(catalog / "catalog.db")
    with contextlib.closing(sqlite3.connect(catalog / "catalog.db", isolation_level=None)) as held:
        held.execute("BEGIN")
        held.execute("SELECT COUNT(*) FROM images").fetchone()
        with contextlib.closing(sqlite3.connect(catalog / "catalog.db")) as other, other:
            other.execute("INSERT INTO roots VALUES (99, x'2f61', 1.0)")
        with pytest.raises(CatalogBusy, match="still reading"):
            restore(tmp_path / "b.db", catalog)
    assert dump(catalog / "catalog.db") != before  # the row that was committed beside is still there
    assert [one.name for one in catalog.iterdir() if one.name.startswith(".search")] == []
    restore(tmp_path / "b.db", catalog)
    assert dump(catalog / "catalog.db") == before


def test_damaged_catalog_is_kept_byte_for_byte_and_replaced(catalog: Path, tmp_path: Path) -> None:
    backup(tmp_path / "b.db", catalog)
    found = names(catalog)
    broken = b"nothing of a database is left" * 400
    (catalog / "catalog.db").write_bytes(broken)
    done = restore(tmp_path / "b.db", catalog)
    assert done.before is not None
    assert done.before.read_bytes() == broken
    assert names(catalog) == found


def test_restore_is_refused_beside_another_writer_and_of_a_newer_version(
    catalog: Path, tmp_path: Path
) -> None:
    from retrieval.db.queries import Writer

    backup(tmp_path / "b.db", catalog)
    with Writer(Location.parse(catalog)), pytest.raises(CatalogBusy):
        restore(tmp_path / "b.db", catalog)
    with contextlib.closing(sqlite3.connect(tmp_path / "b.db")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(SchemaTooNew, match="9999"):
        restore(tmp_path / "b.db", catalog)
    with pytest.raises(CatalogError, match="own database"):
        restore(catalog / "catalog.db", catalog)
    with pytest.raises(CatalogNotFound):
        restore(tmp_path / "none.db", catalog)


def test_views_and_triggers_of_a_strangers_file_do_not_get_in(catalog: Path, tmp_path: Path) -> None:
    backup(tmp_path / "b.db", catalog)
    with contextlib.closing(sqlite3.connect(tmp_path / "b.db")) as connection, connection:
        connection.execute("CREATE TRIGGER bad AFTER INSERT ON images BEGIN DELETE FROM texts; END")
    with pytest.raises(CatalogError, match="trigger"):
        restore(tmp_path / "b.db", catalog)


def test_catalog_behind_a_url_is_left_to_its_database(tmp_path: Path, catalog: Path, search: Search) -> None:
    refused = search("backup", tmp_path / "b.db", "--catalog", "postgresql://me@127.0.0.1/photos")
    assert refused.exit_code == 1
    assert "pg_dump" in refused.stderr
    made = search("backup", tmp_path / "b.db", "--catalog", f"sqlite:///{catalog / 'catalog.db'}", "--json")
    assert json.loads(made.stdout)["images"] == 6


def test_backup_needs_a_catalog(tmp_path: Path, search: Search) -> None:
    refused = search("backup", tmp_path / "b.db", "--catalog", tmp_path / "none")
    assert refused.exit_code == 1
    assert "There is no catalog" in refused.stderr
    assert not (tmp_path / "none").exists()
    assert not (tmp_path / "b.db").exists()
