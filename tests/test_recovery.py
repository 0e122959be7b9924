"""What can be read of a damaged database is recovered, whatever its pointers say."""

from __future__ import annotations

import contextlib
import random
import shutil
import sqlite3
import struct
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from indexer import IndexReport
from retrieval import Catalog
from retrieval.config import Location
from retrieval.db import recovery, rescue
from retrieval.db.pages import PAGE_SIZE, Pages, Tree, Unreadable, record
from retrieval.db.queries import Writer
from retrieval.db.recovery import recover
from retrieval.types import checksum

COUNT = 300
TABLES = ("images", "embeddings", "texts", "image_tags", "feedback", "vocabulary")


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("empty")
    Writer(Location.parse(folder)).close()
    return folder / "catalog.db"


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory, empty: Path) -> Path:
    """A database of some hundred pictures, with what a person said of them, all in one file."""
    path = tmp_path_factory.mktemp("sound") / "catalog.db"
    shutil.copyfile(empty, path)
    rng = random.Random(1)
    with opened(path) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
        connection.execute("INSERT INTO encoders VALUES (1, 'k', 'toy', 32, 5, 0, 'complete', 1, 0.5, 0, 0)")
        connection.execute("INSERT INTO roots VALUES (1, ?, 1.5)", (b"/photos",))
        for number in range(1, COUNT + 1):
            connection.execute(
                "INSERT INTO images (id, path, size, mtime_ns, content_hash, indexed_at, format, width, height, "
                "title, keywords) VALUES (?, ?, 1, 2, ?, 3.5, 'PNG', 4, 5, ?, '[]')",
                (
                    number,
                    f"/photos/{number:04}.png".encode(),
                    rng.randbytes(32),
                    "title " * rng.randint(0, 20),
                ),
            )
            vector = struct.pack("<32e", *(rng.uniform(-1, 1) for _ in range(32)))
            aux = rng.randbytes(rng.choice((0, 40)))
            values = (1, number, vector, aux, checksum(vector, aux), 5)
            connection.execute("INSERT INTO embeddings VALUES (?, ?, ?, ?, ?, ?)", values)
            tag = (number, f"tag {number % 9}", 1.0, 1, "person")
            connection.execute("INSERT INTO image_tags VALUES (?, ?, ?, ?, ?, NULL)", tag)
            connection.execute(
                "INSERT INTO feedback VALUES (NULL, ?, ?, ?, 1, 2.5)",
                (f"query {number}", rng.randbytes(32), f"/photos/{number:04}.png".encode()),
            )
            connection.execute(
                "INSERT INTO vocabulary VALUES (?, ?, 1.5)", (f"word {number}", f"a photo of {number}")
            )
            # Every seventh goes on over several pages.
            text = f"said of {number} " * (800 if number % 7 == 0 else 2)
            connection.execute(
                "INSERT INTO texts VALUES (NULL, ?, ?, 'added', ?, 1.5, NULL, NULL, NULL)",
                (rng.randbytes(32), text, number),
            )
    return path


@pytest.fixture
def quick(empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty catalog is copied, not made each time."""

    def make(place: Location, revision: str) -> None:
        place.folder.mkdir()
        shutil.copyfile(empty, place.database)

    monkeypatch.setattr(recovery, "_make", make)


@contextlib.contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path)) as connection, connection:
        yield connection


def rows(path: Path, table: str) -> set[tuple[object, ...]]:
    with opened(path) as connection:
        return set(connection.execute(f"SELECT * FROM {table}"))


def homes(path: Path, table: str) -> dict[int, set[tuple[object, ...]]]:
    """For each leaf page of a table its rows, but for those that go on over others."""
    with opened(path) as connection:
        (root,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()
        by_id = {row[0]: row[1:] for row in connection.execute(f"SELECT rowid, * FROM {table}")}
    with Pages(path) as pages:
        return {
            page.number: {
                by_id[row_id]
                for row_id, values in page.rows
                if sum(len(value) for value in values if isinstance(value, str | bytes)) < PAGE_SIZE // 2
            }
            for page in pages.tree(root, table=True, met=Tree())
        }


def damaged(data: bytearray, rng: random.Random) -> set[int]:
    """Damage a file somehow; the numbers of the pages that were touched."""
    count = len(data) // PAGE_SIZE
    way = rng.choice(("flips", "zeroed", "noise", "cut", "bytes"))
    if way == "cut":
        length = rng.randrange(PAGE_SIZE, len(data))
        del data[length:]
        return set(range(length // PAGE_SIZE + 1, count + 1))
    hit = set()
    for _ in range(rng.randint(1, 10)):
        page = rng.randrange(count)
        hit.add(page + 1)
        start = page * PAGE_SIZE
        if way == "flips":
            data[start + rng.randrange(PAGE_SIZE)] ^= 1 << rng.randrange(8)
        elif way == "bytes":
            for _ in range(30):
                data[start + rng.randrange(PAGE_SIZE)] = rng.randrange(256)
        else:
            data[start : start + PAGE_SIZE] = (
                bytes(PAGE_SIZE) if way == "zeroed" else rng.randbytes(PAGE_SIZE)
            )
    return hit


def test_of_a_sound_file_every_row_is_recovered(sound: Path, tmp_path: Path) -> None:
    found = recover(sound, tmp_path / "new")
    for table in TABLES:
        assert rows(tmp_path / "new" / "catalog.db", table) == rows(sound, table)
        assert (found.rows[table], found.lost[table]) == (COUNT, 0)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("portion", range(4))
def test_whatever_is_damaged_rows_of_other_pages_are_recovered_and_none_is_made_up(
    sound: Path, tmp_path: Path, portion: int
) -> None:
    truth = {table: rows(sound, table) for table in TABLES}
    where = {table: homes(sound, table) for table in TABLES}
    # Without the row of their encoder vectors are of no use.
    encoders = next(iter(homes(sound, "encoders")))
    for number in range(12):
        rng = random.Random(f"{portion} {number}")
        data = bytearray(sound.read_bytes())
        hit = damaged(data, rng)
        place = tmp_path / str(number)
        place.mkdir()
        (place / "catalog.db").write_bytes(data)
        recover(place / "catalog.db", place / "new")
        touched = {row for pages in where.values() for page in hit & pages.keys() for row in pages[page]}
        lost_images = {row[0] for page in hit & where["images"].keys() for row in where["images"][page]}
        for table in TABLES:
            found = rows(place / "new" / "catalog.db", table)
            safe = set().union(*(rows for page, rows in where[table].items() if page not in hit))
            if table in ("embeddings", "image_tags", "texts"):
                # What belongs to a picture whose row is lost goes with it, or is set aside.
                owner = {"embeddings": 1, "image_tags": 0, "texts": 4}[table]
                safe = {row for row in safe if row[owner] not in lost_images}
            if table == "embeddings" and encoders in hit:
                safe = set()
            assert safe <= found, (table, number, hit)
            if table == "embeddings":
                assert found <= truth[table], "the checksum tells the others"
            elif table != "texts":
                assert len(found - truth[table]) <= len(touched), (table, number, hit)
        with opened(place / "new" / "catalog.db") as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("page", [1, 2, 3])
def test_a_header_or_schema_that_is_gone_loses_nothing_but_itself(
    sound: Path, tmp_path: Path, page: int
) -> None:
    data = bytearray(sound.read_bytes())
    data[(page - 1) * PAGE_SIZE : page * PAGE_SIZE] = bytes(PAGE_SIZE)
    (tmp_path / "catalog.db").write_bytes(data)
    recover(tmp_path / "catalog.db", tmp_path / "new")
    assert rows(tmp_path / "new" / "catalog.db", "feedback") == rows(sound, "feedback")


@pytest.mark.usefixtures("quick")
def test_deleted_rows_stay_deleted(sound: Path, tmp_path: Path) -> None:
    path = tmp_path / "catalog.db"
    shutil.copyfile(sound, path)
    with opened(path) as connection:
        connection.execute("PRAGMA secure_delete=OFF")
        connection.execute("DELETE FROM feedback WHERE id > 20")
        left = set(connection.execute("SELECT * FROM feedback"))
        (root,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'images'").fetchone()
    data = bytearray(path.read_bytes())
    assert data.count(b"query 299") > 0, "what was deleted is still in the file"
    data[(root - 1) * PAGE_SIZE : root * PAGE_SIZE] = bytes(PAGE_SIZE)
    path.write_bytes(data)
    found = recover(path, tmp_path / "new")
    assert rows(tmp_path / "new" / "catalog.db", "feedback") == left
    assert found.rows["images"] == COUNT, "pages that no tree leads to any more are found"
    assert not found.doubtful


@pytest.mark.usefixtures("quick")
def test_what_is_only_in_the_log_is_recovered_up_to_its_damage(sound: Path, tmp_path: Path) -> None:
    source = tmp_path / "live" / "catalog.db"
    source.parent.mkdir()
    shutil.copyfile(sound, source)
    with closing(sqlite3.connect(source, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA wal_autocheckpoint=0")
        lengths = []
        for number in range(5):
            connection.execute("INSERT INTO vocabulary VALUES (?, 'p', 1.5)", (f"late {number}",))
            lengths.append(source.with_name("catalog.db-wal").stat().st_size)
        place = tmp_path / "cut"
        shutil.copytree(source.parent, place)
    log = place / "catalog.db-wal"
    data = bytearray(log.read_bytes())
    data[lengths[2] + 5000] ^= 1
    log.write_bytes(data)
    recover(place / "catalog.db", tmp_path / "new")
    late = {str(row[0]) for row in rows(tmp_path / "new" / "catalog.db", "vocabulary")}
    assert {word for word in late if word.startswith("late")} == {"late 0", "late 1", "late 2"}


@pytest.mark.usefixtures("quick")
def test_what_was_said_of_a_picture_whose_row_is_lost_is_set_aside(sound: Path, tmp_path: Path) -> None:
    page, lost = next(iter(homes(sound, "images").items()))
    data = bytearray(sound.read_bytes())
    data[(page - 1) * PAGE_SIZE : page * PAGE_SIZE] = bytes(PAGE_SIZE)
    (tmp_path / "catalog.db").write_bytes(data)
    found = recover(tmp_path / "catalog.db", tmp_path / "new")
    assert found.lost["images"] == len(lost)
    said = rows(tmp_path / "new" / "catalog.db", "said")
    by_content = {row[4]: row[1] for row in lost}
    assert {(row[2], row[3]) for row in said if row[1] == "tag"} == set(by_content.items())
    assert sum(row[1] == "text" for row in said) == len(lost)


def test_pointers_in_circles_and_beyond_the_file_are_not_followed(sound: Path, tmp_path: Path) -> None:
    with opened(sound) as connection:
        (root,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'texts'").fetchone()
    data = bytearray(sound.read_bytes())
    start = (root - 1) * PAGE_SIZE
    assert data[start] == 5
    (count,) = struct.unpack_from(">H", data, start + 3)
    cells = struct.unpack_from(f">{count}H", data, start + 12)
    for cell, child in zip(cells, [root, 2**31, 0], strict=False):
        struct.pack_into(">I", data, start + cell, child)
    path = tmp_path / "catalog.db"
    path.write_bytes(data)
    with Pages(path) as pages:
        met = Tree()
        assert sum(len(page.rows) for page in pages.tree(root, table=True, met=met))
        assert met.broken == min(3, count)


@pytest.mark.parametrize(
    "body",
    [b"", b"\xff" * 9, b"\x02\x0b", b"\x03\x01", b"\x02\x0f", b"\x02\x0fxy", b"\x02\x13\xff\xfe\xff"],
)
def test_no_bytes_are_believed_that_are_no_row(body: bytes) -> None:
    with pytest.raises(Unreadable):
        record(body)


def test_random_bytes_are_read_without_an_error(tmp_path: Path) -> None:
    for number in range(150):
        rng = random.Random(number)
        path = tmp_path / "noise.db"
        data = bytearray(rng.randbytes(rng.choice((0, 1, 99, 5000, 40960))))
        for start in range(0, len(data), PAGE_SIZE):
            data[start] = rng.choice((2, 5, 10, 13))
            data[start + 3 : start + 5] = bytes([0, rng.randrange(200)])[: len(data) - start - 3]
        path.write_bytes(data)
        path.with_name("noise.db-wal").write_bytes(rng.randbytes(5000))
        with Pages(path) as pages:
            for page in range(pages.count + 2):
                with contextlib.suppress(Unreadable):
                    pages.page(page)
                for table in (True, False):
                    list(pages.tree(page, table=table, met=Tree()))


def test_the_damaged_file_is_kept_as_it_was(catalog: Path) -> None:
    with opened(catalog / "catalog.db") as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    data = bytearray((catalog / "catalog.db").read_bytes())
    data[5 * PAGE_SIZE : 6 * PAGE_SIZE] = bytes(PAGE_SIZE)
    (catalog / "catalog.db").write_bytes(data)
    found, kept = rescue.rescue(Location.parse(catalog))
    assert found is not None
    assert (kept / "catalog.db").read_bytes() == bytes(data)
    assert [path.name for path in kept.iterdir()] == ["catalog.db"]
    assert kept.parent == catalog / rescue.FOLDER


def test_a_database_that_is_reached_by_a_link_is_recovered_where_it_lies_with_its_log(
    catalog: Path, tmp_path: Path
) -> None:
    there = tmp_path / "disk"
    there.mkdir()
    with opened(catalog / "catalog.db") as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("INSERT INTO roots VALUES (99, x'2f61', 1.0)")
        connection.commit()
        for end in ("", "-wal"):
            shutil.copyfile(catalog / f"catalog.db{end}", there / f"catalog.db{end}")
    (catalog / "catalog.db").unlink()
    (catalog / "catalog.db").symlink_to(there / "catalog.db")
    found, kept = rescue.rescue(Location.parse(catalog))
    assert found is not None
    assert (catalog / "catalog.db").is_symlink()
    assert not (kept / "catalog.db").is_symlink()
    assert (99, b"/a", 1.0) in rows(there / "catalog.db", "roots")


@pytest.mark.parametrize("gone", [(), ("-wal",), ("-wal", "-shm")])
def test_a_rescue_that_was_cut_short_is_finished(
    catalog: Path, monkeypatch: pytest.MonkeyPatch, gone: tuple[str, ...]
) -> None:
    place = Location.parse(catalog)

    def killed(*_: object) -> None:
        for end in gone:
            (catalog / f"catalog.db{end}").unlink(missing_ok=True)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(rescue, "_swap", killed)
        with pytest.raises(KeyboardInterrupt):
            rescue.rescue(place)
    found, kept = rescue.rescue(place)
    assert found is None, "nothing is recovered twice"
    assert not (kept / rescue.RECOVERED).exists()
    with Catalog(catalog) as connection:
        assert connection.status().images == 6


def test_a_catalog_that_went_on_after_a_rescue_was_cut_short_is_recovered_anew(
    catalog: Path, photos: Path, index: Callable[..., IndexReport], monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    place = Location.parse(catalog)
    with monkeypatch.context() as patch:
        patch.setattr(rescue, "_swap", killed)
        with pytest.raises(KeyboardInterrupt):
            rescue.rescue(place)
    (photos / "green.png").unlink()
    index(photos)
    found, _ = rescue.rescue(place)
    assert found is not None
    with Catalog(catalog) as connection:
        assert connection.status().images == 5
