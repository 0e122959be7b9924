"""One picture in words: from the catalog or not, with a captioner that looks or one that does not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from retrieval import Catalog
from retrieval.errors import ImageUnreadable, QueryError, UnknownModel
from retrieval.protocols import Captioner
from retrieval.speech import Sight, Style
from tests.conftest import draw

VOCABULARY = [("red", "red"), ("green", "green"), ("sea", "blue")]


class Looking:
    """A captioner that says what colour it sees, and keeps what it was shown."""

    id = "looking/1"
    batch_size = 1
    sees = True
    note = "Pictures stay here."

    def __init__(self, *, mute: bool = False) -> None:
        self.mute = mute
        self.sights: list[Sight] = []

    def captions(
        self, sights: Sequence[Sight], *, style: Style = "caption", count: int = 1
    ) -> list[list[str]]:
        self.sights += sights
        images = [sight.image for sight in sights]
        assert all(images)
        return [[] if self.mute else [f"{style} of {image.getpixel((0, 0))}"] for image in images if image]


@pytest.fixture
def opened(catalog: Path) -> Iterator[Catalog]:
    with Catalog(catalog) as found:
        found.tags.load(VOCABULARY)
        yield found


def id_of(catalog: Catalog, path: Path) -> int:
    found = catalog.state.find_picture(path)
    assert found is not None
    return found


def test_a_picture_of_the_catalog_is_described_by_id_and_by_path(opened: Catalog, photos: Path) -> None:
    image_id = id_of(opened, photos / "red.png")
    by_path = opened.describe(photos / "red.png")
    assert by_path == opened.describe(image_id) == opened.describe(str(photos / "red.png"))
    assert by_path.caption == "A red (0.99). Its file is called “red”."
    assert [tag.tag for tag in by_path.tags] == ["red"]
    assert (by_path.path, by_path.image_id) == (photos / "red.png", image_id)
    assert by_path.captioner == "describer/1"
    assert "not a vision-language model" in by_path.note
    row = by_path.as_dict()
    assert row["caption"] == by_path.caption
    assert row["tags"][0].keys() == {"tag", "confidence"}


def test_a_picture_from_outside_is_described_as_one_of_the_catalog_would_be(
    opened: Catalog, tmp_path: Path
) -> None:
    place = draw(tmp_path / "elsewhere" / "x.png", "blue", mark=7)
    found = opened.describe(place)
    assert (found.path, found.image_id) == (place, None)
    assert [tag.tag for tag in found.tags] == ["sea"]
    assert found.caption == "The sea (0.99)."
    with Image.open(place) as image:
        unnamed = opened.describe(image)
    assert (unnamed.path, unnamed.tags, unnamed.caption) == (None, found.tags, found.caption)
    assert "path" not in unnamed.as_dict()


def test_a_file_that_changed_is_described_as_it_is_now(opened: Catalog, photos: Path) -> None:
    draw(photos / "red.png", "green", mark=40)
    found = opened.describe(photos / "red.png")
    assert [tag.tag for tag in found.tags] == ["green"]
    assert found.image_id is None


def test_the_style_for_screen_readers_is_asked_for(opened: Catalog, photos: Path) -> None:
    assert opened.describe(photos / "blue.png", style="alt").caption == "The sea."
    looking = Looking()
    assert opened.describe(photos / "blue.png", captioner=looking, style="alt").caption.startswith("alt of")
    with pytest.raises(QueryError, match="caption or alt, not 'haiku'"):
        opened.describe(photos / "blue.png", style="haiku")  # type: ignore[arg-type]


def test_a_captioner_that_looks_gets_the_picture_and_what_is_known(
    opened: Catalog, photos: Path, tmp_path: Path
) -> None:
    looking: Captioner = Looking()
    found = opened.describe(photos / "red.png", captioner=looking)
    assert found.caption == "caption of (220, 20, 20)"
    assert (found.captioner, found.note) == ("looking/1", "Pictures stay here.")
    large = draw(tmp_path / "large.png", "green", size=(2400, 1200))
    assert opened.describe(large, captioner=looking).caption == "caption of (20, 150, 40)"
    known, outside = looking.sights  # type: ignore[attr-defined]
    assert [tag.tag for tag in known.facts.tags] == ["red"]
    assert outside.image.size == (1536, 768), "no captioner looks at more"
    assert (outside.facts.width, outside.facts.height) == (2400, 1200)


def test_what_a_captioner_said_before_is_not_told_to_one(opened: Catalog, photos: Path) -> None:
    picture = str(photos / "red.png")
    with opened.state.writer() as writer:
        from retrieval.db.texts_writes import NewText, add_texts

        image_id = id_of(opened, photos / "red.png")
        add_texts(writer, [NewText("a machine said so", "caption", image_id)])
    opened.texts.add([{"text": "our front door", "image": picture}])
    looking = Looking()
    opened.describe(photos / "red.png", captioner=looking)
    assert [told.text for told in looking.sights[0].facts.told] == ["our front door"]
    assert "our front door" in opened.describe(photos / "red.png").caption
    assert "machine" not in opened.describe(photos / "red.png").caption


def test_a_picture_that_is_gone_is_described_from_the_catalog(
    opened: Catalog, photos: Path, index: Callable[..., Any]
) -> None:
    path = photos / "red.png"
    image_id = id_of(opened, path)
    path.unlink()
    for again in range(2):
        for picture in (image_id, path):
            found = opened.describe(picture)
            assert [tag.tag for tag in found.tags] == ["red"], again
            assert found.image_id == image_id
            assert "not there now" in found.note
            with pytest.raises(ImageUnreadable, match=r"red\.png is not there now.*--captioner describer"):
                opened.describe(picture, captioner=Looking())
        index(photos)  # now it is known to be missing


def test_a_picture_that_is_broken_now_is_told_in_a_sentence(opened: Catalog, photos: Path) -> None:
    path = photos / "red.png"
    image_id = id_of(opened, path)
    path.write_bytes(b"no picture")
    assert opened.describe(image_id).tags[0].tag == "red"
    with pytest.raises(ImageUnreadable, match=r"red\.png cannot be looked at: .*--captioner describer"):
        opened.describe(image_id, captioner=Looking())


def test_no_words_are_an_empty_caption_and_a_note(opened: Catalog, photos: Path) -> None:
    found = opened.describe(photos / "red.png", captioner=Looking(mute=True))
    assert found.caption == ""
    assert found.note == "Pictures stay here. looking/1 has no words for it."
    assert [tag.tag for tag in found.tags] == ["red"]


def test_what_is_not_there_is_refused_in_a_sentence(opened: Catalog, tmp_path: Path) -> None:
    with pytest.raises(QueryError, match="has no picture 999"):
        opened.describe(999)
    with pytest.raises(QueryError, match="There is no file"):
        opened.describe(tmp_path / "nothing.jpg")
    with pytest.raises(QueryError, match="is a folder"):
        opened.describe(tmp_path)
    (tmp_path / "words.jpg").write_text("words")
    with pytest.raises(ImageUnreadable, match="cannot be used as a picture"):
        opened.describe(tmp_path / "words.jpg")
    with pytest.raises(UnknownModel, match="No captioner is called 'nobody'"):
        opened.describe(tmp_path / "words.jpg", captioner="nobody")


def test_an_empty_catalog_says_why_there_are_no_tags(tmp_path: Path, photos: Path) -> None:
    with Catalog(tmp_path / "empty", create=True) as opened:
        found = opened.describe(photos / "red.png")
        assert found.tags == ()
        assert found.caption == (
            "What it shows is not known: no tag is sure enough. Its file is called “red”."
        )
        assert "holds no pictures yet" in found.note
        assert "search index PATH" in found.note
        looking = Looking()
        assert opened.describe(photos / "red.png", captioner=looking).caption == "caption of (220, 20, 20)"
