"""The folders of a run: which of them are there, and what a walk of them finds."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from indexer.found import SeenFiles
from indexer.scan import Scan, scan
from retrieval.db import reads
from retrieval.errors import CatalogError
from retrieval.images import raw_available
from retrieval.types import under

if TYPE_CHECKING:
    from retrieval.db.reader import Reader
    from retrieval.protocols import Progress

SURE_SECONDS = 60.0
"""How much longer than a folder's last change a picture in it must have been known, to have been elsewhere:
between the reading of a picture and the time that its row tells, a slow model may lie."""


def present(roots: Sequence[bytes], reader: Reader | None, tell: Progress, *, named: bool) -> list[bytes]:
    """The folders that are there: all that were named must be, others may be on a disk that is away."""
    there = []
    for root in roots:
        if os.path.isdir(root):
            there.append(root)
            continue
        name = os.fsdecode(root)
        if os.path.exists(root):
            folder = os.path.dirname(name)
            raise CatalogError(
                f"{name} is a file, not a folder. Index the folder it is in: search index {folder}"
            )
        if not (reader and (root in reads.roots(reader) or reads.count_under(reader, root))):
            raise CatalogError(f"There is no folder {name}. Check the name, and index again.")
        _away(f"{name} is not there now.", name, tell, named=named)
    return there


def walk(
    roots: Sequence[bytes],
    exclude: Sequence[str],
    reader: Reader | None,
    tell: Progress,
    halt: Callable[[], bool],
    *,
    named: bool,
) -> tuple[Scan, list[bytes]]:
    """All folders as one walk, and those of them that were met with pictures or may be empty.

    A folder named twice, inside another, or reached by a link as well, counts once.
    """
    whole = Scan()
    walked: list[bytes] = []
    folders: set[tuple[int, int]] = set()
    files = SeenFiles()
    for root in sorted(roots, key=lambda path: (os.path.realpath(path) != path, path)):
        name = os.fsdecode(root)
        tell("scan", {"path": name})
        try:
            status = os.stat(root)
        except OSError:  # it was there a moment ago
            _away(f"{name} is not there now.", name, tell, named=named)
            continue
        met = (status.st_dev, status.st_ino) in folders
        found = scan(
            root, exclude=exclude, raw=raw_available(), stopped=halt, seen_folders=folders, seen_files=files
        )
        whole.folders += found.folders
        for note in found.notes:
            tell("note", {"text": note})
        if root in found.unreadable:
            why = found.notes[-1] if found.notes else f"{name} cannot be listed."
            if named:
                raise CatalogError(f"{why} Check its permissions, and index again.")
            tell("note", {"text": f"{why} It is left as it was."})
            continue
        if not (met or found.files or halt()):
            if reader and not exclude and reads.count_under(reader, root):
                fact = f"{name} holds no pictures now, but the catalog knows some there."
                _away(fact, name, tell, named=named)
                continue
            tell(
                "note",
                {"text": f"{name} holds no pictures" + (" that are not left out." if exclude else ".")},
            )
        for path in found.unreadable:
            # A link that leads nowhere is worth a word only where pictures were found behind it.
            if not os.path.islink(path) or (reader and reads.count_under(reader, path)):
                tell("note", {"text": f"{os.fsdecode(path)} cannot be read and is left as it was."})
        if reader:
            found.unreadable += _unmounted(found, root, reader, tell)
        if found.raw_skipped:
            text = f"{found.raw_skipped} RAW files are left out. To index their previews: "
            tell("note", {"text": text + "pip install 'picture-search[raw]'"})
        if exclude and not (met or found.files):
            whole.unreadable.append(root)  # nothing of it was looked at
        walked.append(root)
        whole.unreadable += found.unreadable + found.dangling
        whole.files.extend(found.files)
        whole.texts += found.texts
    whole.files.sort()
    for root in reads.roots(reader) if reader else ():
        inside = any(low <= root < high for low, high in map(under, walked)) and root not in walked
        low, high = under(root)
        if inside and not whole.files.any_between(low, high):
            # Asked for by itself once, and not met on this walk: hidden, excluded, or its disk is away.
            whole.unreadable.append(root)
    return whole, walked


def _unmounted(found: Scan, root: bytes, reader: Reader, tell: Progress) -> list[bytes]:
    """Empty folders that pictures were found in since these folders last changed: what was mounted is away.

    Whoever deletes a picture changes the folder it is in; so such a folder is not the one it was in.
    """
    away = []
    for folder, changed in found.empty:
        indexed = reads.last_under(reader, folder) if folder != root else None
        if indexed is not None and changed < indexed - SURE_SECONDS:
            name = os.fsdecode(folder)
            _away(f"{name} is empty, as it was before its disk was there.", name, tell, named=False)
            away.append(folder)
    return away


def _away(fact: str, name: str, tell: Progress, *, named: bool) -> None:
    """A folder whose pictures cannot be seen is an offline disk, not a deletion."""
    forget = f"If it is gone for good: search forget {shlex.quote(name)}"
    if named:
        raise CatalogError(f"{fact} If its disk is offline, plug it in; nothing was changed. {forget}")
    tell("note", {"text": f"{fact} Its pictures stay as they are. {forget}"})
