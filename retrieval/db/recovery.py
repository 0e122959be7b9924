"""Recovering a damaged catalog: whatever can be read of its file, written into a new one.

Rows are taken from the pages that each table's tree leads to, and from pages that no tree leads to
any more, which are told by the kinds of their values. What can be made again from pictures and
texts (words, vectors that fail their checksum) is not taken over. What a person said of a picture
whose own row is lost is set aside under the picture's content, which an index still tells.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from retrieval.config import Location
from retrieval.db import mending, reads, soundness
from retrieval.db.pages import TABLE_LEAF, Page, Pages, Tree, Unreadable, Value
from retrieval.db.queries import Writer
from retrieval.db.reader import HEAD, REVISIONS, open_reader
from retrieval.db.words_writes import rebuild_words

MADE_AGAIN = {"image_words", "alembic_version", "sqlite_sequence"}
"""Tables that are not taken over: made from others, or noted in the new file already."""
BATCH = 2000
PATHS, CONTENTS = "sqlite_autoindex_images_1", "ix_images_content_hash"
"""Indexes that tell of a picture whose row is lost."""
STAND_IN = "(lost)"


@dataclass(slots=True)
class Recovered:
    """What came of a recovery, by table."""

    rows: dict[str, int] = field(default_factory=dict)
    lost: dict[str, int] = field(default_factory=dict)
    """How many rows are lost at least, where that can be told."""
    revision: str = HEAD
    doubtful: bool = False
    """Whether rows that had been deleted may be among what was recovered."""

    def told(self) -> str:
        """How many rows there are of each table, and what is lost, in sentences."""
        rows = ", ".join(f"{table} {count}" for table, count in self.rows.items() if count)
        lost = ", ".join(f"{table} {count}" for table, count in self.lost.items() if count)
        parts = [f"What can be read of it is in a new file: {rows or 'nothing'}."]
        if lost:
            parts.append(f"At least these rows are lost: {lost}; those of pictures come back by indexing.")
        if self.doubtful:
            parts.append("Some that had been deleted before may be among them.")
        return " ".join(parts)


@dataclass(frozen=True, slots=True)
class _Table:
    """A table as it should be."""

    name: str
    columns: tuple[str, ...]
    kinds: tuple[tuple[type, ...], ...]
    """Of what kinds the values of each column are."""
    defaults: tuple[Value, ...]
    """Of the last columns, which rows that are older than they are do not have."""
    alias: int | None
    """The column that is the row's id, whose value is not kept beside the others."""

    def row(self, row_id: int, values: tuple[Value, ...]) -> tuple[Value, ...] | None:
        """The whole row; None for one that is none of this table."""
        missing = len(self.columns) - len(values)
        if not 0 <= missing <= len(self.defaults):
            return None
        whole = values + self.defaults[len(self.defaults) - missing :] if missing else values
        for place, (value, kinds) in enumerate(zip(whole, self.kinds, strict=True)):
            if place == self.alias:
                if value is not None or row_id < 1:
                    return None
            elif type(value) not in kinds or value != value:
                return None
        if self.alias is None:
            return whole
        return (*whole[: self.alias], row_id, *whole[self.alias + 1 :])


def recover(source: Path, folder: Path) -> Recovered:
    """Make a new catalog in an empty folder from a damaged file, and the log beside that.

    The damaged file is only read. What is in the new one is sound: vectors agree with their
    checksums and every row belongs to something, but for values that were changed to others of
    the same kind, which nothing can tell.
    """
    place = Location.parse(folder)
    with Pages(source) as pages:
        roots, indexes = _schema(pages)
        found = Recovered(revision=_revision(pages, roots.get("alembic_version")))
        _make(place, found.revision)
        with contextlib.closing(sqlite3.connect(place.database, isolation_level=None)) as new:
            new.execute("PRAGMA synchronous=OFF")
            new.execute("BEGIN")
            counts = {name: _entries(pages, of) for name, of in indexes.items()}
            _take(pages, roots, counts, new, found)
            lost_pictures = _stand_ins(pages, indexes.get("images", {}), new)
            new.execute("COMMIT")
    # From here on it is a catalog like any other, of this version.
    _mend(place, lost_pictures)
    with contextlib.closing(sqlite3.connect(place.database)) as new:
        for table, taken in found.rows.items():
            left = int(new.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0])
            found.lost[table] = max(0, found.lost[table] + taken - left)
            found.rows[table] = left
    return found


def _make(place: Location, revision: str) -> None:
    """An empty catalog of a revision."""
    from alembic import command
    from alembic.config import Config

    from retrieval.db.engine import open_engine
    from retrieval.db.migrate import scripts

    config = Config()
    config.set_main_option("script_location", str(scripts()).replace("%", "%%"))
    place.folder.mkdir(parents=True, exist_ok=True)
    engine = open_engine(place)
    try:
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
    finally:
        engine.dispose()


def _schema(pages: Pages) -> tuple[dict[str, int], dict[str, dict[str, int]]]:
    """Where tables begin, and where the indexes of each do, as far as that can be read."""
    roots: dict[str, int] = {}
    indexes: dict[str, dict[str, int]] = {}
    for page in pages.tree(1, table=True, met=Tree()):
        for _, values in page.rows:
            if len(values) != 5:
                continue
            kind, name, table, root, _ = values
            if isinstance(name, str) and isinstance(table, str) and isinstance(root, int) and root > 0:
                if kind == "table":
                    roots[name] = root
                elif kind == "index":
                    indexes.setdefault(table, {})[name] = root
    return roots, indexes


def _revision(pages: Pages, root: int | None) -> str:
    """The schema's revision; the newest where it cannot be read."""
    for page in pages.tree(root or 0, table=True, met=Tree()):
        for _, values in page.rows:
            if len(values) == 1 and values[0] in REVISIONS:
                return str(values[0])
    return HEAD


def _entries(pages: Pages, roots: Mapping[str, int]) -> int:
    """How many rows a table has had, as the fullest of its indexes tells."""
    return max(
        (
            sum(len(page.rows) for page in pages.tree(root, table=False, met=Tree()))
            for root in roots.values()
        ),
        default=0,
    )


def _take(
    pages: Pages,
    roots: Mapping[str, int],
    counts: Mapping[str, int],
    new: sqlite3.Connection,
    found: Recovered,
) -> None:
    """Copy rows: of every table those that its tree leads to, and then those of stray pages."""
    tables = _tables(new)
    met: set[int] = set()
    doubtful: set[str] = set()
    for table in tables.values():
        tree = Tree()
        root = roots.get(table.name)
        strange: set[int] = set()
        if root is not None:
            _insert(new, table, _rows_of(pages.tree(root, table=True, met=tree), table, strange))
        met |= tree.pages - strange
        count = _count(new, table)
        if root is None or tree.broken or strange or count < counts.get(table.name, 0):
            doubtful.add(table.name)
    strays = _strays(pages, met, tables.values())
    for name, rows in strays:
        # What is free holds rows that were deleted. Where it is not known what is free, only tables
        # that lack some get any from there.
        if pages.free_known or name in doubtful:
            before = new.total_changes
            _insert(new, tables[name], rows)
            found.doubtful |= not pages.free_known and new.total_changes > before
    for table in tables.values():
        count = _count(new, table)
        found.rows[table.name] = count
        found.lost[table.name] = max(0, counts.get(table.name, 0) - count)
    last = _last_id(pages, roots, new)
    new.execute("DELETE FROM sqlite_sequence WHERE name = 'images'")
    new.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('images', ?)", (last,))


def _tables(new: sqlite3.Connection) -> dict[str, _Table]:
    """The tables of an empty catalog that are filled from the old one."""
    names = [
        str(name)
        for (name,) in new.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND rootpage > 0")
        if name not in MADE_AGAIN and not str(name).startswith("image_fts")
    ]
    return {name: _table(new, name) for name in names}


def _table(new: sqlite3.Connection, name: str) -> _Table:
    columns = new.execute(f"PRAGMA table_info({name})").fetchall()
    keys = [column for column in columns if column[5]]
    alias = keys[0][0] if len(keys) == 1 and keys[0][2].upper() == "INTEGER" else None
    kinds = []
    defaults: list[Value] = []
    for _, _, declared, required, default, key in columns:
        kinds.append((*_kinds(declared), *(() if required or key else (type(None),))))
        if key or (required and default is None):
            defaults.clear()
        else:
            defaults.append(None if default is None else new.execute(f"SELECT {default}").fetchone()[0])
    if defaults:
        # A default of a number is written down as a text.
        numbers = [_kinds(column[2])[0] is int for column in columns[-len(defaults) :]]
        defaults = [
            int(value) if number and isinstance(value, str) else value
            for number, value in zip(numbers, defaults, strict=True)
        ]
    return _Table(name, tuple(column[1] for column in columns), tuple(kinds), tuple(defaults), alias)


def _kinds(declared: str) -> tuple[type, ...]:
    """What SQLite keeps in a column of a declared type, when it is given what belongs there."""
    declared = declared.upper()
    if declared.startswith(("INT", "BIGINT", "BOOL", "SMALLINT")):
        return (int,)
    if declared.startswith(("FLOAT", "REAL", "DOUBLE")):
        return float, int  # a number without a fraction is kept as a whole one
    return (bytes,) if declared.startswith("BLOB") else (str,)


def _rows_of(pages: Iterable[Page], table: _Table, strange: set[int]) -> Iterator[tuple[Value, ...]]:
    """The rows of a table; the numbers of pages that hold none, but others, go into `strange`."""
    for page in pages:
        rows = [row for row_id, values in page.rows if (row := table.row(row_id, values)) is not None]
        if page.lost or len(rows) < len(page.rows):
            strange.add(page.number)
        yield from rows


def _strays(
    pages: Pages, met: set[int], tables: Iterable[_Table]
) -> Iterator[tuple[str, list[tuple[Value, ...]]]]:
    """Pages of rows that no tree leads to: each with the table whose rows they could be."""
    tables = list(tables)
    for number in range(2, pages.told + 1):
        if number in met or number in pages.free:
            continue
        data = pages.raw(number)
        if data is None or data[0] != TABLE_LEAF:
            continue
        try:
            page = pages.page(number)
        except Unreadable:
            continue
        fitting = Counter(
            table.name for table in tables for row in page.rows if table.row(*row) is not None
        ).most_common(1)
        for name, _ in fitting:
            table = next(table for table in tables if table.name == name)
            yield name, [row for each in page.rows if (row := table.row(*each)) is not None]


def _insert(new: sqlite3.Connection, table: _Table, rows: Iterable[tuple[Value, ...]]) -> None:
    marks = ", ".join("?" * len(table.columns))
    # Of what is there twice the first stays: trees come before stray pages.
    new.executemany(f"INSERT OR IGNORE INTO {table.name} VALUES ({marks})", rows)


def _count(new: sqlite3.Connection, table: _Table) -> int:
    return int(new.execute(f"SELECT COUNT(*) FROM {table.name}").fetchone()[0])


def _last_id(pages: Pages, roots: Mapping[str, int], new: sqlite3.Connection) -> int:
    """The highest id that a picture has had, so that none is given twice."""
    noted = [0]
    for page in pages.tree(roots.get("sqlite_sequence", 0), table=True, met=Tree()):
        noted += [
            values[1]
            for _, values in page.rows
            if len(values) == 2 and values[0] == "images" and isinstance(values[1], int)
        ]
    used = [
        new.execute(f"SELECT MAX({column}) FROM {table}").fetchone()[0] or 0
        for table, column in (("images", "id"), ("embeddings", "image_id"), ("texts", "image_id"))
    ]
    return max(number for number in (*noted, *used) if number < 1 << 62)


def _stand_ins(pages: Pages, indexes: Mapping[str, int], new: sqlite3.Connection) -> list[int]:
    """Rows for pictures that only indexes still know, good for nothing but to be taken out again."""
    known = {int(row[0]) for row in new.execute("SELECT id FROM images")}

    def told(index: str) -> dict[int, bytes]:
        found: dict[int, bytes] = {}
        for page in pages.tree(indexes.get(index, 0), table=False, met=Tree()):
            for _, values in page.rows:
                told_of, image_id = values if len(values) == 2 else (None, None)
                if isinstance(told_of, bytes) and isinstance(image_id, int) and image_id > 0:
                    found[image_id] = told_of
        return found

    contents, paths = told(CONTENTS), told(PATHS)
    lost = []
    for image_id, content in contents.items():
        if image_id in known:
            continue
        path = paths.get(image_id, f"{STAND_IN} {image_id}".encode())
        done = new.execute(
            "INSERT OR IGNORE INTO images (id, path, size, mtime_ns, content_hash, missing_at, indexed_at, "
            "format, width, height, keywords) VALUES (?, ?, 0, 0, ?, 0, 0, '', 0, 0, '[]')",
            (image_id, path, content),
        )
        lost += [image_id] * done.rowcount
    return lost


def _mend(place: Location, lost_pictures: Sequence[int]) -> None:
    """Bring what was recovered into a state that a catalog can be in."""
    with Writer(place) as writer:
        mending.drop_pictures(writer, lost_pictures)
        mending.drop_orphans(writer)
        with contextlib.closing(open_reader(place)) as reader:
            images = soundness.broken_vectors(reader, reads.vectors)
            texts = soundness.broken_vectors(reader, reads.text_vectors)
            examples = soundness.broken_examples(reader)
        mending.drop_vectors(writer, images, texts)
        mending.drop_example_vectors(writer, examples)
        mending.catch_up(writer)
        rebuild_words(writer)
        with contextlib.closing(open_reader(place)) as reader:
            active = soundness.right_active(reader)
        if active is not None:
            writer.activate(active)
        writer.compact()
