"""Rerankers: how they are found and loaded, what is kept of them, and the loop that drives them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from retrieval import hub
from retrieval.encoders.toy import COLOURS, ToyEncoder
from retrieval.errors import MissingDependency, ModelUnavailable, UnknownModel
from retrieval.images import load_image
from retrieval.rerankers import crops, load_reranker, rescoring
from retrieval.rerankers.looks import LookCache
from retrieval.rerankers.rescoring import Picture, fused, rescored
from tests.conftest import draw, python
from tests.tiny_blip import LONGEST, NAMES, picture, tiny_blip

TOY = ToyEncoder()


@pytest.fixture(scope="module")
def blip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_blip(tmp_path_factory.mktemp("blip") / "tiny")


@pytest.fixture
def copied(blip: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(blip, tmp_path / "copied"))


# Names


def test_unknown_name_is_answered_with_the_one_that_was_meant() -> None:
    with pytest.raises(UnknownModel, match="Did you mean 'blip_itm'"):
        load_reranker("blip-itn", TOY)
    with pytest.raises(UnknownModel, match=r"There are: blip_itm, crops, regions, classes\."):
        load_reranker("x", TOY)
    with pytest.raises(UnknownModel, match=r"Did you mean 'regions'.*--rerank regions"):
        load_reranker("region", TOY)


def test_crops_takes_no_name() -> None:
    with pytest.raises(UnknownModel, match="takes no name"):
        load_reranker("crops:large", TOY)


def test_the_package_and_crops_import_neither_torch_nor_transformers() -> None:
    code = (
        "import sys; from retrieval.rerankers import load_reranker; print(*sys.modules);"
        "from retrieval.rerankers.rescoring import rescored; from retrieval.registry import load_encoder;"
        "load_reranker('crops', load_encoder('toy')); print(*sys.modules)"
    )
    before, after = python(code).stdout.splitlines()
    assert not {"numpy", "PIL", "torch", "transformers"} & set(before.split())
    assert not {"torch", "transformers", "onnxruntime"} & set(after.split())


def test_without_transformers_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    monkeypatch.delitem(sys.modules, "retrieval.rerankers.blip_itm", raising=False)
    with pytest.raises(MissingDependency, match=r"pip install 'picture-search\[rerank\]'"):
        load_reranker("blip_itm", TOY)


# Checkpoints


@pytest.fixture
def fresh_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(hub, "cache_folder", lambda: tmp_path / "hub")
    return tmp_path / "hub"


def snapshot(hub_folder: Path, repo: str, source: Path, commit: str) -> Path:
    """Put a checkpoint where the hub's own library keeps what it fetched."""
    folder = hub_folder / f"models--{repo.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True, exist_ok=True)
    (folder / "refs" / "main").write_text(commit)
    return Path(shutil.copytree(source, folder / "snapshots" / commit))


def test_a_model_that_is_not_here_is_an_error_that_helps(fresh_hub: Path) -> None:
    reranker = load_reranker("blip_itm", TOY)
    with pytest.raises(ModelUnavailable, match=r"switched off.*hf download Salesforce/blip-itm-base-coco"):
        reranker.look([picture("red")])
    with pytest.raises(ModelUnavailable, match="--rerank crops"):
        _ = reranker.id


def test_a_hub_that_does_not_answer_is_not_waited_for(
    fresh_hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("retrieval.config.offline", lambda: False)
    monkeypatch.setattr(hub, "answers", lambda: False)
    with pytest.raises(ModelUnavailable, match="does not answer"):
        load_reranker("blip_itm:someone/some-model", TOY).judge("a", [np.zeros((1, 1), np.float16)])


def test_what_was_fetched_is_used_without_the_hub_and_named_by_its_commit(
    blip: Path, fresh_hub: Path
) -> None:
    snapshot(fresh_hub, "someone/blip", blip, "a" * 40)
    reranker = load_reranker("blip_itm:someone/blip", TOY)
    assert reranker.id == "blip_itm/someone/blip/aaaaaaaaaaaa/1"
    assert reranker.judge("a red wall", reranker.look([picture("red"), picture("blue")])).argmax() == 0
    snapshot(fresh_hub, "someone/blip", blip, "b" * 40)
    assert load_reranker("blip_itm:someone/blip", TOY).id != reranker.id


@pytest.mark.parametrize("name", ["./nowhere", "/nowhere/at/all", "~/no such folder"])
def test_a_folder_without_a_checkpoint_is_refused(name: str) -> None:
    with pytest.raises(ModelUnavailable, match="holds no checkpoint"):
        load_reranker(f"blip_itm:{name}", TOY)


@pytest.mark.parametrize("name", ["a/b/c", "with space", "-x", "http://127.0.0.1/x"])
def test_what_is_no_repository_is_never_asked_for(name: str) -> None:
    with pytest.raises(UnknownModel, match="neither a folder nor a repository"):
        load_reranker(f"blip_itm:{name}", TOY)


def test_one_changed_byte_of_the_weights_changes_the_id(copied: Path) -> None:
    before = load_reranker(f"blip_itm:{copied}", TOY).id
    assert load_reranker(f"blip_itm:{copied}", TOY).id == before
    weights = copied / "model.safetensors"
    stat = weights.stat()
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    os.utime(weights, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert load_reranker(f"blip_itm:{copied}", TOY).id != before


def test_weights_that_are_missing_are_never_made_up(copied: Path) -> None:
    from safetensors.numpy import load_file, save_file

    weights = load_file(copied / "model.safetensors")
    kept = {name: values for name, values in weights.items() if not name.startswith("itm_head")}
    save_file(kept, copied / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelUnavailable, match=r"2 of its weights are missing \(itm_head"):
        load_reranker(f"blip_itm:{copied}", TOY).look([picture("red")])


def test_another_kind_of_model_is_refused(copied: Path) -> None:
    settings = json.loads((copied / "config.json").read_text())
    (copied / "config.json").write_text(json.dumps({**settings, "model_type": "llava"}))
    with pytest.raises(ModelUnavailable, match="of the kind 'llava', not BLIP"):
        load_reranker(f"blip_itm:{copied}", TOY).look([picture("red")])


@pytest.mark.parametrize("content", [b"", b"not weights at all", b"\xff" * 64])
def test_damaged_weights_are_an_error_of_ours(copied: Path, content: bytes) -> None:
    (copied / "model.safetensors").write_bytes(content)
    with pytest.raises(ModelUnavailable, match="copied cannot be loaded"):
        load_reranker(f"blip_itm:{copied}", TOY).look([picture("red")])


def test_a_checkpoint_that_holds_code_is_refused_and_not_run(copied: Path, tmp_path: Path) -> None:
    import torch

    class Code:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "it-ran",))

    (copied / "model.safetensors").unlink()
    torch.save({"itm_head.bias": Code()}, copied / "pytorch_model.bin")
    with pytest.raises(ModelUnavailable):
        load_reranker(f"blip_itm:{copied}", TOY).look([picture("red")])
    assert not (tmp_path / "it-ran").exists()


def test_plain_weights_of_an_older_format_give_the_same_scores(blip: Path, tmp_path: Path) -> None:
    older = load_reranker(f"blip_itm:{tiny_blip(tmp_path / 'older', safe=False)}", TOY)
    newer = load_reranker(f"blip_itm:{blip}", TOY)
    images = [picture(name) for name in NAMES]
    np.testing.assert_allclose(
        older.judge("a red wall", older.look(images)),
        newer.judge("a red wall", newer.look(images)),
        atol=1e-4,
    )


def test_loading_says_nothing_and_leaves_the_hosts_settings(
    blip: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from transformers.utils import logging

    before = (logging.get_verbosity(), logging.is_progress_bar_enabled())
    load_reranker(f"blip_itm:{blip}", TOY).look([picture("red")])
    assert capfd.readouterr() == ("", "")
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before


def test_scores_are_those_of_transformers_own_forward_pass(blip: Path) -> None:
    import torch
    from transformers import BlipForImageTextRetrieval, BlipProcessor

    model = BlipForImageTextRetrieval.from_pretrained(blip).eval()
    processor = BlipProcessor.from_pretrained(blip)
    images = [picture(name, 7) for name in NAMES]
    reranker = load_reranker(f"blip_itm:{blip}", TOY)
    for text in ("a red wall", "dog", "a blue wall and a yellow wall"):
        inputs = processor(images=images, text=[text] * len(images), return_tensors="pt")
        with torch.inference_mode():
            answers = model(**inputs, use_itm_head=True).itm_score
        expected = (answers[:, 1] - answers[:, 0]).numpy()
        # The look is kept in half precision.
        np.testing.assert_allclose(
            reranker.judge(text, reranker.look(images)), expected, rtol=0.02, atol=0.02
        )


def test_a_text_is_cut_at_what_the_model_can_read(blip: Path) -> None:
    reranker = load_reranker(f"blip_itm:{blip}", TOY)
    looks = reranker.look([picture("red"), picture("green")])
    fits = "dog " * (LONGEST - 2)
    assert (reranker.judge(fits + "red green " * 1000, looks) == reranker.judge(fits, looks)).all()
    assert (reranker.judge("dog " * 3, looks) != reranker.judge(fits, looks)).any()
    assert np.isfinite(reranker.judge("half a pair \ud83d", looks)).all()


# Crops


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a dog and a red ball", ["dog", "red ball"]),
        ("the girl with an umbrella, in the rain", ["girl", "umbrella", "rain"]),
        ("A Dog AND a cat", ["Dog", "cat"]),
        ("sand and", ["sand and"]),
        ("hand in hand", ["hand", "hand"]),
        ("andy", ["andy"]),
        (" , ", [" , "]),
        ("", [""]),
        ("a dog,", ["a dog,"]),
        (", ".join("abcdefghijkl"), list("abcdefgh")),
    ],
)
def test_a_query_falls_into_the_things_it_asks_for(text: str, expected: list[str]) -> None:
    assert crops.parts(text) == expected


def test_a_hostile_text_falls_apart_at_once() -> None:
    assert crops.parts(" " * 100_000 + "a dog" + "\t" * 100_000 + ", a cat") == ["dog", "cat"]
    assert len(crops.parts("a dog and " * 10_000)) == crops.PARTS_AT_MOST


def test_crops_overlap_and_reach_every_edge() -> None:
    image = Image.new("RGB", (100, 50))
    pieces = crops.cut(image)
    assert [piece.size for piece in pieces] == [(100, 50)] + [(40, 20)] * 9
    seen = np.zeros((50, 100, 3), np.uint8)
    seen[:, :, 0] = np.arange(100)
    seen[:, :, 1] = np.arange(50)[:, None]
    corners = [np.asarray(piece)[[0, -1], [0, -1], :2].tolist() for piece in crops.cut(Image.fromarray(seen))]
    assert corners[1] == [[0, 0], [39, 19]]
    assert corners[9] == [[60, 30], [99, 49]]


def test_a_crop_of_a_picture_that_was_decoded_smaller_is_seen_whole(tmp_path: Path) -> None:
    path = tmp_path / "large.jpg"
    wide = Image.new("RGB", (1600, 1200), COLOURS["red"])
    wide.paste(COLOURS["blue"], (0, 0, 640, 480))
    wide.save(path, quality=95)
    reranker = load_reranker("crops", TOY)
    image = load_image(path, wanted=reranker.wanted)
    assert image.width < 1600, "decoded at a fraction"
    assert all("reduced" not in piece.info for piece in crops.cut(image)[1:])
    look = reranker.look([image])[0]
    blue = TOY.encode_texts(["blue"])[0]
    assert (look.astype(np.float32) @ blue).argmax() == 1
    assert look[1].astype(np.float32) @ blue > 0.99


def test_two_things_at_once_are_found_in_different_crops() -> None:
    def halves(left: str, right: str) -> Image.Image:
        image = Image.new("RGB", (120, 80), COLOURS[left])
        image.paste(COLOURS[right], (60, 0, 120, 80))
        return image

    reranker = load_reranker("crops", TOY)
    images = [halves("red", "black"), halves("black", "blue"), halves("red", "blue"), halves("red", "red")]
    looks = reranker.look(images)
    assert reranker.judge("a red wall and a blue sky", looks).argmax() == 2
    assert reranker.judge("blue sky, red wall", looks).argmax() == 2


# What is kept


KEY = hashlib.sha256(b"picture").digest()
LOOK = np.arange(12, dtype=np.float16).reshape(3, 4)


def kept(cache: LookCache) -> list[Path]:
    return sorted(cache.root.rglob("*.look"))


@pytest.mark.parametrize(
    "look",
    [
        LOOK,
        LOOK[:, ::2],
        np.float16([np.nan, np.inf, -0.0, 6e-8]),
        np.zeros((0, 3), np.float16),
        np.float16(3),
    ],
    ids=["plain", "strided", "odd numbers", "empty", "scalar"],
)
def test_any_array_comes_back_as_it_was(tmp_path: Path, look: Any) -> None:
    look = np.asarray(look)
    LookCache(tmp_path, "r").put(KEY, look)
    again = LookCache(tmp_path, "r").get(KEY)
    assert again is not None
    assert (again.shape, again.dtype, again.tobytes()) == (look.shape, np.float16, look.tobytes())


def test_hits_and_misses_are_counted(tmp_path: Path) -> None:
    cache = LookCache(tmp_path, "r")
    assert cache.get(KEY) is None
    cache.put(KEY, LOOK)
    assert cache.get(KEY) is not None
    assert cache.get(KEY) is not None
    assert (cache.hits, cache.misses) == (2, 1)


def test_looks_of_other_weights_are_not_taken(tmp_path: Path) -> None:
    mine, theirs = LookCache(tmp_path, "r/1"), LookCache(tmp_path, "r/2")
    mine.put(KEY, LOOK)
    assert theirs.get(KEY) is None
    theirs.folder.parent.mkdir(exist_ok=True)
    mine.folder.rename(theirs.folder)
    assert theirs.get(KEY) is None, "the file itself says whose it is"


@pytest.mark.parametrize("damage", ["flip", "head", "cut", "grow", "empty", "foreign", "other key", "folder"])
def test_a_damaged_look_is_ignored_and_replaced(tmp_path: Path, damage: str) -> None:
    cache = LookCache(tmp_path, "r")
    cache.put(KEY, LOOK)
    path = kept(cache)[0]
    data = bytearray(path.read_bytes())
    if damage in ("flip", "head"):
        data[-1 if damage == "flip" else 12] ^= 4
    path.write_bytes(
        {"cut": data[:-3], "grow": data + b"x", "empty": b"", "foreign": b"GIF89a" * 20}.get(damage, data)
    )
    if damage == "other key":
        cache.put(bytes(32), LOOK + 1)
        shutil.copy(next(item for item in kept(cache) if item != path), path)
    if damage == "folder":
        path.unlink()
        path.mkdir()
    assert cache.get(KEY) is None
    cache.put(KEY, LOOK)
    again = cache.get(KEY)
    assert again is not None
    assert (again == LOOK).all()


def test_the_looks_used_longest_ago_go_first(tmp_path: Path) -> None:
    look = np.zeros(1000, np.float16)
    cache = LookCache(tmp_path, "r", limit=10 * 2100)
    keys = [hashlib.sha256(bytes([number])).digest() for number in range(10)]
    for number, key in enumerate(keys[:9]):
        cache.put(key, look)
        os.utime(cache._path(key), (number, number))
    assert cache.get(keys[0]) is not None, "used just now"
    for key in keys[9:]:
        cache.put(key, look)
    another = LookCache(tmp_path, "another reranker", limit=10 * 2100)
    another.put(KEY, look)
    assert sum(path.stat().st_size for path in kept(cache)) <= 10 * 2100
    left = [number for number, key in enumerate(keys) if cache.get(key) is not None]
    assert {0, 8, 9} <= set(left)
    assert 1 not in left
    assert another.get(KEY) is not None


def test_the_cache_stays_within_its_limit_however_much_is_put(tmp_path: Path) -> None:
    limit = 40_000
    caches = [LookCache(tmp_path, f"r{number}", limit=limit) for number in range(2)]
    for number in range(120):
        caches[number % 2].put(hashlib.sha256(bytes([number])).digest(), np.zeros(500, np.float16))
        taken = sum(path.stat().st_size for path in kept(caches[0]))
        assert taken <= limit * (1 + 1 / 16) + 2000
    assert taken > limit / 2


def test_one_writer_never_passes_the_limit(tmp_path: Path) -> None:
    cache = LookCache(tmp_path, "r", limit=20_000)
    for number in range(60):
        cache.put(hashlib.sha256(bytes([number])).digest(), np.zeros(200, np.float16))
        assert sum(path.stat().st_size for path in kept(cache)) <= 20_000


def test_a_write_that_breaks_off_leaves_the_look_that_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = LookCache(tmp_path, "r")
    cache.put(KEY, LOOK)

    def full_disk(path: Path, data: bytes) -> int:
        with path.open("wb") as file:
            file.write(data[: len(data) // 2])
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full_disk)
        cache.put(KEY, LOOK + 1)
    again = cache.get(KEY)
    assert again is not None
    assert (again == LOOK).all()
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_look_larger_than_everything_is_not_kept(tmp_path: Path) -> None:
    cache = LookCache(tmp_path, "r", limit=1000)
    cache.put(KEY, LOOK)
    cache.put(bytes(32), np.zeros(1000, np.float16))
    assert cache.get(KEY) is not None
    assert cache.get(bytes(32)) is None


def test_a_read_only_catalog_is_read_and_not_written(tmp_path: Path) -> None:
    LookCache(tmp_path, "r").put(KEY, LOOK)
    path = kept(LookCache(tmp_path, "r"))[0]
    os.utime(path, (5, 5))
    cache = LookCache(tmp_path, "r", readonly=True)
    cache.put(bytes(32), LOOK)
    assert cache.get(KEY) is not None
    assert path.stat().st_mtime == 5
    assert kept(cache) == [path]


def test_a_place_that_cannot_be_written_costs_no_query(tmp_path: Path) -> None:
    (tmp_path / "looks").write_text("a file where a folder should be")
    cache = LookCache(tmp_path, "r")
    cache.put(KEY, LOOK)
    assert cache.get(KEY) is None


def test_what_a_killed_process_left_is_swept(tmp_path: Path) -> None:
    cache = LookCache(tmp_path, "r")
    cache.folder.mkdir(parents=True)
    old, new, own = (cache.folder / name for name in ("old.1.tmp", "new.2.tmp", "notes.md"))
    for path in (old, new, own):
        path.write_bytes(b"part")
    os.utime(old, (1, 1))
    os.utime(own, (1, 1))
    cache.put(KEY, LOOK)
    crowded = LookCache(tmp_path, "r", limit=300)
    for number in range(9):
        crowded.put(bytes([number] * 32), LOOK)
    assert not old.exists()
    assert own.exists(), "what is not ours stays"


def test_processes_that_write_the_same_looks_do_not_disturb_each_other(tmp_path: Path) -> None:
    code = (
        "import sys, hashlib, numpy as np\nfrom pathlib import Path\n"
        "from retrieval.rerankers.looks import LookCache\n"
        "cache = LookCache(Path(sys.argv[1]), 'r', limit=30_000)\n"
        "for turn in range(300):\n"
        "    key = hashlib.sha256(bytes([turn % 12])).digest()\n"
        "    look = cache.get(key)\n"
        "    assert look is None or (look == turn % 12).all()\n"
        "    cache.put(key, np.full(1000, turn % 12, np.float16))\n"
    )
    results = []
    threads = [threading.Thread(target=lambda: results.append(python(code, str(tmp_path)))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [(result.returncode, result.stderr) for result in results] == [(0, "")] * 3
    assert not list(tmp_path.rglob("*.tmp"))


# The loop


class Clock:
    """Time that passes only when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(rescoring, "monotonic", clock)
    return clock


class Redness:
    """Judges by the red of the mean colour; each look takes a second of the clock."""

    id = "redness"
    batch_size = 3

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock = clock
        self.looked: list[int] = []
        self.sizes: list[tuple[int, int]] = []

    def look(self, images: Sequence[Image.Image]) -> list[Any]:
        self.looked.append(len(images))
        self.sizes += [image.size for image in images]
        if self.clock:
            self.clock.now += len(images)
        return [np.asarray(image, np.float32).mean((0, 1)).astype(np.float16) for image in images]

    def judge(self, text: str, looks: Sequence[Any]) -> Any:
        return np.array([look[0] for look in looks], np.float32)


@pytest.fixture
def pictures(tmp_path: Path) -> list[Picture]:
    """Eight pictures, redder and redder."""
    found = []
    for number in range(8):
        path = tmp_path / f"{number}.png"
        Image.new("RGB", (20, 10), (30 * number, 0, 0)).save(path)
        found.append(Picture(path, hashlib.sha256(path.read_bytes()).digest()))
    return found


def test_every_picture_gets_the_score_of_its_own(pictures: list[Picture]) -> None:
    reranker = Redness()
    assert rescored(reranker, "red", pictures).tolist() == [30.0 * number for number in range(8)]
    assert reranker.looked == [3, 3, 2]
    assert rescored(reranker, "red", []).shape == (0,)


def test_the_second_query_reuses_the_looks_of_the_first(pictures: list[Picture], tmp_path: Path) -> None:
    looks = LookCache(tmp_path / "cache", "redness")
    first = rescored(Redness(), "red", pictures, looks=looks)
    again = Redness()
    events: list[tuple[str, dict[str, Any]]] = []
    second = rescored(
        again, "red", pictures, looks=looks, progress=lambda name, figures: events.append((name, figures))
    )
    assert again.looked == []
    assert (looks.hits, looks.misses) == (8, 8)
    assert second.tolist() == first.tolist()
    assert [figures["done"] for _, figures in events] == [3, 6, 8]
    assert events[-1] == ("rerank", {"done": 8, "total": 8, "reused": 8})


@pytest.mark.parametrize(
    ("budget", "judged"), [(0.0, 0), (0.5, 3), (3.0, 3), (3.5, 6), (100.0, 8), (None, 8)]
)
def test_the_time_budget_is_kept_to_within_one_batch(
    pictures: list[Picture], clock: Clock, budget: float | None, judged: int
) -> None:
    scores = rescored(Redness(clock), "red", pictures, budget=budget)
    assert np.isfinite(scores).tolist() == [True] * judged + [False] * (8 - judged)
    if budget is not None:
        assert clock.now - 100 <= budget + 3


def test_a_disk_that_takes_the_whole_budget_to_read_leaves_none_for_the_model(
    pictures: list[Picture], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = rescoring.read_file

    def slow(path: Path) -> Any:
        clock.now += 10
        return real(path)

    monkeypatch.setattr(rescoring, "read_file", slow)
    reranker = Redness(clock)
    assert np.isnan(rescored(reranker, "red", pictures, budget=5)).all()
    assert reranker.looked == []


def test_files_that_cannot_be_read_are_left_out_and_the_others_judged(pictures: list[Picture]) -> None:
    pictures[0].path.unlink()
    pictures[4].path.write_bytes(b"no picture")
    scores = rescored(Redness(), "red", pictures)
    assert np.isnan(scores).tolist() == [number in (0, 4) for number in range(8)]
    assert scores[5] == 150


def test_a_kept_look_serves_when_the_disk_is_away(pictures: list[Picture], tmp_path: Path) -> None:
    looks = LookCache(tmp_path / "cache", "redness")
    rescored(Redness(), "red", pictures, looks=looks)
    for item in pictures:
        item.path.unlink()
    assert np.isfinite(rescored(Redness(), "red", pictures, looks=looks)).all()


def test_a_file_that_changed_is_not_kept_under_its_old_content(
    pictures: list[Picture], tmp_path: Path
) -> None:
    looks = LookCache(tmp_path / "cache", "redness")
    draw(pictures[2].path, "red")
    assert rescored(Redness(), "red", pictures, looks=looks)[2] == 220
    assert looks.get(pictures[2].content_hash) is None
    assert looks.get(hashlib.sha256(pictures[2].path.read_bytes()).digest()) is not None


def test_large_pictures_are_decoded_at_a_fraction(tmp_path: Path) -> None:
    path = tmp_path / "large.jpg"
    Image.new("RGB", (4000, 3200)).save(path)
    reranker = Redness()
    rescored(reranker, "red", [Picture(path, bytes(32))])
    assert reranker.sizes == [(1000, 800)]


def test_the_next_batch_is_read_while_the_model_works(
    pictures: list[Picture], monkeypatch: pytest.MonkeyPatch
) -> None:
    read = [threading.Event() for _ in pictures]
    numbers = {item.path: number for number, item in enumerate(pictures)}
    real = rescoring.read_file

    def watched(path: Path) -> Any:
        read[numbers[path]].set()
        return real(path)

    class Waiting(Redness):
        def look(self, images: Sequence[Image.Image]) -> list[Any]:
            following = 3 * (len(self.looked) + 1)
            assert following >= 8 or read[following].wait(20), "nothing was read ahead"
            assert following + 3 >= 8 or not read[following + 3].is_set(), "more than one batch ahead"
            return super().look(images)

    monkeypatch.setattr(rescoring, "read_file", watched)
    assert np.isfinite(rescored(Waiting(), "red", pictures)).all()


def test_an_error_of_the_model_reaches_the_caller(pictures: list[Picture]) -> None:
    class Broken(Redness):
        def look(self, images: Sequence[Image.Image]) -> list[Any]:
            raise ModelUnavailable("no weights")

    before = threading.active_count()
    with pytest.raises(ModelUnavailable):
        rescored(Broken(), "red", pictures)
    assert threading.active_count() == before


def test_a_score_that_is_no_number_counts_as_not_judged(pictures: list[Picture]) -> None:
    class Odd(Redness):
        def judge(self, text: str, looks: Sequence[Any]) -> Any:
            return np.array([np.inf, np.nan, 1.0], np.float32)[: len(looks)]

    scores = rescored(Odd(), "red", pictures)
    assert np.flatnonzero(~np.isnan(scores)).tolist() == [2, 5]


# Both stages together


EVIDENCE = st.floats(-30, 30) | st.sampled_from([-np.inf, np.inf, 0.0, 1.0])
SECOND = st.floats(-1e6, 1e6, width=32) | st.sampled_from([np.nan, 0.0, 1.0])
PAIRS = st.lists(st.tuples(EVIDENCE, SECOND), max_size=30)


def columns(pairs: list[tuple[float, float]]) -> tuple[Any, Any]:
    table = np.array(pairs, np.float64).reshape(-1, 2)
    return table[:, 0], table[:, 1].astype(np.float32)


@given(PAIRS)
def test_the_order_holds_every_picture_once(pairs: list[tuple[float, float]]) -> None:
    assert sorted(fused(*columns(pairs)).tolist()) == list(range(len(pairs)))


@given(PAIRS)
def test_better_in_both_stages_never_comes_later(pairs: list[tuple[float, float]]) -> None:
    first, second = columns(pairs)
    place = np.argsort(fused(first, second))
    for one in range(len(pairs)):
        for other in range(len(pairs)):
            no_worse = first[one] >= first[other] and second[one] >= second[other]
            if no_worse and (first[one] > first[other] or second[one] > second[other]):
                assert place[one] < place[other]


@given(PAIRS)
def test_what_was_not_judged_keeps_its_place(pairs: list[tuple[float, float]]) -> None:
    first, second = columns(pairs)
    before, after = np.argsort(-first, kind="stable"), fused(first, second)
    unjudged = np.isnan(second)
    assert (before[unjudged[before]] == after[unjudged[after]]).all()
    assert (unjudged[before] == unjudged[after]).all()


@given(st.lists(EVIDENCE, max_size=30), st.floats(-1e6, 1e6, width=32) | st.just(np.nan))
def test_a_second_stage_that_sees_no_difference_changes_nothing(first: list[float], same: float) -> None:
    order = fused(np.array(first), np.full(len(first), same, np.float32))
    assert order.tolist() == np.argsort(-np.array(first), kind="stable").tolist()


def test_a_used_up_budget_leaves_the_tail_behind_the_judged() -> None:
    first = np.array([5.0, 4.0, 3.0, 2.0, 1.0])
    assert fused(first, np.array([0.0, 9.0, 8.0, np.nan, np.nan])).tolist() == [1, 0, 2, 3, 4]


def test_a_file_in_between_that_cannot_be_read_keeps_its_place() -> None:
    first = np.array([5.0, 4.0, 3.0, 2.0, 1.0])
    assert fused(first, np.array([0.0, np.nan, 9.0, 9.0, np.nan])).tolist() == [2, 1, 0, 3, 4]
