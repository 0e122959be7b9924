"""The server: what it gives, what it refuses, and that nothing sent to it makes it fail."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import anyio.to_thread
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from indexer import index_folder
from retrieval import Catalog
from retrieval.calls import Calls, Overloaded
from retrieval.db.queries import Writer
from retrieval.errors import CatalogBusy, CatalogError, QueryError
from retrieval.journal.keeping import Keeping
from retrieval.server import create_app
from retrieval.server.events import formed
from tests.conftest import draw, json_lines, python

TOKEN = "a-token-of-enough-characters"
API = "/api/v1"
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small library that no test changes."""
    folder = tmp_path_factory.mktemp("kept")
    for name in ("red", "green", "blue"):
        draw(folder / "photos" / f"{name}.png", name)
    index_folder(folder / "catalog", folder / "photos", model="toy", workers=1)
    return folder / "catalog"


@pytest.fixture
def reading(kept: Path) -> Iterator[TestClient]:
    with Catalog(kept) as found:
        yield TestClient(create_app(found))


@pytest.fixture
def opened(catalog: Path) -> Iterator[Catalog]:
    with Catalog(catalog) as found:
        yield found


@pytest.fixture
def web(opened: Catalog) -> TestClient:
    return TestClient(create_app(opened))


@pytest.fixture
def guarded(opened: Catalog) -> TestClient:
    return TestClient(create_app(opened, token=TOKEN), follow_redirects=False)


def problem(answer: Any, status: int) -> dict[str, Any]:
    """A failure in the form that every failure has."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    said = answer.json()
    assert said["status"] == status
    assert len(said["detail"]) > 10
    return dict(said)


def ids(web: TestClient) -> dict[str, int]:
    rows = web.get(f"{API}/images", params={"order": "name"}).json()["pictures"]
    return {Path(row["path"]).name: row["image_id"] for row in rows}


def png(colour: str = "red", size: tuple[int, int] = (40, 30)) -> bytes:
    buffer = BytesIO()
    Image.new("RGB", size, colour).save(buffer, "PNG")
    return buffer.getvalue()


def events(text: str) -> list[tuple[str, Any]]:
    found = []
    for block in text.strip().split("\n\n"):
        if block.startswith("event: "):
            name, data = block.split("\n", 1)
            found.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


def until_over(web: TestClient, number: int) -> dict[str, Any]:
    """A job once it is over, followed as a page does."""
    return dict(events(web.get(f"{API}/jobs/{number}/events").text)[-1][1])


# Searching.


def test_a_search_finds_what_the_library_finds(web: TestClient, opened: Catalog) -> None:
    found = web.get(f"{API}/search", params={"q": "red", "limit": 3, "explain": True}).json()
    hits = opened.search("red", limit=3)
    assert [row["image_id"] for row in found["hits"]] == [hit.image_id for hit in hits]
    assert [row["score"] for row in found["hits"]] == [hit.score for hit in hits]
    assert [row["explain"] for row in found["hits"]] == [dict(hit.signals) for hit in hits]
    assert {"rank", "image_id", "path", "score", "match"} <= found["hits"][0].keys()


def test_pages_of_a_search_are_its_hits_in_parts(web: TestClient, opened: Catalog) -> None:
    asked, found = {"q": "red", "all": True, "limit": 4}, []
    while True:
        page = web.get(f"{API}/search", params=asked).json()
        found += [row["image_id"] for row in page["hits"]]
        if page["next"] is None:
            break
        asked["cursor"] = page["next"]
    assert found == [hit.image_id for hit in opened.search("red", cutoff=False, limit=100)]


def test_the_order_of_dates_over_everything_is_that_of_the_library(web: TestClient, opened: Catalog) -> None:
    asked = {"q": "red", "all": True, "limit": 2, "sort": "date"}
    page = web.get(f"{API}/search", params=asked).json()
    hits = opened.search("red", cutoff=False, limit=2, sort="date")
    assert [row["image_id"] for row in page["hits"]] == [hit.image_id for hit in hits]
    assert page["next"] is None


def test_a_cursor_is_good_for_its_own_question_only(web: TestClient) -> None:
    cursor = web.get(f"{API}/search", params={"q": "red", "all": True, "limit": 1}).json()["next"]
    for other in ({"q": "blue", "all": True}, {"q": "red"}, {"q": "red", "all": True, "type": "png"}):
        problem(web.get(f"{API}/search", params={**other, "cursor": cursor}), 422)


@pytest.mark.parametrize(
    "cursor",
    ["x", "é", "", base64.b64encode(b"[1]").decode(), base64.b64encode(b"[" * 300).decode(), "A" * 600],
)
def test_a_cursor_that_is_none_is_refused(reading: TestClient, cursor: str) -> None:
    problem(reading.get(f"{API}/search", params={"q": "red", "cursor": cursor}), 422)


def test_uploaded_pictures_are_searched_with_and_without_words(web: TestClient, opened: Catalog) -> None:
    known = ids(web)
    files = [("image", ("a.png", png("red"), "image/png"))]
    found = web.post(f"{API}/search", files=files, params={"limit": 2}).json()["hits"]
    assert {row["image_id"] for row in found} == {known["red.png"], known["red-again.jpg"]}
    more = web.post(f"{API}/search", files=files, data={"q": "blue"}, params={"all": True, "limit": 6}).json()
    assert {row["image_id"] for row in more["hits"]} == set(known.values())


def test_similar_is_that_of_the_library_and_leaves_the_picture_out(web: TestClient, opened: Catalog) -> None:
    red = ids(web)["red.png"]
    found = web.get(f"{API}/images/{red}/similar", params={"limit": 3, "all": True}).json()["hits"]
    assert [row["image_id"] for row in found] == [hit.image_id for hit in opened.similar(red, limit=3)]
    page, good = web.get(f"{API}/images/{red}/similar").json(), opened.similar(red, limit=50, cutoff=True)
    assert 0 < page["cutoff"] == good.cutoff
    assert [row["image_id"] for row in page["hits"]] == [hit.image_id for hit in good]
    assert [row["image_id"] for row in page["closest"]] == [hit.image_id for hit in good.closest]
    problem(web.get(f"{API}/images/999/similar"), 404)


def test_of_the_good_hits_the_newest_are_shown(opened: Catalog, catalog: Path) -> None:
    with contextlib.closing(sqlite3.connect(catalog / "catalog.db")) as connection, connection:
        connection.execute("UPDATE images SET taken_at = '200' || id || '-01-01T00:00:00'")
    few = opened.search("red", sort="date", limit=2, min_match=0.0)
    assert [hit.image_id for hit in few] == [6, 5]
    assert [hit.rank for hit in few] == [1, 2]


def test_what_is_missing_is_counted_nowhere_else(web: TestClient, catalog: Path) -> None:
    with contextlib.closing(sqlite3.connect(catalog / "catalog.db")) as connection, connection:
        connection.execute("UPDATE images SET missing_at = 1 WHERE id < 3")
    told = web.get(f"{API}/status").json()
    assert (told["images"], told["missing"]) == (4, 2)
    assert (told["encoders"][0]["images"], told["roots"][0]["images"]) == (4, 4)


def paged(ask: Any) -> list[int]:
    """The ids of all pages, in their order."""
    found, cursor = [], None
    while True:
        page = ask({} if cursor is None else {"cursor": cursor}).json()
        found += [row["image_id"] for row in page["hits"]]
        cursor = page["next"]
        if cursor is None:
            return found


def test_what_resembles_a_picture_comes_in_pages(web: TestClient, opened: Catalog, photos: Path) -> None:
    red, asked = ids(web)["red.png"], dict[str, Any](all=True, limit=2)
    whole = [hit.image_id for hit in opened.similar(red, limit=50)]
    assert paged(lambda more: web.get(f"{API}/images/{red}/similar", params={**asked, **more})) == whole
    files = [("image", ("a.png", (photos / "red.png").read_bytes(), "image/png"))]
    for path, data in (("/similar", {}), ("/search", {}), ("/search", {"q": "blue"})):
        whole = web.post(API + path, files=files, data=data, params={"all": True}).json()["hits"]
        found = paged(
            lambda more, path=path, data=data: web.post(
                API + path, files=files, data=data, params={**asked, **more}
            )
        )
        assert found == [row["image_id"] for row in whole]


def test_a_cursor_is_good_for_its_own_pictures_only(web: TestClient) -> None:
    files = [("image", ("a.png", png("red"), "image/png"))]
    asked: dict[str, Any] = {"all": True, "limit": 1}
    cursor = web.post(f"{API}/search", files=files, params=asked).json()["next"]
    assert web.post(f"{API}/search", files=files, params={**asked, "cursor": cursor}).status_code == 200
    other = [("image", ("a.png", png("blue"), "image/png"))]
    for path, sent in (("/search", other), ("/search", files * 2), ("/similar", files)):
        problem(web.post(API + path, files=sent, params={**asked, "cursor": cursor}), 422)
    problem(web.get(f"{API}/images/1/similar", params={**asked, "cursor": cursor}), 422)


def test_rows_say_what_to_read_out_where_somebody_has_put_it_into_words(
    web: TestClient, opened: Catalog, catalog: Path
) -> None:
    known = ids(web)
    said = {
        "red.png": ("alt", "A red\u202e wall.\n", True), "green.png": ("caption", "A meadow.", True),
        "blue.png": ("caption", "Tagged blue.", False), "yellow.png": ("alt", "x " * 200, False),
    }  # fmt: skip
    with contextlib.closing(sqlite3.connect(catalog / "catalog.db")) as connection, connection:
        connection.executemany(
            "INSERT INTO descriptions (image_id, style, captioner, seen, text, offered, kept, made_at) "
            "VALUES (?, ?, 'somebody', ?, ?, 1, 1, 1)",
            [(known[name], style, seen, text) for name, (style, text, seen) in said.items()],
        )
        told = "UPDATE images SET description = ? WHERE id = ?"
        connection.execute(told, ("Of the file.", known["white.png"]))
        connection.execute(told, ("Not read out.", known["red.png"]))
    wanted = {"red.png": "A red wall.", "green.png": "A meadow.", "white.png": "Of the file."}
    files = [("image", ("a.png", png("red"), "image/png"))]
    for rows in (
        web.get(f"{API}/search", params={"q": "red", "all": True}).json()["hits"],
        web.get(f"{API}/images").json()["pictures"],
        web.post(f"{API}/search", files=files, params={"all": True}).json()["hits"],
        web.get(f"{API}/images/{known['red-again.jpg']}/similar", params={"all": True}).json()["hits"],
    ):
        found = {Path(row["path"]).name: row.get("alt") for row in rows}
        assert len(found.pop("yellow.png")) <= 150
        assert {name: alt for name, alt in found.items() if alt is not None} == wanted


def test_filters_act_and_wrong_ones_are_told(web: TestClient, photos: Path) -> None:
    found = web.get(f"{API}/search", params={"q": "red", "all": True, "in": str(photos / "trip")}).json()
    assert {Path(row["path"]).name for row in found["hits"]} == {"red-again.jpg", "white.png"}
    for wrong in (
        {"in": "photos"}, {"after": "soon"}, {"near": "1,2"}, {"min_size": "huge"}, {"type": "song"},
        {"tag": "no such tag"}, {"orientation": "upside"}, {"tag": ["x"] * 40}, {"in": "/a\0b"},
    ):  # fmt: skip
        problem(web.get(f"{API}/search", params={"q": "red", **wrong}), 422)


# What is malformed.


@pytest.mark.parametrize(
    "path",
    [
        "/search", "/search?q=", "/search?q=%00", "/search?q=red&limit=0", "/search?q=red&limit=1e9",
        f"/search?q=red&limit={'9' * 5000}", "/search?q=red&min_match=nan", "/search?q=red&min_match=2",
        f"/search?q={'x' * 3000}", "/search?q=%22open", "/search?q=-%20red", "/search?q=@nobody",
        "/search?q=red&rerank=nothing-such", "/images/0", "/images/x", f"/images/{2**63}", "/images?order=size",
        "/images?offset=-1", "/images/1/thumbnail?size=7", "/images/1/explain", "/texts?cursor=zz",
        "/duplicates?kind=twins", "/groups?k=0", "/tags?limit=0", "/jobs/0", "/failures?cursor=%F0%90",
        "/concepts/%00", "/feedback?q=%22",
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_a_problem_and_no_crash(reading: TestClient, path: str) -> None:
    method = "DELETE" if path.startswith("/concepts") else "GET"
    problem(reading.request(method, API + path), 422)
    assert reading.get("/healthz").status_code == 200


@pytest.mark.parametrize(
    "q", ["%ED%A0%80", "%FF%FE", "%E2%80%AE", "%F0%9F%90%95", "a%0Ab", "%25", "1:2:3 dogs"]
)
def test_strange_words_are_words(reading: TestClient, q: str) -> None:
    assert reading.get(f"{API}/search?q={q}").status_code in (200, 422)


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"", "application/json", 422),
        (b"{", "application/json", 422),
        (b'{"q": "red", "good": [1], "gut": [2]}', "application/json", 422),
        (b'{"q": "red\\u0000", "good": [1]}', "application/json", 422),
        (b'{"q": "\\ud800", "good": [1]}', "application/json", 422),
        (b'{"\\ud800": 1}', "application/json", 422),
        (b'{"q": "red", "good": [' + b"9" * 5000 + b"]}", "application/json", 400),
        (b'{"q": "red", "good": [99999999999999999999]}', "application/json", 422),
        (b'{"q": "red", "good": [NaN]}', "application/json", 422),
        (b"[" * 100_000, "application/json", 400),
        (b"\xff\xfe\x00", "application/json", 400),
        (b'{"q": "red", "good": [1]}', "text/plain", 422),
        (b'{"q": "red", "good": [4711]}', "application/json", 422),
        (b'{"q": "red"}', "application/json", 422),
    ],
)
def test_malformed_bodies_are_problems(reading: TestClient, body: bytes, kind: str, status: int) -> None:
    problem(reading.post(f"{API}/feedback", content=body, headers={"Content-Type": kind}), status)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", "multipart/form-data"),
        (b"nothing", "multipart/form-data; boundary=x"),
        (b"--x\r\nContent-Disposition: form-data; name=image\r\n\r\n", "multipart/form-data; boundary=x"),
        (b"--x\r\n" + b"A: b\r\n" * 4000, "multipart/form-data; boundary=x"),
        (b"image=1", "application/x-www-form-urlencoded"),
        (b"--\xff\r\n", "multipart/form-data; boundary=\xff".encode("latin-1").decode("latin-1")),
    ],
)
def test_malformed_uploads_are_problems(reading: TestClient, body: bytes, kind: str) -> None:
    answer = reading.post(f"{API}/match", content=body, headers={"Content-Type": kind.encode("latin-1")})
    assert answer.status_code in (400, 422), answer.text
    problem(answer, answer.status_code)


def test_uploads_are_bounded_in_size_count_and_pixels(
    reading: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    from retrieval.server import given

    one = ("image", ("a.png", png(), "image/png"))
    problem(reading.post(f"{API}/similar", files=[one] * 5), 422)
    problem(reading.post(f"{API}/similar", files=[one] * 9), 400)
    problem(reading.post(f"{API}/match", files=[one, one]), 422)
    problem(reading.post(f"{API}/match", files=[("image", ("a.png", b"no picture", "image/png"))]), 422)
    problem(reading.post(f"{API}/match", files=[("image", ("a.png", b"", "image/png"))]), 422)
    monkeypatch.setattr(given, "MAX_TOGETHER", 2 * 40 * 30)
    assert reading.post(f"{API}/similar", files=[one] * 2).status_code == 200
    assert "together" in problem(reading.post(f"{API}/similar", files=[one] * 3), 413)["detail"]
    monkeypatch.setattr(given, "MAX_PIXELS", 40 * 30 - 1)
    assert "megapixels" in problem(reading.post(f"{API}/match", files=[one]), 413)["detail"]
    monkeypatch.setattr(given, "MAX_UPLOAD", 10)
    problem(reading.post(f"{API}/match", files=[one]), 413)


def test_pictures_that_wait_for_their_turn_are_not_in_memory(
    reading: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    from retrieval.server import given

    work = reading.app.state.settings.work  # type: ignore[attr-defined]
    full, read = threading.Event(), threading.Event()
    one = ("image", ("a.png", png(), "image/png"))
    original = given._read

    def noted(file: Any) -> bytes:
        read.set()
        return original(file)

    monkeypatch.setattr(given, "_read", noted)
    held = [
        threading.Thread(target=lambda: asyncio.run(work.run(full.wait, seconds=20)))
        for _ in range(work._free)
    ]
    waiting = threading.Thread(target=reading.post, args=(f"{API}/similar",), kwargs={"files": [one]})
    for thread in held:
        thread.start()
    waiting.start()
    try:
        while not work.waiting:
            assert waiting.is_alive()
        assert not read.is_set()
    finally:
        full.set()
        for thread in (waiting, *held):
            thread.join(20)
    assert read.is_set()


def test_a_body_of_any_length_ends_at_the_limit(opened: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    from retrieval.server import app

    careful = app.Careful
    monkeypatch.setattr(
        app, "Careful", lambda inner, **more: careful(inner, max_body=50_000, max_words=1000, **more)
    )
    web = TestClient(create_app(opened))
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(1000):
            sent += 1
            yield b'{"q": "' + b"x" * 1000

    problem(web.post(f"{API}/feedback", content=b"x" * 1001), 413)
    problem(web.post(f"{API}/feedback", content=endless(), headers={"Content-Type": "application/json"}), 413)
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    problem(web.post(f"{API}/match", content=endless(), headers=kind), 413)
    problem(web.post(f"{API}/match", content=b"", headers={"Content-Length": "9" * 30}), 413)
    assert web.get("/healthz").status_code == 200


def test_what_breaks_inside_is_told_without_its_words(
    reading: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("secret words")

    monkeypatch.setattr(Catalog, "search", broken)
    said = problem(reading.get(f"{API}/search?q=red"), 500)
    assert "secret" not in json.dumps(said) + caplog.text
    assert "broken" in caplog.text
    monkeypatch.setattr("retrieval.concepts.Concepts.list", broken)
    problem(reading.delete(f"{API}/concepts/unmistakable"), 500)
    assert "unmistakable" not in caplog.text
    assert "/concepts/{name}" in caplog.text


def test_addresses_and_methods_that_are_none_are_problems(reading: TestClient) -> None:
    problem(reading.get("/nothing"), 404)
    problem(reading.get("/static/../app.py"), 404)
    problem(reading.get("/static/%2e%2e/app.py"), 404)
    assert "GET" in reading.post(f"{API}/status").headers["allow"]
    problem(reading.options(f"{API}/status"), 405)


def test_a_head_is_a_get_without_its_body(reading: TestClient) -> None:
    for path in (f"{API}/images/1/original", f"{API}/search?q=red", "/", "/healthz", f"{API}/images/77"):
        head, get = reading.head(path), reading.get(path)
        assert (head.status_code, head.content) == (get.status_code, b"")
        assert head.headers["content-type"] == get.headers["content-type"]


def test_the_files_of_the_page_are_kept_by_browsers_and_answers_are_not(reading: TestClient) -> None:
    page = reading.get("/static/index.html")
    assert page.headers["cache-control"] == "no-cache"
    again = reading.get("/static/index.html", headers={"If-None-Match": page.headers["etag"]})
    assert (again.status_code, again.headers["cache-control"]) == (304, "no-cache")
    assert "no-store" in reading.get(f"{API}/search?q=red").headers["cache-control"]


# Pictures.


def test_everything_known_of_a_picture_is_told(web: TestClient) -> None:
    row = web.get(f"{API}/images/{ids(web)['red.png']}").json()
    assert (row["width"], row["height"], row["format"], row["missing"]) == (64, 48, "PNG", False)
    assert isinstance(row["alt"], str)


def test_pictures_are_listed_in_pages_and_by_offset(web: TestClient) -> None:
    page = web.get(f"{API}/images", params={"limit": 4, "order": "name"}).json()
    rest = web.get(f"{API}/images", params={"limit": 4, "order": "name", "cursor": page["next"]}).json()
    names = [Path(row["path"]).name for row in page["pictures"] + rest["pictures"]]
    assert (len(names), page["total"], rest["next"]) == (6, 6, None)
    jumped = web.get(f"{API}/images", params={"limit": 9, "order": "name", "offset": 4}).json()["pictures"]
    assert [Path(row["path"]).name for row in jumped] == names[4:]
    assert web.get(f"{API}/images", params={"offset": 10**9}).json()["pictures"] == []


def test_which_place_of_a_name_was_meant_is_told(reading: TestClient) -> None:
    for path in ("/images?limit=1", "/search?q=red", "/images/1/similar?limit=1"):
        assert "near" not in reading.get(f"{API}{path}").json()
        assert reading.get(f"{API}{path}&near=Bergen").json()["near"].startswith("Bergen, ")


def test_a_thumbnail_is_small_kept_and_asked_for_once(web: TestClient, catalog: Path, tmp_path: Path) -> None:
    path = f"{API}/images/{ids(web)['red.png']}/thumbnail?size=160"
    first = web.get(path)
    with Image.open(BytesIO(first.content)) as image:
        assert (image.format, max(image.size) <= 160) == ("JPEG", True)
    tag = first.headers["etag"]
    assert "private" in first.headers["cache-control"]
    for named in (tag, f"W/{tag}", f'"x", W/{tag}', "*"):
        again = web.get(path, headers={"If-None-Match": named})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert web.get(path, headers={"If-None-Match": '"x"'}).status_code == 200
    assert list((catalog / "cache" / "thumbnails").rglob("*.jpg"))


def test_a_small_picture_of_a_changed_file_is_kept_by_nobody(web: TestClient, photos: Path) -> None:
    path = f"{API}/images/{ids(web)['red.png']}/thumbnail?size=160"
    draw(photos / "red.png", "blue", size=(30, 20))
    answer = web.get(path)
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    assert "etag" not in answer.headers


def test_parts_of_a_file_are_given_and_wrong_ranges_passed_over(web: TestClient, photos: Path) -> None:
    path, whole = f"{API}/images/{ids(web)['red.png']}/original", (photos / "red.png").read_bytes()
    size = len(whole)
    for asked, start, end in (
        ("bytes=0-3", 0, 4), ("bytes=2-", 2, size), ("bytes=-5", size - 5, size), ("bytes=0-99999999", 0, size)
    ):  # fmt: skip
        part = web.get(path, headers={"Range": asked})
        assert (part.status_code, part.content) == (206, whole[start:end])
        assert part.headers["content-range"] == f"bytes {start}-{end - 1}/{size}"
    for asked in ("bytes=5-2", "bytes=a-b", "bytes=-", "bytes=0-1,3-4", "items=0-1", "bytes=" + "1-2," * 999):
        full = web.get(path, headers={"Range": asked})
        assert (full.status_code, full.content) == (200, whole)
    none = web.get(path, headers={"Range": f"bytes={size}-"})
    assert problem(none, 416)
    assert none.headers["content-range"] == f"bytes */{size}"
    stale = web.get(path, headers={"Range": "bytes=0-3", "If-Range": '"other"'})
    assert (stale.status_code, stale.content) == (200, whole)
    same = web.get(path, headers={"Range": "bytes=0-3", "If-Range": stale.headers["etag"]})
    assert same.content == whole[:4]
    assert web.get(path, headers={"If-None-Match": stale.headers["etag"]}).status_code == 304


def test_a_file_comes_with_what_keeps_a_browser_from_running_it(web: TestClient) -> None:
    path = f"{API}/images/{ids(web)['red.png']}/original"
    shown, kept = web.get(path), web.get(path, params={"download": True})
    assert shown.headers["content-disposition"] == "inline; filename*=UTF-8''red.png"
    assert kept.headers["content-disposition"].startswith("attachment")
    assert shown.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in shown.headers["content-security-policy"]


@pytest.mark.parametrize(
    "name", [b'a "b".png', b"a\nb.png", b"a\xff.png", "ä€🐕.png".encode(), b"a;b=c'%.png"]
)
def test_any_name_of_a_file_is_handed_on(tmp_path: Path, index: Any, name: bytes) -> None:
    folder = tmp_path / "odd"
    plain = draw(folder / "plain.png", "red")
    os.rename(plain, os.path.join(os.fsencode(folder), name))
    index(folder)
    with Catalog(tmp_path / "catalog") as opened:
        web = TestClient(create_app(opened))
        [row] = web.get(f"{API}/images").json()["pictures"]
        answer = web.get(f"{API}/images/{row['image_id']}/original")
        raw = base64.b64decode(row["path_b64"]) if "path_b64" in row else row["path"].encode()
        found = web.get(f"{API}/search", params={"q": "red"}).json()["hits"]
        Path(os.fsdecode(os.path.join(os.fsencode(folder), name))).write_bytes(b"no picture")
        problem(web.get(f"{API}/images/{row['image_id']}/thumbnail"), 422)
    assert os.path.basename(raw) == name
    assert answer.status_code == 200
    assert answer.headers["content-disposition"].isascii()
    assert found[0]["image_id"] == row["image_id"]


def test_a_file_that_is_gone_or_no_file_is_told(web: TestClient, photos: Path) -> None:
    known = ids(web)
    (photos / "red.png").unlink()
    (photos / "green.png").unlink()
    os.mkfifo(photos / "green.png")
    (photos / "blue.png").unlink()
    (photos / "blue.png").mkdir()
    for name in ("red.png", "green.png", "blue.png"):
        problem(web.get(f"{API}/images/{known[name]}/original"), 404)
        problem(web.get(f"{API}/images/{known[name]}/thumbnail"), 404)
    problem(web.get(f"{API}/images/999/original"), 404)


def test_a_link_that_came_later_shows_nothing_from_elsewhere(
    web: TestClient, photos: Path, tmp_path: Path
) -> None:
    known, elsewhere = ids(web), draw(tmp_path / "private" / "secret.png", "blue", mark=5)
    (photos / "red.png").unlink()
    (photos / "red.png").symlink_to(elsewhere)
    (photos / "green.png").unlink()
    (photos / "green.png").symlink_to(photos / "yellow.png")
    problem(web.get(f"{API}/images/{known['red.png']}/original"), 404)
    problem(web.get(f"{API}/images/{known['red.png']}/thumbnail"), 404)
    for drawn in ("explain", "explain.png"):
        problem(web.get(f"{API}/images/{known['red.png']}/{drawn}", params={"q": "red"}), 404)
    inside = web.get(f"{API}/images/{known['green.png']}/original")
    assert inside.content == (photos / "yellow.png").read_bytes()


def test_a_link_that_was_indexed_is_followed(tmp_path: Path, index: Any) -> None:
    real = draw(tmp_path / "elsewhere" / "far.png", "red")
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "near.png").symlink_to(real)
    index(tmp_path / "linked")
    with Catalog(tmp_path / "catalog") as opened:
        web = TestClient(create_app(opened))
        [row] = web.get(f"{API}/images").json()["pictures"]
        assert web.get(f"{API}/images/{row['image_id']}/original").content == real.read_bytes()


def test_an_explanation_is_figures_and_a_picture(web: TestClient) -> None:
    path = f"{API}/images/{ids(web)['red.png']}/explain"
    assert web.get(path, params={"q": "red"}).json()["signals"]
    drawn = web.get(f"{path}.png", params={"q": "red"})
    with Image.open(BytesIO(drawn.content)) as image:
        assert image.format == "PNG"
    problem(web.get(f"{API}/images/99/explain.png", params={"q": "red"}), 404)


def test_pictures_are_described(web: TestClient) -> None:
    assert "captioner" in web.get(f"{API}/images/1/description", params={"style": "alt"}).json()
    files = [("image", ("a.png", png(), "image/png"))]
    assert "captioner" in web.post(f"{API}/describe", files=files).json()


# What people say.


def test_tags_are_said_taken_back_and_listed(web: TestClient) -> None:
    path = f"{API}/images/1/tags/"
    assert web.put(path + "my dog").json()["tags"] == [{"tag": "my dog", "confidence": 1.0}]
    assert web.put(path + "a%2Fb").status_code == 200
    listed = web.get(f"{API}/tags", params={"q": "My D"}).json()["tags"]
    assert listed == [{"tag": "my dog", "prompt": None, "images": 1}]
    assert [one["tag"] for one in web.delete(path + "my dog").json()["tags"]] == ["a/b"]
    problem(web.put(f"{API}/images/99/tags/dog"), 404)
    problem(web.put(path + "%07"), 422)
    problem(web.put(path + "x" * 300), 422)


def test_a_concept_is_taught_searched_and_forgotten(web: TestClient) -> None:
    known = ids(web)
    taught = web.put(
        f"{API}/concepts/Rex", json={"good": [known["red.png"]], "bad": [known["blue.png"]]}
    ).json()
    assert (taught["name"], taught["good"], taught["bad"]) == ("rex", 1, 1)
    assert web.get(f"{API}/search", params={"q": "@rex", "all": True}).json()["hits"]
    assert [one["name"] for one in web.get(f"{API}/concepts").json()["concepts"]] == ["rex"]
    assert web.delete(f"{API}/concepts/rex").json() == {"removed": 2}
    problem(web.delete(f"{API}/concepts/rex"), 404)
    problem(web.put(f"{API}/concepts/no name", json={"good": [1]}), 422)
    problem(web.put(f"{API}/concepts/rex", json={}), 422)


def test_feedback_is_kept_moves_the_ranking_and_is_taken_back(web: TestClient) -> None:
    known = ids(web)
    marks = {"q": "red", "good": [known["blue.png"]], "bad": [known["red.png"]]}
    kept = web.post(f"{API}/feedback", json=marks).json()["feedback"]
    assert {(one["image_id"], one["good"]) for one in kept} == {
        (known["blue.png"], True),
        (known["red.png"], False),
    }
    assert web.get(f"{API}/search", params={"q": "red"}).json()["hits"][0]["image_id"] == known["blue.png"]
    assert web.delete(f"{API}/feedback/{kept[0]['id']}").json() == {"removed": 1}
    problem(web.delete(f"{API}/feedback/{kept[0]['id']}"), 404)
    assert web.delete(f"{API}/feedback", params={"q": "red"}).json() == {"removed": 1}
    assert web.get(f"{API}/feedback").json() == {"feedback": []}
    problem(web.post(f"{API}/feedback", json={"q": "red", "good": [1], "bad": [1]}), 422)


def test_texts_are_added_listed_and_removed(web: TestClient) -> None:
    first = web.post(f"{API}/texts", json={"text": "a red wall", "image_id": 1}).json()
    assert (first["added"], first["text"]["image_id"]) == (1, 1)
    assert web.post(f"{API}/texts", json={"text": "a red wall", "image_id": 1}).json()["added"] == 0
    web.post(f"{API}/texts", json={"text": "the sea"})
    page = web.get(f"{API}/texts", params={"limit": 1}).json()
    rest = web.get(f"{API}/texts", params={"limit": 1, "cursor": page["next"]}).json()
    assert [one["text"] for one in page["texts"] + rest["texts"]] == ["a red wall", "the sea"]
    assert rest["next"] is None
    matched = web.get(f"{API}/images/1/texts").json()["texts"]
    assert [one["text"] for one in matched] == ["a red wall"]
    number = rest["texts"][0]["text_id"]
    assert web.delete(f"{API}/texts/{number}").json() == {"removed": 1}
    problem(web.delete(f"{API}/texts/{number}"), 404)
    problem(web.post(f"{API}/texts", json={"text": "x", "image_id": 99}), 404)
    problem(web.post(f"{API}/texts", json={"text": "   "}), 422)


def test_duplicates_come_in_pages_and_can_be_told_apart(tmp_path: Path, photos: Path, index: Any) -> None:
    (photos / "copy.png").write_bytes((photos / "red.png").read_bytes())
    (photos / "other.png").write_bytes((photos / "blue.png").read_bytes())
    index(photos)
    with Catalog(tmp_path / "catalog") as opened:
        web = TestClient(create_app(opened))
        asked = {"kind": "same-file", "limit": 1}
        page = web.get(f"{API}/duplicates", params=asked).json()
        rest = web.get(f"{API}/duplicates", params={**asked, "cursor": page["next"]}).json()
        assert (page["total"], rest["next"]) == (2, None)
        pair = [row["image_id"] for row in page["sets"][0]["pictures"]]
        assert web.post(f"{API}/duplicates/not", json={"image_ids": pair}).json() == {"pairs": 1}
        assert web.get(f"{API}/duplicates", params=asked).json()["total"] == 1
        assert web.delete(f"{API}/duplicates/not", params={"image_id": pair}).json() == {"pairs": 1}
        assert web.get(f"{API}/duplicates", params=asked).json()["total"] == 2
        problem(web.post(f"{API}/duplicates/not", json={"image_ids": [1]}), 422)


def test_groups_come_with_their_most_typical_pictures(web: TestClient) -> None:
    groups = web.get(f"{API}/groups", params={"k": 2}).json()["groups"]
    assert sum(one["size"] for one in groups) == 6
    assert all(one["pictures"][0]["image_id"] == one["image_ids"][0] for one in groups)


def test_failures_are_told_in_pages(tmp_path: Path, photos: Path, index: Any) -> None:
    for name in "abc":
        (photos / f"{name}.jpg").write_bytes(b"\xff\xd8no")
    index(photos)
    with Catalog(tmp_path / "catalog") as opened:
        web = TestClient(create_app(opened))
        page = web.get(f"{API}/failures", params={"limit": 2}).json()
        rest = web.get(f"{API}/failures", params={"limit": 2, "cursor": page["next"]}).json()
    assert [Path(row["path"]).name for row in page["failures"] + rest["failures"]] == [
        "a.jpg",
        "b.jpg",
        "c.jpg",
    ]
    assert (page["total"], rest["next"]) == (3, None)


def test_the_models_and_the_figures_are_told(web: TestClient) -> None:
    assert any(one["name"] == "starter" for one in web.get(f"{API}/models").json()["models"])
    status = web.get(f"{API}/status").json()
    assert (status["images"], status["readonly"]) == (6, False)


# Asking.


def test_a_question_is_answered_with_citations(web: TestClient) -> None:
    answer = web.post(f"{API}/ask", json={"question": "How many pictures are there?"}).json()
    assert "6 pictures" in answer["text"]
    assert answer["citations"]


def test_a_question_is_answered_step_by_step_as_events(web: TestClient) -> None:
    asked = {"question": "How many pictures are there?", "type": "png"}
    answer = web.post(f"{API}/ask", json=asked, headers={"Accept": "text/event-stream"})
    assert answer.headers["content-type"].startswith("text/event-stream")
    told = events(answer.text)
    assert {name for name, _ in told[:-1]} == {"step"}
    assert told[-1][0] == "answer"
    assert "5" in told[-1][1]["text"]


def test_a_draft_comes_as_it_is_made(web: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    ask = Catalog.ask

    def drafting(self: Catalog, question: str, *, on_text: Any = None, **more: Any) -> Any:
        for part in ("It ", "is\n", "red\u2028."):
            on_text(part)
        return ask(self, question, **more)

    monkeypatch.setattr(Catalog, "ask", drafting)
    told = events(
        web.post(
            f"{API}/ask", json={"question": "What is red?"}, headers={"Accept": "text/event-stream"}
        ).text
    )
    assert "".join(data["delta"] for name, data in told if name == "text") == "It is\nred\u2028."


def test_a_question_that_fails_at_once_fails_as_a_request(reading: TestClient) -> None:
    stream = {"Accept": "text/event-stream"}
    problem(reading.post(f"{API}/ask", json={"question": "?", "type": "song"}, headers=stream), 422)
    problem(reading.post(f"{API}/ask", json={"question": " "}, headers=stream), 422)
    problem(reading.post(f"{API}/ask", json={"question": "x", "in": "here"}), 422)
    problem(reading.post(f"{API}/ask", content=b'{"question": "x", "seconds": 1e999}', headers=JSON), 422)


def test_a_question_that_fails_midway_ends_with_a_problem(
    reading: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for error, status in ((QueryError("Ask otherwise."), 422), (RuntimeError("secret"), 500)):

        def failing(
            self: Catalog, question: str, *, progress: Any, error: Exception = error, **_: Any
        ) -> None:
            progress("step", {"step": "plan", "text": "…", "seconds": 0})
            raise error

        monkeypatch.setattr(Catalog, "ask", failing)
        answer = reading.post(f"{API}/ask", json={"question": "x"}, headers={"Accept": "text/event-stream"})
        if answer.status_code == 200:
            name, data = events(answer.text)[-1]
            assert (name, data["status"]) == ("problem", status)
        else:
            problem(answer, status)
        assert "secret" not in answer.text


def test_the_work_stops_when_the_client_goes_away(opened: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    began, stopped = threading.Event(), threading.Event()

    def endless(self: Catalog, question: str, *, on_text: Any, **_: Any) -> None:
        try:
            while True:
                on_text("more ")
                began.set()
        except BaseException:
            stopped.set()
            raise

    monkeypatch.setattr(Catalog, "ask", endless)
    app = create_app(opened)
    body = json.dumps({"question": "x"}).encode()

    async def scene() -> None:
        gone, sent = asyncio.Event(), 0
        given = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> Any:
            if given:
                return given.pop()
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            nonlocal sent
            sent += 1
            if sent > 3:
                gone.set()

        headers = [
            (b"host", b"testserver"),
            (b"content-type", b"application/json"),
            (b"accept", b"text/event-stream"),
        ]
        scope = {
            "type": "http", "method": "POST", "path": f"{API}/ask", "raw_path": b"", "query_string": b"",
            "headers": headers, "server": ("testserver", 80), "client": ("testclient", 1), "scheme": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1", "root_path": "",
        }  # fmt: skip
        await asyncio.wait_for(app(scope, receive, send), 20)
        assert await asyncio.to_thread(stopped.wait, 20)

    asyncio.run(scene())
    assert began.is_set()


# Indexing.


def test_a_job_indexes_in_a_process_of_its_own_and_the_server_sees_it(
    web: TestClient, tmp_path: Path
) -> None:
    new = draw(tmp_path / "more" / "violet.png", "blue", mark=9).parent
    started = web.post(f"{API}/jobs", json={"paths": [str(new)]})
    assert started.status_code == 202
    job = started.json()
    assert started.headers["location"].endswith(f"/jobs/{job['id']}")
    over = until_over(web, job["id"])
    assert (over["state"], over["report"]["added"]) == ("done", 1), over
    assert web.get(f"{API}/status").json()["images"] == 7
    assert [one["id"] for one in web.get(f"{API}/jobs").json()["jobs"]] == [job["id"]]
    assert web.get(f"{API}/jobs/{job['id']}").json() == over
    problem(web.get(f"{API}/jobs/77"), 404)
    problem(web.get(f"{API}/jobs/77/events"), 404)


def test_one_job_at_a_time_and_it_can_be_cancelled_with_its_progress_kept(
    opened: Catalog, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from retrieval.server import jobs

    # A run that goes on until it is told to stop, as the real one answers a signal.
    waiting = (
        "import json, signal, sys\n"
        "sys.stdin.readline()\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])\n"
        "print(json.dumps({'step': 'advance', 'done': 3, 'total': 9, 'failed': 0}), flush=True)\n"
        "signal.sigwait([signal.SIGTERM])\n"
        "report = dict.fromkeys(['added', 'updated', 'unchanged', 'moved', 'missing', 'failed'], 3)\n"
        "report |= {'seconds': 1, 'images_per_second': 3, 'encoder': None, 'interrupted': True}\n"
        "print(json.dumps({'step': 'report', 'report': report}))\n"
    )
    real = jobs.subprocess.Popen

    def popen(command: list[str], **options: Any) -> Any:
        assert command[1:] == ["-P", "-m", "indexer.job"]
        return real([command[0], "-c", waiting], **options)

    monkeypatch.setattr(jobs.subprocess, "Popen", popen)
    with TestClient(create_app(opened)) as web:
        job = web.post(f"{API}/jobs").json()["id"]
        assert "job 1" in problem(web.post(f"{API}/jobs"), 409)["detail"]
        with web.stream("GET", f"{API}/jobs/{job}") as one:
            assert one.status_code == 200
        while web.get(f"{API}/jobs/{job}").json()["done"] != 3:
            time.sleep(0.01)
        assert web.delete(f"{API}/jobs/{job}").status_code == 202
        over = until_over(web, job)
        assert (over["state"], over["report"]["added"]) == ("cancelled", 3)
        web.post(f"{API}/jobs")
    # The end of the server ended the second one, in order too.
    assert app_jobs(web)[0].row()["state"] == "cancelled"


def app_jobs(web: TestClient) -> Any:
    return web.app.state.jobs.list()  # type: ignore[attr-defined]


def test_a_job_that_fails_says_why(web: TestClient, catalog: Path, photos: Path) -> None:
    from retrieval.config import Location

    with Writer(Location.parse(catalog)):
        draw(photos / "new.png", "red", mark=7)
        job = web.post(f"{API}/jobs", json={"paths": [str(photos)]}).json()
        over = until_over(web, job["id"])
    assert over["state"] == "failed"
    assert "writ" in over["error"]


def test_a_job_that_is_cancelled_while_it_starts_ends_without_a_word(
    web: TestClient, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from retrieval.server import jobs

    # A Python that has not come to what it will run, and so takes no signal yet.
    starting = (
        "import json, time\n"
        "print(json.dumps({'step': 'advance', 'done': 1, 'total': 1}), flush=True)\n"
        "time.sleep(60)"
    )
    real = jobs.subprocess.Popen

    def popen(command: list[str], **options: Any) -> Any:
        return real([command[0], "-c", starting], **options)

    monkeypatch.setattr(jobs.subprocess, "Popen", popen)
    job = web.post(f"{API}/jobs").json()["id"]
    while web.get(f"{API}/jobs/{job}").json()["done"] != 1:
        time.sleep(0.01)
    web.delete(f"{API}/jobs/{job}")
    assert until_over(web, job)["state"] == "cancelled"
    assert capfd.readouterr().err == ""


def test_a_job_keeps_the_log_of_its_server(web: TestClient, photos: Path, tmp_path: Path) -> None:
    log = tmp_path / "search.log"
    keeping = Keeping(log, verbose=False, errors=None)
    keeping.start()
    try:
        draw(photos / "new.png", "red", mark=7)
        job = web.post(f"{API}/jobs", json={"paths": [str(photos)]}).json()["id"]
        assert until_over(web, job)["state"] == "done"
    finally:
        keeping.stop()
    lines = json_lines(log.read_text("ascii"))
    assert [line["fields"]["added"] for line in lines if line["event"] == "batch committed"] == [1]
    assert os.getpid() not in {line["pid"] for line in lines if line["logger"].startswith("indexer")}


def test_a_fault_in_a_job_is_one_sentence_and_its_places_are_told(tmp_path: Path, photos: Path) -> None:
    code = (
        "import sys\nfrom indexer import job\n"
        "def broken(*_, **__): raise KeyError('what was asked')\n"
        "job.index_folder = broken\nsys.exit(job.main())"
    )
    asked = {"catalog": str(tmp_path / "c"), "paths": [str(photos)], "retry": False}
    ran = python(code, input=json.dumps(asked) + "\n")
    (told,) = json_lines(ran.stdout)
    assert (ran.returncode, told["step"]) == (1, "error")
    assert "no fault of yours (KeyError)" in told["message"]
    assert "  at " in ran.stderr
    assert ("what was asked" in ran.stderr, "Traceback" in ran.stderr) == (False, False)


def test_only_folders_that_exist_are_indexed(reading: TestClient) -> None:
    for path in ("photos", "/no/such/folder", __file__, "/\0", ""):
        problem(reading.post(f"{API}/jobs", json={"paths": [path]}), 422)
    assert reading.get(f"{API}/jobs").json() == {"jobs": []}


# Who may, and when.


def test_for_reading_only_nothing_can_be_changed(opened: Catalog) -> None:
    web = TestClient(create_app(opened, readonly=True))
    for method, path, body in (
        ("PUT", "/images/1/tags/dog", None), ("DELETE", "/images/1/tags/dog", None),
        ("POST", "/duplicates/not", {"image_ids": [1, 2]}), ("PUT", "/concepts/rex", {"good": [1]}),
        ("DELETE", "/concepts/rex", None), ("POST", "/feedback", {"q": "x", "good": [1]}),
        ("DELETE", "/feedback?q=x", None), ("DELETE", "/feedback/1", None), ("POST", "/texts", {"text": "x"}),
        ("DELETE", "/texts/1", None), ("POST", "/jobs", {}), ("DELETE", "/jobs/1", None),
        ("DELETE", "/duplicates/not?image_id=1&image_id=2", None),
        ("POST", "/ask", {"question": "x", "keep": True}),
    ):  # fmt: skip
        problem(web.request(method, API + path, json=body), 403)
    assert web.get(f"{API}/status").json()["readonly"] is True
    assert web.get(f"{API}/search?q=red").status_code == 200


def test_while_another_process_writes_reading_goes_on_and_writing_says_when(
    web: TestClient, catalog: Path
) -> None:
    from retrieval.config import Location

    with Writer(Location.parse(catalog)):
        assert web.get(f"{API}/search?q=red").json()["hits"]
        assert web.get("/readyz").status_code == 200
        refused = web.put(f"{API}/images/1/tags/dog")
        problem(refused, 503)
        assert int(refused.headers["retry-after"]) > 0
    assert web.put(f"{API}/images/1/tags/dog").status_code == 200


def test_writes_at_the_same_time_wait_for_each_other(web: TestClient) -> None:
    answers: list[int] = []
    threads = [
        threading.Thread(
            target=lambda n=n: answers.append(web.put(f"{API}/images/1/tags/tag {n}").status_code)
        )
        for n in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [200] * 6


def test_a_busy_catalog_says_when_to_come_again(reading: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(*_: Any, **__: Any) -> None:
        raise CatalogBusy("It is being written.")

    monkeypatch.setattr(Catalog, "search", busy)
    answer = reading.get(f"{API}/search?q=red")
    assert problem(answer, 503)["kind"] == "CatalogBusy"
    assert answer.headers["retry-after"] == "5"


def test_too_many_calls_are_told_to_come_again(opened: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    app = create_app(opened)
    app.state.settings.work = Calls(1, waiting=0)
    app.state.settings.speaking = Calls(0, waiting=0)
    web, go_on, began = TestClient(app), threading.Event(), threading.Event()
    search = Catalog.search

    def slow(self: Catalog, *given: Any, **more: Any) -> Any:
        began.set()
        go_on.wait(20)
        return search(self, *given, **more)

    monkeypatch.setattr(Catalog, "search", slow)
    first = threading.Thread(target=lambda: web.get(f"{API}/search?q=red"))
    first.start()
    try:
        assert began.wait(20)
        answer = web.get(f"{API}/search?q=red")
        problem(answer, 503)
        assert answer.headers["retry-after"] == str(Overloaded.seconds)
        stream = {"Accept": "text/event-stream"}
        problem(web.post(f"{API}/ask", json={"question": "x"}, headers=stream), 503)
        found = web.get(f"{API}/images/1")
        assert found.status_code == 200, found.text
    finally:
        go_on.set()
        first.join()
    assert web.get(f"{API}/search?q=red").status_code == 200


def test_a_search_does_not_wait_for_answers_that_are_being_written(
    opened: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, go_on, asking = create_app(opened), threading.Event(), threading.Semaphore(0)
    app.state.settings.work = Calls(1)
    ask = Catalog.ask

    def slow(self: Catalog, *given: Any, **more: Any) -> Any:
        asking.release()
        go_on.wait(20)
        return ask(self, *given, **more)

    monkeypatch.setattr(Catalog, "ask", slow)
    web, said = TestClient(app), []
    question = threading.Thread(target=lambda: said.append(web.post(f"{API}/ask", json={"question": "red?"})))
    question.start()
    searched = threading.Thread(target=lambda: said.append(web.get(f"{API}/search?q=red")))
    try:
        assert asking.acquire(timeout=20)
        searched.start()
        searched.join(10)
        assert [one.status_code for one in said] == [200]
    finally:
        go_on.set()
        question.join()
        searched.join()


def test_whether_it_lives_is_told_while_every_thread_waits_for_a_slow_disk(reading: TestClient) -> None:
    async def asked() -> int:
        go_on, seen = threading.Event(), []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            seen.append(message.get("status"))

        limiter = anyio.to_thread.current_default_thread_limiter()
        stuck = [
            asyncio.ensure_future(anyio.to_thread.run_sync(go_on.wait))
            for _ in range(int(limiter.total_tokens))
        ]
        while limiter.available_tokens:
            await asyncio.sleep(0)
        scope = {
            "type": "http", "http_version": "1.1", "method": "GET", "path": "/healthz", "query_string": b"",
            "headers": [(b"host", b"localhost")],
        }  # fmt: skip
        try:
            await asyncio.wait_for(reading.app(scope, receive, send), 10)  # type: ignore[arg-type]
        finally:
            go_on.set()
            await asyncio.gather(*stuck)
        return int(seen[0])

    assert asyncio.run(asked()) == 200


def test_the_first_search_finds_all_in_place(catalog: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Catalog(catalog) as opened:
        warming = [thread for thread in threading.enumerate() if thread.name == "warm"]
        with TestClient(create_app(opened)) as web:
            for thread in threading.enumerate():
                if thread.name == "warm" and thread not in warming:
                    thread.join(30)
            for late in ("retrieval.stores.opening.open_store", "retrieval.registry.load_encoder"):
                monkeypatch.setattr(late, lambda *_, **__: pytest.fail("This should have been done before."))
            assert web.get(f"{API}/search?q=red").json()["hits"]


def test_an_empty_library_is_ready_and_says_what_helps(tmp_path: Path, photos: Path) -> None:
    with Catalog(tmp_path / "empty", create=True) as opened:
        web = TestClient(create_app(opened))
        assert web.get("/readyz").status_code == 200
        assert "search index" in problem(web.get(f"{API}/search?q=red"), 409)["detail"]
        problem(web.post(f"{API}/ask", json={"question": "x"}), 409)
        assert web.get(f"{API}/images").json() == {"pictures": [], "total": 0, "next": None}
        index_folder(opened, photos, model="toy", workers=1)
        assert web.get(f"{API}/search?q=red").json()["hits"]


def test_a_closed_catalog_is_alive_and_not_ready(catalog: Path) -> None:
    opened = Catalog(catalog)
    web = TestClient(create_app(opened))
    opened.close()
    assert web.get("/healthz").status_code == 200
    problem(web.get("/readyz"), 503)
    problem(web.get(f"{API}/search?q=red"), 503)


def test_the_figures_count_routes_and_tell_nothing_that_was_typed(web: TestClient) -> None:
    web.get(f"{API}/search?q=unmistakable")
    web.get("/unmistakable")
    web.request("UNMISTAKABLE", f"{API}/images/1")
    web.head(f"{API}/status")
    text = web.get("/metrics").text
    assert 'search_requests_total{method="GET",route="search",status="200"} 1.0' in text
    assert 'search_requests_total{method="GET",route="none",status="404"} 1.0' in text
    assert 'search_requests_total{method="HEAD",route="status",status="200"} 1.0' in text
    assert 'search_request_seconds_bucket{le="0.005",route="search"}' in text
    assert "search_pictures 6.0" in text
    assert 'search_work_running{pool="models"} 0.0' in text
    assert "unmistakable" not in text.lower()


# Tokens.


def test_without_the_token_nothing_of_the_library_is_told(guarded: TestClient) -> None:
    for path in (
        f"{API}/search?q=red",
        f"{API}/images/1/original",
        f"{API}/openapi.json",
        "/metrics",
        "/static/x",
    ):
        answer = guarded.get(path)
        problem(answer, 401)
        assert answer.headers["www-authenticate"] == "Bearer"
    for path in ("/healthz", "/readyz"):
        assert guarded.get(path).json() == {"status": "ok"}


def test_the_token_in_the_address_becomes_a_cookie(guarded: TestClient) -> None:
    first = guarded.get("/", params={"token": TOKEN})
    assert (first.status_code, first.headers["location"]) == (303, "/")
    cookie = first.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert TOKEN not in cookie
    assert guarded.get("/").status_code == 200
    assert guarded.get(f"{API}/search?q=red").status_code == 200
    assert guarded.get("/", params={"token": TOKEN}).status_code == 303


def test_a_small_page_asks_for_the_token(guarded: TestClient) -> None:
    page = guarded.get("/")
    assert (page.status_code, 'action="/login"' in page.text) == (401, True)
    assert "unsafe" not in page.headers["content-security-policy"]
    for wrong in ("", "wrong", "é", "\0"):
        assert guarded.post("/login", data={"token": wrong}).status_code == 401
        assert guarded.get("/", params={"token": wrong}).status_code == 401
    right = guarded.post("/login", data={"token": TOKEN})
    assert right.status_code == 303
    assert guarded.get("/").status_code == 200


def test_a_page_elsewhere_cannot_log_anybody_in(guarded: TestClient) -> None:
    problem(guarded.post("/login", data={"token": TOKEN}, headers={"Origin": "http://evil.example"}), 403)


def test_whoever_brings_no_token_brings_little(guarded: TestClient) -> None:
    problem(guarded.post("/login", data={"token": TOKEN}, files={"x": b"x" * (1 << 20)}), 413)
    problem(guarded.post("/login", data={"token": "x" * (1 << 20)}), 413)
    assert guarded.post("/login", data={"token": TOKEN}).status_code == 303


def test_why_the_library_is_not_ready_is_told_with_the_token_only(
    guarded: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: object) -> None:
        raise CatalogError("There is nothing at /home/ann/secret.")

    monkeypatch.setattr("retrieval.server.routes.health.warmed", broken)
    assert "/home/ann" not in json.dumps(problem(guarded.get("/readyz"), 503))
    told = guarded.get("/readyz", headers={"Authorization": f"Bearer {TOKEN}"})
    assert "/home/ann" in problem(told, 503)["detail"]


def test_asking_whether_it_is_ready_keeps_nobody_from_asking_the_library(
    opened: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, go_on, looked = create_app(opened), threading.Event(), []
    work = app.state.settings.work = Calls(1, waiting=3)

    def slow(_: object) -> None:
        looked.append(go_on.wait(20))

    monkeypatch.setattr("retrieval.server.routes.health.warmed", slow)

    async def many() -> int:
        asked = [asyncio.ensure_future(app.state.readiness.look()) for _ in range(12)]
        await asyncio.sleep(0)
        searched = asyncio.ensure_future(work.run(lambda: 7, seconds=20))
        await asyncio.sleep(0)
        go_on.set()
        await asyncio.gather(*asked)
        return await searched

    assert asyncio.run(asyncio.wait_for(many(), 20)) == 7
    assert len(looked) == 1


def test_a_cookie_beside_strange_ones_counts_and_a_wrong_one_does_not(guarded: TestClient) -> None:
    name, _, value = (
        guarded.get("/", params={"token": TOKEN}).headers["set-cookie"].partition(";")[0].partition("=")
    )
    guarded.cookies.clear()
    path = f"{API}/status"
    strange = f'a={{"b": 1}}; c="; {name}={value}'
    assert guarded.get(path, headers={"Cookie": strange}).status_code == 200
    for wrong in (f"{name}=", f"{name}={TOKEN}", f"{name}={value[:-1]}", f"x{name}={value}", name):
        problem(guarded.get(path, headers={"Cookie": wrong}), 401)
    headers = {"Cookie": f"{name}={value}", "Authorization": "Bearer wrong"}
    problem(guarded.get(path, headers=headers), 401)
    assert guarded.get(path, headers={"Authorization": f"bearer {TOKEN}"}).status_code == 200


def test_a_token_that_could_be_guessed_serves_nothing(opened: Catalog) -> None:
    with pytest.raises(QueryError, match="at least 128 bits"):
        create_app(opened, token="short")


# The description.


def test_the_description_is_complete(reading: TestClient) -> None:
    described = reading.get(f"{API}/openapi.json").json()
    names = []
    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            where = f"{method} {path}"
            names.append(operation["operationId"])
            assert operation["summary"], where
            assert operation["tags"], where
            assert {"4XX", "5XX"} <= operation["responses"].keys(), where
            good = next(one for status, one in operation["responses"].items() if status.startswith("2"))
            assert all(one.get("schema") for one in good["content"].values()), where
            for parameter in operation.get("parameters", ()):
                assert parameter.get("description") or parameter["name"] == "image_id", (
                    f"{where} {parameter['name']}"
                )
                said = parameter.keys() | parameter["schema"].keys()
                assert not parameter["required"] or said & {"example", "examples"}, (
                    f"{where} {parameter['name']}"
                )
    assert len(names) == len(set(names))
    assert {"search", "ask", "start_job", "thumbnail_of", "original"} <= set(names)
    assert "HTTPValidationError" not in json.dumps(described)


def test_an_event_is_one_line_of_data_whatever_it_holds() -> None:
    assert formed("text", {"delta": "a\n\r\u2028b"}) == b'event: text\ndata: {"delta":"a\\n\\r\\u2028b"}\n\n'


def test_a_text_is_encoded_once_however_often_it_is_asked(
    opened: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    from retrieval import state
    from retrieval.encoders.toy import ToyEncoder

    encoded: list[str] = []
    encode = ToyEncoder.encode_texts

    def counted(self: ToyEncoder, texts: list[str]) -> Any:
        encoded.extend(texts)
        return encode(self, texts)

    monkeypatch.setattr(ToyEncoder, "encode_texts", counted)
    monkeypatch.setattr(state, "KEPT_TEXTS", 2)
    first = opened.search("red")
    assert opened.search("red") == first
    opened.search("red + blue")
    assert encoded == ["red", "blue"]
    opened.search("green")
    opened.search("blue")
    opened.search("red")  # the oldest was let go
    assert encoded == ["red", "blue", "green", "red"]
