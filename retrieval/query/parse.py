"""The grammar of a query: terms joined by ` + ` and ` - `.

    query  = [sign] term { sign term }        a sign is + or - with space around it
    term   = [weight ":"] (text | "@" concept | path | '"' anything '"')

Quotes keep a term whole, signs, colons and all; a path may be quoted too. A text may hold
any character: only what stands at the start of a term, or between spaces, has a meaning.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from retrieval.errors import QueryError
from retrieval.query.terms import MAX_TERMS, Term, is_url, plain

SIGN = re.compile(r"(?:^|(?<=\s))([+-])(?=\s|$)")
QUOTES = {'"': '"', "“": "”"}
WEIGHT = re.compile(r"([^\s:\"“@/~]+):(?=\S)")
PATHS = ("/", "./", "../", "~/")
MAX_CHARACTERS = 10_000
MAX_WEIGHT = 1000
EXAMPLE = 'search "horse + 2:stripes - people"'


def parse(text: str, *, paths: bool = True) -> tuple[Term, ...]:
    """The terms of a query, in the order they were written."""
    if not text.strip():
        raise QueryError('The query is empty. Say what to look for: search "a dog on a beach"')
    if len(text) > MAX_CHARACTERS:
        raise QueryError(
            f"The query is {len(text):,} characters long, more than any model reads. "
            f"Say it in {MAX_CHARACTERS:,} at most."
        )
    terms: list[Term] = []
    for start, end, sign in _spans(text):
        terms.append(_term(text, start, end, sign, paths=paths))
        if len(terms) > MAX_TERMS:
            raise QueryError(f"A query has at most {MAX_TERMS} terms.", query=text, at=start)
    return tuple(terms)


def _spans(text: str) -> Iterator[tuple[int, int, float]]:
    """Where each term begins and ends, and its sign."""
    at = _space(text, 0)
    sign = SIGN.match(text, at)
    if sign:
        at = _space(text, sign.end())
    while True:
        following = SIGN.search(text, _after_quotes(text, at))
        end = at + len(text[at : following.start() if following else len(text)].rstrip())
        if end == at and sign is not None:
            raise QueryError(
                f"Nothing follows this {sign[1]}. Write a term there, or quote a sign that is meant "
                f"as it stands: {EXAMPLE}",
                query=text,
                at=sign.start(1),
            )
        yield at, end, -1.0 if sign is not None and sign[1] == "-" else 1.0
        if following is None:
            return
        sign, at = following, _space(text, following.end())


def _space(text: str, at: int) -> int:
    """The first place from `at` on that is no space."""
    return len(text) - len(text[at:].lstrip())


def _after_quotes(text: str, at: int) -> int:
    """Where the search for the next sign may begin: behind the quotes that a term begins with."""
    weight = WEIGHT.match(text, at)
    start = weight.end() if weight else at
    closing = QUOTES.get(text[start : start + 1])
    if closing is None:
        return at
    end = text.find(closing, start + 1)
    if end < 0:
        raise QueryError("This quote is never closed.", query=text, at=start)
    return end + 1


def _term(text: str, start: int, end: int, sign: float, *, paths: bool) -> Term:
    content = text[start:end]
    quoted = _unquoted(content)
    weight = 1.0
    if quoted is None:
        found = WEIGHT.match(content)
        if found and not is_url(content):
            weight = _weight(found[1], text, start)
            start += found.end()
            content = content[found.end() :]
            quoted = _unquoted(content)
    value = content if quoted is None else quoted
    if not value.strip():
        raise QueryError("There is nothing between these quotes.", query=text, at=start)
    if paths and (value.startswith(PATHS) or value == "~"):
        return Term("image", Path(value).expanduser(), sign * weight, at=start)
    if paths and is_url(value):
        return Term("image", value, sign * weight, at=start)
    if quoted is None and value.startswith("@"):
        name = value[1:]
        if not name or any(character.isspace() for character in name):
            raise QueryError(
                'A concept is one word after the @; join others with a +: search "@rex + beach". '
                "To look for the sign itself, use quotes.",
                query=text,
                at=start,
            )
        return Term("concept", name, sign * weight, at=start)
    return Term("text", plain(value), sign * weight, at=start)


def _unquoted(content: str) -> str | None:
    """What is between the quotes that enclose a term; None for a term without."""
    closing = QUOTES.get(content[:1])
    if closing is None or content.find(closing, 1) != len(content) - 1:
        return None
    return content[1:-1]


def _weight(written: str, text: str, at: int) -> float:
    try:
        weight = float(written)
    except ValueError:
        raise QueryError(
            f"'{written}' is not a number, and what stands before a colon is a weight, as in 2:snow. "
            "To look for the text itself, use quotes: search '\"12:30 train\"'",
            query=text,
            at=at,
        ) from None
    if not 0 < weight <= MAX_WEIGHT:
        raise QueryError(
            f"A weight is more than 0 and at most {MAX_WEIGHT}. To push something away, put a - before it: "
            'search "a beach - people"',
            query=text,
            at=at,
        )
    return weight
