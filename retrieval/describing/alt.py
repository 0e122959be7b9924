"""Alt texts where other programs find them: in a list, in files beside the pictures, in the pictures.

Nothing that a person gave is ever replaced: an alt text that is there stays, in whichever place.
"""

from __future__ import annotations

import os
import time
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrieval.describing.renewing import Renewing
from retrieval.describing.replacing import ATTRIBUTES_CARRIED, NotReplacedError
from retrieval.errors import QueryError
from retrieval.types import Description, path_fields

if TYPE_CHECKING:
    from retrieval.catalog import Catalog

Place = str | Path

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
    """Where they went, with commas between several places."""
    unseen: int = 0
    """Texts that were written into pictures as somebody made them who did not look at the picture."""
    untold: int = 0
    """Pictures that were written to and that the catalog could not be told of: indexing reads them again."""
    why_untold: str = ""
    """Why not, in a sentence."""

    def as_dict(self) -> dict[str, Any]:
        failed = [{**path_fields(path), "detail": why} for path, why in self.failed]
        return {
            "written": self.written,
            "kept": self.kept,
            "failed": failed,
            "out": self.out,
            "unseen": self.unseen,
            "untold": self.untold,
        }


def check_alt_place(out: Place | Sequence[Place], *, write: bool = False) -> None:
    """Raise where alt texts cannot be written to `out`, before the long part of making them."""
    _Places(out, write)


def write_alt_texts(
    descriptions: Iterable[Description],
    out: Place | Sequence[Place],
    *,
    write: bool = False,
    catalog: Catalog | None = None,
) -> AltReport:
    """Write descriptions as the alt texts of their pictures.

    `out` is a list `NAME.json` or `NAME.csv`, which is added to, or `xmp` for a file beside
    each picture, or several of these. With `write` they go into the pictures themselves: instead
    of beside them, or besides the list. Beside and into pictures go the words that stand in the
    (first) list, and only when all lists are saved. The descriptions are taken one by one, so
    they may be made meanwhile; what was taken is saved even when making the next one fails, but
    where there is a list, then only in the list. The `catalog` that has the pictures is told of
    those that were written into; without it, indexing takes them for others and reads them again.
    """
    places = _Places(out, write, catalog)
    waiting: list[_Text] = []
    try:
        for description in descriptions:
            text = _Text.of(description)
            if places.listed(text) and places.attaching:
                if places.lists:
                    waiting.append(text)
                else:
                    places.attach(text)
    finally:
        places.save()
    for text in waiting:
        places.attach(text)
    return places.report()


def plain(text: str, most: int = MAX_ALT) -> str:
    """The text in one line, without characters that are not to be read or that files cannot hold."""
    line = " ".join("".join(map(_shown, text)).split())
    if len(line) <= most:
        return line
    cut = line[: most - 1]
    return (cut.rpartition(" ")[0] or cut) + "…"


def _shown(character: str) -> str:
    kind = unicodedata.category(character)
    if kind == "Cc":
        return " "
    if kind == "Cs" or (kind == "Cf" and character not in _JOINERS):
        return ""
    code = ord(character)
    return "" if code & 0xFFFE == 0xFFFE or 0xFDD0 <= code <= 0xFDEF else character


@dataclass(frozen=True, slots=True)
class _Text:
    """What is to be said of a picture, and by whom."""

    path: Path
    alt: str
    captioner: str
    seen: bool

    @classmethod
    def of(cls, description: Description) -> _Text:
        if description.path is None:
            raise QueryError("An alt text needs a picture that is a file. Save the picture, and name that.")
        path = Path(os.path.abspath(description.path))
        return cls(path, plain(description.caption), plain(description.captioner), description.seen)


class _Places:
    """Where the alt texts of a run go, and what became of them."""

    def __init__(self, out: Place | Sequence[Place], write: bool, catalog: Catalog | None = None) -> None:
        from retrieval.describing.alt_lists import AltList
        from retrieval.describing.list_formats import FORMATS

        names = [os.fspath(one) for one in ([out] if isinstance(out, str | os.PathLike) else out)]
        if write and not ATTRIBUTES_CARRIED:
            raise QueryError(
                "On this system a picture cannot be written to without losing what is attached to the file. "
                f"Leave out --write: the texts go beside the pictures with --alt-text {SIDECARS}."
            )
        if any(name != SIDECARS and Path(name).suffix.lower() not in FORMATS for name in names):
            raise QueryError(
                f"Alt texts are written to a file that ends with .json or .csv, or to '{SIDECARS}' files "
                "beside the pictures. For example: --alt-text alt.json"
            )
        files = dict.fromkeys(Path(name).expanduser() for name in names if name != SIDECARS)
        self.lists = [AltList(path) for path in files]
        self.attaching = write or SIDECARS in names
        self._out = ", ".join(names)
        self._write = write
        self._saved = time.monotonic()
        self._words: dict[Path, str] = {}
        self._written: dict[Path, bool] = {}
        self._failed: list[tuple[Path, str]] = []
        self._unseen = 0
        self._renewing = None if catalog is None else Renewing(catalog.state)

    def listed(self, text: _Text) -> bool:
        """Put the text into the lists; False where there is nothing to attach to the picture."""
        from retrieval.describing.list_formats import Offer

        if "\0" in os.fspath(text.path):
            return self._fail(text.path, "Its name holds a character that no file name can.")
        if not text.alt:
            return self._fail(text.path, "There are no words for it.")
        offers = [one.offer(Offer(text.path, text.alt, text.captioner)) for one in self.lists]
        self._note(text.path, any(outcome == "written" for outcome, _ in offers))
        self._words[text.path] = plain(offers[0][1]) if offers else text.alt
        if time.monotonic() - self._saved > SAVED_EVERY:
            self.save()
        return bool(self._words[text.path])  # A person may have left it without words on purpose.

    def attach(self, text: _Text) -> None:
        """Write the words that stand in the list, or else the text, into the picture or beside it."""
        from retrieval.describing.sidecars import write_beside

        words = self._words[text.path]
        try:
            if not os.path.lexists(text.path):
                raise NotReplacedError("It is not there now. Bring the catalog up to date: search index")
            written = self._into(text.path, words) if self._write else write_beside(text.path, words)
        except NotReplacedError as error:
            self._fail(text.path, str(error))
            return
        self._note(text.path, written)
        self._unseen += written and self._write and words == text.alt and not text.seen

    def _into(self, path: Path, words: str) -> bool:
        from retrieval.describing.embed import write_into

        written = write_into(path, words)
        if written is not None and self._renewing is not None:
            self._renewing.add(path, written)
        return written is not None

    def save(self) -> None:
        for one in self.lists:
            one.save()
        self._saved = time.monotonic()

    def report(self) -> AltReport:
        failed = {path for path, _ in self._failed}
        kept = sum(not written for path, written in self._written.items() if path not in failed)
        untold, why = 0, ""
        if self._renewing is not None:
            self._renewing.finish()
            untold, why = len(self._renewing), self._renewing.why
        return AltReport(
            sum(self._written.values()), kept, tuple(self._failed), self._out, self._unseen, untold, why
        )

    def _note(self, path: Path, written: bool) -> None:
        self._written[path] = written or self._written.get(path, False)

    def _fail(self, path: Path, why: str) -> bool:
        self._failed.append((path, why))
        return False
