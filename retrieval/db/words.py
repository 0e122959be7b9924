"""What the words around a picture say to a question: candidates by full-text search, and evidence.

Finding is the database's part (see `full_text`). How much a picture's words say is worked
out here, from its own words and from how rare they are in the catalog, so that it is the
same number whichever way the picture became a candidate, and how many are asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from retrieval.db import reads
from retrieval.db.file_names import SURE, called
from retrieval.db.full_text import full_text, stem
from retrieval.db.wording import BORDER, Asked, asked_words

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from retrieval.db.full_text import FullText
    from retrieval.db.reader import Reader, Row

    Ids = NDArray[np.int64]
    Mask = NDArray[np.bool_]

TRUST = {"told": 0.95, "described": 0.9, "name": 0.6, "folder": 0.55, "seen": 0.5}
"""How much each kind of words is about what is on the picture."""
PARTIAL = 2.5
"""Exponent of the share that was found: half of what was asked is less than a fifth of the evidence."""
UNKNOWN = 0.6
"""Weight of a word that stands nowhere: it may be foreign to these texts, or a slip."""
LONG = 50
"""A text of more words than this says less with each of them."""
MAX_WORDS = 16
MAX_SOUGHT = 8
"""Words that candidates are looked up by: those that tell most."""
ENOUGH = 1000
"""Pictures that are looked up by one word, of those that may be found. Of a word that more of them
have, the others are judged where they are candidates already."""
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
    """What the words around the nominated pictures answer, and around those of `among`."""
    import numpy as np

    found = nominated(reader, text, limit=limit, allowed=allowed)
    near = found if among is None else np.concatenate([found, np.asarray(among, np.int64)])
    return judged(reader, [text], near)[0]


def nominated(reader: Reader, text: str, *, limit: int, allowed: Ids | None) -> Ids:
    """The `limit` pictures whose words seem to answer best, ascending; only `judged` tells how well.

    `allowed` are the ids that may be found, ascending; without it, all pictures that are
    not missing. Any text is a question: none of it has a meaning to the database.
    """
    import numpy as np

    if limit < 1 or (allowed is not None and not len(allowed)):
        return np.empty(0, np.int64)
    named = np.array(sorted(called(reader, text)), np.int64)
    if allowed is not None:
        named = named[_within(named, allowed)]
    index = full_text(reader)
    known = [word for word in _weighed(index, asked_words(text)) if word.count] if index is not None else []
    if index is None or not known:
        return named[:limit]
    if allowed is None:
        hidden = np.array(sorted(reads.hidden_ids(reader)), np.int64)
        found = _sought(index, known[:MAX_SOUGHT], limit, lambda ids: ~_within(ids, hidden), None)
    else:
        span = int(allowed[0]), int(allowed[-1])
        found = _sought(index, known[:MAX_SOUGHT], limit, lambda ids: _within(ids, allowed), span)
    found = found[~_within(found, named)]
    return np.sort(np.concatenate([named, found])[:limit])


def judged(reader: Reader, texts: Sequence[str], ids: Ids) -> list[dict[int, Said]]:
    """What the words around some pictures answer to each text; pictures whose words say nothing are left out.

    The words of a picture are read once, however many texts there are.
    """
    near = _distinct(ids)
    found = _told(reader, texts, near)
    for text, answers in zip(texts, found, strict=True):
        for image_id in called(reader, text, near.tolist()):
            answers[image_id] = Said(SURE, {"name": SURE})
    return found


def _told(reader: Reader, texts: Sequence[str], near: Ids) -> list[dict[int, Said]]:
    index = full_text(reader)
    if index is None:
        return [{} for _ in texts]
    questions = [_weighed(index, asked_words(text)) for text in texts]
    sought = {word.phrase: word for words in questions for word in words if word.count}
    if not sought or not len(near):
        return [{} for _ in texts]
    if len(near) > MANY or all(word.count <= ENOUGH for word in sought.values()):
        near = near[_within(near, index.having([word.asked for word in sought.values()], whole=False))]
    rows = index.words(near.tolist())
    # Most pictures have none of the words, and one look tells.
    whole = [f" {told} {name} {described} {seen} " for _, name, described, told, seen in rows]
    return [_answers(words, rows, whole) for words in questions]


def _answers(words: Sequence[Word], rows: Sequence[Row], whole: Sequence[str]) -> dict[int, Said]:
    """What the words of each row answer to one question."""
    total = sum(word.weight for word in words)
    maybe: dict[int, list[Word]] = {}
    for word in words:
        if word.count:
            for place in [place for place, text in enumerate(whole) if word.start in text]:
                maybe.setdefault(place, []).append(word)
    answers = ((rows[place], _answer(maybe[place], total, rows[place])) for place in sorted(maybe))
    return {row[0]: answer for row, answer in answers if answer is not None}


def _weighed(index: FullText, asked: Sequence[Asked]) -> list[Word]:
    """The words that tell most, each with how rare it is."""
    words = [Word(word, stem(word)) for word in asked]
    total = index.total()
    for word, count in zip(words, index.counts([(word.asked, word.stem) for word in words]), strict=True):
        word.count = min(count, total)
        word.chance = (word.count + 0.5) / (total + 1.5)
        word.weight = -math.log(word.chance) * (1.0 if count else UNKNOWN)
    return sorted(words, key=lambda word: (not word.count, -word.weight, word.phrase))[:MAX_WORDS]


def _sought(
    index: FullText,
    words: Sequence[Word],
    limit: int,
    may: Callable[[Ids], Mask],
    span: tuple[int, int] | None,
) -> Ids:
    """Candidates by their words, the best `limit` as far as the index tells."""
    import numpy as np

    ids: list[Ids] = []
    gains: list[NDArray[np.float64]] = []
    for word in words:
        mine = np.empty(0, np.int64)
        for columns, trust in index.tiers:
            if len(mine) < ENOUGH:
                tier = _passing(index, [word.asked], may, span, columns)
                tier = tier[~_within(tier, mine)]
                mine = np.sort(np.concatenate([mine, tier]))
                ids.append(tier)
                gains.append(np.full(len(tier), word.weight * trust))
    if len(words) > 1 and any(word.count > ENOUGH for word in words):
        # Each may stand in very many pictures, and all of them together in a few.
        mine = _passing(index, [word.asked for word in words], may, span, "")
        ids.append(mine)
        gains.append(np.full(len(mine), sum(word.weight for word in words)))
    together = np.concatenate(ids)
    every = _distinct(together)
    gain = np.bincount(np.searchsorted(every, together), np.concatenate(gains), len(every))
    return every[np.lexsort((every, -gain))[:limit]]


def _passing(
    index: FullText,
    words: Sequence[Asked],
    may: Callable[[Ids], Mask],
    span: tuple[int, int] | None,
    columns: str,
) -> Ids:
    """The first `ENOUGH` pictures with all of the words that may be found.

    Read in portions that grow: what a filter leaves may lie anywhere among those that have them.
    """
    import numpy as np

    low, high = span or (0, 2**63 - 1)
    found = np.empty(0, np.int64)
    most = ENOUGH
    while True:
        portion = index.having(words, columns=columns, span=(low, high), most=most)
        found = np.concatenate([found, portion[may(portion)]])
        if len(found) >= ENOUGH or len(portion) < most:
            return found[:ENOUGH]
        low = int(portion[-1]) + 1
        most *= 4


def _distinct(ids: Ids) -> Ids:
    """The ids, ascending; `np.unique` would import a part of NumPy that takes its time."""
    import numpy as np

    every = np.sort(np.asarray(ids, np.int64))
    return every[np.append(True, every[1:] != every[:-1])] if len(every) else every


def _within(ids: Ids, sorted_ids: Ids) -> Mask:
    """Which of the ids are among others that are in order."""
    import numpy as np

    if not len(sorted_ids):
        return np.zeros(len(ids), np.bool_)
    places = np.minimum(np.searchsorted(sorted_ids, ids), len(sorted_ids) - 1)
    return np.asarray(sorted_ids[places] == ids, np.bool_)


def _answer(words: Sequence[Word], total: float, row: Row) -> Said | None:
    """What one picture's words answer: each word counts where it says most."""
    _, name, described, told, seen = row
    file, _, folders = name.partition(BORDER)
    # In the order of trust: a word counts where it says most.
    kinds = (("told", told), ("described", described), ("name", file), ("folder", folders), ("seen", seen))
    texts = [(kind, f" {text} ") for kind, text in kinds if text]
    found, chance = 0.0, 1.0
    parts: dict[str, float] = {}
    for word in words:
        for kind, text in texts:
            if word.start in text and _stands(word, text):
                found += word.weight
                # A folder is meant to hold many: that they share its name is no chance.
                chance *= word.chance**2 if kind == "folder" else word.chance
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
