"""What examples and answers are worth: concepts learnt from a few photos, and feedback on a query.

    python benchmarks/feedback.py DEV.json [--model SPEC]... [--draws N]

DEV.json names a folder of photos and graded queries, as for benchmarks/quality.py.

Concepts: of each query with five relevant photos or more, three are examples and the rest is to be
found; then with two wrong ones besides, the nearest that are not relevant. Photos that are named by
their WordNet class (n02088632_bluetick.jpg) also make sets of near kinds: terriers, with wrong
examples from among the other dogs. Feedback: the two best-ranked relevant photos of a query are
called good and the two best-ranked others bad, and what was called anything is left out of the
figures (residual collection); then with a click on the wrong photo among them.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
from math import log2
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from indexer import index_folder
from retrieval import Catalog
from retrieval.concepts import DRAWN
from retrieval.encoders.classes import DATA
from retrieval.protocols import Encoder
from retrieval.query.fuse import log_odds
from retrieval.query.learn import Learnt, learn
from retrieval.query.rocchio import moved

DEPTH = 10
Floats = NDArray[np.floating[Any]]
Rows = NDArray[np.int64]


class Photos(NamedTuple):
    """The indexed photos, and each query's vector, grades and first ranking over them."""

    names: list[str]
    vectors: NDArray[np.float32]
    queries: NDArray[np.float32]
    grades: NDArray[np.int64]
    chances: Floats
    encoder: Encoder


class Task(NamedTuple):
    """A set to be found: its photos' grades, those good enough to be examples, and likely mistakes."""

    grades: NDArray[np.int64]
    examples: Rows
    mistakes: Rows | None
    text: Floats | None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("dev", type=Path)
    parser.add_argument("--model", action="append", help="default: starter")
    parser.add_argument("--draws", type=int, default=10, help="how often examples are drawn of each set")
    options = parser.parse_args()
    data = json.loads(options.dev.read_text(encoding="utf-8"))
    for model in options.model or ["starter"]:
        photos = indexed(model, options.dev.parent / data["images_dir"], data["queries"])
        print(f"{model}: {len(photos.names)} photos, {len(photos.grades)} queries; numpy {np.__version__}")
        learning(photos, options.draws)
        answering(photos)


def indexed(model: str, folder: Path, queries: list[dict[str, Any]]) -> Photos:
    with tempfile.TemporaryDirectory() as place:
        index_folder(Path(place) / "catalog", folder, model=model)
        with Catalog(Path(place) / "catalog") as catalog:
            state = catalog.state
            info = state.active()
            encoder = state.encoder(info)
            with state.snapshot() as reader:
                store = state.images(info).store
                paths = {int(row[0]): bytes(row[1]) for row in reader.rows("SELECT id, path FROM images")}
                names = [Path(paths[int(key)].decode()).name for key in store.ids]
                vectors = store.vectors(store.ids).copy()
                places = {int(key): place for place, key in enumerate(store.ids)}
            chances = np.zeros((len(queries), len(names)))
            for row, query in zip(chances, queries, strict=True):
                for hit in catalog.search(query["query"], limit=len(names), cutoff=False):
                    row[places[hit.image_id]] = hit.match
            texts = encoder.encode_texts([query["query"] for query in queries])
    grades = np.array([[query["relevant"].get(name, 0) for name in names] for query in queries])
    return Photos(names, vectors, texts, grades, chances, encoder)


def learning(photos: Photos, draws: int) -> None:
    wide = [
        Task(grades, np.flatnonzero(grades == grades.max()), None, chances)
        for grades, chances in zip(photos.grades, photos.chances, strict=True)
        if (grades > 0).sum() >= 5 and (grades == grades.max()).sum() >= 3
    ]
    near = near_kinds(photos)
    cases = [("queries", wide, 3, 0), ("queries", wide, 3, 2), ("queries", wide, 1, 0)]
    cases += [("near kinds", near, 3, 0), ("near kinds", near, 3, 3)] if near else []
    print(f"\n{'concepts':12}{'sets':>5}{'good':>5}{'bad':>4}   nDCG@10 and R@10 of the rest; at the cut-off")
    for name, tasks, good, bad in cases:
        figures = try_out(photos, tasks, good, bad, draws)
        parts = [f"{method} {gain:.3f} {found:.3f}" for method, (gain, found, *_) in figures.items()]
        precision, recall = figures["head"][2:]
        print(
            f"{name:12}{len(tasks):>5}{good:>5}{bad:>4}   {' · '.join(parts)}"
            f" · precision {precision:.2f} recall {recall:.2f}"
        )


def try_out(
    photos: Photos, tasks: list[Task], good: int, bad: int, draws: int
) -> dict[str, tuple[float, ...]]:
    drawn = np.random.default_rng(0)
    rows: dict[str, list[tuple[float, float]]] = {}
    right = shown = relevant = 0
    everything = np.arange(len(photos.names))
    for task in tasks:
        for _ in range(draws):
            examples = drawn.choice(task.examples, good, replace=False)
            prototype = photos.vectors @ unit(photos.vectors[examples].mean(0))
            if task.mistakes is not None:
                wrong = drawn.choice(task.mistakes, bad, replace=False)
            else:
                wrong = np.array([row for row in np.argsort(-prototype) if not task.grades[row]][:bad], int)
            rest = np.setdiff1d(everything, np.concatenate([examples, wrong]))
            if not task.grades[rest].any():
                continue
            step = -(-len(rest) // DRAWN)
            direction = learn(photos.vectors[examples], photos.vectors[wrong], photos.vectors[rest][::step])
            head = photos.vectors @ direction.vector
            methods = {"text": task.text, "prototype": prototype, "head": head}
            for method, scores in methods.items():
                if scores is not None:
                    figures = ndcg(scores[rest], task.grades[rest]), found(scores[rest], task.grades[rest])
                    rows.setdefault(method, []).append(figures)
            matches = Learnt("", direction, photos.encoder).match(head, head)[rest]
            kept = task.grades[rest][matches >= photos.encoder.cutoff] > 0
            right, shown, relevant = (
                right + kept.sum(),
                shown + len(kept),
                relevant + (task.grades[rest] > 0).sum(),
            )
    figures_of = {method: tuple(np.mean(values, axis=0)) for method, values in rows.items()}
    figures_of["head"] += (right / max(shown, 1), right / max(relevant, 1))
    return figures_of


def near_kinds(photos: Photos) -> list[Task]:
    """Kinds with five photos or more, each with the photos of the next wider kind that are not of it."""
    classes = json.loads((DATA / "tables.json").read_text(encoding="utf-8"))["classes"]
    known = {item["wnid"]: item["kind"] for item in classes}
    found_kinds = [
        known.get(match[0], []) if (match := re.match(r"n\d{8}", name)) else [] for name in photos.names
    ]
    members: dict[str, set[int]] = {}
    for place, kinds in enumerate(found_kinds):
        for kind in kinds:
            members.setdefault(kind, set()).add(place)
    tasks = []
    for kind, inside in sorted(members.items()):
        wider = {
            kinds[at]
            for kinds in (found_kinds[place] for place in inside)
            for at in range(kinds.index(kind) + 1, len(kinds))
        }
        for other in sorted(wider):
            mistakes = members[other] - inside
            if 5 <= len(inside) <= 30 and len(mistakes) >= 5 and len(members[other]) <= 120:
                grades = np.isin(np.arange(len(photos.names)), list(inside)).astype(np.int64)
                tasks.append(Task(grades, np.array(sorted(inside)), np.array(sorted(mistakes)), None))
    return tasks


CLICKS = {
    "2 good, 2 bad": ("r0 r1", "w0 w1"),
    "2 good": ("r0 r1", ""),
    "2 bad": ("", "w0 w1"),
    "1 good slipped": ("r0 w0", "w1"),
    "1 bad slipped": ("r0", "w0 r1"),
    "1 wrong good": ("w0", ""),
    "1 wrong bad": ("", "r0"),
}
"""What is called good and what bad: `r0` is the best-ranked relevant photo, `w0` the best of the others."""
WEIGHTS = ((0.2, 0.1), (0.5, 0.15), (0.75, 0.25))
"""Of the good and the bad in Rocchio's own formula."""


def answering(photos: Photos) -> None:
    methods = ("none", *(f"vector {gain:g} {loss:g}" for gain, loss in WEIGHTS), "evidence")
    print(f"\n{'feedback':16}{'queries':>8}" + "".join(f"{name:>17}" for name in methods))
    for name, clicked in CLICKS.items():
        rows: list[list[float]] = []
        for query, grades in enumerate(photos.grades):
            order = np.argsort(-photos.chances[query], kind="stable")
            sides = {"r": order[grades[order] > 0], "w": order[grades[order] == 0]}
            if len(sides["r"]) < 3:
                continue
            good, bad = (
                np.array([sides[click[0]][int(click[1])] for click in clicks.split()], np.int64)
                for clicks in clicked
            )
            rest = np.setdiff1d(np.arange(len(grades)), np.concatenate([good, bad]))
            ranked = [
                photos.chances[query],
                *(by_vector(photos, query, good, bad, *weights) for weights in WEIGHTS),
                by_evidence(photos, query, good, bad),
            ]
            rows.append([ndcg(scores[rest], grades[rest]) for scores in ranked])
        print(
            f"{name:16}{len(rows):>8}"
            + "".join(f"{fmean(column):>17.3f}" for column in zip(*rows, strict=True))
        )


def by_vector(photos: Photos, query: int, good: Rows, bad: Rows, gain: float, loss: float) -> Floats:
    """Rocchio's own: the query's vector moves. What the second stage and the words found is lost."""
    vector = photos.queries[query].astype(np.float64)
    for rows, weight in ((good, gain), (bad, -loss)):
        if len(rows):
            vector = vector + weight * photos.vectors[rows].mean(0)
    moved_scores: Floats = photos.vectors @ vector
    return moved_scores


def by_evidence(photos: Photos, query: int, good: Rows, bad: Rows) -> Floats:
    ids = np.arange(len(photos.names))
    return moved(
        log_odds(photos.chances[query]),
        alike(photos, good),
        alike(photos, bad),
        ids=ids,
        good_ids=good.tolist(),
        bad_ids=bad.tolist(),
    )


def alike(photos: Photos, rows: Rows) -> Floats:
    scores = photos.vectors[rows] @ photos.vectors.T
    matches = [photos.encoder.match(row, row, pair="image-image") for row in scores]
    return np.array(matches).reshape(len(rows), len(photos.names))


def unit(vector: Floats) -> Floats:
    return vector / np.linalg.norm(vector)


def ndcg(scores: Floats, grades: NDArray[np.int64]) -> float:
    """Discounted gain of the first ten, gain 2^grade - 1, against the best order there could be."""
    order = np.argsort(-scores, kind="stable")
    best = gain(np.sort(grades)[::-1])
    return gain(grades[order]) / best if best else 0.0


def gain(grades: NDArray[np.int64]) -> float:
    return sum((float(2**grade) - 1) / log2(rank + 2) for rank, grade in enumerate(grades[:DEPTH].tolist()))


def found(scores: Floats, grades: NDArray[np.int64]) -> float:
    """The part of the relevant among the first ten, of those that could be there."""
    order = np.argsort(-scores, kind="stable")[:DEPTH]
    return float((grades[order] > 0).sum() / min(DEPTH, (grades > 0).sum()))


if __name__ == "__main__":
    main()
