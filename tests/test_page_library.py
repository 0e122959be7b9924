"""The library in the page: adding folders, how far a run is, what could not be read and why."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from indexer import index_folder
from retrieval import Catalog
from retrieval.config import Location
from retrieval.db.queries import Writer
from retrieval.errors import FAILURE_REASONS
from tests.browsing import RULES, SIGHTS, TILES, WAYS, Opens, asked, ended, in_nobodys_way, settled, started
from tests.conftest import draw

if TYPE_CHECKING:
    from playwright.sync_api import Page

HOSTILE = "<img src=x onerror=alert(1)>"
GATED = '''
"""The toy encoder, which encodes a batch only once that many are allowed."""
import os, time
from retrieval.encoders.toy import ToyEncoder

class Gated(ToyEncoder):
    id, spec, batch_size = "gated/1", "gated", 64

    def __init__(self, spec):
        self.batches = 0

    def encode_prepared(self, prepared):
        self.batches += 1
        while int(open(os.environ["GATE"]).read() or 0) < self.batches:
            time.sleep(0.01)
        return super().encode_prepared(prepared)
'''


@pytest.fixture
def gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], int]:
    """New catalogs get a model that waits: so many batches of 64 pictures may be encoded."""
    plugin = tmp_path / "plugin"
    (plugin / "gated-1.dist-info").mkdir(parents=True)
    (plugin / "gated-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: gated\nVersion: 1\n")
    (plugin / "gated-1.dist-info" / "entry_points.txt").write_text(
        "[picture_search.encoders]\ngated = gated:Gated\n"
    )
    (plugin / "gated.py").write_text(GATED)
    allowed = tmp_path / "gate"
    allowed.write_text("0")
    monkeypatch.setenv("GATE", str(allowed))
    monkeypatch.setenv("PYTHONPATH", str(plugin))
    monkeypatch.setenv("SEARCH_MODEL", "gated")
    return lambda batches: allowed.write_text(str(batches))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder with no pictures yet."""
    found = tmp_path / "home"
    found.mkdir()
    monkeypatch.setenv("HOME", str(found))
    monkeypatch.delenv("XDG_PICTURES_DIR", raising=False)
    return found


@pytest.fixture
def serve(caches: Path) -> Iterator[Callable[..., str]]:
    """Serves a catalog, which is made empty where there is none."""
    running = []

    def run(catalog: Path, *flags: str) -> str:
        if not catalog.exists():
            Catalog(catalog, create=True).close()
        process, address = started(catalog, caches, *flags)
        running.append(process)
        return address

    yield run
    for process in running:
        ended(process)


def fill(folder: Path, count: int) -> Path:
    for number in range(count):
        draw(folder / f"{number:03}.png", "red", mark=number + 1)
    return folder


def write_library(folder: Path) -> None:
    """Two good pictures, many damaged, one that is a web page, and a folder that is gone again."""
    fill(folder / "photos", 2)
    whole = (folder / "photos" / "000.png").read_bytes()
    for number in range(60):
        (folder / "photos" / f"cut-{number:02}.png").write_bytes(whole[: 60 + number % 9])
    (folder / "photos" / f"{HOSTILE}.png").write_bytes(b"<html>")
    draw(folder / "stick" / "blue.png", "blue")
    index_folder(folder / "catalog", [folder / "photos", folder / "stick"], model="toy", workers=1)
    shutil.rmtree(folder / "stick")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory, caches: Path) -> Iterator[tuple[str, Path]]:
    """The address of a server over a library with failures, which no test changes, and its folder."""
    folder = tmp_path_factory.mktemp("library")
    write_library(folder)
    process, address = started(folder / "catalog", caches)
    yield address, folder
    ended(process)


def panel(page: Page, words: str) -> None:
    settled(page, "words => document.querySelector('.progress .figures')?.textContent.includes(words)", words)


def library(opens: Opens, address: str, more: str = "") -> Page:
    page = opens(f"{address}/?view=library{more}")
    page.wait_for_selector(".library")
    return page


def test_empty_library_is_filled_from_the_page_and_nothing_moves_while_more_comes(
    tmp_path: Path,
    home: Path,
    gate: Callable[[int], int],
    serve: Callable[..., str],
    opens: Opens,
) -> None:
    fill(home / "Pictures", 130)
    (home / "Pictures" / "broken.png").write_bytes(b"")
    page = opens(serve(tmp_path / "new"))
    assert page.text_content(".folder") == f"{home}/Pictures131 picturesAdd"
    page.click(".folder")
    page.wait_for_selector("h1 >> text=Your pictures are on their way")
    panel(page, "0 of 131")
    assert page.get_attribute(".running", "aria-label") == "Reading the pictures. Show the library"
    gate(1)
    # What is committed is there at once, without a click.
    page.wait_for_selector("h1 .count >> text=64 pictures")
    settled(page, "document.querySelector('.running').textContent === '48%'")
    page.keyboard.press("ArrowRight")
    seen = "[scrollY, document.activeElement.dataset.id, document.querySelector('h1 .count').textContent]"
    before = page.evaluate(seen)
    gate(2)
    page.wait_for_selector(".growth >> text=64 new pictures")
    assert page.evaluate(seen) == before
    page.click(".growth button")
    page.wait_for_selector("h1 .count >> text=128 pictures")
    assert not page.is_visible(".growth")
    gate(9)
    page.wait_for_selector(".toast >> text=Done: 130 pictures added. One file could not be read.")
    page.wait_for_selector(".growth >> text=2 new pictures")
    assert not page.is_visible(".running")
    page.click(".toast button")
    page.wait_for_selector(".reason >> text=Empty")
    assert asked(page) == {"view": ["library"]}


def test_run_is_told_as_it_goes_outlives_a_reload_and_can_be_stopped(
    tmp_path: Path,
    home: Path,
    gate: Callable[[int], int],
    serve: Callable[..., str],
    opens: Opens,
) -> None:
    folder = fill(home / HOSTILE, 130)
    page = library(opens, serve(tmp_path / "new"))
    # With keys alone: the field, the path, Enter; then the run has a Stop.
    page.focus("#q")
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.name === 'folder'"):
            break
    page.keyboard.type(f"~/{HOSTILE}")
    page.keyboard.press("Enter")
    panel(page, "0 of 130")
    gate(1)
    panel(page, "64 of 130")
    settled(page, "document.querySelector('.progress .path').textContent.length > 0")
    assert page.text_content(".progress .path") == f"{folder}/063.png"
    assert page.locator("img[src=x]").count() == 0
    assert page.get_attribute("[role=progressbar]", "aria-valuenow") == "49"
    settled(page, "document.querySelector('#live').textContent.includes('64 of 130')")
    assert page.is_disabled(".chooser form .button")
    page.reload()
    panel(page, "64 of 130")
    page.focus("#q")
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent === 'Stop'"):
            break
    page.keyboard.press("Enter")
    page.wait_for_selector(".progress button >> text=Stopping")
    gate(99)  # what it has in hand is kept
    panel(page, "Stopped. ")
    assert "pictures added; that stays." in (page.text_content(".progress .figures") or "")
    assert page.evaluate("document.querySelector('#main').contains(document.activeElement)")
    # A page that comes later is told as well; the next look goes on from there.
    later = library(opens, page.url.split("/?")[0])
    panel(later, "Stopped. ")
    later.click("text=Look for new pictures")
    panel(later, "Done: ")
    later.wait_for_selector("h1 .count >> text=130 pictures")
    assert later.text_content(".folders .path") == str(folder)


def test_folder_that_is_not_there_is_told_beside_the_field(
    tmp_path: Path, home: Path, serve: Callable[..., str], opens: Opens
) -> None:
    page = opens(serve(tmp_path / "new"))
    page.fill("input[name=folder]", f"~/{HOSTILE}")
    page.press("input[name=folder]", "Enter")
    told = page.wait_for_selector(".chooser [role=alert]:not([hidden])")
    assert told is not None
    assert f"There is no folder '~/{HOSTILE}'" in (told.text_content() or "")
    assert page.evaluate("document.activeElement.getAttribute('aria-invalid')") == "true"
    assert page.locator("img[src=x]").count() == 0
    (home / "nothing").mkdir()
    page.fill("input[name=folder]", "~/nothing")
    page.press("input[name=folder]", "Enter")
    panel(page, "No pictures were found there.")
    opens.wrong.clear()  # a browser notes each 4xx in its console


def test_search_in_an_empty_library_says_what_to_do_as_well(
    tmp_path: Path, home: Path, serve: Callable[..., str], opens: Opens
) -> None:
    assert home.exists()
    page = opens(f"{serve(tmp_path / 'new')}/?q=red")
    page.wait_for_selector("h1 >> text=There are no pictures here yet")
    page.wait_for_selector("input[name=folder]")
    opens.wrong.clear()


def test_folders_say_what_they_hold_and_whether_they_are_within_reach(
    kept: tuple[str, Path], opens: Opens
) -> None:
    address, folder = kept
    page = library(opens, address)
    rows = page.locator(".folders li").all_text_contents()
    assert rows[0].startswith(f"{folder}/photos2 pictures, the last one added on ")
    assert rows[1].endswith("Not within reach now: connect its disk.")
    assert rows[1].startswith(f"{folder}/stick1 picture, added on ")
    assert "toy" in (page.text_content(".library .facts") or "")
    page.click(".folders a")
    page.wait_for_selector(TILES)
    assert asked(page) == {"in": [f"{folder}/photos"]}
    page.go_back()
    page.wait_for_selector(".library")


def test_failures_are_grouped_by_reason_explained_and_paged(kept: tuple[str, Path], opens: Opens) -> None:
    address, folder = kept
    page = library(opens, address)
    assert page.text_content("#failures-title") == "Could not be read 61 files"
    assert page.locator(".reason").all_text_contents() == ["Damaged 60", "Not a picture 1"]
    assert "cut off" in (page.text_content(".reasons li >> nth=0") or "")
    page.focus(".reason >> nth=0")
    page.keyboard.press("Enter")
    settled(page, "document.querySelectorAll('.files li').length === 50")
    assert asked(page) == {"view": ["library"], "reason": ["damaged"]}
    assert page.text_content(".files li .path") == f"{folder}/photos/cut-00.png"
    page.click("text=Show more")
    settled(page, "document.querySelectorAll('.files li').length === 60")
    settled(page, "document.activeElement === document.querySelectorAll('.files li')[50]")
    assert not page.is_visible("text=Show more")
    page.click(".reason >> nth=1")
    settled(page, "document.querySelector('#files-not-an-image li') !== null")
    assert not page.is_visible("#files-damaged")
    assert page.text_content("#files-not-an-image .path") == f"{folder}/photos/{HOSTILE}.png"
    page.reload()
    page.wait_for_selector("#files-not-an-image li")
    assert page.locator(".reason[aria-expanded=true]").count() == 1
    page.click(".reason >> nth=1")
    settled(page, "location.search === '?view=library'")
    assert not page.is_visible("#files-not-an-image")


def test_every_reason_is_told_in_words_of_the_page(kept: tuple[str, Path], opens: Opens) -> None:
    reasons = [{"reason": one, "means": "told by the server", "files": 1} for one in FAILURE_REASONS]
    page = opens(f"{kept[0]}/?view=pictures")
    page.route(
        "**/api/v1/failures?*",
        lambda route: route.fulfill(
            json={
                "reasons": [*reasons, {"reason": "new", "means": "a later one", "files": 1}],
                "failures": [],
                "total": 9,
                "next": None,
            }
        ),
    )
    page.goto(f"{kept[0]}/?view=library")
    page.wait_for_selector(".reasons")
    told = page.locator(".reasons > li").all_text_contents()
    assert len(told) == len(FAILURE_REASONS) + 1
    assert not [one for one in told if "told by the server" in one]
    assert "new 1a later one." in told[-1]
    assert page.text_content(".reasons code") == "search index --retry --memory 4G"


def test_failed_files_are_tried_again(
    tmp_path: Path, home: Path, serve: Callable[..., str], opens: Opens
) -> None:
    write_library(tmp_path)
    assert home.exists()
    page = library(opens, serve(tmp_path / "catalog"))
    with page.expect_request(lambda request: request.method == "POST") as sent:
        page.click("text=Try these again")
    assert sent.value.post_data == '{"retry":true}'
    panel(page, "61 files could not be read.")
    settled(page, "!document.querySelector('.failures .writes').disabled")
    assert "is not there now" in (page.text_content(".progress .notes") or "")


def test_catalog_that_another_command_changes_is_told(
    tmp_path: Path, serve: Callable[..., str], opens: Opens
) -> None:
    photos = fill(tmp_path / "photos", 2)
    index_folder(tmp_path / "catalog", photos, model="toy", workers=1)
    page = library(opens, serve(tmp_path / "catalog"))
    fill(photos, 3)
    with Writer(Location.parse(tmp_path / "catalog")):
        page.click("text=Look for new pictures")
        panel(page, "is writing to the catalog")
    page.wait_for_selector(".progress h2 >> text=That did not work")
    page.click("text=Look for new pictures")
    panel(page, "Done: 1 picture added.")


def test_read_only_server_offers_nothing_that_changes(
    tmp_path: Path, serve: Callable[..., str], opens: Opens
) -> None:
    photos = fill(tmp_path / "photos", 2)
    (photos / "cut.png").write_bytes(b"")
    index_folder(tmp_path / "catalog", photos, model="toy", workers=1)
    address = serve(tmp_path / "catalog", "--read-only")
    page = library(opens, address)
    page.wait_for_selector(".reasons")
    assert page.locator("text=Try these again").count() == 0
    assert page.locator("text=Look for new pictures").count() == 0
    assert "This server only reads" in (page.text_content(".chooser") or "")
    page.goto(f"{address}/?q=red&open=1")
    page.wait_for_selector(".viewer .facts")
    assert page.locator(".viewer .actions button:visible").evaluate_all(
        "all => all.map(one => one.title.at(-2))"
    ) == ["w", "s", "z", "i"]
    page.keyboard.press("m")
    page.wait_for_selector(".toast >> text=only reads")


@SIGHTS
def test_nothing_stands_in_anybodys_way(
    kept: tuple[str, Path], opens: Opens, scheme: str, size: dict[str, int], rules: list[str]
) -> None:
    page = opens(
        f"{kept[0]}/?view=library&reason=damaged",
        color_scheme=scheme, viewport=size, bypass_csp=True, reduced_motion="reduce",
    )  # fmt: skip
    page.wait_for_selector(".files li")
    in_nobodys_way(page, rules)


def test_nothing_of_a_run_stands_in_anybodys_way(
    tmp_path: Path, gate: Callable[[int], int], home: Path, serve: Callable[..., str], opens: Opens
) -> None:
    fill(home / "Pictures" / ("a-rather-long-name-" * 6), 2)
    address = serve(tmp_path / "new")
    looks = [
        (opens(address, color_scheme=scheme, viewport=size, bypass_csp=True, reduced_motion="reduce"), rules)
        for scheme, size, rules in WAYS
    ]
    for page, rules in looks:
        page.wait_for_selector(".folder")
        page.click("summary")
        in_nobodys_way(page, rules)
    desk = looks[0][0]
    desk.click(".folder")
    panel(desk, "0 of 2")
    in_nobodys_way(desk, RULES)
    for page, rules in looks:
        page.goto(f"{address}/?view=library")
        panel(page, "0 of 2")
        page.wait_for_selector(".library")
        in_nobodys_way(page, rules)
    gate(9)
    panel(desk, "Done")
    in_nobodys_way(desk, RULES)
