"""An answerer that is no model: it puts answers together from tags, texts and metadata.

It says only what the catalog has on record of the pictures that were found, with how sure that
is, and cites the picture behind each part of a sentence. What a person or a file wrote is quoted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from retrieval.answers.kinds import Thing, kind_of, things_of
from retrieval.answers.planning import asked_aspect, plan_by_rules
from retrieval.answers.shapes import Finding
from retrieval.answers.subjects import GLUE, as_named
from retrieval.answers.wording import (
    MONTHS,
    capital,
    day_of,
    day_words,
    joined,
    marks,
    plain,
    quoted,
    single,
    with_article,
)

if TYPE_CHECKING:
    from retrieval.answers.questions import Aspect
    from retrieval.answers.shapes import Inquiry, Plan
    from retrieval.speech import Facts, Sight

SURE, PROBABLE = 0.9, 0.7
"""From where on something is stated, and from where on it is probable; below it is said with "perhaps"."""
NAME_SURE, NAME_PROBABLE, NAME_LEAST = 0.8, 0.5, 0.3
"""The same for names of a model's own, and from where on one is said at all."""
MOST_THINGS = 3
"""Things that are said of one picture."""
MOST_NAMED = 8
"""Things that are said in one answer."""
MOST_QUOTES = 3
MOST_TAKEN = 4
"""Places and times that an answer ends with."""
TOLD = 0.95
"""How sure it is what is written of a picture."""
BANDS = ("", "probably ", "perhaps ")
POSSIBLE = len(BANDS) - 1
ALSO = ("also", "probably also", "perhaps also")
SHORT_OF = {
    "colour": "Rules cannot tell the colour of a thing; a model that sees can",
    "doing": "Rules cannot tell what somebody is doing; a model that sees can",
    "who": "Nobody is recognised here: people are known by what is written of a picture, and by its tags",
    "text": "Text in a picture is known where it was read: search index --ocr reads it",
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
        if aspect is None or plan.kind != "what":
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
            said += _read_out(own, plan)
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
    kind = kind_of(plan.subject)
    things = _worth(things_of(facts, kind))
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


def _worth(things: Iterable[Thing]) -> list[Thing]:
    return [thing for thing in things if not thing.own or thing.confidence >= NAME_LEAST][:MOST_THINGS]


def _names(things: Sequence[Thing]) -> str:
    return joined([with_article(plain(thing.name)) for thing in things])


def band(thing: Thing) -> int:
    """0 for what is stated, 1 for what is probable, 2 for what is only possible."""
    sure, probable = (NAME_SURE, NAME_PROBABLE) if thing.own else (SURE, PROBABLE)
    return 0 if thing.confidence >= sure else 1 if thing.confidence >= probable else 2


def _things(findings: Sequence[tuple[int, Finding]], plan: Plan) -> list[str]:
    """What the pictures show, each thing once with all its pictures, the surest first.

    Of the kind that was asked for; where the question is about no kind of thing, whatever there is.
    """
    kind = kind_of(plan.subject)
    most = MOST_THINGS if kind or not plan.subject else 1
    pictures: dict[str, list[int]] = {}
    bands: dict[str, int] = {}
    for number, finding in findings:
        for thing in _worth(things_of(finding.facts, kind))[:most]:
            pictures.setdefault(thing.name, []).append(number)
            bands[thing.name] = min(bands.get(thing.name, POSSIBLE), band(thing))
    named = sorted(pictures, key=lambda name: (bands[name], -len(pictures[name])))[:MOST_NAMED]
    return _hedged({name: (bands[name], pictures[name]) for name in named})


def _hedged(said: Mapping[str, tuple[int, Sequence[int]]]) -> list[str]:
    """A sentence for each band: what is stated, what is probable, what is only possible."""
    sentences = []
    for band, hedge in enumerate(BANDS):
        parts = [
            f"{with_article(plain(name))} {marks(numbers)}"
            for name, (its, numbers) in said.items()
            if its == band
        ]
        if parts:
            sentences.append(f"{capital(hedge + joined(parts))}.")
    return sentences


def _subjects(findings: Sequence[tuple[int, Finding]], plan: Plan) -> list[str]:
    """The subject with the pictures that show it, by how sure that is."""
    if not plan.subject or not findings:
        return []
    groups: dict[int, list[int]] = {}
    for number, finding in findings:
        groups.setdefault(band(Thing("", max(finding.match, finding.sure))), []).append(number)
    parts = [f"{ALSO[band]} {marks(groups[band])}" for band in sorted(groups)]
    first = min(groups)
    parts[0] = f"{BANDS[first]}{as_named(plan.subject)} {marks(groups[first])}"
    if plan.kind == "whether" and first == 0:
        parts[0] = f"yes, {parts[0]}"
    return [f"{capital(', '.join(parts))}."]


def _read_out(findings: Sequence[tuple[int, Finding]], plan: Plan) -> list[str]:
    """The text that was read in the pictures; where none was, what was found."""
    thing = single(plain(plan.subject)) or "text"
    read = [(number, one.facts.seen) for number, one in findings if one.facts.seen.strip()]
    said = [f"The {thing} reads {quoted(seen)} [{number}]." for number, seen in read[:MOST_QUOTES]]
    return said or _subjects(findings, plan)


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
    return [f"Taken {joined(parts)}."] if parts else []


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
