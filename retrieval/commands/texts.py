"""`search texts`: captions, descriptions and sentences, added, listed and removed."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from retrieval.commands.options import (
    Place,
    catalog_option,
    echo_json,
    json_option,
    one_of,
    reading_options,
    safe,
)
from retrieval.errors import QueryError

if TYPE_CHECKING:
    from retrieval.texts import TextsReport

SHOWN_BROKEN = 10


@click.group(short_help="Add texts that pictures are found by.")
def texts() -> None:
    """Add texts that pictures are found by, and that fit pictures: captions, alt texts, sentences.

    \b
    search texts add captions.jsonl
    search texts list
    search texts remove --from captions.jsonl
    """


@texts.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@catalog_option
@click.option(
    "--format", "form", type=click.Choice(["jsonl", "csv", "txt"]),
    help="How to read FILE. Default: by its ending.",
)  # fmt: skip
@json_option
def add(files: tuple[str, ...], catalog: str | None, form: str | None, as_json: bool) -> None:
    """Add the texts of files: .jsonl, .csv, or .txt with one a line. `-` reads the input.

    A line of .jsonl is {"text": ..., "id"?: ..., "image"?: ...}; a .csv has the same columns,
    or the text in its first. `image` ties a text to an indexed picture: a path that starts
    from the file's folder, a file's name, or an id. What is there already is not added again.

    \b
    search texts add captions.jsonl
    search texts add alt-texts.csv notes.txt
    cut -f2 captions.tsv | search texts add - --format txt
    """
    from indexer.stopping import StopSignals
    from retrieval.catalog import Catalog
    from retrieval.show.progress import ProgressLine

    with (
        Catalog(catalog) as opened,
        ProgressLine(sys.stderr, doing="Embedding texts") as line,
        StopSignals() as stop,
    ):
        for name in files:
            given: str | BinaryIO = sys.stdin.buffer if name == "-" else name
            report = opened.texts.add(given, form=form, progress=line, stopped=stop.is_set)
            if as_json:
                echo_json([{"file": name, **report.as_dict()}])
            else:
                _tell(name, report)
            if report.interrupted:
                click.get_current_context().exit(128 + (stop.signal or signal.SIGINT))


def _tell(name: str, report: TextsReport) -> None:
    for note in report.notes:
        click.echo(safe(note), err=True)
    for number, why in report.broken[:SHOWN_BROKEN]:
        click.echo(safe(f"{name}, line {number}: {why}; it was left out."), err=True)
    if len(report.broken) > SHOWN_BROKEN:
        left = len(report.broken) - SHOWN_BROKEN
        click.echo(f"{left} more lines were left out. See all: --json", err=True)
    there = (
        f", {report.unchanged} {'was' if report.unchanged == 1 else 'were'} there already"
        if report.unchanged
        else ""
    )
    click.echo(f"{_texts(report.added)} added{there}.")
    if report.waiting:
        click.echo(
            f"Texts without a vector yet, found by their words only: {report.waiting}. "
            "The next indexing goes on: search index",
            err=True,
        )


@texts.command("list")
@reading_options
@click.option("--image", type=Place(), metavar="IMAGE", help="Only those of this picture.")
@click.option("--source", metavar="NAME", help="Only those from there: added, sidecar, ocr, caption ...")
@click.option("-k", "--limit", type=click.IntRange(1), metavar="N", help="At most N texts. Default: all.")
@json_option
def list_texts(
    catalog: str | None,
    no_server: bool,  # noqa: ARG001
    image: Path | None,
    source: str | None,
    limit: int | None,
    as_json: bool,
) -> None:
    """List the texts of the catalog, each with its id.

    \b
    search texts list
    search texts list --image ~/Pictures/beach.jpg
    search texts list --source sidecar --json
    """
    from retrieval.catalog import Catalog

    with Catalog(catalog) as opened:
        found = opened.texts.list(image=image, source=source, limit=limit)
    if as_json:
        echo_json(text.as_dict() for text in found)
        return
    for text in found:
        tied = f"  [{safe(str(text.path))}]" if text.path is not None else ""
        click.echo(f"{text.text_id:>7}  {text.source:8}  {safe(' '.join(text.text.split()))}{tied}")
    if not found:
        click.echo("There are no such texts. Add some: search texts add FILE", err=True)


@texts.command()
@click.argument("ids", nargs=-1, type=click.IntRange(1), metavar="ID...")
@catalog_option
@click.option("--from", "origin", metavar="FILE", help="All texts that came from this file.")
@click.option("--source", metavar="NAME", help="All texts of this source.")
@json_option
def remove(
    ids: Sequence[int], catalog: str | None, origin: str | None, source: str | None, as_json: bool
) -> None:
    """Remove texts from the catalog: by their ids, or all that came from a file or a source.

    \b
    search texts remove 12 13
    search texts remove --from captions.jsonl
    """
    from retrieval.catalog import Catalog

    one_of({"ID": bool(ids), "--from": origin is not None, "--source": source is not None})
    if not (ids or origin or source):
        raise click.UsageError("Say which texts: their ids, or --from FILE, or --source NAME.")
    with Catalog(catalog) as opened:
        count = opened.texts.remove(ids, origin=origin, source=source)
    if ids and not count:
        raise QueryError(f"No text has the id {ids[0]}. See what there is: search texts list")
    if as_json:
        echo_json([{"removed": count}])
    else:
        click.echo(f"{_texts(count)} removed." if count else "The catalog has no such texts.")


def _texts(count: int) -> str:
    return f"{count} text{'' if count == 1 else 's'}"
