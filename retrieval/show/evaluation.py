"""The figures of an evaluation as plain, aligned lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from retrieval.english.nouns import counted
from retrieval.show.lines import size
from retrieval.show.table import cells, display_path, safe_name

if TYPE_CHECKING:
    from retrieval.evaluate.metrics import Figures
    from retrieval.evaluate.results import Evaluation

GAP = "  "


def evaluation_lines(evaluation: Evaluation) -> list[str]:
    """The whole report: rankings, kinds, the cut-off, and what it all took."""
    split = f", split {safe_name(evaluation.split)}" if evaluation.split else ""
    lines = [
        f"{safe_name(display_path(str(evaluation.file)))}{split}: "
        f"{counted(evaluation.queries, 'query')} over "
        f"{counted(evaluation.images, 'picture')}, {safe_name(evaluation.model)}",
    ]
    for block in (_rankings(evaluation), _texts(evaluation), _kinds(evaluation), _cutoffs(evaluation)):
        if block:
            lines += ["", *block]
    return [*lines, "", *_costs(evaluation)]


def _rankings(evaluation: Evaluation) -> list[str]:
    names = ("R@1", "R@5", "R@10", "mAP", "nDCG@10", "P@5", "P@5 cap")
    rows = [
        [one.rerank, *(_figure(value) for value in _values(one.figures))]
        for one in evaluation.pipelines
        if one.figures
    ]
    return aligned(["text to image", *names], rows) if rows else []


def _values(figures: Figures) -> tuple[float, ...]:
    recalls = figures.recalls
    return (
        *(recalls.r1, recalls.r5, recalls.r10),
        *(figures.map, figures.ndcg10, figures.p5, figures.p5_capped),
    )


def _texts(evaluation: Evaluation) -> list[str]:
    found = evaluation.image_to_text
    if found is None:
        return []
    recalls = found.recalls
    row = [
        f"{counted(recalls.queries, 'picture')}, {counted(found.texts, 'text')}",
        *map(_figure, (recalls.r1, recalls.r5, recalls.r10)),
    ]
    return aligned(["image to text", "R@1", "R@5", "R@10"], [row])


def _kinds(evaluation: Evaluation) -> list[str]:
    kinds = evaluation.pipelines[0].kinds
    if not kinds:
        return []
    header = ["nDCG@10 by kind", "queries", *(one.rerank for one in evaluation.pipelines)]
    rows = [
        [
            kind,
            str(figures.recalls.queries),
            *(_figure(one.kinds[kind].ndcg10) for one in evaluation.pipelines),
        ]
        for kind, figures in kinds.items()
    ]
    return aligned(header, rows)


def _cutoffs(evaluation: Evaluation) -> list[str]:
    header = ["cut-off", "precision", "recall", "mean prec.", "mean rec.", "silent", "absent silent"]
    rows = []
    for one in evaluation.pipelines:
        cut = one.cutoff
        values = map(_figure, (cut.precision, cut.recall, cut.mean_precision, cut.mean_recall))
        absent = f"{cut.absent_silent} of {cut.absent}" if cut.absent else "-"
        rows.append([one.rerank, *values, f"{cut.silent} of {cut.queries}", absent])
    return aligned(header, rows)


def _costs(evaluation: Evaluation) -> list[str]:
    encoding = evaluation.encoding
    rows = [
        [one.rerank, f"{one.latency.p50:.1f}", f"{one.latency.p99:.1f}", str(len(one.latency.samples))]
        for one in evaluation.pipelines
    ]
    rows.append(
        ["of it, the text's vector", f"{encoding.p50:.1f}", f"{encoding.p99:.1f}", str(len(encoding.samples))]
    )
    index = evaluation.index
    recall = "exact" if index.exact else f"recall@10 {index.recall:.3f} against exact search"
    lines = [*aligned(["a query, ms", "p50", "p99", "calls"], rows), "", f"Store   {index.kind}, {recall}"]
    if evaluation.peak_bytes is not None:
        lines.append(f"Memory  {size(evaluation.peak_bytes)} at its peak")
    return lines


def aligned(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table whose first column leans left and whose others lean right."""
    table = [[safe_name(cell) for cell in row] for row in (header, *rows)]
    widths = [max(cells(row[column]) for row in table) for column in range(len(header))]
    return [
        GAP.join(
            cell + " " * (width - cells(cell)) if not column else " " * (width - cells(cell)) + cell
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    ]


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
