"""The figures of an evaluation of answers as plain, aligned lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retrieval.show.evaluation import aligned
from retrieval.show.table import display_path, safe_name

if TYPE_CHECKING:
    from retrieval.evaluate.answers import AnswerEvaluation, AnswerFigures

SHOWN = 5
HEADER = ("questions", "exact", "F1", "contains", "cited right", "evidence cited", "declined")


def answer_evaluation_lines(evaluation: AnswerEvaluation) -> list[str]:
    """The figures, those of each kind, and the first answers that miss."""
    figures = evaluation.figures
    each = evaluation.seconds / max(1, figures.questions)
    lines = [
        f"{safe_name(display_path(str(evaluation.file)))}: {figures.questions:,} questions over "
        f"{evaluation.images:,} pictures, {safe_name(evaluation.answerer)}, {each:.2f} s each",
        "",
        *aligned(
            ["answers", *HEADER],
            [
                ["all", *_row(figures)],
                *([kind, *_row(one)] for kind, one in evaluation.kinds.items()),
            ],
        ),
    ]
    if figures.unanswerable and figures.declined_right is not None:
        right = round(figures.declined_right * figures.unanswerable)
        lines += ["", f"Declined as it should be: {right} of {figures.unanswerable} questions"]
    missed = [one for one in evaluation.judged if not (one.declined if one.exact is None else one.contains)]
    if missed:
        lines += ["", f"Missed: {len(missed)}. The first of them:"]
        lines += [f"  {safe_name(one.question)}  ->  {safe_name(one.text)}" for one in missed[:SHOWN]]
    return lines


def _row(figures: AnswerFigures) -> list[str]:
    values = (
        *(figures.exact, figures.f1, figures.contains),
        *(figures.citation_precision, figures.citation_recall, figures.declined),
    )
    return [str(figures.questions), *("-" if value is None else f"{value:.3f}" for value in values)]
