"""What reranking gains and what it costs.

    python benchmarks/rerank.py DEV.json [--model SPEC]... [--pairs N] [--blip [FOLDER]] [--cost-only]

DEV.json is the development set of benchmarks/quality.py. Its photos are also pasted together,
two or four at a time, into a set of pictures with two things that a query names at once: for
each pair there is one picture with both things, and others with only one of them. Each model's
own order is compared with the order after a second look by `crops`.

Then 50 photos are reranked twice, the second time with the looks that were kept: by `crops`,
and with `--blip` by a BLIP of the usual size, with random weights unless FOLDER names others.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

import machine
import numpy as np
from quality import ndcg

from retrieval.images import load_image
from retrieval.protocols import Sample, SecondStage
from retrieval.registry import load_encoder
from retrieval.rerankers import load_reranker
from retrieval.rerankers.looks import LookCache
from retrieval.rerankers.rescoring import Picture, fused, rescored

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

    from retrieval.protocols import Encoder, Reranker

DEPTH = 50
SIDE = 300
LAYOUTS = ("side by side", "one in the other", "four quarters")
COMPOSED = ("comp", "attr")


@dataclass
class Library:
    """Pictures on disk with what a catalog would keep of them."""

    pictures: list[Picture]
    vectors: NDArray[np.float32]
    aux: list[bytes]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("dev", type=Path)
    parser.add_argument("--model", action="append", help="default: starter and starter:lite2-fast")
    parser.add_argument("--pairs", type=int, default=40, help="queries a layout")
    parser.add_argument("--blip", nargs="?", const="", metavar="FOLDER")
    parser.add_argument("--cost-only", action="store_true")
    options = parser.parse_args()
    machine.title("Reranking: what it gains and what it costs")
    data = json.loads(options.dev.read_text(encoding="utf-8"))
    photos = [options.dev.parent / data["images_dir"] / name for name in data["images"]]
    models = options.model or ["starter", "starter:lite2-fast"]
    with machine.workplace() as folder:
        for model in [] if options.cost_only else models:
            encoder = load_encoder(model)
            print(f"{model}: two things at once, {options.pairs} queries each (R@1, mean reciprocal rank)")
            two_things(encoder, photos, options.pairs, folder / model.replace(":", "-"))
            print(f"{model}: the development set (nDCG@10)")
            development_set(encoder, photos, data["queries"], folder / model.replace(":", "-"))
        print(f"{DEPTH} photos, one query: seconds")
        cost({name: load_reranker("crops", load_encoder(name)) for name in models}, photos, folder)
        if options.blip is not None:
            encoder = load_encoder("toy")
            blip = options.blip or str(random_blip(folder / "blip"))
            cost({"BLIP base": load_reranker(f"blip_itm:{blip}", encoder)}, photos, folder)


def two_things(encoder: Encoder, photos: list[Path], pairs: int, folder: Path) -> None:
    rows = []
    for layout in LAYOUTS:
        library, queries = compose(encoder, layout, photos, pairs, folder / layout.replace(" ", "-"))
        ranks = defaultdict(list)
        for text, wanted in queries:
            for name, order in orders(encoder, text, library, folder).items():
                ranks[name].append(1 + order.index(wanted))
        rows += [
            [f"{layout}, {name}", f"{fmean(r == 1 for r in got):.3f}", f"{fmean(1 / r for r in got):.3f}"]
            for name, got in ranks.items()
        ]
    machine.table(["layout, order", "R@1", "MRR"], rows)


def development_set(encoder: Encoder, photos: list[Path], queries: list[dict], folder: Path) -> None:
    library = indexed(encoder, photos)
    gains: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for query in queries:
        for name, order in orders(encoder, query["query"], library, folder).items():
            gain = ndcg([library.pictures[number].path.name for number in order], query["relevant"])
            gains[name]["all"].append(gain)
            gains[name]["composed" if query["kind"] in COMPOSED else "the others"].append(gain)
    kinds = ("all", "composed", "the others")
    counts = [len(next(iter(gains.values()))[kind]) for kind in kinds]
    head = ["order", *(f"{kind} ({count})" for kind, count in zip(kinds, counts, strict=True))]
    machine.table(
        head, [[name, *(f"{fmean(got[kind]):.3f}" for kind in kinds)] for name, got in gains.items()]
    )


def orders(encoder: Encoder, text: str, library: Library, folder: Path) -> dict[str, list[int]]:
    """The library in the model's order by each of its stages, alone and with a second look by crops."""
    query = encoder.encode_texts([text])[0]
    scores = library.vectors @ query
    chances = {"by the vectors": encoder.match(scores, scores)}
    if isinstance(encoder, SecondStage):
        sample = Sample(scores, library.aux)
        chances["and by its own second stage"] = encoder.look_again(text, query, scores, library.aux, sample)
    reranker = load_reranker("crops", encoder)
    looks = LookCache(folder, reranker.id)
    found = {}
    for name, chance in chances.items():
        order = np.lexsort((-scores, -chance))
        found[name] = order.tolist()
        top = order[:DEPTH]
        likely = np.clip(chance[top].astype(np.float64), 1e-9, 1 - 1e-9)
        second = rescored(reranker, text, [library.pictures[number] for number in top], looks=looks)
        best = top[fused(np.log(likely / (1 - likely)), second)]
        found[f"{name}, then crops"] = [*best.tolist(), *order[DEPTH:].tolist()]
    return found


def compose(
    encoder: Encoder, layout: str, photos: list[Path], pairs: int, folder: Path
) -> tuple[Library, list[tuple[str, int]]]:
    """Pasted pictures, and queries with the number of the one picture that has both things."""
    draw = random.Random(layout)
    folder.mkdir(parents=True)
    paths, queries = [], []
    for pair in range(pairs):
        one, other, *rest = draw.sample(photos, 7)
        sets = [[one, other, *rest[:2]], [one, rest[2], *rest[3:5]], [rest[2], other, *rest[:2]]]
        queries.append((f"a {thing(one)} and a {thing(other)}", len(paths)))
        for number, chosen in enumerate(sets):
            paths.append(folder / f"{pair:03}-{number}.jpg")
            pasted(layout, chosen, draw).save(paths[-1], quality=92)
    return indexed(encoder, paths), queries


def thing(photo: Path) -> str:
    """What a photo shows: its file is named n01443537_goldfish.JPEG."""
    return photo.stem.partition("_")[2].replace("_", " ")


def pasted(layout: str, photos: list[Path], draw: random.Random) -> Image.Image:
    from PIL import Image

    if layout == "four quarters":
        places = draw.sample([(0, 0), (SIDE, 0), (0, SIDE), (SIDE, SIDE)], 4)
        canvas = Image.new("RGB", (2 * SIDE, 2 * SIDE))
        for photo, place in zip(photos, places, strict=True):
            canvas.paste(filled(photo, SIDE, SIDE), place)
    elif layout == "side by side":
        split = round(2 * SIDE * draw.uniform(0.35, 0.65))
        canvas = Image.new("RGB", (2 * SIDE, round(1.3 * SIDE)))
        canvas.paste(filled(photos[0], split, canvas.height), (0, 0))
        canvas.paste(filled(photos[1], canvas.width - split, canvas.height), (split, 0))
    else:
        canvas = filled(photos[0], 2 * SIDE, round(1.4 * SIDE))
        side = round(canvas.height * draw.uniform(0.35, 0.55))
        place = (draw.randint(0, canvas.width - side), draw.randint(0, canvas.height - side))
        canvas.paste(filled(photos[1], side, side), place)
    return canvas


def filled(photo: Path, width: int, height: int) -> Image.Image:
    """The middle of a photo at a size of its own."""
    from PIL import ImageOps

    return ImageOps.fit(load_image(photo), (width, height))


def indexed(encoder: Encoder, paths: list[Path]) -> Library:
    vectors, aux, pictures = [], [], []
    for start in range(0, len(paths), encoder.batch_size):
        data = [path.read_bytes() for path in paths[start : start + encoder.batch_size]]
        encoded = encoder.encode_prepared([encoder.preparer(load_image(item)) for item in data])
        vectors.append(encoded.vectors)
        aux += encoded.aux
        pictures += [
            Picture(path, hashlib.sha256(item).digest())
            for path, item in zip(paths[start:], data, strict=False)
        ]
    return Library(pictures, np.concatenate(vectors), aux)


def cost(rerankers: dict[str, Reranker], photos: list[Path], folder: Path) -> None:
    pictures = [Picture(path, hashlib.sha256(path.read_bytes()).digest()) for path in photos[:DEPTH]]
    rows = []
    for name, reranker in rerankers.items():
        reranker.judge("a dog", reranker.look([load_image(photos[-1])]))  # loads the weights
        looks = LookCache(folder / "cost", reranker.id)
        seconds = []
        for text in ("two dogs in the snow", "a red car and a tree"):
            began = time.perf_counter()
            rescored(reranker, text, pictures, looks=looks)
            seconds.append(time.perf_counter() - began)
        kept = sum(path.stat().st_size for path in looks.folder.rglob("*.look"))
        rows.append(
            [
                f"{name} ({type(reranker).__name__})",
                *(f"{second:.2f}" for second in seconds),
                f"{seconds[0] / seconds[1]:.1f}",
                f"{kept / DEPTH / 1024:.0f} KiB",
            ]
        )
    machine.table(["model", "first query", "second query", "ratio", "kept a picture"], rows)


def random_blip(folder: Path) -> Path:
    """A checkpoint of BLIP base's size and shape, with random weights and the tests' small vocabulary."""
    from tests.tiny_blip import base_sized

    return base_sized(folder)


if __name__ == "__main__":
    main()
