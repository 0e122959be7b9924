"""`search rebuild`: the vector caches made anew."""

from __future__ import annotations

import click

from retrieval.commands.options import catalog_option, echo_json, json_option


@click.command()
@catalog_option
@click.option("--store", type=click.Choice(["auto", "flat", "faiss"]), help="The kind of store, from now on.")
@json_option
def rebuild(catalog: str | None, store: str | None, as_json: bool) -> None:
    """Make the vector caches anew from the database.

    \b
    search rebuild
    search rebuild --store faiss
    """
    from retrieval.catalog import Catalog
    from retrieval.show.lines import status_lines

    with Catalog(catalog) as opened:
        opened.rebuild(store=store)
        found = opened.status()
    if as_json:
        echo_json([found.as_dict()])
    else:
        click.echo("\n".join(status_lines(found)))
