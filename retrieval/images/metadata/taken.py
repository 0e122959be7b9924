"""When a picture was taken, from whichever field says so credibly."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING

from retrieval.types import MAX_NS

if TYPE_CHECKING:
    from collections.abc import Iterator

EARLIEST_YEAR = 1826
"""The year of the oldest photograph that is left."""

_EPOCHS = {(1904, 1, 1), (1970, 1, 1), (1980, 1, 1)}
"""Midnight of these days is a clock that was never set."""

_STAMP = re.compile(
    r"\s*(\d{4})[:/.-](\d{1,2})[:/.-](\d{1,2})"
    r"(?:[ T]+(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,]\d{1,9})?)?\s*(Z|[+-]\d{2}:?\d{2})?)?\s*",
    re.ASCII,
)
_OFFSET = re.compile(r"\s*(?:(Z)|([+-])(\d{2}):?(\d{2}))\s*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Taken:
    """Local time, minutes east of UTC if known, and the name of the field it came from."""

    at: str
    offset: int | None
    source: str


def read_stamp(text: str | None, source: str, offset: str | None = None) -> Taken | None:
    """A date with or without a time, as EXIF or XMP write it; nonsense is no date."""
    found = _STAMP.fullmatch(text[:64]) if text else None
    if found is None:
        return None
    *numbers, zone = found.groups()
    moment = _moment(*(int(number or 0) for number in numbers))
    if moment is None:
        return None
    return Taken(moment.isoformat(), read_offset(zone) if zone else read_offset(offset), source)


def read_offset(text: str | None) -> int | None:
    """Minutes east of UTC from `+02:00` or `Z`."""
    found = _OFFSET.fullmatch(text[:16]) if text else None
    if found is None:
        return None
    zulu, sign, hours, minutes = found.groups()
    if zulu:
        return 0
    total = int(hours) * 60 + int(minutes)
    total = -total if sign == "-" else total
    return total if -12 * 60 <= total <= 14 * 60 and int(minutes) < 60 else None


def _moment(
    year: int, month: int, day: int, hour: int = 0, minute: int = 0, second: int = 0
) -> datetime | None:
    try:
        moment = datetime(year, month, day, hour, minute, min(second, 59))
    except ValueError:
        return None
    if second > 60 or not EARLIEST_YEAR <= year <= datetime.now(UTC).year + 1:
        return None
    if (year, month, day) in _EPOCHS and (hour, minute, second) == (0, 0, 0):
        return None
    return moment


_NAME_COMPACT = re.compile(
    r"(?<!\d)((?:19|20)\d{2})(\d{2})(\d{2})[_\-T ](\d{2})(\d{2})(\d{2})(?:[._-]?\d{3})?(?!\d)", re.ASCII
)
_NAME_SPELT = re.compile(
    r"(?<!\d)((?:19|20)\d{2})[-_.](\d{2})[-_.](\d{2})[ _T-]+(?:(?:at|um|à|a las|alle|om|kl\.?) )?"
    r"(\d{1,2})[.:_h-]?(\d{2})[.:_m-]?(\d{2})(?!\d)(?:[\s\u202f]*([AaPp])\.?[Mm])?"
)
_NAME_MESSENGER = re.compile(
    r"(?:IMG|VID|PHOTO|STK)-((?:19|20)\d{2})(\d{2})(\d{2})-WA\d+", re.ASCII | re.IGNORECASE
)
_NAME_DATE = re.compile(r"(?<!\d)((?:19|20)\d{2})-(\d{2})-(\d{2})(?!\d)", re.ASCII)


def read_name(name: str) -> Taken | None:
    """The time that phones, messengers and screenshot tools write into file names."""
    moment = next(_name_moments(name[:255]), None)
    if moment is None:
        return None
    # Pixel phones write UTC, others the local time.
    return Taken(moment.isoformat(), 0 if name.upper().startswith("PXL_") else None, "file-name")


def _name_moments(name: str) -> Iterator[datetime]:
    for pattern in (_NAME_COMPACT, _NAME_SPELT, _NAME_MESSENGER, _NAME_DATE):
        for found in pattern.finditer(name):
            groups = list(found.groups())
            half = groups.pop() if pattern is _NAME_SPELT else None
            numbers = [int(group) for group in groups]
            if half is not None:
                if not 1 <= numbers[3] <= 12:
                    continue
                numbers[3] = numbers[3] % 12 + (12 if half in "Pp" else 0)
            moment = _moment(*numbers)
            if moment is not None:
                yield moment


def read_file_time(mtime_ns: int) -> Taken | None:
    """The file's own time, in this machine's time zone: the last resort."""
    if abs(mtime_ns) >= MAX_NS:
        return None
    try:
        moment = datetime.fromtimestamp(mtime_ns // 1_000_000_000).astimezone()
    except (OverflowError, OSError, ValueError):
        return None
    local = moment.replace(tzinfo=None)
    if not EARLIEST_YEAR <= local.year <= 9998:
        return None
    zone = moment.utcoffset() or timedelta()
    return Taken(local.isoformat(), int(zone.total_seconds() // 60), "file-mtime")


def utc(year: int, month: int, day: int, seconds: float, source: str) -> Taken | None:
    """A date and the seconds of its day in UTC."""
    if not 0 <= seconds < 86_400:
        return None
    moment = _moment(year, month, day)
    if moment is None:
        return None
    moment = moment.replace(tzinfo=timezone(timedelta())) + timedelta(seconds=int(seconds))
    return Taken(moment.replace(tzinfo=None).isoformat(), 0, source)
