"""An answerer that is no model: it puts answers together from tags, texts and metadata.

It says only what the catalog has on record of the pictures that were found, with how sure that
is, and cites the picture behind each part of a sentence. What a person or a file wrote is quoted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from retrieval.answers.shapes import Finding
from retrieval.answers.telling.naming import is_disputed, names_of
from retrieval.answers.telling.parts import parts_of
from retrieval.answers.telling.phrases import as_told
from retrieval.answers.telling.reading_out import MOST_QUOTES, read_out
from retrieval.answers.telling.things import Thing, things_of
from retrieval.answers.telling.wording import marks, plain, quoted
from retrieval.answers.telling.written import TOLD
from retrieval.answers.understanding.planning import asked_aspect, plan_by_rules
from retrieval.answers.understanding.subjects import GLUE
from retrieval.english.certainty import HEDGES, POSSIBLE, band
from retrieval.english.days import MONTHS, day_of, day_words
from retrieval.english.nouns import capital, listed, single, with_article
from retrieval.english.things import kind_of

if TYPE_CHECKING:
    from retrieval.answers.shapes import Inquiry, Plan
    from retrieval.answers.understanding.questions import Aspect
    from retrieval.speech import Facts, Sight

MOST_THINGS = 3
"""Things that are said of one picture."""
MOST_FINER = 2
"""More exact names that are said of one thing."""
MOST_NAMED = 8
"""Things that are said in one answer."""
MOST_TAKEN = 4
"""Places and times that an answer ends with."""
ALSO = ("also", "probably also", "perhaps also")
SHORT_OF: Mapping[Aspect, str] = {
    "colour": "Rules cannot tell the colour of a thing; a model that sees can",
    "doing": "Rules cannot tell what somebody is doing; a model that sees can",
    "who": "Nobody is recognised here: people are known by what is written of a picture, and by its tags",
}  # fmt: skip
"""Where an answer by rules stops short of what was asked."""


class RuleAnswerer:
    """Answers without a model."""

    id = "rules"
    note = (
        "Answered by rules, not by a language model: from tags, texts and metadata, without looking again. "
        "For a model that sees: --answerer local or --answerer endpoint"
    )
    sees = False
    batch_size = 64

    def plan(self, inquiry: Inquiry) -> Plan:
        plan = plan_by_rules(inquiry)
        aspect = asked_aspect(inquiry.question)
        if aspect is None or aspect not in SHORT_OF or plan.kind != "what":
            return plan
        return replace(plan, notes=(*plan.notes, f"{SHORT_OF[aspect]}."))

    def look(self, inquiry: Inquiry, plan: Plan, sights: Sequence[Sight]) -> list[Finding]:
        """What the catalog has on record of each picture that answers the question."""
        aspect = asked_aspect(inquiry.question)
        found = []
        for sight in sights:
            text, sure = _told(sight.facts, plan, aspect)
            found.append(Finding(sight.facts, match=sure, text=text, sure=sure, by=self.id))
        return found

    def draft(self, inquiry: Inquiry, plan: Plan, findings: Sequence[Finding]) -> str:
        """Short sentences, each with the pictures that it rests on."""
        numbered = [(number, one) for number, one in enumerate(findings, 1) if one.text]
        own = [(number, one) for number, one in numbered if one.by == self.id]
        undated = ""
        if plan.which is not None and len(numbered) > 1:
            numbered, undated = _outermost(numbered, plan)
            own = [item for item in numbered if item[1].by == self.id]
        aspect = asked_aspect(inquiry.question)
        said = [_as_said(number, one) for number, one in numbered if one.by != self.id]
        if aspect == "text":
            said += read_out(own, plan) or _subjects(own, plan)
        elif plan.kind == "what" and aspect is None:
            said += _things(own, plan) or _subjects(own, plan)
        else:
            said += _subjects(own, plan)
        if plan.kind == "what":
            said += _quotes(own, plan)
        if undated and said:
            said[-1] = f"{said[-1][:-1]}; {undated}."
        return " ".join([*said, *_taken(numbered)])

    def check(self, inquiry: Inquiry, claims: Sequence[tuple[str, Sight]]) -> list[float | None]:  # noqa: ARG002
        """Nothing: it cannot look, and what it says is what it knows already."""
        return [None] * len(claims)


def _told(facts: Facts, plan: Plan, aspect: Aspect | None) -> tuple[str, float]:
    """What a picture's facts say to the question, and how sure that is; empty where they are silent."""
    if aspect == "text" and facts.seen.strip():
        return quoted(facts.seen), TOLD
    kind = kind_of(plan.wanted)
    things = things_of(facts, kind)[:MOST_THINGS]
    if plan.kind != "what" or aspect is not None:
        # What was found is what was searched for: the search has said how likely that is.
        said = plain(plan.subject) or _names(things) or "a picture"
        return said, things[0].confidence if kind and things else 0.0
    if things:
        return _names(things), things[0].confidence
    written = [told.text for told in facts.told if told.text.strip()]
    if written:
        return quoted(written[0]), TOLD
    return ("", 0.0) if kind else (plain(plan.subject) or "a picture", 0.0)


def _names(things: Sequence[Thing]) -> str:
    return listed([_in_words(thing) for thing in things])


def _in_words(thing: Thing) -> str:
    """A thing with what it may be more exactly: "a cat, probably an Egyptian mau"."""
    said = with_article(plain(thing.name))
    return said if thing.finer is None else f"{said}, {_finer(*thing.finer)}"


def _finer(name: str, confidence: float) -> str:
    return f"{HEDGES[band(confidence, own=True)]}{with_article(plain(name))}"


@dataclass(slots=True)
class _Named:
    """A thing with the pictures that show it, as surely as the best of them does."""

    band: int = POSSIBLE
    pictures: list[int] = field(default_factory=list)
    finer: dict[str, tuple[float, list[int]]] = field(default_factory=dict)
    """What it is more exactly, how sure that is, and in which of the pictures."""

    def add(self, number: int, thing: Thing, *, disputed: bool = False) -> None:
        self.band = min(self.band, max(thing.band, 1) if disputed else thing.band)
        self.pictures.append(number)
        if thing.finer is not None:
            name, confidence = thing.finer
            known, numbers = self.finer.get(name, (0.0, []))
            self.finer[name] = max(known, confidence), [*numbers, number]

    def said(self, name: str) -> str:
        parts = [f"{with_article(plain(name))} {marks(self.pictures)}"]
        surest = sorted(self.finer, key=lambda one: -self.finer[one][0])[:MOST_FINER]
        parts += [f"{_finer(one, self.finer[one][0])} {marks(self.finer[one][1])}" for one in surest]
        return ", ".join(parts)


def _things(findings: Sequence[tuple[int, Finding]], plan: Plan) -> list[str]:
    """What the pictures show, each thing once with all its pictures, the surest first.

    Of the kind that was asked for; where the question is about no kind of thing, whatever there is.
    """
    kind = kind_of(plan.wanted)
    most = MOST_THINGS if kind or not plan.subject else 1
    named: dict[str, _Named] = {}
    for number, finding in findings:
        for thing in things_of(finding.facts, kind)[:most]:
            disputed = not thing.own and is_disputed(thing.name, thing.confidence, finding.facts)
            named.setdefault(thing.name, _Named()).add(number, thing, disputed=disputed)
    order = sorted(named, key=lambda name: (named[name].band, -len(named[name].pictures)))[:MOST_NAMED]
    sentences = []
    for band_, hedge in enumerate(HEDGES):
        its = [name for name in order if named[name].band == band_]
        plainly = [named[name].said(name) for name in its if not named[name].finer]
        finer = [named[name].said(name) for name in its if named[name].finer]
        # What has more said of it is a sentence of its own: "and" would leave open which it is said of.
        for said in [*finer, *([listed(plainly)] if plainly else [])]:
            sentences.append(f"{capital(hedge + said)}.")
    return sentences


def _subjects(findings: Sequence[tuple[int, Finding]], plan: Plan) -> list[str]:
    """The subject with the pictures that show it, by how sure that is."""
    if not plan.subject or not findings:
        return []
    named, findings = names_of(findings, plan.subject)
    if not findings:
        return named
    together = bool(parts_of(plan.subject))
    groups: dict[int, list[int]] = {}
    for number, finding in findings:
        sure = finding.match if together else max(finding.match, finding.sure)
        groups.setdefault(_least_band(finding.facts, plan.wanted, band(sure)), []).append(number)
    parts = [f"{ALSO[its]} {marks(groups[its])}" for its in sorted(groups)]
    first = min(groups)
    subject = as_told(plain(plan.subject))
    parts[0] = f"{HEDGES[first]}{subject} {marks(groups[first])}"
    if plan.kind == "whether" and first == 0 and not named:
        parts[0] = f"yes, {parts[0]}"
    return [*named, f"{capital(', '.join(parts))}."]


def _least_band(facts: Facts, wanted: str, sure: int) -> int:
    """No surer than the thing itself is said: beer that the model takes for eggnog is probably beer."""
    name = single(wanted.lower())
    its = [tag for tag in facts.tags if single(tag.tag.lower()) == name]
    return max(sure, 1) if any(is_disputed(tag.tag, tag.confidence, facts) for tag in its) else sure


def _quotes(findings: Sequence[tuple[int, Finding]], plan: Plan) -> list[str]:
    """What people and files have written of the pictures, the same only once."""
    found: dict[str, list[int]] = {}
    for number, finding in findings:
        for told in finding.facts.told:
            if told.text.strip():
                found.setdefault(quoted(told.text), []).append(number)
    words = {word for word in re.findall(r"\w+", plan.subject.lower()) if word not in GLUE}
    order = sorted(found, key=lambda text: not words.intersection(re.findall(r"\w+", text.lower())))
    return [f"The text with the picture says {text} {marks(found[text])}." for text in order[:MOST_QUOTES]]


def _as_said(number: int, finding: Finding) -> str:
    """What a model saw, as a sentence of its own."""
    return f"{capital(plain(finding.text, 300))} [{number}]."


def _taken(findings: Sequence[tuple[int, Finding]]) -> list[str]:
    """Where and when, as exactly as all pictures of a place and a year allow."""
    groups: dict[tuple[str, int], list[int]] = {}
    days: dict[int, str] = {}
    for number, finding in findings:
        day = day_of(finding.facts.taken_at or "")
        if day is None and not finding.facts.place:
            continue
        groups.setdefault((finding.facts.place or "", day.year if day else 0), []).append(number)
        if day is not None:
            days[number] = day.isoformat()
    parts = []
    for (place, _), numbers in sorted(groups.items(), key=lambda group: (-len(group[1]), group[1]))[
        :MOST_TAKEN
    ]:
        near = f"near {plain(place)}" if place else ""
        parts.append(
            " ".join(filter(None, [near, _when([days[n] for n in numbers if n in days]), marks(numbers)]))
        )
    return [f"Taken {listed(parts)}."] if parts else []


def _when(days: Sequence[str]) -> str:
    """Days of one year in words that hold for each of them."""
    known = sorted({day for text in days if (day := day_of(text))})
    if not known:
        return ""
    first, last = known[0], known[-1]
    if first == last:
        return f"on {day_words(first)}"
    return f"in {MONTHS[first.month - 1]} {first.year}" if first.month == last.month else f"in {first.year}"


def _outermost(findings: Sequence[tuple[int, Finding]], plan: Plan) -> tuple[list[tuple[int, Finding]], str]:
    """The first or last picture of those with a time; where none has one, all, and a word on that."""
    dated = [item for item in findings if item[1].facts.taken_at]
    if not dated:
        return list(findings), f"none of them says when it was taken, so the {plan.which} is not known"
    choose = min if plan.which == "first" else max
    return [choose(dated, key=lambda item: item[1].facts.taken_at or "")], ""
