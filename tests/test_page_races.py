"""The page while answers come late: what was left behind does nothing any more."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from indexer import index_folder
from tests.browsing import TILES, Opens, ended, settled, started
from tests.conftest import draw

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

WATCHED = """
window.scrolled = new Set();
for (const [name, change] of [["addEventListener", "add"], ["removeEventListener", "delete"]]) {
  const plain = window[name];
  window[name] = function (event, listener, ...more) {
    if (event === "scroll") window.scrolled[change](listener);
    return plain.call(this, event, listener, ...more);
  };
}
"""
"""Keeps count of the grids that listen."""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("races")
    for mark, name in enumerate(itertools.product(("red", "green", "blue"), "ab")):
        draw(folder / "photos" / f"{'-'.join(name)}.png", name[0], mark=mark)
    shutil.copy(folder / "photos" / "red-a.png", folder / "photos" / "copy.png")
    index_folder(folder / "catalog", folder / "photos", model="toy", workers=1)
    process, found = started(folder / "catalog", folder / "caches")
    yield found
    ended(process)


def searched(page: Page, words: str) -> None:
    page.fill("#q", words)
    page.keyboard.press("Enter")


@pytest.fixture
def held(opens: Opens, address: str) -> tuple[Page, dict[str, Route]]:
    """The page with its pictures, and the searches that are not let through yet, by their words."""
    page = opens(address)
    page.add_init_script(WATCHED)
    page.reload()
    page.wait_for_selector(TILES)
    waiting: dict[str, Route] = {}

    def keep(route: Route) -> None:
        waiting[route.request.url.partition("q=")[2].partition("&")[0]] = route

    page.route("**/api/v1/search?*", keep)
    return page, waiting


def kept(page: Page, waiting: dict[str, Route], words: str) -> Route:
    while words not in waiting:
        page.wait_for_timeout(10)
    return waiting.pop(words)


def test_a_search_that_overtakes_another_leaves_one_grid(held: tuple[Page, dict[str, Route]]) -> None:
    page, waiting = held
    searched(page, "red")
    first = kept(page, waiting, "red")
    searched(page, "green")
    kept(page, waiting, "green").continue_()
    settled(
        page, "document.querySelector('h1').textContent.includes('green') && document.querySelector('.tile')"
    )
    first.continue_()
    assert page.evaluate("scrolled.size") == 1
    assert "green" in page.inner_text("h1")


def test_a_view_that_is_left_while_it_waits_leaves_nothing(held: tuple[Page, dict[str, Route]]) -> None:
    page, waiting = held
    searched(page, "red")
    kept(page, waiting, "red")
    page.click("#views a:text-is('Library')")
    page.wait_for_selector(".library")
    assert page.evaluate("scrolled.size") == 0


def test_an_answer_that_comes_once_one_has_gone_back_changes_nothing(
    held: tuple[Page, dict[str, Route]],
) -> None:
    page, waiting = held
    searched(page, "red")
    late = kept(page, waiting, "red")
    page.go_back()
    settled(
        page, "document.querySelectorAll('.tile').length === 7 && !document.querySelector('[aria-busy=true]')"
    )
    page.evaluate("document.querySelector('.tile').marked = true")
    with page.expect_response("**/api/v1/search?*"):
        late.continue_()
    settled(page, "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))")
    assert page.evaluate("document.querySelector('.tile').marked ?? false") is True


def test_duplicates_of_a_kind_that_was_left_are_not_shown(opens: Opens, address: str) -> None:
    page = opens(f"{address}/?view=duplicates")
    page.wait_for_selector(".sets .set")
    waiting: list[Route] = []
    page.route("**/api/v1/duplicates?*kind=same-picture*", lambda route: waiting.append(route))
    page.click(".kinds [data-kind='same-picture']")
    while not waiting:
        page.wait_for_timeout(10)
    page.go_back()
    waiting[0].continue_()
    settled(page, "!document.querySelector('#main[aria-busy=true]')")
    assert page.get_attribute(".kinds [aria-current=page]", "data-kind") == "same-file"
    assert page.locator(".sets .set").count() == 1
