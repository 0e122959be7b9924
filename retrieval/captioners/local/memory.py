"""How much memory a checkpoint's weights will take, and how much is free: known before loading."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from retrieval import config
from retrieval.captioners.known import shown_bytes
from retrieval.checkpoints import PICKLED, SAFE

if TYPE_CHECKING:
    from retrieval.checkpoints import Checkpoint

CPUINFO = Path("/proc/cpuinfo")
FAST_BF16 = {"avx512_bf16", "amx_bf16", "bf16"}
"""Processors without one of these only imitate bfloat16, at a speed nobody waits for."""
LONGEST_HEADER = 100 << 20


def choices(device: str) -> list[torch.dtype]:
    """The number formats to try on a device, the one we want most first."""
    if device == "cuda":
        # A card that only imitates bfloat16 does so at a crawl.
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return [torch.bfloat16 if native else torch.float16]
    if device == "mps":
        return [torch.float16]
    return [torch.float32, torch.bfloat16] if _computes_bf16() else [torch.float32]


def weight_count(found: Checkpoint) -> int | None:
    """How many numbers the weights are, from the heads of their files; None where these do not tell."""
    folder = found.folder
    try:
        if not found.safe:
            kept = json.loads((folder / "config.json").read_text("utf-8"))
            size = 2 if "16" in str(kept.get("torch_dtype") or kept.get("dtype")) else 4
            return sum(file.stat().st_size for file in _files(folder, PICKLED)) // size
        return sum(_counted(file) for file in _files(folder, SAFE))
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def free_memory(device: str) -> int | None:
    """Bytes that a model could take on a device now; None where the machine does not say."""
    if device == "cuda":
        with suppress(RuntimeError):
            return int(torch.cuda.mem_get_info()[0])
        return None
    free_here = config.free_memory()
    if free_here is not None:
        return free_here
    with suppress(AttributeError, ValueError, OSError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return None


def lacking(count: int, dtypes: list[torch.dtype], free: int) -> str:
    """Why a model is not even tried."""
    needs = [f"{shown_bytes(count * dtype.itemsize)} in {str(dtype).rpartition('.')[2]}" for dtype in dtypes]
    return (
        f"its weights alone take {' or '.join(needs)}, and {shown_bytes(free)} of memory are free; "
        "a smaller model is local:small"
    )


def _files(folder: Path, names: tuple[str, ...]) -> list[Path]:
    single, index = names
    if (folder / single).is_file():
        return [folder / single]
    shards = json.loads((folder / index).read_text("utf-8"))["weight_map"].values()
    return [folder / Path(name).name for name in sorted(set(shards))]


def _counted(file: Path) -> int:
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        if length > LONGEST_HEADER:
            raise ValueError(f"{file.name} has no head that can be read")
        head = json.loads(opened.read(length))
    return sum(prod(entry["shape"]) for name, entry in head.items() if name != "__metadata__")


def _computes_bf16() -> bool:
    with suppress(OSError, ValueError):
        for line in CPUINFO.read_text("utf-8", "replace").splitlines():
            if line.lower().startswith(("flags", "features")):
                return not FAST_BF16.isdisjoint(line.split())
    return False
