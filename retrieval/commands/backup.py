"""`search backup`: one file that holds the whole catalog."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from retrieval.commands.options import Place, catalog_option, echo_json, json_option, safe

if TYPE_CHECKING:
    from retrieval.db.checked import Held


@click.command(short_help="Copy the catalog into one file, while it is in use.")
@click.argument("file", type=Place())
@catalog_option
@click.option("--check", "only_check", is_flag=True, help="Only check FILE, a backup that was made before.")
@click.option(
    "--keep", type=click.IntRange(1), metavar="N",
    help="In a folder: then remove all but the newest N backups of this catalog.",
)  # fmt: skip
@json_option
def backup(file: Path, catalog: str | None, only_check: bool, keep: int | None, as_json: bool) -> None:
    """Copy the catalog into one file, and check the copy. Others may read and write meanwhile.

    In a folder the file gets a name with the time in it. What is there already is never replaced.
    The pictures themselves are not in it, nor are models: only what the catalog knows.

    \b
    search backup ~/backups/pictures.db
    search backup ~/backups --keep 7
    search backup --check ~/backups/pictures.db
    """
    from retrieval import backup as backups

    if only_check:
        if keep is not None:
            raise click.UsageError("--check and --keep cannot go together. Choose one.")
        found = backups.check(file)
    else:
        found = backups.backup(file, catalog, keep=keep)
    if as_json:
        echo_json([found.as_dict()])
    else:
        click.echo(f"{'Sound' if only_check else 'Written and checked'}: {safe(found.file)}")
        click.echo(held_line(found))


def held_line(held: Held) -> str:
    from retrieval.english.nouns import counted

    pictures, vectors, texts = (
        counted(number, noun)
        for number, noun in (
            (held.images + held.missing, "picture"),
            (held.vectors, "vector"),
            (held.texts, "text"),
        )
    )
    return f"It holds {pictures}, {vectors} and {texts} in {held.bytes / 1e6:.1f} MB (schema {held.schema})."
