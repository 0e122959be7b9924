"""A folder of the library by its own name: "the folder cars"."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from retrieval.answers.shapes import Search
    from retrieval.db.reader import Reader
    from retrieval.state import State

MOST = 4


def with_known_folders(state: State, search: Search) -> list[Search]:
    """The search in each folder that is called so; where there is none, with the name among its words."""
    folder = search.where.folder
    if folder is None or os.sep in (name := os.fsdecode(folder)):
        return [search]
    with state.snapshot() as reader:
        found = _called(reader, name)
    if found:
        return [replace(search, where=replace(search.where, folder=one)) for one in found[:MOST]]
    words = " ".join(filter(None, [search.words, name]))
    return [replace(search, words=words, where=replace(search.where, folder=None))]


def _called(reader: Reader, name: str) -> list[str]:
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
