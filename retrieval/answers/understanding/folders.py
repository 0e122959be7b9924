"""A folder of the library by its own name: "the folder cars"."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from retrieval.db.file_names import folders_called

if TYPE_CHECKING:
    from retrieval.answers.shapes import Search
    from retrieval.state import State

MOST = 4


def with_known_folders(state: State, search: Search) -> list[Search]:
    """The search in each folder that is called so; where there is none, with the name among its words."""
    folder = search.where.folder
    if folder is None or os.sep in (name := os.fsdecode(folder)):
        return [search]
    with state.snapshot() as reader:
        found = folders_called(reader, name)
    if found:
        return [replace(search, where=replace(search.where, folder=one)) for one in found[:MOST]]
    words = " ".join(filter(None, [search.words, name]))
    return [replace(search, words=words, where=replace(search.where, folder=None))]
