"""Disks that refuse, and several who write: one sentence with the cause, nothing lost, reading goes on."""

from __future__ import annotations

import contextlib
import errno
import mmap  # noqa: F401 - another user may not read where it lies
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from indexer import IndexReport, index_folder
from indexer import run as running
from retrieval import Catalog, config
from retrieval.config import Location
from retrieval.db import engine, queries
from retrieval.db.connecting import connect
from retrieval.db.failures import refused, unwritable
from retrieval.db.locking import acquire
from retrieval.db.queries import Writer
from retrieval.db.reader import open_reader
from retrieval.encoders import artifacts
from retrieval.errors import CatalogBusy, CatalogUnwritable, ModelUnavailable
from tests.browsing import ROOT
from tests.torture import shim

Index = Callable[..., IndexReport]
NOBODY = 65534

posix = pytest.mark.skipif(os.name != "posix", reason="permissions and locks of POSIX")
shimmed = pytest.mark.skipif(bool(shim.unavailable()), reason=shim.unavailable() or "there is one")


@pytest.fixture
def public(catalog: Path) -> Iterator[Path]:
    """A catalog where every user of the machine may look."""
    place = Path(tempfile.mkdtemp(prefix="storage-"))
    place.chmod(0o755)
    shutil.copytree(catalog, place / "catalog")
    yield place / "catalog"
    shutil.rmtree(place)


@contextlib.contextmanager
def only_readable(folder: Path) -> Iterator[None]:
    """Meanwhile this process may not write there, even where it is root's otherwise."""
    root = os.geteuid() == 0
    folder.chmod(0o555)
    if root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
        folder.chmod(0o755)


def leave_a_log(catalog: Path) -> None:
    """Change a row as a process does that is killed before its log is copied into the database."""
    code = (
        "import os, sqlite3, sys\n"
        "connection = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "connection.execute('PRAGMA wal_autocheckpoint=0')\n"
        "connection.execute(\"UPDATE images SET description = 'from the log'\")\n"
        "os._exit(0)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(catalog / "catalog.db")], check=True)
    (catalog / "catalog.db-shm").unlink()
    assert (catalog / "catalog.db-wal").stat().st_size


def command(*words: object, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cli", *map(str, words)],
        **{"capture_output": True, "text": True, "cwd": ROOT, "check": False, "timeout": 60, **options},
    )


def paths(catalog: Path) -> list[str]:
    with contextlib.closing(sqlite3.connect(catalog / "catalog.db")) as connection:
        return sorted(os.fsdecode(row[0]) for row in connection.execute("SELECT path FROM images"))


@posix
def test_a_log_that_a_crash_left_is_read_where_nothing_can_be_written(public: Path) -> None:
    leave_a_log(public)
    with only_readable(public), contextlib.closing(open_reader(Location.parse(public))) as reader:
        assert reader.rows("SELECT DISTINCT description FROM images") == [("from the log",)]
    assert not (public / "catalog.db-shm").exists()


@posix
def test_a_catalog_on_a_read_only_disk_is_searched(public: Path) -> None:
    for left in ("catalog.db-wal", "catalog.db-shm"):
        (public / left).unlink(missing_ok=True)
    with only_readable(public), Catalog(public) as catalog:
        assert catalog.search("red", limit=1)[0].path.name in ("red.png", "red-again.jpg")
        with pytest.raises(CatalogUnwritable, match=r"Permission denied\. It can be searched as it is"):
            catalog.forget("/nowhere")


@posix
def test_who_reads_without_locks_notices_whoever_writes(public: Path) -> None:
    for left in ("catalog.db-wal", "catalog.db-shm"):
        (public / left).unlink(missing_ok=True)
    location = Location.parse(public)
    with only_readable(public):
        reader = open_reader(location)
        opened = Catalog(public)
        with opened.state.snapshot() as rows:
            assert rows.rows("SELECT COUNT(*) FROM images") == [(6,)]
    assert not reader.moved_on()
    with Writer(location) as writer:
        writer.forget(os.fsencode(paths(public)[0]))
    assert reader.moved_on()
    with pytest.raises(CatalogBusy, match="while it was read"):
        reader.rows("SELECT COUNT(*) FROM images")
    with opened, opened.state.snapshot() as rows:
        assert rows.rows("SELECT COUNT(*) FROM images") == [(5,)]
    reader.close()


def test_a_catalog_that_can_be_written_is_read_with_locks(catalog: Path) -> None:
    connection, state = connect(Location.parse(catalog))
    connection.close()
    assert state is None


@shimmed
@pytest.mark.parametrize("refusal", ["ENOSPC", "EDQUOT", "EROFS", "EIO"])
def test_a_refusal_is_one_line_with_cause_and_place_and_leaves_nothing_to_mend(
    catalog: Path, photos: Path, refusal: str
) -> None:
    words = ("forget", photos / "trip", "--catalog", catalog)
    call = "fsync" if refusal == "EIO" else "any"
    broken = {**os.environ, **shim.environment(catalog, fail=[f"{call}:{refusal}:0"])}
    ran = command(*words, env=broken)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr.count("\n") == 1
    assert str(catalog) in ran.stderr
    assert os.strerror(getattr(errno, refusal)) in ran.stderr
    assert len(paths(catalog)) == 6
    asked = command("find", "red", "--paths", "--catalog", catalog, env=broken)
    assert (asked.returncode, asked.stderr) == (0, "")
    assert command(*words).returncode == 0
    assert len(paths(catalog)) == 4


@shimmed
def test_a_cache_that_cannot_be_written_is_told_with_its_cause(catalog: Path) -> None:
    broken = {**os.environ, **shim.environment(catalog / "cache", fail=["write:EDQUOT:0"])}
    ran = command("rebuild", "--catalog", catalog, env=broken)
    assert ran.returncode == 1
    assert f"{catalog / 'cache'}" in ran.stderr
    assert os.strerror(errno.EDQUOT) in ran.stderr
    assert command("rebuild", "--catalog", catalog).returncode == 0


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
@pytest.mark.parametrize("words", [["status"], ["find", "red", "--json"], ["--help"], ["--version"]])
def test_a_full_disk_behind_standard_output_is_one_line(catalog: Path, words: list[str]) -> None:
    environment = {**os.environ, "SEARCH_CATALOG": str(catalog)}
    with open("/dev/full", "w") as full:
        ran = command(*words, env=environment, capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert ran.returncode == 1
    assert ran.stderr.count("\n") == 1
    assert os.strerror(errno.ENOSPC) in ran.stderr


def test_help_fits_the_cause() -> None:
    said = {number: str(unwritable("It cannot be written", OSError(number, "why"))) for number in (
        errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EIO,
    )}  # fmt: skip
    assert all(text.startswith("It cannot be written: why. ") for text in said.values())
    assert len(set(said.values())) == 4


def test_a_constraint_that_does_not_hold_is_not_called_damage(catalog: Path) -> None:
    error = refused(Location.parse(catalog), sqlite3.IntegrityError("UNIQUE"), operational=False)
    assert "Run the same command again" in str(error)


def test_a_batch_that_was_refused_is_not_tried_again(
    tmp_path: Path, photos: Path, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[int] = []

    def refuse(self: Writer, batch: queries.Batch, *, encoder_id: int) -> None:
        tried.append(len(batch))
        raise CatalogUnwritable("The disk is full.")

    with monkeypatch.context() as patch:
        patch.setattr(Writer, "commit", refuse)
        patch.setattr(config, "COMMIT_IMAGES", 1)
        with pytest.raises(CatalogUnwritable):
            index(photos)
    assert len(tried) == 1
    assert index(photos).added == 6
    assert len(paths(tmp_path / "catalog")) == 6


def test_a_run_that_was_overtaken_plans_anew(
    tmp_path: Path, photos: Path, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = running.load_model

    def late(*what: Any) -> Any:
        monkeypatch.undo()
        assert index(photos).added == 6
        return load(*what)

    monkeypatch.setattr(running, "load_model", late)
    report = index(photos)
    assert (report.added, report.unchanged) == (0, 6)
    assert len(paths(tmp_path / "catalog")) == 6


def test_a_run_that_was_overtaken_sees_what_went(
    catalog: Path, photos: Path, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = running.load_model
    shutil.copy(photos / "red.png", photos / "copy.png")  # which is made of a row that goes meanwhile

    def late(*what: Any) -> Any:
        monkeypatch.undo()
        with Catalog(catalog) as opened:
            opened.forget(photos / "red.png")
        return load(*what)

    monkeypatch.setattr(running, "load_model", late)
    report = index(photos)
    assert (report.added, report.failed) == (2, 0)
    assert len(paths(catalog)) == 7


def test_one_of_two_writers_is_told_who_the_other_is(catalog: Path) -> None:
    location = Location.parse(catalog)
    with Writer(location), pytest.raises(CatalogBusy, match=rf"\(process {os.getpid()}\) is writing to"):
        Writer(location)
    Writer(location).close()
    assert not location.lock.with_suffix(".pid").exists()


def test_one_database_has_one_lock_by_whatever_name(catalog: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(catalog)
    names: list[str | Path] = [
        catalog,
        link,
        f"sqlite:///{catalog}/catalog.db",
        f"sqlite:///{link}/catalog.db",
    ]
    assert len({os.path.realpath(Location.parse(name).lock) for name in names}) == 1
    with Writer(Location.parse(catalog)):
        for name in names:
            with pytest.raises(CatalogBusy):
                Writer(Location.parse(name))


@posix
def test_a_note_of_a_process_that_has_ended_blames_nobody(catalog: Path) -> None:
    location = Location.parse(catalog)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    note = location.lock.with_suffix(".pid")
    held = acquire(location)
    note.write_text(f"{ended.pid}\n")
    # The one that holds the lock says who it is a moment later.
    telling = threading.Timer(0.1, note.write_text, [f"{os.getpid()}\n"])
    telling.start()
    with pytest.raises(CatalogBusy, match=rf"process {os.getpid()}"):
        acquire(location)
    telling.join()
    held.release()
    note.write_text(f"{ended.pid}\n")
    acquire(location).release()


def test_a_lock_may_be_released_by_another_thread(catalog: Path) -> None:
    held = acquire(Location.parse(catalog))
    thread = threading.Thread(target=held.release)
    thread.start()
    thread.join()
    acquire(Location.parse(catalog)).release()


def test_the_log_is_emptied_once_nobody_needs_it(catalog: Path) -> None:
    log = catalog / "catalog.db-wal"
    with Catalog(catalog) as reading:
        with reading.state.snapshot():
            with Writer(Location.parse(catalog)) as writer:
                writer.forget_failures([b"/nowhere"])
                writer.hide([1, 2, 3])
            assert log.stat().st_size > 4096  # somebody still reads what was before
        Writer(Location.parse(catalog)).close()
        assert log.stat().st_size == 0
    assert engine.LOG_BYTES < 1 << 30


def test_a_model_is_converted_for_one_process_where_the_cache_takes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("SEARCH_CACHE", str(tmp_path / "file"))

    def build(folder: Path) -> None:
        (folder / "weights").write_bytes(b"numbers")

    made = artifacts.artifact("starter/test-1", build)
    assert (made / "weights").read_bytes() == b"numbers"
    assert artifacts.artifact("starter/test-1", build) == made
    shutil.rmtree(made)


def test_half_a_conversion_takes_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEARCH_CACHE", str(tmp_path))

    def build(folder: Path) -> None:
        (folder / "weights").write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(ModelUnavailable, match=r"cannot be written \(No space left on device\)"):
        artifacts.artifact("starter/test-2", build)
    assert [path.name for path in (tmp_path / "models" / "starter").iterdir()] == ["test-2.lock"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_an_index_that_does_not_fit_is_not_taken_for_written() -> None:
    import faiss

    from retrieval.stores.faiss import _write_index

    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        _write_index(Path("/dev/full"), faiss.IndexFlatIP(8))


def test_queries_are_answered_while_others_write(tmp_path: Path, photos: Path, index: Index) -> None:
    index(photos / "trip")
    wrong: list[BaseException] = []
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            try:
                with Catalog(tmp_path / "catalog") as opened:
                    opened.search("red")
            except Exception as error:
                wrong.append(error)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(3):
            index_folder(tmp_path / "catalog", photos, workers=1)
            with Catalog(tmp_path / "catalog") as opened:
                opened.forget(photos / "red.png")
                opened.gc()
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert wrong == []
