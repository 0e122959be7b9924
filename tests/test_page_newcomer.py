"""What somebody meets in the page who has never seen it: signs with words, ways out, nothing that jumps."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from indexer import index_folder
from tests.browsing import PHONE, TILES, Opens, asked, ended, settled, started
from tests.conftest import draw

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

PLACES = "[...document.querySelectorAll('#views a')].map(one => Math.round(one.getBoundingClientRect().x))"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, caches: Path) -> Iterator[str]:
    """The address of a server over a few drawn pictures."""
    folder = tmp_path_factory.mktemp("newcomer")
    for number in range(4):
        draw(folder / "photos" / f"red-{number}.jpg", "red", size=(90, 60), mark=number + 1)
    index_folder(folder / "catalog", [folder / "photos"], model="toy", workers=1)
    process, address = started(folder / "catalog", caches)
    yield address
    ended(process)


def heading(page: Page) -> str:
    return (page.text_content("h1") or "").strip()


@pytest.mark.parametrize("width", [320, 360, 390, 431, 640, 1081, 1280])
def test_every_view_can_be_gone_to_at_every_width(home: str, opens: Opens, width: int) -> None:
    page = opens(home, viewport={"width": width, "height": 700})
    page.wait_for_selector("#views a")
    seen = page.eval_on_selector_all(
        "#views a",
        "all => all.map(one => one.getBoundingClientRect()).filter(({ left, right }) => left >= 0 && right <= innerWidth)",
    )
    assert len(seen) == page.locator("#views a").count()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_links_to_the_views_stay_where_they_are(home: str, opens: Opens) -> None:
    page = opens(home)
    page.wait_for_selector(TILES)
    before = page.evaluate(PLACES)
    page.click("#views >> text=Library")
    page.wait_for_selector(".library")
    assert page.evaluate(PLACES) == before


def test_view_that_cannot_be_loaded_says_so_and_is_tried_again(home: str, opens: Opens) -> None:
    page = opens(home)
    gone = {"now": True}

    def answer(route: Route) -> None:
        if gone["now"]:
            route.abort()
        else:
            route.continue_()

    page.route("**/views/timeline.js", answer)
    page.goto(home)
    page.wait_for_selector(TILES)
    page.click("#views >> text=Timeline")
    page.wait_for_selector(".state[role=alert] >> text=This part of the page could not be loaded.")
    page.route("**/api/v1/status", lambda route: route.abort())
    page.click("text=Try again")
    page.wait_for_selector(".toasts >> text=The server does not answer.")
    page.unroute("**/api/v1/status")
    gone["now"] = False
    page.click("text=Try again")
    page.wait_for_selector("h1 >> text=All time")
    opens.wrong.clear()  # a browser notes each request that fails in its console


def test_refused_filter_is_put_right_where_it_was_written(home: str, opens: Opens) -> None:
    page = opens(f"{home}/?after=last+summer")
    page.click("text=Change the filters")
    settled(page, "document.querySelector('#narrow').matches(':popover-open')")
    assert page.input_value("#narrow-after") == "last summer"
    page.keyboard.press("Escape")
    page.click("text=Without filters")
    page.wait_for_selector(TILES)
    assert asked(page) == {}
    opens.wrong.clear()  # a browser notes each 4xx in its console


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("/?camera=nokia", "Camera nokia 0 pictures"),
        ("/?q=-+red&picture=none-1", "Like your picture - red"),
        ("/?q=red&picture=none-1", "Like your picture + red"),
    ],
)
def test_heading_reads_as_a_sentence_does(home: str, opens: Opens, address: str, told: str) -> None:
    page = opens(home + address)
    page.wait_for_selector("h1")
    settled(page, "told => document.querySelector('h1').textContent.trim() === told", told)


def test_signs_of_an_open_picture_have_words(home: str, opens: Opens) -> None:
    page = opens(f"{home}/?q=red", viewport=PHONE, has_touch=True)
    page.tap(TILES)
    page.wait_for_selector(".viewer .strip")
    page.evaluate("document.querySelector('.between').scrollTo(0, 9999)")
    told = page.eval_on_selector_all(
        ".viewer .actions > *",
        """all => all.map(one => [one.textContent, one.getAttribute('aria-label'), one.getBoundingClientRect()])
          .map(([word, name, box]) => [word, name, box.left >= 0 && box.right <= innerWidth && box.bottom <= innerHeight])""",
    )
    assert [word for word, _, _ in told] == [
        "Like this", "Not this", "Why", "Similar", "Closer", "Save", "About",
    ]  # fmt: skip
    for word, name, within in told:
        assert word.lower() in name.lower()
        assert within, word


def test_similar_pictures_are_those_of_the_whole_library(home: str, opens: Opens) -> None:
    page = opens(f"{home}/?orientation=landscape&open=1")
    assert page.get_attribute(".alike-head a", "href") == "/?like=1"
    page.keyboard.press("s")
    page.wait_for_selector("h1 >> text=Similar pictures")
    assert asked(page) == {"like": ["1"]}


def test_which_model_was_taken_is_no_part_of_what_a_run_tells(home: str, opens: Opens) -> None:
    page = opens(home)
    report = {"added": 4, "updated": 0, "moved": 0, "missing": 0, "failed": 0, "unchanged": 0}
    notes = ["auto: the starter, because a hub does not answer.", "/a/folder is not there now."]
    run = {"id": "1", "kind": "index", "state": "done", "notes": notes, "report": report, "error": None}
    page.route("**/api/v1/jobs", lambda route: route.fulfill(json={"jobs": [run]}))
    page.goto(f"{home}/?view=library")
    page.wait_for_selector(".progress .notes li")
    assert page.locator(".progress .notes li").all_text_contents() == ["/a/folder is not there now."]


def test_area_that_no_word_fits_is_of_all_kinds(home: str, opens: Opens) -> None:
    page = opens(home)

    def renamed(route: Route) -> None:
        answer = route.fetch()
        told = answer.json()
        area = {"x": 0, "y": 0, "level": 0, "count": 2, "parent": None}
        told["areas"] = [{**area, "name": name} for name in ("pictures", "pictures 41", "pictures of red")]
        route.fulfill(response=answer, body=json.dumps(told))

    page.route("**/api/v1/map", renamed)
    page.goto(f"{home}/?view=map")
    page.wait_for_selector(".areas li")
    found = [one.removesuffix("2") for one in page.locator(".areas li").all_text_contents()]
    assert found == ["of all kinds", "of all kinds", "pictures of red"]


def test_library_without_pictures_is_not_asked_but_filled(tmp_path: Path, caches: Path, opens: Opens) -> None:
    process, address = started(tmp_path / "catalog", caches)
    try:
        page = opens(f"{address}/?view=ask")
        page.click("text=See how to add some")
        page.wait_for_selector("label >> text=folder")
        assert page.locator("form.question").count() == 0
    finally:
        ended(process)
