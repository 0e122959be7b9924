"""`search watch` follows what changes in real folders; each test waits for what is told, never for a time."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from filelock import FileLock

from indexer import IndexReport, index_folder, watch, watch_folders
from indexer.events import Anchors, Events
from indexer.run import run as run_once
from retrieval import Catalog
from retrieval.errors import CatalogError, CatalogUnwritable
from tests.browsing import ROOT
from tests.conftest import draw
from tests.test_offline import own_mounts

PATIENCE = 20.0


class Watched:
    """A watch in a thread of this process; what it tells can be waited for."""

    def __init__(self, place: Path, *folders: Path, **options: Any) -> None:
        self.lines: queue.Queue[tuple[str, Any]] = queue.Queue()
        self.notes: list[str] = []
        self.error: BaseException | None = None
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(place, folders, options))
        self._thread.start()

    def _run(self, place: Path, folders: tuple[Path, ...], options: dict[str, Any]) -> None:
        def progress(step: str, figures: dict[str, Any]) -> None:
            if step == "note":
                self.notes.append(figures["text"])
                self.lines.put(("note", figures["text"]))

        try:
            watch_folders(
                place, folders, progress=progress, told=lambda report: self.lines.put(("report", report)),
                stopped=self._end.is_set, workers=1, **{"model": "toy", **options},
            )  # fmt: skip
        except BaseException as error:
            self.error = error
        finally:
            self.lines.put(("end", None))

    def report(self) -> IndexReport:
        """The next run that did something."""
        report = self._next("report", lambda _: True)
        assert isinstance(report, IndexReport)
        return report

    def note(self, part: str) -> str:
        """The next note that says so."""
        return str(self._next("note", lambda text: part in text))

    def ready(self) -> IndexReport:
        first = self.report()
        self.note("Watching")
        return first

    def _next(self, kind: str, fits: Callable[[Any], bool]) -> Any:
        until = time.monotonic() + PATIENCE
        while True:
            what, said = self.lines.get(timeout=max(0.01, until - time.monotonic()))
            assert what != "end", f"the watch ended: {self.error!r}"
            if what == kind and fits(said):
                return said

    def end(self) -> None:
        self._end.set()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()


@pytest.fixture
def watching(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Watched]]:
    monkeypatch.setattr(watch, "QUIET", 0.25)
    monkeypatch.setattr(watch, "AGAIN", (0.2, 0.2))
    monkeypatch.setattr(watch, "BUSY", (0.2, 0.2))
    monkeypatch.setattr("indexer.events.TICK", 0.1)
    begun: list[Watched] = []

    def begin(*folders: Path, **options: Any) -> Watched:
        begun.append(Watched(options.pop("place", tmp_path / "catalog"), *folders, **options))
        return begun[-1]

    yield begin
    for one in begun:
        one.end()


def visible(place: Path) -> int:
    with Catalog(place) as catalog:
        return catalog.status().images


def sum_until(watched: Watched, key: str, wanted: int) -> int:
    """Reports until together they tell so many."""
    total = 0
    while total < wanted:
        total += getattr(watched.report(), key)
    return total


def test_what_comes_changes_and_goes_is_followed(photos: Path, watching: Callable[..., Watched]) -> None:
    watched = watching(photos)
    assert watched.ready().added == 6
    draw(photos / "new.png", "cyan")
    assert watched.report().added == 1
    draw(photos / "new.png", "orange", mark=5)
    assert watched.report().updated == 1
    (photos / "new.png").rename(photos / "trip" / "newer.png")
    assert watched.report().moved == 1
    (photos / "trip" / "newer.png").unlink()
    assert watched.report().missing == 1


def test_new_folders_and_what_is_inside_are_watched(photos: Path, watching: Callable[..., Watched]) -> None:
    watched = watching(photos)
    watched.ready()
    draw(photos / "deep" / "er" / "one.png", "cyan", mark=1)
    assert watched.report().added == 1
    draw(photos / "deep" / "er" / "two.png", "cyan", mark=2)
    assert watched.report().added == 1
    (photos / "deep").rename(photos / "renamed")
    assert watched.report().moved == 2
    draw(photos / "renamed" / "er" / "three.png", "cyan", mark=3)
    assert watched.report().added == 1
    shutil.rmtree(photos / "renamed")
    assert watched.report().missing == 3
    draw(photos / "renamed" / "er" / "four.png", "cyan", mark=4)
    assert watched.report().added == 1
    draw(photos / "renamed" / "er" / "five.png", "cyan", mark=5)
    assert watched.report().added == 1


def test_a_folder_that_was_made_anew_is_watched_anew(tmp_path: Path) -> None:
    """Also where the system gives it the number of the one before, as file systems do."""
    inside = tmp_path / "inside"
    listed = [(os.fsencode(tmp_path), 1, 1), (os.fsencode(inside), 1, 2)]
    inside.mkdir()
    events = Events([])
    late = time.monotonic() + PATIENCE
    try:
        assert (events.arm(listed), events.arm(listed)) == (True, False)
        inside.rmdir()
        inside.mkdir()
        assert events.wait(PATIENCE, lambda: False)
        assert events.arm(listed)
        (inside / "new.png").touch()
        assert events.wait(PATIENCE, lambda: False)
    finally:
        events.close()
    assert time.monotonic() < late


def test_saving_by_rename_is_one_update(photos: Path, watching: Callable[..., Watched]) -> None:
    watched = watching(photos)
    watched.ready()
    draw(photos / ".red.png.tmp", "orange", mark=3, format="PNG")
    (photos / "red.png").rename(photos / "red.png~")
    (photos / ".red.png.tmp").rename(photos / "red.png")
    (photos / "red.png~").unlink()
    report = watched.report()
    assert (report.added, report.updated, report.missing) == (0, 1, 0)


def test_a_file_that_is_still_being_written_is_indexed_when_it_is_whole(
    photos: Path, tmp_path: Path, watching: Callable[..., Watched]
) -> None:
    whole = draw(tmp_path / "whole.png", "cyan", size=(400, 300)).read_bytes()
    watched = watching(photos)
    watched.ready()
    with (photos / "slow.png").open("wb", buffering=0) as file:
        file.write(whole[:40])
        assert watched.report().failed == 1  # it stood still for a while
        file.write(whole[40:])
    report = watched.report()
    assert (report.added, report.failed) == (1, 0)


def test_thousands_of_files_at_once_are_one_run(
    photos: Path, tmp_path: Path, watching: Callable[..., Watched]
) -> None:
    one = draw(tmp_path / "one.png", "cyan")
    watched = watching(photos)
    watched.ready()
    many = tmp_path / "many"
    for number in range(1000):
        folder = many / str(number % 20)
        folder.mkdir(parents=True, exist_ok=True)
        os.link(one, folder / f"{number}.png")
    many.rename(photos / "many")
    assert sum_until(watched, "added", 1000) == 1000
    (photos / "many").rename(photos / "elsewhere")
    assert sum_until(watched, "moved", 1000) == 1000


def test_a_stream_of_changes_does_not_keep_pictures_from_being_indexed(
    photos: Path, watching: Callable[..., Watched], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "LONGEST", 0.5)
    watched = watching(photos)
    watched.ready()
    stop = threading.Event()

    def busy() -> None:
        while not stop.wait(0.05):
            (photos / "noise.txt").write_text(str(time.monotonic()))

    writer = threading.Thread(target=busy)
    writer.start()
    try:
        draw(photos / "new.png", "cyan")
        assert sum_until(watched, "added", 1) == 1
    finally:
        stop.set()
        writer.join()


def test_a_root_that_goes_and_returns_is_said_once_and_hides_nothing(
    photos: Path, tmp_path: Path, watching: Callable[..., Watched]
) -> None:
    watched = watching(photos)
    watched.ready()
    photos.rename(tmp_path / "unplugged")
    watched.note(f"{photos} is not there now")
    assert visible(tmp_path / "catalog") == 6
    photos.mkdir()  # where it is mounted
    watched.note("holds no pictures now")
    photos.rmdir()
    draw(tmp_path / "unplugged" / "new.png", "cyan")
    (tmp_path / "unplugged").rename(photos)
    assert watched.report().added == 1
    draw(photos / "newer.png", "orange")
    assert watched.report().added == 1
    assert sum("is not there now" in note for note in watched.notes) <= 2


UNMOUNTED = """
import subprocess, sys
from pathlib import Path
from indexer import watch
from tests.conftest import draw
from tests.test_watch import Watched, sum_until, visible

folder = Path(sys.argv[1])
card = folder / "photos" / "card"
card.mkdir(parents=True)
for name in ("here", "also", "too"):  # or the card would be more than half of the folder
    draw(folder / "photos" / f"{name}.png", "red", mark=len(name))

def mount(): subprocess.run(["mount", "-t", "tmpfs", "none", card], check=True)
watch.QUIET = 0.25
watched = Watched(folder / "catalog", folder / "photos")
try:
    assert watched.ready().added == 3
    mount()  # of which there is no event
    subprocess.run(["cp", folder / "photos" / "here.png", card / "copy.png"], check=True)
    draw(card / "there.png", "blue")
    assert sum_until(watched, "added", 2) == 2
    subprocess.run(["umount", card], check=True)
    assert sum_until(watched, "missing", 2) == 2  # two pictures of a folder made just now
    mount()
    draw(card / "other.png", "green")
    assert watched.report().added == 1
    draw(card / "more.png", "yellow")
    assert watched.report().added == 1
    print("followed")
finally:
    watched.end()
"""


def test_disks_mounted_inside_a_folder_are_followed(tmp_path: Path) -> None:
    ran = subprocess.run(
        [*own_mounts(tmp_path), sys.executable, "-c", UNMOUNTED, str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert ran.stdout == "followed\n", ran.stderr


def test_a_root_that_is_away_from_the_start_is_waited_for(
    photos: Path, tmp_path: Path, catalog: Path, watching: Callable[..., Watched]
) -> None:
    photos.rename(tmp_path / "unplugged")
    watched = watching(photos)
    watched.note("is not there now")
    (tmp_path / "unplugged").rename(photos)
    assert sum_until(watched, "unchanged", 6) == 6


def test_too_much_missing_is_left_also_by_a_watch(tmp_path: Path, watching: Callable[..., Watched]) -> None:
    for number in range(12):
        draw(tmp_path / "photos" / f"{number}.png", "red", mark=number + 1)
    watched = watching(tmp_path / "photos")
    watched.ready()
    for number in range(11):
        (tmp_path / "photos" / f"{number}.png").unlink()
    watched.note("--accept-missing")
    assert visible(tmp_path / "catalog") == 12
    watched.end()
    assert watching(tmp_path / "photos", accept_missing=True).report().missing == 11


def test_linked_folders_are_watched_too(
    photos: Path, tmp_path: Path, watching: Callable[..., Watched]
) -> None:
    draw(tmp_path / "outside" / "a.png", "cyan", mark=1)
    (photos / "link").symlink_to(tmp_path / "outside")
    watched = watching(photos)
    watched.ready()
    draw(tmp_path / "outside" / "b.png", "cyan", mark=2)
    assert watched.report().added == 1


def test_ignore_files_hold_when_they_change(
    photos: Path, watching: Callable[..., Watched], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "NOISE", 3600.0)  # or the walk after events of other files would find it
    watched = watching(photos)
    watched.ready()
    (photos / ".searchignore").write_text("trip/\n")
    assert watched.report().missing == 2
    (photos / ".searchignore").unlink()
    assert watched.report().unchanged == 6


def test_names_that_are_not_utf8_are_followed(photos: Path, watching: Callable[..., Watched]) -> None:
    watched = watching(photos)
    watched.ready()
    folder = os.fsencode(photos)
    draw(photos / "tmp.png", "cyan").rename(os.fsdecode(folder + b"/n\xe9.png"))
    assert watched.report().added == 1
    draw(photos / "after.png", "cyan", mark=7)
    assert watched.report().added == 1
    os.mkdir(folder + b"/f\xff")
    watched.note("not UTF-8")


def test_another_writer_is_waited_for(photos: Path, tmp_path: Path, watching: Callable[..., Watched]) -> None:
    watched = watching(photos)
    watched.ready()
    with FileLock(tmp_path / "catalog" / "write.lock"):
        draw(photos / "new.png", "cyan")
        watched.note("Another command")
    assert watched.report().added == 1


def test_a_run_that_fails_is_told_once_and_tried_again(
    photos: Path, watching: Callable[..., Watched], monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = watching(photos)
    watched.ready()
    failed = threading.Semaphore(0)
    full = True

    def run(*arguments: Any, **options: Any) -> IndexReport:
        if full:
            failed.release()
            raise CatalogUnwritable("The disk is full.")
        return run_once(*arguments, **options)

    monkeypatch.setattr(watch, "run", run)
    draw(photos / "new.png", "cyan")
    for _ in range(3):
        assert failed.acquire(timeout=PATIENCE)
    full = False
    assert watched.report().added == 1
    assert watched.notes.count("The disk is full. Tried again later.") == 1
    assert any(note.startswith("Going on") for note in watched.notes)


def test_a_catalog_that_was_taken_away_is_not_begun_anew(
    photos: Path, tmp_path: Path, watching: Callable[..., Watched]
) -> None:
    watched = watching(photos)
    watched.ready()
    (tmp_path / "catalog").rename(tmp_path / "elsewhere")
    draw(photos / "new.png", "cyan")
    watched.note("is not there now")
    assert not (tmp_path / "catalog" / "catalog.db").exists()
    shutil.rmtree(tmp_path / "catalog", ignore_errors=True)
    (tmp_path / "elsewhere").rename(tmp_path / "catalog")
    assert watched.report().added == 1


def test_a_slip_in_a_name_ends_it(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="There is no folder"):
        watch_folders(tmp_path / "catalog", tmp_path / "phtos", model="toy")


def test_its_own_catalog_inside_the_folder_is_no_change(
    photos: Path, watching: Callable[..., Watched], monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[float] = []

    def run(*arguments: Any, **options: Any) -> IndexReport:
        runs.append(time.monotonic())
        return run_once(*arguments, **options)

    monkeypatch.setattr(watch, "run", run)
    watched = watching(photos, place=photos / "library")
    watched.ready()
    for colour in ("cyan", "orange"):
        draw(photos / f"{colour}.png", colour)
        assert watched.report().added == 1
    # A loop would be endless by now: two to begin with, one a picture, and what a slow machine splits.
    assert len(runs) <= 8


def test_what_we_write_ourselves_tells_nothing(tmp_path: Path) -> None:
    folder, database = tmp_path / "library", tmp_path / "catalog.db"
    events = Events([os.fsencode(folder), os.fsencode(database)])
    try:
        events.arm([(os.fsencode(tmp_path), 1, 1)])
        folder.mkdir()
        database.touch()
        assert (events.wait(0.5, lambda: False), events.noise) == (False, None)
        (tmp_path / "catalog.db.png").touch()
        assert events.wait(PATIENCE, lambda: False)
    finally:
        events.close()


def test_a_folder_whose_name_begins_like_the_catalog_s_is_watched(
    photos: Path, watching: Callable[..., Watched], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "NOISE", 3600.0)
    (photos / "library-2").mkdir()
    watched = watching(photos, place=photos / "library")
    watched.ready()
    draw(photos / "library-2" / "new.png", "cyan")
    assert watched.report().added == 1


def test_walks_take_a_small_share_of_the_time(
    photos: Path, watching: Callable[..., Watched], monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[float] = []

    def run(*arguments: Any, **options: Any) -> IndexReport:
        begun.append(time.monotonic())
        time.sleep(0.2)  # a large folder
        return run_once(*arguments, **options)

    monkeypatch.setattr(watch, "run", run)
    watched = watching(photos)
    watched.ready()
    draw(photos / "new.png", "cyan", mark=1)
    watched.report()
    draw(photos / "newer.png", "cyan", mark=2)
    watched.report()
    assert begun[-1] - begun[-2] > 1.8


def test_the_model_is_kept_and_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = watch.KeptModel()
    first = kept.load("toy", lambda _step, _figures: None)
    kept.used()
    kept.let_go()
    assert kept.load("toy", lambda _step, _figures: None) is first
    monkeypatch.setattr(watch, "IDLE", -1.0)
    kept.let_go()
    assert kept.load("toy", lambda _step, _figures: None) is not first


def test_network_disks_are_gone_through_often(
    photos: Path, monkeypatch: pytest.MonkeyPatch, watching: Callable[..., Watched], tmp_path: Path
) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(f"36 1 0:1 / / rw - ext4 x rw\n37 1 0:2 / {photos} rw - nfs4 nas:/photos rw\n")
    monkeypatch.setattr("indexer.events.MOUNTS", table)
    assert Anchors([os.fsencode(photos)]).on_network() == ["nfs4"]
    assert Anchors([os.fsencode(tmp_path)]).on_network() == ["nfs4"]  # inside it
    monkeypatch.setattr(watch, "UNHEARD", 0.3)
    # As from another machine: no event at all.
    monkeypatch.setattr(Events, "_matter", lambda _self, _said: False)
    watched = watching(photos)
    watched.note("nfs4 makes no event")
    draw(photos / "new.png", "cyan")
    assert sum_until(watched, "added", 1) == 1


class Command:
    """`search` in a process of its own; lines of stdout and stderr as they come."""

    def __init__(self, *arguments: object, before: tuple[str, ...] = (), **options: Any) -> None:
        self.lines: queue.Queue[str] = queue.Queue()
        hurried = "import indexer.watch; indexer.watch.NOISE = 0.5; import cli; cli.main()"
        self.process = subprocess.Popen(
            [*before, sys.executable, "-c", hurried, *map(str, arguments)],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.put(line.rstrip("\n"))
        self.lines.put("(end)")

    def line(self, part: str) -> str:
        until = time.monotonic() + PATIENCE
        while True:
            line = self.lines.get(timeout=max(0.01, until - time.monotonic()))
            if part in line:
                return line
            assert line != "(end)", f"it ended with {self.process.wait()} before it said '{part}'"

    def signal(self, number: int) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)

    def __enter__(self) -> Command:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()


def test_the_command_tells_a_line_a_run_and_ends_by_signals(photos: Path, tmp_path: Path) -> None:
    with Command("watch", photos, "--catalog", tmp_path / "c", "--model", "toy", "--json") as command:
        assert json.loads(command.line('"added"'))["added"] == 6
        command.line("Watching 2 folders")
        draw(photos / "new.png", "cyan")
        figures = json.loads(command.line('"added"'))
        assert (figures["added"], figures["unchanged"], figures["interrupted"]) == (1, 6, False)
        began = time.monotonic()
        assert command.signal(signal.SIGTERM) == 143
        assert time.monotonic() - began < 5


def test_an_interrupted_run_of_a_watch_keeps_what_is_done(tmp_path: Path) -> None:
    for number in range(240):
        draw(tmp_path / "photos" / f"{number}.png", "red", mark=number + 1, size=(640, 480))
    with Command("watch", tmp_path / "photos", "--catalog", tmp_path / "c", "--model", "toy") as command:
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            with contextlib.suppress(CatalogError):
                if visible(tmp_path / "c") >= 64:
                    break
            threading.Event().wait(0.05)
        assert command.signal(signal.SIGINT) == 130
        assert "Interrupted" in command.line("Interrupted")
    assert 64 <= visible(tmp_path / "c") <= 240
    index_folder(tmp_path / "c", tmp_path / "photos", workers=1)
    assert visible(tmp_path / "c") == 240


@pytest.mark.skipif(not Path("/proc/sys/fs/inotify/max_queued_events").exists(), reason="only Linux has it")
def test_more_events_than_the_system_keeps_lose_nothing(photos: Path, tmp_path: Path) -> None:
    queued = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    if queued > 40_000:
        pytest.skip(f"this system keeps {queued} events")
    noise = [photos / "a.noise", photos / "b.noise"]
    for file in noise:
        file.touch()
    with Command("watch", photos, "--catalog", tmp_path / "c", "--model", "toy") as command:
        command.line("Watching")
        command.process.send_signal(signal.SIGSTOP)
        os.waitpid(command.process.pid, os.WUNTRACED)  # all its threads stand still
        for number in range(2 * queued):  # no two after each other the same, which would count as one
            os.utime(noise[number % 2])
        draw(photos / "lost.png", "cyan")  # of which there is no event any more
        command.process.send_signal(signal.SIGCONT)
        assert "1 added" in command.line("added")


def test_a_limit_of_watches_is_named_and_the_folders_gone_through(photos: Path, tmp_path: Path) -> None:
    limited = 'echo 1 > /proc/sys/user/max_inotify_watches && exec "$@"'
    before = ("unshare", "-Ur", "sh", "-c", limited, "sh")
    if subprocess.run([*before, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no limit can be set here without changing the machine's")
    with Command("watch", photos, "--catalog", tmp_path / "c", "--model", "toy", before=before) as command:
        assert "sudo sysctl fs.inotify.max_user_watches=" in command.line("max_user_watches")
        assert command.signal(signal.SIGTERM) == 143


def test_every_runs_again_and_again(photos: Path, tmp_path: Path) -> None:
    with Command(
        "index", photos, "--catalog", tmp_path / "c", "--model", "toy", "--json", "--every", "1s"
    ) as command:
        assert json.loads(command.line('"added"'))["added"] == 6
        assert json.loads(command.line('"added"'))["unchanged"] == 6
        draw(photos / "new.png", "cyan")
        while json.loads(command.line('"added"'))["added"] == 0:
            pass
        assert command.signal(signal.SIGINT) == 130


@pytest.mark.parametrize("text", ["soon", "10", "0s", "-1h", "nand", "5w"])
def test_a_time_that_is_none_is_refused(search: Callable[..., Result], photos: Path, text: str) -> None:
    result = search("index", photos, "--every", text)
    assert result.exit_code == 2
    assert "such as 90s, 10m, 1h or 1d" in result.stderr
