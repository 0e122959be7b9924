"""`search explain`: where in a picture a match comes from, and what spoke for it."""

from __future__ import annotations

import os
from pathlib import Path

import click

from retrieval.commands.options import Place, echo_json, json_option, reading_options, safe


@click.command(short_help="Show where in a picture a match comes from, and why.")
@click.argument("query")
@click.argument("image")
@click.option(
    "-o", "--output", metavar="FILE", type=Place(dir_okay=False),
    help="Draw it into this PNG.",
)  # fmt: skip
@reading_options
@json_option
def explain(
    query: str,
    image: str,
    output: Path | None,
    catalog: str | None,
    no_server: bool,  # noqa: ARG001
    as_json: bool,
) -> None:
    """Say why a picture answers a query: what spoke for it, and where in it.

    IMAGE is a picture of the catalog, by its path or its image_id, or any other file.

    \b
    search explain "a dog" ~/Pictures/beach.jpg -o why.png
    search explain "a dog - people" 17 --json
    """
    from retrieval.catalog import Catalog
    from retrieval.query.terms import Query
    from retrieval.show.table import signal_name

    picture = int(image) if image.isdecimal() and not os.path.lexists(image) else Path(image)
    with Catalog(catalog) as opened:
        found = opened.explain(Query.parse(query), picture)
    if output is not None:
        found.save(output)
    if as_json:
        echo_json([found.as_dict()])
    else:
        click.echo(f"{found.match:.0%} match, score {found.score:.3f}: {safe(found.query)}")
        for name, strength in sorted(found.signals.items(), key=lambda signal: -signal[1]):
            click.echo(f"{strength:>6.0%}  {safe(signal_name(name))}")
        if output is not None:
            click.echo(f"Drawn into {safe(str(output))}", err=True)
        else:
            click.echo("Where in the picture: add -o why.png", err=True)
