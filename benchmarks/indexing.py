"""Indexing end to end against the machine's limit and the encoder alone, and how true the pixels are.

    python benchmarks/indexing.py [--quick] [--images N] [--photos FOLDER] [--model SPEC]...

The limit is `cores / (decode + 1 / encoder)`, all of it measured in the same run: decode is the processor
time that one thread takes from a file to the encoder's pixels, encoder what one thread encodes a second.
The budgets, with a ViT-B/32 (random weights: speed does not depend on them): at least 0.97 of the limit in
fp32 over photos of about 500x375 and of 12 megapixels; with int8 at least 0.93 and 0.88. That is the steady
rate: once the first photos are through, and while there are more to load. "at 1,000" counts also what does
not grow with the photos (starting processes, loading the model, the cache of vectors), once.

Beside that, at 1,000 small photos: at least 0.90 of what the best runtime does with the same network whose
pixels lie ready in memory, and with the starter at least 0.75 of its network alone. Both sides run in
turns, so that drift of the machine meets both.

The product's pixels against open_clip's own transform: a mean cosine of at least 0.9995.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import line
import machine
from cosines import cosines
from outcomes import Results

CLIP_BUDGET, STARTER_BUDGET, COSINE_BUDGET = 0.90, 0.75, 0.9995
SHARES = {("fp32", "small"): 0.97, ("fp32", "large"): 0.97, ("int8", "small"): 0.93, ("int8", "large"): 0.88}
STARTERS = ("starter:lite2-normal", "starter:lite2-fast")
INT8 = "@int8"
LARGE = (4000, 3000)
NAMES = {"small": "500 × 375", "large": "12 megapixels"}
DRAWN = 12
"""Different large photos; the others are these with a few bytes behind the picture."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a trial of some seconds with a tiny model")
    parser.add_argument("--images", type=int, help="small photos to index (default 300)")
    parser.add_argument("--large", type=int, help="photos of 12 megapixels to index (default 200)")
    parser.add_argument("--photos", type=Path, help="take real photos of this folder, not drawn small ones")
    parser.add_argument("--rounds", type=int, help="end-to-end runs of each model (default 3)")
    parser.add_argument(
        "--model", action="append", help="default: ViT-B/32, its int8, two modes of the starter"
    )
    options = parser.parse_args()
    counts = {
        "small": options.images or (64 if options.quick else 300),
        "large": options.large or (48 if options.quick else 200),
    }
    rounds = options.rounds or (1 if options.quick else 3)
    machine.title(f"Indexing end to end, median of {rounds} runs in turns with the encoder alone")
    results = Results("indexing", "Indexing end to end", command="python benchmarks/indexing.py")
    with machine.workplace() as folder:
        photos = {size: folder / size for size in counts}
        counts["small"] = machine.apart(gather, photos["small"], counts["small"], options.photos)
        machine.apart(write_large, photos["large"], counts["large"])
        for size, place in photos.items():
            kilobytes = sum(path.stat().st_size for path in place.iterdir()) / counts[size] / 1000
            results.note(f"photos, {NAMES[size]}", f"{counts[size]}, {kilobytes:.0f} kB each")
        clip = (
            machine.apart(machine.tiny_model, folder)
            if options.quick
            else machine.apart(machine.random_model)
        )
        models = {"ViT-B/32, fp32": clip}
        refused = machine.apart(make_int8, clip + INT8)
        if refused:
            results.note("int8", f"not measured: {refused}")
        else:
            models["ViT-B/32, int8"] = clip + INT8
        models |= {name: name for name in STARTERS}
        if options.model:
            models = {spec: spec for spec in options.model}
        elif options.quick:
            models = {"ViT-B/32, fp32": clip, STARTERS[1]: STARTERS[1]}
        judge_loading(results, clip, photos)
        rows = {}
        for label, spec in models.items():
            for size, place in photos.items():
                if (label, size) == (STARTERS[0], "large"):
                    continue
                row = rows[label, size] = machine.apart(line.measure, spec, place, folder / "catalog", rounds)
                judge(results, label, size, row)
        show(rows)
        if clip in models.values():
            found = machine.apart(cosines, clip, photos["small"], photos["large"], 2 if options.quick else 8)
            judge_cosines(results, found)
        results.bars(
            "Indexing as a share of the machine's limit",
            {
                label: {NAMES[size]: rows[label, size].share for size in NAMES if (label, size) in rows}
                for label in models
                if all((label, size) in rows for size in NAMES)
            },
        )
        results.close()


def judge(results: Results, label: str, size: str, row: line.Row) -> None:
    """A tiny network proves nothing about the budgets of a large one, so a quick run only tells."""
    what = f"{label}, {NAMES[size]}"
    share = SHARES.get((label.rpartition(", ")[2], size)) if not results.quick else None
    results.judge(f"share of the limit, {what}", row.share, at_least=share)
    results.judge(f"the same at 1,000, {what}", row.share_at_whole)
    if size == "small":
        least = {"starter": STARTER_BUDGET, "ViT-B/32, fp32": CLIP_BUDGET}.get(label.partition(":")[0])
        results.judge(
            f"at 1,000, to the network alone, {what}",
            row.ratio,
            at_least=None if results.quick else least,
        )
    results.note(f"images a second, {what}", f"{row.steady:.2f} of {row.limit:.2f}")
    ways = "; ".join(f"{name} {rate:.2f}/s" for name, rate in row.runtimes.items())
    results.note(f"network alone, {what}", ways)
    if row.others > 0.1:
        results.note(f"disturbed, {what}", f"other programs kept {row.others:.2f} cores busy: run it again")


def judge_loading(results: Results, spec: str, photos: dict[str, Path]) -> None:
    """The limit counts the product's own loading, so that has to be as good as any."""
    for size, place in photos.items():
        ours, theirs = machine.apart(line.loaders, spec, place)
        results.judge(f"loading one photo, {NAMES[size]}", 1000 * ours, unit="ms")
        results.judge(f"the same by Pillow alone, {NAMES[size]}", 1000 * theirs, unit="ms")


def judge_cosines(results: Results, found: dict[str, tuple[int, float, float, float]]) -> None:
    for label, (count, mean, least, centred) in found.items():
        what = f"cosine with open_clip's pixels, {count} photos, {label}"
        results.judge(f"{what}: mean", mean, at_least=COSINE_BUDGET)
        results.note(what, f"least {least:.5f}, least without what is common to all {centred:.5f}")


def show(rows: dict[tuple[str, str], line.Row]) -> None:
    print()
    head = [
        "images a second",
        "alone",
        "limit",
        "steady",
        "share",
        "whole",
        "fixed s",
        "at 1,000",
        "share",
        "ratio",
    ]
    machine.table(
        head,
        [
            [
                f"{label}, {NAMES[size]}",
                *(f"{figure:.2f}" for figure in (row.alone, row.limit, row.steady)),
                f"{row.share:.3f}",
                *(f"{figure:.2f}" for figure in (row.whole, row.fixed, row.at_whole)),
                f"{row.share_at_whole:.3f}",
                f"{row.ratio:.3f}",
            ]
            for (label, size), row in rows.items()
        ],
    )
    machine.table(
        ["CPU ms an image", "decode", "encode", "both", "end to end", "cores alone", "cores", "others"],
        [
            [
                f"{label}, {NAMES[size]}",
                *(
                    f"{1000 * seconds:.1f}"
                    for seconds in (row.decode, row.encode, row.decode + row.encode, row.work)
                ),
                *(f"{cores:.2f}" for cores in (row.cores_alone, row.cores, row.others)),
            ]
            for (label, size), row in rows.items()
        ],
    )


def gather(folder: Path, count: int, photos: Path | None) -> int:
    """Fill the folder, and say how many photos it holds; real ones are used once each."""
    if photos is None:
        machine.write_photos(folder, count)
        return count
    folder.mkdir()
    found = sorted(path for path in photos.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))[:count]
    if not found:
        raise SystemExit(f"There are no JPEG files in {photos}.")
    for number, path in enumerate(found):
        shutil.copy(path, folder / f"{number:05}.jpg")
    return len(found)


def write_large(folder: Path, count: int) -> None:
    """Photos of 12 megapixels: drawing one takes seconds, so few are drawn, but no two files are equal."""
    drawn = folder.with_name("drawn")
    machine.write_photos(drawn, min(DRAWN, count), LARGE)
    folder.mkdir()
    contents = [path.read_bytes() for path in sorted(drawn.iterdir())]
    for number in range(count):
        (folder / f"{number:05}.jpg").write_bytes(
            contents[number % len(contents)] + number.to_bytes(4, "big")
        )
    shutil.rmtree(drawn)


def make_int8(spec: str) -> str:
    """Make the int8 model if it is not there, whatever its quality; why that cannot be, else nothing."""
    from indexer.export import pull
    from retrieval.encoders import exports
    from retrieval.errors import RetrievalError

    try:
        found = exports.find_export(exports.parse_spec(spec))
        if found is None or found.problem is not None:
            pull(spec, untested=True)
    except RetrievalError as error:
        return str(error)
    return ""


if __name__ == "__main__":
    main()
