"""The command line: parse, one call, format."""

from __future__ import annotations

import difflib
import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from retrieval.commands.ending import Ending, quietly, unread

with quietly():
    import click

    from retrieval import upgrades
    from retrieval.commands import logs
    from retrieval.commands.options import (
        Number,
        Output,
        drawn_why,
        filter_options,
        limit_option,
        output_options,
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
    "doctor": "retrieval.commands.doctor:doctor",
    "dupes": "retrieval.commands.dupes:dupes",
    "eval": "retrieval.commands.eval:evaluate",
    "explain": "retrieval.commands.explain:explain",
    "export": "retrieval.commands.export:export",
    "failures": "retrieval.commands.failures:failures",
    "feedback": "retrieval.commands.feedback:feedback",
    "forget": "retrieval.commands.forget:forget",
    "gc": "retrieval.commands.gc:gc",
    "groups": "retrieval.commands.groups:groups",
    "import": "retrieval.commands.import_:import_",
    "index": "retrieval.commands.index:index",
    "match": "retrieval.commands.match:match",
    "mcp": "retrieval.commands.mcp:mcp",
    "models": "retrieval.commands.models:models",
    "rebuild": "retrieval.commands.rebuild:rebuild",
    "restore": "retrieval.commands.restore:restore",
    "serve": "retrieval.commands.serve:serve",
    "similar": "retrieval.commands.similar:similar",
    "status": "retrieval.commands.status:status",
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


if __name__ == "__main__":
    sys.exit(main())
