"""Answers that hold numbers against each other, and what is said where a question is not understood.

All of it comes out of the catalog's rows and the search's cut-off, whoever answers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from retrieval.answers.limits import narrowed
from retrieval.answers.telling.figures import SHOWN, Figures, figures
from retrieval.answers.telling.phrases import about, limits_words, named, one_of, pictures
from retrieval.answers.telling.wording import marks, plain
from retrieval.answers.understanding.periods import SEASONS
from retrieval.db.circumstances import Circumstances, circumstances
from retrieval.english.days import MONTHS, day_of
from retrieval.english.nouns import listed, verb
from retrieval.query.filters import Filter

if TYPE_CHECKING:
    from retrieval.answers.retrieving import Found
    from retrieval.answers.shapes import Plan, Search, Task
    from retrieval.answers.thinking import Thinking

HELP = (
    "Rules read: is there, how many, what kinds, when, where, which camera, show me. "
    'For words alone: search "WORDS"; for free questions: --answerer endpoint or --answerer local'
)
MOST_PERIODS = 24
LARGEST = 3
"""Years that are named beside the one with the most pictures."""
COUNTED = "pictures are counted, not what is in each of them"

Find = Callable[["Plan"], "Found"]


def reckoned(thinking: Thinking, plan: Plan, find: Find) -> Figures:
    """The answer to a plan with a task; `find` finds the pictures of a plan, all of them."""
    task = plan.task
    assert task is not None
    made = _Reckoning(thinking, plan, task, find)
    return {
        "chat": made.chat,
        "unclear": made.unclear,
        "than": made.than,
        "against": made.against,
        "share": made.share,
        "period": made.period,
        "without": made.without,
        "season": made.season,
    }[task.way]()


@dataclass(slots=True)
class _Reckoning:
    thinking: Thinking
    plan: Plan
    task: Task
    find: Find

    def chat(self) -> Figures:
        return Figures(f"This question is not understood by rules. {self.task.word} {HELP}", (), 0.0)

    def unclear(self) -> Figures:
        """What its words find, without a word on what the library has."""
        found = self.find(self.plan)
        where = limits_words(self._where(self.plan.searches[0]))
        words = f"“{plain(self.plan.subject)}”" if self.plan.subject else "pictures"
        said = f"{words} {where}".strip()
        rows = self._rows(found)[:SHOWN]
        text = f"This question is not understood by rules. {self.task.word}"
        if rows:
            count = pictures(len(found.chances))
            text = f"{text} A search for {said} finds {count}, such as {_marks(rows, rows)}. {HELP}"
        else:
            text = f"{text} A search for {said} finds nothing, which does not answer it. {HELP}"
        return Figures(text, tuple(rows), 0.0)

    def than(self) -> Figures:
        found = self.find(self.plan)
        count, number = len(found.chances), self.task.number
        holds = {
            "more than": count > number,
            "fewer than": count < number,
            "at least": count >= number,
            "at most": count <= number,
            "exactly": count == number,
        }[self.task.word]
        yes = "Yes" if holds else "No"
        made = self._figures(self.plan, found)
        if made is None:
            return Figures(f"{yes}: no picture {self._like(self.plan.searches[0], 0)}.", (), 0.0)
        return replace(made, text=f"{yes}: {made.text[:1].lower()}{made.text[1:]}")

    def against(self) -> Figures:
        cited: list[Circumstances] = []
        parts, counts, sure = list[str](), list[int](), list[float]()
        for search in self.plan.searches:
            found = self.find(replace(self.plan, searches=(search,), subject=search.words, task=None))
            rows = self._rows(found)[:SHOWN]
            cited += [row for row in rows if row.image_id not in {one.image_id for one in cited}]
            count = len(found.chances)
            counts.append(count)
            sure += [found.chances[row.image_id] for row in rows]
            some = f" {_marks(rows, cited)}" if rows else ""
            parts.append(f"{pictures(count) if count else 'no picture'} {self._like(search, count)}{some}")
        first, second = counts
        holds = first > second if self.task.word == "more" else first < second
        yes = "Yes" if holds else "No, as many" if first == second else "No"
        seen = f" ({COUNTED})" if any(search.asks for search in self.plan.searches) else ""
        return Figures(f"{yes}: {', '.join(parts)}{seen}.", tuple(cited), max(sure, default=0.0))

    def share(self) -> Figures:
        """How many of some pictures are such; what says nothing of it leaves the answer open."""
        of, whole = self.plan.searches
        some = self.find(replace(self.plan, searches=(of,), task=None))
        every = self.find(replace(self.plan, searches=(whole,), subject=whole.words, task=None))
        within = [image_id for image_id in some.chances if image_id in every.chances]
        total, count = len(every.chances), len(within)
        rows = self._rows(some, within)
        silent = sum(_silent(row, of.where) for row in self._rows(every) if row.image_id not in some.chances)
        cited = rows[:SHOWN]
        those = f"{count:,} of {pictures(total)}"
        if whole.asks:
            those += f" that {verb(total, 'look')} like {named(replace(self.plan, searches=(whole,)))}"
        limited = limits_words(of.where)
        if of.where:
            are = (
                ("was" if count == 1 else "were")
                if limited.startswith("taken")
                else "is"
                if count == 1
                else "are"
            )
            text = f"{those} {are} {limited}"
        else:
            text = f"{those} {verb(count, 'look')} like {named(replace(self.plan, searches=(of,)))}"
        half = self.task.word == "most"
        if not total:
            return Figures(f"No picture {self._like(whole, 0)}, so there is none to tell it of.", (), 0.0)
        if count == total or (half and count * 2 > total):
            lead = "Yes"
        elif silent and (count + silent == total or (half and (count + silent) * 2 > total)):
            lead = "That is not known"
        else:
            lead = "No"
        shown = f"{', such as' if count > len(cited) else ''} {_marks(cited, cited)}" if cited else ""
        rest = f"; {silent:,} {verb(silent, 'say')} nothing of it" if silent else ""
        seen = f" ({COUNTED})" if of.asks else ""
        sure = (
            0.0
            if lead == "That is not known"
            else max((some.chances[row.image_id] for row in cited), default=1.0)
        )
        return Figures(f"{lead}: {text}{shown}{rest}{seen}.", tuple(cited), sure)

    def period(self) -> Figures:
        found = self.find(self.plan)
        rows = self._rows(found)
        groups: dict[tuple[int, int], list[Circumstances]] = {}
        for row in rows:
            day = day_of(row.taken_at or "") if row.dated else None
            if day is not None:
                groups.setdefault((day.year, day.month if self.task.unit == "month" else 0), []).append(row)
        those = f"{pictures(len(rows))}{self._that(len(rows))}"
        if not groups:
            return Figures(
                f"None of {those} says when it was taken." if rows else "There is no such picture.", (), 0.0
            )
        dated = sum(map(len, groups.values()))
        known = f"{dated:,} of {those} {verb(dated, 'say')} when {_they_were(dated)} taken"
        cited: list[Circumstances] = []
        if not self.task.word:
            parts = []
            for key in sorted(groups)[-MOST_PERIODS:]:
                cited.append(groups[key][0])
                parts.append(f"{len(groups[key]):,} in {_called(key)} {marks([len(cited)])}")
            return Figures(f"{known}: {listed(parts)}.", tuple(cited), self._sure(found, cited))
        least = self.task.word == "fewest"
        ordered = sorted(groups, key=lambda key: (len(groups[key]) * (1 if least else -1), key))
        number = len(groups[ordered[0]])
        best = [key for key in ordered if len(groups[key]) == number]
        cited = [row for key in best[:LARGEST] for row in groups[key][: SHOWN if len(best) == 1 else 1]]
        which = listed([_called(key) for key in best[:LARGEST]])
        each = " each" if len(best) > 1 else ""
        text = f"The {self.task.word} were taken in {which}, {pictures(number)}{each} {_marks(cited, cited)}"
        others = [
            f"{_called(key)} ({len(groups[key]):,})" for key in ordered[len(best) : len(best) + LARGEST]
        ]
        after = f"; then come {listed(others)}" if others else ""
        return Figures(f"{text}{after}. {known}.", tuple(cited), self._sure(found, cited))

    def without(self) -> Figures:
        found = self.find(self.plan)
        rows = self._rows(found)
        place = self.task.word == "place"
        lacking = [row for row in rows if (row.latitude is None if place else not row.dated)]
        what = "where" if place else "when"
        those = f"{pictures(len(rows))}{self._that(len(rows))}"
        if not lacking:
            each = f"Each of {those} says {what} it was taken." if rows else "There is no such picture."
            return Figures(each, (), 1.0 if rows else 0.0)
        do = "does" if len(lacking) == 1 else "do"
        cited = lacking[: self.thinking.terms.limit if self.plan.kind == "find" else SHOWN]
        some = f"{', such as' if len(lacking) > len(cited) else ''} {_marks(cited, cited)}"
        text = f"{len(lacking):,} of {those} {do} not say {what} {_they_were(len(lacking))} taken{some}."
        return Figures(text, tuple(cited), self._sure(found, cited))

    def season(self) -> Figures:
        found = self.find(self.plan)
        rows = self._rows(found)
        months = [(SEASONS[self.task.word] - 1 + place) % 12 for place in range(3)]
        dated = [(row, day) for row in rows if row.dated and (day := day_of(row.taken_at or ""))]
        its = [row for row, day in dated if day.month - 1 in months]
        cited = its[: self.thinking.terms.limit if self.plan.kind == "find" else SHOWN]
        some = f"{', such as' if len(its) > len(cited) else ''} {_marks(cited, cited)}" if its else ""
        those = f"{len(its):,} of {pictures(len(rows))}{self._that(len(rows))}"
        span = f"from {MONTHS[months[0]]} to {MONTHS[months[-1]]}"
        what = f"{self.task.word}, {span} as in the northern half of the globe"
        silent = len(rows) - len(dated)
        rest = f"; {silent:,} {verb(silent, 'say')} nothing of when" if silent else ""
        text = f"{those} {'was' if len(its) == 1 else 'were'} taken in {what}{some}{rest}."
        return Figures(text, tuple(cited), self._sure(found, cited))

    def _figures(self, plan: Plan, found: Found) -> Figures | None:
        where = self._where(plan.searches[0])
        return figures(
            self.thinking.state,
            replace(plan, kind="count"),
            found,
            about=named(plan),
            limits=limits_words(where),
        )

    def _rows(self, found: Found, ids: Sequence[int] | None = None) -> list[Circumstances]:
        with self.thinking.state.snapshot() as reader:
            return circumstances(reader, found.ids if ids is None else ids)

    def _where(self, search: Search) -> Filter:
        return narrowed(self.thinking.inquiry.where, search.where).where

    def _that(self, count: int) -> str:
        """What the pictures of the plan are, behind their number."""
        limits = limits_words(self._where(self.plan.searches[0]))
        like = f" that {verb(count, 'look')} like {named(self.plan)}" if about(self.plan) else ""
        return f"{' ' + limits if limits else ''}{like}"

    def _like(self, search: Search, count: int) -> str:
        """The same as a verb: "look like dogs", "were taken in 2022"."""
        limits = limits_words(self._where(search))
        one = count < 2
        if search.asks:
            like = named(replace(self.plan, searches=(search,), subject=search.words))
            like = one_of(like) if count == 1 else like
            return f"{limits} {'looks' if one else 'look'} like {like}".strip()
        if limits.startswith("taken"):
            return f"{'was' if one else 'were'} {limits}"
        return f"{'is' if one else 'are'} {limits or 'there'}"

    def _sure(self, found: Found, cited: Sequence[Circumstances]) -> float:
        return max((found.chances[row.image_id] for row in cited), default=0.0)


def _they_were(count: int) -> str:
    return "it was" if count == 1 else "they were"


def _marks(rows: Sequence[Circumstances], cited: Sequence[Circumstances]) -> str:
    order = [row.image_id for row in cited]
    return marks(order.index(row.image_id) + 1 for row in rows)


def _silent(row: Circumstances, where: Filter) -> bool:
    """Whether a picture says nothing of what it is held against."""
    return (
        (where.near is not None and row.latitude is None)
        or ((where.after is not None or where.before is not None) and not row.taken_at)
        or (where.camera is not None and row.camera is None)
    )


def _called(key: tuple[int, int]) -> str:
    year, month = key
    return f"{MONTHS[month - 1]} {year}" if month else str(year)
