"""kill -9 at any moment, then indexing again, gives the catalog of an undisturbed run."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from indexer import IndexReport, index_folder
from retrieval import Catalog, RetrievalError
from tests.conftest import ROOT, draw
from tests.test_index import rows

MOMENTS = int(os.environ.get("SEARCH_TEST_KILLS", "15"))
INDEXING = """
import sys
from retrieval import config
config.COMMIT_IMAGES = 5
from retrieval.encoders.toy import ToyEncoder
ToyEncoder.batch_size = 3
from indexer import index_folder
index_folder(sys.argv[2], sys.argv[1], model="toy", workers=2)
"""


def start(photos: Path, catalog: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", INDEXING, str(photos), str(catalog)], cwd=ROOT)


def test_killed_at_any_moment_the_next_run_completes_the_same_catalog(
    tmp_path: Path, index: Callable[..., IndexReport]
) -> None:
    photos = tmp_path / "photos"
    for number in range(60):
        draw(photos / f"{number % 7}" / f"{number:02}.png", ("red", "green", "blue")[number % 3], mark=number)
    (photos / "3" / "bad.jpg").write_bytes(b"no picture")
    for number in range(3):  # the same content under names that say different dates
        copy = photos / f"{number}" / f"IMG_202{number}0101_120000.png"
        copy.write_bytes((photos / "0" / "00.png").read_bytes())
    began = time.monotonic()
    assert start(photos, tmp_path / "timed").wait(60) == 0
    whole = time.monotonic() - began
    index(photos, catalog=tmp_path / "calm")
    calm = rows(tmp_path / "calm")
    assert len(calm) == 63

    rng = random.Random(3)
    killed = reached = 0
    catalog = tmp_path / "catalog-0"
    for moment in range(MOMENTS):
        process = start(photos, catalog)
        try:
            process.wait(whole * (0.25 + 0.75 * rng.random()))
        except subprocess.TimeoutExpired:
            killed += 1
        process.send_signal(signal.SIGKILL)
        process.wait()
        if (catalog / "catalog.db").exists():
            reached += 1
        # Some catalogs are killed again and again, some are taken up after one kill.
        if moment % 3 == 2 or moment == MOMENTS - 1:
            report = index(photos, catalog=catalog)
            assert report.failed == 1
            assert rows(catalog) == calm
            with Catalog(catalog) as opened:
                assert opened.status().images == 63
                assert opened.status().cache_fresh
                assert len(opened.search("red", limit=100)) == 23
            catalog = tmp_path / f"catalog-{moment + 1}"
    assert killed >= MOMENTS // 3
    assert reached >= MOMENTS // 3


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_end_indexing_in_order(tmp_path: Path, number: signal.Signals, code: int) -> None:
    photos = tmp_path / "photos"
    for mark in range(400):
        draw(photos / f"{mark:03}.png", "red", mark=mark % 200, size=(900, 700))
    process = subprocess.Popen(
        [sys.executable, "-m", "cli", "index", str(photos), "--catalog", str(tmp_path / "c"), "--model", "toy", "--json"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )  # fmt: skip
    while not _committed(tmp_path / "c"):
        assert process.poll() is None, process.communicate()
    # As a terminal and a service manager do it: to every process of the group.
    os.killpg(process.pid, number)
    out, err = process.communicate(timeout=20)
    assert process.returncode == code
    assert "Traceback" not in err
    assert '"interrupted": true' in out
    with Catalog(tmp_path / "c") as opened:
        assert 0 < opened.status().images < 400
        assert opened.failures() == []


def test_a_second_interrupt_ends_at_once(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    for mark in range(150):
        draw(photos / f"{mark:03}.png", "red", mark=mark, size=(900, 700))
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "cli",
            "index",
            str(photos),
            "--catalog",
            str(tmp_path / "c"),
            "--model",
            "toy",
        ],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while not _committed(tmp_path / "c"):
        assert process.poll() is None
    for _ in range(3):
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
            time.sleep(0.03)
    _, err = process.communicate(timeout=20)
    # A signal that meets an interpreter already on its way out ends it itself: a shell says 130 to both.
    assert process.returncode in (130, -signal.SIGINT)
    assert err == ""
    index_folder(tmp_path / "c", photos, model="toy")
    with Catalog(tmp_path / "c") as opened:
        assert opened.status().images == 150


def _committed(catalog: Path) -> bool:
    try:
        with Catalog(catalog) as opened:
            return opened.status().images > 0
    except RetrievalError:
        time.sleep(0.02)
        return False
