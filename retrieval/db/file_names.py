"""Pictures and folders by their very names: what cameras call a picture says nothing else of it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from retrieval.db.reader import chunks

if TYPE_CHECKING:
    from retrieval.db.reader import Reader

SURE = 0.95
"""How likely a picture is meant whose file has exactly the name that was asked for."""
_LOOKS_LIKE_ONE = re.compile(r"\S*\d{3}\S*|.*\S\.[A-Za-z][A-Za-z0-9]{1,4}", re.DOTALL)
"""A word with a number in it, or anything with an ending: worth a look at every name."""


def asked_name(text: str) -> str | None:
    """The name that a question may be, in the form that `called` compares; None for other questions."""
    name = text.strip().casefold()
    return name if _LOOKS_LIKE_ONE.fullmatch(name) and os.sep not in name else None


def called(reader: Reader, text: str, ids: Iterable[int] | None = None) -> list[int]:
    """The pictures, of `ids` or of all that may be seen, whose file is called that, ending or not."""
    name = asked_name(text)
    if name is None:
        return []
    if ids is None:
        rows = reader.rows("SELECT id, path FROM images WHERE missing_at IS NULL")
        return [int(key) for key, path in rows if _is(bytes(path), name)]
    found: list[int] = []
    for marks, parameters in chunks(list(ids)):
        rows = reader.rows(f"SELECT id, path FROM images WHERE id IN ({marks})", **parameters)
        found += [int(key) for key, path in rows if _is(bytes(path), name)]
    return found


def folders_called(reader: Reader, name: str) -> list[str]:
    """The folders of pictures, themselves or above them, that have that name."""
    wanted = name.casefold()
    rows = reader.rows("SELECT path FROM images WHERE missing_at IS NULL")
    found: set[str] = set()
    for folder in {os.path.dirname(bytes(path)) for (path,) in rows}:
        while len(folder) > 1:
            if os.fsdecode(os.path.basename(folder)).casefold() == wanted:
                found.add(os.fsdecode(folder))
                break  # what lies in it is in it
            folder = os.path.dirname(folder)
    return sorted(found)


def _is(path: bytes, name: str) -> bool:
    own = os.fsdecode(os.path.basename(path)).casefold()
    return own == name or os.path.splitext(own)[0] == name
