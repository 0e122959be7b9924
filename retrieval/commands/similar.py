"""`search similar`: pictures that look like one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from retrieval.commands.options import (
    Output,
    drawn_why,
    filter_options,
    limit_option,
    output_options,
    ranking_options,
    reading_options,
)

if TYPE_CHECKING:
    from retrieval.query.filters import Filter


@click.command()
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@reading_options
@limit_option
@filter_options
@ranking_options
@output_options
def similar(
    images: tuple[str, ...],
    catalog: str | None,
    no_server: bool,
    where: Filter,
    output: Output,
    allow_url: bool,
    **asked: Any,
) -> None:
    """Find pictures that look like one, or like several at once.

    A picture of the catalog is not read again; any other file is encoded now.

    \b
    search similar ~/Pictures/beach.jpg
    search similar monday.jpg tuesday.jpg -k 20 --after 2023
    """
    from retrieval.catalog import Catalog
    from retrieval.commands.served import from_server
    from retrieval.query.terms import Query, is_url

    pictures = [image if is_url(image) else Path(image) for image in images]
    title = "like " + ", ".join(images)
    with Catalog(catalog) as opened:
        hits = None
        if not any(map(is_url, images)) and not (output.html and output.explain):
            known = [opened.state.find_picture(picture) for picture in pictures]
            one = known[0] if len(known) == 1 else None
            outside = not any(opened.state.find_picture(picture, changed=True) for picture in pictures)
            # A file has a name here, and none where it is sent to: what spoke for a hit names it.
            if one is not None or (outside and not output.explain):
                hits = from_server(
                    catalog,
                    lambda client: client.similar(one if one is not None else pictures, where=where, **asked),
                    no_server=no_server,
                )
        why = None
        if hits is None:
            hits = opened.similar(pictures, where=where, allow_url=allow_url, **asked)
            why = drawn_why(opened, sum(map(Query.image, pictures), Query(())))
        output.show(hits, title, why=why)
