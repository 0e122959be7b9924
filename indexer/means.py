"""How many loading processes a run gets, and how much memory: what fits beside the model.

A machine that swaps is slower than one with fewer processes, by far. So what the person did not say is
chosen from what is free when the run begins.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from retrieval import config

if TYPE_CHECKING:
    from retrieval.protocols import Encoder

PROCESS_BYTES = 80 << 20
"""What a loading process holds besides the pictures: Python, the decoders, and what it keeps to use again."""
REST_BYTES = 300 << 20
"""What a run takes besides: its own program, batches at work in the model, rows, a database."""
MODEL_COPIES = 2.5
"""A model's file, its weights laid out for this processor, and what loading takes in between."""


@dataclass(frozen=True, slots=True)
class Means:
    """What a run works with; `note` says so where it is less than usual."""

    workers: int
    memory: int
    note: str = ""


def means_for(encoder: Encoder, *, workers: int | None = None, memory: int | None = None) -> Means:
    """What was asked for, and for the rest what is usual or, where less is free, what fits."""
    usual = config.cores()
    free = config.free_memory()
    if free is None:
        return Means(
            usual if workers is None else workers, config.default_memory() if memory is None else memory
        )
    left = max(0, free - REST_BYTES - model_bytes(encoder))
    if memory is None:
        memory = min(config.default_memory(), max(config.LEAST_MEMORY, left // 2))
    if workers is not None:
        return Means(workers, memory)
    workers = min(usual, max(1, (left - memory) // PROCESS_BYTES))
    if workers == usual:
        return Means(workers, memory)
    number = "one loading process" if workers == 1 else f"{workers} loading processes"
    note = (
        f"Only {_shown(free)} of memory is free: {number} instead of {usual}, "
        f"and {memory >> 20} MB for pictures at work."
    )
    return Means(workers, memory, note)


def model_bytes(encoder: Encoder) -> int:
    """What the image tower is going to take; 0 where it is loaded already, or small."""
    export: Any = getattr(encoder, "export", None)
    if export is None:
        return 0
    files = export.manifest.get("files", {})
    return int(MODEL_COPIES * sum(facts["size"] for name, facts in files.items() if name.startswith("image")))


def _shown(count: int) -> str:
    return f"{count / (1 << 30):.1f} GB" if count >= 1 << 30 else f"{count >> 20} MB"
