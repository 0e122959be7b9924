"""What keeps costs in bounds as a catalog grows: little is held, little is named, little is written anew."""

from __future__ import annotations

import os
import sqlite3
import tracemalloc
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from indexer.changes import Spans, compare
from indexer.found import FoundFile, FoundFiles, SeenFiles
from indexer.scan import Scan, scan
from retrieval.config import Location
from retrieval.db import queries, reads
from retrieval.db.queries import Writer
from retrieval.db.reader import Reader, open_reader
from retrieval.db.reads import FileRow
from retrieval.query import masks
from retrieval.query.filters import Filter

COUNT = 20_000


class Catalog:
    """A catalog's database with rows of pictures and nothing else."""

    def __init__(self, place: Path, rows: Sequence[dict[str, Any]]) -> None:
        self.location = Location.parse(place)
        with Writer(self.location) as writer:
            self.encoder_id = writer.add_encoder(key="one", spec="toy", dim=4)
        plain = {"size": 1, "mtime_ns": 1, "content_hash": b"", "indexed_at": 0.0, "format": "JPEG"}
        plain |= {"width": 4, "height": 3, "keywords": "[]"}
        with closing(sqlite3.connect(self.location.database)) as connection, connection:
            for row in rows:
                values = plain | row
                marks = ", ".join(f":{name}" for name in values)
                connection.execute(f"INSERT INTO images ({', '.join(values)}) VALUES ({marks})", values)

    def run(self, sql: str, *rows: tuple[Any, ...]) -> None:
        with closing(sqlite3.connect(self.location.database)) as connection, connection:
            connection.executemany(sql, rows)


def walked(count: int) -> FoundFiles:
    return FoundFiles(FoundFile(b"/photos/%06d.jpg" % number, 10 + number, number) for number in range(count))


def known(count: int) -> Iterator[FileRow]:
    for number in range(count):
        yield FileRow(number + 1, b"/photos/%06d.jpg" % number, 10 + number, number, bytes(32), False)


def peak(call: Any) -> int:
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_comparing_holds_nothing_of_what_did_not_change() -> None:
    found = Scan(walked(COUNT))
    compare(found, known(COUNT), {})
    assert peak(lambda: compare(found, known(COUNT), {})) < 100_000
    assert compare(found, known(COUNT), {}).unchanged == COUNT


def test_a_walk_holds_little_more_than_the_paths(tmp_path: Path) -> None:
    for folder in range(10):
        (tmp_path / f"{folder}").mkdir()
        for number in range(300):
            os.close(os.open(tmp_path / f"{folder}" / f"{number:04}.jpg", os.O_CREAT))
    root = os.fsencode(tmp_path)
    scan(root)
    paths = 3000 * (33 + len(root) + len("/0/0000.jpg"))
    # What one folder holds is let go of before the next is opened.
    assert peak(lambda: scan(root)) < paths + 3000 * 64 + 300 * 1000


def test_a_large_folder_is_let_go_of_as_it_is_read(tmp_path: Path) -> None:
    for number in range(4000):
        os.close(os.open(tmp_path / f"{number:04}.jpg", os.O_CREAT))
    root = os.fsencode(tmp_path)
    scan(root)
    # A status is some 500 bytes: those of all files at once would be 2 MB.
    assert peak(lambda: scan(root)) < 4000 * (33 + len(root) + 10 + 64 + 200)


PATHS = st.text("ab/-0", min_size=1, max_size=4).map(lambda text: text.encode())


@given(files=st.dictionaries(PATHS, st.tuples(st.integers(0, 9), st.integers(-9, 9))), low=PATHS, high=PATHS)
def test_found_files_keep_together_what_belongs_together(
    files: dict[bytes, tuple[int, int]], low: bytes, high: bytes
) -> None:
    half = len(files) // 2
    items = list(files.items())
    found = FoundFiles(FoundFile(path, *stat) for path, stat in items[:half])
    found.extend(FoundFiles(FoundFile(path, *stat) for path, stat in items[half:]))
    found.sort()
    assert [(file.path, (file.size, file.mtime_ns)) for file in found] == sorted(files.items())
    assert list(found.rows()) == [(path, *stat) for path, stat in sorted(files.items())]
    assert (list(found.paths()), len(found)) == (sorted(files), len(files))
    assert found.any_between(low, high) == any(low <= path < high for path in files)


@given(spans=st.lists(st.tuples(PATHS, PATHS).map(lambda pair: (min(pair), max(pair)))), path=PATHS)
def test_joined_spans_hold_what_any_of_them_holds(spans: list[tuple[bytes, bytes]], path: bytes) -> None:
    assert Spans(spans).hold(path) == any(low <= path < high for low, high in spans)


def test_files_that_were_seen_are_known_by_device_and_inode() -> None:
    seen = SeenFiles()
    seen.add(1, 10)
    assert (seen.has(1, 10), seen.has(1, 11), seen.has(2, 10)) == (True, False, False)
    seen.add(1, 11)
    seen.add(2, 10)
    assert (seen.has(1, 10), seen.has(1, 11), seen.has(2, 10)) == (True, True, True)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    paths = [b"/a/x.jpg", b"/a/b/y.jpg", b"/a/b/c/z.jpg", b"/ab/w.jpg", b"/a0.jpg", b"/c/v.jpg"]
    made = Catalog(tmp_path_factory.mktemp("folders") / "catalog", [{"path": path} for path in paths])
    with closing(open_reader(made.location)) as reader:
        yield reader


@pytest.mark.parametrize(
    ("inside", "expected"),
    [
        ([b"/a"], [b"/a/b/c/z.jpg", b"/a/b/y.jpg", b"/a/x.jpg"]),
        ([b"/a/b", b"/a", b"/a"], [b"/a/b/c/z.jpg", b"/a/b/y.jpg", b"/a/x.jpg"]),
        ([b"/c", b"/a/b/c", b"/ab"], [b"/a/b/c/z.jpg", b"/ab/w.jpg", b"/c/v.jpg"]),
        (
            [b"/a/b", b"/"],
            [b"/a/b/c/z.jpg", b"/a/b/y.jpg", b"/a/x.jpg", b"/a0.jpg", b"/ab/w.jpg", b"/c/v.jpg"],
        ),
        ([], []),
    ],
)
def test_files_of_several_folders_come_once_and_in_order(
    folders: Reader, inside: list[bytes], expected: list[bytes]
) -> None:
    assert [row.path for row in reads.files_within(folders, inside)] == expected


def test_pictures_without_a_vector_are_counted_as_they_are_listed(tmp_path: Path) -> None:
    rows = [{"path": b"/%d.jpg" % number, "missing_at": 1.0 if number == 4 else None} for number in range(6)]
    made = Catalog(tmp_path / "catalog", rows)
    add = "INSERT INTO embeddings (encoder_id, image_id, vector, aux, checksum, generation) VALUES (?, ?, '', '', 0, 1)"
    made.run(add, (made.encoder_id, 1))
    failed = (
        "INSERT INTO failures (path, size, mtime_ns, reason, detail, failed_at) VALUES (?, 1, 1, ?, '', 0)"
    )
    made.run(failed, (b"/1.jpg", "damaged"), (b"/2.jpg", "unreadable"))
    with closing(open_reader(made.location)) as reader:
        listed = reads.unembedded(reader, made.encoder_id)
        assert [row.path for row in listed] == [b"/1.jpg", b"/2.jpg", b"/3.jpg", b"/5.jpg"]
        standing = reads.standing_failures(reader)
        assert reads.count_unembedded(reader, made.encoder_id) == len(listed) == 4
        left = [row for row in listed if row.path not in standing]
        assert reads.count_unembedded(reader, made.encoder_id, standing=False) == len(left) == 3


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """Two hundred pictures, nearly all of them alike, and ids with gaps."""
    rows = [
        {
            "id": 1 + number + number // 50,
            "path": b"/photos/%s/%d.jpg" % (b"old" if number < 4 else b"new", number),
            "taken_at": None if number % 60 == 7 else f"{2001 if number < 4 else 2020}-01-01",
            "format": "PNG" if number % 50 == 3 else "JPEG",
            "width": 40 if number % 70 == 1 else 400,
            "height": 300,
            "missing_at": 1.0 if number % 90 == 11 else None,
        }
        for number in range(200)
    ]
    made = Catalog(tmp_path_factory.mktemp("library") / "catalog", rows)
    made.run(
        "INSERT INTO image_tags (image_id, tag, kept, confidence, source) VALUES (?, 'dog', 1, 1, 'model')",
        *((image_id,) for image_id in range(1, 190)),
    )
    with closing(open_reader(made.location)) as reader:
        yield reader


class Watched:
    """A reader that remembers what it was asked."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.dialect = reader.dialect
        self.asked: list[str] = []

    def rows(self, sql: str, /, **parameters: Any) -> list[tuple[Any, ...]]:
        self.asked.append(sql)
        return self._reader.rows(sql, **parameters)


CONDITIONS = st.fixed_dictionaries(
    {},
    optional={
        "folder": st.sampled_from(["/photos", "/photos/new", "/photos/old"]),
        "after": st.sampled_from(["2000", "2010", "2021"]),
        "before": st.sampled_from(["2030", "2022", "2002"]),
        "orientation": st.sampled_from(["landscape", "portrait"]),
        "min_size": st.sampled_from([100, 350]),
        "type": st.sampled_from(["jpeg", "png", "jpeg,png"]),
        "tags": st.just(("dog",)),
        "near": st.just((10.0, 10.0, 5.0)),
    },
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    conditions=CONDITIONS, shift=st.integers(0, 9), every=st.integers(1, 3), spread=st.sampled_from([1, 16])
)
def test_a_mask_says_the_same_whichever_side_was_asked_for(
    library: Reader, conditions: dict[str, Any], shift: int, every: int, spread: int
) -> None:
    conditions = {"after": "1900", **conditions}
    assume(conditions["after"] < conditions.get("before", "9999"))
    where = Filter(**conditions)
    passing = set(masks.passing_ids(library, where).tolist())
    ids = np.array([row[0] for row in library.rows("SELECT id FROM images ORDER BY id")])[shift::every]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(masks, "SPREAD", spread)
        for many, least in ((1, 0), (1, 14), (1_000, 14)):
            patch.setattr(masks, "MANY", many)
            patch.setattr(masks, "PASSING", least)
            found = masks.allowed_among(ids, where, library)
            assert found.dtype == np.bool_
            assert set(ids[found].tolist()) == passing & set(ids.tolist()), (many, least)


def test_where_nearly_all_pass_only_the_others_are_named(
    library: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(masks, "MANY", 100)
    ids = np.array([row[0] for row in library.rows("SELECT id FROM images ORDER BY id")])
    for where, others in (
        (Filter(after="2010"), True),
        (Filter(after="2010", type="jpeg", min_size=100, folder="/photos"), True),
        (Filter(before="2010"), False),
        (Filter(after="2010", tags=("dog",)), False),
    ):
        reader = Watched(library)
        masks.allowed_among(ids, where, reader)  # type: ignore[arg-type]
        assert ("missing_at > 0" in reader.asked[-1]) == others, where


def test_a_guess_looks_at_a_few_pictures_only(library: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masks, "MANY", 100)
    ids = np.array([row[0] for row in library.rows("SELECT id FROM images ORDER BY id")])
    for where in (Filter(type="jpeg"), Filter(after="2010", folder="/photos"), Filter(min_size=100)):
        reader = Watched(library)
        masks.allowed_among(ids, where, reader)  # type: ignore[arg-type]
        plan = [
            str(row[3]) for row in library.rows(f"EXPLAIN QUERY PLAN {reader.asked[0]}", **where.sql()[1])
        ]
        assert any("INTEGER PRIMARY KEY (rowid=?)" in step for step in plan), plan


def test_what_fails_is_found_by_indexes_alone(library: Reader) -> None:
    where = Filter(
        after="2010", before="2030", type="jpeg", min_size=100, folder="/photos", orientation="landscape"
    )
    found = where.failing()
    assert found is not None
    plan = [str(row[3]) for row in library.rows(f"EXPLAIN QUERY PLAN {found[0]}", **found[1])]
    looked = [step for step in plan if step.startswith(("SCAN", "SEARCH"))]
    assert looked
    assert all("INDEX" in step for step in looked), looked


def test_a_large_database_is_written_anew_only_where_much_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "SOON_WRITTEN", 0)
    long = "x" * 2000
    rows = [{"path": b"/%04d.jpg" % number, "description": long} for number in range(1000)]
    made = Catalog(tmp_path / "catalog", rows)
    database = made.location.database

    def gone(count: int) -> int:
        made.run("DELETE FROM images WHERE id <= ?", (count,))
        before = database.stat().st_size
        with Writer(made.location) as writer:
            writer.compact()
        return before - database.stat().st_size

    assert gone(10) == 0
    assert gone(300) > 300_000
    monkeypatch.setattr(queries, "SOON_WRITTEN", 1 << 30)
    assert gone(310) > 0
