"""Marks of pictures, and what others wrote, in answers that are made in code.

What a person, a camera or a web page wrote only gets into a sentence through `quoted` or
`plain`: neither lets it end the sentence, cite a picture or turn the line around.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from retrieval.english import quoting

LONGEST_QUOTE = 120
_SENTENCE_END = re.compile(
    r"(?<!\bSt)(?<!\bMt)(?<!\bDr)(?<!\bMr)(?<!\bMrs)(?<!\bMs)[.!?\u2026\u3002\uff01\uff1f\u061f\u0964]+\s+"
    r"|\s*[\r\n\u2028\u2029\x0b\x0c\x85]+\s*"
)
_ROUND = str.maketrans({"[": "(", "]": ")", "\uff3b": "(", "\uff3d": ")", "\u3010": "(", "\u3011": ")"})


def marks(numbers: Iterable[int]) -> str:
    """The marks of pictures, as they stand behind what is said of them: `[1][3]`."""
    return "".join(f"[{number}]" for number in sorted(set(numbers)))


def plain(text: str, limit: int = LONGEST_QUOTE) -> str:
    """Text of unknown origin for the middle of a sentence.

    One line, without what cannot be seen, without brackets that look like the mark of a
    picture, and without an end of a sentence; it is cut at `limit` characters.
    """
    shown = quoting.visible(_SENTENCE_END.sub(" / ", text.strip()).translate(_ROUND)).strip("/ ")
    if len(shown) > limit:
        return quoting.cut(shown, limit)
    return shown.rstrip(".") if not shown.endswith("..") else shown.rstrip(".") + "\u2026"


def quoted(text: str, limit: int = LONGEST_QUOTE) -> str:
    """Text of unknown origin in quotation marks, which it cannot close itself."""
    return quoting.quoted(plain(text, limit), limit + 1)
