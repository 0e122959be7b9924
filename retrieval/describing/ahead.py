"""Pictures for a captioner, read while it works on those before."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from retrieval.describing.sights import opened
from retrieval.errors import ImageError
from retrieval.images import read_file

if TYPE_CHECKING:
    from PIL import Image

    from retrieval.db.reads import FileRow

    Found: TypeAlias = "Image.Image | Passed"
    Read = Callable[[FileRow], Found]
    Batch = list[tuple[FileRow, Found | None]]

READERS = 2


@dataclass(frozen=True, slots=True)
class Passed:
    """Why a picture cannot be looked at now."""

    why: str


def read_indexed(row: FileRow) -> Found:
    """The picture that was indexed; a file that has become another one says nothing of it."""
    try:
        data = read_file(row.path).data
        if hashlib.sha256(data).digest() != row.content_hash:
            return Passed("it has changed since it was indexed. Bring the catalog up to date: search index")
        return opened(data, name=os.fsdecode(row.path))
    except ImageError as error:
        return Passed(str(error))


class Ahead:
    """Batches of pictures, the next one being read meanwhile; a context manager.

    Without `read` nothing is opened: for a captioner that does not look.
    """

    def __init__(self, rows: Sequence[FileRow], size: int, *, read: Read | None) -> None:
        self._parts = [rows[start : start + size] for start in range(0, len(rows), size)]
        self._read = read
        self._pool = ThreadPoolExecutor(READERS, thread_name_prefix="describe-read")

    def __enter__(self) -> Iterator[Batch]:
        return self._batches()

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def _batches(self) -> Iterator[Batch]:
        coming = self._asked(0)
        for number, part in enumerate(self._parts):
            now, coming = coming, self._asked(number + 1)
            yield [(row, None if one is None else one.result()) for row, one in zip(part, now, strict=True)]

    def _asked(self, number: int) -> list[Future[Found] | None]:
        rows = self._parts[number] if number < len(self._parts) else ()
        return [None if self._read is None else self._pool.submit(self._read, row) for row in rows]
