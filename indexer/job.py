"""An indexing run, or the making of the map, in a process of its own, for servers: `python -m indexer.job`.

What to do comes as one JSON object on standard input, so that no address with a password is
in the list of processes; how it goes is told as JSON lines on standard output. SIGTERM ends
it in order, and so does the end of whoever reads.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from indexer import index_folder
from indexer.stopping import StopSignals
from retrieval import Catalog
from retrieval.errors import RetrievalError
from retrieval.journal import Log
from retrieval.journal.keeping import keep_by, show_warnings

if TYPE_CHECKING:
    from indexer import IndexReport
    from retrieval.atlas import MapReport

_log = Log("indexer.job")  # run as a program, its own name is another
OFTEN = 0.1
"""Seconds between two lines that only say how far it is."""
MAP_WAITS = 5
"""How much of the processor it leaves to others, as `nice` counts."""


class _Teller:
    """Writes the lines; once nobody reads them, the run is to end."""

    def __init__(self) -> None:
        # What libraries print is no line of ours.
        self._out = os.fdopen(os.dup(1), "w", encoding="utf-8", errors="replace")
        os.dup2(2, 1)
        self._last = 0.0
        self.unread = False

    def __call__(self, step: str, figures: dict[str, Any]) -> None:
        now = time.monotonic()
        if step == "advance" and now - self._last < OFTEN and figures["done"] != figures["total"]:
            return
        self._last = now
        self.line({"step": step, **figures})

    def line(self, row: dict[str, Any]) -> None:
        if self.unread:
            return
        try:
            self._out.write(json.dumps(row, default=str) + "\n")
            self._out.flush()
        except OSError:
            self.unread = True

    def close(self) -> None:
        with contextlib.suppress(OSError):  # what was left for a reader who is gone
            self._out.close()


def main() -> int:
    asked = json.loads(sys.stdin.readline())
    teller = _Teller()
    show_warnings(sys.stderr)
    try:
        keep_by(asked.get("log"))
        with StopSignals() as stop:
            report = _done(asked, teller, lambda: stop.is_set() or teller.unread)
    except RetrievalError as error:
        teller.line({"step": "error", "message": str(error)})
        return 1
    except Exception as error:
        # Not in its own words, which may be those of a file or of whoever asked.
        _log.failure(error, "job failed unexpectedly", kind=asked.get("kind"))
        name = type(error).__name__
        message = f"This went wrong in a way that is no fault of yours ({name}). The server's log says where."
        teller.line({"step": "error", "message": message})
        return 1
    else:
        teller.line({"step": "report", "report": report.as_dict()})
        return 0
    finally:
        teller.close()


def _done(asked: dict[str, Any], teller: _Teller, stopped: Callable[[], bool]) -> IndexReport | MapReport:
    if asked.get("kind") == "map":
        if hasattr(os, "nice"):
            os.nice(MAP_WAITS)  # nobody is kept waiting for it but by it
        with Catalog(asked["catalog"]) as catalog:
            return catalog.atlas.make(progress=teller, stopped=stopped)
    return index_folder(
        asked["catalog"],
        asked["paths"],
        retry=bool(asked["retry"]),
        accept_missing=bool(asked.get("accept_missing")),
        progress=teller,
        stopped=stopped,
    )


if __name__ == "__main__":
    sys.exit(main())
