"""`search groups`: the library in groups with names."""

from __future__ import annotations

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
from retrieval.english.nouns import counted

if TYPE_CHECKING:
    from retrieval.query.filters import Filter


@click.command()
@reading_options
@click.option("-k", "count", type=click.IntRange(1, 1000), metavar="N", help="At most N groups.")
@filter_options
@json_option
@click.option(
    "--html", metavar="FILE", type=Place(dir_okay=False),
    help="Write a page with the most typical pictures of each group.",
)  # fmt: skip
def groups(
    catalog: str | None,
    no_server: bool,  # noqa: ARG001
    count: int | None,
    where: Filter,
    as_json: bool,
    html: Path | None,
) -> None:
    """Sort the library into groups by meaning, each with a name.

    \b
    search groups
    search groups -k 20 --after 2023 --html groups.html
    """
    from retrieval.catalog import Catalog
    from retrieval.show.groups import group_lines, write_groups

    one_of({"--json": as_json, "--html": html is not None})
    with Catalog(catalog) as opened:
        found = opened.groups(count, where=where)
        say_damage(opened)
    if as_json:
        echo_json(group.as_dict() for group in found)
    elif html is not None:
        failed = write_groups(found, html)
        left_out = f"; {len(failed)} pictures could not be shown" if failed else ""
        click.echo(f"{counted(len(found), 'group')} written to {safe(str(html))}{left_out}", err=True)
    else:
        for line in group_lines(found):
            click.echo(line)
    if not found:
        click.echo("No picture passes. Loosen the filters, or index more folders.", err=True)
