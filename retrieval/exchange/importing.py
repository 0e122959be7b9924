"""Taking an export into a catalog: looked through to its last row before anything is changed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from retrieval.config import Location
from retrieval.db import reads
from retrieval.db.reader import REVISIONS
from retrieval.errors import CatalogError
from retrieval.exchange.manifest import Manifest, Model, opened, refused, verified
from retrieval.exchange.tables import TABLES, VECTORS, NotOurs, Row

LINKS = {
    "texts": {"image_id": "images"},
    "descriptions": {"image_id": "images"},
    "image_tags": {"image_id": "images", "encoder_id": "encoders"},
    "not_duplicates": {"first_id": "images", "second_id": "images"},
    "concept_examples": {"concept_id": "concepts", "encoder_id": "encoders"},
}
"""Columns that name a row of another table."""
NAMED = ("images", "texts", "encoders", "concepts")
"""Tables whose rows others name."""


@dataclass(frozen=True, slots=True)
class Imported:
    """What came into a catalog; what was there already is not counted."""

    catalog: str
    added: dict[str, int]
    known: int
    """Pictures that the catalog had already, by their content or their place."""
    waiting: int
    """Pictures that no query finds yet: the model in use here has not seen them."""

    def as_dict(self) -> dict[str, Any]:
        return {
            "catalog": self.catalog,
            "known": self.known,
            "waiting": self.waiting,
            "added": self.added,
        }


def import_catalog(
    folder: str | os.PathLike[str], catalog: str | os.PathLike[str] | Location | None = None
) -> Imported:
    """Bring an export into a catalog, which is made if it is not there: all of it, or nothing.

    In an empty catalog it becomes what was exported, ids too. In another, what is there stays: a
    picture is known again by its content, or by its place, what a person said of it is added,
    and nothing is replaced. The same export twice changes nothing.
    """
    from retrieval.db.merging import merge
    from retrieval.db.queries import Writer
    from retrieval.db.reader import holds_something, open_reader
    from retrieval.errors import CatalogNotFound, SchemaOutdated

    location, source = Location.parse(catalog), Path(os.path.abspath(os.path.expanduser(folder)))
    with Export.opened(source) as export:
        export.check()
        try:
            open_reader(location).close()
        except CatalogNotFound:
            if holds_something(location):
                raise
        except SchemaOutdated:
            pass  # the writer brings it up
        with Writer(location) as writer:
            try:
                added, known = merge(writer, export)
            except CatalogError as error:
                if type(getattr(error.__cause__, "orig", error.__cause__)).__name__ != "IntegrityError":
                    raise
                raise refused(source, "", "holds rows that cannot be in one catalog") from error
    with contextlib.closing(open_reader(location)) as reader:
        active = reads.active_encoder(reader)
        waiting = 0 if active is None else reads.count_unembedded(reader, active.id)
    return Imported(location.name, added, known, waiting)


class Export:
    """The files of an export, opened and found as its manifest says."""

    def __init__(self, folder: Path, manifest: Manifest, files: dict[str, BinaryIO]) -> None:
        self._folder = folder
        self._manifest = manifest
        self._files = files

    @classmethod
    @contextlib.contextmanager
    def opened(cls, folder: Path) -> Iterator[Export]:
        if not folder.is_dir():
            raise CatalogError(f"There is no folder {folder}. Name one that search export has made.")
        manifest = Manifest.read(folder)
        if manifest.schema not in REVISIONS:
            raise refused(
                folder, "", f"was made by a newer version (schema {manifest.schema}): upgrade this program"
            )
        with contextlib.ExitStack() as stack:
            files = {}
            for name, entry in manifest.files.items():
                file, size = stack.enter_context(opened(folder, name))
                verified(file, size, entry, folder, name)
                files[name] = file
            yield cls(folder, manifest, files)

    def check(self) -> None:
        """Look at every row and every vector, and whether those that they name are there."""
        ids: dict[str, set[int]] = {name: set() for name in NAMED}
        dims: dict[int, int] = {}
        keys: dict[int, str] = {}
        for name in TABLES:
            links = LINKS.get(name, {})
            for row in self.rows(name):
                for column, other in links.items():
                    if row[column] is not None and row[column] not in ids[other]:
                        raise self._refused(name, f"names a row of {other} that is not there")
                if name in ids:
                    if row["id"] in ids[name]:
                        raise self._refused(name, "has an id twice")
                    ids[name].add(row["id"])
                if name == "encoders":
                    dims[row["id"]], keys[row["id"]] = row["dim"], row["key"]
                vector, model = row.get("vector"), row.get("encoder_id")
                # One whose model was given up is left behind.
                if vector is not None and model is not None and len(vector) != 2 * dims.get(model, 0):
                    raise self._refused(name, "has a vector of another length than its model's")
        for model in self._manifest.vectors:
            if (dims.get(model.encoder_id), keys.get(model.encoder_id)) != (model.dim, model.encoder):
                raise refused(self._folder, f"{model.name}.npy", "is of a model that is not there")
            seen: set[int] = set()
            widths: set[int] = set()
            for owner, _, aux in self._vectors(model):
                widths.add(len(aux))
                if owner in seen or owner not in ids[model.of] or len(widths) > 1:
                    raise refused(self._folder, f"{model.name}.parquet", "does not fit what it belongs to")
                seen.add(owner)

    def rows(self, name: str) -> Iterator[Row]:
        """The rows of a table, each of which could be one of ours."""
        from retrieval.exchange.parquet import Reading

        table, file = TABLES[name], f"{name}.parquet"
        entry = self._manifest.files[file]
        try:
            reading = Reading(self._files[file], table.columns, size=entry.bytes)
            if reading.rows != entry.rows:
                raise NotOurs("has other rows than the manifest says")
            for row in reading:
                yield table.checked(row)
        except NotOurs as error:
            raise self._refused(name, str(error)) from error

    def vectors(self, of: str) -> Iterator[tuple[int, Iterator[tuple[int, bytes, bytes]]]]:
        """By model, whose vectors there are."""
        for model in self._manifest.vectors:
            if model.of == of:
                yield model.encoder_id, self._vectors(model)

    def _vectors(self, model: Model) -> Iterator[tuple[int, bytes, bytes]]:
        from retrieval.exchange import arrays
        from retrieval.exchange.parquet import Reading

        kind = VECTORS[model.of]
        names = {end: f"{model.name}.{end}" for end in ("parquet", "npy")}
        entries = {end: self._manifest.files[name] for end, name in names.items()}
        end = "parquet"
        try:
            columns = kind.columns()
            owners = Reading(self._files[names[end]], columns, size=entries[end].bytes)
            if owners.rows != model.rows:
                raise NotOurs("has other rows than the manifest says")
            end = "npy"
            size = entries[end].bytes
            vectors = arrays.read(self._files[names[end]], count=model.rows, dim=model.dim, size=size)
            # Both have so many rows: the one was counted, the other is as long as that.
            for row, vector in zip(owners, vectors, strict=True):
                found = {column.name: column.checked(row[column.name]) for column in columns}
                yield found[kind.owner], vector, found.get("aux", b"")
        except (NotOurs, ValueError) as error:
            why = str(error) if isinstance(error, NotOurs) else "does not have the rows that it says"
            raise refused(self._folder, names[end], why) from error

    def _refused(self, name: str, why: str) -> CatalogError:
        return refused(self._folder, f"{name}.parquet", why)
