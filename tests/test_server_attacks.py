"""What is sent to do harm, and what becomes of the catalog under a server: it answers the next request."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from indexer import index_folder
from retrieval import Catalog
from retrieval.db.reader import HEAD
from retrieval.server import create_app
from tests.browsing import ROOT
from tests.conftest import draw

API = "/api/v1"
JSON = {"Content-Type": "application/json"}
PARTS = {"Content-Type": "multipart/form-data; boundary=x"}
SERVED = """
import retrieval.server.connections, retrieval.server.headers
retrieval.server.headers.MAX_SECONDS = 0.6
retrieval.server.connections.IDLE_SECONDS = 0.6
{more}
from cli import main
main()
"""
"""The real command, less patient."""
MOST_MEMORY = 400 << 20


@dataclass(slots=True)
class Server:
    process: subprocess.Popen[str]
    port: int

    def ask(
        self, method: str, path: str, headers: dict[str, str] | None = None, body: bytes | None = None
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(connection):
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()

    def refused(self, method: str, path: str, headers: dict[str, str], body: bytes) -> int:
        """The status of a failure in the one form of all failures."""
        status, told, said = self.ask(method, path, headers, body)
        assert told["content-type"] == "application/problem+json", said
        assert json.loads(said)["status"] == status
        return status

    def raw(self, *parts: bytes) -> bytes:
        """What comes back for bytes that are sent as they are, until the server ends the connection."""
        said = b""
        with (
            contextlib.suppress(ConnectionError),
            socket.create_connection(("127.0.0.1", self.port), timeout=20) as one,
        ):
            with contextlib.suppress(ConnectionError):
                for part in parts:
                    one.sendall(part)
            while more := one.recv(65536):
                said += more
        return said

    @property
    def host(self) -> bytes:
        return b"Host: 127.0.0.1:%d\r\n" % self.port

    @property
    def lives(self) -> bool:
        return self.ask("GET", f"{API}/search?q=red")[0] == 200

    def memory(self) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1]) << 10


@contextlib.contextmanager
def serving(catalog: Path, *options: str, more: str = "") -> Iterator[Server]:
    process = subprocess.Popen(
        [
            sys.executable, "-c", SERVED.format(more=more),
            "serve", "--catalog", str(catalog), "--port", "0", *options,
        ],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    assert process.stderr is not None
    try:
        line = process.stderr.readline()
        found = re.search(r":(\d+)/", line)
        assert found, line + process.stderr.read()
        yield Server(process, int(found[1]))
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise


def indexed(folder: Path, *names: str) -> Path:
    for name in names:
        draw(folder / "photos" / f"{name}.png", name)
    index_folder(folder / "catalog", folder / "photos", model="toy", workers=1)
    return folder / "catalog"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(indexed(tmp_path_factory.mktemp("attacked"), "red", "green")) as found:
        yield found


def problem(said: bytes, status: int) -> None:
    head, _, body = said.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status), said[:200]
    assert b"application/problem+json" in head
    assert b"x-content-type-options: nosniff" in head.lower()
    assert json.loads(body)["status"] == status


# What is no request, or never one to its end.


def test_what_is_no_request_is_a_problem_too(server: Server) -> None:
    problem(server.raw(b"\x16\x03\x01\x02\x00\x01\r\n\r\n"), 400)
    problem(server.raw(b"GET / HTTP/1.1\r\n\r\n"), 400)
    problem(server.raw(b"GET / HTTP/1.1\r\n", server.host, b"X: ", b"x" * 200_000, b"\r\n\r\n"), 431)
    problem(server.raw(b"GET /", b"x" * 200_000, b" HTTP/1.1\r\n", server.host, b"\r\n"), 431)
    chunked = b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"
    problem(server.raw(b"POST /api/v1/ask HTTP/1.1\r\n", server.host, chunked), 400)
    assert server.lives


@pytest.mark.parametrize("begun", [b"", b"GET / HTT", b"GET /healthz HTTP/1.1\r\nX: y\r\n"])
def test_a_request_that_never_begins_ends_its_connection(server: Server, begun: bytes) -> None:
    assert server.raw(begun) == b""
    assert server.lives


def test_a_byte_now_and_then_does_not_keep_a_connection_open(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as one:
        one.sendall(b"GET / HTTP/1.1\r\n")
        one.settimeout(0.05)
        for _ in range(200):
            with contextlib.suppress(TimeoutError):
                assert one.recv(1) == b""
                break
            with contextlib.suppress(ConnectionError):
                one.sendall(b"X: y\r\n")
        else:
            pytest.fail("The connection is still open.")


@pytest.mark.parametrize(
    ("path", "kind"), [("/ask", b"application/json"), ("/match", b"multipart/form-data; boundary=x")]
)
def test_a_body_that_does_not_come_is_not_waited_for(server: Server, path: str, kind: bytes) -> None:
    head = b"POST %s%s HTTP/1.1\r\n%sContent-Type: %s\r\n" % (API.encode(), path.encode(), server.host, kind)
    problem(server.raw(head, b"Content-Length: 1000\r\n\r\n--x\r\n"), 408)
    problem(server.raw(head, b"Transfer-Encoding: chunked\r\n\r\n5\r\n--x\r\n\r\n"), 408)
    problem(server.raw(head, b"Content-Length: 1000000000\r\n\r\n--x\r\n"), 413)
    assert server.lives


def test_a_body_without_an_end_ends_at_the_limit(server: Server) -> None:
    head = b"POST /api/v1/ask HTTP/1.1\r\n%sContent-Type: application/json\r\n" % server.host
    chunks = (b"100000\r\n" + b"a" * 0x100000 + b"\r\n" for _ in range(40))
    said = server.raw(head, b"Transfer-Encoding: chunked\r\n\r\n", *chunks)
    # Who goes on sending may be cut off before the answer has come through.
    assert said == b"" or said.startswith(b"HTTP/1.1 413 ")
    assert server.lives
    assert server.memory() < MOST_MEMORY


def test_what_follows_an_answer_is_not_read_for_ever(server: Server) -> None:
    """Nothing of a body that is refused at its start is kept, and the rest not waited for."""
    head = b"POST /api/v1/match HTTP/1.1\r\n%sContent-Type: multipart/form-data; boundary=x\r\n" % server.host
    problem(server.raw(head, b"Transfer-Encoding: chunked\r\n\r\n5\r\naaaaa\r\n"), 400)


def test_a_head_that_is_refused_has_no_body(server: Server) -> None:
    said = server.raw(
        b"HEAD /api/v1/status HTTP/1.1\r\nConnection: close\r\n",
        server.host,
        b"Content-Length: 999999999999\r\n\r\n",
    )
    assert said.startswith(b"HTTP/1.1 413 ")
    assert said.endswith(b"\r\n\r\n")


def test_a_head_of_what_breaks_inside_has_no_body(web: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError

    monkeypatch.setattr(Catalog, "search", broken)
    answer = web.head(f"{API}/search?q=red")
    assert (answer.status_code, answer.content) == (500, b"")


def test_many_who_say_nothing_hold_up_nobody(server: Server) -> None:
    silent = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(100)]
    try:
        assert server.lives
    finally:
        for one in silent:
            one.close()


# What is malformed inside.


def part(name: str, data: bytes, *, file: bool) -> bytes:
    named = b"; filename=a" if file else b""
    return b"--x\r\nContent-Disposition: form-data; name=%s%s\r\n\r\n%s\r\n" % (name.encode(), named, data)


@pytest.mark.parametrize(
    "body",
    [
        part("image", b"hi", file=True) * 10_000,
        part("image", b"hi", file=False) * 10_000,
        b"--x\r\n" * 1_000_000,
        b'--x\r\nContent-Disposition: form-data; name="' + b"n" * 5_000_000 + b'"\r\n\r\n',
        b"--x\r\n" + b"A: b\r\n" * 800_000,
        part("q", b"q" * 5_000_000, file=False),
    ],
    ids=["files", "fields", "boundaries", "a long name", "headers", "a long field"],
)
def test_forms_of_ever_more_parts_are_refused_at_once(server: Server, body: bytes) -> None:
    assert server.refused("POST", f"{API}/search", PARTS, body + b"--x--\r\n") == 400
    assert server.memory() < MOST_MEMORY


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"[" * 4_000_000, 400),
        (b'{"a":' * 500_000, 400),
        (b'{"question":"\xff\xfe"}', 400),
        (b'{"question":"a\\u0000b"}', 422),
        (b'{"question":"\\udc00"}', 422),
        (b'{"question":"x","limit":' + b"9" * 100_000 + b"}", 400),
        (b'{"question":"x","seconds":1e400}', 422),
        (b'{"question":"' + b"dogs " * 20_000 + b'"}', 422),
        (b'{"question":"x","tag":[' + b'"a",' * 100_000 + b'"a"]}', 422),
    ],
)
def test_bodies_that_are_no_question_are_refused(server: Server, body: bytes, status: int) -> None:
    assert server.refused("POST", f"{API}/ask", JSON, body) == status


def bomb(width: int, height: int, megabytes: int) -> bytes:
    """A small PNG that says it is large, and is."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(9)
    data = b"".join(packer.compress(bytes(1 << 20)) for _ in range(megabytes)) + packer.flush()
    size = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (bomb(30_000, 30_000, 20), 413),
        (bomb(2**31 - 1, 2**31 - 1, 1), 413),
        (b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>', 422),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", 422),
        (b"a" * 20_000_001, 413),
        (b"", 422),
    ],
    ids=["bomb", "endless", "svg", "eps", "large", "empty"],
)
def test_files_that_do_harm_are_refused(server: Server, data: bytes, status: int) -> None:
    body = part("image", data, file=True) + b"--x--\r\n"
    for path in ("/search", "/similar", "/match"):
        assert server.refused("POST", API + path, PARTS, body) == status
    assert server.memory() < MOST_MEMORY


@pytest.mark.parametrize(
    ("wanted", "status"),
    [
        ("bytes=0-0", 206), ("bytes=-1", 206), ("bytes=0-0,1-1", 200), ("bytes=0-9" + ",0-9" * 10_000, 200),
        ("bytes=9-5", 200), ("bytes=-0", 416), ("bytes=999999999-", 416), (f"bytes={'9' * 9999}-", 200),
        ("items=0-1", 200), ("bytes=\x80-", 200), ("", 200),
    ],
)  # fmt: skip
def test_ranges_of_all_kinds_give_the_part_or_the_whole(server: Server, wanted: str, status: int) -> None:
    found, headers, said = server.ask("GET", f"{API}/images/1/original", {"Range": wanted})
    assert found == status
    assert len(said) == int(headers["content-length"])


@pytest.mark.parametrize("named", ['"', "W/", 'W/"', "," * 60_000, '"a",' * 10_000, "\xff", '""'])
def test_tags_that_are_none_name_nothing(server: Server, named: str) -> None:
    for path in ("thumbnail", "original"):
        assert server.ask("GET", f"{API}/images/1/{path}", {"If-None-Match": named})[0] == 200


def test_ids_beyond_all_pictures_are_none(server: Server) -> None:
    for number in (0, -1, 2**63, 2**70, "1e3", "%00", "%D9%A3"):
        for path in ("", "/thumbnail", "/original", "/similar", "/explain?q=x", "/texts", "/description"):
            assert server.ask("GET", f"{API}/images/{number}{path}")[0] == 422, (number, path)
    assert server.ask("GET", f"{API}/images/{2**63 - 1}")[0] == 404


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ("after=0000", 422), ("after=9999-12-31", 200), ("before=0001", 200), ("after=9999-99", 422),
        ("limit=99999999999999999999", 422), ("near=nan,0,1", 422), ("near=90,180,1e308", 200),
        ("min_size=1e9MP", 422), ("min_match=1e-400", 200), ("q=" + "x" * 50_000, 422),
    ],
)  # fmt: skip
def test_numbers_and_dates_at_the_edge_are_taken_or_told(server: Server, asked: str, status: int) -> None:
    given = asked if asked.startswith("q=") else f"q=red&{asked}"
    assert server.ask("GET", f"{API}/search?{given}")[0] == status


def test_methods_that_are_none_say_which_there_are(server: Server) -> None:
    for method in ("OPTIONS", "TRACE", "PATCH", "NONSENSE"):
        status, headers, _ = server.ask(method, f"{API}/status")
        assert (status, headers["allow"]) == (405, "GET")
        assert headers["content-type"] == "application/problem+json"


def test_a_head_of_every_kind_of_answer_is_like_its_get(server: Server) -> None:
    for path in ("/", f"{API}/images/1/thumbnail", f"{API}/images/1/original", "/static/index.html"):
        (status, told, said), (_, got, _) = server.ask("HEAD", path), server.ask("GET", path)
        assert (status, said) == (200, b"")
        for name in ("content-length", "content-type", "etag"):
            assert told[name] == got[name]


# What becomes of the catalog meanwhile.


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return indexed(tmp_path, "red", "green")


@pytest.fixture
def web(place: Path) -> Iterator[TestClient]:
    with Catalog(place) as opened:
        yield TestClient(create_app(opened))


def reads(web: TestClient) -> bool:
    paths = ("/search?q=red", "/status", "/images", "/images/1", "/images/1/thumbnail")
    return all(web.get(API + path).status_code == 200 for path in paths)


def later(answer: Any) -> str:
    """A failure that is over some time, as it says; its sentence."""
    assert answer.status_code == 503, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert int(answer.headers["retry-after"]) > 0
    return str(answer.json()["detail"])


def tag(web: TestClient) -> Any:
    return web.put(f"{API}/images/1/tags/dog")


def revised(place: Path, revision: str) -> None:
    with contextlib.closing(sqlite3.connect(place / "catalog.db")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))


@pytest.mark.parametrize(("revision", "said"), [("0001", "older"), ("9999", "newer")])
def test_a_catalog_of_another_version_by_now_is_read_and_not_changed(
    web: TestClient, place: Path, revision: str, said: str
) -> None:
    revised(place, revision)
    assert reads(web)
    assert said in later(tag(web))
    revised(place, HEAD)
    assert tag(web).status_code == 200


def test_a_catalog_that_is_taken_away_is_read_and_not_made_anew(web: TestClient, place: Path) -> None:
    place.rename(place.with_name("away"))
    assert reads(web)
    assert "no catalog" in later(tag(web))
    assert not (place / "catalog.db").exists()
    shutil.rmtree(place, ignore_errors=True)
    place.with_name("away").rename(place)
    assert tag(web).status_code == 200


def test_a_catalog_that_takes_the_place_of_another_is_seen(
    web: TestClient, place: Path, tmp_path: Path
) -> None:
    assert [row["image_id"] for row in web.get(f"{API}/images").json()["pictures"]] == [2, 1]
    other = indexed(tmp_path / "other", "blue", "white", "yellow")
    place.rename(place.with_name("away"))
    other.rename(place)
    assert len(web.get(f"{API}/images").json()["pictures"]) == 3
    assert web.get(f"{API}/status").json()["images"] == 3
    hits = web.get(f"{API}/search?q=blue").json()["hits"]
    assert Path(hits[0]["path"]).name == "blue.png"
    assert tag(web).status_code == 200


@pytest.mark.parametrize(
    "ruin",
    [
        lambda path: path.write_bytes(b"no database"),
        lambda path: os.truncate(path, 100),
        lambda path: (path.unlink(), path.write_bytes(b"no database")),
        lambda path: (path.unlink(), path.mkdir()),
    ],
    ids=["written over", "cut off", "another file", "a folder"],
)
def test_a_catalog_that_is_ruined_is_told_and_the_server_lives(
    web: TestClient, place: Path, ruin: Callable[[Path], object]
) -> None:
    assert reads(web)
    ruin(place / "catalog.db")
    for path in ("/search?q=green", "/status", "/images"):
        answer = web.get(API + path)
        assert answer.status_code == 200 or later(answer)
    assert later(tag(web))
    assert web.get("/healthz").status_code == 200


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(web: TestClient, place: Path) -> None:
    shutil.rmtree(place / "cache")
    (place / "cache").write_text("no folder")
    assert reads(web)
    assert tag(web).status_code == 200


def test_a_catalog_that_somebody_else_writes_is_read(web: TestClient, place: Path) -> None:
    with contextlib.closing(sqlite3.connect(place / "catalog.db")) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("DELETE FROM images")
        assert reads(web)
        connection.rollback()


FULL = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (48 << 10, 48 << 10))
"""
"""Room for what SQLite needs to read, and for little more."""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit of the system on the size of files")
def test_a_full_disk_is_told_where_it_matters(place: Path) -> None:
    with serving(place, more=FULL) as full:
        status, told, said = next(
            answer
            for number in range(50)
            if (answer := full.ask("PUT", f"{API}/images/1/tags/dog%20{number}"))[0] != 200
        )
        assert (status, told["content-type"]) == (507, "application/problem+json"), said
        for path in ("/search?q=red", "/images/1/thumbnail", "/status"):
            assert full.ask("GET", API + path)[0] == 200
