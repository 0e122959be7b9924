"""What every reranker promises, over all that are registered and one that comes as a plugin."""

from __future__ import annotations

import hashlib
import importlib.metadata
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from retrieval.encoders.toy import COLOURS, ToyEncoder
from retrieval.protocols import Encoder, Reranker
from retrieval.registry import load_encoder
from retrieval.rerankers import ENTRY_POINTS, RERANKERS, load_reranker
from retrieval.rerankers.looks import LookCache
from tests.tiny_blip import NAMES, picture, tiny_blip

TEXTS = [
    "a red wall",
    "",
    " and , with ",
    "red and green, blue on yellow",
    "деревянный дом и снег",
    "雪の中の二匹の犬",
    "كلب أحمر",
    "🐕 & 🐈",
    "naïve café\n\tand\x00tabs",
    "a very long story about a dog and a wall, " * 100,
]


class MeanColour:
    """A plugin's reranker: how near a picture's mean colour is to the colours a text names."""

    id = "mean-colour/1"
    batch_size = 3

    def look(self, images: Sequence[Image.Image]) -> list[Any]:
        return [np.asarray(image, np.float32).mean((0, 1)).astype(np.float16) for image in images]

    def judge(self, text: str, looks: Sequence[Any]) -> Any:
        named = [COLOURS[word] for word in text.split() if word in COLOURS] or [(0, 0, 0)]
        distances = [[np.abs(look.astype(np.float32) - colour).mean() for colour in named] for look in looks]
        return -np.array(distances, np.float32).reshape(len(looks), len(named)).min(axis=1)


def load_mean_colour(rest: str, encoder: Encoder) -> MeanColour:
    return MeanColour()


@dataclass(frozen=True)
class Subject:
    """A registered reranker by its spec, and the same one with other weights (if it has any)."""

    make: Callable[[], Reranker]
    other: Callable[[], Reranker] | None


class OtherToy(ToyEncoder):
    id = "toy/colours/2"


@pytest.fixture(scope="module")
def blips(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("blip")
    return tiny_blip(folder / "tiny"), tiny_blip(folder / "again" / "tiny", seed=1)


@pytest.fixture(scope="module")
def starter() -> Encoder:
    return load_encoder("starter:lite0-fast")


SUBJECTS = {"blip_itm": "blip_itm", "crops": "crops", "crops-starter": "crops", "plugin": "mean_colour"}


@pytest.fixture(params=SUBJECTS)
def subject(
    request: pytest.FixtureRequest,
    blips: tuple[Path, Path],
    starter: Encoder,
    monkeypatch: pytest.MonkeyPatch,
) -> Subject:
    toy = ToyEncoder()
    if request.param == "blip_itm":
        return Subject(*((lambda path=path: load_reranker(f"blip_itm:{path}", toy)) for path in blips))
    if request.param == "crops":
        return Subject(lambda: load_reranker("crops", toy), lambda: load_reranker("crops", OtherToy()))
    if request.param == "crops-starter":
        other = load_encoder("starter")
        return Subject(lambda: load_reranker("crops", starter), lambda: load_reranker("crops", other))
    point = importlib.metadata.EntryPoint("mean_colour", f"{__name__}:load_mean_colour", ENTRY_POINTS)
    monkeypatch.setattr(
        importlib.metadata, "entry_points", lambda *, group: [point] if group == ENTRY_POINTS else []
    )
    return Subject(lambda: load_reranker("mean_colour", toy), None)


@pytest.fixture
def images() -> list[Image.Image]:
    return [*(picture(name) for name in NAMES), Image.new("RGB", (1, 1), "red"), Image.new("RGB", (300, 2))]


def test_every_registered_reranker_is_held_to_the_contract() -> None:
    assert set(RERANKERS) <= set(SUBJECTS.values())


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_every_text_gives_each_picture_a_finite_score(
    subject: Subject, images: list[Image.Image], text: str
) -> None:
    reranker = subject.make()
    scores = reranker.judge(text, reranker.look(images))
    assert scores.shape == (len(images),)
    assert scores.dtype == np.float32
    assert np.isfinite(scores).all()


def test_a_score_depends_on_nothing_but_the_picture_and_the_text(
    subject: Subject, images: list[Image.Image]
) -> None:
    reranker = subject.make()
    many = images * 2
    text = "a red wall with a dog"
    together = reranker.judge(text, reranker.look(many))
    alone = [reranker.judge(text, reranker.look([image]))[0] for image in images]
    np.testing.assert_allclose(together, alone * (len(many) // len(images)), rtol=1e-3, atol=1e-3)
    backwards = reranker.judge(text, reranker.look(many[::-1]))[::-1]
    np.testing.assert_allclose(backwards, together, rtol=1e-3, atol=1e-3)


def test_the_picture_a_text_names_comes_first(subject: Subject) -> None:
    reranker = subject.make()
    if "starter" in reranker.id:
        pytest.skip("the starter knows things, and drawn colours are none")
    looks = reranker.look([picture(name, 3) for name in NAMES])
    for number, name in enumerate(NAMES):
        assert reranker.judge(f"a {name} wall", looks).argmax() == number


def test_nothing_to_look_at_or_to_judge_is_no_error(subject: Subject) -> None:
    reranker = subject.make()
    assert reranker.look([]) == []
    assert reranker.judge("a red wall", []).shape == (0,)


def test_the_same_again_is_the_same_in_another_instance(subject: Subject, images: list[Image.Image]) -> None:
    first, second = subject.make(), subject.make()
    assert first.id == second.id
    one, two = first.look(images), second.look(images)
    assert all((a == b).all() for a, b in zip(one, two, strict=True))
    assert (first.judge("a red wall", one) == second.judge("a red wall", two)).all()


def test_a_look_comes_back_from_the_cache_bit_for_bit(
    subject: Subject, images: list[Image.Image], tmp_path: Path
) -> None:
    reranker = subject.make()
    looks = reranker.look(images)
    cache = LookCache(tmp_path, reranker.id)
    keys = [hashlib.sha256(bytes([number])).digest() for number in range(len(images))]
    for key, look in zip(keys, looks, strict=True):
        assert look.dtype == np.float16
        cache.put(key, look)
    again = [LookCache(tmp_path, reranker.id).get(key) for key in keys]
    for look, kept in zip(looks, again, strict=True):
        assert kept is not None
        assert kept.shape == look.shape
        assert kept.tobytes() == look.tobytes()
    assert (reranker.judge("a red wall", again) == reranker.judge("a red wall", looks)).all()


def test_other_weights_have_another_id(subject: Subject) -> None:
    if subject.other is None:
        pytest.skip("it has no weights")
    assert subject.make().id != subject.other().id


def test_several_threads_get_the_scores_that_one_gets(subject: Subject, images: list[Image.Image]) -> None:
    reranker = subject.make()
    alone = reranker.judge("a red wall", reranker.look(images))
    with ThreadPoolExecutor(3) as pool:
        for scores in pool.map(lambda _: reranker.judge("a red wall", reranker.look(images)), range(3)):
            np.testing.assert_allclose(scores, alone, rtol=1e-3, atol=1e-3)
