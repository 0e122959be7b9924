"""Why a picture was found: the map lies where the thing is, is honest, and can be looked at."""

from __future__ import annotations

import base64
import importlib.util
import io
import json
import re
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from retrieval.encoders.geometry import ClipPreparer
from retrieval.encoders.onnx import OnnxEncoder
from retrieval.encoders.regions import MOST_CELLS, Box, Look, grid_of, lay, slide
from retrieval.encoders.starter import StarterEncoder
from retrieval.encoders.toy import COLOURS, ToyEncoder
from retrieval.errors import QueryError, RetrievalError
from retrieval.explain import Aim, Explanation, explain, heat, read_picture
from retrieval.protocols import Regional
from retrieval.show.gallery import write_gallery
from retrieval.show.heat import Shown, colour_table, draw_card, draw_heat
from retrieval.show.lettering import Line
from retrieval.types import Hit
from tests.tiny_clip import tiny_folder, tiny_spec

if TYPE_CHECKING:
    from retrieval.types import Vectors

TOY = ToyEncoder()


def halves(left: str, right: str, size: tuple[int, int] = (128, 64)) -> Image.Image:
    image = Image.new("RGB", size, COLOURS[left])
    image.paste(COLOURS[right], (size[0] // 2, 0, *size))
    return image


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))


def aim(text: str, weight: float = 1.0, **values: Any) -> Aim:
    return Aim(TOY.encode_texts([text])[0], weight, **values)


def explained(image: Image.Image, text: str, **values: Any) -> Explanation:
    return explain(TOY, image, [aim(text)], query=text, **values)


# The map


def test_the_map_of_a_drawn_picture_is_exact() -> None:
    values, seen = heat(TOY, halves("red", "blue"), "red")
    assert values.shape == seen.shape == (8, 16)
    assert values[:, :8].min() > 0.99
    assert values[:, 8:].max() == 0
    assert seen.all()


@pytest.mark.parametrize(("colour", "level"), [("red", 1.0), ("blue", 0.0)])
def test_a_picture_that_is_the_same_all_over_gets_a_flat_map_of_its_own_level(
    colour: str, level: float
) -> None:
    values, _ = heat(TOY, Image.new("RGB", (90, 60), COLOURS[colour]), "red")
    np.testing.assert_allclose(values, level, atol=1e-3)
    assert np.ptp(values) == 0


def test_faint_differences_are_not_stretched_to_full_colour() -> None:
    picture = Image.new("RGB", (64, 64), COLOURS["gray"])
    values = np.linspace(0.02, 0.06, 64, dtype=np.float32).reshape(8, 8)
    drawn = np.asarray(draw_heat(picture, values, np.ones((8, 8), np.bool_))).astype(int)
    assert (drawn.max(2) - drawn.min(2)).max() == 0
    drawn = np.asarray(draw_heat(picture, values * 16, np.ones((8, 8), np.bool_))).astype(int)
    assert (drawn.max(2) - drawn.min(2)).max() > 60


def test_each_wanted_term_shows_its_own_place_and_an_unwanted_one_is_taken_away() -> None:
    picture = Image.new("RGB", (96, 32), COLOURS["red"])
    picture.paste(COLOURS["blue"], (32, 0, 64, 32))
    picture.paste(COLOURS["green"], (64, 0, 96, 32))
    red, blue, green = (slice(0, 8), slice(8, 16), slice(16, 24))
    both = heat(TOY, picture, aims=[aim("red"), aim("blue")]).values
    np.testing.assert_allclose(
        [both[:, part].mean() for part in (red, blue, green)], [0.5, 0.5, 0], atol=1e-3
    )
    weighted = heat(TOY, picture, aims=[aim("red", 3), aim("blue")]).values
    np.testing.assert_allclose([weighted[:, red].mean(), weighted[:, blue].mean()], [0.75, 0.25], atol=1e-3)
    less = heat(TOY, picture, aims=[aim("red"), aim("blue"), aim("blue", -1)]).values
    np.testing.assert_allclose([less[:, part].mean() for part in (red, blue, green)], [0.5, 0, 0], atol=1e-3)


def test_only_unwanted_terms_cannot_be_shown() -> None:
    with pytest.raises(QueryError, match="Nothing is asked for"):
        heat(TOY, halves("red", "blue"), aims=[aim("red", -1)])


def test_a_picture_term_shows_where_it_is_alike() -> None:
    blue = TOY.encode_images([Image.new("RGB", (9, 9), COLOURS["blue"])])[0]
    values, _ = heat(TOY, halves("red", "blue"), vector=blue)
    assert values[:, 8:].min() > 0.99
    assert values[:, :8].max() < 0.01


def test_a_second_look_at_the_whole_moves_the_level_and_leaves_what_is_elsewhere_cold() -> None:
    picture = halves("red", "blue")
    plain = heat(TOY, picture, aims=[aim("red orange")]).values
    raised = heat(TOY, picture, aims=[aim("red orange", level=0.95)]).values
    lowered = heat(TOY, picture, aims=[aim("red orange", level=0.05)]).values
    assert lowered[:, :8].max() < plain[:, :8].min() < raised[:, :8].min()
    assert raised[:, 8:].max() < 0.01


def test_the_figures_are_the_pictures_own_where_none_are_given() -> None:
    found = explained(halves("red", "blue"), "red")
    assert found.score == pytest.approx(0.707, abs=0.01)
    assert found.match == pytest.approx(found.score)
    given_ = explained(halves("red", "blue"), "red", score=0.25, match=0.5, signals={"words": 0.5})
    assert (given_.score, given_.match, given_.signals) == (0.25, 0.5, {"words": 0.5})


def test_the_json_of_an_explanation_tells_unseen_from_cold() -> None:
    found = Explanation(
        query="red",
        path=Path("/p/a.jpg"),
        heat=np.array([[0.25, 0.0]], np.float32),
        seen=np.array([[True, False]]),
        score=0.5,
        match=0.25,
        signals={"picture": 0.25},
        picture=Image.new("RGB", (2, 1)),
        image_id=7,
    )
    assert json.loads(json.dumps(found.as_dict())) == {
        "path": "/p/a.jpg",
        "score": 0.5,
        "match": 0.25,
        "image_id": 7,
        "signals": {"picture": 0.25},
        "heat": [[0.25, None]],
    }


def test_a_turned_photograph_is_mapped_as_it_is_seen(tmp_path: Path) -> None:
    lying = halves("red", "blue", (64, 128)).rotate(90, expand=True)
    exif = Image.Exif()
    exif[0x0112] = 6
    lying.save(tmp_path / "turned.png", exif=exif)
    picture = read_picture(tmp_path / "turned.png")
    assert picture.size == (64, 128)
    assert heat(TOY, picture, "red").values.shape == (16, 8)


# Grids


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(1, 16))
def test_cells_are_nearly_square_but_for_panoramas(width: int, height: int, short: int) -> None:
    rows, columns = grid_of(width, height, short)
    assert min(rows, columns) == min(short, MOST_CELLS)
    assert max(rows, columns) <= MOST_CELLS
    assert (columns >= rows) == (width >= height) or rows == columns
    if max(width, height) / min(width, height) * short < MOST_CELLS and short >= 4:
        assert 0.85 < (width / columns) / (height / rows) < 1.18


@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 4), st.integers(1, 4))
def test_a_finer_grid_repeats_the_cells_it_is_made_of(
    rows: int, columns: int, down: int, across: int
) -> None:
    vectors = np.random.default_rng(rows * 7 + columns).normal(size=(rows, columns, 3)).astype(np.float32)
    laid = lay([Look(vectors, Box(0, 0, 1, 1))], rows * down, columns * across)
    np.testing.assert_allclose(laid, vectors.repeat(down, 0).repeat(across, 1), atol=1e-5)


def test_what_no_look_covers_by_half_is_unseen() -> None:
    laid = lay([Look(np.ones((2, 2, 3), np.float32), Box(0.2, 0, 0.6, 1))], 2, 10)
    assert (laid.any(-1)[0]).tolist() == [False, False, *[True] * 4, *[False] * 4]
    laid = lay([Look(np.ones((2, 2, 3), np.float32), Box(0.26, 0, 0.64, 1))], 2, 10)
    assert (laid.any(-1)[0]).tolist() == [False, False, False, *[True] * 3, *[False] * 4]


def test_overlapping_looks_are_averaged() -> None:
    one, three = (np.full((1, 1, 1), value, np.float32) for value in (1, 3))
    laid = lay([Look(one, Box(0, 0, 1, 1)), Look(three, Box(0.5, 0, 1, 1))], 1, 4)
    assert laid[0, :, 0].tolist() == [1, 1, 2, 2]


def test_padding_around_a_picture_belongs_to_none_of_its_cells() -> None:
    vectors = np.array([[[9.0], [1.0], [2.0], [9.0]]], np.float32)
    laid = lay([Look(vectors, Box(-0.5, 0, 1.5, 1))], 1, 2)
    assert laid[0, :, 0].tolist() == [1, 2]


def test_windows_find_the_place_with_any_encoder() -> None:
    picture = halves("red", "blue", (150, 100))
    picture.info["full_size"] = (1500, 1000)  # of the whole: no window may be taken for that large
    sizes: list[tuple[int, int]] = []

    def encode(images: Sequence[Image.Image]) -> Vectors:
        assert not any(image.info for image in images)
        sizes.extend(image.size for image in images)
        return TOY.encode_images(images)

    scores = slide(encode, picture) @ TOY.encode_texts(["red"])[0]
    assert scores[:, :5].min() > 0.7 > 0.3 > scores[:, -5:].max()
    assert all(abs(width - height) <= 1 for width, height in sizes[1:])


def test_an_encoder_without_regions_is_asked_about_windows() -> None:
    class Bare:
        def __init__(self) -> None:
            self.inner = ToyEncoder()
            self.encode_images = self.inner.encode_images
            self.encode_texts = self.inner.encode_texts
            self.match = self.inner.match

    assert not isinstance(Bare(), Regional)
    values, seen = heat(Bare(), halves("red", "blue", (150, 100)), "red")  # type: ignore[arg-type]
    assert seen.all()
    assert values[:, :5].min() > 0.7 > 0.3 > values[:, -5:].max()


@given(
    st.integers(8, 400),
    st.integers(8, 400),
    st.sampled_from([(32, 32), (48, 32)]),
    st.sampled_from(["shortest", "longest", "squash"]),
)
@settings(deadline=None, max_examples=60)
def test_what_a_preparer_says_it_covers_is_what_it_takes(
    width: int, height: int, target: tuple[int, int], mode: str
) -> None:
    preparer = ClipPreparer(target[1], target[0], resize_mode=mode, interpolation="bilinear", fill=0)
    # Each pixel says where it is: red from left to right, green from top to bottom, blue everywhere.
    across = np.linspace(0, 1, width + 1)[:-1] + 0.5 / width
    down = np.linspace(0, 1, height + 1)[:-1] + 0.5 / height
    place = np.stack(np.meshgrid(across, down), axis=-1)
    image = Image.fromarray(
        np.concatenate([place * 200 + 20, np.full((height, width, 1), 255)], axis=-1).round().astype(np.uint8)
    )
    pixels = preparer(image).pixels[0].astype(np.float64)
    left, top, right, bottom = preparer.covers(width, height)
    rows, columns = np.nonzero(pixels[..., 2] > 250)
    for at, low, high, size, axis in (
        (columns, left, right, target[0], 0),
        (rows, top, bottom, target[1], 1),
    ):
        said = low + (at + 0.5) / size * (high - low)
        taken = (pixels[rows, columns, axis] - 20) / 200
        inside = (said > 0.15) & (said < 0.85)
        slack = 0.02 + 1.5 / min(width, height) + 0.6 * (high - low) / size
        assert np.abs(said - taken)[inside].max(initial=0) < slack


# Models


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from retrieval.encoders.open_clip import OpenClipEncoder

    return OpenClipEncoder(tiny_spec(tmp_path_factory.mktemp("tiny")), device="cpu")


@pytest.fixture(scope="module")
def siglip(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from retrieval.encoders.open_clip import OpenClipEncoder

    return OpenClipEncoder(tiny_folder(tmp_path_factory.mktemp("tiny"), siglip=True), device="cpu")


def test_a_patch_of_a_clip_model_changes_its_own_cell_and_a_crop_leaves_the_sides_unseen(clip: Any) -> None:
    import torch

    first = clip._image_tower.model.visual.transformer.resblocks[0].attn.out_proj
    kept = [part.detach().clone() for part in (first.weight, first.bias)]
    with torch.no_grad():  # without its attention the first block mixes no patches
        first.weight.zero_()
        first.bias.zero_()
    try:
        picture = noise(96, 64)
        before = clip.encode_regions(picture)
        # The crop is columns 16 to 80, four patches of 16: this is the third from the left, second row.
        picture.paste((255, 0, 0), (48, 16, 64, 32))
        after = clip.encode_regions(picture)
    finally:
        with torch.no_grad():
            first.weight.copy_(kept[0])
            first.bias.copy_(kept[1])
    assert before.shape == (4, 6, 64)
    seen = before.any(-1)
    assert seen[:, 1:5].all()
    assert not seen[:, [0, 5]].any()
    # All of them move together with the picture's own vector; one moves by itself.
    moved = np.linalg.norm((after - before) - np.median((after - before)[seen], axis=0), axis=-1) * seen
    assert np.argwhere(moved > 1e-4).tolist() == [[1, 3]]


def test_the_value_path_is_an_attention_in_which_each_patch_looks_at_itself(clip: Any) -> None:
    import torch

    from retrieval.encoders.open_clip_patches import patch_vectors

    visual = clip._image_tower.model.visual
    with torch.inference_mode():
        planes = clip._image_tower.planes(torch.tensor(clip.preparer(noise(64, 64)).pixels))
        tokens = visual._embeds(planes)
        *before, last = visual.transformer.resblocks
        for block in before:
            tokens = block(tokens)
        normed = last.ln_1(tokens)
        alone = torch.full((tokens.shape[1],) * 2, float("-inf")).fill_diagonal_(0)
        attended = last.attn(normed, normed, normed, need_weights=False, attn_mask=alone)[0]
        expected = (visual.ln_post(attended) @ visual.proj)[0, 1:].reshape(4, 4, -1)
        torch.testing.assert_close(patch_vectors(visual, planes), expected, atol=1e-5, rtol=1e-4)


def test_patches_score_around_the_pictures_own_score(clip: Any) -> None:
    picture = noise(64, 64)
    query = clip.encode_texts(["a dog"])[0]
    regions, whole = clip.encode_regions(picture), clip.encode_images([picture])[0]
    assert float((regions @ query).mean()) == pytest.approx(float(whole @ query), abs=1e-4)
    assert float((regions @ query).std()) > 1e-3


def test_a_model_whose_patches_cannot_be_followed_is_asked_about_windows(siglip: Any) -> None:
    regions = siglip.encode_regions(noise(60, 60))
    assert regions.shape == (9, 9, 64)
    assert regions.any(-1).all()


class ColourTower(OnnxEncoder):
    """The exported encoder's own code over colours instead of a session."""

    def __init__(self) -> None:
        self.preparer = ClipPreparer(32, 32)

    def encode_images(self, images: Sequence[Image.Image]) -> Vectors:
        return TOY.encode_images(images)


def test_an_exported_model_shows_what_its_crop_left_out_as_unseen() -> None:
    regions = ColourTower().encode_regions(halves("red", "blue", (180, 90)))
    seen = regions.any(-1)
    assert regions.shape[:2] == (9, 18)
    assert not seen[:, :4].any()
    assert not seen[:, -4:].any()
    assert seen[:, 5:-5].all()
    scores = regions @ TOY.encode_texts(["red"])[0]
    assert scores[:, 5:8].min() > scores[:, 10:13].max()


# The starter on photographs


def photo(name: str) -> Image.Image:
    skimage = importlib.util.find_spec("skimage")
    if skimage is None or not skimage.submodule_search_locations:
        pytest.skip("scikit-image, which brings the photos, is not installed")
    with Image.open(Path(skimage.submodule_search_locations[0]) / "data" / name) as image:
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        return image.convert("RGB").crop((left, top, left + side, top + side)).resize((280, 280))


THINGS = {"chelsea.png": "a cat", "coffee.png": "a cup of coffee", "rocket.jpg": "a rocket"}


@pytest.fixture(scope="module")
def starter(caches: Path) -> StarterEncoder:
    return StarterEncoder("starter")


@pytest.mark.parametrize("upright", [False, True])
@pytest.mark.parametrize(
    ("first", "second"),
    [("chelsea.png", "coffee.png"), ("rocket.jpg", "chelsea.png"), ("coffee.png", "rocket.jpg")],
)
def test_the_map_of_a_collage_is_warm_where_the_thing_is(
    first: str, second: str, upright: bool, starter: StarterEncoder
) -> None:
    size = (280, 560) if upright else (560, 280)
    collage = Image.new("RGB", size)
    collage.paste(photo(first), (0, 0))
    collage.paste(photo(second), (0, 280) if upright else (280, 0))
    for number, name in enumerate((first, second)):
        values, seen = heat(starter, collage, THINGS[name])
        assert seen.all()
        parts = np.split(values, 2, axis=0 if upright else 1)
        assert parts[number].sum() > 0.8 * values.sum(), THINGS[name]
        assert values.max() > 0.5, THINGS[name]


def test_what_is_not_there_is_cold_all_over(starter: StarterEncoder) -> None:
    values, _ = heat(starter, photo("chelsea.png"), "a steam locomotive")
    assert values.max() < 0.1


def test_a_place_with_nothing_to_recognise_counts_for_little(starter: StarterEncoder) -> None:
    collage = Image.new("RGB", (560, 280), (120, 130, 125))
    collage.paste(photo("chelsea.png"), (0, 0))
    lengths = np.linalg.norm(starter.encode_regions(collage), axis=-1)
    assert lengths[4, 1:8].min() > 0.9  # the face
    assert lengths[:, 9:].max() < 0.65


def test_the_starter_leaves_the_gaps_of_a_panorama_unseen(starter: StarterEncoder) -> None:
    regions = starter.encode_regions(noise(1200, 120))
    seen = regions.any(-1).any(0)
    assert regions.shape == (9, 36, 384)
    assert seen[:3].all()
    assert seen[-3:].all()
    assert seen[17:19].all()
    assert not seen[6:14].any()


# The drawing


def test_the_colours_get_lighter_in_even_steps() -> None:
    linear = np.where(
        (table := colour_table().astype(float)) <= 0.04045, table / 12.92, ((table + 0.055) / 1.055) ** 2.4
    )
    cones = np.cbrt(
        linear
        @ np.array(
            [
                [0.4122214708, 0.5363325363, 0.0514459929],
                [0.2119034982, 0.6806995451, 0.1073969566],
                [0.0883024619, 0.2817188376, 0.6299787005],
            ]
        ).T
    )
    steps = np.diff(cones @ [0.2104542553, 0.7936177850, -0.0040720468])
    assert steps.min() > 0.8 * steps.mean()
    assert steps.max() < 1.2 * steps.mean()


def test_what_was_not_seen_is_hatched_and_does_not_fade_its_neighbours() -> None:
    values = np.array([[0.0, 0.9, 0.9, 0.9]], np.float32)
    seen = np.array([[False, True, True, True]])
    drawn = np.asarray(draw_heat(Image.new("RGB", (80, 40), (150, 150, 150)), values, seen)).astype(int)
    unseen, rest = drawn[:, :20], drawn[:, 20:]
    assert (unseen.max(2) == unseen.min(2)).all()
    assert len(np.unique(unseen)) > 1
    assert np.ptp(rest.reshape(-1, 3), axis=0).max() <= 4  # one step of the colours, by rounding
    assert (rest.max(2) - rest.min(2)).min() > 60


@pytest.mark.parametrize("size", [(1, 1), (5, 3), (64, 48), (300, 1200), (4000, 300), (9, 900)])
def test_a_picture_of_any_shape_is_drawn_beside_its_map(size: tuple[int, int]) -> None:
    card = explained(Image.new("RGB", size, COLOURS["red"]), "red").draw()
    assert card.mode == "RGB"
    assert max(card.size) < 2000
    colours = {colour for _, colour in card.getcolors(1 << 22) or []}  # type: ignore[misc]
    assert COLOURS["red"] in colours


@pytest.mark.parametrize(
    "query",
    [
        "",
        "две собаки в снегу",
        "雪の中の二匹の犬 와 개",
        "كلبان في الثلج ושני כלבים",
        "नमस्ते कुत्ते 👨\u200d👩\u200d👧 e\u0301",
        "\x1b]0;owned\x07 \u202egpj\n\udcff",
        "x" * 100_000,
        "a dog " * 20_000,
    ],
)
def test_any_query_can_be_written_under_a_picture(query: str) -> None:
    shown = Shown(query, 0.93, 0.312, {query[:50]: 0.5, "words": 7.0, "broken": -1.0})
    picture = Image.new("RGB", (200, 150), COLOURS["green"])
    card = draw_card(picture, np.zeros((2, 2), np.float32), np.ones((2, 2), np.bool_), shown)
    assert card.height < 900


def test_lines_stay_within_their_width_and_say_that_something_is_left_off() -> None:
    line = Line(20)
    found = line.wrap("the quick brown fox jumps over the lazy dog " * 20, 300, 3)
    assert len(found) == 3
    assert all(line.width(text) <= 300 for text in found)
    assert found[-1].endswith("…")
    assert line.wrap("a cat", 300, 3) == ["a cat"]
    assert all(line.width(text) <= 300 for text in line.wrap("w" * 500, 300, 2))


def test_a_character_that_no_font_has_is_replaced() -> None:
    line = Line(20)
    assert [run for _, run in line._runs("a\U000f0000b")] == ["a?b"]
    assert line.width("a\U000f0000b") == line.width("a?b")


def test_a_drawing_replaces_an_earlier_one_and_nothing_else(tmp_path: Path) -> None:
    found = explained(halves("red", "blue"), "red")
    target = tmp_path / "why.png"
    found.save(target)
    first = target.read_bytes()
    explained(halves("red", "green"), "green").save(target)
    assert target.read_bytes() != first
    with Image.open(target) as drawn:
        assert drawn.format == "PNG"
    mine = tmp_path / "photo.png"
    halves("red", "blue").save(mine)
    kept = mine.read_bytes()
    with pytest.raises(RetrievalError, match="no drawing of this program"):
        found.save(mine)
    with pytest.raises(RetrievalError, match=r"\.png"):
        found.save(tmp_path / "why.jpg")
    with pytest.raises(RetrievalError, match="could not be written"):
        found.save(tmp_path / "gone" / "why.png")
    assert mine.read_bytes() == kept
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photo.png", "why.png"]


# The gallery


def page(folder: Path, hits: Sequence[Hit], why: Callable[[Hit], Image.Image | None] | None) -> str:
    write_gallery(hits, folder / "page.html", query="red", made=datetime(2024, 5, 1), why=why)
    return (folder / "page.html").read_text("utf-8")


def drawn_hit(folder: Path, name: str, rank: int, **values: Any) -> Hit:
    halves("red", "blue").save(folder / name)
    return Hit(image_id=rank, path=folder / name, score=0.5, match=0.75, rank=rank, **values)


def test_the_gallery_lays_the_map_over_a_picture_without_a_script(tmp_path: Path) -> None:
    hits = [drawn_hit(tmp_path, "a.png", 1), drawn_hit(tmp_path, "b.png", 2)]
    without = page(tmp_path, hits, None)
    maps = {1: explained(halves("red", "blue"), "red").draw_map()}
    text = page(tmp_path, hits, lambda hit: maps.get(hit.image_id))
    assert "<details" not in without
    (found,) = re.findall(r'<details class="why"><summary>.*?</summary></details>', text)
    assert 'alt="where in a.png the match comes from"' in found
    (data,) = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', found)
    with Image.open(io.BytesIO(base64.b64decode(data))) as small:
        assert small.size == maps[1].size
    script = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    assert script == re.findall(r"<script>(.*?)</script>", without, re.DOTALL)
    assert "why" not in script[0]


def test_no_map_is_drawn_for_a_picture_that_cannot_be_shown(tmp_path: Path) -> None:
    hits = [Hit(image_id=1, path=tmp_path / "gone.png", score=0.5, match=0.75, rank=1)]
    asked: list[Hit] = []
    page(tmp_path, hits, lambda hit: asked.append(hit))
    assert asked == []


def test_several_signals_stand_under_a_picture_and_stay_text(tmp_path: Path) -> None:
    many = {"picture": 0.25, "<b>name": 0.5}
    text = page(
        tmp_path,
        [
            drawn_hit(tmp_path, "a.png", 1, signals=many),
            drawn_hit(tmp_path, "b.png", 2, signals={"picture": 0.75}),
        ],
        None,
    )
    (found,) = re.findall(r'<span class="signals">(.*?)</span>', text)
    assert found == "<bdi>&lt;b&gt;name</bdi> 50% · <bdi>picture</bdi> 25%"


# The command


@pytest.fixture
def run(catalog: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """The command over the drawn pictures of the catalog."""
    from cli import main
    from retrieval.commands.explain import explain as command

    def invoke(*arguments: object) -> Any:
        # With the settings of its group: a command remembers the help option of the first context that asks.
        words = [*map(str, arguments), "--catalog", str(catalog)]
        result = CliRunner().invoke(command, words, **main.context_settings)
        if result.exception and not isinstance(result.exception, SystemExit | RetrievalError):
            raise result.exception
        return result

    return invoke


def test_the_command_draws_and_lists_what_spoke(
    run: Callable[..., Any], photos: Path, tmp_path: Path
) -> None:
    result = run("red", photos / "red.png", "-o", tmp_path / "why.png")
    assert result.exit_code == 0, result.output
    assert "100% match" in result.stdout
    assert "picture" in result.stdout
    with Image.open(tmp_path / "why.png") as drawn:
        assert drawn.width > 500


def test_the_command_takes_any_file_and_prints_json(run: Callable[..., Any], tmp_path: Path) -> None:
    outside = tmp_path / "outside.png"
    halves("red", "blue").save(outside)
    (row,) = [json.loads(line) for line in run("red", outside, "--json").stdout.splitlines()]
    assert row["path"] == str(outside)
    assert np.array(row["heat"]).shape == (8, 16)
    assert row["heat"][0][0] > 0.9
    assert row["heat"][0][-1] == 0
    assert "picture" in row["signals"]
