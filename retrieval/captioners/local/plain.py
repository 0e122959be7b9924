"""Text stays text: what looks like a model's own marks in it is broken up before the model reads it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

ALWAYS = ("<|placeholder|>", "<placeholder>", "<image>", "<video>", "<audio>")
"""What some processors put into a prompt and look for again, though no tokenizer knows it."""
ROUNDS = 8


class Plain:
    """Puts a space into whatever a tokenizer would read as one of its special tokens.

    `marks` are words that a template ends with a colon to say who speaks: `USER`, `Assistant`.
    The tokenizer has the last word: what it still reads as a special token, because it folds
    letters or widths first, is broken where it says that it stands.
    """

    def __init__(self, tokenizer: Any, marks: Iterable[str] = (), extra: Iterable[str] = ()) -> None:
        self._tokenizer = tokenizer
        special = set(tokenizer.all_special_tokens)
        added = {
            int(number): str(token)
            for number, token in tokenizer.added_tokens_decoder.items()
            if str(token).strip(" \t\n\r▁") and (len(str(token)) > 1 or str(token) in special)
        }
        # A letter that a tokenizer does not know is read as the unknown token: that is no mark.
        self._numbers = {number for number in added if number != tokenizer.unk_token_id}
        texts = {text for text in {*added.values(), *special, *extra, *ALWAYS} if len(text) > 1}
        self._written = re.compile("|".join(map(re.escape, sorted(texts, key=len, reverse=True))))
        names = "|".join(map(re.escape, sorted(marks)))
        self._marks = re.compile(rf"\b({names}):") if names else None

    def __call__(self, text: str) -> str:
        # Half a surrogate pair is no text to a tokenizer.
        text = text.encode("utf-8", "replace").decode("utf-8")
        for _ in range(ROUNDS):
            broken = self._written.sub(lambda found: f"{found[0][0]} {found[0][1:]}", text)
            if self._marks:
                broken = self._marks.sub(r"\1 :", broken)
            spans = self._read(broken)
            if broken == text and not spans:
                return text
            text = _split(broken, spans)
        # No space keeps them apart: then they go.
        while spans := self._read(text):
            text = _without(text, spans)
        return text

    def _read(self, text: str) -> list[tuple[int, int]]:
        """Where the tokenizer still sees special tokens; one that cannot say is held to the words alone."""
        if not self._tokenizer.is_fast or not text:
            return []
        read = self._tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        pairs = zip(read["input_ids"], read["offset_mapping"], strict=True)
        return [(start, end) for number, (start, end) in pairs if number in self._numbers and end > start]


def _split(text: str, spans: list[tuple[int, int]]) -> str:
    for start, end in reversed(spans):
        inner = start + len(text[start:end]) - len(text[start:end].lstrip()) + 1
        text = f"{text[:inner]} {text[inner:]}"
    return text


def _without(text: str, spans: list[tuple[int, int]]) -> str:
    for start, end in reversed(spans):
        text = text[:start] + text[end:]
    return text
