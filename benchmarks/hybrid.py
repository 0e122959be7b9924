"""What the words around pictures add to a query, in a warm process.

    python benchmarks/hybrid.py [--quick] [--images N]

The budget: at 100,000 pictures, full-text evidence adds at most 15 ms to a query, also where a word
stands around 30 % of them, and to a sum of up to three terms. The same catalog is asked with and
without it, in turns.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from unittest import mock

import machine
from outcomes import Results

# As the command line has it: a second thread would spin after every product of vectors, and take its
# core from what comes next.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

BUDGET_MS = 15.0
JUDGED_FROM = 100_000
QUERIES = {
    "a word of no picture": "zeppelin",
    "a rare word": "trondheim",
    "a word of 30 % (a folder)": "beach",
    "a word of 10 % (captions)": "sunset",
    "both frequent words": "sunset at the beach",
    "rare and frequent, six words": "two dogs near trondheim, sunset, beach, kayak and lighthouse",
    "two characters without spaces": "日落",
    "a sum of two frequent words": "sunset + beach",
    "a sum of three": "sunset + beach + kayak",
    "a sum of three, one not wanted": "sunset + 2:trondheim - beach",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a trial of some seconds: 5,000 pictures")
    parser.add_argument("--images", type=int, help="pictures of the catalog (default 100,000)")
    parser.add_argument("--rounds", type=int, help="queries of each kind (default 31)")
    options = parser.parse_args()
    count = options.images or (5_000 if options.quick else 100_000)
    rounds = options.rounds or (5 if options.quick else 31)
    machine.title(f"Queries with and without words, {count:,} pictures: median of {rounds}, in turns")
    with machine.workplace() as folder:
        machine.apart(fill, folder / "catalog", count)
        taken = ask(folder / "catalog", rounds)
    rows = [
        [
            label,
            f"{without:.1f}",
            f"{full:.1f}",
            f"{full / without:.2f}",
            f"{full - without:.1f}",
            f"{own:.1f}",
        ]
        for label, (without, full, own) in taken.items()
    ]
    machine.table(["query", "without ms", "with ms", "ratio", "adds ms", "1,000 candidates ms"], rows)
    with Results("hybrid", "Words around pictures", command="python benchmarks/hybrid.py") as results:
        results.note("images", f"{count:,}")
        for label, (without, full, _) in taken.items():
            bound = BUDGET_MS if count >= JUDGED_FROM else None
            results.judge(f"{label}: words add", full - without, at_most=bound, unit="ms")
        both = {label: {"without": without, "with": full} for label, (without, full, _) in taken.items()}
        results.bars(f"A query with and without words, {count:,} images", both, unit="ms")


def ask(place: Path, rounds: int) -> dict[str, tuple[float, float, float]]:
    """Milliseconds of each query without words, with them, and of words alone over 1,000 candidates."""
    import numpy as np

    from retrieval import Catalog
    from retrieval.db import words
    from retrieval.query.terms import Query

    near = np.sort(np.random.default_rng(1).choice(100_000, 1000, replace=False) + 1)
    nobody = np.empty(0, np.int64)
    middles = {}
    with Catalog(place) as catalog:
        for label, text in QUERIES.items():
            query = Query.parse(text, paths=False)
            search = partial(catalog.search, query, cutoff=False)
            terms = [str(term.value) for term in query.terms]
            plain, hybrid, alone = [], [], []
            for _ in range(rounds + 1):
                with (
                    mock.patch.object(words, "nominated", return_value=nobody),
                    mock.patch.object(words, "judged", side_effect=silence),
                ):
                    plain.append(timed(search))
                hybrid.append(timed(search))
                with catalog.state.snapshot() as reader:
                    alone.append(timed(partial(words.judged, reader, terms, near)))
            without, full, own = (1000 * median(taken[1:]) for taken in (plain, hybrid, alone))
            middles[label] = without, full, own
    return middles


def silence(reader: object, texts: Sequence[str], ids: object) -> list[dict[int, object]]:  # noqa: ARG001
    """What `words.judged` answers where no words stand around any picture."""
    return [{} for _ in texts]


def timed(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def fill(place: Path, count: int) -> None:
    """Rows of pictures in folders, a third of them with a caption of words as rare as in any language."""
    import numpy as np

    from retrieval import Catalog
    from retrieval.config import Location
    from retrieval.db.queries import Batch, NewImage, Vector, Writer
    from retrieval.encoders.toy import ToyEncoder

    encoder, draw = ToyEncoder(), np.random.default_rng(0)
    root = place.with_name("pictures")
    root.mkdir()
    with Writer(Location.parse(place)) as writer:
        writer.add_roots([os.fsencode(root)])
        encoder_id = writer.add_encoder(key=encoder.id, spec="toy", dim=encoder.dim)
        for start in range(0, count, 1000):
            numbers = range(start, min(start + 1000, count))
            vectors = draw.random((len(numbers), encoder.dim))
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            batch = Batch()
            for number, row in zip(numbers, vectors.astype("<f2"), strict=True):
                folder = root / ("beach" if number % 10 < 3 else f"day{word(draw)}")
                values = machine.made_row(folder / f"{word(draw)}-{number:06}.jpg", number)
                if number % 3 == 0:
                    said = [word(draw) for _ in range(12)]
                    said += ["sunset", "日落"] if draw.random() < 0.3 else []
                    said += ["trondheim", "kayak"] if draw.random() < 0.001 else []
                    values["description"] = " ".join(said)
                batch.added.append(NewImage(values, Vector(row.tobytes())))
            writer.commit(batch, encoder_id=encoder_id)
        writer.activate(encoder_id, complete=True)
    with Catalog(place) as catalog:
        catalog.refresh()


def word(draw: object) -> str:
    """A made-up word: few of them are frequent, most are rare."""
    number = int(draw.zipf(1.3)) % 50_000  # type: ignore[attr-defined]
    letters = "aeioulnrstdm"
    return "w" + "".join(letters[number // 12**place % 12] for place in range(5))


if __name__ == "__main__":
    main()
