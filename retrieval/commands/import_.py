"""`search import`: an export, brought into a catalog."""

from __future__ import annotations

from pathlib import Path

import click

from retrieval.commands.options import Place, catalog_option, echo_json, json_option, safe


@click.command("import", short_help="Bring an export into the catalog.")
@click.argument("folder", type=Place())
@catalog_option
@json_option
def import_(folder: Path, catalog: str | None, as_json: bool) -> None:
    """Bring what search export has written into the catalog: all of it, or nothing.

    In an empty catalog it becomes what was exported. In another, what is there stays: pictures
    are known again by their content, and what was said of them is added.

    \b
    search import ~/pictures-export
    search import ~/pictures-export --catalog ~/another
    """
    from retrieval.exchange import import_catalog

    done = import_catalog(folder, catalog)
    if as_json:
        echo_json([done.as_dict()])
        return
    from retrieval.english.nouns import counted

    images, texts, tags, vectors = (
        counted(done.added.get(name, 0), noun)
        for name, noun in (
            ("images", "picture"),
            ("texts", "text"),
            ("image_tags", "tag"),
            ("embeddings", "vector"),
        )
    )
    click.echo(f"Came into {safe(done.catalog)}: {images}, {texts}, {tags} and {vectors}.")
    if done.known:
        click.echo(f"Pictures that were there already: {done.known}. They stay as they are.", err=True)
    if done.waiting:
        click.echo(
            f"Pictures that the model in use has not seen yet, so that no query finds them: {done.waiting}. "
            "Have it look: search index",
            err=True,
        )
