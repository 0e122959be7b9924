"""What is read from a catalog, as functions over a `Reader`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from retrieval.db.reader import Reader, Row, chunks
from retrieval.errors import TRANSIENT_REASONS
from retrieval.types import under

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class EncoderInfo:
    """An encoder as the catalog remembers it; see `schema.Encoder`."""

    id: int
    key: str
    spec: str
    dim: int
    generation: int
    epoch: int
    state: str
    created_at: float
    active: bool
    text_generation: int
    text_epoch: int

    @property
    def cache_key(self) -> str:
        """Names this encoder of this catalog: a cache copied from another one never fits."""
        return f"{self.key}@{self.created_at!r}"

    @property
    def text_cache_key(self) -> str:
        return f"{self.cache_key}#texts"


class FileRow(NamedTuple):
    """What change detection compares: a known file as it was when last indexed."""

    id: int
    path: bytes
    size: int
    mtime_ns: int
    content_hash: bytes
    missing: bool


@dataclass(frozen=True, slots=True)
class Shown:
    """What a hit shows of its picture."""

    path: bytes
    taken_at: str | None
    taken_offset: int | None
    taken_source: str | None
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class StoredText:
    """A text of the catalog, and the picture it is tied to, if any."""

    id: int
    text: str
    source: str
    image_id: int | None


MISSING = "missing_at > 0"
"""The same as that it is not NULL, written so that SQLite takes its index."""
ENCODER = (
    "SELECT id, key, spec, dim, generation, epoch, state, created_at, active, text_generation, text_epoch "
    "FROM encoders"
)


def showing(row: str) -> str:
    """SQL for the picture that has the `content_hash` of a row; of several copies, the one at its `path`."""
    same = f"FROM images j WHERE j.content_hash = {row}.content_hash"
    return (
        f"COALESCE((SELECT j.id {same} AND j.path = {row}.path AND j.missing_at IS NULL), "
        f"(SELECT MIN(j.id) {same} AND j.missing_at IS NULL), (SELECT MIN(j.id) {same}))"
    )


def encoders(reader: Reader) -> list[EncoderInfo]:
    return [_encoder(row) for row in reader.rows(f"{ENCODER} ORDER BY id")]


def active_encoder(reader: Reader) -> EncoderInfo | None:
    rows = reader.rows(f"{ENCODER} WHERE active")
    return _encoder(rows[0]) if rows else None


def _encoder(row: Row) -> EncoderInfo:
    return EncoderInfo(*(*row[:8], bool(row[8]), *row[9:]))


def embedded_counts(reader: Reader) -> dict[int, int]:
    """How many visible pictures each encoder has vectors of.

    All of them less the missing ones: both are counted in indexes, and no row is looked up.
    """
    rows = reader.rows("SELECT encoder_id, COUNT(*) FROM embeddings GROUP BY encoder_id")
    gone = reader.rows(
        "SELECT e.encoder_id, COUNT(*) FROM images i CROSS JOIN embeddings e "
        f"WHERE e.image_id = i.id AND i.{MISSING} GROUP BY e.encoder_id"
    )
    less = {int(encoder_id): int(count) for encoder_id, count in gone}
    left = {int(encoder_id): int(count) - less.get(int(encoder_id), 0) for encoder_id, count in rows}
    return {encoder_id: count for encoder_id, count in left.items() if count}


def embedding_count(reader: Reader, encoder_id: int) -> int:
    """How many vectors an encoder has, of hidden pictures too: what a cache must hold."""
    return _count(reader, "SELECT COUNT(*) FROM embeddings WHERE encoder_id = :e", e=encoder_id)


def text_embedding_count(reader: Reader, encoder_id: int) -> int:
    return _count(reader, "SELECT COUNT(*) FROM text_embeddings WHERE encoder_id = :e", e=encoder_id)


def texts_waiting(reader: Reader, encoder_id: int) -> int:
    """How many texts an encoder has no vector of: two counts, since there is no vector without a text."""
    rows = reader.rows(
        "SELECT (SELECT COUNT(*) FROM texts) - (SELECT COUNT(*) FROM text_embeddings WHERE encoder_id = :e)",
        e=encoder_id,
    )
    return max(0, int(rows[0][0]))


def has_sidecars(reader: Reader, root: bytes) -> bool:
    """Whether there is a text in the catalog that lay beside a picture of a folder."""
    low, high = under(root)
    sql = "SELECT 1 FROM texts WHERE origin >= :low AND origin < :high AND source = 'sidecar' LIMIT 1"
    return bool(reader.rows(sql, low=low, high=high))


def counts(reader: Reader) -> dict[str, int]:
    return {
        "images": _count(reader, "SELECT COUNT(*) FROM images WHERE missing_at IS NULL"),
        "missing": _count(reader, f"SELECT COUNT(*) FROM images WHERE {MISSING}"),
        "failures": _count(reader, "SELECT COUNT(*) FROM failures"),
        "texts": _count(reader, "SELECT COUNT(*) FROM texts"),
    }


def _count(reader: Reader, sql: str, **parameters: Any) -> int:
    return int(reader.rows(sql, **parameters)[0][0])


def roots(reader: Reader) -> list[bytes]:
    return [bytes(row[0]) for row in reader.rows("SELECT path FROM roots ORDER BY path")]


def count_under(reader: Reader, folder: bytes) -> int:
    low, high = under(folder)
    below = "path >= :low AND path < :high"
    return _count(
        reader,
        f"SELECT (SELECT COUNT(*) FROM images WHERE {below}) - "
        f"(SELECT COUNT(CASE WHEN {below} THEN 1 END) FROM images WHERE {MISSING})",
        low=low,
        high=high,
    )


def last_under(reader: Reader, folder: bytes) -> float | None:
    """When a picture of this folder was last added or updated, in seconds since 1970."""
    low, high = under(folder)
    rows = reader.rows(
        "SELECT MAX(indexed_at) FROM images WHERE path >= :low AND path < :high AND missing_at IS NULL",
        low=low,
        high=high,
    )
    found: float | None = next(iter(rows))[0]
    return found


def failures(reader: Reader) -> list[tuple[bytes, str, str]]:
    rows = reader.rows("SELECT path, reason, detail FROM failures ORDER BY path")
    return [(bytes(path), reason, detail) for path, reason, detail in rows]


def standing_failures(reader: Reader) -> set[bytes]:
    """Files that are not tried again until they change."""
    marks, parameters = next(chunks(TRANSIENT_REASONS))
    rows = reader.rows(f"SELECT path FROM failures WHERE reason NOT IN ({marks})", **parameters)
    return {bytes(row[0]) for row in rows}


def failed_files(reader: Reader, folder: bytes) -> dict[bytes, tuple[int, int, str]]:
    """Known-bad files inside a folder: size, time and reason."""
    low, high = under(folder)
    rows = reader.rows(
        "SELECT path, size, mtime_ns, reason FROM failures WHERE path >= :low AND path < :high",
        low=low,
        high=high,
    )
    return {bytes(path): (size, mtime_ns, reason) for path, size, mtime_ns, reason in rows}


FILE = "SELECT id, path, size, mtime_ns, content_hash, missing_at IS NOT NULL FROM images"


def files_within(reader: Reader, folders: Iterable[bytes]) -> Iterator[FileRow]:
    """The files inside any of some folders, each once, in the order of their paths."""
    end = b""
    for low, high in sorted(map(under, folders)):
        if low >= end:  # else it lies inside one that was gone through
            end = high
            within = f"{FILE} WHERE path >= :low AND path < :high ORDER BY path"
            yield from map(_file, reader.stream(within, low=low, high=high))


def file_at(reader: Reader, path: bytes) -> FileRow | None:
    rows = reader.rows(f"{FILE} WHERE path = :path", path=path)
    return _file(rows[0]) if rows else None


def _file(row: Row) -> FileRow:
    return FileRow(int(row[0]), bytes(row[1]), int(row[2]), int(row[3]), bytes(row[4]), bool(row[5]))


def unembedded(reader: Reader, encoder_id: int) -> list[FileRow]:
    """Visible pictures that an encoder has no vector of."""
    rows = reader.rows(
        f"{FILE} WHERE missing_at IS NULL AND NOT EXISTS "
        "(SELECT 1 FROM embeddings e WHERE e.image_id = images.id AND e.encoder_id = :e) ORDER BY id",
        e=encoder_id,
    )
    return [_file(row) for row in rows]


def count_unembedded(reader: Reader, encoder_id: int, *, standing: bool = True) -> int:
    """How many visible pictures an encoder has no vector of; `standing` failures count, or are left out."""
    marks, parameters = next(chunks(TRANSIENT_REASONS))
    left_out = f"SELECT path FROM failures WHERE reason NOT IN ({marks})"
    return _count(
        reader,
        "SELECT COUNT(*) FROM images WHERE missing_at IS NULL AND NOT EXISTS "
        "(SELECT 1 FROM embeddings e WHERE e.image_id = images.id AND e.encoder_id = :e)"
        + ("" if standing else f" AND path NOT IN ({left_out})"),
        e=encoder_id,
        **({} if standing else parameters),
    )


def unread(reader: Reader, read_by: str) -> list[FileRow]:
    """Visible pictures whose text that reader has not read."""
    rows = reader.rows(
        f"{FILE} WHERE missing_at IS NULL AND (ocr IS NULL OR ocr <> :ocr) ORDER BY id", ocr=read_by
    )
    return [_file(row) for row in rows]


def files_of_sizes(reader: Reader, encoder_id: int, sizes: Sequence[int]) -> list[tuple[FileRow, bool]]:
    """Files of the given sizes, each with whether an encoder has a vector of it."""
    found: list[tuple[FileRow, bool]] = []
    for marks, parameters in chunks(sizes):
        rows = reader.rows(
            "SELECT i.id, i.path, i.size, i.mtime_ns, i.content_hash, i.missing_at IS NOT NULL, "
            "e.image_id IS NOT NULL FROM images i "
            "LEFT JOIN embeddings e ON e.image_id = i.id AND e.encoder_id = :e "
            f"WHERE i.size IN ({marks}) ORDER BY i.id",
            e=encoder_id,
            **parameters,
        )
        found.extend((_file(row), bool(row[6])) for row in rows)
    return found


def has_generation(reader: Reader, encoder_id: int, generation: int) -> bool:
    """Whether the rows still hold vectors of that generation: a cache of another history fits none."""
    return _has_generation(reader, "embeddings", encoder_id, generation)


def has_text_generation(reader: Reader, encoder_id: int, generation: int) -> bool:
    return _has_generation(reader, "text_embeddings", encoder_id, generation)


def _has_generation(reader: Reader, table: str, encoder_id: int, generation: int) -> bool:
    sql = f"SELECT 1 FROM {table} WHERE encoder_id = :e AND generation = :g LIMIT 1"
    return bool(reader.rows(sql, e=encoder_id, g=generation))


def hidden_ids(reader: Reader) -> list[int]:
    return [int(row[0]) for row in reader.rows("SELECT id FROM images WHERE missing_at IS NOT NULL")]


def shown(reader: Reader, image_ids: Sequence[int]) -> dict[int, Shown]:
    found: dict[int, Shown] = {}
    for marks, parameters in chunks(image_ids):
        rows = reader.rows(
            "SELECT id, path, taken_at, taken_offset, taken_source, width, height "
            f"FROM images WHERE id IN ({marks})",
            **parameters,
        )
        for image_id, path, *rest in rows:
            found[int(image_id)] = Shown(bytes(path), *rest)
    return found


def vectors(
    reader: Reader, encoder_id: int, *, after: int = 0
) -> Iterator[tuple[int, bytes, bytes, int, int]]:
    """Image id, vector, second-stage bytes, checksum and generation of every vector newer than `after`."""
    for image_id, vector, aux, checksum, generation in reader.stream(
        "SELECT image_id, vector, aux, checksum, generation FROM embeddings "
        "WHERE encoder_id = :e AND generation > :g ORDER BY image_id",
        e=encoder_id,
        g=after,
    ):
        yield int(image_id), bytes(vector), bytes(aux), int(checksum), int(generation)


def vector_stamps(reader: Reader, encoder_id: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The ids of the pictures that have a vector, in order, and the generation of each."""
    return _stamps(
        reader,
        "SELECT image_id, generation FROM embeddings WHERE encoder_id = :e ORDER BY image_id",
        encoder_id,
    )


def text_stamps(reader: Reader, encoder_id: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The same of the texts that have one."""
    return _stamps(
        reader,
        "SELECT text_id, generation FROM text_embeddings WHERE encoder_id = :e ORDER BY text_id",
        encoder_id,
    )


def _stamps(reader: Reader, sql: str, encoder_id: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    from array import array

    import numpy as np

    ids, generations = array("q"), array("q")
    for row_id, generation in reader.stream(sql, e=encoder_id):
        ids.append(row_id)
        generations.append(generation)
    return np.frombuffer(ids, np.int64), np.frombuffer(generations, np.int64)


def text_vectors(
    reader: Reader, encoder_id: int, *, after: int = 0
) -> Iterator[tuple[int, bytes, bytes, int, int]]:
    """The same of every text's vector; nothing stands beside it."""
    for text_id, vector, checksum, generation in reader.stream(
        "SELECT text_id, vector, checksum, generation FROM text_embeddings "
        "WHERE encoder_id = :e AND generation > :g ORDER BY text_id",
        e=encoder_id,
        g=after,
    ):
        yield int(text_id), bytes(vector), b"", int(checksum), int(generation)


def content_hashes(reader: Reader, image_ids: Sequence[int]) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    for marks, parameters in chunks(image_ids):
        rows = reader.rows(f"SELECT id, content_hash FROM images WHERE id IN ({marks})", **parameters)
        found.update((int(image_id), bytes(content_hash)) for image_id, content_hash in rows)
    return found


def texts_by_id(reader: Reader, text_ids: Sequence[int]) -> dict[int, StoredText]:
    """The texts, but for those of pictures that are missing."""
    found: dict[int, StoredText] = {}
    for marks, parameters in chunks(text_ids):
        rows = reader.rows(
            f"SELECT id, text, source, image_id FROM texts WHERE id IN ({marks})", **parameters
        )
        found.update((int(row[0]), StoredText(*row)) for row in rows)
    return found


def tied_images(reader: Reader, text_ids: Sequence[int]) -> dict[int, int]:
    """The picture that each text is tied to, for those that are tied to one."""
    found: dict[int, int] = {}
    for marks, parameters in chunks(text_ids):
        rows = reader.rows(
            f"SELECT id, image_id FROM texts WHERE image_id IS NOT NULL AND id IN ({marks})", **parameters
        )
        found.update((int(text_id), int(image_id)) for text_id, image_id in rows)
    return found


def texts_of(reader: Reader, image_ids: Sequence[int]) -> list[tuple[int, int]]:
    """The texts that are tied to any of the pictures: text id, image id."""
    return [
        (int(text_id), int(image_id))
        for marks, parameters in chunks(image_ids)
        for text_id, image_id in reader.rows(
            f"SELECT id, image_id FROM texts WHERE image_id IN ({marks})", **parameters
        )
    ]


def texts_with_source(reader: Reader, image_ids: Sequence[int]) -> list[tuple[int, int, str]]:
    """The same with where each text comes from."""
    return [
        (int(text_id), int(image_id), str(source))
        for marks, parameters in chunks(image_ids)
        for text_id, image_id, source in reader.rows(
            f"SELECT id, image_id, source FROM texts WHERE image_id IN ({marks})", **parameters
        )
    ]
