"""Asking a catalog."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from indexer import IndexReport
from retrieval import Catalog, Filter
from retrieval.errors import (
    CatalogError,
    CatalogNotFound,
    EncoderMismatch,
    ModelError,
    QueryError,
    SchemaTooNew,
    UnknownModel,
)
from tests.conftest import draw

Index = Callable[..., IndexReport]


def test_hits_are_ranked_and_complete(catalog: Path, photos: Path) -> None:
    with Catalog(catalog) as opened:
        hits = opened.search("red", cutoff=False)
    assert [hit.rank for hit in hits] == [1, 2, 3, 4, 5, 6]
    assert hits[0].path == photos / "red.png"
    assert hits[0].score == pytest.approx(1, abs=1e-3)
    assert [hit.match for hit in hits] == sorted((hit.match for hit in hits), reverse=True)
    assert (hits[0].width, hits[0].height) == (64, 48)


def test_weak_hits_are_left_out_and_still_told(catalog: Path) -> None:
    with Catalog(catalog) as opened:
        hits = opened.search("red")
        assert (len(hits), len(hits.closest)) == (2, 4)
        nothing = opened.search("umbrella")
        assert (len(nothing), len(nothing.closest)) == (0, 6)
        assert len(opened.search("red", min_match=0.0)) == 6


def test_the_first_hits_do_not_depend_on_the_limit(catalog: Path) -> None:
    with Catalog(catalog) as opened:
        many = [hit.path for hit in opened.search("green", limit=50, cutoff=False)]
        for limit in range(1, 6):
            hits = opened.search("green", limit=limit, cutoff=False)
            assert [hit.path for hit in hits] == many[:limit]


def test_filters_act_before_the_search(catalog: Path, photos: Path) -> None:
    with Catalog(catalog) as opened:
        inside = opened.search("red", where=Filter(folder=photos / "trip"), cutoff=False)
        assert {hit.path.name for hit in inside} == {"red-again.jpg", "white.png"}
        assert inside[0].path.name == "red-again.jpg"
        assert len(opened.search("red", where=Filter(folder=photos / "nowhere"))) == 0
        assert len(opened.search("red", where=Filter(before="1990"), cutoff=False)) == 0
        assert len(opened.search("red", where=Filter(camera="nikon"), cutoff=False)) == 0


def test_a_filter_does_not_change_the_match(catalog: Path, photos: Path) -> None:
    with Catalog(catalog) as opened:
        everywhere = {hit.path: hit.match for hit in opened.search("red", cutoff=False)}
        for hit in opened.search("red", where=Filter(folder=photos / "trip"), cutoff=False):
            assert hit.match == everywhere[hit.path]


def test_near_finds_by_distance(tmp_path: Path, index: Index) -> None:
    from PIL import Image

    for name, latitude, longitude in (("bergen", 60.39, 5.32), ("voss", 60.63, 6.42), ("oslo", 59.91, 10.75)):
        exif = Image.Exif()
        gps = exif.get_ifd(0x8825)
        gps[1], gps[2], gps[3], gps[4] = "N", _degrees(latitude), "E", _degrees(longitude)
        draw(tmp_path / "photos" / f"{name}.jpg", "red", mark=len(name), exif=exif)
    index(tmp_path / "photos")
    with Catalog(tmp_path / "catalog") as opened:

        def within(km: float) -> set[str]:
            hits = opened.search("red", where=Filter(near=(60.39, 5.32, km)))
            return {hit.path.stem for hit in hits}

        assert within(10) == {"bergen"}
        assert within(80) == {"bergen", "voss"}
        assert within(2000) == {"bergen", "voss", "oslo"}


def _degrees(value: float) -> tuple[float, float, float]:
    minutes = (value % 1) * 60
    return (int(value), int(minutes), round((minutes % 1) * 60, 3))


def test_sorting_by_date_keeps_to_the_relevant(tmp_path: Path, index: Index) -> None:
    from PIL import Image

    for year, colour in ((2020, "red"), (2022, "red"), (2021, "red"), (2023, "blue")):
        exif = Image.Exif()
        exif.get_ifd(0x8769)[0x9003] = f"{year}:01:01 00:00:00"
        draw(tmp_path / "photos" / f"{year}.jpg", colour, mark=year % 100, exif=exif)
    index(tmp_path / "photos")
    with Catalog(tmp_path / "catalog") as opened:
        hits = opened.search("red", sort="date")
    assert [hit.path.stem for hit in hits] == ["2022", "2021", "2020"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"limit": 0}, "at least 1"),
        ({"min_match": 1.5}, "between 0 and 1"),
        ({"where": Filter(after="yesterday")}, "is not a date"),
        ({"where": Filter(before="2023-13")}, "is not a date"),
        ({"where": Filter(before="2023-0")}, "is not a date"),
        ({"where": Filter(near="Bergenwichtown")}, "is not a place"),
        ({"where": Filter(near=(91, 0, 5))}, "not a place on earth"),
        ({"where": Filter(near=(1, 1, -5))}, "not a place on earth"),
    ],
)
def test_bad_questions_are_refused_in_a_sentence(
    catalog: Path, options: dict[str, object], message: str
) -> None:
    with Catalog(catalog) as opened, pytest.raises(QueryError, match=message):
        opened.search("red", **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("query", ["", "  \n"])
def test_empty_query_is_refused(catalog: Path, query: str) -> None:
    with Catalog(catalog) as opened, pytest.raises(QueryError, match="empty"):
        opened.search(query)


@pytest.mark.parametrize("query", ["x" * 2000, "собака", "犬", "🐕", "\udcff", "'; DROP TABLE images; --"])
def test_strange_queries_are_answered(catalog: Path, query: str) -> None:
    with Catalog(catalog) as opened:
        opened.search(query)


def test_second_stage_is_refused_where_there_is_none(catalog: Path) -> None:
    with Catalog(catalog) as opened, pytest.raises(ModelError, match="no second stage"):
        opened.search("red", rerank="classes")


def test_no_catalog_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(CatalogNotFound, match="search index"):
        Catalog(tmp_path / "nowhere")


def test_foreign_databases_are_no_catalogs(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "catalog.db").write_bytes(b"this is no database" * 100)
    with pytest.raises(CatalogError):
        Catalog(tmp_path / "a")
    (tmp_path / "a" / "catalog.db").write_bytes(b"")
    with pytest.raises(CatalogNotFound):
        Catalog(tmp_path / "a")
    (tmp_path / "file").write_text("x")
    with pytest.raises(CatalogNotFound, match="is a file"):
        Catalog(tmp_path / "file")


def test_newer_schema_is_refused_by_name(catalog: Path) -> None:
    import sqlite3

    with sqlite3.connect(catalog / "catalog.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(SchemaTooNew, match="9999"):
        Catalog(catalog)


def test_vectors_of_another_encoder_are_never_compared(catalog: Path) -> None:
    import sqlite3

    with sqlite3.connect(catalog / "catalog.db") as connection:
        connection.execute("UPDATE encoders SET key = 'toy/colours/0'")
    connection.close()
    with Catalog(catalog) as opened, pytest.raises(EncoderMismatch, match="search index --model toy"):
        opened.search("red")


def test_unknown_model_is_named(photos: Path, index: Index) -> None:
    with pytest.raises(UnknownModel, match="Did you mean 'starter'"):
        index(photos, model="startr")


def test_forgotten_pictures_are_gone_and_their_files_stay(catalog: Path, photos: Path) -> None:
    with Catalog(catalog) as opened:
        assert opened.forget(photos / "trip") == 2
        assert opened.forget(photos / "red.png") == 1
        assert opened.forget(photos / "red.png") == 0
        assert opened.status().images == 3
        assert [h.path.name for h in opened.search("red")] == []
    assert (photos / "red.png").exists()


def test_gc_removes_only_what_is_missing(catalog: Path, photos: Path, index: Index) -> None:
    (photos / "red.png").unlink()
    index(photos)
    with Catalog(catalog) as opened:
        assert opened.gc()["images"] == 1
        assert (opened.status().images, opened.status().missing) == (5, 0)
        assert [hit.path.name for hit in opened.search("red")] == ["red-again.jpg"]
        assert opened.gc()["images"] == 0


def test_deleted_caches_come_back(catalog: Path) -> None:
    import shutil

    shutil.rmtree(catalog / "cache")
    with Catalog(catalog) as opened:
        assert not opened.status().cache_fresh
        assert len(opened.search("red")) == 2
        assert opened.status().cache_fresh


def test_rebuild_chooses_the_store(catalog: Path) -> None:
    with Catalog(catalog) as opened:
        assert opened.rebuild(store="faiss") == 6
        assert opened.status().store == "faiss"
        assert len(opened.search("red")) == 2
        assert opened.rebuild() == 6
        assert opened.status().store == "faiss"
        opened.rebuild(store="flat")
        assert opened.status().store == "flat"
        with pytest.raises(QueryError, match="flat"):
            opened.rebuild(store="annoy")


def test_open_catalog_sees_what_is_indexed_meanwhile(catalog: Path, photos: Path, index: Index) -> None:
    with Catalog(catalog) as opened:
        assert len(opened.search("red")) == 2
        draw(photos / "later.png", "red", mark=9)
        index(photos)
        assert len(opened.search("red")) == 3


def test_threads_share_a_catalog(catalog: Path) -> None:
    results: list[int] = []
    with Catalog(catalog) as opened:
        threads = [
            threading.Thread(target=lambda: results.extend(len(opened.search("red")) for _ in range(20)))
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert results == [2] * 80


def test_read_only_media_can_be_searched(catalog: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite refuses WAL without a writable folder; the file alone is then opened as it is."""
    import sqlite3

    from retrieval.db import reader

    real = sqlite3.connect

    class Refusing(sqlite3.Connection):
        def execute(self, *_: object) -> sqlite3.Cursor:  # type: ignore[override]
            raise sqlite3.OperationalError("unable to open database file")

    def by_uri(database: str, **options: object) -> sqlite3.Connection:
        if "immutable" not in database and database.startswith("file:"):
            options["factory"] = Refusing
        return real(database, **options)  # type: ignore[call-overload,no-any-return]

    monkeypatch.setattr(reader.sqlite3, "connect", by_uri)
    with Catalog(catalog) as opened:
        assert len(opened.search("red")) == 2


def test_opening_and_closing_leaks_no_descriptor(catalog: Path) -> None:
    import os

    def once() -> None:
        with Catalog(catalog) as opened:
            opened.search("red")

    once()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(50):
        once()
    assert len(os.listdir("/proc/self/fd")) <= before


def test_same_catalog_behind_a_url(photos: Path, tmp_path: Path, index: Index) -> None:
    url = f"sqlite:///{tmp_path / 'library.db'}"
    assert index(photos, catalog=url).added == 6
    assert index(photos, catalog=url).unchanged == 6
    with Catalog(url) as opened:
        assert len(opened.search("red")) == 2
        assert opened.status().images == 6
        assert opened.forget(photos / "trip") == 2


def test_many_pictures_are_put_in_the_order_of_their_times_as_few_are(
    tmp_path: Path, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import Image

    from retrieval.db import circumstances

    for number, when in enumerate(("2020", "2022", None, "2021", "2022", None)):
        exif = Image.Exif()
        if when is not None:
            exif.get_ifd(0x8769)[0x9003] = f"{when}:01:01 00:00:00"
        draw(tmp_path / "photos" / f"{number}.jpg", "red", mark=1 + number, exif=exif)
    index(tmp_path / "photos")
    with Catalog(tmp_path / "catalog") as opened, opened.state.snapshot() as reader:
        ids = [row[0] for row in reader.rows("SELECT id FROM images WHERE path NOT LIKE '%/0.jpg'")]
        wanted = [*ids, 999]  # one that has left the catalog comes last
        few = circumstances.latest_first(reader, wanted)
        monkeypatch.setattr(circumstances, "MANY", 1)
        monkeypatch.setattr(circumstances, "THIN", 1000)
        assert circumstances.latest_first(reader, wanted) == few
        assert circumstances.present(reader, wanted) == ids
    with Catalog(tmp_path / "catalog") as opened:
        assert opened.ask("How many pictures are there?").text.startswith("The library has 6 pictures")
