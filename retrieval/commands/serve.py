"""The `serve` command: the library in a browser, and over HTTP."""

from __future__ import annotations

import secrets
import signal
import sys

import click

from retrieval.commands.options import catalog_option

PORT = 7788
MOST_TOKEN = 1 << 20


@click.command(short_help="Look through the library in a browser.")
@catalog_option
@click.option("--host", default="127.0.0.1", show_default=True, metavar="HOST", help="Where to serve.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=PORT, show_default=True, metavar="PORT",
    help="0 takes a free one.",
)  # fmt: skip
@click.option(
    "--token", envvar="SEARCH_TOKEN", show_envvar=True, metavar="TOKEN",
    help="What everybody has to bring; 'new' makes one. Needed beyond this machine.",
)  # fmt: skip
@click.option(
    "--token-file", type=click.Path(), envvar="SEARCH_TOKEN_FILE", show_envvar=True, metavar="FILE",
    help="The same, from a file that holds nothing else.",
)  # fmt: skip
@click.option(
    "--name", "names", multiple=True, metavar="HOST",
    help="Another name it goes by, such as a proxy's in front of it. With a token only.",
)  # fmt: skip
@click.option("--read-only", "readonly", is_flag=True, help="Change nothing in the catalog.")
@click.option(
    "--untrusted", is_flag=True,
    help="Somebody else made the catalog: change nothing, and believe nothing but its rows.",
)  # fmt: skip
@click.option("--answerer", metavar="NAME", help="What answers questions: rules, local, endpoint.")
@click.option(
    "--captioner", metavar="NAME", help="What describes pictures: describer, local, blip, endpoint."
)
@click.option("--open", "browse", is_flag=True, help="Open a browser there.")
def serve(
    catalog: str | None,
    host: str,
    port: int,
    token: str | None,
    token_file: str | None,
    names: tuple[str, ...],
    readonly: bool,
    untrusted: bool,
    answerer: str | None,
    captioner: str | None,
    browse: bool,
) -> None:
    """Serve the library as a web page, and as an API.

    It is for this machine alone unless there is a token. Ctrl-C ends it.

    \b
    search serve --open
    search serve --host 0.0.0.0 --token new
    """
    if token is not None and token_file is not None:
        raise click.UsageError("Give the token itself, or the file that holds it: one of them.")
    from retrieval.server.memory import one_arena

    one_arena()
    from retrieval.answers import load_answerer
    from retrieval.captioners import load_captioner
    from retrieval.catalog import Catalog
    from retrieval.journal import conceal
    from retrieval.journal.keeping import show_warnings
    from retrieval.server import not_installed

    try:
        from retrieval.server.serving import serve as run
        from retrieval.server.settings import Settings
    except ImportError as error:
        raise not_installed(error) from error

    show_warnings(sys.stderr)
    made = token == "new"
    if made:
        token = secrets.token_urlsafe(24)
    elif token_file is not None:
        token = _token_in(token_file)

    # What cannot be had is told now, and not to whoever asks the first question.
    if answerer:
        load_answerer(answerer)
    if captioner:
        load_captioner(captioner)

    def ready(address: str) -> None:
        click.echo(f"Serving {address}{f'?token={token}' if made else ''}  Ctrl-C ends it.", err=True)
        if browse:
            click.launch(f"{address}?token={token}" if token else address)

    # A shell has what a script starts in the background ignore an interrupt, which is what ends this.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # An empty library is served too: its page says what to do.
    readonly = readonly or untrusted
    conceal(token)
    with Catalog(catalog, readonly=readonly, create=not readonly, untrusted=untrusted) as opened:
        settings = Settings(opened, token=token, readonly=readonly, answerer=answerer, captioner=captioner)
        run(settings, host=host, port=port, names=names, ready=ready)


def _token_in(path: str) -> str:
    """What a file says, as secrets are handed to services; the end of its line is no part of it."""
    from retrieval.regular_files import read_regular

    return read_regular(path, most=MOST_TOKEN).decode("utf-8", "replace").strip()
