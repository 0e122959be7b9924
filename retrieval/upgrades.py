"""Who is told that a catalog of an older version was upgraded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Upgrade:
    """A catalog that was brought to this version's schema, and where it is kept as it was before."""

    catalog: str
    before: str
    after: str
    backup: Path | None

    def __str__(self) -> str:
        kept = f"; as it was, it is kept in {self.backup}" if self.backup else ""
        return f"The catalog at {self.catalog} was upgraded from schema {self.before} to {self.after}{kept}."


listener: Callable[[Upgrade], None] | None = None
"""Set by a program that has somebody to tell: catalogs are upgraded wherever they are opened."""


def tell(upgrade: Upgrade) -> None:
    if listener is not None:
        listener(upgrade)
