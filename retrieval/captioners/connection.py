"""The way to an endpoint: what is sent within its time, and why it could not be."""

from __future__ import annotations

import logging
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx2

from retrieval import config
from retrieval.captioners import failures, wire
from retrieval.captioners.in_time import THREAD
from retrieval.errors import ModelUnavailable

if TYPE_CHECKING:
    from retrieval.captioners.address import Address
    from retrieval.captioners.failures import Failure

CONNECT_SECONDS = 5.0
STALL_SECONDS = 30.0
"""Silence within an answer that counts as its end. The first word may take all the time there is:
servers load a model when it is first asked for and read the picture before they speak, and begin anew
when nobody waits any more."""
GRACE_SECONDS = 0.2
FAILED = (httpx2.HTTPError, httpx2.InvalidURL, UnicodeError)
"""What sending raises; the last for names that no name service takes."""

_LOGS = ("httpcore2.http11", "httpcore2.proxy")
"""What logs the headers that come back, in which a server may tell the key."""


def _not_of_a_chat(record: logging.LogRecord) -> bool:
    return record.threadName != THREAD


class Connection:
    """Sends to one host alone; redirects are not followed, and no connection outlives its answer."""

    def __init__(self, where: Address) -> None:
        self._where = where
        self._lock = threading.Lock()
        self._client: httpx2.Client | None = None

    @contextmanager
    def sent(
        self, method: str, url: str, deadline: float, body: dict[str, Any] | None = None
    ) -> Iterator[httpx2.Response]:
        """An answer as it begins; raises one of `FAILED`."""
        left = max(0.01, deadline - time.monotonic())
        stall = min(STALL_SECONDS, left)
        timeout = {"connect": min(CONNECT_SECONDS, left), "read": left, "write": stall, "pool": left}
        headers = {"Authorization": self._where.authorization} if self._where.authorization else {}
        extensions: Any = {"timeout": timeout}
        with self._connected().stream(
            method, url, json=body, headers=headers, extensions=extensions
        ) as response:
            yield response

    def unsent(self, error: Exception, deadline: float) -> Failure:
        """Why nothing came; the exception itself goes no further, as it holds the request."""
        if isinstance(error, httpx2.ReadTimeout | httpx2.WriteTimeout):
            if time.monotonic() >= deadline - GRACE_SECONDS:
                return failures.late(self._where)
            return failures.silent(self._where, STALL_SECONDS)
        if isinstance(error, httpx2.ReadError | httpx2.WriteError | httpx2.RemoteProtocolError):
            return failures.cut(self._where)
        if isinstance(error, httpx2.ProxyError):
            return failures.unproxied(self._where)
        return failures.down(self._where, error)

    def _connected(self) -> httpx2.Client:
        with self._lock:
            if self._client is not None:
                return self._client
            for name in _LOGS:
                logging.getLogger(name).addFilter(_not_of_a_chat)
            # Where nothing is encrypted, the authorities are not read from disk: it takes longer than asking.
            bare = self._where.local and not self._where.encrypted
            try:
                # No connection is kept: one that a server has closed meanwhile would only fail the next chat.
                self._client = httpx2.Client(
                    headers={"Accept-Encoding": "identity", "User-Agent": config.APP},
                    trust_env=not self._where.local,
                    verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if bare else httpx2.create_ssl_context(),
                    limits=httpx2.Limits(max_keepalive_connections=0),
                )
                return self._client
            except (ImportError, ValueError, OSError, httpx2.InvalidURL) as error:
                kind = type(error).__name__
        raise ModelUnavailable(
            f"The proxy or the certificates that the environment names cannot be used ({kind}). "
            "Look at HTTPS_PROXY, ALL_PROXY and SSL_CERT_FILE."
        )


def compressed(response: httpx2.Response) -> bool:
    """Whether an answer came compressed, which was not asked for and is not read."""
    return response.headers.get("Content-Encoding", "identity").lower() != "identity"


def body_of(response: httpx2.Response, deadline: float) -> bytes:
    """What an answer holds, as far as it is read at all."""
    data = bytearray()
    if compressed(response):
        return b""
    for part in response.iter_raw():
        data += part
        if len(data) > wire.MAX_BODY or time.monotonic() > deadline:
            break
    return bytes(data)
