"""The words of answers that are made in code: lists, numbers, dates, quotes and marks of pictures.

What a person, a camera or a web page wrote only gets into a sentence through `quoted` or
`plain`: neither lets it end the sentence, cite a picture or turn the line around.
"""

from __future__ import annotations

import datetime as dt
import re
import unicodedata
from collections.abc import Iterable, Sequence

LONGEST_QUOTE = 120
MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
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
    "glasses sunglasses scissors headphones shoes clothes playing cards jeans trousers pants ruins "
    "stairs grapes fireworks dishes stars binoculars people family"
)
PAIRS = frozenset(_PAIRS.split())
"""Nouns that take no article though there is one of them."""
_MASS = (
    "grass snow rain fog food fruit bread pasta sushi cheese coffee tea beer wine money furniture "
    "jewelry medicine coral wildlife water ice sand smoke fire luggage weather lightning corn broccoli "
    "soup salad underwater handwriting christmas halloween yoga soccer basketball baseball tennis golf "
    "dancing cooking swimming running cycling hiking camping skiing surfing sailing fishing chocolate "
    "milk juice rice meat dessert breakfast pizza ice cream sky night autumn"
)
MASS = frozenset(_MASS.split())
_NO_ARTICLE = frozenset({"ice cream", "playing cards", "black and white", "night", "sky", "sea"})
_AN = re.compile(r"(?!eu|u(?:ni|s[aei]|t[ei])|one|ufo)[aeiou]|ho(?:ur|nest|nou?r)|heir", re.IGNORECASE)
_SENTENCE_END = re.compile(
    r"(?<!\bSt)(?<!\bMt)(?<!\bDr)(?<!\bMr)(?<!\bMrs)(?<!\bMs)[.!?\u2026\u3002\uff01\uff1f\u061f\u0964]+\s+"
    r"|\s*[\r\n\u2028\u2029\x0b\x0c\x85]+\s*"
)


def joined(items: Sequence[str], last: str = "and") -> str:
    """`a`, `a and b`, `a, b and c`."""
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} {last} {items[-1]}"


def counted(number: int, noun: str) -> str:
    """`1 picture`, `3 pictures`, `1,204 pictures`."""
    return f"{number:,} {noun if number == 1 else many(noun)}"


def many(phrase: str) -> str:
    """A noun, or a phrase that ends with one, for more than one of it."""
    head, space, noun = phrase.rpartition(" ")
    return head + space + _many(noun)


def _many(noun: str) -> str:
    low = noun.lower()
    if low in SAME or low in _EVEN or low in PAIRS or low in MASS:
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
    if low in SAME or low in PAIRS or low in UNEVEN or low in MASS:
        return noun
    for ending, instead in (("ies", "y"), ("sses", "ss"), ("xes", "x"), ("ches", "ch"), ("shes", "sh")):
        if low.endswith(ending) and len(low) > len(ending) + 1:
            return noun[: -len(ending)] + instead
    if low.endswith(("ss", "us", "is")) or not low.endswith("s") or len(low) < 4:
        return noun
    return noun[:-1]


def _like(noun: str, other: str) -> str:
    return other.capitalize() if noun[:1].isupper() else other


def with_article(noun: str) -> str:
    """`a dog`, `an owl`, `grass`, `shoes`: as it is named in a sentence."""
    low = noun.lower()
    last = low.rpartition(" ")[2]
    if low in _NO_ARTICLE or last in MASS or last in PAIRS or last in _EVEN:
        return noun
    if last not in SAME and _single(last) != last:
        return noun
    return f"{'an' if _AN.match(noun) else 'a'} {noun}"


def marks(numbers: Iterable[int]) -> str:
    """The marks of pictures, as they stand behind what is said of them: `[1][3]`."""
    return "".join(f"[{number}]" for number in sorted(set(numbers)))


def capital(text: str) -> str:
    """The text with a capital first letter, and the others as they are."""
    return text[:1].upper() + text[1:]


def plain(text: str, limit: int = LONGEST_QUOTE) -> str:
    """Text of unknown origin for the middle of a sentence.

    One line, without what cannot be seen, without brackets that look like the mark of a
    picture, and without an end of a sentence; it is cut at `limit` characters.
    """
    text = _SENTENCE_END.sub(" / ", text.strip())
    shown = "".join(_shown(character) for character in text)
    shown = " ".join(shown.translate(_ROUND).split()).strip("/ ")
    if len(shown) > limit:
        cut = shown[:limit].rpartition(" ")[0] or shown[:limit]
        return cut.rstrip(" ,;:/-(") + "\u2026"
    return shown.rstrip(".") if not shown.endswith("..") else shown.rstrip(".") + "\u2026"


_ROUND = str.maketrans({"[": "(", "]": ")", "\uff3b": "(", "\uff3d": ")", "\u3010": "(", "\u3011": ")"})
_JOINERS = "\u200c\u200d\ufe0e\ufe0f"
"""Invisible, but part of how words and emojis are written."""


def _shown(character: str) -> str:
    kind = unicodedata.category(character)
    if kind in ("Cc", "Zl", "Zp", "Zs"):
        return " "
    return "" if kind in ("Cf", "Cs", "Co", "Cn") and character not in _JOINERS else character


def quoted(text: str, limit: int = LONGEST_QUOTE) -> str:
    """Text of unknown origin in quotation marks, which it cannot close itself."""
    inner = re.sub('["\u201c\u201d\u201e\u201f\u00ab\u00bb\uff02]', "'", plain(text, limit))
    return f"\u201c{inner}\u201d"


def day_of(moment: str) -> dt.date | None:
    """The day of a time as the catalog writes it; None for what is no time."""
    try:
        return dt.date.fromisoformat(moment[:10])
    except ValueError:
        return None


def day_words(day: dt.date) -> str:
    """`3 May 2022`."""
    return f"{day.day} {MONTHS[day.month - 1]} {day.year}"


def span_words(days: Iterable[dt.date]) -> str:
    """When something was, with its preposition: `on 3 May 2022`, `between 3 and 9 May 2022`."""
    known = sorted(set(days))
    if not known:
        return ""
    first, last = known[0], known[-1]
    if first == last:
        return f"on {day_words(first)}"
    if len(known) == 2 and first.year != last.year:
        return f"on {day_words(first)} and {day_words(last)}"
    if first.year != last.year:
        begin = day_words(first)
    elif first.month != last.month:
        begin = f"{first.day} {MONTHS[first.month - 1]}"
    else:
        begin = str(first.day)
    return f"between {begin} and {day_words(last)}" if len(known) > 2 else f"on {begin} and {day_words(last)}"


def period_words(after: dt.date | None, before: dt.date | None) -> str:
    """A filter of dates in words; `before` is the first day that is too late: `in May 2022`, `since 2020`."""
    if after is None and before is None:
        return ""
    if before is None and after is not None:
        return f"since {_start_words(after)}"
    assert before is not None
    if after is None:
        return f"before {_start_words(before)}"
    last = before - dt.timedelta(days=1)
    if after == last:
        return f"on {day_words(after)}"
    if (after.month, after.day, before.month, before.day) == (1, 1, 1, 1):
        years = before.year - after.year
        return f"in {after.year}" if years == 1 else f"between {after.year} and {last.year}"
    if after.day == 1 and before.day == 1:
        begin, end = f"{MONTHS[after.month - 1]} {after.year}", f"{MONTHS[last.month - 1]} {last.year}"
        return f"in {begin}" if begin == end else f"between {begin} and {end}"
    return span_words([after, after + dt.timedelta(days=1), last]) if last > after else ""


def _start_words(day: dt.date) -> str:
    if (day.month, day.day) == (1, 1):
        return str(day.year)
    return f"{MONTHS[day.month - 1]} {day.year}" if day.day == 1 else day_words(day)
