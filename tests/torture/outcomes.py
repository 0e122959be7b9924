"""What came of a fault that was put in again and again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(slots=True)
class Outcome:
    """What one fault cost. `lost`, `doubled` and `half` count pictures, and all have to be 0."""

    fault: str
    times: int = 0
    lost: int = 0
    doubled: int = 0
    half: int = 0
    """Rows that are there in part: without what belongs to them, or not as an undisturbed run has them."""
    wrong: list[str] = field(default_factory=list)
    """Everything else that broke a promise, a sentence each: a traceback, a wrong exit code, a hang."""
    recoveries: list[float] = field(default_factory=list)
    """Seconds until all was well again, for each time."""
    notes: list[str] = field(default_factory=list)
    """What should be known of how it was put in, a sentence each."""
    seconds: float = 0.0
    skipped: str = ""
    """Why it could not be put in on this machine."""

    @property
    def held(self) -> bool:
        return not (self.lost or self.doubled or self.half or self.wrong)

    @property
    def recovery(self) -> float:
        """The longest of the recoveries."""
        return max(self.recoveries, default=0.0)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def table(outcomes: Sequence[Outcome]) -> str:
    """The matrix as text, a fault a line."""
    head = ("fault", "times", "lost", "doubled", "half there", "wrong", "to recover", "took")
    lines = [head]
    for one in outcomes:
        if one.skipped:
            lines.append((one.fault, "-", "-", "-", "-", "-", "-", f"skipped: {one.skipped}"))
            continue
        lines.append(
            (
                one.fault,
                str(one.times),
                str(one.lost),
                str(one.doubled),
                str(one.half),
                str(len(one.wrong)),
                f"{one.recovery:.1f} s" if one.recoveries else "-",
                f"{one.seconds:.0f} s",
            )
        )
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    numbers = range(1, 7)
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column in numbers else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
