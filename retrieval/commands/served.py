"""Asking a local server that runs for the catalog, so that no model has to be loaded anew."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from retrieval.config import Location
from retrieval.errors import RetrievalError
from retrieval.running import FILE

if TYPE_CHECKING:
    from retrieval.client import Client

T = TypeVar("T")


def from_server(
    catalog: str | None,
    question: Callable[[Client], T],
    *,
    no_server: bool,
    answering: Callable[[], str] | None = None,
) -> T | None:
    """What a running server answers; None where there is none, or none that can answer this.

    Whatever is wrong with the question is then told by the library itself, as without a server.
    `answering` says who is to answer questions, where it matters.
    """
    if no_server:
        return None
    location = Location.parse(catalog)
    if not (location.cache / FILE).is_file():
        return None
    from retrieval.client import Client

    client = Client.of(location, answering=None if answering is None else answering())
    if client is None:
        return None
    try:
        return question(client)
    except RetrievalError:
        return None
