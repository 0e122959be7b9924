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

    from retrieval.types import Answer, Citation, Hit, Hits

SIDE = 160
QUALITY = 75
MOST = 60
"""A notebook keeps what it shows: more pictures than these only make it heavy."""
_FRAME = "display:flex;flex-wrap:wrap;gap:10px;align-items:"
_FIGURE = "margin:0;max-width:160px;font:12px/1.4 sans-serif;overflow-wrap:anywhere"
_NAME = "overflow:hidden;text-overflow:ellipsis;white-space:nowrap"
_QUIET = "font-size:12px;opacity:.7;overflow-wrap:anywhere"
LONGEST_SAID = 90
"""A sentence stands whole in the text above; below its picture it is there to be known again."""


def hits_html(hits: Hits) -> str:
    """The hits as thumbnails, each with its rank, its match, its date and its name."""
    if not hits:
        closest = ", ".join(f"{safe_name(hit.path.name)} ({percent(hit.match)})" for hit in hits.closest[:3])
        return f"<p>No good match.{f' Closest: {html.escape(closest)}.' if closest else ''}</p>"
    notes = "".join(f"<p>{html.escape(safe_name(note))}</p>" for note in hits.notes)
    return _frame([_figure(hit) for hit in list(hits)[:MOST]], len(hits), "flex-end") + notes


def answer_html(answer: Answer) -> str:
    """The answer, the pictures it cites with what is said of each, and how it came about."""
    cited = _frame(
        [_cited(citation) for citation in answer.citations[:MOST]], len(answer.citations), "flex-start"
    )
    notes = "".join(f'<p style="{_QUIET}">{html.escape(safe_name(note))}</p>' for note in answer.notes)
    steps = "".join(
        f"<li>{html.escape(safe_name(f'{step.name}: {step.text}'))}</li>" for step in answer.steps
    )
    how = f'<details style="{_QUIET}"><summary>How it was answered</summary><ol>{steps}</ol></details>'
    shown = [f'<p style="overflow-wrap:anywhere">{html.escape(safe_name(answer.text))}</p>']
    shown += [cited] if answer.citations else []
    return "".join([*shown, notes, *([how] if steps else [])])


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


def _frame(figures: Sequence[str], total: int, align: str) -> str:
    more = f"<p>and {total - len(figures)} more</p>" if total > len(figures) else ""
    return f'<div style="{_FRAME}{align}">{"".join(figures)}</div>{more}'


def _figure(hit: Hit) -> str:
    taken = day(hit)
    return picture_html(hit.path, [f"{hit.rank} · {percent(hit.match)}", *([taken] if taken else [])])


def _cited(citation: Citation) -> str:
    facts = [] if citation.taken_at is None else [citation.taken_at[:10]]
    facts += [] if citation.match is None else [f"{percent(citation.match)} match"]
    said = f"[{citation.n}] {citation.sentence}".strip()
    said = said if len(said) <= LONGEST_SAID else said[: LONGEST_SAID - 1] + "…"
    return picture_html(citation.path, [said, *([" · ".join(facts)] if facts else [])])
