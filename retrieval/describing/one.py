"""One picture in words, of the catalog or not."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from retrieval.db import reads
from retrieval.describing.sights import NEAR, check_style, chosen, opened, sight, small
from retrieval.errors import ImageError, ImageUnreadable, QueryError
from retrieval.facts import catalog_facts, outside_facts
from retrieval.meaning import open_picture
from retrieval.query.terms import is_url
from retrieval.types import Description

if TYPE_CHECKING:
    from PIL import Image

    from retrieval.protocols import Captioner
    from retrieval.query.terms import Picture
    from retrieval.speech import Facts, Style
    from retrieval.state import State

BUILT_IN = (
    "The built-in describer goes by what the catalog knows: search describe IMAGE --captioner describer"
)


def describe(
    state: State,
    picture: Picture,
    *,
    captioner: str | Captioner | None = None,
    style: Style = "caption",
    allow_url: bool = False,
) -> Description:
    """A picture in words; see `Catalog.describe`."""
    check_style(style)
    speaker = chosen(captioner)
    image_id = _known(state, picture)
    if image_id is not None:
        facts, image, notes = _of_catalog(state, image_id, looking=speaker.sees)
    else:
        facts, image, notes = _from_outside(state, picture, allow_url=allow_url)
    captions = speaker.captions([sight(facts, image)], style=style)[0]
    if not captions:
        notes.append(f"{speaker.id} has no words for it.")
    return Description(
        path=facts.path,
        caption=captions[0] if captions else "",
        tags=facts.tags,
        captioner=speaker.id,
        image_id=image_id,
        note=" ".join(part for part in (speaker.note, *notes) if part),
        seen=speaker.sees,
    )


def _known(state: State, picture: Picture) -> int | None:
    """The picture of the catalog that is meant, also where its file has gone."""
    image_id = state.find_picture(picture)
    if image_id is not None or not isinstance(picture, str | os.PathLike) or is_url(picture):
        return image_id
    path = os.path.abspath(os.path.expanduser(picture))
    if os.path.lexists(path):
        return None
    with state.snapshot():
        row = reads.file_at(state.reader, os.fsencode(path))
    return None if row is None else row.id


def _of_catalog(state: State, image_id: int, *, looking: bool) -> tuple[Facts, Image.Image | None, list[str]]:
    facts = catalog_facts(state, [image_id], near=NEAR).get(image_id)
    if facts is None or facts.path is None:
        raise QueryError(
            f"The catalog at {state.location.name} has no picture {image_id}. "
            "The ids are those that search --json shows."
        )
    if looking:
        return facts, _opened(facts.path), []
    gone = not facts.path.exists()
    return facts, None, ["Its file is not there now: this is what the catalog knows of it."] if gone else []


def _from_outside(
    state: State, picture: Picture, *, allow_url: bool
) -> tuple[Facts, Image.Image | None, list[str]]:
    path = None
    if isinstance(picture, str | os.PathLike) and not is_url(picture):
        path = Path(os.path.abspath(os.path.expanduser(picture)))
        if not path.exists():
            raise QueryError(
                f"There is no file {os.fspath(picture)}, and the catalog at {state.location.name} knows of "
                "none there. Check its name."
            )
    image = open_picture(picture, allow_url=allow_url)
    facts = outside_facts(state, image, path, near=NEAR)
    with state.snapshot():
        empty = reads.active_encoder(state.reader) is None
    note = (
        "The catalog holds no pictures yet, so there is no model to give tags. Index some: search index PATH"
    )
    return facts, small(image), [note] if empty else []


def _opened(path: Path) -> Image.Image:
    if not path.exists():
        raise ImageUnreadable(
            f"{path} is not there now, so nothing can look at it. {BUILT_IN}", reason="unreadable"
        )
    try:
        return opened(path)
    except ImageError as error:
        raise type(error)(f"{path} cannot be looked at: {error}. {BUILT_IN}", reason=error.reason) from error
