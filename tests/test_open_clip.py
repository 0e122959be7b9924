"""open_clip models by torch: real loading of tiny checkpoints, exact geometry, and every refusal."""

from __future__ import annotations

import io
import logging
import pickle
import shutil
import socket
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from retrieval import hub
from retrieval.encoders import exports
from retrieval.encoders.geometry import ClipPreparer
from retrieval.errors import ModelUnavailable, UnknownModel
from retrieval.registry import load_encoder
from tests.tiny_clip import TINY, tiny_folder, tiny_spec

if TYPE_CHECKING:
    from retrieval.encoders.open_clip import OpenClipEncoder

TEXTS = ["a photo of a dog", "", "two cats & a naïve café", "snow " * 100]


@pytest.fixture(autouse=True)
def _nothing_but_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from huggingface_hub import constants

    monkeypatch.setenv("SEARCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    folder = tmp_path_factory.mktemp("models")
    return SimpleNamespace(
        pt=tiny_spec(folder / "a"),
        safetensors=tiny_spec(folder / "a", ".safetensors"),
        other=tiny_spec(folder / "b", seed=1),
        folder=tiny_folder(folder / "hub"),
        siglip=tiny_folder(folder / "siglip", siglip=True),
    )


@pytest.fixture(scope="module")
def photos() -> list[Image.Image]:
    from skimage import data

    return [Image.fromarray(getattr(data, name)()) for name in ("astronaut", "coffee", "chelsea")]


def load(spec: str) -> OpenClipEncoder:
    from retrieval.encoders.open_clip import OpenClipEncoder

    return OpenClipEncoder(spec, device="cpu")


def by_open_clip(photos: list[Image.Image], checkpoint: Path) -> tuple[Any, Any]:
    """Vectors as open_clip's own code makes them."""
    import open_clip
    import torch

    open_clip.add_model_config(checkpoint.parent / "tiny-test.json")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model, transform = open_clip.create_model_from_pretrained("tiny-test", str(checkpoint))
    model.eval()
    with torch.inference_mode():
        images = model.encode_image(torch.stack([transform(photo) for photo in photos]), normalize=True)
        texts = model.encode_text(open_clip.get_tokenizer("tiny-test")(TEXTS), normalize=True)
    return images.numpy(), texts.numpy()


def test_vectors_are_those_of_open_clips_own_code(models: SimpleNamespace, photos: list[Image.Image]) -> None:
    encoder = load(models.pt)
    images, texts = by_open_clip(photos, Path(encoder.name.source))
    np.testing.assert_allclose(encoder.encode_texts(TEXTS), texts, atol=1e-5)
    assert (encoder.encode_images(photos) * images).sum(axis=1).min() >= 0.9995
    np.testing.assert_allclose(np.linalg.norm(encoder.encode_images(photos), axis=1), 1, atol=1e-5)


def test_the_same_weights_are_the_same_model_whatever_file_holds_them(
    models: SimpleNamespace, photos: list[Image.Image]
) -> None:
    pt, safe, other = load(models.pt), load(models.safetensors), load(models.other)
    np.testing.assert_allclose(pt.encode_images(photos), safe.encode_images(photos), atol=1e-6)
    assert pt.id == safe.id
    assert pt.id.startswith("open_clip/tiny-test/tiny-0/")
    assert other.id != pt.id
    folder = load(models.folder)
    assert folder.id.split("/")[-2] == pt.id.split("/")[-2]
    assert folder.id.split("/")[-1] != pt.id.split("/")[-1], "another preprocessing is another space"
    np.testing.assert_allclose(folder.encode_texts(TEXTS), pt.encode_texts(TEXTS), atol=1e-6)


def test_nothing_to_encode_gives_no_rows(models: SimpleNamespace) -> None:
    encoder = load(models.pt)
    assert encoder.encode_images([]).shape == encoder.encode_texts([]).shape == (0, 64)
    assert encoder.encode_prepared([]).vectors.shape == (0, 64)


def test_several_threads_get_the_vectors_that_one_gets(
    models: SimpleNamespace, photos: list[Image.Image]
) -> None:
    encoder = load(models.pt)
    alone = encoder.encode_images(photos)
    with ThreadPoolExecutor(4) as pool:
        for together in pool.map(lambda _: encoder.encode_images(photos), range(8)):
            np.testing.assert_allclose(together, alone, atol=1e-5)


def test_a_siglip_like_model_brings_its_own_tokenizer(models: SimpleNamespace) -> None:
    encoder = load(models.siglip)
    assert encoder.family == "siglip"
    assert encoder.tokenizer(["Ab, c!"]).tolist() == [[3, 4, 5, 1] + [0] * 12]
    assert encoder.encode_texts(["ab", "c"]).shape == (2, 64)


def test_loading_leaves_the_hosts_logging_and_hub_settings_alone(
    models: SimpleNamespace, capfd: pytest.CaptureFixture[str]
) -> None:
    from huggingface_hub import constants

    before = (list(logging.getLogger().handlers), constants.HF_HUB_OFFLINE)
    load(models.folder)
    assert (list(logging.getLogger().handlers), constants.HF_HUB_OFFLINE) == before
    assert capfd.readouterr() == ("", "")


class _Code:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.marker,))


def broken(kind: str, folder: Path, models: SimpleNamespace) -> str:
    import torch

    config = folder / "tiny-test.json"
    good = Path(exports.parse_spec(models.pt).source)
    shutil.copy(good.parent / "tiny-test.json", config)
    file = folder / ("bad.safetensors" if "safetensors" in kind else "bad.pt")
    if kind == "pickle with code":
        file.write_bytes(pickle.dumps(_Code(folder / "ran")))
    elif kind == "torch file with code":
        torch.save({"state_dict": _Code(folder / "ran")}, file)
    elif kind == "cut off":
        file.write_bytes(good.read_bytes()[: good.stat().st_size // 2])
    elif kind == "cut off safetensors":
        content = Path(exports.parse_spec(models.safetensors).source).read_bytes()
        file.write_bytes(content[: len(content) // 2])
    elif kind == "text":
        file.write_text("these are not weights")
    elif kind == "empty":
        file.write_bytes(b"")
    elif kind == "no tensors":
        torch.save({}, file)
    elif kind == "half of the weights":
        weights = torch.load(good, weights_only=True)
        torch.save({key: value for key, value in weights.items() if key.startswith("visual")}, file)
    elif kind == "another architecture":
        return f"open_clip:RN50/{good}"
    elif kind == "a folder":
        file.mkdir()
    return f"open_clip:{config}/{file}"


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("pickle with code", "holds code"),
        ("torch file with code", "holds code"),
        ("cut off", "damaged"),
        ("cut off safetensors", "damaged"),
        ("text", "cannot be loaded"),
        ("empty", "damaged"),
        ("no tensors", "damaged"),
        ("half of the weights", "another architecture"),
        ("another architecture", "another architecture"),
        ("missing", "There is no checkpoint file"),
        ("a folder", "There is no checkpoint file"),
    ],
)
def test_a_checkpoint_that_is_not_right_is_refused_in_one_sentence(
    kind: str, words: str, tmp_path: Path, models: SimpleNamespace
) -> None:
    with pytest.raises(ModelUnavailable, match=words) as caught:
        load_encoder(broken(kind, tmp_path, models))
    message = str(caught.value)
    assert "search models" in message
    assert "\n" not in message
    assert not (tmp_path / "ran").exists(), "code from the file was run"


def test_a_folder_without_weights_never_gives_random_ones(tmp_path: Path, models: SimpleNamespace) -> None:
    source = Path(exports.parse_spec(models.folder).source)
    with pytest.raises(ModelUnavailable, match=r"open_clip_config\.json"):
        load_encoder(f"local-dir:{tmp_path}")
    shutil.copy(source / "open_clip_config.json", tmp_path)
    with pytest.raises(ModelUnavailable, match="cannot be loaded"):
        load_encoder(f"local-dir:{tmp_path}")


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("open_clip:ViT-B_32/laion2b_s34b_b79k", "ViT-B-32"),
        ("open_clip:vit-b-32-quickgelo/openai", "ViT-B-32-quickgelu"),
        ("open_clip:ViT-B-32/laion2b_s34b_b79", "open_clip:ViT-B-32/laion2b_s34b_b79k"),
        ("open_clip:ViT-B-32", "open_clip:ARCHITECTURE/TAG"),
        ("open_clip:", "open_clip:ARCHITECTURE/TAG"),
        ("hf-hub:no-owner", "hf-hub:OWNER/NAME"),
        ("open_clip:/no/such.json/weights.pt", "cannot|not a model configuration"),
    ],
)
def test_a_name_that_does_not_exist_gets_what_comes_close(spec: str, words: str) -> None:
    with pytest.raises(UnknownModel, match=words) as caught:
        load_encoder(spec)
    assert "search models" in str(caught.value) or "read" in str(caught.value)


def test_a_configuration_cannot_take_the_name_of_open_clips_own(tmp_path: Path) -> None:
    import json

    (tmp_path / "ViT-B-32.json").write_text(json.dumps(TINY))
    with pytest.raises(UnknownModel, match="rename"):
        load_encoder(f"open_clip:{tmp_path}/ViT-B-32.json/{tmp_path}/w.pt")


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("spec", ["open_clip:ViT-B-32/openai", "hf-hub:someone/else"])
@pytest.mark.parametrize("switched_off", [True, False])
def test_a_model_that_is_not_here_is_refused_within_seconds(
    spec: str, switched_off: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if not switched_off:
        monkeypatch.delenv("HF_HUB_OFFLINE")
        monkeypatch.delenv("SEARCH_OFFLINE", raising=False)
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{closed_port()}")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
    put_in_hub("someone/here", tiny_folder(tmp_path / "m"), tmp_path)
    start = time.monotonic()
    with pytest.raises(ModelUnavailable, match="built-in starter") as caught:
        load_encoder(spec)
    assert time.monotonic() - start < 10
    assert "hf-hub:someone/here" in str(caught.value)


def put_in_hub(repo: str, spec: str, tmp_path: Path) -> None:
    """Lay a folder out as the hub's download cache does."""
    folder = tmp_path / "hub" / f"models--{repo.replace('/', '--')}"
    shutil.copytree(exports.parse_spec(spec).source, folder / "snapshots" / "0123abcd")
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("0123abcd")


def test_a_cached_repository_loads_without_asking_the_hub(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, models: SimpleNamespace
) -> None:
    put_in_hub("someone/tiny", models.folder, tmp_path)
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setattr(hub, "answers", lambda *_: pytest.fail("the hub was asked"))
    encoder = load("hf-hub:someone/tiny")
    assert encoder.id.startswith("open_clip/hf-hub/someone/tiny/")
    np.testing.assert_allclose(
        encoder.encode_texts(TEXTS), load(models.folder).encode_texts(TEXTS), atol=1e-6
    )


def test_weights_trained_with_quick_gelu_get_it(tmp_path: Path) -> None:
    from retrieval.encoders import open_clip

    for repo in ("timm/vit_base_patch32_clip_224.openai", "laion/CLIP-ViT-B-32-laion2B-s34B-b79K"):
        folder = tmp_path / "hub" / f"models--{repo.replace('/', '--')}"
        (folder / "snapshots" / "1").mkdir(parents=True)
        (folder / "snapshots" / "1" / "open_clip_model.safetensors").touch()
        (folder / "refs").mkdir()
        (folder / "refs" / "main").write_text("1")
    found = {
        spec: open_clip._find(exports.parse_spec(f"open_clip:{spec}"))[0].get("force_quick_gelu", False)
        for spec in ("ViT-B-32/openai", "ViT-B-32-quickgelu/openai", "ViT-B-32/laion2b_s34b_b79k")
    }
    assert list(found.values()) == [True, False, False]


SIZES = [(640, 480), (481, 640), (333, 500), (64, 64), (65, 64), (50, 900), (1001, 67), (31, 40), (127, 129)]


@pytest.mark.parametrize("mode", ["shortest", "longest", "squash"])
@pytest.mark.parametrize("target", [(64, 64), (97, 97), (64, 96)])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_geometry_is_open_clips_own(
    mode: str, target: tuple[int, int], interpolation: str, photos: list[Image.Image]
) -> None:
    from open_clip.transform import PreprocessCfg, image_transform_v2

    settings = {
        "size": target if target[0] != target[1] else target[0],
        "resize_mode": mode,
        "interpolation": interpolation,
        "fill_color": 7,
    }
    theirs = image_transform_v2(PreprocessCfg(**settings, mean=(0, 0, 0), std=(1, 1, 1)), is_train=False)
    ours = ClipPreparer.from_settings(settings)
    for at, size in enumerate(SIZES):
        photo = photos[at % len(photos)].resize(size)
        expected = np.round(theirs(photo).permute(1, 2, 0).numpy() * 255).astype(int)
        got = ours(photo).pixels[0].astype(int)
        assert got.shape == expected.shape
        apart = np.abs(got - expected)
        assert apart.max() <= 2, size
        # Pillow resizes the axis first that is cheaper, which a box can change: 8-bit rounding in between.
        assert apart.mean() <= 0.25, size


@pytest.mark.parametrize("size", [(1200, 801), (803, 1205), (1999, 400)])
def test_scaled_decoding_keeps_the_embedding(
    size: tuple[int, int], photos: list[Image.Image], models: SimpleNamespace
) -> None:
    encoder = load(models.pt)
    for photo in photos:
        stored = io.BytesIO()
        photo.resize(size, Image.Resampling.LANCZOS).save(stored, "JPEG", quality=92)
        full = Image.open(stored)
        full.load()
        scaled = Image.open(stored)
        scaled.draft("RGB", encoder.preparer.wanted(*size))
        scaled.load()
        assert scaled.width < size[0]
        scaled.info.update(full_size=size, reduced=round(size[0] / scaled.width))
        vectors = encoder.encode_images([full, scaled])
        assert vectors[0] @ vectors[1] >= 0.9995


def test_the_preparer_crosses_process_borders() -> None:
    preparer = ClipPreparer(64, 64)
    assert pickle.loads(pickle.dumps(preparer)) == preparer
    assert preparer.wanted(400, 300) == (170, 128)
