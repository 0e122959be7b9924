"""How good the answers are: photos are indexed and graded queries asked, as a person would.

    python benchmarks/quality.py DEV.json [--model SPEC]... [--names] [--json]

DEV.json names a folder of photos (`images_dir`, relative to the file) and queries with graded
relevant photos (2 relevant, 1 partly). Each model indexes the photos into a catalog of its own,
in a temporary folder, and is asked once without and once with its second stage. The photos are
indexed as photo-0001.jpg and so on, for a search reads file names too; `--names` keeps their own.

Two figures come in two forms. P@5 is of five places, and of as many as could be filled. Precision
and recall of the cut-off are over all pairs of query and photo, and as means over the queries
(precision: over those that show anything). The absent things are those of starter_queries.json.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from math import log2
from pathlib import Path
from statistics import fmean
from typing import Any

from indexer import index_folder
from retrieval import Catalog, Hits
from retrieval.errors import ModelError

MODELS = ("starter:lite2-normal", "starter:lite2-fast", "starter:lite0-fast")
DEPTH = 10
SHOWN_AT_MOST = 1000

Grades = dict[str, int]


@dataclass(frozen=True, slots=True)
class Question:
    text: str
    kind: str
    grades: Grades


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("dev", type=Path)
    parser.add_argument("--model", action="append", help=f"default: {', '.join(MODELS)}")
    parser.add_argument("--names", action="store_true", help="keep the photos' own file names")
    parser.add_argument("--json", action="store_true", help="one object a row, instead of tables")
    options = parser.parse_args()
    data = json.loads(options.dev.read_text(encoding="utf-8"))
    own = json.loads(Path(__file__).with_name("starter_queries.json").read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        photos = options.dev.parent / data["images_dir"]
        called = {name: name for name in data["images"]}
        if not options.names:
            called = anonymous(photos, Path(folder) / "photos", data["images"])
            photos = Path(folder) / "photos"
        questions = [
            Question(
                item["query"], item["kind"], {called[name]: grade for name, grade in item["relevant"].items()}
            )
            for item in data["queries"]
        ]
        rows = [
            row
            for model in options.model or MODELS
            for row in measure(model, photos, questions, own["absent"])
        ]
    if options.json:
        for row in rows:
            print(json.dumps(row))
    else:
        show(rows, questions, len(own["absent"]))


def anonymous(photos: Path, copies: Path, names: list[str]) -> dict[str, str]:
    """Copies of the photos under names that say nothing, by their own names."""
    copies.mkdir()
    called = {
        name: f"photo-{number:04}{Path(name).suffix.lower()}" for number, name in enumerate(names, start=1)
    }
    for name, other in called.items():
        shutil.copyfile(photos / name, copies / other)
    return called


def measure(model: str, photos: Path, questions: list[Question], absent: list[str]) -> list[dict[str, Any]]:
    """One row for the first stage and, where the model has one, one for the second."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "catalog"
        began = time.perf_counter()
        report = index_folder(place, photos, model=model)
        seconds = time.perf_counter() - began
        with Catalog(place) as catalog:
            rows = [
                {"model": model, "images": report.added, "index_seconds": round(seconds, 2)} | row
                for row in (ask_all(catalog, questions, absent, rerank) for rerank in ("none", "classes"))
                if row is not None
            ]
    return rows


def ask_all(
    catalog: Catalog, questions: list[Question], absent: list[str], rerank: str
) -> dict[str, Any] | None:
    gains, firsts, kinds = [], [], defaultdict(list)
    precisions, recalls = [], []
    right = shown = relevant = 0
    for question in questions:
        try:
            hits = catalog.search(question.text, limit=DEPTH, cutoff=False, rerank=rerank)
        except ModelError:
            if rerank != "none":
                return None  # The model has no second stage.
            raise
        names = names_of(hits)
        gain = ndcg(names, question.grades)
        gains.append(gain)
        kinds[question.kind].append(gain)
        firsts.append(sum(name in question.grades for name in names[:5]))
        kept = names_of(catalog.search(question.text, limit=SHOWN_AT_MOST, rerank=rerank))
        found = sum(name in question.grades for name in kept)
        right, shown, relevant = right + found, shown + len(kept), relevant + len(question.grades)
        precisions += [found / len(kept)] if kept else []
        recalls.append(found / len(question.grades))
    possible = [min(5, len(question.grades)) for question in questions]
    return {
        "stages": 1 if rerank == "none" else 2,
        "ndcg@10": round(fmean(gains), 4),
        "p@5": round(fmean(firsts) / 5, 4),
        "p@5_possible": round(fmean(count / most for count, most in zip(firsts, possible, strict=True)), 4),
        "kinds": {kind: round(fmean(values), 4) for kind, values in kinds.items()},
        "cutoff": {
            "precision": round(right / max(shown, 1), 4),
            "recall": round(right / max(relevant, 1), 4),
            "mean_precision": round(fmean(precisions or [0.0]), 4),
            "mean_recall": round(fmean(recalls), 4),
            "silent": len(questions) - len(precisions),
        },
        "absent_silent": sum(not catalog.search(text, rerank=rerank) for text in absent),
    }


def names_of(hits: Hits) -> list[str]:
    return [hit.path.name for hit in hits]


def ndcg(names: list[str], grades: Grades) -> float:
    """Discounted gain of the first ten, gain 2^grade - 1, against the best order there could be."""
    best = sorted(grades.values(), reverse=True)[:DEPTH]
    return gain([grades.get(name, 0) for name in names[:DEPTH]]) / gain(best)


def gain(grades: list[int]) -> float:
    return sum((2.0**grade - 1) / log2(rank + 2) for rank, grade in enumerate(grades))


def show(rows: list[dict[str, Any]], questions: list[Question], absent: int) -> None:
    kinds = sorted({question.kind for question in questions})
    counts = {kind: sum(question.kind == kind for question in questions) for kind in kinds}
    print(f"{len(questions)} queries; nDCG@10 with gain 2^grade - 1; cut-off: the model's own\n")
    print(f"{'':47}{'all pairs':>20}{'mean of queries':>20}{'':8}{'nothing for':>12}")
    print(
        f"{'model':24}{'stages':>7}{'nDCG@10':>8}{'P@5':>8}"
        + f"{'precision':>11}{'recall':>9}" * 2
        + f"{'silent':>8}{'absent':>12}"
    )
    for row in rows:
        cut = row["cutoff"]
        print(
            f"{row['model']:24}{row['stages']:>7}{row['ndcg@10']:>8.3f}{row['p@5_possible']:>8.3f}"
            f"{cut['precision']:>11.2f}{cut['recall']:>9.2f}"
            f"{cut['mean_precision']:>11.2f}{cut['mean_recall']:>9.2f}"
            f"{cut['silent']:>8}{row['absent_silent']:>6} of {absent:<2}"
        )
    plain = ", ".join(f"{row['p@5']:.3f}" for row in rows)
    print(f"\nP@5 is of as many as could be right; of five, row by row: {plain}")
    print(f"\n{'nDCG@10 by kind':31}" + "".join(f"{kind:>10}" for kind in kinds))
    print(f"{'queries':31}" + "".join(f"{counts[kind]:>10}" for kind in kinds))
    for row in rows:
        print(
            f"{row['model']:24}{row['stages']:>7}" + "".join(f"{row['kinds'][kind]:>10.3f}" for kind in kinds)
        )


if __name__ == "__main__":
    main()
