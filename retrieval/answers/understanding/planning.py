"""Plans made by rules: an English question, or a few keywords, into searches and a kind of answer.

Nothing of the library is known here: a plan is made of the question, the day, and what was
asked before. Whatever the rules do not understand is searched for as it stands.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from retrieval import config
from retrieval.answers.shapes import Inquiry, Plan, Search
from retrieval.answers.understanding.cited_again import cited_again
from retrieval.answers.understanding.conditions import Conditions, find_conditions
from retrieval.answers.understanding.named_places import is_place
from retrieval.answers.understanding.negation import Apart, apart, composed, unclear, words_of
from retrieval.answers.understanding.questions import Aspect, Reading, aspect_of, read, spelled
from retrieval.answers.understanding.sentences import one_question
from retrieval.answers.understanding.subjects import several_things
from retrieval.answers.understanding.tasks import not_too_long, task_plan
from retrieval.english.nouns import listed
from retrieval.errors import QueryError
from retrieval.query.filters import Filter

if TYPE_CHECKING:
    from retrieval.answers.shapes import Kind

__all__ = ["Aspect", "asked_aspect", "plan_by_rules"]

_THERE_IS = re.compile(
    r"\b(?:is|are|was|were|been|be)\s+there\b|\bthere\s+(?:is|are|was|were|been|any)\b", re.IGNORECASE
)
_THOSE = re.compile(r"\b(?:them|those|these|that|this|it|the same|ones?|there|then)\b", re.IGNORECASE)
_PLACE_AGAIN = re.compile(r"\bthere\b", re.IGNORECASE)
_TIME_AGAIN = re.compile(
    r"\b(?:at |on |in |during )?(?:that|the same) "
    r"(?:day|time|week|weekend|month|year|summer|winter|spring|autumn|trip)\b"
    r"|\bthen(?=\W*$)",
    re.IGNORECASE,
)
_OF_THEM = re.compile(r"\bof (?:them|those|these|the ones)\b", re.IGNORECASE)
_JOINING = "in on at with without under near by behind beside next inside outside"
_JOINS = frozenset(_JOINING.split())
"""How a rest of a question begins that goes on with what was asked for before: "and in the snow?"."""
WIDE = {"weather": ("snow", "rain", "fog", "a storm")}
"""Words that are in no picture by themselves, and what is looked for instead."""


def plan_by_rules(inquiry: Inquiry) -> Plan:
    """What to search for, and what kind of answer is wanted. Raises `QueryError` for no question at all."""
    text, left = one_question(spelled(_checked(inquiry.question)))

    def usual(part: str) -> Plan:
        return _usual(part, inquiry)

    def limited(part: str) -> Conditions:
        return find_conditions(part, inquiry.today)

    plan = cited_again(text, inquiry.past) or task_plan(text, usual, limited) or usual(text)
    plan = not_too_long(plan)
    return replace(plan, notes=tuple(dict.fromkeys((*left, *plan.notes))))


def _usual(text: str, inquiry: Inquiry) -> Plan:
    """The plan of a text that rules can read."""
    earlier = _earlier(inquiry)
    said = apart(text, keywords=_keywords, goes_on=earlier is not None)
    plain = said.text if earlier is None else _TIME_AGAIN.sub(" ", said.text)
    conditions = find_conditions(plain, inquiry.today)
    reading = read(conditions.rest)
    asked = _Asked(conditions, reading, said.text, *_unwanted(said, inquiry, reading))
    return _plan(asked) if earlier is None else _continued(asked, earlier)


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question taken apart."""

    conditions: Conditions
    reading: Reading
    text: str
    without: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def _keywords(text: str) -> bool:
    """Whether a text is no question, but a few words or a wish to see something."""
    return read(text).kind in (None, "find")


def _unwanted(said: Apart, inquiry: Inquiry, reading: Reading) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What pictures are not to show, as it is searched for, and what could not be understood of it."""
    words: list[str] = []
    notes: list[str] = []
    for phrase in said.without:
        if any(find_conditions(phrase, inquiry.today).wheres):
            notes.append(
                f"Times, places and cameras cannot be left out: “{phrase}” was left aside. "
                "Ask for those that are wanted."
            )
        elif found := words_of(phrase):
            words.append(found)
    notes += [
        f"“{phrase}” was left aside: pictures of that may be among the answer's." for phrase in said.aside
    ]
    word = unclear(said.text)
    if word and reading.kind is not None:
        notes.append(f"What “{word}” belongs to was not understood, so it was left aside.")
    return tuple(dict.fromkeys(words)), tuple(notes)


def _checked(question: str) -> str:
    """The question itself, if there is one that can be answered."""
    if not question.strip():
        raise QueryError('There is no question. Ask one: search ask "What did we eat in Lisbon?"')
    if len(question) > config.MAX_QUESTION:
        raise QueryError(
            f"The question is {len(question):,} characters long. Ask it in {config.MAX_QUESTION:,} at most."
        )
    return question


def asked_aspect(question: str) -> Aspect | None:
    """What of a picture a question asks for, where it is not simply what there is."""
    return aspect_of(spelled(question))


def _plan(asked: _Asked) -> Plan:
    reading, wheres = asked.reading, asked.conditions.wheres
    words, subject = reading.words, reading.subject
    if not words and not asked.without and reading.kind is None and not reading.which and not any(wheres):
        words = subject = _as_it_stands(asked.text)
    wide: tuple[str, ...] = WIDE.get(words.lower(), (words,)) if len(wheres) == 1 else (words,)
    if reading.kind == "count" and len(wheres) == 1 and len(each := several_things(words)) > 1:
        # A search for dogs and cats at once finds fewer than one for dogs.
        wide, subject = each, listed(each, "or")
    notes = (*asked.conditions.notes, *asked.notes)
    plan = Plan(
        reading.kind or "find",
        tuple(Search(one, where, asked.without) for one in wide for where in wheres),
        subject=_subject(subject, asked.without),
        which=reading.which,
        notes=notes,
    )
    if reading.kind is None and asked.text.rstrip().endswith("?") and not any(wheres) and is_place(words):
        return replace(plan, searches=(Search("", Filter(near=words)),), subject="", instead=plan)
    if asked.conditions.told and not plan.searches[0].asks:
        called = tuple(Search(str(where.near), replace(where, near=None)) for where in wheres)
        names = listed(asked.conditions.places, "or")
        plan = replace(plan, instead=replace(plan, searches=called, subject=names))
    return plan


def _subject(subject: str, without: tuple[str, ...]) -> str:
    return composed(subject or "pictures", without) if without else subject


def _as_it_stands(text: str) -> str:
    """A text that has no words of its own, fit to be searched for."""
    plain = " ".join(part for token in text.split() if (part := token.strip("\"'“”+-@/~")))
    if all(unicodedata.category(character)[0] in "PZ" for character in plain):
        raise QueryError(
            'There are no words in the question. Say what to look for: search ask "Is there a dog?"'
        )
    return plain


def _earlier(inquiry: Inquiry) -> Plan | None:
    """The plan of the question before; made anew where only its words are known."""
    past = inquiry.past
    while past:
        before, past = past[-1], past[:-1]
        plan = before.plan
        if plan is None:
            try:
                plan = plan_by_rules(Inquiry(before.question, inquiry.today, past=past))
            except QueryError:
                continue
        if plan.task is None or plan.task.understood:
            return plan
    return None


def _continued(asked: _Asked, earlier: Plan) -> Plan:
    """What was asked before goes on to hold where this question points back, or says only part of one."""
    conditions, reading, text = asked.conditions, asked.reading, asked.text
    pointing = _THERE_IS.sub(" ", text)
    points = bool(_THOSE.search(pointing)) or reading.goes_on
    joins = reading.joint.partition(" ")[0] in _JOINS
    limited = any(conditions.wheres) or reading.which or asked.without
    if reading.words:
        before = earlier.searches[0].words if earlier.searches else ""
        if _OF_THEM.search(text):
            # "Which of them are black?" asks for black ones.
            pair = (before, reading.words) if " " in reading.words else (reading.words, before)
            words = " ".join(filter(None, pair))
            return _merged(asked, earlier, words, kind=reading.kind or "find")
        if before and joins and (reading.goes_on or reading.kind is None):
            return _merged(asked, earlier, f"{before} {reading.joint} {reading.words}")
        if reading.goes_on:
            return _merged(asked, earlier, reading.words)
    elif points or reading.bare or (reading.kind is None and limited):
        return _merged(asked, earlier, None)
    plan = _plan(asked)
    place, time = bool(_PLACE_AGAIN.search(pointing)), bool(_TIME_AGAIN.search(text))
    kept = [_part(search.where, place=place, time=time) for search in earlier.searches]
    again = [replace(s, where=_over(where, s.where)) for where in dict.fromkeys(kept) for s in plan.searches]
    return replace(plan, searches=tuple(dict.fromkeys(again)) or plan.searches)


def _merged(asked: _Asked, earlier: Plan, words: str | None, *, kind: Kind | None = None) -> Plan:
    """The earlier plan with what is said now in the place of what was; `words` are None where none are."""
    reading = asked.reading
    kind = kind or reading.kind
    searches = [
        Search(
            before.words if words is None else words,
            _over(before.where, where),
            asked.without if words == reading.words else _together(before.without, asked.without),
        )
        for before in earlier.searches or (Search(""),)
        for where in asked.conditions.wheres
    ]
    subject = earlier.wanted if words is None else words if words != reading.words else reading.subject
    return Plan(
        kind or earlier.kind,
        tuple(dict.fromkeys(searches)),
        subject=_subject(subject, searches[0].without),
        which=reading.which or (earlier.which if kind is None else None),
        notes=(*asked.conditions.notes, *asked.notes),
    )


def _together(before: tuple[str, ...], now: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*before, *now)))


def _part(where: Filter, *, place: bool, time: bool) -> Filter:
    """What goes on to hold of a filter where a question says "there" or "that day"."""
    return Filter(
        near=where.near if place else None,
        after=where.after if time else None,
        before=where.before if time else None,
    )


def _over(kept: Filter, said: Filter) -> Filter:
    """Each condition as it was said last; a new time replaces the old one wholly."""
    if said.after is not None or said.before is not None:
        kept = replace(kept, after=None, before=None)
    new = {name: value for name in Filter.__slots__ if (value := getattr(said, name)) not in (None, (), "")}
    return replace(kept, **new)
