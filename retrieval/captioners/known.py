"""The local models that go by a short name, what they need, and what helps where one cannot be had.

Nothing here imports torch or transformers.
"""

from __future__ import annotations

from dataclasses import dataclass

from retrieval.checkpoints import Use


@dataclass(frozen=True, slots=True)
class Known:
    """A model with a short name; `weights` is how many numbers its publisher says it is made of."""

    alias: str
    repo: str
    weights: int


KNOWN = (
    Known("small", "HuggingFaceTB/SmolVLM-256M-Instruct", 256_000_000),
    Known("medium", "HuggingFaceTB/SmolVLM-500M-Instruct", 507_000_000),
    Known("better", "Qwen/Qwen2-VL-2B-Instruct", 2_210_000_000),
    Known("classic", "llava-hf/llava-1.5-7b-hf", 7_060_000_000),
)
DEFAULT = KNOWN[0]
BLIP = "Salesforce/blip-image-captioning-base"

_INSTEAD = "Use the built-in describer: search describe IMAGE --captioner describer"
LOCAL_USE = Use(
    instead=f"{_INSTEAD}, or the built-in answers: search ask QUESTION --answerer rules",
    named="search describe IMAGE --captioner local:./FOLDER",
    example=DEFAULT.repo,
    extra="vlm",
)
BLIP_USE = Use(
    instead=_INSTEAD,
    named="search describe IMAGE --captioner blip:./FOLDER",
    example=BLIP,
    extra="vlm",
)


def repository(name: str) -> str:
    """What a name after `local:` stands for: an alias's repository, the default, or the name itself."""
    return next((known.repo for known in KNOWN if known.alias == name), name) or DEFAULT.repo


def shown_bytes(count: float) -> str:
    """`14.1 GB`, `0.5 GB`, `663 KB`."""
    for unit, size in (("GB", 1e9), ("MB", 1e6)):
        if count >= size / 2:
            return f"{count / size:.1f} {unit}"
    return f"{count / 1e3:.0f} KB"
