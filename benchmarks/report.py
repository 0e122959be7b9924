"""One table of what the benchmarks found, and their plots.

    python benchmarks/report.py [NAME...] [--quick] [--markdown] [--images FOLDER]

Reads the files that the benchmarks left in benchmarks/results ($SEARCH_BENCH_RESULTS names another
folder), of whole runs or, with --quick, of quick ones; names restrict it to those benchmarks, in that
order. Each plot becomes bench-NAME-N.png in docs/images; the plots of quick runs stay beside their results.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import outcomes

IMAGES = Path(__file__).resolve().parent.parent / "docs" / "images"
HEAD = ("", "measured", "bound", "", "command")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", metavar="NAME", nargs="*", help="report these, in this order (default: all)")
    parser.add_argument("--quick", action="store_true", help="report the quick runs")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    parser.add_argument("--images", type=Path, help="the folder of the plots (default docs/images)")
    options = parser.parse_args()
    found = read(options.names, quick=options.quick)
    if not found:
        kind = "quick" if options.quick else "whole"
        raise SystemExit(
            f"No {kind} run has left results in {outcomes.folder()}. "
            f"Run: sh scripts/bench{' --quick' if options.quick else ''}"
        )
    print("\n".join(markdown(found) if options.markdown else plain(found)), flush=True)
    images = options.images or (outcomes.folder() / "images" if options.quick else IMAGES)
    if not options.markdown:
        print("\n".join(["", *missing(options.names, found)]))
    from plots import draw

    count = sum(len(draw(one, images)) for one in found)
    if not options.markdown:
        print(f"{count} plots are in {images}")


def read(names: Sequence[str] = (), *, quick: bool = False) -> list[dict[str, Any]]:
    """What the runs of one kind left: those named, or all of them by name."""
    ending = outcomes.QUICK_ENDING if quick else outcomes.ENDING
    if names:
        files = [outcomes.folder() / f"{name}{ending}" for name in names]
    else:
        every = sorted(outcomes.folder().glob(f"*{outcomes.ENDING}"))
        files = [path for path in every if path.name.endswith(outcomes.QUICK_ENDING) == quick]
    return [json.loads(path.read_text(encoding="utf-8")) for path in files if path.is_file()]


def missing(names: Iterable[str], found: Sequence[dict[str, Any]]) -> list[str]:
    there = {one["name"] for one in found}
    return [f"{name} has left no results." for name in names if name not in there]


def head(found: Sequence[dict[str, Any]]) -> list[str]:
    """The machine and the versions, once where all agree; who differs is named."""
    shared: dict[tuple[str, str], list[str]] = {}
    for one in found:
        shared.setdefault((one["machine"], one["versions"]), []).append(one["name"])
    lines: list[str] = []
    for (machine, versions), names in shared.items():
        lines += [*([] if len(shared) == 1 else [f"{', '.join(names)}:"]), machine, versions]
    if any(one["quick"] for one in found):
        lines.append("Quick runs: small, few rounds, so the figures are rough and some bounds do not apply.")
    return lines


def rows(one: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    return [
        (row["what"], outcomes.measured(row), outcomes.bound(row), outcomes.verdict(row))
        for row in one["judged"]
    ]


def summary(found: Sequence[dict[str, Any]]) -> list[str]:
    """How many bounds are kept, and which are not."""
    judged = [(one["name"], row) for one in found for row in one["judged"] if row["passed"] is not None]
    missed = [f"Missed: {name}, {row['what']}" for name, row in judged if not row["passed"]]
    return [f"{len(judged) - len(missed)} of {len(judged)} bounds are kept.", *missed]


def plain(found: Sequence[dict[str, Any]]) -> list[str]:
    """The table for a terminal, the machine above it."""
    table: list[tuple[str, str, str, str, str]] = [HEAD]
    for one in found:
        table += [("", "", "", "", ""), (one["title"], "", "", "", one["command"])]
        table += [(f"  {what}", value, bound, verdict, "") for what, value, bound, verdict in rows(one)]
    widths = [max(len(row[column]) for row in table) for column in range(4)]
    lines = [
        "  ".join(
            [
                row[0].ljust(widths[0]),
                *(cell.rjust(width) for cell, width in zip(row[1:3], widths[1:3], strict=True)),
                row[3].ljust(widths[3]),
                row[4],
            ]
        ).rstrip()
        for row in table
    ]
    said = [f"{one['name']}: {what} {value}" for one in found for what, value in one["notes"].items()]
    return [*head(found), "", *lines, "", *said, *([""] if said else []), *summary(found)]


def markdown(found: Sequence[dict[str, Any]]) -> list[str]:
    """The same as a page has it."""
    lines = [
        *(f"{line}  " for line in head(found)),
        "",
        "| | measured | bound | | command |",
        "|---|---:|---:|---|---|",
    ]
    for one in found:
        lines.append(f"| **{escaped(one['title'])}** | | | | `{one['command']}` |")
        lines += [f"| {' | '.join(escaped(cell) for cell in row)} | |" for row in rows(one)]
    notes = [
        f"- {one['name']}: {escaped(what)} {escaped(value)}"
        for one in found
        for what, value in one["notes"].items()
    ]
    kept, *missed = summary(found)
    return [
        *lines,
        "",
        *notes,
        *([""] if notes else []),
        kept,
        *([""] if missed else []),
        *(f"- {escaped(one)}" for one in missed),
    ]


def escaped(text: str) -> str:
    """Text as a cell of a Markdown table, where a bar would end it."""
    return text.replace("|", "\\|")


if __name__ == "__main__":
    main()
