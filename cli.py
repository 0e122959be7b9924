"""The command line: parse, one call, format."""

from __future__ import annotations

import difflib
import os
import signal
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrieval.commands.ending import Ending, quietly, unread

with quietly():
    import click

    from retrieval import upgrades
    from retrieval.commands import logs
    from retrieval.commands.options import (
        Duration,
        Number,
        Output,
        catalog_option,
        drawn_why,
        echo_json,
        filter_options,
        json_option,
        limit_option,
        output_options,
        parse_bytes,
        ranking_options,
        reading_options,
        safe,
    )
    from retrieval.errors import RetrievalError

# One query uses one thread; the others would only spin. Read by NumPy's BLAS when it is loaded.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

if TYPE_CHECKING:
    from collections.abc import Callable

    from PIL.Image import Image

    from retrieval.query.filters import Filter
    from retrieval.types import Hit, Hits

LATE: dict[str, str] = {
    "ask": "retrieval.commands.ask:ask",
    "backup": "retrieval.commands.backup:backup",
    "concepts": "retrieval.commands.concepts:concepts",
    "describe": "retrieval.commands.describe:describe",
    "dupes": "retrieval.commands.dupes:dupes",
    "eval": "retrieval.commands.eval:evaluate",
    "explain": "retrieval.commands.explain:explain",
    "export": "retrieval.commands.export:export",
    "feedback": "retrieval.commands.feedback:feedback",
    "groups": "retrieval.commands.groups:groups",
    "import": "retrieval.commands.import_:import_",
    "match": "retrieval.commands.match:match",
    "mcp": "retrieval.commands.mcp:mcp",
    "models": "retrieval.commands.models:models",
    "restore": "retrieval.commands.restore:restore",
    "serve": "retrieval.commands.serve:serve",
    "similar": "retrieval.commands.similar:similar",
    "tag": "retrieval.commands.tag:tag",
    "texts": "retrieval.commands.texts:texts",
    "watch": "retrieval.commands.watch:watch",
}
"""Commands that are imported when they are used."""


class SearchGroup(click.Group):
    """A group whose words that are no command are a query, and whose errors are for people."""

    at_once = False
    """Whether the command is one whose end nothing has to wait for."""
    ending = Ending()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.ending.begin()
        try:
            return super().__call__(*args, **kwargs)
        except SystemExit as end:
            self.ending.leave(end.code, at_once=self.at_once)

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        try:
            return super().make_context(*args, **kwargs)
        except KeyboardInterrupt:
            raise click.exceptions.Exit(self.ending.interrupted()) from None
        except OSError as error:
            raise self._unwritten(error) from error

    @staticmethod
    def _unwritten(error: OSError) -> Exception:
        """What the system refused, in a sentence; that nobody reads any more is none."""
        if isinstance(error, BrokenPipeError) and unread():
            return click.exceptions.Exit(0)
        where = f"{error.filename}: " if error.filename else ""
        return click.ClickException(safe(f"{where}{error.strerror or error}"))

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *LATE})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in LATE and cmd_name not in self.commands:
            module, _, name = LATE[cmd_name].partition(":")
            self.add_command(getattr(import_module(module), name), cmd_name)
        command = super().get_command(ctx, cmd_name)
        return command and logs.with_logs(command)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        own = {"--help", "-h", "--version"}
        # A query may begin with a sign, "- people + beach": no option has a space after its dash.
        args = [f" {word}" if word.startswith("- ") else word for word in args]
        names = self.list_commands(ctx)
        args = logs.options_last(args, names)
        if args and args[0] not in names and args[0] not in own:
            near = difflib.get_close_matches(args[0], names, n=1, cutoff=0.75)
            if near:
                click.echo(
                    f"'{args[0]}' is no command, so it is searched for. Did you mean: search {near[0]}",
                    err=True,
                )
            args = ["find", *args]
        # Other commands run libraries that may have something left to say.
        self.at_once = args[:1] == ["find"]
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        if sys.stdout is None:  # closed by whoever started us: there is nobody to tell
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115
        upgrades.listener = lambda upgrade: click.echo(safe(str(upgrade)), err=True)
        code, failure = 1, None
        try:
            code, result = 0, self._invoked(ctx)
            return result
        except click.exceptions.Exit as end:
            code = end.exit_code
            raise
        except click.ClickException as error:
            code, failure = error.exit_code, error.__cause__
            raise
        except KeyboardInterrupt:
            code = self.ending.interrupted()
            ctx.exit(code)
        finally:
            logs.ended(ctx, code, failure)

    def _invoked(self, ctx: click.Context) -> Any:
        """The command; what goes wrong in it is one sentence, and the exit code that goes with it."""
        try:
            return super().invoke(ctx)
        except (click.exceptions.Exit, click.exceptions.Abort, click.ClickException):
            raise
        except RetrievalError as error:
            # Only the caret below a query is meant to be on a line of its own.
            message, *pointed = str(error).split("\n") if getattr(error, "query", None) else [str(error)]
            raise click.ClickException("\n".join(map(safe, (message, *pointed)))) from error
        except OSError as error:
            raise self._unwritten(error) from error
        except MemoryError as error:
            raise click.ClickException(
                "There is not enough memory for this. Close other programs."
            ) from error
        except Exception as error:
            raise click.ClickException(safe(logs.unexpected(ctx, error))) from error


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


main.params += logs.log_options(hidden=False)


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


@main.command()
@click.argument("query", nargs=-1)
@reading_options
@limit_option
@filter_options
@ranking_options
@click.option(
    "--rerank", is_flag=False, flag_value="auto", metavar="[NAME]",
    help="Look again at the best hits: regions, crops, blip_itm; 'none' for no second look at all.",
)  # fmt: skip
@click.option(
    "--rerank-depth", type=click.IntRange(1), default=50, show_default=True, metavar="N",
    help="How many hits it looks at.",
)  # fmt: skip
@click.option(
    "--rerank-seconds", type=Number(0, min_open=True), default=20, show_default=True, metavar="S",
    help="How long it may take.",
)  # fmt: skip
@output_options
def find(
    query: tuple[str, ...],
    catalog: str | None,
    no_server: bool,
    rerank: str | None,
    where: Filter,
    output: Output,
    allow_url: bool,
    rerank_depth: int,
    rerank_seconds: float,
    **asked: Any,
) -> None:
    """Find pictures with words, pictures, or a sum of both.

    Terms are joined by " + " and " - ", and weighted as in 2:snow. A term is a text, a picture
    as ./path, /path or ~/path, or a learnt concept as @name; quotes keep a term whole.

    \b
    search "two dogs in the snow"
    search find "a red car" --after 2021 --in ~/Pictures/travel -k 20
    search "./pool.jpg + 2:night - people"
    search "birthday cake" --paths -0 | xargs -0 cp -t /tmp/cakes
    """
    from retrieval.commands.served import from_server
    from retrieval.query.terms import Query
    from retrieval.reranking import NOTHING, is_reranker

    if not query and rerank is not None and not is_reranker(rerank):
        # The option took the query for its name: search --rerank "a red car"
        query, rerank = (rerank,), "auto"
    if not query:
        raise click.UsageError('Missing argument QUERY. Say what to look for: search "a dog on a beach"')
    text = " ".join(query)
    asks = Query.parse(text)
    asked |= {"where": where, "rerank": rerank}
    if rerank in (None, NOTHING) and not allow_url and not (output.html and output.explain):
        hits = from_server(catalog, lambda client: client.search(asks, **asked), no_server=no_server)
        if hits is not None:
            _show_found(hits, text, where, output)
            return
    # Only here: whoever is answered by a server needs none of it.
    from retrieval.catalog import Catalog
    from retrieval.show.progress import ProgressLine

    with Catalog(catalog) as opened:
        with ProgressLine(sys.stderr, doing="Looking again") as line:
            hits = opened.search(
                asks,
                allow_url=allow_url,
                rerank_depth=rerank_depth,
                rerank_seconds=rerank_seconds,
                progress=line,
                **asked,
            )
        _show_found(hits, text, where, output, why=drawn_why(opened, asks))


def _show_found(
    hits: Hits, text: str, where: Filter, output: Output, *, why: Callable[[Hit], Image | None] | None = None
) -> None:
    folder = where.folder
    if not (hits or hits.closest) and folder and not os.path.exists(os.path.expanduser(folder)):
        click.echo(f"There is no folder {safe(str(folder))}.", err=True)
    output.show(hits, text, why=why)


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
        echo_json([found.as_dict()])
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
        echo_json(failure.as_dict() for failure in found)
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

    What you said of them (tags, texts, marks, feedback, examples) is kept, and comes back
    when they are indexed again.

    \b
    search forget ~/Pictures/scans
    """
    from retrieval.catalog import Catalog

    with Catalog(catalog) as opened:
        count = sum(opened.forget(path) for path in paths)
    if as_json:
        echo_json([{"forgotten": count}])
    else:
        click.echo(
            f"{count} pictures forgotten. Their files were not touched; the next indexing of their folder "
            "finds them again, unless a .searchignore file there names them. What you said of them is kept."
            if count
            else "No picture of the catalog is there."
        )


@main.command()
@catalog_option
@click.option("--encoders", is_flag=True, help="Also drop the vectors of models that are not in use.")
@json_option
def gc(catalog: str | None, encoders: bool, as_json: bool) -> None:
    """Remove for good what the catalog keeps of files that are gone.

    Until then, a file that comes back or moves needs no new encoding. What you said of
    such pictures (tags, texts, marks, feedback, examples) is kept, and comes back with them.

    \b
    search gc
    search gc --encoders
    """
    from retrieval.catalog import Catalog

    with Catalog(catalog) as opened:
        figures = opened.gc(encoders=encoders)
    if as_json:
        echo_json([figures])
    else:
        click.echo(
            f"Removed {figures['images']} missing pictures, {figures['failures']} failures and "
            f"{figures['encoders']} unused models; {figures['bytes'] / 1e6:.1f} MB given back."
            + (" What you said of those pictures is kept." if figures["images"] else "")
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
        echo_json([found.as_dict()])
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
        echo_json(finding.as_dict() for finding in found)
    for finding in () if as_json else found:
        click.echo(f"{'mended' if finding.mended else finding.kind}: {safe(finding.detail)}")
        if not finding.mended:
            click.echo(f"  → {safe(finding.help)}")
    if not found and not as_json:
        click.echo("All is well.")
    if any(not finding.mended for finding in found):
        click.get_current_context().exit(1)


if __name__ == "__main__":
    sys.exit(main())
