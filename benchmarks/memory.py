"""Memory while indexing, of the main process and all loading processes together.

    python benchmarks/memory.py [--quick] [--memory SIZE]... [--model SPEC]

The folder holds small photos, 12-megapixel JPEGs, pictures of 50 to 100 megapixels and
decompression bombs. The budget of `--memory` is for pictures in flight; what the processes take
without any is measured in a run over small photos alone, and subtracted. Samples are taken from
/proc, where a page that several processes share counts once (PSS); Linux only.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import struct
import subprocess
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import machine
from outcomes import Results

SIZES = ("256M", "512M", "default")
SMALL = 48
PAUSE = 0.01


@dataclass(slots=True)
class Samples:
    """Peaks over one run, in bytes."""

    total: int = 0
    loaders: int = 0
    """The most that all loading processes held at one moment."""
    failures: list[dict[str, str]] = field(default_factory=list)
    report: dict[str, float] = field(default_factory=dict)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a trial of some seconds: fewer large pictures")
    parser.add_argument("--memory", action="append", help=f"default: {', '.join(SIZES)}")
    parser.add_argument("--model", help="default: starter:lite2-fast; with --quick toy")
    options = parser.parse_args()
    if not Path("/proc/self/smaps_rollup").exists():
        print("Memory of a tree of processes is sampled from /proc, which this system does not have.")
        return
    model = options.model or ("toy" if options.quick else "starter:lite2-fast")
    machine.title(f"Memory while indexing with {model}: main process and loading processes together")
    with machine.workplace() as folder:
        idle, mixed = folder / "small", folder / "mixed"
        machine.apart(machine.write_photos, idle, SMALL)
        machine.apart(write_mixture, mixed, options.quick)
        for path in sorted(mixed.iterdir()):
            if not path.name.startswith("a-small"):
                print(f"  {path.name:36} {path.stat().st_size / 1e6:8.2f} MB")
        print(flush=True)
        rows, watched = [], []
        for size in options.memory or (SIZES[:1] if options.quick else SIZES):
            base = watch(idle, machine.clear(folder / "catalog"), model, size)
            found = watch(mixed, machine.clear(folder / "catalog"), model, size)
            rows.append(line(size, base, found))
            watched.append((size, base, found))
    head = ["--memory", "budget", "small only", "mixture", "more", "loaders more", "of budget", "seconds"]
    machine.table(head, rows)
    for size, _, found in watched:
        print(f"--memory {size}: {found.report['added']} indexed, {found.report['failed']} failed")
        for failure in found.failures:
            print(f"  {failure['reason']:12} {Path(failure['path']).name}: {failure['detail']}")
    print(flush=True)
    with Results("memory", "Memory while indexing", command="python benchmarks/memory.py") as results:
        results.note("model", model)
        for size, base, found in watched:
            share = more(base, found) / budget_of(size)
            results.judge(f"--memory {size}: pictures in work, share of it", share, at_most=1)
        held = {
            f"--memory {size}": {
                "small photos only": base.total / (1 << 20),
                "the mixture": found.total / (1 << 20),
            }
            for size, base, found in watched
        }
        results.bars("Memory while indexing, all processes", held, unit="MiB")


def more(base: Samples, found: Samples) -> int:
    """Bytes that a mixture takes more than small photos do."""
    # The main process may hold less than its most when the loaders hold theirs: both are judged.
    return max(found.total - base.total, found.loaders - base.loaders)


def line(size: str, base: Samples, found: Samples) -> list[str]:
    budget = budget_of(size)
    return [
        size,
        machine.mebibytes(budget),
        machine.mebibytes(base.total),
        machine.mebibytes(found.total),
        machine.mebibytes(found.total - base.total),
        machine.mebibytes(found.loaders - base.loaders),
        f"{more(base, found) / budget:.2f}",
        f"{found.report['seconds']:.1f}",
    ]


def budget_of(size: str) -> int:
    from retrieval import config

    return config.default_memory() if size == "default" else int(size[:-1]) << {"M": 20, "G": 30}[size[-1]]


def watch(folder: Path, catalog: Path, model: str, size: str) -> Samples:
    """Index a folder in a fresh process and sample its tree of processes until it ends."""
    limit = [] if size == "default" else ["--memory", size]
    call = machine.command("index", folder, "--catalog", catalog, "--model", model, *limit, "--json")
    samples = Samples()
    process = subprocess.Popen(call, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    while process.poll() is None:
        tree = family(process.pid)
        held = [proportional_bytes(pid) for pid in tree]
        samples.total = max(samples.total, sum(held))
        samples.loaders = max(samples.loaders, sum(held[1:]))
        time.sleep(PAUSE)
    assert process.stdout is not None
    output = process.stdout.read()
    process.stdout.close()
    if process.returncode:
        raise SystemExit(f"{' '.join(call)} ended with {process.returncode}")
    samples.report = json.loads(output)
    listed = machine.run(machine.command("failures", "--catalog", catalog, "--json"))[1]
    samples.failures = [json.loads(row) for row in listed.splitlines()]
    return samples


def family(pid: int) -> list[int]:
    """A process and all that descend from it, itself first."""
    parents: dict[int, int] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            # A process that ends while it is looked at is no longer of interest.
            with contextlib.suppress(OSError):
                fields = Path("/proc", name, "stat").read_text().rpartition(")")[2].split()
                parents[int(name)] = int(fields[1])
    found = [pid]
    for member in found:
        found += [child for child, parent in parents.items() if parent == member]
    return found


def proportional_bytes(pid: int) -> int:
    """Resident memory, with what is shared divided by those who share it."""
    with contextlib.suppress(OSError):
        for row in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if row.startswith("Pss:"):
                return int(row.split()[1]) << 10
    return 0


def write_mixture(folder: Path, quick: bool) -> None:
    """What a person's disk may hold, and what nobody should have put there."""
    from PIL import Image

    machine.write_photos(folder / "drawn", SMALL)
    for path in sorted((folder / "drawn").iterdir()):
        # They sort before the others: the model is loaded when the large ones come.
        path.rename(folder / f"a-small-{path.name}")
    (folder / "drawn").rmdir()
    base = machine.draw_photo(0, (1000, 750))

    def large(name: str, size: tuple[int, int], mode: str = "RGB", **settings: Any) -> None:
        picture = base.resize(size, Image.Resampling.NEAREST).convert(mode)
        picture.save(folder / name, **settings)

    for number in range(2 if quick else 8):
        progressive = number % 2 == 1
        large(f"camera-12mp-{number}.jpg", (4000, 3000 - number), quality=90, progressive=progressive)
    large("large-50mp.png", (8000, 6250), compress_level=1)
    large("large-100mp.jpg", (11550, 8660), quality=80)
    if not quick:
        large("large-50mp-alpha.png", (8000, 6251), "RGBA", compress_level=1)
        large("large-100mp-progressive.jpg", (11550, 8661), quality=80, progressive=True)
        large("large-50mp.webp", (8000, 6250), quality=60, method=0)
        large("large-24mp-lossless.webp", (6000, 4000), lossless=True, method=0, quality=0)
        large("large-50mp.tif", (8000, 6250), compression="tiff_lzw")
    for name, write in BOMBS.items():
        (folder / name).write_bytes(write())


def flat_webp(width: int, height: int) -> bytes:
    """A lossless WebP of one colour: each of its five prefix codes has one symbol, so pixels take no bits."""
    bits = 0x2F | (width - 1) << 8 | (height - 1) << 22 | 1 << 36
    at = 40 + 3  # alpha is used, version 0; then: no transform, no colour cache, one group of codes
    for _ in range(5):
        bits |= 1 << at  # a simple code: one symbol, of one bit, which is 0
        at += 4
    data = bits.to_bytes(at // 8 + 1, "little").ljust(16, b"\0")
    chunk = b"VP8L" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


def flat_png(width: int, height: int) -> bytes:
    """An RGB PNG of one colour, which deflates to a thousandth."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    squeeze = zlib.compressobj(1)
    row = bytes(1 + 3 * width)
    packed = b"".join(squeeze.compress(row) for _ in range(height)) + squeeze.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    ends = (chunk(b"IHDR", header), chunk(b"IDAT", packed), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(ends)


def huge_gif() -> bytes:
    """A header of 65535 x 65535 with hardly anything behind it."""
    screen = b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0x80, 0, 0) + bytes(6)
    return screen + b"," + struct.pack("<HHHHB", 0, 0, 65535, 65535, 0) + b"\x02\x02\x44\x01\x00;"


BOMBS: dict[str, Callable[[], bytes]] = {
    "bomb-81mp.webp": lambda: flat_webp(9000, 9000),
    "bomb-169mp.webp": lambda: flat_webp(13000, 13000),
    "bomb-225mp.png": lambda: flat_png(15000, 15000),
    "bomb-4295mp.gif": huge_gif,
}


if __name__ == "__main__":
    main()
