"""The library in groups: who is together, what they are called, what comes last."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from PIL import Image

from retrieval.errors import QueryError
from retrieval.groups import REST, groups
from retrieval.groups.clusters import cluster, nearest
from retrieval.query.filters import Filter
from retrieval.state import State
from retrieval.tags import Tags
from tests.conftest import draw, json_lines

WORDS = [("rose", "red"), ("grass", "green"), ("sea", "blue"), ("snow", "white")]


@pytest.fixture
def library(tmp_path: Path, index: Callable[..., Any]) -> Path:
    folder = tmp_path / "library"
    for number in range(1, 9):
        draw(folder / "holiday" / f"red-{number}.png", "red", mark=number)
        exif = Image.Exif()
        exif.get_ifd(0x8769)[0x9003] = f"2023:07:{number:02d} 10:00:00"
        draw(folder / f"green-{number}.jpg", "green", mark=number, exif=exif, quality=95)
    for number in range(1, 6):
        draw(folder / f"blue-{number}.png", "blue", mark=number)
    draw(folder / "white.png", "white")
    index(folder)
    return folder


@pytest.fixture
def state(tmp_path: Path, library: Path) -> Iterator[State]:
    opened = State(tmp_path / "catalog")
    Tags(opened).load(WORDS)
    yield opened
    opened.close()


def test_like_pictures_are_together_under_a_name(state: State) -> None:
    found = groups(state, 3)
    by_name = {group.name: {path.name.partition("-")[0] for path in group.paths} for group in found}
    assert by_name["rose · holiday"] == {"red"}
    assert by_name["grass · July 2023"] == {"green"}
    assert by_name["sea"] == {"blue"}
    assert [group.size for group in found[:3]] == [8, 8, 5]


def test_every_picture_is_in_one_group_and_the_rest_comes_last(state: State) -> None:
    found = groups(state)
    ids = [image_id for group in found for image_id in group.image_ids]
    assert len(ids) == len(set(ids)) == 22
    assert [group.name for group in found if group.name == REST] == ([REST] if found[-1].name == REST else [])
    assert len({group.name for group in found}) == len(found)
    assert any(path.name == "white.png" for path in found[-1].paths)


def test_the_same_pictures_always_give_the_same_groups(state: State) -> None:
    assert groups(state) == groups(state)


def test_a_filter_limits_what_is_grouped(state: State, library: Path) -> None:
    found = groups(state, where=Filter(folder=library / "holiday"))
    assert sum(group.size for group in found) == 8
    assert groups(state, where=Filter(folder=library / "nowhere")) == []


def test_a_single_picture_is_a_group(tmp_path: Path, photos: Path, index: Callable[..., Any]) -> None:
    index(photos)
    state = State(tmp_path / "catalog")
    found = groups(state, where=Filter(folder=photos / "trip" / "white.png"))
    assert [group.size for group in found] == [1]
    assert groups(state, 5)
    state.close()


def test_too_many_groups_are_refused(state: State) -> None:
    for count in (0, 1001):
        with pytest.raises(QueryError, match="not into"):
            groups(state, count)
    assert sum(group.size for group in groups(state, 1000)) == 22


def test_clusters_that_are_there_are_found() -> None:
    chance = np.random.default_rng(2)
    centres = np.eye(8, 32, dtype=np.float32)
    vectors = np.repeat(centres, 200, axis=0) + chance.normal(0, 0.05, (1600, 32)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    numbers, found = cluster(vectors, 8)
    assert len(found) == 8
    for start in range(0, 1600, 200):
        assert len(set(numbers[start : start + 200].tolist())) == 1
    assert sorted(nearest(centres, found)[0].tolist()) == list(range(8))
    alike = np.repeat(centres[:2], 10, axis=0)
    assert len(cluster(alike, 6)[1]) == 2, "no more centres than there are different vectors"


def test_the_command_line_lists_and_draws_groups(
    state: State, tmp_path: Path, search: Callable[..., Result]
) -> None:
    where = ("--catalog", tmp_path / "catalog")
    rows = json_lines(search("groups", *where, "-k", 3, "--json").stdout)
    assert set(rows[0]) == {"name", "size", "paths", "image_ids"}
    assert rows[0]["size"] == len(rows[0]["paths"]) == len(rows[0]["image_ids"])
    lines = search("groups", *where, "-k", 3).stdout.splitlines()
    assert len(lines) == len(rows)
    assert "rose · holiday" in lines[0] + lines[1]
    page = tmp_path / "groups.html"
    assert "groups written" in search("groups", *where, "--html", page).stderr
    assert "rose" in page.read_text("utf-8")
    assert "No picture passes" in search("groups", *where, "--in", tmp_path / "nowhere").stderr
