"""Pictures for a captioner, read while it works on those before."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from retrieval.errors import ImageError
from retrieval.images import load_image, read_file, thumbnail

if TYPE_CHECKING:
    from PIL import Image

    from retrieval.db.reads import FileRow

    Read = Callable[[FileRow], "Image.Image | Passed"]
    Batch = list[tuple[FileRow, "Image.Image | Passed | None"]]

READERS = 2
SIDE = 1536
"""The longer side that a captioner gets at most: more than any of them looks at."""


@dataclass(frozen=True, slots=True)
class Passed:
    """Why a picture cannot be looked at now."""

    why: str


def read_indexed(row: FileRow) -> Image.Image | Passed:
    """The picture that was indexed; a file that has become another one says nothing of it."""
    try:
        data = read_file(row.path).data
        if hashlib.sha256(data).digest() != row.content_hash:
            return Passed("it has changed since it was indexed. Bring the catalog up to date: search index")
        return thumbnail(load_image(data, name=os.fsdecode(row.path), wanted=_enough), SIDE)
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

    def _asked(self, number: int) -> list[Future[Any] | None]:
        rows = self._parts[number] if number < len(self._parts) else ()
        return [None if self._read is None else self._pool.submit(self._read, row) for row in rows]


def _enough(width: int, height: int) -> tuple[int, int]:
    scale = min(1.0, SIDE / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))
