"""Words of a question that nothing is called by, and the ones that they may have been meant for."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING

from retrieval.answers.understanding.subjects import ASKING, GLUE, LOOKS
from retrieval.db.tags import given
from retrieval.english.nouns import many, single

if TYPE_CHECKING:
    from retrieval.state import State

LEAST_LETTERS, LONG_LETTERS = 3, 7
"""Of shorter words nothing is guessed; in words from the second on two letters may be wrong."""


def meant(state: State, words: str) -> str:
    """The words, those that nobody knows spelled as a known one is; empty where nothing is to be mended."""
    with state.snapshot() as reader:
        known = _known() | _pieces(given(reader))
    mended = [_mended(word, known) for word in words.split()]
    return " ".join(mended) if mended != words.split() else ""


def _mended(word: str, known: frozenset[str]) -> str:
    low = word.lower()
    if (
        not low.isascii()
        or not low.isalpha()
        or len(low) < LEAST_LETTERS
        or low in known | GLUE | ASKING | LOOKS
    ):
        return word
    if word[0].isupper() or {low, single(low)} & _common():
        return word  # a name, or a word that no tag has
    most = 2 if len(low) >= LONG_LETTERS else 1
    near = [
        (steps, abs(len(one) - len(low)), one) for one in known if (steps := _apart(low, one, most)) <= most
    ]
    if len(low) == LEAST_LETTERS:
        near = [one for one in near if sorted(one[2]) == sorted(low)]
    return min(near)[2] if near else word


@lru_cache(maxsize=1)
def _common() -> frozenset[str]:
    """The words that the built-in model of texts was made with: what is among them is no slip of the hand."""
    from retrieval.encoders.minilm import TOKENIZER

    pieces = json.loads(TOKENIZER.read_text(encoding="utf-8"))["model"]["vocab"]
    return frozenset(piece for piece in pieces if piece.isalpha())


@lru_cache(maxsize=1)
def _known() -> frozenset[str]:
    """What pictures are tagged with, and the kinds of things that rules know."""
    from retrieval.vocabulary import default_vocabulary

    return _pieces(text for pair in default_vocabulary() for text in pair)


def _pieces(texts: Iterable[str]) -> frozenset[str]:
    words = {
        word for text in texts for word in re.findall(r"[a-z]+", text.lower()) if len(word) >= LEAST_LETTERS
    }
    return frozenset(form for word in words for form in (word, single(word), many(single(word))))


def _apart(one: str, other: str, most: int) -> int:
    """Letters to change, leave out, add or swap with the next; beyond `most` they are not counted."""
    if abs(len(one) - len(other)) > most:
        return most + 1
    before, row = list[int](), list(range(len(other) + 1))
    for place, letter in enumerate(one, 1):
        older, before, row = before, row, [place]
        for at, its in enumerate(other, 1):
            steps = min(before[at] + 1, row[-1] + 1, before[at - 1] + (letter != its))
            if place > 1 and at > 1 and letter == other[at - 2] and one[place - 2] == its:
                steps = min(steps, older[at - 2] + 1)
            row.append(steps)
        if min(row) > most:
            return most + 1
    return row[-1]
