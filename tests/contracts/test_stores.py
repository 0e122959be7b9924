"""What every vector store promises, held against brute force."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import arrays

from retrieval.stores import cache, opening
from retrieval.stores.opening import Opened, Truth, open_store, rebuild_store
from retrieval.stores.rows import as_floats
from retrieval.types import checksum

DIM = 24


class Rows:
    """An embeddings table in memory, with the generations that caches go by."""

    def __init__(self, count: int = 0, *, aux: int = 3) -> None:
        self.rng = np.random.default_rng(7)
        self.table: dict[int, tuple[bytes, bytes, int, int]] = {}
        self.generation = 0
        self.epoch = 0
        self.aux = aux
        if count:
            self.add(range(1, count + 1))

    def add(self, ids: Any) -> None:
        self.generation += 1
        for image_id in ids:
            vector = self.rng.normal(size=DIM)
            data = (vector / np.linalg.norm(vector)).astype("<f2").tobytes()
            aux = self.rng.bytes(self.aux)
            self.table[image_id] = (data, aux, checksum(data, aux), self.generation)

    def remove(self, ids: Any) -> None:
        self.epoch += 1
        for image_id in ids:
            del self.table[image_id]

    @property
    def truth(self) -> Truth:
        return Truth(
            key="test@1",
            dim=DIM,
            generation=self.generation,
            epoch=self.epoch,
            count=lambda: len(self.table),
            stamps=lambda: (
                np.array(sorted(self.table), np.int64),
                np.array([self.table[image_id][3] for image_id in sorted(self.table)], np.int64),
            ),
            has=lambda generation: any(row[3] == generation for row in self.table.values()),
            rows=lambda after: [
                (image_id, *row) for image_id, row in sorted(self.table.items()) if row[3] > after
            ],
        )

    def best(self, query: np.ndarray, k: int, allowed: set[int] | None = None) -> list[int]:
        ids = np.array(sorted(self.table if allowed is None else allowed & set(self.table)))
        if not len(ids):
            return []
        matrix = np.stack([np.frombuffer(self.table[i][0], "<f2").astype(np.float32) for i in ids])
        matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
        scores = np.round(matrix @ query, 6)
        return ids[np.lexsort((ids, -scores))][:k].tolist()

    def query(self) -> np.ndarray:
        vector = self.rng.normal(size=DIM).astype(np.float32)
        return vector / np.linalg.norm(vector)


@pytest.fixture(params=["flat", "faiss"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Rows], Opened]:
    def make(rows: Rows) -> Opened:
        return rebuild_store(tmp_path, rows.truth, kind=request.param)

    return make


def recall(rows: Rows, store: Any, *, allowed: np.ndarray | None = None) -> float:
    hits = total = 0
    ids = None if allowed is None else set(store.ids[allowed].tolist())
    for _ in range(30):
        query = rows.query()
        expected = rows.best(query, 10, ids)
        hits += len(set(expected) & set(store.search(query, 10, allowed=allowed)[0].tolist()))
        total += len(expected)
    return hits / max(1, total)


@pytest.mark.parametrize("count", [1, 7, 900])
def test_search_finds_what_brute_force_finds(opened: Callable[[Rows], Opened], count: int) -> None:
    rows = Rows(count)
    assert recall(rows, opened(rows).store) >= 0.95


def test_hits_come_best_first_with_true_scores(opened: Callable[[Rows], Opened]) -> None:
    rows = Rows(500)
    store = opened(rows).store
    query = rows.query()
    ids, scores = store.search(query, 20)
    assert (np.diff(scores) <= 0).all()
    assert np.allclose(store.vectors(ids) @ query, scores, atol=1e-5)


def test_the_first_five_are_the_first_five_of_fifty(opened: Callable[[Rows], Opened]) -> None:
    rows = Rows(500)
    store = opened(rows).store
    for _ in range(20):
        query = rows.query()
        assert store.search(query, 5)[0].tolist() == store.search(query, 50)[0].tolist()[:5]


def test_equal_vectors_come_in_order_of_their_ids(opened: Callable[[Rows], Opened]) -> None:
    rows = Rows(300)
    for image_id in (250, 40, 130):
        rows.table[image_id] = rows.table[7]
    store = opened(rows).store
    query = store.vectors(np.array([7]))[0]
    assert store.search(query, 4)[0].tolist() == [7, 40, 130, 250]


@pytest.mark.parametrize("share", [0.0, 0.004, 0.1, 0.9])
def test_filter_returns_k_whenever_that_many_pass(opened: Callable[[Rows], Opened], share: float) -> None:
    rows = Rows(900)
    store = opened(rows).store
    allowed = rows.rng.random(900) < share
    ids, _ = store.search(rows.query(), 10, allowed=allowed)
    assert len(ids) == min(10, int(allowed.sum()))
    assert set(ids.tolist()) <= set(store.ids[allowed].tolist())
    assert recall(rows, store, allowed=allowed) >= 0.95 or not allowed.any()


def test_more_than_there_is_returns_all(opened: Callable[[Rows], Opened]) -> None:
    rows = Rows(30)
    assert sorted(opened(rows).store.search(rows.query(), 1000)[0].tolist()) == list(range(1, 31))


def test_second_stage_bytes_come_back(opened: Callable[[Rows], Opened]) -> None:
    rows = Rows(50)
    ids = np.array([30, 2, 17])
    assert opened(rows).store.aux(ids) == [rows.table[i][1] for i in ids.tolist()]


def test_reopened_store_answers_alike(opened: Callable[[Rows], Opened], tmp_path: Path) -> None:
    rows = Rows(400)
    query = rows.query()
    first = opened(rows).store.search(query, 10)
    again = open_store(tmp_path, rows.truth)
    assert again.fresh
    assert again.store.search(query, 10)[0].tolist() == first[0].tolist()


@pytest.mark.parametrize("save", [False, True])
def test_store_catches_up_with_new_renewed_and_removed_rows(
    opened: Callable[[Rows], Opened], tmp_path: Path, save: bool
) -> None:
    rows = Rows(400)
    kind = opened(rows).store.kind
    rows.add([401, 402, 403])
    rows.add([17, 100])
    store = open_store(tmp_path, rows.truth, save=save).store
    assert store.kind == kind
    assert recall(rows, store) >= 0.95
    for image_id in (17, 402):
        query = np.frombuffer(rows.table[image_id][0], "<f2").astype(np.float32)
        assert store.search(query, 1)[0].tolist() == [image_id]
    rows.remove([5, 6, 403])
    store = open_store(tmp_path, rows.truth, save=save).store
    assert store.kind == kind
    assert len(store.ids) == 400
    assert recall(rows, store) >= 0.95


def test_empty_catalog_finds_nothing(opened: Callable[[Rows], Opened]) -> None:
    rows = Rows()
    store = opened(rows).store
    assert store.search(rows.query(), 5)[0].tolist() == []
    assert len(store.sample(rows.query())) == 0


def manifest_of(root: Path) -> tuple[Path, cache.Manifest]:
    folder = root / cache.folder_name("test@1")
    manifest = cache.read_manifest(folder)
    assert manifest is not None
    return folder, manifest


@pytest.mark.parametrize("damage", ["flip", "cut", "grow", "gone", "swap", "empty", "folder"])
def test_damaged_cache_never_changes_an_answer(
    opened: Callable[[Rows], Opened], tmp_path: Path, damage: str
) -> None:
    rows = Rows(300)
    opened(rows)
    query = rows.query()
    folder, manifest = manifest_of(tmp_path)
    for purpose, (name, _, _) in list(manifest.files.items()):
        rebuild_store(tmp_path, rows.truth)
        folder, manifest = manifest_of(tmp_path)
        open_store(tmp_path, rows.truth)  # seals the files, so that only identity is looked at next
        name = manifest.files[purpose][0]
        hurt(folder / name, damage)
        store = open_store(tmp_path, rows.truth).store
        assert store.search(query, 10)[0].tolist() == rows.best(query, 10), (purpose, damage)


def hurt(path: Path, damage: str) -> None:
    import os

    stat = path.stat()
    data = bytearray(path.read_bytes())
    if damage == "flip":
        data[len(data) // 2] ^= 0x41
        path.write_bytes(data)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    elif damage == "cut":
        path.write_bytes(data[: len(data) // 2])
    elif damage == "grow":
        path.write_bytes(data + b"more")
    elif damage == "swap":
        path.write_bytes(bytes(len(data)))
    elif damage == "empty":
        path.write_bytes(b"")
    else:
        path.unlink()
        if damage == "folder":
            path.mkdir()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"layout": 1}', '{"files": {"ids": ["../../x", 1, 2]}}', "\x00\xff"]
)
def test_damaged_manifest_is_made_anew(opened: Callable[[Rows], Opened], tmp_path: Path, text: str) -> None:
    rows = Rows(60)
    opened(rows)
    folder, _ = manifest_of(tmp_path)
    (folder / cache.MANIFEST).write_text(text, "latin-1")
    query = rows.query()
    assert open_store(tmp_path, rows.truth).store.search(query, 5)[0].tolist() == rows.best(query, 5)


def test_cache_of_another_catalog_is_not_trusted(opened: Callable[[Rows], Opened], tmp_path: Path) -> None:
    mine, theirs = Rows(60), Rows()
    theirs.rng = np.random.default_rng(99)
    theirs.add(range(1, 61))
    opened(theirs)
    folder, _ = manifest_of(tmp_path)
    foreign = dataclasses.replace(mine.truth, key="test@2")
    folder.rename(tmp_path / cache.folder_name("test@2"))
    query = mine.query()
    assert open_store(tmp_path, foreign).store.search(query, 5)[0].tolist() == mine.best(query, 5)


def test_damaged_row_is_left_out_and_named(opened: Callable[[Rows], Opened], tmp_path: Path) -> None:
    rows = Rows(40)
    data, aux, crc, generation = rows.table[9]
    rows.table[9] = (bytes([data[0] ^ 1]) + data[1:], aux, crc, generation)
    first = opened(rows)
    assert first.damaged == (9,)
    assert 9 not in first.store.ids
    assert open_store(tmp_path, rows.truth).damaged == (9,)


def test_files_do_not_pile_up(opened: Callable[[Rows], Opened], tmp_path: Path) -> None:
    rows = Rows(300)
    opened(rows)
    for number in range(40):
        rows.add([1000 + number])
        store = open_store(tmp_path, rows.truth, save=True).store
    folder, manifest = manifest_of(tmp_path)
    assert {path.name for path in folder.iterdir()} - {cache.SEAL} == {
        cache.MANIFEST,
        *cache.paths_of(manifest),
    }
    assert len(manifest.details["blocks"]) <= opening.MOST_BLOCKS
    query = rows.query()
    assert store.search(query, 5)[0].tolist() == rows.best(query, 5)


def untouched(root: Path, purposes: tuple[str, ...]) -> dict[str, tuple[int, int]]:
    folder, manifest = manifest_of(root)
    stats = {purpose: (folder / manifest.files[purpose][0]).stat() for purpose in purposes}
    return {purpose: (stat.st_ino, stat.st_mtime_ns) for purpose, stat in stats.items()}


def test_what_is_new_is_written_beside_what_is_there(
    opened: Callable[[Rows], Opened], tmp_path: Path
) -> None:
    rows = Rows(900)
    kind = opened(rows).store.kind
    large = ("vectors-0", "aux-0", *(("index",) if kind == "faiss" else ()))
    before = untouched(tmp_path, large)
    rows.add([901, 902])
    rows.add([17])
    rows.remove([5, 900])
    assert open_store(tmp_path, rows.truth, save=True).fresh
    assert untouched(tmp_path, large) == before
    again = open_store(tmp_path, rows.truth)
    assert again.fresh
    assert again.store.ids.tolist() == sorted(rows.table)
    for image_id in (17, 902, 899, 1):
        query = np.frombuffer(rows.table[image_id][0], "<f2").astype(np.float32)
        assert again.store.search(query, 1)[0].tolist() == [image_id]
        assert again.store.aux(np.array([image_id])) == [rows.table[image_id][1]]
    assert recall(rows, again.store) >= 0.95


def test_removed_rows_cost_no_reading_of_those_that_stay(
    opened: Callable[[Rows], Opened], tmp_path: Path
) -> None:
    rows = Rows(400)
    opened(rows)
    rows.remove(range(100, 120))
    asked: list[int] = []
    truth = rows.truth

    def newer(after: int) -> Any:
        asked.append(after)
        return truth.rows(after)

    store = open_store(tmp_path, dataclasses.replace(truth, rows=newer)).store
    assert asked == [rows.generation]
    assert store.ids.tolist() == sorted(rows.table)


def test_rows_of_the_last_change_may_all_be_taken_away(
    opened: Callable[[Rows], Opened], tmp_path: Path
) -> None:
    rows = Rows(400)
    rows.add(range(401, 411))
    opened(rows)
    rows.remove(range(401, 411))
    asked: list[int] = []
    truth = rows.truth
    whole = dataclasses.replace(truth, rows=lambda after: asked.append(after) or truth.rows(after))
    store = open_store(tmp_path, whole).store
    assert 0 not in asked
    assert store.ids.tolist() == sorted(rows.table)


def test_row_of_a_lost_history_is_not_kept_when_others_went(
    opened: Callable[[Rows], Opened], tmp_path: Path
) -> None:
    """A backup from before a picture was changed was restored, and another picture forgotten since."""
    rows = Rows(50)
    backup = dict(rows.table)
    rows.add([7])
    opened(rows)
    rows.table = backup
    rows.remove([3])
    query = rows.query()
    store = open_store(tmp_path, rows.truth).store
    assert store.search(query, 49)[0].tolist() == rows.best(query, 49)
    assert store.vectors(np.array([7])).astype("<f2").tobytes() == backup[7][0]


def test_row_that_was_taken_away_and_came_back_is_the_new_one(
    opened: Callable[[Rows], Opened], tmp_path: Path
) -> None:
    rows = Rows(300)
    opened(rows)
    rows.remove([40])
    rows.add([40])
    store = open_store(tmp_path, rows.truth, save=True).store
    query = np.frombuffer(rows.table[40][0], "<f2").astype(np.float32)
    ids, scores = store.search(query, 1)
    assert ids.tolist() == [40]
    assert scores[0] > 0.999


def test_gaps_are_closed_when_they_are_many(opened: Callable[[Rows], Opened], tmp_path: Path) -> None:
    rows = Rows(600)
    opened(rows)
    rows.remove(range(1, 200))
    store = open_store(tmp_path, rows.truth, save=True).store
    assert manifest_of(tmp_path)[1].details["blocks"][0][0] == 401
    assert getattr(store, "index", None) is None or store.index.ntotal == 401
    assert recall(rows, open_store(tmp_path, rows.truth).store) >= 0.95


def test_index_takes_new_rows_in_when_they_are_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "FRESH_ROWS", 10)
    rows = Rows(900)
    rebuild_store(tmp_path, rows.truth, kind="faiss")
    rows.add([*range(901, 931), 7, 8])
    store = open_store(tmp_path, rows.truth, save=True).store
    assert len(store.fresh) == 0
    assert store.index.ntotal == 930
    assert recall(rows, store) >= 0.95
    rows.add(range(2000, 3200))
    store = open_store(tmp_path, rows.truth, save=True).store
    assert store.figures["trained"] == 2130, "an index that was outgrown is trained anew"


def test_filter_that_follows_meaning_is_answered_by_the_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What passes lies together, away from the query: the lists nearest to it hold none of it."""
    monkeypatch.setattr("retrieval.stores.faiss.EXACT_ROWS", 50)
    rows = Rows(6000)
    store = rebuild_store(tmp_path, rows.truth, kind="faiss").store
    monkeypatch.setattr(store.flat, "search", lambda *_, **__: pytest.fail("searched exactly"))
    hits = 0
    for _ in range(30):
        query = rows.query()
        scores = store.vectors(store.ids) @ query
        allowed = scores < np.quantile(scores, 0.1)
        ids = store.search(query, 10, allowed=allowed)[0].tolist()
        assert set(ids) <= set(store.ids[allowed].tolist())
        hits += len(set(ids) & set(rows.best(query, 10, set(store.ids[allowed].tolist()))))
    assert hits >= 0.9 * 300


def test_filter_of_pictures_that_take_turns_is_answered_by_the_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As raw files and their JPEGs do: what passes may lie at no place that even steps would meet."""
    monkeypatch.setattr("retrieval.stores.faiss.EXACT_ROWS", 50)
    monkeypatch.setattr("retrieval.stores.faiss.LISTED_ROWS", 250)
    rows = Rows(4000)
    store = rebuild_store(tmp_path, rows.truth, kind="faiss").store
    monkeypatch.setattr(store.flat, "search", lambda *_, **__: pytest.fail("searched exactly"))
    assert recall(rows, store, allowed=np.arange(4000) % 4 == 1) >= 0.9


def test_filters_find_ids_that_leave_gaps(opened: Callable[[Rows], Opened], tmp_path: Path) -> None:
    rows = Rows(4000)
    rows.remove(range(1, 4000, 3))
    store = opened(rows).store
    allowed = rows.rng.random(len(store.ids)) < 0.8
    assert recall(rows, store, allowed=allowed) >= 0.95


def test_search_works_from_several_threads(opened: Callable[[Rows], Opened]) -> None:
    rows = Rows(3000)
    store = opened(rows).store
    queries = [rows.query() for _ in range(40)]
    allowed = rows.rng.random(3000) < 0.9
    alone = [store.search(query, 10, allowed=allowed)[0].tolist() for query in queries]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda q: store.search(q, 10, allowed=allowed)[0].tolist(), queries))
    assert together == alone


def test_size_decides_what_is_searched_how(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = Rows(1000)
    monkeypatch.setattr(opening, "EXACT_NUMBERS", 1000 * DIM)
    assert rebuild_store(tmp_path, rows.truth).store.kind == "flat"
    rows.add([1001])
    assert open_store(tmp_path, rows.truth, save=True).store.kind == "faiss"
    _, manifest = manifest_of(tmp_path)
    assert manifest.details["blocks"] == [[1001, True]], "an index stands over rows of half the size"
    assert cache.recall(tmp_path, "test@1") == manifest.details["index"]["recall"] > 0.9
    assert recall(rows, open_store(tmp_path, rows.truth).store) >= 0.95


def test_who_only_asks_does_not_wait_for_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = Rows(1000)
    monkeypatch.setattr(opening, "EXACT_NUMBERS", 1000 * DIM)
    monkeypatch.setattr(opening, "TAIL_ROWS", 10)
    rebuild_store(tmp_path, rows.truth)
    rows.add(range(1001, 1101))
    opened = open_store(tmp_path, rows.truth)
    assert opened.fresh, "so many rows are written all the same"
    assert opened.store.kind == "flat"
    rows.add([1101])
    assert open_store(tmp_path, rows.truth, save=True).store.kind == "faiss"
    monkeypatch.setattr("retrieval.stores.faiss.FaissStore.built", lambda _: pytest.fail("trained"))
    rows.add(range(3000, 5000))
    assert len(open_store(tmp_path, rows.truth).store.ids) == 3101


def test_kind_that_was_chosen_outlives_a_new_layout(tmp_path: Path) -> None:
    rows = Rows(60)
    rebuild_store(tmp_path, rows.truth, kind="faiss")
    folder, _ = manifest_of(tmp_path)
    raw = json.loads((folder / cache.MANIFEST).read_text())
    (folder / cache.MANIFEST).write_text(json.dumps({**raw, "layout": 1}))
    assert open_store(tmp_path, rows.truth).store.kind == "faiss"


def test_many_rows_are_read_through_a_file(
    opened: Callable[[Rows], Opened], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = Rows(300)
    monkeypatch.setattr(opening, "IN_MEMORY", 1000)
    opened(rows)
    folder, manifest = manifest_of(tmp_path)
    assert {path.name for path in folder.iterdir()} <= {
        cache.MANIFEST,
        cache.SEAL,
        *cache.paths_of(manifest),
    }
    query = rows.query()
    assert open_store(tmp_path, rows.truth).store.search(query, 5)[0].tolist() == rows.best(query, 5)


def test_a_disk_without_room_does_not_keep_rows_from_being_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = Rows(300)
    monkeypatch.setattr(opening, "IN_MEMORY", 1000)
    monkeypatch.setattr("tempfile.TemporaryFile", _full)
    query = rows.query()
    assert open_store(tmp_path, rows.truth).store.search(query, 5)[0].tolist() == rows.best(query, 5)


def _full(**_: object) -> None:
    raise OSError(28, "No space left on device")


@given(arrays(np.uint16, 64))
def test_halves_become_the_floats_they_are(bits: np.ndarray) -> None:
    halves = bits.view(np.float16)
    finite = halves[np.isfinite(halves)]
    assert as_floats(finite).tobytes() == finite.astype(np.float32).tobytes()


def test_index_is_searched_where_most_rows_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retrieval.stores.faiss.EXACT_ROWS", 50)
    rows = Rows(900)
    store = rebuild_store(tmp_path, rows.truth, kind="faiss").store
    monkeypatch.setattr(store.flat, "search", lambda *_, **__: pytest.fail("searched exactly"))
    assert recall(rows, store, allowed=rows.rng.random(900) < 0.97) >= 0.9
    assert recall(rows, store) >= 0.9


def test_filter_that_leaves_out_all_that_is_near_still_fills_the_list(
    opened: Callable[[Rows], Opened],
) -> None:
    """Filters follow meaning: a folder of beaches, asked for snow."""
    rows = Rows(1500)
    store = opened(rows).store
    if store.kind == "faiss":
        store.figures["nprobe"] = 1
    for _ in range(20):
        query = rows.query()
        near = set(store.flat.search(query, 600)[0].tolist() if store.kind == "faiss" else
                   store.search(query, 600)[0].tolist())  # fmt: skip
        allowed = ~np.isin(store.ids, list(near))
        ids = store.search(query, 10, allowed=allowed)[0].tolist()
        assert ids == rows.best(query, 10, set(store.ids[allowed].tolist()))


def test_a_long_list_is_filled_from_beyond_the_lists_that_were_looked_at(
    opened: Callable[[Rows], Opened],
) -> None:
    rows = Rows(900)
    store = opened(rows).store
    if store.kind == "faiss":
        store.figures["nprobe"] = 1
    assert len(store.search(rows.query(), 500)[0]) == 500


def test_an_empty_cache_takes_rows_with_second_stage_bytes(
    opened: Callable[[Rows], Opened], tmp_path: Path
) -> None:
    rows = Rows()
    opened(rows)
    rows.add(range(1, 30))
    store = open_store(tmp_path, rows.truth, save=True).store
    assert store.aux(np.array([3])) == [rows.table[3][1]]


def test_cache_of_a_lost_history_is_not_built_upon(opened: Callable[[Rows], Opened], tmp_path: Path) -> None:
    """A backup was restored: the rows went another way from there than the cache did."""
    import copy

    rows = Rows(50)
    backup = copy.deepcopy(rows)
    rows.add([51])
    opened(rows)
    restored = backup
    restored.generation += 100
    restored.rng = np.random.default_rng(5)
    restored.add([51])
    query = restored.query()
    store = open_store(tmp_path, restored.truth).store
    assert store.search(query, 51)[0].tolist() == restored.best(query, 51)
