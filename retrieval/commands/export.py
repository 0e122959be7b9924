"""`search export`: the catalog as files that other programs read."""

from __future__ import annotations

from pathlib import Path

import click

from retrieval.commands.options import Place, catalog_option, echo_json, json_option, safe


@click.command(short_help="Write the catalog as Parquet and npy files, for other programs.")
@click.argument("folder", type=Place())
@catalog_option
@json_option
def export(folder: Path, catalog: str | None, as_json: bool) -> None:
    """Write all that the catalog holds into a new folder: rows as Parquet, vectors as npy.

    What you said is in it too: tags, texts, feedback, concepts and the latest conversation. The
    files are described in docs/backup.md; search import brings them back.

    \b
    search export ~/pictures-export
    """
    from retrieval.exchange import export_catalog

    done = export_catalog(folder, catalog)
    if as_json:
        echo_json([done.as_dict()])
        return
    from retrieval.english.nouns import counted

    vectors = sum(count for name, count in done.rows.items() if name.startswith("embeddings-"))
    click.echo(
        f"{counted(done.rows['images'], 'picture')}, {counted(done.rows['texts'], 'text')} and "
        f"{counted(vectors, 'vector')} written to {safe(done.folder)} ({done.bytes / 1e6:.1f} MB)."
    )
