"""`search feedback`: say which answers to a query are right and wrong."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from retrieval.commands.options import Place, catalog_option, echo_json, json_option, reading_options, safe

if TYPE_CHECKING:
    from retrieval.feedback import Said

MARKS = ("--good", "--bad")


class FeedbackGroup(click.Group):
    """A group whose arguments are a query, unless they name one of its commands.

    With a `--good` or `--bad` they are always a query: `list` and `remove` can be asked
    for like any other word.
    """

    default = "QUERY"

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        options = args[: args.index("--")] if "--" in args else args
        marked = any(word.partition("=")[0] in MARKS for word in options)
        asks_help = args[:1] and args[0] in ctx.help_option_names
        if args and not asks_help and (marked or args[0] not in self.commands):
            args = [self.default, *args]
        return super().parse_args(ctx, args)


@click.group(
    cls=FeedbackGroup,
    subcommand_metavar="QUERY --good IMG --bad IMG | list | remove",
    short_help="Say which answers to a query are right and wrong.",
)
def feedback() -> None:
    """Say which answers to a query are right and wrong; its next ranking follows.

    \b
    search feedback "a dog" --good rex.jpg --bad cat.jpg
    search feedback list
    search feedback remove 3
    """


@feedback.command(name=FeedbackGroup.default, options_metavar="--good IMG --bad IMG [OPTIONS]")
@click.argument("query", nargs=-1, metavar="")
@click.option(
    "--good", multiple=True, metavar="IMG", type=Place(),
    help="A right answer; may be given several times.",
)  # fmt: skip
@click.option(
    "--bad", multiple=True, metavar="IMG", type=Place(),
    help="A wrong answer; may be given several times.",
)  # fmt: skip
@catalog_option
@json_option
def say(
    query: tuple[str, ...],
    good: tuple[Path, ...],
    bad: tuple[Path, ...],
    catalog: str | None,
    as_json: bool,
) -> None:
    """Keep which pictures of the catalog are right and wrong answers to a query.

    Good ones come first from now on and bad ones are not shown; what resembles them rises
    and falls, and nothing else moves. The last word on a picture counts.

    \b
    search feedback "a dog" --good rex.jpg --good bella.jpg --bad cat.jpg
    """
    from retrieval.catalog import Catalog
    from retrieval.query.terms import Query

    text = " ".join(query)
    if not text.strip():
        raise click.UsageError('Missing argument QUERY. For example: search feedback "a dog" --good rex.jpg')
    if not good and not bad:
        raise click.UsageError(
            f'Say which answers are right or wrong: search feedback "{safe(text)}" --good IMG --bad IMG. '
            "See what was said: search feedback list"
        )
    with Catalog(catalog) as opened:
        kept = opened.feedback.add(Query.parse(text), good=good, bad=bad)
    if as_json:
        echo_json(said.as_dict() for said in kept)
    else:
        count = sum(said.good for said in kept)
        click.echo(
            f"Kept: {count} good and {len(kept) - count} bad for this query. "
            "See or take back: search feedback list"
        )


@feedback.command(name="list")
@click.argument("query", nargs=-1, metavar="[QUERY]")
@reading_options
@json_option
def list_said(
    query: tuple[str, ...],
    catalog: str | None,
    no_server: bool,  # noqa: ARG001
    as_json: bool,
) -> None:
    """List what was said of answers, of one query or of all.

    \b
    search feedback list
    search feedback list "a dog" --json
    """
    from retrieval.catalog import Catalog
    from retrieval.query.terms import Query

    with Catalog(catalog) as opened:
        kept = opened.feedback.list(Query.parse(" ".join(query)) if query else None)
    if as_json:
        echo_json(said.as_dict() for said in kept)
        return
    for said in kept:
        click.echo(_line(said))
    if not kept:
        click.echo('Nothing was said yet: search feedback "a dog" --good rex.jpg', err=True)


@feedback.command()
@click.argument("ids", nargs=-1, type=int, metavar="[ID]...")
@click.option("--query", metavar="QUERY", help="All that was said of this query's answers.")
@catalog_option
@json_option
def remove(ids: tuple[int, ...], query: str | None, catalog: str | None, as_json: bool) -> None:
    """Take back what was said, by the ids that the list shows, or all of a query.

    \b
    search feedback remove 3 4
    search feedback remove --query "a dog"
    """
    from retrieval.catalog import Catalog
    from retrieval.query.terms import Query

    if bool(ids) == (query is not None):
        raise click.UsageError("Give the ids to take back, or a query with --query.")
    with Catalog(catalog) as opened:
        count = opened.feedback.remove(ids, query=None if query is None else Query.parse(query))
    if as_json:
        echo_json([{"removed": count}])
    else:
        click.echo(f"Taken back: {count}." if count else "Nothing was said of that query.")


def _line(said: Said) -> str:
    from retrieval.show.table import display_path

    side = "good" if said.good else "bad "
    rests = "" if said.rests is None else f"  ({said.rests})"
    return f"{said.id:>4}  {side}  {safe(said.query)}  ←  {safe(display_path(str(said.path)))}{rests}"
