"""`search dupes`: pictures that are the same."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from retrieval.commands.options import (
    Place,
    echo_json,
    filter_options,
    json_option,
    one_of,
    reading_options,
    safe,
    say_damage,
)

if TYPE_CHECKING:
    from retrieval.duplicates import Kind
    from retrieval.query.filters import Filter

KINDS = ("same-file", "same-picture", "same-moment")


@click.command(short_help="Find pictures that are the same, or nearly.")
@click.argument("pictures", nargs=-1, metavar="[PATH]...", type=Place())
@reading_options
@click.option(
    "--kind", "kinds", multiple=True, type=click.Choice(KINDS), help="Only this answer; may be given again."
)
@filter_options
@json_option
@click.option(
    "--html", metavar="FILE", type=Place(dir_okay=False),
    help="Write a page that shows them side by side.",
)  # fmt: skip
@click.option("--not", "different", is_flag=True, help="The pictures named are not the same, each with each.")
@click.option("--undo", is_flag=True, help="With --not: take that back.")
def dupes(
    pictures: tuple[Path, ...],
    catalog: str | None,
    no_server: bool,  # noqa: ARG001
    kinds: tuple[Kind, ...],
    where: Filter,
    as_json: bool,
    html: Path | None,
    different: bool,
    undo: bool,
) -> None:
    """Find pictures that are the same file, the same picture or the same moment.

    Nothing is ever deleted: the answer is for you to decide. Of each group the best comes first.
    What you say is not the same stays apart from then on.

    \b
    search dupes
    search dupes --kind same-picture --in ~/Pictures --html review.html
    search dupes --not beach-1.jpg beach-2.jpg
    """
    from retrieval.catalog import Catalog
    from retrieval.show.dupes import duplicate_lines, summary_line, write_duplicates
    from retrieval.show.progress import ProgressLine

    one_of({"--json": as_json, "--html": html is not None})
    if different:
        if len(pictures) < 2:
            raise click.UsageError("--not needs at least two pictures: search dupes --not A.jpg B.jpg")
        with Catalog(catalog) as opened:
            pairs = opened.not_duplicates(pictures, undo=undo)
        if as_json:
            echo_json([{"pairs": pairs}])
            return
        click.echo(f"{pairs} pair{'' if pairs == 1 else 's'} {'no longer ' if undo else ''}kept apart.")
        return
    if undo or pictures:
        raise click.UsageError("Pictures and --undo go with --not. To look in one folder: --in DIR")
    with Catalog(catalog) as opened, ProgressLine(sys.stderr, doing="Looking") as line:
        found = opened.duplicates(kinds or None, where=where, progress=line)
        say_damage(opened)
    if as_json:
        echo_json(group.as_dict() for group in found)
    elif html is not None:
        failed = write_duplicates(found, html)
        left_out = f"; {len(failed)} pictures could not be shown" if failed else ""
        click.echo(f"{summary_line(found)}. Written to {safe(str(html))}{left_out}", err=True)
    else:
        for text in duplicate_lines(found):
            click.echo(text)
        click.echo(f"{summary_line(found)}.", err=True)
