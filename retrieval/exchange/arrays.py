"""Vectors as `.npy` files: float16 as they are stored, a row a picture or text."""

from __future__ import annotations

import tokenize
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from retrieval.exchange.tables import NotOurs

MOST_HEADER = 4096
AT_ONCE = 1024
LONGEST = 1.02
"""The length of a vector is one, give or take what float16 rounds."""


def write(path: Path, count: int, dim: int, rows: Iterable[bytes]) -> None:
    """Write `count` vectors as they come."""
    with open(path, "wb") as file:
        header = {"descr": "<f2", "fortran_order": False, "shape": (count, dim)}
        np.lib.format.write_array_header_1_0(file, header)
        for row in rows:
            file.write(row)


def read(file: BinaryIO, *, count: int, dim: int, size: int) -> Iterator[bytes]:
    """The vectors one by one; what a file says of itself is held against its size before it is believed."""
    file.seek(0)
    try:
        version = np.lib.format.read_magic(file)
        if version != (1, 0):
            raise ValueError(f"version {version}")
        shape, fortran, kind = np.lib.format.read_array_header_1_0(file, max_header_size=MOST_HEADER)
    except (
        *(ValueError, TypeError, SyntaxError, RecursionError, MemoryError, EOFError, OSError),
        tokenize.TokenError,  # NumPy reads a header that Python does not as an old one
    ) as error:
        raise NotOurs("is damaged, or no .npy file") from error
    if kind != np.dtype("<f2") or kind.hasobject or fortran or shape != (count, dim):
        raise NotOurs(f"holds {kind} in the shape {shape}, not float16 in {(count, dim)}")
    if size != file.tell() + 2 * count * dim:
        raise NotOurs("is cut off, or longer than it says")
    for start in range(0, count, AT_ONCE):
        wanted = min(AT_ONCE, count - start)
        data = file.read(2 * wanted * dim)
        if len(data) != 2 * wanted * dim:
            raise NotOurs("is cut off")
        vectors = np.frombuffer(data, "<f2").reshape(wanted, dim).astype(np.float32)
        if not np.isfinite(vectors).all():
            raise NotOurs("holds vectors that are no numbers")
        if (np.linalg.norm(vectors, axis=1) > LONGEST).any():
            raise NotOurs("holds vectors that are longer than one")
        for number in range(wanted):
            yield data[2 * dim * number : 2 * dim * (number + 1)]
