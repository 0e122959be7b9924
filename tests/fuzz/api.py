"""The server over real sockets: any request gets an answer, no failure of ours, and problems in one form."""

from __future__ import annotations

import atexit
import contextlib
import json
import re
import socket
import threading
from functools import cache
from urllib.parse import quote_from_bytes

from tests.fuzz.library import library

API = b"/api/v1"
SECONDS = 20.0
"""A whole request is answered within that; what may be half of one is waited for `PART_SECONDS`."""
PART_SECONDS = 0.2
OURS = frozenset({501, 503})
"""Too much to do, and an extra that is not installed: no fault of the server's."""
BODIES = (
    *(b"POST /ask", b"POST /describe", b"POST /feedback", b"POST /texts", b"POST /duplicates/not"),
    *(
        b"PUT /concepts/rex",
        b"PUT /images/1/tags/dog",
        b"PUT /images/2/text",
        b"POST /search",
        b"POST /login",
    ),
)
UPLOADS = (b"POST /search", b"POST /similar", b"POST /match", b"POST /describe")
HEADERS = (
    b"Range",
    b"If-None-Match",
    b"Accept",
    b"Cookie",
    b"Origin",
    b"Content-Type",
    b"Authorization",
    b"Host",
)
ANSWER = re.compile(rb"HTTP/1\.1 (\d{3}) [^\r\n]*\r\n((?:[^\r\n]+\r\n)*)\r\n", re.DOTALL)
SEEDS = (
    b"\0two dogs + 2:snow - ./a.jpg",
    b"\1/api/v1/images/1/thumbnail?size=160",
    b"\1/api/v1/images/1/file",
    b"\1/api/v1/timeline?in=%2Ftmp",
    b"\1/static/../../etc/passwd",
    b'\2\0{"question": "How many are red?", "filter": {"after": "2023"}}',
    b'\2\2{"query": "red", "relevant": [1], "wrong": [2]}',
    b'\2\3{"text": "a dog", "image_id": 1}',
    b'\2\5{"positive": [1], "negative": [2]}',
    b"\3\0P6 2 1 255\nabcdef",
    b"\4after\n2023-07\nnear\nBergen\nlimit\n3\nsort\ndate\nmin_match\n0.1",
    b"\5\0bytes=0-1,3-4",
    b"\6GET /api/v1/status HTTP/1.1\r\nHost: localhost\r\n\r\nGET / HTTP/1.0\r\n\r\n",
    b"\6POST /api/v1/ask HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n",
)
WORDS = (
    *(
        b"/api/v1/",
        b"images/",
        b"?limit=",
        b"&cursor=",
        b"%00",
        b"%ff",
        b"%2e%2e/",
        b"\r\n\r\n",
        b" HTTP/1.1\r\n",
    ),
    *(
        b"Content-Length: ",
        b"Transfer-Encoding: chunked",
        b"9223372036854775808",
        b"1e999",
        b"NaN",
        b"\\ud800",
    ),
    *(
        b"search",
        b"similar",
        b"texts",
        b"concepts/",
        b"tags/",
        b"explain",
        b"duplicates",
        b"groups",
        b"map",
        b"ask",
    ),
)
MOST = 1500


def one(data: bytes) -> None:
    which, body = (data[0] % 7, data[1:]) if data else (6, b"")
    first, rest = (body[0], body[1:]) if body else (0, b"")
    if which == 0:
        answer = _sent(b"GET", b"/search?q=" + _quoted(body))
    elif which == 1:
        answer = _sent(b"GET", b"/" + bytes(byte for byte in body if 32 < byte < 127).lstrip(b"/"), api=False)
    elif which == 2:
        method, _, path = BODIES[first % len(BODIES)].partition(b" ")
        answer = _sent(method, path, rest, b"application/json")
    elif which == 3:
        method, _, path = UPLOADS[first % len(UPLOADS)].partition(b" ")
        part = (
            b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n%b\r\n--x--\r\n' % rest
        )
        answer = _sent(method, path, part, b"multipart/form-data; boundary=x")
    elif which == 4:
        words = body.split(b"\n")
        pairs = zip(words[::2], words[1::2], strict=False)
        asked = b"&".join(_quoted(name) + b"=" + _quoted(value) for name, value in pairs)
        answer = _sent(b"GET", (b"/images?", b"/search?q=red&", b"/timeline?")[len(words) % 3] + asked)
    elif which == 5:
        value = bytes(byte for byte in rest if 32 <= byte < 127).strip()
        answer = _sent(
            b"GET", b"/images/1/file", more=HEADERS[first % len(HEADERS)] + b": " + value + b"\r\n"
        )
    else:
        # Of bytes that may be half a request no answer need come, but what comes is one.
        answer = _exchanged(body, PART_SECONDS)
        while answer:
            answer = _check(answer, whole=False)
        return
    assert answer, "no answer came"
    _check(answer, whole=True)


def _quoted(text: bytes) -> bytes:
    return quote_from_bytes(text, safe="").encode()


def _sent(
    method: bytes, path: bytes, body: bytes = b"", kind: bytes = b"", *, more: bytes = b"", api: bool = True
) -> bytes:
    host = b"" if more.startswith(b"Host") else b"Host: 127.0.0.1:%d\r\n" % _port()
    what = b"Content-Type: %b\r\nContent-Length: %d\r\n" % (kind, len(body)) if kind else b""
    path = API + path if api else path
    head = b"%b %b HTTP/1.1\r\n%bConnection: close\r\n%b%b\r\n" % (method, path, host, what, more)
    return _exchanged(head + body, SECONDS)


def _exchanged(request: bytes, seconds: float) -> bytes:
    said = b""
    with socket.create_connection(("127.0.0.1", _port()), timeout=seconds) as one:
        with contextlib.suppress(ConnectionError):
            one.sendall(request)
        try:
            while more := one.recv(1 << 16):
                said += more
        except (TimeoutError, ConnectionError):
            assert seconds != SECONDS or said, "the server does not answer"
    return said


def _check(said: bytes, *, whole: bool) -> bytes:
    """Hold an answer against what is promised of all; what comes behind it."""
    found = ANSWER.match(said)
    assert found is not None, said[:200]
    status, headers = int(found[1]), found[2].lower()
    assert status < 500 or status in OURS, said[:1000]
    assert b"\r\nx-content-type-options: nosniff\r\n" in b"\r\n" + headers or status == 100, said[:500]
    length = re.search(rb"^content-length: (\d+)\r$", headers, re.MULTILINE)
    body = said[found.end() :]
    if length is not None:
        body, rest = body[: int(length[1])], body[int(length[1]) :]
    else:
        rest = b""
    # To an unfinished request an answer may come whose end does not; to a HEAD none has a body.
    if status >= 400 and (whole or body):
        assert b"content-type: application/problem+json\r\n" in headers, said[:500]
        problem = json.loads(body)
        assert problem["status"] == status
        assert problem["detail"]
        assert status != 503 or b"\r\nretry-after: " in b"\r\n" + headers
    return rest


@cache
def _port() -> int:
    """The server of this process: the real one but for its signals."""
    import uvicorn

    from retrieval.server.app import assembled
    from retrieval.server.connections import Connection
    from retrieval.server.settings import Settings

    listening = socket.create_server(("127.0.0.1", 0))
    port: int = listening.getsockname()[1]
    settings = Settings(library(), hosts=frozenset({f"127.0.0.1:{port}", f"localhost:{port}"}))
    config = uvicorn.Config(
        assembled(settings), http=Connection, log_config=None, access_log=False, server_header=False,
        proxy_headers=False, ws="none", timeout_graceful_shutdown=1,
    )  # fmt: skip
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()

    def end() -> None:
        server.should_exit = True
        thread.join(10)
        listening.close()

    atexit.register(end)
    return port
