"""Whether what is missing was deleted, or only cannot be seen.

Where it is more than half of a folder, that is for a person to say.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from indexer.changes import Spans, unknown
from retrieval.db import reads
from retrieval.types import under

if TYPE_CHECKING:
    from indexer.changes import Changes
    from indexer.scan import Scan
    from retrieval.db.reader import Reader
    from retrieval.db.reads import FileRow


@dataclass(frozen=True, slots=True)
class Share:
    """A folder that was indexed, and how many of its pictures this run can judge."""

    root: bytes
    pictures: int


@dataclass(slots=True)
class Guard:
    """Holds back what would hide more than half of a folder."""

    shares: Sequence[Share] = ()
    held: int = 0
    """How many pictures it held back."""
    notes: list[str] = field(default_factory=list)
    _held: list[tuple[bytes, bytes]] = field(default_factory=list)

    def holds(self, path: bytes) -> bool:
        """Whether a path lies in a folder that lost too much."""
        return any(low <= path < high for low, high in self._held)

    def sort_out(self, lost: Sequence[FileRow]) -> list[FileRow]:
        """Those that may be hidden. To be asked once it is known what has only moved.

        A picture that is there and was passed over, as by a `.searchignore` file, is hidden as asked.
        """
        absent = [row for row in lost if not os.path.lexists(row.path)] if self.shares else []
        for share in self.shares:
            low, high = under(share.root)
            count = sum(low <= row.path < high for row in absent)
            if self.holds(share.root) or not too_many(count, share.pictures):
                continue
            self._held.append((low, high))
            name = os.fsdecode(share.root)
            self.notes.append(
                f"{count} of the {share.pictures} pictures of {name} are not there any more. They stay as "
                "they are, in case a disk is away. If they are gone for good: "
                f"search index {shlex.quote(name)} --accept-missing"
            )
        held = {row.id for row in absent if self.holds(row.path)}
        self.held += len(held)
        return [row for row in lost if row.id not in held]


def too_many(count: int, pictures: int) -> bool:
    # One picture that was replaced by another is no disk that went.
    return count > 1 and 2 * count > pictures


def guard(
    reader: Reader | None,
    changes: Changes,
    scan: Scan,
    roots: Sequence[bytes],
    *,
    left_out: Callable[[bytes], bool] | None,
    moved: int = 0,
) -> Guard:
    """The guard of a run over these folders and those inside them that were indexed by themselves.

    `moved` of the missing may only have moved, as far as can be told without reading files.
    """
    if reader is None or not changes.gone:
        return Guard()
    within = Spans(map(under, roots))
    all_roots = {*roots, *(root for root in reads.roots(reader) if within.hold(root))}
    dark = unknown(scan)
    shares = []
    for root in sorted(all_roots):
        low, high = under(root)
        gone = sum(low <= row.path < high for row in changes.gone) - moved
        if gone <= 0:
            continue
        pictures = reads.count_under(reader, root)
        if not too_many(gone, pictures) and (left_out or scan.unreadable):
            # Of what was not looked at, nothing is known: it does not count as there.
            pictures = sum(
                not (row.missing or dark(row.path) or (left_out is not None and left_out(row.path)))
                for row in reads.files_within(reader, [root])
            )
        if too_many(gone, pictures):
            shares.append(Share(root, pictures))
    return Guard(shares)
