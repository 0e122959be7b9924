"""Signals that come while pictures are being indexed; kill -9 is a fault of `tests.torture`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from indexer import index_folder
from retrieval import Catalog, RetrievalError
from tests.browsing import ROOT
from tests.conftest import draw


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
