"""The words of a question that name something, without the words of asking.

Prepositions and articles stay only between words that name something, and a verb without an
object stands for what it asks for: "what did we eat" is about food.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from retrieval.answers.telling.wording import plain
from retrieval.english.nouns import single, with_article

if TYPE_CHECKING:
    from retrieval.answers.shapes import Kind
    from retrieval.answers.understanding.questions import Aspect

_ACTS = {
    "eat": ("food", "eating"), "ate": ("food", "eating"), "eaten": ("food", "eating"),
    "dine": ("food", "dining"), "dined": ("food", "dining"), "cook": ("food", "cooking"),
    "cooked": ("food", "cooking"), "drink": ("drinks", "drinking"), "drank": ("drinks", "drinking"),
    "drunk": ("drinks", "drinking"), "wear": ("clothes", "wearing"), "wore": ("clothes", "wearing"),
    "worn": ("clothes", "wearing"), "drive": ("vehicles", "driving"), "drove": ("vehicles", "driving"),
    "driven": ("vehicles", "driving"), "ride": ("vehicles", "riding"), "rode": ("vehicles", "riding"),
    "play": ("games", "playing"), "played": ("games", "playing"), "read": ("books", "reading"),
}  # fmt: skip
"""Verbs -> what is asked for when they have no object, and what someone is seen doing."""
_GLUE = (
    "in on at of to from with without by near under over above below behind beside between among "
    "against around across along through into onto towards inside outside next a an the and or but for "
    "as about up down off out while during like where who which than"
)
GLUE = frozenset(_GLUE.split())
_ASKING = (
    "i me we us you he she it they them my mine our ours your yours his her hers its their theirs am is "
    "are was were be been being do does did done have has had having will would can could should may "
    "might must shall there here ever never again also just only really exactly actually yet already "
    "ago please thanks thank not take took taken taking see saw seen get got gotten go went gone visit "
    "visited photograph photographed photographs shoot capture captured show shows showing shown depict "
    "depicts contain contains feature features featuring look looked looking looks find found make made "
    "grow grows growing live lives bought buy happen happened happening served serve called named use "
    "used using need want say says said know happen visible pictured own owned photo photos picture "
    "pictures pic pics image images img imgs shot shots snapshot snapshots snap snaps library album "
    "collection different various ones one most any some all every each this these those anything that "
    "something anyone anybody someone somebody everyone everybody everything thing things stuff many "
    "much several few lots lot total when what whose whom how why times time doing going stand stands "
    "written spent exist exists else somewhere anywhere chance possibly perhaps maybe tell often"
)
ASKING = frozenset(_ASKING.split())
_EDGES = frozenset("'\"`´‘’“”„«»()[]{}<>…·•¿¡*_~^|\\/+=@#$%&-–—.,;:!?。，！？、；：")
MOST_CHARACTERS = 400


def subject_of(tokens: list[str], kind: Kind | None, aspect: Aspect | None) -> tuple[str, str]:
    """The words to search for, and what the question is about."""
    kept, instead = _acted(tokens) if kind not in (None, "find") else (tokens, "")
    kept = _named(kept, bare=kind is None)
    if aspect == "who" and not _TAKERS.intersection(token.lower() for token in tokens):
        kept = ["people", *kept]
    kept = _trimmed(kept)
    words = " ".join(kept)
    if len(words) > MOST_CHARACTERS:
        words = words[:MOST_CHARACTERS].rpartition(" ")[0] or words[:MOST_CHARACTERS]
    return words, instead or (" ".join(_head(kept)) if kind == "what" else words)


def _named(tokens: list[str], *, bare: bool) -> list[str]:
    """Without the words of asking, and without an article that such a word left behind.

    A few words may be of another language, where "See" is a lake.
    """
    kept: list[str] = []
    for place, token in enumerate(tokens):
        low = token.lower()
        before = tokens[place - 1].lower() if place else ""
        if (
            bare
            and kept
            and ((low == "am" and before != "i") or (token[0].isupper() and before.islower() and low != "i"))
        ):
            kept.append(tokens[place])
            continue
        if low in ASKING or (low in _ARTICLES and before in ASKING and kept and not _empty(kept[-1])):
            continue
        kept.append(token)
    return kept


def _acted(tokens: list[str]) -> tuple[list[str], str]:
    """Verbs without an object become what is asked for: of "what did we eat" it is food.

    One that somebody does becomes what they are seen doing, and one with an object falls away.
    """
    kept: list[str] = []
    instead = ""
    for place, token in enumerate(tokens):
        act = _ACTS.get(token.lower())
        if act is None:
            kept.append(token)
            continue
        behind = tokens[place + 1 : place + 2]
        has_object = bool(behind) and (not _empty(behind[0]) or behind[0].lower() in _ARTICLES)
        asked_for = bool(tokens) and not _empty(tokens[0])  # "what fruit did we eat"
        if has_object or asked_for:
            continue
        somebody = any(not _empty(word) for word in kept)
        kept.append(act[1] if somebody else act[0])
        instead = instead or act[0]
    return kept, instead


def joint_of(tokens: list[str]) -> str:
    end = next((place for place, token in enumerate(tokens) if token.lower() not in GLUE), len(tokens))
    return " ".join(tokens[:end]).lower()


def several_things(words: str) -> tuple[str, ...]:
    """The kinds of things that words name side by side: "dogs and cats"; else the words as they are."""
    parts = [part for part in _BESIDE.split(words) if part]
    if len(parts) > 1:  # the commas of "dogs, cats and birds" are gone by now
        parts = [one for part in parts for one in (part.split() if _all_several(part) else [part])]
    if len(parts) > MOST_BESIDE or any(len(part.split()) > 2 or single(part) == part for part in parts):
        return (words,)
    return tuple(dict.fromkeys(parts))


def _all_several(words: str) -> bool:
    return all(single(word) != word for word in words.split())


MOST_BESIDE = 4
_BESIDE = re.compile(r"\s*,\s*(?:(?:and|or)\s+)?|\s+(?:and|or|&)\s+", re.IGNORECASE)
_TAKERS = frozenset({"took", "shot", "made", "photographed"})
_ARTICLES = frozenset({"a", "an", "the", "any", "some"})


def _empty(word: str) -> bool:
    return word.lower() in GLUE or word.lower() in ASKING


def _head(words: list[str]) -> list[str]:
    """What stands before the first preposition."""
    end = next((place for place, word in enumerate(words) if place and word.lower() in GLUE), len(words))
    return words[:end]


def _trimmed(words: list[str]) -> list[str]:
    """Without prepositions and articles that join nothing."""
    start, end = 0, len(words)
    while start < end and words[start].lower() in GLUE:
        start += 1
    while end > start and words[end - 1].lower() in GLUE:
        end -= 1
    kept: list[str] = []
    for word in words[start:end]:
        low = word.lower()
        if kept and low in GLUE and kept[-1].lower() == low:
            continue
        if kept and low == "of" and kept[-1].lower() in _ARTICLES:
            kept.pop()  # of "people in the picture of the boat" the picture is gone, and so is "in the"
            if kept and kept[-1].lower() in GLUE:
                kept.pop()
        kept.append(word)
    return kept


def stripped(token: str) -> str:
    """A word without the signs around it."""
    start, end = 0, len(token)
    while start < end and token[start] in _EDGES:
        start += 1
    while end > start and token[end - 1] in _EDGES:
        end -= 1
    return token[start:end]


LOOKS = frozenset(
    (
        *("black", "white", "grey", "gray", "red", "orange", "yellow", "green", "cyan", "blue", "purple"),
        *("violet", "pink", "brown", "turquoise", "golden", "dark", "bright", "colourful", "colorful"),
    )
)
"""Words that name no thing by themselves."""


def as_named(subject: str) -> str:
    """A subject as a sentence names it: `lion` is "a lion", `dogs in the snow` stays as it is."""
    wanted, joint, without = subject.partition(" without ")
    if joint and wanted:
        return f"{as_named(wanted)}{joint}{as_named(without)}"
    words = plain(subject).split()
    if words and LOOKS.issuperset(plain(subject).lower().split()):
        return f"something {plain(subject)}"
    head = _head(words)
    if not head:
        return ""
    named = " ".join(head)
    verb = len(head) == 1 and named.endswith("ing") and named.lower() not in _NO_VERBS
    counted = verb or head[0].lower() in _COUNTED or "'" in named
    if not counted and not named[:1].isupper() and named == single(named):
        named = with_article(named)
    return " ".join([named, *words[len(head) :]])


_COUNTED = _ARTICLES | {"two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "people"}
_ENDING_IN_ING = (
    "building ceiling drawing earring evening king morning painting ring spring string swing wedding wing"
)
_NO_VERBS = frozenset(_ENDING_IN_ING.split())
