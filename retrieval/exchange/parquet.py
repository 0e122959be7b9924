"""Parquet files, written plainly and read only as they were written.

An export may come from anybody. A few bytes of a Parquet file can stand for gigabytes, by
compression and by dictionaries; ours have neither, and a file that has is refused by what it says
of itself. What it does not say of itself is met by reading every text and every value of bytes
as a reference to one that is held once.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
from pyarrow import compute, parquet

from retrieval.exchange.tables import MOST_CELL, READABLE, Column, NotOurs, Row

GROUP = 8192
"""Rows that are written, and at most read, as one."""
AT_ONCE = 1024
MOST_FOOTER = 64 << 20
ENCODINGS = {"PLAIN", "RLE", "BIT_PACKED"}
TYPES = {
    "bytes": pa.binary(),
    "text": pa.string(),
    "json": pa.string(),
    "int": pa.int64(),
    "float": pa.float64(),
    "bool": pa.bool_(),
}


def write(path: Path, columns: Sequence[Column], rows: Iterable[Row]) -> int:
    """Write rows as they come; returns how many."""
    schema, count, rest = _schema(columns), 0, iter(rows)
    with parquet.ParquetWriter(
        path, schema, compression="NONE", use_dictionary=False, write_statistics=False
    ) as writer:
        while part := list(islice(rest, GROUP)):
            writer.write_table(pa.Table.from_pylist(part, schema=schema), row_group_size=GROUP)
            count += len(part)
    return count


class Reading:
    """A file of an export, of which nothing is read but what such a file may be."""

    def __init__(self, file: BinaryIO, columns: Sequence[Column], *, size: int) -> None:
        self._names = [column.name for column in columns]
        with translated():
            _check_footer(file, size)
            self._file = parquet.ParquetFile(
                file,
                read_dictionary=[c.name for c in columns if c.kind in ("bytes", "text", "json")],
                pre_buffer=False,
                thrift_string_size_limit=1 << 20,
                thrift_container_size_limit=1 << 20,
            )
            self._check(_schema(columns), size)
            self.rows: int = self._file.metadata.num_rows

    def __iter__(self) -> Iterator[Row]:
        with translated():
            for batch in self._file.iter_batches(AT_ONCE, columns=self._names, use_threads=False):
                values = [_values(batch.column(number)) for number in range(batch.num_columns)]
                names = batch.schema.names
                yield from (dict(zip(names, row, strict=True)) for row in zip(*values, strict=True))

    def _check(self, wanted: pa.Schema, size: int) -> None:
        found = self._file.metadata
        plain = self._file.schema
        if [plain.column(n).name for n in range(len(plain))] != wanted.names:
            raise NotOurs("has other columns than such a file")
        for name, kind in zip(wanted.names, wanted.types, strict=True):
            given = self._file.schema_arrow.field(name).type
            if (given.value_type if pa.types.is_dictionary(given) else given) != kind:
                raise NotOurs(f"has {given} in the column '{name}'")
        if not 0 <= found.num_rows <= size:
            raise NotOurs("says that it has more rows than bytes")
        for number in range(found.num_row_groups):
            group = found.row_group(number)
            if group.num_rows > GROUP:
                raise NotOurs("has too many rows in one group")
            for index in range(group.num_columns):
                column = group.column(index)
                if column.compression != "UNCOMPRESSED" or column.has_dictionary_page:
                    raise NotOurs("is compressed")
                if not set(column.encodings) <= ENCODINGS or column.total_uncompressed_size > size:
                    raise NotOurs("is not written plainly")


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """What the library says of a file that is none. That memory is short is such a file's doing too."""
    try:
        yield
    except NotOurs:
        raise
    except (pa.ArrowException, OSError, ValueError, KeyError, OverflowError, MemoryError) as error:
        raise NotOurs("is damaged, or no Parquet file") from error


def _check_footer(file: BinaryIO, size: int) -> None:
    """The end of a file says how long its description of itself is: it is read at once."""
    if size < 12:
        raise NotOurs("is damaged, or no Parquet file")
    file.seek(size - 8)
    end = file.read(8)
    if end[4:] != b"PAR1" or int.from_bytes(end[:4], "little") > min(size, MOST_FOOTER):
        raise NotOurs("is damaged, or no Parquet file")
    file.seek(0)


def _schema(columns: Sequence[Column]) -> pa.Schema:
    fields = []
    for column in columns:
        fields.append(pa.field(column.name, TYPES[column.kind], nullable=column.null))
        if column.is_path:
            fields.append(pa.field(column.name + READABLE, pa.string(), nullable=column.null))
    return pa.schema(fields)


def _values(column: pa.Array) -> list[Any]:
    if not pa.types.is_dictionary(column.type):
        return list(column.to_pylist())
    longest = compute.max(compute.binary_length(column.dictionary)).as_py() or 0
    if longest > MOST_CELL:
        raise NotOurs(f"has a value of {longest} bytes")
    known = column.dictionary.to_pylist()
    return [None if index is None else known[index] for index in column.indices.to_pylist()]
