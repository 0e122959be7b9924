"""Serving over standard input and output, where nothing but the protocol may be on the output."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from retrieval.mcp.server import LibraryServer

OUT, ERR = 1, 2


class Wire:
    """Standard output, kept free of all that is not protocol.

    From `guarded()` on, what anything prints, native code included, goes to standard error, to
    the very end of the process: what lies in a buffer is written then. Only inside `lent()` is
    the real output where the protocol's server looks for it; that diverts it again by itself.
    """

    def __init__(self) -> None:
        self._kept: int | None = None

    @contextlib.contextmanager
    def guarded(self) -> Iterator[None]:
        if sys.stdout is None or not _is_real(sys.stdout):
            yield  # called inside a program that has its own idea of an output
            return
        sys.stdout.flush()
        self._kept = os.dup(OUT)
        _divert()
        try:
            yield
        finally:
            os.close(self._kept)
            self._kept = None

    @contextlib.contextmanager
    def lent(self) -> Iterator[None]:
        if self._kept is None:
            yield
            return
        sys.stdout.flush()
        os.dup2(self._kept, OUT)
        try:
            yield
        finally:
            _divert()


def serve_stdio(server: LibraryServer, wire: Wire) -> None:
    """Serve until the input ends."""
    with wire.lent():
        asyncio.run(server.run_stdio_async())


def _divert() -> None:
    try:
        os.dup2(ERR, OUT)
    except OSError:  # there is no standard error
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, OUT)
        os.close(nowhere)


def _is_real(stream: object) -> bool:
    try:
        return stream.fileno() == OUT  # type: ignore[attr-defined,no-any-return]
    except (AttributeError, OSError, ValueError):
        return False
