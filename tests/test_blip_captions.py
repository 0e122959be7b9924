"""BLIP as a captioner: its candidates, what is refused, and what happens when memory is full."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from retrieval.captioners import load_captioner
from retrieval.errors import MissingDependency, ModelError, ModelUnavailable
from retrieval.speech import Facts, Sight
from tests.tiny_vlm import build

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from retrieval.captioners.blip import BlipCaptioner  # noqa: E402

SIGHTS = [Sight(Facts(), Image.new("RGB", (60, 40), (40 * number, 90, 200))) for number in range(5)]


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def blip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("blip", tmp_path_factory.mktemp("blip") / "tiny")


@pytest.fixture(scope="module")
def saying(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("blip", tmp_path_factory.mktemp("blip") / "saying", says="a red car on the street")


@pytest.fixture
def copied(blip: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(blip, tmp_path / "copied"))


def test_what_the_model_says_becomes_a_sentence(saying: Path) -> None:
    captioner = load_captioner(f"blip:{saying}")
    for style in ("caption", "alt"):
        assert captioner.captions(SIGHTS[:1], style=style) == [["A red car on the street."]]


def test_the_best_caption_is_the_one_of_transformers_own_beams(blip: Path) -> None:
    from transformers import BlipForConditionalGeneration, BlipProcessor

    from retrieval.captioners.speaking import finished

    model = BlipForConditionalGeneration.from_pretrained(blip).eval()
    processor = BlipProcessor.from_pretrained(blip)
    inputs = processor(images=SIGHTS[0].image, return_tensors="pt")
    said = model.generate(**inputs, num_beams=3, max_new_tokens=30)
    wanted = finished(processor.decode(said[0], skip_special_tokens=True), "caption")
    assert BlipCaptioner(str(blip)).captions(SIGHTS[:1])[0] == [wanted]


def test_several_captions_are_different_ones(blip: Path) -> None:
    given = BlipCaptioner(str(blip)).captions(SIGHTS, count=4)
    assert max(len(captions) for captions in given) == 4
    assert len({caption for captions in given for caption in captions}) > 4


def test_a_model_that_has_one_thing_to_say_gives_one_caption(saying: Path) -> None:
    given = BlipCaptioner(str(saying)).captions(SIGHTS[:2], count=3)
    assert given == [["A red car on the street."]] * 2


def test_an_alt_text_is_one_sentence(tmp_path: Path) -> None:
    captioner = BlipCaptioner(str(build("blip", tmp_path / "two", says="a red car. the dog sits.")))
    assert captioner.captions(SIGHTS[:1]) == [["A red car. the dog sits."]]
    assert captioner.captions(SIGHTS[:1], style="alt") == [["A red car."]]


def test_a_batch_that_does_not_fit_is_halved_until_it_does(
    saying: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    captioner = BlipCaptioner(str(saying), device="cpu")
    generate = captioner._parts()[0].generate
    sizes = []

    def full(pixels: Any, **options: Any) -> Any:
        sizes.append(len(pixels))
        if sizes[-1] > 1:
            raise torch.OutOfMemoryError("out of memory")
        return generate(pixels, **options)

    monkeypatch.setattr(captioner._parts()[0], "generate", full)
    assert captioner.captions(SIGHTS) == [["A red car on the street."]] * 5
    assert sizes == [4, 2, 1, 1, 1, 1, 1]
    assert captioner.batch_size == 1


def test_a_model_that_fails_is_an_error_of_ours(blip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    captioner = BlipCaptioner(str(blip))

    def fail(*_: Any, **__: Any) -> Any:
        raise RuntimeError("shapes do not fit.")

    monkeypatch.setattr(captioner._parts()[0], "generate", fail)
    with pytest.raises(
        ModelError, match=r"failed at captioning: shapes do not fit\. Use the built-in describer"
    ):
        captioner.captions(SIGHTS)


def test_a_model_whose_numbers_overflow_is_an_error_and_no_caption(blip: Path) -> None:
    captioner = BlipCaptioner(str(blip))
    captioner._parts()[0].text_decoder.get_output_embeddings().weight.data[5] = float("nan")
    for count in (1, 2):
        with pytest.raises(ModelError, match=r"failed at captioning: .*no numbers"):
            captioner.captions(SIGHTS[:1], count=count)


def test_a_model_that_cannot_be_put_on_its_device_is_refused(
    blip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch.nn.Module, "to", full)
    with pytest.raises(ModelUnavailable, match=r"does not fit into the memory .*--captioner describer"):
        BlipCaptioner(str(blip)).captions(SIGHTS[:1])


def test_a_picture_of_any_shape_gets_a_caption(saying: Path) -> None:
    captioner = BlipCaptioner(str(saying))
    for size in ((1, 1), (3, 3), (1, 900), (900, 1)):
        sight = Sight(Facts(), Image.new("RGB", size))
        assert captioner.captions([sight]) == [["A red car on the street."]]


def test_another_kind_of_model_is_refused(copied: Path) -> None:
    settings = json.loads((copied / "config.json").read_text())
    (copied / "config.json").write_text(json.dumps({**settings, "model_type": "llava"}))
    with pytest.raises(ModelUnavailable, match=r"of the kind 'llava', not BLIP.*--captioner describer"):
        BlipCaptioner(str(copied)).captions(SIGHTS)


def test_a_matching_model_is_refused_for_it_has_no_words(copied: Path, tmp_path: Path) -> None:
    from tests.tiny_blip import tiny_blip

    with pytest.raises(ModelUnavailable, match="of its weights are missing"):
        BlipCaptioner(str(tiny_blip(tmp_path / "matching"))).captions(SIGHTS)


def test_without_transformers_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    monkeypatch.delitem(sys.modules, "retrieval.captioners.blip", raising=False)
    for name in [name for name in sys.modules if name.startswith("retrieval.captioners.local")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(MissingDependency, match=r"pip install 'picture-search\[vlm\]'"):
        load_captioner("blip")
