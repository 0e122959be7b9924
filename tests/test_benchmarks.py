"""The harness of the benchmarks: what they find is kept, compared, printed and drawn."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from tests.conftest import ROOT

if TYPE_CHECKING:
    from types import ModuleType

BENCHMARKS = ROOT / "benchmarks"
ELSEWHERE = {
    "answers": "how good answers are, over photographs that are not part of the project",
    "calibrate_starter": "makes constants of the starter from photographs of the ImageNet classes",
    "feedback": "how much learning helps, over photographs that are not part of the project",
    "load": "asks a server for forty minutes; python benchmarks/load.py",
    "quality": "how good searches are, over photographs that are not part of the project",
    "report": "prints and draws what the others found; scripts/bench ends with it",
    "rerank": "how much rerankers help, over photographs that are not part of the project",
    "starter_trial": "how good the starter is, over photographs of the ImageNet classes",
    "sums": "how good sums of terms are, over photographs that are not part of the project",
}
"""Scripts that `make bench` does not run, and why."""


@pytest.fixture
def outcomes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ModuleType]:
    yield from loaded("outcomes", monkeypatch, tmp_path)


@pytest.fixture
def report(outcomes: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ModuleType]:
    yield from loaded("report", monkeypatch, tmp_path)


def loaded(name: str, monkeypatch: pytest.MonkeyPatch, folder: Path) -> Iterator[ModuleType]:
    """A module of the benchmarks, as it is found when a script of that folder is run."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.setenv("SEARCH_BENCH_RESULTS", str(folder))
    monkeypatch.setattr(sys, "argv", ["pytest"])
    before = set(sys.modules)
    yield importlib.import_module(name)
    for module in {"outcomes", "report", "plots", "machine"} & (set(sys.modules) - before):
        del sys.modules[module]


def invented(outcomes: ModuleType, *, cold: float = 0.37, quick: bool = False) -> Path:
    """Results with one plot of each kind."""
    with outcomes.Results(
        "query", "A cold query", command="python benchmarks/query.py", quick=quick
    ) as results:
        results.judge("1,000 images", cold, at_most=0.45, unit="s")
        results.judge("share of the limit", 0.98, at_least=0.97)
        results.judge("pictures a second", 1234.5)
        results.note("rclip", "3.3.0")
        results.bars("Images a second", {"this": 20.4, "rclip | other": 17.1}, unit="images/s", budget=19)
        results.bars("By size", {"small $1": {"this": 2.0, "$2": 1.0}, "large": {"this": 3.0}}, unit="s")
        results.curve(
            "Growth",
            x=[1e3, 1e4, 1e5],
            lines={"walk": [0.01, 0.1, 1.0], "query": [0.3, None, 0.4], "late": [None, 0.0, 1.0]},
            x_label="images",
            y_label="s",
            log=True,
            linear=True,
            budget=0.5,
        )
        results.curve("Recall", x=[1, 2], lines={"nothing": [None, None], "one": [0.5, 0.9]})
    path: Path = results.path
    return path


def test_what_was_found_comes_back_from_the_file(outcomes: ModuleType) -> None:
    found = json.loads(invented(outcomes).read_text("utf-8"))
    assert [(row["what"], row["value"], row["passed"]) for row in found["judged"]] == [
        ("1,000 images", 0.37, True),
        ("share of the limit", 0.98, True),
        ("pictures a second", 1234.5, None),
    ]
    assert found["notes"] == {"rclip": "3.3.0"}
    assert [plot["kind"] for plot in found["plots"]] == ["bars", "bars", "curve", "curve"]
    assert found["plots"][2]["lines"]["query"] == [0.3, None, 0.4]
    assert "cores" in found["machine"]
    assert "numpy" in found["versions"]


def test_equal_runs_leave_equal_files(outcomes: ModuleType) -> None:
    first = invented(outcomes).read_bytes()
    assert invented(outcomes).read_bytes() == first


def test_quick_run_leaves_the_file_of_a_whole_run_alone(
    outcomes: ModuleType, report: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = invented(outcomes, cold=0.37)
    kept = whole.read_bytes()
    # A benchmark need not say so itself: the option on the command line is enough.
    monkeypatch.setattr(sys, "argv", ["benchmarks/query.py", "--quick"])
    with outcomes.Results("query", "A cold query", command="python benchmarks/query.py") as results:
        results.judge("1,000 images", 0.01, at_most=0.45, unit="s")
    assert results.path != whole
    assert whole.read_bytes() == kept
    assert [one["judged"][0]["value"] for one in report.read()] == [0.37]
    (quick,) = report.read(quick=True)
    assert (quick["quick"], quick["command"]) == (True, "python benchmarks/query.py --quick")


def test_half_a_run_replaces_nothing(outcomes: ModuleType, tmp_path: Path) -> None:
    kept = invented(outcomes).read_bytes()
    results = outcomes.Results("query", "A cold query", command="", quick=False)
    results.judge("1,000 images", 0.01)
    with pytest.raises(ZeroDivisionError), results:
        1 / 0  # noqa: B018
    assert results.path.read_bytes() == kept
    broken = outcomes.Results("query", "A cold query", command="", quick=False)
    broken._notes["unwritable"] = object()
    with pytest.raises(TypeError):
        broken.close()
    blocked = outcomes.Results("memory", "Memory", command="", quick=False)
    blocked.path.mkdir()
    with pytest.raises(OSError, match="memory"):
        blocked.close()
    blocked.path.rmdir()
    assert results.path.read_bytes() == kept
    assert [path.name for path in tmp_path.iterdir()] == ["query.json"]


@pytest.mark.parametrize(
    ("value", "bounds", "passed"),
    [
        (0.45, {"at_most": 0.45}, True),
        (0.4501, {"at_most": 0.45}, False),
        (0.97, {"at_least": 0.97}, True),
        (0.9699, {"at_least": 0.97}, False),
        (5, {"at_least": 1, "at_most": 9}, True),
        (10, {"at_least": 1, "at_most": 9}, False),
    ],
)
def test_figure_is_held_against_its_bounds(
    outcomes: ModuleType,
    capsys: pytest.CaptureFixture[str],
    value: float,
    bounds: dict[str, float],
    passed: bool,
) -> None:
    results = outcomes.Results("query", "A cold query", command="", quick=False)
    assert results.judge("a figure", value, **bounds) is passed
    assert capsys.readouterr().out.split()[-1] == ("PASS" if passed else "FAIL")


def test_missed_bound_never_looks_kept(outcomes: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    results = outcomes.Results("query", "A cold query", command="", quick=False)
    results.judge("share", 0.96996, at_least=0.97)
    results.judge("cold", 0.60001, at_most=0.6, unit="s")
    assert "0.96996" in (out := capsys.readouterr().out)
    assert "0.60001 s" in out


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_figure_is_refused(outcomes: ModuleType, value: float) -> None:
    results = outcomes.Results("query", "A cold query", command="", quick=False)
    with pytest.raises(ValueError, match="not a figure"):
        results.judge("share", value, at_least=0.97)
    with pytest.raises(ValueError, match="3 places"):
        results.curve("Growth", x=[1, 2, 3], lines={"walk": [1, 2]})


def test_lines_stand_below_each_other(outcomes: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    invented(outcomes)
    judged = [line for line in capsys.readouterr().out.splitlines() if line.endswith("PASS")]
    assert len({len(line) for line in judged}) == 1


def test_importing_outcomes_imports_nothing_heavy() -> None:
    code = "import sys, outcomes; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=BENCHMARKS, capture_output=True, text=True, check=True
    )
    roots = {name.partition(".")[0] for name in done.stdout.split()}
    assert not roots & {"numpy", "PIL", "matplotlib", "torch", "onnxruntime", "sqlalchemy"}


def test_table_marks_what_failed(outcomes: ModuleType, report: ModuleType) -> None:
    invented(outcomes, cold=0.47)
    found = report.read()
    rows = {line.split("  ")[1]: line for line in report.plain(found) if line.startswith("  ")}
    assert rows["1,000 images"].split("  ")[-3:] == ["0.47 s", "≤ 0.45 s", "FAIL"]
    assert rows["share of the limit"].endswith("PASS")
    assert not rows["pictures a second"].endswith(("PASS", "FAIL"))
    assert report.plain(found)[-2:] == ["1 of 2 bounds are kept.", "Missed: query, 1,000 images"]
    assert "| 1,000 images | 0.47 s | ≤ 0.45 s | FAIL | |" in report.markdown(found)


def test_table_names_machine_versions_and_command_once(outcomes: ModuleType, report: ModuleType) -> None:
    invented(outcomes)
    with outcomes.Results("memory", "Memory", command="python benchmarks/memory.py", quick=False):
        pass
    text = "\n".join(report.plain(report.read()))
    assert text.count(" cores of ") == text.count("Python 3.") == 1
    assert text.count("python benchmarks/query.py") == text.count("python benchmarks/memory.py") == 1
    assert "query: rclip 3.3.0" in text


def test_results_of_different_machines_are_told_apart(outcomes: ModuleType, report: ModuleType) -> None:
    path = invented(outcomes)
    other = json.loads(path.read_text("utf-8")) | {"name": "memory", "machine": "64 cores of another"}
    path.with_name("memory.json").write_text(json.dumps(other), "utf-8")
    head = report.head(report.read())
    assert {"memory:", "query:", "64 cores of another"} <= set(head)


def test_named_benchmarks_come_in_their_order(outcomes: ModuleType, report: ModuleType) -> None:
    path = invented(outcomes)
    other = json.loads(path.read_text("utf-8")) | {"name": "memory"}
    path.with_name("memory.json").write_text(json.dumps(other), "utf-8")
    assert [one["name"] for one in report.read()] == ["memory", "query"]
    found = report.read(["query", "peers", "memory"])
    assert [one["name"] for one in found] == ["query", "memory"]
    assert report.missing(["query", "peers"], found) == ["peers has left no results."]


def test_plots_come_out_as_pictures(outcomes: ModuleType, report: ModuleType, tmp_path: Path) -> None:
    invented(outcomes)
    (found,) = report.read()
    drawn = importlib.import_module("plots").draw(found, tmp_path / "images")
    assert [path.name for path in drawn] == [f"bench-query-{number}.png" for number in (1, 2, 3, 4)]
    for path in drawn:
        with Image.open(path) as picture:
            picture.load()
            assert picture.format == "PNG"
            assert picture.getpixel((0, 0))[:3] == (255, 255, 255)
            assert len(picture.convert("L").getcolors() or []) > 10


def test_plot_that_is_no_more_goes_and_what_others_drew_stays(
    outcomes: ModuleType, report: ModuleType, tmp_path: Path
) -> None:
    invented(outcomes)
    (found,) = report.read()
    plots, images = importlib.import_module("plots"), tmp_path / "images"
    plots.draw(found, images)
    for name in ("page.png", "bench-query-own.png", "bench-other-1.png"):
        (images / name).write_bytes(b"somebody else's")
    plots.draw(found | {"plots": found["plots"][:1]}, images)
    assert sorted(path.name for path in images.iterdir()) == [
        *("bench-other-1.png", "bench-query-1.png", "bench-query-own.png", "page.png")
    ]


def test_bars_are_as_long_as_their_figures(outcomes: ModuleType) -> None:
    path = invented(outcomes)
    found = json.loads(path.read_text("utf-8"))
    figure = importlib.import_module("plots").picture(found["plots"][0], found)
    (axes,) = figure.axes
    assert [bar.get_width() for bar in axes.patches] == [20.4, 17.1]
    assert axes.get_xlim()[0] == 0


def test_linear_growth_is_drawn_as_such(outcomes: ModuleType) -> None:
    path = invented(outcomes)
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    figure = importlib.import_module("plots").picture(found["plots"][2], found)
    (axes,) = figure.axes
    (reference,) = [line for line in axes.lines if line.get_label() == "linear growth"]
    assert reference.get_label() in [text.get_text() for text in axes.get_legend().get_texts()]
    (start, end), (low, high) = reference.get_xdata(), reference.get_ydata()
    assert (start, end, low) == (1e3, 1e5, 0.01)
    assert high == pytest.approx(1.0)


def test_quick_plots_do_not_reach_the_docs(outcomes: ModuleType, tmp_path: Path) -> None:
    invented(outcomes, quick=True)
    before = sorted((ROOT / "docs" / "images").iterdir())
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / "report.py"), "--quick"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Quick runs" in done.stdout
    assert len(list((tmp_path / "images").glob("bench-query-*.png"))) == 4
    assert sorted((ROOT / "docs" / "images").iterdir()) == before


def test_report_without_results_says_how_to_get_some(outcomes: ModuleType) -> None:
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / "report.py"), "--quick"], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "sh scripts/bench --quick" in done.stderr


PRETENDED = """#!/bin/sh
case $1 in
benchmarks/query.py) exit 3 ;;
benchmarks/peers.py) echo "It cannot be installed here." ;;
benchmarks/report.py) echo "report: $*" ;;
*)
    name=$(basename "$1" .py)
    echo "ran: $*"
    echo new >"$SEARCH_BENCH_RESULTS/$name${2:+.quick}.json"
    ;;
esac
"""
"""Stands in for Python: one benchmark fails, one is skipped, the others leave a file."""


@pytest.fixture
def bench(tmp_path: Path) -> Path:
    """The script in a tree of its own, where running a benchmark takes no time."""
    for place, text in (
        ("scripts/bench", (ROOT / "scripts" / "bench").read_text("utf-8")),
        ("scripts/setup", ""),
        (".venv/bin/python", PRETENDED),
    ):
        path = tmp_path / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        path.chmod(0o755)
    return tmp_path


def run_bench(tree: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "SEARCH_BENCH_RESULTS"}
    call = ["sh", str(tree / "scripts" / "bench"), *arguments]
    return subprocess.run(call, capture_output=True, text=True, env=environment)


@pytest.mark.skipif(os.name == "nt", reason="a script of the POSIX shell")
def test_failed_benchmark_keeps_no_other_from_running_and_is_named(bench: Path) -> None:
    results = bench / "benchmarks" / "results"
    results.mkdir(parents=True)
    for name in ("query", "startup"):
        (results / f"{name}.json").write_text("old\n")
    done = run_bench(bench)
    assert done.returncode == 1
    left = [name for name in in_bench() if name not in ("query", "peers")]
    assert f"report: benchmarks/report.py {' '.join(left)}\n" in done.stdout
    assert "Failed; see above why: query\n" in done.stdout
    assert "Left no figures; see above why: peers\n" in done.stdout
    # What an earlier run left stays where this one failed, without being reported as this one's.
    assert (results / "query.json").read_text() == "old\n"
    assert (results / "startup.json").read_text() == "new\n"
    assert sorted(path.name for path in results.iterdir()) == sorted(
        f"{name}.json" for name in (*left, "query")
    )


@pytest.mark.skipif(os.name == "nt", reason="a script of the POSIX shell")
def test_options_go_to_every_benchmark_and_names_choose(bench: Path) -> None:
    done = run_bench(bench, "--quick", "memory", "startup")
    assert done.returncode == 0
    ran = [line for line in done.stdout.splitlines() if line.startswith(("ran: ", "report: "))]
    assert ran == [
        "ran: benchmarks/memory.py --quick",
        "ran: benchmarks/startup.py --quick",
        "report: benchmarks/report.py memory startup --quick",
    ]
    wrong = run_bench(bench, "memry")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "no benchmark 'memry'" in wrong.stderr


def in_bench() -> list[str]:
    text = (ROOT / "scripts" / "bench").read_text("utf-8")
    (line,) = re.findall(r'^every="(.*)"$', text, re.M)
    return str(line).split()


def test_every_benchmark_is_run_or_has_a_reason() -> None:
    sources = {path.stem: path.read_text("utf-8") for path in BENCHMARKS.glob("*.py")}
    parts = {
        name
        for name, source in sources.items()
        # One that keeps results of its own is no part of another, wherever it is mentioned.
        if "from outcomes import Results" not in source
        and any(
            re.search(rf"^\s*(import|from) {name}\b|{name}\.py", text, re.M)
            for other, text in sources.items()
            if other != name
        )
    }
    assert set(sources) - set(in_bench()) - parts == set(ELSEWHERE) - parts
    assert not set(in_bench()) & set(ELSEWHERE)


@pytest.mark.parametrize("name", in_bench())
def test_benchmark_of_the_list_keeps_its_results_and_is_documented(name: str) -> None:
    source = (BENCHMARKS / f"{name}.py").read_text("utf-8")
    assert "from outcomes import Results" in source
    assert '"--quick"' in source
    assert f"benchmarks/{name}.py" in (ROOT / "docs" / "performance.md").read_text("utf-8")
