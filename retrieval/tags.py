"""Words for what is in each picture, from a vocabulary that people edit.

A tag is a query asked of the whole catalog: how likely a picture is to be meant by it is the
encoder's calibrated match of the tag's prompt, and the encoder's second look where it has
one. Tags of a picture also compete with each other: one counts when it reaches the encoder's
cut-off and comes near the picture's best.
"""

from __future__ import annotations

import builtins
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from retrieval.db import tags as db
from retrieval.errors import QueryError
from retrieval.types import Tag

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from retrieval.db.reads import EncoderInfo
    from retrieval.protocols import Encoder, Progress, VectorStore
    from retrieval.state import State

MOST_TAGS = 10
"""Tags that a picture gets at most."""
NEAR_BEST = 0.75
"""What share of its best tag's confidence another tag of a picture needs."""
LIKELY = 32
"""Tags of a picture, by the vectors alone, that get the encoder's second look."""
BLOCK = 16384
MAX_TAG, MAX_PROMPT = 100, 1000

Vocabulary = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class TagCount:
    """A tag, what is looked for, and how many pictures have it; a tag only people use has no prompt."""

    tag: str
    prompt: str | None
    count: int

    def as_dict(self) -> dict[str, str | int | None]:
        return {"tag": self.tag, "prompt": self.prompt, "count": self.count}


class Tags:
    """The tags of a catalog: its vocabulary, what the model made of it, and what people said."""

    def __init__(self, state: State) -> None:
        self._state = state

    def update(self, *, again: bool = False, progress: Progress | None = None) -> int:
        """Tag the pictures that are due: new or changed ones, and all once vocabulary or model changed.

        Works from the stored vectors. Returns how many pictures were tagged; what was done
        before an interruption is kept. `again` tags every picture anew, which is of use once
        the catalog has grown a lot, because a match is measured against the whole of it. A
        catalog without a vocabulary gets the default one.
        """
        import numpy as np

        state = self._state
        state.check_writable()
        info = state.active()
        vocabulary = self._vocabulary()
        with state.snapshot() as reader:
            due = self._due(info, again=again)
            decided = db.decided(reader) if len(due) else {}
        if not len(due):
            return 0
        encoder = state.encoder(info)
        look = _Look.prepared(state, info, encoder, vocabulary)
        if progress is not None:
            progress("encode", {"total": len(due), "done": 0})
        from retrieval.db.tags_writes import store_tags

        for start in range(0, len(due), BLOCK):
            ids = due[start : start + BLOCK]
            rows = look.rows(ids, decided)
            with state.lock:
                state.still(info)
            with state.writer() as writer:
                store_tags(writer, info.id, ids.tolist(), list(rows))
            if progress is not None:
                done = start + len(ids)
                progress("advance", {"total": len(due), "done": done, "failed": 0})
        return int(np.size(due))

    def add(self, tag: str, *, prompt: str | None = None) -> None:
        """Put a tag into the vocabulary, or change what is looked for; the next `update` applies it."""
        self.load([(tag, tag if prompt is None else prompt)], merge=True)

    def remove(self, tag: str) -> None:
        """Take a tag out of the vocabulary, and off every picture, a person's word included."""
        from retrieval.db.tags_writes import remove_tag

        name = _checked(tag)
        self._vocabulary()
        with self._state.writer() as writer:
            if not remove_tag(writer, name):
                raise QueryError(f"There is no tag '{name}'. See those there are: search tag list")

    def load(self, vocabulary: Vocabulary, *, merge: bool = False) -> int:
        """Make (tag, prompt) pairs the vocabulary, or with `merge` part of it; returns how many changed."""
        from retrieval.db.tags_writes import put_vocabulary

        entries = {_checked(tag): _checked(prompt, MAX_PROMPT) for tag, prompt in vocabulary}
        if not entries:
            raise QueryError("A vocabulary without a tag tags nothing. Give at least one, a line each.")
        if merge:
            self._vocabulary()
        with self._state.writer() as writer:
            return put_vocabulary(writer, list(entries.items()), replace=not merge)

    def list(self) -> builtins.list[TagCount]:
        """Every tag of the vocabulary and of the pictures, the most frequent first."""
        with self._state.snapshot() as reader:
            prompts = dict(db.vocabulary(reader)) or dict(default_vocabulary())
            counts = db.counts(reader)
        found = [TagCount(tag, prompts.get(tag), counts.get(tag, 0)) for tag in prompts.keys() | counts.keys()]
        return sorted(found, key=lambda one: (-one.count, one.tag))

    def of(self, image: int | str | os.PathLike[str]) -> tuple[Tag, ...]:
        """The tags of a picture, the surest first."""
        image_id = self._image_id(image)
        with self._state.snapshot() as reader:
            rows = db.of_images(reader, [image_id]).get(image_id, [])
        return tuple(Tag(tag, confidence) for tag, confidence in rows)

    def set(self, image: int | str | os.PathLike[str], tag: str) -> None:
        """Say that a picture has a tag, of the vocabulary or not; no update changes that."""
        self._decide(image, tag, kept=True)

    def unset(self, image: int | str | os.PathLike[str], tag: str) -> None:
        """Say that a picture does not have a tag; no update changes that."""
        self._decide(image, tag, kept=False)

    def _decide(self, image: int | str | os.PathLike[str], tag: str, *, kept: bool) -> None:
        name, image_id = _checked(tag), self._image_id(image)
        self._state.check_writable()
        from retrieval.db.tags_writes import decide

        with self._state.writer() as writer:
            decide(writer, image_id, name, kept=kept)

    def _image_id(self, image: int | str | os.PathLike[str]) -> int:
        from retrieval.db.duplicates import image_ids

        with self._state.snapshot() as reader:
            return image_ids(reader, [image], self._state.location.name)[0]

    def _vocabulary(self) -> builtins.list[tuple[str, str]]:
        """The catalog's vocabulary; the default one moves in where there is none."""
        with self._state.snapshot() as reader:
            found = db.vocabulary(reader)
        if found:
            return found
        from retrieval.db.tags_writes import put_vocabulary

        with self._state.writer() as writer:
            put_vocabulary(writer, default_vocabulary())
        with self._state.snapshot() as reader:
            return db.vocabulary(reader)

    def _due(self, info: EncoderInfo, *, again: bool) -> NDArray[np.int64]:
        import numpy as np

        from retrieval.query.filters import Filter

        view = self._state.view(self._state.still(info), Filter())
        ids = view.store.ids if view.visible is None else view.store.ids[view.visible]
        if again:
            return np.array(ids)
        return ids[~np.isin(ids, db.tagged_ids(self._state.reader, info.id))]


@dataclass(frozen=True, slots=True)
class _Look:
    """A vocabulary as vectors, and how each of its tags does over the catalog."""

    names: list[str]
    prompts: list[str]
    vectors: NDArray[np.float32]
    encoder: Encoder
    store: VectorStore
    sample: NDArray[np.float32]
    """[pictures drawn, tags]: the cosines that a match is measured against."""
    sample_aux: list[bytes]

    @classmethod
    def prepared(cls, state: State, info: EncoderInfo, encoder: Encoder, vocabulary: Vocabulary) -> _Look:
        import numpy as np

        from retrieval.query.filters import Filter

        prompts = [prompt for _, prompt in vocabulary]
        vectors = encoder.encode_texts(prompts)
        with state.snapshot():
            view = state.view(state.still(info), Filter())
            drawn = view.store.sampled(allowed=view.visible)
            sample = np.ascontiguousarray((view.store.vectors(drawn) @ vectors.T).astype(np.float32))
            aux = view.store.aux(drawn)
        return cls([tag for tag, _ in vocabulary], prompts, vectors, encoder, view.store, sample, aux)

    def matches(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """[pictures, tags]: how likely each tag is, 0 for those that are not worth a second look."""
        import numpy as np

        from retrieval.protocols import Sample, SecondStage

        scores = (self.store.vectors(ids) @ self.vectors.T).astype(np.float32)
        found = np.zeros_like(scores)
        second = self.encoder if isinstance(self.encoder, SecondStage) else None
        if second is None:
            for number in range(len(self.names)):
                found[:, number] = self.encoder.match(scores[:, number], self.sample[:, number])
            return found
        aux = np.array(self.store.aux(ids), dtype=object)
        likely = _likely(scores, self.sample)
        for number, prompt in enumerate(self.prompts):
            rows = np.flatnonzero(likely[:, number])
            if len(rows):
                drawn = Sample(self.sample[:, number], self.sample_aux)
                found[rows, number] = second.look_again(
                    prompt, self.vectors[number], scores[rows, number], aux[rows].tolist(), drawn
                )
        return found

    def rows(
        self, ids: NDArray[np.int64], decided: dict[int, set[str]]
    ) -> Iterator[tuple[int, str, float, bool]]:
        """The tags of some pictures; one without any keeps its best as a mark that it was looked at."""
        import numpy as np

        matches = self.matches(ids)
        best = np.argsort(-matches, axis=1, kind="stable")[:, : MOST_TAGS + 1]
        values = np.take_along_axis(matches, best, axis=1)
        least = np.maximum(self.encoder.cutoff, NEAR_BEST * values[:, :1])
        for image_id, tags, chances, enough in zip(
            ids.tolist(), best.tolist(), values.tolist(), (values >= least).tolist(), strict=True
        ):
            said = decided.get(image_id, set())
            own = [
                (image_id, self.names[tag], chance, kept)
                for tag, chance, kept in zip(tags, chances, enough, strict=True)
                if self.names[tag] not in said
            ][:MOST_TAGS]
            yield from [row for row in own if row[3]] or own[:1]


def _likely(scores: NDArray[np.float32], sample: NDArray[np.float32]) -> NDArray[np.bool_]:
    """The tags of each picture that stand out most from how they do over the catalog."""
    import numpy as np

    if scores.shape[1] <= LIKELY:
        return np.ones(scores.shape, np.bool_)
    centre = sample.mean(0) if len(sample) else np.zeros(scores.shape[1], np.float32)
    outstanding = scores - centre
    least = np.partition(outstanding, -LIKELY, axis=1)[:, -LIKELY]
    likely: NDArray[np.bool_] = outstanding >= least[:, None]
    return likely


def default_vocabulary() -> list[tuple[str, str]]:
    """The vocabulary that this program brings."""
    text = files("retrieval").joinpath("vocabulary/default.txt").read_text(encoding="utf-8")
    return parse_vocabulary(text, "the default vocabulary")


def read_vocabulary(path: str | os.PathLike[str]) -> list[tuple[str, str]]:
    """A vocabulary from a text file: `tag` or `tag: what to look for` a line, `#` before remarks."""
    place = Path(os.path.expanduser(path))
    try:
        text = place.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise QueryError(f"{place} cannot be read: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise QueryError(f"{place} is not a text in UTF-8. Save it as such, one tag a line.") from error
    return parse_vocabulary(text, str(place))


def parse_vocabulary(text: str, name: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        tag, _, prompt = line.partition(":")
        try:
            found.append((_checked(tag), _checked(prompt if prompt.strip() else tag, MAX_PROMPT)))
        except QueryError as error:
            raise QueryError(f"{name}, line {number}: {error}") from None
    return found


def _checked(text: str, most: int = MAX_TAG) -> str:
    """The text with single spaces between its words."""
    plain = " ".join(text.split())
    if not plain:
        raise QueryError("A tag needs a name of at least one letter.")
    if len(plain) > most:
        raise QueryError(f"'{plain[:30]}…' has {len(plain)} characters; at most {most} are taken.")
    if not plain.isprintable():
        raise QueryError("A tag's name has characters in it that cannot be shown.")
    return plain
