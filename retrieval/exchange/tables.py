"""What an export holds, column by column, and what an import takes for that."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["bytes", "text", "int", "float", "bool", "json"]
Row = dict[str, Any]

MOST_CELL = 8 << 20
"""Bytes of one value; no text that this program keeps comes near it."""
MOST_NUMBER = 2**63 - 1
READABLE = "_text"
"""Ends the name of a column that shows a path as text, beside the one that holds its bytes."""


class NotOurs(ValueError):
    """What was given is no export; says why, to go on from the name of the file."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column: what it holds, whether that may be missing, and how long it may be."""

    name: str
    kind: Kind
    null: bool = False
    most: int = MOST_CELL
    least: int = 0

    def checked(self, value: Any) -> Any:
        """The value as the catalog is to have it; refused where it could not be one of ours."""
        if value is None:
            if not self.null:
                raise NotOurs(f"'{self.name}' is missing in a row")
            return None
        if self.kind in ("bytes", "text", "json"):
            size = len(value) if isinstance(value, bytes) else len(value.encode("utf-8"))
            if not self.least <= size <= self.most:
                raise NotOurs(f"'{self.name}' has {size} bytes in a row")
            if self.kind == "json":
                return _parsed(value, self.name)
            if self.kind == "text" and "\0" in value:
                raise NotOurs(f"'{self.name}' holds no text in a row")
        elif self.kind == "float" and not math.isfinite(value):
            raise NotOurs(f"'{self.name}' is no number in a row")
        elif self.kind == "int" and not self.least <= value <= MOST_NUMBER:
            raise NotOurs(f"'{self.name}' is {value} in a row")
        return value

    @property
    def is_path(self) -> bool:
        return self.kind == "bytes" and self.name in ("path", "other_path", "origin")


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the catalog, one file of an export, in the order of `order`."""

    name: str
    columns: tuple[Column, ...]
    order: str

    def select(self) -> str:
        return f"SELECT {', '.join(c.name for c in self.columns)} FROM {self.name} ORDER BY {self.order}"

    def exported(self, rows: Iterable[tuple[Any, ...]]) -> Iterator[Row]:
        """Rows of the database as an export has them."""
        for values in rows:
            row: Row = {}
            for column, value in zip(self.columns, values, strict=True):
                row[column.name] = _plain(column, value)
                if column.is_path:
                    row[column.name + READABLE] = _readable(row[column.name])
            yield row

    def checked(self, row: Mapping[str, Any]) -> Row:
        """A row of an export as the catalog is to have it."""
        found = {column.name: column.checked(row[column.name]) for column in self.columns}
        check = CHECKS.get(self.name)
        if check is not None:
            check(found)
        return found


def _plain(column: Column, value: Any) -> Any:
    if value is None:
        return None
    if column.kind == "bytes":
        return bytes(value)
    if column.kind == "bool":
        return bool(value)
    if column.kind == "json":
        found = json.loads(value) if isinstance(value, str | bytes) else value
        return json.dumps(found, ensure_ascii=False)
    return value


def _readable(path: bytes | None) -> str | None:
    return None if path is None else path.decode("utf-8", "replace").replace("\0", "\ufffd")


def _parsed(text: str, name: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise NotOurs(f"'{name}' is no JSON in a row") from error


def _check_image(row: Row) -> None:
    keywords = row["keywords"]
    if not isinstance(keywords, list) or not all(isinstance(word, str) for word in keywords):
        raise NotOurs("'keywords' is no list of words in a row")
    if not os.path.isabs(row["path"]):
        raise NotOurs("'path' is not absolute in a row")


def _check_said(row: Row) -> None:
    data = row["data"]
    wanted: dict[str, tuple[type, ...]] = {
        "tag": {"tag": (str,), "kept": (bool,)},
        "text": {
            "text": (str,),
            "source": (str,),
            "name": (str, type(None)),
            "origin": (str, type(None)),
            "stamp": (str, type(None)),
        },
        "pair": {"said_at": (int, float)},
    }.get(row["kind"], {})  # type: ignore[assignment]
    sound = bool(wanted) and isinstance(data, dict) and data.keys() == wanted.keys()
    if not sound or not all(isinstance(data[key], types) for key, types in wanted.items()):
        raise NotOurs("'data' is not what its kind has in a row")
    if (row["other_hash"] is None or row["other_path"] is None) and row["kind"] == "pair":
        raise NotOurs("'other_hash' is missing in a row")
    try:
        bytes.fromhex(data.get("origin") or "")
    except ValueError as error:
        raise NotOurs("'data' names no path in a row") from error


def _check_turn(row: Row) -> None:
    if not isinstance(row["plan"], dict):
        raise NotOurs("'plan' is no object in a row")


CHECKS = {"images": _check_image, "said": _check_said, "turns": _check_turn}

ID = Column("id", "int", least=1)
IMAGE = Column("image_id", "int", least=1)
PATH = Column("path", "bytes", most=1 << 16, least=1)
CONTENT = Column("content_hash", "bytes", most=64, least=1)
SIGNED = -MOST_NUMBER

TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        Table("roots", (PATH, Column("added_at", "float")), "id"),
        Table(
            "encoders",
            (
                ID,
                Column("key", "text", most=255, least=1),
                Column("spec", "text", least=1),
                Column("dim", "int", least=1),
                Column("state", "text", most=16),
                Column("active", "bool"),
            ),
            "id",
        ),
        Table(
            "images",
            (
                ID,
                PATH,
                Column("size", "int"),
                Column("mtime_ns", "int", least=SIGNED),
                CONTENT,
                Column("missing_at", "float", null=True),
                Column("indexed_at", "float"),
                Column("format", "text", most=64),
                Column("width", "int"),
                Column("height", "int"),
                Column("taken_at", "text", null=True, most=64),
                Column("taken_offset", "int", null=True, least=SIGNED),
                Column("taken_source", "text", null=True, most=64),
                Column("camera_make", "text", null=True),
                Column("camera_model", "text", null=True),
                Column("lens", "text", null=True),
                Column("latitude", "float", null=True),
                Column("longitude", "float", null=True),
                Column("altitude", "float", null=True),
                Column("title", "text", null=True),
                Column("description", "text", null=True),
                Column("keywords", "json"),
                Column("phash", "bytes", null=True, most=1 << 10),
                Column("ocr", "text", null=True),
            ),
            "id",
        ),
        Table(
            "failures",
            (
                PATH,
                Column("size", "int"),
                Column("mtime_ns", "int", least=SIGNED),
                Column("reason", "text", most=32),
                Column("detail", "text"),
                Column("failed_at", "float"),
            ),
            "path",
        ),
        Table(
            "texts",
            (
                ID,
                Column("text", "text"),
                Column("source", "text", most=32),
                Column("image_id", "int", null=True, least=1),
                Column("added_at", "float"),
                Column("name", "text", null=True),
                Column("origin", "bytes", null=True, most=1 << 16),
                Column("stamp", "text", null=True),
            ),
            "id",
        ),
        Table(
            "descriptions",
            (
                IMAGE,
                Column("style", "text", most=16),
                Column("captioner", "text", most=255),
                Column("seen", "bool"),
                Column("text", "text", null=True),
                Column("offered", "int"),
                Column("kept", "int"),
                Column("made_at", "float"),
            ),
            "image_id, style",
        ),
        Table(
            "vocabulary",
            (
                Column("tag", "text", most=255, least=1),
                Column("prompt", "text"),
                Column("added_at", "float"),
            ),
            "tag",
        ),
        Table(
            "image_tags",
            (
                IMAGE,
                Column("tag", "text", most=255, least=1),
                Column("confidence", "float"),
                Column("kept", "bool"),
                Column("source", "text", most=16),
                Column("encoder_id", "int", null=True, least=1),
            ),
            "image_id, tag",
        ),
        Table(
            "not_duplicates",
            (
                Column("first_id", "int", least=1),
                Column("second_id", "int", least=1),
                Column("said_at", "float"),
            ),
            "first_id, second_id",
        ),
        Table(
            "concepts",
            (ID, Column("name", "text", most=255, least=1), Column("created_at", "float")),
            "id",
        ),
        Table(
            "concept_examples",
            (
                Column("concept_id", "int", least=1),
                PATH,
                CONTENT,
                Column("good", "bool"),
                Column("encoder_id", "int", null=True, least=1),
                Column("vector", "bytes", null=True, most=1 << 20),
                Column("added_at", "float"),
            ),
            "id",
        ),
        Table(
            "feedback",
            (
                Column("query", "text", least=1),
                CONTENT,
                PATH,
                Column("good", "bool"),
                Column("said_at", "float"),
            ),
            "id",
        ),
        Table(
            "said",
            (
                Column("kind", "text", most=16),
                CONTENT,
                PATH,
                Column("other_hash", "bytes", null=True, most=64, least=1),
                Column("other_path", "bytes", null=True, most=1 << 16, least=1),
                Column("data", "json"),
            ),
            "id",
        ),
        Table(
            "turns",
            (
                ID,
                Column("asked_at", "float"),
                Column("question", "text"),
                Column("answer", "text"),
                Column("plan", "json"),
            ),
            "id",
        ),
    )
}
"""In an order in which each names only rows of those before it."""


@dataclass(frozen=True, slots=True)
class Vectors:
    """What models made of pictures, or of texts: an array a model, and a table of whose each row is."""

    of: str
    table: str
    owner: str
    aux: bool

    def columns(self) -> tuple[Column, ...]:
        owner = Column(self.owner, "int", least=1)
        return (owner, Column("aux", "bytes")) if self.aux else (owner,)

    def select(self) -> str:
        names = ", ".join((self.owner, "vector", *(["aux"] if self.aux else []), "checksum"))
        return f"SELECT {names} FROM {self.table} WHERE encoder_id = :e ORDER BY {self.owner}"

    def name(self, encoder_id: int) -> str:
        return f"{self.table.replace('_', '-')}-{encoder_id}"


VECTORS = {
    "images": Vectors("images", "embeddings", "image_id", aux=True),
    "texts": Vectors("texts", "text_embeddings", "text_id", aux=False),
}
