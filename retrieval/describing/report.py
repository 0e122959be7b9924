"""What came of describing a library."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


def go_on(left: int, *, again: bool) -> str:
    """How a run that was cut short is gone on with, when so many of its pictures are left."""
    if not again:
        return "the same command goes on from there."
    if left:
        return f"the same command with --limit {left} describes the rest anew."
    return "the same command without --again completes it."


@dataclass(frozen=True, slots=True)
class DescribeReport:
    """What came of describing a library.

    `described` pictures were looked at, `empty` of which have no caption for it, because none
    was offered or the matcher agreed with none. `unchanged` were described before, `failed`
    could not be, and `waiting` were not reached. Of the captions `offered`, `kept` were agreed
    with; without a `matcher` every one counts as kept.
    """

    described: int
    unchanged: int
    failed: int
    offered: int
    kept: int
    empty: int
    interrupted: bool
    captioner: str
    seconds: float
    waiting: int = 0
    matcher: str | None = None
    note: str = ""
    """What a person should know about the captioner, in a sentence."""

    @property
    def share(self) -> float | None:
        """The share of the captions offered that the matcher agreed with."""
        return self.kept / self.offered if self.offered and self.matcher else None

    def as_dict(self) -> dict[str, Any]:
        return {
            "described": self.described,
            "unchanged": self.unchanged,
            "failed": self.failed,
            "waiting": self.waiting,
            "offered": self.offered,
            "kept": self.kept,
            "share_kept": None if self.share is None else round(self.share, 4),
            "empty": self.empty,
            "captioner": self.captioner,
            "matcher": self.matcher,
            "seconds": self.seconds,
            "interrupted": self.interrupted,
            **({"note": self.note} if self.note else {}),
        }
