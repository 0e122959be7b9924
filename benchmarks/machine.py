"""What the benchmarks share: the machine, fresh processes timed in turns, and things to index.

Importing this imports nothing heavy: on Linux a child process's peak memory counts from what
its parent held when it was started.
"""

from __future__ import annotations

import contextlib
import hashlib
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
    import sqlite3

    from PIL import Image

    from retrieval.protocols import Encoder

T = TypeVar("T")

PACKAGES = ("numpy", "pillow", "onnxruntime", "torch", "open_clip_torch", "sqlalchemy", "click")
OWN_VARIABLES = ("SEARCH_CATALOG", "SEARCH_MODEL", "SEARCH_PREVIEW")
ARCHITECTURE = "ViT-B-32"
TYPICAL = (500, 375)
ANCHORS = 48
"""Drawn photos that made vectors lie around."""
CLUSTERS = 4096
AN_HOUR = 8
"""Made rows that follow each other in one cluster."""
PORTION = 10_000
A_FOLDER = 1000
"""Made rows in one folder."""
FIRST_DAY = 1_104_537_600
"""The first moment of 2005, in seconds since 1970."""
HOME = (48.14, 11.58)
PLACES = {0: (60.39, 5.32), 7: (64.14, -21.9), 11: (41.9, 12.5), 23: (35.68, 139.69)}
SIDES = ((4032, 3024), (3024, 4032), (4032, 3024), (6000, 4000), (1920, 1080), (3024, 3024), TYPICAL)
CAMERAS = (
    ("Apple", "iPhone 8"),
    ("Apple", "iPhone 13"),
    ("Canon", "EOS 80D"),
    ("NIKON", "D750"),
    ("SONY", "A7"),
)
RARE_CAMERA = ("Rare", "X1")
NOUNS = """
beach snow dog cat garden birthday mountain lake train harbour market bridge forest sunset bicycle kitchen
wedding river castle tower museum picnic boat horse flower concert desert island temple playground autumn rain
"""
WORDS = tuple(NOUNS.split())


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
    system = f"{platform.system()} {platform.release().partition('-')[0]}"
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


def random_model(architecture: str = ARCHITECTURE) -> str:
    """A real model, ViT-B/32 unless told, with random weights, exported; kept beside the model cache."""
    from indexer.export import export
    from retrieval import config
    from tests.tiny_clip import random_checkpoint

    folder = config.model_cache().parent / "benchmarks"
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = folder / f"{architecture}.pt"
    spec = f"open_clip:{architecture}/{checkpoint}"
    if not checkpoint.is_file():
        random_checkpoint(architecture, folder / "partial.pt")
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


def fill_catalog(place: Path, spec: str, count: int, *, tagged: bool = False) -> None:
    """A catalog of `count` rows that looks like a library of years; `tagged` gives a third of them tags.

    Nothing of a search depends on where vectors come from, and encoding takes its time: they are
    drawn around those of some drawn photos. The files are not there; see `write_files`.
    """
    fill_rows(place, spec, count, tagged=tagged)
    from retrieval import Catalog

    with Catalog(place) as catalog:
        catalog.refresh()


def fill_rows(place: Path, spec: str, count: int, *, tagged: bool = False) -> None:
    """The same without the cache of its vectors."""
    import sqlite3

    from retrieval.config import Location
    from retrieval.db.marks import next_generation
    from retrieval.db.queries import Writer

    root = place.with_name("pictures")
    root.mkdir(exist_ok=True)
    made = MadeRows(spec, root)
    with Writer(Location.parse(place)) as writer:
        writer.add_roots([os.fsencode(root)])
        encoder_id = writer.add_encoder(key=made.encoder.id, spec=spec, dim=made.encoder.dim)
        with contextlib.closing(sqlite3.connect(place / "catalog.db", isolation_level=None)) as connection:
            # A made catalog may be lost: what keeps a real one through a power cut is not waited for.
            for pragma in ("synchronous=OFF", "cache_size=-200000", "foreign_keys=OFF"):
                connection.execute(f"PRAGMA {pragma}")
            generation = 0
            for start in range(0, count, PORTION):
                generation = next_generation(generation)
                numbers = range(start, min(start + PORTION, count))
                connection.execute("BEGIN")
                _insert(connection, made, numbers, encoder_id, generation, tagged=tagged)
                connection.execute("COMMIT")
            connection.execute("UPDATE encoders SET generation = ?", (generation,))
        writer.activate(encoder_id, complete=True)


class MadeRows:
    """Rows and vectors of pictures that were never taken, each by its number.

    Vectors lie in clusters, as those of photos do: a few large and many small ones, around real
    vectors of drawn photos, wider along the ways in which these differ. A row comes with some
    neighbours of its cluster, as pictures of one hour do.
    """

    def __init__(self, spec: str, root: Path) -> None:
        import numpy as np

        from indexer.export import encoder_for_indexing

        self.root = root
        self.encoder: Encoder = encoder_for_indexing(spec)
        photos = (self.encoder.preparer(draw_photo(seed)) for seed in range(ANCHORS))
        seen = self.encoder.encode_prepared(list(photos))
        self.anchors = seen.vectors.astype(np.float32)
        self.aux = seen.aux or [b""] * ANCHORS
        draw = np.random.default_rng(0)
        self._ways = (self.anchors - self.anchors.mean(axis=0)) / ANCHORS**0.5
        centres = self.anchors[np.arange(CLUSTERS) % ANCHORS]
        self._centres = self._near(draw, centres, np.full((CLUSTERS, 1), 0.9, np.float32))
        self._spreads = draw.uniform(0.2, 0.6, (CLUSTERS, 1)).astype(np.float32)
        sizes = 1 / np.arange(1, CLUSTERS + 1)
        self._chances = sizes / sizes.sum()

    def vectors(self, numbers: range) -> tuple[list[bytes], list[bytes]]:
        """The stored vectors of some rows, and what stands beside each for the second stage."""
        import numpy as np

        draw = np.random.default_rng(numbers.start + 1)
        hours = draw.choice(CLUSTERS, len(numbers) // AN_HOUR + 1, p=self._chances)
        cluster = np.repeat(hours, AN_HOUR)[: len(numbers)]
        vectors = self._near(draw, self._centres[cluster], self._spreads[cluster]).astype("<f2")
        return [row.tobytes() for row in vectors], [self.aux[anchor % ANCHORS] for anchor in cluster]

    def _near(self, draw: Any, points: Any, spread: Any) -> Any:
        import numpy as np

        count, dim = points.shape
        moved = draw.standard_normal((count, ANCHORS), dtype=np.float32) @ self._ways
        moved += draw.standard_normal((count, dim), dtype=np.float32) * np.float32(0.3 / dim**0.5)
        moved *= spread
        moved += points
        moved /= np.linalg.norm(moved, axis=1, keepdims=True)
        return moved

    def batch(self, numbers: range) -> Any:
        """The same as a batch for `Writer.commit`."""
        from retrieval.db.queries import Batch, NewImage, Vector

        batch = Batch()
        for number, vector, aux in zip(numbers, *self.vectors(numbers), strict=True):
            values = made_row(row_path(self.root, number), number)
            batch.added.append(NewImage(values, Vector(vector, aux)))
        return batch


def _insert(
    connection: sqlite3.Connection,
    made: MadeRows,
    numbers: range,
    encoder_id: int,
    generation: int,
    *,
    tagged: bool,
) -> None:
    """What `Writer.commit` writes for new pictures, without what it looks up: a million take minutes less."""
    from retrieval.db.wording import KINDS, words_of
    from retrieval.types import checksum

    rows = [made_row(row_path(made.root, number), number) for number in numbers]
    ids = range(numbers.start + 1, numbers.stop + 1)  # ids follow the order of the rows
    plain = [{name: value for name, value in row.items() if name != "keywords"} for row in rows]
    columns = list(plain[0])
    marks = ", ".join("?" * (len(columns) + 2))
    connection.executemany(
        f"INSERT INTO images (id, {', '.join(columns)}, keywords) VALUES ({marks})",
        ((image_id, *row.values(), "[]") for image_id, row in zip(ids, plain, strict=True)),
    )
    connection.executemany(
        "INSERT INTO embeddings (encoder_id, image_id, vector, aux, checksum, generation) "
        "VALUES (?, ?, ?, ?, ?, ?)",
        (
            (encoder_id, image_id, vector, aux, checksum(vector, aux), generation)
            for image_id, vector, aux in zip(ids, *made.vectors(numbers), strict=True)
        ),
    )
    roots = [os.fsencode(made.root)]
    words = (words_of(row, (), roots) for row in rows)
    connection.executemany(
        f"INSERT INTO image_words (image_id, {', '.join(KINDS)}) VALUES (?, ?, ?, ?, ?)",
        ((image_id, *(said[kind] for kind in KINDS)) for image_id, said in zip(ids, words, strict=True)),
    )
    if tagged:
        connection.executemany(
            "INSERT INTO image_tags (image_id, tag, confidence, kept, source) VALUES (?, ?, 0.5, 1, 'model')",
            ((image_id, tag) for image_id in ids for tag in _tags(image_id)),
        )


def write_files(root: Path, count: int) -> None:
    """The files that made rows tell of: of their size and time, with nothing in them."""
    for number in range(count):
        path = row_path(root, number)
        if number % A_FOLDER == 0:
            os.makedirs(os.path.dirname(path), exist_ok=True)
        file = os.open(path, os.O_CREAT | os.O_WRONLY)
        os.ftruncate(file, row_bytes(number))
        os.utime(path if os.utime not in os.supports_fd else file, ns=(row_time(number), row_time(number)))
        os.close(file)


def row_path(root: Path, number: int) -> str:
    """Where the file of a made row is said to be."""
    return f"{root}/{number // A_FOLDER:03}/{number:06}.jpg"


def row_bytes(number: int) -> int:
    """How large the file of a made row is said to be."""
    return 60_000 + number


def row_time(number: int) -> int:
    """When it is said to have been changed, in nanoseconds."""
    return 1_700_000_000_000_000_000 + number


def made_row(path: str | os.PathLike[str], number: int) -> dict[str, Any]:
    """The columns of a picture of twenty years, in the order that they were taken in.

    Two thirds know where they were taken, most of these at home; a tenth is described.
    """
    mixed = number * 2_654_435_761 & 0xFFFFFFFF
    turn = mixed >> 16
    taken = FIRST_DAY + (mixed % 7300) * 86_400
    place = PLACES[turn % 50] if turn % 50 in PLACES else HOME if turn % 3 else None
    width, height = SIDES[turn % 7]
    make, model = CAMERAS[turn % len(CAMERAS)] if turn % 100 else RARE_CAMERA
    told = " ".join(WORDS[mixed >> shift & 31] for shift in (3, 8, 13, 18)) if number % 10 == 0 else None
    return {
        "path": os.fsencode(path),
        "size": row_bytes(number),
        "mtime_ns": row_time(number),
        "content_hash": hashlib.sha256(number.to_bytes(8, "big")).digest(),
        "missing_at": None,
        "indexed_at": 1_700_000_000.0,
        "format": "HEIF" if turn % 16 == 3 else "JPEG",
        "width": width,
        "height": height,
        "taken_at": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(taken + mixed % 86_400)),
        "taken_offset": None,
        "taken_source": "exif",
        "camera_make": make,
        "camera_model": model,
        "lens": None,
        "latitude": place[0] + (turn % 997 - 498) / 10_000 if place else None,
        "longitude": place[1] + (turn % 991 - 495) / 5_000 if place else None,
        "altitude": None,
        "title": None,
        "description": told,
        "keywords": [],
    }


def _tags(image_id: int) -> Iterator[str]:
    """Two tags for a third of the pictures, frequent and rare ones, and `one of a hundred`."""
    if image_id % 3 == 0:
        first = image_id.bit_length() + image_id % 7
        yield WORDS[first % 32]
        yield f"{WORDS[(first + 5) % 32]} {WORDS[image_id % 31]}"
    if image_id % 100 == 50:
        yield "one of a hundred"


def clear(folder: Path) -> Path:
    """A folder that is not there (any more)."""
    shutil.rmtree(folder, ignore_errors=True)
    return folder
