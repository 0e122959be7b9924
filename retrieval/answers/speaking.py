"""A model that sees and speaks, thinking in the steps of an answer.

What it says is never taken as it stands: a plan is read strictly and its filters are tried, a look
is one line, and what it drafts is checked by the steps around it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from time import monotonic
from typing import TYPE_CHECKING, Any, cast, get_args

from retrieval.answers.shapes import Finding, Kind, Plan, Search, Which
from retrieval.answers.understanding.planning import plan_by_rules
from retrieval.captioners.prompts import (
    NOTHING,
    agreed_in,
    answered_in,
    check_chat,
    draft_chat,
    look_chat,
    object_in,
    plan_chat,
)
from retrieval.config import REPLY_SECONDS
from retrieval.errors import ModelError, ModelUnavailable, QueryError
from retrieval.query.filters import Filter, moment

if TYPE_CHECKING:
    from retrieval.answers.shapes import Inquiry
    from retrieval.protocols import Speaker
    from retrieval.speech import Chat, Reply, Sight

PLAN_TOKENS, LOOK_TOKENS, DRAFT_TOKENS, CHECK_TOKENS = 400, 96, 320, 8
LEAST_SECONDS = 0.5
SEEN = 0.8
"""How sure a model's own word is: it gives no figure, and small ones see what is not there."""
LONGEST_SEEN = 400
LONGEST_WORDS = 200
MOST_SEARCHES = 3
_DATE = re.compile(r"\d{4}(?:-\d{2}(?:-\d{2})?)?", re.ASCII)
_LIMITS = ("after", "before", "near", "tag", "camera", "orientation")


class SpeakingAnswerer:
    """An `Answerer` over any `Speaker`. It keeps nothing of a question, so any number may share it."""

    sees = True

    def __init__(self, speaker: Speaker) -> None:
        self._speaker = speaker

    @property
    def id(self) -> str:
        return self._speaker.id

    @property
    def note(self) -> str:
        return self._speaker.note

    @property
    def batch_size(self) -> int:
        return self._speaker.batch_size

    def plan(self, inquiry: Inquiry) -> Plan:
        """The model's plan, or rules' where it cannot be read.

        The model gets earlier questions with the plans that were made for them. It gets no earlier
        answer: there may be words in it that came out of a picture.
        """
        past = [(turn.question, _planned(turn.plan)) for turn in inquiry.past]
        chat = plan_chat(inquiry.question, inquiry.today, past)
        try:
            [reply] = self._replies([chat], inquiry, inquiry.seconds, PLAN_TOKENS)
            return read_plan(reply.text, by=self.id)
        except ModelUnavailable:
            raise
        except (ModelError, QueryError) as error:
            plan = plan_by_rules(inquiry)
            note = f"The plan of {self.id} could not be used ({error}), so rules made one."
            return replace(plan, notes=(*plan.notes, note))

    def look(self, inquiry: Inquiry, plan: Plan, sights: Sequence[Sight]) -> list[Finding]:  # noqa: ARG002
        chats = [look_chat(inquiry.question, sight, inquiry.examples) for sight in sights]
        replies = self._replies(chats, inquiry, inquiry.seconds, LOOK_TOKENS)
        return [
            Finding(sight.facts, 0.0, said, SEEN if said else 0.0, self.id)
            for sight, reply in zip(sights, replies, strict=True)
            for said in [_line(answered_in(reply.text))]
        ]

    def draft(self, inquiry: Inquiry, plan: Plan, findings: Sequence[Finding]) -> str:  # noqa: ARG002
        """Its answer in sentences; empty where it finds that the pictures give none."""
        seen = [(finding.text, finding.facts) for finding in findings]
        past = [(turn.question, _planned(turn.plan)) for turn in inquiry.past]
        chat = draft_chat(inquiry.question, seen, past)
        [reply] = self._replies([chat], inquiry, inquiry.seconds, DRAFT_TOKENS, on_text=inquiry.on_text)
        text = reply.text.strip()
        if re.fullmatch(rf"\W*{NOTHING}\W*", text):
            return ""
        if not reply.complete:  # the sentence that it was cut off in may have meant anything
            whole = re.match(r"(?s).*[.!?](?:\s*\[[\d,\s]+\])*", text)
            text = whole[0] if whole else text
        return text

    def check(self, inquiry: Inquiry, claims: Sequence[tuple[str, Sight]]) -> list[float | None]:
        """What the model says to each claim; None also for those that its time did not reach."""
        found: list[float | None] = []
        size = max(1, self.batch_size)
        begun = monotonic()
        for start in range(0, len(claims), size):
            left = None if inquiry.seconds is None else inquiry.seconds - (monotonic() - begun)
            if start and left is not None and left < LEAST_SECONDS:
                break
            chats = [check_chat(claim, sight) for claim, sight in claims[start : start + size]]
            for reply in self._replies(chats, inquiry, left, CHECK_TOKENS):
                agreed = agreed_in(reply.text)
                found.append(None if agreed is None else float(agreed))
        return [*found, *[None] * (len(claims) - len(found))]

    def _replies(
        self,
        chats: Sequence[Chat],
        inquiry: Inquiry,
        left: float | None,
        tokens: int,
        on_text: Callable[[str], None] | None = None,
    ) -> list[Reply]:
        """What the model says within the time that is left, written into the question's ledger."""
        seconds = REPLY_SECONDS if left is None else max(LEAST_SECONDS, min(REPLY_SECONDS, left))
        inquiry.ledger.add(calls=len(chats))  # also where nothing comes back
        replies = self._speaker.reply(chats, max_tokens=tokens, seconds=seconds, on_text=on_text)
        inquiry.ledger.add(
            prompt_tokens=sum(reply.prompt_tokens for reply in replies),
            tokens=sum(reply.tokens for reply in replies),
        )
        return replies


def read_plan(text: str, *, by: str) -> Plan:
    """The plan in a model's reply; a `ModelError` says what is wrong with it."""
    found = object_in(text)
    if found is None:
        raise ModelError("it is no JSON object")
    kind, which, searches = found.get("kind"), found.get("which") or None, found.get("searches")
    if kind not in get_args(Kind):
        raise ModelError("it names no kind of answer that is known")
    if which not in (None, *get_args(Which)):
        raise ModelError("'which' is neither first nor last")
    if not isinstance(searches, list) or not searches:
        raise ModelError("it has no searches")
    return Plan(
        kind=cast("Kind", kind),
        searches=tuple(dict.fromkeys(_search(search) for search in searches[:MOST_SEARCHES])),
        subject=_text(found, "subject"),
        which=which,
        by=by,
    )


def _search(row: object) -> Search:
    if not isinstance(row, dict):
        raise ModelError("a search in it is no JSON object")
    strange = [name for name, value in row.items() if name not in ("words", *_LIMITS) and value]
    if strange:
        raise ModelError("a search in it asks for something that no search can do")
    said = {name: _text(row, name) or None for name in _LIMITS}
    for name in ("after", "before"):
        value = said[name]
        if value is not None:
            if not _DATE.fullmatch(value):
                raise ModelError(f"'{name}' is no date")
            moment(value)
    tag = said.pop("tag")
    where = Filter(**said, tags=(tag,) if tag else ())
    where.sql()
    return Search(_text(row, "words"), where)


def _text(row: dict[str, Any], name: str) -> str:
    value = row.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ModelError(f"'{name}' is no text")
    text = " ".join(value.split())
    if len(text) > LONGEST_WORDS:
        raise ModelError(f"'{name}' has {len(text)} characters")
    return text


def _planned(plan: Plan | None) -> str:
    """What was understood of an earlier question."""
    if plan is None:
        return ""
    said = {key: value for key, value in plan.as_dict().items() if key != "by"}
    return json.dumps(said, ensure_ascii=False)


def _line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_SEEN else line[: LONGEST_SEEN - 1] + "…"
