"""A page of hits as one HTML file: opens from the disk in any browser, needs nothing besides.

The pictures are inside the page as small JPEGs; links lead to the originals. The page forbids
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
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from retrieval.config import cores, default_memory
from retrieval.errors import ImageTooLarge, RetrievalError
from retrieval.show.pictures import load_fitting
from retrieval.show.table import day, file_url, percent, safe_name
from retrieval.types import Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from PIL.Image import Image

    from retrieval.types import Hit

MARKER = "picture-search gallery"
"""What a page says of its maker; a file without it is somebody else's and is not replaced."""
MARKER_BYTES = 1024

LONG_SIDE = 480
QUALITY = 82
WHY_QUALITY = 72
FLATTEST = 3.0
"""Wider and taller shapes than these are cropped in the overview, never in the large view."""
STEEPEST = 0.5

WORKERS = 4


def write_gallery(
    hits: Iterable[Hit],
    destination: Path,
    *,
    query: str,
    made: datetime | None = None,
    why: Callable[[Hit], Image | None] | None = None,
) -> list[Failure]:
    """Write the page of these hits to `destination`, and return the pictures that it could not show.

    `why` draws, for a hit, the picture with what speaks for it; the page shows that on request.
    The file appears whole or not at all. It replaces an earlier gallery; any other file that is
    already there is left alone and a `RetrievalError` says so.
    """
    target = Path(os.path.realpath(destination))
    _refuse_foreign(target, destination)
    page, failures = _page(list(hits), query, made or datetime.now(), why)
    temporary = target.with_name(f".gallery-{secrets.token_hex(6)}.tmp")
    try:
        with temporary.open("x", encoding="utf-8", newline="\n") as stream:
            stream.write(page)
            stream.flush()
            os.fsync(stream.fileno())
        # Once more: making the page took a while.
        if _refuse_foreign(target, destination):
            shutil.copymode(target, temporary)
        temporary.replace(target)
    except OSError as error:
        raise RetrievalError(
            f"The gallery could not be written to {safe_name(str(destination))}: {error.strerror or error}. "
            "Name another file with --html FILE."
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
    return failures


def _refuse_foreign(target: Path, named: Path) -> bool:
    """Whether an earlier gallery is there; an error when it is something else."""
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
            f"{shown} exists and is not a gallery of this program, so it was left as it is. "
            "Name another file with --html FILE, or move that one away."
        )
    return True


def _page(
    hits: list[Hit], query: str, made: datetime, why: Callable[[Hit], Image | None] | None = None
) -> tuple[str, list[Failure]]:
    items: list[str] = []
    rules: list[str] = []
    failures: list[Failure] = []
    for hit, picture in zip(hits, _thumbnails([str(hit.path) for hit in hits]), strict=True):
        if isinstance(picture, Failure):
            failures.append(picture)
            continue
        data, shape = picture
        shape = min(FLATTEST, max(STEEPEST, shape))
        # Rules of the hashed sheet: for style attributes the policy would have to allow any of them.
        match = 100 * min(1.0, max(0.0, hit.match))
        rules.append(f"#p{len(rules)}{{--shape:{shape:.4f};--match:{match:.1f}}}")
        items.append(_item(len(items), hit, data, why(hit) if why is not None else None))
    style = _part("gallery.css") + "\n".join(rules) + "\n"
    script = _part("gallery.js")
    page = Template(_part("gallery.html")).substitute(
        marker=MARKER,
        title=html.escape(safe_name(query)),
        summary=_summary(len(hits), len(failures), made),
        style=style,
        style_hash=_hash(style),
        script=script,
        script_hash=_hash(script),
        pictures=_list(items) if hits else '<p class="none">No picture matches well enough.</p>',
        missing=_missing(failures),
    )
    return page, failures


def _thumbnails(paths: list[str]) -> list[tuple[str, float] | Failure]:
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
    return _data(image, QUALITY), image.width / image.height


def _data(image: Image, quality: int) -> str:
    from retrieval.images import encode_jpeg

    jpeg = base64.standard_b64encode(encode_jpeg(image, quality)).decode("ascii")
    return f"data:image/jpeg;base64,{jpeg}"


def _item(number: int, hit: Hit, data: str, why: Image | None = None) -> str:
    whole = safe_name(str(hit.path))
    name = safe_name(hit.path.name)
    taken = day(hit)
    facts = f"<span>{percent(hit.match)} match</span>"
    if taken:
        facts += f'<time datetime="{html.escape(taken)}">{html.escape(taken)}</time>'
    return (
        f'<li id="p{number}">'
        f'<a class="picture" href="{html.escape(file_url(str(hit.path)))}" title="{html.escape(whole)}">'
        f'<img src="{data}" alt="{html.escape(name)}">'
        '<span class="match" aria-hidden="true"><i></i></span>'
        f'<span class="line"><span class="rank">{hit.rank}</span>'
        f'<bdi class="name">{html.escape(name)}</bdi></span>'
        f'<span class="facts">{facts}</span>'
        f"{_signals(hit)}</a>{_why(why, name)}</li>"
    )


def _signals(hit: Hit) -> str:
    """What spoke for the hit, strongest first; one signal alone is the match itself."""
    if len(hit.signals) < 2:
        return ""
    strongest = sorted(hit.signals.items(), key=lambda item: -item[1])
    parts = [f"<bdi>{html.escape(safe_name(name))}</bdi> {percent(strength)}" for name, strength in strongest]
    return f'<span class="signals">{" · ".join(parts)}</span>'


def _why(picture: Image | None, name: str) -> str:
    """A word in the picture's corner that lays the drawing over it: pointed at, in focus, or opened."""
    if picture is None:
        return ""
    label = html.escape(f"where in {name} the match comes from")
    return (
        '<details class="why"><summary><span>Why</span>'
        f'<img src="{_data(picture, WHY_QUALITY)}" alt="{label}"></summary></details>'
    )


def _list(items: list[str]) -> str:
    return '<ol class="pictures">\n' + "\n".join(items) + "\n</ol>" if items else ""


def _summary(found: int, failed: int, made: datetime) -> str:
    count = f"{found} picture{'' if found == 1 else 's'}"
    if failed:
        count += f", {failed} of them could not be shown"
    written = f"{made.day} {made:%B %Y, %H:%M}"
    return f'{count} · <time datetime="{made.isoformat(timespec="seconds")}">{written}</time>'


def _missing(failures: list[Failure]) -> str:
    if not failures:
        return ""
    rows = "\n".join(
        f"<li><bdi>{html.escape(safe_name(str(failure.path)))}</bdi>: {html.escape(failure.detail)}</li>"
        for failure in failures
    )
    return f'<section class="missing">\n<h2>Could not be shown</h2>\n<ul>\n{rows}\n</ul>\n</section>'


def _part(name: str) -> str:
    return files("retrieval.show").joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return base64.standard_b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
