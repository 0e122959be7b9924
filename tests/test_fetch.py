"""Pictures from the web: a real server on loopback, reached by a connector that is told another address."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from retrieval.errors import ImageUnreadable, QueryError
from retrieval.fetch import MAX_URL, fetch_image, is_public

PUBLIC = "93.184.215.14"
PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40

Answer = bytes | Callable[[socket.socket], None]


class Site:
    """Answers each path as told, and remembers what it was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.asked: list[bytes] = []
        self.dialled: list[tuple[str, int]] = []
        self.resolved: list[str] = []
        self.addresses: dict[str, list[list[str]]] = {}
        self.context: ssl.SSLContext | None = None
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._serve(self._accept)

    def _serve(self, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self._serve(self._handle, self._listener.accept()[0])

    def _handle(self, plain: socket.socket) -> None:
        with contextlib.suppress(OSError), plain:
            peer = self.context.wrap_socket(plain, server_side=True) if self.context else plain
            with peer:
                asked = b""
                while b"\r\n\r\n" not in asked:
                    part = peer.recv(65536)
                    if not part:
                        return
                    asked += part
                self.asked.append(asked)
                answer = self.answers[asked.split(b" ", 2)[1].decode()]
                if callable(answer):
                    answer(peer)
                else:
                    peer.sendall(answer)

    def drip(self, head: bytes, drop: bytes) -> Answer:
        """`head`, then `drop` again and again until the other side has had enough."""

        def send(peer: socket.socket) -> None:
            peer.sendall(head)
            while not self._stop.wait(0.02):
                peer.sendall(drop)

        return send

    def close(self) -> None:
        self._stop.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(5)

    def resolve(self, host: str, port: int) -> list[str]:
        self.resolved.append(host)
        answers = self.addresses.get(host, [[PUBLIC]])
        return answers.pop(0) if len(answers) > 1 else answers[0]

    def connect(self, address: tuple[str, int], seconds: float) -> socket.socket:
        self.dialled.append(address)
        assert is_public(address[0])
        return socket.create_connection(self._listener.getsockname(), timeout=seconds)

    def fetch(self, url: str, *, seconds: float = 5.0, max_bytes: int = 100_000) -> bytes:
        return fetch_image(
            url,
            allow=True,
            seconds=seconds,
            max_bytes=max_bytes,
            resolve=self.resolve,
            connect=self.connect,
        )


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    yield made
    made.close()


def reply(body: bytes = PICTURE, status: str = "200 OK", kind: str = "image/png", **more: str) -> bytes:
    headers = {"Content-Type": kind, "Content-Length": str(len(body))}
    headers |= {name.replace("_", "-"): value for name, value in more.items()}
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in headers.items() if value), "", ""]
    return "\r\n".join(lines).encode() + body


def moved(location: str, status: str = "302 Found") -> bytes:
    return reply(b"", status, "", Location=location)


def test_a_picture_comes_as_the_server_sent_it(site: Site) -> None:
    site.answers["/a%20b.png?size=2&q=%C3%A9"] = reply()
    assert site.fetch("http://photos.example/a%20b.png?size=2&q=é#part") == PICTURE
    assert site.dialled == [(PUBLIC, 80)]
    head = site.asked[0].decode().lower()
    assert "host: photos.example\r\n" in head
    assert "accept-encoding: identity\r\n" in head
    assert "cookie" not in head
    assert "referer" not in head


def test_nothing_is_fetched_unless_it_is_allowed(site: Site) -> None:
    with pytest.raises(QueryError, match="--allow-url"):
        fetch_image("http://a.example/x.png", allow=False, resolve=site.resolve, connect=site.connect)
    assert not site.resolved
    assert not site.dialled


def test_a_message_keeps_no_password() -> None:
    with pytest.raises(QueryError) as caught:
        fetch_image("http://me:secret@a.example/x.png", allow=False)
    assert "secret" not in str(caught.value)


def test_proxies_of_the_environment_are_not_used(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    site.answers["/x.png"] = reply()
    assert site.fetch("http://a.example/x.png") == PICTURE


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.8.8.8", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254"),
        *("100.64.0.1", "0.0.0.0", "0.1.2.3", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255"),
        *("192.0.0.8", "192.0.2.1", "192.88.99.1", "198.18.0.1", "203.0.113.7"),
        *("::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12:3456::1", "fec0::1", "ff02::1"),
        *("::ffff:127.0.0.1", "::ffff:93.184.215.14", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::1"),
        *("2002:7f00:1::", "2001::1", "2001:db8::1", "100::1", "3fff::1", "4000::1", "nonsense", ""),
    ],
)  # fmt: skip
def test_addresses_that_are_not_public_are_refused(site: Site, address: str) -> None:
    assert not is_public(address)
    site.addresses["rebound.example"] = [[address]]
    with pytest.raises(QueryError, match="not on the public internet"):
        site.fetch("http://rebound.example/x.png")
    site.addresses["rebound.example"] = [[PUBLIC, address]]
    with pytest.raises(QueryError, match="not on the public internet"):
        site.fetch("http://rebound.example/x.png")
    assert not site.dialled


@pytest.mark.parametrize("address", [PUBLIC, "8.8.8.8", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"])
def test_public_addresses_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "host",
    [
        *("2130706433", "0x7f000001", "0x7f.0.0.1", "0177.0.0.1", "127.1", "127.0.1", "017700000001"),
        *("1.2.3.4.5", "256.1.1.1", "08.8.8.8", "0x", "1.2.3.0x4"),
        *("a..b", "-" * 64, "a" * 64 + ".example", "ex ample", "a%2eb", "[::1%25lo]", "[v1.x]", "[::1", "", "..."),
    ],
)  # fmt: skip
def test_odd_hosts_are_refused_before_any_look_up(site: Site, host: str) -> None:
    with pytest.raises(QueryError):
        site.fetch(f"http://{host}/x.png")
    assert not site.resolved
    assert not site.dialled


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "[::1]", "[::ffff:7f00:1]", "[64:ff9b::127.0.0.1]", "１２７.0.0.1"]
)
def test_literal_addresses_are_checked_without_a_look_up(site: Site, host: str) -> None:
    with pytest.raises(QueryError):
        site.fetch(f"http://{host}/x.png")
    assert not site.resolved
    assert not site.dialled


def test_a_literal_public_address_is_dialled_as_it_is(site: Site) -> None:
    site.answers["/x.png"] = reply()
    assert site.fetch("http://[2606:2800:21f:cb07::1]/x.png") == PICTURE
    assert b"Host: [2606:2800:21f:cb07::1]\r\n" in site.asked[0]
    assert not site.resolved


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("ftp://a.example/x.png", "http:// or https://"),
        ("file:///etc/passwd", "http:// or https://"),
        ("//a.example/x.png", "http:// or https://"),
        ("http://me@a.example/x.png", "user name"),
        ("http://me:secret@a.example/x.png", "user name"),
        ("http://a.example:8080/x.png", "port 8080"),
        ("http://a.example:22/x.png", "port 22"),
        ("http://a.example:99999/x.png", "not an address"),
        ("http://a.example/x\r\nHost: b.example", "control characters"),
        ("http://a.example\\@b.example/", "backslashes"),
        ("http://a.example/" + "x" * MAX_URL, "characters"),
    ],
)
def test_addresses_that_are_not_plain_are_refused(site: Site, url: str, message: str) -> None:
    with pytest.raises(QueryError, match=message) as caught:
        site.fetch(url)
    assert "secret" not in str(caught.value)
    assert len(str(caught.value)) < 300
    assert not site.resolved


def test_a_name_is_resolved_once_and_its_address_dialled(site: Site) -> None:
    """A name server that answers differently the second time leads nowhere."""
    site.addresses["rebound.example"] = [[PUBLIC], ["127.0.0.1"]]
    site.answers["/x.png"] = reply()
    assert site.fetch("http://rebound.example/x.png") == PICTURE
    assert site.resolved == ["rebound.example"]
    assert site.dialled == [(PUBLIC, 80)]


def test_a_redirect_to_the_same_name_is_resolved_and_checked_again(site: Site) -> None:
    site.addresses["rebound.example"] = [[PUBLIC], ["127.0.0.1"]]
    site.answers["/x.png"] = moved("/y.png")
    with pytest.raises(QueryError, match="not on the public internet"):
        site.fetch("http://rebound.example/x.png")
    assert len(site.dialled) == 1


@pytest.mark.parametrize(
    "location",
    [
        *("http://127.0.0.1/admin", "http://localhost.example/", "http://[::1]/", "//169.254.169.254/meta-data"),
        *("file:///etc/passwd", "http://me:secret@b.example/", "http://b.example:22/", "http://0x7f.1/"),
    ],
)  # fmt: skip
def test_redirects_are_checked_like_the_first_address(site: Site, location: str) -> None:
    site.addresses["localhost.example"] = [["127.0.0.1"]]
    site.answers["/x.png"] = moved(location)
    with pytest.raises(QueryError):
        site.fetch("http://a.example/x.png")
    assert len(site.dialled) == 1


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 Other", "307 Temporary", "308 Permanent"])
def test_redirects_are_followed(site: Site, status: str) -> None:
    site.answers["/x.png"] = moved("//b.example/y.png", status)
    site.answers["/y.png"] = reply()
    assert site.fetch("http://a.example/x.png") == PICTURE
    assert site.resolved == ["a.example", "b.example"]


def test_a_loop_of_redirects_ends(site: Site) -> None:
    site.answers["/x.png"] = moved("/x.png")
    with pytest.raises(ImageUnreadable, match="redirected more than 5 times"):
        site.fetch("http://a.example/x.png")
    assert len(site.dialled) == 6


CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n"
ENDLESS = b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n\r\n"


@pytest.mark.parametrize(
    ("head", "drop"),
    [
        (b"", b""),
        (b"HTTP/1.1 200 OK\r\n", b"X"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (ENDLESS, b"."),
        (CHUNKED, b"1\r\n.\r\n"),
        (reply(b"", Content_Length="5000"), b"."),
    ],
)
def test_a_server_that_drips_meets_the_deadline(site: Site, head: bytes, drop: bytes) -> None:
    site.answers["/x.png"] = site.drip(head, drop)
    with pytest.raises(ImageUnreadable, match="longer than") as caught:
        site.fetch("http://a.example/x.png", seconds=0.3)
    assert caught.value.reason == "timeout"


def test_redirects_share_one_deadline(site: Site) -> None:
    def late(peer: socket.socket) -> None:
        site._stop.wait(0.15)
        peer.sendall(moved("/x.png"))

    site.answers["/x.png"] = late
    with pytest.raises(ImageUnreadable, match="longer than"):
        site.fetch("http://a.example/x.png", seconds=0.4)


def test_a_name_server_that_never_answers_meets_the_deadline() -> None:
    never = threading.Event()

    def resolve(host: str, port: int) -> list[str]:
        never.wait(20)
        return []

    with pytest.raises(ImageUnreadable, match="longer than"):
        fetch_image("http://a.example/x.png", allow=True, seconds=0.1, resolve=resolve)
    never.set()


def test_a_name_that_is_not_known_is_told(site: Site) -> None:
    def resolve(host: str, port: int) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with pytest.raises(ImageUnreadable, match="Name or service not known"):
        fetch_image("http://a.example/x.png", allow=True, resolve=resolve, connect=site.connect)


def test_the_next_address_is_tried_when_one_does_not_answer(site: Site) -> None:
    site.answers["/x.png"] = reply()
    tried = []

    def connect(address: tuple[str, int], seconds: float) -> socket.socket:
        tried.append(address[0])
        if len(tried) == 1:
            raise ConnectionRefusedError(111, "Connection refused")
        return site.connect(address, seconds)

    site.addresses["a.example"] = [["8.8.4.4", PUBLIC]]
    url = "http://a.example/x.png"
    assert fetch_image(url, allow=True, resolve=site.resolve, connect=connect) == PICTURE
    assert tried == ["8.8.4.4", PUBLIC]


@pytest.mark.parametrize(
    ("answer", "message", "reason"),
    [
        (reply(kind="text/html"), "text/html", "not-an-image"),
        (reply(kind="image/svg+xml; charset=utf-8"), "svg", "not-an-image"),
        (reply(kind=""), "nothing it gives a name to", "not-an-image"),
        (reply(kind="text/\x1b[31mevil"), r"text/\?", "not-an-image"),
        (reply(Content_Encoding="gzip"), "compressed", "unreadable"),
        (reply(Transfer_Encoding="gzip, chunked"), "compressed", "unreadable"),
        (reply(status="404 Not Found"), "answered 404", "unreadable"),
        (reply(status="206 Partial Content"), "answered 206", "unreadable"),
        (reply(b"", "304 Not Modified"), "answered 304", "unreadable"),
        (reply(b""), "empty", "empty"),
        (reply(Content_Length="99999"), "in the middle", "damaged"),
        (reply(Content_Length="200000"), "larger than 100,000", "too-large"),
        (ENDLESS + b"." * 200_000, "larger than 100,000", "too-large"),
        (reply(b"." * 200_000, Content_Length="nonsense"), "larger than 100,000", "too-large"),
        (CHUNKED + b"30d40\r\n" + b"." * 200_000 + b"\r\n0\r\n\r\n", "larger than", "too-large"),
        (CHUNKED + b"zz\r\n", "could not be asked", "unreadable"),
        (b"", "could not be asked", "unreadable"),
        (b"SSH-2.0-OpenSSH\r\n", "could not be asked", "unreadable"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200, "could not be asked", "unreadable"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000, "could not be asked", "unreadable"),
    ],
)
def test_what_is_not_a_picture_of_fair_size_is_refused(
    site: Site, answer: bytes, message: str, reason: str
) -> None:
    site.answers["/x.png"] = answer
    with pytest.raises(ImageUnreadable, match=message) as caught:
        site.fetch("http://a.example/x.png")
    assert caught.value.reason == reason
    assert "\x1b" not in str(caught.value)


def test_more_than_was_announced_is_not_read(site: Site) -> None:
    site.answers["/x.png"] = reply(PICTURE + b"." * 500_000, Content_Length=str(len(PICTURE)))
    assert site.fetch("http://a.example/x.png") == PICTURE


def test_a_picture_in_chunks_is_put_together(site: Site) -> None:
    half = len(PICTURE) // 2
    chunks = b"".join(
        f"{len(part):x}\r\n".encode() + part + b"\r\n" for part in (PICTURE[:half], PICTURE[half:])
    )
    site.answers["/x.png"] = CHUNKED + chunks + b"0\r\n\r\n"
    assert site.fetch("http://a.example/x.png") == PICTURE


def test_a_name_in_other_letters_is_asked_in_ascii(site: Site) -> None:
    site.answers["/"] = reply()
    assert site.fetch("http://Bücher.example") == PICTURE
    assert site.resolved == ["xn--bcher-kva.example"]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for photos.example, made here."""
    folder = tmp_path_factory.mktemp("certificate")
    key, made = folder / "key.pem", folder / "made.pem"
    name = ["-subj", "/CN=photos.example", "-addext", "subjectAltName=DNS:photos.example"]
    kind = ["-newkey", "rsa:2048", "-nodes", "-days", "2"]
    call = ["openssl", "req", "-x509", *kind, *name, "-keyout", str(key), "-out", str(made)]
    subprocess.run(call, check=True, capture_output=True)
    return key, made


@pytest.fixture
def secure(site: Site, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> Site:
    key, made = certificate
    site.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    site.context.load_cert_chain(made, key)
    monkeypatch.setenv("SSL_CERT_FILE", str(made))
    site.answers["/x.png"] = reply()
    return site


def test_tls_is_for_the_name_and_not_for_the_dialled_address(secure: Site) -> None:
    asked_for: list[str | None] = []
    assert secure.context is not None
    secure.context.sni_callback = lambda _, name, __: asked_for.append(name)
    assert secure.fetch("https://photos.example/x.png") == PICTURE
    assert asked_for == ["photos.example"]
    assert secure.dialled == [(PUBLIC, 443)]


def test_a_server_that_is_another_is_refused(secure: Site) -> None:
    with pytest.raises(ImageUnreadable, match="could not prove"):
        secure.fetch("https://other.example/x.png")


def test_a_certificate_that_nobody_vouches_for_is_refused(
    secure: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(ImageUnreadable, match="could not prove"):
        secure.fetch("https://photos.example/x.png")


def test_a_redirect_out_of_tls_is_not_followed(secure: Site) -> None:
    secure.answers["/x.png"] = moved("http://photos.example/y.png")
    with pytest.raises(QueryError, match="from https"):
        secure.fetch("https://photos.example/x.png")


def test_a_handshake_that_never_ends_meets_the_deadline(site: Site) -> None:
    """The server waits for a request in clear text, and says nothing to a handshake."""
    with pytest.raises(ImageUnreadable, match="longer than"):
        site.fetch("https://photos.example/x.png", seconds=0.2)
