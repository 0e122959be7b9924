"""Groups of pictures, for a terminal and as a page."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from retrieval.show.review import Card, Section, write_review
from retrieval.show.table import display_path, safe_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from retrieval.groups import Group
    from retrieval.types import Failure

SHOWN = 12
"""Pictures of each group on the page: its most typical ones."""


def group_lines(groups: Sequence[Group]) -> list[str]:
    """A line a group: its size, its name, its most typical picture."""
    if not groups:
        return []
    width = max(len(f"{group.size:,}") for group in groups)
    named = max(len(safe_name(group.name)) for group in groups)
    return [
        f"{f'{group.size:,}':>{width}}  {safe_name(group.name):{named}}  "
        f"{safe_name(display_path(str(group.paths[0])))}"
        for group in groups
    ]


def write_groups(
    groups: Sequence[Group], destination: Path, *, made: datetime | None = None
) -> list[Failure]:
    """Write the page; returns the pictures that it could not show."""
    sections = [
        Section(
            title=group.name,
            note=f"{group.size:,} picture{'' if group.size == 1 else 's'}",
            cards=tuple(Card(path) for path in group.paths[:SHOWN]),
        )
        for group in groups
    ]
    total = sum(group.size for group in groups)
    return write_review(
        sections,
        destination,
        title="Groups",
        summary=f"{total:,} pictures in {len(groups)} groups; the most typical of each are shown",
        nothing="There are no pictures.",
        made=made,
    )
