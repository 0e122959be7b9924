"""The doctor finds what is wrong, says what helps, and mends what can be mended."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from click.testing import Result

from indexer import IndexReport
from retrieval import Catalog
from retrieval.db import soundness
from retrieval.db.reader import SqliteReader
from retrieval.doctor import examine
from retrieval.errors import CatalogBusy
from retrieval.types import checksum
from tests.conftest import draw, json_lines, python


@contextmanager
def rows(catalog: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(catalog / "catalog.db")) as connection, connection:
        yield connection


def kinds(catalog: Path, *, fix: bool = False) -> list[str]:
    return [finding.kind for finding in examine(catalog, fix=fix)]


def test_a_sound_catalog_has_no_findings(catalog: Path) -> None:
    assert examine(catalog) == []


def test_flipped_bits_in_vectors_are_found_and_mended(
    catalog: Path, photos: Path, index: Callable[..., IndexReport]
) -> None:
    with rows(catalog) as connection:
        (vector,) = connection.execute("SELECT vector FROM embeddings WHERE image_id = 2").fetchone()
        flipped = bytes([vector[0] ^ 1]) + vector[1:]
        connection.execute("UPDATE embeddings SET vector = ? WHERE image_id = 2", (flipped,))
        connection.execute("UPDATE embeddings SET vector = x'00' WHERE image_id = 3")
    assert kinds(catalog) == ["vectors"]
    assert all(finding.mended for finding in examine(catalog, fix=True))
    assert index(photos).unchanged == 6
    assert examine(catalog) == []
    with Catalog(catalog) as opened:
        assert len(opened.search("red")) == 2


def test_lying_caches_are_found_and_made_anew(catalog: Path) -> None:
    (path,) = catalog.glob("cache/*/vectors-*.bin")
    path.write_bytes(bytes(path.stat().st_size))
    assert kinds(catalog) == ["cache"]
    assert kinds(catalog, fix=True) == ["cache"]
    assert examine(catalog) == []


def test_orphaned_vectors_are_removed(catalog: Path) -> None:
    with rows(catalog) as connection:
        connection.execute("DELETE FROM images WHERE id = 4")
    assert "orphans" in kinds(catalog)
    examine(catalog, fix=True)
    assert examine(catalog) == []


def test_changed_and_gone_files_are_told(catalog: Path, photos: Path) -> None:
    draw(photos / "red.png", "pink", size=(70, 70))
    (photos / "blue.png").unlink()
    (finding,) = examine(catalog)
    assert "1 pictures are gone and 1 have changed" in finding.detail
    assert finding.help == f"search index {photos}"


def test_absent_folder_is_told_and_nothing_is_mended(catalog: Path, photos: Path) -> None:
    photos.rename(photos.with_name("away"))
    (finding,) = examine(catalog, fix=True)
    assert (finding.kind, finding.mended) == ("files", False)
    with Catalog(catalog) as opened:
        assert opened.status().images == 6


def test_damaged_database_is_recovered_into_a_new_file_and_kept(
    catalog: Path, photos: Path, index: Callable[..., IndexReport]
) -> None:
    with Catalog(catalog) as opened:
        opened.tags.set(1, "mine")
        opened.texts.add(["a sentence of mine"])
    with rows(catalog) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (page,) = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'embeddings'"
        ).fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    data = bytearray((catalog / "catalog.db").read_bytes())
    start = (page - 1) * size
    data[start : start + 200] = b"\xa5" * 200
    (catalog / "catalog.db").write_bytes(data)
    assert {finding.kind for finding in examine(catalog)} == {"database"}
    assert (catalog / "catalog.db").read_bytes() == bytes(data), "without --fix nothing is touched"
    found = examine(catalog, fix=True)
    (told,) = [finding for finding in found if "is in a new file" in finding.detail]
    assert "images 6" in told.detail
    (kept,) = (catalog / "damaged").iterdir()
    assert str(kept) in told.detail
    assert (kept / "catalog.db").read_bytes() == bytes(data)
    index(photos)
    assert examine(catalog) == []
    with Catalog(catalog) as opened:
        assert len(opened.search("red")) == 2
        assert [text.text for text in opened.texts.list()] == ["a sentence of mine"]
        assert any(tag.tag == "mine" for tag in opened.tags.of(1).tags)


def test_half_done_switch_is_told_and_forgotten_only_where_nothing_is_lost(catalog: Path) -> None:
    with rows(catalog) as connection:
        connection.execute(
            "INSERT INTO encoders (key, spec, dim, generation, epoch, state, active, created_at) "
            "VALUES ('toy/next/1', 'toy', 32, 0, 0, 'building', 0, 0)"
        )
    (finding,) = examine(catalog)
    assert (finding.kind, finding.mends) == ("model-switch", True)
    with rows(catalog) as connection:
        connection.execute(
            "INSERT INTO embeddings SELECT 2, image_id, vector, aux, checksum, generation "
            "FROM embeddings WHERE image_id < 3"
        )
    (finding,) = examine(catalog, fix=True)
    assert (finding.kind, finding.help, finding.mended) == (
        "model-switch",
        "search index --model toy",
        False,
    )
    assert "search gc --encoders" in finding.detail
    with rows(catalog) as connection:
        connection.execute("DELETE FROM embeddings WHERE encoder_id = 2")
    (finding,) = examine(catalog, fix=True)
    assert finding.mended, "a switch that has nothing to lose is forgotten"
    assert examine(catalog) == []


def test_exit_code_is_1_when_something_needs_mending(
    catalog: Path, photos: Path, search: Callable[..., Result]
) -> None:
    assert search("doctor", "--catalog", catalog).exit_code == 0
    (photos / "blue.png").unlink()
    result = search("doctor", "--catalog", catalog, "--json")
    assert result.exit_code == 1
    assert json_lines(result.stdout)[0]["kind"] == "files"
    assert search("doctor", "--catalog", catalog).exit_code == 1


def test_damaged_index_of_the_database_is_made_anew(catalog: Path) -> None:
    # The index is taken out of the schema, a row changes, and the index comes back as it was.
    index = "name = 'ix_images_taken_at'"
    with rows(catalog) as connection:
        (page, sql) = connection.execute(f"SELECT rootpage, sql FROM sqlite_master WHERE {index}").fetchone()
        connection.execute("PRAGMA writable_schema=ON")
        connection.execute(f"DELETE FROM sqlite_master WHERE {index}")
    with rows(catalog) as connection:
        connection.execute("UPDATE images SET taken_at = '1999-01-01' WHERE id = 2")
        connection.execute("PRAGMA writable_schema=ON")
        connection.execute(
            "INSERT INTO sqlite_master VALUES ('index', 'ix_images_taken_at', 'images', ?, ?)", (page, sql)
        )
    assert {finding.kind for finding in examine(catalog)} == {"database"}
    found = examine(catalog, fix=True)
    assert all(finding.mended for finding in found), found
    assert examine(catalog) == []


@pytest.mark.parametrize("seed", range(12))
def test_scattered_damage_is_told_in_a_sentence(
    catalog: Path, photos: Path, search: Callable[..., Result], seed: int
) -> None:
    import random

    with rows(catalog) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    rng = random.Random(seed)
    data = bytearray((catalog / "catalog.db").read_bytes())
    for _ in range(20):
        data[rng.randrange(100, 40_000)] = rng.randrange(256)
    (catalog / "catalog.db").write_bytes(data)
    for command in (["doctor"], ["status"], ["red"], ["index", photos], ["doctor", "--fix"], ["failures"]):
        result = search(*command, "--catalog", catalog)
        assert result.exit_code in (0, 1)
        assert "Traceback" not in result.output


CHILDREN = {
    "embeddings": "INSERT INTO embeddings SELECT encoder_id, 99, vector, aux, checksum, generation "
    "FROM embeddings LIMIT 1",
    "texts": "INSERT INTO texts VALUES (99, x'00', 'lost', 'sidecar', 99, 0, NULL, NULL, NULL)",
    "text_embeddings": "INSERT INTO text_embeddings VALUES (1, 99, x'00', 0, 0)",
    "image_words": "INSERT INTO image_words VALUES (99, 'a', 'b', 'c', 'd')",
    "image_tags": "INSERT INTO image_tags VALUES (99, 'lost', 1, 1, 'person', NULL)",
    "not_duplicates": "INSERT INTO not_duplicates VALUES (1, 99, 0)",
    "concept_examples": "INSERT INTO concept_examples VALUES (1, 99, x'00', x'00', 1, NULL, NULL, 0)",
    "descriptions": "INSERT INTO descriptions VALUES (99, 'alt', 'x', 1, 'text', 1, 1, 0)",
}


@pytest.mark.parametrize("table", CHILDREN)
def test_orphans_of_every_table_are_found_and_removed(catalog: Path, table: str) -> None:
    with rows(catalog) as connection:
        connection.execute(CHILDREN[table])
    assert "orphans" in kinds(catalog)
    assert all(finding.mended for finding in examine(catalog, fix=True))
    assert examine(catalog) == []


def test_children_are_all_the_tables_that_belong_to_others() -> None:
    from retrieval.db.schema import Base

    assert set(CHILDREN) == {table.name for table in Base.metadata.sorted_tables if table.foreign_keys}
    assert soundness.CALLED.keys() == CHILDREN.keys()


def test_the_kinds_of_values_are_those_of_the_schema() -> None:
    from retrieval.db.schema import Base

    stored = {"Integer": "integer", "BigInteger": "integer", "Boolean": "integer", "Float": "real"}
    for table in Base.metadata.sorted_tables:
        known = soundness.KINDS[table.name]
        alias = len(table.primary_key) == 1 and type(next(iter(table.primary_key)).type).__name__ in stored
        for column in table.columns:
            if alias and column.primary_key:
                continue
            kind = type(column.type).__name__
            wanted = stored.get(kind, "blob" if kind == "LargeBinary" else "text")
            assert wanted in known[column.name], (table.name, column.name)
            assert ("null" in known[column.name]) == bool(column.nullable), (table.name, column.name)


def test_a_text_that_a_person_added_outlives_its_picture(catalog: Path) -> None:
    with rows(catalog) as connection:
        connection.execute("INSERT INTO texts VALUES (99, x'00', 'mine', 'added', 99, 0, NULL, NULL, NULL)")
    examine(catalog, fix=True)
    with rows(catalog) as connection:
        assert connection.execute("SELECT text, image_id FROM texts").fetchall() == [("mine", None)]


def test_a_value_of_another_kind_is_found_and_its_row_dropped(
    catalog: Path, photos: Path, index: Callable[..., IndexReport]
) -> None:
    with rows(catalog) as connection:
        connection.execute("UPDATE images SET taken_at = x'ff' WHERE id = 3")
    assert kinds(catalog) == ["rows"]
    examine(catalog, fix=True)
    index(photos)
    assert examine(catalog, fix=True) == []
    with Catalog(catalog) as opened:
        assert opened.status().images == 6


def test_a_text_that_is_none_is_found_and_its_row_dropped(
    catalog: Path, photos: Path, index: Callable[..., IndexReport]
) -> None:
    with rows(catalog) as connection:
        connection.execute("UPDATE images SET title = CAST(x'ff41' AS TEXT) WHERE id = 3")
    assert kinds(catalog) == ["rows"]
    examine(catalog, fix=True)
    index(photos)
    assert examine(catalog, fix=True) == []


def test_examples_do_not_keep_vectors_of_a_model_that_was_given_up(catalog: Path, photos: Path) -> None:
    with Catalog(catalog) as opened:
        opened.concepts.add("rex", good=[photos / "red.png"])
        with opened.state.writer() as writer:
            with rows(catalog) as connection:
                connection.execute("UPDATE encoders SET active = 0")
                (encoder,) = connection.execute("SELECT id FROM encoders").fetchone()
            writer.drop_encoders([encoder])
    with rows(catalog) as connection:
        kept = connection.execute("SELECT encoder_id, vector FROM concept_examples").fetchall()
    assert kept == [(None, None)]
    assert "vectors" not in kinds(catalog)


def test_a_busy_database_is_not_taken_for_a_damaged_one(
    catalog: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(*_: object) -> list[str]:
        raise CatalogBusy("It is being written by another process.")

    for part, name in ((SqliteReader, "check"), (soundness, "strange_values")):
        with monkeypatch.context() as patch:
            patch.setattr(part, name, busy)
            with pytest.raises(CatalogBusy):
                examine(catalog, fix=True)
    assert not (catalog / "damaged").exists()


def test_a_disk_that_damages_what_it_is_given_is_not_mended_for_ever(
    catalog: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SqliteReader, "check", lambda _: ["row 1 is not what it was"])
    found = examine(catalog, fix=True)
    assert [finding.mended for finding in found] == [True, True, False]
    assert len(list((catalog / "damaged").iterdir())) == 1


def test_vectors_that_are_no_numbers_are_found(catalog: Path) -> None:
    with rows(catalog) as connection:
        (size,) = connection.execute("SELECT LENGTH(vector) FROM embeddings LIMIT 1").fetchone()
        vector = b"\x00\x7e" * (size // 2)
        values = (vector, checksum(vector, b""))
        connection.execute(
            "UPDATE embeddings SET vector = ?, aux = x'', checksum = ? WHERE image_id = 1", values
        )
    assert "vectors" in kinds(catalog)


def test_a_damaged_vector_is_left_out_with_a_word_and_never_handed_on(
    catalog: Path, photos: Path, index: Callable[..., IndexReport], search: Callable[..., Result]
) -> None:
    with rows(catalog) as connection:
        (red,) = connection.execute(
            "SELECT id FROM images WHERE CAST(path AS TEXT) LIKE '%/red.png'"
        ).fetchone()
        (vector,) = connection.execute("SELECT vector FROM embeddings WHERE image_id = ?", (red,)).fetchone()
        flipped = bytes([vector[0] ^ 64]) + vector[1:]
        connection.execute("UPDATE embeddings SET vector = ? WHERE image_id = ?", (flipped, red))
    shutil.rmtree(catalog / "cache")
    for _ in range(2):
        result = search("red", "--catalog", catalog, "--json")
        assert red not in [row["image_id"] for row in json_lines(result.stdout)]
        assert "The vectors of 1 pictures are damaged" in result.stderr
        assert "search doctor --fix" in result.stderr
    shutil.copyfile(photos / "red.png", photos / "copy.png")
    index(photos)
    index(photos)
    with rows(catalog) as connection:
        (copied,) = connection.execute(
            "SELECT vector FROM embeddings JOIN images ON id = image_id "
            "WHERE CAST(path AS TEXT) LIKE '%/copy.png'"
        ).fetchone()
    assert copied == vector, "a copy is encoded, it does not take the damaged vector over"
    examine(catalog, fix=True)
    index(photos)
    assert examine(catalog) == []


@pytest.mark.parametrize("active", [0, 1])
def test_one_model_is_in_use_after_mending(catalog: Path, active: int) -> None:
    with rows(catalog) as connection:
        connection.execute(
            "INSERT INTO encoders (key, spec, dim, generation, epoch, state, active, created_at) "
            "VALUES ('toy/next/1', 'toy', 32, 0, 0, 'complete', 1, 0)"
        )
        connection.execute("UPDATE encoders SET active = ?", (active,))
    assert "encoders" in kinds(catalog)
    examine(catalog, fix=True)
    with rows(catalog) as connection:
        assert connection.execute("SELECT id FROM encoders WHERE active").fetchall() == [(1,)]
    assert "encoders" not in kinds(catalog)


def test_failures_of_files_that_are_gone_are_dropped_but_not_those_of_a_disk_that_is_away(
    catalog: Path, photos: Path, index: Callable[..., IndexReport]
) -> None:
    (photos / "broken.jpg").write_bytes(b"no picture")
    index(photos)
    away = photos.rename(photos.with_name("away"))
    assert "failures" not in kinds(catalog, fix=True)
    away.rename(photos)
    (photos / "broken.jpg").unlink()
    assert kinds(catalog) == ["failures"]
    examine(catalog, fix=True)
    assert examine(catalog) == []
    with Catalog(catalog) as opened:
        assert opened.failures() == []


def test_thumbnails_without_a_picture_and_damaged_ones_are_removed(catalog: Path) -> None:
    with Catalog(catalog) as opened:
        whole = opened.thumbnail(1, 160)
        other = opened.thumbnail(2, 160)
    one, two = sorted(
        catalog.glob("cache/thumbnails/*/*/*.jpg"), key=lambda path: path.read_bytes()[:-4] != whole
    )
    two.write_bytes(one.read_bytes())
    assert kinds(catalog) == ["cache"]
    with Catalog(catalog) as opened:
        assert opened.thumbnail(2, 160) == other, "another picture's thumbnail is not shown"
    assert examine(catalog) == []
    name = f"{'0' * 64}-1.jpg"
    one.rename(one.with_name(name))
    one.with_name(name).write_bytes(
        whole + zlib.crc32(whole, zlib.crc32(f"160/{name}".encode())).to_bytes(4, "little")
    )
    assert kinds(catalog) == ["thumbnails"]
    examine(catalog, fix=True)
    assert examine(catalog) == []


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="to become somebody else takes root"
)
@pytest.mark.parametrize("shut", ["cache", "cache/*", "cache/*/manifest.json", "cache/*/vectors-*"])
def test_caches_that_may_not_be_read_cost_time_and_no_answer(catalog: Path, shut: str) -> None:
    (path,) = catalog.glob(shut)
    code = (
        "import os, sys\n"
        "from retrieval import Catalog\n"
        "def asked():\n"
        "    with Catalog(sys.argv[1]) as opened: print(len(opened.search('red')), opened.status().images)\n"
        "asked()\n"
        "os.chmod(sys.argv[2], 0); os.setgid(65534); os.setuid(65534)\n"
        "asked()"
    )
    for folder in (catalog, *catalog.parents):
        if folder == Path("/tmp"):
            break
        folder.chmod(0o755)
    ran = python(code, str(catalog), str(path))
    assert (ran.returncode, ran.stdout) == (0, "2 6\n2 6\n"), ran.stderr


def test_a_read_only_doctor_changes_nothing(catalog: Path) -> None:
    with rows(catalog) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    before = {path: path.read_bytes() for path in catalog.rglob("*") if path.is_file()}
    examine(catalog)
    after = {path: path.read_bytes() for path in catalog.rglob("*") if path.is_file()}
    assert {path.name for path in after.keys() ^ before.keys()} <= {"catalog.db-shm", "catalog.db-wal"}
    assert all(after[path] == data for path, data in before.items() if path in after and "-" not in path.name)


def test_a_manifest_that_was_edited_by_hand_is_not_believed(catalog: Path) -> None:
    with Catalog(catalog) as opened:
        opened.search("red")
    (path,) = catalog.glob("cache/*/manifest.json")
    raw = json.loads(path.read_bytes())
    raw["details"]["damaged"] = [1, 2]
    path.write_text(json.dumps(raw, indent=1))
    assert kinds(catalog) == ["cache"]
    with Catalog(catalog) as opened:
        assert opened.search("red").notes == ()
    assert examine(catalog) == []
