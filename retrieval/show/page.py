"""What every page that this program writes has in common: its safety, its small pictures, its parts.

The pictures are inside the page as small JPEGs; links lead to the originals. A page forbids
itself every connection and every script but its own, by the hashes in its policy.
"""

from __future__ import annotations

import base64
import hashlib
import html
import os
import secrets
import shutil
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from retrieval.config import cores, default_memory
from retrieval.errors import ImageTooLarge, RetrievalError
from retrieval.flushing import flush_folder
from retrieval.show.pictures import load_fitting
from retrieval.show.table import safe_name
from retrieval.types import Failure

if TYPE_CHECKING:
    from collections.abc import Callable

    from PIL.Image import Image

T = TypeVar("T")

MARKER = "picture-search gallery"
"""What a page says of its maker; a file without it is somebody else's and is not replaced."""
MARKER_BYTES = 1024

LONG_SIDE = 480
QUALITY = 82

WORKERS = 4


def write_page(destination: Path, make: Callable[[], tuple[str, T]]) -> T:
    """Write the page that `make` gives to `destination`; returns the other thing it gives.

    The file appears whole or not at all. It replaces an earlier page of ours; any other file
    that is already there is left alone and a `RetrievalError` says so.
    """
    target = Path(os.path.realpath(destination))
    check_place(destination)
    page, result = make()
    temporary = target.with_name(f".gallery-{secrets.token_hex(6)}.tmp")
    try:
        with temporary.open("x", encoding="utf-8", newline="\n") as stream:
            stream.write(page)
            stream.flush()
            os.fsync(stream.fileno())
        # Once more: making the page took a while.
        if check_place(destination):
            shutil.copymode(target, temporary)
        temporary.replace(target)
        flush_folder(target.parent)
    except OSError as error:
        raise RetrievalError(
            f"The page could not be written to {safe_name(str(destination))}: {error.strerror or error}. "
            "Name another file with --html FILE."
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
    return result


def check_place(named: Path) -> bool:
    """Whether an earlier page is there; an error when it is something else, or no page can be there."""
    target = Path(os.path.realpath(named))
    shown = safe_name(str(named))
    try:
        if not target.is_file():
            if target.exists():
                raise RetrievalError(f"{shown} is not a file. Name a new file with --html FILE.")
            if not target.parent.is_dir():
                raise RetrievalError(
                    f"The folder of {shown} does not exist. Create it, or name another file with --html FILE."
                )
            return False
        with target.open("rb") as stream:
            start = stream.read(MARKER_BYTES)
    except OSError as error:
        raise RetrievalError(
            f"{shown} cannot be looked at: {error.strerror or error}. Name another file with --html FILE."
        ) from error
    if f'<meta name="generator" content="{MARKER}">'.encode() not in start:
        raise RetrievalError(
            f"{shown} exists and is not a page of this program, so it was left as it is. "
            "Name another file with --html FILE, or move that one away."
        )
    return True


def thumbnails(paths: list[str]) -> list[tuple[str, float] | Failure]:
    workers = min(WORKERS, cores())
    with ThreadPoolExecutor(workers) as pool:
        loaded = list(pool.map(lambda path: _thumbnail(path, default_memory() // workers), paths))
    # A picture that needs more than its share of the memory has it all once the others are done.
    return [
        _thumbnail(path, default_memory())
        if isinstance(picture, Failure) and picture.reason == ImageTooLarge.reason
        else picture
        for path, picture in zip(paths, loaded, strict=True)
    ]


def _thumbnail(path: str, memory: int) -> tuple[str, float] | Failure:
    """The picture as a data URI and its width over its height."""
    image = load_fitting(path, (LONG_SIDE, LONG_SIDE), memory=memory)
    if isinstance(image, Failure):
        return image
    return data_uri(image, QUALITY), image.width / image.height


def data_uri(image: Image, quality: int) -> str:
    from retrieval.images import encode_jpeg

    jpeg = base64.standard_b64encode(encode_jpeg(image, quality)).decode("ascii")
    return f"data:image/jpeg;base64,{jpeg}"


def missing_section(failures: list[Failure]) -> str:
    if not failures:
        return ""
    rows = "\n".join(
        f"<li><bdi>{html.escape(safe_name(str(failure.path)))}</bdi>: {html.escape(failure.detail)}</li>"
        for failure in failures
    )
    return f'<section class="missing">\n<h2>Could not be shown</h2>\n<ul>\n{rows}\n</ul>\n</section>'


def part(name: str) -> str:
    return files("retrieval.show").joinpath(name).read_text(encoding="utf-8")


def digest(text: str) -> str:
    return base64.standard_b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
