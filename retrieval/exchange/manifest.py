"""The list of what belongs to an export, with a checksum for each file."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from retrieval.errors import CatalogError
from retrieval.exchange.tables import TABLES, VECTORS, NotOurs

NAME = "manifest.json"
FORMAT = "picture-search-export"
VERSION = 1
MOST_BYTES = 1 << 20
MOST_MODELS = 64
MOST_DIM = 1 << 16
BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Entry:
    """A file: its size, its SHA-256 in hexadecimal, and how many rows it has."""

    bytes: int
    sha256: str
    rows: int


@dataclass(frozen=True, slots=True)
class Model:
    """The vectors of one model: `<name>.npy`, and `<name>.parquet` that says whose each of its rows is."""

    encoder_id: int
    encoder: str
    of: str
    name: str
    dim: int
    rows: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an export is made of."""

    schema: str
    made_at: str
    program: str
    files: dict[str, Entry]
    vectors: tuple[Model, ...]

    def write(self, folder: Path) -> None:
        text = {"format": FORMAT, "version": VERSION, **asdict(self)}
        with open(folder / NAME, "w", encoding="utf-8") as file:
            json.dump(text, file, indent=1, ensure_ascii=False)
            file.write("\n")

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """The manifest of a folder; all that it says is of the right kind."""
        with opened(folder, NAME) as (file, size):
            if size > MOST_BYTES:
                raise refused(folder, NAME, "is too long")
            raw = file.read(MOST_BYTES + 1)
        try:
            found = json.loads(raw)
            if not isinstance(found, dict) or found.get("format") != FORMAT:
                raise NotOurs("is not that of an export")
            if found["version"] != VERSION:
                raise NotOurs(
                    f"is of version {int(found['version'])}, and this program knows {VERSION}. "
                    "Upgrade it: pip install -U picture-search"
                )
            return cls._of(found)
        except NotOurs as error:
            raise refused(folder, NAME, str(error)) from error
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise refused(folder, NAME, "is not that of an export") from error

    @classmethod
    def _of(cls, found: dict[str, Any]) -> Manifest:
        files = {str(name): Entry(**entry) for name, entry in found["files"].items()}
        vectors = tuple(Model(**one) for one in found["vectors"])
        if len(vectors) > MOST_MODELS:
            raise NotOurs("names too many models")
        wanted = {f"{name}.parquet" for name in TABLES}
        for model in vectors:
            numbers = (model.encoder_id, model.dim, model.rows)
            if not all(type(number) is int and 0 <= number < 1 << 62 for number in numbers):
                raise NotOurs("holds what is no number")
            if model.of not in VECTORS or not 0 < model.dim <= MOST_DIM or not isinstance(model.encoder, str):
                raise NotOurs("names vectors that there cannot be")
            if model.name != VECTORS[model.of].name(model.encoder_id):
                raise NotOurs("names a file that is not that of a model")
            wanted |= {f"{model.name}.npy", f"{model.name}.parquet"}
        if set(files) != wanted or len(wanted) != len(TABLES) + 2 * len(vectors):
            raise NotOurs("does not name the files of an export")
        for entry in files.values():
            if not all(type(number) is int and 0 <= number < 1 << 62 for number in (entry.bytes, entry.rows)):
                raise NotOurs("holds what is no number")
            if not isinstance(entry.sha256, str) or not re.fullmatch("[0-9a-f]{64}", entry.sha256):
                raise NotOurs("holds what is no checksum")
        for model in vectors:
            if {files[f"{model.name}.{end}"].rows for end in ("npy", "parquet")} != {model.rows}:
                raise NotOurs("counts the vectors of a model in two ways")
        texts = (str(found["schema"]), str(found["made_at"]), str(found["program"]))
        return cls(*texts, files=files, vectors=vectors)


def entry_of(path: Path, rows: int) -> Entry:
    """What there is to say of a file that was written."""
    with open(path, "rb") as file:
        return Entry(path.stat().st_size, _digest(file), rows)


def verified(file: BinaryIO, size: int, entry: Entry, folder: Path, name: str) -> None:
    """Hold a file against what the manifest says of it, to its last byte."""
    if size != entry.bytes or _digest(file) != entry.sha256:
        raise refused(folder, name, "does not agree with its checksum")
    file.seek(0)


@contextlib.contextmanager
def opened(folder: Path, name: str) -> Iterator[tuple[BinaryIO, int]]:
    """A file of an export, and its size: a regular file in that very folder, and nothing else."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    flags |= getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(folder / name, flags)
    except FileNotFoundError as error:
        raise refused(folder, name, "is not there") from error
    except OSError as error:
        raise refused(folder, name, f"cannot be read: {error.strerror or error}") from error
    with open(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or (folder / name).is_symlink():
            raise refused(folder, name, "is no regular file")
        yield file, found.st_size


def refused(folder: Path, name: str, why: str) -> CatalogError:
    return CatalogError(
        f"{folder / name} {why.rstrip('.')}. Nothing was imported. Name a folder that search export has made."
    )


def _digest(file: BinaryIO) -> str:
    digest = hashlib.sha256()
    file.seek(0)
    while part := file.read(BLOCK):
        digest.update(part)
    return digest.hexdigest()
