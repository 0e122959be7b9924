"""Tags: what gets which, what is done anew, and that a person has the last word."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from numpy.typing import NDArray

from retrieval.errors import CatalogError, QueryError
from retrieval.protocols import Sample
from retrieval.query.filters import Filter
from retrieval.state import State
from retrieval.tags import Tags
from retrieval.vocabulary import default_vocabulary, parse_vocabulary, read_vocabulary
from tests.conftest import draw, json_lines

COLOURS = [("red", "red"), ("green", "green"), ("sea", "blue"), ("nothing", "purple")]


@pytest.fixture
def tags(catalog: Path) -> Iterator[Tags]:
    state = State(catalog)
    found = Tags(state)
    found.load(COLOURS)
    found.update()
    yield found
    state.close()


def counts(tags: Tags) -> dict[str, int]:
    return {one.tag: one.count for one in tags.list() if one.count}


def words(tags: Tags, image: Path) -> list[str]:
    return [one.tag for one in tags.of(image).tags]


def test_pictures_get_the_tags_whose_prompts_they_match(tags: Tags, photos: Path) -> None:
    assert counts(tags) == {"red": 2, "green": 1, "sea": 1}
    assert words(tags, photos / "red.png") == ["red"]
    assert words(tags, photos / "blue.png") == ["sea"]
    assert words(tags, photos / "trip" / "white.png") == []
    found = tags.of(photos / "red.png")
    assert found.tags[0].confidence > 0.9
    assert found.as_dict()["tags"] == [{"tag": "red", "confidence": round(found.tags[0].confidence, 4)}]


def test_only_what_is_new_or_changed_is_tagged(tags: Tags, photos: Path, index: Callable[..., Any]) -> None:
    assert tags.update() == 0
    draw(photos / "new.png", "green", mark=5)
    draw(photos / "red.png", "blue", mark=9)
    index(photos)
    assert tags.update() == 2
    assert words(tags, photos / "new.png") == ["green"]
    assert words(tags, photos / "red.png") == ["sea"]
    assert tags.update(again=True) == 7


def test_a_changed_vocabulary_makes_every_picture_due(tags: Tags, photos: Path) -> None:
    tags.add("sun", prompt="yellow")
    assert counts(tags)["red"] == 2, "what was said stays until it is said anew"
    assert tags.update() == 6
    assert words(tags, photos / "yellow.png") == ["sun"]
    tags.add("sun", prompt="yellow")
    assert tags.update() == 0, "nothing has changed"
    tags.remove("red")
    assert words(tags, photos / "red.png") == []


def test_a_persons_word_is_final(tags: Tags, photos: Path) -> None:
    picture = photos / "red.png"
    tags.unset(picture, "red")
    tags.set(picture, "  my   favourite ")
    tags.update(again=True)
    assert words(tags, picture) == ["my favourite"]
    assert tags.of(picture).tags[0].confidence == 1.0
    tags.load([("red", "red")])
    tags.update()
    assert words(tags, picture) == ["my favourite"]
    tags.set(picture, "red")
    assert sorted(words(tags, picture)) == ["my favourite", "red"]
    assert {one.tag: one.prompt for one in tags.list()}["my favourite"] is None


def test_tags_filter_a_search(tags: Tags, catalog: Path, photos: Path) -> None:
    state = State(catalog)
    with state.snapshot():
        view = state.view(state.active(), Filter(tags=("red",)))
        assert view.allowed is not None
        assert view.allowed.sum() == 2
    state.close()


def test_a_picture_that_is_gone_is_not_counted(tags: Tags, photos: Path, index: Callable[..., Any]) -> None:
    (photos / "green.png").unlink()
    index(photos)
    assert "green" not in counts(tags)


def test_an_interrupted_update_keeps_what_it_did_and_goes_on(
    tags: Tags, monkeypatch: pytest.MonkeyPatch
) -> None:
    tags.add("sun", prompt="yellow")
    monkeypatch.setattr("retrieval.tags.BLOCK", 2)
    done: list[int] = []

    def stop(step: str, figures: dict[str, Any]) -> None:
        if step == "advance":
            done.append(figures["done"])
            if figures["done"] >= 4:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tags.update(progress=stop)
    assert done == [2, 4]
    assert tags.update() == 2


def test_the_first_update_brings_the_default_vocabulary(catalog: Path) -> None:
    state = State(catalog)
    tags = Tags(state)
    assert tags.update() == 6
    assert {one.tag for one in tags.list()} == {tag for tag, _ in default_vocabulary()}
    state.close()
    assert 250 <= len(default_vocabulary()) <= 400


def test_an_encoder_with_a_second_look_has_its_say(catalog: Path, photos: Path) -> None:
    from retrieval.encoders.toy import ToyEncoder

    class Looking(ToyEncoder):
        def look_again(
            self,
            text: str,
            query: NDArray[np.float32],
            scores: NDArray[np.float32],
            aux: Sequence[bytes],
            sample: Sample,
        ) -> NDArray[np.float32]:
            assert len(aux) == len(scores)
            assert len(sample.aux) == len(sample.scores)
            return np.full(len(scores), 0.9 if text == "purple" else 0.75, np.float32)

    state = State(catalog, encoder=Looking())
    tags = Tags(state)
    tags.load(COLOURS)
    tags.update()
    assert words(tags, photos / "red.png")[0] == "nothing"
    assert len(words(tags, photos / "red.png")) == 4
    state.close()


def test_a_vocabulary_file_is_read_and_its_broken_line_is_named(tmp_path: Path) -> None:
    file = tmp_path / "words.txt"
    file.write_text("# remarks\n\nsnow\nrex: a brown dog: with a collar\n", "utf-8")
    assert read_vocabulary(file) == [("snow", "snow"), ("rex", "a brown dog: with a collar")]
    with pytest.raises(QueryError, match="line 2: A tag needs a name"):
        parse_vocabulary("snow\n: nothing\n", "words")
    with pytest.raises(QueryError, match="cannot be read"):
        read_vocabulary(tmp_path / "none.txt")
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(QueryError, match="UTF-8"):
        read_vocabulary(file)


def test_a_vocabulary_survives_its_file(
    tags: Tags, catalog: Path, tmp_path: Path, search: Callable[..., Result]
) -> None:
    given = {"a - b": ": x", "-x": "# y", "c#": "@z", "ölig": "- w", '"q"': "q: r: s", "!": "!"}
    tags.load(list(given.items()))
    file = tmp_path / "words.txt"
    file.write_text(search("tag", "vocabulary", "--catalog", catalog).stdout, "utf-8")
    assert dict(read_vocabulary(file)) == given


def test_mistakes_are_named(tags: Tags, catalog: Path, photos: Path) -> None:
    with pytest.raises(QueryError, match="no tag 'unicorn'"):
        tags.remove("unicorn")
    with pytest.raises(QueryError, match="needs a name"):
        tags.add("  ")
    with pytest.raises(QueryError, match="characters"):
        tags.add("x" * 101)
    for name in ("#1", "a: b", "a:b", "- item", "@rex"):
        with pytest.raises(QueryError, match="Choose a name"):
            tags.add(name)
    with pytest.raises(QueryError, match="prompt of 'rex' is empty"):
        tags.add("rex", prompt=" ")
    with pytest.raises(QueryError, match="has no picture"):
        tags.of(photos / "none.png")
    with pytest.raises(QueryError, match="without a tag"):
        tags.load([])
    state = State(catalog, readonly=True)
    with pytest.raises(CatalogError, match="reading only"):
        Tags(state).update()
    state.close()


def test_the_command_line_does_it_all(
    catalog: Path, photos: Path, tmp_path: Path, search: Callable[..., Result]
) -> None:
    where = ("--catalog", catalog)
    file = tmp_path / "words.txt"
    file.write_text("red\nsea: blue\n", "utf-8")
    assert "6 pictures tagged anew" in search("tag", "vocabulary", file, *where).stdout
    assert search("tag", "vocabulary", *where).stdout == "red\nsea: blue\n"
    assert search("tag", *where).stdout.splitlines() == ["2  red", "1  sea"]
    assert json_lines(search("tag", *where, "--json").stdout) == [
        {"tag": "red", "count": 2},
        {"tag": "sea", "count": 1},
    ]
    assert search("tag", "add", "sun", "--prompt", "yellow", *where).stdout == "1 picture tagged sun.\n"
    row = json_lines(search("tag", "show", photos / "yellow.png", *where, "--json").stdout)[0]
    assert row["path"] == str(photos / "yellow.png")
    assert [one["tag"] for one in row["tags"]] == ["sun"]
    search("tag", "unset", photos / "yellow.png", "sun", *where)
    path = str(photos / "yellow.png")
    said = search("tag", "set", path, "mine", *where).stdout
    assert said == f"{path} has the tag mine.\n"
    for verb, tagged in (("unset", 0), ("set", 1)):
        assert json_lines(search("tag", verb, path, "mine", *where, "--json").stdout) == [
            {"path": path, "tag": "mine", "tagged": tagged}
        ]
    assert json_lines(search("tag", "add", "sky", "--prompt", "blue", *where, "--json").stdout) == [
        {"tag": "sky", "tagged": 1}
    ]
    assert json_lines(search("tag", "remove", "sky", *where, "--json").stdout) == [
        {"tag": "sky", "tagged": 0}
    ]
    assert search("tag", "show", photos / "yellow.png", *where).stdout.endswith(": mine 100%\n")
    assert {"tag": "mine", "prompt": None, "count": 1} in json_lines(
        search("tag", "list", *where, "--json").stdout
    )
    assert search("tag", "remove", "sun", *where).exit_code == 0
    assert search("tag", "remove", "sun", *where).exit_code == 1
