"""Indexing end to end against what the encoder alone does, and how true the preprocessing is.

    python benchmarks/indexing.py [--quick] [--images N] [--photos FOLDER] [--model SPEC]...

The budgets: over 1,000 photos of about 500x375, `index_folder` reaches at least 0.90 of what the
best runtime does with a ViT-B/32 (random weights: speed does not depend on them) whose pixels lie
ready in memory, and with the starter at least 0.75 of its network alone. Portions of both run in
turns, so that drift of the machine meets both. Fewer photos than 1,000 are measured by default;
what does not grow with them (starting processes, loading the model) is counted once in "at 1,000".

The product's pixels against open_clip's own transform: a mean cosine of at least 0.9995.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import machine

if TYPE_CHECKING:
    from retrieval.protocols import Encoder
    from retrieval.types import Prepared

CLIP_BUDGET, STARTER_BUDGET, COSINE_BUDGET = 0.90, 0.75, 0.9995
STARTERS = ("starter:lite2-normal", "starter:lite2-fast")
TINY = "tiny CLIP"
WHOLE = 1000
LARGE = (4000, 3000)
SETTLED = 0.2
"""The share of a run after which its rate counts as steady."""


@dataclass(slots=True)
class Runtime:
    """One way to run a network over pixels in memory."""

    name: str
    encode: Callable[[Sequence[Prepared]], Any]
    batch: int
    parallel: int

    def seconds(self, pixels: Sequence[Prepared]) -> float:
        batches = [pixels[start : start + self.batch] for start in range(0, len(pixels), self.batch)]
        with ThreadPoolExecutor(self.parallel) as pool:
            began = time.perf_counter()
            list(pool.map(self.encode, batches))
            return time.perf_counter() - began


@dataclass(slots=True)
class Clock:
    """Hears an indexing run's progress and tells its steady rate."""

    heard: list[tuple[float, int]] = field(default_factory=list)

    def __call__(self, step: str, figures: dict[str, Any]) -> None:
        if step == "advance":
            self.heard.append((time.perf_counter(), figures["done"]))

    def rate(self, total: int) -> float:
        settled = [moment for moment in self.heard if moment[1] >= SETTLED * total]
        (began, before), (ended, done) = settled[0], settled[-1]
        return (done - before) / (ended - began)


@dataclass(frozen=True, slots=True)
class Row:
    """Medians for one model; rates in images a second, work in processor milliseconds an image."""

    alone: float
    whole: float
    steady: float
    fixed: float
    at_whole: float
    ratio: float
    budget: float
    work_alone: float
    work: float
    cores_alone: float
    cores: float
    others: float
    """Cores that other programs kept busy during the end-to-end runs: above 0.1, run again."""
    runtimes: dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a trial of some seconds with a tiny model")
    parser.add_argument("--images", type=int, help="photos to index (default 300)")
    parser.add_argument("--photos", type=Path, help="take real photos of this folder, not drawn ones")
    parser.add_argument("--rounds", type=int, help="end-to-end runs of each model (default 3)")
    parser.add_argument("--model", action="append", help="default: ViT-B/32 and two modes of the starter")
    options = parser.parse_args()
    count = options.images or (64 if options.quick else 300)
    rounds = options.rounds or (1 if options.quick else 3)
    machine.title(
        f"Indexing end to end: {count} photos, median of {rounds} runs in turns with the encoder alone"
    )
    with machine.workplace() as folder:
        photos = folder / "photos"
        count = machine.apart(gather, photos, count, options.photos)
        size = sum(path.stat().st_size for path in photos.iterdir()) / count / 1000
        print(f"{count} {'real' if options.photos else 'drawn'} photos, {size:.0f} kB each\n", flush=True)
        clip = (
            machine.apart(machine.tiny_model, folder)
            if options.quick
            else machine.apart(machine.random_model)
        )
        models = options.model or [clip, *(STARTERS[1:] if options.quick else STARTERS)]
        place = folder / "catalog"
        rows: dict[str, Row] = {}
        for spec in models:
            label = (TINY if options.quick else "ViT-B/32") if spec == clip else spec
            row = rows[label] = machine.apart(measure, spec, photos, place, rounds)
            ways = "; ".join(f"{name} {rate:.2f}/s" for name, rate in row.runtimes.items())
            print(f"{label}: ratio {row.ratio:.3f}; alone: {ways}", flush=True)
        show(rows)
        if clip in models:
            show_cosines(machine.apart(cosines, clip, photos, folder, 2 if options.quick else 8))


def show(rows: dict[str, Row]) -> None:
    print()
    head = ["images a second", "alone", "whole", "steady", "fixed s", "at 1,000", "ratio", "budget", ""]
    lines = []
    for label, row in rows.items():
        figures = [row.alone, row.whole, row.steady, row.fixed, row.at_whole]
        judged = [f"{row.ratio:.3f}", "", ""]
        if label != TINY:
            judged = [f"{row.ratio:.3f}", f"{row.budget:.2f}", machine.verdict(row.ratio >= row.budget)]
        lines.append([label, *(f"{figure:.2f}" for figure in figures), *judged])
    machine.table(head, lines)
    machine.table(
        ["CPU ms an image", "alone", "end to end", "more", "cores alone", "cores", "others"],
        [
            [
                label,
                f"{row.work_alone:.1f}",
                f"{row.work:.1f}",
                f"{row.work / row.work_alone - 1:.0%}",
                *(f"{cores:.2f}" for cores in (row.cores_alone, row.cores, row.others)),
            ]
            for label, row in rows.items()
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


def measure(spec: str, photos: Path, place: Path, rounds: int) -> Row:
    """The encoder alone over half of the photos before and half after each end-to-end run."""
    from indexer import index_folder
    from indexer.export import encoder_for_indexing
    from retrieval.images import load_image

    encoder = encoder_for_indexing(spec)
    prepare = encoder.preparer
    pixels = [prepare(load_image(path, wanted=prepare.wanted)) for path in sorted(photos.iterdir())]
    count, half = len(pixels), len(pixels) // 2
    runtimes = ways_to_run(spec, encoder)
    for runtime in runtimes:
        runtime.seconds(pixels[: runtime.batch * runtime.parallel])
    alone: dict[str, list[float]] = {runtime.name: [] for runtime in runtimes}
    work_alone: dict[str, list[float]] = {runtime.name: [] for runtime in runtimes}
    whole, steady, work, others = [], [], [], []
    for _ in range(rounds):
        first = [spent(runtime.seconds, pixels[:half]) for runtime in runtimes]
        busy, clock, before, began = machine_seconds(), Clock(), processor_seconds(), time.perf_counter()
        report = index_folder(machine.clear(place), photos, model=spec, progress=clock)
        whole.append(time.perf_counter() - began)
        work.append((processor_seconds() - before) / count)
        others.append((machine_seconds() - busy - work[-1] * count) / whole[-1])
        steady.append(clock.rate(count))
        if (report.added, report.failed) != (count, 0):
            raise SystemExit(f"Not every photo was indexed: {report}")
        second = [spent(runtime.seconds, pixels[half:]) for runtime in runtimes]
        for runtime, one, other in zip(runtimes, first, second, strict=True):
            alone[runtime.name].append(count / (one[0] + other[0]))
            work_alone[runtime.name].append((one[1] + other[1]) / count)
    machine.clear(place)
    runs = list(zip(whole, steady, strict=True))
    at_whole = [WHOLE / (seconds + (WHOLE - count) / rate) for seconds, rate in runs]
    best = max(alone, key=lambda name: median(alone[name]))
    return Row(
        alone=median(alone[best]),
        whole=count / median(whole),
        steady=median(steady),
        fixed=median(seconds - count / rate for seconds, rate in runs),
        at_whole=median(at_whole),
        ratio=median(ours / theirs for ours, theirs in zip(at_whole, alone[best], strict=True)),
        budget=STARTER_BUDGET if spec.startswith("starter") else CLIP_BUDGET,
        work_alone=1000 * median(work_alone[best]),
        work=1000 * median(work),
        cores_alone=median(work_alone[best]) * median(alone[best]),
        cores=median(work) * count / median(whole),
        others=median(others),
        runtimes={name: median(rates) for name, rates in alone.items()},
    )


def spent(function: Callable[[Sequence[Prepared]], float], pixels: Sequence[Prepared]) -> tuple[float, float]:
    """What the function says it took, and the processor seconds meanwhile."""
    before = processor_seconds()
    return function(pixels), processor_seconds() - before


def processor_seconds() -> float:
    """Of this process and of all that it has waited for."""
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(used.ru_utime + used.ru_stime for used in both)


def machine_seconds() -> float:
    """Processor seconds of everything on this machine; 0 where that cannot be told."""
    try:
        user, nice, system, _, _, irq, soft, steal = Path("/proc/stat").read_text().split()[1:9]
    except OSError:
        return 0.0
    return sum(map(int, (user, nice, system, irq, soft, steal))) / os.sysconf("SC_CLK_TCK")


def ways_to_run(spec: str, encoder: Encoder) -> list[Runtime]:
    """As the product runs it, and the other ways that could be quicker."""
    import numpy as np

    from retrieval import config

    cores = config.cores()
    ways = [Runtime("as indexing runs it", encoder.encode_prepared, encoder.batch_size, encoder.parallel)]
    if spec.startswith("starter"):
        from retrieval.encoders.efficientnet import open_network
        from retrieval.encoders.starter import DEFAULT, VIEWS_A_RUN

        variant = spec.partition(":")[2] or DEFAULT
        network = open_network(variant.partition("-")[0])

        def bare(batch: Sequence[Prepared]) -> None:
            views = np.concatenate([item.pixels for item in batch])
            for start in range(0, len(views), VIEWS_A_RUN):
                network.run(None, {"pixels": views[start : start + VIEWS_A_RUN]})

        ways.append(Runtime("network only", bare, encoder.batch_size, cores))
    elif getattr(encoder, "runtime", "") == "onnx":
        from retrieval.encoders import exports

        found = exports.find_export(exports.parse_spec(spec))
        assert found is not None
        wide = one_session(found.folder / "image.onnx", cores)
        ways.append(Runtime(f"one session, {cores} threads", wide, encoder.batch_size, 1))
    return ways


def one_session(path: Path, threads: int) -> Callable[[Sequence[Prepared]], Any]:
    """ONNX Runtime's own way: one batch at a time, spread over the cores."""
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda batch: session.run(None, {"pixels": np.concatenate([item.pixels for item in batch])})


def cosines(spec: str, photos: Path, folder: Path, large: int) -> dict[str, tuple[int, float, float, float]]:
    """For small photos and large ones: how many, and the cosines with open_clip's own preprocessing.

    The mean, the least, and the least after the mean vector was taken from all: a network with
    random weights gives all pictures similar vectors, and what is common to all proves nothing.
    """
    import numpy as np
    from PIL import Image

    from indexer.export import encoder_for_indexing
    from retrieval.images import load_image
    from retrieval.types import Prepared

    encoder, transform = encoder_for_indexing(spec), theirs(spec)
    machine.write_photos(folder / "large", large, LARGE)
    groups = {
        "small": sorted(photos.iterdir())[:100],
        "12 megapixels, drawn": sorted((folder / "large").iterdir()),
    }
    pairs = {}
    for label, paths in groups.items():
        ours, reference = [], []
        for path in paths:
            ours.append(encoder.preparer(load_image(path, wanted=encoder.preparer.wanted)))
            with Image.open(path) as image:
                reference.append(Prepared(transform(image)[None]))
        pairs[label] = (encode(encoder, ours), encode(encoder, reference))
    centre = np.concatenate([reference for _, reference in pairs.values()]).mean(0)
    found = {}
    for label, (mine, reference) in pairs.items():
        plain = (mine * reference).sum(1)
        apart = [rows - centre for rows in (mine, reference)]
        apart = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in apart]
        centred = (apart[0] * apart[1]).sum(1)
        found[label] = (len(plain), float(plain.mean()), float(plain.min()), float(centred.min()))
    return found


def encode(encoder: Encoder, pixels: Sequence[Prepared]) -> Any:
    import numpy as np

    parts = range(0, len(pixels), encoder.batch_size)
    return np.concatenate(
        [encoder.encode_prepared(pixels[start : start + encoder.batch_size]).vectors for start in parts]
    )


def theirs(spec: str) -> Callable[[Any], Any]:
    """open_clip's own transform of this model, up to where it normalises colours: the product's
    network does that itself, and undoing it gives back whole numbers exactly.
    """
    import numpy as np
    import open_clip

    from retrieval.encoders import exports

    name = exports.parse_spec(spec)
    if name.arch.endswith(".json"):
        open_clip.add_model_config(Path(name.arch))
    _, _, transform = open_clip.create_model_and_transforms(Path(name.arch).stem, pretrained=name.source)
    normalise = transform.transforms[-1]

    def pixels(image: Any) -> Any:
        values = transform(image).numpy()
        mean, deviation = (np.array(figure)[:, None, None] for figure in (normalise.mean, normalise.std))
        return np.rint((values * deviation + mean) * 255).astype(np.uint8).transpose(1, 2, 0).copy()

    return pixels


def show_cosines(found: dict[str, tuple[int, float, float, float]]) -> None:
    head = ["cosine with open_clip's transform", "photos", "mean", "least", "least, centred", "budget", ""]
    machine.table(
        head,
        [
            [
                label,
                str(count),
                *(f"{figure:.5f}" for figure in (mean, least, centred)),
                f"{COSINE_BUDGET}",
                machine.verdict(mean >= COSINE_BUDGET),
            ]
            for label, (count, mean, least, centred) in found.items()
        ],
    )


if __name__ == "__main__":
    main()
