"""Text that was read in pictures, as an answer by rules quotes it, and what is said where there is none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from retrieval.answers.telling.phrases import as_told, one_of
from retrieval.answers.telling.wording import plain, quoted
from retrieval.db.texts import OCR, has_any_from
from retrieval.english.certainty import band
from retrieval.english.nouns import single

if TYPE_CHECKING:
    from retrieval.answers.shapes import Finding, Plan
    from retrieval.speech import Facts
    from retrieval.state import State

MOST_QUOTES = 3
_WRITING = frozenset({"text", "writing", "word", "sign", "picture", "photo", "image", "caption", ""})
"""Things that are nothing but what is read in them."""


def read_out(findings: Sequence[tuple[int, Finding]], plan: Plan) -> list[str]:
    """Sentences with the text that was read; whether the picture shows the thing that was meant is apart."""
    thing = single(plain(plan.subject).lower())
    said = []
    for number, one in findings:
        if not one.facts.seen.strip():
            continue
        if thing in _WRITING:
            said.append(f"The {thing or 'text'} reads {quoted(one.facts.seen)} [{number}].")
        else:
            shows = "of" if band(one.match) == 0 else "that may show"
            shown = one_of(as_told(plain(plan.subject)))
            said.append(f"Read in a picture {shows} {shown}: {quoted(one.facts.seen)} [{number}].")
    return said[:MOST_QUOTES]


def unread_words(state: State, facts: Sequence[Facts]) -> str:
    """What is said where no text was read in the pictures, and how to have it read where none was at all."""
    if any(one.seen.strip() for one in facts):
        return ""
    with state.snapshot() as reader:
        read = has_any_from(reader, OCR)
    if read:
        return "No text was read in these pictures." if facts else ""
    return "Text in a picture is known where it was read: search index --ocr reads it."
