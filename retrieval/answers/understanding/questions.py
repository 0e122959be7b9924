"""What an English question wants to know, and the words in it that name something.

A question is taken apart from the front: politeness, then the words that tell what kind of
answer is wanted. Of what is left the words of asking fall away, and prepositions and articles
stay only between words that name something: "did we see dogs in the snow" is "dogs in the
snow".
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Literal

from retrieval.answers.shapes import Kind, Which
from retrieval.answers.understanding.subjects import joint_of, stripped, subject_of
from retrieval.english.nouns import many, single
from retrieval.english.things import kind_of

Aspect = Literal["text", "colour", "who", "doing"]
"""What of a picture is asked for, where it is not simply what there is: writing, colours, who, doing."""

_THING = r"(?:photo(?:graph)?s?|pictures?|pics?|images?|imgs?|shots?|snapshots?|snaps?)"
_POLITE = re.compile(
    r"(?:please|pls|plz|kindly|hey|hi|hello|ok(?:ay)?|so|well|now|then|also|um+|thanks"
    r"|(?:can|could|would|will) you(?: please)?(?! (?:see|spot|happen)\b)(?: (?:help|tell) me)?"
    r"|i(?: would| will)? (?:love|like|want|need|wish|have) to (?:know|find out|hear)"
    r"|i (?:wonder|was wondering|am wondering)"
    r"|(?:please )?tell (?:me|us)(?! about)|let me know|do you (?:know|remember)|remind me|(?:any|no) idea)"
    r"(?=\W|$)[\s,:]*",
    re.IGNORECASE,
)
_AGAIN = re.compile(r"(?:and|but|or|what about|how about|and what about)\b[\s,]*", re.IGNORECASE)
_CONTRACTIONS = (
    (re.compile(r"\b(what|who|where|when|how|it|that|there|here|he|she|which)'?s\b(?!')", re.I), r"\1 is"),
    (re.compile(r"\b(i|we|you|they|what|where|how)'(?:ve)\b", re.I), r"\1 have"),
    (re.compile(r"\b(we|you|they|what|where|how|who)'(?:re)\b", re.I), r"\1 are"),
    (re.compile(r"\b(i|we|you|they|he|she|it)'d\b", re.I), r"\1 would"),
    (re.compile(r"\b(i|we|you|they|he|she|it|who|that)'ll\b", re.I), r"\1 will"),
    (re.compile(r"\bi'm\b|^im\b", re.I), "i am"),
    (re.compile(r"\b(do|did|does|is|are|was|were|have|has|had|could|would)n't\b", re.I), r"\1 not"),
)
_PLACES = (
    r"(?:different |various )?"
    r"(?:cit(?:y|ies)|towns?|countr(?:y|ies)|places?|locations?|regions?|villages?|states?|continents?)"
)
_TIMES = r"(?:years?|months?|dates?|days?(?: of the week)?|seasons?|weeks?|decades?)"
_CAMERAS = r"(?:[\w-]+ )?(?:cameras?|phones?|smartphones?|lens(?:es)?)"
_LEADS: tuple[tuple[Kind, str], ...] = (
    ("find", r"(?:can|could) you (?:see|find|show|get) me\b"),
    (
        "whether",
        r"(?:can|could) (?:you|i|one|we) (?:see|spot|find)\b|would you happen to have\b"
        r"|(?:is it|it is) true(?: that)?",
    ),
    ("count", r"(?:in |on |of )?how (?:many(?: times)?|much|often)\b"),
    ("count", r"(?:what is )?(?:the )?(?:total |overall )?(?:number|count|amount) of\b"),
    ("count", r"count\b(?: up)?(?: how many)?"),
    ("when", r"(?:since |until )?when(?: exactly)?\b|how long ago\b"),
    (
        "when",
        rf"(?:in |on |at |from |since )?(?:what|which) {_TIMES}\b"
        r"|(?:at |around )?what time(?: of (?:the )?(?:day|year))?\b"
        r"|what (?:is|was|were) the (?:exact )?(?:dates?|day|month|year|time) (?:of|when)\b",
    ),
    ("where", rf"where(?: exactly| else)?\b|(?:in |at |from |near |to |through )?(?:what|which) {_PLACES}\b"),
    ("camera", rf"(?:with |by |on |using )?(?:what|which) {_CAMERAS}\b"),
    ("find", r"which of (?:them|those|these)\b"),
    ("find", rf"(?:what|which)(?: of (?:my|our|the|all)(?: the)?)? (?:{_THING}|ones?)\b"),
    (
        "find",
        r"(?:show|find|give|list|get|fetch|bring|display|open|pull up|search(?: for)?"
        r"|look for|send|pick|choose)\b(?: me| us)?",
    ),
    (
        "find",
        r"(?:let me see|i (?:would )?(?:want|like|love|wish|need)(?: to (?:see|find|look at|have|get))?"
        r"|i am (?:looking|searching) for)\b",
    ),
    ("find", r"(?:do you see|see|view|look at)\b"),
    (
        "whether",
        r"(?:are |is |was |were |have |has |had |do |does |did |will |would )(?:there\b)?"
        rf"|got any\b|any(?= {_THING}\b)",
    ),
    ("whether", r"(?:whether|if)\b"),
    ("what", r"tell (?:me|us) about\b|describe\b|explain\b|summari[sz]e\b"),
    ("what", r"(?:in |on |at |with |for |to |of |from )?(?:what|which|who|whom|whose|how|why)\b"),
)
_KINDS = [(kind, re.compile(rf"(?:{pattern})[\s,]*", re.IGNORECASE)) for kind, pattern in _LEADS]
_COLOUR = re.compile(
    r"(?:in |of )?(?:what|which) colou?rs?\b|\bcolou?rs? (?:is|are|was|were|did|do|does|has|have)\b"
    r"|\bcolou?r of\b",
    re.I,
)
_TEXT = re.compile(
    r"\bwhat (?:does|do|did|is|was) .*\b(?:says?|said|read|written|spell|stand)\b"
    r"|\bwhat (?:is|was|stands) written\b"
    r"|\b(?:text|words?|writing|inscription|name|number|price|title|total) "
    r"(?:on|of|in) (?:the|my|our|this|that|a)\b"
    r"|\bwhat is the (?:text|writing|price|title)\b",
    re.IGNORECASE,
)
_WHO = re.compile(r"^(?:with |for |to )?who(?:m|se)?\b", re.IGNORECASE)
_WITH_THING = re.compile(
    rf"^\W*(?:(?:is|are|was|were)\s+)?(?:(?:in|on)\s+)?(?:(?:the|my|our|this|that|a)\s+)?{_THING}\s+(?:with|of|showing)\s+"
    r"|^\W*(?:(?:is|are|was|were)\s+)?(?:play(?:s|ed|ing)?|h(?:olds?|olding|eld)|w(?:ears?|earing|ore)"
    r"|rid(?:es?|ing)|rode|driv(?:es?|ing)|drove|carr(?:y|ies|ied|ying)|eat(?:s|ing)?|ate)\s+(?=(?:the|an?|my|our)\b)",
    re.IGNORECASE,
)
"""What somebody is asked for by: the thing is searched for, since nobody is recognised."""
_DOING = re.compile(r"\b(?:doing|going on|happening|up to)\b", re.IGNORECASE)
_SORTS = re.compile(
    r"\b(?:different |various )?(?:(?P<several>kinds|types|sorts|breeds|species|brands|makes|models)"
    r"|(?:kind|type|sort|breed|brand|make|model|names?)) of\b",
    re.I,
)
_ITS_SORTS = re.compile(r"\b(\w+) (?:breeds|species|kinds|types|sorts|brands|varieties)\b(?! of\b)", re.I)
_SORT_IS = re.compile(r"^\W*(?:breed|species|kind|type|sort|brand) (?=(?:is|are|was|were)\b)", re.I)
_FIRST = r"(?:very )?first|earliest|oldest"
_LAST = r"(?:very )?last|latest|newest|most recent"
_LAST_FEW = re.compile(
    rf"\b(?:{_LAST})\s+(?:\d{{1,3}}|few|two|three|four|five|six|seven|eight|nine|ten|dozen)\s+(?={_THING}\b)",
    re.IGNORECASE,
)
"""Several of the last; a list of pictures begins with them anyway."""
_WHICH = re.compile(
    rf"\b(?:(?P<first>{_FIRST})|(?P<last>{_LAST}))\b(?:\s+ever\b)?"
    rf"(?=\s+(?:ever|times?|ones?|{_THING}|saw|see|seen|photograph(?:ed)?"
    r"|go|went|visit(?:ed)?|take|took|taken|have|had|been|in my|of my|in the library)\b|\W*$)",
    re.IGNORECASE,
)
_OLD = re.compile(r"\b(?:(?P<first>earliest|oldest)|(?P<last>latest|newest|most recent))\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Reading:
    """A question, understood as far as rules go."""

    kind: Kind | None
    """None where nothing tells: a few keywords, or the rest of an earlier question."""
    words: str
    subject: str
    which: Which | None = None
    goes_on: bool = False
    """Whether it begins as what continues a question: "and in Norway?"."""
    bare: bool = False
    """Whether it only tells what kind of answer is wanted: "how many?"."""
    joint: str = ""
    """The preposition that its words begin with, with an article: "in the"."""


def spelled(text: str) -> str:
    """The text on one line, with plain quotes and without contractions and what cannot be seen."""
    text = "".join(
        " " if unicodedata.category(c) in ("Cc", "Zl", "Zp", "Zs", "Cs") else c
        for c in text.translate({0x2019: "'", 0x2018: "'", 0x02BC: "'"})
        if unicodedata.category(c) != "Cf" or c in "\u200c\u200d"
    )
    for pattern, instead in _CONTRACTIONS:
        text = pattern.sub(instead, text)
    return " ".join(text.split())


def aspect_of(text: str) -> Aspect | None:
    """What of a picture a spelled question asks for."""
    if _COLOUR.search(text):
        return "colour"
    if _TEXT.search(text):
        return "text"
    polite = _without_politeness(text)[0]
    if _WHO.match(polite):
        return "who"
    return "doing" if _DOING.search(text) else None


def read(text: str) -> Reading:
    """A spelled question whose conditions were taken out."""
    aspect = aspect_of(text)
    text, goes_on = _without_politeness(text)
    kind: Kind | None = None
    lead = ""
    for candidate, pattern in _KINDS:
        found = pattern.match(text)
        if found:
            kind, lead, text = candidate, found[0].lower(), text[found.end() :]
            break
    if kind == "whether" and lead.startswith(("do ", "does ", "did ")) and _POLITE_ASK.match(text):
        kind, text = "find", _POLITE_ASK.sub("", text, count=1)
    which, text = _which(kind, lead, text)
    of_thing = False
    if aspect == "who":
        held = _WITH_THING.sub("", text, count=1)
        of_thing, text = held != text, held
    several = kind == "what" and any(found["several"] for found in _SORTS.finditer(text))
    text = _SORTS.sub(" ", text)
    if kind == "what":
        text = _ITS_SORTS.sub(_several, _SORT_IS.sub("", text))
    if aspect == "colour":
        text = _COLOUR.sub(" ", text)
    tokens = [token for part in text.split() if (token := stripped(part))]
    words, subject = subject_of(tokens, kind, None if of_thing else aspect)
    if several and kind_of(subject) is not None:
        subject = many(single(subject))
    return Reading(
        kind, words, subject, which, goes_on,
        bare=kind is not None and all(token.lower() in _THERE for token in tokens),
        joint=joint_of(tokens),
    )  # fmt: skip


def _several(found: re.Match[str]) -> str:
    """Dogs where dog breeds are asked for: their names are on record, and the word for them is not."""
    return found[0] if kind_of(found[1]) is None else many(single(found[1]))


_THERE = frozenset({"is", "are", "was", "were", "there", "total", "in", "exactly", "then", "else"})
_POLITE_ASK = re.compile(r"(?:you (?:mind|want to) )?show(?:ing)? me\b", re.IGNORECASE)


def unpolite(text: str) -> str:
    """A spelled text without the words that only lead to a question."""
    return _without_politeness(text)[0]


def _without_politeness(text: str) -> tuple[str, bool]:
    goes_on = False
    text = text.lstrip(" ,;:.!?-")
    while True:
        polite = _POLITE.match(text)
        again = None if polite else _AGAIN.match(text)
        found = polite or again
        if not found or found.end() == 0:
            return text, goes_on
        goes_on = goes_on or again is not None
        text = text[found.end() :]


def _which(kind: Kind | None, lead: str, text: str) -> tuple[Which | None, str]:
    if lead.startswith("since when"):
        return "first", text
    if lead.startswith("how long ago"):
        return "last", text
    if kind in ("count", "whether"):
        return None, text
    text = _LAST_FEW.sub(" ", text)
    found = _WHICH.search(text) or _OLD.search(text)
    if found is None:
        return None, text
    return ("first" if found["first"] else "last"), f"{text[: found.start()]} {text[found.end() :]}"
