"""How good answers are: questions whose right answers are known, and the pictures that show them.

A jsonl with an object a line: `{"question", "answer", "evidence"?, "kind"?}`. `answer` is a
text, or a list of texts any of which is right; null says that the library does not show it.
`evidence` names the pictures that an answer may cite.
"""

from __future__ import annotations

import json
import os
import re
import string
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrieval.answers import load_answerer
from retrieval.config import ASK_LIMIT, ASK_SECONDS
from retrieval.errors import ModelUnavailable, QueryError
from retrieval.evaluate import names
from retrieval.evaluate.files import Name
from retrieval.evaluate.gallery import Gallery
from retrieval.evaluate.shapes import WrongShape, file_name, needed, optional, typed, words
from retrieval.regular_files import read_regular
from retrieval.types import path_fields

if TYPE_CHECKING:
    from retrieval.catalog import Catalog
    from retrieval.protocols import Progress
    from retrieval.types import Answer

MOST_REMARKS = 5
_MARK = re.compile(r"\[\d+\]")
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_PUNCTUATION = str.maketrans(dict.fromkeys(string.punctuation + "’‘“”", " "))


@dataclass(frozen=True, slots=True)
class Question:
    """A question; without `answers` the right thing to say is that the library does not show it."""

    text: str
    answers: tuple[str, ...]
    evidence: tuple[Name, ...]
    kind: str | None = None


@dataclass(frozen=True, slots=True)
class Judged:
    """One answer against what was wanted; a figure that the question does not ask for is None."""

    question: str
    text: str
    kind: str | None
    declined: bool
    exact: bool | None
    f1: float | None
    contains: bool | None
    cited: int
    cited_right: int | None
    evidence: int

    def as_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class AnswerFigures:
    """Means over questions. What the library shows and what it does not are told apart."""

    questions: int
    exact: float | None
    """The share of answers that are a right one, but for case, articles and punctuation."""
    f1: float | None
    """Words in common with the nearest right answer."""
    contains: float | None
    """The share of answers that hold a right one in themselves."""
    citation_precision: float | None
    """Of all pictures that were cited, the share that is evidence."""
    citation_recall: float | None
    """Of all evidence, the share that was cited."""
    declined: float | None
    """Of the questions that the library answers, the share that got none: lower is better."""
    unanswerable: int
    declined_right: float | None
    """Of the questions that it does not answer, the share that got none: higher is better."""

    def as_dict(self) -> dict[str, Any]:
        return {
            name: round(value, 4) if isinstance(value, float) else value
            for name, value in ((name, getattr(self, name)) for name in self.__slots__)
        }


@dataclass(frozen=True, slots=True)
class AnswerEvaluation:
    """All figures of one evaluation of answers; `notes` say what was left out."""

    file: Path
    answerer: str
    images: int
    figures: AnswerFigures
    kinds: Mapping[str, AnswerFigures]
    judged: tuple[Judged, ...]
    seconds: float
    notes: tuple[str, ...]

    def rows(self) -> list[dict[str, Any]]:
        """One flat object with the figures; the single answers are in `judged`."""
        return [
            {
                "direction": "question-to-answer",
                "answerer": self.answerer,
                **self.figures.as_dict(),
                "kinds": {kind: figures.as_dict() for kind, figures in self.kinds.items()},
                "seconds_per_question": round(self.seconds / max(1, len(self.judged)), 3),
                "file": path_fields(self.file)["path"],
                "format": "questions",
                "images": self.images,
            }
        ]


def asks_questions(file: str | os.PathLike[str]) -> bool:
    """Whether a file holds questions with answers, by its first line that says anything."""
    text = read_regular(Path(os.path.abspath(os.path.expanduser(file)))).decode("utf-8-sig", "replace")
    first = next((line for line in text.split("\n") if line.strip()), "")
    try:
        item = json.loads(first)
    except (ValueError, RecursionError):
        return False
    return isinstance(item, dict) and "question" in item


def evaluate_answers(
    catalog: Catalog,
    file: str | os.PathLike[str],
    *,
    answerer: str | None = None,
    images: str | os.PathLike[str] | None = None,
    limit: int = ASK_LIMIT,
    limit_questions: int | None = None,
    seconds: float = ASK_SECONDS,
    progress: Progress | None = None,
) -> AnswerEvaluation:
    """Ask everything that `file` asks through `Catalog.ask`, each question by itself, and measure."""
    began = time.perf_counter()
    path = Path(os.path.abspath(os.path.expanduser(file)))
    questions, broken = read_questions(path)
    gallery = Gallery.of(catalog)
    folder = path.parent if images is None else Path(images).expanduser()
    found = names.find([name for one in questions for name in one.evidence], gallery.paths, (folder,))
    notes = [f"Line {number} was left out: {why}." for number, why in broken]
    unknown = [*found.unknown, *found.ambiguous]
    if unknown:
        notes.append(
            f"{len(unknown)} names of evidence mean no picture of the catalog, or several, and are left "
            f"out: {', '.join(unknown[: names.NAMED_AT_MOST])}"
        )
    if limit_questions is not None and limit_questions < len(questions):
        notes.append(f"The first {limit_questions} of {len(questions)} questions were asked.")
        questions = questions[:limit_questions]
    judged: list[Judged] = []
    remarks = Counter[str]()
    thinker = load_answerer(answerer)
    if progress is not None:
        progress("encode", {"total": len(questions), "done": 0})
    for number, question in enumerate(questions, 1):
        try:
            answer = catalog.ask(question.text, limit=limit, answerer=thinker, seconds=seconds)
        except QueryError as error:
            notes.append(f"Question {number} was left out: {error}")
        except ModelUnavailable as error:
            if not judged:
                raise
            notes.append(f"Ended at question {number} of {len(questions)}: {error}")
            break
        else:
            evidence = {found.ids[name] for name in question.evidence if name in found.ids}
            judged.append(judge(question, answer, evidence))
            remarks.update(note for note in answer.notes if note != thinker.note)
        if progress is not None:
            progress("advance", {"total": len(questions), "done": number, "failed": 0})
    if not judged:
        raise QueryError(f"{path} has no question that can be asked. {notes[-1]}")
    notes += [
        f"Of {count} of {len(judged)} answers: {note}" for note, count in remarks.most_common(MOST_REMARKS)
    ]
    kinds: defaultdict[str, list[Judged]] = defaultdict(list)
    for one in judged:
        if one.kind is not None:
            kinds[one.kind].append(one)
    return AnswerEvaluation(
        file=path,
        answerer=thinker.id,
        images=len(gallery.paths),
        figures=_figures(judged),
        kinds={kind: _figures(kinds[kind]) for kind in sorted(kinds)},
        judged=tuple(judged),
        seconds=time.perf_counter() - began,
        notes=tuple(notes),
    )


def read_questions(path: Path) -> tuple[list[Question], list[tuple[int, str]]]:
    """The questions of a file, and the lines that are none with why."""
    try:
        text = read_regular(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise QueryError(f"{path} is not UTF-8 (byte {error.start}). Save it as UTF-8.") from error
    questions: list[Question] = []
    broken: list[tuple[int, str]] = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                questions.append(_question(line))
            except WrongShape as error:
                broken.append((number, str(error)))
    if not questions:
        why = f"line {broken[0][0]}: {broken[0][1]}" if broken else "it is empty"
        raise QueryError(
            f"{path} asks no question: {why}. It has to be a jsonl with an object a line: "
            '{"question": ..., "answer": ..., "evidence": [...]}'
        )
    return questions, broken


def _question(line: str) -> Question:
    try:
        item = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise WrongShape(f"not JSON ({error})") from error
    entry = typed(item, dict, "")
    text = words(needed(entry, "question", object, ""), "question")
    if "answer" not in entry:
        raise WrongShape('the line has no "answer"; null says that the library does not show it')
    given = entry["answer"]
    several = [] if given is None else given if isinstance(given, list) else [given]
    # True is a number to Python, and "True" is what no answer ever says.
    answers = tuple(words(str(one) if type(one) is int else one, "answer") for one in several)
    evidence = optional(entry, "evidence", list, "") or []
    return Question(
        text,
        answers,
        tuple((file_name(name, "evidence"),) for name in evidence),
        optional(entry, "kind", str, ""),
    )


def judge(question: Question, answer: Answer, evidence: set[int]) -> Judged:
    """One answer against what was wanted; `evidence` are the pictures that it may cite."""
    declined = answer.confidence <= 0
    said = normal(answer.text)
    right = [normal(one) for one in question.answers]
    cited = {citation.image_id for citation in answer.citations}
    return Judged(
        question=question.text,
        text=answer.text,
        kind=question.kind,
        declined=declined,
        exact=any(said == one for one in right) if right else None,
        f1=max(word_f1(said, one) for one in right) if right else None,
        contains=any(f" {one} " in f" {said} " for one in right) if right else None,
        cited=len(cited),
        cited_right=len(cited & evidence) if evidence else None,
        evidence=len(evidence),
    )


def normal(text: str) -> str:
    """The words of an answer without case, marks of citations, punctuation and articles."""
    plain = _MARK.sub(" ", text).casefold().translate(_PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", plain).split())


def word_f1(said: str, right: str) -> float:
    """The harmonic mean of precision and recall of the words, each counted as often as it stands there."""
    ours, theirs = said.split(), right.split()
    common = sum((Counter(ours) & Counter(theirs)).values())
    if not common:
        return float(ours == theirs)
    precision, recall = common / len(ours), common / len(theirs)
    return 2 * precision * recall / (precision + recall)


def _figures(judged: Sequence[Judged]) -> AnswerFigures:
    asked = [one for one in judged if one.exact is not None]
    unanswerable = [one for one in judged if one.exact is None]
    with_evidence = [one for one in judged if one.cited_right is not None]
    right = sum(one.cited_right or 0 for one in with_evidence)
    return AnswerFigures(
        questions=len(judged),
        exact=_mean([float(bool(one.exact)) for one in asked]),
        f1=_mean([one.f1 or 0.0 for one in asked]),
        contains=_mean([float(bool(one.contains)) for one in asked]),
        citation_precision=_share(right, sum(one.cited for one in with_evidence)),
        citation_recall=_share(right, sum(one.evidence for one in with_evidence)),
        declined=_mean([float(one.declined) for one in asked]),
        unanswerable=len(unanswerable),
        declined_right=_mean([float(one.declined) for one in unanswerable]),
    )


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
