"""Plans made by rules: an English question, or a few keywords, into searches and a kind of answer.

Nothing of the library is known here: a plan is made of the question, the day, and what was
asked before. Whatever the rules do not understand is searched for as it stands.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import replace
from typing import TYPE_CHECKING

from retrieval import config
from retrieval.answers.conditions import Conditions, find_conditions
from retrieval.answers.questions import Aspect, Reading, aspect_of, read, spelled
from retrieval.answers.shapes import Inquiry, Plan, Search
from retrieval.errors import QueryError
from retrieval.query.filters import Filter

if TYPE_CHECKING:
    from retrieval.answers.shapes import Kind

__all__ = ["Aspect", "asked_aspect", "checked_question", "plan_by_rules", "with_places_as_words"]

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
    text = spelled(checked_question(inquiry.question))
    earlier = _earlier(inquiry)
    plain = text if earlier is None else _TIME_AGAIN.sub(" ", text)
    conditions = find_conditions(plain, inquiry.today)
    reading = read(conditions.rest)
    if earlier is not None:
        return _continued(text, conditions, reading, earlier)
    return _plan(conditions, reading, text)


def checked_question(question: str) -> str:
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


def with_places_as_words(plan: Plan) -> Plan | None:
    """The plan with the names of places as words to search for; None for one that names none.

    For a library whose pictures do not say where they were taken: a folder or a caption may.
    """
    if all(search.where.near is None for search in plan.searches):
        return None
    searches = tuple(
        search
        if search.where.near is None
        else Search(f"{search.words} {_name(search.where.near)}".strip(), replace(search.where, near=None))
        for search in plan.searches
    )
    return replace(plan, searches=searches)


def _name(near: str | tuple[float, float, float]) -> str:
    if not isinstance(near, str):
        return ""
    return near.rpartition(",")[0] if re.search(r",\s*[\d.]+$", near) else near


def _plan(conditions: Conditions, reading: Reading, text: str) -> Plan:
    words, subject = reading.words, reading.subject
    wheres = conditions.wheres
    bare = reading.kind is None
    if bare and not words and not reading.which and not any(wheres):
        words = subject = _as_it_stands(text)
    wide = WIDE.get(words.lower(), (words,)) if len(wheres) == 1 else (words,)
    return Plan(
        reading.kind or "find",
        tuple(Search(one, where) for one in wide for where in wheres),
        subject=subject,
        which=reading.which,
        notes=conditions.notes,
    )


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
    if not inquiry.past:
        return None
    before = inquiry.past[-1]
    if before.plan is not None:
        return before.plan
    try:
        return plan_by_rules(Inquiry(before.question, inquiry.today, past=inquiry.past[:-1]))
    except QueryError:
        return None


def _continued(text: str, conditions: Conditions, reading: Reading, earlier: Plan) -> Plan:
    """What was asked before goes on to hold where this question points back, or says only part of one."""
    pointing = _THERE_IS.sub(" ", text)
    points = bool(_THOSE.search(pointing)) or reading.goes_on
    joins = reading.joint.partition(" ")[0] in _JOINS
    if reading.words:
        before = earlier.searches[0].words if earlier.searches else ""
        if _OF_THEM.search(text):
            # "Which of them are black?" asks for black ones.
            pair = (before, reading.words) if " " in reading.words else (reading.words, before)
            words = " ".join(filter(None, pair))
            return _merged(conditions, reading, earlier, words, kind=reading.kind or "find")
        if before and joins and (reading.goes_on or reading.kind is None):
            return _merged(conditions, reading, earlier, f"{before} {reading.joint} {reading.words}")
        if reading.goes_on:
            return _merged(conditions, reading, earlier, reading.words)
    elif points or reading.bare or (reading.kind is None and (any(conditions.wheres) or reading.which)):
        return _merged(conditions, reading, earlier, None)
    plan = _plan(conditions, reading, text)
    place, time = bool(_PLACE_AGAIN.search(pointing)), bool(_TIME_AGAIN.search(text))
    kept = [_part(search.where, place=place, time=time) for search in earlier.searches]
    again = [replace(s, where=_over(where, s.where)) for where in dict.fromkeys(kept) for s in plan.searches]
    return replace(plan, searches=tuple(dict.fromkeys(again)) or plan.searches)


def _merged(
    conditions: Conditions, reading: Reading, earlier: Plan, words: str | None, *, kind: Kind | None = None
) -> Plan:
    """The earlier plan with what is said now in the place of what was; `words` are None where none are."""
    kind = kind or reading.kind
    searches = [
        Search(before.words if words is None else words, _over(before.where, where))
        for before in earlier.searches or (Search(""),)
        for where in conditions.wheres
    ]
    subject = earlier.subject if words is None else words if words != reading.words else reading.subject
    return Plan(
        kind or earlier.kind,
        tuple(dict.fromkeys(searches)),
        subject=subject,
        which=reading.which or (earlier.which if kind is None else None),
        notes=conditions.notes,
    )


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
