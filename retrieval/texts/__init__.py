"""Texts of a catalog: captions, descriptions, sentences, each for itself or tied to a picture."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from retrieval.db import reads
from retrieval.db import texts as stored
from retrieval.db.reader import open_reader
from retrieval.errors import CatalogError, ModelError, QueryError, RetrievalError
from retrieval.texts.files import FORMATS, Line, Reading, read_file, read_lines
from retrieval.types import path_fields

if TYPE_CHECKING:
    from retrieval.db.queries import Writer
    from retrieval.db.reader import Reader
    from retrieval.db.texts import TextInfo
    from retrieval.protocols import Encoder, Progress
    from retrieval.state import State

    Given = str | Mapping[str, Any]
    """A text, or one as `{"text": ..., "id"?: ..., "image"?: ...}`."""

MAX_CHARS = 1_000_000
READ_CHARS = 8000
"""A model reads the first part of a long text; this much is more than any of them takes."""
ROWS_AT_ONCE = 1000
VECTORS_AT_ONCE = 64
SAID = 3


@dataclass(frozen=True, slots=True)
class Text:
    """A text of the catalog, and the picture it is tied to, if any."""

    text_id: int
    text: str
    source: str
    image_id: int | None = None
    path: Path | None = None
    name: str | None = None
    """What the one who added it calls it."""

    def as_dict(self) -> dict[str, Any]:
        row: dict[str, Any] = {"text_id": self.text_id, "text": self.text, "source": self.source}
        if self.image_id is not None:
            row["image_id"] = self.image_id
        if self.path is not None:
            row.update(path_fields(self.path))
        return row if self.name is None else {**row, "name": self.name}


@dataclass(frozen=True, slots=True)
class TextsReport:
    """What came of adding texts.

    `broken` are the lines that were left out, each with its number and why; `waiting` the
    texts of the catalog that have no vector yet, and are found by their words only.
    """

    added: int
    unchanged: int
    broken: tuple[tuple[int, str], ...] = ()
    notes: tuple[str, ...] = ()
    waiting: int = 0
    interrupted: bool = False

    def as_dict(self) -> dict[str, Any]:
        return {
            "added": self.added,
            "unchanged": self.unchanged,
            "broken": [{"line": line, "reason": why} for line, why in self.broken],
            "waiting": self.waiting,
            "interrupted": self.interrupted,
        }


class Texts:
    """Adds, lists and removes texts: `catalog.texts`."""

    def __init__(self, state: State) -> None:
        self._state = state

    def add(
        self,
        given: str | os.PathLike[str] | BinaryIO | Iterable[Given],
        *,
        source: str = stored.ADDED,
        form: str | None = None,
        progress: Progress | None = None,
        stopped: Callable[[], bool] | None = None,
    ) -> TextsReport:
        """Add the texts of a file (.jsonl, .csv, .txt), of an open one (with `form`), or given as they are.

        A text that is there already, tied to the same picture, is not added again. `image`
        ties a text to a picture of the catalog: a path (relative to the file), a file's
        name that only one picture has, or an id. A line that cannot be used, also because
        its picture is not indexed, is left out and told in the report; the others are
        taken. Texts are embedded with the catalog's model; where that was interrupted, the
        next indexing goes on.
        """
        if source in stored.UPKEPT:
            raise QueryError(
                f"Texts of the source '{source}' come with indexing and describing. Choose another name."
            )
        self._state.check_writable()
        reading, origin, folder = _reading(given, form)
        with self._state.snapshot():
            ties = _Ties(self._state.reader, folder)
            lines, broken = _usable(reading, ties)
        if reading.named and not lines:
            why = "; ".join(f"line {number}: {reason}" for number, reason in broken[:SAID])
            raise QueryError(f"{reading.named} holds no text that can be added{': ' + why if why else ''}.")
        from retrieval.db.texts_writes import NewText, add_texts

        added = 0
        tell = progress or (lambda _step, _figures: None)
        halt = stopped or (lambda: False)
        with self._state.writer() as writer:
            for start in range(0, len(lines), ROWS_AT_ONCE):
                part = lines[start : start + ROWS_AT_ONCE]
                added += add_texts(
                    writer,
                    [NewText(line.text, source, image_id, line.name, origin) for line, image_id in part],
                )
            interrupted = self.embed(writer, tell, halt)
        with self._state.snapshot():
            info = reads.active_encoder(self._state.reader)
            waiting = reads.texts_waiting(self._state.reader, info.id) if info else added
        return TextsReport(
            added, len(lines) - added, tuple(broken), reading.notes, waiting, interrupted=interrupted
        )

    def list(
        self,
        *,
        image: int | str | os.PathLike[str] | None = None,
        source: str | None = None,
        after: int = 0,
        limit: int | None = None,
    ) -> list[Text]:
        """Texts by id: all, those of a picture or of a source, those after an id."""
        with self._state.snapshot():
            reader = self._state.reader
            image_id = image if image is None or isinstance(image, int) else _picture(reader, image)
            found = stored.texts(reader, image_id=image_id, source=source, after=after, limit=limit)
        return [_text(info) for info in found]

    def remove(
        self,
        ids: int | Iterable[int] = (),
        *,
        origin: str | os.PathLike[str] | None = None,
        source: str | None = None,
    ) -> int:
        """Remove texts by their ids, by the file they came from, or by their source; returns how many.

        What indexing found beside or in a picture comes back with it: remove it there. A caption
        that is removed comes back only where its pictures are described again.
        """
        with self._state.snapshot():
            reader = self._state.reader
            if origin is not None:
                gone = stored.ids_from(reader, origin=_origin(origin))
            elif source is not None:
                gone = stored.ids_from(reader, source=source)
            else:
                gone = stored.present(reader, [ids] if isinstance(ids, int) else list(ids))
        if gone:
            from retrieval.db.texts_writes import remove_texts

            with self._state.writer() as writer:
                remove_texts(writer, gone)
        return len(gone)

    def embed(self, writer: Writer, tell: Progress, halt: Callable[[], bool]) -> bool:
        """Give texts their vectors, if there is a model to do it; returns whether that was interrupted."""
        # A reader of its own: others may ask the catalog meanwhile.
        with contextlib.closing(open_reader(self._state.location)) as reader:
            info = reads.active_encoder(reader)
            if info is None or not reads.texts_waiting(reader, info.id):
                return False
            encoder = self._state.encoder(info)
            done = embed_texts(reader, writer, encoder, info.id, progress=tell, stopped=halt)
        # Only so that the next query need not; what is committed stands without it.
        with contextlib.suppress(RetrievalError), self._state.snapshot():
            self._state.texts(self._state.active(), save=True)
        return not done


def embed_texts(
    reader: Reader,
    writer: Writer,
    encoder: Encoder,
    encoder_id: int,
    *,
    progress: Progress,
    stopped: Callable[[], bool],
) -> bool:
    """Give every text that has none a vector of this model; False where that was stopped early."""
    import numpy as np

    from retrieval.db.texts_writes import put_text_vectors

    total, done, last = reads.texts_waiting(reader, encoder_id), 0, 0
    if not total:
        return True
    progress("encode", {"total": total, "done": 0})
    while rows := stored.waiting(reader, encoder_id, after=last, limit=VECTORS_AT_ONCE):
        if stopped():
            return False
        vectors = encoder.encode_texts([text[:READ_CHARS] for _, text in rows])
        if not np.isfinite(vectors).all():
            raise ModelError(
                f"The model {encoder.id} gave values that are not numbers. "
                "Its weights or its runtime are broken; choose another: search models"
            )
        kept = vectors.astype("<f2")
        put_text_vectors(
            writer, encoder_id, [(row[0], vector.tobytes()) for row, vector in zip(rows, kept, strict=True)]
        )
        done, last = done + len(rows), rows[-1][0]
        progress("advance", {"total": total, "done": done, "failed": 0})
    return True


class _Ties:
    """Which picture of the catalog a text's `image` means."""

    def __init__(self, reader: Reader, folder: str) -> None:
        self._reader = reader
        self._folder = folder
        self._names: dict[bytes, list[tuple[int, bytes]]] | None = None
        self._known: dict[int | str, int | str] = {}

    def find(self, image: int | str) -> int | str:
        """The picture's id, or a sentence that says why there is none."""
        if image not in self._known:
            self._known[image] = self._by_id(image) if isinstance(image, int) else self._by_path(image)
        return self._known[image]

    def _by_id(self, image_id: int) -> int | str:
        if abs(image_id) < 2**63 and stored.existing_images(self._reader, [image_id]):
            return image_id
        return f"no picture of the catalog has the id {image_id}"

    def _by_path(self, image: str) -> int | str:
        path = os.path.abspath(os.path.join(self._folder, os.path.expanduser(image)))
        names = [os.fsencode(name) for name in (path, os.path.realpath(path))]
        found = stored.image_ids(self._reader, names)
        if found:
            return next(found[name] for name in names if name in found)
        if image.isdecimal() and len(image) < 19:
            return self._by_id(int(image))
        if self._names is None:
            self._names = stored.images_by_name(self._reader)
        raw = os.fsencode(os.path.normpath(image))
        same = [
            image_id
            for image_id, known in self._names.get(os.path.basename(raw), ())
            if known == raw or known.endswith(os.fsencode(os.sep) + raw.lstrip(b"./"))
        ]
        if len(same) > 1:
            return f"{len(same)} indexed pictures are called '{image}'; give the path of one"
        return same[0] if same else f"no indexed picture is called '{image}'"


def _reading(given: Any, form: str | None) -> tuple[Reading, bytes | None, str]:
    """The lines, the file they come from, and the folder that paths in them start from."""
    if form is not None and form not in FORMATS:
        raise QueryError(f"'{form}' is not a format of texts. There are: {', '.join(FORMATS)}.")
    if isinstance(given, str | os.PathLike):
        path = os.path.abspath(os.path.expanduser(given))
        return read_file(path, form), os.fsencode(path), os.path.dirname(path)
    if hasattr(given, "read"):
        if form is None:
            raise QueryError("An open file has no name that tells its format. Say which: --format jsonl")
        return read_lines(given.read(), form, "The input"), None, os.getcwd()
    lines = [_given(number, item) for number, item in enumerate(given, 1)]
    return Reading(lines, (), ""), None, os.getcwd()


def _given(number: int, item: Given) -> Line:
    return Line.of(number, {"text": item} if isinstance(item, str) else item)


def _usable(reading: Reading, ties: _Ties) -> tuple[list[tuple[Line, int | None]], list[tuple[int, str]]]:
    """The lines that can be added, each with its picture, and the others with why not."""
    good: list[tuple[Line, int | None]] = []
    broken: list[tuple[int, str]] = []
    for line in reading.lines:
        why, image_id = line.broken, None
        if not why and len(line.text) > MAX_CHARS:
            why = f"its text is longer than {MAX_CHARS:,} characters"
        if not why and line.image is not None:
            found = ties.find(line.image)
            why, image_id = (found, None) if isinstance(found, str) else ("", found)
        if why:
            broken.append((line.number, why))
        else:
            good.append((line, image_id))
    return good, broken


def _picture(reader: Reader, image: str | os.PathLike[str]) -> int:
    path = os.path.abspath(os.path.expanduser(image))
    found = stored.image_ids(reader, [os.fsencode(path)])
    if not found:
        raise CatalogError(f"{path} is not an indexed picture. Index its folder: search index PATH")
    return next(iter(found.values()))


def _origin(path: str | os.PathLike[str]) -> bytes:
    return os.fsencode(os.path.abspath(os.path.expanduser(path)))


def _text(info: TextInfo) -> Text:
    path = None if info.path is None else Path(os.fsdecode(info.path))
    return Text(info.id, info.text, info.source, info.image_id, path, info.name)
