"""A chat server on loopback that speaks the OpenAI-compatible protocol, and misbehaves when told to.

    with ChatServer("A red car.") as server:
        monkeypatch.setenv("SEARCH_ENDPOINT", server.url)

`answer` is what it says: a text, or a function of the request's body (see `texts` and `pictures`).
"""

from __future__ import annotations

import base64
import json
import re
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

Body = dict[str, Any]
Stall = Literal["models", "before", "headers", "role", "thought", "within"]


@dataclass(frozen=True)
class Asked:
    """One request, as it came."""

    method: str
    path: str
    headers: dict[str, str]
    """By their names in lower case."""
    body: Body = field(default_factory=dict)


def texts(body: Body, *roles: str) -> str:
    """All text of a request, a line a part; of the named roles only, where some are named."""
    found = []
    for message in body["messages"]:
        if roles and message["role"] not in roles:
            continue
        content = message["content"]
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        found += [part["text"] for part in parts if part["type"] == "text"]
    return "\n".join(found)


def pictures(body: Body) -> list[bytes]:
    """The JPEG files of a request, in their order."""
    urls = [
        part["image_url"]["url"]
        for message in body["messages"]
        if not isinstance(message["content"], str)
        for part in message["content"]
        if part["type"] == "image_url"
    ]
    assert all(url.startswith("data:image/jpeg;base64,") for url in urls)
    return [base64.b64decode(url.partition(",")[2], validate=True) for url in urls]


class ChatServer:
    """A threaded server, up inside `with`; what it is told to do wrong are its keywords.

    A fault befalls the first `times` chats, or all of them without it. Nothing in here sleeps: what stalls
    does so until `release()` or the end of the `with`.
    """

    def __init__(
        self,
        answer: Callable[[Body], str] | str = "A red car.",
        *,
        models: Sequence[str] | bytes = ("tiny-vlm",),
        prefix: str = "/v1",
        key: str | None = None,
        times: int | None = None,
        stream: bool = True,
        unsupported: Sequence[str] = (),
        status: int | None = None,
        message: str = "it does not work today",
        retry_after: str | None = None,
        redirect: str | None = None,
        echo_key: bool = False,
        stall: Stall | None = None,
        truncate: int | None = None,
        close_early: bool = False,
        body: bytes | None = None,
        content_type: str = "application/json",
        encoding: str | None = None,
        finish: str | None = "stop",
        thoughts: str = "",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.answer = answer
        self.models = models
        """What it lists; bytes are sent as they are."""
        self.prefix = prefix
        self.key = key
        """Asks for this key, and answers 401 without it."""
        self.times = times
        self.stream = stream
        """False: answers in one piece of JSON, whatever was asked."""
        self.unsupported = list(unsupported)
        """Answers 400 to a chat that has one of these parameters, and names it."""
        self.status = status
        self.message = message
        self.retry_after = retry_after
        self.redirect = redirect
        self.echo_key = echo_key
        """Its error tells the Authorization header back."""
        self.stall: Stall | None = stall
        """Goes silent before it lists its models, before it answers, after the headers, after an event without text, after what it
        thinks, or after the first word."""
        self.truncate = truncate
        """Closes the connection after so many words, without an end."""
        self.close_early = close_early
        """Resets the connection without an answer."""
        self.body = body
        """Sent in place of a reply, with status 200, `content_type` and `encoding`."""
        self.content_type = content_type
        self.encoding = encoding
        self.finish = finish
        self.thoughts = thoughts
        """What it thinks aloud before it speaks, beside the text."""
        self.tls = tls
        """Speaks only encrypted."""
        self.requests: list[Asked] = []
        self.released = threading.Event()
        self.lock = threading.Lock()
        self.arrived = threading.Condition(self.lock)
        self.running = 0
        self.most_running = 0
        """How many chats were under way at one time, at the most."""
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """The address to put into SEARCH_ENDPOINT."""
        return f"{self.origin}{self.prefix}"

    @property
    def origin(self) -> str:
        assert self._server is not None, "the server is not up"
        return f"http{'s' if self.tls else ''}://127.0.0.1:{self._server.server_address[1]}"

    @property
    def chats(self) -> list[Body]:
        """The bodies of the chats that were asked for, in their order."""
        with self.lock:
            return [asked.body for asked in self.requests if asked.method == "POST"]

    def wait_for(self, chats: int, seconds: float = 10) -> None:
        """Until so many chats have arrived."""
        with self.arrived:
            count = lambda: sum(asked.method == "POST" for asked in self.requests)  # noqa: E731
            assert self.arrived.wait_for(lambda: count() >= chats, seconds), f"only {count()} chats came"

    def release(self) -> None:
        """Let go on what stalls."""
        self.released.set()

    def __enter__(self) -> ChatServer:
        handler = type("Handler", (_Handler,), {"told": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        if self.tls is not None:
            self._server.socket = self.tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.release()
        assert self._server is not None
        assert self._thread is not None
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # so that closing waits for them: none outlives its test
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no error of the server; a test sees what else fails."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30
    told: ChatServer

    def log_message(self, format: str, *arguments: Any) -> None:
        pass

    def do_GET(self) -> None:
        told = self.told
        self._record("GET", {})
        if told.stall == "models":
            told.released.wait()
        if self.path != f"{told.prefix}/models":
            return self._error(404, "page not found")
        if not self._allowed():
            return self._error(401, "a key is needed")
        if isinstance(told.models, bytes):
            return self._send(200, told.models)
        rows = [{"id": name, "object": "model"} for name in told.models]
        return self._send(200, json.dumps({"object": "list", "data": rows}).encode())

    def do_POST(self) -> None:
        told = self.told
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with told.lock:
            told.running += 1
            told.most_running = max(told.most_running, told.running)
            number = sum(asked.method == "POST" for asked in told.requests)
        self._record("POST", body)
        try:
            self._chat(body, faulty=told.times is None or number < told.times)
        finally:
            with told.lock:
                told.running -= 1

    def _chat(self, body: Body, *, faulty: bool) -> None:
        told = self.told
        if self.path != f"{told.prefix}/chat/completions":
            return self._error(404, "page not found")
        if not self._allowed():
            return self._error(401, "a key is needed")
        if faulty and told.redirect is not None:
            return self._send(307, b"", Location=told.redirect)
        if faulty and told.close_early:
            return self._reset()
        if faulty and told.stall == "before":
            told.released.wait()
        if faulty and told.status is not None:
            return self._error(told.status, told.message)
        for name in told.unsupported:
            if name in body or (name == "system" and body["messages"][0]["role"] == "system"):
                return self._error(400, f"Unsupported parameter: '{name}' is not supported with this model.")
        if isinstance(told.models, Sequence) and body["model"] not in told.models:
            return self._error(404, f"model '{body['model']}' not found")
        if faulty and told.body is not None:
            more = {"Content-Encoding": told.encoding} if told.encoding else {}
            return self._send(200, told.body, told.content_type, **more)
        text = told.answer if isinstance(told.answer, str) else told.answer(body)
        if body.get("stream") and told.stream:
            return self._stream(body, text, faulty=faulty)
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": told.finish}
        usage = {"prompt_tokens": 7, "completion_tokens": len(text.split())}
        return self._send(200, json.dumps({"choices": [choice], "usage": usage}).encode())

    def _stream(self, body: Body, text: str, *, faulty: bool) -> None:
        told = self.told
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.send_header("Connection", "close")
        self.end_headers()
        if faulty and told.stall == "headers":
            told.released.wait()
        self._event({"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]})
        if faulty and told.stall == "role":
            told.released.wait()
        for thought in re.findall(r"\s*\S+", told.thoughts):
            self._event({"choices": [{"index": 0, "delta": {"reasoning": thought}}]})
        if faulty and told.stall == "thought":
            told.released.wait()
        for number, piece in enumerate(re.findall(r"\s*\S+|\s+$", text)):
            if faulty and told.truncate == number:
                return self._reset()
            self._event({"choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": None}]})
            if faulty and told.stall == "within":
                told.released.wait()
        if told.finish is not None:
            self._event({"choices": [{"index": 0, "delta": {}, "finish_reason": told.finish}]})
        if (body.get("stream_options") or {}).get("include_usage"):
            usage = {"prompt_tokens": 7, "completion_tokens": len(text.split())}
            self._event({"choices": [], "usage": usage})
        self._chunk(b"data: [DONE]\n\n")
        self._chunk(b"")
        self.close_connection = True
        return None

    def _event(self, event: Body) -> None:
        self._chunk(b"data: " + json.dumps(event).encode() + b"\n\n")

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def _allowed(self) -> bool:
        return self.told.key is None or self.headers.get("Authorization") == f"Bearer {self.told.key}"

    def _record(self, method: str, body: Body) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        with self.told.arrived:
            self.told.requests.append(Asked(method, self.path, headers, body))
            self.told.arrived.notify_all()

    def _error(self, status: int, message: str) -> None:
        if self.told.echo_key:
            message += f" ({self.headers.get('Authorization')})"
        wait = self.told.retry_after
        more = {"Retry-After": wait} if wait is not None and status in (429, 503) else {}
        if self.told.encoding:
            more["Content-Encoding"] = self.told.encoding
        error = {"error": {"message": message, "type": "invalid_request_error"}}
        self._send(status, json.dumps(error).encode(), **more)

    def _send(self, status: int, data: bytes, kind: str = "application/json", **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Connection", "close")
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)
        self.close_connection = True

    def _reset(self) -> None:
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()
