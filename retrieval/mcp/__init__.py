"""A server that assistants use a library through, in the Model Context Protocol.

`create_server` puts tools around an open catalog; `serve_stdio` (in `stdio`) and `serve_http` run it.
The extra `mcp` brings the protocol; nothing of it is imported before it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from retrieval.errors import MissingDependency

if TYPE_CHECKING:
    from collections.abc import Callable

    from retrieval.catalog import Catalog
    from retrieval.mcp.server import LibraryServer


def create_server(
    catalog: Catalog,
    *,
    allow_write: bool = False,
    answerer: str | None = None,
    captioner: str | None = None,
) -> LibraryServer:
    """The tools around `catalog`; those that change it only with `allow_write`.

    `answerer` and `captioner` are names that `ask` and `describe` take; one that is none is told
    now. Those who call the tools cannot choose others.
    """
    try:
        from retrieval.mcp.server import LibraryServer
    except ImportError as error:
        raise _not_installed(error) from error
    return LibraryServer(catalog, allow_write=allow_write, answerer=answerer, captioner=captioner)


def serve_http(
    server: LibraryServer, *, host: str, port: int, token: str | None, ready: Callable[[str], None]
) -> None:
    """Serve over streamable HTTP until a signal ends it; `ready` gets the address.

    A host that is not loopback needs a token, which every request has to bring.
    """
    try:
        from retrieval.mcp.http import serve_http as serve
    except ImportError as error:
        raise _not_installed(error) from error
    serve(server, host=host, port=port, token=token, ready=ready)


def _not_installed(error: ImportError) -> MissingDependency:
    return MissingDependency(
        "Serving assistants needs packages that are not installed or do not fit together "
        f"({error}): pip install 'picture-search[mcp]'"
    )
