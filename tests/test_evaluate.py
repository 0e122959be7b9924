"""The figures of an evaluation, against values worked out by hand and against a second computation."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal, localcontext
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from cli import main
from indexer import index_folder
from retrieval import Catalog
from retrieval.commands.eval import evaluate as command
from retrieval.encoders.toy import ToyEncoder
from retrieval.errors import QueryError, RetrievalError
from retrieval.evaluate import Evaluation, evaluate, files, measure, metrics, names, run
from retrieval.evaluate.gallery import Gallery
from retrieval.evaluate.plot import write_plot
from retrieval.show.evaluation import evaluation_lines
from retrieval.stores.flat import FlatStore
from retrieval.stores.rows import Rows
from tests.conftest import ROOT, draw, json_lines

# Pictures in the order of their ids. Those of one colour are equal to the toy encoder, so
# that for "red" the 1st, 2nd and 5th tie, and everything that is not red ties behind them.
# Their names hold no words, so that only the vectors speak.
PICTURES = {
    "f1/p1.png": "red",
    "f1/p2.png": "red",
    "f2/p3.png": "blue",
    "f2/p4.png": "green",
    "f3/p5.png": "red",
    "f3/p6.png": "white",
    "f4/p7.png": "cyan",
    "f5/p7.png": "pink",
}


@pytest.fixture(scope="module", autouse=True)
def _few_timings() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "TIMED_QUERIES", 3)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evaluated")
    for number, (name, colour) in enumerate(PICTURES.items()):
        draw(folder / name, colour, size=(40 + number, 30))
    return folder


@pytest.fixture(scope="module")
def place(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("catalog") / "catalog"
    index_folder(place, folder, model="toy", workers=1)
    return place


@pytest.fixture(scope="module")
def catalog(place: Path) -> Iterator[Catalog]:
    with Catalog(place) as opened:
        yield opened


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., Path]:
    def write(*items: Any, name: str = "questions") -> Path:
        path = tmp_path / name
        path.write_text("\n".join(item if isinstance(item, str) else json.dumps(item) for item in items))
        return path

    return write


def first(evaluation: Evaluation) -> dict[str, Any]:
    return evaluation.rows()[0]


def asked(query: Any, relevant: Any, **more: Any) -> dict[str, Any]:
    return {"query": query, "relevant": relevant, **more}


def shown(*arguments: object) -> Result:
    # With the settings of its group: a command remembers the help option of the first context that asks.
    result = CliRunner().invoke(command, [*map(str, arguments)], **main.context_settings)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


# A second computation, from the definitions: slow, exact, and sharing nothing with the first


def exactly(answers: Sequence[tuple[Sequence[Any], Mapping[Any, float]]]) -> dict[str, float]:
    def mean(values: Sequence[Fraction]) -> float:
        return float(sum(values, Fraction(0)) / len(values))

    def any_in(ranking: Sequence[Any], grades: Mapping[Any, float], k: int) -> Fraction:
        return Fraction(1 if set(ranking[:k]) & set(grades) else 0)

    def right(ranking: Sequence[Any], grades: Mapping[Any, float], k: int) -> int:
        return len(set(ranking[:k]) & set(grades))

    def average_precision(ranking: Sequence[Any], grades: Mapping[Any, float]) -> Fraction:
        places = [ranking.index(item) + 1 for item in grades if item in ranking]
        return sum((Fraction(right(ranking, grades, at), at) for at in places), Fraction(0)) / len(grades)

    def ndcg(ranking: Sequence[Any], grades: Mapping[Any, float]) -> float:
        def gain(items: Sequence[Any]) -> float:
            gains = [2.0 ** grades[item] - 1 if item in grades else 0.0 for item in items[:10]]
            return math.fsum(value / math.log2(place + 2) for place, value in enumerate(gains))

        return gain(ranking) / gain(sorted(grades, key=lambda item: -grades[item]))

    return {
        "queries": len(answers),
        "r@1": mean([any_in(*answer, 1) for answer in answers]),
        "r@5": mean([any_in(*answer, 5) for answer in answers]),
        "r@10": mean([any_in(*answer, 10) for answer in answers]),
        "map": mean([average_precision(*answer) for answer in answers]),
        "ndcg@10": math.fsum(ndcg(*answer) for answer in answers) / len(answers),
        "p@5": mean([Fraction(right(*answer, 5), 5) for answer in answers]),
        "p@5_capped": mean([Fraction(right(*answer, 5), min(5, len(answer[1]))) for answer in answers]),
    }


def ndcg_of_fifty_digits(ranking: Sequence[Any], grades: Mapping[Any, float]) -> float:
    with localcontext() as context:
        context.prec = 50

        def gain(items: Sequence[Any]) -> Decimal:
            return sum(
                (
                    (Decimal(2) ** Decimal(grades.get(item, 0)) - 1)
                    * Decimal(2).ln()
                    / Decimal(place + 2).ln()
                    for place, item in enumerate(items[:10])
                ),
                Decimal(0),
            )

        return float(gain(ranking) / gain(sorted(grades, key=lambda item: -grades[item])))


def colours_of(folder: Path, wanted: Sequence[str]) -> list[list[str]]:
    """For each query the names of all pictures, ranked: by score to six digits, ties by id."""
    encoder = ToyEncoder()
    opened = []
    for name in PICTURES:
        with Image.open(folder / name) as image:
            opened.append(image.convert("RGB"))
    scores = encoder.encode_images(opened) @ encoder.encode_texts(wanted).T
    order = [
        sorted(range(len(opened)), key=lambda i: (-round(float(column[i]), 6), i)) for column in scores.T
    ]
    return [[list(PICTURES)[place] for place in places] for places in order]


patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
answers = st.lists(st.integers(0, 30), unique=True, max_size=30).flatmap(
    lambda ranking: st.tuples(
        st.just(ranking),
        st.dictionaries(st.integers(0, 40), st.sampled_from([0.5, 1.0, 2.0, 3.0]), min_size=1, max_size=15),
    )
)


@patient
@given(st.lists(answers, min_size=1, max_size=12))
def test_the_figures_equal_those_of_a_second_computation_to_the_last_digit(
    cases: list[tuple[list[int], dict[int, float]]],
) -> None:
    found = metrics.figures([metrics.judge(*case) for case in cases])
    assert found.as_dict() == exactly(cases)
    assert found.ndcg10 == pytest.approx(
        sum(ndcg_of_fifty_digits(*case) for case in cases) / len(cases), abs=1e-14
    )


@patient
@given(st.lists(answers, min_size=1, max_size=12), st.randoms())
def test_the_figures_do_not_depend_on_the_order_of_the_queries(
    cases: list[tuple[list[int], dict[int, float]]], random: Any
) -> None:
    mixed = random.sample(cases, len(cases))
    assert metrics.figures([metrics.judge(*case) for case in cases]) == metrics.figures(
        [metrics.judge(*case) for case in mixed]
    )


COLOUR = st.sampled_from(["red", "blue", "green", "white", "a red and blue thing", "unheard", "cyan pink"])


@settings(patient, max_examples=25)
@given(
    st.dictionaries(
        COLOUR,
        st.dictionaries(st.sampled_from([*PICTURES, "gone.png"]), st.integers(0, 3), max_size=6),
        min_size=1,
        max_size=5,
    )
)
def test_a_catalog_is_measured_as_by_hand(
    catalog: Catalog,
    folder: Path,
    tmp_path_factory: pytest.TempPathFactory,
    questions: dict[str, dict[str, int]],
) -> None:
    file = tmp_path_factory.mktemp("asked") / "questions.jsonl"
    file.write_text("\n".join(json.dumps(asked(*one)) for one in questions.items()))
    graded = {text: {name: g for name, g in relevant.items() if g} for text, relevant in questions.items()}
    known = {text: {n: g for n, g in grades.items() if n in PICTURES} for text, grades in graded.items()}
    left_out = [text for text, grades in graded.items() if grades and not known[text]]
    wanted = {text: grades for text, grades in known.items() if grades}
    if any(graded.values()) and not wanted:
        with pytest.raises(QueryError, match=r"None of the 1 pictures .* 'gone.png'"):
            evaluate(catalog, file, images=folder)
        return
    found = evaluate(catalog, file, images=folder)
    row = first(found)
    rankings = colours_of(folder, list(questions))
    cases = [(ranking, known[text]) for text, ranking in zip(questions, rankings, strict=True) if known[text]]
    expected = exactly(cases) if cases else {"queries": 0}
    assert {key: row[key] for key in expected} == expected
    assert row["cutoff"]["absent"] == sum(not grades for grades in graded.values())
    kept = {text: catalog.search(text, limit=len(PICTURES)) for text in graded}
    assert row["cutoff"]["shown"] == sum(len(kept[text]) for text in wanted)
    assert row["cutoff"]["absent_silent"] == sum(not kept[text] for text in graded if not graded[text])
    assert row["left_out"]["queries"] == len(left_out)
    assert row["left_out"]["not_indexed"]["count"] == any("gone.png" in grades for grades in graded.values())


# Values worked out by hand


def test_ties_are_broken_by_id_and_grades_weigh_the_gain(
    catalog: Catalog, folder: Path, written: Callable[..., Path]
) -> None:
    file = written(asked("red", {"f1/p2.png": 2, "f2/p4.png": 1}, kind="colour"), asked("blue", ["p3.png"]))
    row = first(evaluate(catalog, file, images=folder))
    # red: p1 p2 p5 | p3 p4 p6 ...: p2 is 2nd, p4 5th. blue: p3 | p1 ...: p3 is 1st.
    assert row["r@1"] == 0.5
    assert row["r@5"] == row["r@10"] == 1.0
    assert row["map"] == ((1 / 2 + 2 / 5) / 2 + 1) / 2 == 0.725
    assert row["p@5"] == 0.3
    assert row["p@5_capped"] == 1.0
    gained, best = 3 / math.log2(3) + 1 / math.log2(6), 3 / math.log2(2) + 1 / math.log2(3)
    assert row["ndcg@10"] == math.fsum([gained / best, 1.0]) / 2
    assert list(row["kinds"]) == ["colour"]
    assert row["kinds"]["colour"]["map"] == 0.45
    # At 0.5 the toy shows three for red, of which one is right, and one for blue, which is.
    assert row["cutoff"] == {
        "precision": 2 / 4, "recall": 2 / 3, "mean_precision": (1 / 3 + 1) / 2, "mean_recall": 0.75,
        "shown": 4, "right": 2, "relevant": 3, "silent": 0,
        "absent": 0, "absent_silent": 0, "absent_share": None,
    }  # fmt: skip


def test_more_than_five_relevant_and_more_than_ten() -> None:
    # Ranks 1, 3 and 12 of 12 relevant: P@5 2/5, both ways; AP (1/1 + 2/3 + 3/12) / 12.
    ranking = ["r0", "x", "r1", *(f"y{n}" for n in range(8)), "r2"]
    found = metrics.figures([metrics.judge(ranking, {f"r{n}": 1.0 for n in range(12)})])
    assert (found.p5, found.p5_capped) == (0.4, 0.4)
    assert found.map == float((1 + Fraction(2, 3) + Fraction(1, 4)) / 12) == 23 / 144
    ideal = math.fsum(1 / math.log2(rank + 1) for rank in range(1, 11))
    assert found.ndcg10 == (1 + 1 / 2) / ideal


def test_what_the_ranking_does_not_hold_counts_as_nothing() -> None:
    found = metrics.figures([metrics.judge(["a"], {"a": 1.0, "z": 1.0}), metrics.judge([], {"z": 2.0})])
    assert found.map == (1 / 2 + 0) / 2
    assert found.recalls.r10 == 0.5


def test_an_item_that_comes_twice_counts_once() -> None:
    assert metrics.judge(["a", "a", "b"], {"a": 1.0, "b": 1.0}).found == ((1, 1.0), (3, 1.0))


def test_missing_pictures_are_left_out_and_told(
    catalog: Catalog, folder: Path, written: Callable[..., Path]
) -> None:
    file = written(
        asked("red", ["p1.png", "gone.png", "/nowhere/gone.png"]),
        asked("blue", {"gone.png": 2}),
        asked("green", {"f2/p4.png": 2, "p7.png": 1}),
    )
    found = evaluate(catalog, file, images=folder)
    row = first(found)
    # red finds p1 first, green its picture: nothing that is missing weighs on them.
    assert (row["queries"], row["r@1"], row["map"], row["ndcg@10"]) == (2, 1.0, 1.0, 1.0)
    assert row["left_out"] == {
        "not_indexed": {"count": 2, "first": ["gone.png", "/nowhere/gone.png"]},
        "ambiguous": {"count": 1, "first": ["p7.png"]},
        "queries": 1,
        "lines": [],
    }
    assert found.notes == (
        "2 of 5 pictures are not indexed and left out: gone.png, /nowhere/gone.png",
        "1 of 5 names fits several pictures and is left out: p7.png. "
        "Name them by their paths, or give --images.",
        "1 query was left out, because none of their pictures is indexed.",
    )


def test_the_same_text_of_two_pictures_is_one_question(
    catalog: Catalog, folder: Path, written: Callable[..., Path]
) -> None:
    file = written(
        {"image": "f1/p1.png", "texts": ["red", " red "]},
        {"image": "f3/p5.png", "texts": ["red", "a red wall"]},
        {"image": str(folder / "f1" / "p1.png"), "texts": ["something red"]},
    )
    found = evaluate(catalog, file, images=folder)
    row, texts = found.rows()[0], found.rows()[-1]
    # "red" has p1 and p5, at 1 and 3; "a red wall" p5 at 3; "something red" p1 at 1.
    assert row["queries"] == 3
    assert row["r@1"] == 2 / 3
    assert row["map"] == float((Fraction(1 + Fraction(2, 3)) / 2 + Fraction(1, 3) + 1) / 3)
    # Two names of one picture are one picture; three texts that are equal to the encoder tie.
    assert (texts["queries"], texts["texts"], texts["r@1"]) == (2, 3, 1.0)
    assert "1 texts belong to several pictures; each of these counts as relevant." in found.notes


def test_pictures_rank_all_texts_of_the_file_and_ties_go_by_their_place(
    catalog: Catalog, folder: Path, written: Callable[..., Path]
) -> None:
    file = written(
        {"image": "f1/p1.png", "texts": ["a red wall"]},
        {"image": "f1/p2.png", "texts": ["something red"]},
        {"image": "f2/p3.png", "texts": ["green", "white"]},
        {"image": "gone.png", "texts": [f"a blue thing {n}" for n in range(5)]},
    )
    row = evaluate(catalog, file, images=folder).rows()[-1]
    # p1 finds its own first; p2's own ties behind it. For p3, the five of a picture that is not
    # there are blue and come first; then the red ones tie with its own at 0, and stand before
    # them: its own first is the eighth.
    assert (row["direction"], row["queries"], row["texts"]) == ("image-to-text", 3, 9)
    assert (row["r@1"], row["r@5"], row["r@10"]) == (1 / 3, 2 / 3, 1.0)


def test_image_to_text_equals_a_plain_sort(
    catalog: Catalog, folder: Path, written: Callable[..., Path]
) -> None:
    own = {
        "f1/p1.png": ["blue", "a red house"], "f1/p2.png": ["red"], "f2/p3.png": ["red and blue", "cyan"],
        "f3/p6.png": ["white and red", "black"], "f4/p7.png": ["nothing", "cyan pink"],
        "f5/p7.png": ["pink white", "orange"],
    }  # fmt: skip
    file = written(*({"image": name, "texts": texts} for name, texts in own.items()))
    row = evaluate(catalog, file, images=folder).rows()[-1]
    texts = list(dict.fromkeys(text for several in own.values() for text in several))
    encoder, firsts = ToyEncoder(), []
    for name, several in own.items():
        with Image.open(folder / name) as image:
            vector = encoder.encode_images([image.convert("RGB")])[0]
        scores = [round(float(vector @ one), 6) for one in encoder.encode_texts(texts)]
        ranked = [text for _, _, text in sorted((-score, n, texts[n]) for n, score in enumerate(scores))]
        firsts.append(min(ranked.index(text) for text in several))
    assert [row["r@1"], row["r@5"]] == [sum(place < k for place in firsts) / len(own) for k in (1, 5)]
    assert 0 < row["r@1"] < 1


def test_queries_about_absent_things_are_counted_apart(
    catalog: Catalog, folder: Path, written: Callable[..., Path]
) -> None:
    document = {
        "images_dir": str(folder),
        "queries": [
            asked("red", ["f1/p1.png"]),
            asked("zebra", []),
            asked("a pair of skis", {"f1/p1.png": 0}),
        ],
        "absent": ["white", "tractor"],
    }
    row = first(evaluate(catalog, written(document)))
    # The toy knows colours only: white is answered, zebra, skis and tractor are not.
    assert (row["cutoff"]["absent"], row["cutoff"]["absent_silent"]) == (4, 3)
    assert row["cutoff"]["absent_share"] == 0.75
    assert (row["queries"], row["cutoff"]["precision"], row["cutoff"]["recall"]) == (1, 1 / 3, 1.0)


def test_only_absent_queries_give_no_ranking_figures(catalog: Catalog, written: Callable[..., Path]) -> None:
    found = evaluate(catalog, written(asked("zebra", [])))
    assert first(found)["queries"] == 0
    assert "map" not in first(found)
    assert any("1 of 1" in line for line in evaluation_lines(found))


def test_a_query_that_gets_nothing_is_silent_and_has_no_precision(
    catalog: Catalog, folder: Path, written: Callable[..., Path]
) -> None:
    file = written(asked("zebra", ["f1/p1.png"]), asked("blue", ["f2/p3.png"]))
    cutoff = first(evaluate(catalog, file, images=folder))["cutoff"]
    assert (cutoff["silent"], cutoff["precision"], cutoff["mean_precision"]) == (1, 1.0, 1.0)
    assert (cutoff["recall"], cutoff["mean_recall"]) == (0.5, 0.5)


# Formats and names


def karpathy(*images: tuple[str, str | None, str, list[str]]) -> dict[str, Any]:
    return {
        "dataset": "own",
        "images": [
            {"filename": name, "split": split, "sentences": [{"raw": text, "tokens": []} for text in texts]}
            | ({"filepath": path} if path else {})
            for name, path, split, texts in images
        ],
    }


def test_karpathy_files_take_the_split_that_is_asked_for(
    catalog: Catalog, folder: Path, written: Callable[..., Path]
) -> None:
    document = karpathy(
        ("p1.png", "f1", "test", ["red"]),
        ("p3.png", "elsewhere", "test", ["blue", ""]),
        ("p6.png", None, "train", ["white"]),
    )
    file = written(document)
    found = evaluate(catalog, file, images=folder)
    assert (found.format, found.split, found.queries) == ("karpathy", "test", 2)
    assert "1 empty text was left out." in found.notes
    assert evaluate(catalog, file, images=folder, split="train").queries == 1
    assert evaluate(catalog, file, images=folder, split="all").queries == 3
    with pytest.raises(QueryError, match=r"split 'val'\. There are: test, train, or all"):
        evaluate(catalog, file, images=folder, split="val")


def test_coco_files_are_told_by_their_content(
    catalog: Catalog, folder: Path, written: Callable[..., Path]
) -> None:
    document = {
        "images": [{"id": 7, "file_name": "p1.png"}, {"id": "x", "file_name": "p3.png"}],
        "annotations": [
            {"image_id": 7, "caption": "red"},
            {"image_id": "x", "caption": "blue\n"},
            {"image_id": 8, "caption": "of nothing"},
        ],
    }
    found = evaluate(catalog, written(document, name="captions.txt"))
    assert (found.format, found.queries) == ("coco", 2)
    assert first(found)["r@1"] == 1.0
    assert "1 caption of pictures that the file does not list was left out." in found.notes
    with pytest.raises(QueryError, match="Only Karpathy-style files have splits"):
        evaluate(catalog, written(document), split="test")


def test_a_broken_line_is_told_by_its_number_and_the_rest_is_taken(
    catalog: Catalog, folder: Path, written: Callable[..., Path]
) -> None:
    file = written(
        asked("red", ["p1.png"]),
        '{"query": "blu',
        "",
        {"image": "p2.png", "texts": "red"},
        {"image": "p2.png"},
        {"picture": "p2.png"},
        asked("red", {"p1.png": "much"}),
        asked("red", {"p1.png": 10**400}),
        asked("", ["p1.png"]),
        asked(3, []),
        '{"query": "\\ud800", "relevant": []}',
        "[" * 100_000,
        asked("blue", ["p3.png"]),
    )
    found = evaluate(catalog, file, images=folder)
    assert found.queries == 2
    assert first(found)["left_out"]["lines"] == [2, 4, 5, 6, 7, 8, 9, 10, 11, 12]
    assert found.notes[0].startswith("Line 2 was left out: not JSON (")
    assert found.notes[1:9] == (
        "Line 4 was left out: texts is a text, not a list.",
        'Line 5 was left out: the line has no "texts".',
        'Line 6 was left out: no object with "image" or "query".',
        "Line 7 was left out: relevant['p1.png'] is no grade: 0, or a number from 0.01 to 100.",
        "Line 8 was left out: relevant['p1.png'] is no grade: 0, or a number from 0.01 to 100.",
        "Line 9 was left out: query is empty.",
        "Line 10 was left out: query is a number, not a text.",
        "Line 11 was left out: query holds half of a character ('\\ud800').",
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b" \n ", "is empty"),
        (b"\xff\xfe{}", "is not UTF-8: byte 0 is 0xff"),
        (b"a plain text", "cannot be used for an evaluation: line 1: not JSON"),
        (b'{"images": [', "line 1: not JSON"),
        (b'{\n"images": [\n', "Expecting value: line 3"),
        (b"3", "it is a number, not an object"),
        (b"[]", "it is a list, not an object"),
        (b"{}", 'neither "images" nor "queries"'),
        (b'{"images": {}}', "images is an object, not a list"),
        (b'{"images": []}', "asks nothing"),
        (b'{"images": [{"filename": 3, "sentences": []}]}', r"images\[0\].filename is a number, not a text"),
        (
            b'{"images": [{"filename": "a.png", "sentences": ["a"]}]}',
            r"sentences\[0\] is a text, not an object",
        ),
        (b'{"images": [], "annotations": [{"image_id": 1}]}', r'annotations\[0\] has no "caption"'),
        (b'{"images": [{"file_name": "a"}], "annotations": []}', r'images\[0\] has no "id"'),
        (b'{"queries": [{"query": "a", "relevant": 3}]}', r"queries\[0\].relevant is a number, not a list"),
        (b'{"queries": [{"query": "a", "relevant": {"b": -1}}]}', "is no grade"),
        (b'{"queries": [{"query": "a", "relevant": {"b": NaN}}]}', "is no grade"),
        (b'{"queries": [{"query": "a", "relevant": ["\\u0000"]}]}', "is no file name"),
        (b'{"queries": [], "absent": [null]}', r"absent\[0\] is null, not a text"),
        (b'{"query": "a"}', 'line 1: the line has no "relevant"'),
    ],
)
def test_what_is_no_evaluation_file_is_one_clear_error(
    content: bytes, message: str, catalog: Catalog, tmp_path: Path
) -> None:
    file = tmp_path / "file.json"
    file.write_bytes(content)
    with pytest.raises(QueryError, match=message):
        evaluate(catalog, file)


def test_a_file_that_is_not_there_or_a_folder_is_an_error(catalog: Catalog, tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(QueryError, match="cannot be read"):
            evaluate(catalog, path)


KEYS = (
    *("images", "filename", "filepath", "split", "sentences", "raw", "annotations", "id", "file_name"),
    *("image_id", "caption", "queries", "query", "relevant", "kind", "absent", "image", "texts"),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just("a.png"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(KEYS),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@patient
@given(
    st.binary(max_size=60)
    | st.lists(JSON, max_size=3).map(lambda items: "\n".join(map(json.dumps, items)).encode())
)
def test_any_content_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(content)
    try:
        assert isinstance(files.read(path), files.Asked)
    except QueryError as error:
        assert str(path) in str(error) or "split" in str(error)  # noqa: PT017


def test_names_mean_the_picture_that_they_lead_to(folder: Path) -> None:
    paths = {os.fsencode(folder / name): number for number, name in enumerate(PICTURES)}

    def meant(*spellings: str, start: Path = folder) -> int | str:
        found = names.find([spellings], paths, [start])
        return next(iter(found.ids.values()), "ambiguous" if found.ambiguous else "unknown")

    elsewhere = folder / "elsewhere"
    assert meant("f4/p7.png") == meant(str(folder / "f4" / "p7.png")) == meant("x/../f4/p7.png") == 6
    assert meant("p7.png") == "ambiguous"
    assert meant("p7.png", start=folder / "f5") == 7
    assert meant("f5/p7.png", start=elsewhere) == 7
    assert meant("p3.png", start=elsewhere) == 2
    # A path that leads elsewhere is not the same file because its last part is.
    assert meant("other/p3.png") == meant("/other/p3.png") == meant("3.png") == meant(".") == "unknown"
    assert meant("5/p7.png", start=elsewhere) == "unknown"
    assert meant("other/p3.png", "p3.png") == 2


def test_a_name_that_is_not_utf8_is_found(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    assert names.find([(name,)], {os.fsencode(tmp_path / name): 5}, [tmp_path]).ids == {(name,): 5}


def test_a_link_to_the_folder_is_followed(folder: Path, tmp_path: Path, catalog: Catalog) -> None:
    link = tmp_path / "link"
    link.symlink_to(folder)
    file = tmp_path / "q.jsonl"
    file.write_text(json.dumps(asked("red", ["f4/p7.png", str(link / "f5" / "p7.png")])), encoding="utf-8")
    assert evaluate(catalog, file, images=link).notes == ()


def test_the_higher_of_two_grades_counts(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "q.jsonl"
    lines = (asked("red", {"p1.png": 3, "p2.png": 1}, kind="a"), asked("red", {"p1.png": 2, "p2.png": 2}))
    file.write_text("\n".join(map(json.dumps, lines)))
    (question,) = files.read(file).questions
    assert question.grades == {("p1.png",): 3.0, ("p2.png",): 2.0}
    assert question.kind == "a"


def test_contradictions_are_told(catalog: Catalog, written: Callable[..., Path]) -> None:
    found = evaluate(catalog, written(asked("red", ["p1.png"]), asked("red", [])))
    assert first(found)["queries"] == 1
    assert "1 queries have relevant pictures in one place and none in another" in found.notes[0]


# What it costs, and the whole run


def test_every_pipeline_is_asked_in_order(catalog: Catalog, written: Callable[..., Path]) -> None:
    found = evaluate(catalog, written(asked("red", ["p1.png"])), rerank=("none", "none"))
    assert [one.rerank for one in found.pipelines] == ["none", "default"]
    assert [len(one.latency.samples) for one in found.pipelines] == [3, 3]
    assert found.encoding.p50 <= found.encoding.p99
    assert found.peak_bytes is None or found.peak_bytes > 10 << 20


class Contrary(ToyEncoder):
    """Finds worst at a second look what it found best at the first."""

    def look_again(self, text: str, query: Any, scores: Any, aux: Any, sample: Any) -> Any:
        return (0.9 - 0.5 * scores).astype(np.float32)


def test_each_pipeline_has_figures_of_its_own(
    place: Path, folder: Path, written: Callable[..., Path]
) -> None:
    file = written(asked("red", [f"p{number}.png" for number in (1, 2, 5)]))
    with Catalog(place, encoder=Contrary()) as opened:
        rows = evaluate(opened, file, images=folder, rerank=("classes",)).rows()
    # Without a second look the red ones are the first three of eight, with it the last three.
    last = float((Fraction(1, 6) + Fraction(2, 7) + Fraction(3, 8)) / 3)
    assert [(row["rerank"], row["p@5"], row["map"]) for row in rows] == [
        ("none", 0.6, 1.0),
        ("default", 0.0, last),
        ("classes", 0.0, last),
    ]


def test_an_unknown_reranker_is_refused_at_once(catalog: Catalog, written: Callable[..., Path]) -> None:
    with pytest.raises(RetrievalError, match="No reranker is called 'guess'"):
        evaluate(catalog, written(asked("red", ["p1.png"])), rerank=("guess",))


def test_a_refused_query_is_named(catalog: Catalog, written: Callable[..., Path]) -> None:
    file = written(asked("red + ", ["p1.png"]))
    with pytest.raises(QueryError, match=r"The query 'red \+' of .*questions is refused: [^\n]*$"):
        evaluate(catalog, file)


def test_queries_are_sums_and_captions_are_plain_words(
    catalog: Catalog, folder: Path, written: Callable[..., Path]
) -> None:
    def best(line: dict[str, Any]) -> float:
        return float(first(evaluate(catalog, written(line), images=folder))["r@1"])

    # As a sum, green is pushed away; as words, both are named, and the green picture is the plainer one.
    assert best(asked("red - green", ["p4.png"])) == 0.0
    assert best({"image": "p4.png", "texts": ["red - green"]}) == 1.0


def test_a_sample_is_the_same_every_time_and_told(
    catalog: Catalog, folder: Path, written: Callable[..., Path]
) -> None:
    lines = [{"image": name, "texts": [f"{colour} {name}"]} for name, colour in PICTURES.items()]
    file = written(*lines, asked("zebra", []), asked("lynx", []))
    runs = [evaluate(catalog, file, images=folder, limit_queries=3) for _ in range(2)]
    assert runs[0].pipelines[0].figures == runs[1].pipelines[0].figures
    assert runs[0].notes == (
        "A sample of 3 of 8 queries was asked (seed 0).",
        "A sample of 3 of 8 pictures with texts was asked (seed 0).",
    )
    assert first(runs[0])["queries"] == runs[0].rows()[-1]["queries"] == 3
    assert (runs[0].queries, runs[0].rows()[-1]["texts"]) == (5, 8)
    with pytest.raises(QueryError, match="at least 1"):
        evaluate(catalog, file, limit_queries=0)


def test_progress_ends_where_it_said(catalog: Catalog, folder: Path, written: Callable[..., Path]) -> None:
    told: list[tuple[str, dict[str, Any]]] = []
    lines = [{"image": name, "texts": [colour]} for name, colour in PICTURES.items()]
    evaluate(
        catalog, written(*lines, asked("zebra", [])), images=folder,
        progress=lambda step, figures: told.append((step, dict(figures))),
    )  # fmt: skip
    assert told[0][0] == "encode"
    assert told[-1][1]["done"] == told[-1][1]["total"] == told[0][1]["total"]


class Forgetful:
    """A store that never finds the best picture."""

    kind = "forgetful"

    def __init__(self, flat: FlatStore) -> None:
        self.ids, self.vectors, self._flat = flat.ids, flat.vectors, flat

    def search(self, query: Any, k: int, *, allowed: Any = None) -> Any:
        ids, scores = self._flat.search(query, k + 1, allowed=allowed)
        return ids[1:], scores[1:]


def test_recall_of_a_store_is_measured_against_exact_search(catalog: Catalog) -> None:
    gallery = Gallery.of(catalog)
    assert measure.index_recall(gallery, ["red"]).exact
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(40, ToyEncoder.dim)).astype(np.float32)
    flat = FlatStore(np.arange(40), Rows.of(rows))
    worse = Gallery(ToyEncoder(), "toy", Forgetful(flat), None, gallery.paths)  # type: ignore[arg-type]
    found = measure.index_recall(worse, ["red", "blue"])
    # Of the ten best it finds nine; its tenth is the eleventh.
    assert (found.exact, found.recall, found.queries) == (False, 0.9, 2)
    equal = FlatStore(np.arange(40), Rows.of(np.repeat(rows[:1], 40, axis=0)))
    tied = Gallery(ToyEncoder(), "toy", Forgetful(equal), None, gallery.paths)  # type: ignore[arg-type]
    assert measure.index_recall(tied, ["red"]).recall == 1.0


def test_the_index_of_a_catalog_is_compared_with_its_vectors(
    folder: Path, tmp_path: Path, written: Callable[..., Path]
) -> None:
    index_folder(tmp_path / "c", folder, model="toy", workers=1)
    with Catalog(tmp_path / "c") as opened:
        opened.rebuild(store="faiss")
        index = evaluate(opened, written(asked("red", ["p1.png"]))).index
    assert (index.kind, index.exact, index.recall) == ("faiss", False, 1.0)


def test_pictures_that_are_gone_are_not_ranked(tmp_path: Path, written: Callable[..., Path]) -> None:
    folder = tmp_path / "photos"
    for name, colour in list(PICTURES.items())[:4]:
        draw(folder / name, colour, size=(40, 31))
    index_folder(tmp_path / "c", folder, model="toy", workers=1)
    (folder / "f1/p1.png").unlink()
    index_folder(tmp_path / "c", folder, model="toy", workers=1)
    with Catalog(tmp_path / "c") as opened:
        found = evaluate(opened, written(asked("red", ["p1.png", "p2.png"])), images=folder)
    assert (found.images, first(found)["map"]) == (3, 1.0)
    assert first(found)["left_out"]["not_indexed"] == {"count": 1, "first": ["p1.png"]}


def test_quantiles_are_values_that_were_measured() -> None:
    values = [float(value) for value in range(100, 0, -1)]
    assert metrics.quantile(values, 0.5) == 50.0
    assert metrics.quantile(values, 0.99) == 99.0
    assert metrics.quantile([3.0], 0.99) == 3.0


def test_timing_a_slow_pipeline_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "TIMED_SECONDS", 0.0)
    calls: list[measure.Query] = []
    queries = [measure.Query("red", {}, None, typed=True)] * 1000
    taken = measure.latencies([calls.append, calls.append], queries, measure.Steps(None, 1000))
    assert [len(one.samples) for one in taken] == [measure.TIMED_AT_LEAST] * 2
    assert len(calls) == 2 * measure.TIMED_AT_LEAST


# The command


@pytest.fixture
def mixed(written: Callable[..., Path], folder: Path) -> Path:
    return written(
        {"image": "f1/p1.png", "texts": ["red"]},
        {"image": str(folder / "f2/p3.png"), "texts": ["blue", "a $blue$ {house}"]},
        asked("white", {"p6.png": 2, "gone.png": 2}, kind="ground $^"),
        asked("zebra", []),
    )


def test_the_command_prints_a_table_and_says_what_was_left_out(place: Path, mixed: Path) -> None:
    result = shown(mixed, "--catalog", place)
    assert result.exit_code == 0
    assert "1 of 4 pictures is not indexed and left out: gone.png" in result.stderr
    lines = result.stdout.splitlines()
    # red and blue are first; so is white.
    assert lines[3].split()[:4] == ["none", "1.000", "1.000", "1.000"]
    assert lines[2].split() == [
        "text",
        "to",
        "image",
        "R@1",
        "R@5",
        "R@10",
        "mAP",
        "nDCG@10",
        "P@5",
        "P@5",
        "cap",
    ]
    assert "1 of 1" in result.stdout
    assert "Store   flat, exact" in lines


def test_the_command_prints_an_object_a_row(place: Path, mixed: Path, folder: Path) -> None:
    result = shown(mixed, "--catalog", place, "--json", "--images", folder)
    rows = json_lines(result.stdout)
    assert [(row["direction"], row["rerank"]) for row in rows] == [
        ("text-to-image", "none"),
        ("text-to-image", "default"),
        ("image-to-text", "none"),
    ]
    assert rows[0]["index"] == {"kind": "flat", "exact": True, "recall@10": 1.0, "queries": 0}
    assert set(rows[0]["latency_ms"]) == set(rows[0]["encoding_ms"]) == {"p50", "p99", "samples"}
    assert rows[2]["texts"] == 3


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_the_plot_is_drawn(ending: str, catalog: Catalog, mixed: Path, tmp_path: Path) -> None:
    write_plot(evaluate(catalog, mixed), tmp_path / f"out.{ending}")
    if ending == "png":
        with Image.open(tmp_path / "out.png") as image:
            pixels = np.asarray(image.convert("RGB")).reshape(-1, 3)
        for colour in ((0xB4, 0xBC, 0xC6), (0x2F, 0x66, 0x90)):
            assert (pixels == colour).all(axis=1).sum() > 5000, "the bars of a pipeline are not there"
    else:
        text = (tmp_path / "out.svg").read_text(encoding="utf-8")
        assert "nDCG@10" in text or "<path" in text


def test_a_plot_that_cannot_be_written_is_refused_before_the_work(
    place: Path, mixed: Path, tmp_path: Path
) -> None:
    with pytest.raises(QueryError, match=r"ends with \.png"):
        shown(mixed, "--catalog", place, "--plot", tmp_path / "out.xyz")
    with pytest.raises(QueryError, match="no folder"):
        shown(mixed, "--catalog", place, "--plot", tmp_path / "none" / "out.png")


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_a_plot_replaces_an_earlier_one_and_nothing_else(
    ending: str, catalog: Catalog, place: Path, mixed: Path, tmp_path: Path
) -> None:
    found = evaluate(catalog, mixed)
    target = tmp_path / f"out.{ending}"
    write_plot(found, target)
    write_plot(found, target)
    photo = tmp_path / f"photo.{ending}"
    Image.new("RGB", (8, 8), "red").save(photo, "PNG")
    kept = photo.read_bytes()
    with pytest.raises(RetrievalError, match=r"no drawing of this program.*--plot"):
        shown(mixed, "--catalog", place, "--plot", photo)
    assert photo.read_bytes() == kept
    assert sorted(path.name for path in tmp_path.glob(".drawing*")) == []


def test_the_command_draws_what_it_printed(place: Path, mixed: Path, tmp_path: Path) -> None:
    result = shown(mixed, "--catalog", place, "--plot", tmp_path / "out.png", "--json")
    assert len(json_lines(result.stdout)) == 3
    assert (tmp_path / "out.png").stat().st_size > 10_000
    assert "Figures drawn" in result.stderr


def test_a_file_of_pictures_that_are_not_indexed_is_an_error(
    place: Path, written: Callable[..., Path]
) -> None:
    with pytest.raises(QueryError, match=r"None of the 2 pictures .* the first is 'x\.png'.*search index"):
        shown(written(asked("red", ["x.png", "y.png"])), "--catalog", place)


def test_the_code_of_the_documentation_runs(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    index_folder("photos.search", folder, model="toy", workers=1)
    lines = (asked("red", ["p1.png"]), asked("blue", ["p3.png", "gone.png"]))
    (tmp_path / "questions.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (code,) = re.findall(r"^```python\n(.*?)^```$", (ROOT / "docs" / "quality.md").read_text(), re.M | re.S)
    exec(compile(code, "docs/quality.md", "exec"), {})
    assert capsys.readouterr().out.splitlines() == [
        "none 1.0 1.0",
        "default 1.0 1.0",
        "1 of 3 pictures is not indexed and left out: gone.png",
    ]
