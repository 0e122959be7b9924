"""Questions that point at a picture of the answer before: "what is in [2]?", "show me the second one"."""

from __future__ import annotations

import re
from collections.abc import Sequence

from retrieval.answers.shapes import Past, Plan, Search, Task
from retrieval.answers.understanding.questions import aspect_of, read

_ORDER = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth")
_MARK = re.compile(r"\[\s*(\d{1,3})\s*\]")
_ONE = re.compile(
    rf"\b(?:the )?(?:(?P<word>{'|'.join(_ORDER)})(?: (?:one|picture|photo|image|result|hit))?"
    r"\b(?=\W*$| (?:taken|made|shot)\b|$)"
    r"|(?:number|no\.?|picture|photo|image|result) ?(?P<number>\d{1,2})\b(?=\W*$| (?:taken|made|shot)\b))",
    re.IGNORECASE,
)


def cited_again(text: str, past: Sequence[Past]) -> Plan | None:
    """A plan for the very pictures that a question names by their number; None where it names none."""
    marks = [int(number) for number in _MARK.findall(text)]
    rest = _MARK.sub(" ", text)
    cited = _last_cited(past)
    if not marks and cited:
        found = _ONE.search(text)
        if found and read(text).kind in ("find", "what", "when", "where", "camera"):
            marks = [_ORDER.index(found["word"].lower()) + 1 if found["word"] else int(found["number"])]
            rest = f"{text[: found.start()]} {text[found.end() :]}"
    if not marks:
        return None
    reading = read(rest)
    kind = reading.kind or "find"
    why = ""
    if not cited:
        why = "It names a picture of an answer before this one; search ask --continue goes on with that."
    elif max(marks) > len(cited) or min(marks) < 1:
        why = f"The answer before this one cites {len(cited)} of them."
    elif kind in ("whether", "count") or (reading.words and aspect_of(rest) is None):
        why = "Of a single picture rules tell what is in it, when, where and with which camera it was taken."
    if why:
        return Plan("find", (Search(""),), task=Task("chat", why))
    chosen = tuple(dict.fromkeys(cited[number - 1] for number in marks))
    return Plan(kind, (Search(""),), pictures=chosen)


def _last_cited(past: Sequence[Past]) -> tuple[int, ...]:
    """The pictures of the last answer that was understood."""
    for turn in reversed(past):
        if turn.plan is None or turn.plan.task is None or turn.plan.task.understood:
            return turn.cited
    return ()
