"""Filters as people write them: dates, places, sizes, types, folders, cameras and tags."""

from __future__ import annotations

import datetime as dt
import math
import sqlite3

from retrieval.errors import QueryError
from retrieval.query.areas import Near, parse_near
from retrieval.query.filters import Filter, moment
from tests.fuzz import told

FIELDS = ("after", "before", "near", "min_size", "type", "orientation", "camera", "folder", "tags")
SEEDS = tuple(
    bytes([FIELDS.index(name)]) + text.encode()
    for name, text in (
        ("after", "2023"),
        ("before", "2023-07-15T18:30"),
        ("near", "Bergen, Norway, 30"),
        ("near", "60.39,5.32,20 km"),
        ("near", "Norway"),
        ("min_size", "1920x1080"),
        ("min_size", "12MP"),
        ("type", "image/jpeg,.heic"),
        ("orientation", "Landscape"),
        ("camera", "Canon 100%"),
        ("folder", "~/Pictures"),
        ("tags", "dog"),
    )
)
WORDS = (
    b"2023-07",
    b"T18:30",
    b"nan",
    b"inf",
    b"-0",
    b"1e400",
    b"90,180,1",
    b"km",
    b"x",
    b"mp",
    "\u0660".encode(),
)
MOST = 300
COLUMNS = (
    "id INTEGER, path BLOB, taken_at TEXT, width INTEGER, height INTEGER, format TEXT, latitude REAL, "
    "longitude REAL, camera_make TEXT, camera_model TEXT, missing_at REAL, content_hash BLOB"
)


def one(data: bytes) -> None:
    which, text = data[0] % len(FIELDS) if data else 0, data[1:].decode("utf-8", "surrogateescape")
    name = FIELDS[which]
    if "\0" in text:  # neither a command line nor the server lets one through
        return
    if name in ("after", "before"):
        try:
            found = moment(text)
        except QueryError:
            pass
        else:
            assert dt.datetime.fromisoformat(found), found
    if name == "near":
        try:
            area = parse_near(text)
        except QueryError:
            pass
        else:
            low, high = area.latitudes
            assert math.isfinite(low)
            assert math.isfinite(high)
            assert low <= high
            if isinstance(area, Near):
                assert area.contains(area.latitude, area.longitude)
    try:
        where = Filter(**{name: (text,) if name == "tags" else text})  # type: ignore[arg-type]
        sql, values = where.sql()
    except QueryError as error:
        told(error)
        return
    for value in values.values():
        if isinstance(value, str):
            value.encode("utf-8", "surrogatepass")
    # It is at least a statement.
    database = sqlite3.connect(":memory:")
    try:
        database.execute(f"CREATE TABLE images ({COLUMNS})")
        database.execute("CREATE TABLE image_tags (image_id INTEGER, tag TEXT, kept INTEGER)")
        database.execute(f"EXPLAIN {sql}", {key: _plain(value) for key, value in values.items()})
    finally:
        database.close()


def _plain(value: object) -> object:
    return (
        value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        if isinstance(value, str)
        else value
    )
