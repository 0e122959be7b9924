"""What an indexing run did."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class IndexReport:
    """Figures of one run.

    `failed` counts the files in the folders that cannot be read, also those known from
    earlier runs; `missing` those that this run found gone; `interrupted` says that the run
    was stopped early, with all that it committed kept.
    """

    added: int
    updated: int
    unchanged: int
    moved: int
    missing: int
    failed: int
    seconds: float
    images_per_second: float
    encoder: str | None
    interrupted: bool

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)
