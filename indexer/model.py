"""The model of a run: which it is, what the catalog knows of it, and how it is had."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from retrieval import config, registry
from retrieval.errors import EncoderMismatch, ModelError

if TYPE_CHECKING:
    from indexer.run import Wishes
    from retrieval.db.reads import EncoderInfo
    from retrieval.protocols import Encoder, Progress


def chosen_model(
    known: Sequence[EncoderInfo], given: str | Encoder | None, tell: Progress
) -> tuple[str, EncoderInfo | None]:
    """The model to embed with, and what the catalog knows of it; None until it was loaded once."""
    active = next((info for info in known if info.active), None)
    if given is None and active is not None:
        return active.spec, active
    if given is not None and not isinstance(given, str):
        spec = str(getattr(given, "spec", given.id))
        return spec, next((info for info in known if info.key == given.id), None)
    from retrieval.models import resolve

    spec, why = resolve(given or config.default_model())
    if spec != given:
        tell("note", {"text": why})
    if not any(info.spec == spec for info in known):
        return spec, None
    # The same name may stand for other weights by now: what it is, only the model itself can say.
    key = registry.load_encoder(spec).id
    return spec, next((info for info in known if info.key == key), None)


def load_model(spec: str, wishes: Wishes, target: EncoderInfo | None, tell: Progress) -> tuple[str, Encoder]:
    """The encoder, and the spec it goes by: where `auto` chose what cannot be had, the built-in one."""
    given = wishes.model
    if given is not None and not isinstance(given, str):
        return spec, given
    from indexer.export import encoder_for_indexing
    from retrieval.models import AUTO

    load = wishes.load or encoder_for_indexing
    try:
        encoder = load(spec, tell)
    except ModelError as error:
        if target is not None or (given or config.default_model()).lower() != AUTO:
            raise
        tell("note", {"text": f"{error} Going on with the built-in {config.STARTER_MODEL}."})
        spec = config.STARTER_MODEL
        encoder = load(spec, tell)
    note = getattr(encoder, "note", None)
    if note:
        tell("note", {"text": str(note)})
    if given is None and target is not None and encoder.id != target.key:
        raise EncoderMismatch(
            f"The catalog's vectors are of {target.key}, but '{spec}' is now {encoder.id}. "
            f"Embed all pictures anew: search index --model {spec}"
        )
    return spec, encoder
