"""Fit the constants behind the starter's `match`, and show how its cut-off does.

    python benchmarks/calibrate_starter.py DEV.json [--model starter:lite2-normal]

Every query is put to many catalogs drawn from the photos: of 5 to 300 pictures, with all, some
or none of its relevant ones, and ones in which most pictures are relevant. The fit has three
weights. Figures are cross-validated over queries (five folds); the queries for absent things
take no part in the fit.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from retrieval.encoders import starter
from retrieval.encoders.starter import StarterEncoder

if TYPE_CHECKING:
    from collections.abc import Iterator

TOWARDS_RECALL = 0.65
"""Added to the fitted bias: a photo too many costs a glance, a photo too few is not found."""
FOLDS = 5
DRAWS = 16
# Things that no photo of the development set shows, and that nothing in it could be taken for: not a
# lion, where other cats are.
ABSENT = (
    "a giraffe",
    "a zebra",
    "penguins",
    "helicopter",
    "banana",
    "strawberries",
    "motorcycle",
    "tennis racket",
    "volcano erupting",
    "traffic light",
    "parachute",
    "dinosaur skeleton",
    "wedding cake",
    "christmas tree",
    "a tax invoice",
    "x-ray of a hand",
    "passport",
    "horse racing",
    "hot air balloon",
    "sushi",
)

# Absent too, but something like it is there (another cat, a palace, a violin): showing that is the
# lesser evil.
ABSENT_BUT_NEAR = (
    "a tiger",
    "a lion",
    "pizza",
    "ice cream cake",
    "golf",
    "castle",
    "pig",
    "cow",
    "polar bear",
    "turtle",
    "dolphin",
    "jellyfish",
    "guitar",
    "submarine",
    "skiing",
    "toilet",
)

Scores = NDArray[np.float64]
Truth = NDArray[np.bool_]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("dev", type=Path)
    parser.add_argument("--model", default="starter")
    options = parser.parse_args()
    scores, absent, truth = measure(options.dev, options.model)

    rows, labels, queries = draw(scores, truth)
    weights = fit(rows, labels)
    weights[-1] += TOWARDS_RECALL
    print("MATCH_SCORE, MATCH_MEAN, MATCH_BIAS =", ", ".join(f"{w:.1f}" for w in weights))

    held_out = np.zeros(scores.shape)
    for fold in range(FOLDS):
        inside = queries % FOLDS != fold
        part = fit(rows[inside], labels[inside])
        part[-1] += TOWARDS_RECALL
        for query in range(fold, len(scores), FOLDS):
            held_out[query] = features(scores[query], scores[query]) @ part
    report("fitted (cross-validated)", held_out > 0, truth)
    encoder = StarterEncoder(options.model)
    shown = np.stack([matches(encoder, row) for row in scores])
    report("the constants in use", shown, truth)
    for name, rows in (("absent", absent[: len(ABSENT)]), ("absent but near", absent[len(ABSENT) :])):
        empty = sum(not matches(encoder, row).any() for row in rows)
        print(f"{name}: {empty} of {len(rows)} answer with nothing")
    small_catalogs(encoder, scores, truth)


def measure(dev: Path, model: str) -> tuple[Scores, Scores, Truth]:
    """Cosines of the graded and of the absent queries over all photos, and what is relevant."""
    data = json.loads(dev.read_text(encoding="utf-8"))
    encoder = StarterEncoder(model)
    folder = dev.parent / data["images_dir"]
    vectors = np.concatenate([encoder.encode_images([opened(folder / name)]) for name in data["images"]])
    texts = encoder.encode_texts([query["query"] for query in data["queries"]])
    truth = np.array([[name in query["relevant"] for name in data["images"]] for query in data["queries"]])
    absent = encoder.encode_texts(ABSENT + ABSENT_BUT_NEAR)
    return (texts @ vectors.T).astype(float), (absent @ vectors.T).astype(float), truth


def opened(path: Path) -> Image.Image:
    with Image.open(path) as image:
        return image.convert("RGB")


def features(scores: Scores, sample: Scores) -> Scores:
    known = sample.sum() + starter.USUAL_MEAN * starter.USUAL_COUNT
    mean = known / (len(sample) + starter.USUAL_COUNT)
    mean = np.clip(mean, starter.LOWEST_MEAN, starter.HIGHEST_MEAN)
    return np.stack([scores, np.full_like(scores, mean), np.ones_like(scores)], axis=1)


def draw(scores: Scores, truth: Truth) -> tuple[Scores, Scores, NDArray[np.int64]]:
    rows, labels, queries = [], [], []
    for query, chosen in catalogs(truth):
        rows.append(features(scores[query, chosen], scores[query, chosen]))
        labels.append(truth[query, chosen].astype(float))
        queries.append(np.full(len(chosen), query))
    return np.concatenate(rows), np.concatenate(labels), np.concatenate(queries)


def catalogs(truth: Truth) -> Iterator[tuple[int, NDArray[np.int64]]]:
    random = np.random.default_rng(0)
    total = truth.shape[1]
    for turn in range(DRAWS):
        for query, relevant in enumerate(truth):
            count = round(float(np.exp(random.uniform(np.log(5), np.log(total))))) if turn else total
            chosen = random.permutation(total)[:count]
            matching = np.nonzero(relevant)[0]
            if turn % 4 == 1:
                some = random.permutation(matching)[: random.integers(1, 1 + len(matching))]
                chosen = np.union1d(chosen, some)
            elif turn % 4 == 2:
                chosen = chosen[~relevant[chosen]]
            elif turn % 4 == 3:
                others = random.permutation(total)[: max(2, len(matching) // 2)]
                chosen = np.union1d(matching, others)
            if len(chosen):
                yield query, chosen


def fit(rows: Scores, labels: Scores) -> Scores:
    """Logistic regression by Newton's method, with a touch of ridge."""
    weights = np.zeros(rows.shape[1])
    for _ in range(50):
        chance = 1 / (1 + np.exp(-np.clip(rows @ weights, -30, 30)))
        slope = rows.T @ (chance - labels) + 0.02 * weights
        curve = (rows * (chance * (1 - chance))[:, None]).T @ rows + 0.02 * np.eye(len(weights))
        step = np.linalg.solve(curve, slope)
        weights -= step
        if np.abs(step).max() < 1e-8:
            break
    return weights


def matches(encoder: StarterEncoder, scores: Scores) -> Truth:
    row = scores.astype(np.float32)
    return encoder.match(row, row) >= encoder.cutoff


def report(name: str, shown: Truth, truth: Truth) -> None:
    right = (shown & truth).sum()
    per_query = [(s & t).sum() / s.sum() for s, t in zip(shown, truth, strict=True) if s.any()]
    found = (shown & truth).sum(1) / truth.sum(1)
    print(
        f"{name}: precision {right / shown.sum():.3f} recall {right / truth.sum():.3f}; "
        f"mean over queries: precision {np.mean(per_query):.3f} recall {found.mean():.3f}; "
        f"{(~shown.any(1)).sum()} of {len(truth)} answer with nothing"
    )


def small_catalogs(encoder: StarterEncoder, scores: Scores, truth: Truth) -> None:
    """One relevant picture among few others: is it shown, and how much else is?"""
    random = np.random.default_rng(1)
    for count in (5, 20, 100):
        found, extra, trials = 0, 0, 0
        for query, relevant in enumerate(truth):
            # The best of the relevant ones stands for a picture that clearly shows the thing.
            best = np.nonzero(relevant)[0][scores[query, relevant].argmax()]
            others = random.permutation(np.nonzero(~relevant)[0])[: count - 1]
            shown = matches(encoder, scores[query, np.append(best, others)])
            found, extra, trials = found + int(shown[0]), extra + int(shown[1:].sum()), trials + 1
        print(f"one among {count}: shown {found / trials:.2f}, others shown {extra / trials:.2f} a query")


if __name__ == "__main__":
    main()
