"""A server that is asked for more than it can do: it says so, holds nothing, and is soon as before."""

from __future__ import annotations

import contextlib
import ctypes
import http.client
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from indexer import index_folder
from tests.browsing import ROOT
from tests.conftest import draw, python

SEARCH = "/api/v1/search?q="
ADMITTED = 8
SLOW = f"""
import time
import retrieval.server.settings
from retrieval.catalog import Catalog
retrieval.server.settings.WAITING = {ADMITTED}
quick = Catalog.search
def search(self, *given, **more):
    time.sleep(0.05)
    return quick(self, *given, **more)
Catalog.search = search
"""
FEW = "import retrieval.server.connections as c; c.MOST_CONNECTIONS = 8"
LINUX = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="what a process holds is told by Linux"
)


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("load")
    for name in ("red", "green", "blue", "yellow"):
        draw(folder / "photos" / f"{name}.png", name)
    index_folder(folder / "catalog", folder / "photos", model="toy", workers=1)
    return folder / "catalog"


TELLING = """
import sys
import retrieval.server.memory as memory
told = memory.one_arena
def one_arena():
    with open({file!r}, "w") as file:
        print(told(), "numpy" in sys.modules, file=file)
memory.one_arena = one_arena
"""
"""Leaves word of whether the C library was told, and of whether what starts threads was there by then."""


@contextlib.contextmanager
def serving(catalog: Path, more: str = "") -> Iterator[tuple[int, int]]:
    """The real command, which some code goes before: its port and its process."""
    process = subprocess.Popen(
        [
            sys.executable, "-c", f"{more}\nfrom cli import main\nmain()",
            "serve", "--catalog", str(catalog), "--port", "0",
        ],
        cwd=ROOT, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    try:
        line = process.stderr.readline()
        found = re.search(r":(\d+)/", line)
        assert found is not None, line + process.stderr.read()
        yield int(found[1]), process.pid
    finally:
        process.terminate()
        process.wait(30)
        process.stderr.close()


@pytest.fixture(scope="module")
def served(catalog: Path) -> Iterator[tuple[int, int]]:
    """A server as it is."""
    with serving(catalog, TELLING.format(file=str(catalog.with_name("heaps")))) as running:
        yield running


def ask(port: int, path: str = f"{SEARCH}red") -> tuple[int, http.client.HTTPMessage, bytes]:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as one:
        one.request("GET", path)
        answer = one.getresponse()
        return answer.status, answer.headers, answer.read()


def at_once(count: int, client: Callable[[int], None]) -> None:
    """So many clients, each in a thread; what one of them fails of is raised."""
    with ThreadPoolExecutor(count) as pool:
        for one in [pool.submit(client, number) for number in range(count)]:
            one.result()


def test_overload_is_answered_503_and_is_soon_over(catalog: Path) -> None:
    with serving(catalog, SLOW) as (port, _):
        assert ask(port)[0] == 200
        until = time.monotonic() + 2.0
        statuses: list[int] = []
        admitted: list[float] = []
        turned: list[float] = []
        lock = threading.Lock()

        def client(number: int) -> None:
            while (begun := time.monotonic()) < until:
                if number == 0:
                    status, _, _ = ask(port, "/healthz")
                    assert (status, time.monotonic() - begun < 2.0) == (200, True)
                    continue
                status, headers, said = ask(port)
                with lock:
                    statuses.append(status)
                    if status == 200:
                        admitted.append(time.monotonic() - begun)
                if status == 503:
                    turned.append(time.monotonic() - begun)
                    assert headers["Retry-After"] == "2"
                    assert headers["Content-Type"] == "application/problem+json"
                    assert json.loads(said)["status"] == 503

        at_once(48, client)
        assert set(statuses) == {200, 503}
        # Who is let in waits for those before: eight places, and two at work, of fifty milliseconds each.
        assert sorted(admitted)[len(admitted) // 2] < 2.0
        # A crowd that asks again at once is slowed down.
        assert min(turned) >= 0.2
        begun = time.monotonic()
        at_once(4, lambda _: _all_well(port, 5))
        assert time.monotonic() - begun < 5.0


def _all_well(port: int, times: int) -> None:
    assert {ask(port)[0] for _ in range(times)} == {200}


def test_64_connections_at_once_are_all_answered(served: tuple[int, int]) -> None:
    port, _ = served
    assert ask(port)[0] == 200
    together = threading.Barrier(64, timeout=30)

    def client(number: int) -> None:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as one:
            one.connect()
            together.wait()
            for turn in range(3):
                one.request("GET", f"{SEARCH}red%20{number}%20{turn}")
                answer = one.getresponse()
                assert (answer.status, len(answer.read()) > 0) == (200, True)

    at_once(64, client)


def test_more_connections_than_may_be_are_turned_away_and_the_others_served(catalog: Path) -> None:
    with serving(catalog, FEW) as (port, _), contextlib.ExitStack() as opened:
        assert ask(port)[0] == 200
        kept = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        opened.enter_context(contextlib.closing(kept))
        kept.request("GET", "/healthz")
        assert kept.getresponse().read()
        idle = [opened.enter_context(socket.create_connection(("127.0.0.1", port), 30)) for _ in range(12)]
        answers = [_first_bytes(one) for one in idle[7:]]
        assert all(said.startswith(b"HTTP/1.1 503 ") for said in answers), answers
        head, _, body = answers[0].partition(b"\r\n\r\n")
        assert b"\r\nretry-after: 5\r\n" in head
        assert json.loads(body)["status"] == 503
        kept.request("GET", f"{SEARCH}red")
        assert kept.getresponse().status == 200
        for one in idle:
            one.close()
        until = time.monotonic() + 5.0
        while not _let_in(port):
            assert time.monotonic() < until, "nobody is let in any more"


def _let_in(port: int) -> bool:
    # Who is turned away may see the connection end before its answer.
    with contextlib.suppress(ConnectionError):
        return ask(port, "/healthz")[0] == 200
    return False


def _first_bytes(one: socket.socket) -> bytes:
    said = b""
    with contextlib.suppress(ConnectionError):
        while more := one.recv(65536):
            said += more
    return said


@LINUX
def test_2000_queries_leave_no_descriptor_and_little_memory(served: tuple[int, int]) -> None:
    port, pid = served
    _many(port, 600)
    before = _held(pid)
    _many(port, 1400)
    until = time.monotonic() + 5.0
    while (after := _held(pid))[0] > before[0]:  # the server may not have seen yet that a client has gone
        assert time.monotonic() < until, f"{after[0]} descriptors are open, and {before[0]} were before"
    assert after[1] - before[1] < 2 << 20


def _many(port: int, count: int) -> None:
    def client(number: int) -> None:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as one:
            for turn in range(count // 4):
                one.request("GET", f"{SEARCH}red%20thing%20{number}%20{turn}%20{count}&all=true")
                answer = one.getresponse()
                assert (answer.status, len(answer.read()) > 0) == (200, True)

    at_once(4, client)


def _held(pid: int) -> tuple[int, int]:
    """Open descriptors, and bytes of memory that are no file's."""
    found = re.search(r"RssAnon:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return len(os.listdir(f"/proc/{pid}/fd")), int(found[1]) << 10


@LINUX
def test_threads_share_one_heap_where_the_c_library_can_be_told() -> None:
    if not hasattr(ctypes.CDLL(None), "malloc_info"):
        pytest.skip("this C library does not tell of its heaps")
    assert _heaps("from retrieval.server.memory import one_arena; assert one_arena()") == 1
    assert _heaps("") > 1


def _heaps(before: str) -> int:
    """How many heaps threads have that are all at work at once."""
    code = f"""
{before}
import ctypes, threading
together = threading.Barrier(6)
def work():
    held = [bytes(1000) for _ in range(1000)]
    together.wait()
threads = [threading.Thread(target=work) for _ in range(6)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
libc = ctypes.CDLL(None)
libc.malloc_info(0, ctypes.c_void_p.in_dll(libc, "stdout"))
libc.fflush(None)
"""
    return python(code).stdout.count("<heap nr=")


@LINUX
def test_the_server_tells_it_before_threads_start(catalog: Path, served: tuple[int, int]) -> None:
    assert ask(served[0])[0] == 200
    assert catalog.with_name("heaps").read_text() == "True False\n"
