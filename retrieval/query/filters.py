"""Conditions on a picture's metadata, as portable SQL."""

from __future__ import annotations

import datetime as dt
import math
import os
import re
from dataclasses import dataclass
from typing import Any

from retrieval.errors import QueryError
from retrieval.types import under

EARTH_KM = 6371.0088


@dataclass(frozen=True, slots=True)
class Near:
    """A circle on the globe."""

    latitude: float
    longitude: float
    km: float

    @classmethod
    def parse(cls, text: str) -> Near:
        """From `LAT,LON,KM`."""
        try:
            latitude, longitude, km = (float(part) for part in text.split(","))
        except ValueError:
            raise QueryError(
                f"'{text}' is not a place. Write latitude, longitude and kilometres: --near 60.39,5.32,20"
            ) from None
        if not (abs(latitude) <= 90 and abs(longitude) <= 180 and 0 < km < math.inf):
            raise QueryError(
                f"'{text}' is not a place on earth: latitude is -90 to 90, longitude -180 to 180, "
                "and the distance in kilometres more than 0."
            )
        return cls(latitude, longitude, km)

    def contains(self, latitude: float, longitude: float) -> bool:
        a, b = math.radians(self.latitude), math.radians(latitude)
        turn = math.radians(longitude - self.longitude)
        chord = math.sin((b - a) / 2) ** 2 + math.cos(a) * math.cos(b) * math.sin(turn / 2) ** 2
        return 2 * EARTH_KM * math.asin(min(1.0, math.sqrt(chord))) <= self.km

    @property
    def latitudes(self) -> tuple[float, float]:
        """The band of latitudes the circle lies in: what an index can answer."""
        reach = math.degrees(self.km / EARTH_KM)
        return self.latitude - reach, self.latitude + reach


@dataclass(frozen=True, slots=True)
class Filter:
    """Which pictures may be found at all; an empty one allows every picture.

    `after` and `before` are dates, or texts such as `2023`, `2023-07` and `2023-07-15`;
    the first moment of `before` is already too late. `near` is latitude, longitude and
    kilometres, or a text of the three.
    """

    folder: str | os.PathLike[str] | None = None
    after: str | dt.date | None = None
    before: str | dt.date | None = None
    camera: str | None = None
    near: str | tuple[float, float, float] | None = None

    def __bool__(self) -> bool:
        return self != Filter()

    @property
    def circle(self) -> Near | None:
        """What SQL cannot tell exactly: the circle of `near`."""
        if self.near is None:
            return None
        return Near.parse(self.near if isinstance(self.near, str) else ",".join(map(str, self.near)))

    def sql(self) -> tuple[str, dict[str, Any]]:
        """`SELECT id, latitude, longitude` of the pictures that pass all but the exact distance."""
        where, values = ["missing_at IS NULL"], dict[str, Any]()
        if self.folder is not None:
            folder = os.fsencode(os.path.abspath(os.path.expanduser(self.folder)))
            where.append("(path = :folder OR (path >= :low AND path < :high))")
            values["folder"] = folder
            values["low"], values["high"] = under(folder)
        if self.after is not None:
            where.append("taken_at >= :after")
            values["after"] = moment(self.after)
        if self.before is not None:
            where.append("taken_at < :before")
            values["before"] = moment(self.before)
        if self.camera is not None:
            name = "COALESCE(camera_make, '') || ' ' || COALESCE(camera_model, '')"
            where.append(f"LOWER({name}) LIKE :camera ESCAPE '!'")
            values["camera"] = "%" + re.sub(r"([!%_])", r"!\1", self.camera.strip().lower()) + "%"
        circle = self.circle
        if circle is not None:
            where.append("latitude >= :south AND latitude <= :north AND longitude IS NOT NULL")
            values["south"], values["north"] = circle.latitudes
        return f"SELECT id, latitude, longitude FROM images WHERE {' AND '.join(where)} ORDER BY id", values


def moment(value: str | dt.date) -> str:
    """The first moment of a year, month, day or time, as the catalog writes times."""
    if isinstance(value, dt.datetime):
        return value.replace(tzinfo=None).isoformat(timespec="seconds")
    if isinstance(value, dt.date):
        return value.isoformat()
    text = value.strip()
    found = re.fullmatch(
        r"(\d{4})(?:-(\d{1,2}))?(?:-(\d{1,2}))?(?:[T ](\d{1,2}):(\d{2})(?::(\d{2}))?)?", text
    )
    if found and not (found[4] and not found[3]):
        numbers = [
            int(part) if part else least
            for part, least in zip(found.groups(), (1, 1, 1, 0, 0, 0), strict=True)
        ]
        try:
            start = dt.datetime(*numbers)  # type: ignore[arg-type]
        except ValueError:
            pass
        else:
            return start.isoformat() if found[4] else start.date().isoformat()
    raise QueryError(f"'{value}' is not a date. Write 2023, 2023-07, 2023-07-15 or 2023-07-15T18:30.")
