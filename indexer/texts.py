"""Texts that come with pictures while indexing: files beside them, words read in them, and their vectors.

A file `photo.jpg.txt` or `photo.txt` beside a picture is noticed when it comes, changes or goes.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from retrieval.db import texts as stored
from retrieval.db.reader import open_reader
from retrieval.errors import ImageError, ImageTooLarge
from retrieval.types import under

if TYPE_CHECKING:
    from indexer.found import FoundFile
    from indexer.scan import Scan
    from retrieval.config import Location
    from retrieval.db.queries import Writer
    from retrieval.db.reader import Reader
    from retrieval.protocols import Encoder, Progress

MAX_BYTES = 1 << 20
"""A longer file is no caption of the picture beside it."""
AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class Beside:
    """A text file, the picture that it lies beside, and the text that it was before."""

    path: bytes
    stamp: str
    picture: bytes
    known: int | None


@dataclass(slots=True)
class SidecarChanges:
    """What has to be done so that the catalog agrees with the texts beside pictures."""

    changed: list[Beside] = field(default_factory=list)
    gone: list[stored.Sidecar] = field(default_factory=list)
    """Texts whose file is not there any more."""
    able: bool = False
    """Whether any that came or changed can be taken up now: a text needs its picture to be in the catalog."""

    @property
    def pending(self) -> bool:
        return bool(self.gone) or self.able

    def spare(self, held: Callable[[bytes], bool]) -> None:
        """Leave texts as they are whose pictures are left as they are."""
        self.gone = [car for car in self.gone if not held(car.origin)]


@dataclass(slots=True)
class TextCounts:
    texts: int = 0
    read: int = 0
    interrupted: bool = False


def bring_texts(
    location: Location,
    writer: Writer,
    encoder: Encoder,
    encoder_id: int,
    beside: SidecarChanges | None,
    *,
    read_by: str | None,
    workers: int,
    memory: int,
    progress: Progress,
    stopped: Callable[[], bool],
) -> TextCounts:
    """Bring the catalog's texts up to the pictures, and give each text a vector.

    `read_by` asks for the text in pictures to be read too, and says by what.
    """
    from retrieval.texts import embed_texts

    counts = TextCounts()
    try:
        with contextlib.closing(open_reader(location)) as reader:
            if beside is not None:
                counts.texts = write_sidecars(reader, writer, beside)
            if read_by is not None:
                from indexer.ocr import read_pictures

                reading = read_pictures(
                    reader,
                    writer,
                    read_by,
                    workers=workers,
                    memory=memory,
                    progress=progress,
                    stopped=stopped,
                )
                counts.read, counts.interrupted = reading.read, reading.interrupted
            if not counts.interrupted:
                done = embed_texts(reader, writer, encoder, encoder_id, progress=progress, stopped=stopped)
                counts.interrupted = not done
    except KeyboardInterrupt:
        counts.interrupted = True
    return counts


def compare_sidecars(
    scan: Scan, roots: Sequence[bytes], reader: Reader | None, *, left_out: Callable[[bytes], bool]
) -> SidecarChanges:
    """What changed between the texts beside pictures and the catalog's, by size and time of the files.

    A text whose picture went elsewhere without it stays tied to that picture.
    """
    found = SidecarChanges()
    known = {car.origin: car for root in roots for car in stored.sidecars(reader, root)} if reader else {}
    for file, picture in _pairs(scan):
        stamp = f"{file.size}:{file.mtime_ns}"
        old = known.get(file.path)
        if old is None or (old.stamp, old.path) != (stamp, picture):
            found.changed.append(Beside(file.path, stamp, picture, old.text_id if old else None))
    present = {file.path for file in scan.texts}
    dark = [under(folder) for folder in scan.unreadable]
    found.gone = [
        car
        for car in known.values()
        if not (
            car.origin in present
            or left_out(car.origin)
            or any(low <= car.origin < high for low, high in dark)
        )
    ]
    found.able = reader is not None and _can_do(reader, found.changed)
    return found


def write_sidecars(reader: Reader, writer: Writer, changes: SidecarChanges) -> int:
    """Bring the catalog's texts up to the files; returns how many came, changed or went."""
    from retrieval.db.texts_writes import NewText, replace_texts

    done = len(changes.gone)
    gone, new = [car.text_id for car in changes.gone], []
    pictures = stored.image_ids(reader, [beside.picture for beside in changes.changed])
    for number, beside in enumerate(changes.changed, 1):
        image_id = pictures.get(beside.picture)
        text = _content(beside.path) if image_id is not None else None
        if text is not None:
            done += bool(text or beside.known)
            gone += [] if beside.known is None else [beside.known]
            if text:
                new.append(NewText(text, stored.SIDECAR, image_id, origin=beside.path, stamp=beside.stamp))
        if len(new) >= AT_ONCE and number < len(changes.changed):
            replace_texts(writer, gone, new)
            gone, new = [], []
    if gone or new:
        replace_texts(writer, gone, new)
    return done


def _pairs(scan: Scan) -> list[tuple[FoundFile, bytes]]:
    """Each text file with the one picture that it belongs to by its name."""
    if not scan.texts:
        return []
    # Of many pictures, few have texts in their folder: only those are held against them.
    separator = os.fsencode(os.sep)
    folders = {file.path.rpartition(separator)[0] for file in scan.texts}
    pictures = {path for path in scan.files.paths() if path.rpartition(separator)[0] in folders}
    stems: dict[bytes, list[bytes]] = {}
    for path in pictures:
        stems.setdefault(os.path.splitext(path)[0], []).append(path)
    pairs = []
    for file in scan.texts:
        base = os.path.splitext(file.path)[0]
        same = [base] if base in pictures else stems.get(base, [])
        if len(same) == 1:
            pairs.append((file, same[0]))
    return pairs


def _can_do(reader: Reader, changed: Sequence[Beside]) -> bool:
    """Whether one of them has its picture in the catalog, and says something or did before."""
    there = stored.image_ids(reader, [beside.picture for beside in changed])
    return any(
        beside.picture in there and (beside.known is not None or _content(beside.path)) for beside in changed
    )


def _content(path: bytes) -> str | None:
    """The text of a file; empty for one that holds none, None where that cannot be told now."""
    from retrieval.images import read_file
    from retrieval.texts.files import clean, decode

    try:
        data = read_file(path, allow=_check_size).data
    except ImageTooLarge:
        return ""
    except ImageError:
        return None
    text, _ = decode(data)
    # A file with zero bytes in it is something else, whatever its name says.
    return "" if "\0" in text else clean(text).strip()


def _check_size(size: int) -> None:
    if size > MAX_BYTES:
        raise ImageTooLarge(f"The file is larger than {MAX_BYTES >> 10} KiB")
