"""`search restore`: a catalog as it was when a backup was made."""

from __future__ import annotations

from pathlib import Path

import click

from retrieval.commands.backup import held_line
from retrieval.commands.options import Place, catalog_option, echo_json, json_option, safe


@click.command(short_help="Make the catalog what it was when a backup was made.")
@click.argument("file", type=Place())
@catalog_option
@json_option
def restore(file: Path, catalog: str | None, as_json: bool) -> None:
    """Make the catalog what it was when a backup was made.

    FILE is checked first, and stays as it is. The catalog as it is now is kept in its folder
    "backups". Whoever reads meanwhile, a server too, goes on with what was restored.

    \b
    search restore ~/backups/pictures.db
    search restore ~/backups/pictures.db --catalog ~/another
    """
    from retrieval import backup as backups

    done = backups.restore(file, catalog)
    if as_json:
        echo_json([done.as_dict()])
        return
    click.echo(f"Restored: {safe(done.catalog)}")
    click.echo(held_line(done.held))
    if done.before is not None:
        click.echo(f"As it was before, it is kept in {safe(str(done.before))}", err=True)
    click.echo("Pictures that came or changed since then are taken up by: search index", err=True)
