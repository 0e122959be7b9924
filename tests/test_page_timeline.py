"""The timeline: how many pictures are from when, over the API and in a real browser."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from indexer import index_folder
from retrieval import Catalog, Filter, QueryError
from retrieval.client import Client
from retrieval.types import Span
from tests.browsing import SIGHTS, TILES, Opens, asked, ended, in_nobodys_way, names, settled, started
from tests.conftest import draw

if TYPE_CHECKING:
    from playwright.sync_api import Page

HOSTILE = "<img src=x onerror=alert(1)>.jpg"
SHOTS = {
    "2018-03-01": ("green", 2), "2019-05-12": ("red", 3), "2019-05-20": ("blue", 2), "2019-07-04": ("red", 1),
    "2022-01-31": ("yellow", 1),
}  # fmt: skip
COPIED = datetime(2021, 2, 3, 12).timestamp()


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory, caches: Path) -> Path:
    """Pictures of a few days, two that only their files date, and one without any date."""
    folder = tmp_path_factory.mktemp("timeline")
    mark = 0
    for day, (colour, count) in SHOTS.items():
        for number in range(count):
            mark += 1
            exif = Image.Exif()
            exif.get_ifd(0x8769)[36867] = f"{day.replace('-', ':')} 10:00:0{number}"
            draw(folder / "photos" / f"{colour}-{mark}.jpg", colour, size=(90, 60), mark=mark, exif=exif)
    for name in (HOSTILE, "red-copy.png"):
        path = draw(folder / "photos" / name, "red", size=(60, 60), mark=99)
        os.utime(path, (COPIED, COPIED))
    draw(folder / "photos" / "white.png", "white")
    index_folder(folder / "catalog", [folder / "photos"], model="toy", workers=1)
    with sqlite3.connect(folder / "catalog" / "catalog.db") as database:
        database.execute("UPDATE images SET taken_at = NULL, taken_source = NULL WHERE width = 64")
    return folder / "catalog"


@pytest.fixture(scope="module")
def home(library: Path, caches: Path) -> Iterator[str]:
    process, address = started(library, caches)
    yield address
    ended(process)


def bars(page: Page) -> list[str]:
    page.wait_for_selector(".chart a")
    return page.eval_on_selector_all(".chart a", "all => all.map(one => one.ariaLabel)")  # type: ignore[no-any-return]


def titled(page: Page, title: str) -> None:
    settled(
        page,
        "title => document.querySelector('h1')?.firstChild.textContent.trim() === title && !document.querySelector('[aria-busy]')",
        title,
    )


def test_each_span_counts_its_pictures_and_those_that_only_their_files_date(library: Path) -> None:
    with Catalog(library) as opened:
        months = opened.pictures.timeline()
        assert months.spans == (
            Span("2018-03", 2), Span("2019-05", 5), Span("2019-07", 1), Span("2021-02", 2, 2), Span("2022-01", 1),
        )  # fmt: skip
        assert months.undated == 1
        assert opened.pictures.timeline("year").spans[1] == Span("2019", 6)
        days = opened.pictures.timeline("day", where=Filter(after="2019-05", before="2019-06"))
        assert days.spans == (Span("2019-05-12", 3), Span("2019-05-20", 2))
        assert days.undated == 0
        reds = [hit.image_id for hit in opened.search("red", limit=50)]
        assert opened.pictures.timeline("year", among=reds).spans == (Span("2019", 4), Span("2021", 2, 2))
        assert opened.pictures.timeline(among=[]).spans == ()
        with pytest.raises(QueryError, match="year, month, day"):
            opened.pictures.timeline("week")  # type: ignore[arg-type]


def test_timeline_follows_what_is_indexed_meanwhile(photos: Path, index: Any, tmp_path: Path) -> None:
    index(photos)
    with Catalog(tmp_path / "catalog") as opened:
        before = sum(span.images for span in opened.pictures.timeline().spans)
        index(draw(tmp_path / "more" / "new.png", "red", mark=7).parent)
        assert sum(span.images for span in opened.pictures.timeline().spans) == before + 1
        os.unlink(tmp_path / "photos" / "green.png")
        os.unlink(tmp_path / "photos" / "blue.png")
        index(photos)
        assert sum(span.images for span in opened.pictures.timeline().spans) == before - 1


def test_a_server_gives_the_timeline_of_what_is_found(home: str, library: Path) -> None:
    client = Client(home)
    with Catalog(library) as opened:
        assert client.timeline() == opened.pictures.timeline()
        assert client.timeline("day", where=Filter(after="2019")).spans[0] == Span("2019-05-12", 3)
        assert client.timeline("year", query="red").spans == (Span("2019", 4), Span("2021", 2, 2))
        first = opened.search("blue")[0].image_id
    assert client.timeline("year", like=first).spans == (Span("2019", 1),)
    with pytest.raises(QueryError, match="not of both"):
        client.timeline(like=first, query="red")


def test_years_open_to_months_and_months_to_days_and_chips_show_it(home: str, opens: Opens) -> None:
    page = opens(f"{home}/?view=timeline")
    assert bars(page) == [
        "2018, 2 pictures", "2019, 6 pictures", "2021, 2 pictures, dated by their files alone", "2022, 1 picture",
    ]  # fmt: skip
    assert page.text_content("h1 .count") == "12 pictures"
    assert "2 pictures are dated by their files alone" in (page.text_content(".remark.by-file") or "")
    assert "1 picture has no date" in (page.text_content(".timeline") or "")
    page.click(".chart a[data-span='2019']")
    titled(page, "2019")
    assert bars(page) == ["May 2019, 5 pictures", "July 2019, 1 picture"]
    page.click(".chart a[data-span='2019-05']")
    titled(page, "May 2019")
    assert bars(page) == ["12 May 2019, 3 pictures", "20 May 2019, 2 pictures"]
    assert asked(page) == {"view": ["timeline"], "after": ["2019-05"], "before": ["2019-06"]}
    assert page.locator("#asked .chip").count() == 2
    assert len(names(page)) == 5
    assert page.locator(".part h2").all_text_contents() == ["20 May 20192 pictures", "12 May 20193 pictures"]
    page.click(".chart a[data-span='2019-05-20']")
    titled(page, "20 May 2019")
    assert all(name.startswith("blue-") for name in names(page))
    assert page.get_attribute(".chart a[aria-current]", "data-span") == "2019-05-20"
    assert page.locator(".chart a.aside").count() == 1
    page.reload()
    titled(page, "20 May 2019")
    page.go_back()
    titled(page, "May 2019")
    page.click(".crumbs a >> text=2019")
    titled(page, "2019")
    page.click("a.icon[aria-label='2021']")
    titled(page, "2021")
    page.click("button[aria-label='Take the filter before 2022 away']")
    titled(page, "From 1 January 2021 on")


def test_pictures_that_only_their_files_date_are_marked(home: str, opens: Opens) -> None:
    page = opens(f"{home}/?view=timeline&after=2021&before=2023")
    assert len(names(page)) == 3
    assert page.locator(".tile.by-file").count() == 2
    assert page.locator(".part h2 small").all_text_contents() == ["1 picture", "2 pictures, by file date"]
    drawn = page.eval_on_selector_all(
        ".chart .column", "all => all.map(one => one.querySelector('i')?.style.height ?? '')"
    )
    assert sorted(filter(None, drawn)) == ["100%"]


def test_what_is_asked_for_has_a_timeline_of_its_own(home: str, opens: Opens) -> None:
    page = opens(f"{home}/?q=red")
    page.wait_for_selector(TILES)
    page.click("#views a >> text=Timeline")
    titled(page, "All time")
    assert asked(page) == {"view": ["timeline"], "q": ["red"]}
    assert len(bars(page)) == 3
    assert "6 pictures for “red”" in (page.text_content("h1") or "")
    page.click(".chart a[data-span='2019-07']")
    titled(page, "July 2019")
    assert [name.split(",")[0] for name in names(page)] == ["red-8.jpg"]
    page.fill("#q", "blue")
    page.press("#q", "Enter")
    settled(
        page,
        "document.querySelector('.timeline')?.textContent.includes('No pictures of this time match well.')",
    )
    assert asked(page)["view"] == ["timeline"]


def test_keys_alone_go_through_time(home: str, opens: Opens) -> None:
    page = opens(f"{home}/?view=timeline", reduced_motion="reduce")
    bars(page)
    page.keyboard.press("ArrowUp")
    focused = "document.activeElement.dataset.span"
    assert page.evaluate(focused) == "2022"
    page.keyboard.press("Home")
    assert page.evaluate(focused) == "2018"
    page.keyboard.press("ArrowRight")
    assert page.evaluate(focused) == "2019"
    page.keyboard.press("Enter")
    titled(page, "2019")
    assert page.evaluate(focused) == "2019-07"
    settled(page, "document.querySelector('#live').textContent === '2019, 6 pictures'")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    titled(page, "May 2019")
    page.keyboard.press("ArrowDown")
    opened = page.evaluate("document.activeElement.dataset.id")
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog.viewer[open] .facts")
    assert page.text_content(".viewer .place") == "1 of 5"
    page.keyboard.press("Escape")
    settled(page, "id => document.activeElement.dataset.id === id", opened)
    page.keyboard.press("ArrowUp")
    assert page.evaluate(focused) == "2019-05-20"
    page.goto(f"{home}/?view=timeline&after=2019-05-12&before=2019-05-13")
    for wider in ("12 May 2019", "May 2019", "2019", "All time"):
        titled(page, wider)
        page.keyboard.press("Escape")


def test_several_bars_are_taken_at_once_by_keys_and_by_dragging(home: str, opens: Opens) -> None:
    page = opens(f"{home}/?view=timeline")
    bars(page)
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Shift+ArrowLeft")
    assert page.locator(".chart a.taken").count() == 2
    page.keyboard.press("Enter")
    titled(page, "2021 to 2022")
    assert asked(page) == {"view": ["timeline"], "after": ["2021"], "before": ["2023"]}
    page.go_back()
    titled(page, "All time")
    page.hover(".chart a[data-span='2018']")
    page.mouse.down()
    page.hover(".chart a[data-span='2019']")
    page.mouse.up()
    titled(page, "2018 to 2019")
    assert len(names(page)) == 8


def test_names_of_files_are_text_and_an_impossible_date_is_told(home: str, opens: Opens) -> None:
    page = opens(f"{home}/?view=timeline&after=2021-02&before=2021-03")
    assert any(HOSTILE in name for name in names(page))
    assert page.locator("img[src=x]").count() == 0
    page.goto(f"{home}/?view=timeline&after=yesterday")
    assert "is not a date" in (page.text_content("[role=alert]") or "")
    opens.wrong.clear()  # a browser notes each 4xx in its console


@SIGHTS
def test_the_timeline_stands_in_nobodys_way(
    home: str, opens: Opens, scheme: str, size: dict[str, int], rules: list[str]
) -> None:
    page = opens(home, color_scheme=scheme, viewport=size, bypass_csp=True, reduced_motion="reduce")
    for address in ("/?view=timeline", "/?view=timeline&after=2019-05-12&before=2019-05-13"):
        page.goto(home + address)
        page.wait_for_selector("img.here")
        in_nobodys_way(page, rules)
