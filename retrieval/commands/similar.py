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
    no_server: bool,  # noqa: ARG001
    where: Filter,
    output: Output,
    **asked: Any,
) -> None:
    """Find pictures that look like one, or like several at once.

    A picture of the catalog is not read again; any other file is encoded now.

    \b
    search similar ~/Pictures/beach.jpg
    search similar monday.jpg tuesday.jpg -k 20 --after 2023
    """
    from retrieval.catalog import Catalog
    from retrieval.query.terms import Query, is_url

    pictures = [image if is_url(image) else Path(image) for image in images]
    with Catalog(catalog) as opened:
        hits = opened.similar(pictures, where=where, **asked)
        like = sum(map(Query.image, pictures), Query(()))
        output.show(hits, "like " + ", ".join(images), why=drawn_why(opened, like))
