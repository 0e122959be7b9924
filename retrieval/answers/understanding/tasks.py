"""Plans for what the kinds of answers do not cover: what is unclear, and numbers held against each other."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from retrieval.answers.shapes import Apart, Kind, Plan, Search, Task
from retrieval.answers.understanding import amounts
from retrieval.answers.understanding.beyond import compares, content, judged, somebody, unread
from retrieval.answers.understanding.conditions import Conditions
from retrieval.answers.understanding.questions import read, unpolite
from retrieval.query.filters import Filter

LONG_WORDS, LONG_KEYWORDS = 14, 25
"""A question, or a wish, with more words to search for says more than rules can follow."""
NOBODY = "Nobody is recognised here; search for what is written of a picture, or for its tags"
JUDGED = "Rules cannot judge pictures."
COUNTED = "Pictures are counted, and not what is in each of them."
_SAYS = re.compile(
    r"(?:an? |any |the |its |their )?(?:(?P<place>gps|geo-?tags?|locations?|coordinates|places?)"
    r"|(?P<time>dates?|times?))\b.*",
    re.I,
)

Usual = Callable[[str], Plan]
"""The plan of a text that rules can read."""
Limited = Callable[[str], Conditions]


def task_plan(text: str, usual: Usual, limited: Limited) -> Plan | None:
    """A plan with a task for a spelled question; None where there is none in it."""
    polite = unpolite(text)
    beyond = unread(text) or unread(polite)
    if beyond is not None:
        return _unclear(beyond.why, beyond.source, limited)
    than = amounts.than_number(polite)
    if than is not None:
        return replace(usual(than.text), kind="count", task=Task("than", than.word, than.number))
    plan = (
        _than_other(polite, usual, limited)
        or _of_all(polite, usual, limited)
        or _by_period(polite, usual)
        or _lacking(polite, usual)
        or _of_season(polite, usual)
        or _within(polite, usual, limited)
        or _judged(polite, usual, limited)
        or _of_somebody(polite, usual)
    )
    if plan is not None:
        return plan
    conditions = limited(polite)
    if conditions.beyond:
        return _unclear(conditions.beyond, polite, limited)
    if read(polite).kind not in (None, "find") and compares(polite, conditions.rest):
        return _unclear("It compares what rules cannot compare.", polite, limited)
    return None


def not_too_long(plan: Plan) -> Plan:
    """The plan itself, where its words are no whole story."""
    most = LONG_KEYWORDS if plan.kind == "find" else LONG_WORDS
    words = plan.searches[0].words.split() if plan.searches else []
    if plan.task is not None or len(words) <= most or len(set(words)) <= most:
        return plan
    return replace(
        plan, kind="find", task=Task("unclear", "It is too long to be followed; ask in one short sentence.")
    )


def _unclear(why: str, source: str, limited: Limited) -> Plan:
    """What of it can be searched for is, and nothing is said of the library."""
    conditions = limited(source)
    words = content(conditions.rest)
    way: Apart = "unclear" if words or any(conditions.wheres) else "chat"
    searches = tuple(Search(words, where) for where in conditions.wheres)
    return Plan("find", searches, subject=words, task=Task(way, why))


def _than_other(text: str, usual: Usual, limited: Limited) -> Plan | None:
    said = amounts.than_other(text)
    if said is None:
        return None
    word, *sides = said
    first, second = (usual(f"how many {side}") for side in sides)
    if len(first.searches) != 1 or len(second.searches) != 1:
        return _unclear("It compares more than two things.", text, limited)
    [one], [other] = first.searches, second.searches
    if not other.asks and other.where:
        other = replace(other, words=one.words, without=one.without)
    if one == other:
        return _unclear("It compares what rules cannot compare.", text, limited)
    return Plan("count", (one, other), task=Task("against", word), notes=(*first.notes, *second.notes))


def _of_all(text: str, usual: Usual, limited: Limited) -> Plan | None:
    said = amounts.of_all(text)
    if said is None:
        return None
    word, rest, what = said
    plan = usual(rest)
    [one, *more] = plan.searches
    if not more and one.where:
        return replace(
            plan, kind="count", searches=(one, replace(one, where=Filter())), task=Task("share", word)
        )
    says = _SAYS.fullmatch(what)
    if says:
        return Plan("count", (Search(""),), task=Task("without", str(says.lastgroup)))
    if what and not more:
        plan = usual(f"how many pictures of {what}")
        if plan.searches[0].words:
            return replace(plan, searches=(plan.searches[0], Search("")), task=Task("share", word))
    return _unclear(
        "Whether something holds for all is only told of times, places, cameras and the like.", text, limited
    )


def _by_period(text: str, usual: Usual) -> Plan | None:
    said = amounts.by_period(text)
    if said is None:
        return None
    unit, word, rest = said
    return replace(usual(rest), kind="count", which=None, task=Task("period", word, unit=unit))


def _lacking(text: str, usual: Usual) -> Plan | None:
    said = amounts.lacking(text)
    if said is None:
        return None
    return _some(said[1], usual, Task("without", said[0]))


def _of_season(text: str, usual: Usual) -> Plan | None:
    said = amounts.of_season(text)
    if said is None or read(text).kind not in (None, "find", "count", "whether"):
        return None
    return _some(said[1], usual, Task("season", said[0]))


def _some(text: str, usual: Usual, task: Task) -> Plan:
    """Some of the pictures that a text asks for."""
    plan = usual(text if read(text).kind else f"show me {text}")
    kind: Kind = "find" if plan.kind == "find" else "count"
    return replace(plan, kind=kind, task=task)


def _within(text: str, usual: Usual, limited: Limited) -> Plan | None:
    number = amounts.within(text)
    if not number:
        return None
    rest = amounts.without_number(text)
    if read(text).kind not in (None, "find"):
        return _unclear(COUNTED, rest, limited)
    plan = usual(rest)
    return replace(plan, notes=(*plan.notes, f"“{number}” was left aside. {COUNTED}"))


def _of_somebody(text: str, usual: Usual) -> Plan | None:
    who = somebody(text)
    if not who:
        return None
    plan = usual(text)
    if not any(search.asks or search.where for search in plan.searches):
        return Plan("find", (Search(""),), task=Task("chat", f"{NOBODY}."))
    return replace(plan, notes=(*plan.notes, f"“{who}” was left aside: {NOBODY[0].lower()}{NOBODY[1:]}."))


def _judged(text: str, usual: Usual, limited: Limited) -> Plan | None:
    rest, word = judged(text)
    if not word or read(text).kind is None:
        return None
    plan = usual(rest)
    if not any(search.asks or search.where for search in plan.searches):
        return _unclear(JUDGED, "", limited)
    return replace(plan, notes=(*plan.notes, f"“{word}” was left aside. {JUDGED}"))
