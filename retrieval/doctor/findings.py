"""What an examination finds."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be, and what mends it.

    `kind` is one of: schema, database, rows, orphans, vectors, texts, words, encoders,
    model-switch, cache, thumbnails, failures, files, model.
    `mends` says whether `doctor --fix` takes care of it; otherwise `help` tells what does.
    """

    kind: str
    detail: str
    help: str
    mends: bool
    mended: bool = False

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def done(self) -> Finding:
        """The same, mended."""
        return replace(self, mended=True)
