"""What an indexing run did."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from retrieval.types import Failure


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
    failures: tuple[Failure, ...] = ()
    """What cannot be read below the folders of this run, by path."""
    texts: int = 0
    """Texts beside pictures that came, changed or went."""
    read: int = 0
    """Pictures whose text was read, where `ocr` asked for that."""
    held: int = 0
    """Pictures that are not there any more and were left as they are: too many of a folder at once."""

    def as_dict(self) -> dict[str, Any]:
        """The figures as the command line's JSON shows them."""
        figures = asdict(self)
        apart = ("failures", "texts", "read", "held")
        return {name: value for name, value in figures.items() if name not in apart}
