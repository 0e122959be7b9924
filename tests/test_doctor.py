"""The doctor finds what is wrong, says what helps, and mends what can be mended."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from click.testing import Result

from indexer import IndexReport
from retrieval import Catalog
from retrieval.doctor import examine
from tests.conftest import draw, json_lines


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


def test_damaged_database_is_told_and_left_alone(catalog: Path) -> None:
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
    found = examine(catalog, fix=True)
    assert {finding.kind for finding in found} == {"database"}
    assert (catalog / "catalog.db").read_bytes() == bytes(data)


def test_half_done_switch_is_told(catalog: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with rows(catalog) as connection:
        connection.execute(
            "INSERT INTO encoders (key, spec, dim, generation, epoch, state, active, created_at) "
            "VALUES ('toy/next/1', 'toy', 32, 0, 0, 'building', 0, 0)"
        )
    (finding,) = examine(catalog)
    assert (finding.kind, finding.help) == ("model-switch", "search index --model toy")


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
