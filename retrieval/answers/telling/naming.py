"""What stands behind a word that an answer uses: that somebody wrote it, or that the model doubts it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from retrieval.answers.telling.parts import is_name
from retrieval.answers.telling.wording import marks, plain, quoted
from retrieval.answers.telling.written import file_words, written
from retrieval.english.certainty import POSSIBLE, band
from retrieval.english.nouns import capital, listed
from retrieval.english.things import GENERIC, alike, kind_of

if TYPE_CHECKING:
    from retrieval.answers.shapes import Finding
    from retrieval.speech import Facts

    Numbered = Sequence[tuple[int, Finding]]

MOST_FILES = 8


def names_of(findings: Numbered, subject: str) -> tuple[list[str], Numbered]:
    """Sentences about pictures of which the subject is only written, and the pictures of which more is known.

    That something is named shows nothing of it. Of a name that is all there is, unless a picture is
    rather sure without it; of other words it is said only where the pictures leave them open.
    """
    a_name = any(is_name(word) for word in subject.split())
    texts: list[int] = []
    files: dict[str, list[int]] = {}
    left: list[tuple[int, Finding]] = []
    for number, finding in findings:
        sure = band(max(finding.match, finding.sure))
        if not a_name and sure == 0:
            return [], findings
        source = written(subject, finding.facts)
        if source == "text":
            texts.append(number)
        elif source == "file":
            files.setdefault(quoted(file_words(finding.facts)), []).append(number)
        elif sure < POSSIBLE:
            left.append((number, finding))
    if not texts and not files:
        return [], findings
    named = capital(plain(subject))
    said = [f"{named} is named with {marks(texts)}."] if texts else []
    names = [f"{name} {marks(numbers)}" for name, numbers in list(files.items())[:MOST_FILES]]
    if names and a_name:
        first, *others = names
        said.append(f"{named} is named by the file {listed([first, *(f'by {one}' for one in others)])}.")
    elif names:
        said += [f"The file is called {name}." for name in names]
    return said, left


def is_disputed(name: str, confidence: float, facts: Facts) -> bool:
    """Whether the model calls the main thing by another name of what a tag is taken for."""
    if confidence >= 1:
        return False
    group = alike(name.lower())
    for one in facts.named:
        called = {one.name.lower(), *(kind.lower() for kind in one.kinds)}
        kinds = {kind_of(kind) or kind for kind in called} - GENERIC
        if band(one.confidence, own=True) < POSSIBLE and name.lower() not in called and group in kinds:
            return True
    return False
