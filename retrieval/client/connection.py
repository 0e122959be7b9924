"""Requests to a server, and what comes back of them, with the standard library alone."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrieval.client.asked import query_string
from retrieval.client.told import error_of
from retrieval.errors import QueryError, RetrievalError

if TYPE_CHECKING:
    from http.client import HTTPResponse

    from retrieval.client.asked import Params

API = "/api/v1"


class ServerUnavailable(RetrievalError):
    """No server answers there, or something that is none."""


class Connection:
    """The way to one server. It keeps nothing open, so that several threads can use it."""

    def __init__(self, url: str, *, token: str | None, seconds: float) -> None:
        from urllib.parse import urlsplit

        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise QueryError(f"'{url}' is no address of a server. Write it as http://127.0.0.1:7788")
        self.url = url.rstrip("/")
        self._secure = parts.scheme == "https"
        self._host, self._port = parts.hostname, parts.port
        self._path = parts.path.rstrip("/")
        self._token = token
        self._seconds = seconds

    def get(self, path: str, params: Params) -> dict[str, Any]:
        return self.request("GET", path + query_string(params), None, {})

    def send(self, path: str, params: Params, files: Sequence[Path]) -> dict[str, Any]:
        from retrieval.regular_files import read_regular

        boundary = secrets.token_hex(16)
        parts = [
            f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="picture"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n".encode("ascii")
            + read_regular(path.expanduser())
            + b"\r\n"
            for path in files
        ]
        body = b"".join(parts) + f"--{boundary}--\r\n".encode("ascii")
        headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        return self.request("POST", path + query_string(params), body, headers)

    def request(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str], *, prefix: str = API
    ) -> dict[str, Any]:
        from http.client import HTTPException

        with self.open(method, path, body, headers, prefix=prefix) as answer:
            try:
                found = json.loads(answer.read())
            except (OSError, ValueError, HTTPException) as error:
                raise self.unavailable("answers with what is no answer of this program") from error
        if not isinstance(found, dict):
            raise self.unavailable("answers with what is no answer of this program")
        return found

    def open(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str], *, prefix: str = API
    ) -> HTTPResponse:
        """The answer to a request, once it has begun and is a good one."""
        from http.client import HTTPConnection, HTTPException, HTTPSConnection

        kind = HTTPSConnection if self._secure else HTTPConnection
        connection = kind(self._host, self._port, timeout=self._seconds)
        # One question a connection: the answer then holds the socket, and closes it at its end.
        sent = {"Accept": "application/json", "Connection": "close", **headers}
        if self._token is not None:
            sent["Authorization"] = f"Bearer {self._token}"
        try:
            connection.request(method, self._path + prefix + path, body, sent)
            answer = connection.getresponse()
            if connection.sock is not None:  # whoever answers does not close by itself
                connection.sock.close()
            if answer.status < 300:
                return answer
            with answer:
                said = answer.read(1 << 20)
        except (OSError, HTTPException) as error:
            connection.close()
            raise self.unavailable(f"does not answer ({error})") from error
        try:
            row = json.loads(said)
            row["detail"], row["status"]
        except (ValueError, TypeError, KeyError):
            raise self.unavailable(f"answers with the status {answer.status} and no reason") from None
        raise error_of(row)

    def unavailable(self, what: str) -> ServerUnavailable:
        return ServerUnavailable(f"The server at {self.url} {what}. Start it: search serve")


def events(answer: HTTPResponse) -> Iterator[tuple[str, dict[str, Any]]]:
    """The events as they come. One that broke off is none: whoever waits for the last misses it."""
    from http.client import HTTPException

    name = ""
    try:
        for raw in answer:
            field, _, value = raw.decode("utf-8").rstrip("\r\n").partition(": ")
            if field == "event":
                name = value
            elif field == "data":
                yield name, json.loads(value)
    except (OSError, ValueError, HTTPException):
        return
