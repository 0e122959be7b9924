"""What somebody else's file, catalog, model or request can make this program do: nothing it should not."""

from __future__ import annotations

import io
import json
import logging
import os
import pickle
import re
import secrets
import shutil
import sqlite3
import tomllib
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from PIL import Image

from retrieval import Catalog, Filter
from retrieval.access import check_access, most_bits
from retrieval.config import Location
from retrieval.db import strangers
from retrieval.db.queries import Writer
from retrieval.errors import CatalogBusy, CatalogError, ModelUnavailable, QueryError
from retrieval.pictures import PictureGone
from retrieval.registry import load_encoder
from tests.conftest import ROOT, draw, python
from tests.tiny_blip import tiny_blip
from tests.tiny_clip import tiny_folder, tiny_spec

CODE = "from pathlib import Path\nPath({marker!r}).touch()\nraise ImportError\n"


class Harm:
    """Touches a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.marker,))


class Stumble:
    """Makes torch's careful unpickler raise a TypeError, and a careless one go on."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (OrderedDict, (), (None, {}))


@pytest.fixture
def marker(tmp_path: Path) -> Iterator[Path]:
    """A file that only code of the attacker's would make."""
    place = tmp_path / "ran"
    yield place
    assert not place.exists(), "code that came with a model was run"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEARCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))


def _weights(kind: str, folder: Path, marker: Path) -> Path:
    import numpy as np
    import torch

    file = folder / f"{kind}.{'npz' if kind == 'npz' else 'pt'}"
    if kind == "pickle":
        file.write_bytes(pickle.dumps(Harm(marker)))
    elif kind == "zip":
        torch.save({"state_dict": Harm(marker)}, file)
    elif kind == "legacy":
        torch.save({"state_dict": Harm(marker)}, file, _use_new_zipfile_serialization=False)
    elif kind == "stumble":
        torch.save({"first": Stumble(), "state_dict": Harm(marker)}, file)
    elif kind == "npz":
        np.savez(file, weights=np.array([Harm(marker)], dtype=object))
    elif kind == "script":
        # What makes torch take a file for an archive of its own programs.
        torch.save({"state_dict": Harm(marker)}, file)
        with zipfile.ZipFile(file, "a") as archive:
            archive.writestr(f"{kind}/constants.pkl", pickle.dumps(Harm(marker)))
            archive.writestr("constants.pkl", pickle.dumps(Harm(marker)))
    return file


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize("kind", ["pickle", "zip", "legacy", "stumble", "npz", "script"])
def test_a_checkpoint_that_holds_code_is_refused_and_runs_none(
    kind: str, tmp_path: Path, marker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A machine may be told to have torch read whatever it is given.
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    tiny_spec(tmp_path)
    file = _weights(kind, tmp_path, marker)
    with pytest.raises(ModelUnavailable):
        load_encoder(f"open_clip:{tmp_path / 'tiny-test.json'}/{file}")


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize("option", [{"trust_remote_code": True}, {}])
def test_code_beside_a_tokenizer_is_not_run(option: dict[str, Any], tmp_path: Path, marker: Path) -> None:
    spec = tiny_folder(tmp_path / "model", siglip=True)
    folder = tmp_path / "model"
    settings = json.loads((folder / "open_clip_config.json").read_text())
    settings["model_cfg"]["text_cfg"]["tokenizer_kwargs"] |= option
    (folder / "open_clip_config.json").write_text(json.dumps(settings))
    (folder / "evil.py").write_text(CODE.format(marker=str(marker)))
    named = json.loads((folder / "tokenizer_config.json").read_text())
    named |= {"tokenizer_class": "Evil", "auto_map": {"AutoTokenizer": ["evil.Evil", "evil.Evil"]}}
    (folder / "tokenizer_config.json").write_text(json.dumps(named))
    with pytest.raises(ModelUnavailable):
        load_encoder(spec)


@pytest.fixture(scope="module")
def blip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_blip(tmp_path_factory.mktemp("blip"))


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize("way", ["weights", "processor", "model"])
def test_a_checkpoint_of_transformers_runs_no_code(
    way: str, blip: Path, tmp_path: Path, marker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from retrieval.rerankers.blip_itm import BlipItm

    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    folder = Path(shutil.copytree(blip, tmp_path / "blip"))
    (folder / "evil.py").write_text(CODE.format(marker=str(marker)))
    if way == "weights":
        (folder / "model.safetensors").unlink()
        torch.save({"state_dict": Harm(marker)}, folder / "pytorch_model.bin")
    elif way == "model":
        config = json.loads((folder / "config.json").read_text())
        config |= {"auto_map": {"AutoConfig": "evil.Evil", "AutoModel": "evil.Evil"}}
        (folder / "config.json").write_text(json.dumps(config | {"model_type": "evil"}))
    else:
        for name in ("tokenizer_config.json", "processor_config.json", "preprocessor_config.json"):
            if (folder / name).is_file():
                config = json.loads((folder / name).read_text())
                named = {"AutoProcessor": "evil.Evil", "AutoTokenizer": ["evil.Evil", None]}
                (folder / name).write_text(
                    json.dumps(config | {"auto_map": named, "processor_class": "Evil"})
                )
    reranker = BlipItm(str(folder))
    picture = Image.new("RGB", (48, 48), "red")
    if way == "processor":  # which is as good without the code that it names
        assert reranker.judge("a red wall", reranker.look([picture])).shape == (1,)
        return
    with pytest.raises(ModelUnavailable):
        reranker.judge("a red wall", reranker.look([picture]))


@pytest.fixture
def stranger(catalog: Path) -> Path:
    """A catalog as it comes out of an archive: closed, with all that its maker left in it."""
    with sqlite3.connect(catalog / "catalog.db") as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    for end in ("-wal", "-shm"):
        (catalog / f"catalog.db{end}").unlink(missing_ok=True)
    return catalog


def listing(folder: Path) -> dict[str, tuple[int, int, int]]:
    return {
        str(path.relative_to(folder)): (found.st_size, found.st_mtime_ns, found.st_ino)
        for path in sorted(folder.rglob("*"))
        for found in [path.stat()]
    }


def run_sql(catalog: Path, *statements: str) -> None:
    connection = sqlite3.connect(catalog / "catalog.db", isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.execute("PRAGMA journal_mode=DELETE")
    connection.close()


READING = (
    ["find", "red", "--all"],
    ["similar", "{photo}"],
    ["status"],
    ["failures"],
    ["dupes"],
    ["groups"],
    ["explain", "red", "1"],
    ["match", "{photo}"],
    ["texts", "list"],
    ["ask", "how many pictures are there?"],
    ["tag", "list"],
    ["concepts", "list"],
)


def test_nothing_is_written_into_a_strangers_catalog_nor_read_but_its_database(
    stranger: Path, photos: Path, tmp_path: Path
) -> None:
    # A pipe that is opened waits for ever, and so would the test.
    for path in [path for path in (stranger / "cache").rglob("*") if path.is_file()]:
        path.unlink()
        os.mkfifo(path)
    os.mkfifo(stranger / "cache" / "server.json")
    before = listing(stranger)
    code = (
        "import sys, os, json\n"
        "place = os.path.realpath(sys.argv[1])\n"
        "def hook(event, given):\n"
        "    if event == 'open' and isinstance(given[0], str) and os.path.realpath(given[0]).startswith(place):\n"
        "        print('OPENED', given[0])\n"
        "sys.addaudithook(hook)\n"
        "from click.testing import CliRunner\n"
        "from cli import main\n"
        "for asked in json.loads(sys.argv[2]):\n"
        "    found = CliRunner().invoke(main, asked)\n"
        "    print(found.exit_code, asked[0], found.output if found.exit_code else '')\n"
    )
    asked = [
        [word.format(photo=photos / "red.png") for word in words]
        + ["--read-only", "--catalog", str(stranger)]
        for words in READING
    ]
    own = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "own"), "HOME": str(tmp_path)}
    result = python(code, str(stranger), json.dumps(asked), env=own)
    assert result.stdout.splitlines() == [f"0 {words[0]} " for words in READING], result.stderr
    assert listing(stranger) == before
    assert not list((tmp_path / "own").rglob("*untrusted*"))


def test_hits_of_a_strangers_catalog_are_those_of_its_rows(stranger: Path) -> None:
    with Catalog(stranger) as opened:
        wanted = [(hit.image_id, round(hit.score, 5)) for hit in opened.search("red", cutoff=False)]
    with Catalog(stranger, untrusted=True) as opened:
        assert opened.readonly
        assert [(hit.image_id, round(hit.score, 5)) for hit in opened.search("red", cutoff=False)] == wanted


@pytest.mark.parametrize(
    ("what", "statements"),
    [
        ("a view", ["ALTER TABLE roots RENAME TO r2", "CREATE VIEW roots AS SELECT * FROM r2"]),
        (
            "a view",
            [
                "ALTER TABLE failures RENAME TO f2",
                "CREATE VIEW failures AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "
                "SELECT i AS id, i AS path, i AS reason, i AS detail FROM n",
            ],
        ),
        ("a trigger", ["CREATE TRIGGER t AFTER INSERT ON images BEGIN DELETE FROM images; END"]),
        ("a virtual table", ["CREATE VIRTUAL TABLE more USING fts5(word)"]),
        ("a computed column", ["ALTER TABLE images ADD COLUMN harm TEXT AS (hex(zeroblob(1000000000)))"]),
        ("more than", [f"CREATE TABLE t{number} (a)" for number in range(strangers.MOST_OBJECTS + 1)]),
    ],
)
def test_a_strangers_database_that_would_run_something_is_refused(
    stranger: Path, what: str, statements: list[str], search: Callable[..., Result]
) -> None:
    run_sql(stranger, *statements)
    with pytest.raises(CatalogError, match=what):
        Catalog(stranger, untrusted=True)
    refused = search("find", "red", "--read-only", "--catalog", stranger)
    assert (refused.exit_code, refused.stderr.count("\n")) == (1, 1)


def test_the_virtual_tables_that_are_let_pass_are_those_of_the_migrations(stranger: Path) -> None:
    connection = sqlite3.connect(stranger / "catalog.db")
    found = dict(connection.execute("SELECT name, sql FROM sqlite_master WHERE sql LIKE 'CREATE VIRTUAL%'"))
    triggers = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")]
    connection.close()
    assert found == strangers.WORD_INDEX
    assert sorted(triggers) == sorted(strangers.TRIGGERS)


def test_a_strangers_damaged_database_is_refused(stranger: Path) -> None:
    data = bytearray((stranger / "catalog.db").read_bytes())
    for page in range(2, len(data) // 4096):
        data[page * 4096 : page * 4096 + 64] = os.urandom(64)
    (stranger / "catalog.db").write_bytes(data)
    with pytest.raises(CatalogError, match=r"damaged|cannot be read"):
        Catalog(stranger, untrusted=True)


def test_a_strangers_catalog_that_is_still_written_is_refused(
    stranger: Path, search: Callable[..., Result]
) -> None:
    (stranger / "catalog.db-wal").write_bytes(b"x" * 100)
    before = contents(stranger)
    with pytest.raises(CatalogBusy, match="search backup"):
        Catalog(stranger, untrusted=True)
    examined = search("doctor", "--read-only", "--catalog", stranger)
    assert examined.exit_code == 1
    assert "damaged" not in examined.output + examined.stderr
    assert contents(stranger) == before


@pytest.mark.parametrize(
    "spec",
    [
        "local-dir:{folder}",
        "open_clip:{folder}/tiny-test.json/{folder}/harm.pt",
        "open_clip:ViT-B-32/{folder}/harm.pt",
        "hf-hub:evil/model",
        "open_clip:ViT-B-32/laion2b_s34b_b79k",
        "plugin:anything",
    ],
)
def test_a_strangers_catalog_has_no_model_loaded_or_fetched(
    stranger: Path, tmp_path: Path, spec: str, marker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import retrieval.registry

    def never(*_: object) -> None:
        raise AssertionError("a model was loaded at the word of a stranger")

    monkeypatch.setenv("SEARCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(retrieval.registry, "load_encoder", never)
    (tmp_path / "harm.pt").write_bytes(pickle.dumps(Harm(marker)))
    run_sql(stranger, f"UPDATE encoders SET spec = '{spec.format(folder=tmp_path)}'")
    with Catalog(stranger, untrusted=True) as opened, pytest.raises(ModelUnavailable, match="somebody else"):
        opened.search("red")


def test_a_strangers_catalog_shows_no_file_that_its_maker_did_not_have(
    stranger: Path, tmp_path: Path
) -> None:
    secret = draw(tmp_path / "private" / "letter.png", "red", mark=7)
    run_sql(
        stranger,
        "INSERT INTO roots (path, added_at) VALUES (CAST('/' AS BLOB), 0)",
        f"UPDATE images SET path = CAST('{secret}' AS BLOB) WHERE id = 1",
    )
    with Catalog(stranger, untrusted=True) as opened:
        with pytest.raises(PictureGone):
            opened.pictures.open_file(opened.pictures.get(1))
        with opened.pictures.open_file(opened.pictures.get(2)) as file:
            assert Image.open(io.BytesIO(file.read())).format
    with Catalog(stranger, readonly=True) as own, own.pictures.open_file(own.pictures.get(1)) as file:
        assert file.read() == secret.read_bytes()


def test_a_strangers_catalog_is_changed_by_no_command(
    stranger: Path, photos: Path, search: Callable[..., Result]
) -> None:
    before = listing(stranger)
    with Catalog(stranger, untrusted=True) as opened:
        for change in (
            lambda: opened.texts.add(["a text"]),
            lambda: opened.forget(photos),
            opened.rebuild,
            opened.gc,
        ):
            with pytest.raises(CatalogError):
                change()
    assert search("mcp", "--untrusted", "--allow-write", "--catalog", stranger).exit_code == 2
    assert listing(stranger) == before


def test_no_database_may_call_what_its_schema_names(catalog: Path) -> None:
    from retrieval.config import Location
    from retrieval.db.reader import open_reader

    reader = open_reader(Location.parse(catalog))
    assert reader.rows("PRAGMA trusted_schema") == [(0,)]
    assert reader.rows("PRAGMA query_only") == [(1,)]
    assert reader.rows("PRAGMA cell_size_check") == [(1,)]
    reader.close()


@pytest.mark.parametrize(
    "token",
    [
        "short",
        "0123456789" * 3,
        "1e83065a370d73a1c170ec1be672ee",
        "abcdefgh" * 2,
        "ä" * 40,
        "x\ny" * 30,
    ],
)
def test_a_token_that_could_be_guessed_is_refused(token: str) -> None:
    with pytest.raises(QueryError, match="128 bits"):
        check_access("127.0.0.1", token, given_as="$SEARCH_TOKEN")


def test_tokens_of_128_bits_and_more_are_taken() -> None:
    for _ in range(200):
        for token in (secrets.token_urlsafe(16), secrets.token_hex(16), secrets.token_urlsafe()):
            assert most_bits(token) >= 128
            check_access("0.0.0.0", token, given_as="$SEARCH_TOKEN")


@pytest.fixture
def web(catalog: Path) -> Iterator[Any]:
    from fastapi.testclient import TestClient

    from retrieval.server import create_app

    with Catalog(catalog) as opened:
        yield TestClient(create_app(opened))


def test_a_server_fetches_no_address_and_logs_nothing_that_was_asked(
    web: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import retrieval.fetch
    from retrieval.server import metrics

    def never(*_: object, **__: object) -> None:
        raise AssertionError("an address was asked for")

    monkeypatch.setattr(retrieval.fetch, "fetch_image", never)
    monkeypatch.setattr(retrieval.fetch, "resolve_host", never)
    monkeypatch.setattr(metrics, "SLOW_SECONDS", 0.0)
    caplog.set_level(logging.DEBUG)
    for asked in ("http://127.0.0.1:9/wedding.jpg", "wedding + https://example.org/wedding.jpg", "wedding"):
        assert web.get("/api/v1/search", params={"q": asked, "camera": "wedding"}).status_code in (200, 422)
    web.post("/api/v1/ask", json={"question": "who was at the wedding?"})
    web.get("/api/v1/wedding?q=wedding")
    slow = [record.getMessage() for record in caplog.records if "request was slow" in record.getMessage()]
    assert len(slow) >= 4
    ours = [
        record.getMessage() for record in caplog.records if record.name.startswith(("retrieval", "uvicorn"))
    ]
    assert not [message for message in ours if "wedding" in message]
    assert "wedding" not in web.get("/metrics").text


def test_uploads_are_bounded_as_promised(web: Any) -> None:
    from retrieval.server import given

    assert given.MAX_UPLOAD <= 20_000_000
    assert given.MAX_PIXELS <= 50_000_000
    for size, data in (((10_000, 5_001), b""), ((50, 50), b"x" * 20_000_000)):
        buffer = io.BytesIO()
        Image.new("1", size).save(buffer, "PNG")
        image = ("image", ("a.png", buffer.getvalue() + data, "image/png"))
        assert web.post("/api/v1/similar", files=[image]).status_code == 413


def test_a_file_that_takes_the_place_of_a_picture_is_not_given_out(
    web: Any, catalog: Path, photos: Path, tmp_path: Path
) -> None:
    """By a link, by a folder that became a link, and while it is opened."""
    secret = draw(tmp_path / "private" / "white.png", "blue", mark=9)
    with Catalog(catalog) as opened:
        ids = {one.path.name: one.image_id for one in opened.pictures.list()}
    (photos / "red.png").unlink()
    (photos / "red.png").symlink_to(secret)
    (photos / "trip").rename(tmp_path / "away")
    (photos / "trip").symlink_to(secret.parent)
    (photos / "green.png").unlink()
    os.mkfifo(photos / "green.png")
    for name in ("red.png", "white.png", "green.png"):
        for part in ("original", "thumbnail"):
            answer = web.get(f"/api/v1/images/{ids[name]}/{part}")
            assert (answer.status_code, secret.read_bytes() in answer.content) == (404, False), (name, part)
    for path in ("../../etc/passwd", "%2e%2e%2fetc%2fpasswd", "1/../../etc", "0", "-1", "1e3"):
        assert web.get(f"/api/v1/images/{path}/original").status_code in (404, 422)
    for path in ("/static/../server.py", "/static/%2e%2e/app.py", "/static//etc/passwd"):
        assert web.get(path).status_code == 404


def test_every_answer_tells_the_browser_to_be_careful(web: Any) -> None:
    for path in ("/", "/api/v1/images", "/api/v1/nothing", "/static/js/main.js", "/metrics"):
        headers = web.get(path).headers
        policy = dict(
            part.strip().partition(" ")[::2] for part in headers["content-security-policy"].split(";")
        )
        assert (policy["default-src"], policy["script-src"], policy["base-uri"]) == (
            "'none'",
            "'self'",
            "'none'",
        )
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"


def test_no_kind_of_picture_that_is_shown_can_hold_a_script(web: Any) -> None:
    from retrieval.images import EXTENSIONS
    from retrieval.server.routes.pictures import SHOWN_AS

    assert not {"image/svg+xml", "text/html", "application/pdf"} & set(SHOWN_AS.values())
    assert not {".svg", ".svgz", ".html", ".pdf", ".eps"} & set(EXTENSIONS)


def test_the_lock_pins_every_dependency_by_its_hash() -> None:
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name
    from packaging.version import Version

    text = (ROOT / "requirements.lock").read_text("utf-8")
    assert "://" not in text
    assert not re.search(r"^-", text, re.MULTILINE), "no option: neither an index nor a file"
    pinned: dict[str, Version] = {}
    for block in re.split(r"\n(?=[A-Za-z0-9])", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).strip()):
        head, *hashes = [line.strip().rstrip("\\").strip() for line in block.splitlines()]
        requirement = Requirement(head)
        [exact] = requirement.specifier
        assert exact.operator == "==", head
        assert hashes, head
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", one) for one in hashes), head
        pinned[canonicalize_name(requirement.name)] = Version(exact.version)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    wanted = [
        *project["build-system"]["requires"],
        *project["project"]["dependencies"],
        *(one for extra in project["project"]["optional-dependencies"].values() for one in extra),
    ]
    for line in wanted:
        requirement = Requirement(line)
        name = canonicalize_name(requirement.name)
        assert name in pinned, f"{name} is not locked: sh scripts/lock"
        assert pinned[name] in requirement.specifier, (
            f"{line}, but the lock has {pinned[name]}: sh scripts/lock"
        )


def test_a_catalog_that_was_used_is_whole_without_its_log(catalog: Path, tmp_path: Path) -> None:
    with Catalog(catalog) as opened:
        opened.tags.set(1, "boat")
    (tmp_path / "theirs").mkdir()
    shutil.copy(catalog / "catalog.db", tmp_path / "theirs")
    with Catalog(tmp_path / "theirs", untrusted=True) as theirs:
        assert len(theirs.search("a boat", where=Filter(tags=("boat",)), cutoff=False)) == 1


@pytest.mark.parametrize("broken", [False, True])
def test_a_strangers_catalog_is_never_mended(catalog: Path, search: Callable[..., Any], broken: bool) -> None:
    if broken:
        data = bytearray((catalog / "catalog.db").read_bytes())
        data[4096 * 3 : 4096 * 4] = bytes(4096)
        (catalog / "catalog.db").write_bytes(data)
    before = contents(catalog)
    result = search("doctor", "--fix", "--read-only", "--catalog", catalog)
    assert result.exit_code == 1
    assert "Leave out --fix, or --read-only" in result.stderr
    assert contents(catalog) == before
    with pytest.raises(CatalogError, match="reading only"):
        Writer(Location.parse(catalog).of_a_stranger())
    assert contents(catalog) == before


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
