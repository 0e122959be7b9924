"""Answers out of the catalog's rows: how many, when, where, with which camera.

No model takes part in these sentences. Which pictures count is the search's cut-off where words
were searched for, and the filter alone where there were none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from heapq import nsmallest
from typing import TYPE_CHECKING

from retrieval.answers.telling.phrases import (
    camera_words,
    day,
    days,
    likeness,
    one_of,
    pictures,
    ranked_words,
)
from retrieval.answers.telling.wording import marks, plain
from retrieval.db.circumstances import Circumstances, circumstances, present
from retrieval.english.days import day_words, span_words
from retrieval.english.nouns import capital, listed, verb

if TYPE_CHECKING:
    from retrieval.answers.retrieving import Found
    from retrieval.answers.shapes import Plan
    from retrieval.state import State

SHOWN = 3
"""Pictures that are cited for a whole group of them."""
NAMED = 5
"""Times, places or cameras that are named; the rest is counted."""
APART_DAYS = 2
"""Pictures at most so many days apart belong to one occasion."""
BLUR = 0.02
"""Degrees: pictures closer together than that share the name of a place."""

Rows = list[Circumstances]


@dataclass(frozen=True, slots=True)
class Figures:
    """Sentences made of rows, the pictures they cite in the order of their marks, and how sure it is."""

    text: str
    cited: tuple[Circumstances, ...]
    confidence: float


def figures(
    state: State, plan: Plan, found: Found, *, about: str, limits: str, shown: int = SHOWN
) -> Figures | None:
    """The answer to a question for a number, a time, a place or a camera; None where nothing was found.

    `about` is what was searched for, empty where it was for everything that passes; `limits` is
    what the search was limited to, in words; `shown` is how many pictures of a list are cited.
    """
    with state.snapshot() as reader:
        ids = found.ids
        if plan.kind in ("count", "whether"):
            # These name only a few of the pictures, and a library may have a million.
            ids = present(reader, ids)
            rows = circumstances(reader, _likeliest(ids, found, SHOWN))
        else:
            rows = circumstances(reader, ids)
            ids = [row.image_id for row in rows]
    if not rows:
        return None
    made = _Made(plan, rows, len(ids), found, about, limits)
    if plan.kind == "find":
        return made.find(shown)
    make = {
        "count": made.count,
        "whether": made.whether,
        "when": made.when,
        "where": made.where,
        "camera": made.camera,
    }
    return make[plan.kind]()


class _Made:
    def __init__(self, plan: Plan, rows: Rows, number: int, found: Found, about: str, limits: str) -> None:
        self.plan = plan
        self.rows = rows
        """All of them; for a kind that needs no more, the likeliest."""
        self.number = number
        self.found = found
        self.about = one_of(about) if number == 1 else about
        self.limits = f" {limits}" if limits else ""
        self.cited: dict[int, Circumstances] = {}

    @property
    def those(self) -> str:
        """The pictures that the answer is about, as a phrase."""
        like = f" that {_form(self.number, 'looks', 'look')} like {self.about}" if self.about else ""
        return f"{pictures(self.number)}{self.limits}{like}"

    @property
    def were(self) -> str:
        return _form(self.number, "was", "were")

    def cite(self, rows: Rows, most: int = SHOWN) -> str:
        """The marks of the likeliest of some pictures."""
        best = nsmallest(most, rows, key=lambda row: -self.found.chances[row.image_id])
        self.cited.update({row.image_id: row for row in best})
        order = list(self.cited)
        return marks(order.index(row.image_id) + 1 for row in best)

    def done(self, text: str) -> Figures:
        sure = max(self.found.chances[image_id] for image_id in self.cited) if self.about else 1.0
        return Figures(text, tuple(self.cited.values()), sure)

    def whether(self) -> Figures:
        """Only of pictures by their time, place and the like: what they show is for looking at."""
        answer = self.count()
        return replace(answer, text=f"Yes, {answer.text[:1].lower()}{answer.text[1:]}")

    def count(self) -> Figures:
        shown = self.cite(self.rows)
        some = f", such as {shown}" if self.number > SHOWN else f" {shown}"
        if not self.about:
            return self.done(f"The library has {self.those}{some}.")
        return self.done(
            f"{likeness(self.number, self.about, self.limits.strip())}{some} "
            f"(match at least {self.found.cutoff:.0%}; pictures are counted, not what is in each of them)."
        )

    def find(self, most: int) -> Figures:
        """A plain list, the latest first: how many there are, some of them, and of when they are."""
        dated = sorted((row for row in self.rows if row.dated), key=_time)
        if self.plan.which is not None:
            if dated:
                return self._one(dated)
            doubt = f"; none of them says when it was taken, so the {self.plan.which} is not known"
            return self.done(f"The library has {self.those} {self.cite(self.rows, most)}{doubt}.")
        shown = self.rows[:most]
        if len(shown) == self.number:
            text = f"The library has {self.those} {self.cite(shown, most)}."
        else:
            are = ranked_words(most, "newest") if all(row.dated for row in shown) else f"{most} of them"
            text = f"The library has {self.those}; {are}: {self.cite(shown, most)}."
        return self.done(f"{text}{self._spread(dated)}")

    def _spread(self, dated: Rows) -> str:
        """From when to when the pictures of a list are, and how many of them say nothing of it."""
        if not dated:
            one = self.number == 1
            return " It does not say when it was taken." if one else " None of them says when it was taken."
        first, *_, last = [*days([_time(dated[0])]), *days([_time(dated[-1])])]
        if first == last:
            when = f"on {day_words(first)}"
        else:
            when = f"between {day_words(first)} and {day_words(last)}"
        silent = self.number - len(dated)
        if not silent:
            return f" {'It was' if len(dated) == 1 else 'They were'} taken {when}."
        some = "1 of them was" if len(dated) == 1 else f"{len(dated):,} of them were"
        return f" {some} taken {when}; {silent:,} {verb(silent, 'say')} nothing of when."

    def when(self) -> Figures:
        dated = sorted((row for row in self.rows if row.dated), key=_time)
        doubt = ""
        if not dated:
            dated = sorted((row for row in self.rows if row.taken_at), key=_time)
            doubt = " That is only what the files say, not the pictures in them."
        if not dated:
            return self._silent("when")
        if self.plan.which is not None:
            return self._one(dated)
        occasions = _occasions(dated)
        named = [f"{span_words(days([_time(row) for row in rows]))} {self.cite(rows)}" for rows in occasions]
        left = len(dated) - sum(len(rows) for rows in occasions)
        if left:
            named.append(f"{pictures(left)} at other times")
        return self.done(f"{self._known(len(dated), 'when')} {listed(named)}.{doubt}")

    def where(self) -> Figures:
        places = _places(self.rows)
        return self._groups("near", "where", places) if places else self._silent("where")

    def camera(self) -> Figures:
        cameras: dict[str, Rows] = {}
        for row in self.rows:
            if row.camera:
                cameras.setdefault(row.camera, []).append(row)
        what = "with which camera"
        return self._groups("with", what, cameras) if cameras else self._silent(what)

    def _known(self, count: int, what: str) -> str:
        """The start of a sentence about those pictures of which something is known."""
        if count == self.number:
            return f"{capital(self.those)} {self.were} taken"
        said = "1 says" if count == 1 else f"{count:,} say"
        it = "it was" if count == 1 else "they were"
        return f"Of {self.those}, {said} {what} {it} taken:"

    def _one(self, dated: Rows, way: str = "") -> Figures:
        """The first or the last of some pictures, in the order of their times."""
        row = dated[0 if self.plan.which == "first" else -1]
        of = f"The {self.plan.which} of {self.those}" if self.number > 1 else capital(self.those)
        silent = self.number - len(dated)
        rest = f" {silent:,} of them {verb(silent, 'say')} nothing about it." if silent else ""
        return self.done(f"{of} was taken{way} on {day(_time(row))} {self.cite([row])}.{rest}")

    def _silent(self, what: str) -> Figures:
        those, it = self.those, _form(self.number, "it was", "they were")
        if self.about:
            said = likeness(self.number, self.about, self.limits.strip())
        else:
            said = f"The library has {those}"
        text = f"{said} {self.cite(self.rows)}, but nothing says {what} {it} taken."
        return replace(self.done(text), confidence=0.0)

    def _groups(self, word: str, what: str, groups: dict[str, Rows]) -> Figures:
        """What most pictures have in common first, or what the first or last of them has."""
        if self.plan.which is not None:
            dated = sorted((row for rows in groups.values() for row in rows if row.dated), key=_time)
            if dated:
                wanted = dated[0 if self.plan.which == "first" else -1]
                name = next(name for name, rows in groups.items() if wanted in rows)
                return self._one(dated, f" {word} {_called(word, name)}")
        ordered = sorted(groups.items(), key=lambda item: -len(item[1]))
        named = [
            f"{word} {_called(word, name)}"
            f"{f' ({pictures(len(rows))})' if len(ordered) > 1 else ''} {self.cite(rows)}"
            for name, rows in ordered[:NAMED]
        ]
        left = sum(len(rows) for _, rows in ordered[NAMED:])
        if left:
            named.append(f"{word} {'other places' if word == 'near' else 'others'} ({pictures(left)})")
        known = self._known(sum(len(rows) for rows in groups.values()), what)
        return self.done(f"{known} {listed(named)}.")


def _called(word: str, name: str) -> str:
    return camera_words(name) if word == "with" else plain(name)


def _form(number: int, one: str, several: str) -> str:
    return one if number == 1 else several


def _likeliest(ids: Sequence[int], found: Found, most: int) -> list[int]:
    """The first among equals is taken first."""
    return nsmallest(most, ids, key=lambda image_id: -found.chances[image_id])


def _time(row: Circumstances) -> str:
    return row.taken_at or ""


def _occasions(rows: Rows) -> list[Rows]:
    """Pictures in the order of their times, in groups that lie apart; of many, the largest."""
    groups: list[Rows] = []
    before = None
    for row in rows:
        date = next(iter(days([_time(row)])), None)
        if date is None:
            continue
        if before is None or (date - before).days > APART_DAYS:
            groups.append([])
        groups[-1].append(row)
        before = date
    largest = sorted(groups, key=len, reverse=True)[:NAMED]
    return sorted(largest, key=lambda group: _time(group[0]))


def _places(rows: Rows) -> dict[str, Rows]:
    """The pictures by the nearest town, for those that say where they were taken."""
    from retrieval.query.places import known_place

    cells: dict[tuple[int, int], Rows] = {}
    for row in rows:
        if row.latitude is not None and row.longitude is not None:
            cell = round(row.latitude / BLUR), round(row.longitude / BLUR)
            cells.setdefault(cell, []).append(row)
    found: dict[str, Rows] = {}
    for members in cells.values():
        place = known_place(float(members[0].latitude or 0), float(members[0].longitude or 0))
        if place is not None:
            found.setdefault(f"{place.name}, {place.country}", []).extend(members)
    return found
