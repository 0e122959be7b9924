"""`search match`: texts that fit a picture."""

from __future__ import annotations

from pathlib import Path

import click

from retrieval.commands.options import Number, echo_json, json_option, limit_option, reading_options, safe


@click.command()
@click.argument("image", metavar="IMAGE")
@reading_options
@limit_option
@click.option("--min-match", type=Number(0, 1), metavar="X", help="Show texts from this match on.")
@click.option("--all", "everything", is_flag=True, help="Show weak ones too.")
@click.option("--allow-url", is_flag=True, help="Let the picture be given by web address.")
@json_option
def match(
    image: str,
    catalog: str | None,
    no_server: bool,
    limit: int,
    min_match: float | None,
    everything: bool,
    allow_url: bool,
    as_json: bool,
) -> None:
    """Find the texts that fit a picture best. Texts come from: search texts add

    \b
    search match ~/Pictures/beach.jpg
    search match holiday.jpg -k 3 --json
    """
    from retrieval.catalog import Catalog
    from retrieval.commands.served import from_server
    from retrieval.query.terms import is_url
    from retrieval.show.lines import no_text_line, text_lines

    with Catalog(catalog) as opened:
        hits = None
        if not is_url(image):
            known = opened.state.find_picture(Path(image))
            hits = from_server(
                catalog,
                lambda client: client.match(
                    Path(image) if known is None else known,
                    limit=limit,
                    cutoff=not everything,
                    min_match=min_match,
                ),
                no_server=no_server,
            )
        if hits is None:
            hits = opened.match(
                image if is_url(image) else Path(image),
                limit=limit,
                cutoff=not everything,
                min_match=min_match,
                allow_url=allow_url,
            )
    if as_json:
        echo_json(hit.as_dict() for hit in hits)
    else:
        for line in text_lines(hits):
            click.echo(line)
    for note in hits.notes:
        click.echo(safe(note), err=True)
    if not hits:
        click.echo(safe(no_text_line(hits)), err=True)
