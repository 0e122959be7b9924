"""Words for what is in each picture, from a vocabulary that people edit.

A tag is a query asked of the whole catalog: how likely a picture is to be meant by it is the
encoder's calibrated match of the tag's prompt, and the encoder's second look where it has
one. Tags of a picture also compete with each other: one counts when it reaches the encoder's
cut-off and comes near the picture's best.
"""

from __future__ import annotations

import builtins
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrieval.db import reads
from retrieval.db import tags as db
from retrieval.errors import QueryError
from retrieval.types import Tag, path_fields
from retrieval.vocabulary import Vocabulary, checked, default_vocabulary, entry

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from retrieval.db.reads import EncoderInfo
    from retrieval.protocols import Progress
    from retrieval.state import State

BLOCK = 16384


@dataclass(frozen=True, slots=True)
class TagCount:
    """A tag, what is looked for, and how many pictures have it; a tag only people use has no prompt."""

    tag: str
    prompt: str | None
    count: int

    def as_dict(self) -> dict[str, str | int | None]:
        return {"tag": self.tag, "prompt": self.prompt, "count": self.count}


@dataclass(frozen=True, slots=True)
class Tagged:
    """A picture and its tags, the surest first."""

    image_id: int
    path: Path
    tags: tuple[Tag, ...]

    def as_dict(self) -> dict[str, Any]:
        tags = [{"tag": one.tag, "confidence": round(one.confidence, 4)} for one in self.tags]
        return {**path_fields(self.path), "image_id": self.image_id, "tags": tags}


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
        from retrieval.vocabulary.look import Look

        encoder = state.encoder(info)
        look = Look.prepared(state, info, encoder, vocabulary)
        if progress is not None:
            progress("encode", {"total": len(due), "done": 0})
        from retrieval.db.tags_writes import store_tags

        for start in range(0, len(due), BLOCK):
            ids = due[start : start + BLOCK]
            rows = look.tags(ids, decided)
            with state.snapshot():
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

        name = checked(tag)
        self._vocabulary()
        with self._state.writer() as writer:
            if not remove_tag(writer, name):
                raise QueryError(f"There is no tag '{name}'. See those there are: search tag list")

    def load(self, vocabulary: Vocabulary, *, merge: bool = False) -> int:
        """Make (tag, prompt) pairs the vocabulary, or with `merge` part of it; returns how many changed."""
        from retrieval.db.tags_writes import put_vocabulary

        entries = dict(entry(tag, prompt) for tag, prompt in vocabulary)
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
        found = [
            TagCount(tag, prompts.get(tag), counts.get(tag, 0)) for tag in prompts.keys() | counts.keys()
        ]
        return sorted(found, key=lambda one: (-one.count, one.tag))

    def of(self, image: int | str | os.PathLike[str]) -> Tagged:
        """A picture's tags, the surest first."""
        image_id = self._image_id(image)
        with self._state.snapshot() as reader:
            rows = db.of_images(reader, [image_id]).get(image_id, [])
            path = reads.shown(reader, [image_id])[image_id].path
        tags = tuple(Tag(tag, confidence) for tag, confidence in rows)
        return Tagged(image_id, Path(os.fsdecode(path)), tags)

    def set(self, image: int | str | os.PathLike[str], tag: str) -> None:
        """Say that a picture has a tag, of the vocabulary or not; no update changes that."""
        self._decide(image, tag, kept=True)

    def unset(self, image: int | str | os.PathLike[str], tag: str) -> None:
        """Say that a picture does not have a tag; no update changes that."""
        self._decide(image, tag, kept=False)

    def _decide(self, image: int | str | os.PathLike[str], tag: str, *, kept: bool) -> None:
        name, image_id = checked(tag), self._image_id(image)
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
