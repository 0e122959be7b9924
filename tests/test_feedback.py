"""Feedback: kept with its query, moving its next ranking, taken back at any time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from indexer import IndexReport
from retrieval import Catalog
from retrieval.errors import CatalogError, QueryError
from retrieval.feedback import Feedback, Marks, query_key, readable
from retrieval.query.fuse import SURE, chance, log_odds
from retrieval.query.rocchio import FALL, KNOWN, RESEMBLES, RISE, WAYS, moved, reach
from retrieval.query.terms import Query
from tests.conftest import draw, json_lines

Search = Callable[..., Result]
NONE = np.zeros((0, 3))
IDS = np.array([1, 2, 3])


@pytest.fixture
def opened(catalog: Path) -> Iterator[Catalog]:
    with Catalog(catalog) as found:
        yield found


@pytest.fixture
def said(opened: Catalog) -> Feedback:
    return Feedback(opened.state)


def test_what_was_said_is_kept_with_its_query(said: Feedback, photos: Path) -> None:
    kept = said.add("a red car", good=[photos / "red.png"], bad=photos / "blue.png")
    assert [(row.query, row.path.stem, row.good) for row in kept] == [
        ("a red car", "red", True),
        ("a red car", "blue", False),
    ]
    said.add("snow", good=kept[1].image_id)
    assert len(said.list()) == 3
    assert [row.path.stem for row in said.list("SNOW")] == ["blue"]
    assert list(kept[0].as_dict()) == ["id", "query", "path", "image_id", "good", "said_at"]


def test_the_same_question_written_differently_shares_what_was_said(said: Feedback, photos: Path) -> None:
    said.add(Query.parse("Snow + 2:Dogs - people"), good=photos / "red.png")
    same = Query.parse("2:dogs  -  PEOPLE + snow")
    assert len(said.list(same)) == 1
    assert said.list(Query.parse("snow + dogs - people")) == []
    assert said.marks(same).good


def test_a_path_is_the_same_picture_from_every_folder(
    said: Feedback, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photos)
    said.add(Query.parse("./red.png + night"), good=photos / "blue.png")
    monkeypatch.chdir(photos.parent)
    assert len(said.list(Query.parse("night + ./photos/red.png"))) == 1
    assert said.list(Query.parse("night + ./red.png")) == []


def test_words_are_not_taken_for_what_they_look_like(said: Feedback, photos: Path) -> None:
    said.add("@rex", good=photos / "red.png")
    assert said.list(Query.text("@rex")) == []
    assert len(said.list(Query.concept("REX"))) == 1


def test_the_last_word_on_a_picture_counts(said: Feedback, photos: Path) -> None:
    [first] = said.add("red", good=photos / "red.png")
    [second] = said.add("red", bad=photos / "red.png")
    assert (first.id, first.good, second.good) == (second.id, True, False)
    with pytest.raises(QueryError, match="as a good answer and as a bad one"):
        said.add("red", good=photos / "red.png", bad=photos / "red.png")


def test_what_was_said_can_be_taken_back(said: Feedback, photos: Path) -> None:
    rows = said.add("red", good=[photos / "red.png", photos / "blue.png"])
    with pytest.raises(QueryError, match="No feedback has the id 99"):
        said.remove([rows[0].id, 99])
    assert said.remove(rows[0].id) == 1
    assert said.remove(query="RED") == 1
    assert said.remove(query="red") == 0
    assert said.list() == []
    with pytest.raises(QueryError, match="Say what to take back"):
        said.remove()


def test_a_picture_outside_the_catalog_is_no_answer(said: Feedback, photos: Path, tmp_path: Path) -> None:
    for picture in (tmp_path / "elsewhere.png", 12345):
        with pytest.raises(QueryError, match="is not in the catalog"):
            said.add("red", good=[photos / "red.png", picture])
    with pytest.raises(QueryError, match="Name the pictures"):
        said.add("red")
    with pytest.raises(QueryError, match="The query is empty"):
        said.add(" ", good=photos / "red.png")
    assert said.list() == []


def test_a_query_with_an_open_picture_cannot_be_kept_but_moved(said: Feedback, photos: Path) -> None:
    query = Query.image(Image.new("RGB", (8, 8)))
    with pytest.raises(QueryError, match="open picture"):
        said.add(query, good=photos / "red.png")
    assert said.marks(query) == Marks()
    assert len(said.marks(query, good=photos / "red.png").good) == 1


def test_marks_given_without_keeping_win(said: Feedback, photos: Path) -> None:
    said.add("red", good=[photos / "red.png", photos / "blue.png"])
    marks = said.marks("red", bad=photos / "blue.png")
    assert (len(marks.good), len(marks.bad)) == (1, 1)
    assert len(said.marks("red").good) == 2


def test_feedback_of_a_forgotten_picture_rests_and_can_be_taken_back(
    opened: Catalog, said: Feedback, photos: Path
) -> None:
    said.add("red", good=photos / "red.png")
    opened.forget(photos / "red.png")
    assert not said.marks("red")
    [row] = said.list()
    assert (row.path, row.image_id, row.rests) == (photos / "red.png", None, "not in the catalog")
    assert list(row.as_dict()) == ["id", "query", "path", "good", "said_at", "rests"]
    assert said.remove(row.id) == 1


def test_feedback_is_about_what_the_file_showed(
    opened: Catalog, said: Feedback, photos: Path, index: Callable[..., IndexReport]
) -> None:
    kept = (photos / "red.png").read_bytes()
    said.add("red", good=photos / "red.png")
    draw(photos / "red.png", "green", mark=8)
    index(photos)
    assert not said.marks("red")
    assert [row.rests for row in said.list()] == ["shows something else now"]
    said.add("red", bad=photos / "red.png")
    (photos / "red.png").write_bytes(kept)
    index(photos)
    assert len(said.marks("red").good) == 1
    assert said.marks("red").bad == ()


def test_feedback_goes_with_a_picture_that_moves(
    opened: Catalog, said: Feedback, photos: Path, index: Callable[..., IndexReport]
) -> None:
    said.add("red", good=photos / "red.png")
    (photos / "red.png").rename(photos / "trip" / "moved.png")
    index(photos)
    assert said.list()[0].path == photos / "trip" / "moved.png"
    assert said.marks("red")


def test_a_file_that_changed_since_it_was_indexed_is_no_answer(said: Feedback, photos: Path) -> None:
    draw(photos / "red.png", "green", mark=8)
    with pytest.raises(QueryError, match="has changed since"):
        said.add("red", good=photos / "red.png")


def test_copies_are_one_answer(
    opened: Catalog, said: Feedback, photos: Path, index: Callable[..., IndexReport]
) -> None:
    copy = photos / "a-copy.png"
    copy.write_bytes((photos / "red.png").read_bytes())
    index(photos)
    with pytest.raises(QueryError, match="a copy of it"):
        said.add("red", good=photos / "red.png", bad=copy)
    assert len(said.add("red", good=[photos / "red.png", copy])) == 1
    assert said.list()[0].path == photos / "red.png"


def test_a_text_that_looks_like_a_sum_is_another_question(said: Feedback, photos: Path) -> None:
    said.add(Query.parse("a + b"), good=photos / "red.png")
    for text in ("a + 1:text:b", "a + b", '[1.0, "text", "a"], [1.0, "text", "b"]'):
        assert said.list(Query.text(text)) == []
        said.add(Query.text(text), bad=photos / "blue.png")
        assert [row.query for row in said.list(Query.text(text))] == [text]
    assert len(said.list(Query.parse("b + a"))) == 1


def test_a_catalog_for_reading_only_keeps_nothing(catalog: Path, photos: Path) -> None:
    with Catalog(catalog, readonly=True) as opened:
        with pytest.raises(CatalogError, match="reading only"):
            Feedback(opened.state).add("red", good=photos / "red.png")
        assert Feedback(opened.state).list() == []


@given(
    st.lists(st.floats(-20, 20), min_size=1, max_size=12),
    st.integers(0, 4),
    st.integers(0, 4),
    st.integers(0, 10**6),
)
def test_a_shift_is_bounded_and_leaves_alone_what_is_like_no_answer(
    odds: list[float], good: int, bad: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    evidence, ids = np.array(odds), np.arange(len(odds))
    likes, dislikes = random.random((good, len(odds))), random.random((bad, len(odds)))
    found = moved(evidence, likes, dislikes, ids=ids)
    assert (found - evidence <= RISE + 1e-9).all()
    assert (evidence - found <= FALL + 1e-9).all()
    unlike = (np.concatenate([likes, dislikes]) <= RESEMBLES).all(0)
    assert (found[unlike] == evidence[unlike]).all()
    one = moved(evidence[:1], likes[:, :1], dislikes[:, :1], ids=ids[:1])
    assert one[0] == found[0], "what one gets does not depend on the others"


def test_what_is_like_a_good_answer_rises_and_what_is_like_a_bad_one_falls() -> None:
    evidence = np.array([0.0, 0.0, 0.0])
    found = moved(evidence, np.array([[0.9, 0.0, 0.9]]), np.array([[0.0, 0.9, 0.9]]), ids=IDS)
    assert found[0] > 0 > found[1]
    assert abs(found[2]) < found[0] / 4, "what is like both hardly moves"


def test_a_second_good_answer_weighs_more_than_one() -> None:
    evidence = np.zeros(3)
    alike = np.array([[0.9, 0.0, 0.0]])
    once = moved(evidence, alike, NONE, ids=IDS)[0]
    twice = moved(evidence, np.repeat(alike, 2, 0), NONE, ids=IDS)[0]
    assert 0 < once < twice < RISE


def test_one_click_does_not_overturn_a_clear_order() -> None:
    evidence = np.array([2.0, -2.0, -2.0])
    found = moved(evidence, np.array([[0.0, 1.0, 0.0]]), NONE, ids=IDS)
    assert found.argmax() == 0


def test_an_answer_itself_goes_first_or_last_whatever_was_found() -> None:
    top = float(log_odds(np.array([1.0]))[0]) + RISE
    assert top < KNOWN
    evidence = log_odds(np.array([SURE, 1.0, 0.6]))
    found = moved(evidence, np.eye(3)[:1], np.eye(3)[1:2], ids=IDS, good_ids=[1], bad_ids=[2])
    assert found.argsort().tolist() == [1, 2, 0]
    chances = chance(found)
    assert chances[0] > 0.99
    assert chances[1] < 0.01


def test_several_answers_keep_their_order_among_themselves() -> None:
    found = moved(np.array([1.0, 3.0, 2.0]), NONE, NONE, ids=IDS, good_ids=[1, 2, 3])
    assert found.argsort().tolist() == [0, 2, 1]


@given(st.integers(0, 9), st.integers(0, 10**6))
def test_few_directions_of_unit_length_reach_the_good_answers(count: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    rows = random.normal(size=(count + 1, 12)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    ways = reach(rows[0], rows[1:])
    assert ways.shape == (min(count, WAYS), 12)
    np.testing.assert_allclose(np.linalg.norm(ways, axis=1), 1, atol=1e-5)


def test_marks_move_chances_and_leave_the_rest_to_the_last_bit(
    opened: Catalog, said: Feedback, photos: Path
) -> None:
    marks = said.marks(None, good=photos / "red.png", bad=photos / "blue.png")
    state = opened.state
    info = state.active()
    with state.snapshot() as reader:
        store = state.images(info).store
        names = {
            Path(bytes(path).decode()).stem: key for key, path in reader.rows("SELECT id, path FROM images")
        }
        before = np.full(len(store.ids), 0.3)
        after = marks.moved(store.ids, before, state.encoder(info), store)
        ways = marks.ways(store.vectors(store.ids)[0], store)
    found = {name: after[int(np.searchsorted(store.ids, key))] for name, key in names.items()}
    assert found["red"] > 0.99
    assert found["red-again"] > 0.3
    assert found["blue"] < 0.01
    assert found["green"] == found["yellow"] == found["white"] == 0.3
    assert len(ways) == 1


def test_a_picture_from_outside_is_moved_by_its_own_vector(
    opened: Catalog, said: Feedback, photos: Path
) -> None:
    marks = said.marks(None, good=photos / "red.png")
    state = opened.state
    info = state.active()
    with state.snapshot():
        store = state.images(info).store
        like = store.vectors(np.array(marks.good))
        for vectors, rises in ((like, True), (np.zeros_like(like), False)):
            after = marks.moved(np.array([0]), np.array([0.3]), state.encoder(info), store, vectors=vectors)
            assert bool(after[0] > 0.3) == rises


def test_marks_of_pictures_without_a_vector_are_passed_over(opened: Catalog) -> None:
    marks = Marks(good=(10**6,), bad=(10**6 + 1,))
    state = opened.state
    info = state.active()
    with state.snapshot():
        store = state.images(info).store
        chances = np.linspace(0.1, 0.9, len(store.ids))
        assert (marks.moved(store.ids, chances, state.encoder(info), store) == chances).all()


def test_a_normal_form_reads_as_a_person_would_write_it() -> None:
    for text in ("a dog", "2:night + a dog - people", "@rex", "3:@rex + beach"):
        assert sorted(readable(query_key(text)).split()) == sorted(text.split())


def test_feedback_moves_the_next_search_and_is_taken_back(opened: Catalog, photos: Path) -> None:
    def found(query: str) -> list[str]:
        return [hit.path.stem for hit in opened.search(query)]

    assert found("red") == ["red", "red-again"]
    opened.feedback.add("red", good=photos / "trip" / "white.png", bad=photos / "red.png")
    assert found("red") == found(" RED") == ["white", "red-again"]
    assert found("red thing") == ["red", "red-again"]
    assert opened.search("red", cutoff=False)[-1].path.stem == "red"
    opened.feedback.remove(query="red")
    assert found("red") == ["red", "red-again"]


def test_a_filter_holds_for_good_answers_too(opened: Catalog, photos: Path) -> None:
    from retrieval import Filter

    opened.feedback.add("red", good=photos / "blue.png")
    inside = opened.search("red", where=Filter(folder=photos / "trip"))
    assert [hit.path.stem for hit in inside] == ["red-again"]


def test_the_command_line_keeps_lists_and_takes_back(search: Search, catalog: Path, photos: Path) -> None:
    result = search("feedback", "something", "red", "--good", photos / "red.png", "--bad", photos / "blue.png",
                    "--catalog", catalog)  # fmt: skip
    assert (result.exit_code, "1 good and 1 bad" in result.stdout) == (0, True)
    rows = json_lines(search("feedback", "list", "--catalog", catalog, "--json").stdout)
    assert [(row["query"], row["good"]) for row in rows] == [
        ("something red", True),
        ("something red", False),
    ]
    assert "something red" in search("feedback", "list", "something", "red", "--catalog", catalog).stdout
    assert search("feedback", "remove", rows[0]["id"], "--catalog", catalog).stdout == "Taken back: 1.\n"
    result = search("feedback", "remove", "--query", "Something red", "--catalog", catalog, "--json")
    assert json_lines(result.stdout) == [{"removed": 1}]
    assert "Nothing was said" in search("feedback", "list", "--catalog", catalog).stderr


@pytest.mark.parametrize("query", ["list", "remove", "QUERY", "add"])
def test_a_query_may_be_called_like_a_command(
    search: Search, catalog: Path, photos: Path, query: str
) -> None:
    for arguments in ((query, "--good", photos / "red.png"), ("--good", photos / "red.png", query)):
        assert search("feedback", *arguments, "--catalog", catalog).exit_code == 0
        [row] = json_lines(search("feedback", "list", "--catalog", catalog, "--json").stdout)
        assert row["query"] == query.lower()


def test_wrong_usage_says_what_to_write(search: Search, catalog: Path, photos: Path) -> None:
    for arguments, message in (
        (("a dog",), "Say which answers"),
        (("--good", photos / "red.png"), "Missing argument QUERY"),
        (("remove",), "Give the ids"),
        (("remove", "1", "--query", "x"), "Give the ids"),
        (("remove", "x"), "'x' is not a valid integer"),
    ):
        result = search("feedback", *arguments, "--catalog", catalog)
        assert (result.exit_code, message in result.stderr) == (2, True), result.stderr
    result = search("feedback", "red", "--good", photos / "no.png", "--catalog", catalog)
    assert (result.exit_code, "is not in the catalog" in result.stderr) == (1, True)
    assert "list" in search("feedback", "--help").stdout
