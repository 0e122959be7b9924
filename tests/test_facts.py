"""What is known of pictures: stored and computed tags, texts, time, place, camera, names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import update

from retrieval import Catalog
from retrieval.db.circumstances import circumstances
from retrieval.db.schema import Image as ImageRow
from retrieval.db.texts import OCR
from retrieval.db.texts_writes import NewText, add_texts
from retrieval.encoders.classes import TOP, Posterior, pack
from retrieval.encoders.colour import COLOURS as STARTER_COLOURS
from retrieval.encoders.starter_names import names
from retrieval.encoders.toy import ToyEncoder
from retrieval.facts import catalog_facts, outside_facts
from retrieval.images import load_image
from retrieval.speech import Facts, Named, Told
from retrieval.types import Tag
from tests.conftest import draw

if TYPE_CHECKING:
    from retrieval.types import Vectors

VOCABULARY = [("red", "red"), ("green", "green"), ("sea", "blue"), ("nothing", "purple")]


@pytest.fixture
def opened(catalog: Path) -> Iterator[Catalog]:
    with Catalog(catalog) as found:
        found.tags.load(VOCABULARY)
        yield found


def ids(catalog: Catalog) -> dict[str, int]:
    with catalog.state.snapshot() as reader:
        rows = reader.rows("SELECT id, path FROM images")
    return {Path(path.decode()).stem: image_id for image_id, path in rows}


def every(catalog: Catalog, **options: Any) -> dict[str, Facts]:
    found = catalog_facts(catalog.state, list(ids(catalog).values()), **options)
    return {one.path.stem: one for one in found.values() if one.path is not None}


def words(facts: Facts) -> list[str]:
    return [tag.tag for tag in facts.tags]


class Counting(ToyEncoder):
    """Counts the texts that it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.texts = 0

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        self.texts += len(texts)
        return super().encode_texts(texts)


class Knowing(ToyEncoder):
    """Has a name for every picture."""

    def names(self, aux: Sequence[bytes]) -> list[list[Named]]:
        return [[Named("pug", 0.8, ("dog", "animal"))] for _ in aux]


def test_untagged_pictures_get_the_tags_that_an_update_would_give(opened: Catalog) -> None:
    computed = every(opened)
    assert words(computed["red"]) == words(computed["red-again"]) == ["red"]
    assert words(computed["blue"]) == ["sea"]
    assert words(computed["white"]) == []
    with opened.state.snapshot() as reader:
        assert reader.rows("SELECT COUNT(*) FROM image_tags") == [(0,)]
    opened.tags.update()
    assert {name: one.tags for name, one in every(opened).items()} == {
        name: one.tags for name, one in computed.items()
    }


def test_stored_tags_are_told_as_they_are(opened: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    opened.tags.update()
    monkeypatch.setattr("retrieval.vocabulary.look.Look.prepared", None)
    assert words(every(opened)["red"]) == ["red"]


def test_tags_that_are_out_of_date_are_computed_anew(
    opened: Catalog, photos: Path, index: Callable[..., Any]
) -> None:
    assert words(every(opened)["yellow"]) == []
    opened.tags.update()
    opened.tags.load([("sun", "yellow"), *VOCABULARY])
    assert words(every(opened)["yellow"]) == ["sun"]
    draw(photos / "red.png", "blue", mark=9)
    index(photos)
    assert words(every(opened)["red"]) == ["sea"]


def test_a_persons_word_stands_tagged_or_not(opened: Catalog, photos: Path) -> None:
    opened.tags.set(photos / "red.png", "my favourite")
    opened.tags.unset(photos / "red.png", "red")
    for _ in range(2):
        assert every(opened)["red"].tags == (Tag("my favourite", 1.0),)
        opened.tags.update()


def test_names_come_from_encoders_that_have_some(catalog: Path, photos: Path) -> None:
    with Catalog(catalog) as plain:
        assert every(plain)["red"].named == ()
    with Catalog(catalog, encoder=Knowing()) as knowing:
        assert [one.name for one in every(knowing)["red"].named] == ["pug"]
        knowing.tags.unset(photos / "red.png", "dog")
        assert every(knowing)["red"].named == (), "what a person refuses takes its more exact names along"
        image = load_image(photos / "blue.png")
        assert [one.name for one in outside_facts(knowing.state, image).named] == ["pug"]


def test_the_starter_knows_its_classes_by_name() -> None:
    classes = np.arange(TOP, dtype=np.uint16)[None]
    classes[0, :2] = 230, 151
    chances = np.zeros((1, TOP), np.float16)
    chances[0, :2] = 0.75, 0.25
    colours = np.zeros((1, len(STARTER_COLOURS)), np.float16)
    sheepdog, chihuahua = names(pack(Posterior(classes, chances, colours)))[0]
    assert (sheepdog.name, sheepdog.confidence) == ("Shetland sheepdog", 0.75)
    assert sheepdog.kinds[0] == "shepherd dog"
    assert {"dog", "animal"} <= set(sheepdog.kinds)
    assert (chihuahua.name, chihuahua.confidence) == ("Chihuahua", 0.25)
    assert names([b""]) == [[]]


def test_texts_are_told_with_their_sources_and_what_was_read_apart(opened: Catalog, photos: Path) -> None:
    opened.texts.add([{"text": "our front door", "image": str(photos / "red.png")}, "a red door"])
    opened.texts.add([{"text": "a door", "image": str(photos / "red.png")}], source="caption-of-old")
    with opened.state.writer() as writer:
        add_texts(writer, [NewText("STOP", OCR, ids(opened)["red"])])
    found = every(opened)
    assert found["red"].told == (Told("our front door", "added"), Told("a door", "caption-of-old"))
    assert found["red"].seen == "STOP"
    assert found["green"].told == ()
    assert found["green"].seen == ""


def test_near_texts_are_those_that_are_tied_to_no_picture(opened: Catalog, photos: Path) -> None:
    tied = [{"text": f"red {number}", "image": str(photos / "green.png")} for number in range(12)]
    opened.texts.add([*tied, "a red door", "red and green", "a blue sea"])
    assert every(opened)["red"].fits == ()
    found = every(opened, near=2)
    assert [one.text for one in found["red"].fits] == ["a red door", "red and green"]
    assert [one.text for one in every(opened, near=1)["red"].fits] == ["a red door"]
    assert every(opened, near=3)["red"].fits == found["red"].fits, "what does not fit is left out"
    assert [one.text for one in found["blue"].fits] == ["a blue sea"]
    assert found["white"].fits == ()
    assert found["red"].fits[0].match > found["red"].fits[1].match >= ToyEncoder.cutoff


def test_time_place_and_camera_come_from_the_row(
    photos: Path, index: Callable[..., Any], tmp_path: Path
) -> None:
    image = Image.new("RGB", (60, 40), (220, 20, 20))
    exif = image.getexif()
    exif[0x010F], exif[0x0110] = "NIKON CORPORATION", "NIKON D90"
    exif.get_ifd(0x8769)[0x9003] = "2023:07:02 14:03:00"
    exif.get_ifd(0x8825).update({1: "N", 2: (60.0, 23.0, 34.0), 3: "E", 4: (5.0, 19.0, 20.0)})
    image.save(photos / "bergen.jpg", exif=exif)
    index(photos)
    with Catalog(tmp_path / "catalog") as opened:
        found = every(opened)
        known = found["bergen"]
        assert known.taken_at == "2023-07-02T14:03:00"
        assert known.place == "Bergen, Norway"
        assert known.camera == "Nikon D90"
        assert (known.width, known.height) == (60, 40)
        assert known.image_id == ids(opened)["bergen"]
        assert found["red"].taken_at is None, "the file's own time says nothing of the picture"
        assert (found["red"].place, found["red"].camera) == (None, None)
        # The same file from outside says the same of itself.
        outside = outside_facts(opened.state, load_image(photos / "bergen.jpg"), photos / "bergen.jpg")
        for field in ("taken_at", "place", "camera", "width", "height", "tags"):
            assert getattr(outside, field) == getattr(known, field)
        assert outside.image_id is None


def test_a_maker_that_the_model_repeats_is_said_once(opened: Catalog) -> None:
    for make, model, name in (
        ("EASTMAN KODAK", "KODAK LS743", "EASTMAN KODAK LS743"),
        ("Leica", "LEICA", "LEICA"),
        ("Sony", "SonyA7", "SonyA7"),
        ("Nikon", " D90 ", "Nikon D90"),
        ("Nikon", None, "Nikon"),
        (None, "D90", "D90"),
        (" ", "", None),
    ):
        with opened.state.writer() as writer, writer.transaction() as connection:
            connection.execute(update(ImageRow).values(camera_make=make, camera_model=model))
        assert every(opened)["red"].camera == name
        with opened.state.snapshot() as reader:
            assert {row.camera for row in circumstances(reader, [1, 2])} == {name}


def test_unknown_ids_are_left_out_and_missing_pictures_are_not(
    opened: Catalog, photos: Path, index: Callable[..., Any]
) -> None:
    assert catalog_facts(opened.state, []) == {}
    assert catalog_facts(opened.state, [10**9]) == {}
    (photos / "green.png").unlink()
    index(photos)
    assert words(every(opened)["green"]) == ["green"]
    assert every(opened, tags=False)["green"].tags == ()


def test_an_empty_catalog_has_no_model_but_a_file_still_speaks(tmp_path: Path, photos: Path) -> None:
    with Catalog(tmp_path / "empty", create=True) as opened:
        known = outside_facts(opened.state, load_image(photos / "red.png"), photos / "red.png", near=3)
        assert (known.tags, known.path) == ((), photos / "red.png")


def test_the_vocabulary_is_encoded_once(catalog: Path) -> None:
    def computed(**options: Any) -> int:
        encoder = Counting()
        with Catalog(catalog, encoder=encoder, **options) as opened:
            assert words(every(opened)["red"]) == ["red"]
            every(opened)
        return encoder.texts

    with Catalog(catalog) as opened:
        opened.tags.load(VOCABULARY)
    kept = catalog / "cache" / "vocabulary"
    assert computed(readonly=True) == len(VOCABULARY)
    assert not kept.exists(), "a catalog opened for reading is left as it is"
    assert computed() == len(VOCABULARY)
    assert computed() == computed(readonly=True) == 0
    (file,) = kept.iterdir()
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    assert computed() == len(VOCABULARY), "a damaged cache is made anew"
    assert computed() == 0
    for number in range(6):
        with Catalog(catalog) as opened:
            opened.tags.load([*VOCABULARY, (f"tag {number}", f"pink {number}")])
        computed()
    assert len(list(kept.iterdir())) == 4, "old vocabularies do not pile up"
