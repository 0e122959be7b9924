"""A library over HTTP: an API, and a page to look through it."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
    server goes by, with their ports (`127.0.0.1:7777`); None lets any name pass, which is only
    safe with a token. `readonly` leaves out whatever would change the catalog.
    """
    from retrieval.server.app import assembled
    from retrieval.server.settings import Settings

    settings = Settings(
        catalog, token=token, hosts=hosts, readonly=readonly, answerer=answerer, captioner=captioner
    )
    return assembled(settings)
