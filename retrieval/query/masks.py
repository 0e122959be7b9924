"""Which pictures a filter lets through: their ids, or a mask over the ids of a store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from retrieval.db.reader import Reader
    from retrieval.query.filters import Filter

    Ids = NDArray[np.int64]

MANY = 5000
"""Of fewer pictures, all that pass are soon named."""
TRIED, PASSING = 16, 14
"""Where so many of so many pictures pass, those that do not are named instead."""
ROOT = 2**0.5
SPREAD = 16
"""Ids are looked up by their number where these reach over at most so many times as many."""


def passing_ids(reader: Reader, where: Filter) -> Ids:
    """The ids of the pictures that a filter lets through, in order."""
    import numpy as np

    return np.sort(_passing(reader, where))


def allowed_among(ids: Ids, where: Filter, reader: Reader) -> NDArray[np.bool_]:
    """Which of some pictures, given by their ids in order, a filter lets through.

    An id that is no picture's may count as one that passes: nothing of it can be shown.
    """
    others = where.failing() if len(ids) >= MANY else None
    if others is not None and _nearly_all(reader, where, ids):
        return ~_marked(ids, _ids(reader, *others))
    return _marked(ids, _passing(reader, where))


def _passing(reader: Reader, where: Filter) -> Ids:
    sql, values = where.sql()
    if sql.startswith("SELECT id FROM "):
        return _ids(reader, sql, values)
    return where.passing(reader.rows(sql, **values))


def _nearly_all(reader: Reader, where: Filter, ids: Ids) -> bool:
    """Whether nearly all of a few pictures pass: a guess, which only decides what is asked for."""
    sql, values = where.sql()
    # Spread over all of them, at no equal steps: what comes again and again would be met each time or never.
    tried = [int(ids[int(turn * ROOT % 1 * len(ids))]) for turn in range(TRIED)]
    some = ", ".join(map(str, tried))
    # The limit has them looked up first, by their ids, whatever index the conditions would have.
    few = f"FROM (SELECT * FROM images WHERE id IN ({some}) LIMIT {TRIED})"
    rows = reader.rows(sql.replace("FROM images", f"{few} images", 1), **values)
    return len(rows) >= PASSING


def _ids(reader: Reader, sql: str, values: dict[str, Any]) -> Ids:
    """The ids that a query names, in any order."""
    import numpy as np

    if reader.dialect != "sqlite":
        rows = reader.rows(sql, **values)
        return np.fromiter((row[0] for row in rows), np.int64, len(rows))
    # A hundred thousand ids in one text take a third of the time that they take as rows.
    text = reader.rows(f"SELECT GROUP_CONCAT(id) FROM ({sql})", **values)[0][0]
    return np.fromstring(text, np.int64, sep=",") if text else np.empty(0, np.int64)


def _marked(ids: Ids, named: Ids) -> NDArray[np.bool_]:
    """Which of the ids, which are in order, are among others, which need not be."""
    import numpy as np

    if not (len(ids) and len(named)):
        return np.zeros(len(ids), np.bool_)
    first, last = int(ids[0]), int(ids[-1])
    named = named[(named >= first) & (named <= last)]
    if last - first >= SPREAD * len(ids):
        marked = np.zeros(len(ids), np.bool_)
        places = np.searchsorted(ids, named)
        marked[places[ids[places] == named]] = True
        return marked
    flags = np.zeros(last - first + 1, np.bool_)
    flags[named - first] = True
    found: NDArray[np.bool_] = flags if len(flags) == len(ids) else flags[ids - first]
    return found
