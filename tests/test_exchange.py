"""Export and import: the same catalog again, what is there stays, and nothing gets in that is not ours."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from click.testing import Result
from pyarrow import parquet

from indexer import index_folder
from retrieval import Catalog
from retrieval.config import Location
from retrieval.db.queries import Writer
from retrieval.db.schema import Base
from retrieval.doctor import examine
from retrieval.errors import CatalogError, CatalogUnwritable, EncoderMismatch
from retrieval.exchange import export_catalog, exporting, import_catalog
from retrieval.exchange.tables import TABLES, VECTORS
from tests.conftest import ROOT, draw, json_lines

Search = Callable[..., Result]

OWN = {
    "encoders": ("generation", "epoch", "created_at", "text_generation", "text_epoch"),
    "embeddings": ("generation",),
    "text_embeddings": ("generation",),
    **dict.fromkeys(("roots", "concepts", "concept_examples", "feedback", "said"), ("id",)),
}
"""Columns that a catalog gives by itself: numbers of its caches, and ids that nothing remembers."""


def content(catalog: Path) -> dict[str, list[tuple[Any, ...]]]:
    """All that a catalog holds, but what each gives by itself."""
    with contextlib.closing(sqlite3.connect(catalog / "catalog.db")) as connection:
        found = {}
        for table in Base.metadata.sorted_tables:
            names = [c.name for c in table.columns if c.name not in OWN.get(table.name, ())]
            rows = connection.execute(f"SELECT {', '.join(names)} FROM {table.name}").fetchall()
            found[table.name] = sorted(map(_comparable, rows), key=repr)
        return found


def _comparable(row: tuple[Any, ...]) -> tuple[Any, ...]:
    def plain(value: Any) -> Any:
        try:
            return json.dumps(json.loads(value), sort_keys=True) if isinstance(value, str) else value
        except ValueError:
            return value

    return tuple(map(plain, row))


def everything(catalog: Path) -> bytes:
    return "\n".join(_lines(catalog)).encode("utf-8", "surrogateescape")


def _lines(catalog: Path) -> list[str]:
    with contextlib.closing(sqlite3.connect(catalog / "catalog.db")) as connection:
        return list(connection.iterdump())


def found(catalog: Path, query: str = "red") -> list[tuple[str, float, int]]:
    with Catalog(catalog) as opened:
        return [
            (str(hit.path), hit.score, hit.image_id) for hit in opened.search(query, cutoff=False, limit=10)
        ]


def rich_catalog(folder: Path) -> Path:
    """A catalog with all that it can hold: hidden, failed and copied files, odd names, what a person said."""
    catalog, photos = folder / "catalog", folder / "photos"
    for name in ("red", "green", "blue", "yellow"):
        draw(photos / f"{name}.png", name)
    draw(photos / "trip" / "red-again.jpg", "red", mark=3, quality=90)
    shutil.copyfile(photos / "red.png", os.path.join(os.fsencode(photos), b"caf\xe9 \n.png"))
    (photos / "broken.jpg").write_bytes(b"no picture")
    (photos / "blue.txt").write_text("a blue lake")
    draw(photos / "gone.png", "black")
    draw(photos / "forgotten.png", "white", mark=5)
    index_folder(catalog, photos, model="toy", workers=1)
    (photos / "gone.png").unlink()
    index_folder(catalog, photos, model="toy", workers=1)
    with Catalog(catalog) as opened:
        opened.texts.add(["a green field", "ein zweiter Satz: ‘schön’"])
        opened.tags.add("boat")
        opened.tags.update()
        opened.tags.set(photos / "red.png", "boat")
        opened.tags.unset(photos / "blue.png", "sky")
        opened.tags.set(photos / "forgotten.png", "mine")
        opened.concepts.add("rex", good=[photos / "red.png"], bad=[photos / "blue.png"])
        opened.feedback.add("something red", good=[photos / "red.png"], bad=[photos / "green.png"])
        opened.not_duplicates([photos / "red.png", photos / "trip" / "red-again.jpg"])
        opened.forget(photos / "forgotten.png")
        opened.describe_library(captioner="describer")
        opened.ask("How many pictures are there?", answerer="rules", keep=True)
    return catalog


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rich")
    export_catalog(folder / "export", rich_catalog(folder))
    return folder


@pytest.fixture
def rich(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made / "catalog", tmp_path / "catalog")
    return tmp_path / "catalog"


@pytest.fixture
def export(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made / "export", tmp_path / "export")
    return tmp_path / "export"


def resealed(folder: Path, name: str, *, rows: int | None = None) -> None:
    """Make the manifest agree with a file again, as somebody hostile would."""
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    data = (folder / name).read_bytes()
    entry = manifest["files"][name]
    entry |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    entry |= {} if rows is None else {"rows": rows}
    (folder / "manifest.json").write_text(json.dumps(manifest), "utf-8")


def changed(folder: Path, name: str, change: Callable[[list[dict[str, Any]]], Any], **options: Any) -> None:
    """Rewrite a table of an export, with rows that are not ours; the manifest agrees with it."""
    path = folder / f"{name}.parquet"
    schema, rows = parquet.read_schema(path), parquet.read_table(path).to_pylist()
    schema = change(rows) or pa.schema([field.with_nullable(True) for field in schema])
    options = {"compression": "NONE", "use_dictionary": False, **options}
    parquet.write_table(pa.Table.from_pylist(rows, schema=schema), path, **options)
    resealed(folder, f"{name}.parquet", rows=len(rows))


def test_round_trip_gives_the_same_catalog(rich: Path, export: Path, tmp_path: Path) -> None:
    import_catalog(export, tmp_path / "again")
    mine, theirs = content(rich), content(tmp_path / "again")
    for name in mine:
        assert theirs[name] == mine[name], name
    assert all(mine[name] for name in TABLES), "the catalog has a row of everything"
    for query in ("red", "blue - red", "@rex", "a green field"):
        assert found(tmp_path / "again", query) == found(rich, query)
    assert examine(tmp_path / "again") == []
    export_catalog(tmp_path / "twice", tmp_path / "again")
    for name in [f"{table}.parquet" for table in TABLES]:
        if name not in ("encoders.parquet",):
            assert (tmp_path / "twice" / name).read_bytes() == (export / name).read_bytes(), name


def test_commands_say_what_went_and_came(rich: Path, tmp_path: Path, search: Search) -> None:
    said = search("export", tmp_path / "e", "--catalog", rich, "--json")
    (went,) = json_lines(said.stdout)
    assert went["rows"]["images"] == 7
    assert went["bytes"] == sum(
        one.stat().st_size for one in (tmp_path / "e").iterdir() if one.name != "manifest.json"
    )
    (came,) = json_lines(search("import", tmp_path / "e", "--catalog", tmp_path / "c", "--json").stdout)
    assert (came["added"]["images"], came["known"]) == (7, 0)
    again = search("import", tmp_path / "e", "--catalog", tmp_path / "c")
    assert again.stdout.endswith(": 0 pictures, 0 texts, 0 tags and 0 vectors.\n")
    assert "there already: 7" in again.stderr
    refused = search("export", tmp_path / "e", "--catalog", rich)
    assert (refused.exit_code, "is there already" in refused.stderr) == (1, True)


def test_others_read_an_export_by_its_description(rich: Path, export: Path) -> None:
    images = parquet.read_table(export / "images.parquet").to_pylist()
    (odd,) = [row for row in images if b"\xe9" in row["path"]]
    assert odd["path_text"].endswith("caf\ufffd \n.png")
    vectors = np.load(export / "embeddings-1.npy", allow_pickle=False)
    owners = parquet.read_table(export / "embeddings-1.parquet").column("image_id").to_pylist()
    assert (vectors.dtype, vectors.shape) == (np.dtype("<f2"), (len(owners), 32))
    manifest = json.loads((export / "manifest.json").read_text("utf-8"))
    for name, entry in manifest["files"].items():
        assert hashlib.sha256((export / name).read_bytes()).hexdigest() == entry["sha256"]
    described = (ROOT / "docs" / "backup.md").read_text("utf-8")
    for table in TABLES.values():
        for column in table.columns:
            assert f"`{column.name}`" in described, f"{table.name}.{column.name} is not described"


def test_import_twice_changes_nothing(rich: Path, export: Path, tmp_path: Path) -> None:
    import_catalog(export, tmp_path / "again")
    before = everything(tmp_path / "again")
    done = import_catalog(export, tmp_path / "again")
    assert everything(tmp_path / "again") == before
    assert not any(done.added.values())
    before = everything(rich)
    import_catalog(export, rich)
    assert everything(rich) == before


def test_what_is_there_stays_and_what_was_said_is_merged(tmp_path: Path) -> None:
    """Another person's catalog: a same picture elsewhere, another picture at one of the places."""
    export, photos, mine = tmp_path / "export", tmp_path / "photos", tmp_path / "mine"
    export_catalog(export, rich_catalog(tmp_path))
    draw(mine / "their-red.png", "red")
    draw(mine / "own.png", "yellow", mark=77)
    other = tmp_path / "other"
    shutil.rmtree(photos)
    draw(photos / "green.png", "green", mark=9)
    index_folder(other, [mine, photos], model="toy", workers=1)
    with Catalog(other) as opened:
        opened.feedback.add("something red", bad=[mine / "their-red.png"])
        opened.tags.set(mine / "own.png", "sun")
        opened.concepts.add("rex", [mine / "own.png"])
    before = content(other)
    done = import_catalog(export, other)
    after = content(other)
    for name in ("images", "embeddings", "texts", "feedback", "image_tags", "concept_examples", "failures"):
        assert [row for row in before[name] if row not in after[name]] == [], name
    with Catalog(other) as opened:
        paths = {os.fsencode(hit.path) for hit in opened.search("red", cutoff=False, limit=50)}
        assert len(paths) == len([row for row in after["images"] if row[5] is None])
        # Its content was here already, at another place: it is that picture, and not there twice.
        assert os.fsencode(photos / "red.png") not in paths
        red = mine / "their-red.png"
        assert [tag.tag for tag in opened.tags.of(red).tags] == ["boat"]
        rex = opened.concepts.show("rex")
        assert (rex.good, rex.bad) == (2, 1)
        # On the same answer to the same question the word of who was here counts.
        marks = {Path(os.fsdecode(one.path)).name: one.good for one in opened.feedback.list("something red")}
        assert marks == {"their-red.png": False, "green.png": False}
    assert done.known >= 2
    assert import_catalog(export, other).added.get("images", 0) == 0
    assert content(other)["images"] == after["images"]
    # What was said of the picture whose place another has taken waits until it comes.
    with contextlib.closing(sqlite3.connect(other / "catalog.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_what_was_said_of_a_picture_that_could_not_come_waits_for_it(tmp_path: Path) -> None:
    rich, photos = rich_catalog(tmp_path), tmp_path / "photos"
    with Catalog(rich) as opened:
        opened.tags.set(photos / "green.png", "lawn")
    export_catalog(tmp_path / "e", rich)
    shutil.copyfile(photos / "green.png", tmp_path / "kept.png")
    draw(photos / "green.png", "green", mark=9)
    other = tmp_path / "other"
    index_folder(other, photos, model="toy", workers=1)
    import_catalog(tmp_path / "e", other)
    with Catalog(other) as opened:
        assert [tag.tag for tag in opened.tags.of(photos / "green.png").tags] == []
    shutil.copyfile(tmp_path / "kept.png", photos / "back.png")
    index_folder(other, photos, model="toy", workers=1)
    with Catalog(other) as opened:
        assert [tag.tag for tag in opened.tags.of(photos / "back.png").tags] == ["lawn"]


def test_vectors_of_another_model_stay_apart(made: Path, export: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    index_folder(other, made / "photos", model="toy", workers=1)
    with contextlib.closing(sqlite3.connect(other / "catalog.db")) as connection, connection:
        connection.execute("UPDATE encoders SET key = 'toy/other-weights/1'")
        connection.execute("DELETE FROM embeddings WHERE image_id = 1")
    before = content(other)["embeddings"]
    done = import_catalog(export, other)
    with Catalog(other) as opened:
        unseen = opened.status()
    assert done.waiting == 1, "of what the model in use has not seen, it is told"
    assert unseen.images > len(before)
    with contextlib.closing(sqlite3.connect(other / "catalog.db")) as connection:
        rows = connection.execute("SELECT key, active FROM encoders ORDER BY id").fetchall()
        assert rows == [("toy/other-weights/1", 1), ("toy/colours/1", 0)]
        mine = connection.execute("SELECT COUNT(*) FROM embeddings WHERE encoder_id = 1").fetchone()
    assert mine == (len(before),)
    manifest = json.loads((export / "manifest.json").read_text("utf-8"))
    assert {one["encoder"] for one in manifest["vectors"]} == {"toy/colours/1"}
    with contextlib.closing(sqlite3.connect(other / "catalog.db")) as connection, connection:
        connection.execute("UPDATE encoders SET key = 'toy/was/1' WHERE id = 2")
        connection.execute("UPDATE encoders SET key = 'toy/colours/1', dim = 31 WHERE id = 1")
    before = everything(other)
    with pytest.raises(EncoderMismatch, match="31 numbers here, and 32"):
        import_catalog(export, other)
    assert everything(other) == before


def test_export_that_fails_leaves_nothing(
    rich: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: object) -> None:
        raise OSError(28, "No space left on device")

    where = tmp_path / "where"
    where.mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(exporting, "flush_file", full)
        with pytest.raises(CatalogUnwritable, match="No space left"):
            export_catalog(where / "e", rich)
    assert list(where.iterdir()) == []
    with contextlib.closing(sqlite3.connect(rich / "catalog.db")) as connection, connection:
        connection.execute("UPDATE embeddings SET vector = zeroblob(64) WHERE image_id = 2")
    with pytest.raises(CatalogError, match=r"damaged.*doctor --fix"):
        export_catalog(where / "e", rich)
    assert list(where.iterdir()) == []


def test_place_that_takes_no_export_is_named(
    rich: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refusing(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.mkdtemp", refusing)
    with pytest.raises(CatalogUnwritable, match=r"e cannot be written: Permission denied"):
        export_catalog(tmp_path / "e", rich)


def test_vectors_of_a_model_that_was_given_up_stay_behind(rich: Path, tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(rich / "catalog.db")) as connection, connection:
        connection.execute("UPDATE concept_examples SET encoder_id = NULL, vector = zeroblob(64)")
    assert "vectors" not in {finding.kind for finding in examine(rich)}
    export_catalog(tmp_path / "e", rich)
    import_catalog(tmp_path / "e", tmp_path / "new")
    with contextlib.closing(sqlite3.connect(tmp_path / "new" / "catalog.db")) as connection:
        assert set(connection.execute("SELECT vector FROM concept_examples")) == {(None,)}


def test_import_that_is_killed_leaves_nothing_or_all(made: Path, export: Path, tmp_path: Path) -> None:
    index_folder(tmp_path / "other", made / "photos" / "trip", model="toy", workers=1)
    before = everything(tmp_path / "other")
    code = """
import os, signal, sys
from retrieval.db.landing import Landing
from retrieval.exchange import import_catalog
inserting, at = Landing.insert, int(sys.argv[3])
def killing(self, *given, **more):
    global at
    at -= 1
    if not at:
        os.kill(os.getpid(), signal.SIGKILL)
    return inserting(self, *given, **more)
Landing.insert = killing
import_catalog(sys.argv[1], sys.argv[2])
"""
    command = [sys.executable, "-c", code, str(export), str(tmp_path / "other")]
    killed = subprocess.run([*command, "9"], cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert everything(tmp_path / "other") == before
    import_catalog(export, tmp_path / "other")
    assert everything(tmp_path / "other") != before


def header(folder: Path, *, count: int, kind: str = "<f2", keep: bool = True) -> None:
    path = folder / "embeddings-1.npy"
    data = path.read_bytes()[128:]
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": kind, "fortran_order": False, "shape": (count, 32)}
        )
        file.write(data if keep else b"")


def bad_vectors(folder: Path, value: float) -> None:
    vectors = np.load(folder / "embeddings-1.npy")
    vectors[3, 5] = value
    np.save(folder / "embeddings-1.npy", vectors)


def bomb(folder: Path) -> None:
    header(folder, count=10**12)
    for end in ("npy", "parquet"):
        resealed(folder, f"embeddings-1.{end}", rows=10**12)
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    manifest["vectors"][0]["rows"] = 10**12
    (folder / "manifest.json").write_text(json.dumps(manifest), "utf-8")


def pickled(folder: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (folder / "owned",))

    count = len(np.load(folder / "embeddings-1.npy"))
    np.save(folder / "embeddings-1.npy", np.array([[Evil()] * 32] * count, object), allow_pickle=True)


def linked(folder: Path) -> None:
    (folder / "images.parquet").rename(folder.parent / "elsewhere")
    (folder / "images.parquet").symlink_to(folder.parent / "elsewhere")


def piped(folder: Path) -> None:
    (folder / "images.parquet").unlink()
    os.mkfifo(folder / "images.parquet")


def manifested(**values: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
        (folder / "manifest.json").write_text(json.dumps({**manifest, **values}), "utf-8")

    return change


def cell(name: str, column: str, value: Any, row: int = 0) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        changed(folder, name, lambda rows: rows[row].update({column: value}))

    return change


def typed(rows: list[dict[str, Any]]) -> pa.Schema:
    for row in rows:
        row["path"] = row["path"].decode("latin-1")
    return pa.Table.from_pylist(rows).schema


def wider(rows: list[dict[str, Any]]) -> pa.Schema:
    for row in rows:
        row["more"] = 1
    return pa.Table.from_pylist(rows).schema


def nested(folder: Path) -> None:
    (folder / "manifest.json").write_text("[" * 100_000, "utf-8")


def renamed(folder: Path) -> None:
    text = (folder / "manifest.json").read_text("utf-8")
    (folder / "manifest.json").write_text(text.replace("images.parquet", "../images.parquet"), "utf-8")


HOSTILE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "checksum": (lambda f: flipped(f / "embeddings-1.npy"), "does not agree with its checksum"),
    "missing file": (lambda f: (f / "said.parquet").unlink(), "said.parquet"),
    "no manifest": (lambda f: (f / "manifest.json").unlink(), "manifest.json"),
    "link": (linked, "images.parquet"),
    "pipe": (piped, "images.parquet"),
    "deep manifest": (nested, "manifest.json"),
    "other place": (renamed, "manifest.json"),
    "other format": (manifested(format="zip"), "manifest.json"),
    "newer format": (manifested(version=2), "version 2"),
    "newer schema": (manifested(schema="9999"), "9999"),
    "odd manifest": (manifested(files=[1], vectors="x"), "manifest.json"),
    "no parquet": (lambda f: resealing(f, "images.parquet", b"PAR1" + b"\xff" * 90 + b"PAR1"), "images"),
    "footer bomb": (
        lambda f: resealing(f, "images.parquet", b"PAR1" + b"\x15" * 90 + b"\xff\xff\xff\x7fPAR1"),
        "images.parquet",
    ),
    "empty file": (lambda f: resealing(f, "roots.parquet", b""), "roots.parquet"),
    "compressed": (lambda f: changed(f, "images", lambda _: None, compression="zstd"), "compressed"),
    "dictionary": (lambda f: changed(f, "texts", lambda _: None, use_dictionary=True), "compressed"),
    "typed paths": (lambda f: changed(f, "images", typed), "images.parquet"),
    "fewer columns": (
        lambda f: changed(f, "feedback", lambda rows: pa.schema([("query", pa.string())])),
        "feedback.parquet",
    ),
    "more columns": (lambda f: changed(f, "roots", wider), "columns"),
    "twice": (lambda f: changed(f, "images", lambda rows: rows.append(rows[0])), "twice"),
    "no path": (cell("images", "path", None), "'path' is missing"),
    "relative path": (cell("images", "path", b"photos/red.png"), "not absolute"),
    "long path": (cell("images", "path", b"/" + b"x" * 100_000), "images.parquet"),
    "no words": (cell("images", "keywords", '{"a": 1}'), "keywords"),
    "no number": (cell("images", "latitude", float("nan")), "latitude"),
    "negative": (cell("images", "size", -1), "size"),
    "no picture": (cell("texts", "image_id", 999), "images"),
    "odd said": (cell("said", "data", '{"tag": 5, "kept": true}'), "said.parquet"),
    "odd kind": (cell("said", "kind", "spell"), "said.parquet"),
    "deep json": (cell("turns", "plan", "[" * 50_000), "turns.parquet"),
    "huge cell": (cell("texts", "text", "x" * (9 << 20)), "texts.parquet"),
    "long vector": (cell("concept_examples", "vector", b"\0" * 66), "concept_examples"),
    "other rows": (lambda f: resealed(f, "images.parquet", rows=5), "images.parquet"),
    "not a number": (lambda f: (bad_vectors(f, np.nan), resealed(f, "embeddings-1.npy")), "no numbers"),
    "too long": (lambda f: (bad_vectors(f, 60000), resealed(f, "embeddings-1.npy")), "longer than one"),
    "wrong type": (lambda f: (header(f, count=8, kind="<f4"), resealed(f, "embeddings-1.npy")), "float16"),
    "wrong shape": (lambda f: (header(f, count=7), resealed(f, "embeddings-1.npy")), "shape"),
    "cut off": (
        lambda f: (header(f, count=8, keep=False), resealed(f, "embeddings-1.npy")),
        "embeddings-1.npy",
    ),
    "bomb": (bomb, "embeddings-1.parquet"),
    "pickle": (lambda f: (pickled(f), resealed(f, "embeddings-1.npy")), "embeddings-1.npy"),
    "other model": (cell("encoders", "key", "toy/other/1"), "model"),
}


def flipped(file: Path) -> None:
    """The least bit of the last number: all else about the file stays sound."""
    data = bytearray(file.read_bytes())
    data[-2] ^= 1
    file.write_bytes(data)


def resealing(folder: Path, name: str, data: bytes) -> None:
    (folder / name).write_bytes(data)
    resealed(folder, name)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """An export that tests copy to spoil it, and a catalog that nothing may get into."""
    folder = tmp_path_factory.mktemp("exchange")
    draw(folder / "photos" / "a.png", "red")
    for number in range(7):
        draw(folder / "photos" / f"{number}.png", "blue", mark=number + 1)
    index_folder(folder / "catalog", folder / "photos", model="toy", workers=1)
    with Catalog(folder / "catalog") as opened:
        opened.texts.add(["one", "two"])
        with contextlib.closing(sqlite3.connect(folder / "catalog" / "catalog.db")) as connection, connection:
            connection.execute("UPDATE texts SET image_id = 1 WHERE id = 1")
        opened.feedback.add("red", good=[folder / "photos" / "a.png"])
        opened.concepts.add("rex", good=[folder / "photos" / "a.png"])
        opened.tags.set(folder / "photos" / "1.png", "boat")
        opened.ask("How many pictures are there?", answerer="rules", keep=True)
        opened.forget(folder / "photos" / "1.png")
        opened.state.writer().close()
    draw(folder / "photos" / "1.png", "green")
    index_folder(folder / "catalog", folder / "photos", model="toy", workers=1)
    export_catalog(folder / "export", folder / "catalog")
    draw(folder / "mine" / "own.png", "green")
    index_folder(folder / "target", folder / "mine", model="toy", workers=1)
    return folder / "export", folder / "target"


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_export_is_refused_in_a_sentence_and_changes_nothing(
    kept: tuple[Path, Path], tmp_path: Path, search: Search, name: str
) -> None:
    spoil, said = HOSTILE[name]
    folder, before = tmp_path / "export", everything(kept[1])
    shutil.copytree(kept[0], folder)
    spoil(folder)
    refused = search("import", folder, "--catalog", kept[1])
    assert refused.exit_code == 1, refused.output
    assert said in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    assert everything(kept[1]) == before
    # Nor is a catalog made for what does not come.
    assert search("import", folder, "--catalog", tmp_path / "new").exit_code == 1
    assert not (tmp_path / "new").exists()
    assert not (folder / "owned").exists()


def test_rows_that_cannot_be_in_one_catalog_change_nothing(
    kept: tuple[Path, Path], tmp_path: Path, search: Search
) -> None:
    folder = tmp_path / "export"
    shutil.copytree(kept[0], folder)
    changed(folder, "images", lambda rows: rows[1].update(path=rows[0]["path"]))
    refused = search("import", folder, "--catalog", tmp_path / "new")
    assert (refused.exit_code, "cannot be in one catalog" in refused.stderr) == (1, True)
    with contextlib.closing(sqlite3.connect(tmp_path / "new" / "catalog.db")) as connection:
        assert connection.execute("SELECT COUNT(*) FROM images").fetchone() == (0,)


def test_unspoilt_export_is_taken(kept: tuple[Path, Path], tmp_path: Path) -> None:
    assert import_catalog(kept[0], tmp_path / "new").added["images"] == 8


def test_import_is_refused_beside_another_writer(kept: tuple[Path, Path], tmp_path: Path) -> None:
    from retrieval.errors import CatalogBusy

    with Writer(Location.parse(tmp_path / "c")), pytest.raises(CatalogBusy):
        import_catalog(kept[0], tmp_path / "c")


def test_every_table_of_the_catalog_is_exported_or_made_again() -> None:
    exported = {*TABLES, *(kind.table for kind in VECTORS.values())}
    made_again = {"image_words"}
    assert {table.name for table in Base.metadata.sorted_tables} == exported | made_again
    left_out = {
        "encoders": {"generation", "epoch", "created_at", "text_generation", "text_epoch"},
        "texts": {"content_hash"},
        **{name: {"id"} for name in ("roots", "concept_examples", "feedback", "said")},
    }
    for table in TABLES.values():
        columns = {column.name for column in Base.metadata.tables[table.name].columns}
        assert columns - {column.name for column in table.columns} == left_out.get(table.name, set())
