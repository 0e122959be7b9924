"""What an indexing run did."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from retrieval.types import Failure

if TYPE_CHECKING:
    from indexer.changes import Changes
    from indexer.embed import Counts
    from indexer.texts import TextCounts


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


def made_report(
    started: float,
    encoder: str | None,
    *,
    counts: Counts | None = None,
    words: TextCounts | None = None,
    planned: Changes | None = None,
    failures: tuple[Failure, ...] = (),
    interrupted: bool = False,
    held: int = 0,
) -> IndexReport:
    """The report of a run that did something (`counts`), or that only planned it."""
    seconds = time.monotonic() - started
    figures = {"added": 0, "updated": 0, "unchanged": 0, "moved": 0, "missing": 0, "failed": 0}
    rate = 0.0
    if planned is not None:
        figures.update(
            added=len(planned.new),
            updated=len(planned.changed),
            unchanged=planned.unchanged + len(planned.returned),
            missing=len(planned.gone),
            failed=len(planned.known_bad),
        )
    if counts is not None:
        interrupted = counts.interrupted
        rate = counts.encoded / counts.seconds if counts.seconds else 0.0
        figures.update(
            added=counts.added,
            updated=counts.updated,
            unchanged=counts.unchanged,
            moved=counts.moved,
            missing=counts.missing,
            failed=counts.failed,
        )
    return IndexReport(
        **figures,
        seconds=round(seconds, 3),
        images_per_second=round(rate, 2),
        encoder=encoder,
        interrupted=interrupted,
        failures=failures,
        texts=words.texts if words else 0,
        read=words.read if words else 0,
        held=held,
    )
