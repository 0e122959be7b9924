"""Numbers that tell a cache what it has missed."""

from __future__ import annotations

import secrets
import time


def new_epoch() -> int:
    """A number that no state of this catalog had before."""
    return secrets.randbits(62)


def next_generation(current: int | None) -> int:
    """A number that grows and is never given twice, not even after a backup was restored."""
    return max(int(current or 0) + 1, time.time_ns() // 1000)
