"""Holding every sentence of a draft against the pictures that it cites.

Three things can bear a claim out: what the catalog has on record of the picture (its date,
place, camera, tags, the texts that belong to it), the image-text matcher, and a model that looks
once more. What nothing bears out is dropped; where they disagree, the claim is marked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, NamedTuple

from retrieval.answers.checks.citing import Part, Sentence, sentences
from retrieval.answers.checks.recorded import on_record
from retrieval.answers.understanding.negation import borne_out
from retrieval.english.nouns import counted

if TYPE_CHECKING:
    from retrieval.speech import Facts

    Compare = Callable[[Sequence[tuple[int, str]]], Sequence[float | None]]
    """Of picture numbers and claims, how likely each picture shows what is said."""

AGAINST = 0.4
"""Below this share of the matcher's own threshold, it speaks against a claim."""
NOT_CERTAIN = "(not certain)"
MAX_CLAIMS = 64
"""So many claims are compared; a draft that goes on beyond them is cut there."""
State = Literal["supported", "doubtful", "against", "unchecked"]

_HEDGED = re.compile(r"(?i)\b(?:perhaps|maybe|possibly|probably|might|may be|could be|not certain|seems?)\b")


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
    """What went: whole sentences, and parts with the sentence that they are of."""
    marked: list[str] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)
    """What stays though nothing compared it with a picture that it cites."""
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
        left, _ = sentence.keeping([part.citing(range(1, pictures + 1)) for part in sentence.parts])
        if left is not None:
            kept.append(left)
        else:
            uncited.append(sentence.plain)
    return kept, uncited


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
    least: Callable[[], float],
    matcher: Compare | None,
    model: Compare | None,
) -> dict[Claim, Verdict]:
    """A verdict on every claim of the sentences; `facts` are by the numbers of the pictures.

    `least` is the matcher's threshold, and is asked for again once it has compared: a matcher may
    hand over to another one while it does.
    """
    claims = list(claims_of(kept, subject))[:MAX_CLAIMS]
    recorded = {claim: _on_record(claim.text, facts[claim.number]) for claim in claims}
    sure = least()
    open_claims = [claim for claim in claims if (known := recorded[claim]) is None or 0 < known < sure]
    matches = dict(zip(open_claims, matcher(open_claims), strict=True)) if matcher and open_claims else {}
    agrees = least()
    looks = dict(zip(open_claims, model(open_claims), strict=True)) if model and open_claims else {}
    found: dict[Claim, Verdict] = {}
    for claim in claims:
        known = recorded[claim]
        if known is not None and claim not in matches and claim not in looks:
            found[claim] = Verdict(
                "supported" if known >= sure else "against" if not known else "doubtful", known
            )
        else:
            found[claim] = _verdict(known, matches.get(claim), looks.get(claim), agrees)
    return found


def _on_record(text: str, facts: Facts) -> float | None:
    known = on_record(text, facts)
    return borne_out(text, lambda part: on_record(part, facts)) if known is None else known


def _verdict(known: float | None, match: float | None, look: float | None, least: float) -> Verdict:
    """What matcher and model make of a claim that the record leaves open."""
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
        parts = list[Part | None]()
        doubtful, unchecked = list[str](), list[str]()
        for part in sentence.parts:
            states = {
                number: verdicts[claim].state
                for number in part.cites
                if (claim := Claim(number, _text(part, subject))) in verdicts
            }
            good = part.citing([number for number, state in states.items() if state != "against"])
            if good is not None and all(states[number] == "doubtful" for number in good.cites):
                good = _marked(good)
                doubtful.append(part.claim or subject)
            if good is not None and any(states[number] == "unchecked" for number in good.cites):
                unchecked.append(part.claim or subject)
            parts.append(good)
        left, gone = sentence.keeping(parts)
        if left is None:
            found.dropped.append(sentence.plain)
            continue
        found.sentences.append(left)
        found.marked += doubtful
        found.unchecked += unchecked
        found.dropped += [f"{words} (of: {sentence.plain})" for words in gone]
        for part, now in zip(sentence.parts, parts, strict=True):
            lost = len(part.cites) - len(now.cites) if now is not None else 0
            if lost:
                found.dropped.append(f"{counted(lost, 'picture')} cited for: {part.claim or subject}")
    return found


def trust(match: float, verdict: Verdict | None) -> float:
    """How far a citation is to be trusted, of how likely its picture is what was searched for.

    The mean of that and of the support; what should have been checked and was not has none, and
    counts half. Where no check was wanted, it is the match alone.
    """
    if verdict is None:
        return match
    return (match + (verdict.support or 0.0)) / 2


def _marked(part: Part) -> Part:
    if _HEDGED.search(part.words):
        return part
    if part.goes_on:
        return replace(part, after=f"{part.after} {NOT_CERTAIN}")
    words = part.text.rstrip()
    return replace(part, text=f"{words} {NOT_CERTAIN}" + part.text[len(words) :])
