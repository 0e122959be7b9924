"""How often the built-in describer is right, and how fast it describes a library.

    python benchmarks/describe.py [DEV.json] [--right RIGHT.json] [--quick] [--pictures N]

DEV.json names a folder of photos (`images_dir`, relative to the file) whose file names begin with
the WordNet id of what they show (`n01443537_goldfish.JPEG`), of the thousand that the starter
knows. They are indexed under names that say nothing, and the thing that a description names first
is right where it is the class, one of its synonyms or one of its kinds. RIGHT.json adds to these
what was judged right by eye: {"spider_web": ["spider"]}. The photos are of the very classes that
the starter was trained on, so that these figures flatter.

The speed is that of `describe_library` over a catalog of vectors, whose files nobody opens: first
with the tags still to be made from the vectors, then with tags that are stored, as indexing does it.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import machine
from outcomes import Results

if TYPE_CHECKING:
    from retrieval import Catalog
    from retrieval.captioners.scenes import Part, Scene

# As the command line has it: a second thread would spin after every product of vectors.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

MODEL = "starter"
BANDS = ("A ...", "Probably ...", "Perhaps ...")
MORE_EXACT = (
    "..., a <name> after a thing",
    "..., probably a <name> after a thing",
    "..., perhaps a <name> after a thing",
)
SILENT = "that it does not know"
IDLE = "with nothing to do"
HEAD = ["run", "pictures", "seconds", "pictures/s"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "dev", type=Path, nargs="?", help="photos of known classes; without it only the speed"
    )
    parser.add_argument("--right", type=Path, help="other names that are right, by class")
    parser.add_argument("--quick", action="store_true", help="a trial of some seconds: 500 pictures")
    parser.add_argument("--pictures", type=int, help="pictures of the catalog described (default 2,000)")
    parser.add_argument("--misses", action="store_true", help="also list what was wrong")
    options = parser.parse_args()
    count = options.pictures or (500 if options.quick else 2_000)
    machine.title(f"The built-in describer, with the model '{MODEL}'")
    with Results("describe", "Describing", command="python benchmarks/describe.py") as results:
        measure(options, count, results)


def measure(options: argparse.Namespace, count: int, results: Results) -> None:
    if options.dev is not None:
        right = {} if options.right is None else json.loads(options.right.read_text(encoding="utf-8"))
        rows, misses = machine.apart(judge, options.dev, right)
        machine.table(["it says", "photos", "right", ""], rows)
        for miss in misses if options.misses else ():
            print(miss)
    with machine.workplace() as folder:
        machine.apart(machine.fill_catalog, folder / "catalog", MODEL, count)
        taken = machine.apart(hurry, folder / "catalog")
    rows = [
        [label, f"{done:,}", f"{seconds:.2f}", f"{done / seconds:,.0f}"]
        for label, (done, seconds) in taken.items()
    ]
    machine.table(HEAD, rows)
    speeds = {label: done / seconds for label, (done, seconds) in taken.items() if label != IDLE}
    for label, speed in speeds.items():
        results.judge(label, speed, unit="pictures/s")
    results.bars("Descriptions by the built-in describer", speeds, unit="pictures/s")


def judge(dev: Path, right: dict[str, list[str]]) -> tuple[list[list[str]], list[str]]:
    """How many photos the first thing is right for, by how surely it is said; and what was wrong."""
    from quality import anonymous

    from indexer import index_folder
    from retrieval import Catalog

    data = json.loads(dev.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory(prefix="search-bench-") as folder:
        called = anonymous(dev.parent / data["images_dir"], Path(folder) / "photos", data["images"])
        place = Path(folder) / "catalog"
        index_folder(place, Path(folder) / "photos", model=MODEL)
        with Catalog(place) as catalog:
            return counted(catalog, {other: name for name, other in called.items()}, right)


def counted(
    catalog: Catalog, own: dict[str, str], right: dict[str, list[str]]
) -> tuple[list[list[str]], list[str]]:
    from retrieval.captioners import phrases
    from retrieval.captioners.scenes import read_scene
    from retrieval.facts import catalog_facts

    catalog.describe_library(captioner="describer")
    captions = {one.image_id: one.caption for one in catalog.descriptions() if one.image_id is not None}
    said, good, misses = Counter[str](), Counter[str](), []
    classes = truths()
    for image_id, facts in catalog_facts(catalog.state, list(captions)).items():
        assert facts.path is not None
        number, _, name = own[facts.path.name].partition("_")
        name = Path(name).stem
        fitting = {phrases.as_thing(one) for one in {*classes[number], *right.get(name, ())}}
        scene = read_scene(facts)
        first = first_named(scene)
        if not first:
            said[SILENT] += 1
            continue
        assert first[0].words.casefold() in captions[image_id].casefold()
        label, hit = BANDS[first[0].band], any(part.words in fitting for part in first)
        said[label] += 1
        good[label] += hit
        if not hit:
            misses.append(f"{name}: {label} {' or '.join(part.words for part in first)}")
        if scene.named is not None:
            label = MORE_EXACT[scene.named.band]
            said[label] += 1
            good[label] += scene.named.words in fitting
    rows = [
        [label, str(said[label]), str(good[label]), f"{good[label] / said[label]:.1%}"]
        for label in (*BANDS, *MORE_EXACT)
        if said[label]
    ]
    return [*rows, [SILENT, str(said[SILENT]), "", ""]], misses


def first_named(scene: Scene) -> tuple[Part, ...]:
    """The thing that a description begins with, and what it may be instead."""
    if scene.things:
        return scene.things[0]
    return () if scene.alone is None else (scene.alone,)


def truths() -> dict[str, set[str]]:
    """What a photo of each class may be called, by WordNet id."""
    from retrieval.encoders.classes import DATA
    from retrieval.encoders.starter_names import _known

    rows = json.loads((DATA / "tables.json").read_text(encoding="utf-8"))["classes"]
    return {
        row["wnid"]: {name, *kinds, *row["syn"], *row["kind"]}
        for row, (name, kinds) in zip(rows, _known(), strict=True)
    }


def hurry(place: Path) -> dict[str, tuple[int, float]]:
    """How many pictures each run described, and in how many seconds."""
    from retrieval import Catalog

    runs: dict[str, dict[str, Any]] = {
        "without stored tags": {},
        "with stored tags": {"again": True},
        "the same, for screen readers": {"again": True, "style": "alt"},
        "the same, 3 candidates that filter themselves": {
            "again": True,
            "candidates": 3,
            "matcher": "encoder",
        },
        IDLE: {"style": "alt"},
    }
    taken = {}
    for label, more in runs.items():
        with Catalog(place) as catalog:
            if more:
                catalog.tags.update()
            report = catalog.describe_library(captioner="describer", **more)
        taken[label] = report.described + report.unchanged, report.seconds
    return taken


if __name__ == "__main__":
    main()
