"""Runs of indexing over HTTP: which folders may be named, how far a run is told to be, what failed."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi.testclient import TestClient

from indexer import index_folder
from retrieval import Catalog
from retrieval.errors import FAILURE_REASONS
from retrieval.server import create_app, jobs
from tests.conftest import draw

TOKEN = "a-token-of-enough-characters"
API = "/api/v1"
ELSEWHERE = ("192.0.2.7", 5000)
NEAR = ("127.0.0.1", 5000)


@pytest.fixture
def opened(catalog: Path) -> Iterator[Catalog]:
    with Catalog(catalog) as found:
        yield found


@pytest.fixture
def web(opened: Catalog) -> TestClient:
    return TestClient(create_app(opened))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    found = tmp_path / "home"
    found.mkdir()
    monkeypatch.setenv("HOME", str(found))
    monkeypatch.delenv("XDG_PICTURES_DIR", raising=False)
    return found


def afar(opened: Catalog, client: tuple[str, int] = ELSEWHERE, **headers: str) -> TestClient:
    given = {"Authorization": f"Bearer {TOKEN}", **headers}
    return TestClient(create_app(opened, token=TOKEN), client=client, headers=given)


def over(web: TestClient, answer: Any) -> dict[str, Any]:
    """A run once it is over, and what it was told to be all the way."""
    assert answer.status_code == 202, answer.text
    text = web.get(f"{API}/jobs/{answer.json()['id']}/events").text
    said: dict[str, Any] = json.loads(text.strip().split("data: ")[-1])
    return said


def test_folders_tell_what_is_indexed_and_what_may_be_worth_it(
    web: TestClient, photos: Path, home: Path
) -> None:
    draw(home / "Pictures" / "new.jpg", "red", mark=5)
    draw(home / "Pictures" / ".hidden" / "not.jpg", "red")
    draw(home / "Photos" / "one.jpg", "red")
    draw(home / "Photos" / "two.jpg", "blue")
    (home / "OneDrive" / "Pictures").mkdir(parents=True)
    told = web.get(f"{API}/folders").json()
    assert told["open"] is True
    (known,) = told["folders"]
    assert (known["path"], known["online"], known["images"]) == (str(photos), True, 6)
    assert known["last_at"].startswith("20")
    assert told["likely"] == [
        {"path": str(home / "Pictures"), "pictures": 1, "more": False},
        {"path": str(home / "Photos"), "pictures": 2, "more": False},
    ]
    over(web, web.post(f"{API}/jobs", json={"paths": ["~/Pictures"]}))
    told = web.get(f"{API}/folders").json()
    assert [one["path"] for one in told["likely"]] == [str(home / "Photos")]
    photos.rename(photos.with_name("away"))
    assert {one["path"]: one["online"] for one in web.get(f"{API}/folders").json()["folders"]} == {
        str(photos): False,
        str(home / "Pictures"): True,
    }


def test_likely_folders_are_only_looked_into_for_a_moment(
    web: TestClient, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("retrieval.server.folders.COUNTED", 2)
    for number in range(3):
        draw(home / "Pictures" / f"{number}.jpg", "red", mark=number)
    draw(home / "Pictures" / "below" / "more.jpg", "red", mark=9)
    (home / "Photos").symlink_to(home / "Pictures")
    (home / "OneDrive").symlink_to(home / "OneDrive")
    assert web.get(f"{API}/folders").json()["likely"] == [
        {"path": str(home / "Pictures"), "pictures": 2, "more": True}
    ]


@pytest.mark.skipif(os.name != "posix", reason="file names are bytes there only")
def test_folder_whose_name_is_no_text_is_told_and_read(web: TestClient, tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/f\xff"))
    draw(folder / "x.png", "red", mark=7)
    index_folder(tmp_path / "catalog", folder, workers=1)
    told = web.get(f"{API}/folders").json()["folders"]
    assert [one["path"].endswith("f\ufffd") for one in told if "path_b64" in one] == [True]
    draw(folder / "y.png", "blue", mark=8)
    said = over(web, web.post(f"{API}/jobs"))
    assert said["report"]["added"] == 1
    assert said["reading"].endswith("f\ufffd/y.png")


@pytest.mark.parametrize(
    ("client", "headers"),
    [
        (ELSEWHERE, {}),
        (("2001:db8::7", 5000), {}),
        (NEAR, {"X-Forwarded-For": "192.0.2.7", "Host": "localhost"}),
        # As docs/server.md sets nginx up, and one that says nothing of itself.
        (NEAR, {"X-Forwarded-Proto": "https", "Host": "localhost"}),
        (NEAR, {"Host": "photos.example.org"}),
    ],
    ids=["elsewhere", "elsewhere-6", "proxy", "proxy-as-documented", "proxy-by-its-name"],
)
def test_from_elsewhere_only_folders_of_the_library_are_read(
    opened: Catalog,
    photos: Path,
    tmp_path: Path,
    home: Path,
    client: tuple[str, int],
    headers: dict[str, str],
) -> None:
    web = afar(opened, client, **headers)
    other = draw(tmp_path / "other" / "x.png", "red", mark=6).parent
    draw(home / "Pictures" / "x.png", "red")
    # Whether a folder is there at all is nobody's business either.
    refused = [
        web.post(f"{API}/jobs", json={"paths": paths})
        for paths in (
            [str(other)],
            ["/no/such/folder"],
            [str(photos), str(other)],
            [f"{photos}/../other"],
            [f"{photos}x"],
        )
    ]
    assert {(answer.status_code, answer.json()["detail"]) for answer in refused} == {
        (403, refused[0].json()["detail"])
    }
    assert "search index PATH" in refused[0].json()["detail"]
    told = web.get(f"{API}/folders").json()
    assert (told["open"], told["likely"], len(told["folders"])) == (False, [], 1)
    draw(photos / "trip" / "new.png", "blue", mark=6)
    assert over(web, web.post(f"{API}/jobs", json={"paths": [str(photos / "trip")]}))["report"]["added"] == 1
    assert over(web, web.post(f"{API}/jobs"))["state"] == "done"


def test_at_the_machine_itself_a_token_opens_other_folders_too(opened: Catalog, tmp_path: Path) -> None:
    other = draw(tmp_path / "other" / "x.png", "red", mark=6).parent
    web = afar(opened, NEAR, Host="127.0.0.1:7788")
    assert web.get(f"{API}/folders").json()["open"] is True
    assert over(web, web.post(f"{API}/jobs", json={"paths": [str(other)]}))["report"]["added"] == 1


def test_behind_a_proxy_nobody_seems_to_be_at_the_machine(opened: Catalog) -> None:
    hosts = frozenset({"localhost", "photos.example.org"})
    app = create_app(opened, token=TOKEN, hosts=hosts)
    headers = {"Authorization": f"Bearer {TOKEN}", "Host": "localhost"}
    web = TestClient(app, client=NEAR, headers=headers)
    assert web.get(f"{API}/folders").json()["open"] is False


def test_read_only_server_says_so_in_its_page_and_offers_no_folders(opened: Catalog, home: Path) -> None:
    draw(home / "Pictures" / "x.png", "red")
    reading = TestClient(create_app(opened, readonly=True))
    told = reading.get(f"{API}/folders").json()
    assert (told["open"], told["likely"]) == (False, [])
    assert "<html data-readonly lang" in reading.get("/").text
    assert "data-readonly" not in TestClient(create_app(opened)).get("/").text


def test_job_tells_how_fast_it_goes_and_how_long_it_will_take(
    opened: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [
        {"step": "scan", "path": "/a/folder"},
        {"step": "encode", "total": 9, "done": 1},
        {"step": "advance", "total": 9, "done": 3, "failed": 1, "path": "/a/b.jpg"},
    ]
    code = (
        "import json, signal, sys\n"
        "sys.stdin.readline()\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])\n"
        f"for line in {lines!r}: print(json.dumps(line), flush=True)\n"
        "signal.sigwait([signal.SIGINT])\n"
    )
    real = subprocess.Popen
    monkeypatch.setattr(
        subprocess, "Popen", lambda command, **options: real([command[0], "-c", code], **options)
    )
    clock = iter([100.0, 100.0, 104.0])
    monkeypatch.setattr(jobs, "time", SimpleNamespace(time=time.time, monotonic=lambda: next(clock)))
    job = jobs.Jobs(opened.location).start([], retry=False)
    while job.row()["done"] != 3:
        job.wait(0.005)
    row = job.row()
    # Two pictures in four seconds: what was done before does not count.
    assert (row["reading"], row["images_per_second"], row["seconds_left"]) == ("/a/b.jpg", 0.5, 12.0)
    job.cancel()
    assert job.wait(20)
    assert (job.row()["state"], job.row()["seconds_left"]) == ("cancelled", None)


def test_failures_are_listed_by_reason_in_pages(tmp_path: Path, photos: Path, web: TestClient) -> None:
    for number in range(3):
        (photos / f"empty-{number}.png").write_bytes(b"")
    (photos / "page.png").write_bytes(b"<html>")
    over(web, web.post(f"{API}/jobs"))
    told = web.get(f"{API}/failures").json()
    assert told["reasons"] == [
        {"reason": "empty", "means": FAILURE_REASONS["empty"], "files": 3},
        {"reason": "not-an-image", "means": FAILURE_REASONS["not-an-image"], "files": 1},
    ]
    first = web.get(f"{API}/failures", params={"reason": "empty", "limit": 2}).json()
    assert (first["total"], [one["reason"] for one in first["failures"]]) == (3, ["empty", "empty"])
    assert first["reasons"] == told["reasons"]
    asked = {"reason": "empty", "limit": 2, "cursor": first["next"]}
    rest = web.get(f"{API}/failures", params=asked).json()
    assert ([Path(one["path"]).name for one in rest["failures"]], rest["next"]) == (["empty-2.png"], None)
    assert web.get(f"{API}/failures", params={**asked, "reason": "damaged"}).status_code == 422
    assert web.get(f"{API}/failures", params={"reason": "bored"}).status_code == 422
    assert web.get(f"{API}/failures", params={"reason": "damaged"}).json()["failures"] == []
