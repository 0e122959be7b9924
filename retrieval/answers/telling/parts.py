"""Subjects of several parts: "a dog in the snow" is in a picture that shows a dog, and snow.

A search takes the words together, and finds a dog on grass as well.
"""

from __future__ import annotations

import re
from functools import lru_cache

from retrieval.answers.understanding.subjects import GLUE, as_named
from retrieval.english.nouns import single
from retrieval.english.things import ALIKE, KINDS, kind_of

_JOINING = (
    "in on at with under beneath underneath below beside besides next near behind before by inside outside "
    "above over between against around across along among through into onto"
)
_JOINTS = frozenset(_JOINING.split())
_ARTICLES = frozenset({"a", "an", "the"})
_NOWHERE_WORDS = (
    "background foreground front middle centre center distance air side left right top bottom back it them "
    "one picture pictures photo photos"
)
_NOWHERE = frozenset(_NOWHERE_WORDS.split())
"""Words that a picture shows nothing of by themselves."""


def parts_of(words: str) -> tuple[str, ...]:
    """What has to be in a picture together; empty where it is one thing."""
    if " without " in f" {words} " or '"' in words:
        return ()
    found: list[list[str]] = [[]]
    for word in words.split():
        low = word.lower()
        before = found[-1][-1].lower() if found[-1] else ""
        # "Minka a dog" names two things; "portrait of a woman" and "rowing a boat" are one.
        beside = low in _ARTICLES and before not in GLUE and not before.endswith("ing")
        if low in _JOINTS or (beside and before):
            found.append([])
        if low not in _JOINTS:
            found[-1].append(word)
    parts = [" ".join(_bare(part)) for part in found]
    parts = [part for part in parts if part and not _NOWHERE.issuperset(part.lower().split())]
    return tuple(dict.fromkeys(parts)) if len(set(parts)) > 1 else ()


def _bare(words: list[str]) -> list[str]:
    start, end = 0, len(words)
    while start < end and words[start].lower() in GLUE:
        start += 1
    while end > start and words[end - 1].lower() in GLUE:
        end -= 1
    return words[start:end]


def is_name(word: str) -> bool:
    """Whether a word is a name of somebody, which only what is written of a picture tells."""
    low = single(word.lower())
    return word[:1].isupper() and not word.isupper() and low not in _known() and kind_of(low) is None


@lru_cache(maxsize=1)
def _known() -> frozenset[str]:
    """Words that pictures are tagged with, alone or among others."""
    lists = [*KINDS, *KINDS.values(), *ALIKE.values()]
    return frozenset(re.findall(r"[^\W_]+", " ".join(lists)))


def whole_words(subject: str) -> str:
    """The subject as one: "a dog in the snow", "Minka as a dog"."""
    named = as_named(subject)
    found = re.fullmatch(r"(\S+) (an? .+)", named)
    return f"{found[1]} as {found[2]}" if found and is_name(found[1]) else named
