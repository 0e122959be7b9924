"""A cold query, as a whole process: how long, and where the time goes.

    python benchmarks/query.py [--quick]

The budget: `search find "a dog" --json` over 1,000 images takes at most 0.6 s of wall time on two
idle cores, with the starter and with an exported ViT-B/32 (random weights: speed does not depend
on them). Files are in the system's cache; everything else is cold. 100,000 images are measured
for information.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from statistics import median

import machine

BUDGET = 0.6
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
        catalogs: dict[str, Path] = {}
        for count in filter(None, (small, large)):
            for label, spec in specs.items():
                place = folder / f"{label.partition('/')[0].replace(' ', '-')}-{count}" / "catalog"
                place.parent.mkdir()
                machine.apart(machine.fill_catalog, place, spec, count)
                catalogs[f"{label}, {count:,} images"] = place
        whole(catalogs, rounds, informative=f"{large:,} images")
        for label, place in catalogs.items():
            anatomy(label, place, rounds)


def whole(catalogs: dict[str, Path], rounds: int, *, informative: str) -> None:
    calls = {f'python -c "{BARE}"': machine.python(BARE)}
    for label, place in catalogs.items():
        calls[label] = machine.command("find", QUERY, "--json", "--catalog", place)
    costs = machine.in_turns(calls, rounds)
    yard = machine.middle(next(iter(costs.values()))).wall
    rows = []
    for label, taken in costs.items():
        cost = machine.middle(taken)
        judged = label in catalogs and not label.endswith(informative)
        rows.append(
            [
                label,
                f"{cost.wall:.3f}",
                f"{min(one.wall for one in taken):.3f}",
                f"{cost.cpu:.3f}",
                f"{cost.wall / yard:.2f}",
                machine.mebibytes(cost.peak),
                f"{BUDGET}" if judged else "",
                machine.verdict(cost.wall <= BUDGET) if judged else "",
            ]
        )
    machine.table(["", "wall s", "best", "CPU s", "ratio", "peak", "budget", ""], rows)


def anatomy(label: str, place: Path, rounds: int) -> None:
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


if __name__ == "__main__":
    main()
