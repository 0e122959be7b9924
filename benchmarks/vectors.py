"""The search for vectors by itself: what the catalog's store does, beside the other ways there are.

    python benchmarks/vectors.py [--quick] [--sizes 100000,1000000] [--photos FOLDER --queries FILE]

Unit vectors of 512 numbers are drawn: themes of very different size, kinds of things in each, and few
directions in which things of a kind differ. Half of the queries are pictures that are not among them,
half are texts: between the things, and off to one side as texts are. One thread a query. Recall is
the share of the true ten best, by exact search, that are among the ten found.

Budgets, at a million: half of the searches within 1 ms and 99 of 100 within 3 ms, a recall of 0.97,
filtered to one in a hundred within 1.5 ms, an index of at most 150 MiB beside the mapped vectors,
and opened within 0.3 s.

With `--photos`, the vectors are those of cut-outs of real photos by the starter, and the queries are the
lines of a text file: where lists and codes meet the lumps of a real model.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import machine
from outcomes import Results

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from retrieval.stores.opening import Truth

    Find = Callable[[NDArray[np.float32], "NDArray[np.bool_] | None"], NDArray[np.int64]]

DIM = 512
WHOLE = 1_000_000
P50, P99, RECALL, FILTERED, MEMORY, OPENING = 1.0, 3.0, 0.97, 1.5, 150 << 20, 0.3
SHARE = 0.01
TEN = 10
WARM_UP = 10
PORTION = 20_000
GRAPH_UP_TO = 200_000
"""A graph is built for no more: at a million it takes 2.5 GB of memory."""
OURS = "the store"


@dataclass(frozen=True, slots=True)
class Data:
    """Rows of half precision in a file, and queries with their true answers."""

    rows: NDArray[np.float16]
    queries: NDArray[np.float32]
    allowed: NDArray[np.bool_]
    best: NDArray[np.int64]
    best_allowed: NDArray[np.int64]

    def portions(self) -> Iterator[tuple[int, NDArray[np.float32]]]:
        import numpy as np

        for start in range(0, len(self.rows), PORTION):
            yield start, self.rows[start : start + PORTION].astype(np.float32)


@dataclass(slots=True)
class Way:
    """One way to search: how long it took to build, how large it is, and what it finds."""

    name: str
    find: Find
    built: float
    size: int
    filters: bool = True
    more: dict[str, Any] = field(default_factory=dict)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a trial of some seconds: 20,000 vectors")
    parser.add_argument("--sizes", help="default 100000,1000000")
    parser.add_argument("--photos", type=Path, help="cut-outs of these photos in place of drawn vectors")
    parser.add_argument("--queries", type=Path, help="with --photos: a text file, a query a line")
    parser.add_argument("--cuts", type=int, default=20_000, help="with --photos: how many cut-outs")
    options = parser.parse_args()
    # As the command line does: a second thread of NumPy's would spin beside the first.
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    sizes = [
        int(size) for size in (options.sizes or ("20000" if options.quick else "100000,1000000")).split(",")
    ]
    machine.title("Searching vectors, one thread a query")
    name = "vectors"
    with machine.workplace() as folder:
        if options.photos:
            real = machine.apart(encode, options.photos, options.queries, options.cuts, folder)
            print(f"{real} cut-outs of real photos, the starter's vectors\n", flush=True)
            sizes, name = [real], "vectors_real"
        found = {size: machine.apart(measure, folder, size, bool(options.photos)) for size in sizes}
    command = "python benchmarks/vectors.py" + (" --photos FOLDER --queries FILE" if options.photos else "")
    with Results(name, "Searching vectors", command=command) as results:
        for size, rows in found.items():
            judge(results, size, rows)


def judge(results: Results, size: int, rows: dict[str, dict[str, float]]) -> None:
    whole, ours = size >= WHOLE, rows[OURS]
    label = f"{size:,} vectors"
    results.judge(f"{label}: p50", ours["p50"], at_most=P50 if whole else None, unit="ms")
    results.judge(f"{label}: p99", ours["p99"], at_most=P99 if whole else None, unit="ms")
    results.judge(f"{label}: recall of ten", ours["recall"], at_least=RECALL)
    results.judge(
        f"{label}: filtered to 1 %, p50", ours["filtered"], at_most=FILTERED if whole else None, unit="ms"
    )
    results.judge(f"{label}: filtered to 1 %, recall", ours["filtered_recall"], at_least=RECALL)
    if "opening" in ours:
        limit = MEMORY / (1 << 20) if whole else None
        results.judge(f"{label}: index", ours["size"] / (1 << 20), at_most=limit, unit="MiB")
        results.judge(f"{label}: opening", ours["opening"], at_most=OPENING, unit="s")
    times = {name: row["p50"] for name, row in rows.items()}
    results.bars(f"One search of {label}", times, unit="ms")
    results.bars(f"Recall of ten in {label}", {name: row["recall"] for name, row in rows.items()})


def measure(folder: Path, size: int, real: bool) -> dict[str, dict[str, float]]:
    import numpy as np

    data = prepare(folder, size, real)
    found: dict[str, dict[str, float]] = {}
    lines = []
    for make in ways(size):
        way = make(data, folder)
        taken, recall = timed(way, data.queries, None, data.best)
        row = {
            "p50": float(np.median(taken)),
            "p99": float(np.quantile(taken, 0.99)),
            "recall": recall,
            "built": way.built,
            "size": float(way.size),
            **way.more,
        }
        if way.filters:
            taken, recall = timed(way, data.queries, data.allowed, data.best_allowed)
            row |= {"filtered": float(np.median(taken)), "filtered_recall": recall}
        found[way.name] = row
        cells = [f"{row['p50']:.2f}", f"{row['p99']:.2f}", f"{row['recall']:.3f}"]
        cells += [
            f"{row[key]:.{digits}f}" if key in row else ""
            for key, digits in (("filtered", 2), ("filtered_recall", 3))
        ]
        lines.append([way.name, *cells, f"{way.built:.1f}", machine.mebibytes(way.size)])
        del way
    print(f"{size:,} vectors of {data.rows.shape[1]} numbers")
    head = ["", "p50 ms", "p99 ms", "recall", "1 %: p50 ms", "1 %: recall", "built in s", "size"]
    machine.table(head, lines)
    return found


def timed(
    way: Way, queries: NDArray[np.float32], allowed: NDArray[np.bool_] | None, best: NDArray[np.int64]
) -> tuple[list[float], float]:
    for query in queries[:WARM_UP]:
        way.find(query, allowed)
    taken, hits = [], 0
    for query, wanted in zip(queries, best, strict=True):
        began = time.perf_counter()
        found = way.find(query, allowed)
        taken.append(1000 * (time.perf_counter() - began))
        hits += len(set(found.tolist()) & set(wanted.tolist()))
    return taken, hits / best.size


def ways(size: int) -> list[Callable[[Data, Path], Way]]:
    lists = max(1, round(4 * size**0.5))
    made: list[Callable[[Data, Path], Way]] = [
        the_store,
        exact,
        lambda data, folder: library(data, folder, "exact, halves", "SQfp16"),
        lambda data, folder: library(data, folder, f"IVF{lists},SQ8", f"IVF{lists},SQ8", probes=64),
        lambda data, folder: library(
            data,
            folder,
            f"IVF{lists},PQ128x4fs, best 400 exactly",
            f"IVF{lists},PQ128x4fs",
            probes=32,
            again=400,
        ),
    ]
    if size <= GRAPH_UP_TO:
        made.append(lambda data, folder: library(data, folder, "HNSW32", "HNSW32"))
    return made


def the_store(data: Data, folder: Path) -> Way:
    """What a catalog of this size has: built from rows as the database gives them, written, opened again."""
    from retrieval.stores import cache
    from retrieval.stores.opening import open_store, rebuild_store

    truth = rows_of(data)
    began = time.perf_counter()
    rebuild_store(folder / "cache", truth)
    built = time.perf_counter() - began
    open_store(folder / "cache", truth)  # the first opening reads every byte once
    began = time.perf_counter()
    opened = open_store(folder / "cache", truth)
    opening = time.perf_counter() - began
    assert opened.fresh
    manifest = cache.read_manifest(folder / "cache" / cache.folder_name(truth.key))
    assert manifest is not None
    size = manifest.files["index"][1] if "index" in manifest.files else 0
    index = manifest.details.get("index", {})
    print(
        f"the store at {len(data.rows):,}: {opened.store.kind} {index}, opened in {opening:.3f} s", flush=True
    )
    store = opened.store
    return Way(
        OURS,
        lambda query, allowed: store.search(query, TEN, allowed=allowed)[0],
        built,
        size,
        more={"opening": opening},
    )


def exact(data: Data, folder: Path) -> Way:
    import numpy as np

    from retrieval.stores.flat import FlatStore
    from retrieval.stores.rows import Rows

    whole = np.lib.format.open_memmap(
        folder / "whole.npy", mode="w+", dtype=np.float32, shape=data.rows.shape
    )
    for start, rows in data.portions():
        whole[start : start + len(rows)] = rows
    store = FlatStore(np.arange(len(whole)), Rows.of(np.asarray(whole)))
    return Way(
        "exact, whole floats",
        lambda query, allowed: store.search(query, TEN, allowed=allowed)[0],
        0.0,
        whole.nbytes,
    )


def library(
    data: Data, folder: Path, name: str, kind: str, *, probes: int | None = None, again: int = 0
) -> Way:
    """One of faiss' own kinds of index; `again` candidates of it are ranked exactly."""
    import faiss
    import numpy as np

    from retrieval import config
    from retrieval.stores.rows import as_floats

    count, dim = data.rows.shape
    began = time.perf_counter()
    faiss.omp_set_num_threads(config.cores())
    index = faiss.index_factory(dim, kind, faiss.METRIC_INNER_PRODUCT)
    if not index.is_trained:
        drawn = np.random.default_rng(0).permutation(count)[: 40 * getattr(index, "nlist", 256)]
        index.train(data.rows[np.sort(drawn)].astype(np.float32))
    for _, rows in data.portions():
        index.add(rows)
    faiss.omp_set_num_threads(1)
    built = time.perf_counter() - began
    faiss.write_index(index, str(folder / "library.faiss"))
    size = (folder / "library.faiss").stat().st_size

    def find(query: NDArray[np.float32], allowed: NDArray[np.bool_] | None) -> NDArray[np.int64]:
        bits = None if allowed is None else np.packbits(allowed, bitorder="little")
        selector = None if bits is None else faiss.IDSelectorBitmap(bits)
        if probes is not None:
            parameters = faiss.SearchParametersIVF(nprobe=probes, sel=selector)
        elif kind.startswith("HNSW"):
            parameters = faiss.SearchParametersHNSW(efSearch=64, sel=selector)
        else:
            parameters = faiss.SearchParameters(sel=selector)
        _, found = index.search(query[None], again or TEN, params=parameters)
        near: NDArray[np.int64] = found[0][found[0] >= 0]
        if again:
            near = np.sort(near)
            near = near[np.argsort(-(as_floats(data.rows[near]) @ query))[:TEN]]
        return near

    return Way(name, find, built, size)


def rows_of(data: Data) -> Truth:
    """The rows as the database would give them."""
    import numpy as np

    from retrieval.stores.opening import Truth
    from retrieval.types import checksum

    def rows(after: int) -> Iterator[tuple[int, bytes, bytes, int, int]]:
        for number, row in enumerate(data.rows if after < 1 else ()):
            vector = row.tobytes()
            yield number, vector, b"", checksum(vector, b""), 1

    count = len(data.rows)
    return Truth(
        key="bench",
        dim=data.rows.shape[1],
        generation=1,
        epoch=0,
        count=lambda: count,
        has=lambda generation: generation == 1,
        stamps=lambda: (np.arange(count), np.ones(count, np.int64)),
        rows=rows,
    )


def prepare(folder: Path, size: int, real: bool) -> Data:
    """The vectors, and for every query its true ten best, with the filter and without."""
    import numpy as np

    if not real:
        draw(folder, size)
    rows = np.load(folder / "rows.npy", mmap_mode="r").view(np.ndarray)
    queries = np.load(folder / "queries.npy")
    allowed = np.random.default_rng(5).random(len(rows)) < SHARE
    best = nearest(rows, queries, np.ones(len(rows), np.bool_))
    return Data(rows, queries, allowed, best, nearest(rows, queries, allowed))


def nearest(
    rows: NDArray[np.float16], queries: NDArray[np.float32], allowed: NDArray[np.bool_]
) -> NDArray[np.int64]:
    import numpy as np

    scores = np.full((len(queries), TEN), -2, np.float32)
    numbers = np.full((len(queries), TEN), -1, np.int64)
    for start in range(0, len(rows), PORTION):
        passing = start + np.flatnonzero(allowed[start : start + PORTION])
        if not len(passing):
            continue
        here = queries @ rows[passing].astype(np.float32).T
        scores = np.concatenate([scores, here], axis=1)
        numbers = np.concatenate([numbers, np.broadcast_to(passing, here.shape)], axis=1)
        kept = np.argpartition(-scores, TEN - 1, axis=1)[:, :TEN]
        scores = np.take_along_axis(scores, kept, axis=1)
        numbers = np.take_along_axis(numbers, kept, axis=1)
    return numbers


def draw(folder: Path, size: int, *, queries: int = 400) -> None:
    """Themes, kinds of things in them, and things: each level's share falls as a power of its rank."""
    import numpy as np

    rng = np.random.default_rng(1)

    def unit(shape: tuple[int, ...]) -> NDArray[np.float32]:
        drawn = rng.standard_normal(shape).astype(np.float32)
        drawn /= np.linalg.norm(drawn, axis=-1, keepdims=True)
        return drawn

    def by_rank(count: int, power: float) -> NDArray[np.float64]:
        shares = 1 / np.arange(1, count + 1) ** power
        return shares / shares.sum()

    themes, kinds = 400, 12_000
    of = rng.choice(themes, kinds, p=by_rank(themes, 0.7))
    centres = 0.8 * unit((themes, DIM))[of] + 0.6 * unit((kinds, DIM))
    shares = by_rank(kinds, 0.8)
    ways = rng.standard_normal((64, 48, DIM)).astype(np.float32) / DIM**0.5
    common = 0.6 * unit((DIM,))

    def things(count: int) -> NDArray[np.float32]:
        kind = rng.choice(kinds, count, p=shares)
        rows = centres[kind] + common
        for number in range(len(ways)):
            mine = np.flatnonzero(kind % len(ways) == number)
            far = rng.standard_normal((len(mine), ways.shape[1])).astype(np.float32)
            rows[mine] += 0.55 * (far @ ways[number]) / ways.shape[1] ** 0.5
        rows += 0.25 * rng.standard_normal((count, DIM)).astype(np.float32) / DIM**0.5
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        return rows

    kept = np.lib.format.open_memmap(folder / "rows.npy", mode="w+", dtype=np.float16, shape=(size, DIM))
    for start in range(0, size, PORTION):
        kept[start : start + PORTION] = things(min(PORTION, size - start))
    kept.flush()
    half = queries // 2
    texts = centres[rng.choice(kinds, half, p=shares)] + 0.5 * unit((half, DIM)) + 0.9 * unit((DIM,))
    texts /= np.linalg.norm(texts, axis=1, keepdims=True)
    np.save(folder / "queries.npy", np.concatenate([things(half), texts]).astype(np.float32))


def encode(photos: Path, queries: Path | None, cuts: int, folder: Path) -> int:
    """The starter's vectors of cut-outs: each photo in many frames, from a fifth of its sides on."""
    import numpy as np

    from retrieval.images import load_image
    from retrieval.registry import load_encoder

    paths = sorted(path for path in photos.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    if not paths or queries is None:
        raise SystemExit(
            "--photos wants a folder with photos, and --queries a text file with a query a line."
        )
    encoder = load_encoder("starter:lite2-fast")
    rng = np.random.default_rng(2)
    each = -(-cuts // len(paths))
    rows: list[NDArray[np.float16]] = []
    for path in paths:
        picture = load_image(path)
        frames = []
        for _ in range(each):
            share = rng.uniform(0.2, 1.0)
            wide, high = int(share * picture.width), int(share * picture.height)
            left, top = rng.integers(0, picture.width - wide + 1), rng.integers(0, picture.height - high + 1)
            frames.append(picture.crop((int(left), int(top), int(left) + wide, int(top) + high)))
        rows.append(encoder.encode_images(frames).astype(np.float16))
    every = np.concatenate(rows)[:cuts]
    np.save(folder / "rows.npy", every)
    texts = [line for line in queries.read_text("utf-8").splitlines() if line.strip()]
    np.save(folder / "queries.npy", encoder.encode_texts(texts))
    return len(every)


if __name__ == "__main__":
    main()
