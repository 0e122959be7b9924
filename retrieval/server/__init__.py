"""A library over HTTP: an API, and a page to look through it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retrieval.errors import MissingDependency

if TYPE_CHECKING:
    from fastapi import FastAPI

    from retrieval.catalog import Catalog


def create_app(
    catalog: Catalog,
    *,
    token: str | None = None,
    hosts: frozenset[str] | None = None,
    readonly: bool = False,
    answerer: str | None = None,
    captioner: str | None = None,
) -> FastAPI:
    """The whole server over an open catalog, for any ASGI server to run.

    `token`, where there is one, has to come with each request. `hosts` are the names that the
    server goes by, with their ports (`127.0.0.1:7788`). Of None, any will do with a token;
    without one only the names of this machine, and only for requests from this machine, at
    whatever address the app is made to listen. `readonly` refuses whatever would change the
    catalog. `answerer` and `captioner` are names that `ask` and `describe` take.
    """
    try:
        from retrieval.server.app import assembled
        from retrieval.server.settings import Settings
    except ImportError as error:
        raise not_installed(error) from error
    settings = Settings(
        catalog, token=token, hosts=hosts, readonly=readonly, answerer=answerer, captioner=captioner
    )
    return assembled(settings)


def not_installed(error: ImportError) -> MissingDependency:
    return MissingDependency(
        "The server needs packages that are not installed or do not fit together "
        f"({error}): pip install 'picture-search[server]'"
    )
