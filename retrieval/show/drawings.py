"""Writing drawings to files: whole or not at all, and never over what somebody else made."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from retrieval.errors import RetrievalError
from retrieval.flushing import flush_folder
from retrieval.show.table import safe_name

SIGNATURES = (b"\x89PNG\r\n", b"<?xml", b"%PDF-")
LOOKED_AT = 4096
"""A maker stands near the start of a file, or near its end in a PDF."""


def check_replaceable(destination: Path, maker: str, option: str) -> None:
    """Refuse a file that is there and does not name this maker: it is somebody else's."""
    target, shown = Path(os.path.realpath(destination)), safe_name(str(destination))
    try:
        foreign = target.exists() and not (target.is_file() and _names(target, maker.encode()))
    except OSError as error:
        raise _unwritable(shown, option, error) from error
    if foreign:
        raise RetrievalError(
            f"{shown} exists and is no drawing of this program, so it was left as it is. "
            f"Name another file with {option}."
        )


def write_drawing(save: Callable[[BinaryIO], None], destination: Path, maker: str, option: str) -> None:
    """Let `save` write a drawing that names its maker; only a drawing of the same maker is replaced."""
    check_replaceable(destination, maker, option)
    target = Path(os.path.realpath(destination))
    temporary = target.with_name(f".drawing-{secrets.token_hex(6)}.tmp")
    try:
        with temporary.open("xb") as stream:
            save(stream)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(target)
        flush_folder(target.parent)
    except OSError as error:
        raise _unwritable(safe_name(str(destination)), option, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def _names(file: Path, maker: bytes) -> bool:
    with file.open("rb") as stream:
        start = stream.read(LOOKED_AT)
        stream.seek(max(0, file.stat().st_size - LOOKED_AT))
        return start.startswith(SIGNATURES) and (maker in start or maker in stream.read(LOOKED_AT))


def _unwritable(shown: str, option: str, error: OSError) -> RetrievalError:
    return RetrievalError(
        f"The drawing could not be written to {shown}: {error.strerror or error}. "
        f"Name another file with {option}."
    )
