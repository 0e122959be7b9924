"""Pictures from the web, for people who allow it.

An address in a query may come from anyone, so what is fetched is bounded in every way: only
http and https, only the public internet, a few redirects, one deadline for all of it, a size,
and nothing but pictures. A name is resolved once: the address that was checked is the one that
is dialled, so that a second answer of the name server cannot lead elsewhere.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import ipaddress
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING
from urllib.parse import quote, urljoin, urlsplit

from retrieval.errors import ImageUnreadable, QueryError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

Resolve = Callable[[str, int], Sequence[str]]
"""The addresses of a host name, as text."""
Connect = Callable[[tuple[str, int], float], socket.socket]
"""A connection to an address and port, made within so many seconds."""

SECONDS = 10.0
MAX_BYTES = 20_000_000
MAX_URL = 4096
MAX_REDIRECTS = 5
MAX_ADDRESSES = 4
PORTS = {"http": 80, "https": 443}
REDIRECTS = (301, 302, 303, 307, 308)

# What Python calls global in one version or another, and what is not the open internet all the same:
# shared and protocol addresses, and IPv6 that stands for an IPv4 address behind a gateway.
_NOT_PUBLIC = [
    ipaddress.ip_network(net)
    for net in (
        *("0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.88.99.0/24", "240.0.0.0/4"),
        *("192.31.196.0/24", "192.52.193.0/24", "192.175.48.0/24"),
        *("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20"),
    )
]
_PUBLIC_V6 = ipaddress.ip_network("2000::/3")
"""All that was ever given out for use; NAT64, mapped and local addresses lie outside."""


def is_public(address: str) -> bool:
    """Whether an address is one of the open internet."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    if ip.version == 6 and (ip not in _PUBLIC_V6 or "%" in address):
        return False
    odd = ip.is_multicast or ip.is_reserved or ip.is_unspecified or ip.is_loopback or ip.is_link_local
    return ip.is_global and not odd and not any(ip in net for net in _NOT_PUBLIC if net.version == ip.version)


def resolve_host(host: str, port: int) -> list[str]:
    """The addresses of a host, from the system."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def connect_to(address: tuple[str, int], seconds: float) -> socket.socket:
    return socket.create_connection(address, timeout=seconds)


def fetch_image(
    url: str,
    *,
    allow: bool,
    seconds: float = SECONDS,
    max_bytes: int = MAX_BYTES,
    resolve: Resolve = resolve_host,
    connect: Connect = connect_to,
) -> bytes:
    """The bytes of a picture on the web: as the server sent them, not decoded.

    What is asked wrongly, or must not be asked, is a `QueryError`; what the server does wrong
    is an `ImageUnreadable`. Proxies of the environment are not used, and nothing is sent that
    tells about the person: no cookies, no referrer.
    """
    if not allow:
        raise QueryError(
            f"Pictures are not fetched from the web: {_shown(url)}. To allow it: add --allow-url"
        )
    deadline = _Deadline(seconds)
    for _ in range(MAX_REDIRECTS + 1):
        address = _Address(url)
        try:
            with contextlib.closing(_open(address, deadline, resolve, connect)) as connection:
                response = _ask(connection, address)
                onward = response.headers.get("Location") if response.status in REDIRECTS else None
                if onward is None:
                    return _body(response, address, max_bytes)
        except TimeoutError as error:
            raise ImageUnreadable(
                f"{address.host} took longer than {seconds:g} seconds to send the picture", reason="timeout"
            ) from error
        except ssl.SSLCertVerificationError as error:
            raise ImageUnreadable(
                f"{address.host} could not prove that it is {address.host}: {error.verify_message}",
                reason="unreadable",
            ) from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            said = error.strerror if isinstance(error, OSError) else None
            raise ImageUnreadable(
                f"{address.host} could not be asked for the picture: {said or type(error).__name__}",
                reason="unreadable",
            ) from error
        url = _onward(address, onward)
    raise ImageUnreadable(
        f"{_shown(url)} was redirected more than {MAX_REDIRECTS} times", reason="unreadable"
    )


class _Deadline:
    """One end for everything: name, connection, headers and body."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


class _Address:
    """A URL that may be asked for, taken apart."""

    def __init__(self, url: str) -> None:
        if len(url) > MAX_URL:
            raise QueryError(
                f"The address of the picture has {len(url)} characters; at most {MAX_URL} will do."
            )
        if re.search(r"[\x00-\x20\x7f\\]", url):
            raise QueryError(
                "The address of the picture has spaces, control characters or backslashes in it."
            )
        try:
            parts = urlsplit(url)
            port = parts.port
            host = parts.hostname or ""
        except ValueError as error:
            raise QueryError(f"{_shown(url)} is not an address on the web.") from error
        if parts.scheme not in PORTS:
            raise QueryError(
                f"{_shown(url)} is not an address on the web: it begins with http:// or https://"
            )
        if "@" in parts.netloc:
            raise QueryError("The address of the picture holds a user name or password. Leave it out.")
        if (port or PORTS[parts.scheme]) not in PORTS.values():
            raise QueryError(f"{_shown(url)} names port {port}; pictures are fetched from 80 and 443 only.")
        self.url = url
        self.scheme = parts.scheme
        self.port = port or PORTS[parts.scheme]
        self.host = _host(host, url, bracketed="[" in parts.netloc)
        self.literal = _literal(self.host)
        path = quote(parts.path or "/", safe="/%!$&'()*+,;=:@~-._")
        query = quote(parts.query, safe="/?%!$&'()*+,;=:@~-._")
        self.target = f"{path}?{query}" if query else path

    @property
    def host_header(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"


def _host(host: str, url: str, *, bracketed: bool) -> str:
    """A host name in ASCII, or an IP address in its one plain form."""
    wrong = QueryError(f"{_shown(url)} names no host that can be asked.")
    if bracketed:
        if ":" not in host or "%" in host or _literal(host) is None:
            raise wrong
        return host
    try:
        name = host.encode("idna").decode("ascii").lower().removesuffix(".")
    except UnicodeError as error:
        raise wrong from error
    if not re.fullmatch(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*", name) or len(name) > 253:
        raise wrong
    # A name whose last part is a number is an IPv4 address, which systems read in many ways: 0x7f.1
    if re.fullmatch(r"\d+|0x[0-9a-f]*", name.rpartition(".")[2]) and _literal(name) is None:
        raise wrong
    return name


def _literal(host: str) -> str | None:
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return None


def _onward(address: _Address, location: str) -> str:
    try:
        url = urljoin(address.url, location)
    except ValueError as error:
        raise ImageUnreadable(f"{address.host} redirected to no address", reason="unreadable") from error
    if address.scheme == "https" and not url.lower().startswith("https:"):
        raise QueryError(
            f"{address.host} redirects from https to an address without it, which is not followed."
        )
    return url


def _open(address: _Address, deadline: _Deadline, resolve: Resolve, connect: Connect) -> _Connection:
    """A connection to an address that was checked, with TLS for the name that was asked for."""
    numbers = [address.literal] if address.literal else _resolved(address, deadline, resolve)
    if not numbers:
        raise OSError(None, "the name is not known")
    if not all(map(is_public, numbers)):
        raise QueryError(f"{address.host} is not on the public internet, so nothing is fetched from it.")
    failure: OSError | None = None
    for number in numbers[:MAX_ADDRESSES]:
        try:
            plain = connect((number, address.port), deadline.left())
        except TimeoutError:
            deadline.left()
            failure = TimeoutError()
        except OSError as error:
            failure = error
        else:
            return _Connection(_secured(plain, address, deadline), deadline)
    raise failure or OSError(None, "no address")


def _secured(plain: socket.socket, address: _Address, deadline: _Deadline) -> socket.socket:
    if address.scheme == "http":
        return plain
    try:
        plain.settimeout(deadline.left())
        return ssl.create_default_context().wrap_socket(plain, server_hostname=address.host)
    except BaseException:
        plain.close()
        raise


def _resolved(address: _Address, deadline: _Deadline, resolve: Resolve) -> list[str]:
    """The addresses of a name; the system's resolver knows no deadline, so it is waited for apart."""
    answers: list[list[str]] = []
    failures: list[Exception] = []

    def ask() -> None:
        try:
            answers.append(list(resolve(address.host, address.port)))
        except Exception as error:
            failures.append(error)

    thread = threading.Thread(target=ask, name="resolve", daemon=True)
    thread.start()
    thread.join(deadline.left())
    if failures:
        raise failures[0]
    if not answers:
        raise TimeoutError
    return answers[0]


class _Connection(io.RawIOBase):
    """A socket whose every step keeps the deadline; what `http.client` needs of one."""

    def __init__(self, plain: socket.socket, deadline: _Deadline) -> None:
        super().__init__()
        self._socket = plain
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        # A timeout of the socket starts anew with each byte, which a server could send one by one.
        self._socket.settimeout(self._deadline.left())
        return self._socket.recv_into(buffer)

    def sendall(self, data: bytes) -> None:
        self._socket.settimeout(self._deadline.left())
        self._socket.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        assert mode == "rb"
        return io.BufferedReader(self)

    def close(self) -> None:
        if not self.closed:
            self._socket.close()
        super().close()


def _ask(connection: _Connection, address: _Address) -> http.client.HTTPResponse:
    lines = [
        f"GET {address.target} HTTP/1.1",
        f"Host: {address.host_header}",
        "Accept: image/*",
        "Accept-Encoding: identity",
        "User-Agent: picture-search",
        "Connection: close",
    ]
    connection.sendall("\r\n".join([*lines, "", ""]).encode("ascii"))
    response = http.client.HTTPResponse(connection, method="GET")  # type: ignore[arg-type]
    response.begin()
    return response


def _body(response: http.client.HTTPResponse, address: _Address, max_bytes: int) -> bytes:
    """The picture, if it is one: what the headers say is believed only where it forbids something."""
    if response.status != 200:
        raise ImageUnreadable(f"{address.host} answered {response.status}", reason="unreadable")
    kind = (response.headers.get("Content-Type") or "").partition(";")[0].strip().lower()
    if not kind.startswith("image/") or kind.startswith("image/svg"):
        named = re.sub(r"[^a-z0-9.+/-]", "?", kind[:60]) or "nothing it gives a name to"
        raise ImageUnreadable(f"{address.host} sent {named}, not a picture", reason="not-an-image")
    encoded = (response.headers.get("Content-Encoding") or "identity").strip().lower()
    carried = (response.headers.get("Transfer-Encoding") or "chunked").strip().lower()
    if encoded != "identity" or carried != "chunked":
        raise ImageUnreadable(f"{address.host} sent the picture compressed, unasked", reason="unreadable")
    too_large = ImageUnreadable(
        f"The picture at {address.host} is larger than {max_bytes:,} bytes", reason="too-large"
    )
    length = response.length
    if length is not None and length > max_bytes:
        raise too_large
    data = bytearray()
    while block := response.read(min(1 << 16, max_bytes + 1 - len(data))):
        data += block
        if len(data) > max_bytes:
            raise too_large
    if length is not None and len(data) < length:
        raise ImageUnreadable(f"{address.host} stopped in the middle of the picture", reason="damaged")
    if not data:
        raise ImageUnreadable(f"{address.host} sent an empty picture", reason="empty")
    return bytes(data)


def _shown(url: str) -> str:
    """An address fit for a message: short, and without a password."""
    plain = re.sub(r"[\x00-\x20\x7f]", "?", url[:MAX_URL])
    plain = re.sub(r"//[^/]*@", "//", plain)
    return plain if len(plain) <= 100 else plain[:97] + "..."
