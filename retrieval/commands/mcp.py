"""`search mcp`: let assistants use the library."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from retrieval.commands.ending import SIGNALS
from retrieval.commands.options import catalog_option

if TYPE_CHECKING:
    from retrieval.mcp.server import LibraryServer

HTTP_ONLY = ("host", "port", "token")
"""Options that mean nothing without --http."""


@click.command(short_help="Let assistants use the library, over MCP.")
@catalog_option
@click.option("--http", is_flag=True, help="Serve at an address, not over standard input and output.")
@click.option("--host", default="127.0.0.1", show_default=True, metavar="HOST", help="With --http: where.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8765, show_default=True, metavar="N",
    help="With --http: at which port; 0 takes a free one.",
)  # fmt: skip
@click.option(
    "--token", envvar="SEARCH_MCP_TOKEN", show_envvar=True, metavar="TOKEN",
    help="With --http: what each request has to bring. Others may see a command line: use the variable.",
)  # fmt: skip
@click.option(
    "--untrusted", is_flag=True,
    help="Somebody else made the catalog: believe nothing but its rows.",
)  # fmt: skip
@click.option("--allow-write", is_flag=True, help="Also tools that tag, give feedback and add texts.")
@click.option("--answerer", metavar="NAME", help="Who answers questions: rules, local, endpoint.")
@click.option("--captioner", metavar="NAME", help="Who describes pictures: describer, blip, local, endpoint.")
@click.pass_context
def mcp(
    ctx: click.Context,
    catalog: str | None,
    http: bool,
    host: str,
    port: int,
    token: str | None,
    untrusted: bool,
    allow_write: bool,
    answerer: str | None,
    captioner: str | None,
) -> None:
    """Let assistants use the library, over the Model Context Protocol (MCP).

    An assistant starts this command by itself; docs/mcp.md shows its settings. It can find
    pictures, look at small versions of them, and ask. It changes nothing without --allow-write,
    and never a picture.

    \b
    search mcp
    search mcp --http --port 8765
    search mcp --catalog ~/photos.search --allow-write
    """
    from retrieval.journal import conceal
    from retrieval.journal.keeping import show_warnings
    from retrieval.mcp.stdio import Wire, serve_stdio

    given = [name for name in HTTP_ONLY if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE]
    if untrusted and allow_write:
        raise click.UsageError("--untrusted and --allow-write cannot go together. Choose one.")
    if given and not http:
        raise click.UsageError(f"--{given[0]} goes with --http.")
    if not http and (sys.stdin is None or sys.stdout is None):
        raise click.UsageError("Standard input or output is closed. Serve at an address: search mcp --http")
    # Before the protocol's library sets up its own, which breaks lines for a terminal.
    show_warnings(sys.stderr)
    conceal(token)
    wire = Wire()
    with wire.guarded():
        from retrieval.catalog import Catalog
        from retrieval.mcp import create_server, serve_http

        with Catalog(catalog, readonly=not allow_write, untrusted=untrusted) as opened:
            server = create_server(opened, allow_write=allow_write, answerer=answerer, captioner=captioner)
            before = _end_at_signals()
            try:
                if http:
                    serve_http(server, host=host, port=port, token=token, ready=_tell)
                else:
                    if sys.stdin.isatty():
                        click.echo("Serving an assistant over this terminal. Ctrl-D ends it.", err=True)
                    serve_stdio(server, wire)
            finally:
                for number, handler in before.items():
                    signal.signal(number, handler)
            _end_if_busy(server)


def _tell(address: str) -> None:
    click.echo(f"Serving assistants at {address}. Ctrl-C ends it.", err=True)


def _end_at_signals() -> dict[signal.Signals, Any]:
    """End the process at once when a signal asks for it; returns what was to be done before.

    A thread that waits for input, or a model at work, cannot be told to stop. Nothing is lost:
    what the catalog has committed stands.
    """
    # What `nohup` or a shell has us ignore stays ignored.
    heard = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    return {number: signal.signal(number, _end) for number in heard}


def _end(number: int, _frame: object) -> None:
    os._exit(128 + number)


def _end_if_busy(server: LibraryServer) -> None:
    """A call that nobody waits for any more must not hold up the end, nor be torn down half-way."""
    if server.busy:
        if sys.stderr is not None:
            sys.stderr.flush()
        os._exit(0)
