"""Writing all of a catalog into files that other programs can read."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from retrieval.config import Location
from retrieval.db import reads
from retrieval.db.copies import OLD_SECONDS, NameTaken, writing_to
from retrieval.db.reader import HEAD, open_reader
from retrieval.errors import CatalogError, SchemaOutdated
from retrieval.exchange.manifest import Entry, Manifest, Model, entry_of
from retrieval.exchange.tables import TABLES, VECTORS, Column, Vectors
from retrieval.flushing import flush_file, flush_folder
from retrieval.types import checksum

if TYPE_CHECKING:
    from retrieval.db.reader import Reader
    from retrieval.db.reads import EncoderInfo

PART = ".search-export-"


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written, and where."""

    folder: str
    rows: dict[str, int]
    bytes: int

    def as_dict(self) -> dict[str, Any]:
        return {"folder": self.folder, "bytes": self.bytes, "rows": self.rows}


def export_catalog(
    folder: str | os.PathLike[str], catalog: str | os.PathLike[str] | Location | None = None
) -> Exported:
    """Write a catalog as of one moment into a new folder; `docs/backup.md` describes its files.

    Everything is in it that a person has said, the latest conversation too. The folder is there,
    and whole, when this returns, and not there at all where it does not.
    """
    location, target = Location.parse(catalog), Path(os.path.abspath(os.path.expanduser(folder)))
    if not target.parent.is_dir():
        missing = str(target.parent)
        raise CatalogError(f"There is no folder {missing}. Make it: mkdir -p {quote(missing)}")
    with contextlib.closing(_reader(location)) as reader, writing_to(target):
        if os.path.lexists(target) and (not target.is_dir() or any(target.iterdir())):
            raise NameTaken(f"{target} is there already, and is not replaced. Name another folder.")
        _sweep(target.parent)
        part = Path(tempfile.mkdtemp(prefix=PART, dir=target.parent))
        try:
            with reader.snapshot():
                manifest = _write(reader, part)
            for name in (*manifest.files, "manifest.json"):
                flush_file(part / name)
            flush_folder(part)
            os.rename(part, target)
            flush_folder(target.parent)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    rows = {name.rpartition(".")[0]: entry.rows for name, entry in manifest.files.items()}
    return Exported(str(target), rows, sum(entry.bytes for entry in manifest.files.values()))


def _reader(location: Location) -> Reader:
    try:
        return open_reader(location)
    except SchemaOutdated:
        from retrieval.db.upgrading import upgrade_catalog

        upgrade_catalog(location)
        return open_reader(location)


def _write(reader: Reader, part: Path) -> Manifest:
    from importlib.metadata import version

    from retrieval.exchange import parquet

    files: dict[str, Entry] = {}

    def put(name: str, rows: int) -> None:
        files[name] = entry_of(part / name, rows)

    for table in TABLES.values():
        name = f"{table.name}.parquet"
        put(name, parquet.write(part / name, table.columns, table.exported(reader.stream(table.select()))))
    models = []
    for of, kind in VECTORS.items():
        for info in reads.encoders(reader):
            rows = int(
                reader.rows(f"SELECT COUNT(*) FROM {kind.table} WHERE encoder_id = :e", e=info.id)[0][0]
            )
            if rows:
                models.append(Model(info.id, info.key, of, kind.name(info.id), info.dim, rows))
                _write_vectors(reader, part, kind, info, rows)
                put(f"{kind.name(info.id)}.npy", rows)
                put(f"{kind.name(info.id)}.parquet", rows)
    made_at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    manifest = Manifest(HEAD, made_at, version("picture-search"), files, tuple(models))
    manifest.write(part)
    return manifest


def _write_vectors(reader: Reader, part: Path, kind: Vectors, info: EncoderInfo, rows: int) -> None:
    from retrieval.exchange import arrays, parquet

    def sound() -> Iterator[tuple[int, bytes, bytes]]:
        for owner, vector, *aux, stored in reader.stream(kind.select(), e=info.id):
            extra = bytes(aux[0]) if aux else b""
            if len(vector) != 2 * info.dim or checksum(bytes(vector), extra) != stored:
                raise CatalogError(
                    "The catalog holds vectors that are damaged, and nothing was exported. "
                    "Mend them: search doctor --fix"
                )
            yield int(owner), bytes(vector), extra

    name = part / kind.name(info.id)
    arrays.write(name.with_name(f"{name.name}.npy"), rows, info.dim, (vector for _, vector, _ in sound()))
    columns: tuple[Column, ...] = kind.columns()
    parquet.write(
        name.with_name(f"{name.name}.parquet"),
        columns,
        ({kind.owner: owner, **({"aux": aux} if kind.aux else {})} for owner, _, aux in sound()),
    )


def _sweep(folder: Path) -> None:
    """Remove what exports left that were killed long ago."""
    for left in folder.glob(f"{PART}*"):
        with contextlib.suppress(FileNotFoundError):  # it has its name by now, or was swept away
            found = left.lstat()
            if stat.S_ISDIR(found.st_mode) and time.time() - found.st_mtime > OLD_SECONDS:
                shutil.rmtree(left, ignore_errors=True)
