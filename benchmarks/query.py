"""A cold query, as a whole process: how long, and where the time goes.

    python benchmarks/query.py [--quick]

The budget: `search find "a dog" --json` takes at most 0.45 s of wall time over 1,000 images and at
most 0.6 s over 100,000 on two idle cores, with the starter and with an exported ViT-B/32 (random
weights: speed does not depend on them). Files are in the system's cache; everything else is cold.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from statistics import median

import machine
from outcomes import Results

BUDGETS = ((1_000, 0.45), (100_000, 0.6))
"""Images at the most, and the seconds that a query over them may take."""
QUERY = "a dog"
BARE = "import click, sqlite3, numpy"

# The public steps of a query one after the other in a fresh process, each with its time. The
# product itself is not touched: what this does is what `search find --json` does.
STEPS = """
import time
marks = [("", time.perf_counter())]
def mark(name):
    marks.append((name, time.perf_counter()))
import sys
started, place, query = float(sys.argv[1]), sys.argv[2], sys.argv[3]
mark("")
import cli
mark("import the command line (click)")
import numpy
mark("import numpy")
from retrieval.catalog import Catalog
from retrieval.config import Location
from retrieval.db import reads
from retrieval.db.reader import open_reader
from retrieval.query.filters import Filter
from retrieval.stores.opening import Truth, open_store
mark("import the engine (sqlite3)")
import onnxruntime
mark("import onnxruntime")
location = Location.parse(place)
reader = open_reader(location)
info = reads.active_encoder(reader)
mark("open the database, read the encoder's row")
from retrieval.registry import load_encoder
encoder = load_encoder(info.spec)
assert encoder.id == info.key
mark("find the model")
vector = encoder.encode_texts([query])[0]
loaded = time.perf_counter()
encoder.encode_texts([query])
once = time.perf_counter() - loaded
marks.append(("text tower: load", loaded - once))
marks.append(("text tower: run", loaded))
marks.append((None, loaded + once))
truth = Truth(
    key=info.cache_key, dim=info.dim, generation=info.generation, epoch=info.epoch,
    count=lambda: reads.embedding_count(reader, info.id),
    has=lambda generation: reads.has_generation(reader, info.id, generation),
    stamps=lambda: reads.vector_stamps(reader, info.id),
    rows=lambda after: reads.vectors(reader, info.id, after=after),
)
opened = open_store(location.cache, truth)
store = opened.store
assert opened.fresh
hidden = reads.hidden_ids(reader)
mark("map the vectors")
ids, scores = store.search(vector, 50)
sample = store.sample(vector)
matches = encoder.match(scores, sample)
mark("search")
if hasattr(encoder, "look_again"):
    from retrieval.protocols import Sample
    drawn = Sample(sample, store.aux(store.sampled()))
    matches = encoder.look_again(query, vector, scores, store.aux(ids), drawn)
    mark("second stage")
import json
shown = reads.shown(reader, ids[:10].tolist())
for image_id, score, match in zip(ids[:10].tolist(), scores.tolist(), matches.tolist()):
    print(json.dumps({"path": shown[image_id].path.decode(), "score": score, "match": match}))
reader.close()
sys.stdout.flush()
mark("read the hits' rows, output")
steps = [(name, after - before) for (_, before), (name, after) in zip(marks, marks[1:]) if name]
print(json.dumps({"start": marks[0][1] - started, "steps": steps, "end": marks[-1][1]}), flush=True)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a trial of some seconds with a tiny model")
    parser.add_argument("--rounds", type=int, help="fresh runs of each (default 21)")
    parser.add_argument("--large", type=int, help="images of the large catalog (default 100,000; 0: none)")
    options = parser.parse_args()
    rounds = options.rounds or (3 if options.quick else 21)
    small = 200 if options.quick else 1000
    large = options.large if options.large is not None else (0 if options.quick else 100_000)
    machine.title(f'Cold query "{QUERY}": median of {rounds} fresh processes each, in turns')
    with machine.workplace() as folder:
        model = (
            machine.apart(machine.tiny_model, folder)
            if options.quick
            else machine.apart(machine.random_model)
        )
        name = "tiny CLIP" if options.quick else "ViT-B/32"
        specs = {"starter": "starter", name: model}
        catalogs: dict[tuple[str, int], Path] = {}
        for count in filter(None, (small, large)):
            for label, spec in specs.items():
                place = folder / f"{label.partition('/')[0].replace(' ', '-')}-{count}" / "catalog"
                place.parent.mkdir()
                machine.apart(machine.fill_catalog, place, spec, count)
                catalogs[label, count] = place
        with Results("query", "A cold query", command="python benchmarks/query.py") as results:
            whole(catalogs, rounds, results)
            for count in filter(None, (small, large)):
                steps: dict[str, dict[str, float]] = {}
                for label in specs:
                    for step, seconds in anatomy(named(label, count), catalogs[label, count], rounds).items():
                        steps.setdefault(step, {})[label] = 1000 * seconds
                results.bars(f"Where a cold query over {count:,} images goes", steps, unit="ms")


def named(model: str, count: int) -> str:
    return f"{model}, {count:,} images"


def whole(catalogs: dict[tuple[str, int], Path], rounds: int, results: Results) -> None:
    bare = f'python -c "{BARE}"'
    calls = {bare: machine.python(BARE)}
    for (model, count), place in catalogs.items():
        calls[named(model, count)] = machine.command("find", QUERY, "--json", "--catalog", place)
    costs = machine.in_turns(calls, rounds)
    middles = {label: machine.middle(taken) for label, taken in costs.items()}
    rows = [
        [
            label,
            f"{cost.wall:.3f}",
            f"{min(one.wall for one in costs[label]):.3f}",
            f"{cost.cpu:.3f}",
            f"{cost.wall / middles[bare].wall:.2f}",
            machine.mebibytes(cost.peak),
        ]
        for label, cost in middles.items()
    ]
    machine.table(["", "wall s", "best", "CPU s", "ratio", "peak"], rows)
    walls: dict[str, dict[str, float]] = {}
    for model, count in catalogs:
        wall = middles[named(model, count)].wall
        budget = next((seconds for most, seconds in BUDGETS if count <= most), None)
        results.judge(named(model, count), wall, at_most=budget, unit="s")
        walls.setdefault(model, {})[f"{count:,} images"] = wall
    print(flush=True)
    results.bars("A cold query, the whole command", walls, unit="s")


def anatomy(label: str, place: Path, rounds: int) -> dict[str, float]:
    """Medians of each step, and of what lies between the last step and the process being gone."""
    taken: dict[str, list[float]] = {}
    for _ in range(rounds):
        call = machine.python(STEPS, repr(time.perf_counter()), str(place), QUERY)
        _, output = machine.run(call)
        end = time.perf_counter()
        said = json.loads(output.splitlines()[-1])
        taken.setdefault("start the interpreter", []).append(said["start"])
        for step, seconds in said["steps"]:
            taken.setdefault(step, []).append(seconds)
        taken.setdefault("end the process", []).append(end - said["end"])
    middles = {step: median(seconds) for step, seconds in taken.items()}
    total = sum(middles.values())
    rows = [[step, f"{1000 * seconds:.1f}", f"{seconds / total:.0%}"] for step, seconds in middles.items()]
    machine.table([f"anatomy: {label}", "ms", ""], [*rows, ["all of it", f"{1000 * total:.1f}", ""]])
    return middles


if __name__ == "__main__":
    main()
