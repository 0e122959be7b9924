"""A server process to look at, and a real browser to look with."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ROOT = Path(__file__).parent.parent
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
DESK = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}
TILES = ".tile > a"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
WAYS = (("light", DESK, RULES), ("light", PHONE, RULES), ("dark", DESK, ["wcag2aa"]))
"""In which every view is looked over by `in_nobodys_way`."""
SIGHTS = pytest.mark.parametrize(("scheme", "size", "rules"), WAYS, ids=["desk", "phone", "dark"])


def started(catalog: Path, caches: Path, *flags: str) -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "cli", "serve", "--port", "0", "--catalog", str(catalog), *flags],
        cwd=ROOT, stderr=subprocess.PIPE, text=True, env={**os.environ, "SEARCH_CACHE": str(caches)},
    )  # fmt: skip
    assert process.stderr is not None
    said = process.stderr.readline()
    found = re.search(r"http://127\.0\.0\.1:\d+", said)
    if not found:
        process.kill()
        said += process.communicate()[1]
    assert found, said
    return process, found[0]


def ended(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser without a window; a test without one is skipped, and says what is missing."""
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed; on Debian: apt-get install chromium")
    sync_api = pytest.importorskip(
        "playwright.sync_api", reason="Playwright is not installed: pip install playwright"
    )
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield opened
        opened.close()


class Opens:
    """Opens the page, and notes whatever goes wrong in it or would leave the machine."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._contexts: list[Any] = []
        self.wrong: list[str] = []

    def __call__(self, address: str, **options: Any) -> Page:
        context = self._browser.new_context(**{"viewport": DESK, "locale": "en-GB", **options})
        context.set_default_timeout(8000)
        self._contexts.append(context)
        page = context.new_page()
        own = "{0.scheme}://{0.netloc}/".format(urlsplit(address))
        inside = (own, "blob:", "data:")
        page.on(
            "console",
            lambda said: self.wrong.append(said.text) if said.type in ("error", "warning") else None,
        )
        page.on("pageerror", lambda error: self.wrong.append(str(error)))
        page.on("request", lambda sent: None if sent.url.startswith(inside) else self.wrong.append(sent.url))
        page.goto(address)
        return page

    def close(self) -> None:
        for context in self._contexts:
            context.close()


def asked(page: Page) -> dict[str, list[str]]:
    return parse_qs(urlsplit(page.url).query)


def names(page: Page) -> list[str]:
    """Of the pictures in the grid, as they are read aloud, in their order."""
    page.wait_for_selector(TILES)
    said: list[str] = page.eval_on_selector_all(
        ".tile",
        "tiles => tiles.sort((a, b) => a.ariaPosInSet - b.ariaPosInSet).map(tile => tile.querySelector('img').alt)",
    )
    return said


def settled(page: Page, expression: str, argument: Any = None) -> None:
    """Wait until it holds. Playwright's own way evaluates a string in the page, which the page forbids."""
    test = expression if re.match(r"\w+ =>", expression) else f"() => ({expression})"
    page.evaluate(
        f"""async argument => {{
          for (const end = Date.now() + 8000; !(await ({test})(argument)); await new Promise(done => setTimeout(done, 15)))
            if (Date.now() > end) throw new Error("This never came about.");
        }}""",
        argument,
    )


def in_nobodys_way(page: Page, rules: Sequence[str]) -> None:
    """Axe has nothing to say, nothing is wider than the window, and nothing to press is too small.

    The page has to be opened with `bypass_csp`, because axe comes as a script.
    """
    axe = pytest.importorskip(
        "axe_playwright_python", reason="axe-core is not installed: pip install axe-playwright-python"
    )
    page.add_script_tag(content=(files(axe) / "axe.min.js").read_text("utf-8"))
    told = page.evaluate(
        """runOnly => axe.run(document, { runOnly, resultTypes: ["violations"] }).then(({ violations }) =>
          violations.map(one => [one.id, one.impact, one.nodes.slice(0, 3).map(node => node.html.slice(0, 120))]))""",
        list(rules),
    )
    assert told == [], page.url
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    small = page.eval_on_selector_all(
        "button, a, select",
        """all => all.filter(one => one.checkVisibility({ visibilityProperty: true }) && !one.closest('dd, p'))
          .map(one => [one.outerHTML.slice(0, 90), one.getBoundingClientRect()])
          .filter(([, box]) => box.width && box.right > 0 && box.bottom > 0 && (box.width < 24 || box.height < 24))
          .map(([html]) => html)""",
    )
    assert small == [], page.url
