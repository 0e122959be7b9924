"""The formats of lists of alt texts, each read so that all of it can be written again."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import re
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Protocol

from retrieval.errors import RetrievalError
from retrieval.types import path_fields

FIELDS = ("path", "alt", "captioner", "check")
DELIMITERS = (",", ";", "\t")
"""Spreadsheets of many countries save with a semicolon."""

_FORMULA = re.compile(r"'*\s*[=+\-@\t\r\n|%\uff1d\uff0b\uff0d\uff20]")
_GUARDED = re.compile(r"'+\s*[=+\-@\t\r\n|%\uff1d\uff0b\uff0d\uff20]")


class ForeignListError(RetrievalError):
    """The file is no list of alt texts."""


@dataclass(frozen=True, slots=True)
class Offer:
    """An alt text for a picture, and who made it."""

    path: Path
    alt: str
    captioner: str

    @property
    def key(self) -> bytes:
        return os.fsencode(self.path)

    @property
    def check(self) -> str:
        return checked(self.key, self.alt, self.captioner)

    def fields(self) -> dict[str, str]:
        path = path_fields(self.path)
        return {**path, "alt": self.alt, "captioner": self.captioner, "check": self.check}


def checked(key: bytes, alt: str, captioner: str) -> str:
    """What tells an entry that is as we wrote it from one that somebody changed."""
    parts = (key, alt.encode("utf-8", "surrogatepass"), captioner.encode("utf-8", "surrogatepass"))
    return hashlib.sha256(b"".join(len(part).to_bytes(8, "big") + part for part in parts)).hexdigest()[:16]


class Content(Protocol):
    """A list in one of the formats; entries are numbered as they stand in the file."""

    def __len__(self) -> int: ...

    def get(self, number: int, name: str) -> str | None:
        """A field of an entry, None where it has none that is text."""
        ...

    def put(self, number: int | None, offer: Offer) -> int:
        """Set the fields of an entry, or add one; its number."""
        ...

    def dump(self) -> bytes: ...


@dataclass(slots=True)
class JsonList:
    """An array of objects, one a line."""

    entries: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def parse(cls, data: bytes) -> JsonList:
        try:
            entries = json.loads(
                data.decode("utf-8-sig"),
                object_pairs_hook=_without_doubles,
                parse_float=_exact,
                parse_constant=_refused,
            )
        except (ValueError, RecursionError) as error:
            raise ForeignListError("it is not JSON that could be written again as it is") from error
        if not isinstance(entries, list) or not all(
            isinstance(entry, dict) and isinstance(entry.get("path"), str) and "alt" in entry
            for entry in entries
        ):
            raise ForeignListError('it is not an array of objects with "path" and "alt"')
        return cls(entries)

    def __len__(self) -> int:
        return len(self.entries)

    def get(self, number: int, name: str) -> str | None:
        value = self.entries[number].get(name)
        return value if isinstance(value, str) else None

    def put(self, number: int | None, offer: Offer) -> int:
        if number is None:
            self.entries.append(dict(offer.fields()))
            return len(self.entries) - 1
        self.entries[number].update(offer.fields())
        return number

    def dump(self) -> bytes:
        try:
            return self._dump(ascii_only=False)
        except UnicodeEncodeError:
            return self._dump(ascii_only=True)

    def _dump(self, *, ascii_only: bool) -> bytes:
        lines = (json.dumps(entry, ensure_ascii=ascii_only) for entry in self.entries)
        return ("[\n " + ",\n ".join(lines) + "\n]\n").encode() if self.entries else b"[]\n"


@dataclass(slots=True)
class CsvList:
    """A table with a header; rows that are not ours to change are kept cell for cell."""

    header: list[str] = field(default_factory=lambda: list(FIELDS))
    rows: list[list[str]] = field(default_factory=list)
    delimiter: str = ","
    mark: bytes = b""
    """The byte order mark that spreadsheets begin UTF-8 with."""

    @classmethod
    def parse(cls, data: bytes) -> CsvList:
        mark = b"\xef\xbb\xbf" if data.startswith(b"\xef\xbb\xbf") else b""
        try:
            text = data[len(mark) :].decode("utf-8")
        except UnicodeDecodeError as error:
            raise ForeignListError("it is not UTF-8") from error
        for delimiter in DELIMITERS:
            try:
                rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
            except csv.Error:
                continue
            header = rows[0] if rows else []
            if len(set(header)) == len(header) and {"path", "alt", "captioner"} <= set(header):
                return cls(header, rows[1:], delimiter, mark)
        raise ForeignListError("it is not a table with the columns path, alt and captioner")

    def __len__(self) -> int:
        return len(self.rows)

    def get(self, number: int, name: str) -> str | None:
        row = self.rows[number]
        column = self.header.index(name) if name in self.header else len(row)
        return _unguarded(row[column]) if column < len(row) else None

    def put(self, number: int | None, offer: Offer) -> int:
        fields = offer.fields()
        self.header += [name for name in fields if name not in self.header]
        if number is None:
            self.rows.append([])
            number = len(self.rows) - 1
        row = self.rows[number]
        row += [""] * (len(self.header) - len(row))
        for name, value in fields.items():
            row[self.header.index(name)] = guarded(value)
        return number

    def dump(self) -> bytes:
        stream = io.StringIO(newline="")
        csv.writer(stream, delimiter=self.delimiter).writerows([self.header, *self.rows])
        return self.mark + stream.getvalue().encode()


FORMATS: dict[str, type[JsonList] | type[CsvList]] = {".json": JsonList, ".csv": CsvList}


def guarded(cell: str) -> str:
    """The text as a cell that no spreadsheet takes for a formula: an apostrophe before it."""
    return f"'{cell}" if _FORMULA.match(cell) else cell


def _unguarded(cell: str) -> str:
    return cell[1:] if _GUARDED.match(cell) else cell


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice in one object")
    return found


def _exact(number: str) -> float:
    value = float(number)
    try:
        same = Decimal(number) == Decimal(repr(value))
    except InvalidOperation:  # an exponent of twenty digits
        same = False
    if not same:
        raise ValueError("the number has more digits than would be written again")
    return value


def _refused(name: str) -> float:
    raise ValueError(f"{name} is not JSON")
