"""Full-text search in the database: how many pictures have a word, and which."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakKeyDictionary

from retrieval.db.reader import chunks

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from retrieval.config import Location
    from retrieval.db.reader import Reader, Row
    from retrieval.db.wording import Asked

    Ids = NDArray[np.int64]

TOKENIZER = "porter unicode61 remove_diacritics 2"
"""That of `image_fts`."""
Tiers = tuple[tuple[str, float], ...]
COUNTED = 2000
"""Phrases are counted one by one, up to here; beyond, their rarest part stands for them."""


_totals: WeakKeyDictionary[Reader, tuple[int, int]] = WeakKeyDictionary()
"""How many pictures a reader has counted, and at which version of its database."""


class FullText(Protocol):
    """What a database can find by words. Words come as tokens, and are never read as syntax."""

    tiers: Tiers
    """Groups of columns that can be looked through apart, and how far each is trusted; best first."""

    def total(self) -> int:
        """How many pictures there are."""
        ...

    def counts(self, words: Sequence[tuple[Asked, str]]) -> list[int]:
        """How many pictures have each word, given with its stem."""
        ...

    def having(
        self,
        words: Sequence[Asked],
        *,
        whole: bool = True,
        columns: str = "",
        span: tuple[int, int] | None = None,
        most: int | None = None,
    ) -> Ids:
        """Pictures that have all of the words, or any of them, lowest ids first, inside a span of ids."""
        ...

    def words(self, image_ids: Sequence[int]) -> list[Row]:
        """Image id, name, described, told, seen: the words of these pictures."""
        ...


def full_text(reader: Reader) -> FullText | None:
    """The full-text search of a catalog's database, where it has one."""
    if reader.dialect == "sqlite":
        return _Fts5(reader)
    return _TsVector(reader) if reader.dialect == "postgresql" else None


def index_problem(location: Location, reader: Reader) -> str:
    """What FTS5 finds wrong between its index and the words; empty where nothing is, or nothing can be said.

    Asking it counts as writing, so that it is not asked where another process is at it,
    nor on a medium that takes no writing. Nothing is changed.
    """
    if reader.dialect != "sqlite":
        return ""
    connection = sqlite3.connect(
        f"{location.database.as_uri()}?mode=rw", uri=True, timeout=1, isolation_level=None
    )
    try:
        connection.execute("BEGIN IMMEDIATE")
        # With the rank, the words themselves are compared too, not only the index with itself.
        connection.execute("INSERT INTO image_fts (image_fts, rank) VALUES ('integrity-check', 1)")
    except sqlite3.OperationalError:
        return ""
    except sqlite3.DatabaseError as error:
        return str(error)
    finally:
        connection.close()
    return ""


class _Stems:
    """SQLite's own stemmer: an empty full-text table in memory, so that there is one stemmer, not two."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
        self._connection.execute(f"CREATE VIRTUAL TABLE text USING fts5(word, tokenize='{TOKENIZER}')")
        self._connection.execute("CREATE VIRTUAL TABLE stems USING fts5vocab(text, instance)")

    def of(self, token: str) -> str:
        with self._lock:
            self._connection.execute("INSERT INTO text (rowid, word) VALUES (1, ?)", (token,))
            rows = self._connection.execute("SELECT term FROM stems ORDER BY offset").fetchall()
            self._connection.execute("DELETE FROM text")
        return " ".join(row[0] for row in rows) or token


@lru_cache(1)
def _stems() -> _Stems:
    return _Stems()


@lru_cache(4096)
def _stem(token: str) -> str:
    return _stems().of(token)


def stem(word: Asked) -> str:
    """What all forms of a word have in common; a phrase has one form."""
    return _stem(word.tokens[0]) if len(word.tokens) == 1 else str(word)


class _Fts5:
    tiers: Tiers = (("{described told}", 0.9), ("{name seen}", 0.5))

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def total(self) -> int:
        # To count a million takes longer than all else that a query reads, so it is done once a change.
        version = int(self._reader.rows("PRAGMA data_version")[0][0])
        known = _totals.get(self._reader)
        if known is None or known[0] != version:
            found = int(self._reader.rows("SELECT COUNT(*) FROM images")[0][0])
            known = _totals[self._reader] = version, found
        return known[1]

    def counts(self, words: Sequence[tuple[Asked, str]]) -> list[int]:
        return [self._count(word, stemmed) for word, stemmed in words]

    def _count(self, word: Asked, stemmed: str) -> int:
        parts = stemmed.split()
        least = min(self._having(part) for part in parts)
        if len(parts) == 1 or not least:
            return least
        counted = self._reader.rows(
            "SELECT COUNT(*) FROM (SELECT 1 FROM image_fts WHERE image_fts MATCH :match LIMIT :most)",
            match=_quoted(word),
            most=COUNTED,
        )[0][0]
        return least if counted == COUNTED else int(counted)

    def _having(self, term: str) -> int:
        rows = self._reader.rows("SELECT doc FROM image_terms WHERE term = :term", term=term)
        return int(rows[0][0]) if rows else 0

    def having(
        self,
        words: Sequence[Asked],
        *,
        whole: bool = True,
        columns: str = "",
        span: tuple[int, int] | None = None,
        most: int | None = None,
    ) -> Ids:
        match = (" AND " if whole else " OR ").join(map(_quoted, words))
        sql = "SELECT rowid FROM image_fts WHERE image_fts MATCH :match"
        values: dict[str, Any] = {"match": f"{columns} : ({match})" if columns else match}
        if span is not None:
            sql += " AND rowid BETWEEN :low AND :high"
            values |= {"low": span[0], "high": span[1]}
        sql += " ORDER BY rowid"
        if most is not None:
            sql += " LIMIT :most"
            values["most"] = most
        return _ids(self._reader.rows(sql, **values))

    def words(self, image_ids: Sequence[int]) -> list[Row]:
        # A thousand ids as one parameter take two thirds of the time that they take as a thousand.
        return self._reader.rows(
            "SELECT image_id, name, described, told, seen FROM json_each(:ids) "
            "JOIN image_words ON image_id = value",
            ids=json.dumps(image_ids),
        )


def _quoted(word: Asked) -> str:
    """A string of FTS5, whose tokens have to follow each other; tokens hold no quotation marks."""
    return f'"{word}"'


class _TsVector:
    tiers: Tiers = (("", 0.7),)
    _MATCHES = (
        "to_tsvector('english', name || ' ' || described || ' ' || told || ' ' || seen) "
        "@@ phraseto_tsquery('english', :word{})"
    )

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def total(self) -> int:
        return int(self._reader.rows("SELECT COUNT(*) FROM images")[0][0])

    def counts(self, words: Sequence[tuple[Asked, str]]) -> list[int]:
        sql = f"SELECT COUNT(*) FROM image_words WHERE {self._MATCHES.format(0)}"
        return [int(self._reader.rows(sql, word0=str(word))[0][0]) for word, _ in words]

    def having(
        self,
        words: Sequence[Asked],
        *,
        whole: bool = True,
        columns: str = "",  # noqa: ARG002 - the index is over all of them
        span: tuple[int, int] | None = None,
        most: int | None = None,
    ) -> Ids:
        match = (" AND " if whole else " OR ").join(
            self._MATCHES.format(number) for number in range(len(words))
        )
        values: dict[str, Any] = {f"word{number}": str(word) for number, word in enumerate(words)}
        sql = f"SELECT image_id FROM image_words WHERE ({match})"
        if span is not None:
            sql += " AND image_id BETWEEN :low AND :high"
            values |= {"low": span[0], "high": span[1]}
        sql += " ORDER BY image_id"
        if most is not None:
            sql += " LIMIT :most"
            values["most"] = most
        return _ids(self._reader.rows(sql, **values))

    def words(self, image_ids: Sequence[int]) -> list[Row]:
        found: list[Row] = []
        for marks, values in chunks(image_ids):
            found += self._reader.rows(
                f"SELECT image_id, name, described, told, seen FROM image_words WHERE image_id IN ({marks})",
                **values,
            )
        return found


def _ids(rows: Sequence[tuple[Any, ...]]) -> Ids:
    import numpy as np

    return np.fromiter((row[0] for row in rows), np.int64, len(rows))
