"""What somebody else wrote, fit for a sentence: on one line, cut, in quotes that it cannot close."""

from __future__ import annotations

import re
import unicodedata

_JOINERS = "\u200c\u200d\ufe0e\ufe0f"
"""Invisible, but part of how words and emojis are written."""
_QUOTES = re.compile('["\u201c\u201d\u201e\u201f\u00ab\u00bb\uff02]')


def visible(text: str) -> str:
    """The text in one line, without characters that cannot be seen or that turn its direction."""
    shown = "".join(_shown(character) for character in unicodedata.normalize("NFC", text))
    return " ".join(word for part in shown.split() if (word := part.strip(_JOINERS[:2])))


def _shown(character: str) -> str:
    kind = unicodedata.category(character)
    if kind[0] == "Z" or character.isspace() or kind == "Cc":
        return " "
    return "" if kind[0] == "C" and character not in _JOINERS else character


def cut(text: str, most: int) -> str:
    """The text, ended between two words where it is longer."""
    if len(text) <= most:
        return text
    start = text[: most - 1]
    start = start[: start.rfind(" ")] if " " in start[most // 2 :] else start
    return start.rstrip(" ,;:/-(") + "\u2026"


def quoted(text: str, most: int) -> str:
    """Somebody else's words: cleaned, cut, and in quotes that they cannot close."""
    return f"\u201c{cut(_QUOTES.sub(chr(39), visible(text)), most)}\u201d"
