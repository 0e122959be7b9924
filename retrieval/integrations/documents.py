"""What a hit becomes where a library expects a document: words, and particulars beside them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from retrieval.captioners import load_captioner
from retrieval.facts import catalog_facts
from retrieval.speech import Sight
from retrieval.types import path_fields

if TYPE_CHECKING:
    from retrieval.catalog import Catalog
    from retrieval.speech import Facts
    from retrieval.types import Hit


def described(catalog: Catalog, hits: Sequence[Hit]) -> list[tuple[Hit, str, dict[str, Any]]]:
    """Each hit with what is known of it in words, and as plain values.

    No model looks at the pictures: the words are the texts tied to a picture, its tags, and
    what its file says. Captions that a model made before are among the texts.
    """
    facts = catalog_facts(catalog.state, [hit.image_id for hit in hits])
    hits = [hit for hit in hits if hit.image_id in facts]  # one may have been forgotten since
    sights = [Sight(facts[hit.image_id]) for hit in hits]
    words = load_captioner("describer").captions(sights) if sights else []
    return [
        (hit, said[0] if said else hit.path.name, _particulars(hit, sight.facts))
        for hit, said, sight in zip(hits, words, sights, strict=True)
    ]


def _particulars(hit: Hit, facts: Facts) -> dict[str, Any]:
    named = path_fields(hit.path)
    known: dict[str, Any] = {
        **named,
        "source": named["path"],
        "image_id": hit.image_id,
        "score": round(hit.score, 6),
        "match": round(hit.match, 4),
        "rank": hit.rank,
        "taken_at": facts.taken_at,
        "place": facts.place,
        "camera": facts.camera,
        "tags": [tag.tag for tag in facts.tags],
    }
    return {name: value for name, value in known.items() if value not in (None, [])}
