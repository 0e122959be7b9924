"""What every test gets: no network but loopback, caches of its own, drawn pictures, a catalog."""

from __future__ import annotations

import ipaddress
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Before any import of a library that asks once whether it may use the network.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["SEARCH_OFFLINE"] = "1"

# A shell has what it starts in the background ignore an interrupt, and so would every program of a test.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

import pytest
from click.testing import CliRunner, Result
from PIL import Image, ImageDraw

from indexer import IndexReport, index_folder
from retrieval.encoders.toy import COLOURS
from tests.browsing import ROOT, Opens, chromium

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="session", autouse=True)
def caches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One model cache for the whole run, so that the starter is converted once."""
    folder = Path(os.environ.get("SEARCH_TEST_CACHE") or tmp_path_factory.mktemp("model-cache"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEARCH_CACHE", str(folder))
        yield folder


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEARCH_CATALOG", str(tmp_path / "default-catalog"))
    monkeypatch.delenv("SEARCH_MODEL", raising=False)


@pytest.fixture(autouse=True)
def _loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that reaches for the network fails, whatever the network would answer."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            assert ipaddress.ip_address(address[0]).is_loopback, f"a test reached for {address}"
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


def draw(path: Path, colour: str, *, size: tuple[int, int] = (64, 48), mark: int = 0, **save: Any) -> Path:
    """A picture that is mostly one colour; `mark` makes pictures of the same colour differ."""
    image = Image.new("RGB", size, COLOURS[colour])
    if mark:
        ImageDraw.Draw(image).rectangle((0, 0, 1 + mark % 16, 1 + mark // 16), fill=(128, 128, 128))
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **save)
    return path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A small tree of drawn pictures, two of them red."""
    folder = tmp_path / "photos"
    for name in ("red", "green", "blue", "yellow"):
        draw(folder / f"{name}.png", name)
    draw(folder / "trip" / "red-again.jpg", "red", mark=3, quality=90)
    draw(folder / "trip" / "white.png", "white")
    return folder


@pytest.fixture
def index(tmp_path: Path) -> Callable[..., IndexReport]:
    """Index into the test's own catalog with the toy encoder, in one loading process."""

    def run(*paths: Path, **options: Any) -> IndexReport:
        options = {"catalog": tmp_path / "catalog", "model": "toy", "workers": 1, **options}
        return index_folder(options.pop("catalog"), paths, **options)

    return run


@pytest.fixture
def catalog(tmp_path: Path, photos: Path, index: Callable[..., IndexReport]) -> Path:
    """The drawn pictures, indexed."""
    index(photos)
    return tmp_path / "catalog"


@pytest.fixture
def search() -> Callable[..., Result]:
    """Run the command line in this process; only `faults` lets a fault of the program pass for an answer."""
    from cli import main

    def run(*arguments: object, faults: bool = False, **options: Any) -> Result:
        result = CliRunner().invoke(main, [str(argument) for argument in arguments], **options)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert faults or "no fault of yours" not in result.stderr, result.stderr
        return result

    return run


def json_lines(output: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.splitlines() if line]


def python(code: str, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter, for what depends on what was imported before."""
    options = {"capture_output": True, "text": True, "timeout": 120, "cwd": ROOT, **options}
    return subprocess.run([sys.executable, "-c", code, *arguments], check=False, **options)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


@pytest.fixture
def opens(browser: Browser) -> Iterator[Opens]:
    """Opens the page of a server; at the end nothing may have gone wrong in it."""
    opening = Opens(browser)
    yield opening
    opening.close()
    assert opening.wrong == []
