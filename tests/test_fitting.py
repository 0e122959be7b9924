"""Whether pictures bear out what is said of them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from indexer import IndexReport
from retrieval import Catalog
from retrieval.encoders.toy import COLOURS, ToyEncoder
from retrieval.errors import CatalogError, ModelUnavailable, QueryError, UnknownModel
from retrieval.fitting import Fitting
from retrieval.rerankers import rescoring
from tests.conftest import draw
from tests.tiny_blip import tiny_blip


@pytest.fixture(scope="module")
def blip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_blip(tmp_path_factory.mktemp("blip") / "tiny")


def ids(opened: Catalog) -> dict[str, int]:
    with opened.state.snapshot() as reader:
        rows = reader.rows("SELECT path, id FROM images")
    return {Path(bytes(path).decode()).stem: int(image_id) for path, image_id in rows}


@pytest.mark.parametrize("matcher", ["encoder", "blip"])
def test_a_picture_agrees_with_what_it_shows_and_with_nothing_else(
    catalog: Path, blip: Path, matcher: str
) -> None:
    with Catalog(catalog) as opened:
        known = ids(opened)
        fitting = Fitting(opened.state, f"blip_itm:{blip}" if matcher == "blip" else matcher)
        names = ("red", "green", "blue")
        pairs = [(known[shown], f"a {said} wall") for shown in names for said in names]
        chances = fitting.chances(pairs)
    agree = [chance is not None and chance >= fitting.least for chance in chances]
    assert agree == [shown == said for shown in names for said in names]
    assert all(chance is not None and 0 <= chance <= 1 for chance in chances)
    assert matcher in fitting.id


def test_chances_come_in_the_order_of_the_pairs_and_equal_pairs_get_equal_ones(catalog: Path) -> None:
    with Catalog(catalog) as opened:
        known, fitting = ids(opened), Fitting(opened.state, "encoder")
        pairs = [
            (known["red"], "red"),
            (known["blue"], "red"),
            (known["red"], " red "),
            (known["blue"], "blue"),
        ]
        one, two, three, four = fitting.chances(pairs)
        alone = [fitting.chances([pair])[0] for pair in pairs]
    assert one == three == pytest.approx(1, abs=0.01)
    assert two == pytest.approx(0, abs=0.01)
    assert four == pytest.approx(1, abs=0.01)
    assert alone == [one, two, three, four]


def test_what_cannot_be_compared_has_no_chance(catalog: Path) -> None:
    with Catalog(catalog) as opened:
        fitting = Fitting(opened.state, "encoder")
        assert fitting.chances([(1, "  "), (999, "red"), (1, "")]) == [None, None, None]
        assert fitting.chances([]) == []
        assert fitting.chance(Image.new("RGB", (8, 8)), " ") is None


@pytest.mark.parametrize("matcher", ["encoder", "blip"])
def test_time_that_is_up_leaves_the_rest_without_a_chance(
    catalog: Path, blip: Path, matcher: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    monkeypatch.setattr("retrieval.fitting.TEXTS_IN_TIME", 1)
    with Catalog(catalog) as opened:
        known = ids(opened)
        fitting = Fitting(opened.state, f"blip_itm:{blip}" if matcher == "blip" else matcher)
        pairs = [(known["red"], "red"), (known["blue"], "blue"), (known["red"], "a red wall")]
        assert fitting.chances(pairs, seconds=0) == [None, None, None]
        assert None not in fitting.chances(pairs, seconds=1)
        taken, slow = now, fitting._reranker or fitting._encoder
        method = "judge" if matcher == "blip" else "encode_texts"
        original = getattr(slow, method)

        def late(*arguments: Any) -> Any:
            taken[0] += 1
            return original(*arguments)

        monkeypatch.setattr(slow, method, late)
        found = fitting.chances(pairs, seconds=1)
    assert [chance is None for chance in found] == [False, True, True]


def test_the_encoder_judges_by_the_same_measure_as_a_search(
    tmp_path: Path, photos: Path, index: Callable[..., IndexReport]
) -> None:
    index(photos, model="starter:lite0-fast", catalog=tmp_path / "c")
    with Catalog(tmp_path / "c") as opened:
        hits = opened.search("a red wall", limit=6, cutoff=False)
        looks = {hit.image_id: hit.signals["picture"] for hit in hits}
        fitting = Fitting(opened.state, "encoder")
        found = fitting.chances([(image_id, "a red wall") for image_id in looks])
        outside = fitting.chance(Image.open(photos / "red.png").convert("RGB"), "a red wall")
        inside = fitting.chances([(ids(opened)["red"], "a red wall")])[0]
    assert found == pytest.approx(list(looks.values()), abs=1e-6)
    assert outside == pytest.approx(inside, abs=0.01)


def test_many_texts_are_judged_as_each_alone(catalog: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retrieval.fitting.TEXTS_AT_ONCE", 2)
    with Catalog(catalog) as opened:
        known, fitting = ids(opened), Fitting(opened.state, "encoder")
        pairs = [(image_id, name) for image_id in known.values() for name in COLOURS]
        together = fitting.chances(pairs)
        assert together == pytest.approx([fitting.chances([pair])[0] for pair in pairs])


def test_each_text_is_measured_against_how_it_does_over_the_catalog(
    catalog: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of six pictures two are red and one is blue."""

    def match(_self: ToyEncoder, scores: Any, sample: Any, **_: object) -> Any:
        return (scores - sample.mean()).astype(np.float32)

    monkeypatch.setattr(ToyEncoder, "match", match)
    with Catalog(catalog) as opened:
        known, fitting = ids(opened), Fitting(opened.state, "encoder")
        found = fitting.chances([(known["red"], "red"), (known["blue"], "blue")])
    assert found == pytest.approx([1 - 2 / 6, 1 - 1 / 6], abs=0.02)


def test_without_a_checkpoint_the_encoder_compares(catalog: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retrieval.checkpoints.hub.cached_file", lambda *_: None)
    with Catalog(catalog) as opened:
        for matcher in (None, "", "auto"):
            assert Fitting(opened.state, matcher).id == "encoder/toy/colours/1"
        assert Fitting(opened.state).least == 0.5


def test_blip_compares_by_itself_where_its_checkpoint_is_here(
    catalog: Path, blip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("retrieval.checkpoints.hub.cached_file", lambda *_: blip / "model.safetensors")
    with Catalog(catalog) as opened:
        assert Fitting(opened.state).id.startswith("blip_itm/")
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "torch" else object())
        assert Fitting(opened.state).id == "encoder/toy/colours/1"


def test_a_picture_is_looked_at_once_whatever_is_said_of_it(
    catalog: Path, blip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from retrieval.rerankers.blip_itm import BlipItm

    looked: list[int] = []
    look = BlipItm.look

    def counted(self: BlipItm, images: Sequence[Image.Image]) -> list[Any]:
        looked.append(len(images))
        return look(self, images)

    monkeypatch.setattr(BlipItm, "look", counted)
    with Catalog(catalog) as opened:
        fitting = Fitting(opened.state, f"blip_itm:{blip}")
        first = fitting.chances([(1, "red"), (1, "blue"), (2, "red")])
        assert sum(looked) == 2
        monkeypatch.setattr(rescoring, "read_file", None)  # a kept look needs no file
        assert fitting.chances([(1, "red"), (1, "blue"), (2, "red")]) == pytest.approx(first)


def test_a_file_that_is_gone_cannot_be_compared_by_a_model_that_looks(
    catalog: Path, photos: Path, blip: Path
) -> None:
    (photos / "red.png").unlink()
    with Catalog(catalog) as opened:
        known = ids(opened)
        pairs = [(known["red"], "red"), (known["blue"], "blue"), (999, "blue")]
        gone, there, unknown = Fitting(opened.state, f"blip_itm:{blip}").chances(pairs)
        assert (gone, unknown) == (None, None)
        assert there is not None
        assert Fitting(opened.state, "encoder").chances(pairs)[0] == pytest.approx(1, abs=0.01)


def test_a_model_that_gives_no_number_says_nothing(
    catalog: Path, blip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from retrieval.rerankers.blip_itm import BlipItm

    monkeypatch.setattr(BlipItm, "judge", lambda _self, _text, looks: np.full(len(looks), np.nan, np.float32))
    with Catalog(catalog) as opened:
        fitting = Fitting(opened.state, f"blip_itm:{blip}")
        assert fitting.chances([(1, "red")]) == [None]
        assert fitting.chance(Image.new("RGB", (8, 8)), "red") is None


def test_an_outside_picture_is_compared_by_a_model_that_looks(catalog: Path, blip: Path) -> None:
    with Catalog(catalog) as opened:
        fitting = Fitting(opened.state, f"blip_itm:{blip}")
        red = Image.new("RGB", (64, 48), COLOURS["red"])
        right, wrong = fitting.chance(red, "a red wall"), fitting.chance(red, "a blue wall")
    assert right is not None
    assert wrong is not None
    assert right >= fitting.least > wrong


def test_half_a_character_in_a_text_breaks_nothing(catalog: Path, blip: Path) -> None:
    with Catalog(catalog) as opened:
        for matcher in ("encoder", f"blip_itm:{blip}"):
            assert Fitting(opened.state, matcher).chances([(1, "red \ud83d")])[0] is not None


def test_what_only_orders_pictures_is_no_matcher(catalog: Path) -> None:
    with Catalog(catalog) as opened:
        with pytest.raises(QueryError, match="--matcher encoder"):
            Fitting(opened.state, "crops")
        with pytest.raises(UnknownModel, match="blip_itm"):
            Fitting(opened.state, "blip-itm")
        with pytest.raises(ModelUnavailable, match="holds no checkpoint"):
            Fitting(opened.state, "blip_itm:./nowhere")


def test_an_empty_catalog_has_nothing_to_compare(tmp_path: Path) -> None:
    with Catalog(tmp_path / "c", create=True) as opened, pytest.raises(CatalogError, match="search index"):
        Fitting(opened.state)


def test_a_read_only_catalog_is_not_written_to(catalog: Path, blip: Path) -> None:
    shutil.rmtree(catalog / "cache" / "looks", ignore_errors=True)
    with Catalog(catalog, readonly=True) as opened:
        assert Fitting(opened.state, f"blip_itm:{blip}").chances([(1, "red")])[0] is not None
    assert not (catalog / "cache" / "looks").exists()


def test_a_changed_picture_is_judged_by_its_new_vector(
    catalog: Path, photos: Path, index: Callable[..., IndexReport]
) -> None:
    with Catalog(catalog) as opened:
        known, fitting = ids(opened), Fitting(opened.state, "encoder")
        pairs = [(known["red"], "blue")]
        assert fitting.chances(pairs)[0] == pytest.approx(0, abs=0.01)
        draw(photos / "red.png", "blue", mark=9)
        index(photos)
        assert fitting.chances(pairs)[0] == pytest.approx(1, abs=0.05)
