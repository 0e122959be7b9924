"""Conditions on a picture's metadata, as portable SQL."""

from __future__ import annotations

import datetime as dt
import difflib
import os
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any

from retrieval.errors import QueryError
from retrieval.query.areas import parse_near
from retrieval.types import under

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from retrieval.query.areas import Near, Within
    from retrieval.query.places import Place

ORIENTATIONS = {
    "landscape": "width * 95 > height * 100",
    "portrait": "height * 95 > width * 100",
    "square": "width > 0 AND width * 95 <= height * 100 AND height * 95 <= width * 100",
}
"""Every picture has one of these: sides within 5 % of each other make a square."""

TYPES = {
    "jpeg": ("JPEG", "jpg jpe jfif jif mpo"),
    "png": ("PNG", "apng"),
    "heic": ("HEIF", "heif heics heifs hif"),
    "webp": ("WEBP", ""),
    "gif": ("GIF", ""),
    "tiff": ("TIFF", "tif"),
    "avif": ("AVIF", "avifs"),
    "bmp": ("BMP", "dib"),
    "jpeg2000": ("JPEG2000", "jp2 j2k j2c jpc jpf jpx"),
    "ppm": ("PPM", "pnm pgm pbm netpbm"),
    "ico": ("ICO", ""),
    "raw": ("RAW", ""),
}
"""A family of files -> its name in the catalog, and what else people call it."""

MAX_TEXT = 200
"""Characters of a camera's or a tag's name: none is longer, and a database has limits of its own."""
MAX_TAGS = 32
BY_CAMERA = """
WITH RECURSIVE
makes(make) AS (
    SELECT MIN(camera_make) FROM images
    UNION ALL SELECT (SELECT MIN(i.camera_make) FROM images i WHERE i.camera_make > makes.make)
    FROM makes WHERE make IS NOT NULL
),
cameras(make, model) AS (
    SELECT make, (SELECT MIN(i.camera_model) FROM images i WHERE i.camera_make = make)
    FROM makes WHERE make IS NOT NULL
    UNION ALL SELECT make, (
        SELECT MIN(i.camera_model) FROM images i
        WHERE i.camera_make = cameras.make AND i.camera_model > cameras.model
    ) FROM cameras WHERE model IS NOT NULL
)
SELECT id FROM images WHERE missing_at IS NULL AND (camera_make, camera_model) IN (
    SELECT make, model FROM cameras WHERE LOWER(make || ' ' || model) LIKE :camera ESCAPE '!'
)
UNION ALL SELECT id FROM images WHERE missing_at IS NULL AND camera_model IS NULL AND camera_make IN (
    SELECT make FROM makes WHERE LOWER(make) LIKE :camera ESCAPE '!'
)
UNION ALL SELECT id FROM images
WHERE +missing_at IS NULL AND camera_make IS NULL AND camera_model >= ''
AND LOWER(camera_model) LIKE :camera ESCAPE '!'
"""
"""A library knows few cameras: each is stepped to in the index on make and model, and only the
cameras, not the pictures, are held against the text."""

CAMERA = "COALESCE(camera_make, '') || ' ' || COALESCE(camera_model, '')"
MAX_PIXELS = 1 << 40

_NAMES = {
    alias: kind for name, (kind, others) in TYPES.items() for alias in (name, *others.split())
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Filter:
    """Which pictures may be found at all; an empty one allows every picture.

    `after` and `before` are dates, or texts such as `2023`, `2023-07` and `2023-07-15`;
    the first moment of `before` is already too late. `near` is latitude, longitude and
    kilometres, a text of the three, or the name of a place: `Bergen`, `Bergen, Norway`,
    `Bergen, 30`, `Norway`. `orientation` is landscape, portrait or square. `min_size` is
    the longer side in pixels, both sides (`1920x1080`, either way up), or `12MP`. `type` is
    the kind of file, or several with commas between. A picture has all of `tags`.
    Nothing is checked before the filter is used.
    """

    folder: str | os.PathLike[str] | None = None
    after: str | dt.date | None = None
    before: str | dt.date | None = None
    camera: str | None = None
    near: str | tuple[float, float, float] | None = None
    orientation: str | None = None
    min_size: str | int | tuple[int, int] | None = None
    type: str | None = None
    tags: Sequence[str] = ()

    def __bool__(self) -> bool:
        return self != Filter()

    @property
    def area(self) -> Near | Within | None:
        """What SQL cannot tell exactly: where `near` is. Its text is fit to show to a person."""
        return None if self.near is None else parse_near(self.near)

    @property
    def place(self) -> Place | None:
        """The place that the name in `near` was taken for, of all that share the name."""
        area = self.area
        return None if area is None else area.place

    def sql(self) -> tuple[str, dict[str, Any]]:
        """A query for the pictures that pass; `passing` tells which of its rows really do."""
        where, values = list[str](), dict[str, Any]()
        for part in self._parts():
            where.extend(part.passing)
            values.update(part.values)
        if self.camera is not None and not self._letters and self == Filter(camera=self.camera):
            # By itself it names the pictures; to look each up again would take most of the time.
            return f"SELECT id FROM ({BY_CAMERA})", values
        area = self.area
        if area is not None:
            where.append("latitude >= :south AND latitude <= :north AND longitude IS NOT NULL")
            values["south"], values["north"] = area.latitudes
        columns = ["id", *(["latitude", "longitude"] if area else []), *([CAMERA] if self._letters else [])]
        # The plus keeps SQLite from answering this part by an index: nearly every row has no value.
        # Of a folder the index of the paths knows all but what is hidden, and few pictures are.
        hidden = "id NOT IN (SELECT id FROM images WHERE missing_at IS NOT NULL)"
        where.append("+missing_at IS NULL" if self.folder is None else hidden)
        return f"SELECT {', '.join(columns)} FROM images WHERE {' AND '.join(where)}", values

    def failing(self) -> tuple[str, dict[str, Any]] | None:
        """A query for the other pictures, some of them twice; None where it would cost more than it saves.

        Each condition is asked for by itself, by its own index: few fail what nearly all pass.
        """
        if self.near is not None:
            return None
        where, values = ["missing_at > 0"], dict[str, Any]()
        for part in self._parts():
            if part.passing and not part.failing:
                return None
            where.extend(part.failing)
            values.update(part.values)
        return " UNION ALL ".join(f"SELECT id FROM images WHERE {one}" for one in where), values

    def _parts(self) -> tuple[_Part, ...]:
        return (
            _in_folder(self.folder),
            _between(self.after, self.before),
            _camera(self.camera),
            _shape(self.orientation),
            _large(self.min_size),
            _of_type(self.type),
            _tagged(self.tags),
        )

    def passing(self, rows: Sequence[Sequence[Any]]) -> NDArray[np.int64]:
        """The ids, in order, of those rows of `sql()` that pass what SQL cannot tell exactly."""
        import numpy as np

        if self._letters and self.camera is not None:
            text = _letters(self.camera.strip())
            rows = [row for row in rows if text in _letters(row[-1])]
        area = self.area
        if area is None and not self._letters:
            return np.sort(np.fromiter(chain.from_iterable(rows), np.int64, len(rows)))
        ids = np.fromiter((row[0] for row in rows), np.int64, len(rows))
        if area is not None:
            latitudes = np.fromiter((row[1] for row in rows), np.float64, len(rows))
            longitudes = np.fromiter((row[2] for row in rows), np.float64, len(rows))
            ids = ids[area.inside(latitudes, longitudes)]
        return np.sort(ids)

    @property
    def _letters(self) -> bool:
        """Whether the camera's name has letters whose case SQL does not know."""
        return self.camera is not None and not self.camera.isascii()


@dataclass(frozen=True, slots=True)
class _Part:
    """Conditions on one thing: a picture that passes has all of `passing`, another one of `failing`."""

    passing: Sequence[str] = ()
    failing: Sequence[str] = ()
    """Left empty where only what passes can be asked for."""
    values: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, condition: str, values: dict[str, Any] | None = None) -> _Part:
        """A condition that no picture leaves open."""
        return cls([condition], [f"NOT {condition}"], values or {})


def _in_folder(folder: str | os.PathLike[str] | None) -> _Part:
    if folder is None:
        return _Part()
    if not os.fspath(folder):
        raise QueryError("The name of the folder is empty. For this folder: --in .")
    path = os.fsencode(os.path.abspath(os.path.expanduser(folder)))
    low, high = under(path)
    return _Part(
        ["(path = :folder OR (path >= :low AND path < :high))"],
        ["path < :low AND path <> :folder", "path >= :high"],
        {"folder": path, "low": low, "high": high},
    )


def _between(after: str | dt.date | None, before: str | dt.date | None) -> _Part:
    where, other, values = list[str](), list[str](), dict[str, Any]()
    if after is not None:
        where.append("taken_at >= :after")
        other.append("taken_at < :after")
        values["after"] = moment(after)
    if before is not None:
        where.append("taken_at < :before")
        other.append("taken_at >= :before")
        values["before"] = moment(before)
    if len(values) == 2 and values["after"] >= values["before"]:
        raise QueryError(
            f"No time is both from {values['after']} on and before {values['before']}. "
            "For the whole of 2023: --after 2023 --before 2024"
        )
    return _Part(where, [*other, "taken_at IS NULL"] if where else [], values)


def _camera(camera: str | None) -> _Part:
    if camera is None:
        return _Part()
    # SQLite's LOWER knows ASCII only: of other letters `passing` decides.
    text = re.sub(r"([!%_])", r"!\1", _plain(camera, "camera").lower())
    values = {"camera": "%" + re.sub(r"[^\x00-\x7f]+", "%", text) + "%"}
    return _Part([f"id IN ({BY_CAMERA})"], values=values)


def _shape(orientation: str | None) -> _Part:
    if orientation is None:
        return _Part()
    known = ORIENTATIONS.get(orientation.strip().lower())
    if known is None:
        raise QueryError(
            f"{_quoted(orientation)} is not an orientation. There are: {', '.join(ORIENTATIONS)}"
        )
    return _Part.of(f"({known})")


def _large(size: str | int | tuple[int, int] | None) -> _Part:
    if size is None:
        return _Part()
    text = "x".join(map(str, size)) if isinstance(size, tuple) else str(size)
    found = re.fullmatch(r"(\d{1,9})(?:\s*[x×*]\s*(\d{1,9}))?(?:\s*px)?", text.strip(), re.I | re.A)
    if found and int(found[1]) and (found[2] is None or int(found[2])):
        sides = sorted(int(side) for side in found.groups() if side)
        if len(sides) == 1:
            return _Part.of("(width >= :long OR height >= :long)", {"long": sides[0]})
        return _Part.of(
            "((width >= :long AND height >= :short) OR (width >= :short AND height >= :long))",
            {"short": sides[0], "long": sides[1]},
        )
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,6})?)\s*mp(?:ix(?:el)?)?", text.strip(), re.I | re.A)
    if found and 0 < float(found[1]) * 1e6 < MAX_PIXELS:
        return _Part.of("(width * height >= :pixels)", {"pixels": round(float(found[1]) * 1e6)})
    raise QueryError(
        f"{_quoted(text)} is not a size. Write the longer side, both sides or megapixels: "
        "--min-size 1000, --min-size 1920x1080, --min-size 12MP"
    )


def _of_type(types: str | None) -> _Part:
    if types is None:
        return _Part()
    kinds = list[str]()
    for name in types.split(","):
        plain = name.strip().lower().removeprefix("image/").removeprefix(".")
        if plain not in _NAMES:
            near = difflib.get_close_matches(plain, _NAMES, n=1)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            raise QueryError(
                f"{_quoted(name.strip())} is not a type of picture.{hint} There are: {', '.join(TYPES)}"
            )
        kinds.append(_NAMES[plain])
    values = {f"type{number}": kind for number, kind in enumerate(dict.fromkeys(kinds))}
    named = ", ".join(f":{name}" for name in values)
    # Below and above one kind an index steps over it; of several, all entries are gone through.
    others = ["format < :type0", "format > :type0"] if len(values) == 1 else [f"NOT format IN ({named})"]
    return _Part([f"format IN ({named})"], others, values)


def _tagged(tags: Sequence[str]) -> _Part:
    wanted = [tags] if isinstance(tags, str) else list(tags)
    if len(wanted) > MAX_TAGS:
        raise QueryError(f"A filter takes at most {MAX_TAGS} tags, not {len(wanted)}.")
    where, values = list[str](), dict[str, Any]()
    for number, tag in enumerate(wanted):
        plain = _plain(tag, "tag")
        forms = {plain, plain.lower(), plain.upper(), plain.title(), plain.capitalize(), plain.casefold()}
        # SQLite's LOWER knows ASCII only.
        forms = {re.sub("[A-Z]+", lambda found: found[0].lower(), form) for form in forms}
        names = {f"tag{number}_{place}": form for place, form in enumerate(sorted(forms))}
        values.update(names)
        # Steps from tag to tag in the index, so that letter case costs a look at each tag there is,
        # and not at each tag of each picture.
        where.append(
            "id IN (WITH RECURSIVE known(tag) AS (SELECT MIN(tag) FROM image_tags UNION ALL SELECT "
            "(SELECT MIN(t.tag) FROM image_tags t WHERE t.tag > known.tag) FROM known "
            "WHERE known.tag IS NOT NULL) SELECT image_id FROM image_tags WHERE kept = TRUE AND "
            f"tag IN (SELECT tag FROM known WHERE LOWER(tag) IN ({', '.join(f':{name}' for name in names)})))"
        )
    return _Part(where, values=values)


def _quoted(text: str) -> str:
    """What was asked for, fit for a message."""
    return f"'{text}'" if len(text) <= 80 else f"'{text[:77]}...'"


def _letters(text: str) -> str:
    return unicodedata.normalize("NFC", text).casefold()


def _plain(text: str, what: str) -> str:
    plain = unicodedata.normalize("NFC", text.strip())
    if not plain:
        raise QueryError(f"The name of the {what} is empty. Leave --{what} out to allow every {what}.")
    if len(plain) > MAX_TEXT:
        raise QueryError(f"The name of the {what} has {len(plain)} characters; no {what}'s is so long.")
    return plain


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
    raise QueryError(f"{_quoted(value)} is not a date. Write 2023, 2023-07, 2023-07-15 or 2023-07-15T18:30.")
