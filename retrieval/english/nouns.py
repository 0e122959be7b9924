"""Nouns as sentences name them: one or several, with an article by its sound, in lists."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

UNEVEN = {
    "person": "people",
    "man": "men",
    "woman": "women",
    "child": "children",
    "mouse": "mice",
    "goose": "geese",
    "foot": "feet",
    "tooth": "teeth",
    "ox": "oxen",
    "wolf": "wolves",
    "leaf": "leaves",
    "knife": "knives",
    "scarf": "scarves",
    "shelf": "shelves",
    "loaf": "loaves",
    "calf": "calves",
    "bus": "buses",
    "potato": "potatoes",
    "tomato": "tomatoes",
    "volcano": "volcanoes",
}
_EVEN = {plural: single for single, plural in UNEVEN.items()}
_SAME = "sheep deer fish salmon squid aircraft series species moose bison"
SAME = frozenset(_SAME.split())
"""Nouns that are the same for one and for many."""
_PAIRS = (
    "glasses sunglasses scissors headphones shoes clothes cards jeans trousers pants ruins "
    "stairs grapes fireworks dishes stars binoculars people"
)
PAIRS = frozenset(_PAIRS.split())
"""Nouns that take no article though there is one of them."""
ONE = frozenset({"atlas", "canvas", "gas", "lens", "triceratops"})
"""Nouns that end like several and are one."""
_EVEN |= {f"{one}es": one for one in ONE}
_MASS = (
    "grass snow rain fog food fruit bread dough pasta sushi cheese coffee tea beer wine money "
    "furniture jewelry medicine coral wildlife water ice sand smoke fire luggage weather lightning corn "
    "broccoli cauliflower cabbage soup consomme salad guacamole carbonara syrup eggnog underwater "
    "handwriting christmas halloween yoga soccer basketball baseball tennis golf dancing cooking swimming "
    "running cycling hiking camping skiing surfing sailing fishing chocolate milk juice rice meat dessert "
    "breakfast pizza cream sky night autumn hay wool fabric powder spray perfume sunscreen lotion mail "
    "rapeseed paper clothing text writing"
)
MASS = frozenset(_MASS.split())
"""Nouns that take no article and have no plural; the last word of a name decides."""
_NO_ARTICLE = frozenset({"black and white", "sea"})

_VOWEL_LETTERS = frozenset("AEFHILMNORSX8")
"""Letters whose names begin with a vowel: an MRI scan, an SUV, an X-ray, but a URL."""
_SAID_AS_WORDS = frozenset({"RAW", "SIM", "RAM", "ROM", "LAN"})
_SPOKEN = re.compile(
    r"(?=[A-Z]{4})(?:[AEIOU]|(?:[BCDFGHJKLMNPRSTVWYZ]|QU|[BCDFGKPST][HLRW]|S[CKMNPT])[AEIOUY])[A-Z]+",
    re.ASCII,
)
"""Capitals that can be said as a word, from four letters on: NASA, LEGO, NIKON, and not HDMI."""
_AS_CONSONANT = re.compile(
    r"u(?:ni(?![nmd])|nan|s[aeiu]|t[aeio]|k[eru]|r[aiou]|bi|fo)|e[uw]|on(?:e|ce)(?![a-z])", re.IGNORECASE
)
"""Words that begin like a vowel and sound like "you" or "one": a ukulele, a one-way street."""
_AS_VOWEL = re.compile(r"ho(?:ur|nest|nou?r)|heir", re.IGNORECASE)
_EIGHTS = re.compile(r"8|1[18](?!\d)|1[18]\d\d(?!\d)")


def article_for(phrase: str) -> str:
    """`a` or `an`, by how the first word of a phrase is spoken."""
    letters = unicodedata.normalize("NFD", phrase)
    found = re.match(r"[^\W_]+", letters.lstrip("\"'“‘("))
    first = "".join(character for character in found[0] if character.isalnum()) if found else ""
    if first[:1].isdigit():
        return "an" if _EIGHTS.match(first) else "a"
    capitals = first.isupper() and first.isascii()
    spelled = len(first) == 1 or (capitals and first not in _SAID_AS_WORDS and not _SPOKEN.fullmatch(first))
    if spelled and not (len(first) == 1 and first in "aA" and " " in phrase):
        return "an" if first[0].upper() in _VOWEL_LETTERS else "a"
    if _AS_CONSONANT.match(first):
        return "a"
    return "an" if first[:1].casefold() in tuple("aeiou") or _AS_VOWEL.match(first) else "a"


def takes_article(noun: str) -> bool:
    """Whether one of it is said with an article: a dog, but grass, shoes, people."""
    low = noun.lower()
    last = low.rpartition(" ")[2]
    if low in _NO_ARTICLE or last in MASS or last in PAIRS or last in _EVEN:
        return False
    return last in SAME or _single(last) == last


def with_article(noun: str) -> str:
    """`a dog`, `an owl`, `grass`, `shoes`: as it is named in a sentence."""
    return f"{article_for(noun)} {noun}" if takes_article(noun) else noun


def listed(items: Sequence[str], last: str = "and") -> str:
    """`a`, `a and b`, `a, b and c`."""
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} {last} {items[-1]}"


def counted(number: int, noun: str) -> str:
    """`1 picture`, `3 pictures`, `1,204 pictures`; what is counted has a plural, also `3 texts`."""
    head, space, last = noun.rpartition(" ")
    return f"{number:,} {noun if number == 1 else head + space + _several(last)}"


def verb(count: int, plural: str) -> str:
    """A regular verb as so many things do it: "looks" for one, "look" for others."""
    return f"{plural}s" if count == 1 else plural


def many(phrase: str) -> str:
    """A noun, or a phrase that ends with one, for more than one of it."""
    head, space, noun = phrase.rpartition(" ")
    return head + space + _many(noun)


def _many(noun: str) -> str:
    return noun if noun.lower() in MASS else _several(noun)


def _several(noun: str) -> str:
    low = noun.lower()
    if low in SAME or low in _EVEN or low in PAIRS:
        return noun
    if low in UNEVEN:
        return _like(noun, UNEVEN[low])
    if re.search(r"(?:s|x|z|ch|sh)$", low):
        return noun + "es"
    return noun[:-1] + "ies" if re.search(r"[^aeiou]y$", low) else noun + "s"


def single(phrase: str) -> str:
    """A noun, or a phrase that ends with one, for one of it; what is no plural comes back as it is."""
    head, space, noun = phrase.rpartition(" ")
    return head + space + _single(noun)


def _single(noun: str) -> str:
    low = noun.lower()
    if low in _EVEN:
        return _like(noun, _EVEN[low])
    if low in SAME or low in PAIRS or low in UNEVEN or low in MASS or low in ONE:
        return noun
    for ending, instead in (("ies", "y"), ("sses", "ss"), ("xes", "x"), ("ches", "ch"), ("shes", "sh")):
        if low.endswith(ending) and len(low) > len(ending) + 1:
            return noun[: -len(ending)] + instead
    if low.endswith(("ss", "us", "is")) or not low.endswith("s") or len(low) < 4:
        return noun
    return noun[:-1]


def _like(noun: str, other: str) -> str:
    return other.capitalize() if noun[:1].isupper() else other


def capital(text: str) -> str:
    """The text with a capital first letter, and the others as they are."""
    return text[:1].upper() + text[1:]
