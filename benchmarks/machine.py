"""What the benchmarks share: the machine, fresh processes timed in turns, and things to index.

Importing this imports nothing heavy: on Linux a child process's peak memory counts from what
its parent held when it was started.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from PIL import Image

    from retrieval.protocols import Encoder

T = TypeVar("T")

PACKAGES = ("numpy", "pillow", "onnxruntime", "torch", "open_clip_torch", "sqlalchemy", "click")
OWN_VARIABLES = ("SEARCH_CATALOG", "SEARCH_MODEL", "SEARCH_PREVIEW")
ARCHITECTURE = "ViT-B-32"
TYPICAL = (500, 375)


@dataclass(frozen=True, slots=True)
class Cost:
    """What one process took, with all the processes it waited for."""

    wall: float
    cpu: float
    peak: int
    """Bytes of resident memory at the most, of the largest single process."""


def title(what: str) -> None:
    """Say what is measured, on which machine and with which versions."""
    print(f"{what}\n{_machine()}\n{_versions()}\nload before the start: {_load()}\n", flush=True)


def _machine() -> str:
    from retrieval import config

    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    system = f"{platform.system()} {platform.release()}"
    return f"{config.cores()} cores of {_processor()}, {memory:.0f} GiB, {system}"


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _versions() -> str:
    named = [f"Python {platform.python_version()}"]
    for package in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            named.append(f"{package} {version(package)}")
    return ", ".join(named)


def _load() -> str:
    """How busy the machine was: figures of a busy one are worth little."""
    try:
        return " ".join(f"{value:.2f}" for value in os.getloadavg())
    except OSError:
        return "unknown"


@contextlib.contextmanager
def workplace() -> Iterator[Path]:
    """A temporary folder; meanwhile the person's own settings do not count and no hub is asked."""
    before = dict(os.environ)
    for name in OWN_VARIABLES:
        os.environ.pop(name, None)
    os.environ |= {"SEARCH_OFFLINE": "1", "HF_HUB_OFFLINE": "1"}
    try:
        with tempfile.TemporaryDirectory(prefix="search-bench-") as folder:
            yield Path(folder)
    finally:
        os.environ.clear()
        os.environ.update(before)


def command(*arguments: str | Path) -> list[str]:
    """A call of the installed `search`, as a person would make it."""
    script = Path(sys.executable).with_name("search.exe" if os.name == "nt" else "search")
    if not script.is_file():
        raise SystemExit(f"{script} is not there. Install the project: pip install --editable '.[dev]'")
    return [str(script), *map(str, arguments)]


def python(code: str, *arguments: str | Path) -> list[str]:
    return [sys.executable, "-c", code, *map(str, arguments)]


def run(call: Sequence[str], *, expect: int = 0) -> tuple[Cost, str]:
    """One fresh process: its cost, and what it wrote to its standard output."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        start = time.perf_counter()
        process = subprocess.Popen(call, stdout=out, stderr=err, stdin=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        if process.returncode != expect:
            said = err.read().decode("utf-8", "replace")
            raise SystemExit(f"{' '.join(call)[:300]} ended with {process.returncode}: {said}")
        unit = 1 if sys.platform == "darwin" else 1024
        return Cost(wall, used.ru_utime + used.ru_stime, used.ru_maxrss * unit), out.read().decode()


def in_turns(calls: Mapping[str, Sequence[str]], rounds: int) -> dict[str, list[Cost]]:
    """Run the calls in turns, so that drift of the machine meets all alike; the first round is dropped."""
    costs: dict[str, list[Cost]] = {name: [] for name in calls}
    for number in range(rounds + 1):
        for name, call in calls.items():
            cost, _ = run(call)
            if number:
                costs[name].append(cost)
    return costs


def middle(costs: Sequence[Cost]) -> Cost:
    """The median of each figure by itself."""
    return Cost(
        median(cost.wall for cost in costs),
        median(cost.cpu for cost in costs),
        int(median(cost.peak for cost in costs)),
    )


def apart(function: Callable[..., T], *arguments: Any) -> T:
    """The function's result from a process of its own, which takes its memory with it when it ends."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function, *arguments).result()


def verdict(good: bool) -> str:
    return "PASS" if good else "FAIL"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns, the first to the left and the others to the right."""
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    for row in [head, *rows]:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        print("  ".join(cells).rstrip())
    print(flush=True)


def mebibytes(count: float) -> str:
    return f"{count / (1 << 20):.0f} MiB"


def draw_photo(seed: int, size: tuple[int, int] = TYPICAL) -> Image.Image:
    """A picture that costs what a photo costs: soft light, a few things, and grain at every scale."""
    import numpy as np
    from PIL import Image, ImageDraw

    draw = np.random.default_rng(seed)
    width, height = size
    pixels = np.zeros((height, width, 3), np.float32)
    top_light, low_light = draw.uniform(40, 200, (2, 3)).astype(np.float32)
    pixels += np.linspace(top_light, low_light, height, dtype=np.float32)[:, None]
    for scale, strength in ((64, 30.0), (16, 16.0), (4, 9.0), (1, 7.0)):
        cells = (max(1, height // scale), max(1, width // scale))
        grain = Image.fromarray((128 + 40 * draw.standard_normal(cells)).clip(0, 255).astype(np.uint8))
        soft = grain.resize(size, Image.Resampling.BICUBIC)
        pixels += (np.asarray(soft, np.float32)[:, :, None] - 128) * (strength / 40)
    picture = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    pen = ImageDraw.Draw(picture)
    for _ in range(6):
        left, top = draw.integers(0, (width, height))
        wide, high = draw.integers(8, (max(9, width // 3), max(9, height // 3)))
        shape = pen.ellipse if draw.random() < 0.5 else pen.rectangle
        shape(
            (left, top, left + wide, top + high), fill=tuple(int(value) for value in draw.integers(0, 256, 3))
        )
    return picture


def write_photos(folder: Path, count: int, size: tuple[int, int] = TYPICAL, quality: int = 90) -> None:
    """Different drawn photos as JPEG files, upright and lying."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        shape = size if number % 4 else (size[1], size[0])
        draw_photo(number, shape).save(folder / f"{number:05}.jpg", quality=quality)


def random_model() -> str:
    """A real ViT-B/32 with random weights, exported; kept between runs in the model cache's neighbour."""
    from indexer.export import export
    from retrieval import config
    from tests.tiny_clip import random_checkpoint

    folder = config.model_cache().parent / "benchmarks"
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = folder / f"{ARCHITECTURE}.pt"
    spec = f"open_clip:{ARCHITECTURE}/{checkpoint}"
    if not checkpoint.is_file():
        random_checkpoint(ARCHITECTURE, folder / "partial.pt")
        (folder / "partial.pt").replace(checkpoint)
    from retrieval.encoders import exports

    if exports.find_export(exports.parse_spec(spec)) is None:
        export(spec)
    return spec


def tiny_model(folder: Path) -> str:
    """A model of a few layers, exported, for trials of the benchmarks themselves."""
    from indexer.export import export
    from tests.tiny_clip import tiny_spec

    spec = tiny_spec(folder / "tiny")
    export(spec)
    return spec


def fill_catalog(place: Path, spec: str, count: int) -> None:
    """A catalog of `count` rows whose vectors are those of a few drawn photos, each moved a little.

    Nothing of a search depends on where vectors come from, and encoding takes its time.
    """
    import numpy as np

    from indexer.export import encoder_for_indexing
    from retrieval import Catalog
    from retrieval.config import Location
    from retrieval.db.queries import Batch, NewImage, Vector, Writer

    encoder: Encoder = encoder_for_indexing(spec)
    seen = encoder.encode_prepared([encoder.preparer(draw_photo(seed)) for seed in range(8)])
    aux = seen.aux or [b""] * len(seen.vectors)
    draw = np.random.default_rng(0)
    root = place.with_name("pictures")
    root.mkdir(exist_ok=True)
    with Writer(Location.parse(place)) as writer:
        writer.add_roots([os.fsencode(root)])
        encoder_id = writer.add_encoder(key=encoder.id, spec=spec, dim=encoder.dim)
        for start in range(0, count, 1000):
            numbers = range(start, min(start + 1000, count))
            shift = draw.standard_normal((len(numbers), encoder.dim)) / encoder.dim**0.5
            vectors = seen.vectors[np.arange(len(numbers)) % len(aux)] + 0.5 * shift
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            batch = Batch()
            for number, row in zip(numbers, vectors.astype("<f2"), strict=True):
                values = _row(root / f"{number // 1000:03}" / f"{number:06}.jpg", number)
                batch.added.append(NewImage(values, Vector(row.tobytes(), aux[number % len(aux)])))
            writer.commit(batch, encoder_id=encoder_id)
        writer.activate(encoder_id, complete=True)
    with Catalog(place) as catalog:
        catalog.refresh()


def row_bytes(number: int) -> int:
    """How large the file of a made row is said to be."""
    return 60_000 + number


def row_time(number: int) -> int:
    """When it is said to have been changed, in nanoseconds."""
    return 1_700_000_000_000_000_000 + number


def _row(path: Path, number: int) -> dict[str, Any]:
    from dataclasses import asdict

    from retrieval.types import Metadata

    metadata = Metadata(
        "JPEG", *TYPICAL, taken_at=f"2024-05-{1 + number % 28:02}T12:00:00", taken_source="exif"
    )
    return {
        **asdict(metadata),
        "keywords": [],
        "path": os.fsencode(path),
        "size": row_bytes(number),
        "mtime_ns": row_time(number),
        "content_hash": number.to_bytes(32, "big"),
        "missing_at": None,
        "indexed_at": 1_700_000_000.0,
    }


def clear(folder: Path) -> Path:
    """A folder that is not there (any more)."""
    shutil.rmtree(folder, ignore_errors=True)
    return folder
