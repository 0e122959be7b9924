"""What the words around a picture say to a question: candidates by full-text search, and evidence.

Finding is the database's part (see `full_text`). How much a picture's words say is worked
out here, from its own words and from how rare they are in the catalog, so that it is the
same number whichever way the picture became a candidate, and how many are asked for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from retrieval.db import reads
from retrieval.db.full_text import full_text, stem
from retrieval.db.wording import BORDER, Asked, asked_words

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from retrieval.db.full_text import FullText
    from retrieval.db.reader import Reader, Row

    Ids = NDArray[np.int64]

TRUST = {"told": 0.95, "described": 0.9, "name": 0.6, "folder": 0.5, "seen": 0.5}
"""How much each kind of words is about what is on the picture."""
PARTIAL = 2.5
"""Half of what was asked is less than half of the evidence."""
UNKNOWN = 0.6
"""Weight of a word that stands nowhere: it may be foreign to these texts, or a slip."""
LONG = 50
"""A text of more words than this says less with each of them."""
MAX_WORDS = 16
MAX_SOUGHT = 8
"""Words that candidates are looked up by: those that tell most."""
FEW = 2000
"""Of so few pictures that may be found, all are considered."""
ENOUGH = 1000
"""Pictures that are looked up by one word. Of a word that more of them have, the others are
considered where the caller has them for candidates already."""
MANY = 4000
"""Where the words are rare, or the candidates more than this, full-text search tells which to read."""


@dataclass(frozen=True, slots=True)
class Said:
    """What the words around one picture answer to a question."""

    evidence: float
    """How likely they say what was asked, 0..1."""
    fields: dict[str, float]
    """The part of it that each kind of words has: `name`, `described`, `told`, `seen`."""


@dataclass(slots=True)
class Word:
    """A word of the question, and how well it tells pictures of this catalog apart."""

    asked: Asked
    stem: str
    count: int = 0
    chance: float = 1.0
    """That any picture has it."""
    weight: float = 0.0
    phrase: str = field(init=False)
    """As it stands among stored words, spaces around it."""
    start: str = field(init=False)
    """What any other form of it begins with."""

    def __post_init__(self) -> None:
        self.phrase = f" {self.asked} "
        self.start = f" {self.stem[: max(2, len(self.stem) - 2)]}"


def said(
    reader: Reader, text: str, *, limit: int = 200, among: Ids | None = None, allowed: Ids | None = None
) -> dict[int, Said]:
    """The `limit` pictures whose words answer best, and those of `among` whose words answer at all.

    `allowed` are the ids that may be found, ascending; without it, all pictures that are
    not missing. Any text is a question: none of it has a meaning to the database.
    """
    index = full_text(reader)
    asked = asked_words(text) if index is not None else []
    if index is None or not asked:
        return {}
    import numpy as np

    words = _weighed(index, asked)
    known = [word for word in words if word.count]
    if not known:
        return {}
    none = np.empty(0, np.int64)
    found = _sought(reader, index, known[:MAX_SOUGHT], limit, allowed) if limit > 0 else none
    near = none if among is None else np.asarray(among, np.int64)
    if len(near) > MANY or all(word.count <= ENOUGH for word in known):
        near = near[np.isin(near, index.having([word.asked for word in known], whole=False))]
    rows = index.words(np.union1d(found, near).tolist())
    total = sum(word.weight for word in words)
    answers = {row[0]: answer for row in rows if (answer := _answer(known, total, row)) is not None}
    best = sorted((-answers[key].evidence, key) for key in found.tolist() if key in answers)[:limit]
    kept = {key for _, key in best}.union(near.tolist())
    return {key: answers[key] for key in sorted(kept & answers.keys())}


def _weighed(index: FullText, asked: Sequence[Asked]) -> list[Word]:
    """The words that tell most, each with how rare it is."""
    words = [Word(word, stem(word)) for word in asked]
    total = index.total()
    for word, count in zip(words, index.counts([(word.asked, word.stem) for word in words]), strict=True):
        word.count = min(count, total)
        word.chance = (word.count + 0.5) / (total + 1.5)
        word.weight = -math.log(word.chance) * (1.0 if count else UNKNOWN)
    return sorted(words, key=lambda word: (not word.count, -word.weight, word.phrase))[:MAX_WORDS]


def _sought(reader: Reader, index: FullText, words: Sequence[Word], limit: int, allowed: Ids | None) -> Ids:
    """Candidates by their words; more than `limit`, because only their own rows tell which are best."""
    import numpy as np

    if allowed is not None and len(allowed) <= FEW:
        return allowed
    span = None if allowed is None else (int(allowed[0]), int(allowed[-1]))
    ids: list[Ids] = []
    gains: list[NDArray[np.float64]] = []
    for word in words:
        mine = np.empty(0, np.int64)
        for columns, trust in index.tiers:
            if len(mine) < ENOUGH:
                tier = index.having([word.asked], columns=columns, span=span, most=ENOUGH)
                tier = np.setdiff1d(tier, mine, assume_unique=True)
                mine = np.concatenate([mine, tier])
                ids.append(tier)
                gains.append(np.full(len(tier), word.weight * trust))
    if len(words) > 1 and any(word.count > ENOUGH for word in words):
        # Each may stand in very many pictures, and all of them together in a few.
        mine = index.having([word.asked for word in words], span=span, most=ENOUGH)
        ids.append(mine)
        gains.append(np.full(len(mine), sum(word.weight for word in words)))
    every, place = np.unique(np.concatenate(ids), return_inverse=True)
    gain = np.bincount(place, np.concatenate(gains), len(every))
    if allowed is None:
        may = ~np.isin(every, reads.hidden_ids(reader))
    else:
        may = np.isin(every, allowed)
    every, gain = every[may], gain[may]
    return every[np.lexsort((every, -gain))[: limit + limit // 2]]


def _answer(words: Sequence[Word], total: float, row: Row) -> Said | None:
    """What one picture's words answer: each word counts where it says most."""
    _, name, described, told, seen = row
    everything = f" {told} {name} {described} {seen} "
    maybe = [word for word in words if word.start in everything]
    if not maybe:
        return None
    file, _, folders = name.partition(BORDER)
    # In the order of trust: a word counts where it says most.
    kinds = (("told", told), ("described", described), ("name", file), ("folder", folders), ("seen", seen))
    texts = [(kind, f" {text} ") for kind, text in kinds if text]
    found, chance = 0.0, 1.0
    parts: dict[str, float] = {}
    for word in maybe:
        for kind, text in texts:
            if word.start in text and _stands(word, text):
                found += word.weight
                chance *= word.chance
                field = "name" if kind == "folder" else kind
                parts[field] = parts.get(field, 0.0) + word.weight * _trust(kind, text)
                break
    if not found:
        return None
    # Words that nearly every picture has would be met by chance; a few words of many are a weak answer.
    scale = (found / total) ** PARTIAL * (1 - chance) / found
    fields = {field: part * scale for field, part in parts.items()}
    return Said(sum(fields.values()), fields)


def _trust(kind: str, text: str) -> float:
    length = text.count(" ") - 1
    return TRUST[kind] if length <= LONG else TRUST[kind] * (LONG / length) ** 0.25


def _stands(word: Word, text: str) -> bool:
    """Whether a word, or another form of it, is in a text that has spaces around it."""
    if word.phrase in text:
        return True
    if len(word.asked.tokens) > 1:
        return False
    place = text.find(word.start)
    while place >= 0:
        end = text.index(" ", place + 1)
        if stem(Asked((text[place + 1 : end],))) == word.stem:
            return True
        place = text.find(word.start, end)
    return False
