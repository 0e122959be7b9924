"""The names of the starter's classes, and what kinds of thing they are."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import lru_cache

from retrieval.encoders.classes import CLASSES, DATA, unpack
from retrieval.speech import Named

MOST = 3
"""Names of a picture that are worth telling."""
_BETWEEN = re.compile(r"[\s-]")
_REMARK = re.compile(r"\s*\([^)]*\)")


def names(aux: Sequence[bytes]) -> list[list[Named]]:
    """The likeliest classes of each picture; none where nothing is known of it."""
    known = _known()
    top = unpack(aux)
    return [
        [
            Named(known[number][0], chance, known[number][1])
            for number, chance in zip(classes[:MOST], chances[:MOST], strict=True)
            if chance > 0
        ]
        for classes, chances in zip(top.classes.tolist(), top.chances.tolist(), strict=True)
    ]


@lru_cache(maxsize=1)
def _known() -> list[tuple[str, tuple[str, ...]]]:
    """The name of each class, and its kinds from the nearest to the widest."""
    tables = json.loads((DATA / "tables.json").read_text(encoding="utf-8"))
    kinds: list[list[tuple[int, str]]] = [[] for _ in range(CLASSES)]
    for node in tables["nodes"]:
        for leaf in node["leaves"]:
            kinds[leaf].append((len(node["leaves"]), node["name"]))
    return [
        (_name(row["name"], row["syn"]), tuple(name for _, name in sorted(found)))
        for row, found in zip(tables["classes"], kinds, strict=True)
    ]


def _name(name: str, synonyms: Sequence[str]) -> str:
    """The name as it is written in a sentence: the tables begin every word of a breed with a capital."""
    plain = _REMARK.sub("", name)
    spelt = {synonym.casefold(): synonym for synonym in synonyms}
    if plain.casefold() in spelt:
        return spelt[plain.casefold()]
    # Of `Python sebae` and `rock python`, the one that is no name in Latin comes last.
    every = sorted(word for synonym in synonyms for word in _BETWEEN.split(synonym))
    words = {word.casefold(): word for word in every}
    first, *others = plain.replace(" / ", " or ").split()
    return " ".join(
        [words.get(first.casefold(), first), *(words.get(word.casefold(), word.lower()) for word in others)]
    )
