"""The map of a library: what is alike lies together, and what is kept of it is never trusted blindly."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from indexer import IndexReport, index_folder
from retrieval import Catalog, Filter
from retrieval.atlas import Atlas, Map, areas, places
from retrieval.errors import CatalogError, ModelUnavailable
from retrieval.server import create_app
from retrieval.state import State
from retrieval.stores.faiss import neighbours
from tests.conftest import draw

API = "/api/v1"
KINDS = ("red", "green", "blue", "yellow")
EACH = 14


def paint(folder: Path, colour: str, numbers: range) -> None:
    for number in numbers:
        # The share of gray grows with the mark, so that no two of a colour are the same.
        draw(folder / f"{colour}-{number}.png", colour, size=(24, 20), mark=1 + 16 * (number % 12) + number)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library of four colours with its map; tests change copies of it."""
    folder = tmp_path_factory.mktemp("atlas")
    for colour in KINDS:
        paint(folder / "photos", colour, range(EACH))
    index_folder(folder / "catalog", [folder / "photos"], model="toy", workers=1)
    with Catalog(folder / "catalog") as opened:
        opened.tags.load([(colour, colour) for colour in KINDS])
        opened.atlas.make()
    return folder


@pytest.fixture
def copied(kept: Path, tmp_path: Path) -> Path:
    shutil.copytree(kept / "catalog", tmp_path / "catalog", dirs_exist_ok=True)
    return tmp_path / "catalog"


@pytest.fixture
def plain(copied: Path) -> Path:
    """The same without a map."""
    shutil.rmtree(copied / "cache" / "map")
    return copied


@pytest.fixture
def made(copied: Path) -> Iterator[Catalog]:
    with Catalog(copied) as opened:
        yield opened


def map_files(catalog: Path) -> Path:
    [folder] = (catalog / "cache" / "map").iterdir()
    return folder


def colours(catalog: Catalog, found: Map) -> list[str]:
    rows = catalog.pictures.of(found.image_ids.tolist())
    return [rows[one].path.name.partition("-")[0] for one in found.image_ids.tolist()]


def share_alike(found: Map, names: list[str], k: int = 5) -> float:
    """How many of the nearest pictures on the map have the same colour."""
    away = ((found.places[:, None] - found.places[None]) ** 2).sum(2)
    nearest = np.argsort(away, axis=1)[:, 1 : k + 1]
    return float(
        np.mean([[names[one] == names[row] for one in others] for row, others in enumerate(nearest)])
    )


def test_pictures_that_are_alike_lie_together(made: Catalog) -> None:
    found = made.atlas.map()
    assert found.method == "neighbours"
    assert len(found) == len(KINDS) * EACH
    assert found.image_ids.tolist() == sorted(found.image_ids.tolist())
    assert found.places.min() >= 0
    assert found.places.max() <= 1
    assert share_alike(found, colours(made, found)) > 0.97


def test_the_same_library_always_gives_the_same_map(made: Catalog, tmp_path: Path, kept: Path) -> None:
    first = made.atlas.map()
    made.atlas.make()
    assert np.array_equal(made.atlas.map().places, first.places)
    assert made.atlas.map().areas == first.areas


def test_until_it_is_made_places_come_from_the_main_directions(plain: Path) -> None:
    with Catalog(plain) as catalog:
        found = catalog.atlas.map()
        assert found.method == "directions"
        assert found.areas == ()
        assert found.outdated
        assert len(found) == len(KINDS) * EACH
        assert share_alike(found, colours(catalog, found)) > 0.6
        catalog.atlas.make()
        assert catalog.atlas.map().method == "neighbours"
        assert not catalog.atlas.map().outdated


def test_areas_have_names_places_and_counts_on_several_levels(made: Catalog) -> None:
    found = made.atlas.map()
    levels = {area.level for area in found.areas}
    assert levels == {0}  # of so few pictures there are no smaller areas
    assert sum(area.count for area in found.areas) == len(found)
    assert all(area.name and 0 <= area.x <= 1 and 0 <= area.y <= 1 for area in found.areas)
    assert {"red", "green", "blue", "yellow"} <= {
        word for area in found.areas for word in area.name.replace(",", " ").split()
    }
    assert areas.levels(100_000) == list(areas.LEVELS)
    assert areas.levels(300) == [7, 22, 37]
    assert areas.levels(10) == []


@pytest.mark.parametrize("harm", ["cut", "flipped", "gone", "manifest", "count", "no numbers"])
def test_map_that_is_damaged_is_passed_over_and_made_anew(copied: Path, harm: str) -> None:
    folder = map_files(copied)
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    file = folder / manifest["files"]["places"][0]
    data = bytearray(file.read_bytes())
    if harm == "cut":
        file.write_bytes(data[:-8])
    elif harm == "flipped":
        data[3] ^= 255
        file.write_bytes(data)
    elif harm == "gone":
        file.unlink()
    elif harm == "manifest":
        (folder / "manifest.json").write_text("{")
    elif harm == "count":
        manifest["count"] += 1
        (folder / "manifest.json").write_text(json.dumps(manifest))
    else:
        import zlib

        file.write_bytes(np.full(len(data) // 4, np.nan, "<f4").tobytes())
        manifest["files"]["places"][2] = zlib.crc32(file.read_bytes())
        (folder / "manifest.json").write_text(json.dumps(manifest))
    with Catalog(copied) as catalog:
        assert catalog.atlas.map().method == "directions"
        catalog.atlas.make()
        assert catalog.atlas.map().method == "neighbours"


def test_map_of_another_catalog_is_none(copied: Path, kept: Path, tmp_path: Path) -> None:
    index_folder(tmp_path / "other", [kept / "photos"], model="toy", workers=1)
    with Catalog(tmp_path / "other") as other:
        other.atlas.make()
    mine, theirs = map_files(copied), map_files(tmp_path / "other")
    generation = json.loads((mine / "manifest.json").read_text("utf-8"))["generation"]
    shutil.rmtree(mine)
    shutil.copytree(theirs, mine)
    # Even one that claims to be of this very state.
    manifest = json.loads((mine / "manifest.json").read_text("utf-8"))
    (mine / "manifest.json").write_text(json.dumps({**manifest, "generation": generation}))
    with Catalog(copied) as catalog:
        assert catalog.atlas.map().method == "directions"


def test_picture_that_came_later_lies_beside_what_it_is_like(
    copied: Path, kept: Path, tmp_path: Path
) -> None:
    paint(tmp_path / "later", "yellow", range(40, 43))
    index_folder(copied, [tmp_path / "later"], model="toy", workers=1)
    with Catalog(copied) as catalog:
        before = dict(zip(*_places(kept), strict=True))
        found = catalog.atlas.map()
        assert (found.method, found.late) == ("neighbours", 3)
        names = colours(catalog, found)
        for row in np.flatnonzero(~np.isin(found.image_ids, list(before))):
            away = ((found.places - found.places[row]) ** 2).sum(1)
            assert {names[one] for one in np.argsort(away)[:4]} == {"yellow"}
        now = dict(zip(found.image_ids.tolist(), map(tuple, found.places.tolist()), strict=True))
        assert {key: now[key] for key in before} == before  # and nothing else has moved


def _places(folder: Path) -> tuple[list[int], list[tuple[float, ...]]]:
    with Catalog(folder / "catalog") as catalog:
        found = catalog.atlas.map()
    return found.image_ids.tolist(), [tuple(one) for one in found.places.tolist()]


def test_picture_that_was_changed_moves_to_what_it_is_like_now(tmp_path: Path) -> None:
    for colour in KINDS:
        paint(tmp_path / "photos", colour, range(EACH))
    index_folder(tmp_path / "catalog", [tmp_path / "photos"], model="toy", workers=1)
    with Catalog(tmp_path / "catalog") as catalog:
        catalog.atlas.make()
        draw(tmp_path / "photos" / "red-3.png", "yellow", size=(24, 20), mark=77)
        index_folder(tmp_path / "catalog", [tmp_path / "photos"], model="toy", workers=1)
        found = catalog.atlas.map()
        assert found.late == 1
        names = colours(catalog, found)
        row = next(
            place
            for place, one in enumerate(found.image_ids.tolist())
            if catalog.pictures.get(one).path.name == "red-3.png"
        )
        away = ((found.places - found.places[row]) ** 2).sum(1)
        assert {names[one] for one in np.argsort(away)[1:5]} == {"yellow"}


def test_more_new_pictures_than_old_ones_are_no_map_any_more(copied: Path, tmp_path: Path) -> None:
    for colour in KINDS:
        paint(tmp_path / "later", colour, range(30, 40))
    index_folder(copied, [tmp_path / "later"], model="toy", workers=1)
    with Catalog(copied) as catalog:
        assert catalog.atlas.map().method == "directions"


def test_pictures_that_are_gone_or_forgotten_are_left_out(tmp_path: Path) -> None:
    for colour in KINDS:
        paint(tmp_path / "photos", colour, range(4))
    index_folder(tmp_path / "catalog", [tmp_path / "photos"], model="toy", workers=1)
    with Catalog(tmp_path / "catalog") as catalog:
        catalog.atlas.make()
        (tmp_path / "photos" / "red-1.png").unlink()
        index_folder(tmp_path / "catalog", [tmp_path / "photos"], model="toy", workers=1)
        assert len(catalog.atlas.map()) == 15
        assert catalog.atlas.map().method == "neighbours"
        catalog.forget(tmp_path / "photos" / "blue-1.png")
        found = catalog.atlas.map()
        assert len(found) == 14
        assert sum(area.count for area in found.areas if area.level == 0) in (0, 14)
        assert not {"red-1", "blue-1"} & {
            one.path.stem for one in catalog.pictures.of(found.image_ids.tolist()).values()
        }


def test_filter_marks_and_leaves_none_out(made: Catalog, kept: Path) -> None:
    assert made.atlas.map().passing is None
    found = made.atlas.map(where=Filter(folder=kept / "photos"))
    assert found.passing is not None
    assert found.passing.all()
    none = made.atlas.map(where=Filter(orientation="portrait"))
    assert none.passing is not None
    assert not none.passing.any()
    assert len(none) == len(found) == len(KINDS) * EACH


def test_making_that_is_stopped_changes_nothing(plain: Path) -> None:
    told: list[float] = []
    with Catalog(plain) as catalog:
        report = catalog.atlas.make(
            progress=lambda step, figures: told.append(figures["done"]), stopped=lambda: len(told) > 5
        )
        assert report.interrupted
        assert told == sorted(told)
        assert told[0] == 0
        assert not (plain / "cache" / "map").exists()
        assert catalog.atlas.map().method == "directions"


def test_reading_only_writes_nothing(plain: Path) -> None:
    with Catalog(plain, readonly=True) as catalog:
        before = sorted(plain.rglob("*"))
        assert len(catalog.atlas.map()) == len(KINDS) * EACH
        assert sorted(plain.rglob("*")) == before
        with pytest.raises(CatalogError, match="reading only"):
            catalog.atlas.make()


def test_map_without_names_where_the_model_is_away(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(self: State, info: object) -> None:
        raise ModelUnavailable("The model is away. Fetch it: search models pull")

    monkeypatch.setattr(State, "encoder", away)
    notes: list[str] = []
    with Catalog(plain) as catalog:
        catalog.atlas.make(progress=lambda step, told: notes.append(told["text"]) if step == "note" else None)
        assert catalog.atlas.map().method == "neighbours"
        assert catalog.atlas.map().areas == ()
    assert "search models pull" in notes[0]


@pytest.mark.parametrize("count", [0, 1, 2, 9])
def test_few_pictures_have_a_map_too(tmp_path: Path, index: Callable[..., IndexReport], count: int) -> None:
    Catalog(tmp_path / "catalog", encoder="toy", create=True).close()
    if count:
        paint(tmp_path / "photos", "red", range(count))
        index(tmp_path / "photos")
    with Catalog(tmp_path / "catalog") as catalog:
        assert len(catalog.atlas.map()) == count
        if count:
            assert catalog.atlas.make().images == count
        assert len(catalog.atlas.map()) == count
        assert np.isfinite(catalog.atlas.map().places).all()


def test_main_directions_are_those_of_the_greatest_spread() -> None:
    chance = np.random.default_rng(5)
    rows = (chance.normal(size=(9000, 6)) * [5, 1, 3, 0.1, 0.2, 0.3]).astype(np.float32)
    found = places.main_directions(rows, 3)
    _, _, directions = np.linalg.svd(rows - rows.mean(0), full_matrices=False)
    wanted = (rows - rows.mean(0)) @ directions[:3].T
    for axis in range(3):
        assert abs(np.corrcoef(found[:, axis], wanted[:, axis])[0, 1]) > 0.9999
    for axis, widest in enumerate((0, 2, 1)):  # and each points to where its greatest part is more
        assert np.corrcoef(found[:, axis], rows[:, widest])[0, 1] > 0.9


def test_neighbours_are_the_nearest_others() -> None:
    rows = np.random.default_rng(2).normal(size=(300, 8)).astype(np.float32)
    rows[7] = rows[8]  # the very same twice: neither is its own neighbour
    away = ((rows[:, None] - rows[None]) ** 2).sum(2)
    np.fill_diagonal(away, np.inf)
    found = neighbours(rows, 4)
    assert [set(row) for row in found] == [set(row) for row in np.argsort(away, axis=1)[:, :4]]


def test_places_keep_their_order_when_they_are_evened() -> None:
    given = np.random.default_rng(3).normal(size=(200, 2)).astype(np.float32) ** 3
    found = places.fitted(given)
    for axis in (0, 1):
        assert np.array_equal(np.argsort(given[:, axis]), np.argsort(found[:, axis]))
        assert (found[:, axis].min(), found[:, axis].max()) == (0.0, 1.0)
    assert np.array_equal(places.fitted(np.ones((3, 2), np.float32)), np.full((3, 2), 0.5))


@pytest.fixture
def web(made: Catalog) -> TestClient:
    return TestClient(create_app(made))


def followed(web: TestClient, number: int) -> dict[str, Any]:
    """The job once it is over."""
    text = web.get(f"{API}/jobs/{number}/events").text
    name, data = text.strip().split("\n\n")[-1].split("\n")
    assert name == "event: end"
    return dict(json.loads(data.removeprefix("data: ")))


def test_api_gives_the_map_in_columns(web: TestClient, made: Catalog) -> None:
    answer = web.get(f"{API}/map")
    assert answer.headers["content-encoding"] == "gzip"
    row = answer.json()
    found = made.atlas.map()
    assert row["ids"] == found.image_ids.tolist()
    assert np.abs(np.stack([row["x"], row["y"]], 1) / row["side"] - found.places).max() < 1e-4
    assert (row["method"], row["total"], row["passing"], row["job"]) == ("neighbours", len(found), None, None)
    assert [area["name"] for area in row["areas"]] == [area.name for area in found.areas]
    tag = answer.headers["etag"]
    assert web.get(f"{API}/map", headers={"If-None-Match": tag}).status_code == 304
    packed_not = web.get(f"{API}/map", headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in packed_not.headers
    assert packed_not.json() == row


def test_api_tells_what_passes_filters_without_the_places(web: TestClient, kept: Path) -> None:
    row = web.get(f"{API}/map", params={"in": str(kept / "photos"), "places": False}).json()
    assert (row["ids"], row["x"], row["areas"]) == ([], [], [])
    assert len(row["passing"]) == row["total"] == len(KINDS) * EACH
    assert web.get(f"{API}/map", params={"orientation": "portrait"}).json()["passing"] == []
    assert web.get(f"{API}/map", params={"after": "soon"}).status_code == 422


def test_job_makes_the_map_in_a_process_of_its_own(plain: Path) -> None:
    with Catalog(plain) as catalog, TestClient(create_app(catalog)) as web:
        before = web.get(f"{API}/map").json()
        assert (before["method"], before["outdated"], before["can_make"]) == ("directions", True, True)
        started = web.post(f"{API}/jobs", json={"kind": "map"})
        assert started.status_code == 202
        job = started.json()
        assert job["kind"] == "map"
        assert web.get(f"{API}/map").json()["job"] in (job["id"], None)
        again = web.post(f"{API}/jobs", json={"kind": "map"})
        assert again.status_code == 409
        assert "map is being made" in again.json()["detail"]
        over = followed(web, job["id"])
        assert over["state"] == "done", over
        assert over["report"]["images"] == len(KINDS) * EACH
        assert (over["done"], over["total"]) == (100, 100) or over["total"] == 100
        after = web.get(f"{API}/map").json()
        assert (after["method"], after["outdated"], after["job"]) == ("neighbours", False, None)


def test_job_that_is_cancelled_leaves_the_map_as_it_was(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Catalog(plain) as catalog, TestClient(create_app(catalog)) as web:
        job = web.post(f"{API}/jobs", json={"kind": "map"}).json()["id"]
        assert web.delete(f"{API}/jobs/{job}").status_code == 202
        assert followed(web, job)["state"] in ("cancelled", "done")
        assert web.get(f"{API}/map").json()["job"] is None


def test_job_for_the_map_takes_no_folders(web: TestClient) -> None:
    answer = web.post(f"{API}/jobs", json={"kind": "map", "paths": ["/tmp"]})
    assert answer.status_code == 422
    assert web.post(f"{API}/jobs", json={"kind": "tea"}).status_code == 422


def test_server_that_only_reads_shows_the_map_and_makes_none(plain: Path) -> None:
    with Catalog(plain, readonly=True) as catalog:
        web = TestClient(create_app(catalog))
        row = web.get(f"{API}/map").json()
        assert (row["method"], row["can_make"], len(row["ids"])) == ("directions", False, row["total"])
        assert web.post(f"{API}/jobs", json={"kind": "map"}).status_code == 403


def test_pictures_are_listed_by_name_in_the_order_asked_for(web: TestClient, made: Catalog) -> None:
    ids = made.atlas.map().image_ids.tolist()
    wanted = [ids[5], ids[2], ids[5], 10**9]
    row = web.get(f"{API}/images", params={"id": wanted}).json()
    assert [one["image_id"] for one in row["pictures"]] == [ids[5], ids[2]]
    assert (row["total"], row["next"]) == (2, None)
    assert web.get(f"{API}/images", params={"id": list(range(1, 202))}).status_code == 422
    assert web.get(f"{API}/images", params={"id": [0]}).status_code == 422


def test_a_catalog_has_one_map_however_often_it_is_asked_for(made: Catalog) -> None:
    assert isinstance(made.atlas, Atlas)
    assert made.atlas is made.atlas
    assert made.atlas.map().places.base is made.atlas.map().places.base
    assert os.path.isdir(made.location.cache / "map")
