"""A loading process: reads, checks, decodes and prepares one file at a time.

It is started by `indexer.loader` and speaks over its standard streams. Whatever a decoder
does here (crash, hang, eat memory) costs one file: the supervisor sees it and starts
another process. It ends when its input closes, so nothing is left when the parent dies.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import signal
import sys
import warnings
from dataclasses import replace
from functools import partial
from typing import IO, TYPE_CHECKING

from indexer.loader import pipe
from retrieval import images
from retrieval.errors import ImageError
from retrieval.images.phash import LEAST_SIDE, signature

if TYPE_CHECKING:
    from retrieval.protocols import Preparer
    from retrieval.types import Metadata, Prepared


SLACK_BYTES = 256 << 20
"""What a process may hold besides what was granted: what it keeps of files before, and loads late."""


class _DroppedError(Exception):
    """The supervisor wants this file to be put down for now."""


def main() -> None:
    """Serve orders until the input closes."""
    orders, answers = _own_streams()
    # Both reach the whole group: the supervisor ends in order, and a file must not look like the killer.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    warnings.simplefilter("ignore")
    _end_with_parent()
    try:
        hello = pipe.receive(orders)
    except EOFError:
        return
    try:
        preparer: Preparer = pickle.loads(hello.preparer)
        _settle(hello.address_space)
    except Exception as error:
        pipe.send(answers, pipe.Broken(f"{type(error).__name__}: {error}"))
        return
    # The other side being gone is the ordinary way to end.
    with contextlib.suppress(EOFError, BrokenPipeError):
        ceiling = Ceiling()
        pipe.send(answers, pipe.Ready())
        while True:
            _serve(pipe.receive(orders), preparer, hello.memory, ceiling, orders, answers)


def _own_streams() -> tuple[IO[bytes], IO[bytes]]:
    """Private copies of the pipes, so that a native library that prints cannot spoil them."""
    orders = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1):
        os.dup2(null, descriptor)
    os.close(null)
    return orders, answers


def _end_with_parent() -> None:
    """Also in the middle of a decoder that hangs; elsewhere than on Linux the alarm sees to that, later."""
    if sys.platform.startswith("linux"):
        import ctypes

        death_signal = 1
        ctypes.CDLL(None).prctl(death_signal, signal.SIGKILL)


class Ceiling:
    """Holds the process to the memory that was granted for a file, and a little more.

    A decoder that takes far more than its header said finds none there, before the machine is short of it.
    """

    def __init__(self) -> None:
        self._start = _figures("/proc/self/statm")[5] * _page() if sys.platform.startswith("linux") else None

    def raise_to(self, granted: int) -> None:
        if self._start is None:
            return
        import resource

        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        limit = self._start + granted + SLACK_BYTES
        if hard != resource.RLIM_INFINITY:
            limit = min(limit, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))


def _settle(address_space: int) -> None:
    """Settings that suit a process which does nothing but decode."""
    import pillow_heif
    from PIL import AvifImagePlugin, Image

    # The budget is the limit here; Pillow's own knows nothing of it.
    Image.MAX_IMAGE_PIXELS = None
    # There is a process for each core already.
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    pillow_heif.options.DECODE_THREADS = 1
    if sys.platform.startswith("linux"):
        import resource

        # The last resort against a decoder that takes far more than its header said.
        used = _figures("/proc/self/statm")[0] * _page()
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        limit = used + address_space
        resource.setrlimit(
            resource.RLIMIT_AS, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard)
        )


def _serve(
    order: pipe.Order,
    preparer: Preparer,
    memory: int,
    ceiling: Ceiling,
    orders: IO[bytes],
    answers: IO[bytes],
) -> None:
    _alarm(order.seconds)
    answer: object
    try:
        metadata, prepared = _load(order, preparer, memory, ceiling, orders, answers)
        answer = pipe.Done(metadata, prepared, _resident())
    except _DroppedError:
        return
    except ImageError as error:
        answer = pipe.Failed(error.reason, str(error), _resident())
    except MemoryError:
        answer = pipe.Failed("too-large", "There is not enough memory for this picture", _resident())
    except (EOFError, BrokenPipeError):
        raise
    except Exception as error:
        # A preparer that fails on one odd picture must not take the others with it.
        answer = pipe.Failed("crashed", f"{type(error).__name__}: {error}"[:500], _resident())
    finally:
        _alarm(0)
    pipe.send(answers, answer)


def _load(
    order: pipe.Order,
    preparer: Preparer,
    memory: int,
    ceiling: Ceiling,
    orders: IO[bytes],
    answers: IO[bytes],
) -> tuple[Metadata, Prepared]:
    def ask(message: object) -> None:
        pipe.send(answers, message)
        _alarm(0)
        if not pipe.receive(orders).go:
            raise _DroppedError
        _alarm(order.seconds)

    def allow(size: int) -> None:
        images.check_memory(size, memory)
        if size > order.granted:
            ask(pipe.Need(size))
        ceiling.raise_to(max(size, order.granted))

    def permit(needed: int) -> None:
        images.check_memory(len(content.data) + needed, memory)
        ask(pipe.Need(len(content.data) + needed))
        ceiling.raise_to(len(content.data) + needed)

    content = images.read_file(order.path, allow=allow)
    digest = hashlib.sha256(content.data).digest()
    ask(pipe.Read(digest, content.size, content.mtime_ns))
    name = os.fsdecode(order.path).rpartition(os.sep)[2]
    picture = images.open_image(content.data, name=name)
    from retrieval.images.metadata import read_metadata

    metadata = read_metadata(picture, name)
    decoded = picture.decode(wanted=partial(_wanted, preparer), permit=permit)
    return replace(metadata, phash=signature(decoded)), preparer(decoded)


def _wanted(preparer: Preparer, width: int, height: int) -> tuple[int, int]:
    """What the preparer needs, and at least what the signature does."""
    across, down = preparer.wanted(width, height)
    return max(across, LEAST_SIDE), max(down, LEAST_SIDE)


def _alarm(seconds: int) -> None:
    # The default action of the signal ends the process, even inside a decoder that hangs.
    if hasattr(signal, "alarm"):
        signal.alarm(seconds)


def _resident() -> int:
    """Bytes of memory held now; where that cannot be told, the most that was ever held."""
    if sys.platform.startswith("linux"):
        return _figures("/proc/self/statm")[1] * _page()
    if sys.platform == "darwin":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return 0


def _figures(path: str) -> list[int]:
    with open(path, "rb") as file:
        return [int(word) for word in file.read().split()]


def _page() -> int:
    return os.sysconf("SC_PAGE_SIZE")
