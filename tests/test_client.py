"""A real server process, its typed client, and commands that use it by themselves."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

import retrieval
from indexer import index_folder
from retrieval import Catalog
from retrieval.client import Client, ServerUnavailable, Unsendable
from retrieval.client.asked import written
from retrieval.config import Location
from retrieval.errors import ImageUnreadable, QueryError
from retrieval.query.filters import Filter
from retrieval.query.terms import Query, Term
from retrieval.running import Running, announce, answering, find, withdraw
from tests.conftest import ROOT, draw, python

TOKEN = "a-token-of-enough-characters"


@contextlib.contextmanager
def serving(catalog: Path, *options: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The real command on a free port, and its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "cli", "serve", "--catalog", str(catalog), "--port", "0", *options],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        assert line.startswith("Serving http"), line
        yield line.split()[1], process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served")
    for name in ("red", "green", "blue", "white"):
        draw(folder / "photos" / f"{name}.png", name)
    draw(folder / "photos" / "trip" / "red again.jpg", "red", mark=3, quality=90)
    raw = os.fsencode(folder / "photos" / "trip") + b"/a\xff.png"
    os.rename(draw(folder / "photos" / "trip" / "plain.png", "yellow"), raw)
    index_folder(folder / "catalog", folder / "photos", model="toy", workers=1)
    with Catalog(folder / "catalog") as opened:
        opened.texts.add(
            [{"text": "a red wall", "image": str(folder / "photos" / "red.png")}, {"text": "sea"}]
        )
        opened.concepts.add("rex", [1])
    return folder / "catalog"


@pytest.fixture(scope="module")
def served(kept: Path) -> Iterator[str]:
    with serving(kept, "--token", TOKEN) as (address, _):
        yield address


@pytest.fixture
def client(served: str) -> Client:
    return Client(served, token=TOKEN)


@pytest.fixture
def opened(kept: Path) -> Iterator[Catalog]:
    with Catalog(kept, readonly=True) as found:
        yield found


def same(one: Any, other: Any) -> None:
    """Equal hits, closest ones, cut-offs and notes."""
    assert list(one) == list(other)
    assert (one.closest, one.cutoff) == (other.closest, other.cutoff)
    assert getattr(one, "notes", ()) == getattr(other, "notes", ())


def test_a_command_that_the_server_answers_opens_no_catalog(served: str, kept: Path) -> None:
    code = (
        "import sys; from click.testing import CliRunner; from cli import main; "
        "found = CliRunner().invoke(main, ['find', 'red', '--json', '--catalog', sys.argv[1]]); "
        "assert found.exit_code == 0 and 'red.png' in found.stdout, found.output; print(*sys.modules)"
    )
    result = python(code, str(kept))
    assert result.returncode == 0, result.stderr
    assert "retrieval.client" in result.stdout.split(), served
    needless = {"retrieval.catalog", "retrieval.state", "retrieval.db.reads", "sqlite3", "numpy", "asyncio"}
    assert not needless & set(result.stdout.split())


@pytest.mark.parametrize(
    "asked",
    [
        {}, {"limit": 2}, {"cutoff": False}, {"min_match": 0.9}, {"sort": "date", "cutoff": False, "limit": 2},
        {"rerank": "none"}, {"where": Filter(type="png", orientation="landscape", after="2001")},
    ],
)  # fmt: skip
def test_a_search_gives_what_the_library_gives(
    client: Client, opened: Catalog, asked: dict[str, Any]
) -> None:
    for query in ("red", "red + 2:blue - @rex", Query.text('a "red" - wall') + 0.3 * Query.text("12:30")):
        same(client.search(query, **asked), opened.search(query, **asked))


def test_similar_pictures_and_texts_are_those_of_the_library(
    client: Client, opened: Catalog, tmp_path: Path
) -> None:
    outside = draw(tmp_path / "outside.png", "red", mark=9)
    same(client.similar(1, cutoff=True), opened.similar(1, cutoff=True))
    for picture in (outside, [outside, outside]):
        found, own = client.similar(picture, limit=3), opened.similar(picture, limit=3)
        assert [replace(hit, signals={}) for hit in found] == [replace(hit, signals={}) for hit in own]
    same(client.match(1), opened.match(1))
    same(client.match(outside, cutoff=True), opened.match(outside, cutoff=True))


def test_status_descriptions_and_answers_are_those_of_the_library(client: Client, opened: Catalog) -> None:
    assert client.status() == opened.status()
    assert client.describe(1) == opened.describe(1, captioner="describer")
    answer, own = client.ask("How many pictures are there?"), opened.ask("How many pictures are there?")
    assert (answer.text, answer.citations, answer.confidence) == (own.text, own.citations, own.confidence)
    steps: list[str] = []
    again = client.ask(
        "How many pictures are there?", rules=True, progress=lambda name, _: steps.append(name)
    )
    assert (again.text, set(steps)) == (own.text, {"step"})
    assert [step.name for step in again.steps] == [step.name for step in own.steps]


def test_the_map_is_that_of_the_library(client: Client, opened: Catalog) -> None:
    for where in (None, Filter(type="jpeg")):
        found, own = client.map(where=where), opened.atlas.map(where=where)
        assert found.image_ids.tolist() == own.image_ids.tolist()
        assert abs(found.places - own.places).max() < 1e-4
        assert (found.method, found.encoder, found.late) == (own.method, own.encoder, own.late)
        assert (found.passing is None) == (own.passing is None) == (where is None)
        if found.passing is not None and own.passing is not None:
            assert found.passing.tolist() == own.passing.tolist()
            assert found.passing.sum() == 1


def test_errors_come_back_as_those_of_the_library(client: Client, opened: Catalog, tmp_path: Path) -> None:
    for query in ("", '"open', "- red", "@nobody"):
        with pytest.raises(QueryError):
            client.search(query)
    with pytest.raises(QueryError) as own:
        opened.search('red + "open')
    with pytest.raises(QueryError) as told:
        client.search('red + "open')
    assert (str(told.value), told.value.at) == (str(own.value), own.value.at)
    (tmp_path / "no.png").write_bytes(b"no picture")
    with pytest.raises(ImageUnreadable) as image:
        client.match(tmp_path / "no.png")
    assert image.value.reason == "not-an-image"
    for wrong in (Query.image("x.png"), Query((Term("text", 'both " and ”'),))):
        with pytest.raises(Unsendable):
            written(wrong)
    with pytest.raises(Unsendable):
        client.search("red", where=Filter(folder=os.fsdecode(b"/a\xff")))


def test_a_server_that_is_none_is_told(served: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(ServerUnavailable):
            Client(f"http://127.0.0.1:{port}", seconds=0.2).status()
    with pytest.raises(ServerUnavailable, match="search serve"):
        Client(f"http://127.0.0.1:{port}").status()
    with pytest.raises(QueryError):
        Client("not an address")
    with pytest.raises(retrieval.RetrievalError, match="token"):
        Client(served).status()


@pytest.mark.parametrize(
    "said",
    [b"", b'20\r\nevent: step\ndata: {"step":"plan"', b'19\r\nevent: text\ndata: {"delta"\r\n', b"0\r\n\r\n"],
    ids=["nothing", "within", "between", "end"],
)
def test_an_answer_that_breaks_off_is_told(said: bytes) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    with socket.create_server(("127.0.0.1", 0)) as opened:

        def breaks_off() -> None:
            one, _ = opened.accept()
            with one:
                one.recv(65536)
                one.sendall(head + said)

        threading.Thread(target=breaks_off, daemon=True).start()
        client = Client(f"http://127.0.0.1:{opened.getsockname()[1]}", seconds=10)
        with pytest.raises(ServerUnavailable, match="broke off"):
            client.ask("red?", progress=lambda *_: None)


def test_a_server_leaves_word_for_its_user_alone_and_takes_it_back(catalog: Path) -> None:
    place = catalog / "cache" / "server.json"
    with serving(catalog) as (address, process):
        row = json.loads(place.read_text())
        assert place.stat().st_mode & 0o777 == 0o600
        assert (row["url"] + "/", row["pid"], row["token"]) == (address, process.pid, None)
        found = Client.of(Location.parse(catalog))
        assert found is not None
        assert found.status().images == 6
        assert Client.of(Location.parse(catalog), answering=answering("local:x")) is None
    assert process.returncode in (-signal.SIGINT, 130)
    assert not place.exists()


def running(**more: Any) -> Running:
    return replace(
        Running("http://127.0.0.1:9", os.getpid(), retrieval.__version__, "key", answering="a"), **more
    )


def test_word_that_cannot_be_trusted_is_passed_over(tmp_path: Path) -> None:
    location = Location.parse(tmp_path / "c")
    place = location.cache / "server.json"
    assert find(location, version=retrieval.__version__) is None
    announce(location, running())
    assert find(location, version=retrieval.__version__) == running()
    assert find(location, version="0.0.0") is None
    place.chmod(0o644)
    assert find(location, version=retrieval.__version__) is None
    announce(location, running(pid=2**22 + 7))
    assert find(location, version=retrieval.__version__) is None
    for text in ("", "[]", "{}", '{"url": 1}', "[" * 100_000, "\xff"):
        place.write_text(text, "latin-1")
        place.chmod(0o600)
        assert find(location, version=retrieval.__version__) is None
    place.unlink()
    (tmp_path / "other").write_text(json.dumps({}))
    place.symlink_to(tmp_path / "other")
    assert find(location, version=retrieval.__version__) is None


def test_word_that_moved_with_its_folder_is_of_another_catalog(tmp_path: Path) -> None:
    location = Location.parse(tmp_path / "c")
    announce(location, running())
    (tmp_path / "link").symlink_to(tmp_path / "c")
    assert find(Location.parse(tmp_path / "link"), version=retrieval.__version__) == running()
    (tmp_path / "c").rename(tmp_path / "moved")
    assert find(Location.parse(tmp_path / "moved"), version=retrieval.__version__) is None


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root may give files away")
def test_word_of_another_user_is_passed_over(tmp_path: Path) -> None:
    location = Location.parse(tmp_path / "c")
    announce(location, running())
    os.chown(location.cache / "server.json", 12345, 12345)
    assert find(location, version=retrieval.__version__) is None


def test_a_server_does_not_take_back_the_word_of_another(tmp_path: Path) -> None:
    location = Location.parse(tmp_path / "c")
    announce(location, running())
    withdraw(location, running(key="other"))
    assert (location.cache / "server.json").exists()
    withdraw(location, running())
    assert not (location.cache / "server.json").exists()


def test_nobody_who_took_the_port_is_told_the_token(tmp_path: Path) -> None:
    location, heard = Location.parse(tmp_path / "c"), []

    def listen(server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                taken, _ = server.accept()
                with taken:
                    heard.append(taken.recv(65536))
                    taken.sendall(
                        b'HTTP/1.1 200 OK\r\nContent-Length: 31\r\n\r\n{"status":"ok","proof":"guess"}'
                    )

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=listen, args=(server,), daemon=True)
        thread.start()
        announce(location, running(url=f"http://127.0.0.1:{server.getsockname()[1]}", token=TOKEN))
        assert Client.of(location) is None
        announce(location, running(url="http://192.0.2.1:80", token=TOKEN))  # never asked: not loopback
        assert Client.of(location) is None
        server.shutdown(socket.SHUT_RDWR)
    assert len(heard) == 1
    assert TOKEN.encode() not in heard[0]


@pytest.mark.parametrize(
    "arguments",
    [
        ("find", "red", "--json", "--explain"), ("find", "red"), ("find", "red + 2:blue - @rex", "--all", "-k", "3"),
        ("find", "purple", "--json"), ("similar", "{photos}/../outside.png", "--json", "--explain"), ("find", "red", "--paths", "-0", "--all"), ("find", "red", "--type", "png"),
        ("find", '"open'), ("find", "@nobody"), ("similar", "{photos}/red.png", "--json", "--all"),
        ("similar", "{photos}/../outside.png", "--json"), ("similar", "{photos}/red.png", "{photos}/blue.png"),
        ("match", "{photos}/red.png", "--json"), ("match", "{photos}/none.png"), ("find", "{photos}/red.png + blue"),
        ("find", "{photos}/red.png + blue - green", "--json"), ("find", "red", "--rerank", "none", "--json"),
        ("find", "red", "--allow-url", "--json"), ("ask", "Which are red?", "--answerer", "rules"),
        ("ask", "What is red?", "--example", "{photos}/red.png=a wall"), ("find", "red", "--in", "photos"),
        ("ask", "How", "many", "pictures", "are", "there?"), ("find", "red", "--sort", "date", "--all", "-k", "2"),
    ],
)  # fmt: skip
def test_a_command_gives_the_same_with_a_server_as_without(
    served: str, kept: Path, search: Callable[..., Result], arguments: tuple[str, ...]
) -> None:
    draw(kept.parent / "outside.png", "red", mark=9)
    line = [part.replace("{photos}", str(kept.parent / "photos")) for part in arguments]
    with_it = search(*line, "--catalog", kept)
    without = search(*line, "--catalog", kept, "--no-server")
    assert (with_it.exit_code, with_it.stdout, with_it.stderr) == (
        without.exit_code,
        without.stdout,
        without.stderr,
    )


COUNTED = """
import sys
from click.testing import CliRunner
from cli import main
result = CliRunner().invoke(main, sys.argv[1:])
assert result.exit_code == 0, result.output
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""


def test_a_command_with_a_server_loads_no_model_and_no_numbers(served: str, kept: Path) -> None:
    for arguments in (
        ["find", "red", "--json"],
        ["similar", str(kept.parent / "photos" / "red.png"), "--json"],
    ):
        loaded = set(python(COUNTED, *arguments, "--catalog", str(kept)).stdout.split())
        assert "http" in loaded
        assert not loaded & {"numpy", "onnxruntime", "PIL", "sqlalchemy", "asyncio", "fastapi", "pydantic"}
    loaded = set(python(COUNTED, "find", "red", "--catalog", str(kept), "--no-server").stdout.split())
    assert "http" not in loaded


def test_a_server_that_hangs_or_is_gone_is_passed_over(catalog: Path, search: Callable[..., Result]) -> None:
    with serving(catalog) as (_, process):
        process.send_signal(signal.SIGSTOP)
        try:
            assert search("find", "red", "--json", "--catalog", catalog).stdout
        finally:
            process.send_signal(signal.SIGCONT)
        word = (catalog / "cache" / "server.json").read_text()
    place = catalog / "cache" / "server.json"
    place.write_text(word)
    place.chmod(0o600)
    result = search("find", "red", "--json", "--catalog", catalog)
    assert (result.exit_code, bool(result.stdout), result.stderr) == (0, True, "")


def test_a_request_at_work_is_finished_at_the_end_and_streams_are_not_waited_for(catalog: Path) -> None:
    with serving(catalog) as (address, process):
        port = int(address.rstrip("/").rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as one:
            body = b'{"question": "How many pictures are there?"}'
            one.sendall(
                b"POST /api/v1/ask HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\n"
                b"Content-Length: %d\r\n\r\n" % (port, len(body)) + body[:10]
            )
            Client(address).status()  # by now the first request is at work
            process.send_signal(signal.SIGTERM)
            one.sendall(body[10:])
            one.settimeout(30)
            said = b""
            while part := one.recv(65536):
                said += part
        assert b"200 OK" in said
        assert b"6 pictures" in said
        process.wait(30)
    assert process.returncode in (-signal.SIGTERM, 143)


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"x" * 200_000 + b"\r\n\r\n",
        b"GET /" + b"x" * 200_000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
        b"POST /api/v1/ask HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -5\r\n\r\n",
        b"POST /api/v1/ask HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"POST /api/v1/ask HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET /api/v1/images/1%ff%00 HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    ],
    ids=["header", "path", "tls", "length", "lengths", "chunks", "nameless", "two names", "rebound"],
)
def test_what_is_hardly_http_is_refused_and_the_next_request_answered(
    served: str, client: Client, sent: bytes
) -> None:
    port = int(served.rstrip("/").rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=20) as one:
        with contextlib.suppress(ConnectionError):  # it need not read all of what it refuses
            one.sendall(sent)
        with contextlib.suppress(ConnectionError):
            assert one.recv(65536).startswith(b"HTTP/1.1 4")
    assert client.status().images


def test_an_open_address_takes_a_token(search: Callable[..., Result], catalog: Path) -> None:
    refused = search("serve", "--host", "0.0.0.0", "--port", "0", "--catalog", catalog)
    assert (refused.exit_code, "token" in refused.stderr) == (1, True)


def test_an_empty_library_is_served_and_says_so(tmp_path: Path) -> None:
    with serving(tmp_path / "new") as (address, _):
        assert Client(address).status().images == 0
    with pytest.raises(AssertionError), serving(tmp_path / "none", "--read-only"):
        pass


def test_time_is_not_spent_on_finding_a_server_that_is_not_there(tmp_path: Path) -> None:
    begun = time.perf_counter()
    assert Client.of(Location.parse(tmp_path)) is None
    assert time.perf_counter() - begun < 1
