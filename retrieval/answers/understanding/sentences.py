"""The one question of a text that has several sentences: rules answer one at a time."""

from __future__ import annotations

import re

from retrieval.answers.understanding.beyond import unread

LONG_SENTENCE = 30
"""Words; a longer one asks its question somewhere inside."""
_END = re.compile(r"(?<=[?!])\s+|(?<=[^\W\d_]{4}\.)\s+(?=[A-Z\"“'])|(?<=\s\.)\s+")
_ASKS = re.compile(
    r"(?:and |but |or )?(?:is|are|was|were|do|does|did|have|has|had|can|could|would"
    r"|how|what|which|when|where|who|show|find|count|tell|describe|any)\b",
    re.IGNORECASE,
)
_INNER = re.compile(
    r"\b(?:know|say|see|wondering|wonder|tell me|tell us|much trouble|possible|check)\b,?\s+", re.IGNORECASE
)
_QUESTION = re.compile(r"(?:whether|if there|how many|how often|when|where|which|what|who)\b", re.IGNORECASE)
LEFT_TOLD = 80


def one_question(text: str) -> tuple[str, tuple[str, ...]]:
    """The first question of a spelled text, and what to say of the rest."""
    parts = [part for part in _sentences(text) if re.search(r"\w", part)]
    if len(parts) > 1:
        spoken = [part for part in parts if unread(part.strip(" ?!.")) is None or "?" in part]
        asking = [part for part in spoken if part.endswith("?") or _ASKS.match(part)]
        if asking:
            first, rest = asking[0], asking[1:]
            first, notes = _inner(first)
            if rest:
                left = " ".join(rest)
                left = left if len(left) <= LEFT_TOLD else left[: LEFT_TOLD - 1] + "…"
                notes = (*notes, f"One question is answered at a time: “{left}” was left aside; ask it next.")
            return first, notes
        for part in spoken:
            question, notes = _inner(part)
            if notes:
                return question, notes
    return _inner(text)


def _sentences(text: str) -> list[str]:
    """The sentences of a text; a quotation is never cut."""
    parts: list[str] = []
    for part in _END.split(text):
        if parts and parts[-1].count('"') % 2:
            parts[-1] += f" {part}"
        else:
            parts.append(part)
    return parts


def _inner(sentence: str) -> tuple[str, tuple[str, ...]]:
    """Of a long sentence, the question that it comes to at last: "..., whether there is a dog"."""
    if len(sentence.split()) <= LONG_SENTENCE:
        return sentence, ()
    starts = [found.end() for found in _INNER.finditer(sentence) if _QUESTION.match(sentence, found.end())]
    if not starts:
        return sentence, ()
    question = sentence[starts[-1] :]
    return question, (f"Of the question only this was read: “{question[:LEFT_TOLD].strip()}”.",)
