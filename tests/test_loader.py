from __future__ import annotations

import contextlib
import gc
import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))

from indexer.loader import Loader, Task
from indexer.loader.budget import Budget
from retrieval.errors import RetrievalError
from tests import preparers
from tests.preparers import make_task

MEMORY = 256 << 20
needs_proc = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")


@pytest.fixture
def picture(tmp_path):
    """Draw a picture file in one colour; no two files are equal."""
    count = iter(range(10_000))

    def draw(colour=(90, 90, 90), size=(64, 48), suffix=".png"):
        number = next(count)
        path = tmp_path / f"{number:04}{suffix}"
        image = Image.new("RGB", size, colour)
        image.putpixel((size[0] - 1, size[1] - 1), (number % 256, number // 256, 7))
        image.save(path)
        return path

    return draw


def load_all(paths, preparer=None, **options):
    options = {"workers": 2, "memory": MEMORY, **options}
    with Loader(preparer or preparers.Plain(), **options) as pool:
        return list(pool.load(make_task(path, key=index) for index, path in enumerate(paths)))


def workers_of(parent):
    """Process ids of the loading processes of `parent`, from the kernel's own table."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                state = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(state[1]) == parent and b"indexer.loader.worker" in (entry / "cmdline").read_bytes():
                    found.add(int(entry.name))
    return found


def test_results_come_in_the_order_of_the_tasks(picture):
    paths = [picture(size=(1500, 1000) if index % 5 == 0 else (20, 20)) for index in range(25)]
    results = load_all(paths)
    assert [result.key for result in results] == list(range(25))
    assert [result.path for result in results] == [os.fsencode(path) for path in paths]
    assert not any(result.failed for result in results)


def test_a_loaded_file_carries_its_hash_its_metadata_and_its_pixels(picture):
    path = picture((10, 200, 30))
    (result,) = load_all([path])
    assert result.content_hash == hashlib.sha256(path.read_bytes()).digest()
    assert (result.size, result.mtime_ns) == (path.stat().st_size, path.stat().st_mtime_ns)
    assert (result.metadata.format, result.metadata.width, result.metadata.height) == ("PNG", 64, 48)
    assert result.prepared.pixels.shape == (1, 8, 8, 3)
    assert result.prepared.pixels.dtype == np.uint8
    assert tuple(result.prepared.pixels[0, 0, 0]) == (10, 200, 30)


def test_a_known_content_is_hashed_and_not_decoded(picture):
    paths = [picture(), picture((255, 0, 0)), picture()]
    known = frozenset({hashlib.sha256(paths[1].read_bytes()).digest()})
    results = load_all(paths, preparers.Moody(), known=known)
    assert results[1].content_hash in known
    assert results[1].prepared is None
    assert not any(result.failed for result in results)


def test_a_crash_costs_exactly_its_own_file(picture):
    paths = [picture(preparers.ABORT if index == 4 else (9, 9, 9)) for index in range(10)]
    results = load_all(paths, preparers.Moody())
    assert [result.key for result in results] == list(range(10))
    assert [result.key for result in results if result.failed] == [4]
    assert results[4].reason == "crashed"
    assert results[4].prepared is None


def test_a_hanging_decoder_is_stopped_after_its_time(picture):
    paths = [picture(preparers.HANG if index == 1 else (9, 9, 9)) for index in range(6)]
    results = load_all(paths, preparers.Moody(), file_seconds=0.5)
    assert {result.key: result.reason for result in results if result.failed} == {1: "timeout"}


def test_a_preparer_that_raises_costs_exactly_its_own_file(picture):
    results = load_all([picture(), picture(preparers.RAISE), picture()], preparers.Moody())
    assert [result.reason for result in results] == [None, "crashed", None]
    assert "too blue" in results[1].detail


def test_processes_that_cannot_start_end_the_loading_with_the_reason(picture):
    with pytest.raises(RetrievalError, match="the encoder's package is gone"):
        load_all([picture()], preparers.Unloadable())


def test_a_python_that_cannot_import_the_package_is_reported(picture, monkeypatch):
    monkeypatch.setattr("indexer.loader.lane._BOOT", "import sys; sys.exit(3)")
    with pytest.raises(RetrievalError, match="status 3"):
        load_all([picture()])


def test_only_as_many_processes_start_as_there_is_work_for(picture):
    results = load_all([picture()], workers=4)
    assert not results[0].failed
    with Loader(preparers.Plain(), workers=4, memory=MEMORY) as pool:
        for path in (picture(), picture(), picture()):
            list(pool.load([make_task(path)]))
        assert len(workers_of(os.getpid())) == 1


def test_no_task_starts_no_process(monkeypatch):
    monkeypatch.setattr(subprocess, "Popen", None)
    assert load_all([]) == []


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs glibc's settings")
def test_a_process_keeps_the_pages_of_one_photo_for_the_next(tmp_path):
    paths = [tmp_path / f"{number}.png" for number in range(8)]
    for number, path in enumerate(paths):
        Image.new("RGBA", (1000, 1000), (number, 0, 0, 9)).save(path, compress_level=1)
    faults = [int(result.prepared.extra) for result in load_all(paths, preparers.Counting(), workers=1)]
    # The pixels alone are a thousand pages, and they are copied on the way to RGB.
    assert faults[-1] - faults[-4] < 300


@pytest.mark.parametrize("end", ["close", "exception"])
@needs_proc
def test_an_early_end_leaves_no_process_descriptor_or_thread(picture, end):
    gc.collect()
    before = (sum(1 for _ in Path("/proc/self/fd").iterdir()), threading.active_count())
    paths = [picture(preparers.HANG if index == 3 else (9, 9, 9)) for index in range(12)]
    tasks = (make_task(path) for path in paths)
    started = time.monotonic()
    with contextlib.suppress(ZeroDivisionError), Loader(preparers.Moody(), workers=2, memory=MEMORY) as pool:
        results = pool.load(tasks)
        next(results)
        assert workers_of(os.getpid())
        if end == "close":
            results.close()
        else:
            raise ZeroDivisionError
    assert time.monotonic() - started < 10
    assert workers_of(os.getpid()) == set()
    gc.collect()
    assert (sum(1 for _ in Path("/proc/self/fd").iterdir()), threading.active_count()) == before


def test_a_loader_can_be_used_again_after_an_early_end(picture):
    paths = [picture() for _ in range(5)]
    with Loader(preparers.Plain(), workers=2, memory=MEMORY) as pool:
        results = pool.load(make_task(path) for path in paths)
        next(results)
        results.close()
        assert [result.reason for result in pool.load(make_task(path) for path in paths)] == [None] * 5


def test_tasks_are_taken_only_so_far_ahead(picture):
    path = picture()
    taken = []

    def tasks():
        for number in range(50):
            taken.append(number)
            yield make_task(path, number)

    with Loader(preparers.Plain(), workers=1, memory=MEMORY, look_ahead=4) as pool:
        for result in pool.load(tasks()):
            assert len(taken) <= result.key + 5


def test_pictures_that_need_most_of_the_budget_take_turns_without_deadlock(picture):
    paths = [picture(size=(1700, 1500), suffix=".webp") for _ in range(6)]
    results = load_all(paths, workers=4, memory=100 << 20)
    assert [result.reason for result in results] == [None] * 6


def test_every_byte_of_the_budget_comes_back_and_no_more(picture):
    colours = (preparers.ABORT, (9, 9, 9), preparers.RAISE, (8, 8, 8))
    paths = [picture(colour, size=(1700, 1500), suffix=".webp") for colour in colours * 2]
    with Loader(preparers.Moody(), workers=3, memory=100 << 20) as pool:
        assert len(list(pool.load(make_task(path) for path in paths))) == 8
        assert pool._crew._budget._free == 100 << 20


def test_a_picture_over_the_whole_budget_is_too_large_and_the_next_is_not(picture):
    results = load_all([picture(size=(4000, 3000)), picture()], memory=20 << 20)
    assert [result.reason for result in results] == ["too-large", None]


def test_a_file_over_the_whole_budget_is_too_large_without_being_read(tmp_path, picture):
    huge = tmp_path / "huge.jpg"
    with open(huge, "wb") as file:
        file.truncate(400 << 20)
    results = load_all([huge, picture()], memory=64 << 20)
    assert [result.reason for result in results] == ["too-large", None]


def test_what_is_no_regular_file_any_more_never_blocks(tmp_path, picture):
    pipe, folder, gone = tmp_path / "pipe.jpg", tmp_path / "folder.jpg", tmp_path / "gone.jpg"
    os.mkfifo(pipe)
    folder.mkdir()
    tasks = [Task(os.fsencode(path), 10, 0) for path in (pipe, folder, gone)] + [make_task(picture())]
    with Loader(preparers.Plain(), workers=1, memory=MEMORY) as pool:
        results = list(pool.load(tasks))
    assert [result.reason for result in results] == ["unreadable"] * 3 + [None]


def test_a_name_that_is_not_utf8_loads(tmp_path, picture):
    raw = os.fsencode(tmp_path) + b"/caf\xe9.png"
    picture().rename(os.fsdecode(raw))
    (result,) = load_all([raw])
    assert result.path == raw
    assert not result.failed


def test_a_process_that_died_while_idle_costs_no_file(picture):
    with Loader(preparers.Plain(), workers=1, memory=MEMORY) as pool:
        (first,) = pool.load([make_task(picture())])
        os.kill(int(first.prepared.extra.split()[0]), signal.SIGKILL)
        (second,) = pool.load([make_task(picture())])
    assert not second.failed


def test_an_interrupt_is_the_parents_business(picture):
    with Loader(preparers.Plain(), workers=1, memory=MEMORY) as pool:
        (first,) = pool.load([make_task(picture())])
        pid = int(first.prepared.extra.split()[0])
        os.kill(pid, signal.SIGINT)
        (second,) = pool.load([make_task(picture())])
        assert int(second.prepared.extra.split()[0]) == pid


PARENT = """
import sys
sys.path[:] = {path!r}
from tests import preparers
from indexer.loader import Loader
from tests.preparers import make_task
pool = Loader(preparers.Moody(), workers=2, memory=1 << 28)
for result in pool.load(make_task(path) for path in {files!r} * 1000):
    print(*sorted({{result.prepared.extra.split()[0].decode()}}), flush=True)
"""


@needs_proc
def test_no_process_outlives_a_parent_that_was_killed(picture):
    files = [str(picture()) for _ in range(3)]
    code = PARENT.format(path=[str(Path(entry).absolute()) for entry in sys.path], files=files)
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as parent:
        for _ in range(5):
            parent.stdout.readline()
        workers = workers_of(parent.pid)
        assert workers
        parent.kill()
    deadline = time.monotonic() + 10
    while any(map(is_alive, workers)):
        assert time.monotonic() < deadline, "a loading process is still there"


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_the_budget_is_given_in_the_order_of_asking():
    budget = Budget(10)
    budget.acquire(6)
    order = []
    threads = []
    for name, count in (("large", 8), ("small", 1)):
        thread = threading.Thread(target=lambda n=name, c=count: (budget.acquire(c), order.append(n)))
        thread.start()
        threads.append(thread)
        while len(budget._waiting) < len(threads):
            pass
    assert not budget.try_acquire(1)
    budget.release(6)
    for thread in threads:
        thread.join()
    assert order[0] == "large"
