"""Places by name and names by place, without a network.

A country or a region has no outline here: a picture lies in it when the nearest town does,
which is right up to a few kilometres from a border.
"""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import numpy as np

from retrieval.errors import QueryError
from retrieval.query.gazetteer import Gazetteer, fold, gazetteer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

KM_A_DEGREE = 6371.0088 * math.pi / 180
NEAREST_KM = 50.0
"""Farther than that, a picture is not "near" a town."""
AREA_KM = 200.0
"""Farther than that from any town, a picture is in no country: it is at sea."""
REACH = ((100_000, 5.0), (500_000, 8.0), (2_000_000, 15.0))
"""How far a city of at least so many people reaches from its middle, in kilometres, ascending."""
BLUR = 0.002
"""Degrees: what is closer together is asked for once. Pictures come in heaps."""
MAX_NAME = 200
SMALL, LARGE = 50_000, 1_000_000
CITY_KNOWN_BETTER = 500_000
"""People of a town above which its name means the town and not the region: New York."""
OTHER_NAME = 0.3
"""What the people of a town count when it is found by another than its main name."""


@dataclass(frozen=True, slots=True)
class Place:
    """A town, a country, or a region of one."""

    name: str
    country: str
    latitude: float
    longitude: float
    population: int
    kind: Literal["town", "region", "country"] = "town"
    region: str = ""
    code: str = ""
    """Of a country `NO`, of a region and of what lies in it `US.TX`."""

    def __str__(self) -> str:
        parts = [self.name, self.region, self.country]
        return ", ".join(part for number, part in enumerate(parts) if part and part not in parts[:number])

    @property
    def radius_km(self) -> float:
        """What "near" a town means: 15 km below 50,000 people, 30 from a million on, else 25."""
        return 15.0 if self.population < SMALL else 25.0 if self.population < LARGE else 30.0


@lru_cache(maxsize=64)
def find_place(name: str) -> Place:
    """The place that people most likely mean by a name in any language, or `Name, Country`.

    A country comes first, then a region or the town with the most people. What stands after
    a comma narrows it: a country, its ISO code, or a region (`Paris, Texas`).
    """
    if len(name) > MAX_NAME:
        raise QueryError(f"'{name[:40]}...' is not a place: it has {len(name)} characters.")
    known = gazetteer()
    first, *others = [part.strip() for part in name.split(",")]
    if not fold(first) or not all(fold(part) for part in others):
        raise QueryError(f"'{name}' is not a place: a name is missing. Write it: --near Bergen")
    wanted = [_codes(known, part) for part in others]
    for part, codes in zip(others, wanted, strict=True):
        if not codes:
            hint = _hint(part, [*known.countries.values(), *known.regions.values()])
            raise QueryError(f"'{part}' is no country or region that is known.{hint}")
    areas = [code for code in _codes(known, first) if all(_lies_in(code, codes) for codes in wanted)]
    towns = [town for town in known.towns(first) if all(_lies_in(_code(known, town), c) for c in wanted)]
    town = max(towns, key=lambda town: _weight(known, town, fold(first)), default=None)
    countries = [code for code in areas if len(code) == 2]
    well_known = town is not None and known.populations[town] >= CITY_KNOWN_BETTER
    # LA is Los Angeles before it is Laos or Louisiana, but NO is Norway.
    if countries and not (well_known and len(fold(first)) <= 2):
        return _area(known, countries[0])
    if areas and not well_known:
        return _area(known, areas[0])
    if town is None:
        raise QueryError(
            f"'{name}' is not a place that is known.{_close(known, first)} "
            "Any place can be given by latitude, longitude and kilometres: --near 60.39,5.32,20"
        )
    return _town(known, town)


def nearest_place(latitude: float, longitude: float) -> Place | None:
    """The town nearest to a point; None where there is none within 50 km."""
    known = gazetteer()
    towns = _nearest(known, np.array([latitude]), np.array([longitude]), NEAREST_KM)
    return None if towns[0] < 0 else _town(known, int(towns[0]))


def known_place(latitude: float, longitude: float) -> Place | None:
    """The town that people would name for a point: a city's own name rather than that of a part of it.

    It is the largest town whose city reaches that far, else the nearest within 50 km.
    """
    known = gazetteer()
    margin = max(km for _, km in REACH) / KM_A_DEGREE
    first, last = np.searchsorted(known.latitudes, (latitude - margin, latitude + margin))
    near = np.arange(first, last)
    towns = _directions(known.latitudes[near], known.longitudes[near])
    point = _directions(np.array([latitude]), np.array([longitude]))[0]
    chord = np.linalg.norm(towns - point, axis=1)
    away = 2 * np.degrees(np.arcsin(np.minimum(chord / 2, 1.0))) * KM_A_DEGREE
    reach = np.zeros(len(near))
    for people, km in REACH:
        reach[known.populations[near] >= people] = km
    holding = near[away <= reach]
    if not len(holding):
        return nearest_place(latitude, longitude)
    return _town(known, int(holding[np.argmax(known.populations[holding])]))


def inside(
    place: Place, latitudes: NDArray[np.float64], longitudes: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Which of the points lie in a country or region; points within 200 m of each other are one."""
    known = gazetteer()
    steps = np.rint(np.stack([latitudes, longitudes]) / BLUR).astype(np.int64)
    _, first, which = np.unique(steps[0] * 1_000_000 + steps[1], return_index=True, return_inverse=True)
    towns = _nearest(known, latitudes[first], longitudes[first], AREA_KM)
    found: NDArray[np.bool_] = ((towns >= 0) & _members(known, place.code)[towns])[which]
    return found


def latitudes(place: Place) -> tuple[float, float]:
    """The band in which a country or region can lie."""
    known = gazetteer()
    band = known.latitudes[_members(known, place.code)]
    reach = AREA_KM / KM_A_DEGREE
    return float(band[0]) - reach, float(band[-1]) + reach


def _codes(known: Gazetteer, name: str) -> list[str]:
    """The countries and regions of a name; `D.C.` is `DC` too."""
    folded = fold(name)
    return known.codes.get(folded) or known.codes.get(folded.replace(" ", ""), [])


def _code(known: Gazetteer, town: int) -> str:
    return known.area_codes[int(known.areas[town])]


def _lies_in(code: str, codes: Sequence[str]) -> bool:
    return any(code == other or code.startswith(other + ".") for other in codes)


def _weight(known: Gazetteer, town: int, folded: str) -> tuple[float, float]:
    people = float(known.populations[town])
    return people if fold(known.name(town)) == folded else people * OTHER_NAME, people


def _members(known: Gazetteer, code: str) -> NDArray[np.bool_]:
    """Which towns lie in a country or region."""
    wanted = np.array([_lies_in(area, [code]) for area in known.area_codes])
    found: NDArray[np.bool_] = wanted[known.areas]
    return found


def _town(known: Gazetteer, town: int) -> Place:
    code = _code(known, town)
    return Place(
        known.name(town),
        known.countries[code[:2]],
        float(known.latitudes[town]),
        float(known.longitudes[town]),
        int(known.populations[town]),
        region=known.regions.get(code, ""),
        code=code,
    )


def _area(known: Gazetteer, code: str) -> Place:
    """A country or region; its point is that of its largest town."""
    members = np.flatnonzero(_members(known, code))
    largest = members[np.argmax(known.populations[members])]
    country = known.countries[code[:2]]
    name = country if len(code) == 2 else known.regions[code]
    point = float(known.latitudes[largest]), float(known.longitudes[largest])
    people = int(known.populations[members].sum())
    return Place(name, country, *point, people, "country" if len(code) == 2 else "region", code=code)


def _close(known: Gazetteer, name: str) -> str:
    """Names like this one, of countries, regions and towns that are not small."""
    of_size = np.flatnonzero(known.populations >= SMALL)
    order = of_size[np.argsort(-known.populations[of_size].astype(np.int64))]
    names = [*known.countries.values(), *known.regions.values(), *map(known.name, order.tolist())]
    return _hint(name, names)


def _hint(name: str, names: list[str]) -> str:
    by_key = {fold(other): other for other in reversed(names)}
    near = difflib.get_close_matches(fold(name), by_key, n=3, cutoff=0.66)
    return f" Did you mean {' or '.join(by_key[key] for key in near)}?" if near else ""


def _nearest(
    known: Gazetteer, latitudes: NDArray[np.float64], longitudes: NDArray[np.float64], reach: float
) -> NDArray[np.int64]:
    """The town nearest to each point, -1 where none is within `reach` kilometres.

    Points are taken together by cells of the globe, each with the towns around the cell. Most
    are close to a town, so a short reach and small cells settle these before the rest.
    """
    towns = np.full(len(latitudes), -1)
    for step, size in ((10.0, 0.2), (NEAREST_KM, 1.0), (AREA_KM, 4.0)):
        open_points = np.flatnonzero(towns < 0)
        within = min(step, reach)
        rows = np.floor(latitudes[open_points] / size).astype(np.int64)
        columns = np.floor(longitudes[open_points] / size).astype(np.int64)
        _, cells = np.unique(rows * 10_000 + columns, return_inverse=True)
        order = np.argsort(cells, kind="stable")
        for points in np.split(open_points[order], np.flatnonzero(np.diff(cells[order])) + 1):
            if len(points):
                towns[points] = _nearest_of(known, latitudes[points], longitudes[points], within)
        if within == reach:
            break
    return towns


def _nearest_of(
    known: Gazetteer, latitudes: NDArray[np.float64], longitudes: NDArray[np.float64], reach: float
) -> NDArray[np.int64]:
    """As `_nearest`, for points that are close together."""
    margin = reach / KM_A_DEGREE
    south, north = float(latitudes.min()) - margin, float(latitudes.max()) + margin
    first, last = np.searchsorted(known.latitudes, (south, north))
    pole = min(90.0, max(abs(south), abs(north)))
    west = float(longitudes.min())
    # Degrees of longitude shrink towards the poles; the widest of the cell counts.
    spread = margin / math.cos(math.radians(pole)) if pole < 89 else 360.0
    turn = (known.longitudes[first:last] - west + spread) % 360.0
    near = first + np.flatnonzero(turn <= float(longitudes.max()) - west + 2 * spread)
    if not len(near):
        return np.full(len(latitudes), -1)
    towns = _directions(known.latitudes[near], known.longitudes[near])
    points = _directions(latitudes, longitudes)
    best = np.empty(len(points), np.int64)
    for start in range(0, len(points), 4096):
        best[start : start + 4096] = np.argmax(points[start : start + 4096] @ towns.T, axis=1)
    chord = np.linalg.norm(points - towns[best], axis=1)
    km = 2 * np.degrees(np.arcsin(np.minimum(chord / 2, 1.0))) * KM_A_DEGREE
    return np.where(km <= reach, near[best], -1)


def _directions(latitudes: NDArray[np.float64], longitudes: NDArray[np.float64]) -> NDArray[np.float64]:
    a, b = np.radians(latitudes), np.radians(longitudes)
    return np.stack([np.cos(a) * np.cos(b), np.cos(a) * np.sin(b), np.sin(a)], axis=1)
