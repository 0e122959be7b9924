"""Who is let through to a server, by name, by origin, by address and by token."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from retrieval.access import Guard, Refusal, is_loopback, kept_token, own_names

TOKEN = "a-token-of-enough-characters"
OWN = frozenset({"localhost:1"})


def status(guard: dict[str, Any], headers: dict[str, str], **scope: Any) -> int:
    """What a request with these headers gets: 200 where it is let through."""
    seen: list[int] = []

    async def app(*_: object) -> None:
        seen.append(200)

    def refused(refusal: Refusal) -> Any:
        async def answer(*_: object) -> None:
            seen.append(refusal.status)

        return answer

    raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
    asked = {"type": "http", "method": "GET", "path": "/", "headers": raw, **scope}
    made = Guard(app, **{"hosts": None, "token": None, "refused": refused, **guard})
    asyncio.run(made(asked, None, None))  # type: ignore[arg-type]
    assert len(seen) == 1
    return seen[0]


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8000", "127.0.0.1:1", "127.9.9.9", "[::1]", "[::1]:80"]
)
def test_by_itself_a_server_goes_by_the_names_of_its_own_machine(host: str) -> None:
    listens = {"server": ("127.0.0.1", 8000), "client": ("127.0.0.1", 5)}
    assert status({}, {"Host": host}, **listens) == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1", "", "a:b",
     "testserver", "[::2]", "127.0.0.1:8000@evil.example"],
)  # fmt: skip
def test_a_name_that_was_made_to_point_here_is_refused(host: str) -> None:
    listens = {"server": ("127.0.0.1", 8000), "client": ("127.0.0.1", 5)}
    assert status({}, {"Host": host}, **listens) == 421


def test_a_call_inside_the_process_names_the_app_as_it_likes() -> None:
    assert status({}, {"Host": "testserver"}, server=("testserver", 80), client=("testclient", 1)) == 200
    assert status({}, {"Host": "other"}, server=("testserver", 80)) == 421
    assert status({}, {"Host": "10.0.0.1"}, server=("10.0.0.1", 80)) == 421


def test_without_a_token_nobody_from_elsewhere_is_served() -> None:
    assert status({}, {"Host": "localhost"}, server=("0.0.0.0", 80), client=("192.168.1.7", 5)) == 403
    assert status({}, {"Host": "localhost"}, server=("0.0.0.0", 80), client=("::ffff:10.0.0.1", 5)) == 403
    far = {"Host": "any.name", "Authorization": f"Bearer {TOKEN}"}
    assert status({"token": TOKEN}, far, client=("192.168.1.7", 5)) == 200


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Origin": "http://localhost:1"}, 200),
        ({"Origin": "http://localhost:2"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, 200),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}, 200),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}, 403),
    ],
)
def test_pages_of_other_sites_get_nothing_but_a_link_is_followed(
    headers: dict[str, str], expected: int
) -> None:
    assert status({"hosts": OWN}, {"Host": "localhost:1", **headers}) == expected


def test_a_form_elsewhere_is_not_followed() -> None:
    sent = {"Host": "localhost:1", "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert status({"hosts": OWN}, sent, method="POST") == 403


def test_a_browser_keeps_what_is_not_the_token_itself() -> None:
    guard = {"hosts": OWN, "token": TOKEN, "cookie": "kept"}
    own = {"Host": "localhost:1"}
    assert status(guard, own) == 401
    assert status(guard, {**own, "Cookie": f"x=1; kept={kept_token(TOKEN)}"}) == 200
    assert status(guard, {**own, "Cookie": f"kept={TOKEN}"}) == 401
    assert status({**guard, "cookie": None}, {**own, "Cookie": f"kept={kept_token(TOKEN)}"}) == 401
    assert status({**guard, "open_to_all": frozenset({"/healthz"})}, own, path="/healthz") == 200
    assert status({**guard, "open_to_all": frozenset({"/healthz"})}, own, path="/healthz/") == 401
    for wrong in (
        "Bearer",
        "Bearer ",
        f"Basic {TOKEN}",
        f"Bearer {TOKEN} ",
        f"Bearer {TOKEN[:-1]}",
        "Bearer \xe9",
    ):
        assert status(guard, {**own, "Authorization": wrong}) == 401
    assert status(guard, {**own, "Authorization": f"BEARER {TOKEN}"}) == 200


def test_a_server_at_loopback_knows_its_names() -> None:
    assert own_names("127.0.0.1", 7788) == {"localhost:7788", "127.0.0.1:7788", "[::1]:7788"}
    assert own_names("0.0.0.0", 7788) is None
    assert not is_loopback("127.0.0.1.evil.example")
