"""`search status`: what is in the catalog."""

from __future__ import annotations

import click

from retrieval.commands.options import echo_json, json_option, reading_options


@click.command()
@reading_options
@json_option
def status(catalog: str | None, no_server: bool, as_json: bool) -> None:  # noqa: ARG001
    """Say what is in the catalog.

    \b
    search status
    search status --json
    """
    from retrieval.catalog import Catalog
    from retrieval.show.lines import status_lines

    with Catalog(catalog) as opened:
        found = opened.status()
    if as_json:
        echo_json([found.as_dict()])
    else:
        click.echo("\n".join(status_lines(found)))
