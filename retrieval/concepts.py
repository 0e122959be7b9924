"""Things a person taught by examples: `@rex` in a query, after `search concepts add rex photo1.jpg …`."""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import os
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from retrieval.db import concepts, reads
from retrieval.errors import CatalogBusy, CatalogUnwritable, ImageError, QueryError
from retrieval.query.learn import Learnt as Learnt
from retrieval.query.learn import learn
from retrieval.types import path_fields

if TYPE_CHECKING:
    from retrieval.db.concepts import ExampleRow
    from retrieval.db.concepts_writes import NewExample
    from retrieval.db.reads import EncoderInfo
    from retrieval.protocols import Encoder
    from retrieval.state import State
    from retrieval.types import Vectors

    Picture = int | str | os.PathLike[str]
    """A picture of the catalog by its id, or a file by its path."""

MAX_NAME = 64
DRAWN = 100
"""Pictures of the catalog that a concept is told apart from."""


@dataclass(frozen=True, slots=True)
class Example:
    """A picture that shows a concept, or does not; `rests` says why it is not used, if it is not."""

    path: Path
    good: bool
    image_id: int | None = None
    rests: str | None = None

    def as_dict(self) -> dict[str, Any]:
        row: dict[str, Any] = {**path_fields(self.path), "good": self.good}
        if self.image_id is not None:
            row["image_id"] = self.image_id
        return row if self.rests is None else {**row, "rests": self.rests}


@dataclass(frozen=True, slots=True)
class Concept:
    """A concept and what it was taught with."""

    name: str
    examples: tuple[Example, ...]
    created_at: float

    @property
    def good(self) -> int:
        return sum(example.good for example in self.examples)

    @property
    def bad(self) -> int:
        return len(self.examples) - self.good

    @property
    def resting(self) -> int:
        return sum(example.rests is not None for example in self.examples)

    def as_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "good": self.good,
            "bad": self.bad,
            "resting": self.resting,
            "created_at": self.created_at,
        }


class Concepts:
    """The concepts of a catalog."""

    def __init__(self, state: State) -> None:
        self._state = state

    def add(
        self, name: str, good: Picture | Iterable[Picture], bad: Picture | Iterable[Picture] = ()
    ) -> Concept:
        """Teach a concept with pictures that show it, and pictures that do not.

        Examples add up; one that is known already is passed over, or changes sides. A picture
        from outside the catalog is encoded now. Nothing is kept if any of them cannot be used.
        """
        from retrieval.db import concepts_writes

        name = checked_name(name)
        self._state.check_writable()
        info = self._state.active()
        sides = [
            *((picture, True) for picture in _several(good)),
            *((picture, False) for picture in _several(bad)),
        ]
        if not sides:
            raise QueryError(f"Name pictures that show it: search concepts add {name} photo1.jpg photo2.jpg")
        given: dict[bytes, NewExample] = {}
        for picture, is_good in sides:
            example = self._example(info, picture, is_good)
            if given.setdefault(example.content_hash, example).good != is_good:
                raise QueryError(
                    f"{os.fsdecode(example.path)} is given as showing @{name} and as not showing it. "
                    "Name it once."
                )
        with self._state.snapshot():
            held = concepts.examples(self._state.reader, name, info.id)
        after = {row.content_hash: row.good for row in held}
        after |= {key: example.good for key, example in given.items()}
        if not any(after.values()):
            raise QueryError(
                f"@{name} would have no picture that shows it. Name one: search concepts add {name} photo.jpg"
            )
        with self._state.writer() as writer:
            concepts_writes.add(writer, name, list(given.values()))
        return self.show(name)

    def list(self) -> list[Concept]:
        """All concepts, by name."""
        with self._state.snapshot() as reader:
            return [self._concept(name, created) for name, created in concepts.names(reader)]

    def show(self, name: str) -> Concept:
        """One concept with its examples."""
        with self._state.snapshot() as reader:
            known = dict(concepts.names(reader))
            name = self._known(name, known)
            return self._concept(name, known[name])

    def remove(self, name: str, pictures: Picture | Iterable[Picture] | None = None) -> int:
        """Forget a concept, or some of its examples; returns how many examples went."""
        from retrieval.db import concepts_writes

        self._state.check_writable()
        with self._state.snapshot() as reader:
            name = self._known(name, dict(concepts.names(reader)))
            info = reads.active_encoder(reader)
            rows = concepts.examples(reader, name, info.id if info else 0)
        if pictures is None:
            with self._state.writer() as writer:
                return concepts_writes.remove(writer, name)
        gone = {row.id for picture in _several(pictures) for row in _named(rows, picture, name)}
        if not any(row.good for row in rows if row.id not in gone):
            raise QueryError(
                f"@{name} would have no picture left that shows it. To forget it: "
                f"search concepts remove {name}"
            )
        with self._state.writer() as writer:
            concepts_writes.remove_examples(writer, sorted(gone))
        return len(gone)

    def learnt(self, name: str, info: EncoderInfo) -> Learnt:
        """What a concept comes to by the model in use; to be called outside of a snapshot.

        An example is the picture as it was shown, whatever becomes of its file. After a change
        of model, those that are not in the catalog are encoded anew, and that is kept where
        the catalog can be written. Those whose files are gone or show something else by now
        rest, and `notes` says so.
        """
        with self._state.snapshot() as reader:
            name = self._known(name, dict(concepts.names(reader)))
            rows = concepts.examples(reader, name, info.id)
        fresh = self._encoded_anew(info, rows)
        used = [(row, row.vector or fresh.get(row.id)) for row in rows]
        good = [vector for row, vector in used if row.good and vector]
        bad = [vector for row, vector in used if not row.good and vector]
        resting = len(rows) - len(good) - len(bad)
        if not good:
            raise QueryError(
                f"The model in use has seen none of the pictures that taught @{name}, and their files are "
                f"gone or show something else. Name others: search concepts add {name} photo.jpg"
            )
        with self._state.snapshot():
            store = self._state.images(self._state.still(info)).store
            own = [row.image_id for row in rows if row.image_id is not None]
            others = store.ids[~np.isin(store.ids, own)]
            step = -(-len(others) // DRAWN) or 1
            drawn = store.vectors(others[::step])
        direction = learn(_unpacked(good, info.dim), _unpacked(bad, info.dim), drawn)
        left_out = (
            f"{resting} of the {len(rows)} pictures that taught @{name} are not used: the model in use has "
            "not seen them, and their files are gone or show something else. "
            f"See: search concepts show {name}"
        )
        return Learnt(name, direction, self._state.encoder(info), (left_out,) if resting else ())

    def _known(self, name: str, known: Iterable[str]) -> str:
        name, known = checked_name(name), list(known)
        if name in known:
            return name
        near = difflib.get_close_matches(name, known, n=1)
        hint = f" Did you mean @{near[0]}?" if near else ""
        there = "See them: search concepts list" if known else "Teach it: search concepts add"
        raise QueryError(
            f"There is no concept @{name}.{hint} {there}"
            + ("" if known else f" {name} photo1.jpg photo2.jpg")
        )

    def _concept(self, name: str, created: float) -> Concept:
        info = reads.active_encoder(self._state.reader)
        rows = concepts.examples(self._state.reader, name, info.id if info else 0)
        return Concept(
            name,
            tuple(Example(Path(os.fsdecode(row.path)), row.good, row.image_id, _rests(row)) for row in rows),
            created,
        )

    def _example(self, info: EncoderInfo, picture: Picture, good: bool) -> NewExample:
        from retrieval.db.concepts_writes import NewExample

        if isinstance(picture, int):
            with self._state.snapshot():
                shown = reads.shown(self._state.reader, [picture])
            if picture not in shown:
                raise QueryError(f"The catalog at {self._state.location.name} has no picture {picture}.")
            path = shown[picture].path
        else:
            path = os.fsencode(os.path.abspath(os.path.expanduser(picture)))
        image_id = self._state.find_picture(picture)
        if image_id is not None:
            with self._state.snapshot() as reader:
                row, vector = reads.file_at(reader, path), concepts.vector(reader, image_id, info.id)
            if row is not None and vector is not None:
                return NewExample(path, row.content_hash, good, info.id, vector)
        digest, encode = _opened(path, self._state.encoder(info))
        return NewExample(path, digest, good, info.id, encode())

    def _encoded_anew(self, info: EncoderInfo, rows: Sequence[ExampleRow]) -> dict[int, bytes]:
        """Vectors of examples that the model in use has not seen, whose files are still there."""
        unseen = [row for row in rows if row.vector is None and os.path.isfile(row.path)]
        if not unseen:
            return {}
        encoder = self._state.encoder(info)
        found: dict[int, bytes] = {}
        for row in unseen:
            # A file that cannot be read any more, or shows something else now, rests like one that is gone.
            with contextlib.suppress(ImageError, QueryError):
                digest, encode = _opened(row.path, encoder)
                if digest == row.content_hash:
                    found[row.id] = encode()
        if found and not self._state.readonly:
            from retrieval.db import concepts_writes

            # Where nothing can be written, or not now, the answer stands without: a later query keeps them.
            with contextlib.suppress(CatalogBusy, CatalogUnwritable), self._state.writer() as writer:
                concepts_writes.renew(writer, info.id, found)
        return found


def checked_name(name: str) -> str:
    """The name as it is kept, without its @ and in one case; an error for what is no name."""
    plain = unicodedata.normalize("NFC", name.strip().removeprefix("@")).casefold()
    sound = plain[:1].isalnum() and all(letter.isalnum() or letter in "-_" for letter in plain)
    if not sound or len(plain) > MAX_NAME:
        raise QueryError(
            f"'{name}' is no name for a concept. Use up to {MAX_NAME} letters, digits, - and _, "
            "beginning with a letter or a digit: search concepts add my-dog photo.jpg"
        )
    return plain


def _several(pictures: Picture | Iterable[Picture]) -> Iterable[Picture]:
    return [pictures] if isinstance(pictures, int | str | os.PathLike) else pictures


def _named(rows: Sequence[ExampleRow], picture: Picture, name: str) -> list[ExampleRow]:
    if isinstance(picture, int):
        found = [row for row in rows if row.image_id == picture]
    else:
        path = os.fsencode(os.path.abspath(os.path.expanduser(picture)))
        found = [row for row in rows if row.path == path]
    if not found:
        raise QueryError(f"{picture} is no example of @{name}. See them: search concepts show {name}")
    return found


def _rests(row: ExampleRow) -> str | None:
    if row.vector is not None:
        return None
    if not os.path.isfile(row.path):
        return "the file is gone"
    from retrieval.images import read_file

    try:
        same = hashlib.sha256(read_file(row.path).data).digest() == row.content_hash
    except ImageError:
        return "the file cannot be read"
    return "will be encoded when it is used" if same else "shows something else now"


def _opened(path: bytes, encoder: Encoder) -> tuple[bytes, Callable[[], bytes]]:
    """The digest of a file, and the way to its vector as it is stored."""
    from retrieval.images import load_image, read_file

    name = os.fsdecode(path)
    if not os.path.exists(path):
        raise QueryError(f"There is no file {name}. Check its name.")
    if os.path.isdir(path):
        raise QueryError(f"{name} is a folder, not a picture. Name the pictures in it.")

    def encode() -> bytes:
        try:
            image = load_image(data, name=os.path.basename(name), wanted=encoder.preparer.wanted)
        except ImageError as error:
            raise _said(error, name) from error
        half = np.asarray(encoder.encode_images([image])[0], "<f2")
        return half.tobytes()

    try:
        data = read_file(path).data
    except ImageError as error:
        raise _said(error, name) from error
    return hashlib.sha256(data).digest(), encode


def _said(error: ImageError, name: str) -> ImageError:
    return type(error)(f"{name} cannot be used as a picture: {error}", reason=error.reason)


def _unpacked(vectors: Sequence[bytes], dim: int) -> Vectors:
    half = np.frombuffer(b"".join(vectors), "<f2").reshape(len(vectors), dim).astype(np.float32)
    unit: Vectors = half / np.maximum(np.linalg.norm(half, axis=1, keepdims=True), 1e-9)
    return unit
