"""What a picture file says about itself: when, where, with what, and in which words.

`taken_source` names the field that the time came from: `exif-original`, `exif-digitized`,
`xmp-original`, `xmp-created`, `iptc`, `gps` (UTC), `exif-modified`, `file-name`, or
`file-mtime` where `with_file_time` had to fall back on the file's own time.
"""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import TYPE_CHECKING

from retrieval.images.metadata import words
from retrieval.images.metadata.taken import Taken, read_file_time, read_name, read_stamp, utc
from retrieval.types import Metadata

if TYPE_CHECKING:
    from collections.abc import Iterator

    from retrieval.images.decode import Picture
    from retrieval.images.exif import Exif, Value
    from retrieval.images.metadata.words import Properties

_COMPANY = re.compile(
    r"[\s,]+(?:corporation|corp\.?|company|co\.?,? ?ltd\.?|ltd\.?|inc\.?|gmbh|ag|imaging|optical|electronics|"
    r"photo film|techwin|technologies|computer|mobile communications|ab|asa|s\.?a\.?)\.?$",
    re.IGNORECASE,
)
_XMP_DEGREES = re.compile(r"(\d{1,3}),(\d{1,2}(?:\.\d+)?)(?:,(\d{1,2}(?:\.\d+)?))?([NSEW])", re.ASCII)


def read_metadata(picture: Picture, name: str) -> Metadata:
    """The metadata of an opened picture whose file is called `name`.

    Each block stands for itself: a broken one is passed over and never raises.
    """
    exif, blocks = picture.exif, picture.blocks
    xmp = words.read_xmp(blocks.xmp)
    iptc = words.read_iptc(blocks.iptc)
    texts = blocks.texts
    taken = next(_times(exif, xmp, iptc, name), None)
    make, model = _camera(_text(exif.main.get(0x010F)), _text(exif.main.get(0x0110)))
    position = _position(exif, xmp)
    width, height = picture.size
    return Metadata(
        format=picture.format,
        width=width,
        height=height,
        taken_at=taken.at if taken else None,
        taken_offset=taken.offset if taken else None,
        taken_source=taken.source if taken else None,
        camera_make=make,
        camera_model=model,
        lens=_lens(exif, xmp),
        latitude=position[0] if position else None,
        longitude=position[1] if position else None,
        altitude=_altitude(exif) if position else None,
        title=_first(_titles(exif, xmp, iptc, texts)),
        description=_first(_descriptions(exif, xmp, iptc, texts)),
        keywords=words.tidy_keywords(_keywords(exif, xmp, iptc)),
    )


def with_file_time(metadata: Metadata, mtime_ns: int) -> Metadata:
    """The same, with the file's own time where the picture has none (source `file-mtime`)."""
    if metadata.taken_at is not None:
        return metadata
    taken = read_file_time(mtime_ns)
    if taken is None:
        return metadata
    return replace(metadata, taken_at=taken.at, taken_offset=taken.offset, taken_source=taken.source)


def _times(exif: Exif, xmp: Properties, iptc: dict[int, list[str]], name: str) -> Iterator[Taken]:
    """Every credible time, the best first."""
    photo = exif.photo
    any_offset = _text(photo.get(0x9010))
    candidates = [
        read_stamp(_text(photo.get(0x9003)), "exif-original", _text(photo.get(0x9011)) or any_offset),
        read_stamp(_text(photo.get(0x9004)), "exif-digitized", _text(photo.get(0x9012)) or any_offset),
        read_stamp(_one(xmp, words.EXIF + "DateTimeOriginal"), "xmp-original"),
        read_stamp(_one(xmp, words.PHOTOSHOP + "DateCreated"), "xmp-created"),
        read_stamp(_one(xmp, words.XMP + "CreateDate"), "xmp-created"),
        _iptc_time(iptc),
        _gps_time(exif),
        read_stamp(_text(exif.main.get(0x0132)), "exif-modified", any_offset),
        read_name(name),
    ]
    return (taken for taken in candidates if taken is not None)


def _iptc_time(iptc: dict[int, list[str]]) -> Taken | None:
    day = (iptc.get(55) or [""])[0]
    found = re.fullmatch(r"(\d{4})(\d{2})(\d{2})", day, re.ASCII)
    if found is None:
        return None
    stamp = "-".join(found.groups())
    time = re.match(r"(\d{2})(\d{2})(\d{2})([+-]\d{4})?", (iptc.get(60) or [""])[0], re.ASCII)
    if time is not None:
        stamp += f" {time[1]}:{time[2]}:{time[3]}{time[4] or ''}"
    return read_stamp(stamp, "iptc")


def _gps_time(exif: Exif) -> Taken | None:
    found = re.fullmatch(r"(\d{4})[:/-](\d{2})[:/-](\d{2})", _text(exif.gps.get(0x1D)) or "", re.ASCII)
    clock = _finite(exif.gps.get(0x07))
    if found is None or len(clock) != 3:
        return None
    seconds = clock[0] * 3600 + clock[1] * 60 + clock[2]
    return utc(int(found[1]), int(found[2]), int(found[3]), seconds, "gps")


def _camera(make: str | None, model: str | None) -> tuple[str | None, str | None]:
    """`NIKON CORPORATION`, `NIKON D90` become `Nikon`, `D90`: together they read well."""
    while make and (shorter := _COMPANY.sub("", make)) != make:
        make = shorter
    if make and model and model.casefold().startswith(make.casefold() + " "):
        model = model[len(make) :].strip() or model
    if make and make.isalpha() and ((make.isupper() and len(make) > 3) or make.islower()):
        make = make.capitalize()
    return make, model


def _lens(exif: Exif, xmp: Properties) -> str | None:
    names = (
        _text(exif.photo.get(0xA434)),
        _one(xmp, words.EXIF_EX + "LensModel"),
        _one(xmp, words.AUX + "Lens"),
    )
    return next((name for name in names if name and any(letter.isalnum() for letter in name)), None)


def _position(exif: Exif, xmp: Properties) -> tuple[float, float] | None:
    """Latitude and longitude; half a position, or 0, 0 (a receiver without a fix), is none."""
    gps = exif.gps
    latitude = _degrees(_finite(gps.get(2)), _text(gps.get(1)), "NS", 90)
    longitude = _degrees(_finite(gps.get(4)), _text(gps.get(3)), "EW", 180)
    if latitude is None or longitude is None:
        latitude = _xmp_degrees(_one(xmp, words.EXIF + "GPSLatitude"), "NS", 90)
        longitude = _xmp_degrees(_one(xmp, words.EXIF + "GPSLongitude"), "EW", 180)
    if latitude is None or longitude is None or (latitude == 0 and longitude == 0):
        return None
    return latitude, longitude


def _degrees(parts: list[float], reference: str | None, letters: str, limit: int) -> float | None:
    side = (reference or "")[:1].upper()
    if not 1 <= len(parts) <= 3 or side not in letters or not side or min(parts) < 0:
        return None
    if any(part > 60 for part in parts[1:]):
        return None
    value = sum((part / 60.0**place for place, part in enumerate(parts)), 0.0)
    if value > limit:
        return None
    return round(-value if side == letters[1] else value, 7)


def _xmp_degrees(text: str | None, letters: str, limit: int) -> float | None:
    found = _XMP_DEGREES.fullmatch(text or "")
    if found is None:
        return None
    *parts, side = found.groups()
    return _degrees([float(part) for part in parts if part], side, letters, limit)


def _altitude(exif: Exif) -> float | None:
    value = _finite(exif.gps.get(6))
    if not value:
        return None
    below = exif.gps.get(5) in (b"\x01", (1,))
    metres = -value[0] if below else value[0]
    return round(metres, 2) if -11_000 <= metres <= 50_000 else None


def _titles(
    exif: Exif, xmp: Properties, iptc: dict[int, list[str]], texts: dict[str, str]
) -> Iterator[str | None]:
    yield _one(xmp, words.DC + "title")
    yield _one(xmp, words.PHOTOSHOP + "Headline")
    yield _joined(iptc, 5)
    yield _joined(iptc, 105)
    yield _wide(exif.main.get(0x9C9B))
    yield texts.get("Title")


def _descriptions(
    exif: Exif, xmp: Properties, iptc: dict[int, list[str]], texts: dict[str, str]
) -> Iterator[str | None]:
    yield _one(xmp, words.DC + "description")
    yield _joined(iptc, 120)
    yield _text(exif.main.get(0x010E))
    comment = exif.photo.get(0x9286)
    yield words.decode_comment(comment) if isinstance(comment, bytes) else None
    yield _wide(exif.main.get(0x9C9C))
    yield texts.get("Description")
    yield texts.get("Comment")


def _keywords(exif: Exif, xmp: Properties, iptc: dict[int, list[str]]) -> Iterator[str]:
    yield from xmp.get(words.DC + "subject", ())
    yield from iptc.get(25, ())
    yield from (_wide(exif.main.get(0x9C9E)) or "").split(";")


def _first(texts: Iterator[str | None]) -> str | None:
    return next((text for text in map(words.tidy_description, texts) if text), None)


def _joined(iptc: dict[int, list[str]], number: int) -> str | None:
    values = iptc.get(number)
    return values[0] if values else None


def _one(xmp: Properties, name: str) -> str | None:
    values = xmp.get(name)
    return words.tidy(values[0]) if values else None


def _text(value: Value | None) -> str | None:
    return words.tidy(words.decode(value)) if isinstance(value, bytes) else None


def _wide(value: Value | None) -> str | None:
    return words.decode_wide(value) if isinstance(value, bytes) else None


def _finite(value: Value | None) -> list[float]:
    """The numbers of a tag, or nothing if one of them is not a number."""
    if not isinstance(value, tuple) or not all(math.isfinite(number) for number in value):
        return []
    return list(value)
