"""Whether somebody has written of a picture what a question asks for: in a text, a keyword, a file's name."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from retrieval.answers.understanding.subjects import GLUE
from retrieval.english.file_names import said_by
from retrieval.english.nouns import single
from retrieval.english.quoting import visible

if TYPE_CHECKING:
    from retrieval.speech import Facts

    Source = Literal["text", "file"]

TOLD = 0.95
"""How sure it is what is written of a picture."""


def written(subject: str, facts: Facts) -> Source | None:
    """Where all the words of a subject are written of a picture; None where they are not."""
    wanted = {single(word) for word in _words(subject) if word not in GLUE}
    if not wanted:
        return None
    own = [*facts.keywords, *(tag.tag for tag in facts.tags if tag.confidence >= 1)]
    if any(wanted <= _forms(text) for text in [*(told.text for told in facts.told), " ".join(own)]):
        return "text"
    return "file" if wanted <= _forms(file_words(facts)) else None


def file_words(facts: Facts) -> str:
    """What the name of a picture's file says; empty where a camera gave it."""
    return "" if facts.path is None else said_by(visible(facts.path.stem))


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())


def _forms(text: str) -> set[str]:
    return {single(word) for word in _words(text)}
