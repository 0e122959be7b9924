"""Texts to token numbers exactly as open_clip's tokenizers do it, without torch or transformers.

Two kinds: CLIP's own byte-pair tokenizer, and the tokenizers that models bring as a
`tokenizer.json`. Cleaning needs ftfy (and `regex` its letter classes) only for what plain
ASCII cannot contain, and those imports cost more than the whole of the rest.
"""

from __future__ import annotations

import re
import string
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

MERGES_FILE = "merges.txt"
TOKENIZER_FILE = "tokenizer.json"
SPECIALS = ("<start_of_text>", "<end_of_text>")

# Nothing in such a text can be changed by ftfy or by unescaping: no control character but
# those that count as white space, no ampersand.
_PLAIN = re.compile(r"[\t\n !-%'-~]*").fullmatch
_SPLIT = "|".join([*SPECIALS, "'s|'t|'re|'ve|'m|'ll|'d"])
_ASCII_WORDS = re.compile(_SPLIT + r"|[a-z]+|[0-9]|[^\sa-z0-9]+", re.IGNORECASE | re.ASCII)
_PUNCTUATION = str.maketrans("", "", string.punctuation)


class Tokenizer(Protocol):
    """Turns texts into int64 [n, context]."""

    @property
    def context(self) -> int: ...

    def __call__(self, texts: Sequence[str]) -> NDArray[np.int64]: ...

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the tables into `folder`; gives the settings that `load_tokenizer` wants back."""
        ...


def load_tokenizer(folder: Path, settings: Mapping[str, Any]) -> Tokenizer:
    """The tokenizer that was saved in `folder` with these settings."""
    if settings["kind"] == "bpe":
        merges = (folder / MERGES_FILE).read_text(encoding="utf-8").split("\n")
        return ClipTokenizer(merges, context=settings["context"], clean=settings["clean"])
    options = {key: value for key, value in settings.items() if key != "kind"}
    return JsonTokenizer((folder / TOKENIZER_FILE).read_text(encoding="utf-8"), **options)


def clean_text(text: str, how: str) -> str:
    """Repair and normalise a text the way a model was trained: lower, whitespace or canonicalize."""
    if not _PLAIN(text):
        import html

        import ftfy

        text = html.unescape(html.unescape(ftfy.fix_text(text)))
    if how == "canonicalize":
        text = text.strip().replace("_", " ").translate(_PUNCTUATION).lower()
        return " ".join(text.split())
    text = " ".join(text.split())
    return text.lower() if how == "lower" else text


class ClipTokenizer:
    """CLIP's byte-pair tokenizer over its 48,894 merges, each `left right`, best first."""

    def __init__(self, merges: Iterable[str], *, context: int = 77, clean: str = "lower") -> None:
        self._merges = list(merges)
        self._context = context
        self._clean = clean
        self._byte_letters = _byte_letters()
        letters = list(self._byte_letters.values())
        vocabulary = [*letters, *(letter + "</w>" for letter in letters)]
        # Joining and splitting once is several times faster than joining each merge.
        vocabulary += "\n".join(self._merges).replace(" ", "").split("\n") if self._merges else []
        vocabulary += SPECIALS
        self._numbers = dict(zip(vocabulary, range(len(vocabulary)), strict=True))
        self._ranks = dict(zip(self._merges, range(len(self._merges)), strict=True))
        self._start, self._end = (self._numbers[name] for name in SPECIALS)
        self._words: dict[str, list[int]] = {name: [self._numbers[name]] for name in SPECIALS}

    @property
    def context(self) -> int:
        return self._context

    @property
    def size(self) -> int:
        """How many tokens there are."""
        return len(self._numbers)

    def __call__(self, texts: Sequence[str]) -> NDArray[np.int64]:
        rows = np.zeros((len(texts), self._context), dtype=np.int64)
        for row, text in zip(rows, texts, strict=True):
            tokens = [self._start, *self.encode(text), self._end]
            if len(tokens) > self._context:
                tokens = [*tokens[: self._context - 1], self._end]
            row[: len(tokens)] = tokens
        return rows

    def encode(self, text: str) -> list[int]:
        """The tokens of one text, without the start and end marks and without a limit."""
        text = clean_text(text, self._clean)
        tokens: list[int] = []
        for word in _ASCII_WORDS.findall(text) if text.isascii() else _any_words(text):
            known = self._words.get(word)
            if known is None:
                known = self._word(word)
                if len(self._words) < 50_000:
                    self._words[word] = known
            tokens += known
        return tokens

    def save(self, folder: Path) -> dict[str, Any]:
        (folder / MERGES_FILE).write_text("\n".join(self._merges), encoding="utf-8")
        return {"kind": "bpe", "context": self._context, "clean": self._clean}

    def _word(self, word: str) -> list[int]:
        parts = [self._byte_letters[byte] for byte in word.encode("utf-8")]
        parts[-1] += "</w>"
        unranked = len(self._ranks)
        while len(parts) > 1:
            rank, best = min(
                (self._ranks.get(f"{pair[0]} {pair[1]}", unranked), pair) for pair in pairwise(parts)
            )
            if rank == unranked:
                break
            merged: list[str] = []
            at = 0
            while at < len(parts):
                if at + 1 < len(parts) and (parts[at], parts[at + 1]) == best:
                    merged.append(parts[at] + parts[at + 1])
                    at += 2
                else:
                    merged.append(parts[at])
                    at += 1
            parts = merged
        return [self._numbers[part] for part in parts]


class JsonTokenizer:
    """A model's own `tokenizer.json`, with open_clip's cleaning, truncation and padding around it."""

    def __init__(
        self,
        table: str,
        *,
        context: int,
        clean: str = "whitespace",
        pad_id: int = 0,
        pad_token: str = "[PAD]",
        padding_side: str = "right",
        truncation_side: str = "right",
        strip_id: int | None = None,
        clips: Mapping[str, int] | None = None,
    ) -> None:
        from tokenizers import Tokenizer as FastTokenizer

        self._table = table
        self._settings: dict[str, Any] = {
            "context": context,
            "clean": clean,
            "pad_id": pad_id,
            "pad_token": pad_token,
            "padding_side": padding_side,
            "truncation_side": truncation_side,
            "strip_id": strip_id,
            "clips": dict(clips) if clips else None,
        }
        self._fast = FastTokenizer.from_str(table)
        if clips:
            self._fast.no_truncation()
            self._fast.no_padding()
        else:
            self._fast.enable_truncation(max_length=context, direction=truncation_side)
            self._fast.enable_padding(
                direction=padding_side, pad_id=pad_id, pad_token=pad_token, length=context
            )

    @property
    def context(self) -> int:
        return int(self._settings["context"])

    def __call__(self, texts: Sequence[str]) -> NDArray[np.int64]:
        cleaned = [clean_text(text, self._settings["clean"]) for text in texts]
        clips = self._settings["clips"]
        rows = [
            encoding.ids for encoding in self._fast.encode_batch(cleaned, add_special_tokens=clips is None)
        ]
        if clips is not None:
            rows = [self._clips_row(row, clips) for row in rows]
        numbers = np.asarray(rows, dtype=np.int64).reshape(len(texts), self.context)
        strip = self._settings["strip_id"]
        if strip is not None:
            numbers[numbers == strip] = 0
        return numbers

    def save(self, folder: Path) -> dict[str, Any]:
        (folder / TOKENIZER_FILE).write_text(self._table, encoding="utf-8")
        return {"kind": "json", **self._settings}

    def _clips_row(self, tokens: list[int], marks: Mapping[str, int]) -> list[int]:
        # CLIPS models: start, text, end, padding, and the class token at the very end.
        row = [marks["bos"], *tokens[: self.context - 3], marks["eos"]]
        row += [self._settings["pad_id"]] * (self.context - 1 - len(row))
        return [*row, marks["cls"]]


def _any_words(text: str) -> list[str]:
    import regex

    pattern = _SPLIT + r"|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
    return list(regex.findall(pattern, text, flags=regex.IGNORECASE))


def _byte_letters() -> dict[int, str]:
    """A printable letter for each byte: its own where it has one, else one from U+0100 on."""
    own = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    letters = {byte: chr(byte) for byte in own}
    rest = (byte for byte in range(256) if byte not in letters)
    letters.update({byte: chr(256 + at) for at, byte in enumerate(rest)})
    return letters
