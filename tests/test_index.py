"""Indexing folders: what is new, changed, moved, returned or gone."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest

from indexer import IndexReport, index_folder
from indexer.loader import Loader
from retrieval import Catalog, Filter, config
from retrieval.db import reads
from retrieval.db.reader import open_reader
from retrieval.encoders.toy import ToyEncoder
from retrieval.errors import CatalogBusy, CatalogError, EncoderMismatch, ModelError
from tests.conftest import draw
from tests.preparers import Marking

if TYPE_CHECKING:
    from retrieval.protocols import Preparer
    from retrieval.types import Encoded, Prepared

Index = Callable[..., IndexReport]


def figures(report: IndexReport) -> dict[str, int]:
    names = ("added", "updated", "unchanged", "moved", "missing", "failed")
    return {name: getattr(report, name) for name in names if getattr(report, name)}


def found(catalog: Path, query: str) -> list[str]:
    with Catalog(catalog) as opened:
        return [os.path.basename(hit.path) for hit in opened.search(query)]


def rows(catalog: Path) -> list[tuple[object, ...]]:
    """Everything the catalog says of its pictures but the time it was said."""
    with Catalog(catalog) as opened, opened.state.snapshot() as reader:
        return reader.rows(
            "SELECT i.id, i.path, i.content_hash, i.width, i.missing_at IS NULL, e.vector, e.aux, "
            "i.size, i.mtime_ns, i.format, i.height, i.taken_at, i.taken_offset, i.taken_source, "
            "i.camera_model, i.description, i.keywords, e.encoder_id "
            "FROM images i LEFT JOIN embeddings e ON e.image_id = i.id ORDER BY i.id, e.encoder_id"
        )


@pytest.fixture
def other_model(monkeypatch: pytest.MonkeyPatch) -> type[ToyEncoder]:
    """A second model, registered as real ones are."""
    from retrieval import registry

    class OtherEncoder(ToyEncoder):
        id = "toy/other/1"
        spec = "other"

        def __init__(self, spec: str = "other") -> None:
            super().__init__()

    monkeypatch.setattr("tests.test_index.OtherEncoder", OtherEncoder, raising=False)
    monkeypatch.setitem(registry.ENCODERS, "other", "tests.test_index:OtherEncoder")
    return OtherEncoder


def no_encoding(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a picture was encoded again")

    monkeypatch.setattr(ToyEncoder, "encode_prepared", refuse)


def test_new_pictures_are_added_and_found(photos: Path, tmp_path: Path, index: Index) -> None:
    assert figures(index(photos)) == {"added": 6}
    assert set(found(tmp_path / "catalog", "red")) == {"red.png", "red-again.jpg"}


def test_second_run_changes_nothing(photos: Path, tmp_path: Path, index: Index) -> None:
    index(photos)
    before = rows(tmp_path / "catalog")
    assert figures(index(photos)) == {"unchanged": 6}
    assert rows(tmp_path / "catalog") == before


def test_unchanged_run_loads_no_encoder(catalog: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retrieval.registry.load_encoder", lambda spec: pytest.fail(f"{spec} was loaded"))
    assert figures(index_folder(catalog, photos)) == {"unchanged": 6}


def test_ids_follow_the_order_of_paths(catalog: Path) -> None:
    paths = [row[1] for row in rows(catalog)]
    assert paths == sorted(paths)


def test_changed_picture_is_embedded_again(photos: Path, catalog: Path, index: Index) -> None:
    draw(photos / "green.png", "purple", size=(80, 80))
    assert figures(index(photos)) == {"updated": 1, "unchanged": 5}
    assert found(catalog, "purple") == ["green.png"]
    assert found(catalog, "green") == []


def test_touched_picture_is_not_encoded(
    photos: Path, catalog: Path, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.utime(photos / "green.png", (1, 1))
    no_encoding(monkeypatch)
    assert figures(index(photos)) == {"unchanged": 6}
    assert figures(index(photos)) == {"unchanged": 6}


def test_moved_picture_keeps_its_id_and_costs_no_encoding(
    photos: Path, catalog: Path, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {row[0]: row[5] for row in rows(catalog)}
    (photos / "new").mkdir()
    (photos / "red.png").rename(photos / "new" / "crimson.png")
    no_encoding(monkeypatch)
    assert figures(index(photos)) == {"unchanged": 5, "moved": 1}
    assert {row[0]: row[5] for row in rows(catalog)} == before
    assert "crimson.png" in found(catalog, "red")


def test_moved_folder_is_followed_to_another_root(
    photos: Path, tmp_path: Path, catalog: Path, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.move(photos / "trip", tmp_path / "elsewhere")
    no_encoding(monkeypatch)
    assert index(photos).missing == 2
    assert figures(index(tmp_path / "elsewhere")) == {"moved": 2}
    assert "red-again.jpg" in found(catalog, "red")


def test_gone_picture_is_hidden_and_returns_without_encoding(
    photos: Path, tmp_path: Path, catalog: Path, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.move(photos / "red.png", tmp_path / "aside.png")
    assert figures(index(photos)) == {"unchanged": 5, "missing": 1}
    assert found(catalog, "red") == ["red-again.jpg"]
    with Catalog(catalog) as opened:
        assert (opened.status().images, opened.status().missing) == (5, 1)
    no_encoding(monkeypatch)
    shutil.move(tmp_path / "aside.png", photos / "red.png")
    assert figures(index(photos)) == {"unchanged": 6}
    assert set(found(catalog, "red")) == {"red.png", "red-again.jpg"}


def test_copy_is_a_picture_of_its_own_without_encoding(
    photos: Path, catalog: Path, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(photos / "red.png", photos / "copy.png")
    no_encoding(monkeypatch)
    assert figures(index(photos)) == {"unchanged": 6, "added": 1}
    assert {"red.png", "copy.png"} <= set(found(catalog, "red"))


def test_swapped_pictures_are_told_apart(photos: Path, catalog: Path, index: Index) -> None:
    (photos / "red.png").rename(photos / "aside.png")
    (photos / "blue.png").rename(photos / "red.png")
    (photos / "aside.png").rename(photos / "blue.png")
    index(photos)
    assert found(catalog, "blue") == ["red.png"]
    assert "blue.png" in found(catalog, "red")


def test_copies_within_one_run_have_the_same_vector(photos: Path, catalog: Path, index: Index) -> None:
    draw(photos / "x" / "pink.png", "pink")
    shutil.copy(photos / "x" / "pink.png", photos / "y.png")
    assert index(photos).added == 2
    vectors = {row[5] for row in rows(catalog) if os.fsdecode(row[1]).endswith(("pink.png", "y.png"))}
    assert len(vectors) == 1


def test_failed_file_keeps_its_older_row(photos: Path, catalog: Path, index: Index) -> None:
    before = rows(catalog)
    (photos / "red.png").write_bytes(b"this is no picture")
    report = index(photos)
    assert figures(report) == {"unchanged": 5, "failed": 1}
    assert rows(catalog) == before
    with Catalog(catalog) as opened:
        assert [failure.reason for failure in opened.failures()] == ["not-an-image"]


def test_known_bad_file_is_not_read_again(
    photos: Path, catalog: Path, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    (photos / "bad.jpg").write_bytes(b"")
    assert index(photos).failed == 1
    monkeypatch.setattr("indexer.embed.Loader", lambda *_, **__: pytest.fail("something was read"))
    assert figures(index(photos)) == {"unchanged": 6, "failed": 1}


def test_retry_reads_a_bad_file_again(photos: Path, catalog: Path, index: Index) -> None:
    (photos / "bad.jpg").write_bytes(b"")
    index(photos)
    assert figures(index(photos, retry=True)) == {"unchanged": 6, "failed": 1}


def test_mended_file_leaves_the_failures(photos: Path, catalog: Path, index: Index) -> None:
    (photos / "bad.png").write_bytes(b"nothing")
    index(photos)
    draw(photos / "bad.png", "cyan")
    assert index(photos).added == 1
    with Catalog(catalog) as opened:
        assert opened.failures() == []


def test_removed_bad_file_leaves_the_failures(photos: Path, catalog: Path, index: Index) -> None:
    (photos / "bad.png").write_bytes(b"nothing")
    index(photos)
    (photos / "bad.png").unlink()
    index(photos)
    with Catalog(catalog) as opened:
        assert opened.failures() == []


def test_missing_root_changes_nothing(photos: Path, catalog: Path, index: Index) -> None:
    before = rows(catalog)
    photos.rename(photos.with_name("unmounted"))
    with pytest.raises(CatalogError, match="offline"):
        index(photos)
    assert rows(catalog) == before


def test_absent_folder_does_not_keep_the_others_from_being_indexed(
    photos: Path, tmp_path: Path, catalog: Path, index: Index
) -> None:
    for name in ("usb", "emptied"):
        draw(tmp_path / name / f"{name}.png", "pink", mark=len(name))
    index(tmp_path / "usb", tmp_path / "emptied")
    (tmp_path / "usb").rename(tmp_path / "away")
    (tmp_path / "emptied" / "emptied.png").unlink()
    draw(photos / "new.png", "orange")
    notes: list[str] = []
    report = index(progress=lambda step, f: notes.append(f["text"]) if step == "note" else None)
    assert figures(report) == {"added": 1, "unchanged": 6}
    assert sum("stay as they are" in note for note in notes) == 2
    with Catalog(catalog) as opened:
        assert opened.status().images == 9


def test_one_tree_under_two_names_is_indexed_once(photos: Path, tmp_path: Path, index: Index) -> None:
    (tmp_path / "link").symlink_to(photos)
    assert index(tmp_path / "link", photos).added == 6
    with Catalog(tmp_path / "catalog") as opened:
        assert all(hit.path.is_relative_to(photos) for hit in opened.search("red", cutoff=False))
    assert figures(index()) == {"unchanged": 6}


def test_suddenly_empty_root_changes_nothing(photos: Path, catalog: Path, index: Index) -> None:
    before = rows(catalog)
    photos.rename(photos.with_name("unmounted"))
    photos.mkdir()
    with pytest.raises(CatalogError, match="offline"):
        index(photos)
    assert rows(catalog) == before


def test_unreadable_folder_hides_nothing(
    photos: Path, catalog: Path, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.scandir
    locked = os.fsencode(photos / "trip")

    def scandir(path: bytes) -> object:
        if path == locked:
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr("indexer.scan.os.scandir", scandir)
    notes: list[str] = []
    report = index(photos, progress=lambda step, f: notes.append(f["text"]) if step == "note" else None)
    assert report.missing == 0
    assert any("trip" in note for note in notes)


def test_dry_run_writes_nothing(photos: Path, tmp_path: Path, index: Index) -> None:
    assert figures(index(photos, dry_run=True)) == {"added": 6}
    assert not (tmp_path / "catalog").exists()


def test_a_folder_without_pictures_is_said_to_be_one(tmp_path: Path, index: Index) -> None:
    (tmp_path / "empty").mkdir()
    notes: list[str] = []
    report = index(tmp_path / "empty", progress=lambda s, f: notes.append(f["text"]) if s == "note" else None)
    assert figures(report) == {}
    assert notes == [f"{tmp_path / 'empty'} holds no pictures."]
    assert found(tmp_path / "catalog", "red") == []


def test_dry_run_tells_what_a_switch_would_embed(
    photos: Path, catalog: Path, index: Index, other_model: type[ToyEncoder]
) -> None:
    notes: list[str] = []
    report = index(
        photos,
        model="other",
        dry_run=True,
        progress=lambda s, f: notes.append(f["text"]) if s == "note" else None,
    )
    assert figures(report) == {"unchanged": 6}
    assert notes == ["6 pictures of the catalog would be embedded with other."]
    with Catalog(catalog) as opened:
        assert [encoder["id"] for encoder in opened.status().encoders] == ["toy/colours/1"]


def test_no_path_goes_through_known_folders(photos: Path, catalog: Path, index: Index) -> None:
    draw(photos / "orange.png", "orange")
    assert figures(index()) == {"unchanged": 6, "added": 1}


def test_nested_and_repeated_roots_count_once(photos: Path, index: Index) -> None:
    assert figures(index(photos, photos / "trip", photos)) == {"added": 6}
    assert figures(index(photos / "trip")) == {"unchanged": 2}


def test_name_that_is_not_utf8_survives(tmp_path: Path, index: Index) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    name = os.fsencode(folder) + b"/caf\xe9 \xff.png"
    draw(folder / "plain.png", "red").rename(os.fsdecode(name))
    assert index(folder).added == 1
    with Catalog(tmp_path / "catalog") as opened:
        (hit,) = opened.search("red")
    assert os.fsencode(hit.path) == name
    assert hit.as_dict()["path_b64"]
    assert figures(index(folder)) == {"unchanged": 1}


def test_metadata_goes_into_rows(tmp_path: Path, index: Index) -> None:
    from PIL import Image

    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = "Canon", "Canon EOS 5D"
    exif.get_ifd(0x8769)[0x9003] = "2023:07:02 15:30:12"
    exif.get_ifd(0x8769)[0x9011] = "+02:00"
    draw(tmp_path / "photos" / "a.jpg", "red", exif=exif)
    index(tmp_path / "photos")
    with Catalog(tmp_path / "catalog") as opened:
        (hit,) = opened.search("red")
        assert hit.taken_at == "2023-07-02T15:30:12+02:00"
        assert (
            opened.search("red", where=Filter(camera="eos", after="2023-07", before="2023-08"))[0].path
            == hit.path
        )
        assert len(opened.search("red", where=Filter(before="2023-07-02"))) == 0


def test_file_time_is_taken_honestly(photos: Path, catalog: Path) -> None:
    with Catalog(catalog) as opened, opened.state.snapshot() as reader:
        sources = {row[0] for row in reader.rows("SELECT taken_source FROM images")}
    assert sources == {"file-mtime"}


def test_stopping_keeps_what_is_done(tmp_path: Path, index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retrieval.config.COMMIT_IMAGES", 4)
    for number in range(40):
        draw(tmp_path / "photos" / f"{number:02}.png", "red", mark=number)
    seen: list[int] = []

    def progress(step: str, f: dict[str, int]) -> None:
        if step == "advance":
            seen.append(f["done"])

    report = index(tmp_path / "photos", progress=progress, stopped=lambda: bool(seen) and seen[-1] >= 16)
    assert report.interrupted
    assert 16 <= report.added < 40
    again = index(tmp_path / "photos")
    assert (again.added, again.unchanged, again.interrupted) == (40 - report.added, report.added, False)


def test_interrupted_and_undisturbed_runs_end_alike(
    tmp_path: Path, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("retrieval.config.COMMIT_IMAGES", 3)
    for number in range(50):
        draw(tmp_path / "photos" / f"{number:02}.png", "blue", mark=number)
    index(tmp_path / "photos", catalog=tmp_path / "calm")
    rng = np.random.default_rng(0)
    for _ in range(100):
        calls = iter(range(10**6))
        limit = int(rng.integers(1, 6))
        report = index(tmp_path / "photos", stopped=lambda: next(calls) > limit)  # noqa: B023
        if not report.interrupted:
            break
    assert not report.interrupted
    assert rows(tmp_path / "catalog") == rows(tmp_path / "calm")


def test_second_writer_is_refused_by_name(photos: Path, catalog: Path, index: Index) -> None:
    from retrieval.config import Location
    from retrieval.db.queries import Writer

    draw(photos / "orange.png", "orange")
    with Writer(Location.parse(catalog)), pytest.raises(CatalogBusy, match=str(os.getpid())):
        index(photos)
    assert index(photos).added == 1


def test_files_are_read_ahead_while_a_batch_is_encoded(tmp_path: Path, index: Index) -> None:
    """What a slow disk needs: the encoder works while the next files are on their way."""
    marks = tmp_path / "marks"
    marks.mkdir()
    ahead: list[bool] = []

    class PatientEncoder(ToyEncoder):
        batch_size = 4
        preparer = cast("Any", Marking(side=32, folder=str(marks)))

        def encode_prepared(self, batch: Sequence[Prepared]) -> Encoded:
            # Two batches more than this one have to arrive while it is at work.
            until = time.monotonic() + 20
            while not ahead and len(os.listdir(marks)) < 3 * self.batch_size:
                if time.monotonic() > until:
                    break
                time.sleep(0.01)
            ahead.append(len(os.listdir(marks)) >= 3 * self.batch_size)
            return super().encode_prepared(batch)

    for number in range(16):
        draw(tmp_path / "photos" / f"{number:02}.png", "red", mark=number)
    index(tmp_path / "photos", model=PatientEncoder())
    assert ahead[0]


def test_a_small_machine_is_told_what_it_gets(
    photos: Path, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[tuple[int, int]] = []

    class WatchedLoader(Loader):
        def __init__(self, preparer: Preparer, **options: Any) -> None:
            started.append((options["workers"], options["memory"]))
            super().__init__(preparer, **options)

    monkeypatch.setattr("indexer.embed.Loader", WatchedLoader)
    monkeypatch.setattr(config, "cores", lambda: 4)
    monkeypatch.setattr(config, "free_memory", lambda: 450 << 20)
    notes: list[str] = []

    def hear(step: str, figures: dict[str, Any]) -> None:
        notes.extend([figures["text"]] if step == "note" else [])

    assert index(photos, workers=None, progress=hear).added > 1
    assert (
        "Only 450 MB of memory is free: one loading process instead of 4, and 75 MB for pictures at work."
        in notes
    )
    assert started == [(1, 75 << 20)]


def test_queries_work_while_indexing(tmp_path: Path, index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retrieval.config.COMMIT_IMAGES", 4)
    for number in range(30):
        draw(tmp_path / "photos" / f"{number:02}.png", "red", mark=number)
    counts: list[int] = []

    def look(step: str, f: dict[str, int]) -> None:
        if step == "advance" and f["done"] > 16:
            with Catalog(tmp_path / "catalog") as opened:
                counts.append(len(opened.search("red", limit=100)))

    index(tmp_path / "photos", progress=look)
    assert counts
    assert 0 < counts[0] <= 30
    assert counts == sorted(counts)


def test_model_switch_keeps_old_vectors_until_complete(
    photos: Path,
    catalog: Path,
    index: Index,
    monkeypatch: pytest.MonkeyPatch,
    other_model: type[ToyEncoder],
) -> None:
    monkeypatch.setattr(ToyEncoder, "batch_size", 2)
    report = index(photos, model="other", stopped=_after(3))
    assert report.interrupted
    with Catalog(catalog) as opened:
        assert opened.status().encoder == "toy/colours/1"
        assert len(opened.search("red")) == 2
    index(photos, model="other")
    with Catalog(catalog) as opened:
        status = opened.status()
        assert status.encoder == "toy/other/1"
        assert [encoder["images"] for encoder in status.encoders] == [6, 6]
        assert len(opened.search("red")) == 2
        assert opened.gc(encoders=True)["encoders"] == 1
        assert [encoder["id"] for encoder in opened.status().encoders] == ["toy/other/1"]


def _after(calls: int) -> Callable[[], bool]:
    left = iter(range(calls))
    return lambda: next(left, None) is None


def test_switch_waits_for_pictures_on_an_absent_disk(
    photos: Path, tmp_path: Path, catalog: Path, index: Index, other_model: type[ToyEncoder]
) -> None:
    draw(tmp_path / "usb" / "pink.png", "pink")
    index(tmp_path / "usb")
    (tmp_path / "usb").rename(tmp_path / "unplugged")
    notes: list[str] = []
    index(photos, model="other", progress=lambda s, f: notes.append(f["text"]) if s == "note" else None)
    assert any("1 of them on disks that are not here, and keep queries" in note for note in notes), notes
    with Catalog(catalog) as opened:
        assert opened.status().encoder == "toy/colours/1"
    (tmp_path / "unplugged").rename(tmp_path / "usb")
    index(photos, model="other")
    with Catalog(catalog) as opened:
        assert opened.status().encoder == "toy/other/1"


def test_vectors_are_float16_rows_with_checksums(catalog: Path) -> None:
    from retrieval.config import Location

    reader = open_reader(Location.parse(catalog))
    active = reads.active_encoder(reader)
    assert active is not None
    stored = list(reads.vectors(reader, active.id))
    reader.close()
    assert len(stored) == 6
    assert all(len(vector) == 2 * active.dim for _, vector, *_ in stored)


def test_same_name_with_new_weights_is_embedded_anew(
    photos: Path, catalog: Path, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ToyEncoder, "id", "toy/colours/2")
    with Catalog(catalog) as opened, pytest.raises(EncoderMismatch, match="search index --model toy"):
        opened.search("red")
    draw(photos / "new.png", "pink")
    with pytest.raises(EncoderMismatch, match="search index --model toy"):
        index(photos, model=None)
    index(photos)
    assert len(found(catalog, "red")) == 2
    with Catalog(catalog) as opened:
        assert opened.status().encoder == "toy/colours/2"


def test_passing_trouble_during_a_switch_is_made_up_for(
    photos: Path,
    catalog: Path,
    index: Index,
    monkeypatch: pytest.MonkeyPatch,
    other_model: type[ToyEncoder],
) -> None:
    from indexer.embed import _Line
    from indexer.loader import Loaded

    take = _Line._take

    def trouble(self: _Line, items: list[Loaded], encoded: object) -> None:
        for number, item in enumerate(items):
            if item.path.endswith(b"/red.png"):
                bad = Loaded(item.key, item.path, item.size, item.mtime_ns, reason="unreadable")
                kept = [row for row in range(len(items)) if row != number]
                vectors = type(encoded)(encoded.vectors[kept], [encoded.aux[row] for row in kept])  # type: ignore[attr-defined]
                return take(self, [*items[:number], bad, *items[number + 1 :]], vectors)
        return take(self, items, encoded)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(_Line, "_take", trouble)
        notes: list[str] = []
        report = index(
            photos, model="other", progress=lambda s, f: notes.append(f["text"]) if s == "note" else None
        )
        assert report.failed == 1
        assert notes[-1].startswith("1 pictures have no vector of this model, and keep queries")
    with Catalog(catalog) as opened:
        assert opened.status().encoder == "toy/colours/1"
    assert index(photos, model="other").failed == 0
    with Catalog(catalog) as opened:
        assert opened.status().encoder == "toy/other/1"
        assert opened.failures() == []
        assert len(opened.search("red")) == 2


def test_file_that_is_again_as_it_was_leaves_the_failures(photos: Path, catalog: Path, index: Index) -> None:
    path = photos / "red.png"
    good, stat = path.read_bytes(), path.stat()
    path.write_bytes(b"junk")
    assert index(photos).failed == 1
    path.write_bytes(good)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert figures(index(photos)) == {"unchanged": 6}
    with Catalog(catalog) as opened:
        assert opened.failures() == []


def test_folders_indexed_by_themselves_survive_the_indexing_of_their_parent(
    tmp_path: Path, index: Index
) -> None:
    draw(tmp_path / "p" / ".private" / "a.png", "red")
    draw(tmp_path / "p" / "usb" / "b.png", "red", mark=2)
    draw(tmp_path / "p" / "c.png", "red", mark=3)
    index(tmp_path / "p" / ".private")
    index(tmp_path / "p" / "usb")
    (tmp_path / "p" / "usb" / "b.png").rename(tmp_path / "b.png")
    assert figures(index(tmp_path / "p")) == {"added": 1}
    assert set(found(tmp_path / "catalog", "red")) == {"a.png", "b.png", "c.png"}
    (tmp_path / "b.png").rename(tmp_path / "p" / "usb" / "b.png")
    (tmp_path / "p" / "usb" / "d.png").write_bytes((tmp_path / "p" / "c.png").read_bytes())
    (tmp_path / "p" / "usb" / "b.png").unlink()
    assert index(tmp_path / "p").missing == 1


def test_dates_of_names_and_files_belong_to_each_copy(tmp_path: Path, index: Index) -> None:
    first = draw(tmp_path / "p" / "IMG_20200101_120000.png", "red")
    index(tmp_path / "p")
    shutil.copy(first, tmp_path / "p" / "IMG_20210101_120000.png")
    index(tmp_path / "p")
    first.rename(tmp_path / "p" / "IMG_20220101_120000.png")
    index(tmp_path / "p")
    with Catalog(tmp_path / "catalog") as opened:
        dates = {hit.path.name: hit.taken_at for hit in opened.search("red")}
    assert dates == {
        "IMG_20210101_120000.png": "2021-01-01T12:00:00",
        "IMG_20220101_120000.png": "2022-01-01T12:00:00",
    }


def test_copy_whose_vector_was_lost_is_embedded_again(photos: Path, catalog: Path, index: Index) -> None:
    import sqlite3
    from contextlib import closing

    shutil.copy(photos / "red.png", photos / "b.png")
    index(photos)
    with closing(sqlite3.connect(catalog / "catalog.db")) as connection, connection:
        connection.execute(
            "DELETE FROM embeddings WHERE image_id = (SELECT id FROM images WHERE path = ?)",
            (os.fsencode(photos / "red.png"),),
        )
    shutil.copy(photos / "red.png", photos / "c.png")
    assert figures(index(photos)) == {"unchanged": 7, "added": 1}
    assert all(row[5] for row in rows(catalog))
    assert {"red.png", "b.png", "c.png"} <= set(found(catalog, "red"))


def test_picture_moved_during_a_switch_keeps_its_id(
    photos: Path, catalog: Path, index: Index, other_model: type[ToyEncoder]
) -> None:
    before = {row[2]: row[0] for row in rows(catalog)}
    (photos / "red.png").rename(photos / "z.png")
    assert index(photos, model="other").moved == 1
    assert {row[2]: row[0] for row in rows(catalog)} == before
    with Catalog(catalog) as opened:
        assert opened.status().encoder == "toy/other/1"
    assert "z.png" in found(catalog, "red")


def test_catalog_made_for_an_encoder_is_indexed_with_it(photos: Path, tmp_path: Path) -> None:
    class MyEncoder(ToyEncoder):
        id = "mine/1"
        spec = "mine"

    encoder = MyEncoder()
    with Catalog(tmp_path / "c", encoder=encoder, create=True) as opened:
        assert opened.status().images == 0
        report = index_folder(opened, photos)
        assert (report.added, report.encoder, report.failures) == (6, "mine/1", ())
        assert len(opened.search("red")) == 2
        assert index_folder(opened, photos).unchanged == 6
    with Catalog(tmp_path / "c") as opened, pytest.raises(ModelError, match="made with the model 'mine'"):
        opened.search("red")


def test_read_only_catalog_writes_nothing(photos: Path, catalog: Path, index: Index) -> None:
    shutil.rmtree(catalog / "cache")
    with Catalog(catalog, readonly=True) as opened:
        assert len(opened.search("red")) == 2
        for refused in (
            lambda: opened.forget(photos),
            opened.gc,
            opened.rebuild,
            lambda: index_folder(opened, photos),
        ):
            with pytest.raises(CatalogError, match="reading only"):
                refused()
    assert not (catalog / "cache").exists()


def test_report_names_its_failures(photos: Path, catalog: Path, index: Index) -> None:
    (photos / "bad.jpg").write_bytes(b"")
    for _ in range(2):
        (failure,) = index(photos).failures
        assert (failure.path, failure.reason) == (photos / "bad.jpg", "empty")


def test_refused_model_leaves_no_catalog_behind(photos: Path, tmp_path: Path, index: Index) -> None:
    with pytest.raises(ModelError):
        index(photos, model="nonsense")
    with pytest.raises(ModelError):
        index(photos, model="open_clip:ViT-B-32/laion2b_s34b_b79k")
    with pytest.raises(CatalogError):
        Catalog(tmp_path / "catalog")


def test_what_a_run_passes_over_stays_as_it_is(photos: Path, catalog: Path, index: Index) -> None:
    draw(photos / "new.png", "orange")
    assert figures(index(photos, exclude=["trip/"])) == {"added": 1, "unchanged": 4}
    assert "red-again.jpg" in found(catalog, "red")
    assert figures(index(photos, exclude=["*"])) == {}
    assert "red-again.jpg" in found(catalog, "red")


def test_what_an_ignore_file_names_is_hidden_and_comes_back(
    photos: Path, catalog: Path, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    (photos / ".searchignore").write_text("trip/\n")
    assert figures(index(photos)) == {"unchanged": 4, "missing": 2}
    (photos / ".searchignore").unlink()
    no_encoding(monkeypatch)
    assert figures(index(photos)) == {"unchanged": 6}


def test_file_that_went_during_the_run_is_no_failure(
    photos: Path, catalog: Path, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw(photos / "short-lived.png", "orange")
    walk = __import__("indexer.run", fromlist=["walk"]).walk

    def late(*arguments: object, **options: object) -> object:
        result = walk(*arguments, **options)
        (photos / "short-lived.png").unlink(missing_ok=True)
        return result

    monkeypatch.setattr("indexer.run.walk", late)
    assert figures(index(photos)) == {"unchanged": 6}


def test_auto_falls_back_to_the_built_in_model_when_its_choice_cannot_be_had(
    photos: Path, tmp_path: Path, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy may take the connection and still not lead to the hub."""
    from retrieval import config

    chosen = (config.RECOMMENDED_MODEL, "auto: fetched from the model hub.")
    monkeypatch.setattr("retrieval.models.resolve", lambda _: chosen)
    monkeypatch.setattr(config, "STARTER_MODEL", "toy")
    notes: list[str] = []
    report = index(photos, model=None, progress=lambda s, f: notes.append(f["text"]) if s == "note" else None)
    assert (report.added, report.encoder) == (6, "toy/colours/1")
    assert any("Going on with the built-in" in note for note in notes), notes
    with pytest.raises(ModelError):
        index(photos, model=config.RECOMMENDED_MODEL, catalog=tmp_path / "other")
