"""The page in a real browser, over a real server process."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from indexer import index_folder
from retrieval import Catalog
from tests.browsing import SIGHTS, TILES, Opens, asked, ended, in_nobodys_way, names, settled, started
from tests.conftest import draw

if TYPE_CHECKING:
    from playwright.sync_api import Page

HOSTILE = "<img src=x onerror=alert(1)>.png"
EXIF_TAKEN = 36867


def write_photos(folder: Path) -> None:
    """Wide and tall pictures of a few colours, and many grey ones of a year before."""
    for number in range(6):
        draw(folder / "trip" / f"red-{number}.jpg", "red", size=(90, 60), mark=number + 1, quality=90)
        draw(folder / "trip" / f"blue-{number}.jpg", "blue", size=(60, 90), mark=number + 1, quality=90)
    draw(folder / "trip" / HOSTILE, "green", size=(80, 60))
    (folder / "gray").mkdir()
    exif = Image.Exif()
    for number in range(400):
        exif.get_ifd(0x8769)[EXIF_TAKEN] = f"2021:{1 + number % 12:02}:03 10:00:00"
        picture = Image.new("RGB", (30 + number % 7 * 5, 40), (100 + number % 50,) * 3)
        picture.save(folder / "gray" / f"{number:04}.jpg", exif=exif)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, caches: Path) -> Iterator[str]:
    """The address of a server over the drawn pictures."""
    folder = tmp_path_factory.mktemp("page")
    write_photos(folder / "photos")
    index_folder(folder / "catalog", [folder / "photos"], model="toy", workers=1)
    process, address = started(folder / "catalog", caches)
    yield address
    ended(process)


def focused(page: Page) -> int:
    found: int = page.evaluate("Number(document.activeElement.dataset.id)")
    return found


def search(page: Page, words: str) -> None:
    page.fill("#q", words)
    page.press("#q", "Enter")
    settled(
        page,
        "words => document.querySelector('h1')?.textContent.includes(words) && !document.querySelector('[aria-busy]')",
        words,
    )


def test_words_find_pictures_and_a_line_shows_where_good_ones_end(home: str, opens: Opens) -> None:
    page = opens(home)
    search(page, "red")
    found = names(page)
    assert all(name.startswith("red-") for name in found[:6])
    assert "% match" in found[0]
    assert page.text_content(".part.line h2") == "Here the good matches end. What comes closest:"
    assert page.locator(".part:not(.line) .tile").count() == 6
    assert page.locator(".part.line .tile.far").count() > 0
    assert asked(page) == {"q": ["red"]}
    assert "red" in page.title()
    settled(page, "document.querySelector('#live').textContent.includes('6 pictures')")


def test_library_is_shown_by_month_with_few_elements_however_far_one_scrolls(home: str, opens: Opens) -> None:
    page = opens(home)
    page.wait_for_selector(TILES)
    assert page.text_content("h1 .count") == "413 pictures"
    for _ in range(60):
        page.mouse.wheel(0, 1500)
        if page.evaluate("document.querySelector('[aria-posinset=\"413\"]') !== null"):
            break
        settled(
            page, "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))"
        )
    page.wait_for_selector('[aria-posinset="413"]')
    assert page.locator(".tile").count() < 200
    assert "January 2021" in page.locator(".part h2").all_text_contents()[-1]
    page.wait_for_selector("img.here")


def test_address_holds_the_state_for_back_reload_and_sharing(home: str, opens: Opens) -> None:
    page = opens(home)
    search(page, "red")
    search(page, "blue")
    page.go_back()
    settled(page, "document.querySelector('h1').textContent.includes('red')")
    assert page.input_value("#q") == "red"
    page.go_forward()
    settled(page, "document.querySelector('h1').textContent.includes('blue')")
    page.reload()
    assert names(page)[0].startswith("blue-")
    page.click(TILES)
    page.wait_for_selector("dialog.viewer[open]")
    shared = opens(page.url)
    shared.wait_for_selector("dialog.viewer[open] .facts")
    settled(shared, "document.querySelector('.viewer .place').textContent.startsWith('1 of')")


def test_closing_a_picture_returns_to_where_it_was_left(home: str, opens: Opens) -> None:
    page = opens(f"{home}/?q=red")
    page.locator(TILES).nth(1).click()
    page.wait_for_selector(".viewer .facts")
    first = asked(page)["open"]
    page.keyboard.press("ArrowRight")
    settled(page, "first => new URLSearchParams(location.search).get('open') !== first", first[0])
    moved = int(asked(page)["open"][0])
    page.keyboard.press("Escape")
    settled(page, "!document.querySelector('dialog.viewer[open]')")
    assert "open" not in asked(page)
    settled(page, "id => Number(document.activeElement.dataset.id) === id", moved)
    page.go_back()
    settled(page, "location.search === '' || !location.search.includes('open')")


def test_similar_pictures_come_from_the_viewer(home: str, opens: Opens) -> None:
    page = opens(f"{home}/?q=blue")
    page.click(TILES)
    page.wait_for_selector(".viewer .strip img")
    opened = asked(page)["open"]
    page.keyboard.press("s")
    page.wait_for_selector("#asked .chip img")
    assert asked(page) == {"like": opened}
    assert all(name.startswith("blue-") for name in names(page)[:5])


def test_why_a_picture_was_found_is_drawn_and_told(home: str, opens: Opens) -> None:
    page = opens(f"{home}/?q=red")
    page.click(TILES)
    page.wait_for_selector(".viewer .facts")
    page.keyboard.press("w")
    page.wait_for_selector(".why dt >> text=What it shows")
    settled(page, "document.querySelector('.stage img').src.includes('explain.png?q=red')")
    page.keyboard.press("w")
    settled(page, "document.querySelector('.stage img').src.includes('thumbnail')")
    assert page.locator(".why").count() == 0


def test_filters_narrow_and_their_chips_take_them_away(home: str, opens: Opens) -> None:
    page = opens(home)
    page.click("button[aria-label=Filters]")
    page.check("input[name=orientation][value=portrait]", force=True)
    page.fill("input[name=after]", "2022")
    page.click("text=Show these")
    settled(page, "document.querySelector('h1').textContent.includes('portrait')")
    assert asked(page) == {"orientation": ["portrait"], "after": ["2022"]}
    assert all(name.startswith("blue-") for name in names(page))
    page.click("button[aria-label='Take the filter from 2022 away']")
    settled(page, "!location.search.includes('after')")
    assert page.locator("#asked .chip").count() == 1


def test_which_place_was_meant_is_told(home: str, opens: Opens) -> None:
    page = opens(f"{home}/?near=Bergen")
    assert "Bergen, Norway" in (page.text_content(".remark") or "")


def test_terms_can_be_turned_and_taken_away(home: str, opens: Opens) -> None:
    page = opens(home)
    search(page, "red + blue")
    page.click("button[aria-label='blue is looked for. Push it away']")
    settled(page, "document.querySelector('#q').value === 'red - blue'")
    assert asked(page)["q"] == ["red - blue"]
    page.click("button[aria-label='Take blue away']")
    settled(page, "document.querySelector('#q').value === 'red'")


DROPPED = """for (const name of ["dragenter", "dragover", "drop"])
  document.body.dispatchEvent(new DragEvent(name, { bubbles: true, cancelable: true, dataTransfer: transfer }));"""
PASTED = """document.querySelector("#q").dispatchEvent(
  new ClipboardEvent("paste", { bubbles: true, cancelable: true, clipboardData: transfer }));"""


@pytest.mark.parametrize("how", [DROPPED, PASTED], ids=["dropped", "pasted"])
def test_picture_from_outside_is_searched_with_and_outlives_a_reload(
    home: str, opens: Opens, tmp_path: Path, how: str
) -> None:
    page = opens(home)
    page.wait_for_selector(TILES)
    data = base64.b64encode(draw(tmp_path / "mine.png", "red", mark=9).read_bytes()).decode()
    page.evaluate(
        """data => {
          const bytes = Uint8Array.from(atob(data), one => one.charCodeAt(0));
          const transfer = new DataTransfer();
          transfer.items.add(new File([bytes], "mine.png", { type: "image/png" }));
        """
        + how
        + "}",
        data,
    )
    page.wait_for_selector("#asked .chip img")
    settled(
        page,
        "document.querySelector('h1').textContent.includes('Like your picture') && document.querySelector('.tile')",
    )
    assert names(page)[0].startswith("red-")
    page.reload()
    settled(page, "document.querySelector('#asked .chip').textContent.includes('mine.png')")
    assert names(page)[0].startswith("red-")


def test_keys_alone_find_open_and_leave_a_picture(home: str, opens: Opens) -> None:
    page = opens(home)
    page.wait_for_selector(TILES)
    page.keyboard.press("/")
    page.keyboard.type("blue")
    page.keyboard.press("Enter")
    settled(
        page, "document.querySelector('h1').textContent.includes('blue') && document.querySelector('.tile')"
    )
    page.keyboard.press("ArrowDown")
    first = focused(page)
    page.keyboard.press("ArrowRight")
    assert focused(page) != first
    page.keyboard.press("End")
    last = focused(page)
    page.keyboard.press("Home")
    assert focused(page) == first != last
    page.keyboard.press("ArrowDown")
    below = page.evaluate("document.activeElement.getBoundingClientRect().top")
    page.keyboard.press("ArrowUp")
    assert page.evaluate("document.activeElement.getBoundingClientRect().top") < below
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog.viewer[open] .facts")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('dialog') !== null")
    page.keyboard.press("Escape")
    settled(page, "id => Number(document.activeElement.dataset.id) === id", first)
    page.keyboard.press("s")
    settled(page, "location.search.includes('like=')")
    page.keyboard.press("Escape")
    settled(page, "location.search === '?q=blue'")
    page.keyboard.press("Escape")
    settled(page, "location.search === ''")
    page.keyboard.press("?")
    page.wait_for_selector("dialog.sheet[open]")


def test_who_stays_on_a_picture_is_told_what_it_shows(home: str, opens: Opens) -> None:
    page = opens(f"{home}/?q=gray")
    page.wait_for_selector(TILES)
    page.keyboard.press("ArrowRight")
    told = page.evaluate(f"fetch('/api/v1/images/{focused(page)}').then(answer => answer.json())")
    assert told["alt"]
    settled(page, "alt => document.querySelector('#live').textContent === alt", told["alt"])
    assert page.evaluate("document.activeElement.firstChild.alt").startswith(told["alt"].rstrip("."))


def test_not_this_leaves_a_picture_out_until_it_is_undone(home: str, opens: Opens) -> None:
    page = opens(f"{home}/?q=blue+red")
    before = names(page)
    good = page.locator(".part:not(.line) .tile").count()
    page.keyboard.press("ArrowRight")
    gone = focused(page)
    page.keyboard.press("x")
    settled(page, "id => !document.querySelector(`[data-id='${id}']`)", gone)
    assert page.text_content("h1 .count") == f"{good - 1} pictures"
    page.keyboard.press("u")
    page.wait_for_selector(f"[data-id='{gone}']")
    assert names(page) == before
    told = page.evaluate("fetch('/api/v1/feedback').then(answer => answer.json())")
    assert told == {"feedback": []}


def test_names_of_files_are_never_read_as_markup(home: str, opens: Opens) -> None:
    page = opens(f"{home}/?q=green")
    page.click(TILES)
    page.wait_for_selector(".viewer .facts")
    assert page.text_content(".panel h2") == HOSTILE
    assert page.locator("img[src=x]").count() == 0


def test_query_that_is_none_is_told_in_a_sentence(home: str, opens: Opens) -> None:
    page = opens(home)
    search(page, "red +")
    assert "Nothing follows this +" in (page.text_content("[role=alert]") or "")
    assert page.text_content("[role=alert] mark") == "+"
    opens.wrong.clear()  # a browser notes each 4xx in its console


def test_lost_server_is_told_and_asked_again(home: str, opens: Opens) -> None:
    page = opens(home)
    page.route("**/api/v1/search?*", lambda route: route.abort())
    search(page, "red")
    assert "The server does not answer" in (page.text_content("[role=alert]") or "")
    page.unroute("**/api/v1/search?*")
    page.click("text=Try again")
    assert names(page)[0].startswith("red-")
    opens.wrong.clear()


def test_empty_library_says_what_to_do(tmp_path: Path, caches: Path, opens: Opens) -> None:
    Catalog(tmp_path / "empty", encoder="toy", create=True).close()
    process, address = started(tmp_path / "empty", caches)
    try:
        page = opens(address)
        page.wait_for_selector(".state")
        assert "search index ~/Pictures" in (page.text_content(".state code") or "")
        page.close()  # it would ask a server that is gone
    finally:
        ended(process)


def test_chosen_theme_is_kept(home: str, opens: Opens) -> None:
    page = opens(home, color_scheme="light")
    paper = "getComputedStyle(document.body).color"
    light = page.evaluate(paper)
    for _ in range(2):
        page.click("[aria-label^='Colours:']")
    assert page.evaluate(paper) != light
    page.reload()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert page.evaluate(paper) != light


STATES: dict[str, tuple[str, str]] = {
    "library": ("/", TILES),
    "found": ("/?q=red+-+blue&orientation=landscape", TILES),
    "viewer": ("/?q=red&open=1", ".viewer .strip img"),
    "filters": ("/?q=red", TILES),
}


@SIGHTS
def test_nothing_stands_in_anybodys_way(
    home: str, opens: Opens, scheme: str, size: dict[str, int], rules: list[str]
) -> None:
    page = opens(home, color_scheme=scheme, viewport=size, bypass_csp=True, reduced_motion="reduce")
    for name, (address, sign) in STATES.items():
        page.goto(home + address)
        page.wait_for_selector(sign)
        if name == "filters":
            page.click("button[aria-label=Filters]")
        in_nobodys_way(page, rules)
