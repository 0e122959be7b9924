"""What models there are and what `auto` means, from looking at folders alone."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from retrieval import config, hub, models
from retrieval.encoders import exports, known, trials
from retrieval.errors import UnknownModel
from retrieval.models import list_models, resolve

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def hub_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for name in ("SEARCH_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("SEARCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    # Whatever another test has imported: here the variables decide.
    monkeypatch.delitem(sys.modules, "huggingface_hub.constants", raising=False)
    return tmp_path / "hub"


def put_in_hub(folder: Path, repo: str, filename: str = "open_clip_model.safetensors") -> None:
    place = folder / f"models--{repo.replace('/', '--')}"
    (place / "snapshots" / "abc").mkdir(parents=True)
    (place / "snapshots" / "abc" / filename).write_bytes(b"weights")
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text("abc\n")


def put_export(spec: str, **facts: Any) -> Path:
    name = exports.parse_spec(spec)
    with exports.new_folder(exports.export_folder(name)) as folder:
        (folder / "text.bin").write_bytes(b"tower")
        source: dict[str, Any] = {"kind": name.kind, "files": []}
        exports.write_manifest(
            folder, {"spec": name.spec, "id": "some/id", "dim": 512, "source": source, **facts}
        )
    return exports.export_folder(name)


def by_spec() -> dict[str, models.ModelInfo]:
    return {row.spec: row for row in list_models()}


def test_the_list_names_built_in_and_known_models_and_hides_the_toy() -> None:
    rows = by_spec()
    assert rows["starter"].here == "built-in"
    assert "not at people" in (rows["starter"].note or "")
    recommended = rows[config.RECOMMENDED_MODEL]
    assert (recommended.here, recommended.licence, recommended.dim) == ("no", "MIT", 512)
    assert (recommended.flickr_r5, recommended.coco_r5) == (0.872, 0.654)
    assert config.QUALITY_MODEL in rows
    assert not [spec for spec in rows if spec.startswith("toy")]
    for row in rows.values():
        assert json.loads(json.dumps(row.as_dict()))["name"] == row.name


def test_the_starters_that_are_listed_exist() -> None:
    from retrieval.registry import load_encoder

    for row in list_models():
        if row.here == "built-in":
            assert load_encoder(row.spec).dim == row.dim


def test_the_list_shows_what_is_on_this_machine(hub_folder: Path) -> None:
    put_in_hub(hub_folder, "timm/ViT-B-16-SigLIP")
    put_in_hub(hub_folder, "someone/model")
    put_in_hub(hub_folder, "someone/chat", "model.safetensors")
    put_export(config.RECOMMENDED_MODEL)
    trials.remember("some/id", "onnx", trials.Outcome(speed=18.5))
    put_export("open_clip:ViT-B-32/photos.pt")
    put_export("open_clip:RN50/openai", problem="it cannot be exported")
    (config.model_cache() / "starter-lite2").mkdir()
    rows = by_spec()
    assert rows[config.QUALITY_MODEL].here == "cached"
    assert rows["hf-hub:someone/model"].here == "cached"
    assert "hf-hub:someone/chat" not in rows
    assert rows[config.RECOMMENDED_MODEL].here == "exported"
    assert rows[config.RECOMMENDED_MODEL].images_per_second == 18.5
    assert rows[f"open_clip:ViT-B-32/{Path.cwd()}/photos.pt"].here == "exported"
    assert (rows["open_clip:RN50/openai"].here, rows["open_clip:RN50/openai"].note) == (
        "cached",
        "it cannot be exported",
    )


def test_a_damaged_export_is_not_listed() -> None:
    folder = put_export("open_clip:ViT-B-32/mine.pt")
    (folder / "text.bin").write_bytes(b"to")
    put_export("open_clip:ViT-B-32/other.pt").joinpath("manifest.json").write_text("{]")
    assert not [row for row in list_models() if row.here == "exported"]


def test_auto_is_the_built_in_model_where_nothing_else_can_be_had() -> None:
    spec, why = resolve("auto")
    assert spec == "starter"
    assert "switched off" in why
    assert "search models pull" in why


def test_auto_is_the_recommended_model_once_it_is_here(hub_folder: Path) -> None:
    recommended = next(model for model in known.KNOWN if model.spec == config.RECOMMENDED_MODEL)
    put_in_hub(hub_folder, recommended.repo)
    assert resolve("auto")[0] == config.RECOMMENDED_MODEL
    put_export(config.RECOMMENDED_MODEL)
    spec, why = resolve("AUTO")
    assert spec == config.RECOMMENDED_MODEL
    assert "on this machine" in why


def test_auto_asks_the_hub_for_no_longer_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE")
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{port}")
        start = time.monotonic()
        spec, why = resolve("auto")
        assert time.monotonic() - start < config.HUB_SECONDS + 1
        assert spec == "starter"
        assert "does not answer" in why
        server.listen()
        assert resolve("auto")[0] == config.RECOMMENDED_MODEL


def test_a_name_that_never_resolves_does_not_hold_anything_up(monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = threading.Event()

    def hang(*_: Any, **__: Any) -> None:
        waiting.wait(30)
        raise OSError

    monkeypatch.setattr(socket, "create_connection", hang)
    start = time.monotonic()
    assert not hub.answers("http://127.0.0.1:1", seconds=0.2)
    assert time.monotonic() - start < 5
    waiting.set()


def test_a_proxy_is_asked_in_place_of_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as proxy:
        proxy.bind(("127.0.0.1", 0))
        proxy.listen()
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{proxy.getsockname()[1]}")
        assert hub.answers("https://hub.invalid")


def test_short_names_and_specs_are_understood(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setitem(models.registry.ENCODERS, "plugin", "somewhere:Plugin")
    cases = {
        "siglip": config.QUALITY_MODEL,
        "ViT-B-32": "open_clip:ViT-B-32/laion2b_s34b_b79k",
        "starter": "starter",
        "toy": "toy",
        "starter:lite0-fast": "starter:lite0-fast",
        "open_clip:ViT-B-32/LAION2B-s34b-b79k": "open_clip:ViT-B-32/laion2b_s34b_b79k",
        "open_clip:ViT-B-32/mine.pt": f"open_clip:ViT-B-32/{tmp_path}/mine.pt",
        "open_clip:ViT-B-32/../mine.pt": f"open_clip:ViT-B-32/{tmp_path.parent}/mine.pt",
        "open_clip:ViT-B-32/~/w.safetensors": f"open_clip:ViT-B-32/{tmp_path}/home/w.safetensors",
        "open_clip:ViT-B-32//abs/w.pt": "open_clip:ViT-B-32//abs/w.pt",
        "open_clip:arch.json/w.pt": f"open_clip:{tmp_path}/arch.json/{tmp_path}/w.pt",
        "local-dir:m": f"local-dir:{tmp_path}/m",
        "hf-hub:someone/model": "hf-hub:someone/model",
        "plugin:thing": "plugin:thing",
    }
    for asked, expected in cases.items():
        spec, why = resolve(asked)
        assert spec == expected
        assert why
        assert resolve(spec)[0] == spec, "a canonical spec stands for itself"
    slugs = {exports.parse_spec(spec).slug for spec in cases.values() if "open_clip" in spec}
    assert all(slug.replace("-", "").replace(".", "").isalnum() for slug in slugs)


@pytest.mark.parametrize(
    ("name", "words"), [("siglop", "siglip"), ("startr", "starter"), ("zzz", "search models")]
)
def test_a_name_that_nothing_has_is_refused(name: str, words: str) -> None:
    with pytest.raises(UnknownModel, match=words):
        resolve(name)


def test_listing_and_resolving_import_nothing_heavy() -> None:
    code = """
        import sys
        from retrieval.models import list_models, resolve
        list_models(), resolve("auto"), resolve("siglip")
        heavy = {"torch", "open_clip", "transformers", "huggingface_hub", "onnxruntime", "numpy", "PIL"}
        print(*sorted(heavy & sys.modules.keys()))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "", "")


def test_the_speed_of_indexing_is_remembered_once_it_says_something(monkeypatch, tmp_path):
    monkeypatch.setenv("SEARCH_CACHE", str(tmp_path))
    models.remember_speed("starter", 3, 0.1)
    assert {model.spec: model for model in models.list_models()}["starter"].images_per_second is None
    models.remember_speed("starter", 500, 50.0)
    models.remember_speed("starter:lite0-fast", 500, 10.0)
    speeds = {model.spec: model.images_per_second for model in models.list_models()}
    assert (speeds["starter"], speeds["starter:lite0-fast"]) == (10.0, 50.0)
    next((tmp_path / "models" / trials.FOLDER).iterdir()).write_text("[broken")
    assert models.list_models()
