"""The way in with a token, as a browser goes it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from indexer import index_folder
from tests.browsing import TILES, ended, started
from tests.conftest import draw

if TYPE_CHECKING:
    from playwright.sync_api import Browser

TOKEN = "a-token-of-enough-characters"


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    photos = draw(tmp_path / "photos" / "red.png", "red").parent
    index_folder(tmp_path / "catalog", photos, model="toy", workers=1)
    process, found = started(tmp_path / "catalog", tmp_path / "caches", "--token", TOKEN)
    yield f"{found}/"
    ended(process)


def test_the_form_takes_the_token_and_leads_to_the_pictures(browser: Browser, address: str) -> None:
    page = browser.new_page()
    page.goto(address)
    page.fill("#token", "a-wrong-one")
    page.keyboard.press("Enter")
    page.wait_for_selector("[role=alert]")
    assert "not the token" in page.inner_text("main")
    page.fill("#token", TOKEN)
    page.keyboard.press("Enter")
    page.wait_for_selector(TILES)
    assert (page.url, TOKEN in page.evaluate("document.cookie")) == (address, False)
    page.close()
