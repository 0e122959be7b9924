"""What a filter costs: searches of one catalog with and without it, side by side in one run.

    python benchmarks/filters.py [--images N] [--dim D] [--quick] [--try SQL]...

The budget: a filter that leaves 1 % of 100,000 images costs at most 1.5 times the unfiltered
query; one that leaves 50 of a million costs little. Each search is what `Catalog.search` does
once the query is a vector: rows by SQL, a mask, exact search, the sample for the match. `--try`
runs a statement on the catalog first, an index for instance, to see what it would bring.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import machine
from outcomes import Results

if TYPE_CHECKING:
    import numpy as np

    from retrieval.db.reader import Reader
    from retrieval.query.filters import Filter
    from retrieval.stores.flat import FlatStore

# As the command line has it: a second thread would spin after every product of vectors.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

BUDGET = 1.5
JUDGED_FROM = 100_000
FEW = 0.02
"""The share that a filter leaves at the most for the budget to be meant for it."""
LIMIT = 50
TAGS = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--quick", action="store_true", help="a trial of some seconds with 2,000 images")
    parser.add_argument("--try", dest="statements", action="append", default=[], metavar="SQL")
    options = parser.parse_args()
    if options.quick:
        options.images, options.rounds = 2_000, 3
    machine.title(f"Filters over {options.images:,} images, {options.dim} dimensions, no model")
    with machine.workplace() as folder:
        measure(folder / "catalog", options.images, options.dim, options.rounds, options.statements)


def measure(place: Path, count: int, dim: int, rounds: int, statements: list[str]) -> None:
    import numpy as np

    from retrieval.config import Location
    from retrieval.db.reader import open_reader
    from retrieval.query.filters import Filter
    from retrieval.stores.flat import FlatStore
    from retrieval.stores.rows import Rows

    fill(place, count, statements)
    draw = np.random.default_rng(1)
    vectors = draw.standard_normal((count, dim), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    store = FlatStore(np.arange(1, count + 1), Rows.of(vectors))
    query = vectors[count // 3]
    fifty = "Fifty" if count >= 5000 else "Rare"
    filters = {
        "none": Filter(),
        "folder": Filter(folder="/pictures/042"),
        "after and before": Filter(after="2010-01-01", before="2010-02-13"),
        "camera": Filter(camera="rare x1"),
        "camera, not ASCII": Filter(camera="ÄPFEL"),
        "near a town": Filter(near="Bergen"),
        "near coordinates": Filter(near=(60.39, 5.32, 25)),
        "near a country": Filter(near="Iceland"),
        "orientation": Filter(orientation="square"),
        "min-size": Filter(min_size="40MP"),
        "type": Filter(type="heic"),
        "tag": Filter(tags=("Rare",)),
        "two tags": Filter(tags=("Rare", "tag 3")),
        "all together": Filter(folder="/pictures", after="2001", type="heic", orientation="square"),
        "camera, 50 left": Filter(camera=fifty),
        "tag, 50 left": Filter(tags=(fifty,)),
        "nearly all pass": Filter(after="2000-06"),
    }
    reader = open_reader(Location.parse(place))
    try:
        taken: dict[str, list[float]] = {name: [] for name in filters}
        left: dict[str, int] = {}
        for number in range(rounds + 1):
            for name, where in filters.items():
                start = time.perf_counter()
                found, passing = search(reader, store, query, where)
                seconds = time.perf_counter() - start
                left[name] = passing
                assert found == min(LIMIT, passing), f"{name}: {found} of {passing}"
                if number:
                    taken[name].append(seconds)
    finally:
        reader.close()
    show(taken, left, count)


def search(
    reader: Reader, store: FlatStore, query: np.ndarray[Any, np.dtype[np.float32]], where: Filter
) -> tuple[int, int]:
    """How many pictures a search found, and how many passed the filter."""
    import numpy as np

    from retrieval.db import reads
    from retrieval.query.masks import allowed_among

    hidden = reads.hidden_ids(reader)
    visible = ~np.isin(store.ids, hidden) if hidden else None
    allowed, passing = visible, len(store) - len(hidden)
    if where:
        allowed = allowed_among(store.ids, where, reader)
        passing = int(np.count_nonzero(allowed))
    ids, _ = store.search(query, LIMIT, allowed=allowed)
    store.sample(query, allowed=visible)
    return len(ids), passing


def show(taken: dict[str, list[float]], left: dict[str, int], count: int) -> None:
    middles = {name: median(seconds) for name, seconds in taken.items()}
    yard = middles["none"]
    rows = [
        [
            name,
            f"{left[name]:,}",
            f"{left[name] / count:.2%}",
            f"{1000 * seconds:.1f}",
            f"{seconds / yard:.2f}",
        ]
        for name, seconds in middles.items()
    ]
    machine.table(["filter", "left", "share", "ms", "ratio"], rows)
    with Results("filters", "Filters", command="python benchmarks/filters.py") as results:
        results.note("images", f"{count:,}")
        for name, seconds in middles.items():
            judged = 0 < left[name] <= FEW * count and count >= JUDGED_FROM
            if name != "none":
                bound = BUDGET if judged else None
                results.judge(f"{name}, times no filter", seconds / yard, at_most=bound)
        taken_ms = {name: 1000 * seconds for name, seconds in middles.items()}
        results.bars(f"A search of {count:,} vectors with a filter", taken_ms, unit="ms")


def fill(place: Path, count: int, statements: list[str]) -> None:
    """A catalog whose rows have everything a filter can ask for; no vectors."""
    from retrieval.config import Location
    from retrieval.db.queries import Writer

    Writer(Location.parse(place)).close()
    connection = sqlite3.connect(place / "catalog.db")
    with connection:
        columns = "path size mtime_ns content_hash indexed_at format width height taken_at camera_make"
        names = f"{columns} camera_model latitude longitude keywords".split()
        marks = ", ".join("?" * len(names))
        connection.executemany(f"INSERT INTO images ({', '.join(names)}) VALUES ({marks})", pictures(count))
        connection.executemany(
            "INSERT INTO image_tags (image_id, tag, confidence, kept, source) VALUES (?, ?, 0.5, ?, 'model')",
            tags(count),
        )
    for statement in statements:
        connection.execute(statement)
    connection.close()


def pictures(count: int) -> Iterator[tuple[Any, ...]]:
    """Taken over 25 years; 1 % lie near Bergen, 1 % in Iceland, most at home, a third nowhere."""
    import numpy as np

    draw = np.random.default_rng(0)
    spread = draw.normal(0, 0.05, (count, 2))
    chance: Callable[[], float] = draw.random
    homes = {0: (60.39, 5.32), 1: (64.14, -21.9)}
    for number in range(count):
        kind = number % 100
        place = homes.get(kind, (48.14, 11.58) if kind < 67 else None)
        point = (place[0] + spread[number, 0], place[1] + 2 * spread[number, 1]) if place else (None, None)
        large = chance() < 0.01
        sides = (4000, 4000) if chance() < 0.01 else (8000, 6000) if large else (4032, 3024)
        width, height = sides if number % 3 else sides[::-1]
        camera = "Fifty" if number < 50 else "Äpfel" if kind == 5 else f"Model {number % 7}"
        day = number * 9131 // count
        taken = np.datetime64("2000-01-01") + day
        yield (
            f"/pictures/{number * 100 // count:03}/IMG_{number:07}.jpg".encode(),
            3_000_000 + number,
            1_600_000_000_000_000_000 + number,
            number.to_bytes(32, "big"),
            1_700_000_000.0,
            "HEIF" if kind == 7 else "JPEG",
            width,
            height,
            f"{taken}T12:00:00",
            "Rare" if kind == 3 else "Canon",
            "X1" if kind == 3 else camera,
            point[0],
            point[1],
            "[]",
        )


def tags(count: int) -> Iterator[tuple[int, str, bool]]:
    """Five tags a picture, of which one does not count."""
    for image_id in range(1, count + 1):
        for step in range(5):
            yield image_id, f"tag {(image_id * 7 + step) % TAGS}", step > 0
        if image_id % 100 == 9:
            yield image_id, "rare", True
        if image_id <= 50:
            yield image_id, "Fifty", True


if __name__ == "__main__":
    main()
