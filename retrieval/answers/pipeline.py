"""The steps of an answer: plan, search, look, draft, check. Plain code around whatever thinks in them.

Every step is written down. A step that fails leaves what the ones before it found: the rest is then
done by rules, and the answer says so.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from retrieval.answers.checking import Checked, cited, filtered, judged, says_nothing
from retrieval.answers.citing import renumbered
from retrieval.answers.figures import figures
from retrieval.answers.limits import checked, narrowed
from retrieval.answers.phrases import about, closest_words, limits_words, pictures
from retrieval.answers.retrieving import Found, Way, joined, searched
from retrieval.answers.rules import RuleAnswerer
from retrieval.answers.shapes import Finding, Inquiry, Plan, Search
from retrieval.answers.wording import counted
from retrieval.config import RERANK_SECONDS
from retrieval.errors import ImageError, ModelError, ModelUnavailable, QueryError
from retrieval.query.filters import Filter
from retrieval.speech import Sight
from retrieval.types import Answer, Citation, Cost, Step, path_fields

if TYPE_CHECKING:
    from PIL import Image

    from retrieval.protocols import Answerer, Progress
    from retrieval.speech import Facts
    from retrieval.state import State

T = TypeVar("T")

FIGURES = ("count", "when", "where", "camera")
"""Kinds of answers that are made from rows, whoever answers."""
MAX_SEARCHES = 4
SIGHT_SIDE = 1024
"""Longer side of the pictures that a model gets to see."""
NEAR_TEXTS = 2
"""Texts of the catalog that are given along with a picture when they fit it."""
LEAST_SECONDS = 0.5
"""With less time left than that no model is asked."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How an answer is to be reached: see `Catalog.ask`."""

    limit: int
    rerank: str | None
    seconds: float
    check: bool
    progress: Progress | None = None


class Asking:
    """One question on its way to its answer."""

    def __init__(self, state: State, inquiry: Inquiry, answerer: Answerer, terms: Terms) -> None:
        self.state = state
        self.inquiry = inquiry
        self.answerer = answerer
        self.rules = answerer if isinstance(answerer, RuleAnswerer) else RuleAnswerer()
        self.terms = terms
        self.begun = time.monotonic()
        self.steps: list[Step] = []
        self.notes: list[str] = []
        self.looked = 0
        self.plan: Plan | None = None

    def run(self) -> Answer:
        answerer = self.answerer
        plan = self.plan = self._planned()
        found = self._searched(plan)
        if not found.chances:
            return self._nothing(plan, found, answerer)
        if plan.kind in FIGURES:
            return self._figures(plan, found, answerer)
        sights = self._sights(self._chosen(plan, found))
        findings = self._looked(plan, found, sights)
        telling = [finding for finding in findings if finding.text]
        if not telling:
            return self._nothing(plan, found, answerer)
        draft = self._drafted(plan, telling)
        if not draft:  # what was seen gives no answer, says the model
            return self._nothing(plan, found, answerer)
        result = self._checked(plan, draft, telling)
        if not result.sentences:
            return self._nothing(plan, found, answerer)
        return self._answer(telling, result, answerer)

    # The steps, in their order

    def _planned(self) -> Plan:
        begun, said = time.monotonic(), ""
        try:
            plan = self.answerer.plan(self._inquiry())
            for search in plan.searches:
                checked(search.where)
        except ModelUnavailable:
            raise  # nothing is done yet that could be kept, and the message says what helps
        except (ModelError, QueryError) as error:
            if self.answerer is self.rules:
                raise
            said = f" The plan of {self.answerer.id} could not be used ({error}), so rules made it."
            plan = self.rules.plan(self._inquiry())
        plan = replace(plan, searches=tuple(map(self._with_known_tags, plan.searches[:MAX_SEARCHES])))
        what = f"Wanted: {_KINDS[plan.kind]}" + (f" of {plan.subject}" if plan.subject else "")
        self._step("plan", f"{what}; by {plan.by}.{said}", begun, plan.as_dict())
        self.notes.extend(plan.notes)
        return plan

    def _with_known_tags(self, search: Search) -> Search:
        """The search with a tag that the library does not have among its words instead."""
        if not search.where.tags:
            return search
        try:
            with self.state.snapshot():
                self.state.view(self.state.active(), replace(Filter(), tags=search.where.tags))
        except QueryError:
            tags = [search.where.tags] if isinstance(search.where.tags, str) else search.where.tags
            words = " ".join(dict.fromkeys([*search.words.split(), *" ".join(tags).split()]))
            return Search(words, replace(search.where, tags=()))
        return search

    def _searched(self, plan: Plan) -> Found:
        from retrieval.asking import DATED

        figures_wanted = plan.kind in FIGURES
        rerank = None if figures_wanted else self.terms.rerank
        parts = []
        for search in plan.searches:
            begun = time.monotonic()
            way = Way(
                DATED if figures_wanted else self.terms.limit,
                rerank,
                max(LEAST_SECONDS, min(RERANK_SECONDS, self._left())),
                self.terms.progress,
            )
            found, limits = searched(self.state, self.inquiry, search, way)
            parts.append((search, found))
            words = f"'{search.words}'" if search.words.strip() else "Every picture"
            limited = "".join(f" {limits_words(part)}" for part in limits.every)
            best = f", the best {max(found.chances.values()):.0%}" if search.words and found.chances else ""
            text = f"{words}{limited}: {pictures(len(found.chances))}{best}."
            if not limits.possible:
                text = f"{words}: no picture can pass what you allowed and what the question asks for."
            self._step("search", text, begun, {**search.as_dict(), "found": len(found.chances)})
        whole = joined(parts)
        self.notes.extend(whole.notes)
        return whole

    def _chosen(self, plan: Plan, found: Found) -> list[int]:
        """The pictures to look at: the best, or of a plain list some from all along it."""
        ids, limit = found.ids, self.terms.limit
        if len(ids) <= limit or plan.kind == "find" or about(plan):
            return ids[:limit]
        return [ids[place * (len(ids) - 1) // max(1, limit - 1)] for place in range(limit)]

    def _sights(self, ids: Sequence[int]) -> list[Sight]:
        """The pictures with what is known of them."""
        from retrieval.facts import catalog_facts

        facts = catalog_facts(self.state, ids, near=NEAR_TEXTS if self.answerer.sees else 0)
        return [Sight(facts[image_id]) for image_id in ids if image_id in facts]

    def _looked(self, plan: Plan, found: Found, sights: list[Sight]) -> list[Finding]:
        begun = time.monotonic()
        gone: list[Sight] = []
        findings: list[Finding] = []
        waiting = list(sights)
        while waiting and self.answerer is not self.rules and self._in_time("all pictures were looked at"):
            size = max(1, self.answerer.batch_size)
            batch, waiting = waiting[:size], waiting[size:]
            if self.answerer.sees:
                batch, unreadable = self._opened(batch)
                gone.extend(unreadable)
            if batch:
                seen = self._by_model(
                    lambda batch=batch: self.answerer.look(self._inquiry(), plan, batch)  # type: ignore[misc]
                )
                if seen is None:
                    waiting = [*batch, *waiting]
                    break
                findings.extend(seen)
                self.looked += len(batch)
            self._tell("looking", {"total": len(sights), "done": len(sights) - len(waiting)})
        if gone and not findings:
            # Better what is known of pictures that are away than nothing.
            waiting = [*gone, *waiting]
        if waiting:
            findings.extend(self.rules.look(self.inquiry, plan, waiting))
            self.looked += len(waiting)
        findings = [
            replace(finding, match=found.chances.get(finding.facts.image_id or 0, 0.0))
            for finding in findings
        ]
        telling = sum(bool(finding.text) for finding in findings)
        text = f"{pictures(len(findings))} looked at, of which {telling} say something to the question."
        if gone:
            names = ", ".join(str(path_fields(s.facts.path)["path"]) for s in gone[:3] if s.facts.path)
            text += f" Passed over, since the file cannot be read now: {pictures(len(gone))} ({names})."
        said = [
            {
                **({} if one.facts.path is None else path_fields(one.facts.path)),
                "image_id": one.facts.image_id,
                "match": round(one.match, 4),
                "says": one.text,
                "sure": round(one.sure, 4),
                "by": one.by,
            }
            for one in findings
        ]
        self._step("look", text, begun, {"pictures": said})
        return findings

    def _opened(self, sights: Sequence[Sight]) -> tuple[list[Sight], list[Sight]]:
        """The pictures opened for a model, and those that cannot be."""
        opened, unreadable = list[Sight](), list[Sight]()
        for sight in sights:
            image = _picture(sight.facts)
            if image is None:
                unreadable.append(sight)
            else:
                opened.append(replace(sight, image=image))
        return opened, unreadable

    def _drafted(self, plan: Plan, telling: Sequence[Finding]) -> str:
        begun = time.monotonic()
        draft, by = None, self.answerer.id
        if self.answerer is not self.rules and self._in_time("an answer was drafted"):
            draft = self._by_model(lambda: self.answerer.draft(self._inquiry(), plan, telling))
            if draft and not cited(draft, len(telling))[0]:
                said = " ".join(draft.split())[:200]
                self._step("draft", "A draft that cites no picture was put aside.", begun, {"text": said})
                draft = None
        if draft is None:
            by = self.rules.id
            draft = self.rules.draft(self.inquiry, plan, telling)
        self._step("draft", f"A draft by {by}.", begun, {"text": draft})
        return draft

    def _checked(self, plan: Plan, draft: str, telling: Sequence[Finding]) -> Checked:
        begun = time.monotonic()
        kept, uncited = cited(draft, len(telling))
        ids = {number: finding.facts.image_id or 0 for number, finding in enumerate(telling, 1)}
        facts = {number: finding.facts for number, finding in enumerate(telling, 1)}
        if not self.terms.check:
            result = filtered(kept, {}, about(plan))
            result.sentences = kept
            self._step("check", "Not checked, as asked.", begun)
            return result
        from retrieval.fitting import Fitting

        fitting = Fitting(self.state)

        def matcher(claims: Sequence[tuple[int, str]]) -> list[float | None]:
            return fitting.chances([(ids[number], text) for number, text in claims])

        def model(claims: Sequence[tuple[int, str]]) -> Sequence[float | None]:
            none: list[float | None] = [None] * len(claims)
            if self.answerer is self.rules:
                return none
            opened = {number: _picture(facts[number]) for number in {number for number, _ in claims}}
            asked = [(text, Sight(facts[number], opened[number])) for number, text in claims]
            able = [place for place, (_, sight) in enumerate(asked) if sight.image is not None]
            size = max(1, self.answerer.batch_size)
            for start in range(0, len(able), size):
                if self.answerer is self.rules or not self._in_time("all was checked"):
                    break
                part = able[start : start + size]
                said = self._by_model(lambda part=part: self.answerer.check([asked[place] for place in part]))  # type: ignore[misc]
                for place, value in zip(part, said or [], strict=False):
                    none[place] = value
            return none

        verdicts = judged(kept, facts, subject=about(plan), least=fitting.least, matcher=matcher, model=model)
        result = filtered(kept, verdicts, about(plan))
        result.uncited = uncited
        text = (
            f"{counted(len(kept), 'sentence')} held against the pictures cited: {len(result.sentences)} kept"
        )
        text += f", {len(result.marked)} marked as not certain" if result.marked else ""
        text += f", {len(result.dropped)} cut for want of support" if result.dropped else ""
        unfounded = [sentence for sentence in uncited if not says_nothing(sentence)]
        text += f", {len(unfounded)} dropped that cite nothing" if unfounded else ""
        claims = [
            {
                "says": claim.text,
                "image_id": ids[claim.number],
                "verdict": verdict.state,
                **({} if verdict.support is None else {"support": round(verdict.support, 4)}),
            }
            for claim, verdict in verdicts.items()
        ]
        data = {"by": fitting.id, "claims": claims, "dropped": [*result.dropped, *unfounded]}
        self._step("check", f"{text}.", begun, data)
        return result

    # The ways out

    def _answer(self, telling: Sequence[Finding], result: Checked, answerer: Answerer) -> Answer:
        text, order = renumbered(result.sentences)
        citations, sure = list[Citation](), list[float]()
        for old, new in order.items():
            finding = telling[old - 1]
            if finding.facts.path is None or finding.facts.image_id is None:
                continue
            support = result.support(old)
            citations.append(
                Citation(
                    new,
                    finding.facts.path,
                    finding.facts.image_id,
                    support,
                    result.said_of(old),
                    match=finding.match,
                    taken_at=finding.facts.taken_at,
                )
            )
            sure.append(finding.match if support is None else (finding.match + support) / 2)
        return self._done(text, citations, max(sure, default=0.0), answerer)

    def _figures(self, plan: Plan, found: Found, answerer: Answerer) -> Answer:
        begun = time.monotonic()
        made = figures(self.state, plan, found, about=about(plan), limits=limits_words(self._limits(plan)))
        if made is None:
            return self._nothing(plan, found, answerer)
        self._step("draft", "Made from the catalog's rows; no model takes part in figures.", begun)
        citations = [
            Citation(
                number,
                Path(os.fsdecode(row.path)),
                row.image_id,
                sentence=about(plan),
                match=found.chances[row.image_id] if about(plan) else None,
                taken_at=row.taken_at if row.dated else None,
            )
            for number, row in enumerate(made.cited, 1)
        ]
        return self._done(made.text, citations, made.confidence, answerer)

    def _nothing(self, plan: Plan, found: Found, answerer: Answerer) -> Answer:
        """The library does not show it."""
        what = about(plan) or "any picture"
        limits = limits_words(self._limits(plan))
        text = f"The library does not show {what}{' ' + limits if limits else ''}."
        if found.chances:
            text = f"{text} {pictures(len(found.chances))} came near, but none of them bears out an answer."
        elif found.closest:
            text = f"{text} {closest_words(found.closest, found.cutoff)}"
        return self._done(text, [], 0.0, answerer)

    def _done(
        self, text: str, citations: Sequence[Citation], confidence: float, answerer: Answerer
    ) -> Answer:
        spent = answerer.spent()
        cost = Cost(
            seconds=time.monotonic() - self.begun,
            pictures=self.looked,
            calls=spent.calls,
            prompt_tokens=spent.prompt_tokens,
            tokens=spent.tokens,
        )
        shown = f"{pictures(len(citations))} cited, confidence {confidence:.2f}."
        self._step("answer", shown, time.monotonic())
        notes = [answerer.note, *self.notes]
        return Answer(
            text=text,
            citations=tuple(citations),
            steps=tuple(self.steps),
            confidence=max(0.0, min(1.0, confidence)),
            question=self.inquiry.question,
            answerer=answerer.id,
            cost=cost,
            notes=tuple(dict.fromkeys(note for note in notes if note)),
        )

    # What the steps share

    def _limits(self, plan: Plan) -> Any:
        """What the whole answer is limited to: what every search has in common with the first."""
        wanted = plan.searches[0].where if plan.searches else self.inquiry.where
        return narrowed(self.inquiry.where, wanted).where

    def _left(self) -> float:
        return self.terms.seconds - (time.monotonic() - self.begun)

    def _inquiry(self) -> Inquiry:
        return replace(self.inquiry, seconds=max(LEAST_SECONDS, self._left()))

    def _in_time(self, doing: str) -> bool:
        """Whether there is time for a model; where there is none, rules go on from here."""
        if self._left() >= LEAST_SECONDS:
            return True
        self._hand_over(f"The time of {self.terms.seconds:g} seconds was up before {doing}.")
        return False

    def _by_model(self, call: Callable[[], T]) -> T | None:
        """What the answerer says; None where it failed, and rules go on."""
        try:
            return call()
        except ModelError as error:
            self._hand_over(f"{self.answerer.id} failed: {error}")
            return None

    def _hand_over(self, why: str) -> None:
        self.notes.append(f"{why} What was left to do was done by rules, from what is known of the pictures.")
        self.answerer = self.rules

    def _step(self, name: str, text: str, begun: float, data: dict[str, Any] | None = None) -> None:
        step = Step(name, text, time.monotonic() - begun, data or {})
        self.steps.append(step)
        self._tell("step", step.as_dict())

    def _tell(self, name: str, figures_: dict[str, Any]) -> None:
        if self.terms.progress is not None:
            self.terms.progress(name, figures_)


_KINDS = {
    "find": "pictures",
    "what": "what is to be seen",
    "whether": "whether there is any picture",
    "count": "the number",
    "when": "the time",
    "where": "the place",
    "camera": "the camera",
}


def _picture(facts: Facts) -> Image.Image | None:
    """The picture as a model gets to see it; None where the file cannot be read now."""
    from retrieval.images import load_image, thumbnail

    if facts.path is None:
        return None

    def wanted(width: int, height: int) -> tuple[int, int]:
        scale = min(1.0, SIGHT_SIDE / max(width, height))
        return max(1, round(width * scale)), max(1, round(height * scale))

    try:
        return thumbnail(load_image(facts.path, wanted=wanted), SIGHT_SIDE)
    except ImageError:
        return None
