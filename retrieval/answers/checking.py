"""Holding every sentence of a draft against the pictures that it cites.

Three things can bear a claim out: what the catalog has on record of the picture (its date,
place, camera, tags, the texts that belong to it), the image-text matcher, and a model that looks
once more. What nothing bears out is dropped; where they disagree, the claim is marked.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, NamedTuple

from retrieval.answers.citing import CITED, Part, Sentence, sentences

if TYPE_CHECKING:
    from retrieval.speech import Facts

    Compare = Callable[[Sequence[tuple[int, str]]], Sequence[float | None]]
    """Of picture numbers and claims, how likely each picture shows what is said."""

AGAINST = 0.4
"""Below this share of the matcher's own threshold, it speaks against a claim."""
TOLD = 0.9
"""How sure it is what a text that belongs to a picture says of it."""
NOT_CERTAIN = "(not certain)"
MAX_CLAIMS = 64
"""So many claims are compared; a draft that goes on beyond them is cut there."""
State = Literal["supported", "doubtful", "against", "unchecked"]

_HEDGED = re.compile(r"(?i)\b(?:perhaps|maybe|possibly|probably|might|may be|could be|not certain|seems?)\b")
_NOTHING = re.compile(
    r"(?i)\b(?:(?:does|do|did|could|can|is|are|was|were|has|have)\s*(?:not|n['’]t)|cannot|"
    r"no (?:picture|photo|image|evidence|sign)|none|nothing|not (?:shown|visible|clear|certain|sure))\b"
)
_MONTHS = (
    "january february march april may june july august september october november december jan feb mar apr "
    "jun jul aug sep sept oct nov dec monday tuesday wednesday thursday friday saturday sunday"
)
_FILLER = frozenset(
    f"""a an the and or of in on at to from by with near was were is are be been it its this that these those
    taken photographed picture pictures photo photos image images shows show showing shown seen see there here
    camera shot one another also both each probably perhaps maybe possibly likely reads read says text words
    sign written tagged tagged as between until around about which who we you i your our st nd rd th
    {_MONTHS}""".split()
)  # fmt: skip
_QUOTES = re.compile(r"[\"“]([^\"“”]{1,300})[\"”]")
_YEAR = re.compile(r"(?<!\d)(?:18|19|20)\d{2}(?!\d)")


class Claim(NamedTuple):
    """What a part of a sentence says of one picture, by the picture's number in the draft."""

    number: int
    text: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a claim; `support` is None where nothing could compare it."""

    state: State
    support: float | None = None


@dataclass(slots=True)
class Checked:
    """What is left of a draft, and what was done to it."""

    sentences: list[Sentence] = field(default_factory=list)
    verdicts: dict[Claim, Verdict] = field(default_factory=dict)
    dropped: list[str] = field(default_factory=list)
    marked: list[str] = field(default_factory=list)
    uncited: list[str] = field(default_factory=list)

    def claim(self, number: int) -> Claim | None:
        """The first that is said of a picture in words of its own."""
        said = [
            claim
            for sentence in self.sentences
            for part in sentence.parts
            if number in part.cites
            for claim in (Claim(number, part.claim.replace(NOT_CERTAIN, "").strip()),)
        ]
        return next((claim for claim in said if claim.text), next(iter(said), None))

    def verdict(self, number: int) -> Verdict | None:
        """What became of that claim, and of the subject for a picture of which nothing is said."""
        claim = self.claim(number)
        if claim is None:
            return None
        # A sentence that lost its beginning got a capital letter further on.
        of_it = {one.text.casefold(): done for one, done in self.verdicts.items() if one.number == number}
        return of_it.get(claim.text.casefold()) or next(iter(of_it.values()), None)


def cited(draft: str, pictures: int) -> tuple[list[Sentence], list[str]]:
    """The sentences that cite a picture there is, and those that cite none."""
    kept, uncited = list[Sentence](), list[str]()
    for sentence in sentences(draft):
        parts = tuple(
            replace(part, cites=tuple(number for number in part.cites if 1 <= number <= pictures))
            for part in sentence.parts
        )
        parts = tuple(
            part for part, was in zip(parts, sentence.parts, strict=True) if part.cites or not was.cites
        )
        left = replace(sentence, parts=parts) if parts else None
        if left is not None and left.cites:
            kept.append(left)
        else:
            uncited.append(sentence.plain)
    return kept, uncited


def says_nothing(text: str) -> bool:
    """Whether a sentence only says that something is not to be seen."""
    return bool(_NOTHING.search(text))


def claims_of(kept: Sequence[Sentence], subject: str) -> dict[Claim, None]:
    """Each claim once, in order; marks without words of their own stand for the subject."""
    found: dict[Claim, None] = {}
    for sentence in kept:
        for part in sentence.parts:
            for number in part.cites:
                found[Claim(number, _text(part, subject))] = None
    return found


def _text(part: Part, subject: str) -> str:
    return part.claim or subject


def judged(
    kept: Sequence[Sentence],
    facts: Mapping[int, Facts],
    *,
    subject: str,
    least: float,
    matcher: Compare | None,
    model: Compare | None,
) -> dict[Claim, Verdict]:
    """A verdict on every claim of the sentences; `facts` are by the numbers of the pictures."""
    claims = list(claims_of(kept, subject))[:MAX_CLAIMS]
    recorded = {claim: on_record(claim.text, facts[claim.number]) for claim in claims}
    open_claims = [claim for claim in claims if (known := recorded[claim]) is None or 0 < known < least]
    matches = dict(zip(open_claims, matcher(open_claims), strict=True)) if matcher and open_claims else {}
    looks = dict(zip(open_claims, model(open_claims), strict=True)) if model and open_claims else {}
    return {claim: _verdict(recorded[claim], matches.get(claim), looks.get(claim), least) for claim in claims}


def _verdict(known: float | None, match: float | None, look: float | None, least: float) -> Verdict:
    if known is not None and (known >= least or known == 0):
        return Verdict("supported" if known else "against", known)
    spoken = [value for value in (match, look) if value is not None]
    if not spoken:
        return Verdict("unchecked") if known is None else Verdict("doubtful", known)
    support = sum(spoken) / len(spoken)
    by_match = 0 if match is None else 1 if match >= least else -1 if match < AGAINST * least else 0
    by_look = 0 if look is None else 1 if look >= 0.5 else -1
    total = by_match + by_look
    if total > 0:
        return Verdict("supported", support)
    # Two that contradict each other leave it open, and so does one that is not sure.
    return Verdict("doubtful" if total == 0 else "against", support)


def filtered(kept: Sequence[Sentence], verdicts: Mapping[Claim, Verdict], subject: str) -> Checked:
    """The sentences without what is not borne out, and with a mark on what is not certain."""
    found = Checked(verdicts=dict(verdicts))
    for sentence in kept:
        parts = list[Part]()
        gone = False
        for part in sentence.parts:
            if not part.cites:
                parts.append(part)
                continue
            states = {
                number: verdicts[claim].state
                for number in part.cites
                if (claim := Claim(number, _text(part, subject))) in verdicts
            }
            good = tuple(number for number, state in states.items() if state != "against")
            gone |= len(good) < len(part.cites)
            if not good:
                continue
            doubtful = all(states[number] == "doubtful" for number in good)
            if doubtful:
                found.marked.append(part.claim or subject)
            parts.append(_marked(replace(part, cites=good), doubtful=doubtful))
        left = sentence.keeping(parts) if parts else None
        if left is not None:
            found.sentences.append(left)
        if gone:
            found.dropped.append(sentence.plain if left is None else f"part of: {sentence.plain}")
    return found


def _marked(part: Part, *, doubtful: bool) -> Part:
    if not doubtful or _HEDGED.search(part.text):
        return part
    words = part.text.rstrip()
    return replace(part, text=f"{words} {NOT_CERTAIN}" + part.text[len(words) :])


def on_record(claim: str, facts: Facts) -> float | None:
    """How sure the catalog's own record makes a claim; 0 where it contradicts it, None where it is silent."""
    texts = [told.text for told in facts.told] + [facts.seen, " ".join(facts.keywords)]
    known = " ".join(_folded(text) for text in texts)
    date = facts.taken_at or ""
    for year in _YEAR.findall(claim):
        if not date.startswith(year) and year not in known:
            return 0.0
    sure: list[float] = []
    rest = claim

    def take(text: str, confidence: float) -> None:
        nonlocal rest
        words = r"\W+".join(map(re.escape, re.findall(r"\w+", text)))
        if words:
            rest, count = re.subn(rf"(?i)(?<!\w){words}(?:e?s)?(?!\w)", " ", rest)
            if count:
                sure.append(confidence)

    for quote in _QUOTES.findall(claim):
        if _folded(quote) in known:
            sure.append(1.0)
            rest = rest.replace(quote, " ")
    if date:
        for year in (date[:10], date[:7], date[:4]):
            take(year, 1.0)
        take(str(int(date[8:10])) if date[8:10].isdigit() else "", 1.0)
    for place in [facts.place or "", *(facts.place or "").split(",")]:
        take(place, 1.0)
    take(facts.camera or "", 1.0)
    for name, confidence in _names(facts).items():
        take(name, confidence)
    left = [word for word in _words(rest) if word not in _FILLER]
    if left:
        said = [set(_words(told.text)) for told in facts.told]
        content = [word for word in _words(claim) if word not in _FILLER]
        return TOLD if content and any(words.issuperset(content) for words in said) else None
    return min(sure, default=None)


def _names(facts: Facts) -> dict[str, float]:
    """Tags, and what the catalog's model calls the picture; a kind is as sure as all that are of it."""
    found: dict[str, float] = {}
    for named in facts.named:
        for name in dict.fromkeys((named.name, *named.kinds)):
            found[name] = min(1.0, found.get(name, 0.0) + named.confidence)
    for tag in facts.tags:
        found[tag.tag] = max(tag.confidence, found.get(tag.tag, 0.0))
    return dict(sorted(found.items(), key=lambda item: -len(item[0])))


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", _folded(CITED.sub(" ", text)))


def _folded(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())
