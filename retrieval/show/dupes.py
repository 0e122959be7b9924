"""Pictures that are the same, for a terminal and as a page to review them side by side."""

from __future__ import annotations

import shlex
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from retrieval.show.lines import size
from retrieval.show.review import Card, Section, write_review
from retrieval.show.table import display_path, safe_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from retrieval.duplicates import Copy, Duplicates, Kind
    from retrieval.types import Failure

TITLES: dict[Kind, str] = {
    "same-file": "The same file",
    "same-picture": "The same picture",
    "same-moment": "The same moment",
}


def duplicate_lines(groups: Sequence[Duplicates]) -> list[str]:
    """A block a group: its kind, then each picture with its size, the best first."""
    lines: list[str] = []
    for group in groups:
        lines.append(f"{TITLES[group.kind]}, {len(group.copies)} pictures")
        for copy in group.copies:
            shape = f"{copy.width} × {copy.height}"
            taken = (copy.taken_at or "")[:19].replace("T", " ")
            lines.append(
                f"  {shape:>13}  {size(copy.size):>9}  {taken:19}  {safe_name(display_path(str(copy.path)))}"
            )
    return lines


def summary_line(groups: Sequence[Duplicates]) -> str:
    """How many groups there are of each kind, and how many pictures in them."""
    parts = []
    for kind, title in TITLES.items():
        own = [group for group in groups if group.kind == kind]
        if own:
            pictures = sum(len(group.copies) for group in own)
            parts.append(
                f"{title.lower()}: {pictures} pictures in {len(own)} group{'s' if len(own) > 1 else ''}"
            )
    text = "; ".join(parts)
    return text[:1].upper() + text[1:] if text else "No duplicates"


def write_duplicates(
    groups: Sequence[Duplicates], destination: Path, *, made: datetime | None = None
) -> list[Failure]:
    """Write the review page; returns the pictures that it could not show. No file is changed."""
    return write_review(
        [_section(group) for group in groups],
        destination,
        title="Duplicates",
        summary=summary_line(groups) + ". Nothing was deleted",
        nothing="No pictures are the same.",
        made=made,
    )


def _section(group: Duplicates) -> Section:
    facts = [_facts(copy) for copy in group.copies]
    common = [values[0] for values in zip(*facts, strict=True) if len(set(values)) == 1 and values[0]]
    cards = tuple(
        Card(copy.path, differs=tuple(fact for fact in own if fact and fact not in common))
        for copy, own in zip(group.copies, facts, strict=True)
    )
    names = [str(copy.path) for copy in group.copies]
    # A name that is shown otherwise than it is cannot be copied into a command.
    plain = all(safe_name(name) == name for name in names)
    return Section(
        title=TITLES[group.kind],
        note="In common: " + ", ".join(common) if common else "",
        cards=cards,
        command=shlex.join(["search", "dupes", "--not", *names]) if plain else None,
        first_is_best=True,
    )


def _facts(copy: Copy) -> tuple[str, ...]:
    changed = datetime.fromtimestamp(copy.modified_at).strftime("%Y-%m-%d %H:%M")
    return (
        f"{copy.width} × {copy.height}",
        copy.format,
        size(copy.size),
        f"taken {copy.taken_at[:19].replace('T', ' ')}" if copy.taken_at else "",
        f"changed {changed}",
        str(copy.path.parent),
    )
