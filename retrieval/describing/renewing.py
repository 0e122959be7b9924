"""Telling a catalog of pictures that were written to, so that nothing of them is made again."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from retrieval.db import reads
from retrieval.errors import CatalogBusy, CatalogError
from retrieval.types import clamped_ns

if TYPE_CHECKING:
    from retrieval.db.rewritten_writes import Rewritten
    from retrieval.describing.embed import Written
    from retrieval.state import State

PATIENCE = 5.0
"""Seconds at the end of a run that others who write to the catalog are waited for."""
ASKED_EVERY = 0.1


class Renewing:
    """Has the pictures of a catalog that were written to, until the catalog knows them as they are now."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._waiting: list[Rewritten] = []
        self.why = ""
        """Why the catalog could not be told of all, in a sentence."""

    def __len__(self) -> int:
        """Of how many pictures the catalog was not told."""
        return len(self._waiting)

    def add(self, picture: Path, written: Written) -> None:
        """A picture that was written to; one that the catalog has not, as it was, is no matter of it."""
        from retrieval.db.rewritten_writes import Rewritten

        paths = tuple({os.fsencode(picture), os.fsencode(written.path)})
        with self._state.snapshot():
            rows = [reads.file_at(self._state.reader, path) for path in paths]
        if any(row is not None and row.content_hash == written.before for row in rows):
            moment = clamped_ns(written.mtime_ns)
            self._waiting.append(Rewritten(paths, written.before, written.after, written.size, moment))
            self._tell()

    def finish(self) -> None:
        """Tell the catalog of the last ones too, as soon as nobody else writes to it."""
        until = time.monotonic() + PATIENCE
        while self._waiting and self._tell() and time.monotonic() < until:
            time.sleep(ASKED_EVERY)

    def _tell(self) -> bool:
        """Tell the catalog of all that it does not know; whether it may be asked again."""
        from retrieval.db.rewritten_writes import put_rewritten

        try:
            with self._state.writer() as writer:
                put_rewritten(writer, self._waiting)
        except CatalogError as error:
            self.why = str(error)
            return isinstance(error, CatalogBusy)
        self._waiting, self.why = [], ""
        return True
