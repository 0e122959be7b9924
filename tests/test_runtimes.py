"""What runs a model here: tried once a machine, remembered, and never what crashes or lies."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

import indexer.int8 as making
from indexer import index_folder, runtimes
from indexer.export import encoder_for_indexing, export, make_export, pull
from retrieval import Catalog, config, models
from retrieval.encoders import exports, int8, trials
from retrieval.encoders.onnx import OnnxEncoder, load_open_clip
from retrieval.encoders.openvino import OpenVinoEncoder
from retrieval.encoders.trials import Outcome
from retrieval.errors import ModelUnavailable, QueryError, UnknownModel
from retrieval.evaluate import metrics
from retrieval.evaluate.labels import read_labels
from tests.conftest import ROOT
from tests.tiny_clip import tiny_spec


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """A tiny model, exported, and photos of noise of many kinds."""
    folder = tmp_path_factory.mktemp("runtimes")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEARCH_CACHE", str(folder / "cache"))
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setattr(runtimes, "TRIAL_SECONDS", 0.03)
        spec = tiny_spec(folder / "plain")
        export(spec)
    photos = folder / "photos"
    photos.mkdir()
    draw = np.random.default_rng(1)
    for number in range(60):
        coarse = draw.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((80, 70)).save(photos / f"{number:02}.png")
    return SimpleNamespace(spec=spec, cache=folder / "cache", photos=photos)


@pytest.fixture
def own(made: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A cache of one's own in which nothing was tried yet."""
    monkeypatch.setenv("SEARCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(runtimes, "TRIAL_SECONDS", 0.03)
    shutil.copytree(made.cache, tmp_path / "cache")
    shutil.rmtree(config.model_cache() / trials.FOLDER, ignore_errors=True)
    found = exports.find_export(exports.parse_spec(made.spec))
    assert found is not None
    return SimpleNamespace(spec=made.spec, found=found, id=found.manifest["id"], photos=made.photos)


@pytest.fixture
def steps() -> tuple[list[str], Callable[[str, dict[str, Any]], None]]:
    seen: list[str] = []
    return seen, lambda step, figures: seen.append(str(figures.get("text", step)))


def kind(encoder: Any) -> str:
    return str(encoder.runtime)


def test_openvino_gives_the_vectors_of_onnx_runtime_under_the_same_id(own: SimpleNamespace) -> None:
    ours, theirs = OpenVinoEncoder(own.found), OnnxEncoder(own.found)
    assert ours.id == theirs.id
    pictures = [Image.open(path).convert("RGB") for path in sorted(own.photos.iterdir())[:11]]
    expected = theirs.encode_images(pictures)
    found = ours.encode_images(pictures)
    assert found.dtype == np.float32
    assert (found * expected).sum(axis=1).min() >= runtimes.PARITY
    np.testing.assert_array_equal(ours.encode_texts(["a dog"]), theirs.encode_texts(["a dog"]))


def test_batches_at_once_do_not_write_over_each_others_vectors(own: SimpleNamespace) -> None:
    encoder = OpenVinoEncoder(own.found)
    batches = [runtimes.random_pictures(encoder, count) for count in (1, 8, 3, 8, 5, 2)]
    alone = [encoder.encode_prepared(batch).vectors.copy() for batch in batches]
    with ThreadPoolExecutor(6) as pool:
        for _ in range(5):
            for vectors, expected in zip(
                pool.map(lambda batch: encoder.encode_prepared(batch).vectors, batches), alone, strict=True
            ):
                np.testing.assert_allclose(vectors, expected, atol=1e-5)


def test_openvino_is_imported_without_its_reports_to_the_web(own: SimpleNamespace) -> None:
    code = """
        import socket, sys, time
        def refuse(*_): raise AssertionError("it asked for the network")
        socket.getaddrinfo = socket.create_connection = refuse
        from retrieval.encoders import exports
        from retrieval.encoders.openvino import OpenVinoEncoder
        from indexer.runtimes import random_pictures
        encoder = OpenVinoEncoder(exports.find_export(exports.parse_spec(sys.argv[1])))
        encoder.encode_prepared(random_pictures(encoder, 2))
        print(*(name for name in sys.modules if name.startswith("openvino_telemetry")), "openvino" in sys.modules)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), own.spec],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "True", "")


def test_an_export_is_tried_once_on_a_machine(own: SimpleNamespace, steps: Any) -> None:
    seen, tell = steps
    encoder_for_indexing(own.spec, tell)
    known = trials.recall(own.id)
    assert set(known) == {"onnx", "openvino"}, "torch would have to be loaded for it"
    assert all(outcome.speed for outcome in known.values())
    encoder_for_indexing(own.spec, tell)
    assert seen == ["model-timing"]
    assert trials.recall(own.id) == known


def test_an_export_that_is_made_tries_torch_too_because_it_is_loaded(
    own: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    from retrieval.encoders.open_clip import OpenClipEncoder

    def copy(self: OpenClipEncoder, folder: Path) -> None:
        for name in ("image.onnx", "image.bin", "text.onnx", "text.bin"):
            shutil.copy(own.found.folder / name, folder)

    monkeypatch.setattr(OpenClipEncoder, "write_onnx", copy)
    found, _ = make_export(own.spec)
    assert set(trials.recall(own.id)) == {"onnx", "openvino", "torch"}
    assert "images_per_second" not in found.manifest, "a cache may be moved to another machine"


def test_torch_is_tried_where_there_may_be_a_gpu(
    own: SimpleNamespace, monkeypatch: Any, tmp_path: Path
) -> None:
    (tmp_path / "nvidia0").touch()
    monkeypatch.setattr(trials, "DEVICES", tmp_path)
    encoder_for_indexing(own.spec)
    assert "torch" in trials.recall(own.id)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert trials.devices() == []


@pytest.mark.parametrize("change", ["processor", "cores", "version", "device"])
def test_what_was_measured_is_forgotten_once_the_machine_is_another(
    change: str, own: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    trials.remember(own.id, "onnx", Outcome(speed=5.0))
    trials.remember_indexing(own.spec, 7.0)
    with monkeypatch.context() as patch:
        if change == "processor":
            patch.setattr(trials, "_processor", lambda: "another one")
        elif change == "cores":
            patch.setattr(config, "cores", lambda: 77)
        elif change == "version":
            patch.setattr(trials, "_versions", lambda: {"onnxruntime": "0.1"})
        else:
            (tmp_path / "nvidia0").touch()
            patch.setattr(trials, "DEVICES", tmp_path)
        assert (trials.recall(own.id), trials.indexed()) == ({}, {})
        trials.remember(own.id, "onnx", Outcome(speed=50.0))
    assert trials.recall(own.id) == {"onnx": Outcome(speed=5.0)}, "each machine of a shared cache has its own"


def test_a_processor_is_told_from_another_of_the_same_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = set()
    for flags in ("avx2", "avx2 avx512_vnni", "avx2"):
        (tmp_path / "cpuinfo").write_text(f"processor : 0\nmodel name : Some CPU\nflags : {flags}\n")
        monkeypatch.setattr(trials, "CPUINFO", tmp_path / "cpuinfo")
        found.add(trials._processor.__wrapped__())
    assert len(found) == 2
    assert all(name.startswith("Some CPU") for name in found)


@pytest.mark.parametrize(
    "content", ["[broken", "[]", '{"models": []}', '{"models": {"x": 3}}', '{"indexed": 5}']
)
def test_a_damaged_memory_is_as_good_as_none(content: str, own: SimpleNamespace) -> None:
    trials.remember(own.id, "onnx", Outcome(speed=5.0))
    next((config.model_cache() / trials.FOLDER).iterdir()).write_text(content)
    assert (trials.recall(own.id), trials.indexed()) == ({}, {})
    trials.remember(own.id, "onnx", Outcome(speed=6.0))
    assert trials.recall(own.id) == {"onnx": Outcome(speed=6.0)}


@pytest.mark.parametrize(
    ("speeds", "chosen"),
    [
        ({"onnx": 20.0, "torch": 22.0}, "torch"),
        ({"onnx": 20.0, "torch": 20.5}, "onnx"),
        ({"onnx": 20.0, "openvino": 23.0, "torch": 24.0}, "openvino"),
        ({"onnx": 20.0, "openvino": 20.5, "torch": 30.0}, "torch"),
    ],
)
def test_the_fastest_runtime_indexes_if_it_is_worth_loading(
    speeds: dict[str, float], chosen: str, own: SimpleNamespace
) -> None:
    for name in ("onnx", "openvino", "torch"):
        outcome = Outcome(speed=speeds[name]) if name in speeds else Outcome(problem="not here")
        trials.remember(own.id, name, outcome)
    encoder = encoder_for_indexing(own.spec)
    assert kind(encoder) == chosen
    assert ("30.0 images a second, against 20.0" in encoder.note) == (speeds.get("torch") == 30.0)  # type: ignore[attr-defined]


def test_a_runtime_with_other_vectors_is_never_chosen(
    own: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, steps: Any
) -> None:
    seen, tell = steps
    look = OpenVinoEncoder._look
    monkeypatch.setattr(OpenVinoEncoder, "_look", lambda self, pixels: look(self, pixels)[:, ::-1])
    monkeypatch.setattr(trials, "CLEARLY_FASTER", 0.0)
    assert kind(encoder_for_indexing(own.spec, tell)) == "onnx"
    assert "vectors differ from ONNX Runtime's" in seen[-1]
    note = {row.spec: row for row in models.list_models()}[own.spec].note
    assert "Not run by OpenVINO here: its vectors differ" in (note or "")


@pytest.mark.parametrize("when", ["at once", "under load"])
def test_a_runtime_that_fails_is_never_chosen(
    when: str, own: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, steps: Any
) -> None:
    seen, tell = steps
    look = OpenVinoEncoder._look

    def fail(self: OpenVinoEncoder, pixels: Any) -> Any:
        if when == "at once" or len(pixels) == self.batch_size:
            raise RuntimeError("an illegal\ninstruction")
        return look(self, pixels)

    monkeypatch.setattr(OpenVinoEncoder, "_look", fail)
    assert kind(encoder_for_indexing(own.spec, tell)) == "onnx"
    assert "it failed (RuntimeError: an illegal instruction)" in seen[-1]
    assert kind(encoder_for_indexing(own.spec, tell)) == "onnx"
    assert len(seen) == 2, "it is not tried again"


def test_a_runtime_that_brings_the_program_down_is_not_tried_twice(own: SimpleNamespace) -> None:
    code = """
        import os, sys
        from indexer import runtimes
        from indexer.export import encoder_for_indexing
        from retrieval.encoders.openvino import OpenVinoEncoder
        runtimes.TRIAL_SECONDS = 0.03
        OpenVinoEncoder._look = lambda self, pixels: os._exit(9)
        print(encoder_for_indexing(sys.argv[1]).runtime)
    """
    command = [sys.executable, "-c", textwrap.dedent(code), own.spec]
    ends = [
        subprocess.run(
            command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60
        )
        for _ in range(2)
    ]
    assert [end.returncode for end in ends] == [9, 0], ends[1].stderr
    assert ends[1].stdout.strip() == "onnx"
    assert trials.recall(own.id)["openvino"].problem == runtimes.ENDED


def test_an_interrupted_trial_is_taken_up_again(
    own: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(OpenVinoEncoder, "_look", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            encoder_for_indexing(own.spec)
    assert "openvino" not in trials.recall(own.id)
    encoder_for_indexing(own.spec)
    assert trials.recall(own.id)["openvino"].speed


def test_a_second_runtime_is_not_loaded_where_memory_is_short(
    own: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(config, "free_memory", lambda: own.found.weights * runtimes.MEMORY - 1)
        patch.setattr(OpenVinoEncoder, "_look", lambda *_: pytest.fail("it was loaded"))
        assert kind(encoder_for_indexing(own.spec)) == "onnx"
        assert "too little memory" in (trials.recall(own.id)["openvino"].problem or "")
        encoder_for_indexing(own.spec)
    encoder_for_indexing(own.spec)
    assert trials.recall(own.id)["openvino"].speed, "the memory is there now"


def test_pulling_a_model_again_tries_again(own: SimpleNamespace) -> None:
    trials.remember(own.id, "onnx", Outcome(speed=1.0))
    trials.remember(own.id, "openvino", Outcome(problem="it failed"))
    assert "images a second by O" in pull(own.spec)
    assert trials.recall(own.id)["openvino"].speed


def test_a_cache_that_only_can_be_read_is_tried_every_time(
    own: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, steps: Any
) -> None:
    seen, tell = steps
    (config.model_cache() / trials.FOLDER).write_text("in the way")
    for _ in range(2):
        assert encoder_for_indexing(own.spec, tell)
    assert seen.count("model-timing") == 2


def test_the_list_says_what_runs_a_model_here(own: SimpleNamespace, search: Any) -> None:
    trials.remember(own.id, "onnx", Outcome(speed=19.0))
    trials.remember(own.id, "openvino", Outcome(speed=23.5))
    row = next(
        json.loads(line) for line in search("models", "--json").stdout.splitlines() if own.spec in line
    )
    assert (row["images_per_second"], row["runtime"]) == (23.5, "openvino")
    assert row["runtimes"] == {"onnx": 19.0, "openvino": 23.5}
    assert "run by OpenVINO (tried: ONNX Runtime 19.0, OpenVINO 23.5)" in search("models").stdout


def untested(own: SimpleNamespace) -> str:
    pull(f"{own.spec}@int8", untested=True)
    return f"{own.spec}@int8"


def test_an_int8_model_is_an_encoder_of_its_own_with_the_texts_of_its_original(own: SimpleNamespace) -> None:
    original, ours = load_open_clip(own.spec), load_open_clip(untested(own))
    assert ours.id == int8.encoder_id(own.id) != own.id
    np.testing.assert_array_equal(ours.encode_texts(["a dog"]), original.encode_texts(["a dog"]))
    pictures = [Image.open(path).convert("RGB") for path in sorted(own.photos.iterdir())[:9]]
    cosines = (original.encode_images(pictures) * ours.encode_images(pictures)).sum(axis=1)
    assert 0.98 < cosines.min() < 0.999999, "the same model, and really in fewer bits"


def test_its_weights_are_in_eight_bits_of_which_seven_are_used(own: SimpleNamespace) -> None:
    import onnx
    from onnx import numpy_helper

    folder = exports.export_folder(exports.parse_spec(untested(own)))
    weights = [
        numpy_helper.to_array(tensor, str(folder))
        for tensor in onnx.load(folder / "image.onnx").graph.initializer
        if tensor.data_type == onnx.TensorProto.INT8 and len(tensor.dims) == 2
    ]
    assert len(weights) >= 8
    assert max(int(np.abs(weight.astype(int)).max()) for weight in weights) <= 64
    assert not {path.suffix for path in folder.iterdir()} - {".onnx", ".bin", ".json", ".txt"}


def test_int8_and_fp32_vectors_never_mix(own: SimpleNamespace, tmp_path: Path) -> None:
    with Catalog(tmp_path / "c", create=True) as catalog:
        first = index_folder(catalog, own.photos, model=own.spec, workers=1)
        second = index_folder(catalog, own.photos, model=untested(own), workers=1)
        assert (first.encoder, second.encoder) == (own.id, int8.encoder_id(own.id))
        kinds = {one["id"]: one["images"] for one in catalog.status().encoders}
        assert kinds == {own.id: 60, int8.encoder_id(own.id): 60}
        assert catalog.search("a dog", limit=3, cutoff=False)


def test_an_int8_model_is_not_used_before_it_was_measured(own: SimpleNamespace) -> None:
    spec = f"{own.spec}@int8"
    for use in (encoder_for_indexing, load_open_clip, pull):
        with pytest.raises(ModelUnavailable, match=r"search models pull .*@int8 --photos FOLDER"):
            use(spec)


def easy(monkeypatch: pytest.MonkeyPatch, *, faster: float = 0.0, agreement: float = 0.0) -> None:
    """Bounds for a model of a few layers, which has no speed to gain and rankings made of noise."""
    monkeypatch.setattr(making, "FASTER", faster)
    monkeypatch.setattr(making, "AGREEMENT", agreement)


def test_what_was_measured_is_kept_with_the_model(
    own: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    easy(monkeypatch, agreement=0.5)
    told = pull(f"{own.spec}@int8", photos=own.photos)
    found = exports.find_export(exports.parse_spec(f"{own.spec}@int8"))
    assert found is not None
    facts = found.manifest["measured"]
    assert (facts["pictures"], facts["machine"]) == (60, trials.fingerprint())
    assert 0.5 < facts["agreement"] <= 1
    assert f"{facts['agreement']:.4f}" in told
    assert pull(f"{own.spec}@int8") == told
    assert encoder_for_indexing(f"{own.spec}@int8").id == int8.encoder_id(own.id)


@pytest.mark.parametrize(
    ("bounds", "why"), [({"faster": 99.0}, "99"), ({"agreement": 1.01}, "ranks pictures otherwise")]
)
def test_an_int8_model_that_does_not_pass_is_refused_with_figures(
    bounds: dict[str, float], why: str, own: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    easy(monkeypatch, **bounds)
    spec = f"{own.spec}@int8"
    with pytest.raises(ModelUnavailable, match=why):
        pull(spec, photos=own.photos)
    for use in (encoder_for_indexing, load_open_clip, pull):
        with pytest.raises(ModelUnavailable, match=why):
            use(spec)
    row = {row.spec: row for row in models.list_models()}[spec]
    assert (row.here, row.runtime) == ("cached", None)
    assert why in (row.note or "")
    assert kind(encoder_for_indexing(own.spec)) in {"onnx", "openvino"}, "the original goes on"
    assert load_open_clip(untested(own)).id == int8.encoder_id(own.id), "a person may still insist"
    row = {row.spec: row for row in models.list_models()}[spec]
    assert "without being measured" in (row.note or "")


def test_an_evaluation_file_decides_by_its_labels(
    own: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    easy(monkeypatch)
    lines = [
        {"query": f"thing {n}", "relevant": {f"{n:02}.png": 2, f"{n + 20:02}.png": 1}} for n in range(20)
    ]
    file = tmp_path / "dev.jsonl"
    file.write_text("\n".join(map(json.dumps, lines)))
    spec = f"{own.spec}@int8"
    monkeypatch.setattr(making, "FALL", 1.0)
    assert "over 20 queries" in pull(spec, labels=read_labels(file, making.pictures_below, photos=own.photos))
    monkeypatch.setattr(making, "FALL", -1.0)
    with pytest.raises(ModelUnavailable, match="nDCG@10 falls from"):
        pull(spec, labels=read_labels(file, making.pictures_below, photos=own.photos))
    with pytest.raises(QueryError, match="None of the pictures"):
        read_labels(file, making.pictures_below, photos=tmp_path)


def test_too_few_pictures_measure_nothing(own: SimpleNamespace, tmp_path: Path) -> None:
    Image.new("RGB", (9, 9)).save(tmp_path / "one.png")
    with pytest.raises(QueryError, match=r"holds 1 pictures, and at least 50"):
        pull(f"{own.spec}@int8", photos=tmp_path)
    with pytest.raises(QueryError, match="is no folder"):
        pull(f"{own.spec}@int8", photos=tmp_path / "nowhere")


def test_agreement_is_one_for_the_same_order_and_falls_with_every_good_picture_that_is_lost() -> None:
    scores = np.random.default_rng(2).normal(size=(20, 100))
    assert making.agreement(scores, 3 * scores + 1) == pytest.approx(1)
    slightly, badly = (
        making.agreement(scores, scores + np.random.default_rng(3).normal(size=scores.shape) * noise)
        for noise in (0.05, 0.5)
    )
    assert 0.99 < slightly < 1
    assert badly < 0.95
    assert making.agreement(scores, -scores) < 0.05


def test_its_ndcg_is_that_of_search_eval() -> None:
    draw = np.random.default_rng(4)
    scores, grades = draw.normal(size=(9, 40)), draw.integers(0, 3, (9, 40)) * (draw.random((9, 40)) < 0.2)
    judged = [
        metrics.judge(np.argsort(-row).tolist(), {place: float(own[place]) for place in np.flatnonzero(own)})
        for row, own in zip(scores, grades, strict=True)
    ]
    assert making._ndcg(scores, grades) == pytest.approx(metrics.figures(judged).ndcg10)


def test_int8_needs_an_export(own: SimpleNamespace) -> None:
    manifest = {**own.found.manifest, "problem": "it has an operator without a name"}
    (own.found.folder / exports.MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(ModelUnavailable, match=r"from an export, and .* by torch only: it has an operator"):
        pull(f"{own.spec}@int8", untested=True)


def test_int8_is_not_made_where_memory_is_short(
    own: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config, "free_memory", lambda: 1 << 16)
    with pytest.raises(ModelUnavailable, match="MiB are free"):
        pull(f"{own.spec}@int8", untested=True)


def test_an_int8_model_outlives_its_original(own: SimpleNamespace) -> None:
    spec = untested(own)
    shutil.rmtree(own.found.folder)
    assert load_open_clip(spec).encode_texts(["a dog"]).shape == (1, 64)
    assert exports.verify_export(spec) == []


def test_names_of_int8_models() -> None:
    assert models.resolve("VIT-B-32@int8")[0] == "open_clip:ViT-B-32/laion2b_s34b_b79k@int8"
    name = exports.parse_spec("open_clip:ViT-B-32/Some-Tag@int8")
    assert (name.spec, name.int8) == ("open_clip:ViT-B-32/some_tag@int8", True)
    assert name.original == exports.parse_spec("open_clip:ViT-B-32/some_tag")
    assert name.slug != name.original.slug
    assert exports.parse_spec("hf-hub:owner/name@int8").source == "owner/name"
    for wrong in ("starter@int8", "toy@int8"):
        with pytest.raises(UnknownModel):
            models.resolve(wrong)


def test_only_int8_models_are_measured(own: SimpleNamespace, search: Any) -> None:
    with pytest.raises(ModelUnavailable, match="Only int8 models"):
        pull(own.spec, untested=True)
    done = search("models", "pull", f"{own.spec}@int8", "--untested", "--photos", str(own.photos))
    assert done.exit_code == 2
