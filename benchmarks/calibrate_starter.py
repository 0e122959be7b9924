"""Fit the constants behind the starter's `look_again` and `match`, and show how its cut-off does.

    python benchmarks/calibrate_starter.py DEV.json [--model starter:lite2-normal]

`starter_queries.json` beside this file holds what DEV.json does not: queries that name a colour
and captions, written and graded for this by looking at the photos, and queries about things that
no photo shows. Of those, `absent` was written down before any score was looked at and takes no
part in any choice; `absent_known` and `absent_but_near` are older, the first narrowed after a look
at the results, and constants were chosen in their sight. `sentences` and `absent_sentences` were
written before any of their scores was looked at, and how much a head counts was chosen in their
sight; right is what shows their main thing. Cross-validated means: fitted on other
queries and other photos than those it is measured on (six folds of queries, two halves of photos).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from starter_trial import Asked, Floats, Trial, Truth, cut_off, deep, fit, quality

from retrieval.encoders import starter
from retrieval.encoders.classes import WEIGHTS
from retrieval.encoders.colour import asked_colours, seen
from retrieval.protocols import Sample

if TYPE_CHECKING:
    from collections.abc import Iterator

    from retrieval.protocols import Pair

TOWARDS_RECALL = 1.3
"""Added to the fitted bias: queries are weighed by their answers, which leaves the cut-off too high."""
FOLDS = 6
DRAWS = 16
SEEDS = 6
DEPTH = 200
MOSTLY = 0.7
ABSENT_LISTS = ("absent", "absent_known", "absent_but_near", "absent_sentences")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("dev", type=Path)
    parser.add_argument("--model", default="starter")
    options = parser.parse_args()
    trial = Trial(options.dev, options.model)
    second_look(trial)
    sentences(trial)
    absent_things(trial)
    colour_queries(trial)
    small_catalogs(trial)
    first_match(trial)
    other_pairs(trial)


def second_look(trial: Trial) -> None:
    dev = trial.dev
    truth = dev.grades > 0
    # Each query counts the same, not each answer: a third of all answers are dogs.
    weights = np.repeat(1 / truth.sum(1, keepdims=True), truth.shape[1], axis=1)
    rows, colours = trial.features(dev), trial.colour_parts(dev)
    *best, bias = fit(rows.reshape(-1, rows.shape[2]), truth.ravel(), weights.ravel())
    print("USUAL =", seen(trial.top.colours, range(11)).mean(0).astype(float).round(3).tolist())
    print("WEIGHTS =", tuple(round(float(weight), 1) for weight in best))
    print(f"BIAS = {bias + TOWARDS_RECALL:.1f}\n")
    held_out = []
    for seed in range(SEEDS):
        random = np.random.default_rng(seed)
        folds, halves = random.permutation(len(rows)) % FOLDS, random.permutation(rows.shape[1]) % 2
        evidence = np.zeros(truth.shape)
        for fold in range(FOLDS):
            for half in range(2):
                inside, outside = np.ix_(folds != fold, halves != half), np.ix_(folds == fold, halves == half)
                part = fit(
                    rows[inside].reshape(-1, rows.shape[2]), truth[inside].ravel(), weights[inside].ravel()
                )
                evidence[outside] = rows[outside] @ part[:-1] + part[-1] + TOWARDS_RECALL
        held_out.append(cut_off(evidence + colours > 0, truth))
    report(
        "second look, cross-validated",
        {key: float(np.mean([row[key] for row in held_out])) for key in held_out[0]},
    )
    again = trial.look_again(dev)
    report("second look, constants in use", cut_off(again >= trial.encoder.cutoff, truth))
    people = np.array([kind == "person" for kind in trial.kinds])
    report("  without queries about people", cut_off(again[~people] >= trial.encoder.cutoff, truth[~people]))
    for name, order in (
        ("cosine", dev.scores),
        *(
            (f"best {depth} looked at again", deep(dev.scores, again, depth))
            for depth in (50, 100, DEPTH, 10**6)
        ),
    ):
        marks = [quality(row, grades) for row, grades in zip(order, dev.grades, strict=True)]
        print(
            "{}: nDCG@10 {:.4f}, P@5 {:.3f} of 5, {:.3f} of as many as there are".format(
                name, *np.mean(marks, 0)
            )
        )


def sentences(trial: Trial) -> None:
    """Queries that say more than their main thing: is it shown, and little else?"""
    asked = trial.sentences
    truth = asked.grades > 0
    shown = trial.look_again(asked) >= trial.encoder.cutoff
    right = (shown & truth).sum(1) / np.maximum(shown.sum(1), 1)
    print()
    report("sentences", cut_off(shown, truth))
    print(
        f"  {(right >= MOSTLY).sum()} of {len(right)} answered with a precision of {MOSTLY} or more; not: ",
        end="",
    )
    print(", ".join(text for text, part in zip(asked.texts, right, strict=True) if part < MOSTLY))


def absent_things(trial: Trial) -> None:
    print()
    for name in ABSENT_LISTS:
        asked = trial.asked([{"query": text} for text in trial.own[name]])
        again = trial.look_again(asked)
        shown = [
            f"{text} ({trial.names[row.argmax()].split('_', 1)[1][:-5]} {row.max():.2f})"
            for text, row in zip(asked.texts, again, strict=True)
            if row.max() >= trial.encoder.cutoff
        ]
        empty = len(asked.texts) - len(shown)
        print(f"{name}: {empty} of {len(asked.texts)} answer with nothing; not: {', '.join(shown)}")


def colour_queries(trial: Trial) -> None:
    print()
    for name, asked in (("own", trial.colours), ("development set", colours_only(trial.dev))):
        rows = trial.features(asked) @ np.array(WEIGHTS)
        with_colour = rows + trial.colour_parts(asked)
        plain, coloured = (
            [quality(row, grades)[0] for row, grades in zip(part, asked.grades, strict=True)]
            for part in (rows, with_colour)
        )
        lost = [text for text, one, two in zip(asked.texts, plain, coloured, strict=True) if two < one - 0.01]
        print(
            f"{len(lost)} of {len(plain)} colour queries ({name}) are worse with the colour term"
            f" ({', '.join(lost)}): nDCG@10 {np.mean(plain):.3f} without, {np.mean(coloured):.3f} with it"
        )


def colours_only(asked: Asked) -> Asked:
    rows = [row for row, text in enumerate(asked.texts) if asked_colours(text)]
    return Asked(
        [asked.texts[row] for row in rows], asked.vectors[rows], asked.scores[rows], asked.grades[rows]
    )


def small_catalogs(trial: Trial) -> None:
    """One relevant picture among few others: is it shown, and how much else is?"""
    random = np.random.default_rng(1)
    truth = trial.dev.grades > 0
    print()
    for count in (5, 20, 100):
        found = extra = 0
        for text, vector, scores, relevant in zip(
            trial.dev.texts, trial.dev.vectors, trial.dev.scores, truth, strict=True
        ):
            # The best of the relevant ones stands for a picture that clearly shows the thing.
            best = np.nonzero(relevant)[0][scores[relevant].argmax()]
            others = random.permutation(np.nonzero(~relevant)[0])[: count - 1]
            chosen = np.append(best, others)
            aux = [trial.aux[row] for row in chosen]
            match = trial.encoder.look_again(text, vector, scores[chosen], aux, Sample(scores[chosen], aux))
            shown = match >= trial.encoder.cutoff
            found, extra = found + int(shown[0]), extra + int(shown[1:].sum())
        total = len(truth)
        print(f"one among {count}: shown {found / total:.2f}, others shown {extra / total:.2f} a query")
    row = trial.dev.texts.index("a dog")
    dogs = np.nonzero(truth[row])[0]
    aux, scores = [trial.aux[dog] for dog in dogs], trial.dev.scores[row, dogs]
    match = trial.encoder.look_again("a dog", trial.dev.vectors[row], scores, aux, Sample(scores, aux))
    first = trial.encoder.match(scores, scores)
    print(
        f"'a dog' in a folder of dogs: shown {(match >= 0.5).mean():.2f},"
        f" by vectors alone {(first >= 0.5).mean():.2f}"
    )


def first_match(trial: Trial) -> None:
    truth = trial.dev.grades > 0
    rows, labels = draw(trial.dev.scores.astype(float), truth)
    print("\nMATCH_SCORE, MATCH_MEAN, MATCH_BIAS =", ", ".join(f"{part:.1f}" for part in fit(rows, labels)))
    shown = np.stack([trial.encoder.match(row, row) >= trial.encoder.cutoff for row in trial.dev.scores])
    report("by vectors alone", cut_off(shown, truth))


def draw(scores: Floats, truth: Truth) -> tuple[Floats, Truth]:
    """Queries put to many catalogs: of 5 to 300 pictures, with all, some or none of what is relevant."""
    rows, labels = [], []
    for query, chosen in catalogs(truth):
        sample = scores[query, chosen]
        known = sample.sum() + starter.USUAL_MEAN * starter.USUAL_COUNT
        mean = known / (len(sample) + starter.USUAL_COUNT)
        mean = np.clip(mean, starter.LOWEST_MEAN, starter.HIGHEST_MEAN)
        rows.append(np.stack([sample, np.full_like(sample, mean)], axis=1))
        labels.append(truth[query, chosen])
    return np.concatenate(rows), np.concatenate(labels)


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


def other_pairs(trial: Trial) -> None:
    """Pictures fit each other when a query for one kind of thing has both; of the dogs, eight are asked.

    A stored text fits a picture when it is a query that has it, and a caption fits a query that
    has its picture.
    """
    truth = trial.dev.grades > 0
    kinds = [
        kind in ("hyper", "specific", "syn") and text not in ("pets", "something to eat", "things that fly")
        for kind, text in zip(trial.kinds, trial.dev.texts, strict=True)
    ]
    alike = np.einsum("qa,qb->ab", truth[kinds].astype(int), truth[kinds].astype(int)) > 0
    dogs = truth[trial.dev.texts.index("a dog")]
    some = np.random.default_rng(0).permutation(np.nonzero(dogs & (alike.sum(1) > 1))[0])[:8]
    chosen = np.union1d(np.nonzero(~dogs & (alike.sum(1) > 1))[0], some)
    apart = np.arange(len(dogs))[None] != chosen[:, None]
    captions = trial.own["captions"]
    places = [trial.names.index(name) for name in captions]
    told = trial.dev.vectors @ trial.encoder.encode_texts(list(captions.values())).T
    answered = truth.any(0)
    print()
    pairs: list[tuple[Pair, NDArray[np.float32], Truth]] = [
        ("image-image", (trial.vectors[chosen] @ trial.vectors.T)[apart], alike[chosen][apart]),
        ("image-text", trial.dev.scores.T[answered].ravel(), truth.T[answered].ravel()),
        ("text-text", told.ravel(), truth[:, places].ravel()),
    ]
    for pair, scores, labels in pairs:
        weight, bias = fit(scores[:, None].astype(float), labels)
        match = trial.encoder.match(scores, scores, pair=pair)
        shown = match >= trial.encoder.cutoff
        print(
            f'"{pair}": ({weight:.1f}, {bias:.1f}); in use: precision {labels[shown].mean():.3f} '
            f"recall {shown[labels].mean():.3f}"
        )


def report(name: str, figures: dict[str, float]) -> None:
    print(f"{name}: " + ", ".join(f"{key} {value:.3f}" for key, value in figures.items()))


if __name__ == "__main__":
    main()
