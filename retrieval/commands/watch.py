"""`search watch`, and `search index --every`: runs without end."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from retrieval.commands.options import Place, catalog_option, echo_json, json_option

if TYPE_CHECKING:
    from indexer import IndexReport
    from retrieval.show.progress import ProgressLine


@click.command()
@click.argument("paths", nargs=-1, metavar="PATH...", type=Place())
@catalog_option
@click.option("--model", metavar="M", help="Embed with this model. See: search models")
@click.option(
    "--exclude", multiple=True, metavar="GLOB",
    help="Pass over what matches; for good: a .searchignore file. Both as in .gitignore.",
)  # fmt: skip
@click.option(
    "--ocr", is_flag=True,
    help="Also read the text in pictures that was not read yet. Needs the extra 'ocr'.",
)  # fmt: skip
@click.option(
    "--accept-missing", is_flag=True,
    help="Take missing pictures as gone for good, also where they are more than half of a folder.",
)  # fmt: skip
@json_option
def watch(paths: tuple[Path, ...], catalog: str | None, as_json: bool, **asked: Any) -> None:
    """Keep the catalog up to date with folders: index them, then whatever changes in them.

    Without PATH, the folders indexed before are watched. A folder on a disk that is away is
    waited for. One line is written for each run that did something. Ctrl-C ends it, and what is
    done is kept. See docs/watch.md, also for running it as a service.

    \b
    search watch ~/Pictures
    search watch --exclude "screenshots/" --json
    """
    keep(catalog, paths, as_json=as_json, **asked)


def keep(catalog: str | None, paths: tuple[Path, ...], *, as_json: bool, **asked: Any) -> NoReturn:
    """Run until a signal ends it, and leave with the exit code for that."""
    from indexer import watch_folders
    from indexer.stopping import StopSignals
    from retrieval.config import default_catalog
    from retrieval.show.lines import report_line

    def told(report: IndexReport) -> None:
        if as_json:
            echo_json([report.as_dict()])
        else:
            click.echo(report_line(report.as_dict(), dry_run=False))
        sys.stdout.flush()

    with StopSignals() as stop:
        watch_folders(
            catalog or default_catalog(), paths, progress=_Lines(), told=told, stopped=stop.is_set, **asked
        )
    click.get_current_context().exit(128 + (stop.signal or signal.SIGINT))


class _Lines:
    """Tells of one run after the other, each with a bar of its own."""

    def __init__(self) -> None:
        self._line: ProgressLine | None = None

    def __call__(self, step: str, figures: dict[str, Any]) -> None:
        from retrieval.show.progress import ProgressLine

        if self._line is None:
            self._line = ProgressLine(sys.stderr)
        if step == "ran":
            self._line.__exit__(None, None, None)
            self._line = None
        else:
            self._line(step, figures)
