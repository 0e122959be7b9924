"""Two ways to answer "A + B" and "A - B", side by side on graded photos.

    python benchmarks/sums.py DEV.json [--model SPEC] [--json]

From the graded queries pairs are made: sums of two whose answers overlap (right are the photos
that answer both), differences of two whose answers overlap (right are those of A that are not
B's), and differences of two that have nothing to do with each other, which should change
nothing. `vectors` searches for a + b or a - b, normalised; `chances` is what `Catalog.search`
does: every term is judged by itself, and what is not wanted takes away from what is.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean

import numpy as np
from quality import ndcg

from indexer import index_folder
from retrieval import Catalog, Filter, Query

UNRELATED = 200
DEPTH = 10

Grades = dict[str, int]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("dev", type=Path)
    parser.add_argument("--model", default="starter")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    data = json.loads(options.dev.read_text(encoding="utf-8"))
    graded = {item["query"]: item["relevant"] for item in data["queries"]}
    with tempfile.TemporaryDirectory() as folder:
        photos = anonymous(options.dev.parent / data["images_dir"], data["images"], Path(folder) / "photos")
        index_folder(Path(folder) / "catalog", Path(folder) / "photos", model=options.model)
        with Catalog(Path(folder) / "catalog") as catalog:
            rows = [measure(catalog, photos, kind, pairs) for kind, pairs in pairs_of(graded)]
    if options.json:
        print("\n".join(json.dumps(row) for row in rows))
        return
    print(f"{'queries':34}{'pairs':>6}{'A alone':>9}{'vectors':>9}{'chances':>9}   nDCG@10")
    for row in rows:
        print(
            f"{row['kind']:34}{row['pairs']:>6}{row['alone']:>9.3f}{row['vectors']:>9.3f}{row['chances']:>9.3f}"
        )


def anonymous(source: Path, names: list[str], target: Path) -> dict[str, str]:
    """Links to the photos under names that say nothing, and what each is called in the grades."""
    target.mkdir()
    found = {}
    for number, name in enumerate(names):
        link = target / f"{number:04}{Path(name).suffix.lower()}"
        link.symlink_to((source / name).resolve())
        found[link.name] = name
    return found


def pairs_of(graded: dict[str, Grades]) -> Iterator[tuple[str, list[tuple[str, str, float, Grades]]]]:
    """Kinds of pairs: two queries, the sign of the second, and the grades of the right answers."""
    both, without, unrelated = [], [], []
    for first, one in graded.items():
        for second, other in graded.items():
            shared = one.keys() & other.keys()
            left = {name: grade for name, grade in one.items() if name not in other}
            if first < second and shared and left and other.keys() - one.keys():
                both.append((first, second, 1.0, {name: min(one[name], other[name]) for name in shared}))
            if first != second and shared and left:
                without.append((first, second, -1.0, left))
            if first != second and not shared:
                unrelated.append((first, second, -1.0, one))
    yield "A + B, answers overlap", both
    yield "A - B, answers overlap", without
    yield "A - B, nothing to do with A", random.Random(0).sample(unrelated, min(UNRELATED, len(unrelated)))


def measure(
    catalog: Catalog, photos: dict[str, str], kind: str, pairs: list[tuple[str, str, float, Grades]]
) -> dict[str, object]:
    figures: dict[str, list[float]] = {"alone": [], "vectors": [], "chances": []}
    for first, second, sign, grades in pairs:
        query = Query.text(first) + sign * Query.text(second)
        answers = {
            "alone": asked(catalog, Query.text(first)),
            "vectors": by_vectors(catalog, first, second, sign),
            "chances": asked(catalog, query),
        }
        for way, names in answers.items():
            figures[way].append(ndcg([photos[name] for name in names], grades))
    return {
        "kind": kind,
        "pairs": len(pairs),
        **{way: round(fmean(all_), 4) for way, all_ in figures.items()},
    }


def asked(catalog: Catalog, query: Query) -> list[str]:
    return [hit.path.name for hit in catalog.search(query, limit=DEPTH, cutoff=False)]


def by_vectors(catalog: Catalog, first: str, second: str, sign: float) -> list[str]:
    state = catalog.state
    info = state.active()
    one, other = state.encoder(info).encode_texts([first, second])
    vector = one + np.float32(sign) * other
    vector /= np.linalg.norm(vector)
    with state.snapshot() as reader:
        ids, _ = state.view(info, Filter()).store.search(vector, DEPTH)
        paths = dict(reader.rows("SELECT id, path FROM images"))
    return [Path(paths[image_id].decode()).name for image_id in ids.tolist()]


if __name__ == "__main__":
    main()
