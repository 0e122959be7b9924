"""`search index`: folders of pictures brought up to date."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import click

from retrieval.commands.options import Duration, Place, catalog_option, echo_json, json_option, parse_bytes


@click.command()
@click.argument("paths", nargs=-1, metavar="PATH...", type=Place())
@catalog_option
@click.option("--model", metavar="M", help="Embed with this model. See: search models")
@click.option(
    "--starter-mode",
    type=click.Choice(["normal", "fast"]),
    help="How closely the built-in model looks; fast is for large collections.",
)
@click.option(
    "--exclude", multiple=True, metavar="GLOB",
    help="Pass over what matches, in this run; for good: a .searchignore file. Both as in .gitignore.",
)  # fmt: skip
@click.option(
    "--dry-run",
    is_flag=True,
    help="Only say what would be done; without reading files, a move shows as added and missing.",
)
@click.option("--retry", is_flag=True, help="Try files again that failed before.")
@click.option(
    "--accept-missing", is_flag=True,
    help="Take missing pictures as gone for good, also where they are more than half of a folder.",
)  # fmt: skip
@click.option(
    "--every", metavar="DURATION", type=Duration(),
    help="Again and again, so often: 10m, 1h or 1d. To follow changes at once: search watch",
)  # fmt: skip
@click.option(
    "--ocr", is_flag=True,
    help="Also read the text in pictures that was not read yet. Needs the extra 'ocr'.",
)  # fmt: skip
@click.option(
    "--workers",
    type=click.IntRange(1, 256),
    metavar="N",
    help="Loading processes. Default: one a core, fewer where memory is short.",
)
@click.option("--memory", metavar="SIZE", help="Memory for pictures in flight, as 500M or 2G.")
@json_option
def index(
    paths: tuple[Path, ...],
    catalog: str | None,
    model: str | None,
    starter_mode: str | None,
    exclude: tuple[str, ...],
    dry_run: bool,
    retry: bool,
    accept_missing: bool,
    every: float | None,
    ocr: bool,
    workers: int | None,
    memory: str | None,
    as_json: bool,
) -> None:
    """Index folders of pictures, or bring them up to date.

    Only what is new or changed is read. Without PATH, the folders indexed before are gone
    through again. Ctrl-C keeps what is done; the same command goes on from there.

    \b
    search index ~/Pictures
    search index ~/Pictures --exclude "screenshots/" --exclude "*.gif"
    search index ~/Pictures --ocr
    search index ~/Pictures --every 1h
    search index --model open_clip:ViT-B-32/laion2b_s34b_b79k
    """
    from indexer import index_folder
    from indexer.stopping import StopSignals
    from retrieval.config import default_catalog
    from retrieval.show.lines import report_line
    from retrieval.show.progress import ProgressLine

    if starter_mode is not None:
        from retrieval.registry import starter_spec

        model = starter_spec(model, starter_mode)
    if every is not None:
        from retrieval.commands.watch import keep

        if dry_run or retry:
            raise click.UsageError("--every goes with neither --dry-run nor --retry.")
        keep(
            catalog, paths, as_json=as_json, every=every, model=model, exclude=exclude, ocr=ocr,
            workers=workers, memory=parse_bytes(memory), accept_missing=accept_missing,
        )  # fmt: skip
    with ProgressLine(sys.stderr) as line, StopSignals() as stop:
        report = index_folder(
            catalog or default_catalog(),
            paths,
            model=model,
            exclude=exclude,
            dry_run=dry_run,
            retry=retry,
            accept_missing=accept_missing,
            ocr=ocr,
            workers=workers,
            memory=parse_bytes(memory),
            progress=line,
            stopped=stop.is_set,
        )
    if as_json:
        echo_json([report.as_dict()])
    else:
        click.echo(report_line(report.as_dict(), dry_run=dry_run))
        if report.failed:
            click.echo(f"Files that cannot be read: {report.failed}. See why: search failures", err=True)
    if report.interrupted:
        click.get_current_context().exit(128 + (stop.signal or signal.SIGINT))
    if report.held and paths and not dry_run:
        click.get_current_context().exit(1)  # what was asked for is not done; a note said why
