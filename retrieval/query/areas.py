"""Parts of the globe that pictures were taken in: circles, countries and regions."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from retrieval.errors import QueryError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from retrieval.query.places import Place

EARTH_KM = 6371.0088
EXAMPLES = '--near "Bergen", --near "Bergen, Norway, 30" or --near 60.39,5.32,20'


@dataclass(frozen=True, slots=True)
class Near:
    """A circle on the globe; `place` is what its centre was found by, where that was a name."""

    latitude: float
    longitude: float
    km: float
    place: Place | None = None

    def __str__(self) -> str:
        named = f"{self.place} ({self.latitude:.2f}, {self.longitude:.2f})"
        centre = named if self.place else f"{self.latitude:g}, {self.longitude:g}"
        return f"{centre}, within {self.km:g} km"

    @classmethod
    def parse(cls, text: str) -> Near:
        """From `LAT,LON,KM`."""
        try:
            latitude, longitude, km = (float(part) for part in text.split(","))
        except ValueError:
            raise QueryError(
                f"'{text[:80]}' is not a place. Write its name, or latitude, longitude and kilometres: "
                f"{EXAMPLES}"
            ) from None
        if not (abs(latitude) <= 90 and abs(longitude) <= 180 and 0 < km < math.inf):
            raise QueryError(
                f"'{text[:80]}' is not a place on earth: latitude is -90 to 90, longitude -180 to 180, "
                "and the distance in kilometres more than 0."
            )
        return cls(latitude, longitude, km)

    def contains(self, latitude: float, longitude: float) -> bool:
        import numpy as np

        return bool(self.inside(np.array([latitude]), np.array([longitude]))[0])

    def inside(self, latitudes: NDArray[np.float64], longitudes: NDArray[np.float64]) -> NDArray[np.bool_]:
        import numpy as np

        a, b = math.radians(self.latitude), np.radians(latitudes)
        turn = np.radians(longitudes - self.longitude)
        chord = np.sin((b - a) / 2) ** 2 + math.cos(a) * np.cos(b) * np.sin(turn / 2) ** 2
        near: NDArray[np.bool_] = 2 * EARTH_KM * np.arcsin(np.sqrt(np.minimum(chord, 1.0))) <= self.km
        return near

    @property
    def latitudes(self) -> tuple[float, float]:
        """The band of latitudes the circle lies in: what an index can answer."""
        reach = math.degrees(self.km / EARTH_KM)
        return self.latitude - reach, self.latitude + reach


@dataclass(frozen=True, slots=True)
class Within:
    """A country or a region: where the nearest town belongs to it."""

    place: Place

    def __str__(self) -> str:
        return f"{self.place}, by the nearest town"

    def contains(self, latitude: float, longitude: float) -> bool:
        import numpy as np

        return bool(self.inside(np.array([latitude]), np.array([longitude]))[0])

    def inside(self, latitudes: NDArray[np.float64], longitudes: NDArray[np.float64]) -> NDArray[np.bool_]:
        from retrieval.query.places import inside

        return inside(self.place, latitudes, longitudes)

    @property
    def latitudes(self) -> tuple[float, float]:
        from retrieval.query.places import latitudes

        return latitudes(self.place)


def parse_near(near: str | tuple[float, float, float]) -> Near | Within:
    """From what people write: numbers, or a name with a country, a distance, or both behind it."""
    if not isinstance(near, str):
        return Near.parse(",".join(map(str, near)))
    parts = [part.strip() for part in near.split(",")]
    if all(_number(part) is not None for part in parts):
        return Near.parse(near)
    km = _number(parts[-1]) if len(parts) > 1 else None
    name = ", ".join(parts if km is None else parts[:-1])
    if km is not None and not 0 < km < math.inf:
        raise QueryError(f"A distance of {parts[-1]} is none: it is more than 0 kilometres. {EXAMPLES}")
    from retrieval.query.places import find_place

    place = find_place(name)
    if place.kind == "town":
        return Near(place.latitude, place.longitude, place.radius_km if km is None else km, place)
    if km is not None:
        raise QueryError(
            f"{place.name} is a {place.kind}, which has no middle to measure from. "
            f'Leave the distance out, or name a town: --near "{place.name}"'
        )
    return Within(place)


def _number(text: str) -> float | None:
    try:
        return float(re.sub(r"(?i)\s*km$", "", text))
    except ValueError:
        return None
