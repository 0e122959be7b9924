"""From the terms of a query to vectors: what the catalog has is looked up, the rest is encoded."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from retrieval.errors import ImageError, QueryError
from retrieval.query.terms import is_url

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    from retrieval.concepts import Learnt
    from retrieval.db.reads import EncoderInfo
    from retrieval.protocols import Encoder
    from retrieval.query.terms import Picture, Query, Term
    from retrieval.state import State


@dataclass(frozen=True, slots=True)
class Meant:
    """A term and its vector in the encoder's space."""

    term: Term
    vector: NDArray[np.float32]
    image_id: int | None = None
    """The picture of the catalog that the vector is of."""
    learnt: Learnt | None = None
    """For a concept: what was learnt of it."""

    @property
    def text(self) -> str | None:
        return str(self.term.value) if self.term.kind == "text" else None


def meant(
    state: State, info: EncoderInfo, encoder: Encoder, query: Query, *, allow_url: bool = False
) -> list[Meant]:
    """Every term with its vector, in an order that does not depend on how the sum was written."""
    vectors = state.text_vectors(encoder, [str(term.value) for term in query.terms if term.kind == "text"])
    found = []
    for term in query.terms:
        try:
            if term.kind == "text":
                found.append(Meant(term, vectors[str(term.value)]))
            elif term.kind == "image":
                image_id, vector = picture_vector(state, info, encoder, term.value, allow_url=allow_url)
                found.append(Meant(term, vector, image_id=image_id))
            else:
                from retrieval.concepts import Concepts

                learnt = Concepts(state).learnt(str(term.value), info)
                found.append(Meant(term, learnt.vector, learnt=learnt))
        except QueryError as error:
            if query.written is None or error.query is not None:
                raise
            raise QueryError(str(error), query=query.written, at=term.at) from error
    return sorted(found, key=lambda item: (item.term.kind, str(item.term.value), item.term.weight))


def picture_vector(
    state: State, info: EncoderInfo, encoder: Encoder, picture: Picture, *, allow_url: bool = False
) -> tuple[int | None, NDArray[np.float32]]:
    """A picture's vector: of the catalog where it is there and unchanged, else encoded now."""
    import numpy as np

    image_id = state.find_picture(picture)
    if image_id is not None:
        with state.snapshot():
            store = state.images(state.still(info)).store
            place = int(np.searchsorted(store.ids, image_id))
            if place < len(store.ids) and int(store.ids[place]) == image_id:
                return image_id, store.vectors(np.array([image_id]))[0]
        if not isinstance(picture, str | os.PathLike):
            raise QueryError(
                f"The catalog at {state.location.name} has no picture {picture} to compare with."
            )
    return None, encoder.encode_images([open_picture(picture, allow_url=allow_url)])[0]


def open_picture(picture: Picture, *, allow_url: bool = False) -> Image.Image:
    """An upright RGB picture from a file, a URL or an open image; errors name what was asked for."""
    from retrieval.images import load_image, upright

    if not isinstance(picture, str | os.PathLike):
        if isinstance(picture, int) or not hasattr(picture, "getexif"):
            raise QueryError(f"A picture is a path, an id or a Pillow image, not {type(picture).__name__}.")
        return upright(picture)
    name = os.fspath(picture)
    try:
        if is_url(picture):
            from retrieval.fetch import fetch_image

            return load_image(fetch_image(name, allow=allow_url), name=name)
        path = Path(name).expanduser()
        if not path.exists():
            raise QueryError(
                f"There is no file {path}. Check its name; to look for the words instead, "
                "leave out what makes it a path."
            )
        if path.is_dir():
            raise QueryError(f"{path} is a folder, not a picture. Name one picture in it.")
        return load_image(path)
    except ImageError as error:
        raise type(error)(f"{name} cannot be used as a picture: {error}", reason=error.reason) from error
