"""A page of groups of pictures as one HTML file that opens from the disk in any browser."""

from __future__ import annotations

import html
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from retrieval.show.gallery import FLATTEST, STEEPEST
from retrieval.show.page import MARKER, digest, missing_section, part, thumbnails, write_page
from retrieval.show.table import file_url, safe_name
from retrieval.types import Failure

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_PICTURES = 3000
"""Pictures on one page; the groups after them are only counted."""


@dataclass(frozen=True, slots=True)
class Card:
    """A picture of a group, and what is said below it; `differs` is what sets it apart."""

    path: Path
    facts: tuple[str, ...] = ()
    differs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Section:
    """A group: its heading, what holds for all of it, and a command for those who disagree."""

    title: str
    note: str
    cards: tuple[Card, ...]
    command: str | None = None
    first_is_best: bool = False


def write_review(
    sections: Sequence[Section],
    destination: Path,
    *,
    title: str,
    summary: str,
    nothing: str,
    made: datetime | None = None,
) -> list[Failure]:
    """Write the page to `destination`, and return the pictures that it could not show."""
    return write_page(destination, lambda: _page(sections, title, summary, nothing, made or datetime.now()))


def _page(
    sections: Sequence[Section], title: str, summary: str, nothing: str, made: datetime
) -> tuple[str, list[Failure]]:
    shown, left = _fitting(sections)
    paths = [str(card.path) for section in shown for card in section.cards]
    pictures = iter(thumbnails(paths))
    rules: list[str] = []
    failures: list[Failure] = []
    blocks: list[str] = []
    for section in shown:
        items = []
        for number, card in enumerate(section.cards):
            picture = next(pictures)
            if isinstance(picture, Failure):
                failures.append(picture)
                items.append(_item(None, card, None, best=section.first_is_best and not number))
                continue
            data, shape = picture
            name = f"p{len(rules)}"
            rules.append(f"#{name}{{--shape:{min(FLATTEST, max(STEEPEST, shape)):.4f}}}")
            items.append(_item(name, card, data, best=section.first_is_best and not number))
        blocks.append(_block(section, items))
    if left:
        blocks.append(f'<p class="none">{left} more groups are not on this page.</p>')
    style = part("gallery.css") + part("review.css") + "\n".join(rules) + "\n"
    page = Template(part("review.html")).substitute(
        marker=MARKER,
        title=html.escape(safe_name(title)),
        summary=f"{html.escape(summary)} · {made.day} {made:%B %Y, %H:%M}",
        style=style,
        style_hash=digest(style),
        sections="\n".join(blocks) if blocks else f'<p class="none">{html.escape(nothing)}</p>',
        missing=missing_section(failures),
    )
    return page, failures


def _fitting(sections: Sequence[Section]) -> tuple[list[Section], int]:
    """The sections that go on one page, and how many do not."""
    pictures = 0
    for number, section in enumerate(sections):
        pictures += len(section.cards)
        if pictures > MOST_PICTURES and number:
            return list(sections[:number]), len(sections) - number
    return list(sections), 0


def _block(section: Section, items: Sequence[str]) -> str:
    command = (
        f'<span class="command">Not the same? <code>{html.escape(section.command)}</code></span>'
        if section.command
        else ""
    )
    note = f"<p>{html.escape(safe_name(section.note))}</p>" if section.note else ""
    rows = "\n".join(items)
    return (
        f'<section class="group">\n<h2>{html.escape(safe_name(section.title))}</h2>\n{note}\n'
        f'<ol class="pictures">\n{rows}\n</ol>\n{command}\n</section>'
    )


def _item(name: str | None, card: Card, data: str | None, *, best: bool) -> str:
    whole = html.escape(safe_name(str(card.path)))
    own = html.escape(safe_name(card.path.name))
    facts = "".join(
        [f'<span class="differs">{html.escape(safe_name(fact))}</span>' for fact in card.differs]
        + [f"<span>{html.escape(safe_name(fact))}</span>" for fact in card.facts]
    )
    image = f'<img src="{data}" alt="{own}">' if data else ""
    attributes = (f' id="{name}"' if name else "") + (' class="first"' if best else "")
    return (
        f"<li{attributes}>"
        f'<a class="picture" href="{html.escape(file_url(str(card.path)))}" title="{whole}">{image}'
        f'<span class="line"><bdi class="name">{own}</bdi></span>'
        f'<span class="facts">{facts}</span></a></li>'
    )
