"""The map in a real browser: looking from afar and near, selecting, opening, and what is marked."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from indexer import index_folder
from retrieval import Catalog
from tests.browsing import PHONE, SIGHTS, Opens, asked, ended, in_nobodys_way, settled, started
from tests.conftest import draw

if TYPE_CHECKING:
    from playwright.sync_api import Page

KINDS = ("red", "green", "blue", "yellow")
EACH = 14
HOSTILE = "<img src=x onerror=alert(1)>.png"
READY = ".plane[data-shown]"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalog of four colours with its map."""
    folder = tmp_path_factory.mktemp("page-map")
    for colour in KINDS:
        for number in range(EACH):
            draw(folder / "photos" / f"{colour}-{number}.png", colour, size=(60, 45), mark=1 + 17 * number)
    draw(folder / "photos" / HOSTILE, "red", size=(45, 60), mark=5)
    index_folder(folder / "catalog", [folder / "photos"], model="toy", workers=1)
    with Catalog(folder / "catalog") as catalog:
        catalog.tags.load([(colour, colour) for colour in KINDS])
        catalog.atlas.make()
    return folder / "catalog"


@pytest.fixture(scope="module")
def home(library: Path, caches: Path) -> Iterator[str]:
    process, address = started(library, caches)
    yield address
    ended(process)


@pytest.fixture
def unmade(library: Path, caches: Path, tmp_path: Path) -> Iterator[str]:
    """The same library before its map was made."""
    shutil.copytree(library, tmp_path / "catalog")
    shutil.rmtree(tmp_path / "catalog" / "cache" / "map")
    process, address = started(tmp_path / "catalog", caches)
    yield address
    ended(process)


def at_map(opens: Opens, home: str, more: str = "", **options: Any) -> Page:
    page = opens(f"{home}/?view=map{more}", **options)
    page.wait_for_selector(READY)
    return page


def zoom(page: Page) -> float:
    found: float = page.evaluate("Number(document.querySelector('.plane').dataset.zoom)")
    return found


def middle(page: Page) -> tuple[float, float]:
    box = page.locator(".plane canvas").bounding_box()
    assert box is not None
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def drag(page: Page, start: tuple[float, float], end: tuple[float, float]) -> None:
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move((start[0] + end[0]) / 2, (start[1] + end[1]) / 2)
    page.mouse.move(*end)
    page.mouse.up()


def drag_over_all(page: Page) -> None:
    box = page.locator(".plane canvas").bounding_box()
    assert box is not None
    drag(
        page,
        (box["x"] + 12, box["y"] + 12),
        (box["x"] + box["width"] - 4, box["y"] + box["height"] - 4),
    )


def pixels(page: Page) -> list[int]:
    """How many pixels of the canvas are of each of the library's colours."""
    found: list[int] = page.evaluate(
        """() => {
          const { width, height } = document.querySelector(".plane canvas");
          const copy = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
          copy.drawImage(document.querySelector(".plane canvas"), 0, 0);
          const { data } = copy.getImageData(0, 0, width, height);
          const wanted = [[220, 20, 20], [20, 150, 40], [30, 60, 220], [250, 230, 30]];
          return wanted.map((colour) => {
            let count = 0;
            for (let at = 0; at < data.length; at += 4)
              if (colour.every((value, part) => Math.abs(value - data[at + part]) < 14)) count += 1;
            return count;
          });
        }"""
    )
    return found


def test_map_shows_pictures_of_every_kind_and_names_its_areas(home: str, opens: Opens) -> None:
    page = at_map(opens, home)
    assert page.text_content("h1 .count") == "57 pictures"
    settled(page, "Number(document.querySelector('.plane').dataset.shown) > 3")
    for _ in range(100):
        if min(pixels(page)) > 60:
            break
        settled(page, "new Promise(done => requestAnimationFrame(() => done(true)))")
    assert min(pixels(page)) > 60
    names = {
        name for text in page.locator(".areas button span").all_text_contents() for name in text.split(", ")
    }
    assert set(KINDS) <= names


def test_canvas_has_as_many_pixels_as_the_screen(home: str, opens: Opens) -> None:
    page = at_map(opens, home, device_scale_factor=2)
    wide, shown = page.evaluate(
        "(() => { const one = document.querySelector('.plane canvas'); return [one.width, one.clientWidth]; })()"
    )
    assert wide == 2 * shown


def test_wheel_buttons_and_keys_zoom_and_the_address_tells(home: str, opens: Opens) -> None:
    page = at_map(opens, home, reduced_motion="reduce")
    page.mouse.move(*middle(page))
    page.mouse.wheel(0, -300)
    settled(page, "Number(document.querySelector('.plane').dataset.zoom) > 1.2")
    settled(page, "location.search.includes('at=')")
    near = zoom(page)
    page.click("button[aria-label='Closer (+)']")
    settled(page, "near => Number(document.querySelector('.plane').dataset.zoom) > near * 1.4", near)
    page.focus(".plane canvas")
    page.keyboard.press("-")
    settled(
        page, "near => Math.abs(Number(document.querySelector('.plane').dataset.zoom) - near) < .05", near
    )
    page.keyboard.press("ArrowRight")
    settled(page, "location.search.includes('at=')")
    page.keyboard.press("0")
    settled(page, "!location.search.includes('at=')")
    assert zoom(page) == 1
    page.keyboard.press("+")
    settled(page, "location.search.includes('at=')")
    shared = opens(page.url)
    shared.wait_for_selector(READY)
    settled(shared, "wanted => Number(document.querySelector('.plane').dataset.zoom) === wanted", zoom(page))


def test_dragging_moves_the_map_and_selects_nothing(home: str, opens: Opens) -> None:
    page = at_map(opens, home)
    x, y = middle(page)
    drag(page, (x, y), (x + 90, y + 40))
    settled(page, "location.search.includes('at=')")
    assert "part" not in asked(page)
    assert "open" not in asked(page)


def test_frame_with_shift_selects_and_the_address_keeps_it(home: str, opens: Opens) -> None:
    page = at_map(opens, home)
    page.keyboard.down("Shift")
    drag_over_all(page)
    page.keyboard.up("Shift")
    page.wait_for_selector(".picked li")
    assert page.text_content(".beside h2") == "57 pictures"
    assert page.locator(".picked li").count() == 57
    assert "part" in asked(page)
    page.reload()
    page.wait_for_selector(".picked li")
    assert page.text_content(".beside h2") == "57 pictures"
    page.go_back()
    page.wait_for_selector(".areas")
    page.go_forward()
    page.wait_for_selector(".picked li")
    page.keyboard.press("Escape")
    page.wait_for_selector(".areas")
    assert "part" not in asked(page)


def test_tool_selects_without_shift_and_lets_go_of_itself(home: str, opens: Opens) -> None:
    page = at_map(opens, home)
    page.click("button[aria-label^='Select:']")
    assert page.get_attribute("button[aria-label^='Select:']", "aria-pressed") == "true"
    box = page.locator(".plane canvas").bounding_box()
    assert box is not None
    drag(page, (box["x"] + 8, box["y"] + 8), (box["x"] + 26, box["y"] + 26))
    page.wait_for_selector("text=No picture lies there.")
    assert page.get_attribute("button[aria-label^='Select:']", "aria-pressed") == "false"
    page.click("button[aria-label^='Clear']")
    page.wait_for_selector(".areas")


def test_area_is_gone_to_and_selected_with_keys_alone(home: str, opens: Opens) -> None:
    page = at_map(opens, home, reduced_motion="reduce")
    button = page.locator(".areas button").first
    name, count = button.locator("span").text_content(), button.locator("small").text_content()
    button.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector(".picked li")
    assert page.locator(".picked li").count() == int(count or 0)
    assert (page.text_content(".beside h2") or "").startswith(name or "?")
    settled(page, "location.search.includes('at=')")
    assert zoom(page) > 1
    assert page.evaluate("document.querySelector('.beside').contains(document.activeElement)")
    alike = page.eval_on_selector_all(
        ".picked img", "all => all.map(one => one.alt.split('-')[0].split(',')[0])"
    )
    assert len(set(alike) - {HOSTILE}) < len(KINDS)
    settled(page, "document.querySelector('#live').textContent.includes('selected')")


def test_selected_pictures_are_opened_and_gone_through(home: str, opens: Opens) -> None:
    page = at_map(opens, home, "&area=0")
    page.wait_for_selector(".picked li")
    count = page.locator(".picked li").count()
    ids = page.eval_on_selector_all(".picked a", "all => all.map(one => one.dataset.id)")
    page.locator(".picked a").first.click()
    page.wait_for_selector("dialog.viewer[open] .facts")
    settled(
        page,
        "start => document.querySelector('.viewer .place').textContent.startsWith(start)",
        f"1 of {count}",
    )
    page.keyboard.press("ArrowRight")
    settled(page, "id => new URLSearchParams(location.search).get('open') === id", ids[1])
    page.keyboard.press("Escape")
    settled(page, "!document.querySelector('dialog.viewer[open]')")
    assert asked(page)["area"] == ["0"]


def test_selected_pictures_are_seen_large_and_the_map_comes_back(home: str, opens: Opens) -> None:
    page = at_map(opens, home, "&area=0")
    page.click("text=See them large")
    page.wait_for_selector(".large .tile img.here")
    count = int((page.text_content(".beside h2 small") or "").split()[0])
    assert page.get_attribute(".large .tile", "aria-setsize") == str(count)
    assert not page.is_visible(".plane")
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement.closest('.large') !== null")
    page.click("text=Back to the map")
    page.wait_for_selector(".plane canvas", state="visible")
    assert page.locator(".large").count() == 0


def test_picture_opens_from_the_map_and_one_goes_on_outwards(home: str, opens: Opens) -> None:
    page = at_map(opens, home)
    page.focus(".plane canvas")
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog.viewer[open] .facts")
    settled(page, "document.querySelector('.viewer .place').textContent.startsWith('1 of 57')")
    first = asked(page)["open"]
    page.keyboard.press("ArrowRight")
    settled(page, "first => new URLSearchParams(location.search).get('open') !== first", first[0])
    settled(page, "document.querySelector('.viewer .place').textContent.startsWith('2 of 57')")
    page.keyboard.press("Escape")
    settled(page, "!location.search.includes('open')")


def test_press_opens_what_lies_there_and_the_mouse_is_told_what_it_is(home: str, opens: Opens) -> None:
    page = at_map(opens, home, "&area=0", reduced_motion="reduce")
    place = page.evaluate(
        """async () => {
          const map = await (await fetch("/api/v1/map")).json();
          const at = map.ids.map((id, row) => ({ id, x: map.x[row] / map.side, y: map.y[row] / map.side }));
          return at[0];
        }"""
    )
    page.goto(f"{home}/?view=map&at={place['x']},{place['y']},60")
    page.wait_for_selector(READY)
    page.mouse.move(*middle(page))
    page.wait_for_selector(".tip:not([hidden])")
    assert ".png" in (page.text_content(".tip") or "")
    page.mouse.click(*middle(page))
    page.wait_for_selector("dialog.viewer[open]")
    assert asked(page)["open"] == [str(place["id"])]


def test_what_is_searched_for_is_marked_on_the_map(home: str, opens: Opens) -> None:
    page = at_map(opens, home)
    page.fill("#q", "blue")
    page.press("#q", "Enter")
    settled(page, "document.querySelector('h1')?.textContent === '“blue” 14 of 57 pictures'")
    assert asked(page) == {"view": ["map"], "q": ["blue"]}
    settled(page, "document.querySelector('#live').textContent.includes('14 of 57 pictures marked')")
    page.goto(f"{home}/?view=map&orientation=portrait")
    settled(page, "document.querySelector('h1')?.textContent.includes('1 of 57 pictures')")
    page.keyboard.press("Escape")
    settled(page, "document.querySelector('h1')?.textContent === 'Map 57 pictures'")


def test_query_that_is_none_is_told_and_the_map_stays(home: str, opens: Opens) -> None:
    page = at_map(opens, home, "&q=red+%2B")
    page.wait_for_selector(".head [role=alert]")
    assert page.is_visible(".plane canvas")
    opens.wrong.clear()  # a browser notes each 4xx in its console


def test_map_is_made_in_the_background_and_shown_when_it_is_there(unmade: str, opens: Opens) -> None:
    page = at_map(opens, unmade, reduced_motion="reduce")
    page.wait_for_selector(".making progress")
    assert page.get_attribute(".making progress", "aria-label")
    page.wait_for_selector(".areas button", timeout=30_000)
    assert page.locator(".making").is_hidden()
    told = page.evaluate("fetch('/api/v1/map').then(answer => answer.json())")
    assert told["method"] == "neighbours"
    assert page.evaluate("fetch('/api/v1/jobs').then(answer => answer.json())")["jobs"][0]["kind"] == "map"


def test_making_can_be_stopped_and_begun_again(unmade: str, opens: Opens) -> None:
    page = opens(unmade)
    page.route("**/api/v1/jobs", lambda route: route.fulfill(status=503, json={"detail": "Not just now."}))
    page.goto(f"{unmade}/?view=map")
    page.wait_for_selector(".making >> text=Not just now.")
    assert page.is_visible(".plane canvas")
    page.unroute("**/api/v1/jobs")
    page.click("text=Make the map")
    page.wait_for_selector(".areas button", timeout=30_000)
    opens.wrong.clear()


def test_names_of_files_are_never_read_as_markup(home: str, opens: Opens) -> None:
    page = at_map(opens, home)
    page.keyboard.down("Shift")
    drag_over_all(page)
    page.keyboard.up("Shift")
    page.wait_for_selector(".picked img")
    assert any(
        HOSTILE in alt for alt in page.eval_on_selector_all(".picked img", "all => all.map(one => one.alt)")
    )
    assert page.locator("img[src=x]").count() == 0


def test_fingers_pinch_and_frame(home: str, opens: Opens) -> None:
    page = at_map(opens, home, viewport=PHONE, has_touch=True)
    page.evaluate(
        """() => {
          const canvas = document.querySelector(".plane canvas");
          canvas.setPointerCapture = () => {};
          const { left, top, width, height } = canvas.getBoundingClientRect();
          const send = (name, pointerId, x, y) => canvas.dispatchEvent(new PointerEvent(name, {
            pointerId, pointerType: "touch", clientX: left + width * x, clientY: top + height * y, bubbles: true }));
          send("pointerdown", 1, 0.4, 0.5);
          send("pointerdown", 2, 0.6, 0.5);
          send("pointermove", 2, 0.9, 0.5);
          send("pointerup", 1, 0.4, 0.5);
          send("pointerup", 2, 0.9, 0.5);
          delete canvas.setPointerCapture;
        }"""
    )
    settled(page, "Number(document.querySelector('.plane').dataset.zoom) > 2")
    page.tap("button[aria-label='Everything (0)']")
    settled(page, "Number(document.querySelector('.plane').dataset.zoom) === 1")
    page.tap("button[aria-label^='Select:']")
    drag_over_all(page)
    page.wait_for_selector(".picked li")
    assert page.text_content(".beside h2") == "57 pictures"


@SIGHTS
def test_nothing_stands_in_anybodys_way(
    home: str, opens: Opens, scheme: str, size: dict[str, int], rules: list[str]
) -> None:
    page = opens(home, color_scheme=scheme, viewport=size, bypass_csp=True, reduced_motion="reduce")
    for address, sign in (("", ".areas button"), ("&area=0&q=red", ".picked li")):
        page.goto(f"{home}/?view=map{address}")
        page.wait_for_selector(sign)
        in_nobodys_way(page, rules)
