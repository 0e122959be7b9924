"""What a loading process and its supervisor say to each other: pickles with their length in front."""

from __future__ import annotations

import pickle
import struct
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from retrieval.types import Metadata, Prepared

_LENGTH = struct.Struct("<Q")


@dataclass(frozen=True, slots=True)
class Hello:
    """The first message to a process: how to prepare, and what it may ever ask for."""

    preparer: bytes
    memory: int
    address_space: int


@dataclass(frozen=True, slots=True)
class Ready:
    """The process is up."""


@dataclass(frozen=True, slots=True)
class Broken:
    """The process cannot work at all."""

    reason: str


@dataclass(frozen=True, slots=True)
class Order:
    """Load this file; `granted` bytes are set aside for its content and its pixels.

    The process takes its own life after `seconds`, in case nobody is left to do it.
    """

    path: bytes
    granted: int
    seconds: int


@dataclass(frozen=True, slots=True)
class Read:
    """The file was read whole; answered by `Continue`."""

    content_hash: bytes
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Need:
    """The whole job takes this many bytes, content included; answered by `Continue` or a new `Order`."""

    total: int


@dataclass(frozen=True, slots=True)
class Continue:
    """Go on, or (`go` false) drop this file and wait for the next order."""

    go: bool


@dataclass(frozen=True, slots=True)
class Done:
    """The file is loaded. `resident` is what memory the process holds now."""

    metadata: Metadata
    prepared: Prepared
    resident: int


@dataclass(frozen=True, slots=True)
class Failed:
    """The file cannot be loaded; `reason` is a key of `FAILURE_REASONS`."""

    reason: str
    detail: str
    resident: int


def send(stream: IO[bytes], message: object) -> None:
    body = pickle.dumps(message, protocol=5)
    stream.write(_LENGTH.pack(len(body)))
    stream.write(body)
    stream.flush()


def receive(stream: IO[bytes]) -> Any:
    """The next message; `EOFError` when the other side is gone."""
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        raise EOFError
    size = _LENGTH.unpack(head)[0]
    body = stream.read(size)
    if len(body) < size:
        raise EOFError
    return pickle.loads(body)
