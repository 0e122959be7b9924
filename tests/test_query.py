"""The grammar of a query."""

from __future__ import annotations

import pickle
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval import Query, QueryError, Term
from retrieval.query.terms import MAX_TERMS, MAX_TEXT

WORDS = st.text(string.ascii_letters + "äß日本 ", min_size=1, max_size=12).map(
    lambda text: " ".join(text.split()) or "x"
)
WEIGHTS = st.sampled_from([1.0, 2.0, 0.5, 1.25])


@st.composite
def terms(draw: st.DrawFn) -> Term:
    weight = draw(WEIGHTS) * draw(st.sampled_from([1, -1]))
    kind = draw(st.sampled_from(["text", "image", "concept"]))
    word = draw(WORDS)
    if kind == "image":
        return Term("image", Path("/pictures") / f"{word}.jpg", weight)
    return (
        Term("concept", word.replace(" ", "-"), weight) if kind == "concept" else Term("text", word, weight)
    )


@given(st.lists(terms(), min_size=1, max_size=6))
def test_what_a_query_prints_is_that_query(parts: list[Term]) -> None:
    query = Query(tuple(parts))
    assert Query.parse(str(query)) == query


@given(st.text(max_size=60))
def test_any_text_is_a_query_or_a_clear_error(text: str) -> None:
    message = "fine"
    try:
        query = Query.parse(text)
    except QueryError as error:
        message = str(error)
    else:
        assert query.terms
        assert all(str(term.value).strip() for term in query.terms)
    assert len(message.split("\n")) in (1, 3)


@given(st.lists(WORDS, min_size=1, max_size=5), st.randoms())
def test_the_normal_form_does_not_depend_on_the_order(words: list[str], random: object) -> None:
    shuffled = list(words)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert Query.parse(" + ".join(words)).normal() == Query.parse(" + ".join(shuffled).upper()).normal()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("two dogs", [Term("text", "two dogs")]),
        ("horse + stripes", [Term("text", "horse"), Term("text", "stripes")]),
        (
            "./pool.jpg + 2:night - people",
            [Term("image", Path("pool.jpg")), Term("text", "night", 2), Term("text", "people", -1)],
        ),
        ("- people + 0.5:a beach", [Term("text", "people", -1), Term("text", "a beach", 0.5)]),
        ("@rex - 2:@felix", [Term("concept", "rex"), Term("concept", "felix", -2)]),
        ('"rock - paper" + x', [Term("text", "rock - paper"), Term("text", "x")]),
        ('2:"a + b"', [Term("text", "a + b", 2)]),
        ("“a + b”", [Term("text", "a + b")]),
        ('"@rex"', [Term("text", "@rex")]),
        ('"12:30 train"', [Term("text", "12:30 train")]),
        ('"/a - b/c.jpg"', [Term("image", Path("/a - b/c.jpg"))]),
        ("C++ or c-sharp", [Term("text", "C++ or c-sharp")]),
        ('a 5" nail', [Term("text", 'a 5" nail')]),
        ("ratio 3:4", [Term("text", "ratio 3:4")]),
        ("note: a dog", [Term("text", "note: a dog")]),
        ("a\n+\tb", [Term("text", "a"), Term("text", "b")]),
        ("https://example.org/a.jpg", [Term("image", "https://example.org/a.jpg")]),
    ],
)
def test_the_grammar(text: str, expected: list[Term]) -> None:
    assert list(Query.parse(text).terms) == expected


def test_home_is_found_in_a_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/anna")
    assert Query.parse("~/a.jpg").terms == (Term("image", Path("/home/anna/a.jpg")),)


def test_without_paths_everything_is_words() -> None:
    for text in ("./pool.jpg", "/etc/passwd", "~/a.jpg", "https://example.org/a.jpg"):
        assert Query.parse(text, paths=False).terms == (Term("text", text),)


@pytest.mark.parametrize(
    ("text", "message", "caret"),
    [
        ("horse + abc:snow", "'abc' is not a number", 8),
        ("horse + 0:snow", "more than 0", 8),
        ("x - nan:snow", "more than 0", 4),
        ("x - inf:snow", "at most", 4),
        ("a + -2:b", "put a - before it", 4),
        ("a + + b", "Nothing follows this +", 2),
        ("a -", "Nothing follows this -", 2),
        ("+", "Nothing follows this +", 0),
        ('a + "never closed', "never closed", 4),
        ('"" + a', "nothing between these quotes", 0),
        ("a + @", "one word after the @", 4),
        ("a + @rex plays", "one word after the @", 4),
        ("日本 + abc:犬", "'abc' is not a number", 7),
    ],
)
def test_errors_point_at_the_place(text: str, message: str, caret: int) -> None:
    with pytest.raises(QueryError, match=message) as caught:
        Query.parse(text)
    first, line, pointer = str(caught.value).split("\n")
    assert message in first
    assert line == f"  {text}"
    assert pointer.index("^") - 2 == caret
    again = pickle.loads(pickle.dumps(caught.value))
    assert str(again) == str(caught.value)


def test_a_long_query_is_cut_around_the_place() -> None:
    with pytest.raises(QueryError) as caught:
        Query.parse("a " * 200 + "+ abc:x" + " b" * 200)
    _, line, pointer = str(caught.value).split("\n")
    assert len(line) < 80
    assert line[pointer.index("^") :].startswith("abc:x")


@pytest.mark.parametrize("text", ["", "   ", "\n"])
def test_an_empty_query_is_refused(text: str) -> None:
    with pytest.raises(QueryError, match="empty"):
        Query.parse(text)


def test_only_negatives_are_refused() -> None:
    with pytest.raises(QueryError, match="only says what not to show"):
        Query.parse("- people - cars").checked()


def test_too_much_is_refused() -> None:
    with pytest.raises(QueryError, match="100,000 characters"):
        Query.parse("x" * 100_000)
    with pytest.raises(QueryError, match="5,000 characters"):
        Query.text("x" * 5000).checked()
    with pytest.raises(QueryError, match=f"at most {MAX_TERMS} terms"):
        Query.parse(" + ".join("abcdefgh"[number % 8] for number in range(MAX_TERMS + 1)))
    assert Query.text("x" * MAX_TEXT).checked()


def test_sums_are_built_with_signs() -> None:
    built = Query.image("pool.jpg") + 2 * Query.text("night") - Query.text("people")
    assert built == Query.parse("./pool.jpg + 2:night - people")
    assert Query.concept("@rex") == Query.parse("@rex")
    with pytest.raises(QueryError, match="other than 0"):
        (0 * Query.text("night") + Query.text("x")).checked()
