"""The end of a server: what runs is finished, nobody new is let in, and nothing is left behind."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from click.testing import Result

from indexer import index_folder
from retrieval import Catalog
from tests.browsing import ROOT
from tests.conftest import draw

API = "/api/v1"
SLOW = """
import pathlib, sys, time
from retrieval.catalog import Catalog
search, gate = Catalog.search, pathlib.Path(sys.argv.pop(1))
def slow(self, query, **more):
    if str(query) == "slow":
        gate.with_suffix(".begun").touch()
        while not gate.exists():
            time.sleep(0.01)
    return search(self, query, **more)
Catalog.search = slow
from cli import main
main()
"""
"""The real command, one of whose searches waits for a file to appear."""


@contextlib.contextmanager
def serving(
    catalog: Path, gate: Path, *, by: Sequence[str] = ()
) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    process = subprocess.Popen(
        [*by, sys.executable, "-c", SLOW, str(gate), "serve", "--catalog", str(catalog), "--port", "0"],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        found = re.search(r":(\d+)/", process.stderr.readline())
        assert found
        yield int(found[1]), process
    finally:
        gate.touch()
        if process.poll() is None:
            process.kill()
        process.communicate()


def until(true: Callable[[], bool]) -> None:
    latest = time.monotonic() + 30
    while not true():
        assert time.monotonic() < latest
        time.sleep(0.01)


def closed_to_new_ones(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return True
    return False


def answer(connection: http.client.HTTPConnection) -> tuple[int, bytes]:
    got = connection.getresponse()
    return got.status, got.read()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_what_runs_is_finished_and_nobody_new_let_in(
    catalog: Path, tmp_path: Path, photos: Path, number: signal.Signals, status: int
) -> None:
    for mark in range(1, 200):
        draw(tmp_path / "many" / f"{mark}.png", "red", size=(400, 300), mark=mark)
    gate = tmp_path / "go on"
    with serving(catalog, gate) as (port, process), contextlib.ExitStack() as open_ones:

        def connection() -> http.client.HTTPConnection:
            made = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            return open_ones.enter_context(contextlib.closing(made))

        searching, uploading, starting, following = (connection() for _ in range(4))
        searching.request("GET", f"{API}/search?q=slow")
        until(gate.with_suffix(".begun").exists)
        body = (
            b"--x\r\nContent-Disposition: form-data; name=image; filename=a\r\n\r\n"
            + (photos / "red.png").read_bytes()
            + b"\r\n--x--\r\n"
        )
        uploading.putrequest("POST", f"{API}/similar")
        uploading.putheader("Content-Type", "multipart/form-data; boundary=x")
        uploading.putheader("Content-Length", str(len(body)))
        uploading.endheaders(body[:100])
        asked = json.dumps({"paths": [str(tmp_path / "many")]}).encode()
        starting.request("POST", f"{API}/jobs", asked, {"Content-Type": "application/json"})
        begun, job = answer(starting)
        assert begun == 202, job
        following.request("GET", f"{API}/jobs/{json.loads(job)['id']}/events")
        stream = following.getresponse()
        while b'"done":' not in (line := stream.readline()) or b'"done":null' in line or b'"done":0' in line:
            assert line
        word = catalog / "cache" / "server.json"
        assert word.exists()
        process.send_signal(number)
        until(lambda: closed_to_new_ones(port))
        uploading.send(body[100:])
        assert answer(uploading)[0] == 200
        with contextlib.suppress(http.client.HTTPException, ConnectionError):
            stream.read()  # to its end, which comes
        gate.touch()
        assert answer(searching)[0] == 200
        process.wait(30)
        assert process.returncode in (-number, status)
        assert not word.exists()
    with Catalog(catalog) as opened:
        kept = opened.status().images
    assert kept > 6
    report = index_folder(catalog, [photos, tmp_path / "many"], model="toy", workers=1)
    assert report.added == 6 + 199 - kept


def test_an_end_does_not_wait_for_who_never_ends(catalog: Path, tmp_path: Path) -> None:
    with serving(catalog, tmp_path / "never") as (port, process):
        silent = socket.create_connection(("127.0.0.1", port))
        threading.Timer(0, silent.sendall, [b"GET / HTTP/1.1\r\n"]).start()
        with contextlib.closing(silent):
            process.send_signal(signal.SIGTERM)
            process.wait(30)
    assert process.returncode in (-signal.SIGTERM, 143)


@pytest.mark.parametrize("option", ["--answerer", "--captioner"])
def test_who_cannot_speak_is_told_before_anything_is_served(
    catalog: Path, search: Callable[..., Result], option: str
) -> None:
    # Where it may not serve either, so that this ends in any case.
    result = search("serve", option, "nonsense", "--host", "0.0.0.0", "--catalog", catalog)
    assert (result.exit_code, "is called 'nonsense'" in result.stderr) == (1, True)


def test_in_the_background_of_a_script_an_interrupt_ends_it_too(catalog: Path, tmp_path: Path) -> None:
    ignoring = ("sh", "-c", 'trap "" INT; exec "$@"', "sh")
    with serving(catalog, tmp_path / "never", by=ignoring) as (_, process):
        process.send_signal(signal.SIGINT)
        process.wait(30)
    assert process.returncode in (-signal.SIGINT, 130)


def test_word_of_a_server_that_was_killed_is_passed_over_and_replaced(
    catalog: Path, tmp_path: Path, search: Callable[..., Result]
) -> None:
    word = catalog / "cache" / "server.json"
    with serving(catalog, tmp_path / "never") as (_, process):
        process.kill()
        process.wait(30)
        assert word.exists()
        found = search("find", "red", "--json", "--catalog", catalog)
        assert (found.exit_code, found.stderr, bool(found.stdout)) == (0, "", True)
    with serving(catalog, tmp_path / "never") as (_, process):
        assert json.loads(word.read_text())["pid"] == process.pid != os.getpid()
