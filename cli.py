"""The command line: parse, one call, format."""

from __future__ import annotations

import difflib
import json
import os
import signal
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from retrieval.errors import RetrievalError

# One query uses one thread; the others would only spin. Read by NumPy's BLAS when it is loaded.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

if TYPE_CHECKING:
    from retrieval.catalog import Sort
    from retrieval.types import Hits

F = TypeVar("F", bound=Callable[..., Any])


class SearchGroup(click.Group):
    """A group whose words that are no command are a query, and whose errors are for people."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        own = {"--help", "-h", "--version"}
        if args and args[0] not in self.commands and args[0] not in own:
            near = difflib.get_close_matches(args[0], self.commands, n=1, cutoff=0.75)
            if near:
                click.echo(
                    f"'{args[0]}' is no command, so it is searched for. Did you mean: search {near[0]}",
                    err=True,
                )
            args = ["find", *args]
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        if sys.stdout is None:  # closed by whoever started us: there is nobody to tell
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115
        try:
            return super().invoke(ctx)
        except RetrievalError as error:
            raise click.ClickException(_safe(str(error))) from error
        except KeyboardInterrupt:
            click.echo("Interrupted.", err=True)
            ctx.exit(128 + signal.SIGINT)
        except BrokenPipeError:
            # Whoever reads has seen enough; what is still in the buffers must not complain at the end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(0)
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            raise click.ClickException(_safe(f"{where}{error.strerror or error}")) from error


def _safe(text: str) -> str:
    """The text with nothing in it that a terminal would act on."""
    from retrieval.show.table import safe_name

    return safe_name(text)


def catalog_option(command: F) -> F:
    return click.option(
        "--catalog",
        metavar="C",
        help="Catalog folder or database URL. Default: $SEARCH_CATALOG, else the user's data folder.",
    )(command)


def reading_options(command: F) -> F:
    command = click.option("--no-server", is_flag=True, help="Leave a running local server alone.")(command)
    return catalog_option(command)


def json_option(command: F) -> F:
    return click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")(command)


def output_options(command: F) -> F:
    for option in reversed(
        [
            click.option("--json", "as_json", is_flag=True, help="One JSON object a line."),
            click.option("--paths", is_flag=True, help="Only the paths, one a line."),
            click.option("-0", "--null", is_flag=True, help="With --paths: end each with NUL, not newline."),
            click.option("--preview", is_flag=True, help="Show the pictures in the terminal."),
            click.option(
                "--html", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path),
                help="Write a gallery that opens in a browser.",
            ),
        ]
    ):  # fmt: skip
        command = option(command)
    return command


@click.group(
    cls=SearchGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(package_name="picture-search", prog_name="search")
def main() -> None:
    """Find your pictures with words.

    \b
    search index ~/Pictures            index a folder, or bring it up to date
    search "two dogs in the snow"      find pictures: the same as search find
    search status                      what is in the catalog
    """


@main.command()
@click.argument("paths", nargs=-1, metavar="PATH...", type=click.Path(path_type=Path))
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
    "--workers", type=click.IntRange(1, 256), metavar="N", help="Loading processes. Default: one a core."
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
    with ProgressLine(sys.stderr) as line, StopSignals() as stop:
        report = index_folder(
            catalog or default_catalog(),
            paths,
            model=model,
            exclude=exclude,
            dry_run=dry_run,
            retry=retry,
            workers=workers,
            memory=_bytes(memory),
            progress=line,
            stopped=stop.is_set,
        )
    if as_json:
        _json([report.as_dict()])
    else:
        click.echo(report_line(report.as_dict(), dry_run=dry_run))
        if report.failed:
            click.echo(f"Files that cannot be read: {report.failed}. See why: search failures", err=True)
    if report.interrupted:
        click.get_current_context().exit(128 + (stop.signal or signal.SIGINT))


@main.command()
@click.argument("query", nargs=-1)
@reading_options
@click.option(
    "-k",
    "--limit",
    type=click.IntRange(1),
    default=10,
    show_default=True,
    metavar="N",
    help="At most N hits.",
)
@click.option(
    "--in", "folder", metavar="DIR", type=click.Path(path_type=Path), help="Only below this folder."
)
@click.option("--after", metavar="DATE", help="Taken then or later: 2023, 2023-07 or 2023-07-15.")
@click.option("--before", metavar="DATE", help="Taken earlier than that.")
@click.option("--camera", metavar="TEXT", help="Camera make or model contains this.")
@click.option("--near", metavar="LAT,LON,KM", help="Taken within KM kilometres of a place.")
@click.option("--sort", type=click.Choice(["relevance", "date"]), default="relevance", show_default=True)
@click.option("--min-match", type=click.FloatRange(0, 1), metavar="X", help="Show hits from this match on.")
@click.option("--all", "everything", is_flag=True, help="Show weak hits too.")
@click.option(
    "--rerank", is_flag=False, flag_value="auto", metavar="[NAME]",
    help="Look again at the best hits; 'none' turns it off. Default: where the model can.",
)  # fmt: skip
@output_options
def find(
    query: tuple[str, ...],
    catalog: str | None,
    no_server: bool,  # noqa: ARG001
    limit: int,
    sort: Sort,
    min_match: float | None,
    everything: bool,
    rerank: str | None,
    as_json: bool,
    paths: bool,
    null: bool,
    preview: bool,
    html: Path | None,
    **filters: Any,
) -> None:
    """Find pictures with words.

    \b
    search "two dogs in the snow"
    search find "a red car" --after 2021 --in ~/Pictures/travel -k 20
    search "birthday cake" --paths -0 | xargs -0 cp -t /tmp/cakes
    """
    from retrieval.catalog import RERANKERS, Catalog
    from retrieval.query.filters import Filter

    _one_of({"--json": as_json, "--paths": paths or null, "--preview": preview, "--html": html is not None})
    if not query and rerank not in (None, *RERANKERS):
        # The option took the query for its name: search --rerank "a red car"
        query, rerank = (rerank,), "auto"
    if not query:
        raise click.UsageError('Missing argument QUERY. Say what to look for: search "a dog on a beach"')
    text = " ".join(query)
    with Catalog(catalog) as opened:
        hits = opened.search(
            text,
            limit=limit,
            where=Filter(**filters),
            rerank=rerank,
            cutoff=not everything,
            min_match=min_match,
            sort=sort,
        )
    folder = filters["folder"]
    if not (hits or hits.closest) and folder is not None and not folder.expanduser().exists():
        click.echo(f"There is no folder {folder}.", err=True)
    _show(hits, text, as_json=as_json, paths=paths, null=null, preview=preview, html=html)


@main.command()
@reading_options
@json_option
def status(catalog: str | None, no_server: bool, as_json: bool) -> None:  # noqa: ARG001
    """Say what is in the catalog.

    \b
    search status
    search status --json
    """
    from retrieval.catalog import Catalog
    from retrieval.show.lines import status_lines

    with Catalog(catalog) as opened:
        found = opened.status()
    if as_json:
        _json([found.as_dict()])
    else:
        click.echo("\n".join(status_lines(found)))


@main.command()
@reading_options
@json_option
def failures(catalog: str | None, no_server: bool, as_json: bool) -> None:  # noqa: ARG001
    """List the files that could not be indexed, and why.

    \b
    search failures
    search failures --json
    """
    from retrieval.catalog import Catalog
    from retrieval.show.lines import failure_line

    with Catalog(catalog) as opened:
        found = opened.failures()
    if as_json:
        _json(failure.as_dict() for failure in found)
        return
    for failure in found:
        click.echo(failure_line(failure))
    if found:
        click.echo("Mended files are indexed by themselves; try all again: search index --retry", err=True)


@main.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...", type=click.Path(path_type=Path))
@catalog_option
@json_option
def forget(paths: tuple[Path, ...], catalog: str | None, as_json: bool) -> None:
    """Take pictures or folders out of the catalog. The files stay where they are.

    \b
    search forget ~/Pictures/scans
    """
    from retrieval.catalog import Catalog

    with Catalog(catalog) as opened:
        count = sum(opened.forget(path) for path in paths)
    if as_json:
        _json([{"forgotten": count}])
    else:
        click.echo(
            f"{count} pictures forgotten. Their files were not touched; the next indexing of their folder "
            "finds them again, unless a .searchignore file there names them."
            if count
            else "No picture of the catalog is there."
        )


@main.command()
@catalog_option
@click.option("--encoders", is_flag=True, help="Also drop the vectors of models that are not in use.")
@json_option
def gc(catalog: str | None, encoders: bool, as_json: bool) -> None:
    """Remove for good what the catalog keeps of files that are gone.

    Until then, a file that comes back or moves needs no new encoding.

    \b
    search gc
    search gc --encoders
    """
    from retrieval.catalog import Catalog

    with Catalog(catalog) as opened:
        figures = opened.gc(encoders=encoders)
    if as_json:
        _json([figures])
    else:
        click.echo(
            f"Removed {figures['images']} missing pictures, {figures['failures']} failures and "
            f"{figures['encoders']} unused models; {figures['bytes'] / 1e6:.1f} MB given back."
        )


@main.command()
@catalog_option
@click.option("--store", type=click.Choice(["auto", "flat", "faiss"]), help="The kind of store, from now on.")
@json_option
def rebuild(catalog: str | None, store: str | None, as_json: bool) -> None:
    """Make the vector caches anew from the database.

    \b
    search rebuild
    search rebuild --store faiss
    """
    from retrieval.catalog import Catalog
    from retrieval.show.lines import status_lines

    with Catalog(catalog) as opened:
        opened.rebuild(store=store)
        found = opened.status()
    if as_json:
        _json([found.as_dict()])
    else:
        click.echo("\n".join(status_lines(found)))


@main.command()
@reading_options
@click.option("--fix", is_flag=True, help="Mend what can be mended.")
@json_option
def doctor(catalog: str | None, no_server: bool, fix: bool, as_json: bool) -> None:  # noqa: ARG001
    """Check the catalog: rows, caches and files against each other.

    Exits with 1 when something needs mending.

    \b
    search doctor
    search doctor --fix
    """
    from retrieval.doctor import examine

    found = examine(catalog, fix=fix)
    if as_json:
        _json(finding.as_dict() for finding in found)
    for finding in () if as_json else found:
        click.echo(f"{'mended' if finding.mended else finding.kind}: {_safe(finding.detail)}")
        if not finding.mended:
            click.echo(f"  → {_safe(finding.help)}")
    if not found and not as_json:
        click.echo("All is well.")
    if any(not finding.mended for finding in found):
        click.get_current_context().exit(1)


@main.group(invoke_without_command=True)
@json_option
@click.pass_context
def models(ctx: click.Context, as_json: bool) -> None:
    """List the models that can be had, and which are here.

    \b
    search models
    search models pull open_clip:ViT-B-32-256/datacomp_s34b_b86k
    """
    if ctx.invoked_subcommand is not None:
        return
    from retrieval.models import list_models
    from retrieval.show.lines import model_lines

    found = list_models()
    if as_json:
        _json(model.as_dict() for model in found)
    else:
        click.echo("\n".join(model_lines(found)))


@models.command()
@click.argument("name")
def pull(name: str) -> None:
    """Fetch a model and make it ready for use without torch.

    \b
    search models pull open_clip:ViT-B-32-256/datacomp_s34b_b86k
    """
    from indexer.export import pull as fetch
    from retrieval.show.progress import ProgressLine

    with ProgressLine(sys.stderr) as line:
        click.echo(fetch(name, line))


def _show(
    hits: Hits, query: str, *, as_json: bool, paths: bool, null: bool, preview: bool, html: Path | None
) -> None:
    if as_json:
        _json(hit.as_dict() for hit in hits)
    elif paths or null:
        from retrieval.show.table import write_paths

        if sys.stdout.isatty() and not null:  # exact bytes are for programs; a terminal might act on them
            for hit in hits:
                click.echo(_safe(str(hit.path)))
        else:
            write_paths(hits, sys.stdout.buffer, null=null)
    elif preview:
        from retrieval.show.terminal import preview as draw

        draw(hits, sys.stdout)
    elif html is not None:
        from retrieval.show.gallery import write_gallery

        failed = write_gallery(hits, html, query=query)
        left_out = f"; {len(failed)} could not be shown" if failed else ""
        written = f"{len(hits) - len(failed)} pictures written to {_safe(str(html))}{left_out}"
        click.echo(written, err=True)
    elif len(hits):
        from retrieval.show.table import write_table

        write_table(hits, sys.stdout)
    if not len(hits):
        from retrieval.show.lines import nothing_line

        click.echo(nothing_line(hits), err=True)


def _json(rows: Iterable[dict[str, Any]]) -> None:
    out, plain = sys.stdout.buffer, sys.stdout.isatty()
    for row in rows:
        out.write(json.dumps(row, ensure_ascii=plain).encode("utf-8", "replace") + b"\n")
    out.flush()


def _one_of(flags: dict[str, bool]) -> None:
    given = [name for name, used in flags.items() if used]
    if len(given) > 1:
        raise click.UsageError(f"{' and '.join(given)} cannot go together. Choose one.")


def _bytes(text: str | None) -> int | None:
    """A size as people write it: 500M, 2G, 1073741824."""
    if text is None:
        return None
    units = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
    number = text.strip().lower().removesuffix("b").removesuffix("i")
    unit = number[-1:] if number[-1:] in units and not number[-1:].isdigit() else ""
    try:
        size = int(float(number[: len(number) - len(unit)]) * units[unit])
    except (ValueError, OverflowError):
        size = 0
    if size < 16 << 20:
        raise click.BadParameter(
            f"'{text}' is not a size of at least 16M, such as 500M or 2G.", param_hint="--memory"
        )
    return size


if __name__ == "__main__":
    sys.exit(main())
