"""Files of texts: a line each, with what it is called and which picture it belongs to."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from retrieval.config import MAX_FILE_BYTES
from retrieval.errors import QueryError
from retrieval.regular_files import read_regular

FIELDS = ("text", "id", "image")
DELIMITERS = (",", ";", "\t")
CONTROLS = [chr(code) for code in (*range(1, 32), 127, 0xFFFD) if chr(code) not in "\b\t\n\v\f\r\x1b"]
"""What no text holds many of."""
SAMPLE_CHARS, CONTROLS_AT_MOST = 65536, 0.1
CSV_ERRORS = {"unexpected end of data": "a quote that it opens is never closed"}


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a file: a text, or why it is none."""

    number: int
    text: str = ""
    name: str | None = None
    image: int | str | None = None
    broken: str = ""

    @classmethod
    def of(cls, number: int, row: Any) -> Line:
        """From a row with `text`, and perhaps `id` and `image`."""
        if not isinstance(row, Mapping):
            return cls(number, broken="it is not an object with a text in it")
        text, name, image = (row.get(field) for field in FIELDS)
        if not isinstance(text, str):
            return cls(number, broken="its text is missing" if text is None else "its text is not a string")
        text = clean(text).strip()
        if not text:
            return cls(number, broken="its text is empty")
        if isinstance(image, bool) or not isinstance(image, int | str | None):
            return cls(number, broken="its image is neither a path nor an id")
        if isinstance(image, str) and (not image.strip() or "\0" in image):
            return cls(
                number, broken="its image is empty" if not image.strip("\0 ") else "its image has a NUL in it"
            )
        if isinstance(image, str):
            image = _file_name(image.strip())
        return cls(number, text, clean(str(name)) if name not in (None, "") else None, image)


@dataclass(frozen=True, slots=True)
class Reading:
    """What a file holds; `notes` are sentences about how it was read, `named` what to call it."""

    lines: list[Line]
    notes: tuple[str, ...]
    named: str


def read_file(path: str, form: str | None = None) -> Reading:
    """The lines of a file; its ending tells the format where none is named."""
    form = form or os.path.splitext(path)[1].lower().lstrip(".")
    if form not in FORMATS:
        known = ", ".join(f".{name}" for name in FORMATS)
        raise QueryError(
            f"{path} does not end in one of {known}. Say how to read it: search texts add {path} --format txt"
        )
    return read_lines(read_regular(path, most=MAX_FILE_BYTES), form, path)


def read_lines(data: bytes, form: str, named: str) -> Reading:
    text, note = decode(data)
    _refuse_binary(text, named)
    return Reading(list(FORMATS[form](text)), (f"{named}: {note}",) if note else (), named)


def decode(data: bytes) -> tuple[str, str]:
    """The text of bytes whose encoding nobody told, and a remark where that had to be guessed."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace"), ""
    try:
        return data.decode("utf-8-sig"), ""
    except UnicodeDecodeError:
        return data.decode("latin-1"), "it is not UTF-8 and was read as Latin-1."


def _refuse_binary(text: str, named: str) -> None:
    """Pictures, archives and the like decode to something too; nobody wrote it."""
    if "\0" in text:
        raise QueryError(f"{named} is not a text: there are zero bytes in it. Save it as UTF-8.")
    start = text[:SAMPLE_CHARS]
    if sum(map(start.count, CONTROLS)) > CONTROLS_AT_MOST * len(start):
        raise QueryError(f"{named} is not a text: much of it is no characters. Save it as UTF-8.")


def clean(text: str) -> str:
    """The text without what no database takes: NUL, and halves of characters."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()


def _file_name(text: str) -> str:
    """A name as file systems can have it: single bytes may stand as halves of characters, nothing else."""
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return clean(text)
    return text


def _jsonl(text: str) -> Iterator[Line]:
    for number, line in enumerate(_lines(text), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            what = error.msg if isinstance(error, json.JSONDecodeError) else "it is nested too deep"
            yield Line(number, broken=f"it is not JSON: {what}")
            continue
        yield Line.of(number, {"text": row} if isinstance(row, str) else row)


def _csv(text: str) -> Iterator[Line]:
    first = _lines(text)[0].lower()
    delimiter = next((one for one in DELIMITERS if "text" in _cells(first, one)), None)
    header: list[str] | None = None
    lines = list(io.StringIO(text, newline=""))
    done = 0
    rows = csv.reader(lines, delimiter=delimiter or ",", strict=True)
    while True:
        number = done + rows.line_num + 1
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            yield Line(number, broken=f"it is not CSV: {CSV_ERRORS.get(str(error), error)}")
            # What a stray quote swallowed are lines of their own.
            done = number
            left = (lines[place] for place in range(number, len(lines)))
            rows = csv.reader(left, delimiter=delimiter or ",", strict=True)
            continue
        if delimiter and header is None:
            header = [cell.strip().strip('"').lower() for cell in row]
        elif any(cell.strip() for cell in row):
            # Without a header the first column is the text. An empty cell says nothing.
            named = zip(header, row, strict=False) if header else [("text", row[0])]
            yield Line.of(number, {name: cell for name, cell in named if name != "image" or cell.strip()})


def _lines(text: str) -> list[str]:
    """Lines as they end today, or where none does, as they ended on old Macs."""
    return text.split("\n" if "\n" in text else "\r")


def _cells(line: str, delimiter: str) -> list[str]:
    return [cell.strip().strip('"') for cell in line.split(delimiter)]


def _txt(text: str) -> Iterator[Line]:
    for number, line in enumerate(_lines(text), 1):
        if line.strip():
            yield Line.of(number, {"text": line})


FORMATS: dict[str, Callable[[str], Iterator[Line]]] = {"jsonl": _jsonl, "csv": _csv, "txt": _txt}
"""How each format is read; the names are endings of files too."""
