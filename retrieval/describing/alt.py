"""Alt texts where other programs find them: in a list, in files beside the pictures, in the pictures.

Nothing that a person gave is ever replaced: an alt text that is there stays, in whichever place.
"""

from __future__ import annotations

import os
import time
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retrieval.describing.replacing import ATTRIBUTES_CARRIED, NotReplacedError
from retrieval.errors import QueryError, RetrievalError
from retrieval.types import Description, path_fields

SIDECARS = "xmp"
"""As the place of alt texts: files beside the pictures."""
MAX_ALT = 1000
"""Longer texts are cut; captioners keep to far less for a screen reader."""
SAVED_EVERY = 10.0
"""Seconds after which a growing list is saved, so that a broken run loses little."""

_JOINERS = frozenset("\u200c\u200d\u200e\u200f")
"""Invisible characters that scripts and emojis need."""


@dataclass(frozen=True, slots=True)
class AltReport:
    """What became of the alt texts; each picture counts once in `written` or `kept`, if anywhere."""

    written: int
    """Pictures whose alt text was written to at least one place."""
    kept: int
    """Pictures that had an alt text already, everywhere it would have been written."""
    failed: tuple[tuple[Path, str], ...]
    """Pictures that an alt text could not be written for, or not everywhere, and why."""
    out: str

    def as_dict(self) -> dict[str, Any]:
        failed = [{**path_fields(path), "detail": why} for path, why in self.failed]
        return {"written": self.written, "kept": self.kept, "failed": failed, "out": self.out}


def check_alt_place(out: str | Path, *, write: bool = False) -> None:
    """Raise where alt texts cannot be written to `out`, before the long part of making them."""
    _Places(out, write)


def write_alt_texts(
    descriptions: Iterable[Description], out: str | Path, *, write: bool = False
) -> AltReport:
    """Write descriptions as the alt texts of their pictures.

    `out` is a list `NAME.json` or `NAME.csv`, which is added to, or `xmp` for a file beside
    each picture. With `write` they go into the pictures themselves: instead of beside them,
    or besides the list, and then with the words that stand in the list. The descriptions
    are taken one by one, so they may be made meanwhile; what was taken is saved even when
    making the next one fails.
    """
    places = _Places(out, write)
    written = kept = 0
    failed: list[tuple[Path, str]] = []
    try:
        for description in descriptions:
            if description.path is None:
                raise QueryError(
                    "An alt text needs a picture that is a file. Save the picture, and name that."
                )
            path = Path(os.path.abspath(description.path))
            try:
                if places.take(path, plain(description.caption), plain(description.captioner)):
                    written += 1
                else:
                    kept += 1
            except _PartlyError as error:
                written += error.written
                failed.append((path, str(error)))
    finally:
        places.save()
    return AltReport(written, kept, tuple(failed), os.fspath(out))


def plain(text: str) -> str:
    """The text in one line, without characters that are not to be read or that files cannot hold."""
    line = " ".join("".join(map(_shown, text)).split())
    if len(line) <= MAX_ALT:
        return line
    cut = line[: MAX_ALT - 1]
    return (cut.rpartition(" ")[0] or cut) + "…"


def _shown(character: str) -> str:
    kind = unicodedata.category(character)
    if kind == "Cc":
        return " "
    if kind == "Cs" or (kind == "Cf" and character not in _JOINERS):
        return ""
    code = ord(character)
    return "" if code & 0xFFFE == 0xFFFE or 0xFDD0 <= code <= 0xFDEF else character


class _PartlyError(RetrievalError):
    """An alt text was not written everywhere it should have been."""

    def __init__(self, message: str, *, written: bool = False) -> None:
        super().__init__(message)
        self.written = written


class _Places:
    """Where the alt texts of a run go."""

    def __init__(self, out: str | Path, write: bool) -> None:
        from retrieval.describing.alt_lists import AltList
        from retrieval.describing.list_formats import FORMATS

        name = os.fspath(out)
        if write and not ATTRIBUTES_CARRIED:
            raise QueryError(
                "On this system a picture cannot be written to without losing what is attached to the file. "
                f"Leave out --write: the texts go beside the pictures with --alt-text {SIDECARS}."
            )
        if name != SIDECARS and Path(name).suffix.lower() not in FORMATS:
            raise QueryError(
                f"Alt texts are written to a file that ends with .json or .csv, or to '{SIDECARS}' files "
                "beside the pictures. For example: --alt-text alt.json"
            )
        self._list = None if name == SIDECARS else AltList(Path(name).expanduser())
        self._write = write
        self._saved = time.monotonic()

    def take(self, path: Path, alt: str, captioner: str) -> bool:
        """Whether the text was written anywhere; `_PartlyError` where it could not be everywhere."""
        if "\0" in os.fspath(path):
            raise _PartlyError("Its name holds a character that no file name can.")
        if not alt:
            raise _PartlyError("There are no words for it.")
        listed = False
        if self._list is not None:
            from retrieval.describing.list_formats import Offer

            outcome, standing = self._list.offer(Offer(path, alt, captioner))
            listed, alt = outcome == "written", plain(standing)
            if time.monotonic() - self._saved > SAVED_EVERY:
                self.save()
            if not self._write:
                return listed
            if not alt:
                return listed  # A person left it without words on purpose.
        try:
            return self._attach(path, alt) or listed
        except NotReplacedError as error:
            raise _PartlyError(str(error), written=listed) from error

    def save(self) -> None:
        if self._list is not None:
            self._list.save()
            self._saved = time.monotonic()

    def _attach(self, path: Path, alt: str) -> bool:
        if self._write:
            from retrieval.describing.embed import write_into

            return write_into(path, alt)
        from retrieval.describing.sidecars import write_beside

        return write_beside(path, alt)
