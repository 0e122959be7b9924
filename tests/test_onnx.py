"""Exported towers: equal to torch, free of torch, and never used when they are not what they were."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import numpy as np
import pytest
from PIL import Image

from indexer import runtimes
from indexer.export import encoder_for_indexing, export, pull
from retrieval.encoders import calibration, exports
from retrieval.encoders.clip_tokens import ClipTokenizer, JsonTokenizer, clean_text, load_tokenizer
from retrieval.encoders.onnx import OnnxEncoder, load_open_clip
from retrieval.errors import CacheCorrupt, ModelUnavailable
from retrieval.protocols import Pair
from tests.tiny_clip import tiny_folder, tiny_spec

ROOT = Path(__file__).parent.parent
TEXTS = ["a photo of a dog", "", "two cats & a naïve café", "雪の中の犬 🐕", "snow " * 100]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Two tiny models, each exported once: a plain CLIP and one built like SigLIP."""
    folder = tmp_path_factory.mktemp("onnx")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEARCH_CACHE", str(folder / "cache"))
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setattr(runtimes, "TRIAL_SECONDS", 0.05)
        steps: list[str] = []
        plain = tiny_spec(folder / "plain")
        siglip = tiny_folder(folder / "siglip", siglip=True)
        export(plain, lambda step, figures: steps.append(step))
        export(siglip)
        yield SimpleNamespace(plain=plain, siglip=siglip, cache=folder / "cache", steps=steps)


@pytest.fixture
def own(made: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A cache and a checkpoint of one's own, to be damaged."""
    monkeypatch.setenv("SEARCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(runtimes, "TRIAL_SECONDS", 0.05)
    shutil.copytree(made.cache, tmp_path / "cache")
    name = exports.parse_spec(made.plain)
    found = exports.find_export(name)
    assert found is not None
    return SimpleNamespace(spec=made.plain, name=name, folder=found.folder)


@pytest.fixture
def quick_export(own: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare torch's exporter its seconds where the towers are those that are already exported."""
    from retrieval.encoders.open_clip import OpenClipEncoder

    towers = tmp_path / "towers"
    shutil.copytree(own.folder, towers)

    def copy(self: OpenClipEncoder, folder: Path) -> None:
        for name in ("image.onnx", "image.bin", "text.onnx", "text.bin"):
            shutil.copy(towers / name, folder)

    monkeypatch.setattr(OpenClipEncoder, "write_onnx", copy)


@pytest.fixture
def photos() -> list[Image.Image]:
    draw = np.random.default_rng(3)
    return [
        Image.fromarray(draw.integers(0, 256, (height, width, 3), dtype=np.uint8))
        for height, width in ((64, 64), (90, 130), (200, 77), (31, 40), (500, 20))
    ]


def by_torch(spec: str) -> Any:
    from retrieval.encoders.open_clip import OpenClipEncoder

    return OpenClipEncoder(spec, device="cpu")


@pytest.mark.parametrize("kind", ["plain", "siglip"])
def test_both_runtimes_give_the_same_vectors_under_the_same_id(
    kind: str, made: SimpleNamespace, photos: list[Image.Image]
) -> None:
    spec = getattr(made, kind)
    ours, theirs = load_open_clip(spec), by_torch(spec)
    assert isinstance(ours, OnnxEncoder)
    assert (ours.id, ours.dim, ours.preparer) == (theirs.id, theirs.dim, theirs.preparer)
    for count in (1, 2, len(photos)):
        pair = ours.encode_images(photos[:count]), theirs.encode_images(photos[:count])
        assert (pair[0] * pair[1]).sum(axis=1).min() >= 0.9999
    pair = ours.encode_texts(TEXTS), theirs.encode_texts(TEXTS)
    assert (pair[0] * pair[1]).sum(axis=1).min() >= 0.9999
    assert pair[0].dtype == np.float32
    scores, sample = pair[0][0], pair[0].ravel()
    for kinds in get_args(Pair):
        expected = theirs.match(scores, sample, pair=kinds)
        np.testing.assert_array_equal(ours.match(scores, sample, pair=kinds), expected)


def test_an_export_tells_its_steps_and_is_compared_with_torch(made: SimpleNamespace) -> None:
    assert made.steps == ["model-loading", "model-exporting", "model-checking", "model-timing", "model-ready"]
    manifest = exports.find_export(exports.parse_spec(made.plain)).manifest  # type: ignore[union-attr]
    assert min(manifest["parity"].values()) >= 0.9999
    assert "images_per_second" not in manifest, "what is fast depends on the machine"
    assert set(manifest["files"]) == {"image.onnx", "image.bin", "text.onnx", "text.bin", "merges.txt"}
    assert not list(made.cache.glob("**/.partial*"))


def test_nothing_to_encode_gives_no_rows_and_loads_no_tower(made: SimpleNamespace) -> None:
    encoder = load_open_clip(made.plain)
    assert encoder.encode_images([]).shape == encoder.encode_texts([]).shape == (0, 64)
    assert not {"_image_session", "_text_session", "tokenizer"} & vars(encoder).keys()
    encoder.encode_texts(["a dog"])
    assert "_image_session" not in vars(encoder)


def test_several_threads_share_one_tower(made: SimpleNamespace, photos: list[Image.Image]) -> None:
    alone = load_open_clip(made.plain).encode_images(photos)
    encoder = load_open_clip(made.plain)
    with ThreadPoolExecutor(4) as pool:
        for together in pool.map(lambda _: encoder.encode_images(photos), range(8)):
            np.testing.assert_allclose(together, alone, atol=1e-5)


def test_an_exported_query_imports_neither_torch_nor_open_clip(made: SimpleNamespace) -> None:
    code = """
        import sys
        from retrieval.registry import load_encoder
        for spec in sys.argv[1:]:
            assert load_encoder(spec).encode_texts(["two dogs in the snow"]).shape[0] == 1
        heavy = {"torch", "torchvision", "open_clip", "transformers", "timm", "onnx", "huggingface_hub"}
        heavy |= {"PIL", "ftfy", "regex", "sqlalchemy"}
        print(*sorted(heavy & sys.modules.keys()))
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), made.plain, made.siglip],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "", "")


@pytest.mark.parametrize("damage", ["cut off", "missing file", "no manifest", "manifest cut off"])
def test_a_damaged_export_is_noticed(damage: str, own: SimpleNamespace) -> None:
    target = own.folder / ("manifest.json" if "manifest" in damage else "text.bin")
    if "cut off" in damage:
        target.write_bytes(target.read_bytes()[:-100])
    else:
        target.unlink()
    assert exports.find_export(own.name) is None
    assert exports.verify_export(own.spec)
    assert load_open_clip(own.spec).runtime == "torch"  # type: ignore[attr-defined]


@pytest.mark.usefixtures("quick_export")
def test_a_damaged_export_is_made_anew_by_the_next_indexing(own: SimpleNamespace) -> None:
    (own.folder / "text.bin").unlink()
    assert encoder_for_indexing(own.spec).id
    assert exports.verify_export(own.spec) == []
    assert isinstance(load_open_clip(own.spec), OnnxEncoder)


@pytest.mark.usefixtures("quick_export")
def test_a_flipped_byte_is_found_by_checksum_and_mended_by_pull(own: SimpleNamespace) -> None:
    target = own.folder / "image.bin"
    content = bytearray(target.read_bytes())
    content[1000] ^= 1
    target.write_bytes(content)
    assert exports.verify_export(own.spec) == ["image.bin"]
    assert "exported" in pull(own.spec)
    assert exports.verify_export(own.spec) == []


@pytest.mark.parametrize("name", ["text.onnx", "text.bin", "image.bin"])
def test_a_damaged_export_is_not_used_and_the_model_runs_by_torch(own: SimpleNamespace, name: str) -> None:
    sound = load_open_clip(own.spec).encode_texts(["a dog"])
    target = own.folder / name
    before = target.stat()
    data = bytearray(target.read_bytes())
    data[len(data) // 2] ^= 1
    target.write_bytes(data)
    os.utime(target, ns=(before.st_atime_ns, before.st_mtime_ns))
    encoder = load_open_clip(own.spec)
    assert not isinstance(encoder, OnnxEncoder)
    assert (encoder.encode_texts(["a dog"]) * sound).sum() > 0.9999


def test_a_graph_that_cannot_be_loaded_says_how_to_mend_it(own: SimpleNamespace) -> None:
    encoder = load_open_clip(own.spec)
    (own.folder / "text.onnx").write_bytes(b"damaged after it was checked")
    with pytest.raises(CacheCorrupt, match="search models pull open_clip:"):
        encoder.encode_texts(["a dog"])


def test_an_export_is_not_used_once_its_checkpoint_has_changed(
    own: SimpleNamespace, quick_export: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = tiny_spec(tmp_path / "mine")
    export(spec)
    name = exports.parse_spec(spec)
    checkpoint = Path(name.source)
    before = load_open_clip(spec).id
    os.utime(checkpoint, (1, 1))
    assert exports.find_export(name) is not None, "only touched"
    shutil.copy(exports.parse_spec(tiny_spec(tmp_path / "other", seed=1)).source, checkpoint)
    assert exports.find_export(name) is None
    assert load_open_clip(spec).id != before
    monkeypatch.undo()
    monkeypatch.setenv("SEARCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    after = encoder_for_indexing(spec).id
    assert after != before
    checkpoint.unlink()
    assert load_open_clip(spec).id == after, "the export is the only copy now"


def test_a_model_that_cannot_be_exported_keeps_torch_and_says_why(
    own: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    from retrieval.encoders.open_clip import OpenClipEncoder

    def refuse(self: OpenClipEncoder, folder: Path) -> None:
        raise RuntimeError("an operator\nwithout a name")

    monkeypatch.setattr(OpenClipEncoder, "write_onnx", refuse)
    shutil.rmtree(own.folder)
    encoder = encoder_for_indexing(own.spec)
    assert encoder.runtime == "torch"  # type: ignore[attr-defined]
    assert "an operator without a name" in encoder.note  # type: ignore[attr-defined]
    monkeypatch.setattr(OpenClipEncoder, "write_onnx", lambda *_: pytest.fail("it was tried again"))
    assert "an operator" in encoder_for_indexing(own.spec).note  # type: ignore[attr-defined]
    assert "an operator" in load_open_clip(own.spec).note  # type: ignore[attr-defined]
    assert [path.name for path in own.folder.iterdir()] == ["manifest.json"]


@pytest.mark.usefixtures("quick_export")
def test_towers_that_differ_from_torch_are_not_kept(
    own: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OnnxEncoder, "encode_texts", lambda self, texts: -np.eye(len(texts), 64))
    shutil.rmtree(own.folder)
    encoder = encoder_for_indexing(own.spec)
    assert encoder.runtime == "torch"  # type: ignore[attr-defined]
    assert "text tower differs" in encoder.note  # type: ignore[attr-defined]
    assert [path.name for path in own.folder.iterdir()] == ["manifest.json"]


def test_a_cache_that_cannot_be_written_leaves_torch(
    own: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("SEARCH_CACHE", str(tmp_path / "file"))
    encoder = encoder_for_indexing(own.spec)
    assert encoder.runtime == "torch"  # type: ignore[attr-defined]
    assert "could not be written" in encoder.note  # type: ignore[attr-defined]


def test_folders_written_at_once_leave_one_whole(tmp_path: Path) -> None:
    target = tmp_path / "models" / "x"
    start = threading.Barrier(6)

    def write(number: int) -> None:
        with exports.new_folder(target) as folder:
            for part in range(20):
                (folder / f"{part}").write_text(str(number))
            start.wait()

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(write, range(6)))
    assert len({path.read_text() for path in target.iterdir()}) == 1
    assert len(list(target.iterdir())) == 20
    assert [path.name for path in target.parent.iterdir()] == ["x"]


def test_a_failed_export_leaves_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "x"
    with exports.new_folder(target) as folder:
        (folder / "old").touch()
    with pytest.raises(KeyError), exports.new_folder(target) as folder:
        raise KeyError
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    assert (target / "old").exists()


def strange_texts(count: int) -> list[str]:
    draw = random.Random(7)
    words = [
        "a", "dog's", "don't", "I'LL", "&amp;", "&eacute;", "&EACUTE;", "<b>", "naïve",
        "café", "ﬁsh", "Œuvre", "北京", "東京タワー", "👩\u200d👩\u200d👧", "🐕", "İstanbul", "ſ", "K",
        "\x1b[31m", "\r\n", "\x00", "\x1f", "\x85", "\u2028", "ＦＵＬＬ", "½", "²", "٣",
        "12,345.67", "<end_of_text>", "<START_OF_TEXT>", "__a_b__", "’tis", "“q”", "Ã©",
        "é", "\ufeff", "\xad", "\x7f", "&lt;end_of_text&gt;", "''s",
        "supercalifragilistic",
    ]  # fmt: skip
    texts = ["", " ", "x" * 500, "snow " * 300]
    for _ in range(count):
        pieces = []
        for _ in range(draw.randrange(30)):
            odd = chr(draw.choice([draw.randrange(32, 127), draw.randrange(0x250), draw.randrange(0xD7FF)]))
            pieces.append(draw.choice([draw.choice(words), odd]) + draw.choice(["", " ", "  "]))
        texts.append("".join(pieces))
    return texts


@pytest.mark.parametrize("clean", ["lower", "whitespace", "canonicalize"])
def test_tokens_are_exactly_open_clips(clean: str, tmp_path: Path) -> None:
    import gzip

    from open_clip.tokenizer import SimpleTokenizer, default_bpe

    theirs = SimpleTokenizer(clean=clean, context_length=40)
    lines = gzip.decompress(Path(default_bpe()).read_bytes()).decode().split("\n")
    ours = ClipTokenizer(lines[1 : 49152 - 256 - 2 + 1], clean=clean, context=40)
    ours = load_tokenizer(tmp_path, ours.save(tmp_path))  # type: ignore[assignment]
    texts = strange_texts(1500)
    np.testing.assert_array_equal(ours(texts), theirs(texts).numpy())


def test_a_json_tokenizer_is_exactly_open_clips_wrapper(made: SimpleNamespace, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    from open_clip.tokenizer import HFTokenizer

    folder = exports.parse_spec(made.siglip).source
    table = (Path(folder) / "tokenizer.json").read_text()
    texts = strange_texts(300)
    for strip in (False, True):
        theirs = HFTokenizer(folder, context_length=16, clean="canonicalize", strip_sep_token=False)
        ours = JsonTokenizer(table, context=16, clean="canonicalize", pad_token="<pad>")
        expected = theirs(texts).numpy()
        if strip:
            ours = JsonTokenizer(table, context=16, clean="canonicalize", pad_token="<pad>", strip_id=1)
            expected = np.where(expected == 1, 0, expected)
        ours = load_tokenizer(tmp_path, ours.save(tmp_path))  # type: ignore[assignment]
        np.testing.assert_array_equal(ours(texts), expected)


def test_a_json_tokenizer_pads_truncates_and_strips_as_its_settings_say(made: SimpleNamespace) -> None:
    table = (Path(exports.parse_spec(made.siglip).source) / "tokenizer.json").read_text()
    plain = JsonTokenizer(table, context=4, clean="canonicalize", pad_id=0)
    assert plain(["a", "A B c d e", ""]).tolist() == [[3, 1, 0, 0], [3, 4, 5, 1], [1, 0, 0, 0]]
    left = JsonTokenizer(table, context=4, clean="canonicalize", padding_side="left", strip_id=1)
    assert left(["a"]).tolist() == [[0, 0, 3, 0]]
    clips = JsonTokenizer(table, context=6, clean="lower", clips={"bos": 50, "eos": 51, "cls": 52})
    assert clips(["a", "abcdefg"]).tolist() == [[50, 3, 51, 0, 0, 52], [50, 3, 4, 5, 51, 52]]


def test_cleaning_plain_text_needs_no_import() -> None:
    assert clean_text("  A  Dog's_life,\tat 12:30! ", "lower") == "a dog's_life, at 12:30!"
    assert clean_text("  A  Dog's_life,\tat 12:30! ", "canonicalize") == "a dogs life at 1230"


def unrelated(centre: float, count: int) -> Any:
    return np.random.default_rng(5).normal(centre, 0.027, count).astype(np.float32)


@pytest.mark.parametrize("family", ["clip", "siglip"])
@pytest.mark.parametrize("count", [0, 1, 5, 1000])
def test_match_rises_with_the_score_between_nought_and_one(family: str, count: int) -> None:
    scores = np.linspace(-1, 1, 401, dtype=np.float32)
    likely = calibration.match(scores, unrelated(0.15, count), family)
    assert (np.diff(likely) >= 0).all()
    assert likely[0] < 0.01
    assert likely[-1] > 0.99


@pytest.mark.parametrize(("family", "shift"), [("clip", 0.0), ("siglip", -0.14)])
def test_match_tells_what_fits_from_what_does_not(family: str, shift: float) -> None:
    sample = np.concatenate([unrelated(0.16 + shift, 950), unrelated(0.30 + shift, 50)])
    likely = calibration.match(sample, sample, family)
    assert (likely[950:] >= calibration.CUTOFF).mean() > 0.9
    assert (likely[:950] >= calibration.CUTOFF).mean() < 0.01


def test_a_folder_of_nothing_but_dogs_still_answers_a_dog() -> None:
    sample = unrelated(0.29, 300)
    assert (calibration.match(sample, sample) >= calibration.CUTOFF).mean() > 0.4


def test_a_model_with_cosines_of_another_kind_is_judged_by_its_sample_alone() -> None:
    sample = np.concatenate([unrelated(0.70, 950), np.full(50, 0.90, np.float32)])
    likely = calibration.match(sample, sample)
    assert (likely[950:] >= calibration.CUTOFF).all()
    assert (likely[:950] >= calibration.CUTOFF).mean() < 0.01


@pytest.mark.parametrize("family", ["clip", "siglip"])
@pytest.mark.parametrize(
    ("pair", "centre", "spread"), [("image-image", 0.55, 0.08), ("text-text", 0.66, 0.07)]
)
@pytest.mark.parametrize("count", [3, 40, 1000])
def test_pictures_and_texts_among_themselves_have_cosines_of_their_own(
    family: str, pair: Pair, centre: float, spread: float, count: int
) -> None:
    sample = np.random.default_rng(7).normal(centre, spread, count).astype(np.float32)
    likely = calibration.match(np.array([centre, 0.95], np.float32), sample, family, pair=pair)
    assert likely[0] < 0.1
    assert likely[1] > 0.9
    assert (calibration.match(sample, sample, family, pair=pair) >= calibration.CUTOFF).mean() < 0.01


def test_a_text_among_stored_texts_is_judged_as_a_picture_among_pictures() -> None:
    sample, scores = unrelated(0.16, 500), np.linspace(0, 0.5, 9, dtype=np.float32)
    one, other = (calibration.match(scores, sample, pair=pair) for pair in ("text-image", "image-text"))
    np.testing.assert_array_equal(one, other)


def test_a_checkpoint_that_never_existed_has_no_export(own: SimpleNamespace) -> None:
    with pytest.raises(ModelUnavailable, match="no checkpoint file"):
        encoder_for_indexing(f"open_clip:ViT-B-32/{own.folder}/nothing.pt")
