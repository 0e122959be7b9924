"""A page of hits as one HTML file: opens from the disk in any browser, needs nothing besides.

The pictures are inside the page as small JPEGs; links lead to the originals. The page forbids
itself every connection and every script but its own, by the hashes in its policy.
"""

from __future__ import annotations

import html
from datetime import datetime
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from retrieval.show.page import MARKER, data_uri, digest, missing_section, part, thumbnails, write_page
from retrieval.show.table import day, file_url, percent, safe_name, signal_name
from retrieval.types import Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from PIL.Image import Image

    from retrieval.types import Hit

WHY_QUALITY = 72
FLATTEST = 3.0
"""Wider and taller shapes than these are cropped in the overview, never in the large view."""
STEEPEST = 0.5


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
    return write_page(destination, lambda: _page(list(hits), query, made or datetime.now(), why))


def _page(
    hits: list[Hit], query: str, made: datetime, why: Callable[[Hit], Image | None] | None = None
) -> tuple[str, list[Failure]]:
    items: list[str] = []
    rules: list[str] = []
    failures: list[Failure] = []
    for hit, picture in zip(hits, thumbnails([str(hit.path) for hit in hits]), strict=True):
        if isinstance(picture, Failure):
            failures.append(picture)
            continue
        data, shape = picture
        shape = min(FLATTEST, max(STEEPEST, shape))
        # Rules of the hashed sheet: for style attributes the policy would have to allow any of them.
        match = 100 * min(1.0, max(0.0, hit.match))
        rules.append(f"#p{len(rules)}{{--shape:{shape:.4f};--match:{match:.1f}}}")
        items.append(_item(len(items), hit, data, why(hit) if why is not None else None))
    style = part("gallery.css") + "\n".join(rules) + "\n"
    script = part("gallery.js")
    page = Template(part("gallery.html")).substitute(
        marker=MARKER,
        title=html.escape(safe_name(query)),
        summary=_summary(len(hits), len(failures), made),
        style=style,
        style_hash=digest(style),
        script=script,
        script_hash=digest(script),
        pictures=_list(items) if hits else '<p class="none">No picture matches well enough.</p>',
        missing=missing_section(failures),
    )
    return page, failures


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
    parts = [
        f"<bdi>{html.escape(safe_name(signal_name(name)))}</bdi> {percent(strength)}"
        for name, strength in strongest
    ]
    return f'<span class="signals">{" · ".join(parts)}</span>'


def _why(picture: Image | None, name: str) -> str:
    """A word in the picture's corner that lays the drawing over it: pointed at, in focus, or opened."""
    if picture is None:
        return ""
    label = html.escape(f"where in {name} the match comes from")
    return (
        '<details class="why"><summary><span>Why</span>'
        f'<img src="{data_uri(picture, WHY_QUALITY)}" alt="{label}"></summary></details>'
    )


def _list(items: list[str]) -> str:
    return '<ol class="pictures">\n' + "\n".join(items) + "\n</ol>" if items else ""


def _summary(found: int, failed: int, made: datetime) -> str:
    count = f"{found} picture{'' if found == 1 else 's'}"
    if failed:
        count += f", {failed} of them could not be shown"
    written = f"{made.day} {made:%B %Y, %H:%M}"
    return f'{count} · <time datetime="{made.isoformat(timespec="seconds")}">{written}</time>'
