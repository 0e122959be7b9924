"""Hits and answers as a notebook shows them: small pictures inside the page, nothing fetched, no script."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING

from retrieval.show.page import data_uri
from retrieval.show.pictures import load_fitting
from retrieval.show.table import day, percent, safe_name
from retrieval.types import Failure

if TYPE_CHECKING:
    from pathlib import Path

    from retrieval.types import Hit, Hits

SIDE = 160
QUALITY = 75
MOST = 60
"""A notebook keeps what it shows: more pictures than these only make it heavy."""
_FRAME = "display:flex;flex-wrap:wrap;gap:10px;align-items:flex-end"
_FIGURE = "margin:0;max-width:160px;font:12px/1.4 sans-serif"
_NAME = "overflow:hidden;text-overflow:ellipsis;white-space:nowrap"


def hits_html(hits: Hits) -> str:
    """The hits as thumbnails, each with its rank, its match, its date and its name."""
    if not hits:
        closest = ", ".join(f"{safe_name(hit.path.name)} ({percent(hit.match)})" for hit in hits.closest[:3])
        return f"<p>No good match.{f' Closest: {html.escape(closest)}.' if closest else ''}</p>"
    figures = "".join(_figure(hit) for hit in list(hits)[:MOST])
    more = f"<p>and {len(hits) - MOST} more</p>" if len(hits) > MOST else ""
    notes = "".join(f"<p>{html.escape(safe_name(note))}</p>" for note in hits.notes)
    return f'<div style="{_FRAME}">{figures}</div>{more}{notes}'


def picture_html(path: Path, words: Sequence[str]) -> str:
    """A picture with some lines below it; a file that cannot be shown says why in its place."""
    name = html.escape(safe_name(path.name))
    image = load_fitting(str(path), (SIDE, SIDE))
    if isinstance(image, Failure):
        shown = f"<div>{html.escape(safe_name(image.detail))}</div>"
    else:
        shown = f'<img src="{data_uri(image, QUALITY)}" alt="{name}">'
    lines = "".join(f"<div>{html.escape(safe_name(word))}</div>" for word in words)
    title = html.escape(safe_name(str(path)))
    return (
        f'<figure style="{_FIGURE}">{shown}<figcaption>{lines}'
        f'<div style="{_NAME}" title="{title}"><bdi>{name}</bdi></div></figcaption></figure>'
    )


def _figure(hit: Hit) -> str:
    taken = day(hit)
    return picture_html(hit.path, [f"{hit.rank} · {percent(hit.match)}", *([taken] if taken else [])])
