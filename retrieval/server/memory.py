"""The memory of a process that runs for weeks."""

from __future__ import annotations

import ctypes
import sys

M_ARENA_MAX = -8
"""The name of the setting in glibc's malloc.h."""


def one_arena() -> bool:
    """Have all threads share one heap, where the C library can be told; to be called before the first starts.

    By itself glibc gives threads up to eight heaps a core, and each keeps what is free between what is
    not: over thousands of short threads a kilobyte a request is never given back. Whether it was told.
    """
    if not sys.platform.startswith("linux"):
        return False
    setting = getattr(ctypes.CDLL(None), "mallopt", None)
    return setting is not None and bool(setting(M_ARENA_MAX, 1))
