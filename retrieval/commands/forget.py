"""`search forget`: pictures or folders taken out of the catalog."""

from __future__ import annotations

from pathlib import Path

import click

from retrieval.commands.options import Place, catalog_option, echo_json, json_option


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...", type=Place())
@catalog_option
@json_option
def forget(paths: tuple[Path, ...], catalog: str | None, as_json: bool) -> None:
    """Take pictures or folders out of the catalog. The files stay where they are.

    What you said of them (tags, texts, marks, feedback, examples) is kept, and comes back
    when they are indexed again.

    \b
    search forget ~/Pictures/scans
    """
    from retrieval.catalog import Catalog
    from retrieval.english.nouns import counted

    with Catalog(catalog) as opened:
        count = sum(opened.forget(path) for path in paths)
    if as_json:
        echo_json([{"forgotten": count}])
    else:
        click.echo(
            f"{counted(count, 'picture')} forgotten. Their files were not touched; the next indexing of "
            "their folder finds them again, unless a .searchignore file there names them. What you said of "
            "them is kept."
            if count
            else "No picture of the catalog is there."
        )
