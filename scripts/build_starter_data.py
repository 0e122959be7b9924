"""Make the starter's matrices from `tables.json`: run it after changing a name, gloss or word.

    python scripts/build_starter_data.py

Writes beside the tables: `labels.npy` (where each of the 1000 classes lies), `texts.npy` (the
vector of every class, kind and context word), `class_texts.npy` (which of those texts speak
for which class, and at what discount), `words.txt` (every word of names, kinds and contexts) and
`class_words.npy` (which classes each word stands for, and how strongly, in tenths).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import numpy as np

from retrieval.encoders.classes import DATA, content_words
from retrieval.encoders.minilm import TextTower

KINDS_SHARE, CONTEXT_SHARE = 0.1, 0.4
STRONG, WEAK = 1.0, 0.5
STRONG_WORD, WEAK_WORD = 6, 3
KIND_DISCOUNT, CONTEXT_DISCOUNT, WEAK_DISCOUNT = 50, 100, 100


def unit(rows: np.ndarray) -> np.ndarray:
    lengths: np.ndarray = np.linalg.norm(rows, axis=-1, keepdims=True)
    unit_rows: np.ndarray = rows / lengths
    return unit_rows


def main() -> None:
    tables = json.loads((DATA / "tables.json").read_text(encoding="utf-8"))
    classes, nodes, contexts = tables["classes"], tables["nodes"], tables["context"]
    encode = TextTower().encode

    names = encode([item["name"] for item in classes])
    kinds = encode([f"{item['name']}, a kind of {', '.join(item['kind'])}" for item in classes])
    glosses = encode([f"{item['name']}: {item['gloss']}" for item in classes])
    ancestors = unit(
        encode([item["name"] for item in nodes]) + encode([f"{n['name']}: {n['gloss']}" for n in nodes])
    )
    words = encode([word for item in contexts for word in item["words"]])

    labels = unit(names + kinds + glosses)
    entries = [(index, index, 0) for index in range(len(classes))]
    for position, node in enumerate(nodes):
        labels[node["leaves"]] += KINDS_SHARE * ancestors[position]
        entries += [(leaf, len(classes) + position, KIND_DISCOUNT) for leaf in node["leaves"]]
    word = 0
    for context in contexts:
        own = range(word, word + len(context["words"]))
        mean = unit(words[own].mean(0))
        for share, discount, leaves in (
            (STRONG, CONTEXT_DISCOUNT, context["strong"]),
            (WEAK, CONTEXT_DISCOUNT + WEAK_DISCOUNT, context["weak"]),
        ):
            labels[leaves] += CONTEXT_SHARE * share * mean
            first = len(classes) + len(nodes)
            entries += [(leaf, first + text, discount) for leaf in leaves for text in own]
        word = own.stop

    meant = word_degrees(tables)
    vocabulary = sorted({word for _, word in meant})
    rows = {word: row for row, word in enumerate(vocabulary)}
    table = sorted((rows[word], leaf, degree) for (leaf, word), degree in meant.items())
    (DATA / "words.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    np.save(DATA / "class_words.npy", np.array(table, np.uint16))

    np.save(DATA / "labels.npy", unit(labels).astype(np.float16))
    np.save(DATA / "texts.npy", np.concatenate([unit(names + kinds), ancestors, words]).astype(np.float16))
    np.save(DATA / "class_texts.npy", np.array(sorted(entries), np.uint16))


def word_degrees(tables: dict[str, list[dict[str, Any]]]) -> dict[tuple[int, str], int]:
    """In tenths, how strongly a word stands for a class: its own and its kinds' wholly."""
    degrees: dict[tuple[int, str], int] = {}

    def add(leaves: Iterable[int], texts: Iterable[str], degree: int) -> None:
        words = {word for text in texts for word in content_words(text)}
        for key in ((leaf, word) for leaf in leaves for word in words):
            degrees[key] = max(degree, degrees.get(key, 0))

    for index, item in enumerate(tables["classes"]):
        add([index], [item["name"], *item["syn"], *item["kind"]], 10)
    for node in tables["nodes"]:
        add(node["leaves"], [node["name"]], 10)
    for context in tables["context"]:
        add(context["strong"], context["words"], STRONG_WORD)
        add(context["weak"], context["words"], WEAK_WORD)
    return degrees


if __name__ == "__main__":
    main()
