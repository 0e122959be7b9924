"""`search failures`: the files that could not be indexed."""

from __future__ import annotations

import click

from retrieval.commands.options import echo_json, json_option, reading_options


@click.command()
@reading_options
@json_option
def failures(catalog: str | None, no_server: bool, as_json: bool) -> None:  # noqa: ARG001
    """List the files that could not be indexed, and why.

    \b
    search failures
    search failures --json
    """
    from retrieval.catalog import Catalog
    from retrieval.show.lines import failure_line

    with Catalog(catalog) as opened:
        found = opened.failures()
    if as_json:
        echo_json(failure.as_dict() for failure in found)
        return
    for failure in found:
        click.echo(failure_line(failure))
    if found:
        click.echo("Mended files are indexed by themselves; try all again: search index --retry", err=True)
