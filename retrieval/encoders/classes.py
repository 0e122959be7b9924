"""The starter's second stage: a query against each candidate's most likely classes.

A query becomes one weight for each of the 1000 classes: how well it fits the class's own
name, a kind the class belongs to ("animal") or a place it is met ("beach"), whichever fits
best. That tells apart what a single mean vector blurs. With the score, the words that query
and class share, and the colours that a query names, it becomes a chance that stands by itself:
it depends on the candidate and the query, and for colours on what is usual in the catalog.
A sentence that no class comes near is answered by its main thing too, more weakly.
"""

from __future__ import annotations

import re
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from retrieval.encoders.colour import COLOURS, SPELLINGS, asked_colours, colour_evidence

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from retrieval.protocols import Sample

DATA = Path(__file__).with_name("starter_data")
CLASSES = 1000
TOP = 20
AUX_BYTES = TOP * 4 + len(COLOURS) * 2

SHARPNESS = 15.0
BEST_TEXT = 0.5
DISCOUNT = 1.5
SMALLEST = 1e-9
SAMPLED = 512
KEPT_FITS = 2048
"""Texts whose fits are kept: more than the tags of the built-in vocabulary, 6 KB each."""
# How much each of `ClassStage.features` counts; printed by benchmarks/calibrate_starter.py.
WEIGHTS = (16.5, 4.6, 0.8, -13.6)
BIAS = -2.6
LEAST_BEST = 0.65
# A query whose best class lies below `LEAST_BEST` is also answered by its head, wholly so `HEAD_RAMP` below:
# the evidence goes `HEAD_SHARE` of the way to the head's, less `HEAD_DISCOUNT`, and never down.
HEAD_RAMP, HEAD_SHARE, HEAD_DISCOUNT = 0.05, 0.8, 1.0

# Words that name nothing, and the plurals that no rule makes.
EMPTY = re.compile(
    r"an?|the|of|in|on|at|to|and|or|with|for|my|your|his|her|their|its?|th(?:at|is|ese|ose)|is|are|was|be|by"
    r"|from|as|any|some|all|into|through|over|under|up|out|no|not|someone|something|things?"
)
UNEVEN = {
    "people": "person",
    "men": "man",
    "women": "woman",
    "mice": "mouse",
    "children": "child",
    "buses": "bus",
}
PLURALS = (
    ("ies", "y"),
    ("ves", "f"),
    ("sses", "ss"),
    ("xes", "x"),
    ("ches", "ch"),
    ("shes", "sh"),
    ("ss", "ss"),
    ("us", "us"),
    ("s", ""),
)

# What stands before the main thing of a phrase, and tells no class from another.
LEADING = re.compile(
    r"an?|the|my|our|your|his|her|their|its|this|that|these|those|some|any|all|many|several|one|two|three|four"
    r"|five|\d+|old|young|new|small|little|big|large|tiny|huge|cute|nice|lovely|beautiful"
)
# Where a phrase goes on to say what its main thing is like, does or has around it. "Of" is not among
# them: "a cup of coffee" is one thing.
JOINING = re.compile(
    r"on|in|at|by|near|under|over|above|below|behind|besides?|beneath|between|among|against|around|across"
    r"|along|through|into|onto|towards?|from|with|without|next|inside|outside|during|after|before|for|to|up"
    r"|down|off|away|out|back|that|which|who|whose|whom|where|while|when|as|is|are|was|were|has|have|had"
    r"|being|full|made"
)
# Before these words a participle is one ("eating a nut"), as it is before a joining word; otherwise it may
# be part of a name ("sewing machine"), and so may the word for a sport ("ice skating").
ARTICLES = re.compile(
    r"an?|the|my|our|your|his|her|their|its|some|this|that|these|those|one|two|three|and|of"
)
TAKING = re.compile(r"(?:eat|drink|hold|wear|carry|chas|catch|play|read|pull|watch|chew)ing")
SPORT = re.compile(r"(?:skat|div|climb|rac|rid|watch|fish|board|bik|hik|sail|surf|ski|glid|fight|walk)ing")
NO_PARTICIPLE = re.compile(
    r"(?:th|str|k|r|w|br|spr|morn|even|build|wedd|cloth|ceil|paint|draw)ing|(?:any|every|no|some)thing"
)
TRAILING = re.compile(
    r"(?!\w*eed$|shed$|sled$)\w{2,}ed|open|wide|asleep|awake|alone|together|left|seen|taken|worn|built|drawn"
    r"|caught|stuck|hung|lost|lit"
)
# People are unknown to the classes, and the others are too wide to stand for the sentence.
NO_HEAD = re.compile(
    r"people|persons?|m[ae]n|wom[ae]n|boys?|girls?|child(?:ren)?|kids?|bab(?:y|ies)|guys?|lad(?:y|ies)"
    r"|friends?|famil(?:y|ies)|animals?|objects?|views?|scenes?|places?|close-ups?|faces?|portraits?|crowds?"
    r"|groups?"
)


class Posterior(NamedTuple):
    """The most likely classes of some pictures, and their colours: what stands beside each vector."""

    classes: NDArray[np.uint16]
    chances: NDArray[np.float16]
    colours: NDArray[np.float16]


def pack(top: Posterior) -> list[bytes]:
    """One `bytes` a picture, `AUX_BYTES` long, little-endian."""
    rows = zip(top.classes.astype("<u2"), top.chances.astype("<f2"), top.colours.astype("<f2"), strict=True)
    return [classes.tobytes() + chances.tobytes() + colours.tobytes() for classes, chances, colours in rows]


def unpack(aux: Sequence[bytes]) -> Posterior:
    """What `pack` was given; a record of another length reads as nothing known of that picture."""
    blank = bytes(AUX_BYTES)
    rows = b"".join(item if len(item) == AUX_BYTES else blank for item in aux)
    table = np.frombuffer(rows, "<u2").reshape(len(aux), AUX_BYTES // 2)
    return Posterior(
        table[:, :TOP].astype(np.uint16) % CLASSES,
        np.ascontiguousarray(table[:, TOP : 2 * TOP]).view("<f2"),
        np.ascontiguousarray(table[:, 2 * TOP :]).view("<f2"),
    )


class ClassStage:
    """Holds the texts of the classes; they are read at the first query."""

    def look_again(
        self,
        text: str,
        query: NDArray[np.float32],
        scores: NDArray[np.float32],
        aux: Sequence[bytes],
        sample: Sample,
        encode: Callable[[str], NDArray[np.float32]],
    ) -> NDArray[np.float32]:
        """How likely each candidate is relevant; `text` without its asking, `query` its vector.

        `encode` is asked for the vector of the query's head, and only where that counts.
        """
        top = unpack(aux)
        evidence = self.evidence(text, query, scores, top)
        head = head_of(text)
        unanswered = self.unanswered(query) if head else 0.0
        if head and unanswered > 0:
            vector = encode(head)
            by_head = self.evidence(head, vector, self.scores(vector, top), top)
            raised = HEAD_SHARE * (by_head - evidence) - HEAD_DISCOUNT
            evidence = evidence + unanswered * np.maximum(raised, 0)
        colours = asked_colours(text)
        if colours:
            evidence = evidence + colour_evidence(colours, top.colours, thinned(sample.aux).colours)
        return chance(evidence)

    def evidence(
        self, text: str, query: NDArray[np.float32], scores: NDArray[np.float32], top: Posterior
    ) -> NDArray[np.float32]:
        """The log-odds that each candidate is relevant, its colours aside."""
        weighed: NDArray[np.float32] = self.features(text, query, scores, top) @ np.array(WEIGHTS, np.float32)
        return weighed + np.float32(BIAS)

    def unanswered(self, query: NDArray[np.float32]) -> float:
        """How far a query is from what any class answers, 0..1: a picture has no say in it."""
        below = LEAST_BEST - float(self.class_fits(query).max())
        return min(max(below / HEAD_RAMP, 0.0), 1.0)

    def scores(self, query: NDArray[np.float32], top: Posterior) -> NDArray[np.float32]:
        """The cosines of a query with pictures, whose vectors are made again from their classes."""
        shares = np.zeros((len(top.classes), CLASSES), np.float32)
        np.put_along_axis(shares, top.classes.astype(np.intp), top.chances.astype(np.float32), axis=1)
        vectors = shares @ self._labels
        found: NDArray[np.float32] = (vectors @ query) / np.maximum(np.linalg.norm(vectors, axis=1), SMALLEST)
        return found

    def features(
        self, text: str, query: NDArray[np.float32], scores: NDArray[np.float32], top: Posterior
    ) -> NDArray[np.float32]:
        """What speaks for each candidate, one column for each of `WEIGHTS`.

        The fit of its likely classes; its score; how much of it is named by the query's own words;
        and, the same for all, how well the best of all 1000 classes fits: a query that "dog" answers
        wholly is to be met better than one that no class quite answers, and of one that is far from
        every class nothing can be said, which is why the last has a floor.
        """
        shares = top.chances.astype(np.float32)
        fits = self.class_fits(query)
        weights = np.exp(SHARPNESS * fits)[top.classes]
        fit = np.log((weights * shares).sum(1) + SMALLEST) / SHARPNESS
        named = (self.class_words(text)[top.classes] * shares).sum(1)
        best = np.full(len(fit), max(float(fits.max()), LEAST_BEST))
        return np.stack([fit, scores, named, best], axis=1).astype(np.float32)

    def class_fits(self, query: NDArray[np.float32]) -> NDArray[np.float32]:
        """How well one query vector fits each class: its place, and the best of its texts.

        A vocabulary asks the same of every batch of pictures, so the latest answers are kept.
        """
        return self._kept_fits(np.asarray(query, np.float32).tobytes())

    @cached_property
    def _kept_fits(self) -> Callable[[bytes], NDArray[np.float32]]:
        return lru_cache(KEPT_FITS)(self._fits)

    def _fits(self, vector: bytes) -> NDArray[np.float32]:
        query = np.frombuffer(vector, np.float32)
        fits = self._texts @ query
        reached = fits[self._entries[:, 1]] - self._discounts
        best = np.maximum.reduceat(reached, self._starts)
        mixed: NDArray[np.float32] = BEST_TEXT * best + (1 - BEST_TEXT) * (self._labels @ query)
        mixed.setflags(write=False)
        return mixed

    def class_words(self, text: str) -> NDArray[np.float32]:
        """How much of a query's words each class has among its names, kinds and contexts, 0..1."""
        found = np.zeros(CLASSES, np.float32)
        wanted = [word for word in content_words(text) if word not in SPELLINGS]
        vocabulary, classes, degrees, starts = self._words
        for word in wanted:
            place = vocabulary.get(word)
            if place is not None:
                rows = slice(starts[place], starts[place + 1])
                found[classes[rows]] += degrees[rows]
        found /= max(len(wanted), 1)
        return found

    @cached_property
    def _labels(self) -> NDArray[np.float32]:
        return load_labels()

    @cached_property
    def _texts(self) -> NDArray[np.float32]:
        texts: NDArray[np.float32] = np.load(DATA / "texts.npy").astype(np.float32)
        return texts

    @cached_property
    def _entries(self) -> NDArray[np.uint16]:
        """Rows (class, text, discount in thousandths), sorted by class, every class at least once."""
        entries: NDArray[np.uint16] = np.load(DATA / "class_texts.npy")
        return entries

    @cached_property
    def _discounts(self) -> NDArray[np.float32]:
        return (DISCOUNT * self._entries[:, 2] / 1000).astype(np.float32)

    @cached_property
    def _starts(self) -> NDArray[np.intp]:
        return np.searchsorted(self._entries[:, 0], np.arange(CLASSES))

    @cached_property
    def _words(self) -> tuple[dict[str, int], NDArray[np.uint16], NDArray[np.float32], NDArray[np.intp]]:
        """The words, and for each of them a run of classes and how strongly each is meant."""
        words = (DATA / "words.txt").read_text(encoding="utf-8").split()
        table: NDArray[np.uint16] = np.load(DATA / "class_words.npy")
        starts = np.searchsorted(table[:, 0], np.arange(len(words) + 1))
        degrees = (table[:, 2] / 10).astype(np.float32)
        return {word: row for row, word in enumerate(words)}, table[:, 1], degrees, starts


def chance(evidence: NDArray[np.float32]) -> NDArray[np.float32]:
    """Log-odds as a chance."""
    chances: NDArray[np.float32] = (1 / (1 + np.exp(-evidence.astype(np.float64)))).astype(np.float32)
    return chances


def content_words(text: str) -> list[str]:
    """The words of a text that name something, in the singular."""
    found = re.findall(r"[a-z]+", text.lower())
    return [
        UNEVEN.get(word) or singular(word) for word in found if len(word) > 1 and not EMPTY.fullmatch(word)
    ]


def singular(word: str) -> str:
    for ending, instead in PLURALS:
        if word.endswith(ending) and len(word) > len(ending) + 1:
            return word[: -len(ending)] + instead
    return word


def head_of(text: str) -> str | None:
    """The main thing of a phrase that says more: "a dog running on the beach" is about a "dog".

    None where nothing is cut off ("hot air balloon"), and where what is left names no kind of
    thing that pictures are told apart by ("things that fly", "a man holding a fish").
    """
    words = [word.strip(".,;:!?\"'()") for word in text.lower().split()]
    start = 0
    while start < len(words) and LEADING.fullmatch(words[start]):
        start += 1
    end = next((place for place in range(start + 1, len(words)) if _goes_on(words, start, place)), len(words))
    while end > start and TRAILING.fullmatch(words[end - 1]):
        end -= 1
    head = words[start:end]
    if end == len(words) or not content_words(" ".join(head)):
        return None
    if NO_HEAD.fullmatch(head[0]) or NO_HEAD.fullmatch(head[-1]):
        return None
    return None if len(head) == 1 and head[0].endswith("ing") else " ".join(head)


def _goes_on(words: list[str], start: int, place: int) -> bool:
    """Whether the phrase, led by `start` small words, goes on at a place to more than its main thing."""
    word = words[place]
    if JOINING.fullmatch(word):
        return True
    if not word.endswith("ing") or NO_PARTICIPLE.fullmatch(word):
        return False
    following = words[place + 1] if place + 1 < len(words) else "is"
    says = JOINING.fullmatch(following) or ARTICLES.fullmatch(following) or TAKING.fullmatch(word)
    name = not start and not words[place - 1].endswith("s") and SPORT.fullmatch(word)
    return bool(says) and not name


def thinned(aux: Sequence[bytes]) -> Posterior:
    """An even draw of a sample: a mean over some hundreds is as good as one over thousands."""
    return unpack(aux[:: max(1, len(aux) // SAMPLED)])


def load_labels() -> NDArray[np.float32]:
    """The label matrix [1000, 384]: where each class lies in the texts' space."""
    labels: NDArray[np.float32] = np.load(DATA / "labels.npy").astype(np.float32)
    return labels
