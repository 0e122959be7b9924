"""What a query is made of: weighted texts, pictures and learnt concepts."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from retrieval.errors import QueryError

if TYPE_CHECKING:
    from PIL import Image

    Picture = int | str | os.PathLike[str] | Image.Image
    """A picture of the catalog by its id, a file by its path, or an open one."""

MAX_TERMS = 64
MAX_TEXT = 2000


@dataclass(frozen=True, slots=True)
class Term:
    """One thing to look for. A negative `weight` pushes away what fits.

    `value` is a text, the name of a concept, or a picture: an id of the catalog, a path,
    or an open Pillow image.
    """

    kind: Literal["text", "image", "concept"]
    value: str | int | Path | Image.Image
    weight: float = 1.0
    at: int = field(default=0, compare=False, repr=False)
    """Where it stands in the text of a query that was written."""

    def __str__(self) -> str:
        """As it is written in a query, quoted where it would be taken for something else."""
        plain_weight = f"{abs(self.weight):g}"
        exact = plain_weight if float(plain_weight) == abs(self.weight) else repr(abs(self.weight))
        weight = "" if abs(self.weight) == 1 else f"{exact}:"
        if self.kind == "concept":
            return f"{weight}@{self.value}"
        if self.kind == "image" and not isinstance(self.value, Path | str):
            named = f"picture {self.value}" if isinstance(self.value, int) else "a picture"
            return f"{weight}<{named}>"
        value = str(self.value)
        if isinstance(self.value, Path) and not self.value.is_absolute() and not value.startswith("../"):
            value = f"./{value}"
        # With a space before it what is in quotes is no path, and before a slash one may end with a space.
        forms = (value, f'"{value}"', f"“{value}”", f'" {value}"', f"{value}/")
        written = (f"{weight}{form}" for form in forms)
        # Behind a weight a colon has no meaning any more.
        return next(filter(self._reads, (*written, f"{weight or '1:'}{value}")), f"{weight}{value}")

    def _reads(self, text: str) -> bool:
        """Whether a text is a query of this term, and where it is no picture, also for who takes no paths."""
        from retrieval.query.parse import parse

        meant = replace(self, weight=abs(self.weight))
        try:
            return all(parse(text, paths=paths) == (meant,) for paths in {True, self.kind == "image"})
        except QueryError:
            return False


@dataclass(frozen=True, slots=True)
class Query:
    """A sum of terms.

    Query.parse('./pool.jpg + 2:night - people')
    Query.image("pool.jpg") + 2 * Query.text("night") - Query.text("people")
    """

    terms: tuple[Term, ...]
    written: str | None = field(default=None, compare=False, repr=False)
    """The text that it was read from, so that an error can point into it."""

    @classmethod
    def parse(cls, text: str, *, paths: bool = True) -> Query:
        """From the grammar of the command line; without `paths`, words only: nothing is a file."""
        from retrieval.query.parse import parse

        return cls(parse(text, paths=paths), text)

    @classmethod
    def text(cls, text: str) -> Query:
        """A text as it stands, whatever signs are in it."""
        return cls((Term("text", plain(text)),))

    @classmethod
    def image(cls, picture: Picture) -> Query:
        path = isinstance(picture, str | os.PathLike) and not is_url(picture)
        return cls((Term("image", Path(picture) if path else picture),))  # type: ignore[arg-type]

    @classmethod
    def concept(cls, name: str) -> Query:
        return cls((Term("concept", name.removeprefix("@")),))

    def __add__(self, other: Query) -> Query:
        return Query(self.terms + other.terms)

    def __sub__(self, other: Query) -> Query:
        return self + other * -1

    def __mul__(self, weight: float) -> Query:
        return Query(tuple(replace(term, weight=term.weight * weight) for term in self.terms))

    __rmul__ = __mul__

    def __str__(self) -> str:
        parts = [f"{'- ' if term.weight < 0 else '+ '}{term}" for term in self.terms]
        return " ".join(parts).removeprefix("+ ")

    def normal(self) -> str:
        """The same text for the same question, however it was written."""
        parts = (
            (
                float(term.weight),
                term.kind,
                str(term.value) if term.kind == "image" else str(term.value).casefold(),
            )
            for term in self.terms
        )
        return json.dumps(sorted(parts))

    @property
    def words(self) -> str:
        """What is asked for in words, without what is pushed away."""
        return ", ".join(str(term.value) for term in self.terms if term.kind == "text" and term.weight > 0)

    def checked(self) -> Query:
        """The query itself, if it can be answered at all."""
        for term in self.terms:
            if not 0 < abs(term.weight) < float("inf"):
                raise QueryError(f"A weight is a number other than 0, not {term.weight:g}.")
        if not any(term.weight > 0 for term in self.terms):
            raise QueryError(
                "The query only says what not to show. Say what to look for as well: "
                'search "a beach - people"'
                if self.terms
                else 'The query is empty. Say what to look for: search "a dog on a beach"'
            )
        if len(self.terms) > MAX_TERMS:
            raise QueryError(f"A query has at most {MAX_TERMS} terms, this one {len(self.terms)}.")
        for term in self.terms:
            if term.kind == "text":
                _check_text(str(term.value))
        return self


def plain(text: str) -> str:
    """A text with single spaces, and without what no alphabet has (bytes of a terminal set otherwise)."""
    return " ".join(text.encode("utf-8", "replace").decode().split())


def is_url(picture: object) -> bool:
    """Whether a picture is given by its address on the web."""
    return isinstance(picture, str) and picture.lower().startswith(("http://", "https://"))


def _check_text(text: str) -> None:
    if not text.strip():
        raise QueryError('The query is empty. Say what to look for: search "a dog on a beach"')
    if len(text) > MAX_TEXT:
        raise QueryError(
            f"The text is {len(text):,} characters long, more than a model reads. "
            f"Say it in {MAX_TEXT:,} at most."
        )
