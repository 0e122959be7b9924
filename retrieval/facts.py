"""What is known of pictures without looking at them again: tags, texts, time, place, camera."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from retrieval.db import facts as db
from retrieval.db import reads
from retrieval.db import tags as tags_db
from retrieval.db.circumstances import camera_name
from retrieval.db.texts import EMBEDDED, OCR
from retrieval.db.wording import embedded_text
from retrieval.protocols import Naming
from retrieval.speech import Facts, FittingText, Named, Told
from retrieval.types import Tag
from retrieval.vocabulary import default_vocabulary

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    from retrieval.db.reads import EncoderInfo
    from retrieval.protocols import Encoder, VectorStore
    from retrieval.state import State
    from retrieval.types import Vectors
    from retrieval.vocabulary.look import Look

BEFORE_NEAR = 4
"""How many texts are fetched for each that is wanted: many are tied to pictures, or say the same."""

_looks: WeakKeyDictionary[State, tuple[object, Look]] = WeakKeyDictionary()
_looks_lock = threading.Lock()


def catalog_facts(
    state: State, image_ids: Sequence[int], *, near: int = 0, tags: bool = True
) -> dict[int, Facts]:
    """What the catalog knows of its pictures, by id; an id that it does not have is left out.

    Tags are the stored ones; a picture that was not tagged since it, the vocabulary or the model
    changed gets its tags from its stored vector, and nothing of that is written. With `near`, up
    to that many texts of the catalog that are tied to no picture and fit this one.
    """
    with state.snapshot() as reader:
        rows = db.known(reader, image_ids)
        texts = db.texts(reader, list(rows))
        info = reads.active_encoder(reader)
    tagged: dict[int, tuple[Tag, ...]] = {}
    named: dict[int, tuple[Named, ...]] = {}
    fits: dict[int, tuple[FittingText, ...]] = {}
    if info is not None and rows:
        if tags:
            tagged, named = _tagged(state, info, list(rows))
        if near > 0:
            fits = _fits(state, info, list(rows), near)
    return {
        image_id: Facts(
            path=Path(os.fsdecode(row.path)),
            image_id=image_id,
            tags=tagged.get(image_id, ()),
            named=named.get(image_id, ()),
            told=tuple(Told(text, source) for text, source in texts.get(image_id, ()) if source != OCR),
            fits=fits.get(image_id, ()),
            seen="\n".join(text for text, source in texts.get(image_id, ()) if source == OCR),
            taken_at=row.taken_at,
            place=_place(row.latitude, row.longitude),
            camera=camera_name(row.camera_make, row.camera_model),
            keywords=row.keywords,
            width=row.width,
            height=row.height,
        )
        for image_id, row in rows.items()
    }


def outside_facts(
    state: State, image: Image.Image, path: str | os.PathLike[str] | None = None, *, near: int = 0
) -> Facts:
    """The same of an upright picture that is not in the catalog, and of its file where it has one.

    It gets the tags that the catalog's model and vocabulary would give it; a catalog without any
    picture has no model, and then there are none.
    """
    facts = _file_facts(image, path)
    with state.snapshot():
        info = reads.active_encoder(state.reader)
    if info is None:
        return facts
    encoder = state.encoder(info)
    encoded = encoder.encode_prepared([encoder.preparer(image)])
    aux = encoded.aux or [b""]
    look = _look(state, info, encoder)
    facts = replace(
        facts, tags=_chosen(look, encoded.vectors, aux, [{}])[0], named=tuple(_names(encoder, aux)[0])
    )
    if near > 0:
        with state.snapshot():
            facts = replace(facts, fits=_fitting(state, state.still(info), encoder, encoded.vectors[0], near))
    return facts


def _tagged(
    state: State, info: EncoderInfo, image_ids: Sequence[int]
) -> tuple[dict[int, tuple[Tag, ...]], dict[int, tuple[Named, ...]]]:
    """The tags of pictures, and the names that the model has for them."""
    encoder = state.encoder(info)
    with state.snapshot() as reader:
        done = db.tagged(reader, info.id, image_ids)
        stored = tags_db.of_images(reader, image_ids)
        decided = db.decided(reader, image_ids)
        store = state.images(state.still(info)).store
        held = _held(store, image_ids)
        vectors, aux = store.vectors(held), store.aux(held)
    ids = held.tolist()
    tags = {image_id: tuple(Tag(*row) for row in rows) for image_id, rows in stored.items()}
    due = [place for place, image_id in enumerate(ids) if image_id not in done]
    if due:
        said = [decided.get(ids[place], {}) for place in due]
        look = _look(state, info, encoder)
        chosen = _chosen(look, vectors[due], [aux[place] for place in due], said)
        tags.update(zip((ids[place] for place in due), chosen, strict=True))
    named = {}
    for image_id, names in zip(ids, _names(encoder, aux), strict=True):
        refused = {tag.casefold() for tag, kept in decided.get(image_id, {}).items() if not kept}
        named[image_id] = tuple(
            one
            for one in names
            if refused.isdisjoint({one.name.casefold(), *(kind.casefold() for kind in one.kinds)})
        )
    return tags, named


def _held(store: VectorStore, image_ids: Sequence[int]) -> NDArray[np.int64]:
    """Those of the pictures that have a vector, in order."""
    import numpy as np

    held = np.array(sorted(image_ids), np.int64)
    return held[np.isin(held, store.ids)]


def _look(state: State, info: EncoderInfo, encoder: Encoder) -> Look:
    """The catalog's vocabulary, made ready once for each state of the catalog."""
    from retrieval.vocabulary.look import Look

    with state.snapshot():
        vocabulary = tags_db.vocabulary(state.reader) or default_vocabulary()
    key = (info, tuple(vocabulary))
    with _looks_lock:
        known = _looks.get(state)
    if known is not None and known[0] == key:
        return known[1]
    look = Look.prepared(state, info, encoder, vocabulary)
    with _looks_lock:
        _looks[state] = key, look
    return look


def _chosen(
    look: Look, vectors: Vectors, aux: Sequence[bytes], decided: Sequence[Mapping[str, bool]]
) -> list[tuple[Tag, ...]]:
    """The tags that an update would give; what a person said of a tag stands."""
    from retrieval.vocabulary.look import MOST_TAGS

    found = []
    for rows, said in zip(look.ranked(look.judged(vectors, aux)), decided, strict=True):
        own = [(tag, chance) for tag, chance, kept in rows if tag not in said and kept][:MOST_TAGS]
        own += [(tag, 1.0) for tag, kept in said.items() if kept]
        found.append(tuple(Tag(*row) for row in sorted(own, key=lambda row: (-row[1], row[0]))))
    return found


def _names(encoder: Encoder, aux: Sequence[bytes]) -> list[list[Named]]:
    return encoder.names(aux) if isinstance(encoder, Naming) else [[] for _ in aux]


def _fits(
    state: State, info: EncoderInfo, image_ids: Sequence[int], near: int
) -> dict[int, tuple[FittingText, ...]]:
    """The texts tied to no picture that fit each of some pictures."""
    encoder = state.encoder(info)
    with state.snapshot():
        current = state.still(info)
        store = state.images(current).store
        held = _held(store, image_ids)
        return {
            image_id: _fitting(state, current, encoder, vector, near)
            for image_id, vector in zip(held.tolist(), store.vectors(held), strict=True)
        }


def _fitting(
    state: State, info: EncoderInfo, encoder: Encoder, vector: NDArray[np.float32], near: int
) -> tuple[FittingText, ...]:
    """The best texts that are tied to no picture and fit a vector; to be called inside a snapshot."""
    if not info.text_generation:
        return ()
    store, count = state.texts(info).store, BEFORE_NEAR * near
    while True:
        ids, scores = store.search(vector, count)
        matches = encoder.match(scores, store.sample(vector), pair="image-text").tolist()
        rows = reads.texts_by_id(state.reader, ids.tolist())
        found: dict[str, float] = {}
        for text_id, chance in zip(ids.tolist(), matches, strict=True):
            row = rows.get(text_id)
            if chance >= encoder.cutoff and row is not None and row.image_id is None:
                found.setdefault(row.text, chance)
        # Texts that belong to pictures take no place: past them the search goes on.
        done = not matches or matches[-1] < encoder.cutoff
        if len(found) >= near or done or count >= len(store.ids):
            return tuple(FittingText(text, chance) for text, chance in list(found.items())[:near])
        count *= 8


def _file_facts(image: Image.Image, path: str | os.PathLike[str] | None) -> Facts:
    """What a file says of itself, apart from its pixels."""
    width, height = image.info.get("full_size", image.size)
    if path is None:
        return Facts(width=width, height=height)
    from retrieval.images import open_image, read_file
    from retrieval.images.metadata import read_metadata

    place = Path(path)
    found = read_metadata(open_image(read_file(place).data, name=place.name), place.name)
    said = embedded_text(found.title, found.description)
    return Facts(
        path=place,
        told=(Told(said, EMBEDDED),) if said else (),
        taken_at=found.taken_at,
        place=_place(found.latitude, found.longitude),
        camera=camera_name(found.camera_make, found.camera_model),
        keywords=found.keywords,
        width=width,
        height=height,
    )


def _place(latitude: float | None, longitude: float | None) -> str | None:
    """The nearest town, with its country."""
    if latitude is None or longitude is None:
        return None
    from retrieval.query.places import known_place

    town = known_place(latitude, longitude)
    return None if town is None else f"{town.name}, {town.country}"
