"""The commands that ask: find with sums, similar, match; and what bad input gets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from tests.conftest import draw, json_lines

Search = Callable[..., Result]


def paths(result: Result) -> list[str]:
    return [Path(row["path"]).name for row in json_lines(result.stdout)]


def test_sums_from_the_command_line(search: Search, catalog: Path, photos: Path) -> None:
    result = search(f"{photos / 'red.png'} - blue", "--json", "--catalog", catalog)
    assert result.exit_code == 0
    assert paths(result)[0] == "red.png"
    unquoted = search(photos / "red.png", "-", "blue", "--json", "--catalog", catalog)
    assert unquoted.stdout == result.stdout


def test_what_spoke_for_a_hit_is_shown_when_asked(search: Search, catalog: Path) -> None:
    row = json_lines(search("red", "--json", "--explain", "--catalog", catalog).stdout)[0]
    assert 0 < row["explain"]["picture"] <= 1
    assert "explain" not in json_lines(search("red", "--json", "--catalog", catalog).stdout)[0]
    table = search("red", "--explain", "--catalog", catalog).stdout
    assert "picture" in table


def test_similar_has_the_output_of_find(search: Search, catalog: Path, photos: Path, tmp_path: Path) -> None:
    rows = json_lines(search("similar", photos / "red.png", "--json", "--catalog", catalog).stdout)
    assert Path(rows[0]["path"]).name == "red-again.jpg"
    assert rows[0].keys() >= {"rank", "path", "score", "match", "image_id"}
    plain = search("similar", photos / "red.png", "--paths", "-k", "1", "--catalog", catalog)
    assert plain.stdout == f"{photos / 'trip' / 'red-again.jpg'}\n"
    page = tmp_path / "page.html"
    assert search("similar", photos / "red.png", "--html", page, "--catalog", catalog).exit_code == 0
    assert page.exists()
    inside = search(
        "similar", photos / "red.png", "--in", photos / "trip", "--all", "--json", "--catalog", catalog
    )
    assert set(paths(inside)) == {"red-again.jpg", "white.png"}


def test_similar_shows_only_what_is_alike_unless_asked(search: Search, catalog: Path, tmp_path: Path) -> None:
    odd = draw(tmp_path / "odd.png", "purple")
    few = search("similar", odd, "--catalog", catalog)
    assert few.exit_code == 0
    assert few.stdout == ""
    assert "No good match" in few.stderr
    everything = search("similar", odd, "--all", "--json", "--catalog", catalog)
    assert len(json_lines(everything.stdout)) == 6


def test_several_pictures_and_one_that_is_not_there(search: Search, catalog: Path, photos: Path) -> None:
    both = search("similar", photos / "red.png", photos / "blue.png", "--all", "--json", "--catalog", catalog)
    assert len(json_lines(both.stdout)) == 4
    missing = search("similar", photos / "nowhere.png", "--catalog", catalog)
    assert (missing.exit_code, "nowhere.png" in missing.stderr) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["find", "red + abc:blue"], 1, "'abc' is not a number"),
        (["find", "- red"], 1, "only says what not to show"),
        (["find", ""], 1, "empty"),
        (["find", "./nowhere.jpg + red"], 1, "There is no file"),
        (["find", "red", "-k", "0"], 2, "0 is not in the range"),
        (["find", "red", "--after", "soon"], 1, "is not a date"),
        (["find", "x" * 100_000], 1, "100,000 characters"),
        (["find", "@nobody"], 1, "nobody"),
        (["find", "red", "--rerank", "magic"], 1, "No reranker"),
        (["find", "https://127.0.0.1/a.jpg"], 1, "--allow-url"),
        (["similar", "https://127.0.0.1/a.jpg"], 1, "--allow-url"),
        (["match", "./nowhere.jpg"], 1, "There is no file"),
        (["similar"], 2, "Missing argument"),
    ],
)
def test_bad_input_gets_one_clear_message(
    search: Search, catalog: Path, arguments: list[str], code: int, message: str
) -> None:
    result = search(*arguments, "--catalog", catalog)
    assert result.exit_code == code
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_the_caret_stands_below_its_place(search: Search, catalog: Path) -> None:
    lines = search("red + abc:blue", "--catalog", catalog).stderr.splitlines()
    assert lines[-2].index("abc:blue") == lines[-1].index("^")


@pytest.mark.parametrize(
    "query", ["собака", "犬 + 猫", "كلب", "🐕", "'; DROP TABLE images; --", 'NEAR(a b) OR "x*"']
)
def test_any_alphabet_and_any_sign_is_a_question(search: Search, catalog: Path, query: str) -> None:
    result = search("find", query, "--catalog", catalog)
    assert result.exit_code == 0


def test_a_million_hits_are_all_there_are(search: Search, catalog: Path) -> None:
    result = search("find", "red", "-k", "1000000", "--all", "--json", "--catalog", catalog)
    assert len(json_lines(result.stdout)) == 6


def test_match_without_texts_says_how_to_add_some(search: Search, catalog: Path, photos: Path) -> None:
    result = search("match", photos / "red.png", "--catalog", catalog)
    assert result.exit_code == 0
    assert "search texts add" in result.stderr
