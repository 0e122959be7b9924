"""The figures of an evaluation as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrieval.errors import QueryError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from retrieval.evaluate.metrics import Figures
    from retrieval.evaluate.results import Evaluation

ENDINGS = (".png", ".svg", ".pdf")
COLOURS = ("#b4bcc6", "#2f6690", "#d98032", "#5a9367", "#8f5f9e", "#c0504d")
INK, FAINT = "#2b2f36", "#e3e6ea"
NAMES = ("R@1", "R@5", "R@10", "mAP", "nDCG@10", "P@5", "P@5 capped")
KINDS_AT_MOST = 14
LATENCY_BINS = 40
CHARACTERS_AT_MOST = 40
MAKER = "picture-search eval"
"""What a plot says of its maker; a file without it is not replaced."""
MAKER_FIELDS = {".png": "Software", ".svg": "Creator", ".pdf": "Creator"}


def check_place(path: Path) -> None:
    """Refuse a file that a plot cannot be written to, before the long part."""
    if path.suffix.lower() not in ENDINGS:
        raise QueryError(f"A plot ends with {', '.join(ENDINGS)}, not as '{path.name}' does.")
    if not path.parent.is_dir():
        raise QueryError(f"There is no folder {path.parent} to write the plot to. Make it: mkdir -p")
    from retrieval.show.drawings import check_replaceable

    check_replaceable(path, MAKER, "--plot")


def write_plot(evaluation: Evaluation, path: Path) -> None:
    """Bars of every figure for each pipeline; below, the kinds of queries and the latencies."""
    check_place(path)
    # The class itself, not pyplot: no window system, and no state shared between threads.
    from matplotlib.figure import Figure

    graded = [one for one in evaluation.pipelines if one.figures is not None]
    below = _below(evaluation)
    figure = Figure(figsize=(11, 7.4), dpi=150, layout="constrained", facecolor="white")
    grid = figure.add_gridspec(2, len(below), height_ratios=(1.1, 1))
    figure.suptitle(
        _short(evaluation.file.name), x=0.01, ha="left", fontsize=15, fontweight="bold", color=INK,
        parse_math=False,
    )  # fmt: skip
    top = figure.add_subplot(grid[0, :])
    _titled(
        top,
        f"Text to image · {evaluation.queries:,} queries over {evaluation.images:,} pictures · "
        f"{_short(evaluation.model)}",
    )
    _bars(top, NAMES, [_values(one.figures) for one in graded if one.figures is not None])
    for place, what in enumerate(below):
        axes = figure.add_subplot(grid[1, place])
        if what == "kinds":
            _kinds(axes, evaluation)
        elif what == "texts":
            _texts(axes, evaluation)
        else:
            _latencies(axes, evaluation)
    from matplotlib.patches import Patch

    figure.legend(
        handles=[
            Patch(color=_colour(place), label=_short(one.rerank))
            for place, one in enumerate(evaluation.pipelines)
        ],
        loc="outside upper right",
        ncols=len(evaluation.pipelines),
        frameon=False,
        labelcolor=INK,
    )
    from retrieval.show.drawings import write_drawing

    ending = path.suffix.lower()
    facts: Any = {MAKER_FIELDS[ending]: MAKER}
    write_drawing(
        lambda stream: figure.savefig(stream, format=ending[1:], metadata=facts), path, MAKER, "--plot"
    )


def _below(evaluation: Evaluation) -> list[str]:
    texts = ["texts"] if evaluation.image_to_text is not None else []
    kinds = ["kinds"] if evaluation.pipelines[0].kinds else []
    return [*kinds, *texts, "latencies"]


def _values(figures: Figures) -> Sequence[float]:
    recalls = figures.recalls
    return (
        *(recalls.r1, recalls.r5, recalls.r10),
        *(figures.map, figures.ndcg10, figures.p5, figures.p5_capped),
    )


def _bars(axes: Axes, names: Sequence[str], series: Sequence[Sequence[float]]) -> None:
    """Groups of upright bars between 0 and 1, each with its figure."""
    width = 0.8 / max(1, len(series))
    for number, values in enumerate(series):
        places = [place + (number - (len(series) - 1) / 2) * width for place in range(len(names))]
        bars = axes.bar(places, values, width=width * 0.92, color=_colour(number), zorder=2)
        if len(series) * len(names) <= 36:
            axes.bar_label(bars, fmt=_figure, fontsize=8, color=INK, padding=2)
    axes.set_xticks(range(len(names)), [_short(name) for name in names])
    axes.set_ylim(0, 1.08)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1])
    _plain(axes, "y")


def _kinds(axes: Axes, evaluation: Evaluation) -> None:
    known = evaluation.pipelines[0].kinds
    shown = sorted(known, key=lambda kind: -known[kind].recalls.queries)[:KINDS_AT_MOST][::-1]
    count = len(evaluation.pipelines)
    height = 0.8 / count
    for number, one in enumerate(evaluation.pipelines):
        places = [place + ((count - 1) / 2 - number) * height for place in range(len(shown))]
        axes.barh(
            places,
            [one.kinds[kind].ndcg10 for kind in shown],
            height=height * 0.92,
            color=_colour(number),
            zorder=2,
        )
    axes.set_yticks(range(len(shown)), [f"{_short(kind)} ({known[kind].recalls.queries})" for kind in shown])
    axes.set_xlim(0, 1)
    more = f", the {len(shown)} most frequent of {len(known)}" if len(shown) < len(known) else ""
    _titled(axes, f"nDCG@10 by kind (queries){more}")
    _plain(axes, "x")


def _texts(axes: Axes, evaluation: Evaluation) -> None:
    found = evaluation.image_to_text
    assert found is not None
    recalls = found.recalls
    _bars(axes, NAMES[:3], [(recalls.r1, recalls.r5, recalls.r10)])
    _titled(axes, f"Image to text · {recalls.queries:,} pictures, {found.texts:,} texts")


def _latencies(axes: Axes, evaluation: Evaluation) -> None:
    every = [sample for one in evaluation.pipelines for sample in one.latency.samples]
    most = max(one.latency.p99 for one in evaluation.pipelines) * 1.15
    edges = [most * step / LATENCY_BINS for step in range(LATENCY_BINS + 1)]
    for number, one in enumerate(evaluation.pipelines):
        samples = [sample for sample in one.latency.samples if sample <= most]
        axes.hist(samples, bins=edges, color=_colour(number), alpha=0.75, zorder=2)
        axes.axvline(one.latency.p50, color=_colour(number), linestyle="--", linewidth=1.2, zorder=3)
    beyond = sum(sample > most for sample in every)
    axes.set_xlim(0, most)
    axes.set_ylabel("calls", color=INK)
    axes.locator_params(axis="y", integer=True)
    axes.set_xlabel(f"ms a query; {beyond} slower calls are not shown" if beyond else "ms a query", color=INK)
    _titled(axes, "Latency, warm (dashed: p50)")
    _plain(axes, "y")


def _titled(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=10.5, color=INK, parse_math=False)


def _plain(axes: Axes, grid: str) -> None:
    """Only what is needed to read the figures."""
    axes.spines[["top", "right", "left", "bottom"]].set_visible(False)
    axes.tick_params(length=0, labelcolor=INK)
    axes.grid(axis="y" if grid == "y" else "x", color=FAINT, zorder=0)
    for label in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        label.set_parse_math(False)


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def _figure(value: float) -> str:
    return f"{value:.2f}".removeprefix("0") if value < 0.995 else "1"


def _short(text: str) -> str:
    """What fits into a picture: no control characters, and no endless names."""
    from retrieval.show.table import safe_name, shorten

    return shorten(safe_name(text), CHARACTERS_AT_MOST)
