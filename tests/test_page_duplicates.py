"""The review of duplicates, over the API and in a real browser."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from fastapi.testclient import TestClient

from indexer import index_folder
from retrieval import Catalog
from retrieval.duplicates import Copy, Duplicates, findings
from retrieval.server import create_app
from tests.browsing import SIGHTS, Opens, asked, ended, in_nobodys_way, settled, started
from tests.test_duplicates import save, scene

if TYPE_CHECKING:
    from playwright.sync_api import Page

HOSTILE = "<img src=x onerror=alert(1)>.jpg"
API = "/api/v1"
PAIRS = 22
SMALL = (160, 120)


def write_photos(folder: Path) -> None:
    """Many files that are there twice, a picture in three sizes, one with a hostile name, and a moment."""
    for number in range(PAIRS):
        path = save(scene(number, SMALL), folder / "photos" / f"{number:02}.png")
        (folder / "photos" / "backup").mkdir(exist_ok=True)
        shutil.copy2(path, folder / "photos" / "backup" / path.name)
    image = scene(100)
    save(image, folder / "photos" / "sizes" / "full.jpg", quality=95)
    save(image, folder / "photos" / "sizes" / "low.jpg", quality=40)
    save(image.resize((240, 180)), folder / "photos" / "sizes" / "half.jpg", quality=90)
    image = scene(101)
    save(image, folder / "photos" / "odd" / HOSTILE, quality=90)
    save(image.resize((360, 270)), folder / "photos" / "odd" / "plain.jpg", quality=90)
    image = scene(102)
    for second in range(2):
        shot = image.crop((40 * second, 30 * second, 480, 360)).resize((480, 360))
        taken = f"2023:05:01 10:00:0{second}"
        save(shot, folder / "photos" / "burst" / f"shot-{second}.jpg", taken=taken, quality=90)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory, caches: Path) -> Path:
    folder = tmp_path_factory.mktemp("duplicates")
    write_photos(folder)
    index_folder(folder / "catalog", [folder / "photos"], model="toy", workers=1)
    return folder / "catalog"


@pytest.fixture(scope="module")
def home(library: Path, caches: Path) -> Iterator[str]:
    process, address = started(library, caches)
    yield address
    ended(process)


def shown(page: Page, kind: str) -> None:
    settled(
        page,
        "kind => document.querySelector('.kinds a[aria-current]')?.dataset.kind === kind && !document.querySelector('[aria-busy]')",
        kind,
    )


def marks(library: Path) -> int:
    with Catalog(library) as opened, opened.state.snapshot() as reader:
        return int(reader.rows("SELECT COUNT(*) FROM not_duplicates")[0][0])


def fetched(page: Page) -> list[list[str]]:
    """What the server now says: the names of each set of the same picture."""
    rows = page.evaluate(f"fetch('{API}/duplicates?kind=same-picture').then(answer => answer.json())")
    return [[one["path"].rsplit("/", 1)[-1] for one in found["pictures"]] for found in rows["sets"]]


def test_sets_come_with_counts_reasons_and_from_any_place(library: Path) -> None:
    with Catalog(library) as opened, TestClient(create_app(opened), base_url="http://127.0.0.1") as web:
        page = web.get(f"{API}/duplicates", params={"kind": "same-picture", "limit": 1}).json()
        assert page["counts"] == {"same-file": PAIRS, "same-picture": 2, "same-moment": 1}
        assert page["total"] == 2
        assert page["sets"][0]["reason"] == "pixels"
        second = web.get(f"{API}/duplicates", params={"kind": "same-picture", "limit": 1, "offset": 1}).json()
        assert (
            second
            == web.get(
                f"{API}/duplicates", params={"kind": "same-picture", "limit": 1, "cursor": page["next"]}
            ).json()
        )
        assert second["sets"][0]["reason"] == "bytes" or page["sets"][0] != second["sets"][0]


def test_reason_tells_the_first_from_what_is_not_as_good() -> None:
    def copy(width: int, size: int, at: float) -> Copy:
        return Copy(1, Path("a.jpg"), "JPEG", width, 100, size, None, at)

    def reason(*copies: Copy) -> str:
        return Duplicates("same-picture", copies).reason

    assert reason(copy(200, 5, 1), copy(100, 9, 0)) == "pixels"
    assert reason(copy(200, 5, 1), copy(200, 5, 1), copy(100, 9, 0)) == "pixels"
    assert reason(copy(200, 5, 1), copy(200, 4, 0)) == "bytes"
    assert reason(copy(200, 5, 1), copy(200, 5, 2)) == "age"
    assert reason(copy(200, 5, 1), copy(200, 5, 1)) == "none"


def test_pictures_are_compared_once_until_some_come_or_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = tmp_path / "photos"
    for name in ("a", "b", "c"):
        save(scene(1), photos / f"{name}.png")
    index_folder(tmp_path / "catalog", photos, model="toy", workers=1)
    runs: list[Any] = []

    def counted(*arguments: Any, **options: Any) -> Any:
        runs.append(options)
        return findings(*arguments, **options)

    monkeypatch.setattr("retrieval.server.routes.arranging.findings", counted)
    with (
        Catalog(tmp_path / "catalog") as opened,
        TestClient(create_app(opened), base_url="http://127.0.0.1") as web,
    ):

        def sizes() -> list[int]:
            return [len(one["pictures"]) for one in web.get(f"{API}/duplicates").json()["sets"]]

        assert sizes() == sizes() == [3]
        web.post(f"{API}/duplicates/not", json={"image_ids": [1, 2]})
        web.post(f"{API}/duplicates/not", json={"image_ids": [1, 3]})
        assert sizes() == [2]
        assert len(runs) == 1
        save(scene(1), photos / "d.png")
        index_folder(tmp_path / "catalog", photos, model="toy", workers=1)
        assert sizes() == [2, 2]
        os.unlink(photos / "d.png")
        index_folder(tmp_path / "catalog", photos, model="toy", workers=1)
        assert sizes() == [2]
        assert len(runs) == 3


def test_kinds_are_told_with_what_differs_and_why_one_is_best(home: str, opens: Opens) -> None:
    page = opens(f"{home}/?view=duplicates")
    shown(page, "same-file")
    assert page.locator(".kinds a").all_text_contents() == [
        f"Same file{PAIRS} sets", "Same picture2 sets", "Same moment1 set",
    ]  # fmt: skip
    assert "Nothing is deleted here" in (page.text_content(".duplicates .remark") or "")
    page.click(".kinds a[data-kind=same-picture]")
    shown(page, "same-picture")
    assert asked(page) == {"view": ["duplicates"], "kind": ["same-picture"]}
    sizes = page.locator(".set").nth(1)
    assert sizes.locator(".name").all_text_contents() == ["full.jpg", "low.jpg", "half.jpg"]
    assert sizes.locator(".best").all_text_contents() == ["Bestmost pixels, largest file", "Other", "Other"]
    assert "240 × 180" in sizes.locator(".copy").nth(2).locator(".differs").all_text_contents()
    assert "480 × 360" not in sizes.locator(".copy").nth(1).locator(".differs").all_text_contents()
    page.reload()
    shown(page, "same-picture")
    page.go_back()
    shown(page, "same-file")


def test_names_of_files_are_text(home: str, opens: Opens) -> None:
    page = opens(f"{home}/?view=duplicates&kind=same-picture")
    shown(page, "same-picture")
    assert HOSTILE in page.locator(".name").all_text_contents()
    assert page.locator("img[src=x]").count() == 0


def test_hundreds_of_sets_are_paged_through_by_their_address(home: str, opens: Opens) -> None:
    page = opens(f"{home}/?view=duplicates&kind=same-file")
    shown(page, "same-file")
    assert page.locator(".set").count() == 20
    assert f"1 to 20 of {PAIRS} sets" in (page.text_content(".paging") or "")
    page.click(".paging a >> text=Next")
    settled(page, "document.querySelectorAll('.set').length === 2")
    assert asked(page)["from"] == ["20"]
    assert page.locator(".set h2").first.text_content() == "212 copies"
    page.reload()
    settled(page, "document.querySelectorAll('.set').length === 2")
    page.click(".paging a >> text=Before")
    settled(page, "document.querySelectorAll('.set').length === 20")
    page.goto(f"{home}/?view=duplicates&kind=same-file&from=4000")
    page.click("text=To the first ones")
    settled(page, "document.querySelectorAll('.set').length === 20")


def test_a_set_is_told_apart_and_that_is_taken_back(home: str, opens: Opens, library: Path) -> None:
    page = opens(f"{home}/?view=duplicates&kind=same-picture")
    shown(page, "same-picture")
    before = fetched(page)
    page.locator(".set").first.locator("text=Not duplicates").click()
    page.wait_for_selector(".set.told")
    assert fetched(page) == before[1:]
    assert page.evaluate("document.activeElement.textContent") == "Undo"
    assert page.text_content(".kinds a[aria-current] > span") == "1 set"
    page.keyboard.press("Enter")
    settled(page, "!document.querySelector('.set.told')")
    assert fetched(page) == before
    third = page.locator(".set").nth(1).locator(".copy").nth(2)
    third.locator("button >> text=Not this one").click()
    settled(page, "document.querySelectorAll('.set')[1].querySelectorAll('.copy').length === 2")
    assert fetched(page)[1] == before[1][:2]
    page.keyboard.press("u")
    settled(page, "document.querySelectorAll('.set')[1].querySelectorAll('.copy').length === 3")
    assert fetched(page) == before
    assert marks(library) == 0


def test_next_page_skips_nothing_where_sets_were_told_apart(home: str, opens: Opens, library: Path) -> None:
    page = opens(f"{home}/?view=duplicates&kind=same-file")
    shown(page, "same-file")
    page.locator(".set").first.locator("text=Not duplicates").click()
    page.wait_for_selector(".set.told")
    page.click(".paging a >> text=Next")
    settled(page, "document.querySelectorAll('.set').length === 2")
    assert page.locator(".name").all_text_contents() == ["20.png", "20.png", "21.png", "21.png"]
    page.keyboard.press("u")
    settled(page, "document.querySelector('#live').textContent === 'Undone.'")
    assert marks(library) == 0


def test_two_are_compared_by_turning_from_one_to_the_other(home: str, opens: Opens) -> None:
    page = opens(f"{home}/?view=duplicates&kind=same-picture", reduced_motion="reduce")
    shown(page, "same-picture")
    page.locator(".set").nth(1).locator("text=Compare").first.click()
    page.wait_for_selector("dialog.compare[open]")
    visible = "[...document.querySelectorAll('.both img')].map(one => getComputedStyle(one).visibility)"
    assert page.evaluate(visible) == ["visible", "hidden"]
    page.keyboard.press("Space")
    assert page.evaluate(visible) == ["hidden", "visible"]
    settled(page, "document.querySelector('.compare [data-live]').textContent === 'Other: low.jpg'")
    page.keyboard.press("d")
    assert page.evaluate(visible) == ["visible", "visible"]
    assert (
        page.evaluate("getComputedStyle(document.querySelectorAll('.both img')[1]).mixBlendMode")
        == "difference"
    )
    page.keyboard.press("ArrowDown")
    settled(page, "document.querySelectorAll('.side-name bdi')[1].textContent === 'half.jpg'")
    page.reload()
    page.wait_for_selector("dialog.compare[open]")
    assert page.locator(".side-name bdi").all_text_contents() == ["full.jpg", "half.jpg"]
    page.keyboard.press("Escape")
    settled(page, "!document.querySelector('dialog.compare[open]') && !location.search.includes('compare')")


def test_keys_alone_review_a_set(home: str, opens: Opens, library: Path) -> None:
    page = opens(f"{home}/?view=duplicates&kind=same-picture")
    shown(page, "same-picture")
    name = "document.activeElement.closest('.copy')?.querySelector('.name').textContent"
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    assert page.evaluate(name) == "full.jpg"
    page.keyboard.press("ArrowRight")
    assert page.evaluate(name) == "low.jpg"
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog.viewer[open] .facts")
    assert page.text_content(".viewer .place") == "4 of 5"
    page.keyboard.press("Escape")
    settled(page, "!document.querySelector('dialog.viewer[open]')")
    settled(page, f"{name} === 'low.jpg'")
    page.keyboard.press("c")
    page.wait_for_selector("dialog.compare[open]")
    page.keyboard.press("Escape")
    settled(page, f"{name} === 'low.jpg'")
    page.keyboard.press("n")
    page.wait_for_selector(".set.told")
    page.keyboard.press("u")
    settled(page, "!document.querySelector('.set.told')")
    settled(page, "document.querySelector('#live').textContent === 'Undone.'")
    assert marks(library) == 0


def test_paths_of_the_others_are_taken_along(home: str, opens: Opens) -> None:
    page = opens(
        f"{home}/?view=duplicates&kind=same-picture", permissions=["clipboard-read", "clipboard-write"]
    )
    shown(page, "same-picture")
    with page.expect_download() as text:
        page.click(".taking >> text=Text")
    lines = text.value.path().read_text("utf-8").splitlines()
    assert [line.rsplit("/", 1)[-1] for line in lines] == ["plain.jpg", "low.jpg", "half.jpg"]
    assert text.value.suggested_filename == "same-picture.txt"
    with page.expect_download() as listed:
        page.click(".taking >> text=JSON")
    rows = json.loads(listed.value.path().read_text("utf-8"))
    assert rows[0]["best"]["path"].endswith(HOSTILE)
    assert [one["path"] for row in rows for one in row["others"]] == lines
    page.click(".taking >> text=Copy")
    settled(page, "document.querySelector('.toast')?.textContent.includes('Copied 3 paths')")
    assert page.evaluate("navigator.clipboard.readText()") == "".join(f"{line}\n" for line in lines)
    page.locator(".set").nth(1).locator("text=Copy the other paths").click()
    settled(page, "document.querySelector('.toast')?.textContent.includes('Copied 2 paths')")


def test_names_that_no_line_can_hold_are_told_and_in_the_json_list(home: str, opens: Opens) -> None:
    page = opens(f"{home}/?view=duplicates&kind=same-picture")
    shown(page, "same-picture")
    told = page.evaluate(
        """async () => {
          const { asJson, asText, toldPaths } = await import('/static/js/pathlist.js');
          const row = (path, more = {}) => ({ image_id: 1, path, width: 1, height: 1, bytes: 1, ...more });
          const sets = [{ kind: 'same-file', reason: 'age', pictures: [row('/a'), row('/b'), row('/c\\n/etc'), row('/d?', { path_b64: 'L2T/' })] }];
          return [asText(sets).text, toldPaths(asText(sets)), JSON.parse(asJson(sets))[0].others.map(one => one.path_b64 ?? one.path)];
        }"""
    )
    assert told == [
        "/b\n",
        "1 path; 2 with a name that no line of text can hold are in the JSON list only",
        ["/b", "/c\n/etc", "L2T/"],
    ]


def test_server_that_only_reads_offers_no_telling_apart(library: Path, caches: Path, opens: Opens) -> None:
    process, address = started(library, caches, "--read-only")
    try:
        page = opens(f"{address}/?view=duplicates&kind=same-picture")
        shown(page, "same-picture")
        assert page.locator(".set button >> text=/^Not/").count() == 0
        page.keyboard.press("ArrowDown")
        page.keyboard.press("n")
        page.keyboard.press("c")
        page.wait_for_selector("dialog.compare[open]")
        assert not page.is_visible(".compare >> text=Not duplicates")
        assert marks(library) == 0
        page.close()
    finally:
        ended(process)


def test_waiting_is_shown_while_pictures_are_compared(home: str, opens: Opens) -> None:
    page = opens(f"{home}/")
    held: list[Any] = []
    holding = True

    def answer(route: Any) -> None:
        if holding:
            held.append(route)
        else:
            route.continue_()

    page.route("**/api/v1/duplicates?*", answer)
    page.click("#views a >> text=Duplicates")
    page.wait_for_selector(".comparing")
    settled(page, "document.querySelector('#live').textContent === 'The pictures are being compared.'")
    assert page.get_attribute("#main", "aria-busy") == "true"
    holding = False
    for route in held:
        route.continue_()
    shown(page, "same-file")


@SIGHTS
def test_the_review_stands_in_nobodys_way(
    home: str, opens: Opens, scheme: str, size: dict[str, int], rules: list[str]
) -> None:
    page = opens(home, color_scheme=scheme, viewport=size, bypass_csp=True, reduced_motion="reduce")
    for compare in (False, True):
        page.goto(f"{home}/?view=duplicates&kind=same-picture")
        shown(page, "same-picture")
        if compare:
            page.locator("text=Compare").first.click()
            page.wait_for_selector("dialog.compare[open]")
        in_nobodys_way(page, rules)
