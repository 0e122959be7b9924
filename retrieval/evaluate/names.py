"""Which picture of the catalog a name in an evaluation file means."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retrieval.evaluate.files import Name
from retrieval.types import path_fields

NAMED_AT_MOST = 5


@dataclass(frozen=True, slots=True)
class Found:
    """The pictures that names mean, and the names that mean none or several."""

    ids: Mapping[Name, int]
    unknown: tuple[str, ...]
    ambiguous: tuple[str, ...]

    def left_out(self) -> dict[str, Any]:
        return {
            key: {"count": len(names), "first": [path_fields(name)["path"] for name in names[:NAMED_AT_MOST]]}
            for key, names in (("not_indexed", self.unknown), ("ambiguous", self.ambiguous))
        }


def find(names: Iterable[Name], paths: Mapping[bytes, int], folders: Sequence[Path]) -> Found:
    """Look names up among the paths of indexed pictures.

    A name is a whole path, or a path from one of `folders`, or the end of one single path
    of the catalog: `a.jpg` or `trip/a.jpg`, but never the `a.jpg` of another folder.
    """
    starts = [start for folder in folders for start in (os.path.abspath(folder), os.path.realpath(folder))]
    by_file: defaultdict[bytes, list[bytes]] = defaultdict(list)
    for path in paths:
        by_file[os.path.basename(path)].append(path)
    ids: dict[Name, int] = {}
    unknown: list[str] = []
    ambiguous: list[str] = []
    for name in dict.fromkeys(names):
        meant = _meant(name, paths, starts, by_file)
        if len(meant) == 1:
            ids[name] = paths[meant[0]]
        else:
            (ambiguous if meant else unknown).append(name[0])
    return Found(ids, tuple(unknown), tuple(ambiguous))


def _meant(
    name: Name, paths: Mapping[bytes, int], starts: Sequence[str], by_file: Mapping[bytes, list[bytes]]
) -> list[bytes]:
    for spelling in name:
        for whole in (os.path.join(start, spelling) for start in starts):
            path = os.fsencode(os.path.normpath(whole))
            if path in paths:
                return [path]
        if os.path.isabs(spelling):
            real = os.fsencode(os.path.realpath(spelling))
            if real in paths:
                return [real]
    for spelling in name:
        end = os.fsencode(os.sep + os.path.normpath(spelling).lstrip(os.sep))
        if not os.path.isabs(spelling):
            meant = [path for path in by_file.get(os.path.basename(end), ()) if path.endswith(end)]
            if meant:
                return meant
    return []
