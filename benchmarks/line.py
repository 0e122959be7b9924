"""What `indexing.py` measures: a network alone, the loading alone, and the whole line, in turns.

The limit of a machine is `cores / (decode + 1 / encoder)`: processor seconds that one thread takes from
a photo's file to its pixels, and those that one thread of the encoder takes for it.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import machine

if TYPE_CHECKING:
    from retrieval.protocols import Encoder, Preparer
    from retrieval.types import Prepared

WHOLE = 1000
SETTLED = 0.2
"""The share of a run after which its rate counts as steady."""
SAMPLE_SECONDS = 1.0
"""How long loading alone is measured, before and after each run."""


@dataclass(slots=True)
class Runtime:
    """One way to run a network over pixels in memory."""

    name: str
    encode: Callable[[Sequence[Prepared]], Any]
    batch: int
    parallel: int

    def seconds(self, pixels: Sequence[Prepared], *, parallel: int | None = None) -> float:
        batches = [pixels[start : start + self.batch] for start in range(0, len(pixels), self.batch)]
        with ThreadPoolExecutor(parallel or self.parallel) as pool:
            began = time.perf_counter()
            list(pool.map(self.encode, batches))
            return time.perf_counter() - began


@dataclass(slots=True)
class Clock:
    """Hears an indexing run's progress and tells its steady rate.

    `ahead` is how many photos may be loaded and not encoded yet. The last ones of a run cost no loading
    any more while they are counted, so the steady part ends before them.
    """

    ahead: int
    heard: list[tuple[float, int]] = field(default_factory=list)

    def __call__(self, step: str, figures: dict[str, Any]) -> None:
        if step == "advance":
            self.heard.append((time.perf_counter(), figures["done"]))

    def rate(self, total: int) -> float:
        first = max(SETTLED * total, min(self.ahead, total // 3))
        last = max(total - self.ahead, 2 * total // 3)
        settled = [moment for moment in self.heard if first <= moment[1] <= last]
        (began, before), (ended, done) = settled[0], settled[-1]
        return (done - before) / (ended - began)


@dataclass(frozen=True, slots=True)
class Row:
    """Medians for one model and one folder; rates in images a second, work in processor seconds an image."""

    alone: float
    """The best way to run the network, on all cores, over pixels in memory."""
    limit: float
    share: float
    """Of the limit, at the steady rate."""
    share_at_whole: float
    whole: float
    steady: float
    fixed: float
    at_whole: float
    ratio: float
    """To the network alone, at 1,000."""
    decode: float
    encode: float
    work_alone: float
    work: float
    cores_alone: float
    cores: float
    others: float
    """Cores that other programs kept busy during the end-to-end runs: above 0.1, run again."""
    runtimes: dict[str, float]


def measure(spec: str, photos: Path, place: Path, rounds: int) -> Row:
    """The encoder alone over half of the photos before and half after each end-to-end run."""
    from indexer import index_folder
    from indexer.export import encoder_for_indexing
    from retrieval import config
    from retrieval.images import load_image

    encoder = encoder_for_indexing(spec)
    prepare = encoder.preparer
    paths = sorted(photos.iterdir())
    pixels = [prepare(load_image(path, wanted=prepare.wanted)) for path in paths]
    count, half, cores = len(pixels), len(pixels) // 2, config.cores()
    # All that may wait between a loading process and a committed row, at the most.
    ahead = 16 + 4 * cores + (encoder.parallel + 2) * encoder.batch_size
    runtimes = ways_to_run(spec, encoder)
    for runtime in runtimes:
        runtime.seconds(pixels[: runtime.batch * runtime.parallel])
    alone: dict[str, list[float]] = {runtime.name: [] for runtime in runtimes}
    work_alone: dict[str, list[float]] = {runtime.name: [] for runtime in runtimes}
    singly: dict[str, list[float]] = {runtime.name: [] for runtime in runtimes}
    whole, steady, work, others, decode = [], [], [], [], []
    for _ in range(rounds):
        first = [spent(runtime, pixels[:half]) for runtime in runtimes]
        loaded = loading_seconds(paths, prepare)
        single = [encoding_seconds(runtime, pixels) for runtime in runtimes]
        clock = Clock(ahead)
        busy, before, began = machine_seconds(), processor_seconds(), time.perf_counter()
        report = index_folder(machine.clear(place), photos, model=spec, progress=clock)
        whole.append(time.perf_counter() - began)
        work.append((processor_seconds() - before) / count)
        others.append((machine_seconds() - busy - work[-1] * count) / whole[-1])
        steady.append(clock.rate(count))
        if (report.added, report.failed) != (count, 0):
            raise SystemExit(f"Not every photo was indexed: {report}")
        decode.append((loaded + loading_seconds(paths, prepare)) / 2)
        second = [spent(runtime, pixels[half:]) for runtime in runtimes]
        for number, runtime in enumerate(runtimes):
            wall, used = first[number][0] + second[number][0], first[number][1] + second[number][1]
            alone[runtime.name].append(count / wall)
            work_alone[runtime.name].append(used / count)
            singly[runtime.name].append((single[number] + encoding_seconds(runtime, pixels)) / 2)
    machine.clear(place)
    runs = list(zip(whole, steady, strict=True))
    at_whole = [WHOLE / (seconds + (WHOLE - count) / rate) for seconds, rate in runs]
    best = max(alone, key=lambda name: median(alone[name]))
    encode = [min(singly[name][number] for name in singly) for number in range(rounds)]
    limits = [cores / sum(seconds) for seconds in zip(decode, encode, strict=True)]
    return Row(
        alone=median(alone[best]),
        limit=median(limits),
        share=median(rate / most for rate, most in zip(steady, limits, strict=True)),
        share_at_whole=median(rate / most for rate, most in zip(at_whole, limits, strict=True)),
        whole=count / median(whole),
        steady=median(steady),
        fixed=median(seconds - count / rate for seconds, rate in runs),
        at_whole=median(at_whole),
        ratio=median(ours / theirs for ours, theirs in zip(at_whole, alone[best], strict=True)),
        decode=median(decode),
        encode=median(encode),
        work_alone=median(work_alone[best]),
        work=median(work),
        cores_alone=median(work_alone[best]) * median(alone[best]),
        cores=median(work) * count / median(whole),
        others=median(others),
        runtimes={name: median(rates) for name, rates in alone.items()},
    )


def spent(runtime: Runtime, pixels: Sequence[Prepared]) -> tuple[float, float]:
    """How long the runtime took over the pixels, and the processor seconds meanwhile."""
    before = processor_seconds()
    return runtime.seconds(pixels), processor_seconds() - before


def encoding_seconds(runtime: Runtime, pixels: Sequence[Prepared]) -> float:
    """Processor seconds a photo takes where one batch is encoded at a time."""
    pixels = pixels[: 4 * runtime.batch]
    before = processor_seconds()
    runtime.seconds(pixels, parallel=1)
    return (processor_seconds() - before) / len(pixels)


def loading_seconds(paths: Sequence[Path], prepare: Preparer) -> float:
    """Processor seconds that one thread takes from a file to an encoder's pixels."""
    from retrieval.images import load_image

    began, done = time.thread_time(), 0
    while (passed := time.thread_time() - began) < SAMPLE_SECONDS:
        prepare(load_image(paths[done % len(paths)], wanted=prepare.wanted))
        done += 1
    return passed / done


def pillow_seconds(paths: Sequence[Path], prepare: Preparer) -> float:
    """The same by Pillow alone: its scaled decoding, and the same geometry after it."""
    from PIL import Image

    began, done = time.thread_time(), 0
    while (passed := time.thread_time() - began) < SAMPLE_SECONDS:
        with Image.open(paths[done % len(paths)]) as image:
            size = image.size
            image.draft("RGB", prepare.wanted(*size))
            image.load()
            picture = image.convert("RGB")
            picture.info = {
                "full_size": size,
                "reduced": image.decoderconfig[0] if image.decoderconfig else 1,
            }
        prepare(picture)
        done += 1
    return passed / done


def loaders(spec: str, photos: Path) -> tuple[float, float]:
    """Seconds a photo of the product's loading and of Pillow's, the lower of two each."""
    from indexer.export import encoder_for_indexing

    prepare, paths = encoder_for_indexing(spec).preparer, sorted(photos.iterdir())
    pairs = [(loading_seconds(paths, prepare), pillow_seconds(paths, prepare)) for _ in range(2)]
    return min(ours for ours, _ in pairs), min(theirs for _, theirs in pairs)


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
