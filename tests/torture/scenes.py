"""What is going on when a fault comes: jobs that write to a catalog, each with what is there before it."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alembic import command

from indexer import index_folder
from retrieval import Catalog, registry
from retrieval.config import Location
from retrieval.db import migrate
from retrieval.db.engine import open_engine
from retrieval.describing.alt import write_alt_texts
from retrieval.encoders.toy import ToyEncoder
from retrieval.errors import RetrievalError
from tests.conftest import draw
from tests.torture.ground import COLOURS, Ground, compare
from tests.torture.outcomes import Outcome

PICTURES = 150
OLDEST = "0001"
FORGOTTEN = ("3", "4")
IDENTITIES = {"image_id": "images", "text_id": "texts", "encoder_id": "encoders", "concept_id": "concepts"}
NAMES = {"images": "path", "texts": "text", "encoders": "key", "concepts": "name"}


class OtherToy(ToyEncoder):
    """A second model: the colours of the first, by another name and in another order."""

    id = "toy/colours/2"
    spec = "other-toy"

    def __init__(self, spec: str = "other-toy") -> None:
        assert spec == "other-toy"

    def encode_prepared(self, batch: Any) -> Any:
        encoded = super().encode_prepared(batch)
        encoded.vectors[:] = encoded.vectors[:, ::-1]
        return encoded

    def encode_texts(self, texts: Any) -> Any:
        return super().encode_texts(texts)[:, ::-1].copy()


registry.ENCODERS["other-toy"] = "tests.torture.scenes:OtherToy"


@dataclass(frozen=True, slots=True)
class Scene:
    """A job: `prepare` makes what is there before, `act` is the job, and can be done again.

    `share` is how much of all kills comes while it is done.
    """

    name: str
    share: float
    prepare: Callable[[Ground, Path, Path], None]
    act: Callable[[Path, Path], Any]
    needs_catalog: bool = True
    resting: tuple[str, ...] = ()
    """What may be of a picture as it was, and not as it is, when the next run has ended."""


def _nothing(ground: Ground, _catalog: Path, photos: Path) -> None:
    ground.photos(PICTURES, photos.name)


def _index(catalog: Path, photos: Path) -> Any:
    index_folder(catalog, photos, model="toy", workers=1)


def _changed(ground: Ground, catalog: Path, photos: Path) -> None:
    """An indexed library, in which files have changed, moved, come and gone since, also texts."""
    _indexed(ground, catalog, photos)
    for number in range(40):
        folder, name = photos / f"{number % 7}", f"{number:04}.png"
        if number % 4 == 0:
            draw(folder / name, COLOURS[(number + 1) % len(COLOURS)], mark=number, size=(80, 60))
        elif number % 4 == 1:
            target = photos / "moved" / name
            target.parent.mkdir(exist_ok=True)
            (folder / name).rename(target)
        elif number % 4 == 2:
            (folder / name).unlink()
        else:
            (folder / f"{name}.txt").write_text(f"a {COLOURS[number % 5]} thing, number {number}\n")
        draw(photos / "new" / name, COLOURS[number % 5], mark=200 + number % 56)
    shutil.copyfile(photos / "new" / "0001.png", photos / "copies" / "again.png")
    (photos / "6" / "told.txt").unlink()


def _indexed(ground: Ground, catalog: Path, photos: Path) -> None:
    ground.photos(PICTURES, photos.name)
    draw(photos / "6" / "told.png", "red", mark=77)
    (photos / "6" / "told.txt").write_text("what a sidecar says\n")
    ground.index(catalog, photos)


def _told(ground: Ground, catalog: Path, photos: Path) -> None:
    """A library of which much has been said."""
    _indexed(ground, catalog, photos)
    _tell(catalog, photos)
    (photos / "5" / "0005.png").unlink()
    ground.index(catalog, photos)


def _forget(catalog: Path, photos: Path) -> None:
    with Catalog(catalog) as opened:
        for name in FORGOTTEN:
            opened.forget(photos / name)
        opened.gc(encoders=True)


def _switch(catalog: Path, photos: Path) -> None:
    index_folder(catalog, photos, model="other-toy", workers=1)


def _old(ground: Ground, catalog: Path, photos: Path) -> None:
    """The library as the first version of the program had it."""
    _indexed(ground, catalog, photos)
    new, old = catalog / "catalog.db", catalog / "old.db"
    engine = open_engine(Location(str(catalog), None, catalog, old))
    config = migrate._config()
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, OLDEST)
    engine.dispose()
    with closing(sqlite3.connect(old, isolation_level=None)) as connection:
        connection.execute("PRAGMA foreign_keys=OFF")
        connection.execute("ATTACH ? AS new", (str(new),))
        for table in ("roots", "encoders", "images", "failures", "embeddings"):
            columns = [row[1] for row in connection.execute(f"PRAGMA main.table_info({table})")]
            listed = ", ".join(f'"{column}"' for column in columns)
            connection.execute(f"INSERT INTO main.{table} ({listed}) SELECT {listed} FROM new.{table}")
        connection.execute("DETACH new")
    old.replace(new)
    for left in catalog.iterdir():
        if left != new:
            shutil.rmtree(left) if left.is_dir() else left.unlink()


def _upgrade(catalog: Path, photos: Path) -> None:
    with Catalog(catalog):
        pass
    index_folder(catalog, photos, workers=1)


def _rebuild(catalog: Path, _photos: Path) -> None:
    for kind in ("faiss", "flat"):
        with Catalog(catalog) as opened:
            opened.rebuild(store=kind)
        with Catalog(catalog) as opened:
            opened.search("red")


def _tell(catalog: Path, photos: Path) -> None:
    """What people say of pictures, by every way there is to say it."""
    with Catalog(catalog) as opened:
        there = [photos / "0" / "0000.png", photos / "1" / "0001.png", photos / "2" / "0002.png"]
        opened.texts.add([f"a thing that is {colour}, as told" for colour in COLOURS])
        opened.texts.add([{"text": "the very first of all", "image": str(there[0])}])
        for colour in ("red", "green"):
            opened.tags.add(colour)
        opened.tags.update()
        opened.tags.set(there[1], "blue")
        if not opened.feedback.list("red"):
            opened.feedback.add("red", good=[there[0]], bad=[there[1]])
        opened.concepts.add("first", good=[there[0]], bad=[there[2]])
        opened.not_duplicates(there)
        opened.describe_library(captioner="describer")


def _alt(catalog: Path, photos: Path) -> None:
    """Alt texts into lists, and into people's own files or beside them."""
    index_folder(catalog, photos, workers=1)
    with Catalog(catalog) as opened:
        opened.describe_library(captioner="describer", style="alt")
        here = [
            one for one in opened.descriptions(style="alt") if one.path and one.path.parent == photos / "2"
        ]
        write_alt_texts(here, [photos / "alt.json", "xmp"])
        into = [
            one for one in opened.descriptions(style="alt") if one.path and one.path.parent == photos / "1"
        ]
        write_alt_texts(into, photos / "alt.csv", write=True, catalog=opened)


INDEX = Scene("index", 0.36, _nothing, _index, needs_catalog=False)
CHANGE = Scene("change", 0.2, _changed, _index)
SWITCH = Scene("switch", 0.14, _indexed, _switch)
FORGET = Scene("forget", 0.1, _told, _forget)
UPGRADE = Scene("upgrade", 0.08, _old, _upgrade)
REBUILD = Scene("rebuild", 0.06, _indexed, _rebuild)
TELL = Scene("tell", 0.06, _indexed, _tell)
ALT = Scene("alt", 0.0, _told, _alt, resting=("feedback", "concept_examples", "image_tags", "descriptions"))
SCENES = (INDEX, CHANGE, SWITCH, FORGET, UPGRADE, REBUILD, TELL)


def facts(catalog: Path) -> dict[str, list[tuple[Any, ...]]]:
    """All that a catalog says, without its own numbers for things and the times when they were written."""
    with closing(sqlite3.connect(f"file:{catalog / 'catalog.db'}?mode=ro", uri=True)) as connection:
        tables = connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'image_fts%' "
            "AND name NOT LIKE 'sqlite%' AND sql NOT LIKE 'CREATE VIRTUAL%' ORDER BY name"
        ).fetchall()
        names: dict[str, dict[int, Any]] = {
            table: dict(connection.execute(f'SELECT id, "{name}" FROM {table}').fetchall())
            for table, name in NAMES.items()
        }
        found: dict[str, list[tuple[Any, ...]]] = {}
        for (table,) in tables:
            columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
            rows = [
                tuple(
                    _named(names, column, value)
                    for column, value in zip(columns, row, strict=True)
                    if not _volatile(column)
                )
                for row in connection.execute(f"SELECT * FROM {table}")
            ]
            found[table] = sorted(rows, key=repr)
        return found


def _volatile(column: str) -> bool:
    return column in ("id", "offered") or column.endswith(("_at", "generation", "epoch"))


def _named(names: dict[str, dict[int, Any]], column: str, value: Any) -> Any:
    if column in ("first_id", "second_id"):
        column = "image_id"
    table = IDENTITIES.get(column)
    return names[table].get(value, ("gone", value)) if table and value is not None else value


def copy(source: Path, target: Path) -> None:
    """A folder as another one is, in the place of what is there."""
    if target.is_dir():
        shutil.rmtree(target)
    if source.is_dir():
        shutil.copytree(source, target, symlinks=True)
    else:
        os.makedirs(target.parent, exist_ok=True)


def same_end(outcome: Outcome, catalog: Path, calm: Path, said: dict[str, Any], *, when: str) -> None:
    """Hold what a run left against what the undisturbed one did."""
    try:
        compare(outcome, catalog, calm, when=when)
        found = facts(catalog)
    except (RetrievalError, sqlite3.Error) as error:
        outcome.wrong.append(f"{when}: what the next run left cannot be read: {error}")
        return
    differing = [table for table, rows in said.items() if found.get(table) != rows]
    if differing:
        outcome.wrong.append(f"{when}: the next run left other rows in {', '.join(differing)}")
