"""Readers held against bytes that nobody wrote for them. `make fuzz`

Each harness is a module with one function, `one(data)`, which may raise nothing: what a reader refuses by
an error of ours is caught where it is called, and anything else is a finding. `SEEDS` are its first inputs
and `WORDS` what its format is made of. Inputs worth keeping lie in `seeds/<harness>/`; each is tried again
by `tests/test_fuzz.py`. `python -m tests.fuzz` looks for more.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from retrieval.errors import RetrievalError

HERE = Path(__file__).parent
SEEDS, FOUND, GROWN = HERE / "seeds", HERE / "found", HERE / "grown"
HARNESSES = (
    "pictures",
    "metadata",
    "packets",
    "queries",
    "filters",
    "texts",
    "evaluations",
    "alt_lists",
    "ignored",
    "imports",
    "caches",
    "api",
)


@dataclass(frozen=True, slots=True)
class Harness:
    """A reader, and what it is fed with first."""

    name: str
    one: Callable[[bytes], None]
    seeds: tuple[bytes, ...]
    words: tuple[bytes, ...]
    most: int
    """Bytes of the longest input."""

    @classmethod
    def load(cls, name: str) -> Harness:
        module = importlib.import_module(f"tests.fuzz.{name}")
        kept = sorted((SEEDS / name).glob("*"))
        return cls(
            name,
            module.one,
            (*module.SEEDS, *(path.read_bytes() for path in kept)),
            getattr(module, "WORDS", ()),
            getattr(module, "MOST", 4096),
        )


def told(error: RetrievalError) -> None:
    """Hold a refusal against what is promised of all: it says something, and can be written down."""
    assert str(error).strip()
    str(error).encode("utf-8", "surrogatepass")
