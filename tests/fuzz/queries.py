"""The grammar of queries: what parses is printed so that it parses to the same."""

from __future__ import annotations

from retrieval.errors import QueryError
from retrieval.query.terms import MAX_TERMS, Query
from tests.fuzz import told

SEEDS = tuple(
    text.encode()
    for text in (
        "two dogs in the snow",
        "./a.jpg + 2:night - people",
        '"12:30 train" - 0.5:@rex',
        "“a + b” + ~/x.png",
        '3:"/tmp/a - b.jpg"',
        "http://x.y/z.jpg",
        "- a",
        '" /x"',
        '5" wide + a”b',
        "1e-3:a + .5:b",
    )
)
WORDS = (
    b" + ",
    b" - ",
    b'"',
    "“".encode(),
    "”".encode(),
    b"2:",
    b"@",
    b"~/",
    b"./",
    b"http://",
    b"nan:",
    b"inf:",
)
MOST = 300


def one(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    for paths in (True, False):
        try:
            query = Query.parse(text, paths=paths)
        except QueryError as error:
            str(error).encode("utf-8", "surrogatepass")
            continue
        assert 0 < len(query.terms) <= MAX_TERMS
        assert all(0 < abs(term.weight) <= 1000 for term in query.terms)
        assert paths or all(term.kind != "image" for term in query.terms)
        again = Query.parse(str(query), paths=paths)
        assert again == query, (text, str(query))
        assert str(again) == str(query)
        assert again.normal() == query.normal()
        try:
            query.checked()
        except QueryError as error:
            told(error)
