"""Concepts: taught by examples, kept in rows, found as @name."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from hypothesis import given
from hypothesis import strategies as st

from indexer import IndexReport
from retrieval import Catalog
from retrieval.concepts import Concepts, checked_name
from retrieval.encoders.toy import ToyEncoder
from retrieval.errors import CatalogError, ImageError, QueryError
from retrieval.query.learn import learn
from retrieval.types import checksum
from tests.conftest import draw, json_lines

Search = Callable[..., Result]


@pytest.fixture
def opened(catalog: Path) -> Iterator[Catalog]:
    with Catalog(catalog) as found:
        yield found


@pytest.fixture
def taught(opened: Catalog) -> Concepts:
    return Concepts(opened.state)


def best(opened: Catalog, name: str) -> list[str]:
    """What a concept finds above its cut-off, best first."""
    state = opened.state
    info = state.active()
    learnt = Concepts(state).learnt(name, info)
    with state.snapshot():
        store = state.images(info).store
        ids, scores = store.search(learnt.vector, 100)
        matches = learnt.match(scores, store.sample(learnt.vector))
        paths = dict(state.reader.rows("SELECT id, path FROM images"))
    assert (np.diff(matches) <= 0).all(), "a match rises with its score"
    return [
        Path(bytes(paths[key]).decode()).stem
        for key, match in zip(ids.tolist(), matches, strict=True)
        if match >= learnt.encoder.cutoff
    ]


def test_a_picture_of_the_catalog_teaches_what_is_like_it(
    opened: Catalog, taught: Concepts, photos: Path
) -> None:
    concept = taught.add("Fire", [photos / "red.png"])
    assert (concept.name, concept.good, concept.bad, concept.resting) == ("fire", 1, 0, 0)
    assert concept.examples[0].image_id is not None
    assert sorted(best(opened, "@FIRE")) == ["red", "red-again"]


def test_a_file_outside_the_catalog_is_encoded_and_remembered(
    opened: Catalog, taught: Concepts, tmp_path: Path, catalog: Path
) -> None:
    outside = draw(tmp_path / "elsewhere" / "sky.png", "blue", mark=7)
    concept = taught.add("sky", [outside])
    assert concept.examples[0].image_id is None
    outside.unlink()
    assert best(opened, "sky") == ["blue"]
    with sqlite3.connect(catalog / "catalog.db") as rows:
        kept = rows.execute("SELECT vector, encoder_id FROM concept_examples").fetchone()
    rows.close()
    assert len(kept[0]) == 2 * ToyEncoder.dim
    assert kept[1] is not None


def test_pictures_that_do_not_show_it_turn_the_direction_away(
    opened: Catalog, taught: Concepts, photos: Path
) -> None:
    taught.add("colour", [photos / "red.png", photos / "yellow.png"])
    state = opened.state
    before = taught.learnt("colour", state.active()).vector
    taught.add("colour", (), bad=[photos / "green.png"])
    after = taught.learnt("colour", state.active()).vector
    with state.snapshot():
        store = state.images(state.active()).store
        scores = {
            example.path.stem: store.vectors(np.array([example.image_id])) @ np.stack([before, after], 1)
            for example in taught.show("colour").examples
        }
    assert scores["green"][0, 1] < scores["green"][0, 0]
    assert scores["red"][0, 1] > scores["green"][0, 1]


def test_an_example_counts_once_and_the_last_word_on_it_holds(taught: Concepts, photos: Path) -> None:
    taught.add("red", [photos / "red.png", photos / "trip" / "red-again.jpg"])
    assert taught.add("red", [photos / "red.png"]).good == 2
    moved = taught.add("red", (), bad=photos / "red.png")
    assert (moved.good, moved.bad) == (1, 1)
    copy = photos.parent / "copy.png"
    copy.write_bytes((photos / "red.png").read_bytes())
    assert len(taught.add("red", copy).examples) == 2, "the same file under another name is the same picture"


def test_examples_can_be_given_by_id(taught: Concepts, photos: Path) -> None:
    image_id = taught.add("red", photos / "red.png").examples[0].image_id
    assert image_id is not None
    assert taught.add("rot", image_id).examples[0].path == photos / "red.png"
    assert taught.remove("rot") == 1


def test_examples_and_concepts_can_be_taken_back(taught: Concepts, photos: Path) -> None:
    taught.add("warm", [photos / "red.png", photos / "yellow.png"])
    with pytest.raises(QueryError, match="no example of @warm"):
        taught.remove("warm", photos / "blue.png")
    assert taught.remove("warm", photos / "yellow.png") == 1
    with pytest.raises(QueryError, match="no picture left"):
        taught.remove("warm", photos / "red.png")
    assert taught.remove("warm") == 1
    assert taught.list() == []


def test_what_cannot_be_an_example_is_refused_and_nothing_is_kept(
    taught: Concepts, photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("no picture")
    for wrong, error, message in (
        (tmp_path / "nowhere.png", QueryError, "no file"),
        (tmp_path / "notes.txt", ImageError, "notes.txt cannot be used"),
        (photos, QueryError, "is a folder"),
        (10**9, QueryError, "no picture 1000000000"),
    ):
        with pytest.raises(error, match=message):
            taught.add("red", [photos / "red.png", wrong])
    with pytest.raises(QueryError, match="as showing"):
        taught.add("red", photos / "red.png", bad=photos / "red.png")
    with pytest.raises(QueryError, match="Name pictures"):
        taught.add("red", ())
    with pytest.raises(QueryError, match="no picture that shows it"):
        taught.add("red", (), bad=photos / "blue.png")
    assert taught.list() == []


def test_an_unknown_concept_is_asked_about(taught: Concepts, photos: Path, opened: Catalog) -> None:
    with pytest.raises(QueryError, match="Teach it: search concepts add rex"):
        taught.show("rex")
    taught.add("rex", photos / "red.png")
    for ask in (taught.show, taught.remove, lambda name: taught.learnt(name, opened.state.active())):
        with pytest.raises(QueryError, match="Did you mean @rex"):
            ask("rxe")


@pytest.mark.parametrize("name", ["", "@", "two words", "-x", "a/b", "a" * 65, "a,b", "a\nb", "👍"])
def test_a_name_is_letters_digits_and_hyphens(name: str) -> None:
    with pytest.raises(QueryError, match="no name for a concept"):
        checked_name(name)


def test_a_name_may_be_of_any_alphabet_and_case_does_not_matter() -> None:
    assert checked_name("@Straße_7") == "strasse_7"
    assert checked_name("РЕКС") == "рекс"
    assert checked_name("e\N{COMBINING ACUTE ACCENT}") == "é"


def encoder_of_another_name(number: int) -> ToyEncoder:
    """The toy with its colours turned round: another space of the same size."""

    class Turned(ToyEncoder):
        id = f"toy/turned/{number}"

        def encode_prepared(self, batch):  # type: ignore[no-untyped-def]
            made = super().encode_prepared(batch)
            return type(made)(np.ascontiguousarray(made.vectors[:, ::-1]), made.aux)

    return Turned()


def switch(catalog: Path, key: str) -> None:
    """Make the vectors of the catalog, turned round, those of another encoder."""
    with sqlite3.connect(catalog / "catalog.db") as rows:
        rows.execute(
            "INSERT INTO encoders (key, spec, dim, generation, epoch, state, active, created_at) "
            "SELECT ?, spec, dim, generation, epoch, state, 0, created_at + 1 FROM encoders",
            (key,),
        )
        old, new = (row[0] for row in rows.execute("SELECT id FROM encoders ORDER BY id"))
        for image_id, vector, generation in rows.execute(
            "SELECT image_id, vector, generation FROM embeddings"
        ).fetchall():
            turned = np.frombuffer(vector, "<f2")[::-1].tobytes()
            rows.execute(
                "INSERT INTO embeddings VALUES (?, ?, ?, ?, ?, ?)",
                (new, image_id, turned, b"", checksum(turned, b""), generation),
            )
        rows.execute("UPDATE encoders SET active = id = ?", (new,))
    rows.close()
    assert old != new


def test_after_a_change_of_model_examples_are_encoded_anew_or_rest(
    catalog: Path, photos: Path, tmp_path: Path
) -> None:
    stays = draw(tmp_path / "stays.png", "blue", mark=5)
    goes = draw(tmp_path / "goes.png", "blue", mark=6)
    changes = draw(tmp_path / "changes.png", "blue", mark=9)
    with Catalog(catalog) as opened:
        Concepts(opened.state).add("sky", [photos / "blue.png", stays, goes, changes])
    goes.unlink()
    draw(changes, "red")
    encoder = encoder_of_another_name(1)
    switch(catalog, encoder.id)
    with Catalog(catalog, encoder=encoder) as opened:
        taught = Concepts(opened.state)
        states = {example.path.name: example.rests for example in taught.show("sky").examples}
        assert states == {
            "blue.png": None,
            "stays.png": "will be encoded when it is used",
            "goes.png": "the file is gone",
            "changes.png": "shows something else now",
        }
        learnt = taught.learnt("sky", opened.state.active())
        assert "2 of the 4 pictures" in learnt.notes[0]
        assert float(learnt.vector @ encoder.encode_images([_open(stays)])[0]) > 0.9
        stays.unlink()
        assert taught.show("sky").examples[1].rests is None, "what was encoded anew is kept"


def test_a_concept_whose_pictures_are_all_gone_says_so(catalog: Path, tmp_path: Path) -> None:
    outside = draw(tmp_path / "outside.png", "blue", mark=5)
    with Catalog(catalog) as opened:
        Concepts(opened.state).add("sky", outside)
    outside.unlink()
    encoder = encoder_of_another_name(2)
    switch(catalog, encoder.id)
    with Catalog(catalog, encoder=encoder) as opened, pytest.raises(QueryError, match="Name others"):
        Concepts(opened.state).learnt("sky", opened.state.active())


def _open(path: Path):  # type: ignore[no-untyped-def]
    from retrieval.images import load_image

    return load_image(path)


def test_an_example_forgotten_by_the_catalog_is_read_from_its_file(
    opened: Catalog, taught: Concepts, photos: Path
) -> None:
    taught.add("sky", photos / "blue.png")
    opened.forget(photos / "blue.png")
    assert best(opened, "sky") == []
    assert taught.show("sky").examples[0].image_id is None
    draw(photos / "blue.png", "red")
    forget_vectors(opened)
    with pytest.raises(QueryError, match="Name others"):
        taught.learnt("sky", opened.state.active())


def test_a_picture_that_was_replaced_teaches_what_it_showed(
    opened: Catalog, taught: Concepts, photos: Path, index: Callable[..., IndexReport]
) -> None:
    taught.add("rex", photos / "red.png")
    draw(photos / "red.png", "green", mark=8)
    index(photos)
    assert best(opened, "rex") == ["red-again"]
    [example] = taught.show("rex").examples
    assert (example.path, example.image_id, example.rests) == (photos / "red.png", None, None)
    forget_vectors(opened)
    assert taught.show("rex").examples[0].rests == "shows something else now"
    with pytest.raises(QueryError, match="show something else"):
        taught.learnt("rex", opened.state.active())


@pytest.mark.parametrize("way", ["gone", "collected", "forgotten"])
def test_a_concept_outlives_the_file_and_the_row_of_its_picture(
    opened: Catalog, taught: Concepts, photos: Path, index: Callable[..., IndexReport], way: str
) -> None:
    taught.add("solo", photos / "red.png")
    if way == "forgotten":
        opened.forget(photos / "red.png")
    (photos / "red.png").unlink()
    index(photos)
    if way == "collected":
        assert opened.gc()["images"] == 1
    assert "red-again" in best(opened, "solo")
    assert taught.show("solo").resting == 0


def test_the_vector_of_the_model_in_use_is_kept_when_a_picture_goes(catalog: Path, photos: Path) -> None:
    with Catalog(catalog) as opened:
        Concepts(opened.state).add("solo", photos / "red.png")
    encoder = encoder_of_another_name(3)
    switch(catalog, encoder.id)
    with Catalog(catalog, encoder=encoder) as opened:
        opened.forget(photos / "red.png")
        (photos / "red.png").unlink()
        assert best(opened, "solo") == ["red-again"]


def test_where_nothing_can_be_written_a_concept_is_found_all_the_same(catalog: Path, tmp_path: Path) -> None:
    outside = draw(tmp_path / "outside.png", "blue", mark=5)
    with Catalog(catalog) as opened:
        Concepts(opened.state).add("sky", outside)
    encoder = encoder_of_another_name(4)
    switch(catalog, encoder.id)
    (catalog / "write.lock").unlink(missing_ok=True)
    (catalog / "write.lock").mkdir()  # what cannot be opened for writing, even by root
    with Catalog(catalog, encoder=encoder) as opened:
        assert best(opened, "sky") == ["blue"]


def forget_vectors(opened: Catalog) -> None:
    with sqlite3.connect(opened.location.database) as rows:
        rows.execute("UPDATE concept_examples SET vector = NULL")
    rows.close()


def test_a_catalog_for_reading_only_is_not_taught(catalog: Path, photos: Path) -> None:
    with Catalog(catalog, readonly=True) as opened, pytest.raises(CatalogError, match="reading only"):
        Concepts(opened.state).add("red", photos / "red.png")


@given(st.integers(1, 5), st.integers(0, 5), st.integers(0, 40), st.integers(0, 10**6))
def test_whatever_the_examples_a_direction_comes_out(good: int, bad: int, drawn: int, seed: int) -> None:
    random = np.random.default_rng(seed)

    def some(count: int) -> np.ndarray:
        rows = random.normal(size=(count, 16)).astype(np.float32)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    examples, others, background = some(good), some(bad), some(drawn)
    found = learn(examples, others, background)
    assert np.isfinite(found.vector).all()
    assert float(np.linalg.norm(found.vector)) == pytest.approx(1, abs=1e-5)
    assert found.slope > 0
    again = learn(examples[::-1], others[::-1], background[::-1])
    np.testing.assert_allclose(again.vector, found.vector, atol=1e-3)


def test_the_head_finds_what_the_prototype_confuses() -> None:
    """Good and bad share most of what they are, and differ in one thing: only that counts."""
    random = np.random.default_rng(0)

    def kind(own: int, count: int) -> np.ndarray:
        rows = 0.15 * random.normal(size=(count, 32))
        rows[:, 0] += 3.0
        rows[:, own] += 1.0
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)

    good, bad, background = kind(1, 43), kind(2, 43), kind(3, 20)
    head = learn(good[:3], bad[:3], background)
    prototype = good[:3].mean(0)

    def apart(direction: np.ndarray) -> float:
        inside, outside = good[3:] @ direction, bad[3:] @ direction
        return float((inside.mean() - outside.mean()) / np.concatenate([inside, outside]).std())

    assert apart(head.vector) > apart(prototype)
    assert (good[3:] @ head.vector).min() > np.median(bad[3:] @ head.vector)


def test_opposite_examples_still_give_a_direction() -> None:
    axis = np.eye(1, 8, dtype=np.float32)
    found = learn(np.concatenate([axis, -axis]), np.zeros((0, 8), np.float32), np.zeros((0, 8), np.float32))
    assert np.isfinite(found.vector).all()


def test_the_command_line_teaches_lists_shows_and_removes(
    search: Search, catalog: Path, photos: Path, tmp_path: Path
) -> None:
    result = search(
        "concepts", "add", "Rex", photos / "red.png", photos / "trip" / "red-again.jpg",
        "--not", photos / "blue.png", photos / "green.png", "--catalog", catalog,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "@rex: 2 good, 2 not" in result.stdout
    [row] = json_lines(search("concepts", "list", "--catalog", catalog, "--json").stdout)
    assert (row["name"], row["good"], row["bad"], row["resting"]) == ("rex", 2, 2, 0)
    rows = json_lines(search("concepts", "show", "@rex", "--catalog", catalog, "--json").stdout)
    assert [list(row) for row in rows] == [["path", "good", "image_id"]] * 4
    assert [row["good"] for row in rows] == [True, True, False, False]
    found = search("@rex", "--catalog", catalog, "--paths").stdout.splitlines()
    assert set(found) == {str(photos / "red.png"), str(photos / "trip" / "red-again.jpg")}
    assert search("concepts", "remove", "rex", photos / "blue.png", "--catalog", catalog).exit_code == 0
    assert search("concepts", "remove", "rex", "--catalog", catalog).exit_code == 0
    assert "No concept" in search("concepts", "list", "--catalog", catalog).stderr
    wrong = search("@rex", "--catalog", catalog)
    assert (wrong.exit_code, "no concept @rex" in wrong.stderr) == (1, True)


def test_not_takes_all_pictures_up_to_the_next_option(search: Search, catalog: Path, photos: Path) -> None:
    result = search(
        "concepts", "add", "--not", photos / "blue.png", photos / "green.png", "--catalog", catalog,
        "rex", photos / "red.png", "--json",
    )  # fmt: skip
    [row] = json_lines(result.stdout)
    assert (row["name"], row["good"], row["bad"]) == ("rex", 1, 2)
    assert search("concepts", "add", "rex", photos / "red.png", "--catalog", catalog, "--not").exit_code == 2


def test_a_concept_learns_from_new_pictures_of_the_catalog(
    opened: Catalog, taught: Concepts, photos: Path, index: Callable[..., IndexReport]
) -> None:
    taught.add("sky", photos / "blue.png")
    draw(photos / "sea.png", "blue", mark=40)
    index(photos)
    assert sorted(best(opened, "sky")) == ["blue", "sea"]
