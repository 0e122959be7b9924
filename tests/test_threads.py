"""Several threads ask one catalog: beside each other, each of one moment of it."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from indexer import IndexReport
from retrieval import Catalog, Filter
from retrieval.config import Location
from retrieval.db import readers, reads, tags
from retrieval.db.reader import Reader
from retrieval.errors import CatalogError
from retrieval.stores import opening
from retrieval.stores.flat import FlatStore
from tests.conftest import draw

Index = Callable[..., IndexReport]
SECONDS = 20


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as made:
        yield made


def test_searches_are_in_the_store_at_the_same_time(
    catalog: Path, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    together, real = threading.Barrier(4), FlatStore.search

    def search(self: FlatStore, *given: Any, **more: Any) -> Any:
        together.wait(SECONDS)  # breaks where one search waits for another
        return real(self, *given, **more)

    with Catalog(catalog) as opened:
        wanted = opened.search("red")
        monkeypatch.setattr(FlatStore, "search", search)
        asked = [pool.submit(opened.search, "red") for _ in range(4)]
        assert [one.result(SECONDS) for one in asked] == [wanted] * 4


def test_whoever_reads_for_long_keeps_nobody_waiting(catalog: Path, pool: ThreadPoolExecutor) -> None:
    begun, done = threading.Event(), threading.Event()

    def long(opened: Catalog) -> int:
        with opened.state.snapshot() as reader:
            begun.set()
            assert done.wait(SECONDS)
            return reads.counts(reader)["images"]

    with Catalog(catalog) as opened:
        reading = pool.submit(long, opened)
        assert begun.wait(SECONDS)
        assert len(pool.submit(opened.search, "red").result(SECONDS)) == 2
        assert pool.submit(opened.status).result(SECONDS).images == 6
        done.set()
        assert reading.result(SECONDS) == 6


def test_a_search_that_began_sees_nothing_of_what_is_written_meanwhile(
    catalog: Path, photos: Path, index: Index, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, written = threading.Event(), threading.Event()
    real = FlatStore.search
    first = threading.local()

    def search(self: FlatStore, *given: Any, **more: Any) -> Any:
        if getattr(first, "waits", False):
            begun.set()
            assert written.wait(SECONDS)
        return real(self, *given, **more)

    monkeypatch.setattr(FlatStore, "search", search)

    def early(opened: Catalog) -> list[str]:
        first.waits = True
        return [hit.path.name for hit in opened.search("red")]

    with Catalog(catalog) as opened:
        before = [hit.path.name for hit in opened.search("red")]
        asked = pool.submit(early, opened)
        assert begun.wait(SECONDS)
        draw(photos / "later.png", "red", mark=9)
        index(photos)
        opened.forget(photos / "red.png")
        later = pool.submit(opened.search, "red").result(SECONDS)
        written.set()
        assert asked.result(SECONDS) == before
    assert {hit.path.name for hit in later} == {"red-again.jpg", "later.png"}


def test_whoever_is_overtaken_before_it_has_the_vectors_gets_those_of_its_moment(
    catalog: Path, photos: Path, index: Index, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    opens: list[int] = []
    real = opening.open_store

    def counted(root: Path, truth: opening.Truth, **more: Any) -> opening.Opened:
        opens.append(truth.generation)
        return real(root, truth, **more)

    monkeypatch.setattr(opening, "open_store", counted)
    with Catalog(catalog) as opened:
        state = opened.state
        opened.search("red")
        with state.snapshot() as reader:
            info = reads.active_encoder(reader)
            assert info is not None
            draw(photos / "later.png", "red", mark=9)
            index(photos)
            opens.clear()
            assert len(pool.submit(opened.search, "red").result(SECONDS)) == 3
            assert len(state.images(info).store.ids) == 6
        assert len(opened.search("red")) == 3
        assert len(opens) == 1  # the newer ones; the older were still at hand


def test_late_vectors_are_neither_written_nor_kept_for_others(
    catalog: Path, photos: Path, index: Index, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Catalog(catalog) as opened:
        state = opened.state
        with state.snapshot() as reader:
            info = reads.active_encoder(reader)
            assert info is not None
            draw(photos / "later.png", "red", mark=9)
            index(photos)
            assert len(pool.submit(opened.search, "red").result(SECONDS)) == 3
            assert len(state.images(info).store.ids) == 6  # made of the rows, for none was open when it began
        assert opened.status().cache_fresh
        monkeypatch.setattr(opening, "open_store", lambda *_, **__: pytest.fail("The newer ones were open."))
        with state.snapshot():
            assert len(state.images(state.active()).store.ids) == 7


def test_vectors_are_opened_once_for_all_who_need_them(
    catalog: Path, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    opens: list[int] = []
    inside, real = threading.Barrier(4), opening.open_store

    def slow(root: Path, truth: opening.Truth, **more: Any) -> opening.Opened:
        opens.append(truth.generation)
        return real(root, truth, **more)

    monkeypatch.setattr(opening, "open_store", slow)

    def ask(opened: Catalog) -> int:
        with opened.state.snapshot():
            info = opened.state.active()
            inside.wait(SECONDS)
            return len(opened.state.images(info).store.ids)

    with Catalog(catalog) as opened:
        asked = [pool.submit(ask, opened) for _ in range(4)]
        assert [one.result(SECONDS) for one in asked] == [6] * 4
    assert len(opens) == 1


def test_a_moment_has_one_number_for_all_and_another_after_every_change(
    catalog: Path, pool: ThreadPoolExecutor
) -> None:
    inside = threading.Barrier(4)

    def number(opened: Catalog) -> int | None:
        with opened.state.snapshot():
            inside.wait(SECONDS)
            return opened.state.moment()

    with Catalog(catalog) as opened:

        def numbers() -> set[int | None]:
            asked = [pool.submit(number, opened) for _ in range(4)]
            return {one.result(SECONDS) for one in asked}

        numbers()  # from the second reader on they are counted by one that watches
        seen: list[int | None] = []
        for tag in ("one", "two", "three"):
            (now,) = numbers()
            assert numbers() == {now}
            seen.append(now)
            opened.tags.add(tag)
        (last,) = numbers()
        assert None not in seen
        assert len({*seen, last}) == 4


def test_a_moment_that_began_keeps_its_number_and_a_write_beside_it_gives_another(
    catalog: Path, pool: ThreadPoolExecutor
) -> None:
    def number(opened: Catalog) -> int | None:
        with opened.state.snapshot():
            return opened.state.moment()

    with Catalog(catalog) as opened, opened.state.snapshot():
        before = opened.state.moment()
        pool.submit(number, opened).result(SECONDS)
        pool.submit(opened.tags.add, "new").result(SECONDS)
        assert pool.submit(number, opened).result(SECONDS) != before
        assert opened.state.moment() == before


def test_a_write_while_a_moment_begins_gives_it_no_number_of_others(
    catalog: Path, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that watches has then counted other rows than those that are seen."""
    with Catalog(catalog) as opened, Catalog(catalog) as other:
        state, real, armed = opened.state, readers._version, [False]

        def seen() -> tuple[int | None, int]:
            with state.snapshot() as reader:
                return state.moment(), len(tags.vocabulary(reader))

        def version(reader: Reader) -> int:
            found = real(reader)
            if armed[0] and reader is state._readers._source._watch:
                armed[0] = False
                other.tags.add("beside")
            return found

        with state.snapshot():
            pool.submit(seen).result(SECONDS)  # by a second reader, and so there is one that watches
            other.tags.add("before")
            before = pool.submit(seen).result(SECONDS)
        monkeypatch.setattr(readers, "_version", version)
        armed[0] = True
        beside = seen()  # by the first reader again, which has not met the change
        assert not armed[0]
        assert beside[1] == before[1] + 1
        assert before[0] != beside[0]


def test_filters_of_several_threads_are_kept_apart(
    catalog: Path, photos: Path, pool: ThreadPoolExecutor
) -> None:
    wheres = [Filter(folder=photos / "trip"), *(Filter(type=kind) for kind in ("png", "jpeg", "gif", "webp"))]
    with Catalog(catalog) as opened:
        alone = [opened.search("red", where=where, cutoff=False) for where in wheres]
        asked = [pool.submit(opened.search, "red", where=where, cutoff=False) for where in wheres * 8]
        assert [one.result(SECONDS) for one in asked] == alone * 8


def test_a_catalog_that_is_closed_while_it_is_read_is_read_to_the_end(
    catalog: Path, pool: ThreadPoolExecutor
) -> None:
    begun, closed = threading.Event(), threading.Event()

    def read(opened: Catalog) -> int:
        with opened.state.snapshot() as reader:
            begun.set()
            assert closed.wait(SECONDS)
            return reads.counts(reader)["images"] + len(opened.state.images(opened.state.active()).store.ids)

    def once() -> None:
        begun.clear()
        closed.clear()
        opened = Catalog(catalog)
        reading = pool.submit(read, opened)
        assert begun.wait(SECONDS)
        opened.close()
        closed.set()
        assert reading.result(SECONDS) == 12
        with pytest.raises(CatalogError, match="was closed"):
            opened.search("red")
        kept.append(opened)

    kept: list[Catalog] = []  # so that nothing is closed only because nobody knows of it any more
    for _ in range(5):
        once()
    assert not files_below(catalog)


def test_whoever_waits_for_a_reader_is_told_that_the_catalog_was_closed(
    catalog: Path, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "MOST", 1)
    opened = Catalog(catalog)
    waits, real = threading.Event(), opened.state._readers._source.take

    def take(over: Callable[[], bool]) -> Reader | None:
        waits.set()
        return real(over)

    with opened.state.snapshot():
        monkeypatch.setattr(opened.state._readers._source, "take", take)
        asked = pool.submit(opened.counts)
        assert waits.wait(SECONDS)
        opened.close()
        with pytest.raises(CatalogError, match="was closed"):
            asked.result(SECONDS)


def test_more_threads_than_readers_wait_for_their_turn(
    catalog: Path, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "MOST", 2)
    made: list[object] = []
    real = readers.open_reader

    def counted(location: Location) -> Reader:
        made.append(location)
        return real(location)

    monkeypatch.setattr(readers, "open_reader", counted)
    with Catalog(catalog) as opened:
        asked = [pool.submit(opened.search, "red") for _ in range(40)]
        assert [len(one.result(SECONDS)) for one in asked] == [2] * 40
    assert len(made) <= 3  # two, and the one that watches


def test_many_threads_leave_few_descriptors_and_none_after_the_end(
    catalog: Path, pool: ThreadPoolExecutor
) -> None:
    inside = threading.Barrier(8)

    def read(opened: Catalog) -> int:
        with opened.state.snapshot() as reader:
            inside.wait(SECONDS)
            return reads.counts(reader)["images"]

    def once(opened: Catalog) -> None:
        asked = [pool.submit(read, opened) for _ in range(8)]
        assert [one.result(SECONDS) for one in asked] == [6] * 8

    with Catalog(catalog) as opened:
        once(opened)
    before = descriptors()
    with Catalog(catalog) as opened:
        once(opened)
        held = descriptors()
        for _ in range(5):
            once(opened)
        assert descriptors() <= held
    assert descriptors() <= before


def test_readers_beyond_the_few_that_are_kept_are_closed(
    catalog: Path, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "IDLE", 1)
    inside = threading.Barrier(4)

    def read(opened: Catalog) -> int:
        with opened.state.snapshot() as reader:
            inside.wait(SECONDS)
            return reads.counts(reader)["images"]

    with Catalog(catalog) as opened:
        opened.counts()
        for _ in range(3):
            assert [one.result(SECONDS) for one in [pool.submit(read, opened) for _ in range(4)]] == [6] * 4
            assert opened.state._readers._source._opened == 1


def test_a_catalog_in_the_place_of_another_is_read_by_whoever_begins_then(
    catalog: Path, tmp_path: Path, photos: Path, index: Index, pool: ThreadPoolExecutor
) -> None:
    shutil.rmtree(photos / "trip")
    index(photos, catalog=tmp_path / "other")
    with Catalog(catalog) as opened:
        assert len(opened.search("red", cutoff=False)) == 6
        with opened.state.snapshot():
            pool.submit(opened.counts).result(SECONDS)  # so that there are two readers, and one that watches
        before = opened.state._readers._source  # kept here, so that only what is closed is closed
        with opened.state.snapshot() as reader:
            catalog.rename(tmp_path / "old")
            (tmp_path / "other").rename(catalog)
            asked = [pool.submit(opened.search, "red", cutoff=False) for _ in range(4)]
            assert [len(one.result(SECONDS)) for one in asked] == [4] * 4
            info = opened.state.active()
            assert reads.counts(reader)["images"] == len(opened.state.images(info).store.ids) == 6
        assert len(opened.search("red", cutoff=False)) == 4
        assert before is not opened.state._readers._source
        assert not [name for name in files_below(tmp_path / "old") if name.startswith("catalog.db")]


def test_nothing_is_kept_of_a_catalog_that_a_copy_of_it_has_replaced(catalog: Path, tmp_path: Path) -> None:
    shutil.copytree(catalog, tmp_path / "copy", ignore=shutil.ignore_patterns("cache"))
    with contextlib.closing(sqlite3.connect(tmp_path / "copy" / "catalog.db")) as connection:
        connection.execute("DELETE FROM embeddings WHERE image_id = 1")
        connection.commit()
    with Catalog(catalog) as opened:
        assert len(opened.search("red", cutoff=False)) == 6
        catalog.rename(tmp_path / "old")
        (tmp_path / "copy").rename(catalog)
        assert len(opened.search("red", cutoff=False)) == 5


def test_what_is_kept_of_a_moment_is_not_used_for_the_next(catalog: Path, photos: Path, index: Index) -> None:
    with Catalog(catalog) as opened:
        assert len(opened.search("red")) == 2
        (photos / "red.png").unlink()
        index(photos)  # its vector stays where it was, and is only hidden
        assert [hit.path.name for hit in opened.search("red")] == ["red-again.jpg"]


def test_a_catalog_that_was_taken_away_is_still_read_by_several_threads(
    catalog: Path, tmp_path: Path, pool: ThreadPoolExecutor
) -> None:
    with Catalog(catalog) as opened:
        wanted = opened.search("red")
        catalog.rename(tmp_path / "elsewhere")
        asked = [pool.submit(opened.search, "red") for _ in range(16)]
        assert [one.result(SECONDS) for one in asked] == [wanted] * 16
        (tmp_path / "elsewhere").rename(catalog)
        assert opened.search("red") == wanted


def test_a_snapshot_that_another_thread_ends_is_over_for_the_one_that_began_it(
    catalog: Path, pool: ThreadPoolExecutor
) -> None:
    def parts(opened: Catalog) -> Iterator[int]:
        with opened.state.snapshot() as reader:
            yield reads.counts(reader)["images"]
            yield 0

    with Catalog(catalog) as opened:
        begun = parts(opened)
        assert next(begun) == 6
        pool.submit(begun.close).result(SECONDS)  # type: ignore[attr-defined]
        with pytest.raises(RuntimeError, match="inside a snapshot"):
            _ = opened.state.reader
        assert opened.counts()["images"] == 6


def test_nobody_meets_a_locked_database_while_pictures_are_indexed(
    catalog: Path, photos: Path, index: Index, pool: ThreadPoolExecutor
) -> None:
    done = threading.Event()

    def ask(opened: Catalog) -> list[int]:
        found = []
        while not done.is_set():
            found.append(len(opened.search("red")))
        return found

    with Catalog(catalog) as opened:
        asked = [pool.submit(ask, opened) for _ in range(3)]
        try:
            for number in range(4):
                draw(photos / f"later-{number}.png", "red", mark=20 + number)
                index(photos)
        finally:
            done.set()
        for one in asked:
            seen = one.result(SECONDS)
            assert seen == sorted(seen)  # never back to an earlier moment
            assert set(seen) <= {2, 3, 4, 5, 6}
        assert len(opened.search("red")) == 6


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def files_below(folder: Path) -> list[str]:
    """The names of the files in a folder that this process has open."""
    names = []
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            place = Path(os.readlink(f"/proc/self/fd/{number}"))
            if place.parent == folder:
                names.append(place.name)
    return names
