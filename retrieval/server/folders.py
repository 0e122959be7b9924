"""Folders of the server's machine: those that are indexed, and those that may be worth it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrieval.access import is_loopback, without_port
from retrieval.db import reads
from retrieval.images import EXTENSIONS
from retrieval.server.problems import WritesRefused
from retrieval.types import path_fields, under

if TYPE_CHECKING:
    from retrieval.catalog import Catalog

COUNTED = 1000
"""Pictures of a likely folder that are counted: whether there are many is enough to know."""
LOOK_SECONDS = 0.3
"""For one folder; by then it is known, or it is a slow disk."""
ENDINGS = tuple(EXTENSIONS)
HANDED_ON = (b"forwarded", b"via", b"x-forwarded-", b"x-real-ip")
"""How the headers begin that proxies add."""


def is_near(scope: Mapping[str, Any], names: frozenset[str] | None) -> bool:
    """Whether a request comes from this machine, by itself and not handed on by a proxy.

    A proxy need not say that it is one. So all that comes to a server that goes by a name
    beyond its machine (`names`), or that asks for one, counts as from elsewhere. Who calls
    the app inside its own process has no address, and is here.
    """
    if any(name.startswith(HANDED_ON) for name, _ in scope["headers"]):
        return False
    if not all(is_loopback(without_port(name)) for name in names or ()):
        return False
    peer = (scope.get("client") or ("", None))[0]
    if peer and not is_loopback(peer):
        return not any(sign in peer for sign in ".:")
    asked = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
    return all(is_loopback(without_port(host)) for host in asked)


def check_known(catalog: Catalog, paths: Iterable[str]) -> None:
    """Refuse folders that are none of the library's and lie in none."""
    with catalog.state.snapshot() as reader:
        roots = reads.roots(reader)
    if not all(_inside(os.fsencode(os.path.abspath(os.path.expanduser(path))), roots) for path in paths):
        raise WritesRefused(
            "A new folder is added at the machine of the server: search index PATH. "
            "From here the folders of the library can be looked through again."
        )


def indexed(catalog: Catalog) -> list[dict[str, Any]]:
    """The folders of the library, and what it has of each."""
    with catalog.state.snapshot() as reader:
        return [
            {
                **path_fields(os.fsdecode(root)),
                "online": os.path.isdir(root),
                "images": reads.count_under(reader, root),
                "last_at": _time(reads.last_under(reader, root)),
            }
            for root in reads.roots(reader)
        ]


def likely(catalog: Catalog) -> list[dict[str, Any]]:
    """Folders where people keep pictures, of which the library knows nothing yet."""
    with catalog.state.snapshot() as reader:
        roots = reads.roots(reader)
    found: dict[bytes, dict[str, Any]] = {}
    for folder in _candidates():
        try:
            real = os.fsencode(folder.resolve())
            if not folder.is_dir() or real in found or _inside(real, [*roots, *found]):
                continue
            if _inside(os.fsencode(folder), roots):
                continue
            pictures, more = _look(folder)
        except (OSError, RuntimeError):  # not to be listed, or a link to itself: nothing to offer
            continue
        if pictures or more:
            found[real] = {**path_fields(folder), "pictures": pictures, "more": more}
    return list(found.values())


def _candidates() -> Iterator[Path]:
    import platformdirs

    home = Path.home()
    yield Path(platformdirs.user_pictures_dir())
    yield home / "Pictures"
    yield home / "Photos"
    yield home / "OneDrive" / "Pictures"
    yield home / "Dropbox" / "Camera Uploads"
    for base in (Path("/media") / home.name, Path("/run/media") / home.name, Path("/Volumes")):
        # Cards of cameras, and telephones.
        if base.is_dir():
            yield from sorted(base.glob("*/DCIM"))


def _look(folder: Path) -> tuple[int, bool]:
    """How many pictures there are as far as one sees in a moment, and whether there may be more."""
    end = time.monotonic() + LOOK_SECONDS
    count = 0
    for _, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        count += sum(name.lower().endswith(ENDINGS) and not name.startswith(".") for name in files)
        if count >= COUNTED or time.monotonic() > end:
            return min(count, COUNTED), True
    return count, False


def _inside(path: bytes, roots: Sequence[bytes]) -> bool:
    for root in roots:
        low, high = under(root)
        if path == root or low <= path < high:
            return True
    return False


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
