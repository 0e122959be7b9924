"""Lists of alt texts that people edit: OUT.json and OUT.csv.

An entry that a person changed, or wrote, is never changed again. What we wrote is known by its
`check`, a checksum over the path, the text and the captioner: as soon as one of them is another,
the entry is the person's. Whatever else a person put into the file, further fields or columns,
stays. A file that is no such list is refused.
"""

from __future__ import annotations

import base64
import binascii
import os
from pathlib import Path
from typing import Literal

from retrieval.describing.list_formats import (
    FIELDS,
    FORMATS,
    Content,
    ForeignListError,
    Offer,
    checked,
)
from retrieval.describing.replacing import (
    NotReplacedError,
    Original,
    check_replaceable,
    create,
    read_original,
    replace,
)
from retrieval.errors import QueryError, RetrievalError
from retrieval.show.table import safe_name

MAX_LIST = 256 << 20
ATTEMPTS = 5
"""How often a list that another program saves meanwhile is read anew."""
B64 = "path_b64"

Outcome = Literal["written", "kept"]


class AltList:
    """A list on disk: entries are offered, and saved together."""

    def __init__(self, out: Path) -> None:
        """Reads the list that is there; a file that is none is refused, and left as it is."""
        self._out = out
        self._shown = safe_name(str(out))
        self._format = FORMATS[out.suffix.lower()]
        self._real = Path(os.path.realpath(out))
        self._offers: list[Offer] = []
        self._original: Original | None = None
        self._content: Content = self._format()
        self._numbers: dict[bytes, list[int]] = {}
        if not self._real.parent.is_dir():
            raise QueryError(f"The folder of {self._shown} does not exist. Make it, or name another file.")
        self._load()
        self._check_writable()

    def offer(self, offer: Offer) -> tuple[Outcome, str]:
        """Take the text, unless one stands there that is not ours to change; and what stands there now."""
        self._offers.append(offer)
        return self._place(offer)

    def save(self) -> None:
        """Write the list, whole or not at all; what others saved since it was read stays."""
        for _ in range(ATTEMPTS):
            if not self._offers:
                return
            try:
                self._write()
            except NotReplacedError as error:
                if not self._changed():
                    raise RetrievalError(
                        f"The list {self._shown} was not written. {error} Name another file."
                    ) from error
                self._load()
                for offer in self._offers:
                    self._place(offer)
                continue
            self._offers = []
            self._load()
            return
        raise RetrievalError(f"The list {self._shown} is written by another program all the time. Try later.")

    def _check_writable(self) -> None:
        """Raise now where saving would fail, and not when the texts have been made."""
        try:
            if self._original is not None:
                check_replaceable(self._original)
            if not os.access(self._real.parent, os.W_OK):
                raise NotReplacedError("Its folder is write-protected.")
        except NotReplacedError as error:
            raise QueryError(f"{self._shown} cannot be written to. {error} Name another file.") from error

    def _load(self) -> None:
        self._original, self._content = None, self._format()
        if os.path.lexists(self._real):
            try:
                self._original = read_original(self._real, most=MAX_LIST)
                self._content = self._format.parse(self._original.data)
            except NotReplacedError as error:
                raise QueryError(
                    f"{self._shown} cannot be added to. {error} Name another file for the list."
                ) from error
            except ForeignListError as error:
                raise QueryError(
                    f"{self._shown} exists and is no list of alt texts ({error}), so it was left as it is. "
                    "Name another file."
                ) from error
        self._numbers = {}
        for number in range(len(self._content)):
            self._numbers.setdefault(self._key(number), []).append(number)

    def _place(self, offer: Offer) -> tuple[Outcome, str]:
        numbers = self._numbers.get(offer.key, [])
        if not numbers:
            self._numbers[offer.key] = [self._content.put(None, offer)]
            return "written", offer.alt
        alt = self._content.get(numbers[0], "alt") or ""
        if len(numbers) > 1 or alt == offer.alt or not self._ours(numbers[0], offer.key):
            return "kept", alt
        self._content.put(numbers[0], offer)
        return "written", offer.alt

    def _ours(self, number: int, key: bytes) -> bool:
        """Whether the entry is word for word as we wrote it."""
        alt, captioner, check = (self._content.get(number, name) for name in FIELDS[1:])
        return alt is not None and captioner is not None and check == checked(key, alt, captioner)

    def _key(self, number: int) -> bytes:
        packed = self._content.get(number, B64)
        if packed:
            try:
                return base64.b64decode(packed, validate=True)
            except (binascii.Error, ValueError):
                # Somebody's own idea of a path: it stands for no picture.
                return b""
        return (self._content.get(number, "path") or "").encode("utf-8", "surrogatepass")

    def _write(self) -> None:
        data = self._content.dump()
        if self._original is None:
            create(self._real, data)
        elif data != self._original.data:
            if self._format.parse(data) != self._content:
                raise NotReplacedError("What it holds could not be written again as it is.")
            replace(self._original, data)

    def _changed(self) -> bool:
        if self._original is None:
            return os.path.lexists(self._real)
        return not self._original.stands()
