"""How good answers by rules are: plans, yes and no, counts, how far confidence can be trusted, speed.

    python benchmarks/answers.py [--queries DEV.json (--catalog PLACE | --photos DIR)] [--rounds N] [--json]

Plans need no photos: the questions of answer_questions.json, and apart from them those that were
held aside. The rest needs a library with graded queries, as DEV.json has them (`images_dir`, and
`queries` with `relevant`: 2 relevant, 1 partly). Its photos are indexed with the starter as
photo-0001.jpg and so on, for a search reads file names too; `--photos` says where they lie,
`--catalog` names a catalog that holds them already under the names of DEV.json.

A question for something is right when it says yes and cites a picture that is relevant to any
degree; one for something absent when it says that the library does not show it.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import re
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import TYPE_CHECKING, Any

import machine

from retrieval.answers.shapes import Inquiry, Plan
from retrieval.answers.understanding.planning import plan_by_rules
from retrieval.query.filters import Filter

if TYPE_CHECKING:
    from retrieval import Catalog
    from retrieval.types import Answer

HERE = Path(__file__).parent
BINS = (0.5, 0.7, 0.8, 0.9, 0.95, 1.0)
SPEED = (
    "How many photos of dogs are there?",
    "Is there a picture of a bridge?",
    "Is there a picture of a zebra?",
    "What animals are there?",
    "When was the first photo of a dog taken?",
    "How many photos did I take in 2007?",
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Something to be asked for, and the names of the pictures that show it."""

    words: str
    relevant: frozenset[str]
    kind: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--queries", type=Path, metavar="DEV.json")
    parser.add_argument("--catalog", type=Path, help="holds the photos of DEV.json under their names")
    parser.add_argument("--photos", type=Path, help="where they lie; default: as DEV.json says")
    parser.add_argument("--rounds", type=int, default=5, help="of each question that is timed (default 5)")
    parser.add_argument("--json", action="store_true", help="one object instead of tables")
    options = parser.parse_args()
    if not options.json:
        machine.title("Answers by rules")
    own = json.loads((HERE / "answer_questions.json").read_text(encoding="utf-8"))
    today = dt.date.fromisoformat(own["today"])
    figures: dict[str, Any] = {name: planned(own[name], today) for name in ("plans", "held_aside")}
    if options.queries is not None:
        known = json.loads((HERE / "starter_queries.json").read_text(encoding="utf-8"))["absent"]
        absent = {"absent": own["absent"], "absent_known": known, "absent_near": own["absent_near"]}
        figures |= in_library(options, absent)
    if options.json:
        print(json.dumps(figures))
    else:
        show(figures)


def planned(rows: Sequence[dict[str, Any]], today: dt.date) -> dict[str, Any]:
    """How many plans are as wanted, by their parts; and the questions whose plan is not."""
    right = {"kind": 0, "words": 0, "filters": 0, "all": 0}
    wrong = []
    for row in rows:
        plan = plan_by_rules(Inquiry(row["question"], today))
        words = [row["words"]] if isinstance(row["words"], str) else row["words"]
        good = {
            "kind": plan.kind == row["kind"],
            "words": plan.searches[0].words.lower() in [one.lower() for one in words],
            "filters": limits(plan) == row.get("filters", {}),
        }
        good["all"] = all(good.values())
        for name, value in good.items():
            right[name] += value
        if not good["all"]:
            found = {"kind": plan.kind, "words": plan.searches[0].words, "filters": limits(plan)}
            wrong.append({"question": row["question"], "found": found})
    return {"questions": len(rows), "right": right, "wrong": wrong}


def limits(plan: Plan) -> dict[str, Any]:
    """The filters of a plan's searches; of several values all, in their order."""
    found: dict[str, Any] = {}
    for search in plan.searches:
        for name in Filter.__slots__:
            value = getattr(search.where, name)
            if value in (None, ()):
                continue
            value = list(value) if isinstance(value, tuple) else value
            if found.get(name, value) != value:
                before = found[name]
                value = [*(before if isinstance(before, list) else [before]), value]
            found[name] = value
    return {**found, "which": plan.which} if plan.which else found


def in_library(options: argparse.Namespace, absent: dict[str, list[str]]) -> dict[str, Any]:
    from indexer import index_folder
    from retrieval import Catalog

    data = json.loads(options.queries.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        called = {name: name for name in data["images"]}
        place = options.catalog
        if place is None:
            photos = options.photos or options.queries.parent / data["images_dir"]
            place = Path(folder) / "catalog"
            called = copied(photos, Path(folder) / "photos", data["images"])
            index_folder(place, Path(folder) / "photos", model="starter")
        wanted = [
            Wanted(one["query"], frozenset(called[name] for name in one["relevant"]), one["kind"])
            for one in data["queries"]
        ]
        with Catalog(place) as catalog:
            figures = measure(catalog, wanted, absent)
            figures["warm"] = warm(catalog, options.rounds)
        figures["cold"] = cold(place, options.rounds)
    return figures


def copied(photos: Path, copies: Path, names: Sequence[str]) -> dict[str, str]:
    """The photos under names that say nothing, by their own names."""
    copies.mkdir()
    called = {name: f"photo-{n:04}{Path(name).suffix.lower()}" for n, name in enumerate(names, start=1)}
    for name, other in called.items():
        shutil.copyfile(photos / name, copies / other)
    return called


def measure(catalog: Catalog, wanted: Sequence[Wanted], absent: dict[str, list[str]]) -> dict[str, Any]:
    said: list[tuple[float, bool]] = []
    cited: list[tuple[float, bool]] = []
    yes = borne_out = 0
    counts = []
    missed = []
    for one in wanted:
        answer = catalog.ask(f"Is there a picture of {one.words}?", answerer="rules")
        right = [citation.path.name in one.relevant for citation in answer.citations]
        yes += answer.confidence > 0
        borne_out += any(right)
        if answer.confidence > 0:
            said.append((answer.confidence, any(right)))
            cited += zip(map(sure, answer.citations), right, strict=True)
        else:
            missed.append(one.words)
        counted = catalog.ask(f"How many pictures of {one.words} are there?", answerer="rules")
        counts.append((number(counted), len(one.relevant)))
    no: dict[str, Any] = {}
    for name, things in absent.items():
        wrong = []
        for thing in things:
            answer = catalog.ask(f"Is there a picture of {thing}?", answerer="rules")
            if answer.confidence > 0:
                wrong.append({"thing": thing, "says": answer.text, "confidence": round(answer.confidence, 2)})
                said.append((answer.confidence, False))
                cited += [(sure(citation), False) for citation in answer.citations]
        no[name] = {"asked": len(things), "right": len(things) - len(wrong), "wrong": wrong}
    return {
        "present": {"asked": len(wanted), "yes": yes, "yes_and_cited": borne_out, "missed": missed},
        "absence": no,
        "counts": counted_well(counts),
        "confidence": binned(said),
        "confidence_of_citations": binned(cited),
    }


def sure(citation: Any) -> float:
    support = citation.match if citation.support is None else citation.support
    return float((citation.match + support) / 2)


def number(answer: Answer) -> int:
    """The count that an answer begins with; 0 where the library does not show it."""
    found = re.match(r"(?:At least )?([\d,]+) picture", answer.text)
    if found is None:
        assert answer.confidence == 0, answer.text
        return 0
    return int(found[1].replace(",", ""))


def counted_well(pairs: Sequence[tuple[int, int]]) -> dict[str, Any]:
    errors = [abs(found - right) for found, right in pairs]
    return {
        "asked": len(pairs),
        "exact": sum(error == 0 for error in errors),
        "within_one": sum(error <= 1 for error in errors),
        "within_a_quarter": sum(
            error <= 0.25 * right for error, (_, right) in zip(errors, pairs, strict=True)
        ),
        "mean_error": round(fmean(errors), 2),
        "median_error": median(errors),
        "counted_of_graded": round(sum(found for found, _ in pairs) / sum(right for _, right in pairs), 3),
    }


def binned(pairs: Sequence[tuple[float, bool]]) -> list[dict[str, Any]]:
    """Of answers by their confidence, how sure they were and how often they were right."""
    rows = []
    for least, most in zip((0.0, *BINS[:-1]), BINS, strict=True):
        part = [pair for pair in pairs if least <= pair[0] and (pair[0] < most or most == BINS[-1])]
        if part:
            rows.append(
                {
                    "from": least,
                    "to": most,
                    "answers": len(part),
                    "confidence": round(fmean(value for value, _ in part), 3),
                    "right": round(fmean(good for _, good in part), 3),
                }
            )
    return rows


def warm(catalog: Catalog, rounds: int) -> dict[str, float]:
    """Milliseconds of each question in a process that has answered before."""
    found = {}
    for question in SPEED:
        catalog.ask(question, answerer="rules")
        taken = []
        for _ in range(rounds):
            began = time.perf_counter()
            catalog.ask(question, answerer="rules")
            taken.append(time.perf_counter() - began)
        found[question] = round(1000 * median(taken), 1)
    return found


def cold(place: Path, rounds: int) -> dict[str, dict[str, float]]:
    """The whole command, in a process of its own."""
    calls = {
        question: machine.command("ask", question, "--answerer", "rules", "--catalog", place, "--no-server")
        for question in SPEED
    }
    costs = machine.in_turns(calls, rounds)
    return {
        question: {
            "wall_ms": round(1000 * machine.middle(taken).wall),
            "cpu_ms": round(1000 * machine.middle(taken).cpu),
        }
        for question, taken in costs.items()
    }


def show(figures: dict[str, Any]) -> None:
    rows = []
    for name in ("plans", "held_aside"):
        one = figures[name]
        rows.append([name, *(f"{value} of {one['questions']}" for value in one["right"].values())])
    machine.table(["", "kind", "words", "filters", "all"], rows)
    for wrong in figures["plans"]["wrong"]:
        print(f"  not as wanted: {wrong['question']}  {json.dumps(wrong['found'])}")
    if "present" not in figures:
        return
    present = figures["present"]
    print(
        f"\nYes and no. Present: {present['yes']} of {present['asked']} yes, "
        f"{present['yes_and_cited']} with a relevant picture cited."
    )
    for name, one in figures["absence"].items():
        print(f"{name}: {one['right']} of {one['asked']} no.")
        for wrong in one["wrong"]:
            print(f"  wrong: {wrong['thing']} ({wrong['confidence']})")
    print(f"\nCounts: {json.dumps(figures['counts'])}\n")
    for name in ("confidence", "confidence_of_citations"):
        table = [
            [f"{one['from']}-{one['to']}", one["answers"], f"{one['confidence']:.3f}", f"{one['right']:.3f}"]
            for one in figures[name]
        ]
        machine.table([name, "number", "mean", "right"], [[str(cell) for cell in row] for row in table])
        print()
    machine.table(
        ["", "warm ms", "cold wall ms", "cold CPU ms"],
        [
            [
                question,
                f"{figures['warm'][question]}",
                f"{figures['cold'][question]['wall_ms']}",
                f"{figures['cold'][question]['cpu_ms']}",
            ]
            for question in SPEED
        ],
    )


if __name__ == "__main__":
    main()
