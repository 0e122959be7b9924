"""`search gc`: what the catalog keeps of files that are gone, removed for good."""

from __future__ import annotations

import click

from retrieval.commands.options import catalog_option, echo_json, json_option


@click.command()
@catalog_option
@click.option("--encoders", is_flag=True, help="Also drop the vectors of models that are not in use.")
@json_option
def gc(catalog: str | None, encoders: bool, as_json: bool) -> None:
    """Remove for good what the catalog keeps of files that are gone.

    Until then, a file that comes back or moves needs no new encoding. What you said of
    such pictures (tags, texts, marks, feedback, examples) is kept, and comes back with them.

    \b
    search gc
    search gc --encoders
    """
    from retrieval.catalog import Catalog

    with Catalog(catalog) as opened:
        figures = opened.gc(encoders=encoders)
    if as_json:
        echo_json([figures])
    else:
        click.echo(
            f"Removed {figures['images']} missing pictures, {figures['failures']} failures and "
            f"{figures['encoders']} unused models; {figures['bytes'] / 1e6:.1f} MB given back."
            + (" What you said of those pictures is kept." if figures["images"] else "")
        )
