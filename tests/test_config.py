"""Paths and settings."""

from __future__ import annotations

from pathlib import Path

import platformdirs
import pytest

from retrieval import config
from retrieval.config import Location


def test_a_folder_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Location.parse("c").database == tmp_path / "c" / "catalog.db"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql+psycopg://me:secret@host:5432/db", "postgresql+psycopg://me:***@host:5432/db"),
        ("postgresql://me:p:a@s@host/db", "postgresql://me:***@host/db"),
        ("postgresql://me@host:5432/db", "postgresql://me@host:5432/db"),
        ("sqlite:////tmp/a:b@c.db", "sqlite:////tmp/a:b@c.db"),
    ],
)
def test_a_password_is_never_shown(url: str, shown: str) -> None:
    place = Location.parse(url)
    assert place.name == shown
    assert place.url == (None if url.startswith("sqlite") else url)


def test_platform_folders_are_those_of_platformdirs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("SEARCH_CATALOG", "SEARCH_CACHE"):
        monkeypatch.delenv(name, raising=False)
    for home in (str(tmp_path), ""):
        monkeypatch.setenv("XDG_DATA_HOME", home)
        monkeypatch.setenv("XDG_CACHE_HOME", home)
        assert config.default_catalog() == str(Path(platformdirs.user_data_dir(config.APP)) / "catalog")
        assert config.model_cache() == Path(platformdirs.user_cache_dir(config.APP)) / "models"


@pytest.mark.parametrize(("value", "expected"), [("1", True), ("true", True), ("0", False), ("", False)])
def test_offline_is_what_the_person_says(monkeypatch: pytest.MonkeyPatch, value: str, expected: bool) -> None:
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SEARCH_OFFLINE", value)
    assert config.offline() is expected


def test_memory_is_a_quarter_of_ram_and_at_most_2_gb() -> None:
    assert 256 << 20 <= config.default_memory() <= 2 << 30
