"""The plots of the benchmarks, one picture each."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import outcomes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

MAKER = "picture-search benchmarks"
"""What a plot says of its maker; a file without it is not replaced."""
OURS = "this"
"""What stands out among bars of one series is called this, or begins so."""
QUIET = "#7a828d"
DOTS = 150
WIDTH = 8.0


def draw(found: dict[str, Any], images: Path) -> list[Path]:
    """Draw the plots of one benchmark into a folder; earlier ones of a higher number go."""
    from retrieval.show.drawings import check_replaceable, write_drawing

    images.mkdir(parents=True, exist_ok=True)
    drawn = []
    for number, plot in enumerate(found["plots"], 1):
        figure = picture(plot, found)
        drawn.append(images / f"bench-{found['name']}-{number}.png")
        write_drawing(partial(_save, figure), drawn[-1], MAKER, "--images")
    pattern = re.compile(rf"bench-{re.escape(found['name'])}-\d+\.png")
    for path in sorted(images.iterdir()):
        if pattern.fullmatch(path.name) and path not in drawn:
            check_replaceable(path, MAKER, "--images")
            path.unlink()
    return drawn


def _save(figure: Figure, stream: BinaryIO) -> None:
    figure.savefig(stream, format="png", metadata={"Software": MAKER})


def picture(plot: dict[str, Any], found: dict[str, Any]) -> Figure:
    # The class itself, not pyplot: no window system, and no shared state.
    from matplotlib.figure import Figure

    from retrieval.evaluate.plot import INK

    height = 4.6 if plot["kind"] == "curve" else _height(plot)
    figure = Figure(figsize=(WIDTH, height), dpi=DOTS, layout="constrained", facecolor="white")
    axes = figure.add_subplot()
    figure.suptitle(
        plot["title"], x=0.01, ha="left", fontsize=13, fontweight="bold", color=INK, parse_math=False
    )
    if plot["kind"] == "curve":
        _curve(axes, plot)
    else:
        _bars(axes, plot)
    said = f"{found['title']}, a quick run · " if found["quick"] else f"{found['title']} · "
    figure.supxlabel(
        said + found["machine"], x=0.01, ha="left", fontsize=7.5, color=QUIET, parse_math=False
    )  # fmt: skip
    return figure


def _series(plot: dict[str, Any]) -> dict[str, dict[str, float]]:
    """The figures by series and name; bars without groups are one series without a name."""
    values = plot["values"]
    if not isinstance(next(iter(values.values())), dict):
        return {"": values}
    names = dict.fromkeys(name for group in values.values() for name in group)
    return {name: {group: inner[name] for group, inner in values.items() if name in inner} for name in names}


def _height(plot: dict[str, Any]) -> float:
    series = _series(plot)
    bars = len(series) * len(plot["values"])
    # Many bars are thinner, so that the whole of them can still be seen at once.
    return 1.25 + bars * max(0.2, 0.4 - 0.02 * bars) + 0.09 * len(plot["values"])


def _bars(axes: Axes, plot: dict[str, Any]) -> None:
    """Lying bars from zero, the first at the top, each with its figure."""
    from retrieval.evaluate.plot import COLOURS, INK, _plain

    groups, series = list(plot["values"]), _series(plot)
    stands_out = any(name.startswith(OURS) for name in groups)
    thick = 0.8 / len(series)
    for number, (name, values) in enumerate(series.items()):
        own = COLOURS[1 + number % (len(COLOURS) - 1)]
        bars = axes.barh(
            [groups.index(group) + (number - (len(series) - 1) / 2) * thick for group in values],
            list(values.values()),
            height=thick * 0.88,
            color=[
                COLOURS[0] if stands_out and len(series) == 1 and not group.startswith(OURS) else own
                for group in values
            ],
            label=name,
            zorder=2,
        )
        labels = [outcomes.figure(value) for value in values.values()]
        axes.bar_label(bars, labels=labels, fontsize=8.5, color=INK, padding=3)
    axes.set_yticks(range(len(groups)), groups)
    axes.set_ylim(len(groups) - 0.45, -0.55)
    axes.set_xlim(0, max(1e-12, *(value for one in series.values() for value in one.values())) * 1.1)
    if plot["budget"] is not None:
        axes.set_xlim(0, max(axes.get_xlim()[1], plot["budget"] * 1.05))
        axes.axvline(
            plot["budget"], color=COLOURS[2], linestyle="--", linewidth=1.2, zorder=3, label="budget"
        )
    if len(series) > 1 or plot["budget"] is not None:
        handles, names = axes.get_legend_handles_labels()
        kept = [(handle, name) for handle, name in zip(handles, names, strict=True) if name]
        _legend(axes, kept)
    axes.set_xlabel(plot["unit"], color=INK, parse_math=False)
    axes.xaxis.set_major_formatter(lambda value, _: outcomes.figure(value))
    _plain(axes, "x")


def _curve(axes: Axes, plot: dict[str, Any]) -> None:
    """Lines with a dot for each figure; the names stand in the order in which the lines end."""
    from retrieval.evaluate.plot import COLOURS, FAINT, INK, _plain

    places, lines = plot["x"], plot["lines"]
    colours = [*COLOURS[1:], COLOURS[0]]
    if plot["log"]:
        axes.set_xscale("log")
        axes.set_yscale("log")
    named = []
    for number, (name, figures) in enumerate(lines.items()):
        # Nothing of a logarithmic scale is zero: such a figure is left out as one that is not there.
        points = [
            (x, y)
            for x, y in zip(places, figures, strict=True)
            if y is not None and (min(x, y) > 0 or not plot["log"])
        ]
        (line,) = axes.plot(
            [x for x, _ in points],
            [y for _, y in points],
            color=colours[number % len(colours)],
            linestyle="-" if number < len(colours) else "--",
            marker="o",
            markersize=4,
            linewidth=1.8,
            zorder=3,
            clip_on=False,
        )
        named.append((points[-1][1] if points else 0.0, line, name))
    kept = [(line, name) for _, line, name in sorted(named, key=lambda one: -one[0])]
    low, high = axes.get_ylim()
    if plot["linear"]:
        slope = _lowest_start(plot)
        ends = (min(places), max(places))
        (faint,) = axes.plot(
            ends, [slope * x for x in ends], color=QUIET, alpha=0.55, linestyle=(0, (4, 3)), linewidth=1.1,
            zorder=1, label="linear growth",
        )  # fmt: skip
        kept.append((faint, str(faint.get_label())))
    if plot["budget"] is not None:
        high = max(high, plot["budget"] * 1.05)
        wanted = axes.axhline(plot["budget"], color=INK, linestyle="--", linewidth=1.1, zorder=2)
        kept.append((wanted, "budget"))
    axes.set_ylim(low if plot["log"] else 0, high)
    _legend(axes, kept)
    axes.set_xlabel(plot["x_label"], color=INK, parse_math=False)
    axes.set_ylabel(plot["y_label"], color=INK, parse_math=False)
    for axis in (axes.xaxis, axes.yaxis):
        _scale(axis, log=plot["log"])
    if plot["log"] and len(places) <= 7:
        axes.set_xticks(places)
    _plain(axes, "y")
    axes.grid(axis="x", color=FAINT, linewidth=0.6, zorder=0)


def _lowest_start(plot: dict[str, Any]) -> float:
    """The slope of linear growth from where the lowest line begins; one that begins later does not count."""
    begun = [figures[0] for figures in plot["lines"].values() if figures[0]]
    slopes = [start / plot["x"][0] for start in begun]
    return min(slopes, default=0.0)


def _scale(axis: Axis, *, log: bool) -> None:
    """Plain numbers; between powers of ten where there are few of them."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

    axis.set_major_formatter(FuncFormatter(lambda value, _: outcomes.figure(value)))
    if not log:
        return
    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(10, subs=(1.0,) if high / low > 300 else (1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: outcomes.figure(value)))
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())


def _legend(axes: Axes, kept: list[tuple[Any, str]]) -> None:
    from retrieval.evaluate.plot import INK

    if len(kept) < 2 and not any(name == "budget" for _, name in kept):
        return
    found = axes.legend(
        [line for line, _ in kept],
        [name for _, name in kept],
        loc="upper left",
        bbox_to_anchor=(1.01, 1.0),
        borderaxespad=0.0,
        frameon=False,
        labelcolor=INK,
        fontsize=9,
    )
    for text in found.get_texts():
        text.set_parse_math(False)
