"""Pictures as queries, sums, and what speaks for a hit: through the public catalog."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from indexer import IndexReport
from retrieval import Catalog, Filter, Hits, Query, QueryError
from retrieval.encoders.toy import COLOURS
from tests.conftest import draw

COLOUR = st.sampled_from(["red", "green", "blue", "yellow", "white", "black"])


@pytest.fixture
def mixed(tmp_path: Path, index: Callable[..., IndexReport]) -> Path:
    """Pictures of one colour, and of two halves."""
    folder = tmp_path / "mixed"
    names = ["red", "green", "blue", "yellow", "white"]
    for number, name in enumerate(names):
        draw(folder / f"a{number}.png", name, mark=1)
        for other_number, other in enumerate(names):
            if other_number > number:
                image = Image.new("RGB", (64, 48), COLOURS[name])
                image.paste(COLOURS[other], (32, 0, 64, 48))
                image.save(folder / f"b{number}{other_number}.png")
    index(folder)
    return tmp_path / "catalog"


def names(hits: Hits) -> list[str]:
    return [hit.path.name for hit in hits]


def test_a_sum_finds_what_has_both(mixed: Path) -> None:
    with Catalog(mixed) as catalog:
        assert names(catalog.search("red + blue", limit=1)) == ["b02.png"]
        assert names(catalog.search("yellow + green", limit=1)) == ["b13.png"]


def test_a_negative_term_pushes_away(mixed: Path) -> None:
    with Catalog(mixed) as catalog:
        plain = names(catalog.search("red", cutoff=False))
        less = names(catalog.search("red - blue", cutoff=False))
        assert less.index("b02.png") > plain.index("b02.png")
        assert less[0] == plain[0] == "a0.png"


def test_pictures_without_what_is_pushed_away_keep_their_order(mixed: Path) -> None:
    with Catalog(mixed) as catalog:
        plain = names(catalog.search("red", cutoff=False, limit=20))
        less = names(catalog.search("red - blue", cutoff=False, limit=20))
    without_blue = [name for name in plain if "2" not in name]
    assert [name for name in less if name in without_blue] == without_blue


def test_weights_move_the_ranking(mixed: Path) -> None:
    with Catalog(mixed) as catalog:
        pair = ["a0.png", "a2.png"]

        def first(query: str) -> str:
            return next(name for name in names(catalog.search(query, cutoff=False, limit=20)) if name in pair)

        assert first("5:red + blue") == "a0.png"
        assert first("red + 5:blue") == "a2.png"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=25)
@given(st.lists(st.tuples(COLOUR, st.sampled_from([1, 2, -1])), min_size=2, max_size=4), st.randoms())
def test_a_sum_does_not_depend_on_its_order(
    mixed: Path, parts: list[tuple[str, int]], random: object
) -> None:
    parts = [("red", 1), *parts]
    shuffled = list(parts)
    random.shuffle(shuffled)  # type: ignore[attr-defined]

    def ask(terms: list[tuple[str, int]]) -> list[tuple[int, float, float]]:
        query = sum((weight * Query.text(text) for text, weight in terms), Query(()))
        return [(hit.image_id, hit.score, hit.match) for hit in catalog.search(query, cutoff=False)]

    with Catalog(mixed) as catalog:
        assert ask(parts) == ask(shuffled)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=25)
@given(st.sampled_from(["red", "red + blue", "white - red", "green + 2:yellow - blue"]), st.integers(1, 15))
def test_the_first_hits_are_the_first_of_more(mixed: Path, query: str, limit: int) -> None:
    with Catalog(mixed) as catalog:
        for cutoff in (True, False):
            few = catalog.search(query, limit=limit, cutoff=cutoff)
            many = catalog.search(query, limit=50, cutoff=cutoff)
            assert list(few) == list(many[:limit])


def test_a_huge_limit_gives_everything_once(mixed: Path) -> None:
    with Catalog(mixed) as catalog:
        found = catalog.search("red", limit=1_000_000, cutoff=False)
        assert len({hit.image_id for hit in found}) == len(found) == 15


def test_the_match_falls_along_the_hits(mixed: Path) -> None:
    with Catalog(mixed) as catalog:
        for query in ("red", "red + blue", "red - blue"):
            matches = [hit.match for hit in catalog.search(query, cutoff=False)]
            assert matches == sorted(matches, reverse=True)


def test_what_spoke_for_a_hit_is_told(mixed: Path) -> None:
    with Catalog(mixed) as catalog:
        assert set(catalog.search("red")[0].signals) == {"picture"}
        hit = catalog.search("red + blue - green")[0]
        assert set(hit.signals) == {"red", "blue", "- green"}
        assert hit.as_dict(explain=True)["explain"].keys() == hit.signals.keys()
        assert "explain" not in hit.as_dict()


# Pictures as queries


def test_a_picture_of_the_catalog_finds_its_like_and_not_itself(catalog: Path, photos: Path) -> None:
    with Catalog(catalog) as opened:
        by_path = opened.similar(photos / "red.png")
        red = next(hit for hit in opened.search("red") if hit.path.name == "red.png")
        by_id = opened.similar(red.image_id)
    assert by_path[0].path.name == "red-again.jpg"
    assert list(by_path) == list(by_id)
    assert "red.png" not in names(by_path)
    assert len(by_path) == 5


def test_a_picture_of_the_catalog_is_not_read_again(catalog: Path, photos: Path) -> None:
    with Catalog(catalog) as opened:
        expected = names(opened.similar(photos / "red.png"))
        stat = (photos / "red.png").stat()
        (photos / "red.png").unlink()
        assert names(opened.similar(photos / "red.png")) == expected
        assert stat.st_size


def test_a_file_that_was_only_written_again_is_the_picture_of_the_catalog(
    catalog: Path, photos: Path
) -> None:
    red = photos / "red.png"
    os.utime(red, ns=(1, 1))
    with Catalog(catalog) as opened:
        known = next(hit.image_id for hit in opened.search("red") if hit.path == red)
        assert opened.state.find_picture(red) == known
        assert list(opened.similar(red)) == list(opened.similar(known))
        assert len(opened.feedback.add("red", good=[red])) == 1


def test_a_changed_file_is_encoded_anew(catalog: Path, photos: Path) -> None:
    draw(photos / "red.png", "blue", size=(70, 50))
    with Catalog(catalog) as opened:
        hits = opened.similar(photos / "red.png")
        assert hits[0].path.name == "blue.png"
        assert "red.png" not in names(hits), "it is no hit for itself as it was before"


def test_a_changed_file_of_the_same_size_is_noticed(catalog: Path, photos: Path) -> None:
    red = photos / "red.png"
    data = red.read_bytes()
    red.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    os.utime(red, ns=(1, 1))
    with Catalog(catalog) as opened:
        assert opened.state.find_picture(red) is None


def test_pictures_from_outside_and_open_ones_are_encoded(catalog: Path, tmp_path: Path) -> None:
    outside = draw(tmp_path / "outside.png", "green")
    with Catalog(catalog) as opened, Image.open(outside) as image:
        assert opened.similar(outside)[0].path.name == "green.png"
        assert opened.similar(image)[0].path.name == "green.png"
        assert opened.search(outside)[0].path.name == "green.png"
        assert opened.search(image)[0].path.name == "green.png"


def test_a_turned_picture_is_put_upright(catalog: Path, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = draw(tmp_path / "turned.jpg", "red", size=(80, 40), exif=exif)
    with Catalog(catalog) as opened, Image.open(path) as image:
        assert [hit.score for hit in opened.similar(image)] == [hit.score for hit in opened.similar(path)]


def test_several_pictures_are_asked_about_at_once(catalog: Path, photos: Path) -> None:
    with Catalog(catalog) as opened:
        hits = opened.similar([photos / "red.png", photos / "blue.png"])
        assert {"red.png", "blue.png"}.isdisjoint(names(hits))
        assert hits[0].path.name == "red-again.jpg"


def test_words_and_pictures_are_added(mixed: Path, tmp_path: Path) -> None:
    red = draw(tmp_path / "outside" / "red.png", "red")
    with Catalog(mixed) as catalog:
        found = catalog.search(Query.image(red) + Query.text("blue"), limit=1)
        assert names(found) == ["b02.png"]
        assert names(catalog.search(Query.parse(f"{red} + blue"), limit=1)) == ["b02.png"]


@pytest.mark.parametrize(
    ("text", "caret"),
    [("red + 2:./gone.png", 8), ("./gone.png", 0), ('red - "~/gone.png"', 6), ("red + @nobody", 6)],
)
def test_a_term_that_is_not_there_is_pointed_at(catalog: Path, text: str, caret: int) -> None:
    with Catalog(catalog) as opened, pytest.raises(QueryError, match="There is no") as caught:
        opened.search(Query.parse(text))
    _, line, pointer = str(caught.value).split("\n")
    assert (line, pointer.index("^") - 2) == (f"  {text}", caret)


def test_a_sum_made_of_queries_has_no_place_to_point_at(catalog: Path) -> None:
    made = Query.parse("2:red + blue") + Query.parse("./gone.png")
    with Catalog(catalog) as opened, pytest.raises(QueryError, match="There is no file") as caught:
        opened.search(made)
    assert "\n" not in str(caught.value)


def test_a_string_is_never_a_file(catalog: Path, photos: Path) -> None:
    with Catalog(catalog) as opened:
        opened.search(str(photos / "red.png"))  # words that say nothing, not a picture


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere.png", "There is no file"),
        ("folder", "is a folder"),
        ("text.png", "cannot be used as a picture"),
    ],
)
def test_a_picture_that_is_none_is_refused_by_name(
    catalog: Path, tmp_path: Path, name: str, message: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "text.png").write_text("not a picture")
    from retrieval import RetrievalError

    with Catalog(catalog) as opened:
        for ask in (opened.similar, opened.search, opened.match):
            with pytest.raises(RetrievalError, match=message) as caught:
                ask(tmp_path / name)
            assert name in str(caught.value)


def test_unknown_ids_and_kinds_are_refused(catalog: Path) -> None:
    with Catalog(catalog) as opened:
        with pytest.raises(QueryError, match="no picture 999"):
            opened.similar(999)
        with pytest.raises(QueryError, match="not float"):
            opened.search(1.5)  # type: ignore[arg-type]
        with pytest.raises(QueryError, match="not object"):
            opened.similar(object())  # type: ignore[arg-type]
        with pytest.raises(QueryError, match="Name a picture"):
            opened.similar([])


def test_a_web_address_needs_leave(catalog: Path) -> None:
    with Catalog(catalog) as opened, pytest.raises(QueryError, match="allow-url"):
        opened.search(Query.parse("https://127.0.0.1/a.jpg"))


def test_filters_hold_for_pictures_and_sums(catalog: Path, photos: Path) -> None:
    where = Filter(folder=photos / "trip")
    with Catalog(catalog) as opened:
        assert set(names(opened.similar(photos / "red.png", where=where))) == {"red-again.jpg", "white.png"}
        found = opened.search("green + blue", where=where, cutoff=False)
        assert set(names(found)) == {"red-again.jpg", "white.png"}


def test_the_name_that_a_person_gave_a_folder_finds_what_is_in_it(
    tmp_path: Path, index: Callable[..., IndexReport]
) -> None:
    for number in range(10):
        draw(
            tmp_path / "library" / ("Lisbon 2023" if number < 2 else "misc") / f"{number}.png",
            "red",
            mark=number,
        )
    index(tmp_path / "library")
    with Catalog(tmp_path / "catalog") as opened:
        for asked in ("lisbon", "Lisbon 2023", "2023"):
            assert names(opened.search(asked)) == ["0.png", "1.png"]
        assert names(opened.search("7.png", limit=1)) == ["7.png"]


# What must not depend on how many are asked for, or on what else there is


@pytest.fixture
def shallow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few candidates, so that a small catalog goes beyond their number."""
    from retrieval import ranking

    monkeypatch.setattr(ranking, "DEPTH", 3)
    monkeypatch.setattr(ranking, "SUM_DEPTH", 4)
    monkeypatch.setattr(ranking, "FOUND", 2)


@pytest.fixture
def captioned(mixed: Path) -> Path:
    """Some pictures with captions that mean the same, and texts that belong to none."""
    with Catalog(mixed) as catalog:
        hits = catalog.search("white", limit=20, cutoff=False)
        late = sorted(hit.image_id for hit in hits)[-8:]
        catalog.texts.add(["purple" + "!" * number for number in range(30)])
        catalog.texts.add([{"text": "purple kite", "image": image_id} for image_id in late])
    return mixed


@pytest.mark.usefixtures("shallow")
@pytest.mark.parametrize("query", ["red", "blue + red", "purple", "white - purple", "mixed"])
def test_deeper_candidates_do_not_overtake(captioned: Path, query: str) -> None:
    with Catalog(captioned) as catalog:
        whole = [hit.image_id for hit in catalog.search(query, limit=50, cutoff=False)]
        for limit in range(1, 15):
            few = [hit.image_id for hit in catalog.search(query, limit=limit, cutoff=False)]
            assert few == whole[:limit]


@pytest.mark.usefixtures("shallow")
def test_texts_of_no_picture_take_no_place(captioned: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from retrieval.db import words

    monkeypatch.setattr(words, "nominated", lambda *_, **__: np.empty(0, np.int64))
    with Catalog(captioned) as catalog:
        assert catalog.search("purple", limit=1)[0].signals["caption"] > 0.5


def test_every_caption_is_heard(captioned: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from retrieval import ranking

    monkeypatch.setattr(ranking, "FOUND", 2)
    with Catalog(captioned) as catalog:
        found = catalog.search("purple", limit=50)
        assert len(found) == 8
        assert all(hit.signals["caption"] > 0.5 for hit in found)
        pushed = catalog.search("white - purple", limit=50, cutoff=False)
        captioned_ids = {hit.image_id for hit in found}
        assert all(hit.match < 0.1 for hit in pushed if hit.image_id in captioned_ids)


def test_a_filter_finds_what_passes_of_the_unfiltered_hits(captioned: Path, tmp_path: Path) -> None:
    where = Filter(min_size=64, type="png")
    with Catalog(captioned) as catalog:
        for query in ("purple", "white", "red + purple"):
            everything = {hit.image_id: hit.match for hit in catalog.search(query, limit=50)}
            assert {
                hit.image_id: hit.match for hit in catalog.search(query, limit=50, where=where)
            } == everything


def test_dates_sort_the_relevant_ones_and_not_the_first(
    tmp_path: Path, index: Callable[..., IndexReport]
) -> None:
    for number in range(8):
        draw(tmp_path / "days" / f"IMG_2020010{number + 1}_120000.png", "red", mark=number + 1)
    draw(tmp_path / "days" / "IMG_20240101_120000.png", "blue")
    index(tmp_path / "days")
    with Catalog(tmp_path / "catalog") as catalog:
        newest = names(catalog.search("red", limit=2, sort="date"))
        assert newest == ["IMG_20200108_120000.png", "IMG_20200107_120000.png"]
        assert names(catalog.search("red", limit=5, sort="date"))[:2] == newest


def test_explaining_agrees_with_searching(mixed: Path) -> None:
    with Catalog(mixed) as catalog:
        target = catalog.search("green", cutoff=False, limit=20)[-1]
        catalog.feedback.add("red", good=[target.image_id])
        for hit in catalog.search("red", limit=20, cutoff=False):
            explained = catalog.explain("red", hit.image_id)
            assert explained.match == pytest.approx(hit.match, abs=2e-3)
            assert explained.signals.keys() == hit.signals.keys()


def test_a_reranker_leaves_what_a_person_said(mixed: Path) -> None:
    with Catalog(mixed) as catalog:
        order = catalog.search("red + blue", cutoff=False, limit=20)
        catalog.feedback.add("red + blue", good=[order[3].image_id], bad=[order[0].image_id])
        ranked = catalog.search("red + blue", cutoff=False, limit=20, rerank="crops")
        assert ranked[0].image_id == order[3].image_id
        assert ranked[-1].image_id == order[0].image_id


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"limit": 2.5}, "whole number"),
        ({"where": "photos"}, "takes a Filter"),
        ({"rerank_depth": 0}, "1 picture"),
    ],
)
def test_wrong_options_are_told_before_any_work(
    mixed: Path, options: dict[str, object], message: str
) -> None:
    with Catalog(mixed) as catalog, pytest.raises(QueryError, match=message):
        catalog.search("red", **options)  # type: ignore[arg-type]


def test_a_text_that_is_tied_to_a_picture_fits_it(captioned: Path) -> None:
    with Catalog(captioned) as catalog:
        own = next(text for text in catalog.texts.list() if text.image_id is not None)
        assert own.image_id is not None
        best = catalog.match(own.image_id, limit=3)
        assert (best[0].text_id, best[0].image_id) == (own.text_id, own.image_id)
        assert best[0].match >= 0.95
        assert [hit.match for hit in best] == sorted((hit.match for hit in best), reverse=True)


def test_a_filter_over_no_vectors_finds_nothing(mixed: Path) -> None:
    with closing(sqlite3.connect(mixed / "catalog.db")) as rows, rows:
        rows.execute("DELETE FROM embeddings")
        rows.execute("UPDATE encoders SET epoch = epoch + 1")
    with Catalog(mixed) as catalog:
        assert list(catalog.search("red", where=Filter(type="png"), cutoff=False)) == []
