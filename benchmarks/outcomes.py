"""What a benchmark found, beside what it should have found: printed, and kept for the report.

    results = Results("query", "A cold query", command="python benchmarks/query.py")
    results.judge("starter, 1,000 images", 0.37, at_most=0.45, unit="s")
    results.close()

Importing this imports nothing heavy: on Linux a child process's peak memory counts from what its
parent held when it was started.
"""

from __future__ import annotations

import json
import math
import os
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import machine

VARIABLE = "SEARCH_BENCH_RESULTS"
ENDING, QUICK_ENDING = ".json", ".quick.json"
NAME = re.compile(r"[a-z][a-z0-9_]*")
WIDTHS = (56, 14, 14)


class Results:
    """The figures of one benchmark, kept as one file that a later run of the same kind replaces.

    A quick run has a file of its own, so that it never stands in for a whole one. Unless told, a run
    is quick where `--quick` is among the program's arguments. `command` is what repeats the run; the
    arguments this one was given are added to it. As a context manager it closes itself, but not after
    an exception: half of a run replaces nothing.
    """

    def __init__(self, name: str, title: str, *, command: str, quick: bool | None = None) -> None:
        if NAME.fullmatch(name) is None:
            raise ValueError(f"A benchmark's name is one of small letters, digits and _, not {name!r}")
        self.quick = "--quick" in sys.argv[1:] if quick is None else quick
        self.path = folder() / f"{name}{QUICK_ENDING if self.quick else ENDING}"
        self.name, self.title, self.command = name, title, _repeats(command)
        self._judged: list[dict[str, Any]] = []
        self._notes: dict[str, str] = {}
        self._plots: list[dict[str, Any]] = []

    def judge(
        self,
        what: str,
        value: float,
        *,
        at_least: float | None = None,
        at_most: float | None = None,
        unit: str = "",
    ) -> bool:
        """Print a figure and whether it is within its bounds; without one it is only told."""
        row = {
            "what": what,
            "value": _finite(value),
            "unit": unit,
            "at_least": None if at_least is None else _finite(at_least),
            "at_most": None if at_most is None else _finite(at_most),
        }
        row["passed"] = within(row)
        self._judged.append(row)
        cells = (what.ljust(WIDTHS[0]), measured(row).rjust(WIDTHS[1]), bound(row).rjust(WIDTHS[2]))
        print("  ".join((*cells, verdict(row))).rstrip(), flush=True)
        return row["passed"] is not False

    def note(self, what: str, value: object) -> None:
        """Keep a version or a circumstance that the figures depend on."""
        self._notes[what] = str(value)

    def bars(
        self,
        title: str,
        values: Mapping[str, float] | Mapping[str, Mapping[str, float]],
        *,
        unit: str = "",
        budget: float | None = None,
    ) -> None:
        """Keep a plot of bars from zero: one for each name, or groups of them, each with the same names.

        `budget` is drawn as a line across.
        """
        kept = {
            name: {one: _finite(figure) for one, figure in value.items()}
            if isinstance(value, Mapping)
            else _finite(value)
            for name, value in values.items()
        }
        if len({isinstance(value, dict) for value in kept.values()}) != 1:
            raise ValueError(f"Bars have either figures or groups of figures: {title!r}")
        limit = None if budget is None else _finite(budget)
        self._plots.append({"kind": "bars", "title": title, "values": kept, "unit": unit, "budget": limit})

    def curve(
        self,
        title: str,
        *,
        x: Sequence[float],
        lines: Mapping[str, Sequence[float | None]],
        x_label: str = "",
        y_label: str = "",
        log: bool = False,
        linear: bool = False,
        budget: float | None = None,
    ) -> None:
        """Keep a plot of lines over the same places; None is where a line has no figure.

        `log` makes both scales logarithmic. `linear` adds a faint line of what grows as `x` does, from
        where the lowest line begins.
        """
        for name, figures in lines.items():
            if len(figures) != len(x):
                raise ValueError(f"{title!r}: {name!r} has {len(figures)} figures for {len(x)} places")
        self._plots.append(
            {
                "kind": "curve",
                "title": title,
                "x": [_finite(place) for place in x],
                "lines": {
                    name: [None if figure is None else _finite(figure) for figure in figures]
                    for name, figures in lines.items()
                },
                "x_label": x_label,
                "y_label": y_label,
                "log": log,
                "linear": linear,
                "budget": None if budget is None else _finite(budget),
            }
        )

    def close(self) -> None:
        """Write the file, whole or not at all."""
        found = {
            "name": self.name,
            "title": self.title,
            "command": self.command,
            "quick": self.quick,
            "machine": machine._machine(),
            "versions": machine._versions(),
            "notes": self._notes,
            "judged": self._judged,
            "plots": self._plots,
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_name(f".{self.path.name}.{os.getpid()}.tmp")
        try:
            text = json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False)
            partial.write_text(text + "\n", encoding="utf-8")
            partial.replace(self.path)
        finally:
            partial.unlink(missing_ok=True)

    def __enter__(self) -> Results:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()


def folder() -> Path:
    """Where results are kept."""
    named = os.environ.get(VARIABLE)
    return Path(named).absolute() if named else Path(__file__).resolve().parent / "results"


def within(row: Mapping[str, Any]) -> bool | None:
    """Whether a figure keeps to its bounds; None where it has none."""
    if row["at_least"] is None and row["at_most"] is None:
        return None
    low = -math.inf if row["at_least"] is None else row["at_least"]
    high = math.inf if row["at_most"] is None else row["at_most"]
    return bool(low <= row["value"] <= high)


def measured(row: Mapping[str, Any]) -> str:
    return _with_unit(figure(row["value"], _finest(row)), row["unit"])


def bound(row: Mapping[str, Any]) -> str:
    """The bounds as text, such as '≤ 0.45 s'."""
    limits = (("≥", row["at_least"]), ("≤", row["at_most"]))
    # A bound is what somebody wrote down: it is not rounded to another.
    said = [
        f"{sign} {figure(limit, 4 if 0.999 < limit < 1 else 0)}"
        for sign, limit in limits
        if limit is not None
    ]
    return _with_unit(" and ".join(said), row["unit"]) if said else ""


def verdict(row: Mapping[str, Any]) -> str:
    return "" if row["passed"] is None else machine.verdict(row["passed"])


def figure(value: float, decimals: int = 0) -> str:
    """Three digits that count, more where `decimals` wants them: rounding may not hide a missed bound."""
    size = 0 if value == 0 else math.floor(math.log10(abs(value)))
    shown = f"{value:,.{max(0, 2 - size, decimals)}f}"
    return shown.rstrip("0").rstrip(".") if decimals == 0 and "." in shown else shown


def _finest(row: Mapping[str, Any]) -> int:
    """Decimals enough to tell a figure from a bound that it misses."""
    decimals = 0
    for limit in (row["at_least"], row["at_most"]):
        while limit is not None and row["passed"] is False and decimals < 9:
            if figure(row["value"], decimals) != figure(limit, decimals):
                break
            decimals += 1
    return decimals


def _with_unit(text: str, unit: str) -> str:
    return f"{text} {unit}" if unit else text


def _finite(value: float) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{value} is not a figure that a benchmark can have")
    return number


def _repeats(command: str) -> str:
    """The command with the arguments that this run was given, where it is this program's."""
    program, *arguments = sys.argv
    if not arguments or command.rpartition("/")[2] != Path(program).name:
        return command
    return f"{command} {shlex.join(arguments)}"
