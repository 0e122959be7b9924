"""Drafting an answer from what was seen, and holding the draft against the pictures."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from retrieval.answers.checks.checking import Checked, cited, filtered, judged
from retrieval.answers.checks.citing import says_nothing
from retrieval.answers.looking import opened
from retrieval.answers.telling.phrases import about
from retrieval.answers.telling.wording import quoted
from retrieval.answers.thinking import LEAST_SECONDS
from retrieval.answers.understanding.negation import borne_out, statements
from retrieval.english.nouns import counted
from retrieval.errors import ModelError
from retrieval.speech import Sight

if TYPE_CHECKING:
    from retrieval.answers.checks.citing import Sentence
    from retrieval.answers.shapes import Finding, Plan
    from retrieval.answers.thinking import Thinking
    from retrieval.fitting import Fitting

DRAFT_TOLD = 200
MATCHER_SHARE = 0.5
"""Of the time that is left for a check, where a model looks once more behind the matcher."""
UNCHECKED_TOLD = 3
"""Sentences that are named where they were not checked; the rest are counted."""


def drafted(thinking: Thinking, plan: Plan, telling: Sequence[Finding]) -> str:
    """An answer that cites the findings by their numbers; empty where they give none."""
    begun = time.monotonic()
    draft, by = None, thinking.answerer.id
    if thinking.may_ask("an answer was drafted"):
        draft = thinking.asking(lambda answerer: answerer.draft(thinking.inquiry, plan, telling))
        if draft and not cited(draft, len(telling))[0]:
            said = " ".join(draft.split())[:DRAFT_TOLD]
            thinking.step("draft", "A draft that cites no picture was put aside.", begun, {"text": said})
            draft = None
    if draft is None:
        by = thinking.rules.id
        draft = thinking.rules.draft(thinking.inquiry, plan, telling)
    thinking.step("draft", f"A draft by {by}.", begun, {"text": draft})
    return draft


def checked(thinking: Thinking, plan: Plan, draft: str, telling: Sequence[Finding]) -> Checked:
    """The draft without what its pictures do not bear out."""
    begun = time.monotonic()
    subject = about(plan)
    kept, uncited = cited(draft, len(telling))
    if not thinking.terms.check:
        thinking.step("check", "Not checked, as asked.", begun)
        return Checked(kept)
    facts = {number: finding.facts for number, finding in enumerate(telling, 1)}
    fitting = _Matcher(thinking, {number: one.image_id or 0 for number, one in facts.items()})

    def model(claims: Sequence[tuple[int, str]]) -> list[float | None]:
        found: list[float | None] = [None] * len(claims)
        if thinking.by_rules:
            return found
        numbers = list(dict.fromkeys(number for number, _ in claims))
        images = dict(
            zip(numbers, opened(thinking.state, [facts[number] for number in numbers]), strict=True)
        )
        asked = [(text, Sight(facts[number], images[number].image)) for number, text in claims]
        able = [place for place, (_, sight) in enumerate(asked) if sight.image is not None]
        size = max(1, thinking.answerer.batch_size)
        for start in range(0, len(able), size):
            if not thinking.may_ask("all was checked"):
                break
            part = able[start : start + size]
            pairs = [asked[place] for place in part]
            said = thinking.asking(lambda answerer, pairs=pairs: answerer.check(thinking.inquiry, pairs))  # type: ignore[misc]
            for place, value in zip(part, said or [], strict=False):
                found[place] = value
        return found

    verdicts = judged(kept, facts, subject=subject, least=lambda: fitting.least, matcher=fitting, model=model)
    result = _without_orphans(kept, filtered(kept, verdicts, subject))
    result.uncited = uncited
    if result.unchecked:
        thinking.notes.append(_unchecked(result.unchecked, in_time=not fitting.late))
    unfounded = [sentence for sentence in uncited if not says_nothing(sentence)]
    parts = [
        f"{counted(len(kept), 'sentence')} held against the pictures cited: {len(result.sentences)} kept",
        f"{len(result.marked)} marked as not certain" if result.marked else "",
        f"{len(result.unchecked)} not checked" if result.unchecked else "",
        f"{len(result.dropped)} cut for want of support" if result.dropped else "",
        f"{len(unfounded)} dropped that cite nothing" if unfounded else "",
    ]
    claims = [
        {
            "says": claim.text,
            "image_id": facts[claim.number].image_id,
            "verdict": verdict.state,
            **({} if verdict.support is None else {"support": round(verdict.support, 4)}),
        }
        for claim, verdict in verdicts.items()
    ]
    data = {"by": fitting.id, "claims": claims, "dropped": [*result.dropped, *unfounded]}
    if result.unchecked:
        data["unchecked"] = result.unchecked
    thinking.step("check", f"{', '.join(part for part in parts if part)}.", begun, data)
    return result


def _without_orphans(kept: Sequence[Sentence], result: Checked) -> Checked:
    """The result without where and when of pictures of which nothing else is left."""
    told, left = _spoken_of(kept), _spoken_of(result.sentences)
    gone = told - left
    if not gone:
        return result
    sentences: list[Sentence] = []
    for sentence in result.sentences:
        if _only_taken(sentence):
            parts = [
                part.citing([number for number in part.cites if number not in gone])
                for part in sentence.parts
            ]
            now, lost = sentence.keeping(parts)
            result.dropped += [f"{words} (nothing else is left of it)" for words in lost]
            sentences += [] if now is None else [now]
        else:
            sentences.append(sentence)
    return replace(result, sentences=sentences)


def _spoken_of(sentences: Sequence[Sentence]) -> set[int]:
    """The pictures of which more is said than where and when they were taken."""
    return {number for sentence in sentences if not _only_taken(sentence) for number in sentence.cites}


def _only_taken(sentence: Sentence) -> bool:
    return sentence.plain.startswith("Taken ")


def _unchecked(said: Sequence[str], *, in_time: bool) -> str:
    """What an answer says of the sentences that it keeps unchecked."""
    why = "nothing here could compare it with the picture" if in_time else "the time was up"
    shown = ", ".join(quoted(text) for text in said[:UNCHECKED_TOLD])
    more = f" and {len(said) - UNCHECKED_TOLD} more" if len(said) > UNCHECKED_TOLD else ""
    return f"Not checked, for {why}: {shown}{more}."


class _Matcher:
    """The image-text matcher by the numbers of a draft; the catalog's own where a better one fails.

    `late` says whether there was no time for all that it was asked.
    """

    def __init__(self, thinking: Thinking, image_ids: dict[int, int]) -> None:
        self._thinking = thinking
        self._ids = image_ids
        self._fitting = self._made()
        self.late = False

    @property
    def id(self) -> str:
        return self._fitting.id

    @property
    def least(self) -> float:
        return self._fitting.least

    def __call__(self, claims: Sequence[tuple[int, str]]) -> list[float | None]:
        pairs = [(self._ids[number], part) for number, text in claims for part in statements(text)]
        left = self._thinking.left
        end = time.monotonic() + max(LEAST_SECONDS, left if self._thinking.by_rules else left * MATCHER_SHARE)
        chances = dict(zip(pairs, self._compared(pairs, end), strict=True))
        found = [
            borne_out(text, lambda part, image_id=self._ids[number]: chances.get((image_id, part)))  # type: ignore[misc]
            for number, text in claims
        ]
        self.late = None in found and time.monotonic() >= end
        return found

    def _compared(self, pairs: Sequence[tuple[int, str]], end: float) -> list[float | None]:
        try:
            try:
                return self._fitting.chances(pairs, seconds=end - time.monotonic())
            except ModelError as error:
                self._note(error)
                self._fitting = self._made("encoder")
                return self._fitting.chances(pairs, seconds=end - time.monotonic())
        except ModelError as error:
            self._thinking.notes.append(f"No image-text matcher could check the answer: {error}")
            return [None] * len(pairs)

    def _made(self, matcher: str | None = None) -> Fitting:
        from retrieval.fitting import Fitting

        try:
            return Fitting(self._thinking.state, matcher)
        except ModelError as error:
            if matcher is not None:
                raise
            self._note(error)
            return Fitting(self._thinking.state, "encoder")

    def _note(self, error: ModelError) -> None:
        self._thinking.notes.append(f"The answer was checked by the catalog's own model only: {error}")
