"""The places that a question names, as far as the gazetteer knows them.

A name counts behind a word that leads to a place: `in Reading`, and not `Reading a book`. With
a capital letter any town will do; without one only a well-known place that is no ordinary
word. The gazetteer takes a moment to load, so it is opened only for what can be a name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from retrieval.errors import MissingDependency

WELL_KNOWN = 100_000
"""People of a town whose name counts without a capital letter, or without a word that leads to it."""
LOOSELY_KNOWN = 50_000
"""And of one behind a word that leads to people and things as well: "from Anna"."""
EVERYWHERE = 1 << 40
"""Stands for the people of a country or a region: it is known to all."""
MOST_PLACES = 4
MOST_WORDS = 5
SHORT = frozenset({"us", "usa", "uk", "uae", "nyc", "la", "dc"})
"""What is known by a few letters; any two letters are some country's code."""
LOWER = SHORT - {"us", "la", "dc"}
"""And without capital letters: "us" are people."""

_ARTICLED = (
    "netherlands philippines bahamas maldives seychelles usa us uk uae emirates congo gambia ukraine "
    "united%states united%kingdom united%arab%emirates czech%republic dominican%republic czechia"
)
ARTICLED = frozenset(name.replace("%", " ") for name in _ARTICLED.split())
"""Names behind "the" that count without capital letters."""
_ORDINARY = (
    "adelaide aden ajax albany alexandra america archway aurora barking basic basel bath batman bedford "
    "bender best black blackburn boulder brandon brent brest bristol brighton brooklyn brown buffalo "
    "burton cairns canton cardinal carmen carolina cary centennial chad chandler charlotte chester "
    "chico chihuahua clear coast columbia columbus commonwealth concord conception constantine cork "
    "corona coventry crawley darwin delta downtown edison elizabeth enterprise essen eugene fletcher "
    "florence franklin front fuji garden general george gilbert gold grand green gray grenade hail "
    "hamilton hampton harbor harper harrow hayward henderson home homo hotel house hudson independence "
    "irving island jackson jordan kent kimberley kennedy kingston lafayette lake lancaster lincoln line "
    "lime limerick logan male mango manning marina mascara mason media mesa metro midland midway mobile "
    "monster moreno motion nancy nature newton nice norman office orange order paradise park parade "
    "phoenix place poole port pretty pristine providence queens reading regina rest reunion richardson "
    "riverside road rochester rodriguez ruse saga salt samba santa savanna school shadow shade shape "
    "sidney sofia sophia split spring springs stamford street sunderland surprise tango tank terminus "
    "tours town trident tyler tyre union vaughan victor victoria view vine vista walton warren water "
    "west winston woodlands york front addition action bed black color colour costume danger detail "
    "english focus french german spanish italian love profile public general silhouette slow motion "
    "uniform winter summer autumn spring fall night morning evening afternoon time turn work total "
    "traffic trouble question return shorts pink yellow white blue purple square which what whose this "
    "that these those your their his her its our any all some each every both another other many "
    "several"
)
ORDINARY = frozenset(_ORDINARY.split())
"""Words that are a town's name too, or that often stand where one can."""

_LEAD = re.compile(
    r"(?<![\w'’])(?:(?:within\s+)?(?P<km>\d{1,4})\s*(?:km|kilomet(?:er|re)s)\s+(?:of|around|from)"
    r"|(?P<firm>in|near|around|outside|inside|within|across|through|thru|throughout|close\s+to|visit(?:ed|ing)?|explor(?:ed|ing))"
    r"|(?P<loose>at|from|to|into|over|via)"
    r"|(?P<told>(?<=tell me )about|(?<=tell us )about|(?<=know )about|(?<=have )about|(?<=anything )about"
    r"|(?<=something )about|(?<=everything )about|(?<=photos )of|(?<=pictures )of"
    r"|(?<=images )of|(?<=shots )of))"
    r"\s+(?=[^\W\d_])",
    re.IGNORECASE,
)
_WORD = re.compile(r"[^\W\d_](?:[\w.'’-]*[\w'’])?")
_JOINING = "de del della di da do dos du la le les los las el of the am an der den im sur upon on"
_JOINTS = frozenset(_JOINING.split())
_ALSO = re.compile(r"\s*(?:,\s*(?:and\s+|or\s+)?|\s(?:and|or|&)\s+)(?:in\s+|near\s+)?", re.IGNORECASE)
_COMMA = re.compile(r"\s*,\s*")
_ARTICLE = re.compile(r"the\s+", re.IGNORECASE)
_OWNER = ("'s", "’s", "'", "’")
BREAK = " ; "


@dataclass(frozen=True, slots=True)
class Places:
    """The places of a text as a filter takes them, and the text without them."""

    names: tuple[str, ...]
    rest: str
    notes: tuple[str, ...] = ()
    told: bool = False
    """Whether they are only what is asked about: "tell me about Norway", "pictures of Norway"."""


def find_places(text: str) -> Places:
    try:
        return _find(text)
    except MissingDependency as error:
        return Places((), text, (str(error),))


def is_place(name: str) -> bool:
    """Whether a name by itself is that of a well-known place, and no ordinary word's."""
    low = name.lower()
    if not name[:1].isupper() or low in ORDINARY or low in _ordinary_tags() or len(name.split()) > MOST_WORDS:
        return False
    try:
        return _well_known(name)
    except MissingDependency:
        return False


def _find(text: str) -> Places:
    cased = _cased(text)
    names: list[str] = []
    kept: list[str] = []
    at, told = 0, False
    for lead in _LEAD.finditer(text):
        if lead.start() < at or len(names) >= MOST_PLACES:
            continue
        least = LOOSELY_KNOWN if lead["loose"] or lead["told"] else 0
        found = _listed(text, lead.end(), least, cased=cased)
        if not found or (lead["told"] and not _all_of_it(text, found, of=lead["told"].lower() == "of")):
            continue
        told = told or bool(lead["told"])
        reach = f", {int(lead['km'])}" if lead["km"] and int(lead["km"]) else ""
        names += [name + reach for name, _ in found]
        about = lead["told"] if (lead["told"] or "").lower() == "about" else ""
        kept += [text[at : lead.start()], about, BREAK]
        at = found[-1][1]
    rest = "".join([*kept, text[at:]])
    if cased and not names:
        rest, names = _between_commas(rest)
    return Places(tuple(dict.fromkeys(names))[:MOST_PLACES], rest, told=told)


def _all_of_it(text: str, found: list[tuple[str, int]], *, of: bool) -> bool:
    """Whether nothing but the places is asked about; behind "of" only what hardly means a person."""
    alone = not text[found[-1][1] :].strip(" .?!;")
    return alone and all(
        name[0].isupper() and name.lower() not in ORDINARY and _well_known(name)
        if of
        else name.lower() not in ORDINARY
        for name, _ in found
    )


def _cased(text: str) -> bool:
    """Whether capital letters say something in this text."""
    words = [word for word in _WORD.findall(text) if len(word) > 1]
    capital = sum(word[0].isupper() for word in words)
    return len(words) < 3 or capital <= 0.7 * len(words)


def _listed(text: str, at: int, least: int, *, cased: bool) -> list[tuple[str, int]]:
    """The places from `at` on, several with commas or "and" between, each with where it ends."""
    found: list[tuple[str, int]] = []
    while len(found) < MOST_PLACES:
        place = _place(text, at, max(least, LOOSELY_KNOWN) if found else least, cased=cased)
        if place is None:
            break
        found.append(place)
        also = _ALSO.match(text, place[1])
        if also is None:
            break
        at = also.end()
    return found


def _place(text: str, at: int, least: int, *, cased: bool) -> tuple[str, int] | None:
    article = _ARTICLE.match(text, at)
    start = article.end() if article else at
    words = _run(text, start, capital=cased)
    if words:
        name = text[start : words[-1].end()]
        whole = _with_area(text, name, words[-1].end())
        if article and _people(text[at : words[-1].end()]) > least:
            return text[at : words[-1].end()], words[-1].end()
        needed = EVERYWHERE - 1 if article else least
        if _people(name) > needed:
            return whole
        # "Bergen Norway": the last word says in which country.
        head = text[start : words[-2].end()] if len(words) > 1 else ""
        if head and not article and _people(words[-1][0]) == EVERYWHERE and _people(head) > 0:
            return f"{head}, {words[-1][0]}", words[-1].end()
        return None
    return _lower(text, start, articled=article is not None)


def _with_area(text: str, name: str, end: int) -> tuple[str, int]:
    """The name, and the country or region that stands behind a comma."""
    comma = _COMMA.match(text, end)
    if comma:
        words = _run(text, comma.end(), capital=True)
        area = text[comma.end() : words[-1].end()] if words else ""
        if area and _people(area) == EVERYWHERE and _people(name) < EVERYWHERE and _together(name, area):
            return f"{name}, {area}", words[-1].end()
    return name, end


def _run(text: str, at: int, *, capital: bool) -> list[re.Match[str]]:
    """The words with capital letters from `at` on; small ones between them belong to the name."""
    words: list[re.Match[str]] = []
    if not capital:
        return words
    pending: list[re.Match[str]] = []
    for word in _consecutive(text, at):
        if word[0][0].isupper():
            words += [*pending, word]
            pending = []
        elif words and word[0] in _JOINTS:
            pending.append(word)
        else:
            break
    return words


def _consecutive(text: str, at: int) -> Iterator[re.Match[str]]:
    for _ in range(MOST_WORDS):
        word = _WORD.match(text, at)
        if word is None:
            return
        yield word
        at = word.end()
        if text[at : at + 1] != " ":
            return
        at += 1


def _lower(text: str, at: int, *, articled: bool) -> tuple[str, int] | None:
    """A well-known place that was written without a capital letter."""
    words = list(_consecutive(text, at))[:3]
    for count in range(len(words), 0, -1):
        name = text[at : words[count - 1].end()]
        low = name.lower()
        if articled:
            if low in ARTICLED and _people(name) == EVERYWHERE:
                return name, words[count - 1].end()
        elif count == 1 and len(low) < 4 and low not in LOWER:
            continue
        elif not ORDINARY.issuperset(low.split()) and low not in _ordinary_tags() and _well_known(name):
            return name, words[count - 1].end()
    return None


def _between_commas(text: str) -> tuple[str, list[str]]:
    """Places that stand for themselves in a list of keywords: "mountains, Switzerland, 2016"."""
    parts = re.split("([,;])", text)
    filled = [part for part in parts[::2] if part.strip(" .?!")]
    names: list[str] = []
    if len(filled) < 2:
        return text, names
    for number in range(0, len(parts), 2):
        name = parts[number].strip(" .?!")
        words = _run(name, 0, capital=True)
        if words and words[-1].end() == len(name) and len(names) < len(filled) - 1 and _well_known(name):
            names.append(name)
            parts[number] = " "
    return "".join(parts), names


@lru_cache(maxsize=1)
def _ordinary_tags() -> frozenset[str]:
    """What pictures are tagged with: "orange" is a fruit before it is a town."""
    from retrieval.vocabulary import default_vocabulary

    return frozenset(tag for tag, _ in default_vocabulary())


@lru_cache(maxsize=256)
def _people(name: str) -> int:
    """The people of the largest town of that name; 0 where there is none."""
    from retrieval.query.gazetteer import fold, gazetteer

    folded = fold(name)
    if not folded or (len(folded) < 4 and folded not in SHORT) or name.lower().endswith(_OWNER):
        return 0
    known = gazetteer()
    if known.codes.get(folded):
        return EVERYWHERE
    return max((max(1, int(known.populations[town])) for town in known.towns(name)), default=0)


@lru_cache(maxsize=256)
def _well_known(name: str) -> bool:
    """Whether it is the chief name of a large town, or that of a country or region."""
    from retrieval.query.gazetteer import fold, gazetteer

    folded = fold(name)
    people = _people(name)
    if people == EVERYWHERE or folded in SHORT:
        return people > 0
    known = gazetteer()
    return any(
        int(known.populations[town]) >= WELL_KNOWN and fold(known.name(town)) == folded
        for town in known.towns(name)
    )


def _together(name: str, area: str) -> bool:
    """Whether a place of that name lies in that country or region."""
    from retrieval.errors import QueryError
    from retrieval.query.places import find_place

    try:
        find_place(f"{name}, {area}")
    except QueryError:
        return False
    return True
