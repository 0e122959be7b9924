"""What a client asks, written as the parameters that a server reads."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from retrieval.errors import QueryError

if TYPE_CHECKING:
    from retrieval.query.filters import Filter
    from retrieval.query.terms import Query

    Params = list[tuple[str, str]]

MOST_LIMIT = 500


class Unsendable(QueryError):
    """The question has something in it that only the library itself can be asked."""


def written(query: str | Query) -> str:
    """A query in the grammar that a server reads; `Unsendable` for one with pictures in it."""
    if isinstance(query, str):
        return query
    from retrieval.query.terms import Query as Parsed

    parts = []
    for term in query.terms:
        sign, value = "-" if term.weight < 0 else "+", str(term.value)
        if term.kind == "image":
            raise Unsendable("A picture in a sum of terms can only be asked of the library itself.")
        if term.kind == "concept":
            value = f"@{value}"
        else:
            value = f"“{value}”" if '"' in value else f'"{value}"'
        weight = abs(term.weight)
        parts.append(f"{sign} {value if weight == 1 else f'{weight!r}:{value}'}")
    text = " ".join(parts)
    try:
        same = Parsed.parse(text, paths=False) == query
    except QueryError:
        same = False
    if not same:
        raise Unsendable("The terms of the query cannot be written as a text.")
    return text


def ranking(
    limit: int,
    where: Filter | None,
    *,
    cutoff: bool,
    min_match: float | None,
    sort: str | None = None,
) -> Params:
    if not 1 <= limit <= MOST_LIMIT:
        raise Unsendable(f"A server gives 1 to {MOST_LIMIT} at once, not {limit}.")
    params = [("limit", str(limit)), ("all", "false" if cutoff else "true"), *filters(where)]
    if min_match is not None:
        params.append(("min_match", repr(float(min_match))))
    if sort is not None:
        params += [("sort", sort), ("explain", "true")]
    return params


def filters(where: Filter | None) -> Params:
    """A filter as the parameters of a request, its folder from where this process is."""
    if not where:
        return []
    from retrieval.query.filters import moment

    found: list[tuple[str, str | None]] = [
        ("after", None if where.after is None else moment(where.after)),
        ("before", None if where.before is None else moment(where.before)),
        ("camera", where.camera),
        ("near", where.near if isinstance(where.near, str | None) else ",".join(map(repr, where.near))),
        ("orientation", None if where.orientation is None else where.orientation.lower()),
        ("type", where.type),
    ]
    if where.folder is not None:
        found.append(("in", os.path.abspath(os.path.expanduser(os.fspath(where.folder)))))
    if where.min_size is not None:
        size = where.min_size
        found.append(("min_size", "x".join(map(str, size)) if isinstance(size, tuple) else str(size)))
    found += [("tag", tag) for tag in ([where.tags] if isinstance(where.tags, str) else where.tags)]
    return [(name, sendable(value)) for name, value in found if value is not None]


def sendable(text: str) -> str:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise Unsendable("A name that is not UTF-8 can only be asked of the library itself.") from None
    return text


def query_string(params: Params) -> str:
    from urllib.parse import urlencode

    return "?" + urlencode([(name, sendable(value)) for name, value in params]) if params else ""
